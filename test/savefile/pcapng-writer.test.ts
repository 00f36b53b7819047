import { describe, expect, test } from 'vitest';
import {
  INTERFACE_STATISTICS_SIZE,
  enhancedPacketSize,
  interfaceDescriptionSize,
  sectionHeaderSize,
  writeEnhancedPacket,
  writeInterfaceDescription,
  writeInterfaceStatistics,
  writeSectionHeader,
} from '../../src/savefile/pcapng-writer.ts';
import { frame } from './build.ts';
import { needs, tcpdump, timeOf, tshark } from './judges.ts';
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
  at = writeInterfaceStatistics(target, at, 1, 1_700_000_001, 0, { received: 2 ** 40 + 5, dropped: 7 });
  expect(at - before).toBe(INTERFACE_STATISTICS_SIZE);
  at = writeInterfaceStatistics(target, at, 0, 1_700_000_001, 0, { received: null, dropped: null });
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
    expect(statistics.map(([iface, counts]) => [iface.id, counts])).toEqual([
      [1, { received: 2 ** 40 + 5, dropped: 7 }],
      [0, { received: null, dropped: null }],
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
