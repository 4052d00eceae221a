// An artifact's folder -> everything opened that the path needs, in the process that will run it.

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
  /** Ids below the vocabulary's size that are no words: padding of the table, and the picture's placeholder. */
  nonTokenIds: readonly number[]
  vision: Session
  queries: Session
  language: Session
  close(): Promise<void>
}

export interface OpenOptions extends Omit<SessionOptions, 'provider'> {
  /** Without it the CPU. */
  provider?: ProviderChoice
  /** Where layouts for this processor are kept; without it the artifact's own graphs are opened. */
  prepack?: PrepackOptions
}

/** Throws ArtifactError, SetupError `provider_missing` or `graph_refused`, BusyError `out_of_memory`. */
export async function openModel(
  folder: string,
  { threads, prepack, provider: choice = CPU }: OpenOptions = {},
): Promise<Model> {
  const manifest = await openArtifact(folder)
  const preprocessorConfig = parsePreprocessorConfig(manifest.preprocessor)
  const tokenizer = await openTokenizer(folder)
  const nonTokenIds = findNonTokenIds(manifest, tokenizer)
  const found = await resolveProvider(choice)
  const options = { threads, provider: found.provider }
  // A layout is one of the CPU's.
  const sessions =
    prepack && found.provider === 'cpu'
      ? await openPrepacked(folder, manifest, prepack, options)
      : await openGraphs(folder, options)
  const { vision, queries, language } = sessions
  return {
    manifest,
    preprocessorConfig,
    tokenizer,
    ...found,
    nonTokenIds,
    ...sessions,
    close: async () => {
      await Promise.all([vision.close(), queries.close(), language.close()])
    },
  }
}

const CPU: ProviderChoice = { requested: 'cpu', onUnavailable: 'fail' }

/** Ids that no answer may hold: padding of the vocabulary, and the picture's placeholder. */
export function findNonTokenIds({ sizes, tokens }: Manifest, tokenizer: Tokenizer): number[] {
  const ids = Array.from({ length: sizes.vocabulary }, (_, id) => id)
  return ids.filter((id) => id === tokens.image_token_id || !tokenizer.isToken(id))
}

type Sessions = Pick<Model, 'vision' | 'queries' | 'language'>

/** All of them or none. */
async function openGraphs(folder: string, options: SessionOptions): Promise<Sessions> {
  const opened: Session[] = []
  const open = async (graph: string) => {
    const session = await openSession(folder, graph, options)
    opened.push(session)
    return session
  }
  try {
    return {
      vision: await open(VISION.graph),
      queries: await open(QUERIES.graph),
      language: await open(LANGUAGE.graph),
    }
  } catch (error) {
    await Promise.allSettled(opened.map((session) => session.close()))
    throw error
  }
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
    // The artifact's own graphs would take more memory still.
    if (error instanceof BusyError) throw error
    // Only a layout that is itself damaged, by a crash of the machine for example, is removed; the next start makes it.
    if (error instanceof ArtifactError) await rm(prepacked, { recursive: true, force: true }).catch(() => {})
    prepack.onFailed?.(error)
    return openGraphs(artifact, options)
  })
}
