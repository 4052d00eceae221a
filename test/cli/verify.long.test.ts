// `glimpse verify` as a process: with references, and with published expectations.

import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readReference } from '../../src/verify/reference.ts'
import { FIXTURES } from '../fixtures.ts'
import { glimpse } from './glimpse.ts'

let folder: string
let artifact: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = join(folder, 'plain')
  await glimpse(['build', join(FIXTURES, 'checkpoints/plain'), '--out', artifact, '--precision', 'fp32'])
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('verify passes for the artifact that the references were recorded from, and fails for another', async () => {
  const pictures = join(FIXTURES, 'references')
  const names = ['disc-40x30-0', 'triangle-33x57-1', 'disc-40x30-2']
  const references = names.map((name) => join(pictures, 'plain', `${name}.safetensors`))
  const { out, code } = await glimpse(['verify', artifact, ...references, '--pictures', pictures])
  const rows = out.split('\n').map((line) => line.split(/\s+/))
  expect(rows.map(([stage, files]) => [stage, files]).slice(1, 8)).toEqual(
    ['pixel_values', 'vision', 'queries', 'prefix', 'input_ids', 'logits', 'token_ids'].map((stage) => [
      stage,
      '3',
    ]),
  )
  expect(rows.slice(1, 8).map((row) => row.at(-1))).toEqual(new Array(7).fill('yes'))
  expect(out).toMatch(/\nPassed\.\n$/)
  expect(code).toBe(0)
  const small = join(folder, 'int4')
  await glimpse(['build', join(FIXTURES, 'checkpoints/plain'), '--out', small, '--precision', 'int4'])
  const strict = await glimpse(['verify', '--json', '--tolerance', '1e-4', small, ...references])
  const result = JSON.parse(strict.out)
  expect(result).toMatchObject({ holds: false, tolerance: 1e-4, tokens: { compared: 3 } })
  expect(result.stages[0]).toMatchObject({ stage: 'vision', files: 3 })
  expect(result.stages[0].relativeError).toBeGreaterThan(1e-4)
  expect(result.missingPictures).toEqual(['disc-40x30.png', 'triangle-33x57.png'])
  expect(strict.code).toBe(1)
})

/** A hub of this process that has one picture of a dataset, under each name. */
async function hubWith(picture: string) {
  const asked: string[] = []
  const bytes = await readFile(picture)
  const server = createServer((request, response) => {
    asked.push(request.url!)
    response.end(bytes)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { endpoint: `http://127.0.0.1:${port}`, asked, close: () => server.close() }
}

test('--published fetches the picture once and prints the expected answers beside those of the artifact', async () => {
  const references = join(FIXTURES, 'references')
  const recorded = await readReference(join(references, 'plain/disc-40x30-0.safetensors'))
  const ids = [...recorded.tensors.get('token_ids')!.data].map(Number)
  const stub = async (name: string, expected: number[]) => {
    const path = join(folder, `${name}.safetensors`)
    const metadata = {
      image: 'demo.jpg',
      prompt: recorded.prompt!,
      generation: JSON.stringify(recorded.generation),
    }
    await writeSafetensors(path, expected, metadata)
    return path
  }
  const hub = await hubWith(join(references, 'disc-40x30.png'))
  const env = { HF_ENDPOINT: hub.endpoint, GLIMPSE_CACHE: join(folder, 'cache') }
  const right = await glimpse(['verify', artifact, await stub('right', ids), '--published'], env)
  expect(right.code).toBe(0)
  const [, expected, got] = /expected {2}(.*)\n {2}got {7}(.*)\n/.exec(right.out)!
  expect(got).toBe(expected)
  const wrong = await glimpse(['verify', artifact, await stub('wrong', [5, 6, 7]), '--published'], env)
  expect(wrong.code).toBe(1)
  const [, other, same] = /expected {2}(.*)\n {2}got {7}(.*)\n/.exec(wrong.out)!
  expect([other === expected, same]).toEqual([false, got])
  expect(hub.asked).toEqual(['/hf-internal-testing/blip-test-image/resolve/main/demo.jpg'])
  hub.close()
  // Without expectations of one's own, the checkpoint must be a published one.
  const none = await glimpse(['verify', artifact, '--published'], env)
  expect(none.err).toContain(
    'Expected an artifact of blip2-flan-t5-xl, instructblip-vicuna-7b, blip2-opt-2.7b but',
  )
  expect(none.code).toBe(1)
})

/** A file of one int64 tensor, token_ids. */
async function writeSafetensors(path: string, ids: number[], metadata: Record<string, string>) {
  const data = new BigInt64Array(ids.map(BigInt))
  const entry = { dtype: 'I64', shape: [ids.length], data_offsets: [0, data.byteLength] }
  const header = Buffer.from(JSON.stringify({ __metadata__: metadata, token_ids: entry }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  await writeFile(path, Buffer.concat([length, header, Buffer.from(data.buffer)]))
}
