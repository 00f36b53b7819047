/**
 * From a captured packet to the ICMP message in it. `findIcmp` is the sieve that every record of a
 * capture goes through, so it compares octets at known offsets and allocates nothing; `decodePacket` is for
 * the few that pass.
 */
import { isIcmpv4Error } from './icmpv4.ts';
import { isIcmpv6Error } from './icmpv6.ts';
import { decodeIp, IPV6_HEADER, PROTOCOL, type IpHeader } from './ip.ts';
import { ETHERTYPE_IPV4, ipOffset, LINKTYPE } from './link.ts';
import { isMalformed, u16, type Malformed } from './octets.ts';
import { decodeOriginalDatagram, type OriginalDatagram } from './original-datagram.ts';

/** Octets before what an error quotes. */
export const ICMP_HEADER = 8;

export interface IcmpPacket {
  /** Where the outer IP header starts. */
  ipOffset: number;
  ip: IpHeader;
  /** Where the ICMP header starts. */
  icmpOffset: number;
  /**
   * End of the captured octets that belong to the IP packet (link-layer padding is behind it, unless the length in an IPv6 header
   * is 0). It is before the ICMP header where not even all of IP's was captured.
   */
  end: number;
  /** Null where it was not captured, or where the packet is a later fragment of a message. */
  type: number | null;
  code: number | null;
  /** Octets of the ICMP message, by the IP header. */
  length: number;
  /** What an error quotes; null for messages that quote nothing. */
  original: OriginalDatagram | Malformed | null;
}

/**
 * The offset of the IP header in bytes[offset, end) if ICMP or ICMPv6 follows, or -1. With `errorsOnly` the type octet must be
 * there, and be one that quotes a datagram.
 */
export function findIcmp(
  bytes: Uint8Array,
  offset: number,
  end: number,
  linkType: number,
  errorsOnly: boolean,
): number {
  // The record that most captures are full of, in as few comparisons as can be.
  if (linkType === LINKTYPE.ETHERNET && offset + 34 <= end && u16(bytes, offset + 12) === ETHERTYPE_IPV4) {
    if (bytes[offset + 23] !== PROTOCOL.ICMP) return -1;
  }
  const ip = ipOffset(bytes, offset, end, linkType);
  if (ip === -1) return -1;
  if (bytes[ip]! >> 4 === 4) {
    if (ip + 20 > end || bytes[ip + 9] !== PROTOCOL.ICMP) return -1;
    if (!errorsOnly) return ip;
    // A later fragment has no ICMP header.
    if ((bytes[ip + 6]! & 0x1f) !== 0 || bytes[ip + 7] !== 0) return -1;
    const icmp = ip + (bytes[ip]! & 0x0f) * 4;
    return icmp < end && isIcmpv4Error(bytes[icmp]!) ? ip : -1;
  }
  const behind = ip + IPV6_HEADER;
  if (behind > end) return -1;
  const nextHeader = bytes[ip + 6]!;
  if (nextHeader === PROTOCOL.ICMPV6) {
    return !errorsOnly || (behind < end && isIcmpv6Error(bytes[behind]!)) ? ip : -1;
  }
  if (nextHeader === PROTOCOL.UDP || nextHeader === PROTOCOL.TCP) return -1;
  // Extension headers are rare: here the full decoder may look.
  const header = decodeIp(bytes, ip, end, 'outer');
  if (isMalformed(header) || header.protocol !== PROTOCOL.ICMPV6) return -1;
  if (!errorsOnly) return ip;
  const { fragmentOffset, payloadOffset } = header;
  return fragmentOffset === 0 && payloadOffset < end && isIcmpv6Error(bytes[payloadOffset]!) ? ip : -1;
}

/**
 * The offset of the UDP header in bytes[offset, end) if one with its ports is there, not behind IPv6 extension headers and in no
 * later fragment, or -1. It allocates nothing either.
 */
