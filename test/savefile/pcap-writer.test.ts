import { describe, expect, test } from 'vitest';
import { pcapFileHeader, pcapRecord } from '../../src/savefile/pcap-writer.ts';
import { frame } from './build.ts';
import { capinfos, needs, pcapParser, tcpdump, timeOf, tshark } from './judges.ts';
import { read } from './read.ts';

const ETHERNET = 1;
/** tcpdump prints later ones as negative numbers. */
const SECONDS = [0, 1_700_000_000, 1_700_000_001, 2 ** 31 - 1];

describe.each([
  ['microseconds', false, 999_999],
  ['nanoseconds', true, 999_999_999],
] as const)('a pcap file in %s', (unit, nanoseconds, fraction) => {
  const lengths = [42, 61, 1500, 9000];
  const file = Buffer.concat([
    pcapFileHeader(ETHERNET, nanoseconds),
    ...SECONDS.map((seconds, n) =>
      pcapRecord(seconds, n % 2 === 0 ? fraction : 1, frame(lengths[n]!, n), lengths[n]! + n),
    ),
  ]);
  const whole = read(file);

  test('is read by the reader', () => {
    const scale = nanoseconds ? 1 : 1000;
    expect(whole).toMatchObject({ format: 'pcap', damage: null });
    expect(whole.records.map(({ seconds, nanoseconds: ns, len, data }) => [seconds, ns, len, data])).toEqual(
      SECONDS.map((seconds, n) => [
        seconds,
        (n % 2 === 0 ? fraction : 1) * scale,
        lengths[n]! + n,
        frame(lengths[n]!, n).toString('hex'),
      ]),
    );
    expect(whole.records[0]!.iface).toMatchObject({ linkType: ETHERNET, nanosecondResolution: nanoseconds });
  });

  test('tcpdump, tshark and capinfos read the same', (ctx) => {
    needs(ctx, 'tcpdump');
    const { records, status } = tcpdump(file);
    expect(status).toBe(0);
    expect(records).toEqual(whole.records.map((record) => ({ time: timeOf(record), data: record.data })));
    needs(ctx, 'tshark');
    expect(tshark(file).map(({ time, caplen, len }) => [time, caplen, len])).toEqual(
      whole.records.map((record) => [timeOf(record), record.data.length / 2, record.len]),
    );
    needs(ctx, 'capinfos');
    const infos = capinfos(file);
    expect(infos.get('File encapsulation')).toBe('ether');
    expect(infos.get('File timestamp precision')).toContain(unit);
    expect(infos.get('Number of packets')).toBe(String(SECONDS.length));
  });

  if (!nanoseconds) {
    test('and pcap-parser', async () => {
      const theirs = await pcapParser(file);
      expect(theirs.map(({ header, data }) => [header.timestampSeconds, data.toString('hex')])).toEqual(
        whole.records.map(({ seconds, data }) => [seconds, data]),
      );
    });
  }
});

test('without packets it is a file all the same', (ctx) => {
  const file = pcapFileHeader(276, false);
  expect(read(file)).toMatchObject({ format: 'pcap', records: [], damage: null });
  needs(ctx, 'tcpdump');
  expect(tcpdump(file)).toMatchObject({
    status: 0,
    records: [],
    stderr: expect.stringContaining('LINUX_SLL2') as string,
  });
});

test('times that 32 bits do not hold wrap', () => {
  for (const seconds of [2 ** 31, 2 ** 32 - 1, 2 ** 32 + 5, -1]) {
    const file = Buffer.concat([pcapFileHeader(ETHERNET, false), pcapRecord(seconds, 0, frame(42), 42)]);
    expect(read(file).records[0]!.seconds).toBe(((seconds % 2 ** 32) + 2 ** 32) % 2 ** 32);
  }
});
