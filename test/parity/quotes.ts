/**
 * What ICMP errors quote: datagrams of all protocols, sound and unsound.
 */
import {
  authenticationHeader,
  be16,
  be32,
  extensionHeader,
  fragmentHeader,
  hex,
  HOST,
  HOST6,
  icmpv4,
  icmpv6,
  ipv4,
  ipv6,
  octets,
  option,
  option6,
  PEER,
  PEER6,
  ROUTER,
  sctp,
  sctpChunk,
  tcp,
  u8,
  udp,
  v4,
  v6,
  type Ends,
  type Ipv4Fields,
} from './packets.ts';
import { QUOTED_TRANSPORTS } from './quotes-transport.ts';

export type Named = readonly [name: string, packet: Buffer];

/** `example.com`, A. */
export const DNS_QUERY = hex('1234 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001');
export const NTP_QUERY = Buffer.concat([hex('23 02 0a 00'), Buffer.alloc(44)]);

const TCP_OPTIONS: readonly Named[] = [
  ['none', Buffer.alloc(0)],
  ['of a SYN', Buffer.concat([option(2, be16(1460)), u8(4, 2), option(8, be32(1000, 0)), u8(1), option(3, u8(7))])],
  ['SACK', Buffer.concat([u8(1, 1), option(5, be32(100, 200))])],
  ['two SACKs', Buffer.concat([u8(1, 1), option(5, be32(305_419_900, 305_419_950, 1, 0xffff_ffff))])],
  ['SACK of a bad length', Buffer.concat([u8(1, 1), option(5, be32(100))])],
  ['MSS of a bad length', option(2, u8(5))],
  ['option that is too long', option(254, u8(1, 2), 40)],
  ['option of length 0', u8(2, 0, 1, 1)],
  ['option of length 1', u8(8, 1, 1, 1)],
  ['MD5', Buffer.concat([option(19, octets(16)), u8(1, 1)])],
  ['authentication option', option(29, octets(14))],
  ['user timeout', option(28, be16(0x8005))],
  ['multipath capable', option(30, Buffer.concat([u8(0x00, 0x81), octets(8, 1)]))],
  ['fast open request', u8(34, 2, 1, 1)],
  ['fast open cookie', option(34, octets(8))],
  ['experiment', option(254, hex('f989 0102'))],
  ['experiment 253', option(253, hex('0348 0102'))],
  ['unknown option', option(77, octets(4))],
  ['end and then more', u8(0, 2, 4, 5)],
  ['echo', Buffer.concat([option(6, be32(1)), option(7, be32(2))])],
  ['connection count', Buffer.concat([option(11, be32(1)), option(12, be32(2)), option(13, be32(3))])],
  ['skeeter and others', Buffer.concat([u8(16, 2, 17, 2), option(18, u8(1)), option(14, u8(2)), option(15, u8(3, 4))])],
];

/** TCP segments from every flag to every option. */
function segments(ends: Ends): Named[] {
  const list: Named[] = [];
  for (const flags of [
    0, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x100, 0x12, 0x14, 0x18, 0x11, 0xc2, 0xff, 0x1ff, 0xe00,
  ]) {
    const fields = { flags, ack: flags === 0x02 ? 0 : 7, urgent: (flags & 0x20) === 0 ? 0 : 3 };
    list.push([`TCP, flags ${flags}`, tcp(ends, Buffer.alloc(0), fields)]);
  }
  for (const [name, options] of TCP_OPTIONS)
    list.push([`TCP, options: ${name}`, tcp(ends, Buffer.alloc(0), { options })]);
  list.push(
    ['TCP with payload', tcp(ends, octets(30), { flags: 0x18, ack: 9, dport: 50_000 })],
    ['TCP SYN with payload', tcp(ends, octets(30), { dport: 50_000 })],
    ['TCP RST with payload', tcp(ends, Buffer.from('no such port'), { flags: 0x14, dport: 50_000 })],
    ['TCP to port 53', tcp(ends, Buffer.concat([be16(DNS_QUERY.length), DNS_QUERY]), { flags: 0x18, dport: 53 })],
    ['TCP to port 80', tcp(ends, Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), { flags: 0x18, dport: 80 })],
    ['TCP to port 179', tcp(ends, Buffer.concat([octets(16, 255), hex('001304')]), { flags: 0x18, dport: 179 })],
    ['TCP, wrong checksum', tcp(ends, octets(5), { checksum: 0x1234 })],
    ['TCP, checksum 0', tcp(ends, octets(5), { checksum: 0 })],
    ['TCP, header of 4 words', tcp(ends, octets(5), { headerWords: 4 })],
    ['TCP, header of 0 words', tcp(ends, octets(5), { headerWords: 0 })],
    ['TCP, header of 15 words', tcp(ends, octets(5), { headerWords: 15 })],
    ['TCP, 19 octets', tcp(ends, Buffer.alloc(0)).subarray(0, 19)],
    ['TCP, 8 octets', tcp(ends, Buffer.alloc(0)).subarray(0, 8)],
    ['TCP, 3 octets', tcp(ends, Buffer.alloc(0)).subarray(0, 3)],
  );
  return list;
}

