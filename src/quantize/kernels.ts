// Calls the compiled arithmetic of kernels.as.ts (WebAssembly): bytes of a checkpoint -> float32 or packed weights.
//
// Every call copies its values into the module's memory, runs to completion and copies the result out, so no state is
// left between calls.

import { readFileSync } from 'node:fs'
import { ArtifactError } from '../errors.ts'
import { FLOAT_BYTES, type Values } from './matrix.ts'

type PackBlocks = (
  values: number,
  rows: number,
  inputs: number,
  block: number,
  packed: number,
  scales: number,
) => void

/** Addresses and sizes are bytes, counts are values. */
interface Exports {
  memory: WebAssembly.Memory
  firstFree(): number
  widenBf16(from: number, to: number, count: number): void
  widenF16(from: number, to: number, count: number): void
  allFinite16(from: number, count: number, ones: number): number
  allFinite32(from: number, count: number): number
  packBlocks8: PackBlocks
  packBlocks4(...args: [...Parameters<PackBlocks>, zeros: number]): void
  packColumns(values: number, rows: number, inputs: number, transposed: number, scales: number): void
  readThrough(from: number, bytes: number): number
}

const MODULE = new URL('./kernels.wasm', import.meta.url)
/** Bits of the exponent: all ones in infinity and NaN. */
const EXPONENT = { BF16: 0x7f80, F16: 0x7c00 } as const
const PAGE_BYTES = 65_536
/** Kernels read and write 16 bytes at a time, so the last access may pass the end of a region. */
const SLACK_BYTES = 64

let opened: Exports | undefined

function open(): Exports {
  opened ??= new WebAssembly.Instance(new WebAssembly.Module(readFileSync(MODULE)), {
    env: {
      abort: () => {
        throw new Error('the quantization kernels aborted')
      },
    },
  }).exports as unknown as Exports
  return opened
}

/** Addresses of consecutive regions of these sizes in bytes. Grows the module's memory when they do not fit. */
function allocate({ memory, firstFree }: Exports, sizes: readonly number[]): number[] {
  let end = firstFree()
  const places = sizes.map((bytes) => {
    const place = end
    end += Math.ceil((bytes + SLACK_BYTES) / 16) * 16
    return place
  })
  const missing = end - memory.buffer.byteLength
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES))
  return places
}

/**
 * Widens the values to float32 in the module's memory and allocates regions of `sizes` bytes.
 * @throws ArtifactError `bad_weights` for NaN and infinity.
 */
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
  // One NaN makes every logit NaN; a block of 4-bit weights would hide it.
  if (!finite) {
    throw new ArtifactError(
      'bad_weights',
      `${name} holds NaN or infinity. Expected finite numbers. Download the checkpoint again.`,
    )
  }
  if (dtype === 'BF16') kernels.widenBf16(raw, floats, count)
  if (dtype === 'F16') kernels.widenF16(raw, floats, count)
  return { kernels, memory, floats, count, places }
}

/** float32, little-endian. @throws ArtifactError `bad_weights` for NaN and infinity. */
export function toFloat32(values: Values): Uint8Array {
  const { memory, floats, count } = load(values, [])
  return memory.slice(floats, floats + 4 * count)
}

/** How `pack` stores weights: in blocks along a row, or as signed bytes with one scale per output. */
export type PackFormat = { kind: 'blocks'; bits: 4 | 8; block: number } | { kind: 'columns' }

export interface Packed {
  /** Blocks: [rows, blocks, block * bits / 8]. Columns: int8 [inputs, rows]. */
  values: Uint8Array
  /** float32, as bytes. Blocks: [rows, blocks]. Columns: [rows]. */
  scales: Uint8Array
  /** Blocks of 4 bits: [rows, ceil(blocks / 2)], two zero points to a byte. Otherwise empty. */
  zeros: Uint8Array
}

/** Whole rows of `inputs` values -> packed integers. @throws ArtifactError `bad_weights` for NaN and infinity. */
export function pack(from: Values, inputs: number, format: PackFormat): Packed {
  const rows = from.bytes.length / FLOAT_BYTES[from.dtype] / inputs
  const sizes = packedSizes(rows, inputs, format)
  const { kernels, memory, floats, places } = load(from, sizes)
  const [values = 0, scales = 0, zeros = 0] = places
  if (format.kind === 'columns') kernels.packColumns(floats, rows, inputs, values, scales)
  else if (format.bits === 8) kernels.packBlocks8(floats, rows, inputs, format.block, values, scales)
  else kernels.packBlocks4(floats, rows, inputs, format.block, values, scales, zeros)
  const copy = (i: number) => memory.slice(places[i]!, places[i]! + sizes[i]!)
  return { values: copy(0), scales: copy(1), zeros: copy(2) }
}

/** Bytes of values, scales and zero points. */
function packedSizes(rows: number, inputs: number, format: PackFormat): [number, number, number] {
  if (format.kind === 'columns') return [rows * inputs, 4 * rows, 0]
  const { bits, block } = format
  const blocks = Math.ceil(inputs / block)
  return [
    (rows * blocks * block * bits) / 8,
    4 * rows * blocks,
    bits === 4 ? rows * Math.ceil(blocks / 2) : 0,
  ]
}

/** Milliseconds it takes to read `bytes` bytes of memory `times` times. For bench/bandwidth.ts. */
export function timeReading(bytes: number, times: number): number {
  const kernels = open()
  const [place = 0] = allocate(kernels, [bytes])
  // Untouched pages all map to one zero page, which would be read from the CPU's cache.
  new Uint8Array(kernels.memory.buffer, place, bytes).fill(1)
  const start = performance.now()
  for (let i = 0; i < times; i++) kernels.readThrough(place, bytes)
  return performance.now() - start
}
