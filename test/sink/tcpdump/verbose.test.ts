/**
 * What a comparison with tcpdump cannot see: where the attribution goes, and that nothing is without bounds.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodePacket } from '../../../src/decode/packet.ts';
import { isMalformed } from '../../../src/decode/octets.ts';
import type { IcmpEvent } from '../../../src/event.ts';
import { textSink, type TextLayout } from '../../../src/sink/text.ts';
import { verboseDescriber } from '../../../src/sink/tcpdump/verbose.ts';
import { searchLists } from '../../fuzz/bombs.ts';
import { be16, be32, HOST, icmpv4Packet, ipv4, octets, PEER, tcp, u8, udp } from '../../parity/packets.ts';

const ENDS = { src: HOST, dst: PEER };

/** What is printed of a packet of which `end` octets were captured. */
function described(bytes: Uint8Array, describe = verboseDescriber(), end = bytes.length): string {
  const packet = decodePacket(bytes, 0, end);
  if (isMalformed(packet)) return '';
  return describe(bytes, packet, bytes.length, null, null);
}

function timeExceeded(quoted: Buffer): Buffer {
  return icmpv4Packet(11, 0, 0, quoted);
}

const EVENT: IcmpEvent = {
  seconds: 0,
  nanoseconds: 0,
  nanosecondResolution: false,
  host: 'web-3',
  interface: 'eth0',
  direction: 'in',
  icmp: { version: 4, type: 11, code: 0, name: 'ttl-exceeded-in-transit', src: PEER, dst: HOST, length: 37 },
  flow: { protocol: 'udp', src: HOST, sport: 40_000, dst: PEER, dport: 9999, ipId: 1 },
  errno: 'EHOSTUNREACH',
  outcome: 'no-socket',
  match: 'none',
  sockets: [],
};

test.each<[TextLayout, string]>([
  ['plain', ''],
  ['two-line', '\n\t172.16.0.62:40000 > 192.0.2.7:9999  EHOSTUNREACH → '],
  ['oneline', '  172.16.0.62:40000 > 192.0.2.7:9999  EHOSTUNREACH → '],
])('%s: the attribution stands behind all of tcpdump’s lines', (layout, attribution) => {
  const sink = textSink({ layout, timeStamp: 1, verbose: true });
  const bytes = timeExceeded(ipv4(17, udp(ENDS, octets(9)), ENDS));
  const packet = decodePacket(bytes, 0, bytes.length);
  if (isMalformed(packet)) throw new Error('malformed');
  const description = sink.describe(bytes, packet, bytes.length, null, null);
  expect(description.split('\n')).toHaveLength(4);
  const printed = Buffer.from(sink.format(EVENT, description), 'latin1').toString('utf8');
  expect(printed.startsWith(description + attribution)).toBe(true);
  expect(printed.endsWith('\n')).toBe(true);
});

/** The header of an IPv4 packet of `length` octets. */
function header(protocol: number, length: number): Buffer {
  return ipv4(protocol, Buffer.alloc(0), { totalLength: length });
}

test.each<[string, (rest: number) => Buffer]>([
  ['IPv4 in IPv4', (rest) => header(4, rest)],
  ['errors that quote errors', (rest) => Buffer.concat([header(1, rest), u8(11, 0), be16(0), be32(0)])],
  ['GRE in GRE', (rest) => Buffer.concat([header(47, rest), be16(0, 0x0800)])],
  ['authentication headers', () => Buffer.concat([u8(51, 1), be16(0), be32(1, 2)])],
])('%s, as many as there is room for, are printed so far', (_name, layer) => {
  const layers: Buffer[] = [];
  const size = layer(0).length;
  for (let rest = 65_000; rest > size; rest -= size) layers.push(layer(rest));
  const protocol = layers[0]![0] === 51 ? 51 : 4;
  const text = described(timeExceeded(ipv4(protocol, Buffer.concat(layers))));
  expect(text).toMatch(/^IP \(tos 0x0/);
  expect(text.length).toBeLessThan(1_000_000);
});

/** tcpdump makes up to 280 MB of each, and some take it seconds. */
test.each([
  ['nothing but pointers', '', 65_536],
  ['a label and a pointer', '0161', 65_536],
  ['a bit label and a pointer', '410800', 5_000_000],
  ['the longest bit label and a pointer', `4100${'ff'.repeat(32)}`, 5_000_000],
])('names that point to names, %s: so much of them is printed', (_name, label, most) => {
  const text = described(searchLists(61_000, Buffer.from(label, 'hex')));
  expect(text).toMatch(/ \[\|icmp6\]$/);
  expect(text.length).toBeLessThan(most);
  const few = described(searchLists(160, Buffer.from(label, 'hex'), 20));
  expect(few).not.toContain('[|');
});

test('conversations are forgotten in the order in which they began', () => {
  const describe = verboseDescriber();
  const printed = (sport: number, seq: number): string => {
    const segment = tcp(ENDS, octets(1), { sport, dport: 50_000, flags: 0x10, seq, ack: 1 });
    return /seq \d+/.exec(described(timeExceeded(ipv4(6, segment)), describe))![0];
  };
  expect(printed(1, 1000)).toBe('seq 1000');
  expect(printed(1, 1005)).toBe('seq 5');
  for (let port = 2; port <= 16_385; port++) printed(port, 1000);
  expect(printed(16_385, 1007)).toBe('seq 7');
  expect(printed(1, 1009)).toBe('seq 1009');
});

test('any octets give a text in Latin-1', () => {
  const protocols = fc.constantFrom(1, 4, 6, 17, 33, 41, 47, 50, 51, 55, 58, 108, 132, 200);
  const quoted = fc
    .tuple(protocols, fc.uint8Array({ maxLength: 200 }), fc.nat({ max: 300 }))
    .map(([protocol, payload, totalLength]) => ipv4(protocol, payload, { totalLength }));
  fc.assert(
    fc.property(
      quoted,
      fc.constantFrom(3, 5, 11, 12),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (quote, type, share) => {
        const packet = icmpv4Packet(type, 1, 0x0020_0000, Buffer.concat([quote, octets(150)]));
        const text = described(packet, verboseDescriber(), Math.floor(packet.length * share));
        expect(text).not.toMatch(/[^\n\t\x20-\x7e]/);
      },
    ),
  );
});
