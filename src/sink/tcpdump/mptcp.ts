/**
 * The option of Multipath TCP (RFC 6824, RFC 8684 section 3).
 *
 *  0  |  30  | length |subtype|  …
 */
import type { Printer } from './printer.ts';

const SYN = 0x02;
const ACK = 0x10;

type Subtype = (p: Printer, at: number, length: number, flags: number) => boolean;

const SUBTYPES: readonly (readonly [string, Subtype])[] = [
  ['capable', printCapable],
  ['join', printJoin],
  ['dss', printDataSequence],
  ['add-addr', printAddAddress],
  ['rem-addr', printRemoveAddress],
  ['prio', printPriority],
  ['fail', (p, at, length) => printLast(p, at, length, ' seq ', 10)],
  ['fast-close', (p, at, length) => printLast(p, at, length, ' key 0x', 16)],
];

/** `length` octets of option, all of them captured; false where tcpdump takes it for a bad one. */
export function printMptcp(p: Printer, at: number, length: number, flags: number): boolean {
  // Not set back by tcpdump.
  p.protocol = 'mptcp';
  if (length < 3) return false;
  const [name, print] = SUBTYPES[p.u8(at + 2) >> 4] ?? ['unknown', () => true];
  p.print(` ${length} ${name}`);
  return print(p, at, length, flags);
}

/**
 *  2  |subtype|version| flags | sender's key (8) | receiver's key (8) |
 */
function printCapable(p: Printer, at: number, length: number, flags: number): boolean {
  const isOpening = (length === 12 || length === 4) && (flags & SYN) !== 0;
  const isThird = (length === 20 || length === 22) && (flags & (SYN | ACK)) === ACK;
  if (!isOpening && !isThird) return false;
  const version = p.u8(at + 2) & 0x0f;
  if (version > 1) {
    p.print(` Unknown Version (${version})`);
    return true;
  }
  p.print(` v${version}${(p.u8(at + 3) & 0x80) === 0 ? '' : ' csum'}`);
  if (length >= 12) {
    const receiver = length >= 20 ? `,0x${p.u64(at + 12).toString(16)}` : '';
    p.print(` {0x${p.u64(at + 4).toString(16)}${receiver}}`);
  }
  return true;
}

/**
 *  SYN:      2  |subtype|      |B| address | token (4) | nonce (4) |
 *  SYN ACK:  2  |subtype|      |B| address | HMAC (8) | nonce (4) |
 *  ACK:      2  |subtype|     reserved     | HMAC (20) |
 */
function printJoin(p: Printer, at: number, length: number, flags: number): boolean {
  const isSyn = length === 12 && (flags & SYN) !== 0;
  const isSynAck = length === 16 && (flags & (SYN | ACK)) === (SYN | ACK);
  const isAck = length === 24 && (flags & ACK) !== 0;
  if (!isSyn && !isSynAck && !isAck) return false;
  if (length === 24) {
    p.print(` hmac 0x${p.hex(at + 4, 20)}`);
    return true;
  }
  p.print(`${(p.u8(at + 2) & 1) === 0 ? '' : ' backup'} id ${p.u8(at + 3)}`);
  if (length === 12) p.print(` token 0x${p.u32(at + 4).toString(16)} nonce 0x${p.u32(at + 8).toString(16)}`);
  else p.print(` hmac 0x${p.u64(at + 4).toString(16)} nonce 0x${p.u32(at + 12).toString(16)}`);
  return true;
}

const DATA_FIN = 0x10;
const LONG_SEQUENCE = 0x08;
const HAS_SEQUENCE = 0x04;
const LONG_ACK = 0x02;
const HAS_ACK = 0x01;

/**
 *  2  |subtype|  reserved   |F|m|M|a|A| [acknowledgment (4 or 8)] [sequence (4 or 8), subflow sequence (4), length (2)] [checksum (2)]
 */
function printDataSequence(p: Printer, optionAt: number, length: number, tcpFlags: number): boolean {
  if (length < 4 || (tcpFlags & SYN) !== 0) return false;
  const flags = p.u8(optionAt + 3);
  if ((flags & DATA_FIN) !== 0) p.print(' fin');
  const end = optionAt + length;
  let at = optionAt + 4;
  if ((flags & HAS_ACK) !== 0) {
    p.print(' ack ');
    const octets = (flags & LONG_ACK) === 0 ? 4 : 8;
    if (end - at < octets) return false;
    p.print(`${octets === 8 ? p.u64(at) : p.u32(at)}`);
    at += octets;
  }
  if ((flags & HAS_SEQUENCE) !== 0) {
    p.print(' seq ');
    const octets = (flags & LONG_SEQUENCE) === 0 ? 4 : 8;
    if (end - at < octets) return false;
    p.print(`${octets === 8 ? p.u64(at) : p.u32(at)}`);
    at += octets;
    if (end - at < 4) return false;
    p.print(` subseq ${p.u32(at)}`);
    at += 4;
    if (end - at < 2) return false;
    p.print(` len ${p.u16(at)}`);
    at += 2;
    if (end - at >= 2) {
      p.print(` csum 0x${p.u16(at).toString(16)}`);
      at += 2;
    }
  }
  return at === end;
}

const ADD_ADDRESS_VERSIONS = new Map<number, string>([
  [6, 'v0-ip6'],
  [4, 'v0-ip4'],
  [1, 'v1-echo'],
  [0, 'v1'],
]);

/**
 *  2  |subtype| echo or IP version | address identifier | address (4 or 16) | [port (2)] [HMAC (8)]
 */
function printAddAddress(p: Printer, at: number, length: number): boolean {
  const isIpv4 = length === 8 || length === 10 || length === 16 || length === 18;
  const isIpv6 = length === 20 || length === 22 || length === 28 || length === 30;
  if (!isIpv4 && !isIpv6) return false;
  p.print(` ${ADD_ADDRESS_VERSIONS.get(p.u8(at + 2) & 0x0f) ?? '[bad version/echo]'} id ${p.u8(at + 3)}`);
  p.print(` ${isIpv4 ? p.ipv4(at + 4) : p.ipv6(at + 4)}`);
  let behind = at + (isIpv4 ? 8 : 20);
  if ((length & 2) !== 0) {
    p.print(`:${p.u16(behind)}`);
    behind += 2;
  }
  if (behind < at + length) p.print(` hmac 0x${p.u64(behind).toString(16)}`);
  return true;
}

function printRemoveAddress(p: Printer, at: number, length: number): boolean {
  if (length < 4) return false;
  p.print(' id');
  for (let address = at + 3; address < at + length; address++) p.print(` ${p.u8(address)}`);
  return true;
}

function printPriority(p: Printer, at: number, length: number): boolean {
  if (length !== 3 && length !== 4) return false;
  p.print((p.u8(at + 2) & 1) === 0 ? ' non-backup' : ' backup');
  if (length === 4) p.print(` id ${p.u8(at + 3)}`);
  return true;
}

/** A subtype whose last eight octets are a number. */
function printLast(p: Printer, at: number, length: number, name: string, radix: 10 | 16): boolean {
  if (length !== 12) return false;
  p.print(`${name}${p.u64(at + 4).toString(radix)}`);
  return true;
}
