/**
 * ICMP in IPv4: every type, codes, what errors quote, headers around it.
 */
import { IPV4_OPTIONS, quotesIpv4, type Named } from './quotes.ts';
import {
  authenticationHeader,
  be16,
  be32,
  extended,
  extensionObject,
  HOST,
  hex,
  icmpv4,
  icmpv4Packet,
  icmpv6,
  icmpv6Packet,
  ipv4,
  octets,
  PEER,
  ROUTER,
  ROUTER6,
  HOST6,
  u8,
  udp,
  v4,
  v6,
} from './packets.ts';

const QUOTE = ipv4(17, udp({ src: HOST, dst: PEER }, octets(29)), { src: HOST, dst: PEER, ttl: 1 });
const LONG_QUOTE = ipv4(17, udp({ src: HOST, dst: PEER }, octets(300)), { src: HOST, dst: PEER, ttl: 1 });

const ERRORS = [3, 4, 5, 11, 12];

function typesAndCodes(): Named[] {
  const list: Named[] = [];
  const add = (type: number, code: number, rest: number): void => {
    list.push([`type ${type} code ${code}`, icmpv4Packet(type, code, rest, QUOTE)]);
  };
  for (let type = 0; type < 256; type++) {
    const codes = ERRORS.includes(type) ? Array.from({ length: 256 }, (_, code) => code) : [0, 1, 2, 3, 4, 5, 16, 255];
    for (const code of codes) add(type, code, type === 5 ? 0xac10_0001 : 0);
  }
  for (const mtu of [0, 1, 68, 576, 1400, 1500, 65_535, 0xffff_ffff]) add(3, 4, mtu);
  for (const pointer of [0, 1, 20, 255]) add(12, 0, (pointer << 24) >>> 0);
  return list;
}

/** Messages that quote nothing, and each of them cut by its IP length. */
function messages(): Named[] {
  const advertisement = (count: number, size: number, lifetime: number, entries: number): Buffer =>
    icmpv4(
      9,
      0,
      Buffer.concat([u8(count, size), be16(lifetime)]),
      Buffer.concat(
        Array.from({ length: entries }, (_, index) => Buffer.concat([v4(`192.0.2.${index}`), be32(index)])),
      ),
    );
  const list: Named[] = [
    ['echo request', icmpv4(8, 0, 0x1234_0001, octets(56))],
    ['echo request of 0 octets', icmpv4(8, 0, 0x1234_0001, Buffer.alloc(0))],
    ['echo reply', icmpv4(0, 0, 0xffff_ffff, octets(56))],
    ['time stamp', icmpv4(13, 0, 0x1234_0001, be32(1, 0, 0))],
    ['time stamp reply', icmpv4(14, 0, 0x1234_0001, be32(43_200_999, 43_201_000, 86_399_999))],
    ['time stamp reply of another unit', icmpv4(14, 0, 0x1234_0001, be32(0x8000_0001, 0xffff_ffff, 360_000_000))],
    ['information request', icmpv4(15, 0, 0x1234_0001, Buffer.alloc(0))],
    ['information reply', icmpv4(16, 0, 0x1234_0001, Buffer.alloc(0))],
    ['mask request', icmpv4(17, 0, 0x1234_0001, be32(0))],
    ['mask reply', icmpv4(18, 0, 0x1234_0001, be32(0xffff_ff00))],
    ['router solicitation', icmpv4(10, 0, 0, Buffer.alloc(0))],
    ...[0, 59, 60, 61, 1800, 3599, 3600, 3661, 36_000, 65_535].map((lifetime): Named => [
      `router advertisement for ${lifetime}`,
      advertisement(2, 2, lifetime, 2),
    ]),
    ['router advertisement, none', advertisement(0, 2, 1800, 0)],
    ['router advertisement, one of three there', advertisement(3, 2, 1800, 1)],
    ['router advertisement, 255', advertisement(255, 2, 1800, 255)],
    ['router advertisement, 20 of 10', advertisement(10, 2, 1800, 20)],
    ['router advertisement, size 3', advertisement(2, 3, 1800, 3)],
    ['router advertisement, size 0', advertisement(2, 0, 1800, 2)],
    ['router advertisement, code 16', icmpv4(9, 16, Buffer.concat([u8(0, 2), be16(9)]), Buffer.alloc(0))],
    ['traceroute', icmpv4(30, 0, be16(1, 0), be32(7, 8, 1500))],
    ['domain name request', icmpv4(37, 0, 0, octets(4))],
    ['domain name reply', icmpv4(38, 0, 0, octets(4))],
    ['security failures', icmpv4(40, 3, 0, QUOTE)],
    [
      'extended echo request',
      icmpv4(42, 0, hex('1234 01 01'), extended(Buffer.alloc(0), [extensionObject(3, 1, Buffer.from('eth0'))], 0)),
    ],
    ['extended echo reply', icmpv4(43, 0, hex('1234 01 25'), Buffer.alloc(0))],
  ];
  const packets = list.map(([name, message]): Named => [name, ipv4(1, message)]);
  for (const [name, message] of list) {
    for (let size = 0; size < Math.min(message.length, 36); size++) {
      packets.push([`${name}, of ${size} octets`, ipv4(1, message.subarray(0, size))]);
    }
  }
  for (let size = 0; size < 60; size++) {
    for (const type of ERRORS) {
      const message = icmpv4(type, type === 3 ? 3 : 0, 0, QUOTE).subarray(0, size);
      packets.push([`type ${type}, of ${size} octets`, ipv4(1, message)]);
    }
  }
  return packets;
}

