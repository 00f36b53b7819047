import { SocketAddress } from 'node:net';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatIpv4, formatIpv6, malformed, u16, u32 } from '../../src/decode/octets.ts';

/** The address as inet_ntop(3) of Node writes it. */
function inetNtop(bytes: Uint8Array): string {
  if (bytes.length === 4) return new SocketAddress({ address: bytes.join('.') }).address;
  const groups = Buffer.from(bytes).toString('hex').match(/..../g)!;
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}

/** Groups that are mostly zero or all ones: runs, ties of runs, IPv4-mapped and -compatible addresses. */
const likelyIpv6 = fc
  .array(fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.constant(0xffff), fc.constant(1), fc.nat(0xffff)), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])));
const ipv4InIpv6 = fc
  .tuple(fc.constantFrom([0, 0], [0xff, 0xff], [0, 1]), fc.uint8Array({ minLength: 4, maxLength: 4 }))
  .map(([prefix, address]) => Uint8Array.from([...Array.from({ length: 10 }, () => 0), ...prefix, ...address]));

test('IPv6 addresses are written as inet_ntop writes them', () => {
  const any = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(fc.oneof(any, likelyIpv6, ipv4InIpv6), fc.nat(3), (address, offset) => {
      const bytes = Buffer.concat([Buffer.alloc(offset, 1), address, Buffer.alloc(2, 1)]);
      expect(formatIpv6(bytes, offset)).toBe(inetNtop(address));
    }),
    { numRuns: 3000 },
  );
});

test('every pattern of zero groups', () => {
  for (let zeros = 0; zeros < 256; zeros++) {
    const address = Uint8Array.from({ length: 16 }, (_, at) => ((zeros >> (at >> 1)) & 1 ? 0 : at + 1));
    expect(formatIpv6(address, 0)).toBe(inetNtop(address));
  }
});

test('IPv4 addresses', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (address) => {
      expect(formatIpv4(address, 0)).toBe(inetNtop(address));
    }),
  );
});

test('more addresses than are kept: each is still its own text', () => {
  const wrong: string[] = [];
  for (let n = 0; n < 20_000; n++) {
    const address = Uint8Array.from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 10, 9, n >> 8, n & 0xff]);
    const text = [formatIpv4(address, 12), formatIpv6(address, 0)];
    const expected = [`10.9.${n >> 8}.${n & 0xff}`, `2001:db8::a09:${n.toString(16)}`];
    if (String(text) !== String(expected)) wrong.push(...text);
  }
  expect(wrong).toEqual([]);
});

test('fields are big-endian and unsigned', () => {
  const bytes = Uint8Array.from([0, 0xff, 0xfe, 0xfd, 0xfc]);
  expect(u16(bytes, 1)).toBe(0xfffe);
  expect(u32(bytes, 1)).toBe(0xfffe_fdfc);
});

test('nobody has less than nothing', () => {
  expect(malformed('ip', 'truncated', 50, 20, -10)).toMatchObject({ offset: 50, need: 20, have: 0 });
});
