/**
 * What comparing with tcpdump cannot see: any octets give a text in bounded time, no octet is read that was not captured, and
 * nothing in them reaches the terminal as it is.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Conversations } from '../../../src/sink/tcpdump/conversations.ts';
import { printIpv6 } from '../../../src/sink/tcpdump/ipv6.ts';
import { Printer } from '../../../src/sink/tcpdump/printer.ts';

const ICMPV6 = 58;
const ROUTER_ADVERTISEMENT = 134;
const DNSSL = 31;

function text(packet: Uint8Array, captured: number, verbose: boolean): string {
  const p = new Printer(packet, captured, new Conversations(), verbose);
  return p.finish(() => printIpv6(p, 0, packet.length));
}

function ipv6(nextHeader: number, payload: readonly number[], payloadLength = payload.length): Uint8Array {
  const header = [0x60, 0, 0, 0, payloadLength >> 8, payloadLength & 0xff, nextHeader, 64];
  return Uint8Array.from([...header, ...Buffer.alloc(32, 0x20), ...payload]);
}

const octet = fc.integer({ min: 0, max: 255 });
/** Small numbers are what lengths and options are made of. */
const octets = fc.array(fc.oneof(octet, fc.integer({ min: 0, max: 4 })), { maxLength: 200 });
const extensionHeader = fc.constantFrom(0, 43, 44, 51, 60);
const type = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 127, max: 161 }), octet);

const packets = fc.oneof(
  fc.tuple(type, octets).map(([first, rest]) => ipv6(ICMPV6, [first, ...rest])),
  fc.tuple(extensionHeader, octets).map(([first, rest]) => ipv6(first, rest)),
  fc
    .tuple(extensionHeader, extensionHeader, type, octets)
    .map(([first, second, message, rest]) =>
      ipv6(first, [second, 0, 0, 0, 0, 0, 0, 0, ICMPV6, 0, 4, 0, 0, 0, 0, 0, message, ...rest]),
    ),
  fc
    .tuple(fc.integer({ min: 0, max: 0xffff }), type, octets)
    .map(([length, first, rest]) => ipv6(ICMPV6, [first, ...rest], length)),
);

test('any octets give printable text, made of those that were captured', () => {
  fc.assert(
    fc.property(packets, fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), (packet, share, verbose) => {
      const captured = Math.round(packet.length * share);
      const printed = text(packet, captured, verbose);
      expect(printed).toMatch(/^[\n\t\x20-\x7e]*$/);
      const others = Uint8Array.from(packet, (value, at) => (at < captured ? value : ~value));
      expect(text(others, captured, verbose)).toBe(printed);
    }),
    { numRuns: 2000 },
  );
});

/** An option with a name of `labels` labels, and as many pointers to the first such name as there is room for. */
function names(labels: number): number[] {
  const option = [DNSSL, 255, 0, 0, 0, 0, 0, 0];
  for (let label = 0; label < labels; label++) option.push(1, 0x61);
  option.push(0);
  while (option.length < 255 * 8 - 1) option.push(0xc0, 8);
  return [...option, 0];
}

test('domain names that are pointed to again and again take no time, and are printed up to a bound', () => {
  const options = Array.from({ length: 8 }, () => names(500)).flat();
  const packet = ipv6(ICMPV6, [ROUTER_ADVERTISEMENT, ...Buffer.alloc(15), ...options]);
  const started = performance.now();
  const { length } = text(packet, packet.length, true);
  expect(performance.now() - started).toBeLessThan(3000);
  expect(length).toBeGreaterThan(10_000);
  expect(length).toBeLessThan(1_000_000);
});
