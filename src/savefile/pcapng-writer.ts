/**
 * Encoders for pcapng blocks: draft-ietf-opsawg-pcapng, version 1.0, little-endian.
 *
 * Each writes its block into `target` from `offset` on and returns the offset after it. None looks whether there is
 * room: the caller asks the size first, because a batch that is full is sent before the next block is begun.
 * Time stamps are in microseconds, which is what if_tsresol defaults to, unless an interface is described otherwise.
 */
import {
  BYTE_ORDER_MAGIC,
  ENHANCED_PACKET,
  IF_NAME,
  IF_TSOFFSET,
  IF_TSRESOL,
  INTERFACE_DESCRIPTION,
  INTERFACE_STATISTICS,
  ISB_IFRECV,
  ISB_OSDROP,
  ISB_USRDELIV,
  JOURNAL_EXPORT,
  OPT_COMMENT,
  OPT_ENDOFOPT,
  SECTION_HEADER,
} from './pcapng.ts';
import type { InterfaceStatistics } from './packet.ts';

/** Section 4.1. */
const SHB_HARDWARE = 2;
const SHB_OS = 3;
const SHB_USERAPPL = 4;

export interface SectionHeader {
  /** What captured: the processor. */
  hardware?: string;
  os?: string;
  application: string;
}

export interface InterfaceDescription {
  /** LINKTYPE_ value. */
  linkType: number;
  /** Octets; 0: no limit. */
  snaplen: number;
  /** Empty: it has none. */
  name: string;
  /** Its time stamps are in nanoseconds. */
  nanosecondResolution?: boolean;
  /** Seconds that its time stamps count from; 1970 if absent. */
  timeOffset?: number;
}

/** Octets that `writeSectionHeader` writes. */
export function sectionHeaderSize({ hardware, os, application }: SectionHeader): number {
  return 32 + textSize(hardware) + textSize(os) + textSize(application);
}

/** Section 4.1: the section length is -1, not known. */
export function writeSectionHeader(target: Uint8Array, offset: number, header: SectionHeader): number {
  let at = put32(target, offset + 8, BYTE_ORDER_MAGIC);
  at = put16(target, at, 1);
  at = put16(target, at, 0);
  at = put32(target, at, 0xffff_ffff);
  at = put32(target, at, 0xffff_ffff);
  at = putText(target, at, SHB_HARDWARE, header.hardware);
  at = putText(target, at, SHB_OS, header.os);
  at = putText(target, at, SHB_USERAPPL, header.application);
  at = put32(target, at, OPT_ENDOFOPT);
  return putFrame(target, offset, SECTION_HEADER, at);
}

/** Octets that `writeInterfaceDescription` writes. */
export function interfaceDescriptionSize({ name, nanosecondResolution, timeOffset = 0 }: InterfaceDescription): number {
  return 24 + textSize(name || undefined) + (nanosecondResolution === true ? 8 : 0) + (timeOffset === 0 ? 0 : 12);
}

/** Section 4.2. The interface's ID is the number of such blocks before this one in the section. */
export function writeInterfaceDescription(
  target: Uint8Array,
  offset: number,
  { linkType, snaplen, name, nanosecondResolution, timeOffset = 0 }: InterfaceDescription,
): number {
  let at = put16(target, offset + 8, linkType);
  at = put16(target, at, 0);
  at = put32(target, at, snaplen);
  at = putText(target, at, IF_NAME, name || undefined);
  if (nanosecondResolution === true) at = put32(target, put16(target, put16(target, at, IF_TSRESOL), 1), 9);
  if (timeOffset !== 0) at = put64(target, put16(target, put16(target, at, IF_TSOFFSET), 8), BigInt(timeOffset));
  at = put32(target, at, OPT_ENDOFOPT);
  return putFrame(target, offset, INTERFACE_DESCRIPTION, at);
}

/** Octets that `writeEnhancedPacket` writes for a packet of `caplen` captured octets. */
export function enhancedPacketSize(caplen: number): number {
  return 32 + padded(caplen);
}

/**
 * Section 4.3.
 * @param packet the packet's octets, the first `caplen` of it
 * @param len octets on the wire
 */
export function writeEnhancedPacket(
  target: Uint8Array,
  offset: number,
  interfaceId: number,
  seconds: number,
  microseconds: number,
  packet: Uint8Array,
  caplen: number,
  len: number,
): number {
  let at = put32(target, offset + 8, interfaceId);
  at = putTime(target, at, seconds, microseconds);
  at = putPacket(target, at, packet, caplen, len);
  return putFrame(target, offset, ENHANCED_PACKET, at);
}

/** The longest comment: an option's length has 16 bits. */
export const MAXIMUM_COMMENT = 0xffff;

/**
 * Section 4.3, with comments (section 3.5), each of at most MAXIMUM_COMMENT octets.
 * @param seconds since the time offset of its interface: of nanoseconds 2^34 fit, until the year 2514
 * @param nanoseconds within the second
 * @param nanosecondResolution as its interface was described
 */
