/**
 * The extension behind what an ICMP error quotes (RFC 4884), MPLS label stacks in it (RFC 4950) among others.
 */
import { ICMPV4 } from '../../decode/icmpv4.ts';
import { checksum, sumOf } from './checksum.ts';
import { hex, type Printer } from './printer.ts';

/** Octets of the ICMP header and of the quoted datagram, which is padded to 128 where an extension follows. */
const BEFORE = 8 + 128;
const HEADER = 4;
const OBJECT_HEADER = 4;
const VERSION = 2;

const MPLS_STACK = 1;
const INCOMING_STACK = 1;
const CLASSES = new Map<number, string>([
  [MPLS_STACK, 'MPLS Stack Entry'],
  [2, 'Interface Identification'],
]);

function canBeExtended(type: number): boolean {
  return type === ICMPV4.DESTINATION_UNREACHABLE || type === ICMPV4.TIME_EXCEEDED || type === ICMPV4.PARAMETER_PROBLEM;
}

/**
 * RFC 4884, sections 7 and 8; `icmp` is where the message of `length` octets starts.
 *
 *   4  |    unused     |    Length     |  depends on the type          |  Length: of the quoted datagram, in words
 *  ...
 * 136  |Version|      (Reserved)       |           Checksum            |
 * 140  |             Length            |   Class-Num   |   C-Type      |  an object, its header counted in
 * 144  |                   (Object payload)                            |
 */
export function printIcmpExtension(p: Printer, icmp: number, length: number, type: number): void {
  if (length <= BEFORE || !canBeExtended(type)) return;
  const start = icmp + BEFORE;
  const extensionLength = length - BEFORE;
  if (!p.has(start, HEADER + 1)) {
    p.printTruncated();
    return;
  }
  const isRight = p.has(start, extensionLength) ? checksum(sumOf(p.bytes, start, extensionLength)) === 0 : null;
  // Routers older than the RFC leave the length field empty: there the checksum tells an extension from data.
  if (p.u8(icmp + 5) === 0 && isRight === false) return;

  const version = p.u8(start) >> 4;
  p.print(`\n\tICMP Multi-Part extension v${version}`);
  if (version !== VERSION) {
    p.print(' packet not supported');
    return;
  }
  if (isRight !== null) {
    p.print(`, checksum 0x${hex(p.u16(start + 2), 4)} (${isRight ? '' : 'in'}correct), length ${extensionLength}`);
  }
  printObjects(p, start + HEADER, extensionLength - HEADER);
}

function printObjects(p: Printer, from: number, length: number): void {
  let at = from;
  // Unsigned in tcpdump: an extension that is shorter than its header has objects without end.
  let left = length >>> 0;
  while (left > OBJECT_HEADER) {
    if (!p.has(at, OBJECT_HEADER)) {
      p.printTruncated();
      return;
    }
    const objectLength = p.u16(at);
    const classNumber = p.u8(at + 2);
    const classType = p.u8(at + 3);
    p.print(
      `\n\t  ${CLASSES.get(classNumber) ?? 'unknown'} Object (${classNumber}), Class-Type: ${classType}, length ${objectLength}`,
    );
    at += OBJECT_HEADER;
    left -= OBJECT_HEADER;
    if (classNumber === 0 || objectLength < OBJECT_HEADER) return;
    const payload = objectLength - OBJECT_HEADER;
    if (classNumber === MPLS_STACK && classType === INCOMING_STACK) printLabel(p, at);
    else p.printHexDump('\n\t    ', at, Math.min(payload, p.available(at)));
    if (left < payload) return;
    left -= payload;
    at += payload;
  }
}

/** RFC 3032: |  Label (20 bits)  | TC (3) | S | TTL (8) |; tcpdump prints the first of a stack only. */
function printLabel(p: Printer, at: number): void {
  const entry = p.u32(at);
  const bottom = (entry & 0x100) === 0 ? '' : ', [S]';
  p.print(`\n\t    label ${entry >>> 12}, tc ${(entry >> 9) & 7}${bottom}, ttl ${entry & 0xff}`);
}
