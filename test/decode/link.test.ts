import { describe, expect, test } from 'vitest';
import { ipOffset, isSupportedLinkType, linkHeader } from '../../src/decode/link.ts';

const MACS = '02005e00530102005e005302';
const SLL = '0000 0001 0006 02005e0053010000';
const SLL2_AFTER_PROTOCOL = '0000 00000007 0001 00 06 02005e0053010000';
/** A PPPoE session's header; of the length it is no matter here. */
const PPPOE = '1100 0011 002a';

/** The headers before the IP header, and the IP version that they announce. */
const HEADERS: [name: string, linkType: number, header: string, version: 4 | 6][] = [
  ['Ethernet, IPv4', 1, `${MACS} 0800`, 4],
  ['Ethernet, IPv6', 1, `${MACS} 86dd`, 6],
  ['Ethernet, VLAN', 1, `${MACS} 8100 0064 0800`, 4],
  ['Ethernet, QinQ', 1, `${MACS} 88a8 0064 8100 0065 86dd`, 6],
  ['Ethernet, old QinQ', 1, `${MACS} 9100 0064 8100 0065 0800`, 4],
  ['Ethernet, four tags', 1, `${MACS} 88a80001 88a80002 81000003 81000004 0800`, 4],
  ['Ethernet, five tags', 1, `${MACS} 88a80001 91000002 92000003 81000004 81000005 86dd`, 6],
  ['Ethernet, twenty tags of all kinds', 1, `${MACS} ${'81000001 88a80002 91000003 92000004 '.repeat(5)} 0800`, 4],
  ['Ethernet, PPPoE', 1, `${MACS} 8864 ${PPPOE} 0021`, 4],
  [
    'Ethernet, PPPoE by an old number, in a VLAN, the protocol in one octet',
    1,
    `${MACS} 8100 0064 3c13 ${PPPOE} 57`,
    6,
  ],
  ['LINUX_SLL', 113, `${SLL} 0800`, 4],
  ['LINUX_SLL, VLAN', 113, `${SLL} 8100 0064 86dd`, 6],
  ['LINUX_SLL, QinQ', 113, `${SLL} 88a8 0064 8100 0065 86dd`, 6],
  ['LINUX_SLL, PPPoE', 113, `${SLL} 8864 ${PPPOE} 0021`, 4],
  ['LINUX_SLL2', 276, `0800 ${SLL2_AFTER_PROTOCOL}`, 4],
  ['LINUX_SLL2, VLAN', 276, `8100 ${SLL2_AFTER_PROTOCOL} 0064 86dd`, 6],
  ['LINUX_SLL2, QinQ', 276, `88a8 ${SLL2_AFTER_PROTOCOL} 0064 8100 0065 0800`, 4],
  ['PPP', 9, 'ff03 0021', 4],
  ['PPP without address and control', 9, '0057', 6],
  ['PPP, the protocol in one octet', 9, 'ff03 57', 6],
  ['PPP, the protocol in one octet alone', 9, '21', 4],
  ['PPP, an EtherType', 9, 'ff03 86dd', 6],
  ['PPP_PPPD, received', 166, '0003 0021', 4],
  ['PPP_PPPD, sent', 166, '0103 0057', 6],
  ['PPP_HDLC', 50, 'ff03 0021', 4],
  ['PPP_HDLC, Cisco', 50, '0f00 86dd', 6],
  ['PPP_HDLC, Cisco, broadcast', 50, '8f00 0800', 4],
  ['PPP_ETHER', 51, `${PPPOE} 0021`, 4],
  ['PPP_ETHER, address and control', 51, `${PPPOE} ff03 0057`, 6],
  ['C_HDLC', 104, '0f00 0800', 4],
  ['NULL, IPv4, little-endian', 0, '02000000', 4],
  ['NULL, IPv4, big-endian', 0, '00000002', 4],
  ['NULL, IPv6 of Linux', 0, '0a000000', 6],
  ['NULL, IPv6 of NetBSD', 0, '18000000', 6],
  ['NULL, IPv6 of FreeBSD, big-endian', 0, '0000001c', 6],
  ['NULL, IPv6 of macOS', 0, '1e000000', 6],
  ['LOOP, IPv4', 108, '00000002', 4],
  ['LOOP, little-endian', 108, '02000000', 4],
  ['LOOP, IPv6', 108, '0000001e', 6],
  ['RAW, IPv4', 101, '', 4],
  ['RAW, IPv6', 101, '', 6],
  ['RAW of old BSDs', 12, '', 4],
  ['RAW of OpenBSD', 14, '', 6],
  ['IPV4', 228, '', 4],
  ['IPV6', 229, '', 6],
];

