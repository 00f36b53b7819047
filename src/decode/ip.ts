/**
 * IPv4 (RFC 791) and IPv6 (RFC 8200) headers, as the outer header of a packet and as the header that an
 * ICMP error quotes.
 */
import { formatIpv4, formatIpv6, malformed, u16, type Malformed } from './octets.ts';

export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, DCCP: 33, ICMPV6: 58, SCTP: 132, UDPLITE: 136 } as const;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;

const IPV4_HEADER = 20;
export const IPV6_HEADER = 40;

export interface IpHeader {
  version: 4 | 6;
  src: string;
  dst: string;
  /** The upper layer's protocol number, behind any IPv6 extension headers. */
  protocol: number;
  /** IPv4 identification; in IPv6 null. */
  identification: number | null;
  /** Octets of the original datagram before this fragment's data; 0 if it is the first or no fragment. */
  fragmentOffset: number;
  moreFragments: boolean;
  /** Where the upper layer starts. It may lie beyond the captured octets. */
  payloadOffset: number;
  /** Octets of the upper layer, by the header's length field. */
  payloadLength: number;
}

/**
 * The header at `offset` of bytes[.., end).
 *
 * In `quoted` mode the header was taken from a datagram that is legitimately cut short, and may have been
 * rewritten on its way: its total length is not held against the octets that are there.
 */
export function decodeIp(
  bytes: Uint8Array,
  offset: number,
  end: number,
  mode: 'outer' | 'quoted',
): IpHeader | Malformed {
  const layer = mode === 'outer' ? 'ip' : 'quoted-ip';
  if (offset >= end) return malformed(layer, 'truncated', offset, IPV4_HEADER, 0);
  switch (bytes[offset]! >> 4) {
    case 4:
      return decodeIpv4(bytes, offset, end, layer);
    case 6:
      return decodeIpv6(bytes, offset, end, layer);
    default:
      return malformed(layer, 'invalid', offset, IPV4_HEADER, end - offset);
  }
}

/*
 *  0                   1                   2                   3
 *  |Version|  IHL  |Type of Service|          Total Length         |
 *  |         Identification        |Flags|      Fragment Offset    |
 *  |  Time to Live |    Protocol   |         Header Checksum       |
 *  |                       Source Address                          |
 *  |                    Destination Address                        |
 *  |                    Options                    |    Padding    |
 */
function decodeIpv4(bytes: Uint8Array, offset: number, end: number, layer: 'ip' | 'quoted-ip'): IpHeader | Malformed {
  if (end - offset < IPV4_HEADER) {
    return malformed(layer, 'truncated', offset, IPV4_HEADER, end - offset);
  }
  const headerLength = (bytes[offset]! & 0x0f) * 4;
  const totalLength = u16(bytes, offset + 2);
  if (headerLength < IPV4_HEADER || (layer === 'ip' && totalLength < headerLength)) {
    return malformed(layer, 'invalid', offset, headerLength, totalLength);
  }
  const fragment = u16(bytes, offset + 6);
  return {
    version: 4,
    src: formatIpv4(bytes, offset + 12),
    dst: formatIpv4(bytes, offset + 16),
    protocol: bytes[offset + 9]!,
    identification: u16(bytes, offset + 4),
    fragmentOffset: (fragment & 0x1fff) * 8,
    moreFragments: (fragment & 0x2000) !== 0,
    payloadOffset: offset + headerLength,
    payloadLength: Math.max(0, totalLength - headerLength),
  };
}

/*
 *  0                   1                   2                   3
 *  |Version| Traffic Class |           Flow Label                  |
 *  |         Payload Length        |  Next Header  |   Hop Limit   |
 *  |                        Source Address (16)                    |
 *  |                     Destination Address (16)                  |
 */
function decodeIpv6(bytes: Uint8Array, offset: number, end: number, layer: 'ip' | 'quoted-ip'): IpHeader | Malformed {
  if (end - offset < IPV6_HEADER) {
    return malformed(layer, 'truncated', offset, IPV6_HEADER, end - offset);
  }
  const payloadLength = u16(bytes, offset + 4);
  let protocol = bytes[offset + 6]!;
  let at = offset + IPV6_HEADER;
  let fragmentOffset = 0;
  let moreFragments = false;

  // Each is eight octets at the least: a chain takes no longer to walk than the packet to read.
  while (isExtensionHeader(protocol)) {
    if (end - at < 8) return malformed(layer, 'truncated', at, 8, end - at);
    let length = (bytes[at + 1]! + 1) * 8;
    if (protocol === FRAGMENT) {
      length = 8;
      fragmentOffset = u16(bytes, at + 2) & 0xfff8;
      moreFragments = (bytes[at + 3]! & 1) !== 0;
    } else if (protocol === AUTHENTICATION) {
      length = (bytes[at + 1]! + 2) * 4; // RFC 4302, section 2.2: 32-bit words, minus 2
    }
    protocol = bytes[at]!;
    at += length;
    // What follows in a later fragment is data, not a header.
    if (fragmentOffset !== 0) break;
  }
  return {
    version: 6,
    src: formatIpv6(bytes, offset + 8),
    dst: formatIpv6(bytes, offset + 24),
    protocol,
    identification: null,
    fragmentOffset,
    moreFragments,
    payloadOffset: at,
    payloadLength: Math.max(0, payloadLength - (at - offset - IPV6_HEADER)),
  };
}

function isExtensionHeader(protocol: number): boolean {
  switch (protocol) {
    case HOP_BY_HOP:
    case ROUTING:
    case FRAGMENT:
    case AUTHENTICATION:
    case DESTINATION_OPTIONS:
      return true;
    default:
      return false;
  }
}
