import { describe, expect, test } from 'vitest';
import { decodeIp, type IpHeader } from '../../src/decode/ip.ts';
import { isMalformed } from '../../src/decode/octets.ts';

interface Ipv4Shape {
  ihl?: number;
  total?: number;
  fragment?: number;
  protocol?: number;
}

/** An IPv4 header of 192.0.2.1 to 198.51.100.2, options zero, `payload` octets behind it. */
function ipv4({ ihl = 5, total, fragment = 0, protocol = 17 }: Ipv4Shape, payload = 8): Buffer {
  const length = Math.max(ihl, 5) * 4 + payload;
  const bytes = Buffer.alloc(length);
  bytes.writeUInt8(0x40 | ihl, 0);
  bytes.writeUInt16BE(total ?? length, 2);
  bytes.writeUInt16BE(0xbeef, 4);
  bytes.writeUInt16BE(fragment, 6);
  bytes.writeUInt8(protocol, 9);
  bytes.set([192, 0, 2, 1, 198, 51, 100, 2], 12);
  return bytes;
}

const HOP_BY_HOP = 0;
const UDP = 17;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const ICMPV6 = 58;
const DESTINATION_OPTIONS = 60;

/** An extension header: its number, its second octet and how many octets it has. */
type Extension = [type: number, lengthField: number, octets: number, fields?: string];

/** An IPv6 header of 2001:db8::1 to 2001:db8::2, extension headers, and `payload` octets of `protocol`. */
function ipv6(extensions: Extension[], protocol: number, payload = 8): Buffer {
  const chain = extensions.map(([, lengthField, octets, fields = ''], index) => {
    const header = Buffer.alloc(octets);
    header.write(fields, 2, 'hex');
    header[0] = extensions[index + 1]?.[0] ?? protocol;
    header[1] = lengthField;
    return header;
  });
  const behind = Buffer.concat([...chain, Buffer.alloc(payload)]);
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(behind.length, 4);
  header[6] = extensions[0]?.[0] ?? protocol;
  header.write(`20010db8${'0'.repeat(23)}120010db8${'0'.repeat(23)}2`, 8, 'hex');
  return Buffer.concat([header, behind]);
}

function outer(bytes: Buffer): ReturnType<typeof decodeIp> {
  return decodeIp(bytes, 0, bytes.length, 'outer');
}

describe('IPv4', () => {
  test('a plain header', () => {
    expect(outer(ipv4({}))).toEqual({
      version: 4,
      src: '192.0.2.1',
      dst: '198.51.100.2',
      protocol: 17,
      identification: 0xbeef,
      fragmentOffset: 0,
      moreFragments: false,
      payloadOffset: 20,
      payloadLength: 8,
    } satisfies IpHeader);
  });

  test.each([6, 10, 15])('options: IHL %i', (ihl) => {
    expect(outer(ipv4({ ihl }, 12))).toMatchObject({ payloadOffset: ihl * 4, payloadLength: 12 });
  });

  test.each([
    [0x2000, { fragmentOffset: 0, moreFragments: true }],
    [0x4000, { fragmentOffset: 0, moreFragments: false }],
    [0x20b9, { fragmentOffset: 1480, moreFragments: true }],
    [0x1fff, { fragmentOffset: 65_528, moreFragments: false }],
  ])('flags and fragment offset %i', (fragment, expected) => {
    expect(outer(ipv4({ fragment }))).toMatchObject(expected);
  });

  test.each([0, 1, 4])('IHL %i is invalid, quoted too', (ihl) => {
    const bytes = ipv4({ ihl });
    expect(outer(bytes)).toMatchObject({ layer: 'ip', reason: 'invalid', offset: 0 });
    expect(decodeIp(bytes, 0, bytes.length, 'quoted')).toMatchObject({ layer: 'quoted-ip', reason: 'invalid' });
  });

  test('a total length below the header length is invalid, but tolerated in a quote', () => {
    const bytes = ipv4({ ihl: 6, total: 23 });
    expect(outer(bytes)).toMatchObject({ layer: 'ip', reason: 'invalid' });
    expect(decodeIp(bytes, 0, bytes.length, 'quoted')).toMatchObject({ payloadOffset: 24, payloadLength: 0 });
  });

  test('a total length beyond the captured octets is what was on the wire', () => {
    expect(outer(ipv4({ total: 1500 }))).toMatchObject({ payloadLength: 1480 });
  });
});

