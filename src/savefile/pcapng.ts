/**
 * pcapng savefiles: draft-ietf-opsawg-pcapng.
 *
 * Every block (section 3.1), in the byte order of its section:
 *
 *      0  block type          u32
 *      4  block total length  u32   octets, all of these, a multiple of 4
 *      8  body                      padded to 32 bits
 *     -4  block total length  u32   again
 *
 * A Section Header Block begins a section: its byte order, and interfaces numbered from 0 anew.
 */
import { NO_COMMENTS, type CaptureInterface, type Damage, type PacketCursor, type SavefileHandler } from './packet.ts';
import { MAXIMUM_SNAPLEN, truncated, type RecordParser } from './pcap.ts';

/** Section 4.1. The octets 0a 0d 0d 0a: the same in either byte order. */
export const SECTION_HEADER = 0x0a0d0d0a;
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Section 4.2. */
export const INTERFACE_DESCRIPTION = 1;
/** Appendix A: obsolete, no longer written. */
const PACKET = 2;
/** Section 4.4. */
const SIMPLE_PACKET = 3;
/** Section 4.6. */
export const INTERFACE_STATISTICS = 5;
/** Section 4.3. */
export const ENHANCED_PACKET = 6;
/** Section 4.7. */
export const JOURNAL_EXPORT = 9;

/** Option codes, sections 3.5, 4.2 and 4.6. */
export const OPT_ENDOFOPT = 0;
export const OPT_COMMENT = 1;
export const IF_NAME = 2;
export const IF_TSRESOL = 9;
export const IF_TSOFFSET = 14;
export const ISB_IFRECV = 4;
const ISB_IFDROP = 5;
export const ISB_OSDROP = 7;
export const ISB_USRDELIV = 8;

/** Octets of the total length at a block's end, of a block without a body, and of blocks without a packet. */
const TRAILER = 4;
const EMPTY_BLOCK = 12;
const EMPTY_SIMPLE_PACKET = 16;
const EMPTY_PACKET = 32;
/** Octets of an option with a comment. */
const MINIMUM_COMMENT = 8;
/** Octets of the longest block that is read; libpcap's limit. Longer ones are skipped if their type is not. */
const MAXIMUM_BLOCK = 16 * 1024 * 1024;
const MAXIMUM_INTERFACES = 65_536;
/** Octets of a journal entry that is looked at. */
const MAXIMUM_JOURNAL_ENTRY = 1024 * 1024;
/** Characters of an interface name that are kept: Linux allows 15, Windows names run to some 60. */
const MAXIMUM_NAME = 256;

/** An interface of the section, and how its 64-bit time stamps count. */
interface Interface {
  shown: CaptureInterface;
  /** Units in a second if that is a power of ten up to 10^9, which plain numbers divide by exactly; else 0. */
  decimal: number;
  /** Units in a second, whatever they are. */
  resolution: bigint;
  /** if_tsoffset, seconds. */
  offset: number;
}

export class PcapngParser implements RecordParser {
  need = EMPTY_BLOCK;
  damage: Damage | null = null;
  stopped = false;
  readonly #handler: SavefileHandler;
  readonly #cursor: PacketCursor;
  #little = false;
  #interfaces: Interface[] = [];
  /** Octets of the stream before the block being read. */
  #blockStart = 0;
  /** The total length of the block being skipped (0: none is), and the octets left before its last four. */
  #skipTotal = 0;
  #skipLeft = 0;

