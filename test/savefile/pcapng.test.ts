import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SavefileReader } from '../../src/savefile/reader.ts';
import {
  PACKETS,
  block,
  enhancedPacket,
  frame,
  interfaceDescription,
  option,
  packetBlock,
  pcapng,
  sectionHeader,
  simplePacket,
  statistics,
  u16,
  u32,
  type Order,
} from './build.ts';
import { needs, timeOf, tshark } from './judges.ts';
import { read } from './read.ts';

const DATA = frame(61);
const ORDERS: Order[] = ['little', 'big'];

test('sections of either byte order, each with its own interfaces', (ctx) => {
  const file = Buffer.concat([
    sectionHeader('little', [1, 2]),
    interfaceDescription('little', { name: 'lo', linkType: 276 }),
    interfaceDescription('little', { name: 'eth0', tsresol: 9, snaplen: 96 }),
    enhancedPacket('little', 1, 1_700_000_000_123_456_789n, DATA),
    enhancedPacket('little', 0, 1_700_000_000_123_456n, DATA, 9000),
    sectionHeader('big'),
    interfaceDescription('big', { name: 'wlan0', linkType: 1 }),
    enhancedPacket('big', 0, 1n, DATA),
    sectionHeader('little'),
  ]);
  const { records, damage } = read(file);
  expect(damage).toBeNull();
  expect(records.map((r) => [timeOf(r), r.len, r.iface])).toEqual([
    ['1700000000.123456789', 61, { id: 1, name: 'eth0', linkType: 1, snaplen: 96, nanosecondResolution: true }],
    ['1700000000.123456000', 9000, { id: 0, name: 'lo', linkType: 276, snaplen: 262_144, nanosecondResolution: false }],
    ['0.000001000', 61, { id: 0, name: 'wlan0', linkType: 1, snaplen: 262_144, nanosecondResolution: false }],
  ]);
  for (const size of [1, 3, 50]) expect(read(file, [size])).toEqual(read(file));
  needs(ctx, 'tshark');
  expect(tshark(file).map(({ time, len }) => [time, len])).toEqual(records.map((r) => [timeOf(r), r.len]));
});

describe.each(ORDERS)('%s-endian', (order) => {
  const start = [sectionHeader(order), interfaceDescription(order, { snaplen: 61 })];

  test('Simple Packet Block: interface 0, no time, cut at the snaplen', () => {
    const { records, damage } = read(
      Buffer.concat([...start, simplePacket(order, 61, DATA), simplePacket(order, 1000, DATA)]),
    );
    expect(damage).toBeNull();
    const data = DATA.toString('hex');
    expect(records).toMatchObject([
      { seconds: 0, nanoseconds: 0, len: 61, data, iface: { id: 0 } },
      { seconds: 0, nanoseconds: 0, len: 1000, data },
    ]);
  });

  test('the obsolete Packet Block', () => {
    const { records, damage } = read(Buffer.concat([...start, packetBlock(order, 0, 5_000_007n, DATA, 99)]));
    expect(damage).toBeNull();
    expect(records).toMatchObject([{ seconds: 5, nanoseconds: 7000, len: 99, data: DATA.toString('hex') }]);
  });

  test('Interface Statistics Block', () => {
    const file = Buffer.concat([
      ...start,
      statistics(
        order,
        0,
        [
          [4, 1n],
          [5, 2n],
          [7, 3n],
        ],
        1_700_000_000_000_007n,
      ),
      statistics(order, 0, [
        [4, 1n << 40n],
        [5, 2n],
      ]),
      statistics(order, 0, []),
      statistics(order, 1, [[4, 1n]]),
    ]);
    const result = read(file);
    expect(result.damage).toBeNull();
    expect(result.statistics.map(([, counts]) => counts)).toEqual([
      { seconds: 1_700_000_000, nanoseconds: 7000, received: 1, dropped: 3, delivered: null },
      { seconds: 0, nanoseconds: 0, received: 2 ** 40, dropped: 2, delivered: null },
      { seconds: 0, nanoseconds: 0, received: null, dropped: null, delivered: null },
    ]);
    expect(read(file, [1])).toEqual(result);
    // A handler need not take them.
    const reader = new SavefileReader({ packet: () => undefined });
    reader.push(file);
    expect(reader.damage).toBeNull();
  });

  test('unknown blocks are skipped, however large, and not kept', () => {
    const large = 64 * 1024 * 1024;
    const head = Buffer.concat([...start, block(order, 0x0bad, DATA), u32(order, 0x8000_0001, large)]);
    const tail = Buffer.concat([
      u32(order, large),
      block(order, 4, Buffer.alloc(0)),
      enhancedPacket(order, 0, 1n, DATA),
    ]);
    let packets = 0;
    const reader = new SavefileReader({ packet: () => void packets++ });
    const before = process.memoryUsage().arrayBuffers;
    const chunk = Buffer.alloc(1024 * 1024);
    reader.push(head);
    for (let left = large - 12; left > 0; left -= chunk.length) reader.push(chunk.subarray(0, left));
    reader.push(tail);
    reader.end();
    expect({ packets, damage: reader.damage }).toEqual({ packets: 1, damage: null });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
  });
});

