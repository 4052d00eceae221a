// A JPEG file and an XMP packet -> the file with the packet in it. Every other byte stays, so the picture is the same.
//
//   SOI, APP0 (JFIF), APP1 (Exif), APP1 (XMP), ..., SOS, coded picture, EOI, what phones append
//
// Sources: ITU T.81 B.1.1; XMP specification part 3, section 1.1.3; CIPA DC-007 (MPF), section 5.

import { RequestError } from '../errors.ts'
import type { Container } from './container.ts'

const XMP = Buffer.from('http://ns.adobe.com/xap/1.0/\0', 'latin1')
const EXTENDED = Buffer.from('http://ns.adobe.com/xmp/extension/\0', 'latin1')
const EXIF = Buffer.from('Exif\0', 'latin1')
const MPF = Buffer.from('MPF\0', 'latin1')
const [APP0, APP1, APP2, SOS, EOI] = [0xe0, 0xe1, 0xe2, 0xda, 0xd9]
/** Length of a segment, its own two bytes included. */
const MAX_SEGMENT = 0xffff
/** Spaces with which later writers can change a packet in place. */
const PADDING = 2_048

interface Segment {
  marker: number
  /** Of the marker's first byte, and after the segment. */
  start: number
  end: number
  data: Buffer
}

/** @throws RequestError `cannot_write` for a file with split XMP, or that is no whole JPEG */
export function openJpeg(file: Buffer): Container {
  const segments = segmentsOf(file)
  const own = segments.filter(({ marker, data }) => marker === APP1 && startsWith(data, XMP))
  if (own.length > 1) throw refused('it has several XMP packets')
  if (segments.some(({ marker, data }) => marker === APP1 && startsWith(data, EXTENDED)))
    throw refused('it has extended XMP')
  const [old] = own
  return {
    packet: old?.data.subarray(XMP.length),
    withPacket(packet) {
      const segment = segmentOf(packet)
      const [start, end] = old ? [old.start, old.end] : [placeOf(segments), placeOf(segments)]
      const grown = segment.length - (end - start)
      const changed = Buffer.from(file)
      for (const each of segments)
        if (each.marker === APP2 && startsWith(each.data, MPF)) moveImages(changed, each, grown, start)
      return Buffer.concat([changed.subarray(0, start), segment, changed.subarray(end)])
    },
  }
}

function segmentsOf(file: Buffer): Segment[] {
  const segments: Segment[] = []
  let at = 2
  while (true) {
    const start = at
    if (file[at] !== 0xff) throw refused('its segments are damaged')
    // Fill bytes may stand before a marker.
    while (file[at + 1] === 0xff) at++
    const marker = file[at + 1]!
    if (marker === SOS) return segments
    if (marker === undefined || marker === EOI || at + 4 > file.length) throw refused('it is cut off')
    const length = file.readUInt16BE(at + 2)
    const end = at + 2 + length
    if (length < 2 || end > file.length) throw refused('its segments are damaged')
    segments.push({ marker, start, end, data: file.subarray(at + 4, end) })
    at = end
  }
}

function segmentOf(packet: Buffer): Buffer {
  const room = MAX_SEGMENT - 2 - XMP.length - packet.length
  if (room < 0) throw refused('its XMP would be larger than a segment holds')
  const closing = packet.lastIndexOf('\n<?xpacket end=')
  const padding = Buffer.alloc(Math.min(room, PADDING), ' ')
  const data = Buffer.concat([XMP, packet.subarray(0, closing), padding, packet.subarray(closing)])
  const head = Buffer.from([0xff, APP1, 0, 0])
  head.writeUInt16BE(data.length + 2, 2)
  return Buffer.concat([head, data])
}

/** After JFIF and Exif, which readers expect first. */
function placeOf(segments: readonly Segment[]): number {
  let place = 2
  for (const { marker, data, end } of segments) {
    if (marker !== APP0 && !(marker === APP1 && startsWith(data, EXIF))) break
    place = end
  }
  return place
}

/**
 * Sets the index of the file's further pictures (previews, gain maps) right: the first picture grows, and the places of the
 * others count from the index.
 */
function moveImages(file: Buffer, segment: Segment, grown: number, from: number): void {
  const base = segment.end - segment.data.length + MPF.length
  const tiff = file.subarray(base, segment.end)
  const isLittle = tiff.toString('latin1', 0, 2) === 'II'
  const u16 = (at: number) => (isLittle ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at))
  const u32 = (at: number) => (isLittle ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at))
  const add = (at: number, more: number) =>
    isLittle ? tiff.writeUInt32LE(u32(at) + more, at) : tiff.writeUInt32BE(u32(at) + more, at)
  try {
    const directory = u32(4)
    for (let i = 0; i < u16(directory); i++) {
      const entry = directory + 2 + 12 * i
      // MPEntry: 16 bytes a picture; size after 4, place after 8 (0 for the first).
      if (u16(entry) !== 0xb002) continue
      const [bytes, list] = [u32(entry + 4), u32(entry + 8)]
      add(list + 4, grown)
      for (let at = list + 16; at < list + bytes; at += 16)
        if (u32(at + 8) !== 0 && from > segment.start) add(at + 8, grown)
    }
  } catch {
    throw refused('the index of its pictures (MPF) is damaged')
  }
}

function startsWith(data: Buffer, beginning: Buffer): boolean {
  return data.subarray(0, beginning.length).equals(beginning)
}

function refused(why: string): RequestError {
  const message = `Expected a JPEG that XMP can be written into but ${why}. It was left as it is. Use --write sidecar.`
  return new RequestError('cannot_write', message)
}
