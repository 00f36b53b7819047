import { describe, expect, test } from 'vitest';
import { SavefileReader } from '../../src/savefile/reader.ts';
import { PACKETS, pcap, pcapng, type Order } from './build.ts';
import { needs, pcapParser, tcpdump, timeOf, tshark } from './judges.ts';
import { read } from './read.ts';

const ORDERS: Order[] = ['little', 'big'];
const VARIANTS = ORDERS.flatMap((order) =>
  [false, true].flatMap((nanoseconds) => {
    const packets = PACKETS.map((packet) =>
      nanoseconds ? { ...packet, nanoseconds: Math.min(packet.nanoseconds + 789, 999_999_999) } : packet,
    );
    const unit = nanoseconds ? 'nanoseconds' : 'microseconds';
    const magic = nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4;
    return [
      { name: `pcap, ${order}-endian, ${unit}`, nanoseconds, packets, file: pcap(packets, { order, magic }) },
      {
        name: `pcapng, ${order}-endian, ${unit}`,
        nanoseconds,
        packets,
        file: pcapng(packets, order, nanoseconds),
      },
    ];
  }),
);

describe.each(VARIANTS)('$name', ({ name, nanoseconds, packets, file }) => {
  const isPcap = name.startsWith('pcap,');

  test('is read as it was written', () => {
    const { format, records, damage } = read(file);
    expect({ format, damage }).toEqual({ format: isPcap ? 'pcap' : 'pcapng', damage: null });
    expect(records).toEqual(
      packets.map((packet) => ({
        seconds: packet.seconds,
        nanoseconds: packet.nanoseconds,
        len: packet.len ?? packet.data.length,
        data: Buffer.from(packet.data).toString('hex'),
        iface: {
          id: 0,
          name: isPcap ? null : 'eth0',
          linkType: 1,
          snaplen: 262_144,
          nanosecondResolution: nanoseconds,
        },
      })),
    );
  });

  test('chunks of any size make no difference', () => {
    const whole = read(file);
    for (let size = 1; size < 120; size++) expect(read(file, [size])).toEqual(whole);
  });

  test('as tcpdump reads it', (ctx) => {
    needs(ctx, 'tcpdump');
    const { records } = tcpdump(file);
    expect(records).toEqual(read(file).records.map((record) => ({ time: timeOf(record), data: record.data })));
  });

  test('as tshark reads it', (ctx) => {
    needs(ctx, 'tshark');
    const expected = read(file).records.map((record) => ({
      time: timeOf(record),
      caplen: record.data.length / 2,
      len: record.len,
      name: record.iface.name,
    }));
    expect(tshark(file)).toEqual(expected);
  });

  if (isPcap && !nanoseconds) {
    test('as pcap-parser reads it', async () => {
      const theirs = await pcapParser(file);
      expect(
        theirs.map(({ header, data }) => [
          header.timestampSeconds,
          header.timestampMicroseconds * 1000,
          header.originalLength,
          data.toString('hex'),
        ]),
      ).toEqual(read(file).records.map((r) => [r.seconds, r.nanoseconds, r.len, r.data]));
    });
  }

  test('cut anywhere: what stood before is handed out, then the damage', () => {
    const { records } = read(file);
    const starts = recordStarts(file, isPcap);
    for (let length = 1; length < file.length; length++) {
      const cut = read(file.subarray(0, length), [length % 7 === 0 ? 5 : length]);
      const start = starts.findLast((offset) => offset <= length)!;
      // The first of `starts` are the headers, each of which hands out nothing.
      const whole = Math.max(0, starts.indexOf(start) - (isPcap ? 1 : 2));
      expect(cut.records).toEqual(records.slice(0, whole));
      if (start === length) expect(cut.damage).toBeNull();
      else expect(cut.damage).toMatchObject({ kind: 'truncated', offset: start });
    }
  });

  test('stop() is the last that is handed out, and no damage', () => {
    for (const size of [1, file.length]) {
      let seen = 0;
      const reader = new SavefileReader({ packet: () => void (++seen === 2 && reader.stop()) });
      for (let at = 0; at < file.length; at += size) reader.push(file.subarray(at, at + size));
      reader.push(Uint8Array.of(1, 2, 3));
      reader.end();
      expect({ seen, damage: reader.damage }).toEqual({ seen: 2, damage: null });
    }
  });
});

/** Where the file header or blocks and the records begin, and where the last ends. */
function recordStarts(file: Buffer, isPcap: boolean): number[] {
  const starts = [0];
  const little = file[0] === 0xd4 || file[0] === 0x4d || file[8] === 0x4d;
  const u32 = (at: number): number => (little ? file.readUInt32LE(at) : file.readUInt32BE(at));
  for (let at = 0; at < file.length;) {
    if (isPcap) at += at === 0 ? 24 : 16 + u32(at + 8);
    else at += u32(at + 4);
    starts.push(at);
  }
  return starts;
}

describe('what is no savefile', () => {
  test.each([
    ['', 'invalid', /^empty/],
    ['d4c3', 'truncated', /2 of a file header's octets/],
    ['00000000', 'invalid', /^not a pcap or pcapng file: it begins with 00 00 00 00$/],
    ['1f8b080000000000', 'invalid', /1f 8b 08 00 \(gzip\)/],
    ['28b52ffd00000000', 'invalid', /Zstandard/],
    ['fd377a585a000000', 'invalid', /xz/],
    ['736e6f6f70000000', 'invalid', /snoop/],
    [Buffer.from('10:00 IP').toString('hex'), 'invalid', /31 30 3a 30 \(text\)/],
    ['0a0d0d0a1c00000000000000', 'invalid', /section header at octet 0 has no byte-order magic number/],
  ])('%s', (hex, kind, message) => {
    for (const size of [1, 100]) {
      const { damage, records } = read(Buffer.from(hex, 'hex'), [size]);
      expect(damage).toEqual({ kind, offset: 0, message: expect.stringMatching(message) });
      expect(records).toEqual([]);
    }
  });
});

test('octets after damage or the end are ignored', () => {
  const good = pcap(PACKETS);
  let seen = 0;
  const ended = new SavefileReader({ packet: () => void seen++ });
  ended.end();
  ended.push(good);
  const damaged = new SavefileReader({ packet: () => void seen++ });
  damaged.push(Buffer.from('text'));
  damaged.push(good);
  damaged.end();
  expect(seen).toBe(0);
  expect(damaged.damage?.message).toMatch(/text/);
});
