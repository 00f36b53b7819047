/**
 * A DCCP packet.
 */
import { PROTOCOL } from '../../decode/ip.ts';
import { checksum, pseudoHeaderSum, rightChecksum, sumOf } from './checksum.ts';
import type { Payload } from './payload.ts';
import { sourceAndDestination } from './ports.ts';
import { hex, type Printer } from './printer.ts';

/** With 24 and with 48 bits of sequence number. */
const SHORT_HEADER = 12;
const LONG_HEADER = 16;

const REQUEST = 0;
const RESPONSE = 1;
const DATA = 2;
const RESET = 7;

/** Octets behind the header, by the packet's type. */
const TYPES: readonly (readonly [string, number])[] = [
  ['DCCP-Request', 4],
  ['DCCP-Response', 12],
  ['DCCP-Data', 0],
  ['DCCP-Ack', 8],
  ['DCCP-DataAck', 8],
  ['DCCP-CloseReq', 8],
  ['DCCP-Close', 8],
  ['DCCP-Reset', 12],
  ['DCCP-Sync', 8],
  ['DCCP-SyncAck', 8],
];

/** RFC 4340, section 5.6 */
const RESETS = [
  'unspecified',
  'closed',
  'aborted',
  'no_connection',
  'packet_error',
  'option_error',
  'mandatory_error',
  'connection_refused',
  'bad_service_code',
  'too_busy',
  'bad_init_cookie',
  'aggression_penalty',
] as const;

/**
 * RFC 4340, section 5.1; X = 1 has sequence and acknowledgment numbers of 48 bits. An acknowledgment takes the
 * first eight octets of what is behind the header.
 *
 *   0  |          Source Port          |           Dest Port           |
 *   4  |  Data Offset  | CCVal | CsCov |           Checksum            |
 *   8  | Res | Type  |X|   Sequence Number (low, or reserved + high)   |
 *  12  |           (X = 1)  Sequence Number (low bits)                 |
 */
export function printDccp(p: Printer, { ip, at, length }: Payload): void {
  p.protocol = 'dccp';
  if (!p.has(at, SHORT_HEADER)) {
    p.printTruncated();
    return;
  }
  if (isTooShort(p, 'dccp', length, SHORT_HEADER)) return;
  const isLong = (p.u8(at + 8) & 1) === 1;
  const headerLength = isLong ? LONG_HEADER : SHORT_HEADER;
  if (isTooShort(p, 'dccp', length, headerLength)) return;
  if (!p.has(at, headerLength)) {
    p.printTruncated();
    return;
  }
  const [source, destination] = sourceAndDestination(p, ip);
  const coverage = p.u8(at + 5) & 0x0f;
  p.print(
    `${source}.${p.u16(at)} > ${destination}.${p.u16(at + 2)}: DCCP (CCVal ${p.u8(at + 5) >> 4}, CsCov ${coverage}`,
  );
  if (p.has(at, length)) {
    // Section 9.2: 0 is all of the packet, else so many words less one behind the header.
    const covered = coverage === 0 ? length : Math.min(length, (p.u8(at + 4) + coverage - 1) * 4);
    const computed = checksum(pseudoHeaderSum(p, ip, length, PROTOCOL.DCCP) + sumOf(p.bytes, at, covered));
    const stated = p.u16(at + 6);
    p.print(`, cksum 0x${hex(stated, 4)} `);
    p.print(computed === 0 ? '(correct)' : `(incorrect -> 0x${hex(rightChecksum(stated, computed), 4)})`);
  }
  p.print(') ');
  printType(p, at, headerLength, length, isLong);
}

function printType(p: Printer, at: number, headerLength: number, length: number, isLong: boolean): void {
  const type = (p.u8(at + 8) >> 1) & 0x0f;
  const [name, octets] = TYPES[type] ?? [`unknown-type-${type}`, 0];
  if (isTooShort(p, name, length, headerLength + octets)) return;
  const behind = at + headerLength;
  if ((type === REQUEST || type === RESPONSE || type === RESET) && !p.has(behind, octets)) {
    p.printTruncated();
    return;
  }
  p.print(`${name} `);
  if (type === REQUEST) p.print(`(service=${p.u32(behind)}) `);
  else if (type === RESPONSE) p.print(`(service=${p.u32(behind + 8)}) `);
  else if (type === RESET) p.print(`(code=${RESETS[p.u8(behind + 8)] ?? 'invalid'}) `);
  if (type === DATA || type === REQUEST) return;
  const acknowledgment = isLong ? p.u16(behind + 2) * 0x1_0000_0000 + p.u32(behind + 4) : p.u24(behind + 1);
  p.print(`(ack=${acknowledgment}) `);
}

function isTooShort(p: Printer, what: string, length: number, need: number): boolean {
  if (length >= need) return false;
  p.print(`truncated-${what} - ${need - length} bytes missing!`);
  return true;
}
