import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { linkHeader } from '../../src/decode/link.ts';
import { isMalformed } from '../../src/decode/octets.ts';
import { decodePacket, findIcmp, type IcmpPacket } from '../../src/decode/packet.ts';
import { captures, FIXTURES } from '../command.ts';
import { read } from '../savefile/read.ts';

interface RealPacket {
  bytes: Uint8Array;
  linkType: number;
}

const REAL: RealPacket[] = captures().flatMap((name) =>
  read(readFileSync(FIXTURES + name)).records.map(({ data, iface }) => ({
    bytes: Buffer.from(data, 'hex'),
    linkType: iface.linkType,
  })),
);
const LINK_TYPES = [0, 1, 9, 12, 14, 50, 51, 101, 104, 108, 113, 166, 228, 229, 276, 147];

function decoded({ bytes, linkType }: RealPacket): ReturnType<typeof decodePacket> | null {
  const at = findIcmp(bytes, 0, bytes.length, linkType, true);
  return at === -1 ? null : decodePacket(bytes, at, bytes.length);
}

/** The packet after all sieves, where the ICMP message of bytes[offset, end) is one. */
function checkedPacket(bytes: Uint8Array, offset: number, end: number, linkType: number): IcmpPacket | null {
  const at = findIcmp(bytes, offset, end, linkType, false);
  const errorAt = findIcmp(bytes, offset, end, linkType, true);
  if (errorAt !== -1) expect(errorAt).toBe(at);
  if (at === -1) return null;
  expect(at).toBeGreaterThanOrEqual(offset);
  const link = linkHeader(bytes, offset, at, linkType, end);
  if (link !== null) {
    expect(link.wireEnd).toBeLessThanOrEqual(end);
    expect(link.encapsulation).not.toMatch(/undefined|NaN/);
  }
  const packet = decodePacket(bytes, at, end);
  if (isMalformed(packet)) {
    if (packet.reason === 'truncated') expect(packet.have).toBeLessThan(packet.need);
    return null;
  }
  expect(packet.ipOffset).toBe(at);
  expect(packet.icmpOffset).toBeGreaterThanOrEqual(at + 20);
  // What has no type has nothing that may be read.
  if (packet.type !== null) expect(packet.icmpOffset + (packet.code === null ? 1 : 2)).toBeLessThanOrEqual(packet.end);
  expect(packet.end).toBeLessThanOrEqual(end);
  // Whoever asks for errors alone gets all that quote something, and nothing else.
  expect(packet.original !== null).toBe(errorAt !== -1 && packet.code !== null);
  return packet;
}

const HEADERS = [
  '02005e00530102005e005302',
  '8100',
  '88a80064',
  '0064',
  '8864',
  '110000010040',
  'ff03',
  '0021',
  '57',
  '0f00',
  '0800',
].map((hex) => Buffer.from(hex, 'hex'));
const IP_PACKETS = REAL.filter(({ linkType }) => linkType === 101 || linkType === 228).map(({ bytes }) => bytes);

/** Real packets with a few octets changed, and octets without any sense. */
const anyPacket = fc.oneof(
  fc
    .tuple(fc.nat(REAL.length - 1), fc.array(fc.tuple(fc.nat(100), fc.nat(255)), { maxLength: 5 }))
    .map(([index, changes]): RealPacket => {
      const { bytes, linkType } = REAL[index]!;
      const spoilt = Uint8Array.from(bytes);
      for (const [at, octet] of changes) spoilt[at % spoilt.length] = octet;
      return { bytes: spoilt, linkType };
    }),
  fc.record({ bytes: fc.uint8Array({ maxLength: 150 }), linkType: fc.constantFrom(...LINK_TYPES) }),
  // What stands before an IP header on some link types, in any order, and then one.
  fc.record({
    bytes: fc
      .tuple(fc.array(fc.constantFrom(...HEADERS), { maxLength: 6 }), fc.constantFrom(...IP_PACKETS))
      .map(([headers, packet]) => Buffer.concat([...headers, packet])),
    linkType: fc.constantFrom(...LINK_TYPES),
  }),
);

test('any octets, any link type, any offset and end: nothing is thrown, and what is found can be decoded', () => {
  const good = REAL.filter((packet) => decoded(packet) !== null);
  const expected = good.map(decoded);
  expect(good.length).toBeGreaterThan(100);
  fc.assert(
    fc.property(anyPacket, fc.nat(40), fc.nat(200), fc.nat(), ({ bytes, linkType }, offset, cut, index) => {
      checkedPacket(bytes, 0, Math.min(cut, bytes.length), linkType);
      checkedPacket(bytes, Math.min(offset, bytes.length), bytes.length, linkType);
      // What was read before leaves no trace.
      const at = index % good.length;
      expect(decoded(good[at]!)).toEqual(expected[at]);
    }),
    { numRuns: 3000 },
  );
});

test('every real packet, cut at every octet: never more than was captured, and never anything else', () => {
  for (const { bytes, linkType } of REAL) {
    const whole = checkedPacket(bytes, 0, bytes.length, linkType);
    for (let end = 0; end < Math.min(bytes.length, 130); end++) {
      const part = checkedPacket(bytes, 0, end, linkType);
      if (part === null) continue;
      expect(part.ip).toEqual(whole?.ip);
      expect(part.length).toBe(whole?.length);
      if (part.type !== null) expect(part.type).toBe(whole?.type);
      if (part.code !== null) expect(part.code).toBe(whole?.code);
      const quote = part.original;
      if (quote === null || isMalformed(quote) || quote.ports === null) continue;
      expect(quote).toEqual(whole?.original);
    }
  }
});

test('link-layer padding is not part of the message', () => {
  const { bytes, linkType } = REAL.find((packet) => packet.linkType === 1 && decoded(packet) !== null)!;
  const whole = decodePacket(bytes, 14, bytes.length) as IcmpPacket;
  const padded = Buffer.concat([bytes, Buffer.alloc(20, 0xff)]);
  expect(findIcmp(padded, 0, padded.length, linkType, true)).toBe(14);
  expect(decodePacket(padded, 14, padded.length)).toEqual(whole);
  expect(whole.end).toBe(bytes.length);
});

test('a later fragment of ICMP has no ICMP header', () => {
  const { bytes } = REAL.find(
    (packet) => packet.linkType === 1 && packet.bytes[14] === 0x45 && decoded(packet) !== null,
  )!;
  for (const [high, low] of [
    [0x20, 0x01],
    [0x1f, 0x00],
  ] as const) {
    const fragment = Uint8Array.from(bytes);
    fragment.set([high, low], 20);
    expect(findIcmp(fragment, 0, fragment.length, 1, true)).toBe(-1);
    expect(findIcmp(fragment, 0, fragment.length, 1, false)).toBe(14);
    expect(decodePacket(fragment, 14, fragment.length)).toMatchObject({ type: null, code: null, original: null });
  }
  const first = Uint8Array.from(bytes);
  first.set([0x20, 0x00], 20);
  expect(findIcmp(first, 0, first.length, 1, true)).toBe(14);
});
