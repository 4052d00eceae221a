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
  behind: readonly number[]
}

const EXTENSION = 0x21
const GRAPHIC_CONTROL = 0xf9
const IMAGE = 0x2c

type Four = [number, number, number, number]

/** Undefined if there is no first frame. @throws RequestError `not_a_picture` if the GIF has no colour table */
export function firstFrame(bytes: Uint8Array): FirstFrame | undefined {
  const gif = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const globalColours = coloursOf(gif[10])
  let transparentIndex = 0
  for (let at = 13 + globalColours * 3; at + 10 <= gif.length; ) {
    if (gif[at] === IMAGE) {
      const localColours = coloursOf(gif[at + 9])
      const colours = localColours || globalColours
      if (!colours) throw notAPicture('a GIF file without colours')
      const [left, top, width, height] = [1, 3, 5, 7].map((field) => gif.readUInt16LE(at + field)) as Four
      const behindAt = (localColours ? at + 10 : 13) + transparentIndex * 3
      // Pillow fills its palette with black after the table of the file.
      const isBlack = transparentIndex >= colours || behindAt + 3 > gif.length
      return {
        canvasWidth: Math.max(gif.readUInt16LE(6), left + width),
        canvasHeight: Math.max(gif.readUInt16LE(8), top + height),
        left,
        top,
        width,
        height,
        behind: isBlack ? [0, 0, 0] : [...gif.subarray(behindAt, behindAt + 3)],
      }
    }
    if (gif[at] !== EXTENSION) return undefined
    if (gif[at + 1] === GRAPHIC_CONTROL && gif[at + 3]! & 1) transparentIndex = gif[at + 6]!
    // A data block is a length byte and that many bytes. The last one has length 0.
    for (at += 2; at < gif.length && gif[at] !== 0; ) at += gif[at]! + 1
    at++
  }
  return undefined
}

/** The number of colours by a byte of packed flags; 0 without a table. */
function coloursOf(flags = 0): number {
  return flags & 0x80 ? 2 << (flags & 7) : 0
}
