// An artifact's folder -> everything opened that the path needs, in the thread that will run it.

import { rm } from 'node:fs/promises'
import { LANGUAGE, type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { type PixelRule, parsePixelRule } from '../image/pixels.ts'
import { openTokenizer, type Tokenizer } from '../tokens/tokenizer.ts'
import { laidOut, type PrepackOptions } from './prepacked.ts'
import { openSession, type Session, type SessionOptions } from './session.ts'

export interface Model {
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

export interface OpenOptions extends SessionOptions {
  /** Where layouts for this processor are kept; without it the artifact's own graphs are opened. */
  prepack?: PrepackOptions
}

/** Throws ArtifactError. */
export async function openModel(folder: string, options: OpenOptions = {}): Promise<Model> {
  const manifest = await openArtifact(folder)
  const pixelRule = parsePixelRule(manifest.preprocessor)
  const tokenizer = await openTokenizer(folder)
  const sessions = options.prepack
    ? await fromLayout(folder, manifest, options.prepack, options)
    : await openGraphs(folder, options)
  const { vision, queries, language } = sessions
  return {
    manifest,
    pixelRule,
    tokenizer,
    unreal: unrealIds(manifest, tokenizer),
    ...sessions,
    close: async () => {
      await Promise.all([vision.close(), queries.close(), language.close()])
    },
  }
}

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
