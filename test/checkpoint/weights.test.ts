// Everything that is wrong with a checkpoint's tensors, in one error.

import { rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { openSafetensors } from '../../src/checkpoint/safetensors.ts'
import { Weights } from '../../src/checkpoint/weights.ts'
import { planModel } from '../../src/model/architectures.ts'
import { configWith, makeCheckpoint, type RawTensor, randomTensors } from '../make-checkpoint.ts'

const config = await configWith({})
const good = randomTensors(config)
const FC1 = 'language_model.model.decoder.layers.0.fc1'

async function draw(tensors: RawTensor[]): Promise<string> {
  const folder = await makeCheckpoint(config, tensors)
  const files = await openSafetensors(folder)
  try {
    planModel(config).build(new Weights(files, () => ({ kind: 'float32' })))
    return 'complete'
  } catch (error) {
    return (error as Error).message
  } finally {
    await rm(folder, { recursive: true })
  }
}

const edited = (name: string, edit: Partial<RawTensor>) =>
  good.map((tensor) => (tensor.name === name ? { ...tensor, ...edit } : tensor))
const floats = (count: number) => new Uint8Array(count * 4)

test('the tensors of the config are complete', async () => {
  expect(await draw(good)).toBe('complete')
})

test('missing, misshapen, quantized and unread tensors are named in one error, with what to do', async () => {
  const tensors = edited(`${FC1}.weight`, { shape: [24, 48] })
    .map((tensor) => (tensor.name === 'query_tokens' ? { ...tensor, dtype: 'I32' } : tensor))
    .filter(({ name }) => name !== `${FC1}.bias`)
  const message = await draw([
    ...tensors,
    { name: 'surplus', dtype: 'I64', shape: [1], bytes: new Uint8Array(8) },
  ])
  expect(message).toContain(`1 missing: ${FC1}.bias [48]`)
  expect(message).toContain(`1 misshapen: ${FC1}.weight is [24, 48], expected [48, 24]`)
  expect(message).toContain('1 quantized: query_tokens is I32, expected F64, F32, F16 or BF16')
  expect(message).toContain('1 not part of this model: surplus')
  expect(message).toContain('Check that config.json and the weights are of the same checkpoint')
})

test('of a long list every tensor is named, layers alike together', async () => {
  const message = await draw(good.slice(0, 3))
  expect(message).toContain(`${good.length - 3} missing`)
  const unnumbered = (text: string) => text.replace(/\.(\d|0-1)\./g, '.*.')
  for (const { name } of good.slice(3)) expect(unnumbered(message)).toContain(`${unnumbered(name)} [`)
  expect(message.match(/decoder\.layers\.\S+\.fc1\.bias/g)).toEqual(['decoder.layers.0-1.fc1.bias'])
})

test('layers that are not consecutive are listed apart, and so are different shapes', async () => {
  const odd = [0, 1, 2, 5, 10, 11].map((i) => `odd.${i}.scale`)
  const zeros = (name: string): RawTensor => ({ name, dtype: 'F32', shape: [1], bytes: floats(1) })
  const message = await draw([...good, ...[...odd, 'odd.scale', 'odd.01.scale', '7'].map(zeros)])
  expect(message).toContain('9 not part of this model: ')
  for (const text of ['odd.{0-2,5,10-11}.scale', 'odd.scale', 'odd.01.scale', '7']) {
    expect(message.split(/: |, |\. /)).toContain(text)
  }
})

test.each<[string, (name: string) => RawTensor[], string]>([
  ['one dimension more', (name) => edited(name, { shape: [48, 1] }), 'is [48, 1], expected [48]'],
  ['a scalar', (name) => edited(name, { shape: [], bytes: floats(1) }), 'is [], expected [48]'],
  ['no values', (name) => edited(name, { shape: [0], bytes: floats(0) }), 'is [0], expected [48]'],
])('a bias with %s is misshapen', async (_, make, words) => {
  expect(await draw(make(`${FC1}.bias`))).toContain(`${FC1}.bias ${words}`)
})

test('the tied head is read under either name, and under both', async () => {
  const EMBED = 'language_model.model.decoder.embed_tokens.weight'
  const HEAD = 'language_model.lm_head.weight'
  const table = good.find(({ name }) => name === EMBED)!
  expect(await draw(edited(EMBED, { name: HEAD }))).toBe('complete')
  expect(await draw([...good, { ...table, name: HEAD }])).toBe('complete')
  expect(await draw(good.filter(({ name }) => name !== EMBED))).toContain(`1 missing: ${EMBED} [320, 24]`)
})

test('the bias of vision is read whole or as two, and not as one of the two', async () => {
  const split = good.flatMap((tensor) =>
    tensor.name.endsWith('qkv.bias')
      ? ['q_bias', 'v_bias'].map((name) => ({
          ...tensor,
          name: tensor.name.replace('qkv.bias', name),
          shape: [24],
          bytes: floats(24),
        }))
      : [tensor],
  )
  expect(await draw(split)).toBe('complete')
  const message = await draw(split.filter(({ name }) => !name.endsWith('1.self_attn.v_bias')))
  expect(message).toContain('1 missing: vision_model.encoder.layers.1.self_attn.v_bias [24]')
})