test('time stamps are exact in every resolution', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.oneof(fc.integer({ min: 0, max: 19 }), fc.integer({ min: 0x80, max: 0x80 + 63 })),
      fc.oneof(fc.constant(0n), fc.bigInt({ min: -(1n << 31n), max: 1n << 31n })),
      fc.constantFrom(...ORDERS),
      (units, tsresol, tsoffset, order) => {
        const file = [
          sectionHeader(order),
          interfaceDescription(order, { tsresol, tsoffset }),
          enhancedPacket(order, 0, units, DATA),
        ];
        const resolution = tsresol < 0x80 ? 10n ** BigInt(tsresol) : 2n ** BigInt(tsresol - 0x80);
        const [record] = read(Buffer.concat(file)).records;
        const seconds = Number(units / resolution) + Number(tsoffset);
        expect(record?.seconds).toBe(Math.min(Number.MAX_SAFE_INTEGER, seconds));
        expect(record?.nanoseconds).toBe(Number(((units % resolution) * 1_000_000_000n) / resolution));
        expect(record?.iface.nanosecondResolution).toBe(resolution > 1_000_000n);
      },
    ),
    { numRuns: 2000 },
  );
});

test('seconds that no plain number has are cut to the last that one has', () => {
  const of = (units: bigint, tsoffset: bigint): number | undefined =>
    read(
      Buffer.concat([
        sectionHeader('little'),
        interfaceDescription('little', { tsresol: 0, tsoffset }),
        enhancedPacket('little', 0, units, DATA),
      ]),
    ).records[0]?.seconds;
  expect(of(2n ** 63n, 0n)).toBe(Number.MAX_SAFE_INTEGER);
  expect(of(0n, -(2n ** 63n))).toBe(Number.MIN_SAFE_INTEGER);
  expect(of(5n, 2n ** 52n)).toBe(2 ** 52 + 5);
});

test('time stamps agree with tshark', (ctx) => {
  needs(ctx, 'tshark');
  const resolutions = [0, 3, 6, 7, 9, 0x80 + 10, 0x80 + 20, 0x80 + 30];
  const file = Buffer.concat([
    sectionHeader('little'),
    ...resolutions.map((tsresol) => interfaceDescription('little', { tsresol, tsoffset: 3600n })),
    ...resolutions.map((tsresol, id) => {
      const second = tsresol < 0x80 ? 10n ** BigInt(tsresol) : 2n ** BigInt(tsresol - 0x80);
      return enhancedPacket('little', id, 1_700_000_000n * second + (second * 5n) / 8n, DATA);
    }),
  ]);
  expect(read(file).records.map(timeOf)).toEqual(tshark(file).map(({ time }) => time));
});

describe('interface names', () => {
  const named = (name: string | Uint8Array): string | null | undefined =>
    read(
      Buffer.concat([sectionHeader('big'), interfaceDescription('big', { name }), enhancedPacket('big', 0, 0n, DATA)]),
    ).records[0]?.iface.name;

  test('are UTF-8, hostile and bounded', () => {
    expect(named('ethérnet0')).toBe('ethérnet0');
    expect(named('')).toBeNull();
    expect(named(Uint8Array.of(0x61, 0xff, 0x1b))).toBe('a\ufffd\u001b');
    expect(named('x'.repeat(60_000))).toBe('x'.repeat(256));
  });
});