function datagrams(ends: Ends): Named[] {
  return [
    ['UDP', udp(ends, octets(29))],
    ['UDP without payload', udp(ends, Buffer.alloc(0))],
    ['UDP, odd payload', udp(ends, octets(3))],
    ['UDP, wrong checksum', udp(ends, octets(29), { checksum: 0xbeef })],
    ['UDP, no checksum', udp(ends, octets(29), { checksum: 0 })],
    ['UDP, length 0', udp(ends, octets(29), { length: 0 })],
    ['UDP, length 7', udp(ends, octets(29), { length: 7 })],
    ['UDP, length 8', udp(ends, octets(29), { length: 8 })],
    ['UDP, length too great', udp(ends, octets(29), { length: 500 })],
    ['UDP, length too small', udp(ends, octets(29), { length: 20 })],
    ['UDP, 8 of 1400 octets', udp(ends, octets(1400)).subarray(0, 8)],
    ['UDP, 7 octets', udp(ends, octets(29)).subarray(0, 7)],
    ['UDP, 4 octets', udp(ends, octets(29)).subarray(0, 4)],
    ['UDP, 3 octets', udp(ends, octets(29)).subarray(0, 3)],
    ['UDP, 0 octets', Buffer.alloc(0)],
    ['UDP to port 0', udp(ends, octets(9), { sport: 0, dport: 0 })],
    ...[
      7, 19, 53, 67, 69, 111, 123, 137, 138, 161, 319, 389, 443, 500, 514, 520, 623, 1194, 1701, 1812, 3784, 4500, 4789,
      5353, 6081,
    ].map((dport): Named => [`UDP to port ${dport}`, udp(ends, dport === 123 ? NTP_QUERY : DNS_QUERY, { dport })]),
    ['UDP from port 53', udp(ends, DNS_QUERY, { sport: 53 })],
    ['UDP, DNS that is cut', udp(ends, DNS_QUERY, { dport: 53 }).subarray(0, 20)],
  ];
}

const SCTP_DATA = Buffer.concat([be32(1), be16(2, 3), be32(46), octets(12)]);
const SCTP_INIT = Buffer.concat([be32(0x1111_2222, 65_535), be16(10, 2048), be32(99), be16(0x000c, 6, 5, 0)]);

