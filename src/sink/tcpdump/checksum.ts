/**
 * The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of the 16-bit words.
 */
import { u16 } from '../../decode/octets.ts';
import { finalIpv6Destination } from './ipv6-extension-headers.ts';
import type { IpAt } from './payload.ts';
import type { Printer } from './printer.ts';

/** The sum, not yet folded, of `length` octets; the last one of an odd number is padded with a zero. */
export function sumOf(bytes: Uint8Array, from: number, length: number): number {
  let sum = 0;
  const last = from + length - 1;
  for (let at = from; at < last; at += 2) sum += u16(bytes, at);
  if (length % 2 === 1) sum += bytes[last]! << 8;
  return sum;
}

/** 0 where the checksum among the octets that were summed up is right. */
export function checksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

/** What the checksum field should hold where it holds `stated` and the whole came to `computed`. */
export function rightChecksum(stated: number, computed: number): number {
  let right = stated + computed;
  right = (right & 0xffff) + (right >> 16);
  return (right & 0xffff) + (right >> 16);
}

/**
 * The sum of the pseudo-header (RFC 768, RFC 9293 section 3.1; RFC 8200 section 8.1).
 *
 * IPv4: | source | destination | 0 | protocol | length (16 bits) |
 * IPv6: | source | destination | length (32 bits) | 0 | next header |
 */
export function pseudoHeaderSum(p: Printer, ip: IpAt, length: number, protocol: number): number {
  if (ip.version === 6) {
    p.need(ip.at, 40);
    const addresses = sumOf(p.bytes, ip.at + 8, 16) + sumOf(p.bytes, finalIpv6Destination(p, ip.at), 16);
    return addresses + (length >>> 16) + (length & 0xffff) + protocol;
  }
  p.need(ip.at, 20);
  return sumOf(p.bytes, ip.at + 12, 4) + sumOf(p.bytes, finalDestination(p, ip.at), 4) + protocol + (length & 0xffff);
}

const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;

/** Where the final destination stands: at the end of a source route, if there is one. */
function finalDestination(p: Printer, ip: number): number {
  const end = ip + (p.u8(ip) & 0x0f) * 4;
  for (let at = ip + 20; at < end;) {
    const type = p.u8(at);
    if (type === 0) break;
    const length = type === 1 ? 1 : p.u8(at + 1);
    if (type !== 1 && length < 2) break;
    if (at + length > end || !p.has(at, length)) break;
    if ((type === LOOSE_SOURCE_ROUTE || type === STRICT_SOURCE_ROUTE) && length >= 7) return at + length - 4;
    at += length;
  }
  return ip + 16;
}
