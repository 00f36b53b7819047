/**
 * The extension structure behind the datagram that an ICMP error quotes (RFC 4884), with MPLS label stacks (RFC 4950) and
 * interface information (RFC 5837).
 */
import { isMalformed, formatIpv4, formatIpv6, malformed, u16, u32, type Malformed } from './octets.ts';
import { lengthAttribute } from './original-datagram.ts';
import { checksum, ICMP_HEADER, type IcmpPacket } from './packet.ts';

export interface MplsLabel {
  label: number;
  /** Traffic class (RFC 5462), once the experimental bits. */
  tc: number;
  /** Bottom of stack. */
  bottom: boolean;
  ttl: number;
}

/** By the two upper bits of the C-Type. */
const ROLES = ['incoming', 'incoming-sub-ip', 'outgoing', 'next-hop'] as const;

export interface InterfaceInformation {
  kind: 'interface';
  role: (typeof ROLES)[number];
  ifIndex?: number;
  address?: string;
  /** Hostile text. */
  name?: string;
  mtu?: number;
}

export type IcmpExtension =
  | { kind: 'mpls'; labels: MplsLabel[] }
  | InterfaceInformation
  /** An object that is not looked into; its length without its header. */
  | { kind: 'other'; class: number; ctype: number; length: number };

export interface IcmpExtensions {
  objects: IcmpExtension[];
  /** What stands behind them and could not be read. */
  malformed: Malformed | null;
}

const VERSION = 2;
const STRUCTURE_HEADER = 4;
const OBJECT_HEADER = 4;
const LABEL = 4;

const CLASS_MPLS = 1;
const CTYPE_INCOMING_STACK = 1;
const CLASS_INTERFACE = 2;

/** Bits of an interface information object's C-Type: what it has. */
const HAS_IFINDEX = 0x08;
const HAS_ADDRESS = 0x04;
const HAS_NAME = 0x02;
const HAS_MTU = 0x01;

const AFI_IPV4 = 1;
const AFI_IPV6 = 2;
/** Octets, its length's included. */
const MAX_NAME = 64;

/** More than any router sends: some ten labels, and an object for each role of an interface. */
const MAX_OBJECTS = 16;
const MAX_LABELS = 32;

/**
 * RFC 4884 sections 4 and 5: octets that a quote takes which has something behind it; the kernel (ip_icmp_error_rfc4884) believes
 * no less either. And all that one takes of those who sent extensions before there was a length attribute (section 5.5).
 */
const SHORTEST_QUOTE = 128;

/** Of the messages that may have one. Most are shorter. */
const SHORTEST = ICMP_HEADER + SHORTEST_QUOTE + STRUCTURE_HEADER;

/**
 * The objects behind the datagram that `packet` quotes. Null where there is no extension structure.
 *
 *  |     Type      |     Code      |          Checksum             |
 *  |   unused      | length (v4)   |       depends on the type     |
 *  |  length (v6)  |                                               |
 *  |      original datagram, zero padded to the length             |
 *  |  extension structure ...
 */
export function decodeExtensions(bytes: Uint8Array, packet: IcmpPacket): IcmpExtensions | Malformed | null {
  const { ip, type, icmpOffset, end, length } = packet;
  if (type === null || length < SHORTEST || icmpOffset + ICMP_HEADER > end) return null;
  const attribute = lengthAttribute(bytes, ip.version, type, icmpOffset);
  if (attribute === null || (attribute !== 0 && attribute < SHORTEST_QUOTE)) return null;
  const at = icmpOffset + ICMP_HEADER + (attribute === 0 ? SHORTEST_QUOTE : attribute);
  const wireEnd = icmpOffset + length;
  if (attribute === 0) {
    // Those were all of IPv4. Anything may stand there: only a checksum, and objects up to the end, tell.
    if (ip.version !== 4 || at + STRUCTURE_HEADER + OBJECT_HEADER > end || u16(bytes, at + 2) === 0) return null;
    const found = decodeStructure(bytes, at, end, wireEnd);
    return isMalformed(found) || found.malformed !== null ? null : found;
  }
  return decodeStructure(bytes, at, end, wireEnd);
}

/**
 * RFC 4884 section 7. A checksum of 0 is none.
 *
 *  0                   1                   2                   3
 *  |Version|      (Reserved)       |           Checksum            |
 *  |  objects ...
 */
function decodeStructure(bytes: Uint8Array, at: number, end: number, wireEnd: number): IcmpExtensions | Malformed {
  // The length attribute says more than the message has.
  if (at + STRUCTURE_HEADER > wireEnd) return malformed('extension', 'invalid', at, STRUCTURE_HEADER, wireEnd - at);
  // Its end is that of the message, and without it the checksum is not known.
  if (wireEnd > end) return malformed('extension', 'truncated', at, wireEnd - at, end - at);
  const isVersion2 = bytes[at]! >> 4 === VERSION;
  if (!isVersion2 || (u16(bytes, at + 2) !== 0 && checksum(bytes, at, end) !== 0xffff)) {
    return malformed('extension', 'invalid', at, STRUCTURE_HEADER, end - at);
  }
  return decodeObjects(bytes, at + STRUCTURE_HEADER, end);
}