function octets(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

describe.each(HEADERS)('%s', (_name, linkType, hex, version) => {
  const header = octets(hex);
  const BEFORE = 3;
  const at = BEFORE + header.length;
  const packet = Buffer.concat([Buffer.alloc(BEFORE, 0x45), header, Buffer.alloc(40, version << 4)]);

  test('the IP header is found where it starts', () => {
    expect(ipOffset(packet, BEFORE, packet.length, linkType)).toBe(at);
    expect(ipOffset(packet, BEFORE, at + 1, linkType)).toBe(at);
    expect(isSupportedLinkType(linkType)).toBe(true);
  });

  test('cut anywhere before its first octet: none, though octets stand behind the end', () => {
    for (let end = BEFORE; end <= at; end++) expect(ipOffset(packet, BEFORE, end, linkType)).toBe(-1);
  });

  test('a version nibble of neither is not IP', () => {
    packet[at] = 0x55;
    expect(ipOffset(packet, BEFORE, packet.length, linkType)).toBe(-1);
  });

  test('nor is one that the link layer did not announce; LINKTYPE_RAW and its like announce none', () => {
    packet[at] = version === 4 ? 0x60 : 0x45;
    const announcesNone = hex === '';
    expect(ipOffset(packet, BEFORE, packet.length, linkType)).toBe(announcesNone ? at : -1);
  });
});

test.each([
  ['ARP', 1, `${MACS} 0806`],
  ['an IEEE 802.3 length', 1, `${MACS} 0045`],
  ['a tag in front of ARP', 1, `${MACS} 8100 0064 0806`],
  ['LINUX_SLL, 802.2', 113, `${SLL} 0004`],
  ['LINUX_SLL2, ARP', 276, `0806 ${SLL2_AFTER_PROTOCOL}`],
  ['NULL, AppleTalk', 0, '10000000'],
  ['PPPoE discovery', 1, `${MACS} 8863 1109 0000 002a 0021`],
  ['PPPoE, LCP', 1, `${MACS} 8864 ${PPPOE} c021`],
  ['PPP, LCP', 9, 'ff03 c021'],
  ['PPP_HDLC leaves no address out', 50, '0021'],
  ['PPP_HDLC has two octets of protocol', 50, 'ff03 21'],
  ['C_HDLC, SLARP', 104, '0f00 8035'],
])('%s is not IP', (_name, linkType, hex) => {
  const packet = Buffer.concat([octets(hex), Buffer.alloc(40, 0x45)]);
  expect(ipOffset(packet, 0, packet.length, linkType)).toBe(-1);
});

test('link types that are not decoded', () => {
  for (const linkType of [2, 13, 105, 127, 147, 65_535]) expect(isSupportedLinkType(linkType)).toBe(false);
});

test('the cooked headers tell direction and interface', () => {
  const sll2 = octets(`86dd 0000 fffffffe 0001 04 06 02005e0053010000`);
  expect(linkHeader(sll2, 0, 20, 276, 60)).toEqual({
    packetType: 4,
    interfaceIndex: 0xffff_fffe,
    encapsulation: '',
    wireEnd: 60,
  });
  expect(linkHeader(octets(`0004 0001 0006 02005e0053010000 0800`), 0, 16, 113, 56)).toBeNull();
  expect(linkHeader(octets(`${MACS} 0800`), 0, 14, 1, 54)).toBeNull();
});