describe('IPv6', () => {
  test('a plain header', () => {
    expect(outer(ipv6([], ICMPV6))).toEqual({
      version: 6,
      src: '2001:db8::1',
      dst: '2001:db8::2',
      protocol: ICMPV6,
      identification: null,
      fragmentOffset: 0,
      moreFragments: false,
      payloadOffset: 40,
      payloadLength: 8,
    } satisfies IpHeader);
  });

  const chains: [string, Extension[], number][] = [
    ['hop-by-hop', [[HOP_BY_HOP, 0, 8]], 48],
    ['a long hop-by-hop', [[HOP_BY_HOP, 3, 32]], 72],
    ['authentication counts in words', [[AUTHENTICATION, 4, 24]], 64],
    ['a fragment header has one length', [[FRAGMENT, 0xff, 8]], 48],
    [
      'all of them, in the order of RFC 8200',
      [
        [HOP_BY_HOP, 0, 8],
        [DESTINATION_OPTIONS, 1, 16],
        [ROUTING, 2, 24],
        [FRAGMENT, 0, 8],
        [AUTHENTICATION, 1, 12],
        [DESTINATION_OPTIONS, 0, 8],
      ],
      116,
    ],
  ];
  test.each(chains)('extension headers: %s', (_name, extensions, payloadOffset) => {
    expect(outer(ipv6(extensions, UDP))).toMatchObject({ protocol: UDP, payloadOffset, payloadLength: 8 });
  });

  test('first and later fragments: behind the header of a later one is data', () => {
    const first: Extension = [FRAGMENT, 0, 8, '0001beefbeef'];
    expect(outer(ipv6([first], UDP))).toMatchObject({ protocol: UDP, fragmentOffset: 0, moreFragments: true });
    const later: Extension = [FRAGMENT, 0, 8, '05a8'];
    // What stands there looks like one more extension header.
    expect(outer(ipv6([later, [DESTINATION_OPTIONS, 0, 8]], UDP))).toMatchObject({
      protocol: DESTINATION_OPTIONS,
      fragmentOffset: 0x5a8,
      moreFragments: false,
      payloadOffset: 48,
    });
  });

  test('as many extension headers as there are', () => {
    const options = Array.from({ length: 8000 }, (): Extension => [DESTINATION_OPTIONS, 0, 8]);
    expect(outer(ipv6(options, UDP))).toMatchObject({ protocol: UDP, payloadOffset: 40 + 8000 * 8 });
  });

  test('a chain that the captured octets end in', () => {
    const bytes = ipv6(
      [
        [HOP_BY_HOP, 0, 8],
        [DESTINATION_OPTIONS, 0, 8],
      ],
      UDP,
    );
    for (let end = 40; end < 56; end++) {
      expect(decodeIp(bytes, 0, end, 'outer')).toEqual({
        layer: 'ip',
        reason: 'truncated',
        offset: end < 48 ? 40 : 48,
        need: 8,
        have: end < 48 ? end - 40 : end - 48,
      });
    }
  });

  test('an extension header that claims to reach beyond all octets', () => {
    const bytes = ipv6(
      [
        [HOP_BY_HOP, 0xff, 8],
        [DESTINATION_OPTIONS, 0, 8],
      ],
      UDP,
    );
    const result = outer(bytes);
    expect(result).toMatchObject({ reason: 'truncated', have: 0 });
  });

  test('a payload length that ends within the extension headers leaves no payload', () => {
    const bytes = ipv6([[HOP_BY_HOP, 1, 16]], UDP);
    bytes.writeUInt16BE(8, 4);
    expect(outer(bytes)).toMatchObject({ payloadOffset: 56, payloadLength: 0 });
  });
});

test.each([
  ['IPv4', ipv4({}), 20],
  ['IPv6', ipv6([], UDP), 40],
])('%s, cut within the fixed header', (_name, bytes, header) => {
  for (const mode of ['outer', 'quoted'] as const) {
    for (let end = 0; end < header; end++) {
      expect(decodeIp(bytes, 0, end, mode)).toMatchObject({
        layer: mode === 'outer' ? 'ip' : 'quoted-ip',
        reason: 'truncated',
        offset: 0,
        have: end,
      });
    }
    expect(isMalformed(decodeIp(bytes, 0, header, mode))).toBe(false);
  }
});

test.each([0, 5, 7, 15])('version %i is invalid', (version) => {
  const bytes = Buffer.alloc(60, version << 4);
  expect(outer(bytes)).toMatchObject({ layer: 'ip', reason: 'invalid', offset: 0 });
});
