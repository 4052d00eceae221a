// Rgb and preprocessor_config.json of the checkpoint -> Pixels, the input of the vision model.
//
// Source: transformers 5.18 models/blip/image_processing_pil_blip.py (the defaults), image_processing_backends.py
// `PilBackend._preprocess` (the order), image_transforms.py `rescale` and `normalize` (where float64 becomes
// float32). Bit for bit equal to BlipImageProcessorPil; the torchvision backend resizes differently.

import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import type { Rgb } from './colours.ts'
import { BICUBIC, HAMMING, type Resample, resize } from './resize.ts'

/** The file of a checkpoint, for error messages. */
export const PICTURE_RULE = 'preprocessor_config.json (or image_processor in processor_config.json)'

export interface Pixels {
  /** Channel after channel, rows from the top. */
  data: Float32Array
  dims: [number, 3, number, number] // [B, 3, H, W]
}

/** Above the image side of any vision model. A larger number is a mistake and would fill the memory. */
const MAX_SIDE = 4096

/** A missing or null key has its default. The texts of all schemas say what is expected. */
function optional<T extends z.ZodType>(schema: T, otherwise: z.output<T>) {
  return schema.nullish().transform((value) => value ?? otherwise)
}

const SIZE = `size as {"height": H, "width": W} or a number, 1 to ${MAX_SIDE}`
const side = z.number().refine((one) => Number.isInteger(one) && one >= 1 && one <= MAX_SIDE, SIZE)
const number = (key: string) => z.number(`${key} as a number`)
const flag = (key: string) => optional(z.boolean(`${key} as true or false`), true)
const perChannel = (key: string) =>
  z
    .union([z.number(), z.tuple([z.number(), z.number(), z.number()])], `${key} as one number or three`)
    .transform((value) => (typeof value === 'number' ? ([value, value, value] as const) : value))
/** A step of other processors. BLIP does not have it, and ignoring it would change the model's input. */
const unknownStep = (key: string) =>
  z
    .unknown()
    .refine((value) => !value, `${key} absent or false (BlipImageProcessor has no such step)`)
    .optional()

/** Keys and defaults are those of BlipImageProcessor. Published BLIP-2 checkpoints have 224, or 364 for -coco, instead of 384. */
const schema = z
  .object(
    {
      do_center_crop: unknownStep('do_center_crop'),
      do_pad: unknownStep('do_pad'),
      do_flip_channel_order: unknownStep('do_flip_channel_order'),
      do_thumbnail: unknownStep('do_thumbnail'),
      do_align_long_axis: unknownStep('do_align_long_axis'),
      resample: optional(
        number('resample').refine(
          (one): one is Resample => Number.isInteger(one) && one >= 0 && one <= HAMMING,
          'resample 0 to 5 (PIL.Image.Resampling)',
        ),
        BICUBIC,
      ),
      // Sizes that depend on the picture, such as shortest_edge, are refused.
      size: optional(z.union([side, z.object({ width: side, height: side })], SIZE), 384),
      do_resize: flag('do_resize'),
      do_rescale: flag('do_rescale'),
      rescale_factor: optional(number('rescale_factor'), 1 / 255),
      do_normalize: flag('do_normalize'),
      image_mean: optional(perChannel('image_mean'), [0.48145466, 0.4578275, 0.40821073]),
      image_std: optional(
        perChannel('image_std').refine((std) => !std.includes(0), 'image_std without zeros'),
        [0.26862954, 0.26130258, 0.27577711],
      ),
    },
    'a JSON object',
  )
  .transform(({ size, ...config }) => ({
    ...config,
    ...(typeof size === 'number' ? { width: size, height: size } : size),
  }))

export type PreprocessorConfig = z.output<typeof schema>

/** @throws ArtifactError `bad_preprocessor_config` */
export function parsePreprocessorConfig(json: unknown): PreprocessorConfig {
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  const { message, path } = parsed.error.issues[0]!
  const got = path[0] === undefined ? json : Object(json)[path[0]]
  throw new ArtifactError(
    'bad_preprocessor_config',
    `Expected ${message} in ${PICTURE_RULE} but got ${JSON.stringify(got)}. Download the file from the checkpoint's repository.`,
  )
}

/** Resizes, rescales and normalizes: float32, [1, 3, height, width]. */
export function toPixels(rgb: Rgb, rule: PreprocessorConfig): Pixels {
  const resized = rule.do_resize ? resize(rgb, rule.width, rule.height, rule.resample) : rgb
  const { width, height, data: bytes } = resized
  const plane = width * height
  if (bytes.length !== plane * 3)
    throw new RangeError(`Expected ${width} x ${height} x 3 bytes but got ${bytes.length}`)
  const data = new Float32Array(3 * plane)
  for (let channel = 0; channel < 3; channel++) {
    const values = valuesOf(rule, channel)
    for (let to = channel * plane, from = channel; from < bytes.length; to++, from += 3) {
      data[to] = values[bytes[from]!]!
    }
  }
  return { data, dims: [1, 3, height, width] }
}

/** The value of each of the 256 bytes in one channel: multiplied in float64, then float32 at every step. */
function valuesOf(rule: PreprocessorConfig, channel: number): Float32Array {
  const mean = Math.fround(rule.image_mean[channel]!)
  const std = Math.fround(rule.image_std[channel]!)
  return Float32Array.from({ length: 256 }, (_, byte) => {
    const scaled = rule.do_rescale ? Math.fround(byte * rule.rescale_factor) : byte
    return rule.do_normalize ? Math.fround(scaled - mean) / std : scaled
  })
}