export function commentedPacket(
  interfaceId: number,
  seconds: number,
  nanoseconds: number,
  nanosecondResolution: boolean,
  packet: Uint8Array,
  len: number,
  comments: readonly Uint8Array[],
): Buffer {
  let size = enhancedPacketSize(packet.length) + 4;
  for (const comment of comments) size += 4 + padded(comment.length);
  const target = Buffer.allocUnsafe(size);
  let at = put32(target, 8, interfaceId);
  const units = nanosecondResolution
    ? BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)
    : BigInt(seconds) * 1_000_000n + BigInt(Math.trunc(nanoseconds / 1000));
  at = put32(target, at, Number(units >> 32n));
  at = put32(target, at, Number(units & 0xffff_ffffn));
  at = putPacket(target, at, packet, packet.length, len);
  for (const comment of comments) at = putOption(target, at, OPT_COMMENT, comment);
  at = put32(target, at, OPT_ENDOFOPT);
  putFrame(target, 0, ENHANCED_PACKET, at);
  return target;
}

/** Section 4.7: a journal entry, its fields a line each (https://systemd.io/JOURNAL_EXPORT_FORMATS/). */
export function journalEntry(entry: Uint8Array): Buffer {
  const target = Buffer.allocUnsafe(12 + padded(entry.length));
  target.set(entry, 8);
  putFrame(target, 0, JOURNAL_EXPORT, putPadding(target, 8 + entry.length, entry.length));
  return target;
}

/** Octets that `writeInterfaceStatistics` writes at the most. */
export const INTERFACE_STATISTICS_SIZE = 64;

/** Section 4.6: isb_ifrecv is ps_recv, isb_osdrop is ps_drop, isb_usrdeliv what was read. */
export function writeInterfaceStatistics(
  target: Uint8Array,
  offset: number,
  interfaceId: number,
  seconds: number,
  microseconds: number,
  { received, dropped, delivered }: Pick<InterfaceStatistics, 'received' | 'dropped' | 'delivered'>,
): number {
  let at = put32(target, offset + 8, interfaceId);
  at = putTime(target, at, seconds, microseconds);
  at = putCount(target, at, ISB_IFRECV, received);
  at = putCount(target, at, ISB_OSDROP, dropped);
  at = putCount(target, at, ISB_USRDELIV, delivered);
  at = put32(target, at, OPT_ENDOFOPT);
  return putFrame(target, offset, INTERFACE_STATISTICS, at);
}

/** The type and total length before the body that ends at `end`, and the total length after it. */
function putFrame(target: Uint8Array, offset: number, type: number, end: number): number {
  const total = end + 4 - offset;
  put32(target, offset, type);
  put32(target, offset + 4, total);
  return put32(target, end, total);
}

/** Captured and original length, and the packet's octets. */
function putPacket(target: Uint8Array, at: number, packet: Uint8Array, caplen: number, len: number): number {
  at = put32(target, at, caplen);
  at = put32(target, at, len);
  // The view costs some 70 ns; storing octet by octet costs as much for 60 of them, and ICMP errors have more.
  target.set(packet.subarray(0, caplen), at);
  return putPadding(target, at + caplen, caplen);
}

/** A 64-bit count of microseconds, upper half first (section 4.3). Exact until the year 2255. */
function putTime(target: Uint8Array, at: number, seconds: number, microseconds: number): number {
  const units = seconds * 1e6 + microseconds;
  return put32(target, put32(target, at, Math.floor(units / 0x1_0000_0000)), units);
}

/** An option that is a 64-bit count; nothing if the count is not known. */
function putCount(target: Uint8Array, at: number, code: number, count: number | null): number {
  if (count === null) return at;
  at = put16(target, put16(target, at, code), 8);
  return put32(target, put32(target, at, count), Math.floor(count / 0x1_0000_0000));
}

/** An option that is a text; nothing if there is none. */
function putText(target: Uint8Array, at: number, code: number, text: string | undefined): number {
  return text === undefined ? at : putOption(target, at, code, Buffer.from(text));
}

function putOption(target: Uint8Array, at: number, code: number, value: Uint8Array): number {
  at = put16(target, put16(target, at, code), value.length);
  target.set(value, at);
  return putPadding(target, at + value.length, value.length);
}

function textSize(text: string | undefined): number {
  return text === undefined ? 0 : 4 + padded(Buffer.byteLength(text));
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

/** Zeros from `at` up to the next multiple of four after `length` octets. */
function putPadding(target: Uint8Array, at: number, length: number): number {
  for (let left = padded(length) - length; left > 0; left--) target[at++] = 0;
  return at;
}

function put16(target: Uint8Array, at: number, value: number): number {
  target[at] = value;
  target[at + 1] = value >>> 8;
  return at + 2;
}

function put64(target: Uint8Array, at: number, value: bigint): number {
  at = put32(target, at, Number(BigInt.asUintN(32, value)));
  return put32(target, at, Number(BigInt.asUintN(32, value >> 32n)));
}

/** Of a value beyond 32 bits, the lower 32. */
function put32(target: Uint8Array, at: number, value: number): number {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
  return at + 4;
}
