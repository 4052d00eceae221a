// The compiled arithmetic of kernels.as.ts behind typed arrays: bytes of a checkpoint in, packed weights out.
//
// Every call copies its values into the module's memory, runs to its end and copies the result out, so that calls of
// different weights never meet there.

import { readFileSync } from 'node:fs'
import { ArtifactError } from '../errors.ts'
import { FLOAT_BYTES, type Values } from './matrix.ts'

interface Exports {
  memory: WebAssembly.Memory
  firstFree(): number
  widenBf16(from: number, to: number, count: number): void
  widenF16(from: number, to: number, count: number): void
  allFinite16(from: number, count: number, ones: number): number
  allFinite32(from: number, count: number): number
  packBlocks8(
    values: number,
    rows: number,
    inputs: number,
    block: number,
    packed: number,
    scales: number,
  ): void
  packBlocks4(
    values: number,
    rows: number,
    inputs: number,
    block: number,
    packed: number,
    scales: number,
    zeros: number,
  ): void
  packColumns(values: number, rows: number, inputs: number, transposed: number, scales: number): void
  readThrough(from: number, bytes: number): number
}

const MODULE = new URL('./kernels.wasm', import.meta.url)
/** Its bits, all ones in infinity and NaN. */
const EXPONENT = { BF16: 0x7f80, F16: 0x7c00 } as const
const PAGE_BYTES = 65_536
/** Kernels read and write 16 bytes at a time, the last ones partly past the end. */
const SLACK_BYTES = 64

let opened: Exports | undefined

function open(): Exports {
  opened ??= new WebAssembly.Instance(new WebAssembly.Module(readFileSync(MODULE)), {
    env: {
      abort: () => {
        throw new Error('the quantization kernels stopped')
      },
    },
  }).exports as unknown as Exports
  return opened
}

/** Addresses of regions of these sizes, one after another, in memory that is large enough for them. */
function allocate({ memory: cache, firstFree }: Exports, sizes: readonly number[]): number[] {
  let end = firstFree()
  const places = sizes.map((bytes) => {
    const place = end
    end += Math.ceil((bytes + SLACK_BYTES) / 16) * 16
    return place
  })
  const missing = end - cache.buffer.byteLength
  if (missing > 0) cache.grow(Math.ceil(missing / PAGE_BYTES))
  return places
}

/** Widens the values into a region of their own, before regions of the sizes given. Throws ArtifactError `bad_weights`. */
function load(values: Values, sizes: readonly number[]) {
  const kernels = open()
  const { dtype, bytes, name } = values
  const count = bytes.length / FLOAT_BYTES[dtype]
  const [floats = 0, raw = 0, ...places] = allocate(kernels, [
    4 * count,
    dtype === 'F32' ? 0 : bytes.length,
    ...sizes,
  ])
  const memory = new Uint8Array(kernels.memory.buffer)
  memory.set(bytes, dtype === 'F32' ? floats : raw)
  const finite =
    dtype === 'F32' ? kernels.allFinite32(floats, count) : kernels.allFinite16(raw, count, EXPONENT[dtype])
  // One NaN would make every answer NaN, and a block of 4-bit weights would hide it.
  if (!finite) {
    throw new ArtifactError(
      'bad_weights',
      `Expected ${name} to hold numbers but it holds NaN or infinity. Fetch the checkpoint again.`,
    )
  }
  if (dtype === 'BF16') kernels.widenBf16(raw, floats, count)
  if (dtype === 'F16') kernels.widenF16(raw, floats, count)
  return { kernels, memory, floats, count, places }
}

/** float32, little-endian. */
export function toFloat32(values: Values): Uint8Array {
  const { memory, floats, count } = load(values, [])
  return memory.slice(floats, floats + 4 * count)
}

export interface PackedBlocks {
  /** [rows, blocks, block * bits / 8] */
  packed: Uint8Array
  /** float32 [rows, blocks], as bytes. */
  scales: Uint8Array
  /** Of 4 bits: [rows, ceil(blocks / 2)], two zero points to a byte. */
  zeros: Uint8Array
}

export function packBlocks(values: Values, inputs: number, bits: 4 | 8, block: number): PackedBlocks {
  const rows = values.bytes.length / FLOAT_BYTES[values.dtype] / inputs
  const blocks = Math.ceil(inputs / block)
  const packedBytes = (rows * blocks * block * bits) / 8
  const scaleBytes = 4 * rows * blocks
  const zeroBytes = bits === 4 ? rows * Math.ceil(blocks / 2) : 0
  const { kernels, memory, floats, places } = load(values, [packedBytes, scaleBytes, zeroBytes])
  const [packed = 0, scales = 0, zeros = 0] = places
  if (bits === 4) kernels.packBlocks4(floats, rows, inputs, block, packed, scales, zeros)
  else kernels.packBlocks8(floats, rows, inputs, block, packed, scales)
  return {
    packed: memory.slice(packed, packed + packedBytes),
    scales: memory.slice(scales, scales + scaleBytes),
    zeros: memory.slice(zeros, zeros + zeroBytes),
  }
}

export interface PackedChannels {
  /** int8 [inputs, rows] */
  transposed: Uint8Array
  /** float32 [rows], as bytes. */
  scales: Uint8Array
}

export function packPerChannel(values: Values, inputs: number): PackedChannels {
  const rows = values.bytes.length / FLOAT_BYTES[values.dtype] / inputs
  const { kernels, memory, floats, places } = load(values, [rows * inputs, 4 * rows])
  const [transposed = 0, scales = 0] = places
  kernels.packColumns(floats, rows, inputs, transposed, scales)
  return {
    transposed: memory.slice(transposed, transposed + rows * inputs),
    scales: memory.slice(scales, scales + 4 * rows),
  }
}

/** Reads so many bytes of memory so many times; milliseconds. For measuring (bench/bandwidth.ts). */
export function timeReading(bytes: number, times: number): number {
  const kernels = open()
  const [place = 0] = allocate(kernels, [bytes])
  // Pages that were never written all stand for the same one.
  new Uint8Array(kernels.memory.buffer, place, bytes).fill(1)
  const began = performance.now()
  for (let i = 0; i < times; i++) kernels.readThrough(place, bytes)
  return performance.now() - began
}
