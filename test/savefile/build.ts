/** Makes savefiles octet by octet, sound ones and, through `overrides`, unsound ones. */

export type Order = 'little' | 'big';

export interface TestPacket {
  seconds: number;
  nanoseconds: number;
  data: Uint8Array;
  /** Octets on the wire; as captured if absent. */
  len?: number;
}

export interface PcapShape {
  order?: Order;
  magic?: number;
  version?: [number, number];
  snaplen?: number;
  linkType?: number;
}

export function u16(order: Order, ...values: number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [i, value] of values.entries()) {
    if (order === 'little') bytes.writeUInt16LE(value, 2 * i);
    else bytes.writeUInt16BE(value, 2 * i);
  }
  return bytes;
}

export function u32(order: Order, ...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) {
    if (order === 'little') bytes.writeUInt32LE(value, 4 * i);
    else bytes.writeUInt32BE(value, 4 * i);
  }
  return bytes;
}

function u64(order: Order, value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  if (order === 'little') bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  else bytes.writeBigUInt64BE(BigInt.asUintN(64, value));
  return bytes;
}

export const MICROSECONDS = 0xa1b2c3d4;
export const NANOSECONDS = 0xa1b23c4d;
export const PATCHED = 0xa1b2cd34;

export function pcapHeader(shape: PcapShape = {}): Buffer {
  const order = shape.order ?? 'little';
  return Buffer.concat([
    u32(order, shape.magic ?? MICROSECONDS),
    u16(order, ...(shape.version ?? [2, 4])),
    u32(order, 0, 0, shape.snaplen ?? 262_144, shape.linkType ?? 1),
  ]);
}

export function pcap(packets: TestPacket[], shape: PcapShape = {}): Buffer {
  const order = shape.order ?? 'little';
  const unit = shape.magic === NANOSECONDS ? 1 : 1000;
  const records = packets.flatMap(({ seconds, nanoseconds, data, len }) => [
    u32(order, seconds, nanoseconds / unit, data.length, len ?? data.length),
    data,
  ]);
  return Buffer.concat([pcapHeader(shape), ...records]);
}

/** A block with its two total lengths; `claimed` in place of the true one. */
export function block(order: Order, type: number, body: Uint8Array, claimed?: number): Buffer {
  const padding = Buffer.alloc((4 - (body.length % 4)) % 4);
  const total = claimed ?? 12 + body.length + padding.length;
  return Buffer.concat([u32(order, type, total), body, padding, u32(order, total)]);
}

export function option(order: Order, code: number, value: Uint8Array): Buffer {
  return Buffer.concat([u16(order, code, value.length), value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

export function sectionHeader(order: Order, version: [number, number] = [1, 0]): Buffer {
  const body = [u32(order, 0x1a2b3c4d), u16(order, ...version), u64(order, -1n)];
  return block(order, 0x0a0d0d0a, Buffer.concat([...body, option(order, 4, Buffer.from('test')), u32(order, 0)]));
}

export interface InterfaceShape {
  linkType?: number;
  snaplen?: number;
  name?: string | Uint8Array;
  /** if_tsresol as it is written. */
  tsresol?: number;
  /** if_tsoffset, seconds. */
  tsoffset?: bigint;
}

export function interfaceDescription(order: Order, shape: InterfaceShape = {}): Buffer {
  const parts = [u16(order, shape.linkType ?? 1, 0), u32(order, shape.snaplen ?? 262_144)];
  if (shape.name !== undefined) parts.push(option(order, 2, Buffer.from(shape.name)));
  if (shape.tsresol !== undefined) parts.push(option(order, 9, Buffer.from([shape.tsresol])));
  if (shape.tsoffset !== undefined) parts.push(option(order, 14, u64(order, shape.tsoffset)));
  return block(order, 1, Buffer.concat([...parts, u32(order, 0)]));
}

export const A_COMMENT = [Buffer.from('a comment')];

/**
 * An Enhanced Packet Block with comments after the packet, then what else is to stand there.
 * @param units since 1970 in the interface's resolution
 */
export function enhancedPacket(
  order: Order,
  id: number,
  units: bigint,
  data: Uint8Array,
  len = data.length,
  comments: readonly Uint8Array[] = A_COMMENT,
  rest: Uint8Array = u32(order, 0),
): Buffer {
  const time = [Number(units >> 32n), Number(units & 0xffff_ffffn)];
  const padding = Buffer.alloc((4 - (data.length % 4)) % 4);
  const fixed = u32(order, id, ...time, data.length, len);
  const options = comments.map((comment) => option(order, 1, comment));
  return block(order, 6, Buffer.concat([fixed, data, padding, ...options, rest]));
}

/** A systemd Journal Export Block. */
export function journal(order: Order, entry: string | Uint8Array): Buffer {
  return block(order, 9, Buffer.from(entry));
}

/** The obsolete Packet Block. */
export function packetBlock(order: Order, id: number, units: bigint, data: Uint8Array, len = data.length): Buffer {
  const time = [Number(units >> 32n), Number(units & 0xffff_ffffn)];
  return block(order, 2, Buffer.concat([u16(order, id, 7), u32(order, ...time, data.length, len), data]));
}

export function simplePacket(order: Order, len: number, data: Uint8Array): Buffer {
  return block(order, 3, Buffer.concat([u32(order, len), data]));
}

/** `time`: in units of the interface's time stamps. */
export function statistics(order: Order, id: number, counts: [code: number, count: bigint][], time = 0n): Buffer {
  const options = counts.map(([code, count]) => option(order, code, u64(order, count)));
  return block(
    order,
    5,
    Buffer.concat([u32(order, id, Number(time >> 32n), Number(time & 0xffff_ffffn)), ...options, u32(order, 0)]),
  );
}

export function pcapng(packets: TestPacket[], order: Order = 'little', nanoseconds = false): Buffer {
  const unit = nanoseconds ? 1n : 1000n;
  const blocks = packets.map(({ seconds, nanoseconds: fraction, data, len }) =>
    enhancedPacket(order, 0, (BigInt(seconds) * 1_000_000_000n + BigInt(fraction)) / unit, data, len),
  );
  const iface = nanoseconds ? { name: 'eth0', tsresol: 9 } : { name: 'eth0' };
  return Buffer.concat([sectionHeader(order), interfaceDescription(order, iface), ...blocks]);
}

/** An Ethernet frame with an ICMP port unreachable in it; `size` octets. */
export function frame(size: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(size, seed);
  bytes.write('0242ac1100030242ac11000208004500003800010000400100000a0000010a0000020303000000000000', 'hex');
  return bytes;
}

export const PACKETS: TestPacket[] = [
  { seconds: 1_700_000_000, nanoseconds: 1000, data: frame(70, 1) },
  { seconds: 1_700_000_000, nanoseconds: 999_999_000, data: frame(61, 2), len: 1514 },
  { seconds: 2_000_000_001, nanoseconds: 0, data: frame(42, 3) },
  { seconds: 1, nanoseconds: 123_456_000, data: frame(1500, 4) },
];
