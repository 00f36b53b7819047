/** Comments on packets, and journal entries: what -w writes beside the packets. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SavefileReader } from '../../src/savefile/reader.ts';
import {
  block,
  enhancedPacket,
  frame,
  interfaceDescription,
  journal,
  option,
  packetBlock,
  pcap,
  PACKETS,
  sectionHeader,
  simplePacket,
  u16,
  u32,
  type Order,
} from './build.ts';
import { capinfos, needs, tcpdump, tsharkFields } from './judges.ts';
import { read } from './read.ts';

const ORDERS: Order[] = ['little', 'big'];
const DATA = frame(61);
/** Octets of the longest journal entry's block that is looked at. */
const LONGEST_ENTRY = 1024 * 1024;

const utf8 = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text));

describe.each(ORDERS)('comments, %s-endian', (order) => {
  const start = Buffer.concat([sectionHeader(order), interfaceDescription(order)]);
  const packet = (comments: readonly Uint8Array[], rest?: Uint8Array): Buffer =>
    enhancedPacket(order, 0, 1n, DATA, DATA.length, comments, rest);

  test('all of a packet, in their order, empty ones too; none of the packet before', () => {
    const file = Buffer.concat([start, packet(utf8('one', 'größe → 日本', '', 'x'.repeat(65_535))), packet([])]);
    const { comments, damage } = read(file);
    expect(damage).toBeNull();
    expect(comments).toEqual([['one', 'größe → 日本', '', 'x'.repeat(65_535)], []]);
    for (const size of [1, 7, 1000]) expect(read(file, [size])).toEqual(read(file));
  });

  test('tshark reads the same', (ctx) => {
    needs(ctx, 'tshark');
    const file = Buffer.concat([
      start,
      packet(utf8('one', 'größe → 日本')),
      packet([]),
      packet(utf8('x'.repeat(65_535))),
    ]);
    expect(tsharkFields(file, 'frame.comment')).toEqual(read(file).comments.map((comments) => [comments]));
  });

  test('other options between them, and nothing behind the end of the options', () => {
    const flags = option(order, 2, u32(order, 1));
    const rest = Buffer.concat([flags, option(order, 1, Buffer.from('two')), u32(order, 0), option(order, 1, DATA)]);
    expect(read(Buffer.concat([start, packet(utf8('one'), rest)])).comments).toEqual([['one', 'two']]);
    // The options need not be ended.
    expect(read(Buffer.concat([start, packet(utf8('one'), Buffer.alloc(0))])).comments).toEqual([['one']]);
  });

  test('an option that runs past its block is passed over, the packet and the comments before it are not', (ctx) => {
    const overruns = [
      u16(order, 1, 1),
      u16(order, 1, 0xffff),
      Buffer.concat([u16(order, 1, 9), Buffer.from('8 octets')]),
      u16(order, 2988, 5),
    ];
    const file = Buffer.concat([start, ...overruns.map((rest) => packet(utf8('one'), rest)), packet(utf8('last'))]);
    const { comments, records, damage } = read(file);
    expect(damage).toBeNull();
    expect(comments).toEqual([...overruns.map(() => ['one']), ['last']]);
    needs(ctx, 'tcpdump');
    expect(tcpdump(file).records.map(({ data }) => data)).toEqual(records.map(({ data }) => data));
  });

  test('what is no UTF-8 does no harm', () => {
    const hostile = Buffer.from('61ff1b5b324a00c3', 'hex');
    expect(read(Buffer.concat([start, packet([hostile])])).comments).toEqual([['a\ufffd\x1b[2J\0\ufffd']]);
    const mark = Buffer.from('\ufeffudpicmp-watch {}');
    expect(read(Buffer.concat([start, packet([mark])])).comments).toEqual([['\ufeffudpicmp-watch {}']]);
  });

  test('a packet with a comment comes though it is not wanted', () => {
    const seen: (readonly string[])[] = [];
    const reader = new SavefileReader({ wants: () => false, packet: ({ comments }) => seen.push(comments) });
    reader.push(Buffer.concat([start, packet([]), packet(utf8('one')), packet([])]));
    expect([seen, reader.damage]).toEqual([[['one']], null]);
  });

  test('packets of other kinds have none', () => {
    const others = [simplePacket(order, DATA.length, DATA), packetBlock(order, 0, 1n, DATA)];
    expect(read(Buffer.concat([start, packet(utf8('one')), ...others])).comments).toEqual([['one'], [], []]);
  });
});

test('a pcap file has no comments', () => {
  expect(read(pcap(PACKETS)).comments).toEqual(PACKETS.map(() => []));
});