const OTHERS: readonly (readonly [name: string, protocol: number, payload: Buffer])[] = [
  ['SCTP, INIT', 132, sctp(sctpChunk(1, 0, SCTP_INIT))],
  ['SCTP, INIT ACK', 132, sctp(sctpChunk(2, 0, SCTP_INIT))],
  ['SCTP, DATA', 132, sctp(sctpChunk(0, 3, SCTP_DATA))],
  ['SCTP, two DATA', 132, sctp(sctpChunk(0, 2, SCTP_DATA), sctpChunk(0, 7, SCTP_DATA))],
  ['SCTP, SACK', 132, sctp(sctpChunk(3, 0, Buffer.concat([be32(7, 1000), be16(1, 1, 2, 3), be32(9)])))],
  ['SCTP, HEARTBEAT', 132, sctp(sctpChunk(4, 0, Buffer.concat([be16(1, 12), octets(8)])))],
  ['SCTP, ABORT', 132, sctp(sctpChunk(6, 1, Buffer.concat([be16(12, 8), Buffer.from('bye!')])))],
  ['SCTP, SHUTDOWN', 132, sctp(sctpChunk(7, 0, be32(8)))],
  ['SCTP, ERROR', 132, sctp(sctpChunk(9, 0, be16(1, 8, 5, 0)))],
  ['SCTP, COOKIE', 132, sctp(sctpChunk(10, 0, octets(9)), sctpChunk(11, 0, Buffer.alloc(0)))],
  ['SCTP, ECN echo', 132, sctp(sctpChunk(12, 0, be32(8)), sctpChunk(13, 0, be32(9)))],
  ['SCTP, SHUTDOWN COMPLETE', 132, sctp(sctpChunk(8, 0, Buffer.alloc(0)), sctpChunk(14, 1, Buffer.alloc(0)))],
  ['SCTP, FORWARD TSN', 132, sctp(sctpChunk(192, 0, Buffer.concat([be32(8), be16(1, 2)])))],
  ['SCTP, ASCONF', 132, sctp(sctpChunk(193, 0, Buffer.concat([be32(8), be16(5, 8), v4(HOST)])))],
  ['SCTP, unknown chunk', 132, sctp(sctpChunk(99, 0, octets(6)))],
  ['SCTP, chunk of length 0', 132, sctp(sctpChunk(0, 3, SCTP_DATA, 0))],
  ['SCTP, chunk too long', 132, sctp(sctpChunk(1, 0, SCTP_INIT, 500))],
  ['SCTP, chunk too short', 132, sctp(sctpChunk(1, 0, SCTP_INIT, 10))],
  ['SCTP, header alone', 132, sctp()],
  ['SCTP, 8 octets', 132, sctp().subarray(0, 8)],
  ['SCTP, 3 octets', 132, sctp().subarray(0, 3)],
  ['DCCP, request', 33, Buffer.concat([be16(1000, 2000), hex('05 00 beef 00 000001'), octets(12)])],
  ['DCCP, long numbers', 33, Buffer.concat([be16(1000, 2000), hex('06 00 beef 01 000001'), octets(20)])],
  ['DCCP, data', 33, Buffer.concat([be16(1000, 2000), hex('04 00 beef 04 000001'), octets(12)])],
  ['DCCP, 8 octets', 33, Buffer.concat([be16(1000, 2000), hex('05 00 beef')])],
  ['UDP-Lite', 136, Buffer.concat([be16(1000, 2000, 8, 0xbeef), octets(9)])],
  ['GRE', 47, Buffer.concat([hex('0000 0800'), ipv4(17, udp({ src: HOST, dst: PEER }, octets(9)))])],
  ['GRE with key and number', 47, Buffer.concat([hex('3000 0800'), be32(7, 8), ipv4(1, icmpv4(8, 0, 1, octets(8)))])],
  ['GRE, PPTP', 47, Buffer.concat([hex('3001 880b 0008 0001'), be32(7), octets(8)])],
  ['GRE, Ethernet', 47, Buffer.concat([hex('0000 6558'), octets(14)])],
  ['GRE, 3 octets', 47, hex('000008')],
  ['GRE, version 5', 47, hex('0005 0800 01020304')],
  ['ESP', 50, Buffer.concat([be32(0xabcd, 5), octets(24)])],
  ['ESP, 7 octets', 50, octets(7)],
  [
    'AH, UDP',
    51,
    Buffer.concat([u8(17), authenticationHeader().subarray(1), udp({ src: HOST, dst: PEER }, octets(9))]),
  ],
  ['AH, ICMP', 51, Buffer.concat([u8(1), authenticationHeader().subarray(1), icmpv4(8, 0, 1, octets(8))])],
  ['AH, 8 octets', 51, authenticationHeader().subarray(0, 8)],
  ['IPIP', 4, ipv4(17, udp({ src: HOST, dst: PEER }, octets(9)), { src: HOST, dst: PEER })],
  ['IPv6 in it', 41, ipv6(17, udp({ src: HOST6, dst: PEER6 }, octets(9)), { src: HOST6, dst: PEER6 })],
  ['IPComp', 108, hex('11 00 0003 01020304')],
  ['IGMP', 2, hex('16 00 f9ff e0000005')],
  ['OSPF', 89, Buffer.concat([hex('0201 0018'), v4(HOST), be32(0), be16(0, 0), be32(0, 0)])],
  ['PIM', 103, hex('2000 dfff 00010002 0069')],
  ['VRRP', 112, Buffer.concat([hex('21 01 64 01 00 01 0000'), v4(HOST), be32(0, 0)])],
  ['RSVP', 46, hex('1001 0000 ff00 0008')],
  ['EIGRP', 88, Buffer.concat([hex('02050000'), octets(16)])],
  ['PGM', 113, Buffer.concat([be16(1, 2), hex('0000'), octets(10)])],
  ['L2TP', 115, octets(12)],
  ['MPLS', 137, hex('00010140 45000014')],
  ['no next header', 59, octets(4)],
  ['mobility', 135, hex('3b 00 00 00 0000 0000')],
  ['unknown protocol 200', 200, octets(12)],
  ['protocol 255', 255, octets(12)],
  ['protocol 0', 0, octets(12)],
];

