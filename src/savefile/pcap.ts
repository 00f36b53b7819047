/**
 * Classic pcap savefiles: draft-ietf-opsawg-pcap. Also what the readers of both formats share.
 *
 * File header, 24 octets in the byte order of the magic number (section 4):
 *
 *      0  magic number      u32   a1b2c3d4 microseconds, a1b23c4d nanoseconds
 *      4  major, minor      2 u16 2, 4
 *      8  reserved          2 u32
 *     16  snaplen           u32   octets; 0: no limit
 *     20  link type         u32   LINKTYPE_ in the lower 26 bits, FCS length above
 *
 * Each record (section 5), then `captured length` octets:
 *
 *      0  seconds           u32
 *      4  fraction          u32   micro- or nanoseconds
 *      8  captured length   u32   octets
 *     12  original length   u32   octets
 */
import { NO_COMMENTS, type CaptureInterface, type Damage, type PacketCursor, type SavefileHandler } from './packet.ts';

/** Octets that no captured packet exceeds: libpcap's MAXIMUM_SNAPLEN. A longer claim is damage, not a packet. */
export const MAXIMUM_SNAPLEN = 262_144;

/** A format's half of the reader: cuts records out of the octets it is shown, and keeps none of them. */
export interface RecordParser {
  /** Octets that the next `parse` must see, from the first one not consumed, to get any further. */
  readonly need: number;
  /** Set once the octets contradict the format. Nothing is parsed after it. */
  readonly damage: Damage | null;
  /** Set by the reader: hand out nothing more. */
  stopped: boolean;
  /**
   * Hands out every record that lies wholly in `bytes` from `start` up to `end`.
   * @param position octets of the stream before `start`
   * @returns the offset in `bytes` of the first octet not consumed. Shown exactly `need` octets, it has
   *   consumed either all of them or none and raised `need`.
   */
  parse(bytes: Uint8Array, start: number, end: number, position: number): number;
  /** The damage if the stream ends with `have` octets not consumed, the first of them at `position`. */
  unfinished(position: number, have: number): Damage | null;
}

