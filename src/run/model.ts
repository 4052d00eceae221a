// An artifact's folder -> everything opened that the path needs, in the process that will run it.

import { rm } from 'node:fs/promises'
import { LANGUAGE, type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { type PixelRule, parsePixelRule } from '../image/pixels.ts'
import { openTokenizer, type Tokenizer } from '../tokens/tokenizer.ts'
import { laidOut, type PrepackOptions } from './prepacked.ts'
import { findProvider, type ProviderChoice, type ProviderFound } from './provider.ts'
import { openSession, type Session, type SessionOptions } from './session.ts'

export interface Model extends ProviderFound {
  manifest: Manifest
  pixelRule: PixelRule
  tokenizer: Tokenizer
  /** Ids below the vocabulary's size that are no words: padding of the table, and the picture's placeholder. */
  unreal: readonly number[]
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

/** Throws ArtifactError, or SetupError `provider_missing`. */
export async function openModel(
  folder: string,
  { threads, prepack, provider: choice = CPU }: OpenOptions = {},
): Promise<Model> {
  const manifest = await openArtifact(folder)
  const pixelRule = parsePixelRule(manifest.preprocessor)
  const tokenizer = await openTokenizer(folder)
  const found = await findProvider(choice)
  const options = { threads, provider: found.provider }
  // A layout is one of the CPU's.
  const sessions =
    prepack && found.provider === 'cpu'
      ? await fromLayout(folder, manifest, prepack, options)
      : await openGraphs(folder, options)
  const { vision, queries, language } = sessions
  return {
    manifest,
    pixelRule,
    tokenizer,
    ...found,
    unreal: unrealIds(manifest, tokenizer),
    ...sessions,
    close: async () => {
      await Promise.all([vision.close(), queries.close(), language.close()])
    },
  }
}

const CPU: ProviderChoice = { wanted: 'cpu', whenMissing: 'fail' }

/** Ids that no answer may hold: padding of the vocabulary, and the picture's placeholder. */
export function unrealIds({ sizes, tokens }: Manifest, tokenizer: Tokenizer): number[] {
  const ids = Array.from({ length: sizes.vocabulary }, (_, id) => id)
  return ids.filter((id) => id === tokens.image_token_id || !tokenizer.isToken(id))
}

type Sessions = Pick<Model, 'vision' | 'queries' | 'language'>

async function openGraphs(folder: string, options: SessionOptions): Promise<Sessions> {
  return {
    vision: await openSession(folder, VISION.graph, options),
    queries: await openSession(folder, QUERIES.graph, options),
    language: await openSession(folder, LANGUAGE.graph, options),
  }
}

async function fromLayout(
  artifact: string,
  manifest: Manifest,
  prepack: PrepackOptions,
  options: SessionOptions,
): Promise<Sessions> {
  const layout = await laidOut(artifact, manifest, prepack)
  if (layout === artifact) return openGraphs(artifact, options)
  return openGraphs(layout, options).catch(async () => {
    // Cut short by a crash of the machine, say: the artifact itself is whole.
    await rm(layout, { recursive: true, force: true }).catch(() => {})
    return openGraphs(artifact, options)
  })
}
