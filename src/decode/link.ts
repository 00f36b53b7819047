/**
 * Link layers: where does the IP header start, and what stands before it?
 *
 * LINKTYPE_ values and header layouts: https://www.tcpdump.org/linktypes.html
 */
import { u16, u32 } from './octets.ts';

export const LINKTYPE = {
  NULL: 0,
  ETHERNET: 1,
  PPP: 9,
  PPP_HDLC: 50,
  PPP_ETHER: 51,
  RAW: 101,
  C_HDLC: 104,
  LOOP: 108,
  LINUX_SLL: 113,
  PPP_PPPD: 166,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const;

/** DLT_RAW's value in files that BSDs and old libpcaps wrote is 12 or 14. */
const SUPPORTED: ReadonlySet<number> = new Set([...Object.values(LINKTYPE), 12, 14]);

export const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_PPPOE_SESSION = 0x8864;

/** IEEE 802.1Q, 802.1ad, and what was there before it. */
export const VLAN_TAGS: readonly number[] = [0x8100, 0x88a8, 0x9100, 0x9200];

/** One of VLAN_TAGS, without looking through a list: most captures on trunks consist of such packets. */
function isVlanTag(etherType: number): boolean {
  return etherType === 0x8100 || etherType === 0x88a8 || etherType === 0x9100 || etherType === 0x9200;
}

/** RFC 2516, and the numbers that were in use before it. A session's data come under any of them. */
const PPPOE: ReadonlySet<number> = new Set([ETHERTYPE_PPPOE_SESSION, 0x8863, 0x3c12, 0x3c13]);

/** tcpdump's names of what may follow a tag: ethertype_values of print-ether.c. */
const ETHERTYPE_NAMES = new Map<number, string>([
  [ETHERTYPE_IPV4, 'IPv4'],
  [ETHERTYPE_IPV6, 'IPv6'],
  [0x8100, '802.1Q'],
  [0x88a8, '802.1Q-QinQ'],
  [0x9100, '802.1Q-9100'],
  [0x9200, '802.1Q-9200'],
  [0x8863, 'PPPoE D'],
  [ETHERTYPE_PPPOE_SESSION, 'PPPoE S'],
]);

/** IANA "PPP DLL Protocol Numbers"; some write the EtherType instead. */
const PPP_IPV4 = 0x21;
const PPP_IPV6 = 0x57;

const PPP_ADDRESS = 0xff;
const PPP_CONTROL = 0x03;
/** Cisco HDLC's addresses, unicast and broadcast, where PPP_HDLC may have them too. */
const CHDLC_UNICAST = 0x0f;
const CHDLC_BROADCAST = 0x8f;

const PPPOE_HEADER = 6;

/** AF_INET6 as the BSDs and macOS number it in the NULL header; AF_INET is 2 everywhere. */
const AF_INET = 2;
const AF_INET6_VALUES: ReadonlySet<number> = new Set([10, 24, 28, 30]);

/** Whether packets of this link type can be decoded at all. */
export function isSupportedLinkType(linkType: number): boolean {
  return SUPPORTED.has(linkType);
}

/**
 * The offset of the IP header in a packet of `linkType` that lies in bytes[offset, end), or -1: not IP, or
 * cut short before it. Where it is not -1, the octet there exists and its version nibble agrees with what
 * the link layer announced.
 */
export function ipOffset(bytes: Uint8Array, offset: number, end: number, linkType: number): number {
  switch (linkType) {
    case LINKTYPE.ETHERNET:
      return offset + 14 <= end ? behindEtherType(bytes, u16(bytes, offset + 12), offset + 14, end) : -1;
    case LINKTYPE.LINUX_SLL:
      return offset + 16 <= end ? behindEtherType(bytes, u16(bytes, offset + 14), offset + 16, end) : -1;
    case LINKTYPE.LINUX_SLL2:
      // The protocol comes first, the payload 20 octets on.
      return offset + 20 <= end ? behindEtherType(bytes, u16(bytes, offset), offset + 20, end) : -1;
    case LINKTYPE.NULL:
    case LINKTYPE.LOOP:
      return behindAddressFamily(bytes, offset, end);
    case LINKTYPE.PPP:
    case LINKTYPE.PPP_PPPD:
      return behindPpp(bytes, offset, end);
    case LINKTYPE.PPP_HDLC:
      return behindPppHdlc(bytes, offset, end);
    case LINKTYPE.PPP_ETHER:
      return behindPppoe(bytes, offset, end);
    case LINKTYPE.C_HDLC:
      return behindChdlc(bytes, offset, end);
    default: {
      // LINKTYPE_RAW: the version nibble alone tells, and of LINKTYPE_IPV4 and _IPV6 tcpdump believes it too.
      const four = withVersion(bytes, offset, end, 4);
      return four !== -1 ? four : withVersion(bytes, offset, end, 6);
    }
  }
}

function withVersion(bytes: Uint8Array, at: number, end: number, version: 4 | 6): number {
  return at < end && bytes[at]! >> 4 === version ? at : -1;
}

/** `payload` is where the header of `etherType` starts. */
function behindEtherType(bytes: Uint8Array, etherType: number, payload: number, end: number): number {
  switch (etherType) {
    case ETHERTYPE_IPV4:
      return withVersion(bytes, payload, end, 4);
    case ETHERTYPE_IPV6:
      return withVersion(bytes, payload, end, 6);
    default:
      return behindEncapsulation(bytes, etherType, payload, end);
  }
}

/**
 * VLAN tags (IEEE 802.1Q) are looked through, however many there are, and PPPoE sessions.
 *
 *  | priority, VLAN ID |   EtherType   |  what it announces ...
 */
function behindEncapsulation(bytes: Uint8Array, etherType: number, payload: number, end: number): number {
  while (isVlanTag(etherType)) {
    if (payload + 4 > end) return -1;
    etherType = u16(bytes, payload + 2);
    payload += 4;
  }
  if (etherType === ETHERTYPE_IPV4) return withVersion(bytes, payload, end, 4);
  if (etherType === ETHERTYPE_IPV6) return withVersion(bytes, payload, end, 6);
  return PPPOE.has(etherType) ? behindPppoe(bytes, payload, end) : -1;
}

/**
 * RFC 2516 section 4. The code of a session's data is 0.
 *
 *  |  VER  | TYPE  |     CODE      |          SESSION_ID           |
 *  |            LENGTH             |  PPP ...
 */
function behindPppoe(bytes: Uint8Array, at: number, end: number): number {
  if (at + PPPOE_HEADER > end || bytes[at + 1] !== 0) return -1;
  return behindPpp(bytes, at + PPPOE_HEADER, end);
}

/**
 * RFC 1661 section 2 and RFC 1662 section 3.1. Address and control are often left out, and the protocol is one octet
 * where that is odd. pppd has the direction in place of the address.
 *
 *  |  Address ff   |  Control 03   |   Protocol (1 or 2 octets)    |
 */
function behindPpp(bytes: Uint8Array, at: number, end: number): number {
  if (at + 2 > end) return -1;
  if (bytes[at + 1] === PPP_CONTROL && (bytes[at] === PPP_ADDRESS || bytes[at]! <= 1)) at += 2;
  if (at + 2 > end) return -1;
  return bytes[at]! % 2 === 1
    ? behindPppProtocol(bytes, bytes[at]!, at + 1, end)
    : behindPppProtocol(bytes, u16(bytes, at), at + 2, end);
}

function behindPppProtocol(bytes: Uint8Array, protocol: number, payload: number, end: number): number {
  switch (protocol) {
    case PPP_IPV4:
    case ETHERTYPE_IPV4:
      return withVersion(bytes, payload, end, 4);
    case PPP_IPV6:
    case ETHERTYPE_IPV6:
      return withVersion(bytes, payload, end, 6);
    default:
      return -1;
  }
}

/** Nothing is left out here: RFC 1662, or Cisco's framing (RFC 1547 section 4.3.1). */
function behindPppHdlc(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 > end) return -1;
  switch (bytes[at]) {
    case PPP_ADDRESS:
      return behindPppProtocol(bytes, u16(bytes, at + 2), at + 4, end);
    case CHDLC_UNICAST:
    case CHDLC_BROADCAST:
      return behindChdlc(bytes, at, end);
    default:
      return -1;
  }
}

