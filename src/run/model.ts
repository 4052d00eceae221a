// An artifact's folder -> an open model: manifest, tokenizer and sessions, in the process that runs them.

import { rm } from 'node:fs/promises'
import { LANGUAGE, type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { ArtifactError, BusyError } from '../errors.ts'
import { type PreprocessorConfig, parsePreprocessorConfig } from '../image/pixels.ts'
import { openTokenizer, type Tokenizer } from '../tokens/tokenizer.ts'
import { ensurePrepacked, type PrepackOptions } from './prepacked.ts'
import { type ProviderChoice, type ResolvedProvider, resolveProvider } from './provider.ts'
import { openSession, type Session, type SessionOptions } from './session.ts'

export interface Model extends ResolvedProvider {
  manifest: Manifest
  preprocessorConfig: PreprocessorConfig
  tokenizer: Tokenizer
  /** Ids that no answer may contain: see findNonTokenIds. */
  nonTokenIds: readonly number[]
  vision: Session
  queries: Session
  language: Session
  close(): Promise<void>
}

export interface OpenOptions extends Pick<SessionOptions, 'threads'> {
  /** Default: the CPU. */
  provider?: ProviderChoice
  /** Prepacks weights for this CPU. Without it the artifact's graphs are opened. */
  prepack?: PrepackOptions
}

/** @throws ArtifactError, SetupError `provider_missing` or `graph_refused`, BusyError `out_of_memory`. */
export async function openModel(
  folder: string,
  { threads, prepack, provider: choice = { requested: 'cpu', onUnavailable: 'fail' } }: OpenOptions = {},
): Promise<Model> {
  const manifest = await openArtifact(folder)
  const preprocessorConfig = parsePreprocessorConfig(manifest.preprocessor)
  const tokenizer = await openTokenizer(folder)
  const nonTokenIds = findNonTokenIds(manifest, tokenizer)
  const resolved = await resolveProvider(choice)
  const options = { threads, provider: resolved.provider }
  // Weights are prepacked for the CPU only.
  const sessions =
    prepack && resolved.provider === 'cpu'
      ? await openPrepacked(folder, manifest, prepack, options)
      : await openGraphs(folder, options)
  const close = async () => {
    await Promise.all(Object.values(sessions).map((session) => session.close()))
  }
  return { manifest, preprocessorConfig, tokenizer, nonTokenIds, ...resolved, ...sessions, close }
}

/** Ids that no answer may contain: padding of the vocabulary, and the image placeholder. */
export function findNonTokenIds({ sizes, tokens }: Manifest, tokenizer: Tokenizer): number[] {
  const ids = Array.from({ length: sizes.vocabulary }, (_, id) => id)
  return ids.filter((id) => id === tokens.image_token_id || !tokenizer.isToken(id))
}

type Sessions = Pick<Model, 'vision' | 'queries' | 'language'>

/** Opens all three graphs, or none. */
async function openGraphs(folder: string, options: SessionOptions): Promise<Sessions> {
  const opened: Session[] = []
  try {
    for (const { graph } of [VISION, QUERIES, LANGUAGE])
      opened.push(await openSession(folder, graph, options))
  } catch (error) {
    await Promise.allSettled(opened.map((session) => session.close()))
    throw error
  }
  const [vision, queries, language] = opened
  return { vision: vision!, queries: queries!, language: language! }
}

async function openPrepacked(
  artifact: string,
  manifest: Manifest,
  prepack: PrepackOptions,
  options: SessionOptions,
): Promise<Sessions> {
  const prepacked = await ensurePrepacked(artifact, manifest, prepack)
  if (prepacked === artifact) return openGraphs(artifact, options)
  return openGraphs(prepacked, options).catch(async (error: unknown) => {
    // The artifact's graphs would need more memory.
    if (error instanceof BusyError) throw error
    // Only damaged files, for example after a crash of the machine, are removed. The next start makes them again.
    if (error instanceof ArtifactError) await rm(prepacked, { recursive: true, force: true }).catch(() => {})
    prepack.onFailed?.(error)
    return openGraphs(artifact, options)
  })
}
