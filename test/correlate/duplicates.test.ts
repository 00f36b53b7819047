import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { copyKey, Duplicates } from '../../src/correlate/duplicates.ts';
import { ipOffset } from '../../src/decode/link.ts';
import { isMalformed } from '../../src/decode/octets.ts';
import { decodePacket, findIcmp, type IcmpPacket } from '../../src/decode/packet.ts';
import type { UdpTuple } from '../../src/host/udp-tuple.ts';
import { SavefileReader } from '../../src/savefile/reader.ts';
import { FIXTURES } from '../command.ts';

interface Sighting {
  key: number;
  interfaceName: string;
  seconds: number;
}

interface Shape {
  undoNat?: (tuple: UdpTuple) => UdpTuple;
  /** As if a router had set the identification of the packets to 0. */
  withoutIdentification?: boolean;
}

/** The ICMP errors of a fixture; where it records no names, LINUX_SLL2's interface index stands for them. */
function sightings(
  name: string,
  { undoNat = (tuple) => tuple, withoutIdentification = false }: Shape = {},
): Sighting[] {
  const found: Sighting[] = [];
  const reader = new SavefileReader({
    packet({ bytes, offset, caplen, iface, seconds, nanoseconds }) {
      const end = offset + caplen;
      if (findIcmp(bytes, offset, end, iface.linkType, true) === -1) return;
      const decoded = decodePacket(bytes, ipOffset(bytes, offset, end, iface.linkType), end);
      if (isMalformed(decoded)) return;
      const packet: IcmpPacket = withoutIdentification
        ? { ...decoded, ip: { ...decoded.ip, identification: 0 } }
        : decoded;
      const interfaceName = iface.name ?? String(bytes[offset + 7]);
      found.push({ key: copyKey(bytes, packet, undoNat), interfaceName, seconds: seconds + nanoseconds / 1e9 });
    },
  });
  reader.push(readFileSync(FIXTURES + name));
  reader.end();
  // dumpcap's threads, one for each interface, do not write in the order of time; a capture on any does.
  return found.toSorted((a, b) => a.seconds - b.seconds);
}

function eventsOf(packets: readonly Sighting[]): string[][] {
  const duplicates = new Duplicates();
  return packets
    .map(({ key, interfaceName, seconds }) => duplicates.see(key, interfaceName, seconds))
    .filter((event) => event !== null);
}

describe('copies of a packet', () => {
  test.each([
    ['behind MASQUERADE', 'nat-masquerade-two-interfaces.pcapng'],
    ['behind MASQUERADE, on any', 'nat-masquerade-sll2.pcap'],
    ['behind DNAT, on any', 'nat-dnat-sll2.pcap'],
    ['forwarded as they are, v4 and v6', 'forwarded-two-interfaces.pcapng'],
  ])('%s: one event for both interfaces', (_, name) => {
    const packets = sightings(name);
    const events = eventsOf(packets);
    expect(packets.length).toBeGreaterThan(1);
    expect(events).toHaveLength(packets.length / 2);
    for (const interfaces of events) expect(new Set(interfaces).size).toBe(2);
  });

  test('behind MASQUERADE, without an identification: told by what conntrack says', () => {
    const shape = { withoutIdentification: true };
    const name = 'nat-masquerade-two-interfaces.pcapng';
    const packets = sightings(name, shape);
    expect(eventsOf(packets)).toHaveLength(packets.length);
    const inside = {
      version: 4,
      local: '203.0.113.2',
      localPort: 40_000,
      remote: '192.0.2.20',
      remotePort: 9999,
    } as const;
    const undoNat = (tuple: UdpTuple): UdpTuple => (tuple.local === '192.0.2.1' ? inside : tuple);
    expect(eventsOf(sightings(name, { ...shape, undoNat }))).toHaveLength(packets.length / 2);
  });

  test.each(['port-unreachable-sll2.pcap', 'port-unreachable-v6-sll2.pcap', 'injected-codes.pcap'])(
    '%s: on one interface nothing is a copy',
    (name) => {
      const packets = sightings(name);
      expect(eventsOf(packets)).toHaveLength(packets.length);
    },
  );
});

describe('equal packets', () => {
  const see = (duplicates: Duplicates, interfaceName: string, seconds = 0): string[] | null =>
    duplicates.see(1, interfaceName, seconds);

  test('are as many events as the largest number on any one interface', () => {
    const duplicates = new Duplicates();
    const first = see(duplicates, 'eth0');
    expect(see(duplicates, 'br0')).toBeNull();
    const second = see(duplicates, 'eth0');
    expect(see(duplicates, 'br0')).toBeNull();
    expect(see(duplicates, 'veth1')).toBeNull();
    const third = see(duplicates, 'eth0');
    expect([first, second, third]).toEqual([['eth0', 'br0', 'veth1'], ['eth0', 'br0'], ['eth0']]);
  });

  test('apart in time are other packets, on the same interface and on another', () => {
    const duplicates = new Duplicates();
    for (const interfaceName of ['eth0', 'eth1', 'eth0']) {
      for (let second = 0; second < 10; second++)
        expect(see(duplicates, interfaceName, second)).toEqual([interfaceName]);
    }
  });

  test('are told apart also when the clock is set back', () => {
    const duplicates = new Duplicates();
    see(duplicates, 'eth0', 1000);
    expect(see(duplicates, 'br0', 3)).not.toBeNull();
    expect(see(duplicates, 'eth0', 3)).toBeNull();
  });

  test('in a storm are events and copies by turns', () => {
    const duplicates = new Duplicates();
    for (let n = 0; n < 5000; n++) {
      expect(see(duplicates, 'eth0', n / 1e5)).not.toBeNull();
      expect(see(duplicates, 'br0', n / 1e5)).toBeNull();
    }
  });
});
