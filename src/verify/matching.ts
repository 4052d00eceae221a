// What a model for matching computes for a reference of the kind `itm` or `matrix`, each at most once.

import { MATCHING, TEXT, VISION } from '../artifact/contract.ts'
import { contrastiveScore, runImageEmbeds, runMatching, runTexts } from '../run/matching.ts'
import type { Model } from '../run/model.ts'
import { Tensor } from '../run/tensor.ts'
import { runTower } from '../run/vision.ts'
import { once } from './once.ts'
import { badReference, type Reference, rowsOf } from './reference.ts'

/**
 * @param pixels of the reference's picture
 * @param pixelsOf of a picture by its file name; undefined if there is none
 */
export function matching(
  model: Model,
  reference: Reference,
  pixels: () => Promise<Tensor>,
  pixelsOf: (image: string) => Promise<Tensor | undefined>,
) {
  const session = () => model.sessions[MATCHING.graph]!
  const towerOf = async (input: Tensor) =>
    (await runTower(model.sessions[VISION.graph]!, input, model.manifest))[VISION.matching]!
  const pictureOf = async (vision: Tensor) =>
    await runImageEmbeds(session(), vision, [MATCHING.query_hidden, MATCHING.image_embeds])
  const textsOf = async (ids: number[][]) =>
    await runTexts(model.sessions[TEXT.graph]!, ids, [TEXT.text_hidden, TEXT.text_embeds])
  const bothOf = async (vision: Tensor, ids: number[][]) =>
    await runMatching(session(), vision, ids, [MATCHING.query_hidden, MATCHING.itm_logits])
  const encode = (text: string) => model.matchingTokenizer!.encodeTrusted(text)
  const firstOf = async (embeds: Tensor) => (await embeds.floats()).slice(0, embeds.dims[2]!)

  const vision = once(async () => await towerOf(await pixels()))
  const picture = once(async () => await pictureOf(await vision()))
  const ids = () => {
    const recorded = reference.tensors.get('text_ids')
    return recorded ? rowsOf(recorded) : [encode(reference.prompt ?? '')]
  }
  const text = once(async () => await textsOf(ids()))
  const textEmbed = async () => {
    const first = await firstOf((await text())[TEXT.text_embeds]!)
    return Tensor.float32(first, [1, first.length])
  }
  return {
    vision,
    picture,
    text,
    textEmbed,
    both: once(async () => await bothOf(await vision(), ids())),
    /** undefined if the reference has only ids. */
    ownTextIds: () => (reference.prompt === undefined ? undefined : [encode(reference.prompt)]),
    async itc() {
      const image = await (await picture())[MATCHING.image_embeds]!.floats()
      return Tensor.float32(
        Float32Array.of(contrastiveScore(image, await (await textEmbed()).floats())),
        [1, 1],
      )
    },
    /** Each picture with all texts, in one run: the texts share the picture. */
    matrix: once(async () => {
      const { images, texts, path } = reference
      const encoded = texts.map(encode)
      const embeds: Float32Array[] = []
      for (const one of encoded) embeds.push(await firstOf((await textsOf([one]))[TEXT.text_embeds]!))
      const logits: number[] = []
      const scores: number[] = []
      for (const image of images) {
        const own = await pixelsOf(image)
        if (!own) throw badReference(path, `its picture ${image} is not on disk; --pictures sets the folder`)
        const seen = await towerOf(own)
        logits.push(...(await (await bothOf(seen, encoded))[MATCHING.itm_logits]!.floats()))
        const features = await (await pictureOf(seen))[MATCHING.image_embeds]!.floats()
        scores.push(...embeds.map((embed) => contrastiveScore(features, embed)))
      }
      return {
        itm_logits: Tensor.float32(Float32Array.from(logits), [images.length, texts.length, 2]),
        itc: Tensor.float32(Float32Array.from(scores), [images.length, texts.length]),
      }
    }),
  }
}
