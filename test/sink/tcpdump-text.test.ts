/**
 * What a comparison with tcpdump (test/parity) cannot see.
 */
import { expect, test } from 'vitest';
import { linkHeader } from '../../src/decode/link.ts';
import { isMalformed } from '../../src/decode/octets.ts';
import { decodePacket, findIcmp } from '../../src/decode/packet.ts';
import { tcpdumpLine } from '../../src/sink/tcpdump-text.ts';
import { generated } from '../parity/generate.ts';
import { LINKS } from '../parity/links.ts';
import { icmpv4Packet, octets } from '../parity/packets.ts';

/** The line for the packet in bytes[offset, end), or null where it is none of ours. */
function lineOf(
  bytes: Uint8Array,
  [offset, end]: [number, number],
  linkType: number,
  name: string | null,
): string | null {
  const at = findIcmp(bytes, offset, end, linkType, false);
  if (at === -1) return null;
  const packet = decodePacket(bytes, at, end);
  if (isMalformed(packet)) return null;
  return tcpdumpLine(bytes, packet, end, linkHeader(bytes, offset, at, linkType, end), name);
}

test.each([
  ['eth0', 'eth0  In  IP 172'],
  ['a-longer-name', 'a-longer-name In  IP 172'],
  [null, '?     In  IP 172'],
  ['', '      In  IP 172'],
  ['e\u001b[1m\n', 'e\\x1b[1m\\x0a In  IP 172'],
])('the interface name %j that the capture recorded', (name, start) => {
  const link = LINKS.find(({ name: kind }) => kind.startsWith('SLL2, packet type 0'))!;
  const bytes = link.frame(icmpv4Packet(8, 0, 1, octets(8)));
  expect(lineOf(bytes, [0, bytes.length], link.linkType, name)?.slice(0, start.length)).toBe(start);
});

test('no octet before or behind the packet is looked at', () => {
  let lines = 0;
  for (const { data, linkType } of generated()) {
    const alone = lineOf(data, [0, data.length], linkType, null);
    const among = Buffer.alloc(data.length + 512, lines % 2 === 0 ? 0xff : 0x01);
    among.set(data, 256);
    expect(lineOf(among, [256, 256 + data.length], linkType, null)).toBe(alone);
    if (alone !== null) lines++;
  }
  expect(lines).toBeGreaterThan(50_000);
});
