// Artifact -> generated text. A known failure of quantized BLIP-2 is that it generates none.

import { isMainThread } from 'node:worker_threads'
import { LANGUAGE, type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import type { Pixels } from '../image/pixels.ts'
import { generate } from '../run/generate.ts'
import { findNonTokenIds } from '../run/model.ts'
import { runQueries } from '../run/queries.ts'
import { openSession, type Session } from '../run/session.ts'
import { completeSettings } from '../generation-settings.ts'
import { runVision } from '../run/vision.ts'
import { toPrompt } from '../tokens/prompt.ts'
import { openTokenizer } from '../tokens/tokenizer.ts'

const PROMPTS = ['', toPrompt('what is it?')]
const TOKENS = 8

/** An open graph is in memory twice: mapped from its file, and prepacked for the processor. Running it needs some more. */
const MEMORY_PER_BYTE = 2
const RUNNING_BYTES = 300_000_000
/** A build stays below 1.5 GB. A smoke test that needs more runs only with --trial. */
const BUDGET_BYTES = 1_200_000_000

/**
 * Whether generateSamples stays within the budget of a build and the free memory. One graph is open at a time, so the
 * largest file counts. In a worker thread no graph can run (run/session.ts).
 */
export function fitsMemoryBudget(
  files: readonly { sizeBytes: number }[],
  freeBytes = process.availableMemory(),
): boolean {
  const largest = Math.max(0, ...files.map(({ sizeBytes }) => sizeBytes))
  return isMainThread && MEMORY_PER_BYTE * largest + RUNNING_BYTES <= Math.min(BUDGET_BYTES, freeBytes)
}

/**
 * Returns the text that the artifact generates for a synthetic picture, one for each prompt, without special tokens.
 * An answer has at most the positions that the prompt leaves; a prompt that leaves none is skipped.
 */
export async function generateSamples(folder: string): Promise<string[]> {
  const manifest = await openArtifact(folder)
  const tokenizer = await openTokenizer(folder)
  const { sizes, tokens } = manifest
  const inSession = async <T>(graph: string, use: (session: Session) => Promise<T>): Promise<T> => {
    const session = await openSession(folder, graph)
    return await use(session).finally(() => session.close())
  }
  const pixels = syntheticPixels(manifest)
  const vision = await inSession(VISION.graph, (session) => runVision(session, pixels))
  const { prefix } = await inSession(QUERIES.graph, (session) => runQueries(session, vision))
  return await inSession(LANGUAGE.graph, async (language) => {
    const nonTokenIds = findNonTokenIds(manifest, tokenizer)
    const texts: string[] = []
    for (const prompt of PROMPTS) {
      const ids = prompt === '' ? [tokens.bos_token_id] : tokenizer.encode(prompt)
      const room = sizes.max_positions - sizes.queries - ids.length
      if (room < 1) continue
      const settings = completeSettings({ max_new_tokens: Math.min(TOKENS, room) })
      const rows = [{ prefix: prefix.data, ids }]
      const [answers] = await generate({ language, manifest }, rows, settings, {}, nonTokenIds)
      texts.push(tokenizer.decode(answers![0]!).trim())
    }
    return texts
  })
}

function syntheticPixels({ sizes }: Manifest): Pixels {
  const [height, width] = sizes.image
  const data = Float32Array.from(
    { length: 3 * height * width },
    (_, i) => Math.sin(i / 17) + Math.cos(i / 2999),
  )
  return { data, dims: [1, 3, height, width] }
}
