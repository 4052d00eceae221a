// Calls the compiled arithmetic of kernels.as.ts (WebAssembly): bytes of a checkpoint -> float32 or packed weights.
//
// Every call copies its values into the module's memory, runs to completion and copies the result out, so no state is
// left between calls.

import { readFileSync } from 'node:fs'
import { ArtifactError } from '../errors.ts'
import { FLOAT_BYTES, type Values } from './matrix.ts'

type Kernel =
  | 'firstFree'
  | 'widenBf16'
  | 'widenF16'
  | 'allFinite'
  | 'packBlocks8'
  | 'packBlocks4'
  | 'packColumns'
  | 'scaleInputs'
  | 'largestOfInputs'
/** The exports of kernels.as.ts, which has their parameters. */
type Exports = Record<Kernel, (...values: number[]) => number> & { memory: WebAssembly.Memory }

const MODULE = new URL('./kernels.wasm', import.meta.url)
const PAGE_BYTES = 65_536
/** Kernels read and write 16 bytes at a time, so the last access may pass the end of a region. */
const SLACK_BYTES = 64

let opened: Exports | undefined

function open(): Exports {
  opened ??= new WebAssembly.Instance(new WebAssembly.Module(readFileSync(MODULE)))
    .exports as unknown as Exports
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
  if (dtype === 'BF16') kernels.widenBf16(raw, floats, count)
  if (dtype === 'F16') kernels.widenF16(raw, floats, count)
  // One NaN makes every logit NaN; a block of 4-bit weights would hide it.
  if (!kernels.allFinite(floats, count)) {
    const message = `${name} holds NaN or infinity. Expected finite numbers. Download the checkpoint again.`
    throw new ArtifactError('bad_weights', message)
  }
  return { kernels, memory, floats, count, places }
}

/** float32, little-endian. @throws ArtifactError `bad_weights` for NaN and infinity. */
export function toFloat32(values: Values): Uint8Array {
  const { memory, floats, count } = load(values, [])
  return memory.slice(floats, floats + 4 * count)
}

/** Whole rows, each value times the factor of its input. @throws ArtifactError `bad_weights` for NaN and infinity. */
export function scaleInputs(values: Values, factors: Float32Array): Values {
  const { kernels, memory, floats, count, places } = load(values, [factors.byteLength])
  new Float32Array(memory.buffer, places[0], factors.length).set(factors)
  kernels.scaleInputs(floats, count / factors.length, factors.length, places[0]!)
  return { dtype: 'F32', bytes: memory.slice(floats, floats + 4 * count), name: values.name }
}

/** The largest |value| of each input over whole rows, and over `before`. @throws ArtifactError `bad_weights` for NaN and infinity. */
export function largestOfInputs(values: Values, before: Float32Array): Float32Array {
  const { kernels, memory, floats, count, places } = load(values, [before.byteLength])
  const largest = new Float32Array(memory.buffer, places[0], before.length)
  largest.set(before)
  kernels.largestOfInputs(floats, count / before.length, before.length, places[0]!)
  return largest.slice()
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