const ENDS: Ends = { src: HOST, dst: PEER };
const ENDS6: Ends = { src: HOST6, dst: PEER6 };

function quotedIcmpv4(): Named[] {
  return [
    ['ICMP echo', icmpv4(8, 0, 0x0001_0002, octets(24))],
    ['ICMP echo reply', icmpv4(0, 0, 0x0001_0002, octets(24))],
    ['ICMP echo, wrong checksum', icmpv4(8, 0, 0x0001_0002, octets(24), 0xdead)],
    ['ICMP echo, 4 octets', icmpv4(8, 0, 0, octets(24)).subarray(0, 4)],
    ['ICMP error', icmpv4(3, 3, 0, ipv4(17, udp({ src: PEER, dst: HOST }, octets(29)), { src: PEER, dst: HOST }))],
    ['ICMP time stamp', icmpv4(13, 0, 0x0001_0002, be32(1, 2, 3))],
    ['ICMP time stamp reply', icmpv4(14, 0, 0x0001_0002, be32(1, 2, 3))],
    ['ICMP mask reply', icmpv4(18, 0, 0x0001_0002, be32(0xffff_ff00))],
    ['ICMP, type 200', icmpv4(200, 1, 2, octets(4))],
  ];
}

/** Options of IPv4 headers: RFC 791, 1108, 1393, 2113, 4782 and wrong ones. */
export const IPV4_OPTIONS: readonly Named[] = [
  ['end of options', u8(0)],
  ['no operation', u8(1, 1, 1, 1)],
  ['record route, empty', option(7, Buffer.concat([u8(4), Buffer.alloc(12)]))],
  ['record route, one', option(7, Buffer.concat([u8(8), v4(PEER), Buffer.alloc(8)]))],
  ['record route, full', option(7, Buffer.concat([u8(16), v4(PEER), v4(ROUTER), v4(HOST)]))],
  ['record route, pointer too small', option(7, Buffer.concat([u8(3), v4(PEER)]))],
  ['record route, pointer not aligned', option(7, Buffer.concat([u8(6), v4(PEER)]))],
  ['record route, pointer too great', option(7, Buffer.concat([u8(44), v4(PEER)]))],
  ['record route, odd length', option(7, Buffer.concat([u8(4), octets(6)]))],
  ['record route of length 2', option(7, Buffer.alloc(0))],
  ['record route of length 3', option(7, u8(4))],
  ['loose source route', option(131, Buffer.concat([u8(4), v4(PEER), v4(HOST)]))],
  ['loose source route, done', option(131, Buffer.concat([u8(12), v4(PEER), v4(HOST)]))],
  ['strict source route', option(137, Buffer.concat([u8(8), v4(PEER), v4(HOST)]))],
  ['source route of length 3', option(131, u8(4))],
  ['time stamps', option(68, Buffer.concat([u8(13, 0x00), be32(1000, 2000), be32(0)]))],
  ['time stamps, overflow', option(68, Buffer.concat([u8(13, 0x30), be32(1000, 2000)]))],
  ['time stamps with addresses', option(68, Buffer.concat([u8(13, 0x01), v4(PEER), be32(1000), v4(HOST), be32(0)]))],
  ['time stamps of given addresses', option(68, Buffer.concat([u8(5, 0x03), v4(PEER), be32(1000)]))],
  ['time stamps, flag 2', option(68, Buffer.concat([u8(5, 0x02), v4(PEER)]))],
  ['time stamps, not in milliseconds', option(68, Buffer.concat([u8(9, 0), be32(0x8000_0001)]))],
  ['time stamps, pointer too small', option(68, Buffer.concat([u8(4, 0), be32(1)]))],
  ['time stamps, pointer not aligned', option(68, Buffer.concat([u8(6, 0), be32(1)]))],
  ['time stamps of length 3', option(68, u8(5))],
  ['time stamps of length 4', option(68, u8(5, 0))],
  ['time stamps, odd length', option(68, Buffer.concat([u8(5, 1), octets(6)]))],
  ['security', option(130, octets(9))],
  ['extended security', option(133, octets(4))],
  ['stream id', option(136, be16(7))],
  ['router alert', option(148, be16(0))],
  ['router alert, value 5', option(148, be16(5))],
  ['router alert of length 3', option(148, u8(0))],
  ['traceroute', option(82, Buffer.concat([be16(1, 2, 3), v4(HOST)]))],
  ['quick start', option(25, hex('0807 00000000'))],
  ['experiment', option(158, octets(2))],
  ['unknown option', option(99, octets(5))],
  ['length 0', u8(7, 0, 1, 1)],
  ['length 1', u8(7, 1, 1, 1)],
  ['length too great', option(7, octets(2), 39)],
  ['type alone', u8(1, 1, 1, 7)],
  ['after the end', u8(0, 7, 7, 4)],
  ['two options', Buffer.concat([option(148, be16(0)), option(7, Buffer.concat([u8(4), Buffer.alloc(4)])), u8(1)])],
  ['forty octets', option(7, Buffer.concat([u8(40), octets(36, 10)]))],
];

