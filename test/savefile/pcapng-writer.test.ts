import { describe, expect, test } from 'vitest';
import {
  INTERFACE_STATISTICS_SIZE,
  MAXIMUM_COMMENT,
  commentedPacket,
  enhancedPacketSize,
  interfaceDescriptionSize,
  journalEntry,
  sectionHeaderSize,
  writeEnhancedPacket,
  writeInterfaceDescription,
  writeInterfaceStatistics,
  writeSectionHeader,
} from '../../src/savefile/pcapng-writer.ts';
import { frame } from './build.ts';
import { capinfos, needs, tcpdump, timeOf, tshark, tsharkFields } from './judges.ts';
import { read } from './read.ts';

const INTERFACES = [
  { linkType: 1, snaplen: 1024, name: 'eth0' },
  { linkType: 1, snaplen: 1024, name: 'veth-é12' },
];
const TIMES = [
  [0, 0],
  [1_700_000_000, 999_999],
  [4_294_967_296, 1],
  [9_000_000_000, 500_000],
] as const;

/** Every block once, and packets of every padding; the buffer was full of other octets before. */
function capture(): Buffer {
  const target = Buffer.alloc(65_536, 0xee);
  const header = { hardware: 'x86_64', os: 'Linux', application: 'udpicmp-watch' };
  let at = writeSectionHeader(target, 0, header);
  expect(at).toBe(sectionHeaderSize(header));
  for (const description of INTERFACES) {
    const before = at;
    at = writeInterfaceDescription(target, at, description);
    expect(at - before).toBe(interfaceDescriptionSize(description));
  }
  for (const [i, [seconds, microseconds]] of TIMES.entries()) {
    const before = at;
    const caplen = 60 + i;
    at = writeEnhancedPacket(target, at, i % 2, seconds, microseconds, frame(100, i), caplen, 100);
    expect(at - before).toBe(enhancedPacketSize(caplen));
  }
  const before = at;
  at = writeInterfaceStatistics(target, at, 1, 1_700_000_001, 0, { received: 2 ** 40 + 5, dropped: 7, delivered: 5 });
  expect(at - before).toBe(INTERFACE_STATISTICS_SIZE);
  at = writeInterfaceStatistics(target, at, 0, 1_700_000_001, 0, { received: null, dropped: null, delivered: null });
  return target.subarray(0, at);
}

describe('what it writes', () => {
  const file = capture();

  test('is read by the reader', () => {
    const { records, statistics, damage } = read(file, [1]);
    expect(damage).toBeNull();
    expect(records.map((r) => [r.seconds, r.nanoseconds, r.data, r.len, r.iface.name])).toEqual(
      TIMES.map(([seconds, microseconds], i) => [
        seconds,
        microseconds * 1000,
        frame(100, i).toString('hex', 0, 60 + i),
        100,
        INTERFACES[i % 2]!.name,
      ]),
    );
    // Nothing of what the buffer held before is left, in the padding for one.
    expect(file.includes(0xee)).toBe(false);
    expect(records[1]?.iface).toEqual({ id: 1, ...INTERFACES[1], nanosecondResolution: false });
    const time = { seconds: 1_700_000_001, nanoseconds: 0 };
    expect(statistics.map(([iface, counts]) => [iface.id, counts])).toEqual([
      [1, { ...time, received: 2 ** 40 + 5, dropped: 7, delivered: 5 }],
      [0, { ...time, received: null, dropped: null, delivered: null }],
    ]);
  });

  test('is read by tcpdump', (ctx) => {
    needs(ctx, 'tcpdump');
    const { records, status } = tcpdump(file);
    expect(status).toBe(0);
    // tcpdump prints the lower 32 bits of the seconds.
    const expected = read(file).records.map(({ seconds, nanoseconds, data }) => ({
      time: timeOf({ seconds: seconds % 2 ** 32, nanoseconds }),
      data,
    }));
    expect(records).toEqual(expected);
  });

  test('is read by tshark, interface names included', (ctx) => {
    needs(ctx, 'tshark');
    expect(tshark(file)).toEqual(
      read(file).records.map((r) => ({
        time: timeOf(r),
        caplen: r.data.length / 2,
        len: 100,
        name: r.iface.name,
      })),
    );
  });
});

test('a section header without the optional texts', () => {
  const target = Buffer.alloc(256, 0xee);
  const end = writeSectionHeader(target, 4, { application: 'a' });
  expect(end - 4).toBe(sectionHeaderSize({ application: 'a' }));
  expect(read(target.subarray(4, end))).toMatchObject({ format: 'pcapng', damage: null });
  expect(target[end]).toBe(0xee);
});

