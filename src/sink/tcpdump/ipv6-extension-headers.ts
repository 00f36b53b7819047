/**
 * IPv6 extension headers as tcpdump prints them (print-ip6opts.c, print-rt6.c, print-frag6.c).
 *
 * Each function prints the header at `at` and gives its length in octets, or null where the packet ends with it: what
 * follows is no header, or the header is not to be believed.
 */
import { hex, type Printer } from './printer.ts';

export const EXTENSION_HEADER = {
  HOP_BY_HOP_OPTIONS: 0,
  ROUTING: 43,
  FRAGMENT: 44,
  AUTHENTICATION: 51,
  DESTINATION_OPTIONS: 60,
} as const;

/** RFC 8200 section 4.2, RFC 2675, RFC 2711, RFC 6275 section 6.3. */
const OPTION = { PAD1: 0, PADN: 1, ROUTER_ALERT: 5, JUMBO_PAYLOAD: 0xc2, HOME_ADDRESS: 0xc9 } as const;

/** Lengths of whole options, with type and length. */
const ROUTER_ALERT_LENGTH = 4;
const JUMBO_PAYLOAD_LENGTH = 6;
const HOME_ADDRESS_LENGTH = 18;

/** RFC 2675: the shortest packet that is a jumbogram. */
const SHORTEST_JUMBOGRAM = 65_536;

/** What hop-by-hop options said of the payload's length. */
export interface PayloadLength {
  /** The header's field, until a Jumbo Payload option replaces it. */
  octets: number;
  isJumbo: boolean;
}

/**
 * Hop-by-hop and destination options, RFC 8200 sections 4.3 and 4.6:
 *
 *   0  |  Next Header  |  Hdr Ext Len  |                               |
 *   4  |                         Options                               |
 */
export function printHopByHopOptions(p: Printer, at: number, payload: PayloadLength): number | null {
  return printOptionsHeader(p, 'hbhopt', 'HBH ', at, payload);
}

export function printDestinationOptions(p: Printer, at: number): number | null {
  return printOptionsHeader(p, 'dstopt', 'DSTOPT ', at, null);
}

function printOptionsHeader(
  p: Printer,
  protocol: string,
  name: string,
  at: number,
  payload: PayloadLength | null,
): number | null {
  p.protocol = protocol;
  const length = (p.u8(at + 1) + 1) * 8;
  if (!p.has(at, length)) {
    p.printTruncated();
    return null;
  }
  p.print(name);
  // Without -v only hop-by-hop options are looked at: for the Jumbo Payload among them.
  if (payload === null && !p.verbose) return length;
  if (printOptions(p, at + 2, at + length, payload)) return length;
  p.printTruncated();
  return null;
}

/** Whether all options between `from` and `end` are whole. */
function printOptions(p: Printer, from: number, end: number, payload: PayloadLength | null): boolean {
  let hasJumbo = false;
  for (let at = from, length; at < end; at += length) {
    const type = p.u8(at);
    if (type !== OPTION.PAD1 && at + 1 >= end) return false;
    length = type === OPTION.PAD1 ? 1 : p.u8(at + 1) + 2;
    if (at + length > end) return false;

    switch (type) {
      case OPTION.PAD1:
        if (p.verbose) p.print('(pad1)');
        break;
      case OPTION.PADN:
        if (p.verbose) p.print('(padn)');
        break;
      case OPTION.ROUTER_ALERT:
        if (!hasLength(p, 'rtalert', ROUTER_ALERT_LENGTH, length, end - at)) return false;
        if (p.verbose) p.print(`(rtalert: 0x${hex(p.u16(at + 2), 4)}) `);
        break;
      case OPTION.JUMBO_PAYLOAD: {
        if (!hasLength(p, 'jumbo', JUMBO_PAYLOAD_LENGTH, length, end - at)) return false;
        const remark = jumboRemark(p.u32(at + 2), hasJumbo, payload);
        if (p.verbose) p.print(`(jumbo: ${p.u32(at + 2)}${remark}) `);
        hasJumbo = true;
        break;
      }
      case OPTION.HOME_ADDRESS:
        if (!printHomeAddress(p, at, length, end)) return false;
        break;
      default:
        if (p.verbose) p.print(`(opt_type 0x${hex(type, 2)}: len=${length - 2})`);
    }
  }
  if (p.verbose) p.print(' ');
  return true;
}

/** `rest`: octets left in the header. */
function hasLength(p: Printer, name: string, wanted: number, length: number, rest: number): boolean {
  if (rest < wanted) p.print(`(${name}: trunc)`);
  else if (length !== wanted) p.print(`(${name}: invalid len ${length - 2})`);
  else return true;
  return false;
}

/** RFC 2675 section 3: at most once, among hop-by-hop options, where the header's own length is 0. */
function jumboRemark(length: number, isRepeated: boolean, payload: PayloadLength | null): string {
  if (isRepeated) return ' - already seen';
  if (payload === null) return ' - not a hop-by-hop option';
  if (payload.octets !== 0) return ' - payload len != 0';
  if (length < SHORTEST_JUMBOGRAM) return ' - < 65536';
  payload.octets = length;
  payload.isJumbo = true;
  return '';
}

