import { expect, test } from 'vitest'
import { ArtifactError } from '../../src/errors.ts'
import { parsePreprocessorConfig, toPixels } from '../../src/image/pixels.ts'
import { bytesAt, expected } from './expected.ts'
import { noise } from './noise.ts'

test.each(expected.pixels)(
  `equals BlipImageProcessorPil of transformers ${expected.transformers}: $rule`,
  (one) => {
    const pixels = toPixels(noise(one.width, one.height, one.seed), parsePreprocessorConfig(one.rule))
    expect(pixels.dims).toEqual(one.dims)
    const bytes = bytesAt(one)
    const wanted = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
    expect(pixels.data).toEqual(wanted)
  },
)

test('reads the published checkpoint file', () => {
  const rule = parsePreprocessorConfig({
    do_convert_rgb: true,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_processor_type: 'BlipImageProcessor',
    image_std: [0.26862954, 0.26130258, 0.27577711],
    processor_class: 'Blip2Processor',
    resample: 3,
    rescale_factor: 0.00392156862745098,
    size: { height: 224, width: 224 },
  })
  expect(rule).toEqual({ ...parsePreprocessorConfig({}), width: 224, height: 224 })
})

test('takes BlipImageProcessor defaults for missing and null keys, side 384 among them', () => {
  const rule = parsePreprocessorConfig({ size: null, resample: null })
  expect(rule).toEqual(parsePreprocessorConfig({}))
  expect([rule.width, rule.height, rule.resample, rule.rescale_factor]).toEqual([384, 384, 3, 1 / 255])
})

test.each([
  ['a JSON object', []],
  ['a JSON object', null],
  ['size as', { size: { shortest_edge: 224 } }],
  ['size as', { size: { height: 224 } }],
  ['size as', { size: 0 }],
  ['size as', { size: 1e9 }],
  ['size as', { size: '224' }],
  ['size as', { size: [224, 224] }],
  ['resample 0 to 5', { resample: 6 }],
  ['resample as a number', { resample: 'bicubic' }],
  ['do_resize as true or false', { do_resize: 1 }],
  ['do_center_crop absent', { do_center_crop: true }],
  ['image_mean as one number or three', { image_mean: [0.5, 0.5] }],
  ['image_std without zeros', { image_std: [1, 0, 1] }],
  ['rescale_factor as a number', { rescale_factor: '1/255' }],
])('expects %s, not %j', (words, json) => {
  expect(() => parsePreprocessorConfig(json)).toThrow(ArtifactError)
  expect(() => parsePreprocessorConfig(json)).toThrow(`Expected ${words}`)
})