function quotedIpv4(protocol: number, payload: Buffer, fields: Ipv4Fields = {}): Buffer {
  return ipv4(protocol, payload, { src: HOST, dst: PEER, ttl: 1, ...fields });
}

/** IPv4 packets as an ICMP error quotes them. */
export function quotesIpv4(): Named[] {
  const datagram = udp(ENDS, octets(29));
  const whole = quotedIpv4(17, datagram);
  return [
    ...datagrams(ENDS).map(([name, payload]): Named => [name, quotedIpv4(17, payload)]),
    // As routers quote: the header and eight octets.
    ['UDP, as RFC 792 has it', whole.subarray(0, 28)],
    ['TCP, as RFC 792 has it', quotedIpv4(6, tcp(ENDS, octets(100), { flags: 0x18, ack: 1 })).subarray(0, 28)],
    ...segments(ENDS).map(([name, payload]): Named => [name, quotedIpv4(6, payload)]),
    ...quotedIcmpv4().map(([name, payload]): Named => [name, quotedIpv4(1, payload)]),
    ['ICMPv6', quotedIpv4(58, icmpv6(ENDS6, 128, 0, 1, octets(8)))],
    ...[...OTHERS, ...QUOTED_TRANSPORTS].map(([name, protocol, payload]): Named => [
      name,
      quotedIpv4(protocol, payload),
    ]),
    ...IPV4_OPTIONS.map(([name, options]): Named => [
      `UDP behind options: ${name}`,
      quotedIpv4(17, datagram, { options }),
    ]),
    ['first fragment of UDP', quotedIpv4(17, datagram, { fragment: 0x2000 })],
    ['later fragment of UDP', quotedIpv4(17, datagram, { fragment: 0x00b9 })],
    ['middle fragment of UDP', quotedIpv4(17, datagram, { fragment: 0x20b9 })],
    ['later fragment of TCP', quotedIpv4(6, datagram, { fragment: 0x00b9 })],
    ['later fragment of ICMP', quotedIpv4(1, datagram, { fragment: 0x00b9 })],
    ['later fragment of protocol 200', quotedIpv4(200, datagram, { fragment: 0x00b9 })],
    ['all flags', quotedIpv4(17, datagram, { fragment: 0xe000 })],
    ['reserved flag', quotedIpv4(17, datagram, { fragment: 0x8000 })],
    ['no flags', quotedIpv4(17, datagram, { fragment: 0 })],
    ...[0, 1, 2, 3, 0x10, 0xb8, 0xff].map((tos): Named => [`TOS ${tos}`, quotedIpv4(17, datagram, { tos })]),
    ...[0, 1, 255].map((ttl): Named => [`TTL ${ttl}`, quotedIpv4(17, datagram, { ttl })]),
    ['wrong checksum', quotedIpv4(17, datagram, { checksum: 0x1234 })],
    ['checksum 0', quotedIpv4(17, datagram, { checksum: 0 })],
    ...[0, 19, 20, 21, 27, 28, 56, 58, 2000, 65_535].map((totalLength): Named => [
      `total length ${totalLength}`,
      quotedIpv4(17, datagram, { totalLength }),
    ]),
    ...[0, 4, 6, 10, 15].map((words): Named => [
      `header of ${words} words`,
      quotedIpv4(17, datagram, { headerWords: words }),
    ]),
    ...[0, 5, 6, 15].map((version): Named => [`version ${version}`, quotedIpv4(17, datagram, { version })]),
    ['an IPv6 packet', ipv6(17, udp(ENDS6, octets(29)), ENDS6)],
    ['nothing', Buffer.alloc(0)],
    ['one octet', whole.subarray(0, 1)],
    ['19 octets', whole.subarray(0, 19)],
    ['20 octets', whole.subarray(0, 20)],
    ['zeros', Buffer.alloc(28)],
  ];
}

