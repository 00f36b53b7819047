/**
 * A TCP segment. What its payload says is left to tcpdump's application dissectors, but for what a reset says.
 */
import { PROTOCOL } from '../../decode/ip.ts';
import { checksum, pseudoHeaderSum, rightChecksum, sumOf } from './checksum.ts';
import type { Payload } from './payload.ts';
import { portsWithAddresses, sourceAndDestination } from './ports.ts';
import { bitNames, hex, type Printer } from './printer.ts';
import { printTcpOptions } from './tcp-options.ts';

const HEADER = 20;

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;
const URG = 0x20;
const FLAGS = [
  [FIN, 'F'],
  [SYN, 'S'],
  [RST, 'R'],
  [0x08, 'P'],
  [ACK, '.'],
  [URG, 'U'],
  [0x40, 'E'],
  [0x80, 'W'],
] as const;

/**
 * RFC 9293, section 3.1.
 *
 *   0  |          Source Port          |       Destination Port        |
 *   4  |                        Sequence Number                        |
 *   8  |                    Acknowledgment Number                      |
 *  12  | Data  |       |     Flags     |            Window             |
 *  16  |           Checksum            |         Urgent Pointer        |
 *  20  |                           [Options]                           |
 */
export function printTcp(p: Printer, payload: Payload): void {
  const { ip, at, length } = payload;
  p.protocol = 'tcp';
  if (!p.has(at, 4)) {
    p.print(`${sourceAndDestination(p, ip).join(' > ')}:`);
    p.printTruncated();
    return;
  }
  p.print(portsWithAddresses(p, payload, PROTOCOL.TCP));
  if (!p.has(at, HEADER)) {
    p.printTruncated();
    return;
  }
  const headerLength = (p.u8(at + 12) >> 4) * 4;
  if (headerLength < HEADER) {
    // Unsigned in tcpdump, which does not expect a segment shorter than that.
    p.print(` tcp ${(length - headerLength) >>> 0} [bad hdr length ${headerLength} - too short, < ${HEADER}]`);
    return;
  }
  const flags = p.u8(at + 13);
  p.print(`Flags [${bitNames(FLAGS, flags, '')}]`);
  const numbers =
    (flags & ACK) === 0
      ? { sequence: p.u32(at + 4), acknowledgment: 0, peersFirst: 0 }
      : p.conversations.relative(p, payload, (flags & SYN) !== 0);
  if (headerLength > length) {
    p.print(` [bad hdr length ${headerLength} - too long, > ${length}]`);
    return;
  }
  printChecksum(p, payload);

  const data = length - headerLength;
  if (data > 0 || (flags & (SYN | FIN | RST)) !== 0) {
    p.print(`, seq ${numbers.sequence}`);
    if (data > 0) p.print(`:${(numbers.sequence + data) >>> 0}`);
  }
  if ((flags & ACK) !== 0) p.print(`, ack ${numbers.acknowledgment}`);
  p.print(`, win ${p.u16(at + 14)}`);
  if ((flags & URG) !== 0) p.print(`, urg ${p.u16(at + 18)}`);
  if (headerLength > HEADER && !printTcpOptions(p, { at, headerLength, data, flags, peersFirst: numbers.peersFirst })) {
    return;
  }
  p.print(`, length ${data}`);
  if (data === 0) return;
  if (!p.has(at, headerLength)) {
    p.print(` [remaining caplen(${p.available(at)}) < header length(${headerLength})]`);
    p.need(at, headerLength);
  }
  if ((flags & RST) !== 0) printResetData(p, at + headerLength, data);
}

function printChecksum(p: Printer, { ip, at, length, fragmented }: Payload): void {
  if (fragmented || !p.has(at, length)) return;
  const computed = checksum(pseudoHeaderSum(p, ip, length, PROTOCOL.TCP) + sumOf(p.bytes, at, length));
  const stated = p.u16(at + 16);
  p.print(`, cksum 0x${hex(stated, 4)}`);
  p.print(computed === 0 ? ' (correct)' : ` (incorrect -> 0x${hex(rightChecksum(stated, computed), 4)})`);
}

/** RFC 9293, section 3.5.3: a reset may say in plain text why it came. Of that so much is printed. */
const RESET_TEXT = 30;

function printResetData(p: Printer, at: number, length: number): void {
  p.print(p.has(at, length) ? ' [RST' : ' [!RST');
  p.print(length > RESET_TEXT ? '+ ' : ' ');
  const end = Math.min(at + Math.min(length, RESET_TEXT), p.end);
  for (let octet = at; octet < end; octet++) p.print(visible(p.u8(octet)));
  p.print(']');
}

/** fn_print_char() of util-print.c: `^A` for a control character, `M-` before one whose highest bit is set. */
function visible(octet: number): string {
  const ascii = octet & 0x7f;
  const isPrintable = ascii >= 0x20 && ascii < 0x7f;
  return `${octet > 0x7f ? 'M-' : ''}${isPrintable ? '' : '^'}${String.fromCharCode(isPrintable ? ascii : ascii ^ 0x40)}`;
}