export function findUdp(bytes: Uint8Array, offset: number, end: number, linkType: number): number {
  const ip = ipOffset(bytes, offset, end, linkType);
  if (ip === -1) return -1;
  let udp = ip + IPV6_HEADER;
  if (bytes[ip]! >> 4 === 4) {
    if (ip + 20 > end || bytes[ip + 9] !== PROTOCOL.UDP) return -1;
    if ((bytes[ip + 6]! & 0x1f) !== 0 || bytes[ip + 7] !== 0) return -1;
    udp = ip + (bytes[ip]! & 0x0f) * 4;
  } else if (udp > end || bytes[ip + 6] !== PROTOCOL.UDP) return -1;
  return udp + 4 <= end ? udp : -1;
}

/** The datagram that `findUdp` found. */
export function decodeDatagram(
  bytes: Uint8Array,
  offset: number,
  end: number,
  linkType: number,
): { ip: IpHeader; ports: { source: number; destination: number } } | null {
  const udp = findUdp(bytes, offset, end, linkType);
  if (udp === -1) return null;
  const ip = decodeIp(bytes, ipOffset(bytes, offset, end, linkType), end, 'outer');
  return isMalformed(ip) ? null : { ip, ports: { source: u16(bytes, udp), destination: u16(bytes, udp + 2) } };
}

/**
 * Whether the checksum of the ICMP message is right (RFC 792; RFC 4443 section 2.3, with the pseudo-header of RFC 8200 section
 * 8.1). Null where it cannot be told: not all of the message is there, or it is in fragments, or IPv6 extension headers may
 * have changed the destination.
 */
export function hasRightChecksum(bytes: Uint8Array, packet: IcmpPacket): boolean | null {
  const { ip, ipOffset: ipAt, icmpOffset, end, length } = packet;
  if (end - icmpOffset < length) return null;
  let sum = 0;
  if (ip.version === 4) {
    const moreFragments = (bytes[ipAt + 6]! & 0x20) !== 0;
    if (moreFragments) return null;
  } else {
    if (icmpOffset !== ipAt + IPV6_HEADER) return null;
    for (let at = ipAt + 8; at < ipAt + IPV6_HEADER; at += 2) sum += u16(bytes, at);
    sum += length + PROTOCOL.ICMPV6;
  }
  return checksum(bytes, icmpOffset, icmpOffset + length, sum) === 0xffff;
}

/** The one's complement sum (RFC 1071) of bytes[start, end), added to `sum`: 0xffff where a checksum in it is right. */
export function checksum(bytes: Uint8Array, start: number, end: number, sum = 0): number {
  const last = end - 1;
  for (let at = start; at < last; at += 2) sum += u16(bytes, at);
  if ((end - start) % 2 === 1) sum += bytes[last]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/**
 * The ICMP message of the packet whose IP header `findIcmp` found at `ipAt`; the packet's captured octets
 * end at `end`.
 */
export function decodePacket(bytes: Uint8Array, ipAt: number, end: number): IcmpPacket | Malformed {
  const ip = decodeIp(bytes, ipAt, end, 'outer');
  if (isMalformed(ip)) return ip;
  const icmp = ip.payloadOffset;
  const messageEnd = Math.min(end, icmp + ip.payloadLength);
  // RFC 2675, section 2: a jumbogram's length is in an option, which only tcpdump's text looks at.
  const hasLength = ip.version === 4 || u16(bytes, ipAt + 4) !== 0;
  const octets = ip.fragmentOffset === 0 ? messageEnd - icmp : 0;
  const type = octets < 1 ? null : bytes[icmp]!;
  const code = octets < 2 ? null : bytes[icmp + 1]!;
  const isError = type !== null && code !== null && (ip.version === 4 ? isIcmpv4Error(type) : isIcmpv6Error(type));
  return {
    ipOffset: ipAt,
    ip,
    icmpOffset: icmp,
    end: hasLength ? messageEnd : end,
    type,
    code,
    length: ip.payloadLength,
    original: isError ? decodeOriginalDatagram(bytes, icmp + ICMP_HEADER, messageEnd) : null,
  };
}
