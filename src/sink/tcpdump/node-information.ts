/**
 * Node information queries (RFC 4620), as tcpdump prints them; it knows some of the drafts too.
 *
 *   0  |     Type      |     Code      |          Checksum             |
 *   4  |             Qtype             |             Flags             |
 *   8  |                           Nonce (8)                           |
 *  16  |                             Data                              |
 *
 * Lengths are those that were captured, as tcpdump takes them.
 */
import { visible } from './domain-name.ts';
import type { Printer } from './printer.ts';

const HEADER = 16;

/** Of the drafts before: a query without nonce. */
const WHO_ARE_YOU_REQUEST = 12;

const QTYPE = { NOOP: 0, SUPPORTED_QTYPES: 1, NODE_NAME: 2, NODE_ADDRESSES: 3 } as const;

/** RFC 4620, section 4. */
const SUBJECT = { IPV6: 0, NAME: 1, IPV4: 2 } as const;
const REPLY = { SUCCESS: 0, REFUSED: 1, UNKNOWN: 2 } as const;

/** RFC 4620, section 6.3; T (there was more than fits) is of replies only. */
const ADDRESS_FLAGS = [
  [0x40, 'a'],
  [0x20, 'G'],
  [0x10, 'S'],
  [0x08, 'L'],
  [0x04, 'C'],
  [0x02, 'A'],
] as const;
const TRUNCATED_FLAG = 0x01;

export function printNodeInformationQuery(p: Printer, code: number, at: number): void {
  const captured = p.available(at);
  if (captured === WHO_ARE_YOU_REQUEST) return p.print(' who-are-you request');
  p.print(' node information query');
  if (captured < HEADER) return p.printTruncated();
  const qtype = p.u16(at + 4);
  p.print(` (${qtypeName(qtype)}`);
  if (qtype === QTYPE.SUPPORTED_QTYPES) printCompressed(p, at);
  if (qtype === QTYPE.NODE_ADDRESSES) printAddressFlags(p, at, '');
  if (qtype === QTYPE.NOOP || qtype === QTYPE.SUPPORTED_QTYPES) {
    if (captured !== HEADER && p.verbose) p.print(', invalid len');
  } else if (captured === HEADER) p.print(', 03 draft');
  else printSubject(p, code, at + HEADER);
  p.print(')');
}

function printSubject(p: Printer, code: number, at: number): void {
  switch (code) {
    case SUBJECT.IPV6:
      printSubjectAddress(p, at, 16);
      break;
    case SUBJECT.IPV4:
      printSubjectAddress(p, at, 4);
      break;
    case SUBJECT.NAME:
      p.print(', subject=DNS name');
      printName(p, at);
      break;
    default:
      p.print(', unknown subject');
  }
}

function printSubjectAddress(p: Printer, at: number, size: 4 | 16): void {
  const captured = p.available(at);
  if (captured < size) return;
  if (captured === size) p.print(`, subject=${size === 4 ? p.ipv4(at) : p.ipv6(at)}`);
  else if (p.verbose) p.print(', invalid subject len');
}

export function printNodeInformationReply(p: Printer, code: number, at: number, length: number): void {
  const captured = p.available(at);
  if (captured < Math.max(HEADER, length)) return p.printTruncated();
  p.print(' node information reply (');
  if (code === REPLY.SUCCESS) {
    if (p.verbose) p.print('success, ');
    printAnswer(p, at);
  } else if (code === REPLY.REFUSED || code === REPLY.UNKNOWN) {
    p.print(code === REPLY.REFUSED ? 'refused' : 'unknown');
    printUnlessBare(p, captured);
  }
  p.print(')');
}

function printAnswer(p: Printer, at: number): void {
  const qtype = p.u16(at + 4);
  p.print(qtypeName(qtype));
  switch (qtype) {
    case QTYPE.NOOP:
      printUnlessBare(p, p.available(at));
      break;
    case QTYPE.SUPPORTED_QTYPES:
      printCompressed(p, at);
      break;
    case QTYPE.NODE_NAME:
      // | TTL (4) | Name |
      printName(p, at + HEADER + 4);
      if ((p.u16(at + 6) & 1) !== 0) p.print(` [TTL=${p.u32(at + HEADER)}]`);
      break;
    case QTYPE.NODE_ADDRESSES:
      // | TTL (4) | Address (16) | …
      for (let address = at + HEADER; p.has(address, 20); address += 20) {
        p.print(` ${p.ipv6(address + 4)}(${p.u32(address)})`);
      }
      printAddressFlags(p, at, 'T');
  }
}

function qtypeName(qtype: number): string {
  return ['noop', 'supported qtypes', 'DNS name', 'node addresses'][qtype] ?? 'unknown';
}

function printUnlessBare(p: Printer, captured: number): void {
  if (captured !== HEADER && p.verbose) p.print(', invalid length');
}

function printCompressed(p: Printer, at: number): void {
  const flags = p.u16(at + 6);
  if (flags !== 0) p.print(` [${(flags & 1) === 0 ? '' : 'C'}]`);
}

function printAddressFlags(p: Printer, at: number, truncated: 'T' | ''): void {
  const flags = p.u16(at + 6);
  if (flags === 0) return;
  const letters = ADDRESS_FLAGS.map(([bit, letter]) => ((flags & bit) === 0 ? '' : letter)).join('');
  p.print(` [${letters}${(flags & TRUNCATED_FLAG) === 0 ? '' : truncated}]`);
}

/** A name fills what was captured: as one string with its length (a draft), or as labels (RFC 1035). */
function printName(p: Printer, at: number): void {
  const isString = p.u8(at) === p.available(at) - 1;
  if (isString && p.verbose) p.print(', 03 draft');
  p.print(', "');
  if (isString) {
    for (let octet = at + 1; octet < p.end; octet++) p.print(visible(p.u8(octet)));
  } else printLabels(p, at);
  p.print('"');
}

function printLabels(p: Printer, start: number): void {
  for (let at = start; at < p.end;) {
    const size = p.u8(at++);
    if (size === 0) {
      // A root label at the very end makes the name absolute, one more than that is padding.
      if (at === p.end) p.print('.');
      else if (at + 1 !== p.end || p.u8(at) !== 0) p.print('???');
      return;
    }
    if (size > p.available(at)) return p.print('???');
    for (const end = at + size; at < end; at++) p.print(visible(p.u8(at)));
    if (at + 1 < p.end && p.u8(at) !== 0) p.print('.');
  }
}
