/**
 * Link layers: where does the IP header start?
 *
 * LINKTYPE_ values and header layouts: https://www.tcpdump.org/linktypes.html
 */
import { u16, u32 } from './octets.ts';

export const LINKTYPE = {
  NULL: 0,
  ETHERNET: 1,
  RAW: 101,
  LOOP: 108,
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const;

/** DLT_RAW's value in files that BSDs and old libpcaps wrote. */
const DLT_RAW_VALUES: ReadonlySet<number> = new Set([12, 14]);

const LINKTYPE_NAMES = new Map<number, string>(Object.entries(LINKTYPE).map(([name, value]) => [value, name]));

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_QINQ = 0x88a8;
/** Before IEEE 802.1ad. */
const ETHERTYPE_OLD_QINQ = 0x9100;
const ETHERTYPE_OTHER_QINQ = 0x9200;

/** AF_INET6 as the BSDs and macOS number it in the NULL header; AF_INET is 2 everywhere. */
const AF_INET = 2;
const AF_INET6_VALUES: ReadonlySet<number> = new Set([10, 24, 28, 30]);

/** Whether packets of this link type can be decoded at all. */
export function isSupportedLinkType(linkType: number): boolean {
  return LINKTYPE_NAMES.has(linkType) || DLT_RAW_VALUES.has(linkType);
}

/** `ETHERNET`, or `LINKTYPE 147` where it has no name here. */
export function linkTypeName(linkType: number): string {
  return LINKTYPE_NAMES.get(linkType) ?? `LINKTYPE ${linkType}`;
}

/**
 * The offset of the IP header in a packet of `linkType` that lies in bytes[offset, end), or -1: not IP, or
 * cut short before it. Where it is not -1, the octet there exists and its version nibble agrees with what
 * the link layer announced.
 */
export function ipOffset(bytes: Uint8Array, offset: number, end: number, linkType: number): number {
  switch (linkType) {
    case LINKTYPE.ETHERNET:
      return offset + 14 <= end ? behindEtherType(bytes, offset + 12, end) : -1;
    case LINKTYPE.LINUX_SLL:
      return offset + 16 <= end ? behindEtherType(bytes, offset + 14, end) : -1;
    case LINKTYPE.LINUX_SLL2:
      // The protocol comes first, the payload 20 octets on.
      if (offset + 20 > end) return -1;
      return behindProtocol(bytes, u16(bytes, offset), offset + 20, end);
    case LINKTYPE.NULL:
    case LINKTYPE.LOOP:
      return behindAddressFamily(bytes, offset, end);
    default: {
      // LINKTYPE_RAW, _IPV4, _IPV6: the version nibble alone tells.
      const four = withVersion(bytes, offset, end, 4);
      return four !== -1 ? four : withVersion(bytes, offset, end, 6);
    }
  }
}

function withVersion(bytes: Uint8Array, at: number, end: number, version: 4 | 6): number {
  return at < end && bytes[at]! >> 4 === version ? at : -1;
}

function behindEtherType(bytes: Uint8Array, at: number, end: number): number {
  return behindProtocol(bytes, u16(bytes, at), at + 2, end);
}

/** `payload` is where the header of `etherType` starts; VLAN tags (IEEE 802.1Q) are looked through. */
function behindProtocol(bytes: Uint8Array, etherType: number, payload: number, end: number): number {
  for (;;) {
    switch (etherType) {
      case ETHERTYPE_IPV4:
        return withVersion(bytes, payload, end, 4);
      case ETHERTYPE_IPV6:
        return withVersion(bytes, payload, end, 6);
      case ETHERTYPE_VLAN:
      case ETHERTYPE_QINQ:
      case ETHERTYPE_OLD_QINQ:
      case ETHERTYPE_OTHER_QINQ:
        if (payload + 4 > end) return -1;
        etherType = u16(bytes, payload + 2);
        payload += 4;
        break;
      default:
        return -1;
    }
  }
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

/** What the kernel said of a cooked packet: sll_pkttype, `in` or `out`; null on other link types. */
export interface CookedHeader {
  /** PACKET_HOST 0, _BROADCAST 1, _MULTICAST 2, _OTHERHOST 3, _OUTGOING 4 */
  packetType: number;
  /** The interface index at capture time; null in LINUX_SLL, which has none. */
  interfaceIndex: number | null;
  /** The EtherTypes behind VLAN tags (IEEE 802.1Q), from the outermost on. */
  tagged: readonly number[];
}

/** The fixed part of a LINUX_SLL or LINUX_SLL2 header, or null on other link types or where it is cut short. */
export function cookedHeader(bytes: Uint8Array, offset: number, end: number, linkType: number): CookedHeader | null {
  if (linkType === LINKTYPE.LINUX_SLL && offset + 16 <= end) {
    const tagged = behindTags(bytes, u16(bytes, offset + 14), offset + 16, end);
    return { packetType: u16(bytes, offset), interfaceIndex: null, tagged };
  }
  if (linkType === LINKTYPE.LINUX_SLL2 && offset + 20 <= end) {
    const tagged = behindTags(bytes, u16(bytes, offset), offset + 20, end);
    return { packetType: bytes[offset + 10]!, interfaceIndex: u32(bytes, offset + 4), tagged };
  }
  return null;
}

const UNTAGGED: readonly number[] = [];

function behindTags(bytes: Uint8Array, etherType: number, payload: number, end: number): readonly number[] {
  if (etherType !== ETHERTYPE_VLAN) return UNTAGGED;
  const types: number[] = [];
  while (etherType === ETHERTYPE_VLAN && payload + 4 <= end) {
    etherType = u16(bytes, payload + 2);
    types.push(etherType);
    payload += 4;
  }
  return types;
}
