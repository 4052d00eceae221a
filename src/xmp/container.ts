// What a picture's file is to XMP: a place for one packet.

export interface Container {
  /** The packet that it has. */
  packet: Buffer | undefined
  /** The file with this packet in place of the old one. @throws RequestError `cannot_write` when it does not fit */
  withPacket(packet: Buffer): Buffer
}
