/**
 * Headers of which tcpdump prints a line and no more.
 */
import { checksum, sumOf } from './checksum.ts';
import type { Payload } from './payload.ts';
import { hex, type Printer } from './printer.ts';

/**
 * RFC 4302, section 2.2; the length is in words, less 2. Returns what follows, or null where even that is cut off.
 *
 *   0  |  Next Header  |  Payload Len  |           RESERVED            |
 *   4  |                 Security Parameters Index (SPI)               |
 *   8  |                     Sequence Number Field                     |
 *  12  |                Integrity Check Value (variable)               |
 */
export function printAuthenticationHeader(p: Printer, payload: Payload): Payload | null {
  const { at, length } = payload;
  p.protocol = 'ah';
  if (!p.has(at, 1)) {
    p.printTruncated();
    return null;
  }
  p.print('AH');
  const words = p.u8(at + 1);
  const headerLength = (words + 2) * 4;
  p.print(p.verbose ? `(length=${words}(${headerLength}-bytes),` : '(');
  const reserved = p.u16(at + 2);
  if (reserved !== 0) p.print(`reserved=0x${hex(reserved)}[MustBeZero],`);
  p.print(`spi=0x${hex(p.u32(at + 4), 8)},`);
  p.print(`seq=0x${hex(p.u32(at + 8))},icv=0x`);
  // Octet by octet: those that were captured are printed.
  for (let octet = at + 12; octet < at + headerLength; octet++) p.print(p.hex(octet, 1));
  p.print('): ');
  return { ...payload, at: at + headerLength, length: (length - headerLength) >>> 0 };
}

/** RFC 4303: | Security Parameters Index (4) | Sequence Number (4) | encrypted */
export function printEsp(p: Printer, { at, length }: Payload): void {
  p.protocol = 'esp';
  // Without an encrypted octet tcpdump takes it for cut off.
  if (!p.has(at, 9)) {
    p.printTruncated();
    return;
  }
  p.print(`ESP(spi=0x${hex(p.u32(at), 8)},seq=0x${hex(p.u32(at + 4))}), length ${length}`);
}

/** RFC 3173: | Next Header (1) | Flags (1) | Compression Parameter Index (2) | compressed */
export function printIpComp(p: Printer, { at }: Payload): void {
  p.protocol = 'ipcomp';
  p.print(`IPComp(cpi=0x${hex(p.u16(at + 2), 4)})`);
}

/**
 * RFC 2004, section 3.1; the last line is there where S is set.
 *
 *  0  |   Protocol    |S|  reserved   |        Header Checksum        |
 *  4  |                 Original Destination Address                  |
 *  8  |            (if present) Original Source Address               |
 */
export function printMinimalEncapsulation(p: Printer, { at, length }: Payload): void {
  p.protocol = 'mobile';
  // tcpdump wants the last field captured, present or not.
  if (length < 8 || !p.has(at, 12)) {
    p.printTruncated();
    return;
  }
  const hasSource = (p.u8(at + 1) & 0x80) !== 0;
  p.print(`mobile: ${hasSource ? `[S] ${p.ipv4(at + 8)} ` : '[] '}> ${p.ipv4(at + 4)} (oproto=${p.u8(at)})`);
  const headerLength = hasSource ? 12 : 8;
  if (checksum(sumOf(p.bytes, at, headerLength)) !== 0) p.print(` (bad checksum ${p.u16(at + 2)})`);
}