/** Chains of IPv6 extension headers. */
export const IPV6_HEADERS: readonly (readonly [name: string, headers: readonly (readonly [number, Buffer])[]])[] = [
  ['hop-by-hop, PadN', [[0, extensionHeader(Buffer.alloc(0))]]],
  ['hop-by-hop, router alert', [[0, extensionHeader(option6(5, be16(0)))]]],
  ['hop-by-hop, router alert of length 4', [[0, extensionHeader(option6(5, be16(0), 4))]]],
  ['hop-by-hop, router alert of RSVP', [[0, extensionHeader(option6(5, be16(1)))]]],
  ['hop-by-hop, jumbo', [[0, extensionHeader(option6(0xc2, be32(70_000)))]]],
  ['hop-by-hop, unknown option', [[0, extensionHeader(option6(0x3e, octets(3)))]]],
  ['hop-by-hop, RPL option', [[0, extensionHeader(option6(0x63, octets(4)))]]],
  ['hop-by-hop, option too long', [[0, extensionHeader(option6(5, be16(0), 40))]]],
  ['hop-by-hop, Pad1s', [[0, extensionHeader(Buffer.alloc(6))]]],
  ['hop-by-hop, too long', [[0, extensionHeader(Buffer.alloc(6), 30)]]],
  ['hop-by-hop of 24 octets', [[0, extensionHeader(option6(0x1e, octets(20)))]]],
  ['destination options', [[60, extensionHeader(Buffer.alloc(0))]]],
  ['home address', [[60, extensionHeader(Buffer.concat([u8(1, 2, 0, 0), option6(0xc9, v6(PEER6))]))]]],
  ['tunnel encapsulation limit', [[60, extensionHeader(option6(4, u8(3)))]]],
  [
    'both options',
    [
      [0, extensionHeader(Buffer.alloc(0))],
      [60, extensionHeader(Buffer.alloc(0))],
    ],
  ],
  ['routing type 0', [[43, extensionHeader(Buffer.concat([u8(0, 1), be32(0), v6(PEER6)]))]]],
  ['routing type 0, none left', [[43, extensionHeader(Buffer.concat([u8(0, 0), be32(0), v6(PEER6)]))]]],
  ['routing type 2', [[43, extensionHeader(Buffer.concat([u8(2, 1), be32(0), v6(PEER6)]))]]],
  ['routing type 3, RPL', [[43, extensionHeader(Buffer.concat([u8(3, 1), be32(0), octets(16)]))]]],
  ['routing type 4, segments', [[43, extensionHeader(Buffer.concat([u8(4, 1, 1, 0), be16(7), v6(PEER6), v6(HOST6)]))]]],
  ['routing type 9', [[43, extensionHeader(Buffer.concat([u8(9, 1), be32(0)]))]]],
  ['routing type 0, odd length', [[43, extensionHeader(Buffer.concat([u8(0, 1), be32(0), octets(8)]))]]],
  ['routing, too long', [[43, extensionHeader(Buffer.concat([u8(0, 1), be32(0)]), 40)]]],
  ['atomic fragment', [[44, fragmentHeader(0, false)]]],
  ['first fragment', [[44, fragmentHeader(0, true)]]],
  ['later fragment', [[44, fragmentHeader(1448, false)]]],
  ['middle fragment', [[44, fragmentHeader(1448, true)]]],
  ['authentication', [[51, authenticationHeader()]]],
  ['authentication with long value', [[51, authenticationHeader(20)]]],
  ['authentication of length 0', [[51, Buffer.concat([u8(0, 0), octets(10)])]]],
  ['ESP', [[50, Buffer.concat([be32(0xabcd, 5), octets(24)])]]],
  ['IPComp', [[108, hex('00 00 0003 01020304')]]],
  ['mobility', [[135, hex('3a 00 00 00 0000 0000')]]],
  ['host identity', [[139, hex('3a 00 00 00 0000 0000')]]],
  ['shim6', [[140, hex('3a 00 00 00 0000 0000')]]],
  [
    'all of them',
    [
      [0, extensionHeader(option6(5, be16(0)))],
      [60, extensionHeader(Buffer.alloc(0))],
      [43, extensionHeader(Buffer.concat([u8(0, 0), be32(0), v6(PEER6)]))],
      [44, fragmentHeader(0, true)],
      [51, authenticationHeader()],
      [60, extensionHeader(Buffer.alloc(22))],
    ],
  ],
  ['twenty of them', Array.from({ length: 20 }, () => [60, extensionHeader(Buffer.alloc(0))] as const)],
  [
    'fragment behind fragment',
    [
      [44, fragmentHeader(0, true)],
      [44, fragmentHeader(0, true)],
    ],
  ],
];

