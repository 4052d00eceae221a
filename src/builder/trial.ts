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

/** What the artifact says of a made-up picture, for each of a few prompts: text without special tokens. */
export async function tryOut(folder: string): Promise<string[]> {
  const model = await openModel(folder)
  try {
    const vision = await runVision(model.vision, waves(model))
    const { prefix } = await runQueries(model.queries, vision)
    const rows = PROMPTS.map((prompt) => ({ prefix: prefix.data, ids: model.tokenizer.encode(prompt) }))
    const answers = await generate(
      model,
      rows,
      completeSettings({ max_new_tokens: TOKENS }),
      {},
      {
        forbidden: model.unreal,
      },
    )
    return answers.map(([ids]) => model.tokenizer.decode(ids!).trim())
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
