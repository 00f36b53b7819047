/**
 * Encoders for classic pcap savefiles, little-endian; pcap.ts has the layout.
 */
import { MAGIC_MICROSECONDS, MAGIC_NANOSECONDS, MAXIMUM_SNAPLEN } from './pcap.ts';

/** The file header for packets of one link type (a LINKTYPE_ value). */
export function pcapFileHeader(linkType: number, nanosecondResolution: boolean): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(nanosecondResolution ? MAGIC_NANOSECONDS : MAGIC_MICROSECONDS, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(MAXIMUM_SNAPLEN, 16);
  header.writeUInt32LE(linkType, 20);
  return header;
}

/**
 * A record. Seconds beyond 32 bits wrap, as they do in libpcap.
 * @param fraction microseconds, or nanoseconds if the file header says so
 * @param len octets on the wire
 */
export function pcapRecord(seconds: number, fraction: number, packet: Uint8Array, len: number): Buffer {
  const record = Buffer.allocUnsafe(16 + packet.length);
  record.writeUInt32LE(seconds >>> 0, 0);
  record.writeUInt32LE(fraction, 4);
  record.writeUInt32LE(packet.length, 8);
  record.writeUInt32LE(len, 12);
  record.set(packet, 16);
  return record;
}