/** IPv6 packets as an ICMPv6 error quotes them. */
export function quotesIpv6(): Named[] {
  const datagram = udp(ENDS6, octets(29));
  const fields = { ...ENDS6, hopLimit: 1 };
  const whole = ipv6(17, datagram, fields);
  return [
    ...datagrams(ENDS6).map(([name, payload]): Named => [name, ipv6(17, payload, fields)]),
    ['UDP, ports alone', whole.subarray(0, 44)],
    ['UDP, cut in the ports', whole.subarray(0, 43)],
    ...segments(ENDS6).map(([name, payload]): Named => [name, ipv6(6, payload, fields)]),
    ['ICMPv6 echo', ipv6(58, icmpv6(ENDS6, 128, 0, 0x0001_0002, octets(24)), fields)],
    ['ICMPv6 error', ipv6(58, icmpv6(ENDS6, 1, 4, 0, ipv6(17, datagram)), fields)],
    ['ICMP', ipv6(1, icmpv4(8, 0, 1, octets(8)), fields)],
    ...OTHERS.map(([name, protocol, payload]): Named => [name, ipv6(protocol, payload, fields)]),
    ...IPV6_HEADERS.flatMap(([name, headers]): Named[] => [
      [`UDP behind ${name}`, ipv6(17, datagram, { ...fields, headers })],
      [`TCP behind ${name}`, ipv6(6, tcp(ENDS6, octets(9)), { ...fields, headers })],
      [`UDP behind ${name}, cut`, ipv6(17, datagram, { ...fields, headers }).subarray(0, 46)],
    ]),
    ...[0, 7, 8, 36, 38, 2000, 65_535].map((payloadLength): Named => [
      `payload length ${payloadLength}`,
      ipv6(17, datagram, { ...fields, payloadLength }),
    ]),
    ['class and label', ipv6(17, datagram, { ...fields, trafficClass: 0xb9, flowLabel: 0xabcde })],
    ...[0, 4, 5, 15].map((version): Named => [`version ${version}`, ipv6(17, datagram, { ...fields, version })]),
    ['an IPv4 packet', quotedIpv4(17, udp(ENDS, octets(29)))],
    ['nothing', Buffer.alloc(0)],
    ['one octet', whole.subarray(0, 1)],
    ['39 octets', whole.subarray(0, 39)],
    ['40 octets', whole.subarray(0, 40)],
  ];
}
