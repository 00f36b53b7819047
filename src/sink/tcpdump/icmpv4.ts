/**
 * An ICMP message, as `-v` prints it: its line, and below it what an error quotes and the extensions behind that.
 */
import { ICMPV4, isIcmpv4Error } from '../../decode/icmpv4.ts';
import { icmpv4Wording } from '../tcpdump-text.ts';
import { checksum, rightChecksum, sumOf } from './checksum.ts';
import { printIcmpExtension } from './icmp-extension.ts';
import { printIpv4 } from './ipv4.ts';
import type { Payload } from './payload.ts';
import { hex, type Printer } from './printer.ts';

/** Octets before what an error quotes. */
const HEADER = 8;
/** The quoted IP header's total length. */
const QUOTED_LENGTH = HEADER + 2;

/**
 * RFC 792.
 *
 *  0  |     Type      |     Code      |          Checksum             |
 *  4  |             depends on the type (4 octets)                    |
 *  8  |      errors: IP header + first octets of the datagram         |
 */
export function printIcmpv4(p: Printer, { at, length, fragmented }: Payload): void {
  p.protocol = 'icmp';
  const type = p.u8(at);
  const code = p.u8(at + 1);
  const wording = icmpv4Wording(p.bytes, { icmpOffset: at, end: p.end, type, code });
  if (wording === null) {
    if (endsPacket(p, at, type, code)) p.need(at, Infinity);
    p.printTruncated();
    return;
  }
  p.print(`ICMP ${wording}, length ${length}`);
  if (!fragmented && p.has(at, length)) {
    const computed = checksum(sumOf(p.bytes, at, length));
    const stated = p.u16(at + 2);
    if (computed !== 0) p.print(` (wrong icmp cksum ${hex(stated)} (->${hex(rightChecksum(stated, computed))})!)`);
  }
  if (isIcmpv4Error(type)) {
    p.print('\n\t');
    const quotedLength = p.u16(at + QUOTED_LENGTH);
    p.within(at + HEADER, quotedLength, () => {
      // A length that leaves its own field out ends the packet here.
      p.need(at + QUOTED_LENGTH, 2);
      printIpv4(p, at + HEADER, quotedLength);
    });
  }
  p.protocol = 'icmp';
  printIcmpExtension(p, at, length, type);
}

/**
 * Where octets that the line needs are missing, tcpdump mostly leaves the packet, and sometimes the message
 * only: what this one is quoted in may then still say something.
 */
function endsPacket(p: Printer, at: number, type: number, code: number): boolean {
  switch (type) {
    case ICMPV4.DESTINATION_UNREACHABLE:
      return code !== 3 || p.has(at + 17, 1);
    case ICMPV4.ROUTER_ADVERTISEMENT:
    case ICMPV4.TIME_EXCEEDED:
    case ICMPV4.TIMESTAMP_REPLY:
      return false;
    default:
      return true;
  }
}