describe('what contradicts the format', () => {
  const start = Buffer.concat([sectionHeader('little'), interfaceDescription('little')]);
  const packet = enhancedPacket('little', 0, 1n, DATA);
  const changed = (bytes: Buffer, at: number, value: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy.writeUInt32LE(value, at);
    return copy;
  };
  const idb = (...parts: Uint8Array[]): Buffer =>
    block('little', 1, Buffer.concat([u16('little', 1, 0), u32('little', 0), ...parts]));

  test.each([
    ['total length 0', changed(packet, 4, 0), /claims a total length of 0 octets/],
    ['total length 8', changed(packet, 4, 8), /claims a total length of 8 octets/],
    ['too short for its type', block('little', 6, Buffer.alloc(16)), /block of type 6 .* total length of 28 octets/],
    ['not a multiple of four', changed(packet, 4, packet.length - 1), /claims a total length/],
    ['a packet block beyond 16 MiB', changed(packet, 4, 0xffff_fffc), /claims a total length of 4294967292/],
    ['an unknown block of length 4', Buffer.concat([u32('little', 99, 4, 4)]), /block of type 99 .* of 4 octets/],
    ['lengths that differ', changed(packet, packet.length - 4, 12), /at its start and 12 at its end/],
    [
      'lengths that differ in a skipped block',
      changed(block('little', 9, DATA), 72, 16),
      /76 octets at its start and 16/,
    ],
    ['an unknown interface', changed(packet, 8, 1), /is on interface 1, which the section does not describe/],
    ['more captured than the block holds', changed(packet, 20, packet.length - 31), /captured octets in a block of/],
    ['gigabytes captured', changed(packet, 20, 0xffff_ffff), /claims 4294967295 captured octets/],
    [
      'a simple packet that does not fit',
      simplePacket('little', 65, DATA),
      /claims 65 captured octets in a block of 80/,
    ],
    [
      'an interface of the section before',
      Buffer.concat([sectionHeader('big'), enhancedPacket('big', 0, 1n, DATA)]),
      /is on interface 0/,
    ],
    ['a section without byte order', changed(sectionHeader('little'), 8, 0), /no byte-order magic number/],
    ['version 2.0', sectionHeader('little', [2, 0]), /unsupported pcapng version 2\.0/],
    ['version 1.1', sectionHeader('little', [1, 1]), /unsupported pcapng version 1\.1/],
    ['an option beyond its block', idb(u16('little', 2, 9), Buffer.alloc(8)), /impossible length or value/],
    ['if_tsresol of two octets', idb(option('little', 9, Buffer.alloc(2))), /impossible length or value/],
    ['if_tsoffset of four octets', idb(option('little', 14, Buffer.alloc(4))), /impossible length or value/],
    ['10^-20 seconds', idb(option('little', 9, Buffer.of(20))), /impossible length or value/],
    ['2^-64 seconds', idb(option('little', 9, Buffer.of(0xc0))), /impossible length or value/],
  ])('%s', (_, bad, message) => {
    const file = Buffer.concat([start, packet, bad, packet]);
    const whole = read(file);
    expect(whole.records).toHaveLength(1);
    expect(whole.damage).toMatchObject({ kind: 'invalid', message: expect.stringMatching(message) });
    expect(whole.damage?.message).toContain(` at octet ${whole.damage?.offset} `);
    for (const size of [1, 7]) expect(read(file, [size])).toEqual(whole);
  });

  test('a packet before any interface', () => {
    for (const early of [packet, simplePacket('little', 61, DATA), packetBlock('little', 0, 1n, DATA)]) {
      const { damage, records } = read(Buffer.concat([sectionHeader('little'), early]));
      expect(records).toEqual([]);
      expect(damage?.message).toMatch(/is on interface 0, which the section does not describe/);
    }
  });

  test('more interfaces than are kept', () => {
    const many = Array.from({ length: 65_536 }, () => interfaceDescription('little'));
    const file = Buffer.concat([sectionHeader('little'), ...many, enhancedPacket('little', 65_535, 1n, DATA)]);
    expect(read(file).damage).toBeNull();
    const more = read(Buffer.concat([file, interfaceDescription('little')]));
    expect(more.records).toHaveLength(1);
    expect(more.damage?.message).toMatch(/more than 65536 interfaces/);
  });
});

test('a packet longer than any is cut, for its block says where the next begins', () => {
  const long = frame(300_000);
  const start = [sectionHeader('little'), interfaceDescription('little', { snaplen: 0 })];
  const file = Buffer.concat([...start, enhancedPacket('little', 0, 1n, long), simplePacket('little', 300_000, long)]);
  const { records, damage } = read(file, [65_536]);
  expect(damage).toBeNull();
  expect(records.map(({ data, len }) => [data.length / 2, len])).toEqual([
    [262_144, 300_000],
    [262_144, 300_000],
  ]);
});

test('a stream that ends in a block that is skipped', () => {
  const file = Buffer.concat([pcapng(PACKETS), block('little', 99, Buffer.alloc(100))]);
  const offset = file.length - 112;
  for (const length of [file.length - 1, file.length - 50, file.length - 105]) {
    const { damage, records } = read(file.subarray(0, length));
    expect(damage).toMatchObject({ kind: 'truncated', offset });
    expect(records).toHaveLength(PACKETS.length);
  }
});
