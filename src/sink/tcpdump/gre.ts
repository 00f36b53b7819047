/**
 * Generic Routing Encapsulation (RFC 1701, RFC 2784, RFC 2890), and version 1 of it, which PPTP uses (RFC 2637).
 */
import { printIpv4 } from './ipv4.ts';
import { printIpv6 } from './ipv6.ts';
import type { Payload } from './payload.ts';
import { bitNames, hex, type Printer } from './printer.ts';

const CHECKSUM = 0x8000;
const ROUTING = 0x4000;
const KEY = 0x2000;
const SEQUENCE = 0x1000;
const ACKNOWLEDGMENT = 0x0080;
const FLAGS = [
  [CHECKSUM, 'checksum present'],
  [ROUTING, 'routing present'],
  [KEY, 'key present'],
  [SEQUENCE, 'sequence# present'],
  [0x0800, 'source routing present'],
  [ACKNOWLEDGMENT, 'ack present'],
] as const;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;

/** The fields of a header, one behind the other, as far as there are any. */
class Fields {
  readonly #p: Printer;
  readonly #end: number;
  at: number;

  constructor(p: Printer, at: number, length: number) {
    this.#p = p;
    this.at = at;
    this.#end = at + length;
  }

  get left(): number {
    return this.#end - this.at;
  }

  /** The next field of 2 or 4 octets; null where the packet or what was captured of it ends before. */
  take(octets: 2 | 4): number | null {
    const { at } = this;
    if (this.left < octets || !this.#p.has(at, octets)) return null;
    this.at += octets;
    return octets === 2 ? this.#p.u16(at) : this.#p.u32(at);
  }
}

/**
 *  0  |C|R|K|S|s|Recur|A| Flags | Ver |         Protocol Type         |
 *     |      Checksum (if C or R)     |      Offset (if C or R)       |
 *     |                         Key (if K)                            |
 *     |                    Sequence Number (if S)                     |
 *     |  Routing (if R; version 0), Acknowledgment (if A; version 1)  |
 */
export function printGre(p: Printer, { at, length }: Payload): void {
  p.protocol = 'gre';
  const fields = new Fields(p, at, length);
  const flags = fields.take(2);
  if (flags === null) {
    p.printTruncated();
    return;
  }
  const version = flags & 7;
  p.print(`GREv${version}`);
  if (version > 1) {
    p.print(' ERROR: unknown-version');
    return;
  }
  p.print(`, Flags [${bitNames(FLAGS, flags, ', ')}]`);
  const isWhole = version === 0 ? printVersion0(p, fields, flags, length) : printVersion1(p, fields, flags, length);
  if (!isWhole) p.printTruncated();
}

/** False where it is cut off. */
function printVersion0(p: Printer, fields: Fields, flags: number, length: number): boolean {
  const protocol = fields.take(2);
  if (protocol === null) return false;
  if ((flags & (CHECKSUM | ROUTING)) !== 0) {
    const sum = fields.take(2);
    if (sum === null) return false;
    p.print(`, sum 0x${hex(sum)}`);
    const offset = fields.take(2);
    if (offset === null) return false;
    p.print(`, off 0x${hex(offset)}`);
  }
  if ((flags & KEY) !== 0) {
    const key = fields.take(4);
    if (key === null) return false;
    p.print(`, key=0x${hex(key)}`);
  }
  if ((flags & SEQUENCE) !== 0) {
    const sequence = fields.take(4);
    if (sequence === null) return false;
    p.print(`, seq ${sequence}`);
  }
  if ((flags & ROUTING) !== 0 && !printRoutes(p, fields)) return false;
  p.print(`, length ${length}\n\t`);
  if (protocol === ETHERTYPE_IPV4) printIpv4(p, fields.at, fields.left);
  else if (protocol === ETHERTYPE_IPV6) printIpv6(p, fields.at, fields.left);
  else p.print(`gre-proto-0x${hex(protocol)}`);
  return true;
}

const ROUTES_IP = 0x0800;
const ROUTES_AS = 0xfffe;

/** |  Address Family (2)  | SRE Offset | SRE Length | routing … |, the last one with zeros. */
function printRoutes(p: Printer, fields: Fields): boolean {
  for (;;) {
    const family = fields.take(2);
    const sizes = family === null ? null : fields.take(2);
    if (family === null || sizes === null) return false;
    const offset = sizes >> 8;
    const length = sizes & 0xff;
    if (family === 0 && length === 0) return true;
    if (family === ROUTES_IP) {
      if (!printRoute(p, fields, 'ip', 4, offset, length)) return false;
    } else if (family === ROUTES_AS) {
      if (!printRoute(p, fields, 'asn', 2, offset, length)) return false;
    } else p.print(`, (rtaf=0x${hex(family)})`);
    if (fields.left < length) return false;
    fields.at += length;
  }
}

/** One source route: addresses, or numbers of autonomous systems; a star before the one that is next. */
function printRoute(p: Printer, fields: Fields, name: string, octets: 2 | 4, offset: number, length: number): boolean {
  p.print(`, (rtaf=${name}`);
  const isWhole = printRouteEntries(p, fields, octets, offset, length);
  p.print(')');
  return isWhole;
}

function printRouteEntries(p: Printer, fields: Fields, octets: 2 | 4, offset: number, length: number): boolean {
  if (offset % octets !== 0) {
    p.print(`, badoffset=${offset}`);
    return true;
  }
  if (length % octets !== 0) {
    p.print(`, badlength=${length}`);
    return true;
  }
  if (offset >= length) {
    p.print(`, badoff/len=${offset}/${length}`);
    return true;
  }
  for (let entry = 0; entry < length; entry += octets) {
    const at = fields.at + entry;
    if (!p.has(at, octets) || fields.left - entry < octets) return false;
    p.print(` ${entry === offset ? '*' : ''}${octets === 4 ? p.ipv4(at) : hex(p.u16(at))}`);
  }
  return true;
}

/** False where it is cut off. */
function printVersion1(p: Printer, fields: Fields, flags: number, length: number): boolean {
  const protocol = fields.take(2);
  if (protocol === null) return false;
  if ((flags & KEY) !== 0) {
    const key = fields.take(4);
    if (key === null) return false;
    p.print(`, call ${key & 0xffff}`);
  }
  if ((flags & SEQUENCE) !== 0) {
    const sequence = fields.take(4);
    if (sequence === null) return false;
    p.print(`, seq ${sequence}`);
  }
  if ((flags & ACKNOWLEDGMENT) !== 0) {
    const acknowledgment = fields.take(4);
    if (acknowledgment === null) return false;
    p.print(`, ack ${acknowledgment}`);
  }
  if ((flags & SEQUENCE) === 0) {
    p.print(`, no-payload, length ${length}`);
    return true;
  }
  p.print(`, length ${length}\n\tgre-proto-0x${hex(protocol)}`);
  return true;
}
