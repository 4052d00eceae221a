// Vectors, one row for each input -> a .npy, .safetensors or .jsonl file that grows row by row and can be continued.
//
// Rows go to `<file>.partial`, which becomes `<file>` when all are written. `<file>.inputs.jsonl` has a line for each row: its
// input, and the error where there is one; such a row of numbers is NaN. A process that is killed loses at most the row that it
// was writing. Formats: numpy's format.py (version 1.0); safetensors' README.

import { createReadStream } from 'node:fs'
import { open, readFile, rename, truncate, writeFile } from 'node:fs/promises'
import { RequestError } from '../errors.ts'

export const FORMATS = ['npy', 'safetensors', 'jsonl'] as const
export type Format = (typeof FORMATS)[number]

const LINE_FEED = 10

export interface Row {
  shape: number[]
  data: Float32Array
}

interface Plan {
  format: Format
  /** What the rows are, and of which model: rows of another are not continued. */
  kind: string
  model: string
  inputs: readonly string[]
}

/** A file that is written. */
export interface VectorFile {
  /** Rows that an earlier run has written. */
  readonly done: number
  add(row: Row | { error: string }): Promise<void>
  /** Puts the file in its place. */
  finish(): Promise<void>
  close(): Promise<void>
}

/** @throws RequestError `bad_field` when rows differ in shape in a format of one shape */
export async function openVectorFile(path: string, plan: Plan): Promise<VectorFile> {
  const partial = `${path}.partial`
  const list = `${path}.inputs.jsonl`
  const head = JSON.stringify({ kind: plan.kind, model: plan.model, count: plan.inputs.length })
  const found = await resumable(partial, list, head, plan)
  if (!found) {
    await writeFile(partial, '')
    await writeFile(list, `${head}\n`)
  }
  let shape = found?.shape
  let done = found?.done ?? 0
  /** Rows that failed before the shape was known. */
  let waiting = shape === undefined ? done : 0
  const rows = await open(partial, 'a')
  const lines = await open(list, 'a')
  const begin = async (own: number[]) => {
    shape = own
    const { format, kind, inputs } = plan
    if (format !== 'jsonl') await rows.write(headerOf(format, kind, [inputs.length, ...own]))
    for (; waiting > 0 && format !== 'jsonl'; waiting--) await rows.write(bytesOf(emptyRow(own)))
  }
  return {
    get done() {
      return done
    },
    async add(row) {
      const input = plan.inputs[done]!
      const error = 'error' in row ? row.error : undefined
      if (plan.format === 'jsonl') {
        const own = 'error' in row ? { error } : { shape: row.shape, data: [...row.data] }
        await rows.write(`${JSON.stringify({ input, kind: plan.kind, ...own })}\n`)
      } else if ('error' in row) {
        if (shape) await rows.write(bytesOf(emptyRow(shape)))
        else waiting++
      } else {
        if (!shape) await begin(row.shape)
        if (String(row.shape) !== String(shape)) throw differentShape(plan.format, shape!, row.shape)
        await rows.write(bytesOf(row.data))
      }
      await lines.write(
        `${JSON.stringify({ input, shape: 'error' in row ? undefined : row.shape, error })}\n`,
      )
      done++
    },
    async finish() {
      // Of inputs that all failed there is no shape.
      if (!shape && plan.format !== 'jsonl') await begin([0])
      await rows.sync()
      await rename(partial, path)
    },
    async close() {
      await Promise.all([rows.close(), lines.close()])
    },
  }
}

/** How many rows of the plan an earlier run has written; both files are cut to them. undefined if it wrote others. */
async function resumable(
  partial: string,
  list: string,
  head: string,
  { format, kind, inputs }: Plan,
): Promise<{ done: number; shape?: number[] } | undefined> {
  const [first, ...text] = (await readFile(list, 'utf8').catch(() => '')).split('\n')
  const size = await open(partial, 'r').then(
    async (file) => (await file.stat().finally(() => file.close())).size,
    () => undefined,
  )
  if (first !== head || size === undefined) return undefined
  const written = text.slice(0, -1).map((line) => JSON.parse(line) as { input: string; shape?: number[] })
  if (written.some(({ input }, i) => input !== inputs[i])) return undefined
  const shape = format === 'jsonl' ? undefined : written.find((row) => row.shape)?.shape
  if (format === 'jsonl') {
    // A row is written before its line in the list.
    let [done, end, position] = [0, 0, 0]
    for await (const chunk of createReadStream(partial) as AsyncIterable<Buffer>) {
      for (let at = chunk.indexOf(LINE_FEED); at >= 0 && done < written.length; ) {
        done++
        end = position + at + 1
        at = chunk.indexOf(LINE_FEED, at + 1)
      }
      position += chunk.length
    }
    await truncate(partial, end)
    await cutList(list, head, text, done)
    return { done }
  }
  if (!shape) {
    await truncate(partial, 0)
    await cutList(list, head, text, written.length)
    return { done: written.length }
  }
  const rowBytes = 4 * shape.reduce((a, b) => a * b, 1)
  const headBytes = headerOf(format, kind, [inputs.length, ...shape]).length
  const done = Math.min(written.length, Math.floor((size - headBytes) / rowBytes))
  if (done < 0) return undefined
  await truncate(partial, headBytes + done * rowBytes)
  await cutList(list, head, text, done)
  return { done, shape }
}

async function cutList(list: string, head: string, lines: readonly string[], done: number): Promise<void> {
  await writeFile(list, [head, ...lines.slice(0, done)].map((line) => `${line}\n`).join(''))
}

function headerOf(format: Exclude<Format, 'jsonl'>, kind: string, shape: readonly number[]): Buffer {
  if (format === 'safetensors') {
    const size = 4 * shape.reduce((a, b) => a * b, 1)
    const json = JSON.stringify({ [kind]: { dtype: 'F32', shape, data_offsets: [0, size] } })
    // The data begin at a multiple of eight bytes.
    const text = json.padEnd(Math.ceil(json.length / 8) * 8)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(text.length))
    return Buffer.concat([length, Buffer.from(text)])
  }
  const tuple = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`
  // Magic, version and length have ten bytes; the data begin at a multiple of 64.
  const padded = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)
  const length = Buffer.alloc(2)
  length.writeUInt16LE(padded.length + 1)
  return Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    length,
    Buffer.from(`${padded}\n`, 'latin1'),
  ])
}

function emptyRow(shape: readonly number[]): Float32Array {
  return new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(Number.NaN)
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function differentShape(format: Format, expected: readonly number[], got: readonly number[]): RequestError {
  const message = `Expected rows of the shape [${expected}] in a .${format} file but got [${got}]. Use --pool first or mean, or a .jsonl file.`
  return new RequestError('bad_field', message)
}