/** The stream ends `have` octets into something that takes at least `need`. */
export function truncated(what: string, offset: number, have: number, need: number): Damage {
  const message = `truncated: the ${what} at octet ${offset} takes ${need} octets, ${have} are there`;
  return { kind: 'truncated', offset, message };
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
/** Alexey Kuznetsov's patched libpcap appended interface index, protocol and packet type to each header. */
const PATCHED_RECORD_HEADER = 24;

export const MAGIC_MICROSECONDS = 0xa1b2c3d4;
export const MAGIC_NANOSECONDS = 0xa1b23c4d;
const MAGIC_PATCHED = 0xa1b2cd34;

export class PcapParser implements RecordParser {
  need = FILE_HEADER;
  damage: Damage | null = null;
  stopped = false;
  readonly #handler: SavefileHandler;
  readonly #little: boolean;
  readonly #recordHeader: number;
  /** Fraction units in a second. */
  readonly #resolution: number;
  /** Null until the file header is there. */
  #cursor: PacketCursor | null = null;
  #minor = 0;

  private constructor(handler: SavefileHandler, magic: number, little: boolean) {
    this.#handler = handler;
    this.#little = little;
    this.#recordHeader = magic === MAGIC_PATCHED ? PATCHED_RECORD_HEADER : RECORD_HEADER;
    this.#resolution = magic === MAGIC_NANOSECONDS ? 1e9 : 1e6;
  }

  /** The parser for the stream whose first four octets lie at `start`, or null if they are no pcap magic number. */
  static detect(handler: SavefileHandler, bytes: Uint8Array, start: number): PcapParser | null {
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, 4);
    for (const little of [true, false]) {
      const magic = view.getUint32(0, little);
      if (magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS || magic === MAGIC_PATCHED) {
        return new PcapParser(handler, magic, little);
      }
    }
    return null;
  }

  parse(bytes: Uint8Array, start: number, end: number, position: number): number {
    // A DataView takes the byte order as an argument at no cost: 1.8 times as fast as adding octets up.
    const view = new DataView(bytes.buffer, bytes.byteOffset, end);
    const little = this.#little;
    let at = start;
    if (this.#cursor === null) {
      if (end - at < FILE_HEADER) return at;
      this.#cursor = this.#readFileHeader(view, at);
      if (this.#cursor === null) return at;
      at += FILE_HEADER;
    }
    const cursor = this.#cursor;
    const handler = this.#handler;
    const { linkType } = cursor.iface;
    const minor = this.#minor;
    const recordHeader = this.#recordHeader;
    const resolution = this.#resolution;
    const scale = 1e9 / resolution;
    const snapshot = this.#snapshot(cursor.iface.snaplen);
    cursor.bytes = bytes;
    this.need = recordHeader;
    while (end - at >= recordHeader && !this.stopped) {
      let caplen = view.getUint32(at + 8, little);
      let len = view.getUint32(at + 12, little);
      // Version 2.3 exchanged the two lengths, but not every program that wrote 2.3 did so.
      if (minor < 3 || (minor === 3 && caplen > len)) [caplen, len] = [len, caplen];
      if (caplen > MAXIMUM_SNAPLEN) {
        const offset = position + at - start;
        const message = `record at octet ${offset} claims ${caplen} captured octets, more than ${MAXIMUM_SNAPLEN}`;
        this.damage = { kind: 'invalid', offset, message };
        break;
      }
      const next = at + recordHeader + caplen;
      if (next > end) {
        this.need = recordHeader + caplen;
        break;
      }
      const packet = at + recordHeader;
      caplen = caplen > snapshot ? snapshot : caplen;
      const record = at;
      at = next;
      if (handler.wants !== undefined && !handler.wants(bytes, packet, packet + caplen, linkType)) continue;
      let seconds = view.getUint32(record, little);
      let fraction = view.getUint32(record + 4, little);
      if (fraction >= resolution) {
        const carry = Math.floor(fraction / resolution);
        seconds += carry;
        fraction -= carry * resolution;
      }
      cursor.offset = packet;
      cursor.caplen = caplen;
      cursor.len = len;
      cursor.seconds = seconds;
      cursor.nanoseconds = fraction * scale;
      handler.packet(cursor);
    }
    return at;
  }

  unfinished(position: number, have: number): Damage | null {
    if (have === 0) return null;
    return truncated(this.#cursor === null ? 'file header' : 'record', position, have, this.need);
  }

  /** The file header, which is always at the start of the stream. Null, and `damage` set, if it is not one to read. */
  #readFileHeader(view: DataView, at: number): PacketCursor | null {
    const major = view.getUint16(at + 4, this.#little);
    this.#minor = view.getUint16(at + 6, this.#little);
    if (major !== 2 || this.#minor > 4) {
      const message = `unsupported pcap savefile version ${major}.${this.#minor}`;
      this.damage = { kind: 'invalid', offset: 0, message };
      return null;
    }
    const iface: CaptureInterface = {
      id: 0,
      name: null,
      linkType: view.getUint32(at + 20, this.#little) & 0x03ff_ffff,
      snaplen: view.getUint32(at + 16, this.#little),
      nanosecondResolution: this.#resolution === 1e9,
    };
    return {
      bytes: new Uint8Array(0),
      offset: 0,
      caplen: 0,
      len: 0,
      seconds: 0,
      nanoseconds: 0,
      iface,
      comments: NO_COMMENTS,
    };
  }

  /**
   * Octets of each packet to hand out at the most: libpcap cuts what exceeds the snaplen. The patched libpcap did not
   * count the Ethernet header that it made up, 14 octets.
   */
  #snapshot(snaplen: number): number {
    if (snaplen === 0) return MAXIMUM_SNAPLEN;
    return this.#recordHeader === PATCHED_RECORD_HEADER ? snaplen + 14 : snaplen;
  }
}
