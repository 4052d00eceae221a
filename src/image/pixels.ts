// Rgb and preprocessor_config.json of the checkpoint -> Pixels, the input of the vision model.
//
// Source: transformers 5.18 models/blip/image_processing_pil_blip.py (the defaults), image_processing_backends.py
// `PilBackend._preprocess` (the order), image_transforms.py `rescale` and `normalize` (where float64 becomes
// float32). Bit for bit equal to BlipImageProcessorPil; the torchvision backend resizes differently.

import { ArtifactError } from '../errors.ts'
import type { Rgb } from './decode.ts'
import { BICUBIC, HAMMING, type Resample, resize } from './resize.ts'

type PerChannel = readonly [number, number, number]

/** The file of a checkpoint, for error messages. */
export const PICTURE_RULE = 'preprocessor_config.json (or image_processor in processor_config.json)'

/** Names are those of preprocessor_config.json. */
export interface PreprocessorConfig {
  width: number
  height: number
  resample: Resample
  do_resize: boolean
  do_rescale: boolean
  rescale_factor: number
  do_normalize: boolean
  mean: PerChannel
  std: PerChannel
}

export interface Pixels {
  /** Channel after channel, rows from the top. */
  data: Float32Array
  dims: [number, 3, number, number] // [B, 3, H, W]
}

/** Defaults of BlipImageProcessor. Published BLIP-2 checkpoints have 224, or 364 for -coco, instead of 384. */
const DEFAULTS: PreprocessorConfig = {
  width: 384,
  height: 384,
  resample: BICUBIC,
  do_resize: true,
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
}

/** Above the image side of any vision model. A larger number is a mistake and would fill the memory. */
const MAX_SIDE = 4096

/** Steps of other processors. BLIP has none of them, and ignoring one would change the model's input. */
const UNKNOWN_STEPS = [
  'do_center_crop',
  'do_pad',
  'do_flip_channel_order',
  'do_thumbnail',
  'do_align_long_axis',
]

/** A missing or null key has BlipImageProcessor's default. @throws ArtifactError `bad_preprocessor_config` */
export function parsePreprocessorConfig(json: unknown): PreprocessorConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw bad('a JSON object', json)
  const config = json as Record<string, unknown>
  for (const step of UNKNOWN_STEPS) {
    if (config[step]) throw bad(`${step} absent or false (BlipImageProcessor has no such step)`, config[step])
  }
  const resample = numberAt(config, 'resample', DEFAULTS.resample)
  if (!Number.isInteger(resample) || resample < 0 || resample > HAMMING) {
    throw bad('resample 0 to 5 (PIL.Image.Resampling)', resample)
  }
  const std = perChannel(config, 'image_std', DEFAULTS.std)
  if (std.includes(0)) throw bad('image_std without zeros', std)
  return {
    ...sizeOf(config['size']),
    resample: resample as Resample,
    do_resize: booleanAt(config, 'do_resize', DEFAULTS.do_resize),
    do_rescale: booleanAt(config, 'do_rescale', DEFAULTS.do_rescale),
    rescale_factor: numberAt(config, 'rescale_factor', DEFAULTS.rescale_factor),
    do_normalize: booleanAt(config, 'do_normalize', DEFAULTS.do_normalize),
    mean: perChannel(config, 'image_mean', DEFAULTS.mean),
    std,
  }
}

/** Resizes, rescales and normalizes: float32, [1, 3, height, width]. */
export function toPixels(rgb: Rgb, rule: PreprocessorConfig): Pixels {
  const {
    width,
    height,
    data: bytes,
  } = rule.do_resize ? resize(rgb, rule.width, rule.height, rule.resample) : rgb
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
  const mean = Math.fround(rule.mean[channel]!)
  const std = Math.fround(rule.std[channel]!)
  return Float32Array.from({ length: 256 }, (_, byte) => {
    const scaled = rule.do_rescale ? Math.fround(byte * rule.rescale_factor) : byte
    return rule.do_normalize ? Math.fround(scaled - mean) / std : scaled
  })
}

// --- parts of the config --------------------------------------------------------------------------------------

/** `{height, width}`, or one number for both. Sizes that depend on the picture are refused. */
function sizeOf(size: unknown): { width: number; height: number } {
  if (size === undefined || size === null) return { width: DEFAULTS.width, height: DEFAULTS.height }
  const { width, height } = typeof size === 'number' ? { width: size, height: size } : Object(size)
  const isSide = (side: unknown) => Number.isInteger(side) && Number(side) >= 1 && Number(side) <= MAX_SIDE
  if (!isSide(width) || !isSide(height)) {
    throw bad(`size as {"height": H, "width": W} or a number, 1 to ${MAX_SIDE}`, size)
  }
  return { width, height }
}

function perChannel(config: Record<string, unknown>, key: string, otherwise: PerChannel): PerChannel {
  const value = config[key] ?? otherwise
  const list: unknown[] = Array.isArray(value) ? value : [value, value, value]
  if (list.length !== 3 || !list.every(Number.isFinite)) throw bad(`${key} as one number or three`, value)
  return list as [number, number, number]
}

function numberAt(config: Record<string, unknown>, key: string, otherwise: number): number {
  const value = config[key] ?? otherwise
  if (typeof value !== 'number' || !Number.isFinite(value)) throw bad(`${key} as a number`, value)
  return value
}

function booleanAt(config: Record<string, unknown>, key: string, otherwise: boolean): boolean {
  const value = config[key] ?? otherwise
  if (typeof value !== 'boolean') throw bad(`${key} as true or false`, value)
  return value
}

function bad(expected: string, got: unknown): ArtifactError {
  return new ArtifactError(
    'bad_preprocessor_config',
    `Expected ${expected} in ${PICTURE_RULE} but got ${JSON.stringify(got)}. Download the file from the checkpoint's repository.`,
  )
}
