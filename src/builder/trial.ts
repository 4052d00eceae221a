// Does what was built say anything? The known failure of quantized BLIP-2 is one that answers with nothing.

import { rm } from 'node:fs/promises'
import type { Pixels } from '../image/pixels.ts'
import { generate } from '../run/generate.ts'
import { type Model, openModel } from '../run/model.ts'
import { runQueries } from '../run/queries.ts'
import { completeSettings } from '../run/settings.ts'
import { runVision } from '../run/vision.ts'
import { toPrompt } from '../tokens/prompt.ts'

const PROMPTS = ['', toPrompt('what is it?')]
const TOKENS = 8

/**
 * What the artifact says of a made-up picture, for each of a few prompts: text without special tokens. As where a
 * person asks, an answer is cut to the positions there are, and a prompt that leaves none for it is not asked.
 */
export async function tryOut(folder: string): Promise<string[]> {
  const model = await openModel(folder)
  const { sizes, tokens } = model.manifest
  try {
    const vision = await runVision(model.vision, waves(model))
    const { prefix } = await runQueries(model.queries, vision)
    const texts: string[] = []
    for (const prompt of PROMPTS) {
      const ids = prompt === '' ? [tokens.bos_token_id] : model.tokenizer.encode(prompt)
      const room = sizes.max_positions - sizes.queries - ids.length
      if (room < 1) continue
      const settings = completeSettings({ max_new_tokens: Math.min(TOKENS, room) })
      const limits = { forbidden: model.unreal }
      const [answers] = await generate(model, [{ prefix: prefix.data, ids }], settings, {}, limits)
      texts.push(model.tokenizer.decode(answers![0]!).trim())
    }
    return texts
  } finally {
    await model.close()
  }
}

/** Whether the checkpoint itself says something. `build` makes an fp32 artifact of it in the folder given. */
export async function saysAnything(
  build: (folder: string) => Promise<unknown>,
  folder: string,
): Promise<boolean> {
  try {
    await build(folder)
    return (await tryOut(folder)).some((text) => text !== '')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function waves({ manifest }: Model): Pixels {
  const [height, width] = manifest.sizes.image
  const data = Float32Array.from(
    { length: 3 * height * width },
    (_, i) => Math.sin(i / 17) + Math.cos(i / 2999),
  )
  return { data, dims: [1, 3, height, width] }
}