  constructor(handler: SavefileHandler) {
    this.#handler = handler;
    const iface = { id: 0, name: null, linkType: 0, snaplen: 0, nanosecondResolution: false };
    this.#cursor = {
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

  parse(bytes: Uint8Array, start: number, end: number, position: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, end);
    this.#cursor.bytes = bytes;
    let at = start;
    while (!this.stopped && this.damage === null) {
      if (this.#skipTotal !== 0) {
        const skipped = Math.min(this.#skipLeft, end - at);
        this.#skipLeft -= skipped;
        at += skipped;
        this.need = TRAILER;
        if (end - at < TRAILER || !this.#trailerAgrees(view, at, this.#skipTotal)) break;
        at += TRAILER;
        this.#skipTotal = 0;
      }
      this.need = EMPTY_BLOCK;
      if (end - at < EMPTY_BLOCK) break;
      this.#blockStart = position + at - start;
      const type = view.getUint32(at, this.#little);
      if (type === SECTION_HEADER && !this.#readByteOrder(view, at)) break;
      const total = view.getUint32(at + 4, this.#little);
      const minimum = minimumLength(type);
      const skip = minimum === EMPTY_BLOCK && !(type === JOURNAL_EXPORT && total <= MAXIMUM_JOURNAL_ENTRY);
      if (total < minimum || total % 4 !== 0 || (total > MAXIMUM_BLOCK && !skip)) {
        this.#invalid(`block of type ${type}`, `claims a total length of ${total} octets`);
        break;
      }
      if (skip) {
        this.#skipTotal = total;
        this.#skipLeft = total - EMPTY_BLOCK;
        at += EMPTY_BLOCK - TRAILER;
        continue;
      }
      if (end - at < total) {
        this.need = total;
        break;
      }
      if (!this.#trailerAgrees(view, at + total - TRAILER, total)) break;
      // The bulk of a file goes this way: apart from the rest, the compiler makes one loop of it, half as fast again.
      if (type === ENHANCED_PACKET) this.#packet(view, at, total, view.getUint32(at + 8, this.#little));
      else this.#readBlock(type, view, at, total);
      if (this.damage === null) at += total;
    }
    return at;
  }

  unfinished(position: number, have: number): Damage | null {
    if (this.#skipTotal !== 0) {
      return truncated('block', this.#blockStart, position + have - this.#blockStart, this.#skipTotal);
    }
    return have === 0 ? null : truncated('block', position, have, this.need);
  }

  /** Takes the byte order from the section header at `at`. False, and `damage` set, if it has none. */
  #readByteOrder(view: DataView, at: number): boolean {
    this.#little = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
    if (this.#little || view.getUint32(at + 8) === BYTE_ORDER_MAGIC) return true;
    this.#invalid('section header', 'has no byte-order magic number');
    return false;
  }

  #trailerAgrees(view: DataView, at: number, total: number): boolean {
    const trailer = view.getUint32(at, this.#little);
    if (trailer === total) return true;
    this.#invalid('block', `has a total length of ${total} octets at its start and ${trailer} at its end`);
    return false;
  }

  #readBlock(type: number, view: DataView, at: number, total: number): void {
    switch (type) {
      case PACKET:
        return this.#packet(view, at, total, view.getUint16(at + 8, this.#little));
      case SIMPLE_PACKET:
        return this.#simplePacket(view, at, total);
      case SECTION_HEADER:
        return this.#sectionHeader(view, at);
      case INTERFACE_DESCRIPTION:
        return this.#interfaceDescription(view, at, total);
      case INTERFACE_STATISTICS:
        return this.#interfaceStatistics(view, at, total);
      case JOURNAL_EXPORT:
        return this.#journalEntry(view, at, total);
    }
  }

  /**
   * Section 4.1. The section length is of no use: -1 in a stream, and what it would say the block lengths say.
   *
   *      8  byte-order magic    u32
   *     12  major, minor        2 u16   1, 0; minor 2 means the same
   *     16  section length      i64     octets
   */
  #sectionHeader(view: DataView, at: number): void {
    const major = view.getUint16(at + 12, this.#little);
    const minor = view.getUint16(at + 14, this.#little);
    if (major !== 1 || (minor !== 0 && minor !== 2)) {
      return this.#invalid('section header', `has unsupported pcapng version ${major}.${minor}`);
    }
    this.#interfaces = [];
  }

  /**
   * Section 4.2. Link types and snaplens may differ between interfaces, which libpcap does not take.
   *
   *      8  link type           u16
   *     12  snaplen             u32   octets; 0: no limit
   *     16  options
   */
  #interfaceDescription(view: DataView, at: number, total: number): void {
    const id = this.#interfaces.length;
    if (id === MAXIMUM_INTERFACES) {
      return this.#invalid('block', `describes more than ${MAXIMUM_INTERFACES} interfaces`);
    }
    let name: string | null = null;
    let exponent = 6;
    let offset = 0;
    const sound = this.#options(view, at + 16, at + total - 4, (code, value, length) => {
      if (code === IF_NAME) name = nameOf(text(view, value, length));
      else if (code === IF_TSRESOL && length === 1) exponent = view.getUint8(value);
      else if (code === IF_TSOFFSET && length === 8) offset = Number(view.getBigInt64(value, this.#little));
      else return code !== IF_TSRESOL && code !== IF_TSOFFSET;
      return true;
    });
    // if_tsresol: bit 7 clear, 10^-n seconds; set, 2^-n. A resolution beyond 64 bits would make every time 0.
    const power = exponent & 0x7f;
    const binary = exponent > 0x7f;
    if (!sound || power > (binary ? 63 : 19)) {
      return this.#invalid('interface description', 'has an option with an impossible length or value');
    }
    const resolution = (binary ? 2n : 10n) ** BigInt(power);
    this.#interfaces.push({
      shown: {
        id,
        name,
        linkType: view.getUint16(at + 8, this.#little),
        snaplen: view.getUint32(at + 12, this.#little),
        nanosecondResolution: resolution > 1_000_000n,
      },
      decimal: !binary && power <= 9 ? 10 ** power : 0,
      resolution,
      offset,
    });
  }

  #wants(offset: number, caplen: number, linkType: number): boolean {
    const handler = this.#handler;
    if (handler.wants === undefined) return true;
    return handler.wants(this.#cursor.bytes, offset, offset + Math.min(caplen, MAXIMUM_SNAPLEN), linkType);
  }

  /**
   * Section 4.3. Of the options that may follow the packet the comments are read. The obsolete Packet Block differs in the
   * interface ID alone, which is a u16 with a u16 drop count after it.
   *
   *      8  interface ID        u32
   *     12  time stamp          2 u32   upper half first, in units of if_tsresol
   *     20  captured length     u32     octets
   *     24  original length     u32     octets
   *     28  packet                      padded to 32 bits
   */
  #packet(view: DataView, at: number, total: number, id: number): void {
    const caplen = view.getUint32(at + 20, this.#little);
    const arrived = this.#interfaces[id];
    if (arrived === undefined) return this.#unknownInterface(id);
    if (caplen > total - EMPTY_PACKET) return this.#doesNotFit(caplen, total);
    const comments =
      total - EMPTY_PACKET - caplen < MINIMUM_COMMENT ? NO_COMMENTS : this.#comments(view, at, total, caplen);
    if (comments.length === 0 && !this.#wants(at + 28, caplen, arrived.shown.linkType)) return;
    const cursor = this.#cursor;
    cursor.comments = comments;
    cursor.offset = at + 28;
    cursor.caplen = Math.min(caplen, MAXIMUM_SNAPLEN);
    cursor.len = view.getUint32(at + 24, this.#little);
    cursor.iface = arrived.shown;
    setTime(cursor, arrived, view.getUint32(at + 12, this.#little), view.getUint32(at + 16, this.#little));
    this.#handler.packet(cursor);
  }

  /** The comments in the options behind a packet. Options that run past the block's end are passed over, as by libpcap. */
  #comments(view: DataView, at: number, total: number, caplen: number): readonly string[] {
    let comments: string[] | undefined;
    this.#options(view, at + 28 + Math.ceil(caplen / 4) * 4, at + total - TRAILER, (code, value, length) => {
      if (code === OPT_COMMENT) (comments ??= []).push(text(view, value, length));
      return true;
    });
    return comments ?? NO_COMMENTS;
  }

  /**
   * Section 4.7.
   *
   *      8  journal entry      padded with zeros to 32 bits
   */
  #journalEntry(view: DataView, at: number, total: number): void {
    this.#handler.journalEntry?.(text(view, at + 8, total - EMPTY_BLOCK).replace(/\0+$/, ''));
  }

  /**
   * Section 4.4. On interface 0, without a time; the captured length is the smaller of original length and snaplen.
   *
   *      8  original length     u32   octets
   *     12  packet                    padded to 32 bits
   */
  #simplePacket(view: DataView, at: number, total: number): void {
    const len = view.getUint32(at + 8, this.#little);
    const arrived = this.#interfaces[0];
    if (arrived === undefined) return this.#unknownInterface(0);
    const caplen = Math.min(len, arrived.shown.snaplen || len);
    if (caplen > total - EMPTY_SIMPLE_PACKET) return this.#doesNotFit(caplen, total);
    if (!this.#wants(at + 12, caplen, arrived.shown.linkType)) return;
    const cursor = this.#cursor;
    cursor.comments = NO_COMMENTS;
    cursor.offset = at + 12;
    cursor.caplen = Math.min(caplen, MAXIMUM_SNAPLEN);
    cursor.len = len;
    cursor.iface = arrived.shown;
    cursor.seconds = 0;
    cursor.nanoseconds = 0;
    this.#handler.packet(cursor);
  }

  /**
   * Section 4.6. Statistics that make no sense are passed over, as libpcap passes over all of them.
   *
   *      8  interface ID        u32
   *     12  time stamp          2 u32
   *     20  options
   */
  #interfaceStatistics(view: DataView, at: number, total: number): void {
    const counted = this.#interfaces[view.getUint32(at + 8, this.#little)];
    if (counted === undefined) return;
    let received: number | null = null;
    let ifdrop: number | null = null;
    let osdrop: number | null = null;
    let delivered: number | null = null;
    this.#options(view, at + 20, at + total - 4, (code, value, length) => {
      if (length !== 8) return true;
      const count = Number(view.getBigUint64(value, this.#little));
      if (code === ISB_IFRECV) received = count;
      else if (code === ISB_IFDROP) ifdrop = count;
      else if (code === ISB_OSDROP) osdrop = count;
      else if (code === ISB_USRDELIV) delivered = count;
      return true;
    });
    // This project's captures have ps_drop in isb_osdrop; dumpcap puts it into isb_ifdrop.
    const time = { seconds: 0, nanoseconds: 0 };
    setTime(time, counted, view.getUint32(at + 12, this.#little), view.getUint32(at + 16, this.#little));
    this.#handler.statistics?.(counted.shown, { ...time, received, dropped: osdrop ?? ifdrop, delivered });
  }

  /**
   * Calls `visit` for each option (section 3.5) from `at` to `end`, up to opt_endofopt: u16 code, u16 length in
   * octets, value padded to 32 bits. False if one runs past `end` or `visit` refused it.
   */
  #options(
    view: DataView,
    at: number,
    end: number,
    visit: (code: number, value: number, length: number) => boolean,
  ): boolean {
    while (end - at >= 4) {
      const code = view.getUint16(at, this.#little);
      const length = view.getUint16(at + 2, this.#little);
      if (code === OPT_ENDOFOPT) break;
      if (length > end - at - 4 || !visit(code, at + 4, length)) return false;
      at += 4 + Math.ceil(length / 4) * 4;
    }
    return true;
  }

  #unknownInterface(id: number): void {
    this.#invalid('packet', `is on interface ${id}, which the section does not describe`);
  }

  #doesNotFit(caplen: number, total: number): void {
    this.#invalid('packet', `claims ${caplen} captured octets in a block of ${total}`);
  }

  #invalid(what: string, fault: string): void {
    const offset = this.#blockStart;
    this.damage = { kind: 'invalid', offset, message: `${what} at octet ${offset} ${fault}` };
  }
}

/** Octets of the shortest block of this type, its lengths included; EMPTY_BLOCK for a type that is skipped. */
function minimumLength(type: number): number {
  switch (type) {
    case ENHANCED_PACKET:
    case PACKET:
      return EMPTY_PACKET;
    case SIMPLE_PACKET:
      return EMPTY_SIMPLE_PACKET;
    case SECTION_HEADER:
      return 28;
    case INTERFACE_DESCRIPTION:
      return 20;
    case INTERFACE_STATISTICS:
      return 24;
    default:
      return EMPTY_BLOCK;
  }
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Cut between characters: what is written of it (-w) is then the same name when it is read. */
function nameOf(full: string): string | null {
  if (full === '') return null;
  return full.length <= MAXIMUM_NAME ? full : Array.from(full).slice(0, MAXIMUM_NAME).join('');
}

/** UTF-8; what is none becomes U+FFFD. */
function text(view: DataView, at: number, length: number): string {
  return UTF8.decode(new Uint8Array(view.buffer, view.byteOffset + at, length));
}

/**
 * Splits a time stamp of `high` · 2^32 + `low` units into seconds and nanoseconds, exactly (nanoseconds cut, not
 * rounded, where the units are finer).
 */
function setTime(
  cursor: Pick<PacketCursor, 'seconds' | 'nanoseconds'>,
  { decimal, resolution, offset }: Interface,
  high: number,
  low: number,
): void {
  if (decimal === 0) {
    const units = (BigInt(high) << 32n) | BigInt(low);
    cursor.seconds = exact(Number(units / resolution) + offset);
    cursor.nanoseconds = Number(((units % resolution) * 1_000_000_000n) / resolution);
    return;
  }
  // Long division, 16 bits at a time: a remainder below 10^9 times 2^16 stays well below 2^53.
  const upper = Math.floor(high / decimal);
  let rest = (high - upper * decimal) * 0x1_0000 + (low >>> 16);
  const middle = Math.floor(rest / decimal);
  rest = (rest - middle * decimal) * 0x1_0000 + (low & 0xffff);
  const lower = Math.floor(rest / decimal);
  cursor.seconds = exact(upper * 0x1_0000_0000 + middle * 0x1_0000 + lower + offset);
  cursor.nanoseconds = (rest - lower * decimal) * (1e9 / decimal);
}

/** No date is that far away; beyond it seconds would be rounded, and be others after they were saved. */
function exact(seconds: number): number {
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, seconds));
}
