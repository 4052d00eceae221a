// AVIF file -> a copy with the major brand that libheif expects, and the steps that libheif leaves out, to be done on its
// decoded pixels.
//
// Source: ISO 14496-12 (boxes), 23008-12 (`meta`, `iprp`, `iref`); AV1 image format 1.1 (brands, `av1C`, `prem`).

import { notAPicture } from './refusal.ts'

interface Avif {
  /** Of a sequence (`avis`), libheif decodes the still, which is the first frame. */
  file: Buffer
  /** Whether the colours are multiplied by alpha. */
  isPremultiplied: boolean
  /** Whether the picture is grey from 16 to 235. libheif does not scale it to 0 to 255. */
  isLimitedGrey: boolean
}

/** A real file has a few dozen boxes at one level. */
const MAX_BOXES = 4096

export function readAvif(bytes: Uint8Array): Avif {
  const file = Buffer.from(bytes)
  file.write('avif', 8, 'latin1')
  const outermost = boxes(file, 0, file.length)
  const meta = outermost.find(({ type }) => type === 'meta')
  if (!meta && outermost.some(({ type }) => type === 'moov'))
    throw notAPicture('an AVIF sequence without a still')
  const inside = (name: string, parent: Box[]) =>
    parent.filter(({ type }) => type === name).flatMap(({ from, to }) => boxes(file, from, to))
  const items = meta ? boxes(file, meta.from + 4, meta.to) : []
  const properties = inside('ipco', inside('iprp', items))
  const codings = properties.filter(({ type }) => type === 'av1C')
  const references = items
    .filter(({ type }) => type === 'iref')
    .flatMap(({ from, to }) => boxes(file, from + 4, to))
  return {
    file,
    isPremultiplied: references.some(({ type }) => type === 'prem'),
    // Alpha is always monochrome, so the picture is monochrome if all codings are.
    isLimitedGrey:
      codings.every(({ from }) => ((file[from + 2] ?? 0) & 0x10) !== 0) &&
      properties.some(
        ({ type, from }) =>
          type === 'colr' &&
          file.toString('latin1', from, from + 4) === 'nclx' &&
          (file[from + 10] ?? 0) < 0x80,
      ),
  }
}

interface Box {
  type: string
  from: number
  to: number
}

/** The contents of the boxes between two offsets, up to the first box that does not fit. */
function boxes(file: Buffer, start: number, end: number): Box[] {
  const found: Box[] = []
  for (let at = start; at + 8 <= end && found.length < MAX_BOXES; ) {
    const size = file.readUInt32BE(at)
    const isLong = size === 1 && at + 16 <= end
    const length = isLong ? Number(file.readBigUInt64BE(at + 8)) : size || end - at
    const to = at + length
    if (length < 8 || to > end) break
    found.push({ type: file.toString('latin1', at + 4, at + 8), from: at + (isLong ? 16 : 8), to })
    at = to
  }
  return found
}