function quoted(): Named[] {
  const list: Named[] = [];
  for (const [name, quote] of quotesIpv4()) {
    list.push([`port unreachable, ${name}`, icmpv4Packet(3, 3, 0, quote)]);
    list.push([`protocol unreachable, ${name}`, icmpv4Packet(3, 2, 0, quote)]);
    list.push([`time exceeded, ${name}`, icmpv4Packet(11, 0, 0, quote)]);
  }
  for (const [name, quote] of quotesIpv4().filter(([what]) => !/options:|port \d|flags \d/.test(what))) {
    list.push([`fragmentation needed, ${name}`, icmpv4Packet(3, 4, 1400, quote)]);
    list.push([`source quench, ${name}`, icmpv4Packet(4, 0, 0, quote)]);
    list.push([`redirect, ${name}`, icmpv4Packet(5, 1, v4('172.16.0.1'), quote)]);
    list.push([`parameter problem, ${name}`, icmpv4Packet(12, 0, 0x1400_0000, quote)]);
    list.push([`type 40, ${name}`, icmpv4Packet(40, 0, 0, quote)]);
    list.push([`unreachable code 200, ${name}`, icmpv4Packet(3, 200, 0, quote)]);
  }
  return list;
}

/** RFC 4884 and its objects: RFC 4950, 5837, 8062, 8335. */
function extensions(): Named[] {
  const label = (value: number, exp: number, bottom: number, ttl: number): Buffer =>
    be32(((value << 12) | (exp << 9) | (bottom << 8) | ttl) >>> 0);
  const stack = extensionObject(1, 1, Buffer.concat([label(16, 0, 0, 1), label(0xfffff, 7, 1, 255)]));
  const one = extensionObject(1, 1, label(24_001, 3, 1, 64));
  const name = (text: string, length = 4 * Math.ceil((text.length + 1) / 4)): Buffer => {
    const field = Buffer.alloc(length);
    field[0] = length;
    field.write(text, 1);
    return field;
  };
  const index = be32(3);
  const ip = Buffer.concat([be16(1, 0), v4(ROUTER)]);
  const ip6 = Buffer.concat([be16(2, 0), v6(ROUTER6)]);
  const sets: (readonly [string, Buffer[]])[] = [
    ['no object', []],
    ['one label', [one]],
    ['two labels', [stack]],
    ['three objects', [one, stack, one]],
    ['label of 3 octets', [extensionObject(1, 1, octets(3))]],
    ['labels without one', [extensionObject(1, 1, Buffer.alloc(0))]],
    ['labels and a rest', [extensionObject(1, 1, octets(6))]],
    ['labels, C-type 2', [extensionObject(1, 2, label(1, 2, 1, 4))]],
    ['object length 0', [extensionObject(1, 1, label(1, 2, 1, 4), 0)]],
    ['object length 3', [extensionObject(1, 1, label(1, 2, 1, 4), 3)]],
    ['object length 4', [extensionObject(1, 1, label(1, 2, 1, 4), 4)]],
    ['object too long', [extensionObject(1, 1, label(1, 2, 1, 4), 40)]],
    ['object far too long', [extensionObject(1, 1, label(1, 2, 1, 4), 65_535)]],
    ['interface, nothing', [extensionObject(2, 0x00, Buffer.alloc(0))]],
    ['interface index', [extensionObject(2, 0x08, index)]],
    ['interface address', [extensionObject(2, 0x04, ip)]],
    ['interface address of IPv6', [extensionObject(2, 0x44, ip6)]],
    ['interface address of an unknown family', [extensionObject(2, 0x04, be16(7, 0, 1, 2))]],
    ['interface name', [extensionObject(2, 0x02, name('eth0'))]],
    ['interface MTU', [extensionObject(2, 0x01, be32(1500))]],
    [
      'everything of an interface',
      [extensionObject(2, 0x0f, Buffer.concat([index, ip, name('ge-0/0/1.100'), be32(9000)]))],
    ],
    ['all of the outgoing one', [extensionObject(2, 0x8f, Buffer.concat([index, ip6, name('xe-1'), be32(9000)]))]],
    ['sub-IP and next hop', [extensionObject(2, 0x48, index), extensionObject(2, 0xc4, ip)]],
    ['reserved bits', [extensionObject(2, 0x38, index)]],
    ['interface, too short for an index', [extensionObject(2, 0x08, be16(1))]],
    ['interface, too short for all', [extensionObject(2, 0x0f, Buffer.concat([index, ip]))]],
    ['interface name of length 0', [extensionObject(2, 0x02, u8(0, 1, 2, 3))]],
    ['interface name too long', [extensionObject(2, 0x02, u8(63, 0x65, 0x74, 0x68))]],
    ['interface name of 64', [extensionObject(2, 0x02, name('n'.repeat(62), 64))]],
    ['interface name of 68', [extensionObject(2, 0x02, name('n'.repeat(62), 68))]],
    ['interface name with a line feed', [extensionObject(2, 0x02, name('a\nb\u001b[1m'))]],
    ['interface identification', [extensionObject(3, 2, index)]],
    ['identification by address', [extensionObject(3, 3, Buffer.concat([hex('0001 04 00'), v4(ROUTER)]))]],
    ['unknown class', [extensionObject(9, 1, octets(12))]],
    ['unknown class, long', [extensionObject(247, 1, octets(40))]],
    ['unknown class, empty', [extensionObject(247, 1, Buffer.alloc(0))]],
    ['both kinds', [one, extensionObject(2, 0x08, index), extensionObject(9, 1, octets(4))]],
    ['an odd octet behind', [one, u8(1)]],
    ['an object header behind', [one, be16(4, 0x0101)]],
  ];
  const list: Named[] = [];
  const rest = u8(0, 32, 0, 0);
  for (const [what, objects] of sets) {
    for (const type of [3, 11, 12]) {
      list.push([
        `type ${type}, extension: ${what}`,
        icmpv4Packet(type, type === 3 ? 3 : 0, rest, extended(QUOTE, objects)),
      ]);
    }
    list.push([`extension without length attribute: ${what}`, icmpv4Packet(11, 0, 0, extended(QUOTE, objects))]);
    list.push([
      `extension with wrong checksum: ${what}`,
      icmpv4Packet(11, 0, rest, extended(QUOTE, objects, 128, 0x1234)),
    ]);
    list.push([`extension with checksum 0: ${what}`, icmpv4Packet(11, 0, rest, extended(QUOTE, objects, 128, 0))]);
  }
  for (const version of [0, 1, 3, 15]) {
    list.push([
      `extension of version ${version}`,
      icmpv4Packet(11, 0, rest, extended(QUOTE, [stack], 128, undefined, version)),
    ]);
  }
  for (const words of [0, 1, 5, 7, 14, 31, 32, 33, 40, 64, 255]) {
    const packet = icmpv4Packet(11, 0, u8(0, words, 0, 0), extended(LONG_QUOTE, [stack]));
    list.push([`length attribute ${words}, 128 octets`, packet]);
    const padTo = words * 4;
    list.push([
      `length attribute ${words} as it is`,
      icmpv4Packet(11, 0, u8(0, words, 0, 0), extended(LONG_QUOTE, [stack], padTo)),
    ]);
  }
  for (const type of [4, 5, 8, 9, 40])
    list.push([`type ${type} with extension`, icmpv4Packet(type, 0, rest, extended(QUOTE, [stack]))]);
  for (let size = 120; size < 156; size++) {
    const message = icmpv4(11, 0, rest, extended(LONG_QUOTE, [one, stack]));
    list.push([`extension cut to ${size}`, ipv4(1, message.subarray(0, size))]);
  }
  list.push(['long quote, no extension', icmpv4Packet(11, 0, 0, LONG_QUOTE)]);
  list.push(['zeros in place of the extension', icmpv4Packet(11, 0, 0, Buffer.concat([QUOTE, Buffer.alloc(120)]))]);
  return list;
}