/** A section with one interface, whose time stamps are in nanoseconds or not, and the blocks. */
function section(nanosecondResolution: boolean, ...blocks: Buffer[]): Buffer {
  const target = Buffer.alloc(1024, 0xee);
  let at = writeSectionHeader(target, 0, { application: 'udpicmp-watch' });
  const description = { linkType: 1, snaplen: 0, name: 'eth0', nanosecondResolution };
  const before = at;
  at = writeInterfaceDescription(target, at, description);
  expect(at - before).toBe(interfaceDescriptionSize(description));
  return Buffer.concat([target.subarray(0, at), ...blocks]);
}

describe.each([
  ['microseconds', false],
  ['nanoseconds', true],
] as const)('packets with comments, in %s', (unit, nanosecondResolution) => {
  const COMMENTS = [[], ['a'], ['größe → 日本', 'ab'], ['abc', 'abcd', 'x'.repeat(MAXIMUM_COMMENT)]];
  const file = section(
    nanosecondResolution,
    ...COMMENTS.map((comments, n) =>
      commentedPacket(
        0,
        1_700_000_000 + n,
        123_456_789 + n,
        nanosecondResolution,
        frame(60 + n, n),
        100,
        comments.map((comment) => Buffer.from(comment)),
      ),
    ),
  );
  const whole = read(file, [1]);

  test('are read by the reader', () => {
    expect(whole.damage).toBeNull();
    expect(whole.comments).toEqual(COMMENTS);
    expect(whole.records.map((r) => [r.seconds, r.nanoseconds, r.len, r.data])).toEqual(
      COMMENTS.map((_, n) => [
        1_700_000_000 + n,
        nanosecondResolution ? 123_456_789 + n : 123_456_000,
        100,
        frame(60 + n, n).toString('hex'),
      ]),
    );
    expect(whole.records[0]!.iface).toMatchObject({ name: 'eth0', nanosecondResolution });
  });

  test('and by tshark, tcpdump and capinfos', (ctx) => {
    needs(ctx, 'tshark');
    const fields = tsharkFields(file, 'frame.time_epoch', 'frame.comment');
    expect(fields).toEqual(whole.records.map((record, n) => [[timeOf(record)], whole.comments[n]]));
    needs(ctx, 'tcpdump');
    expect(tcpdump(file).records).toEqual(whole.records.map((r) => ({ time: timeOf(r), data: r.data })));
    needs(ctx, 'capinfos');
    expect(capinfos(file).get('File timestamp precision')).toContain(unit);
    expect(capinfos(file).get('Number of packets')).toBe(String(COMMENTS.length));
  });
});

test('times to the end of 64 bits of nanoseconds are exact', (ctx) => {
  const times = [
    [0, 1],
    [4_294_967_295, 999_999_999],
    [9_223_372_036, 854_775_807],
  ] as const;
  const file = section(
    true,
    ...times.map(([seconds, nanoseconds]) => commentedPacket(0, seconds, nanoseconds, true, frame(60), 60, [])),
  );
  const { records } = read(file);
  expect(records.map(({ seconds, nanoseconds }) => [seconds, nanoseconds])).toEqual(times);
  needs(ctx, 'tshark');
  expect(tshark(file).map(({ time }) => time)).toEqual(records.map(timeOf));
});

test('journal entries are read by the reader and by tshark, and passed over by tcpdump and capinfos', (ctx) => {
  const messages = ['', 'a', 'größe → 日本', 'abc', 'x'.repeat(10_000)];
  const entries = messages.map((message) => `__REALTIME_TIMESTAMP=1764000000123456\nMESSAGE=${message}\n`);
  const packet = commentedPacket(0, 1, 0, false, frame(60), 60, []);
  const file = section(false, ...entries.flatMap((entry) => [journalEntry(Buffer.from(entry)), packet]));
  const { journal, records, damage } = read(file, [3]);
  expect([journal, records.length, damage]).toEqual([entries, entries.length, null]);
  needs(ctx, 'tshark');
  const theirs = tsharkFields(file, 'systemd_journal.message', 'systemd_journal.realtime_timestamp');
  const packets = theirs.filter((_, n) => n % 2 === 1);
  const shown = theirs.filter((_, n) => n % 2 === 0);
  expect(packets.flat(2)).toEqual([]);
  for (const [n, [message, time]] of shown.entries()) {
    // It shows no more of a long one than fits into its line.
    expect(messages[n]).toContain(message![0]?.replace(/ ?\[?…?\]?$/, '') ?? '');
    expect(message![0]?.slice(0, 10) ?? '').toBe(messages[n]!.slice(0, 10));
    expect(time![0]).toContain('16:00:00.123456');
  }
  needs(ctx, 'tcpdump');
  expect(tcpdump(file).records).toHaveLength(records.length);
  needs(ctx, 'capinfos');
  expect(capinfos(file).get('Number of packets')).toBe(String(records.length));
});