/**
 *  |    Address    |    Control    |           EtherType           |
 */
function behindChdlc(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 > end) return -1;
  const etherType = u16(bytes, at + 2);
  if (etherType === ETHERTYPE_IPV4) return withVersion(bytes, at + 4, end, 4);
  return etherType === ETHERTYPE_IPV6 ? withVersion(bytes, at + 4, end, 6) : -1;
}

/** The family is in the byte order of the machine that captured (NULL) or of the network (LOOP, by the book). */
function behindAddressFamily(bytes: Uint8Array, offset: number, end: number): number {
  if (offset + 4 > end) return -1;
  let family = u32(bytes, offset);
  // Families are small numbers: one with its upper half set was written in the other order.
  if (family > 0xffff) family = swap32(family);
  if (family === AF_INET) return withVersion(bytes, offset + 4, end, 4);
  if (AF_INET6_VALUES.has(family)) return withVersion(bytes, offset + 4, end, 6);
  return -1;
}

function swap32(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

/** What is to be said of the headers before IP's. */
export interface LinkHeader {
  /** sll_pkttype: PACKET_HOST 0, _BROADCAST 1, _MULTICAST 2, _OTHERHOST 3, _OUTGOING 4; 0 on other link types. */
  packetType: number;
  /** LINUX_SLL2's interface index at capture time; null on other link types. */
  interfaceIndex: number | null;
  /** tcpdump's words for what stands between the link-layer header and IP's; mostly empty. */
  encapsulation: string;
  /** Where the packet would end, had all of it been captured. */
  wireEnd: number;
}

/**
 * The headers before the IP header that `ipOffset` found at `ipAt` in bytes[offset, …), or null where tcpdump says nothing
 * of them.
 * @param wireEnd where the packet would end, had all of it been captured
 */
export function linkHeader(
  bytes: Uint8Array,
  offset: number,
  ipAt: number,
  linkType: number,
  wireEnd: number,
): LinkHeader | null {
  switch (linkType) {
    case LINKTYPE.ETHERNET: {
      if (ipAt === offset + 14) return null;
      const header = headerWithout(wireEnd);
      describeEncapsulation(header, bytes, u16(bytes, offset + 12), offset + 14, false);
      return header;
    }
    case LINKTYPE.LINUX_SLL: {
      if (ipAt === offset + 16) return null;
      const header = headerWithout(wireEnd);
      describeEncapsulation(header, bytes, u16(bytes, offset + 14), offset + 16, true);
      return header;
    }
    case LINKTYPE.LINUX_SLL2: {
      const header = headerWithout(wireEnd);
      header.packetType = bytes[offset + 10]!;
      header.interfaceIndex = u32(bytes, offset + 4);
      if (ipAt !== offset + 20) describeEncapsulation(header, bytes, u16(bytes, offset), offset + 20, true);
      return header;
    }
    case LINKTYPE.PPP_HDLC: {
      if (bytes[offset] !== PPP_ADDRESS) return null;
      return { ...headerWithout(wireEnd), encapsulation: `${pppProtocolName(u16(bytes, offset + 2))}: ` };
    }
    case LINKTYPE.PPP_ETHER: {
      const header = headerWithout(wireEnd);
      describePppoe(header, bytes, offset);
      return header;
    }
    default:
      return null;
  }
}

/** Of which nothing is said yet. */
function headerWithout(wireEnd: number): LinkHeader {
  return { packetType: 0, interfaceIndex: null, encapsulation: '', wireEnd };
}

/** Of VLAN tags tcpdump says nothing on Ethernet, and on the cooked link types what they announce. */
function describeEncapsulation(
  header: LinkHeader,
  bytes: Uint8Array,
  etherType: number,
  payload: number,
  namesTypes: boolean,
): void {
  while (isVlanTag(etherType)) {
    etherType = u16(bytes, payload + 2);
    payload += 4;
    if (namesTypes) header.encapsulation += `ethertype ${ETHERTYPE_NAMES.get(etherType) ?? 'Unknown'}, `;
  }
  if (PPPOE.has(etherType)) describePppoe(header, bytes, payload);
}

/** pppoe_print() of print-pppoe.c. Its length counts, not what Ethernet pads the frame with. */
function describePppoe(header: LinkHeader, bytes: Uint8Array, at: number): void {
  const version = bytes[at]! >> 4;
  const type = bytes[at]! & 0x0f;
  const session = u16(bytes, at + 2);
  const length = u16(bytes, at + 4);
  const there = header.wireEnd - at - PPPOE_HEADER;
  let text = '';
  if (version !== 1) text += ` [ver ${version}]`;
  if (type !== 1) text += ` [type ${type}]`;
  text += 'PPPoE ';
  if (length > there) text += ` [len ${length} > ${there}!]`;
  if (session !== 0) text += ` [ses 0x${session.toString(16)}]`;
  header.encapsulation += `${text} `;
  header.wireEnd -= Math.max(0, there - length);
}

function pppProtocolName(protocol: number): string {
  if (protocol === PPP_IPV4) return 'IP';
  if (protocol === PPP_IPV6) return 'IP6';
  return `unknown PPP protocol (0x${protocol.toString(16).padStart(4, '0')})`;
}
