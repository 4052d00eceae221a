// A PNG file and an XMP packet -> the file with the packet in it. Every other chunk stays, so the picture is the same.
//
// Sources: PNG specification (third edition), sections 5.3 and 11.3.3.4 (iTXt); XMP specification part 3, section 1.1.5.

import { crc32, inflateSync } from 'node:zlib'
import { RequestError } from '../errors.ts'
import type { Container } from './container.ts'

const KEYWORD = 'XML:com.adobe.xmp'
/** ImageMagick's place for XMP, from before there was one. */
const OLD_KEYWORD = 'Raw profile type xmp'
const SIGNATURE_BYTES = 8
/** Larger packets are not XMP that people write. */
const MAX_PACKET_BYTES = 16 * 1024 * 1024

interface Chunk {
  type: string
  start: number
  end: number
  data: Buffer
}

/** @throws RequestError `cannot_write` for a file with several packets, or that is no whole PNG */
export function openPng(file: Buffer): Container {
  const chunks = chunksOf(file)
  const keywordOf = ({ data }: Chunk) => data.toString('latin1', 0, data.indexOf(0))
  const texts = chunks.filter(({ type }) => /^(tEXt|zTXt|iTXt)$/.test(type))
  const own = texts.filter((chunk) => keywordOf(chunk) === KEYWORD)
  if (own.length > 1 || texts.some((chunk) => keywordOf(chunk) === OLD_KEYWORD))
    throw refused('it has XMP in several chunks, or in an old form')
  const [old] = own
  const place = chunks.find(({ type }) => type === 'IDAT')!.start
  return {
    packet: old && packetOf(old),
    withPacket(packet) {
      // Keyword, no compression, no language, no translated keyword.
      const chunk = chunkOf('iTXt', Buffer.concat([Buffer.from(`${KEYWORD}\0\0\0\0\0`, 'latin1'), packet]))
      const [start, end] = old ? [old.start, old.end] : [place, place]
      return Buffer.concat([file.subarray(0, start), chunk, file.subarray(end)])
    },
  }
}

function chunksOf(file: Buffer): Chunk[] {
  const chunks: Chunk[] = []
  for (let at = SIGNATURE_BYTES; chunks.at(-1)?.type !== 'IEND'; ) {
    if (at + 12 > file.length) throw refused('it is cut off')
    const end = at + 12 + file.readUInt32BE(at)
    if (end > file.length) throw refused('it is cut off')
    chunks.push({
      type: file.toString('latin1', at + 4, at + 8),
      start: at,
      end,
      data: file.subarray(at + 8, end - 4),
    })
    at = end
  }
  if (!chunks.some(({ type }) => type === 'IDAT')) throw refused('it has no picture')
  return chunks
}

/** The packet belongs into iTXt, but libvips writes zTXt. */
function packetOf({ type, data }: Chunk): Buffer {
  let at = data.indexOf(0) + 1
  if (type === 'tEXt') return data.subarray(at)
  const isCompressed = type === 'zTXt' || data[at] === 1
  at += type === 'zTXt' ? 1 : 2
  // Language and translated keyword.
  for (let i = 0; type === 'iTXt' && i < 2; i++) {
    const end = data.indexOf(0, at)
    if (end < 0) throw refused('its XMP chunk is damaged')
    at = end + 1
  }
  if (!isCompressed) return data.subarray(at)
  try {
    return inflateSync(data.subarray(at), { maxOutputLength: MAX_PACKET_BYTES })
  } catch {
    throw refused('its XMP chunk is damaged')
  }
}

function chunkOf(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, check])
}

function refused(why: string): RequestError {
  const message = `Expected a PNG that XMP can be written into but ${why}. It was left as it is. Use --write sidecar.`
  return new RequestError('cannot_write', message)
}
