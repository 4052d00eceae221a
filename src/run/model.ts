// An artifact's folder -> everything opened that the path needs, in the thread that will run it.

import { LANGUAGE, type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { type PixelRule, parsePixelRule } from '../image/pixels.ts'
import { openTokenizer, type Tokenizer } from '../tokens/tokenizer.ts'
import { openSession, type Session, type SessionOptions } from './session.ts'

export interface Model {
  manifest: Manifest
  pixelRule: PixelRule
  tokenizer: Tokenizer
  vision: Session
  queries: Session
  language: Session
  close(): Promise<void>
}

/** Throws ArtifactError. */
export async function openModel(folder: string, options: SessionOptions = {}): Promise<Model> {
  const manifest = await openArtifact(folder)
  const pixelRule = parsePixelRule(manifest.preprocessor)
  const tokenizer = await openTokenizer(folder)
  const [vision, queries, language] = await Promise.all(
    [VISION.graph, QUERIES.graph, LANGUAGE.graph].map((graph) => openSession(folder, graph, options)),
  )
  const sessions = [vision!, queries!, language!]
  return {
    manifest,
    pixelRule,
    tokenizer,
    vision: vision!,
    queries: queries!,
    language: language!,
    close: async () => {
      await Promise.all(sessions.map((session) => session.close()))
    },
  }
}
