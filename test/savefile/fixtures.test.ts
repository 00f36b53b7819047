/** Every capture in fixtures/, whole and in chunks of any size, beside the readers that others wrote. */
import fc from 'fast-check';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { MICROSECONDS, NANOSECONDS } from './build.ts';
import { needs, pcapParser, tcpdump, timeOf, tshark } from './judges.ts';
import { read } from './read.ts';

const DIRECTORY = join(import.meta.dirname, '../../fixtures');
const names = readdirSync(DIRECTORY, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(pcap|pcapng|pcap\.gz)$/.test(name))
  .toSorted();

describe.skipIf(names.length === 0).each(names)('%s', (name) => {
  const raw = readFileSync(join(DIRECTORY, name));
  const file = name.endsWith('.gz') ? gunzipSync(raw) : raw;
  const whole = read(file);

  test('chunked chaotically', () => {
    expect(whole.records.length).toBeGreaterThan(0);
    expect(read(file, [1])).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 50 }), (sizes) => {
        expect(read(file, sizes)).toEqual(whole);
      }),
      { numRuns: 20 },
    );
  });

  if (whole.format === 'pcap') {
    test('as pcap-parser reads it', async () => {
      const theirs = await pcapParser(inMicroseconds(file));
      expect(
        theirs.map(({ header, data }) => [
          header.timestampSeconds,
          header.timestampMicroseconds,
          header.originalLength,
          data.toString('hex'),
        ]),
      ).toEqual(
        whole.records.map(({ seconds, nanoseconds, len, data, iface }) => [
          seconds,
          iface.nanosecondResolution ? nanoseconds : nanoseconds / 1000,
          len,
          data,
        ]),
      );
    });
  }

  test('as tcpdump or, where libpcap gives up, tshark reads it', (ctx) => {
    needs(ctx, 'tcpdump');
    const { records, status } = tcpdump(file);
    if (status === 0 || whole.damage !== null) {
      expect(records).toEqual(whole.records.map((r) => ({ time: timeOf(r), data: r.data })));
      return;
    }
    needs(ctx, 'tshark');
    expect(tshark(file).map(({ time, caplen, len }) => [time, caplen, len])).toEqual(
      whole.records.map((r) => [timeOf(r), r.data.length / 2, r.len]),
    );
  });
});

/** pcap-parser knows no nanoseconds: with the other magic number it hands the fraction over as it stands. */
function inMicroseconds(file: Uint8Array): Buffer {
  const copy = Buffer.from(file);
  if (copy.readUInt32LE(0) === NANOSECONDS) copy.writeUInt32LE(MICROSECONDS, 0);
  if (copy.readUInt32BE(0) === NANOSECONDS) copy.writeUInt32BE(MICROSECONDS, 0);
  return copy;
}
