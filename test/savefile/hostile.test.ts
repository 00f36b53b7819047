/** Any octets give records or damage, never an exception, a hang or memory; and nothing of them stays behind. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  PACKETS,
  block,
  enhancedPacket,
  frame,
  interfaceDescription,
  journal,
  packetBlock,
  pcap,
  pcapHeader,
  pcapng,
  sectionHeader,
  simplePacket,
  statistics,
  u32,
} from './build.ts';
import { read } from './read.ts';

const RICH = Buffer.concat([
  pcapng(PACKETS.slice(0, 2)),
  simplePacket('little', 42, frame(42)),
  block('little', 4, frame(30)),
  statistics('little', 0, [
    [4, 5n],
    [7, 6n],
  ]),
  sectionHeader('big'),
  interfaceDescription('big', { name: 'lo', tsresol: 0x94, tsoffset: -5n }),
  packetBlock('big', 0, 1n << 50n, frame(42)),
  enhancedPacket('big', 0, 1n << 50n, frame(42), 42, [Buffer.from('one'), Buffer.alloc(0), Buffer.from('größe')]),
  journal('big', 'MESSAGE=a\nUDPICMP_WATCH={}\n'),
]);
const GOOD = [pcap(PACKETS), pcap(PACKETS, { order: 'big', magic: 0xa1b23c4d }), RICH];
const EXPECTED = GOOD.map((file) => read(file));

function survives(bytes: Uint8Array, sizes: number[]): void {
  const whole = read(bytes);
  expect(read(bytes, sizes)).toEqual(whole);
  if (whole.damage !== null) expect(whole.damage.offset).toBeLessThanOrEqual(bytes.length);
  for (const [i, file] of GOOD.entries()) expect(read(file, sizes)).toEqual(EXPECTED[i]);
}

const sizes = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 20 });

test('the good files are good', () => {
  for (const { damage } of EXPECTED) expect(damage).toBeNull();
});

test('random octets', () => {
  const head = fc.constantFrom(
    Buffer.alloc(0),
    pcapHeader(),
    pcapHeader({ order: 'big' }).subarray(0, 4),
    sectionHeader('little'),
    Buffer.concat([sectionHeader('big'), interfaceDescription('big')]),
  );
  fc.assert(
    fc.property(head, fc.uint8Array({ maxLength: 400 }), sizes, (start, rest, chunks) =>
      survives(Buffer.concat([start, rest]), chunks),
    ),
    { numRuns: 500 },
  );
});

test('good files with a few octets changed, taken out or put in', () => {
  const edit = fc.record({
    at: fc.nat({ max: 2000 }),
    remove: fc.integer({ min: 0, max: 8 }),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff).map((value) => u32('little', value)),
    ),
  });
  fc.assert(
    fc.property(
      fc.constantFrom(...GOOD),
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      sizes,
      (good, edits, chunks) => {
        let bytes = good;
        for (const { at, remove, insert } of edits) {
          const from = at % bytes.length;
          bytes = Buffer.concat([bytes.subarray(0, from), insert, bytes.subarray(from + remove)]);
        }
        survives(bytes, chunks);
      },
    ),
    { numRuns: 1000 },
  );
});

test.each([
  ['a record', Buffer.concat([pcapHeader(), u32('little', 1, 0, 262_144, 262_144)])],
  ['a packet block', Buffer.concat([pcapng([]), u32('little', 6, 16 * 1024 * 1024, 0, 0, 0)])],
  ['a skipped block', Buffer.concat([pcapng([]), u32('little', 99, 0xffff_fffc)])],
])('memory follows the octets that came, not those that %s claims', (_, file) => {
  const before = process.memoryUsage().arrayBuffers;
  const { damage } = read(Buffer.concat([file, Buffer.alloc(1000)]), [100]);
  expect(damage).toMatchObject({ kind: 'truncated' });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
});
