// GIF file -> the size of its canvas, the position of the first frame, and the colour that Pillow gives to transparent and
// uncovered pixels. libvips decodes the frame, but makes these pixels black, and crops some canvases (640 x 480,
// 800 x 600...) to the frame.
//
// Source: GIF89a sections 18 to 23; Pillow 13 GifImagePlugin.py `_seek` (a canvas grows to hold its first frame) and
// `load_prepare` (filled with the transparent index, else with index 0); libnsgif's list of suspect sizes.

import { notAPicture } from './refusal.ts'

export interface FirstFrame {
  canvasWidth: number
  canvasHeight: number
  left: number
  top: number
  width: number
  height: number
  /** The background of Pillow's convert("RGB"). */
  behind: readonly [number, number, number]
}

const EXTENSION = 0x21
const GRAPHIC_CONTROL = 0xf9
const IMAGE = 0x2c

/** Undefined if there is no first frame. @throws RequestError `not_a_picture` if the GIF has no colour table */
export function firstFrame(gif: Uint8Array): FirstFrame | undefined {
  if (gif.length < 13) return undefined
  const view = new DataView(gif.buffer, gif.byteOffset, gif.byteLength)
  const globalColours = coloursOf(view.getUint8(10))
  let at = 13 + globalColours * 3
  let transparentIndex = 0

  while (at + 10 <= gif.length) {
    const kind = view.getUint8(at)
    if (kind === IMAGE) {
      const localColours = coloursOf(view.getUint8(at + 9))
      const table = localColours ? at + 10 : 13
      const colours = localColours || globalColours
      if (!colours) throw notAPicture('a GIF file without colours')
      const left = view.getUint16(at + 1, true)
      const top = view.getUint16(at + 3, true)
      const width = view.getUint16(at + 5, true)
      const height = view.getUint16(at + 7, true)
      return {
        canvasWidth: Math.max(view.getUint16(6, true), left + width),
        canvasHeight: Math.max(view.getUint16(8, true), top + height),
        left,
        top,
        width,
        height,
        behind: colourAt(gif, table, colours, transparentIndex),
      }
    }
    if (kind !== EXTENSION) return undefined
    if (view.getUint8(at + 1) === GRAPHIC_CONTROL && view.getUint8(at + 3) & 1)
      transparentIndex = view.getUint8(at + 6)
    at = afterBlocks(gif, at + 2)
  }
  return undefined
}

/** The number of colours by a byte of packed flags; 0 without a table. */
function coloursOf(flags: number): number {
  return flags & 0x80 ? 2 << (flags & 7) : 0
}

/** Pillow fills its palette with black after the table of the file. */
function colourAt(gif: Uint8Array, table: number, colours: number, index: number): [number, number, number] {
  if (index >= colours || table + index * 3 + 3 > gif.length) return [0, 0, 0]
  const at = table + index * 3
  return [gif[at]!, gif[at + 1]!, gif[at + 2]!]
}

/** A data block is a length byte and that many bytes. The last one has length 0. */
function afterBlocks(gif: Uint8Array, start: number): number {
  let at = start
  while (at < gif.length && gif[at] !== 0) at += gif[at]! + 1
  return at + 1
}
