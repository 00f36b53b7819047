/**
 * IP packets in the frames of the link types.
 */
import { LINKTYPE } from '../../src/decode/link.ts';
import { be16, be32, hex, u8 } from './packets.ts';

export interface Link {
  name: string;
  linkType: number;
  frame(packet: Buffer): Buffer;
}

function isV6(packet: Buffer): boolean {
  return packet[0]! >> 4 === 6;
}

function etherType(packet: Buffer): Buffer {
  return be16(isV6(packet) ? 0x86dd : 0x0800);
}

const ADDRESSES = hex('0242ac110003 0242ac110002');

function link(name: string, linkType: number, header: (packet: Buffer) => Buffer): Link {
  return { name, linkType, frame: (packet) => Buffer.concat([header(packet), packet]) };
}

/** `tags` stand before the type. */
function ethernet(name: string, ...tags: number[]): Link {
  return link(name, LINKTYPE.ETHERNET, (packet) => Buffer.concat([ADDRESSES, be16(...tags), etherType(packet)]));
}

/** `header` stands in place of the type. */
function tunnel(name: string, header: string, header6: string): Link {
  return link(name, LINKTYPE.ETHERNET, (packet) => Buffer.concat([ADDRESSES, hex(isV6(packet) ? header6 : header)]));
}

/** LINUX_SLL2; `packetType` as in if_packet.h, interface 1 is lo everywhere. */
function cooked2(packetType: number, index: number): Link {
  return link(`SLL2, packet type ${packetType}, interface ${index}`, LINKTYPE.LINUX_SLL2, (packet) =>
    Buffer.concat([etherType(packet), be16(0), be32(index), be16(1), u8(packetType, 6), hex('0242ac110003 0000')]),
  );
}

/** `tags` as in `ethernet`. */
function cooked(packetType: number, ...tags: number[]): Link {
  const name = `SLL, packet type ${packetType}, ${tags.length / 2} tags from ${tags[0] ?? 0}`;
  return link(name, LINKTYPE.LINUX_SLL, (packet) =>
    Buffer.concat([be16(packetType, 1, 6), hex('0242ac110003 0000'), be16(...tags), etherType(packet)]),
  );
}

const cooked2Tagged = link('SLL2, VLAN', LINKTYPE.LINUX_SLL2, (packet) =>
  Buffer.concat([be16(0x8100, 0), be32(1), be16(1), u8(0, 6), hex('0242ac110003 0000 0064'), etherType(packet)]),
);

function family(name: string, linkType: number, inet6: number, order: 'LE' | 'BE'): Link {
  return link(name, linkType, (packet) => {
    const header = Buffer.alloc(4);
    header[order === 'LE' ? 'writeUInt32LE' : 'writeUInt32BE'](isV6(packet) ? inet6 : 2);
    return header;
  });
}

export const ETHERNET = ethernet('Ethernet');

/** With frames that are padded to Ethernet's minimum, as they are on the wire. */
export const PADDED_ETHERNET: Link = {
  ...ETHERNET,
  name: 'Ethernet, padded',
  frame(packet) {
    const frame = ETHERNET.frame(packet);
    return Buffer.concat([frame, Buffer.alloc(Math.max(0, 60 - frame.length), 0xee)]);
  },
};

export const LINKS: readonly Link[] = [
  ETHERNET,
  PADDED_ETHERNET,
  ethernet('VLAN', 0x8100, 0x0064),
  ethernet('VLAN with priority and DEI', 0x8100, 0xb064),
  ethernet('VLAN 0', 0x8100, 0x6000),
  ethernet('QinQ', 0x88a8, 0x0064, 0x8100, 0x0065),
  ethernet('old QinQ', 0x9100, 0x0064, 0x8100, 0x0065),
  ethernet('VLAN in VLAN', 0x8100, 0x0064, 0x8100, 0x0065),
  ethernet('five tags', 0x88a8, 1, 0x8100, 2, 0x8100, 3, 0x8100, 4, 0x8100, 5),
  ethernet('QinQ, 0x9200', 0x9200, 0x0064),
  ethernet('QinQ, 0x9300', 0x9300, 0x0064),
  tunnel('MPLS', '8847 00010140', '8847 00002140'),
  tunnel('PPPoE', '8864 1100 0007 0055 0021', '8864 1100 0007 0055 0057'),
  tunnel('SNAP', '0055 aaaa03 000000 0800', '0055 aaaa03 000000 86dd'),
  cooked(0),
  cooked(4),
  cooked(0, 0x8100, 0x0064),
  cooked(0, 0x8100, 0x0064, 0x8100, 0x0065),
  cooked(0, 0x88a8, 0x0064, 0x8100, 0x0065),
  cooked2Tagged,
  ...[0, 1, 2, 3, 4, 5, 6, 7, 255].map((packetType) => cooked2(packetType, 1)),
  cooked2(0, 0),
  cooked2(4, 99_999),
  ...[10, 24, 28, 30, 23].map((inet6) => family(`NULL, AF_INET6 ${inet6}`, LINKTYPE.NULL, inet6, 'LE')),
  family('NULL, big endian', LINKTYPE.NULL, 30, 'BE'),
  ...[10, 24, 28, 30].map((inet6) => family(`LOOP, AF_INET6 ${inet6}`, LINKTYPE.LOOP, inet6, 'BE')),
  family('LOOP, little endian', LINKTYPE.LOOP, 24, 'LE'),
  link('RAW', LINKTYPE.RAW, () => Buffer.alloc(0)),
  link('IPV4', LINKTYPE.IPV4, () => Buffer.alloc(0)),
  link('IPV6', LINKTYPE.IPV6, () => Buffer.alloc(0)),
];