describe.each(ORDERS)('journal entries, %s-endian', (order) => {
  const start = Buffer.concat([sectionHeader(order), interfaceDescription(order)]);
  const packet = enhancedPacket(order, 0, 1n, DATA);
  const ENTRY = '__REALTIME_TIMESTAMP=1764000000123456\nMESSAGE=größe → 日本\nX={"v":1}\n';

  test('each as it was, without its padding, in chunks of any size', () => {
    const entries = ['', 'A=1\n', 'A=12\n', 'A=123\n', 'A=1234\n', ENTRY];
    const file = Buffer.concat([start, ...entries.map((entry) => journal(order, entry)), packet]);
    const { journal: found, records, damage } = read(file);
    expect([found, records.length, damage]).toEqual([entries, 1, null]);
    for (const size of [1, 5, 64]) expect(read(file, [size])).toEqual(read(file));
  });

  test('tshark reads the same; tcpdump and capinfos pass over it', (ctx) => {
    const file = Buffer.concat([start, packet, journal(order, ENTRY), packet]);
    needs(ctx, 'tshark');
    const message = read(file).journal.map((entry) => /^MESSAGE=(.*)$/m.exec(entry)![1]!);
    expect(tsharkFields(file, 'systemd_journal.message')).toEqual([[[]], [message], [[]]]);
    needs(ctx, 'tcpdump');
    expect(tcpdump(file)).toMatchObject({ status: 0, records: [{}, {}] });
    needs(ctx, 'capinfos');
    expect(capinfos(file).get('Number of packets')).toBe('2');
  });

  test('one that is too long is skipped, and not kept', () => {
    const longest = Buffer.alloc(LONGEST_ENTRY - 12, 'A');
    const longer = Buffer.alloc(LONGEST_ENTRY - 8, 'B');
    const file = Buffer.concat([
      start,
      journal(order, longest),
      journal(order, longer),
      journal(order, 'C=1\n'),
      packet,
    ]);
    const { journal: found, records, damage } = read(file, [65_536]);
    expect(found.map((entry) => [entry[0], entry.length])).toEqual([
      ['A', longest.length],
      ['C', 4],
    ]);
    expect([records.length, damage]).toEqual([1, null]);
    const before = process.memoryUsage().arrayBuffers;
    const huge = Buffer.concat([start, u32(order, 9, 0xffff_fff0)]);
    expect(read(Buffer.concat([huge, Buffer.alloc(100_000)]), [1000]).damage).toMatchObject({ kind: 'truncated' });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
  });

  test('what is no UTF-8 does no harm', () => {
    const hostile = Buffer.concat([Buffer.from('MESSAGE=\x1b[2J\0'), Buffer.of(0xff, 0x0a)]);
    expect(read(Buffer.concat([start, journal(order, hostile)])).journal).toEqual(['MESSAGE=\x1b[2J\0\ufffd\n']);
  });

  test('cut short, or of two lengths: damage, and what stood before is handed out', () => {
    const entry = journal(order, ENTRY);
    for (let length = 1; length < entry.length; length++) {
      const cut = read(Buffer.concat([start, packet, entry.subarray(0, length)]), [17]);
      expect([cut.records.length, cut.journal]).toEqual([1, []]);
      expect(cut.damage).toMatchObject({ kind: 'truncated', offset: start.length + packet.length });
    }
    const contradictory = Buffer.from(entry);
    contradictory.writeUInt8(contradictory.at(-1)! ^ 0xff, contradictory.length - 1);
    expect(read(Buffer.concat([start, contradictory])).damage).toMatchObject({ kind: 'invalid' });
  });

  test('who takes none is not stopped by them', () => {
    let packets = 0;
    const reader = new SavefileReader({ packet: () => void packets++ });
    reader.push(Buffer.concat([start, journal(order, ENTRY), packet]));
    expect([packets, reader.damage]).toEqual([1, null]);
  });
});

test('any options give comments or none, never an exception, and the packet all the same', () => {
  const start = Buffer.concat([sectionHeader('little'), interfaceDescription('little')]);
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          code: fc.integer({ min: 0, max: 3 }),
          length: fc.nat({ max: 20 }),
          value: fc.uint8Array({ maxLength: 20 }),
        }),
      ),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }),
      (options, sizes) => {
        const octets = options.map(({ code, length, value }) => Buffer.concat([u16('little', code, length), value]));
        const fixed = u32('little', 0, 0, 1, DATA.length, DATA.length);
        const body = Buffer.concat([fixed, DATA, Buffer.alloc(3), ...octets]);
        const file = Buffer.concat([start, block('little', 6, body)]);
        const whole = read(file);
        expect([whole.records.length, whole.damage]).toEqual([1, null]);
        expect(read(file, sizes)).toEqual(whole);
      },
    ),
    { numRuns: 500 },
  );
});