/** The outer header. */
function outer(): Named[] {
  const message = icmpv4(3, 3, 0, QUOTE);
  const echo = icmpv4(8, 0, 0x0001_0002, octets(56));
  const list: Named[] = [];
  for (const [name, options] of IPV4_OPTIONS) list.push([`outer options: ${name}`, ipv4(1, message, { options })]);
  for (const [name, inner] of [
    ['error', message],
    ['echo', echo],
  ] as const) {
    for (const tos of [0, 1, 2, 3, 0x10, 0xb8, 0xc0, 0xff]) list.push([`${name}, TOS ${tos}`, ipv4(1, inner, { tos })]);
    for (const ttl of [0, 1, 64, 255]) list.push([`${name}, TTL ${ttl}`, ipv4(1, inner, { ttl })]);
    for (const id of [0, 1, 65_535]) list.push([`${name}, id ${id}`, ipv4(1, inner, { id })]);
    for (const fragment of [0, 0x2000, 0x4000, 0x6000, 0x8000, 0xe000, 1, 0x00b9, 0x20b9, 0x1fff, 0xffff]) {
      list.push([`${name}, fragment field ${fragment}`, ipv4(1, inner, { fragment })]);
    }
    for (const checksum of [0, 0x1234, 0xffff])
      list.push([`${name}, IP checksum ${checksum}`, ipv4(1, inner, { checksum })]);
    for (const totalLength of [0, 1, 19, 20, 21, 23, 24, 27, 28, 30, 47, 48, 50, 56, 60, 84, 85, 100, 1500, 65_535]) {
      list.push([`${name}, total length ${totalLength}`, ipv4(1, inner, { totalLength })]);
    }
    for (const headerWords of [0, 1, 4, 6, 7, 10, 15])
      list.push([`${name}, header of ${headerWords} words`, ipv4(1, inner, { headerWords })]);
    for (const headerWords of [6, 15]) {
      list.push([
        `${name}, total length 24, header of ${headerWords} words`,
        ipv4(1, inner, { headerWords, totalLength: 24 }),
      ]);
    }
    for (const version of [0, 5, 6, 15]) list.push([`${name}, version ${version}`, ipv4(1, inner, { version })]);
    for (const dst of ['255.255.255.255', '224.0.0.1', '0.0.0.0', '127.0.0.1'])
      list.push([`${name} to ${dst}`, ipv4(1, inner, { dst })]);
  }
  for (const sum of [0, 0x1234, 0xffff]) {
    list.push([`ICMP checksum ${sum}`, icmpv4Packet(3, 3, 0, QUOTE, {}, sum)]);
    list.push([`ICMP checksum ${sum}, fragment`, icmpv4Packet(3, 3, 0, QUOTE, { fragment: 0x2000 }, sum)]);
    list.push([`echo, ICMP checksum ${sum}, odd length`, icmpv4Packet(8, 0, 1, octets(3), {}, sum)]);
  }
  list.push(
    ['ICMP in IPIP', ipv4(4, ipv4(1, message))],
    ['ICMPv6 in 6in4', ipv4(41, icmpv6Packet(1, 4, 0, octets(60)))],
    ['ICMP behind AH', ipv4(51, Buffer.concat([u8(1), authenticationHeader().subarray(1), message]))],
    ['ICMP in GRE', ipv4(47, Buffer.concat([hex('0000 0800'), ipv4(1, message)]))],
    ['ICMPv6 in IPv4', ipv4(58, icmpv6({ src: ROUTER6, dst: HOST6 }, 128, 0, 1, octets(8)))],
    ['UDP', QUOTE],
    ['later fragment of UDP', ipv4(17, octets(40), { fragment: 0x00b9 })],
  );
  return list;
}

export function casesIpv4(): Named[] {
  return [...typesAndCodes(), ...messages(), ...quoted(), ...extensions(), ...outer()];
}
