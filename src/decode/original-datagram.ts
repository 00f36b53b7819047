/**
 * The datagram that an ICMP error quotes: "Internet Header + 64 bits of Original Data Datagram" (RFC 792),
 * or as much of it as fits (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4).
 */
import { ICMPV4 } from './icmpv4.ts';
import { ICMPV6 } from './icmpv6.ts';
import { decodeIp, PROTOCOL, type IpHeader } from './ip.ts';
import { isMalformed, malformed, u16, type Malformed } from './octets.ts';

/** Octets (RFC 768). */
export const UDP_HEADER = 8;

export interface OriginalDatagram {
  ip: IpHeader;
  /** Null where the protocol has no ports, where the quote is no first fragment, or where it ends before them. */
  ports: { source: number; destination: number } | null;
  /** Why the ports could not be read though the protocol has them. */
  malformed: Malformed | null;
}

/** Protocols whose header starts with the source and the destination port. */
export function hasPorts(protocol: number): boolean {
  switch (protocol) {
    case PROTOCOL.TCP:
    case PROTOCOL.UDP:
    case PROTOCOL.DCCP:
    case PROTOCOL.SCTP:
    case PROTOCOL.UDPLITE:
      return true;
    default:
      return false;
  }
}

/**
 * Octets that the quote takes by the message's length attribute (RFC 4884 sections 4 and 5), 0 where that is not set; null in
 * messages that have none. The kernel knows of no such thing: for it all that follows the ICMP header is the quote, and so
 * addresses and ports are read without asking. It tells where the extension structure starts.
 */
export function lengthAttribute(bytes: Uint8Array, version: 4 | 6, type: number, icmp: number): number | null {
  if (version === 4) {
    switch (type) {
      case ICMPV4.DESTINATION_UNREACHABLE:
      case ICMPV4.TIME_EXCEEDED:
      case ICMPV4.PARAMETER_PROBLEM:
        return bytes[icmp + 5]! * 4;
      default:
        return null;
    }
  }
  const hasOne = type === ICMPV6.DESTINATION_UNREACHABLE || type === ICMPV6.TIME_EXCEEDED;
  return hasOne ? bytes[icmp + 4]! * 8 : null;
}

/** What is quoted at `offset` of bytes[.., end), or a Malformed where not even its IP header can be read. */
export function decodeOriginalDatagram(bytes: Uint8Array, offset: number, end: number): OriginalDatagram | Malformed {
  const ip = decodeIp(bytes, offset, end, 'quoted');
  if (isMalformed(ip)) return ip;

  if (!hasPorts(ip.protocol) || ip.fragmentOffset !== 0) return { ip, ports: null, malformed: null };

  const at = ip.payloadOffset;
  if (end - at < 4) {
    return { ip, ports: null, malformed: malformed('quoted-transport', 'truncated', at, 4, end - at) };
  }
  return {
    ip,
    ports: { source: u16(bytes, at), destination: u16(bytes, at + 2) },
    malformed: null,
  };
}
