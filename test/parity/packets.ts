/**
 * Makes packets octet by octet. What is not said is right: lengths, checksums. What is said is taken as it is, right or wrong.
 */

/** A number of octets as a big-endian field. */
export function u8(...values: number[]): Buffer {
  return Buffer.from(values);
}

export function be16(...values: number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [(value >> 8) & 0xff, value & 0xff]));
}

export function be32(...values: number[]): Buffer {
  return Buffer.concat(values.map((value) => be16(value >>> 16, value & 0xffff)));
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

/** `size` octets, counted from `first`. */
export function octets(size: number, first = 0): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, index) => (first + index) & 0xff));
}

export function v4(text: string): Buffer {
  return u8(...text.split('.').map(Number));
}

/** An IPv6 address; `::` may stand once, and no dotted quad. */
export function v6(text: string): Buffer {
  const groups = (part: string | undefined): number[] =>
    part === undefined || part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const [head, tail] = text.split('::');
  const [first, last] = [groups(head), groups(tail)];
  return be16(...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last);
}

/** RFC 1071. */
function checksum(...parts: Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** `packet` with its checksum at `offset`, computed with `before` in front of it, or as given. */
function withChecksum(
  packet: Buffer,
  offset: number,
  given: number | undefined,
  before: Buffer = Buffer.alloc(0),
): Buffer {
  packet.writeUInt16BE(given ?? checksum(before, packet), offset);
  return packet;
}

export const ROUTER = '172.16.0.46';
export const HOST = '172.16.0.62';
export const PEER = '192.0.2.7';
export const ROUTER6 = '2001:db8::1';
export const HOST6 = '2001:db8:0:1::62';
export const PEER6 = '2001:db8:7::7';

export interface Ipv4Fields {
  tos?: number;
  totalLength?: number;
  id?: number;
  /** Flags and fragment offset. */
  fragment?: number;
  ttl?: number;
  checksum?: number;
  src?: string;
  dst?: string;
  /** Padded with zeros to a multiple of four. */
  options?: Uint8Array;
  version?: number;
  headerWords?: number;
}

export function ipv4(protocol: number, payload: Uint8Array, fields: Ipv4Fields = {}): Buffer {
  const options = fields.options ?? Buffer.alloc(0);
  const padding = Buffer.alloc((4 - (options.length % 4)) % 4);
  const length = 20 + options.length + padding.length;
  const header = Buffer.concat([
    u8(((fields.version ?? 4) << 4) | (fields.headerWords ?? length / 4), fields.tos ?? 0),
    be16(fields.totalLength ?? length + payload.length, fields.id ?? 27_828, fields.fragment ?? 0x4000),
    u8(fields.ttl ?? 64, protocol),
    be16(0),
    v4(fields.src ?? ROUTER),
    v4(fields.dst ?? HOST),
    options,
    padding,
  ]);
  return Buffer.concat([withChecksum(header, 10, fields.checksum), payload]);
}

export interface Ipv6Fields {
  trafficClass?: number;
  flowLabel?: number;
  payloadLength?: number;
  hopLimit?: number;
  src?: string;
  dst?: string;
  version?: number;
  /** Extension headers, whose first octet, the next header, is put in here. */
  headers?: readonly (readonly [protocol: number, header: Buffer])[];
}

export function ipv6(protocol: number, payload: Uint8Array, fields: Ipv6Fields = {}): Buffer {
  const headers = fields.headers ?? [];
  const chain = headers.map(([, header], index) => {
    const copy = Buffer.from(header);
    copy[0] = headers[index + 1]?.[0] ?? protocol;
    return copy;
  });
  const length = payload.length + chain.reduce((sum, header) => sum + header.length, 0);
  const first = ((fields.version ?? 6) << 28) | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0);
  return Buffer.concat([
    be32(first >>> 0),
    be16(fields.payloadLength ?? length),
    u8(headers[0]?.[0] ?? protocol, fields.hopLimit ?? 64),
    v6(fields.src ?? ROUTER6),
    v6(fields.dst ?? HOST6),
    ...chain,
    payload,
  ]);
}

/** RFC 768 and 9293 section 3.1; RFC 8200 section 8.1. */
export interface Ends {
  src: string;
  dst: string;
}

function pseudoHeader({ src, dst }: Ends, protocol: number, length: number): Buffer {
  if (src.includes(':')) return Buffer.concat([v6(src), v6(dst), be32(length, protocol)]);
  return Buffer.concat([v4(src), v4(dst), u8(0, protocol), be16(length)]);
}

export function icmpv4(type: number, code: number, rest: number | Uint8Array, body: Uint8Array, sum?: number): Buffer {
  const fixed = typeof rest === 'number' ? be32(rest) : rest;
  return withChecksum(Buffer.concat([u8(type, code), be16(0), fixed, body]), 2, sum);
}

/** An ICMP message in its IPv4 packet. */
export function icmpv4Packet(
  type: number,
  code: number,
  rest: number | Uint8Array,
  body: Uint8Array,
  fields: Ipv4Fields = {},
  sum?: number,
): Buffer {
  return ipv4(1, icmpv4(type, code, rest, body, sum), fields);
}

export function icmpv6(
  ends: Ends,
  type: number,
  code: number,
  rest: number | Uint8Array,
  body: Uint8Array,
  sum?: number,
): Buffer {
  const fixed = typeof rest === 'number' ? be32(rest) : rest;
  const message = Buffer.concat([u8(type, code), be16(0), fixed, body]);
  return withChecksum(message, 2, sum, pseudoHeader(ends, 58, message.length));
}

