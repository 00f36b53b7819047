import { describe, expect, test } from 'vitest';
import { MICROSECONDS, NANOSECONDS, PACKETS, PATCHED, frame, pcap, pcapHeader, u16, u32 } from './build.ts';
import { needs, tcpdump, timeOf } from './judges.ts';
import { read } from './read.ts';

function record(seconds: number, fraction: number, caplen: number, len: number, rest: Uint8Array): Buffer {
  return Buffer.concat([u32('little', seconds, fraction, caplen, len), rest]);
}

const DATA = frame(60);

const PATCHED_REST = Buffer.concat([u32('little', 3), u16('little', 8, 0), DATA]);

describe('what libpcap takes', () => {
  const TAKEN: readonly (readonly [string, Buffer])[] = [
    ['no snaplen', pcap(PACKETS, { snaplen: 0 })],
    ['a snaplen beyond a signed integer', pcap(PACKETS, { snaplen: 0x8000_0000 })],
    ['packets longer than the snaplen, which are cut to it', pcap(PACKETS, { snaplen: 50 })],
    ['an FCS length beside the link type', pcap(PACKETS, { linkType: 0xf400_0001 })],
    ['version 2.2', Buffer.concat([pcapHeader({ version: [2, 2] }), record(9, 1, 80, 60, DATA)])],
    ['version 2.3, lengths exchanged', Buffer.concat([pcapHeader({ version: [2, 3] }), record(9, 1, 80, 60, DATA)])],
    [
      'version 2.3, lengths as they are now',
      Buffer.concat([pcapHeader({ version: [2, 3] }), record(9, 1, 60, 80, DATA)]),
    ],
    ['the longest packet', pcap([{ seconds: 9, nanoseconds: 0, data: frame(262_144) }])],
    [
      "the patched libpcap's record header",
      Buffer.concat([
        pcapHeader({ magic: PATCHED }),
        record(9, 1, 60, 60, PATCHED_REST),
        record(9, 2, 60, 60, PATCHED_REST),
      ]),
    ],
  ];

  test.each(TAKEN)('%s', (_, file) => {
    const whole = read(file);
    expect(whole.damage).toBeNull();
    expect(whole.records[0]?.iface.linkType).toBe(1);
    expect(read(file, [1])).toEqual(whole);
    expect(read(file, [4096, 7])).toEqual(whole);
  });

  test.for(TAKEN)('as tcpdump reads it: %s', ([, file], ctx) => {
    needs(ctx, 'tcpdump');
    expect(read(file).records.map((r) => ({ time: timeOf(r), data: r.data }))).toEqual(tcpdump(file).records);
  });
});

describe('what libpcap does not take', () => {
  const good = pcap(PACKETS);
  const BAD: readonly (readonly [string, Buffer, number, RegExp])[] = [
    ['version 1.0', pcap(PACKETS, { version: [1, 0] }), 0, /^unsupported pcap savefile version 1\.0$/],
    ['version 2.5', pcap(PACKETS, { version: [2, 5] }), 0, /^unsupported pcap savefile version 2\.5$/],
    [
      'one octet more than the longest packet',
      Buffer.concat([good, record(9, 1, 262_145, 262_145, DATA)]),
      good.length,
      new RegExp(`^record at octet ${good.length} claims 262145 captured octets, more than 262144$`),
    ],
    [
      'the same where the snaplen allows it',
      Buffer.concat([pcapHeader({ snaplen: 1e6 }), record(9, 1, 262_145, 262_145, frame(262_145))]),
      24,
      /claims 262145/,
    ],
    [
      'four gigabytes',
      Buffer.concat([good, record(9, 1, 0xffff_ffff, 0xffff_ffff, DATA)]),
      good.length,
      /claims 4294967295/,
    ],
  ];

  test.each(BAD)('%s', (_, file, offset, message) => {
    const whole = read(file);
    expect(whole.damage).toEqual({ kind: 'invalid', offset, message: expect.stringMatching(message) });
    expect(whole.records).toHaveLength(offset === good.length ? PACKETS.length : 0);
    expect(read(file, [1])).toEqual(whole);
  });

  test.for(BAD)('tcpdump does not take it either: %s', ([, file], ctx) => {
    needs(ctx, 'tcpdump');
    const theirs = tcpdump(file);
    expect(theirs.status).toBe(1);
    expect(theirs.records).toHaveLength(read(file).records.length);
  });
});

test('a packet without a captured octet, and one longer than it was on the wire, are handed out', () => {
  const file = Buffer.concat([pcapHeader(), record(1, 0, 0, 60, DATA.subarray(0, 0)), record(2, 0, 60, 10, DATA)]);
  const { records, damage } = read(file);
  expect(damage).toBeNull();
  expect(records.map(({ data, len }) => [data.length / 2, len])).toEqual([
    [0, 60],
    [60, 10],
  ]);
});

test.each([
  [MICROSECONDS, 0xffff_ffff, 4294, 967_295_000],
  [NANOSECONDS, 2_500_000_000, 2, 500_000_000],
])('fractions of a second or more count as seconds', (magic, fraction, seconds, nanoseconds) => {
  const { records } = read(Buffer.concat([pcapHeader({ magic }), record(100, fraction, 60, 60, DATA)]));
  expect(records[0]).toMatchObject({ seconds: 100 + seconds, nanoseconds });
});

test('seconds are unsigned: they last beyond 2038', () => {
  const { records } = read(Buffer.concat([pcapHeader(), record(0xffff_ffff, 0, 60, 60, DATA)]));
  expect(records[0]?.seconds).toBe(4_294_967_295);
});
