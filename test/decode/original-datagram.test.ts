import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isMalformed } from '../../src/decode/octets.ts';
import { decodeOriginalDatagram } from '../../src/decode/original-datagram.ts';

/** Ports 40000 and 9999, and four octets more. */
const TRANSPORT = '9c40 270f 000d 0000';
const ADDRESSES4 = 'c000020a c6336414';
const ADDRESSES6 = `20010db8${'00'.repeat(11)}01 20010db8${'00'.repeat(11)}02`;
const PORTS = { source: 40_000, destination: 9999 };

const QUOTES: [name: string, quote: string, header: number, ports: typeof PORTS | null][] = [
  ['UDP', `4500 0021 beef 4000 40 11 0000 ${ADDRESSES4} ${TRANSPORT}`, 20, PORTS],
  ['UDP, a router zeroed the total length', `4500 0000 beef 0000 01 11 0000 ${ADDRESSES4} ${TRANSPORT}`, 20, PORTS],
  ['UDP behind options', `4700 0029 beef 0000 40 11 0000 ${ADDRESSES4} 0101010101010100 ${TRANSPORT}`, 28, PORTS],
  ['TCP', `4500 003c beef 0000 40 06 0000 ${ADDRESSES4} ${TRANSPORT}`, 20, PORTS],
  ['SCTP', `4500 003c beef 0000 40 84 0000 ${ADDRESSES4} ${TRANSPORT}`, 20, PORTS],
  ['ICMP', `4500 001c beef 0000 40 01 0000 ${ADDRESSES4} ${TRANSPORT}`, 20, null],
  ['UDP, first fragment', `4500 05dc beef 2000 40 11 0000 ${ADDRESSES4} ${TRANSPORT}`, 20, PORTS],
  ['UDP, later fragment', `4500 05dc beef 20b9 40 11 0000 ${ADDRESSES4} ${TRANSPORT}`, 20, null],
  ['UDP over IPv6', `6000 0000 000d 11 40 ${ADDRESSES6} ${TRANSPORT}`, 40, PORTS],
  ['UDP behind hop-by-hop', `6000 0000 0015 00 40 ${ADDRESSES6} 1100 010400000000 ${TRANSPORT}`, 48, PORTS],
  ['UDP over IPv6, first fragment', `6000 0000 05b0 2c 40 ${ADDRESSES6} 1100 0001 beefbeef ${TRANSPORT}`, 48, PORTS],
  ['UDP over IPv6, later fragment', `6000 0000 05b0 2c 40 ${ADDRESSES6} 1100 05a9 beefbeef ${TRANSPORT}`, 48, null],
];

test.each(QUOTES)('%s, cut at every octet', (_name, hex, header, ports) => {
  const BEFORE = 5;
  const bytes = Buffer.concat([Buffer.alloc(BEFORE), Buffer.from(hex.replaceAll(' ', ''), 'hex')]);
  const version = bytes[BEFORE]! >> 4;
  const fixedHeader = version === 4 ? 20 : header;
  for (let end = BEFORE; end <= bytes.length; end++) {
    const quote = decodeOriginalDatagram(bytes, BEFORE, end);
    if (end < BEFORE + fixedHeader) {
      expect(quote).toMatchObject({ layer: 'quoted-ip', reason: 'truncated' });
      continue;
    }
    expect(quote).toMatchObject({ ip: { version, payloadOffset: BEFORE + header } });
    const missing = ports !== null && end < BEFORE + header + 4;
    expect(quote).toMatchObject({
      ports: missing ? null : ports,
      malformed: missing
        ? {
            layer: 'quoted-transport',
            reason: 'truncated',
            offset: BEFORE + header,
            need: 4,
            have: Math.max(0, end - BEFORE - header),
          }
        : null,
    });
  }
});

test('any octets: a value, or a Malformed that says where and how much', () => {
  const quotes = QUOTES.map(([, hex]) => Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  const spoilt = fc
    .tuple(fc.constantFrom(...quotes), fc.array(fc.tuple(fc.nat(70), fc.nat(255)), { maxLength: 4 }))
    .map(([quote, changes]) => {
      const bytes = Uint8Array.from(quote);
      for (const [at, octet] of changes) bytes[at % bytes.length] = octet;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(spoilt, fc.uint8Array({ maxLength: 120 })), fc.nat(120), fc.nat(8), (bytes, cut, offset) => {
      const end = Math.min(cut, bytes.length);
      const quote = decodeOriginalDatagram(bytes, offset, end);
      const malformed = isMalformed(quote) ? quote : quote.malformed;
      if (!isMalformed(quote)) {
        expect(quote.ip.payloadOffset).toBeGreaterThanOrEqual(offset + 20);
        if (quote.ports !== null) expect(quote.ip.payloadOffset + 4).toBeLessThanOrEqual(end);
      }
      if (malformed?.reason !== 'truncated') return;
      expect(malformed.offset).toBeGreaterThanOrEqual(offset);
      expect(malformed.have).toBe(Math.max(0, end - malformed.offset));
      expect(malformed.have).toBeLessThan(malformed.need);
    }),
    { numRuns: 3000 },
  );
});