/** An ICMPv6 message in its packet. */
export function icmpv6Packet(
  type: number,
  code: number,
  rest: number | Uint8Array,
  body: Uint8Array,
  fields: Ipv6Fields = {},
  sum?: number,
): Buffer {
  const ends = { src: fields.src ?? ROUTER6, dst: fields.dst ?? HOST6 };
  return ipv6(58, icmpv6(ends, type, code, rest, body, sum), fields);
}

export interface UdpFields {
  sport?: number;
  dport?: number;
  length?: number;
  checksum?: number;
}

export function udp(ends: Ends, payload: Uint8Array, fields: UdpFields = {}): Buffer {
  const length = 8 + payload.length;
  const ports = be16(fields.sport ?? 62_651, fields.dport ?? 29_999);
  const datagram = Buffer.concat([ports, be16(fields.length ?? length, 0), payload]);
  return withChecksum(datagram, 6, fields.checksum, pseudoHeader(ends, 17, length));
}

export interface TcpFields {
  sport?: number;
  dport?: number;
  seq?: number;
  ack?: number;
  /** The eight of RFC 9293 and RFC 3168, and NS above them. */
  flags?: number;
  window?: number;
  checksum?: number;
  urgent?: number;
  /** Padded with end-of-options to a multiple of four. */
  options?: Uint8Array;
  headerWords?: number;
}

export function tcp(ends: Ends, payload: Uint8Array, fields: TcpFields = {}): Buffer {
  const options = fields.options ?? Buffer.alloc(0);
  const padding = Buffer.alloc((4 - (options.length % 4)) % 4);
  const words = fields.headerWords ?? (20 + options.length + padding.length) / 4;
  const flags = fields.flags ?? 0x02;
  const segment = Buffer.concat([
    be16(fields.sport ?? 40_000, fields.dport ?? 443),
    be32(fields.seq ?? 305_419_896, fields.ack ?? 0),
    u8((words << 4) | (flags >> 8), flags & 0xff),
    be16(fields.window ?? 64_240, 0, fields.urgent ?? 0),
    options,
    padding,
    payload,
  ]);
  return withChecksum(segment, 16, fields.checksum, pseudoHeader(ends, 6, segment.length));
}

/** Of RFC 9260: ports, tag, no right CRC32c, chunks. */
export function sctp(...chunks: Buffer[]): Buffer {
  return Buffer.concat([be16(3868, 36_412), be32(0x0102_0304, 0xdead_beef), ...chunks]);
}

/** `length` in place of the right one. */
export function sctpChunk(type: number, flags: number, value: Uint8Array, length = 4 + value.length): Buffer {
  return Buffer.concat([u8(type, flags), be16(length), value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

/** An option of IPv4, TCP: type, length, value. */
export function option(type: number, value: Uint8Array, length = 2 + value.length): Buffer {
  return Buffer.concat([u8(type, length), value]);
}

/** An option of an IPv6 extension header (RFC 8200 section 4.2): the length is that of the value. */
export function option6(type: number, value: Uint8Array, length = value.length): Buffer {
  return Buffer.concat([u8(type, length), value]);
}

/** An option of RFC 4861: its length is in units of eight octets; padded with zeros. */
export function ndOption(type: number, value: Uint8Array, units?: number): Buffer {
  const padding = Buffer.alloc((8 - ((2 + value.length) % 8)) % 8);
  return Buffer.concat([u8(type, units ?? (2 + value.length + padding.length) / 8), value, padding]);
}

/** An IPv6 extension header but for its first octet; padded with a Pad1 or PadN. */
export function extensionHeader(value: Uint8Array, units?: number): Buffer {
  const missing = (8 - ((2 + value.length) % 8)) % 8;
  let padding = Buffer.alloc(missing);
  if (missing > 1) padding = Buffer.concat([u8(1, missing - 2), Buffer.alloc(missing - 2)]);
  return Buffer.concat([u8(0, units ?? (2 + value.length + padding.length) / 8 - 1), value, padding]);
}

/** RFC 8200 section 4.5. */
export function fragmentHeader(offset: number, more: boolean, id = 0xcafe_f00d): Buffer {
  return Buffer.concat([u8(0, 0), be16((offset & 0xfff8) | Number(more)), be32(id)]);
}

/** RFC 4302. */
export function authenticationHeader(icv = 12): Buffer {
  return Buffer.concat([u8(0, (12 + icv) / 4 - 2), be16(0), be32(0x1234, 7), octets(icv, 0xa0)]);
}

/**
 * The extension structure of RFC 4884 section 7 behind an original datagram that is padded to `padTo` octets.
 * @param sum in place of the right checksum
 */
export function extended(original: Uint8Array, objects: Uint8Array[], padTo = 128, sum?: number, version = 2): Buffer {
  const padding = Buffer.alloc(Math.max(0, padTo - original.length));
  const structure = Buffer.concat([u8(version << 4, 0), be16(0), ...objects]);
  return Buffer.concat([original.subarray(0, padTo), padding, withChecksum(structure, 2, sum)]);
}

export function extensionObject(classNumber: number, type: number, value: Uint8Array, length?: number): Buffer {
  return Buffer.concat([be16(length ?? 4 + value.length), u8(classNumber, type), value]);
}

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