/**
 *  0                   1                   2                   3
 *  |             Length            |   Class-Num   |   C-Type      |
 *  |  payload ...
 */
function decodeObjects(bytes: Uint8Array, start: number, end: number): IcmpExtensions {
  const objects: IcmpExtension[] = [];
  for (let at = start; at < end;) {
    const have = end - at;
    if (have < OBJECT_HEADER) return { objects, malformed: malformed('extension', 'invalid', at, OBJECT_HEADER, have) };
    const length = u16(bytes, at);
    if (length < OBJECT_HEADER || length > have || objects.length === MAX_OBJECTS) {
      return { objects, malformed: malformed('extension', 'invalid', at, length, have) };
    }
    const object = decodeObject(bytes, at, at + length);
    if (isMalformed(object)) return { objects, malformed: object };
    objects.push(object);
    at += length;
  }
  return { objects, malformed: null };
}

function decodeObject(bytes: Uint8Array, at: number, end: number): IcmpExtension | Malformed {
  const classNumber = bytes[at + 2]!;
  const ctype = bytes[at + 3]!;
  const payload = at + OBJECT_HEADER;
  if (classNumber === CLASS_MPLS && ctype === CTYPE_INCOMING_STACK) return decodeLabels(bytes, payload, end);
  if (classNumber === CLASS_INTERFACE) return decodeInterface(bytes, payload, end, ctype);
  return { kind: 'other', class: classNumber, ctype, length: end - payload };
}

/**
 * RFC 4950 section 4, RFC 3032 section 2.1; a label after the other.
 *
 *  0                   1                   2                   3
 *  |                Label                  |  TC |S|      TTL      |
 */
function decodeLabels(bytes: Uint8Array, start: number, end: number): IcmpExtension | Malformed {
  const count = (end - start) / LABEL;
  if (!Number.isInteger(count) || count > MAX_LABELS) {
    return malformed('extension', 'invalid', start, Math.ceil(count) * LABEL, end - start);
  }
  const labels: MplsLabel[] = [];
  for (let at = start; at < end; at += LABEL) {
    const entry = u32(bytes, at);
    labels.push({ label: entry >>> 12, tc: (entry >>> 9) & 7, bottom: (entry & 0x100) !== 0, ttl: entry & 0xff });
  }
  return { kind: 'mpls', labels };
}

/**
 * RFC 5837 section 4. The C-Type tells which of the parts are there, in this order.
 *
 *  | Role  |  Rsvd | ifIndex | IPAddr | name | MTU |      the C-Type's bits
 *
 *  |                      ifIndex (4)                              |
 *  |              AFI              |          Reserved             |
 *  |                IP address (4 or 16)                           |
 *  |    length     |  interface name, zero padded (length - 1)     |
 *  |                        MTU (4)                                |
 */
function decodeInterface(bytes: Uint8Array, start: number, end: number, ctype: number): IcmpExtension | Malformed {
  const found: InterfaceInformation = { kind: 'interface', role: ROLES[ctype >> 6]! };
  let at = start;
  if ((ctype & HAS_IFINDEX) !== 0) {
    if (at + 4 > end) return malformed('extension', 'invalid', at, 4, end - at);
    found.ifIndex = u32(bytes, at);
    at += 4;
  }
  if ((ctype & HAS_ADDRESS) !== 0) {
    const family = at + 4 > end ? 0 : u16(bytes, at);
    const octets = family === AFI_IPV4 ? 8 : 20;
    const isKnown = family === AFI_IPV4 || family === AFI_IPV6;
    if (!isKnown || at + octets > end) return malformed('extension', 'invalid', at, octets, end - at);
    found.address = family === AFI_IPV4 ? formatIpv4(bytes, at + 4) : formatIpv6(bytes, at + 4);
    at += octets;
  }
  if ((ctype & HAS_NAME) !== 0) {
    const octets = at < end ? bytes[at]! : 0;
    if (octets === 0 || octets > MAX_NAME || at + octets > end) {
      return malformed('extension', 'invalid', at, Math.max(1, octets), end - at);
    }
    found.name = nameAt(bytes, at + 1, at + octets);
    at += octets;
  }
  if ((ctype & HAS_MTU) !== 0) {
    if (at + 4 > end) return malformed('extension', 'invalid', at, 4, end - at);
    found.mtu = u32(bytes, at);
  }
  return found;
}

// It would leave a mark of byte order out otherwise, and with it what a name hides.
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

function nameAt(bytes: Uint8Array, start: number, end: number): string {
  const zero = bytes.subarray(start, end).indexOf(0);
  return utf8.decode(bytes.subarray(start, zero === -1 ? end : start + zero));
}