/** RFC 6275 section 6.3, with sub-options behind the address as its drafts had them. */
function printHomeAddress(p: Printer, at: number, length: number, end: number): boolean {
  if (end - at < HOME_ADDRESS_LENGTH) {
    p.print('(homeaddr: trunc)');
    return false;
  }
  if (length < HOME_ADDRESS_LENGTH) {
    p.print(`(homeaddr: invalid len ${length - 2})`);
    return false;
  }
  if (!p.verbose) return true;
  p.print(`(homeaddr: ${p.ipv6(at + 2)}`);
  const subEnd = at + length;
  for (let sub = at + HOME_ADDRESS_LENGTH, subLength; sub < subEnd; sub += subLength) {
    const type = p.u8(sub);
    if (type !== OPTION.PAD1 && sub + 1 >= subEnd) return false;
    subLength = type === OPTION.PAD1 ? 1 : p.u8(sub + 1) + 2;
    if (sub + subLength > subEnd) return false;
    if (type === OPTION.PAD1) p.print(', pad1');
    else if (type === OPTION.PADN) p.print(', padn');
    else p.print(`, sopt_type 0x${hex(type, 2)}: len=${subLength - 2}`);
  }
  p.print(')');
  return true;
}

/** RFC 5095 (deprecated), RFC 6275 section 6.4, RFC 8754. */
const ROUTING_TYPE = { SOURCE_ROUTE: 0, MOBILE: 2, SEGMENT: 4 } as const;

/**
 * Routing header, RFC 8200 section 4.4:
 *
 *   0  |  Next Header  |  Hdr Ext Len  |  Routing Type | Segments Left |
 *   4  |   types 0 and 2: reserved; type 4: Last Entry | Flags | Tag   |
 *   8  |                      Addresses (16 each)                      |
 */
export function printRoutingHeader(p: Printer, at: number): number | null {
  p.protocol = 'rt6';
  p.print('RT6');
  const words = p.u8(at + 1);
  p.print(` (len=${words}`);
  const type = p.u8(at + 2);
  p.print(`, type=${type}`);
  if (type === ROUTING_TYPE.SOURCE_ROUTE) p.print(' [Deprecated]');
  p.print(`, segleft=${p.u8(at + 3)}`);
  switch (type) {
    case ROUTING_TYPE.SOURCE_ROUTE:
    case ROUTING_TYPE.MOBILE: {
      const reserved = p.u32(at + 4);
      if (reserved !== 0 || p.verbose) p.print(`, rsv=0x${hex(reserved)}`);
      break;
    }
    case ROUTING_TYPE.SEGMENT: {
      p.print(`, last-entry=${p.u8(at + 4)}`);
      const flags = p.u8(at + 5);
      if (flags !== 0 || p.verbose) p.print(`, flags=0x${hex(flags)}`);
      p.print(`, tag=${hex(p.u16(at + 6))}`);
      break;
    }
    default:
      p.print(' (unknown type)');
      p.printInvalid();
      return null;
  }
  if (words % 2 === 1) {
    p.print(` (invalid length ${words})`);
    p.printInvalid();
    return null;
  }
  for (let hop = 0; hop < words / 2; hop++) p.print(`, [${hop}]${p.ipv6(at + 8 + hop * 16)}`);
  p.print(') ');
  return (words + 1) * 8;
}

/**
 * Where the address stands that the packet at `ip` will have as its destination when it arrives: its checksums are made
 * with it (RFC 8200, section 8.1). tcpdump looks only through headers before which a routing header may come.
 */
export function finalIpv6Destination(p: Printer, ip: number): number {
  const destination = ip + 24;
  let nextHeader = p.u8(ip + 6);
  for (let at = ip + 40; ;) {
    let length: number;
    switch (nextHeader) {
      case EXTENSION_HEADER.HOP_BY_HOP_OPTIONS:
      case EXTENSION_HEADER.DESTINATION_OPTIONS:
        length = (p.u8(at + 1) + 1) * 8;
        break;
      case EXTENSION_HEADER.FRAGMENT:
        length = FRAGMENT_HEADER;
        break;
      case EXTENSION_HEADER.ROUTING:
        return lastHop(p, at) ?? destination;
      default:
        return destination;
    }
    nextHeader = p.u8(at);
    at += length;
  }
}

/** The last address that the routing header at `at` lists. */
function lastHop(p: Printer, at: number): number | null {
  const words = p.u8(at + 1);
  const type = p.u8(at + 2);
  // Segments are listed from the last to the first, and tcpdump does not look whether there are any.
  if (type === ROUTING_TYPE.SEGMENT) return p.has(at + 8, 16) ? at + 8 : null;
  return words === 0 ? null : at + 8 + (words / 2 - 1) * 16;
}

const FRAGMENT_HEADER = 8;

/**
 * Fragment header, RFC 8200 section 4.5:
 *
 *   0  |  Next Header  |   Reserved    |      Fragment Offset    |Res|M|
 *   4  |                         Identification                        |
 */
export function printFragmentHeader(p: Printer, at: number, ipAt: number): number | null {
  p.protocol = 'frag6';
  const offset = p.u16(at + 2) & 0xfff8;
  const size = 40 + p.u16(ipAt + 4) - (at - ipAt) - FRAGMENT_HEADER;
  const identification = p.verbose ? `0x${hex(p.u32(at + 4), 8)}:` : '';
  p.print(`frag (${identification}${offset}|${unsigned64(size)})`);
  if (offset !== 0) return null;
  p.print(' ');
  return FRAGMENT_HEADER;
}

/** As C prints a size_t. */
function unsigned64(value: number): string {
  return BigInt.asUintN(64, BigInt(value)).toString();
}
