/**
 * The datagram that an ICMP error quotes: "Internet Header + 64 bits of Original Data Datagram" (RFC 792),
 * or as much of it as fits (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4).
 */
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
