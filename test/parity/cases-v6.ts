/**
 * ICMPv6: every type, codes, what errors quote, neighbour discovery with its options, listeners, headers around it.
 */
import { IPV6_HEADERS, quotesIpv6, type Named } from './quotes.ts';
import {
  be16,
  be32,
  extended,
  extensionHeader,
  extensionObject,
  hex,
  HOST6,
  icmpv4,
  icmpv6,
  icmpv6Packet,
  ipv4,
  ipv6,
  ndOption,
  octets,
  option6,
  PEER6,
  ROUTER6,
  u8,
  udp,
  v4,
  v6,
  type Ipv6Fields,
} from './packets.ts';

const ENDS = { src: ROUTER6, dst: HOST6 };
const QUOTE = ipv6(17, udp({ src: HOST6, dst: PEER6 }, octets(29)), { src: HOST6, dst: PEER6, hopLimit: 1 });

const NONE = Buffer.alloc(0);
const LINK_LOCAL = 'fe80::42:acff:fe11:2';
const ALL_NODES = 'ff02::1';

function typesAndCodes(): Named[] {
  const list: Named[] = [];
  for (let type = 0; type < 256; type++) {
    const codes = type < 5 ? Array.from({ length: 256 }, (_, code) => code) : [0, 1, 2, 3, 4, 128, 255];
    for (const code of codes) {
      if (type >= 5 && type < 100 && code > 1) continue;
      list.push([`type ${type} code ${code}`, icmpv6Packet(type, code, type === 2 ? 1280 : 0, QUOTE)]);
    }
  }
  for (const rest of [0, 1, 40, 1280, 0x7fff_ffff, 0xffff_ffff]) {
    list.push([`packet too big ${rest}`, icmpv6Packet(2, 0, rest, QUOTE)]);
    for (const code of [0, 1, 2, 3, 4, 8, 10])
      list.push([`parameter problem ${code}, ${rest}`, icmpv6Packet(4, code, rest, QUOTE)]);
  }
  return list;
}

function quoted(): Named[] {
  const list: Named[] = [];
  for (const [name, quote] of quotesIpv6()) {
    for (const code of [0, 2, 4]) list.push([`unreachable ${code}, ${name}`, icmpv6Packet(1, code, 0, quote)]);
  }
  for (const [name, quote] of quotesIpv6().filter(([what]) => !/options:|port \d|flags \d/.test(what))) {
    for (const code of [1, 3, 5, 6, 7, 8, 9])
      list.push([`unreachable ${code}, ${name}`, icmpv6Packet(1, code, 0, quote)]);
    list.push([`packet too big, ${name}`, icmpv6Packet(2, 0, 1280, quote)]);
    for (const code of [0, 1, 2]) list.push([`time exceeded ${code}, ${name}`, icmpv6Packet(3, code, 0, quote)]);
    for (const code of [0, 1, 2, 3, 4])
      list.push([`parameter problem ${code}, ${name}`, icmpv6Packet(4, code, 40, quote)]);
  }
  const label = be32(((24_001 << 12) | (3 << 9) | (1 << 8) | 64) >>> 0);
  const extension = extended(QUOTE, [extensionObject(1, 1, label), extensionObject(2, 0x08, be32(3))]);
  for (const words of [0, 16]) {
    list.push([`time exceeded with extension, ${words}`, icmpv6Packet(3, 0, u8(words, 0, 0, 0), extension)]);
    list.push([`unreachable with extension, ${words}`, icmpv6Packet(1, 4, u8(words, 0, 0, 0), extension)]);
  }
  return list;
}

/** Options of RFC 4861, 3971, 4191, 4389, 5175, 5269, 6775, 7710, 8106, 8781 and wrong ones. */
function ndOptions(): Named[] {
  const prefix = (bits: number, flags: number, valid: number, preferred: number, address: string): Buffer =>
    ndOption(3, Buffer.concat([u8(bits, flags), be32(valid, preferred, 0), v6(address)]));
  const dnsName = (text: string): Buffer =>
    Buffer.concat([...text.split('.').map((part) => Buffer.concat([u8(part.length), Buffer.from(part)])), u8(0)]);
  return [
    ['none', NONE],
    ['source address', ndOption(1, hex('0242ac110002'))],
    ['target address', ndOption(2, hex('0242ac110003'))],
    ['source address of 14', ndOption(1, octets(14))],
    ['source address of InfiniBand', ndOption(1, octets(22))],
    ['prefix', prefix(64, 0xc0, 86_400, 14_400, '2001:db8:1::')],
    ['prefix for ever', prefix(64, 0xff, 0xffff_ffff, 0xffff_ffff, '2001:db8:1::')],
    ['prefix without flags', prefix(128, 0, 0, 0, '::')],
    ['prefix of 200 bits', prefix(200, 0x20, 1, 1, '2001:db8:1::')],
    ['prefix of a bad length', ndOption(3, octets(14))],
    ['redirected header', ndOption(4, Buffer.concat([octets(6), QUOTE]))],
    ['redirected header that is cut', ndOption(4, Buffer.concat([Buffer.alloc(6), QUOTE.subarray(0, 30)]))],
    ['redirected nothing', ndOption(4, Buffer.alloc(6))],
    ['MTU', ndOption(5, Buffer.concat([be16(0), be32(1500)]))],
    ['MTU of a bad length', ndOption(5, octets(14))],
    ['NBMA shortcut limit', ndOption(6, hex('05 00 00000000'))],
    ['advertisement interval', ndOption(7, Buffer.concat([be16(0), be32(10_000)]))],
    ['home agent', ndOption(8, be16(0, 10, 1800))],
    ['source list', ndOption(9, Buffer.concat([Buffer.alloc(6), v6(HOST6)]))],
    ['target list', ndOption(10, Buffer.concat([Buffer.alloc(6), v6(HOST6), v6(PEER6)]))],
    ['CGA', ndOption(11, Buffer.concat([u8(1, 0), octets(60)]))],
    ['RSA signature', ndOption(12, octets(150))],
    ['SEND time stamp', ndOption(13, octets(14))],
    ['nonce', ndOption(14, octets(6))],
    ['trust anchor', ndOption(15, octets(14))],
    ['certificate', ndOption(16, octets(14))],
    ['IP address', ndOption(17, octets(22))],
    ['link-layer address of RFC 5568', ndOption(19, octets(14))],
    ['route', ndOption(24, Buffer.concat([u8(48, 0x08), be32(1800), v6('2001:db8:2::').subarray(0, 8)]))],
    [
      'route, low, for ever',
      ndOption(24, Buffer.concat([u8(64, 0x18), be32(0xffff_ffff), v6('2001:db8:2::').subarray(0, 8)])),
    ],
    ['default route', ndOption(24, Buffer.concat([u8(0, 0), be32(0)]))],
    ['route of 128 bits', ndOption(24, Buffer.concat([u8(128, 0x10), be32(9), v6(HOST6)]))],
    ['route of 200 bits', ndOption(24, Buffer.concat([u8(200, 0x10), be32(9), v6(HOST6)]))],
    ['route that is too short', ndOption(24, Buffer.concat([u8(64, 0x10), be32(9)]))],
    ['resolver', ndOption(25, Buffer.concat([be16(0), be32(1200), v6(ROUTER6)]))],
    ['two resolvers', ndOption(25, Buffer.concat([be16(0), be32(0xffff_ffff), v6(ROUTER6), v6(PEER6)]))],
    ['resolver, half of it', ndOption(25, Buffer.concat([be16(0), be32(1200), octets(8)]))],
    ['resolver, none', ndOption(25, Buffer.concat([be16(0), be32(1200)]))],
    ['search list', ndOption(31, Buffer.concat([be16(0), be32(1200), dnsName('example.com')]))],
    [
      'search list of two',
      ndOption(31, Buffer.concat([be16(0), be32(1200), dnsName('example.com'), dnsName('a.b.example.org')])),
    ],
    ['search list, damaged', ndOption(31, Buffer.concat([be16(0), be32(1200), octets(16, 60)]))],
    ['search list with a pointer', ndOption(31, Buffer.concat([be16(0), be32(1200), hex('c00c c00c c00c 0000')]))],
    ['flags extension', ndOption(26, hex('800000000000'))],
    ['proxy signature', ndOption(32, octets(6))],
    ['address registration', ndOption(33, Buffer.concat([octets(6), octets(8)]))],
    ['6LoWPAN context', ndOption(34, Buffer.concat([u8(64, 0x1f), be16(0, 60), octets(8)]))],
    ['border router', ndOption(35, Buffer.concat([octets(6), v6(ROUTER6)]))],
    ['captive portal', ndOption(37, Buffer.from('https://portal.example/'))],
    ['captive portal of RFC 7710', ndOption(144, Buffer.from('https://portal.example/'))],
    ['PREF64', ndOption(38, Buffer.concat([be16(0x0708), v6('64:ff9b::').subarray(0, 12)]))],
    ['PREF64 of 64 bits', ndOption(38, Buffer.concat([be16(0x0709), v6('64:ff9b::').subarray(0, 12)]))],
    ['PREF64, unknown length', ndOption(38, Buffer.concat([be16(0x070f), v6('64:ff9b::').subarray(0, 12)]))],
    ['unknown option', ndOption(200, octets(6))],
    ['unknown option, long', ndOption(253, octets(46))],
    [
      'two options',
      Buffer.concat([ndOption(1, hex('0242ac110002')), ndOption(5, Buffer.concat([be16(0), be32(1500)]))]),
    ],
    ['length 0', ndOption(1, hex('0242ac110002'), 0)],
    ['too long', ndOption(1, hex('0242ac110002'), 9)],
    ['far too long', ndOption(3, octets(30), 255)],
    ['one octet', u8(1)],
    ['two octets', u8(1, 1)],
    ['five octets', u8(1, 1, 2, 3, 4)],
  ];
}

const TO_NODES: Ipv6Fields = { src: LINK_LOCAL, dst: ALL_NODES, hopLimit: 255 };

/** Neighbour discovery's messages, by the options behind them. */
function withOptions(options: Buffer): Named[] {
  const flags = hex('40 c8 0708');
  return [
    ['router solicitation', icmpv6Packet(133, 0, 0, options, { ...TO_NODES, dst: 'ff02::2' })],
    ['router advertisement', icmpv6Packet(134, 0, flags, Buffer.concat([be32(0, 1000), options]), TO_NODES)],
    ['neighbor solicitation', icmpv6Packet(135, 0, 0, Buffer.concat([v6(HOST6), options]), TO_NODES)],
    ['neighbor advertisement', icmpv6Packet(136, 0, 0x6000_0000, Buffer.concat([v6(HOST6), options]), TO_NODES)],
    ['redirect', icmpv6Packet(137, 0, 0, Buffer.concat([v6(LINK_LOCAL), v6(PEER6), options]), TO_NODES)],
    ['inverse solicitation', icmpv6Packet(141, 0, 0, options, TO_NODES)],
    ['inverse advertisement', icmpv6Packet(142, 0, 0, options, TO_NODES)],
    ['prefix solicitation', icmpv6Packet(146, 0, 0x0007_0000, options, TO_NODES)],
    ['prefix advertisement', icmpv6Packet(147, 0, 0x0007_c000, options, TO_NODES)],
    ['path solicitation', icmpv6Packet(148, 0, 0x0007_ffff, options, TO_NODES)],
    ['path advertisement', icmpv6Packet(149, 0, 0x0007_0001, Buffer.concat([be32(0), options]), TO_NODES)],
  ];
}

function neighbourDiscovery(): Named[] {
  const list = ndOptions().flatMap(([name, options]) =>
    withOptions(options).map(([message, packet]): Named => [`${message}, option: ${name}`, packet]),
  );
  for (const flags of [0, 0x08, 0x10, 0x18, 0x20, 0x40, 0x80, 0xff]) {
    const fixed = Buffer.concat([u8(64, flags), be16(1800)]);
    list.push([`router advertisement, flags ${flags}`, icmpv6Packet(134, 0, fixed, be32(30_000, 0), TO_NODES)]);
    list.push([
      `neighbor advertisement, flags ${flags}`,
      icmpv6Packet(136, 0, (flags << 24) >>> 0, v6(HOST6), TO_NODES),
    ]);
    list.push([`prefix advertisement, flags ${flags}`, icmpv6Packet(147, 0, flags << 8, NONE, TO_NODES)]);
  }
  return list;
}

/** RFC 2710, RFC 3810 section 5. */
function listeners(): Named[] {
  const group = v6('ff02::1:ff00:62');
  const fields: Ipv6Fields = {
    src: LINK_LOCAL,
    dst: 'ff02::16',
    hopLimit: 1,
    headers: [[0, extensionHeader(option6(5, be16(0)))]],
  };
  const query = (tail: Buffer, delay = 10_000): Buffer => Buffer.concat([be16(delay, 0), group, tail]);
  const record = (type: number, sources: number, aux = 0, claimed = sources): Buffer =>
    Buffer.concat([
      u8(type, aux),
      be16(claimed),
      group,
      ...Array.from({ length: sources }, (_, index) => v6(`2001:db8::${index + 1}`)),
      Buffer.alloc(aux * 4),
    ]);
  const report = (...records: Buffer[]): Buffer => Buffer.concat([be16(0, records.length), ...records]);
  const messages: (readonly [string, number, Buffer])[] = [
    ['query', 130, query(NONE)],
    ['query of 28', 130, query(Buffer.concat([u8(0, 125), be16(0)]))],
    ['query, S and robustness 2', 130, query(Buffer.concat([u8(0x0a, 125), be16(0)]))],
    ['query, interval above 127', 130, query(Buffer.concat([u8(0x02, 0x9f), be16(0)]), 0x9abc)],
    ['query, two sources', 130, query(Buffer.concat([u8(2, 125), be16(2), v6(HOST6), v6(PEER6)]))],
    [
      'query, three sources of which two are there',
      130,
      query(Buffer.concat([u8(2, 125), be16(3), v6(HOST6), v6(PEER6)])),
    ],
    ['query, 65535 sources', 130, query(Buffer.concat([u8(2, 125), be16(65_535), v6(HOST6)]))],
    ['query of 25', 130, query(u8(0))],
    ['query of 27', 130, query(u8(0, 1, 2))],
    ['report', 131, query(NONE, 0)],
    ['done', 132, query(NONE, 0)],
    ['report with a tail', 131, query(octets(9), 0)],
    ['report v2, none', 143, report()],
    ...[0, 1, 2, 3, 4, 5, 6, 7, 255].map(
      (type) => [`report v2, record type ${type}`, 143, report(record(type, 0))] as const,
    ),
    ['report v2, one source', 143, report(record(1, 1))],
    ['report v2, three records', 143, report(record(4, 0), record(3, 2), record(5, 1))],
    ['report v2, auxiliary data', 143, report(record(4, 1, 2), record(3, 0))],
    ['report v2, sources missing', 143, report(record(4, 1, 0, 9))],
    ['report v2, records missing', 143, Buffer.concat([be16(0, 9), record(4, 1)])],
    ['report v2, 65535 records', 143, Buffer.concat([be16(0, 65_535), record(4, 1), record(4, 1)])],
    ['report v2, half a record', 143, Buffer.concat([be16(0, 1), record(4, 1).subarray(0, 12)])],
    ['report v2, reserved bits', 143, Buffer.concat([be16(0xffff, 1), record(4, 0)])],
    ['router advertisement of RFC 4286', 151, be16(20, 125, 2)],
    ['router solicitation of RFC 4286', 152, NONE],
    ['router termination', 153, NONE],
  ];
  return messages.flatMap(([name, type, body]): Named[] => [
    [`listener ${name}`, icmpv6Packet(type, 0, body.subarray(0, 4), body.subarray(4), fields)],
    [
      `listener ${name}, code 1, no hop-by-hop`,
      icmpv6Packet(type, 1, body.subarray(0, 4), body.subarray(4), { ...fields, headers: [] }),
    ],
  ]);
}

/** RFC 4620, 2894, 6275, 6550, 8335. */
function others(): Named[] {
  const nonce = octets(8, 0x11);
  const node = (type: number, code: number, qtype: number, flags: number, data: Buffer): Named => [
    `node information ${type}, code ${code}, qtype ${qtype}, flags ${flags}`,
    icmpv6Packet(type, code, be16(qtype, flags), Buffer.concat([nonce, data])),
  ];
  const name = Buffer.concat([u8(4), Buffer.from('host'), u8(7), Buffer.from('example'), u8(0, 0)]);
  const list: Named[] = [];
  for (const qtype of [0, 1, 2, 3, 4, 5, 99]) {
    for (const code of [0, 1, 2, 3]) {
      const subject = [v6(HOST6), name, v4('192.0.2.7'), NONE][code]!;
      list.push(node(139, code, qtype, 0, subject));
      list.push(node(140, code, qtype, 0x0001, Buffer.concat([be32(0), qtype === 2 ? name : v6(HOST6)])));
    }
  }
  for (const flags of [0, 1, 2, 4, 8, 16, 32, 0x3e, 0xffff]) {
    list.push(node(139, 0, 3, flags, v6(HOST6)), node(140, 0, 3, flags, Buffer.concat([be32(7), v6(HOST6)])));
    list.push(node(140, 0, 1, flags, be32(3)), node(140, 0, 4, flags, Buffer.concat([be32(7), v4('192.0.2.7')])));
  }
  list.push(
    ['node information of the old kind', icmpv6Packet(139, 0, 0, octets(8))],
    [
      'node name reply without a length',
      icmpv6Packet(140, 0, be16(2, 0), Buffer.concat([nonce, be32(0), Buffer.from('plain.name')])),
    ],
  );

  const match = (flags: number): Buffer =>
    Buffer.concat([u8(1, 7, 0, 64, 48, 64, 0, 0), v6('2001:db8::'), u8(flags, 3)]);
  const usePrefix = (mask: number, flags: number): Buffer =>
    Buffer.concat([u8(48, 16, mask, flags), be32(86_400, 0xffff_ffff, 0xc000_0000), v6('2001:db8:9::')]);
  const renumber = (code: number, flags: number, body: Buffer): Buffer =>
    icmpv6Packet(138, code, be32(77), Buffer.concat([u8(5, flags), be16(2000), be32(0), body]));
  for (const code of [0, 1, 2, 255]) {
    for (const flags of [0, 0x80, 0x40, 0x20, 0x10, 0x08, 0xf8])
      list.push([`renumbering ${code}, flags ${flags}`, renumber(code, flags, NONE)]);
    for (const operation of [0, 1, 2, 3, 9]) {
      const part = Buffer.concat([u8(operation, 13, 4, 64), u8(48, 64, 0, 0), be16(0, 0), v6('2001:db8::')]);
      const use = Buffer.concat([u8(48, 16, 0xc0, 0xc0), be32(86_400, 0xffff_ffff, 0xc000_0000), v6('2001:db8:9::')]);
      list.push([`renumbering ${code}, operation ${operation}`, renumber(code, 0x80, Buffer.concat([part, use]))]);
      list.push([`renumbering ${code}, operation ${operation}, alone`, renumber(code, 0, part)]);
    }
    list.push([`renumbering ${code}, result`, renumber(code, 0, match(0))]);
    list.push([`renumbering ${code}, other`, renumber(code, 0, Buffer.concat([match(0xff), usePrefix(0xff, 0xff)]))]);
  }

  const home = 'fe80::ffff';
  list.push(
    ['home agent request', icmpv6Packet(144, 0, 0x0007_0000, NONE)],
    ['home agent reply', icmpv6Packet(145, 0, 0x0007_0000, v6(HOST6))],
    ['home agent reply of two', icmpv6Packet(145, 0, 0x0007_0000, Buffer.concat([v6(HOST6), v6(PEER6)]))],
    ['home agent reply of one and a half', icmpv6Packet(145, 0, 0x0007_0000, Buffer.concat([v6(HOST6), octets(8)]))],
    [
      'extended echo request',
      icmpv6Packet(160, 0, hex('1234 01 01'), extended(NONE, [extensionObject(3, 1, Buffer.from('eth0'))], 0)),
    ],
    ['extended echo reply', icmpv6Packet(161, 0, hex('1234 01 25'), NONE)],
    ['fast handover', icmpv6Packet(154, 0, hex('02 00 1234'), octets(8))],
    ['ILNP', icmpv6Packet(156, 0, hex('01 00 0000'), octets(16))],
    ['duplicate address request', icmpv6Packet(157, 0, hex('00 00 003c'), Buffer.concat([octets(8), v6(home)]))],
    ['duplicate address confirmation', icmpv6Packet(158, 0, hex('00 00 003c'), Buffer.concat([octets(8), v6(home)]))],
    ['MPL control', icmpv6Packet(159, 0, 0, octets(8))],
    ['echo request', icmpv6Packet(128, 0, 0x1234_0001, octets(56))],
    ['echo reply of 0 octets', icmpv6Packet(129, 0, 0xffff_ffff, NONE)],
    ['echo request, code 7', icmpv6Packet(128, 7, 0x1234_0001, octets(3))],
  );

  const dag = v6('2001:db8:da6::1');
  const dio = Buffer.concat([u8(30, 240), be16(256), u8(0x88, 5, 0, 0), dag]);
  const dao = (flags: number): Buffer => Buffer.concat([u8(30, flags, 0, 9), (flags & 0x40) === 0 ? NONE : dag]);
  const rplOptions: Named[] = [
    ['none', NONE],
    ['Pad1', u8(0, 0, 0)],
    ['PadN', u8(1, 2, 0, 0)],
    ['metrics', option6(2, octets(6))],
    ['route', option6(3, Buffer.concat([u8(48, 0), be32(1800), octets(8)]))],
    ['configuration', option6(4, Buffer.concat([u8(0, 20, 3, 10), be16(1024, 256, 1), u8(0, 255), be16(65_535)]))],
    ['target', option6(5, Buffer.concat([u8(0, 64), octets(8)]))],
    ['transit', option6(6, u8(0, 1, 2, 3))],
    ['solicited', option6(7, octets(19))],
    ['prefix', option6(8, Buffer.concat([u8(64, 0xc0), be32(86_400, 14_400, 0), v6('2001:db8::')]))],
    ['unknown', option6(99, octets(4))],
    ['too long', option6(4, octets(4), 40)],
    ['cut', u8(4)],
  ];
  for (const [what, options] of rplOptions) {
    for (const [code, message] of [
      [0, u8(0, 0)],
      [1, dio],
      [2, dao(0)],
      [2, dao(0xc0)],
      [3, dao(0)],
      [3, dao(0x80)],
      [4, octets(8)],
      [0x80, octets(12)],
      [0x81, octets(40)],
      [0x82, octets(24)],
      [0x83, octets(24)],
      [0x8a, octets(24)],
      [9, octets(24)],
    ] as const) {
      const body = Buffer.concat([message, options]);
      const rest = Buffer.concat([body.subarray(0, 4), Buffer.alloc(Math.max(0, 4 - body.length))]);
      list.push([`RPL ${code}, option: ${what}`, icmpv6Packet(155, code, rest, body.subarray(4), TO_NODES)]);
    }
  }
  return list;
}

/** The outer header. */
function outer(): Named[] {
  const list: Named[] = [];
  const inner: (readonly [string, Buffer, Buffer])[] = [
    ['error', icmpv6(ENDS, 1, 4, 0, QUOTE), icmpv6(ENDS, 1, 4, 0, QUOTE, 0x1234)],
    ['echo', icmpv6(ENDS, 128, 0, 0x0001_0002, octets(56)), icmpv6(ENDS, 128, 0, 0x0001_0002, octets(56), 0)],
    ['too big', icmpv6(ENDS, 2, 0, 1280, QUOTE), icmpv6(ENDS, 2, 0, 1280, QUOTE, 0xffff)],
  ];
  for (const [name, message, wrong] of inner) {
    list.push([`${name}, wrong checksum`, ipv6(58, wrong)]);
    list.push([`${name}, odd length`, ipv6(58, Buffer.concat([message, u8(7)]))]);
    for (const trafficClass of [0, 1, 2, 3, 0xb8, 0xff])
      list.push([`${name}, class ${trafficClass}`, ipv6(58, message, { trafficClass })]);
    for (const flowLabel of [0, 1, 0xfffff])
      list.push([`${name}, label ${flowLabel}`, ipv6(58, message, { flowLabel })]);
    for (const hopLimit of [0, 1, 64, 255])
      list.push([`${name}, hop limit ${hopLimit}`, ipv6(58, message, { hopLimit })]);
    for (const payloadLength of [0, 1, 2, 3, 4, 7, 8, 20, 47, 48, 56, 64, 85, 86, 1500, 65_535]) {
      list.push([`${name}, payload length ${payloadLength}`, ipv6(58, message, { payloadLength })]);
    }
    for (const version of [0, 4, 5, 15]) list.push([`${name}, version ${version}`, ipv6(58, message, { version })]);
    for (const [what, headers] of IPV6_HEADERS) {
      list.push([`${name} behind ${what}`, ipv6(58, message, { headers })]);
      list.push([`${name} behind ${what}, wrong checksum`, ipv6(58, wrong, { headers })]);
      list.push([`${name} behind ${what}, payload length 9`, ipv6(58, message, { headers, payloadLength: 9 })]);
      list.push([`${name} behind ${what}, payload length 2000`, ipv6(58, message, { headers, payloadLength: 2000 })]);
    }
    for (const dst of [
      '::',
      '::1',
      'ff02::1',
      '::ffff:c000:207',
      '::c000:207',
      '1:0:0:2::3',
      '1:2:3:4:5:6:7:8',
      '0:0:1::',
      '64:ff9b::c000:207',
    ]) {
      list.push([`${name} to ${dst}`, ipv6(58, message, { dst })]);
    }
  }
  list.push(
    ['ICMPv6 in IPv6 in IPv6', ipv6(41, ipv6(58, inner[0]![1]))],
    ['ICMP in IPv4 in IPv6', ipv6(4, ipv4(1, icmpv4(8, 0, 1, octets(8))))],
    ['ICMP in IPv6', ipv6(1, icmpv4(8, 0, 1, octets(8)))],
    ['ICMPv6 in GRE', ipv6(47, Buffer.concat([hex('0000 86dd'), ipv6(58, inner[0]![1])]))],
    ['UDP in IPv6', QUOTE],
    [
      'later fragment of UDP in IPv6',
      ipv6(17, octets(40), { headers: [[44, Buffer.concat([u8(0, 0), be16(0x05a8), be32(1)])]] }),
    ],
  );
  return list;
}

/** Each message cut by its IPv6 length. */
function short(): Named[] {
  const messages: (readonly [string, number, Buffer])[] = [
    ['unreachable', 1, Buffer.concat([be32(0), QUOTE])],
    ['too big', 2, Buffer.concat([be32(1280), QUOTE])],
    ['time exceeded', 3, Buffer.concat([be32(0), QUOTE])],
    ['parameter problem', 4, Buffer.concat([be32(40), QUOTE])],
    ['echo', 128, octets(20)],
    ['query', 130, Buffer.concat([be32(0), v6(HOST6), u8(2, 125), be16(2), v6(HOST6), v6(PEER6)])],
    ['report', 131, Buffer.concat([be32(0), v6(HOST6)])],
    [
      'report v2',
      143,
      Buffer.concat([be16(0, 2), u8(4, 0), be16(1), v6(HOST6), v6(PEER6), u8(3, 0), be16(0), v6(HOST6)]),
    ],
    ['router solicitation', 133, Buffer.concat([be32(0), ndOption(1, octets(6))])],
    ['router advertisement', 134, Buffer.concat([octets(12), ndOption(5, Buffer.concat([be16(0), be32(1500)]))])],
    ['neighbor solicitation', 135, Buffer.concat([be32(0), v6(HOST6), ndOption(1, octets(6))])],
    ['neighbor advertisement', 136, Buffer.concat([be32(0), v6(HOST6), ndOption(2, octets(6))])],
    ['redirect', 137, Buffer.concat([be32(0), v6(HOST6), v6(PEER6), ndOption(2, octets(6))])],
    ['renumbering', 138, octets(50)],
    ['node information query', 139, Buffer.concat([be16(2, 0), octets(8), v6(HOST6)])],
    ['node information reply', 140, Buffer.concat([be16(3, 0), octets(8), be32(7), v6(HOST6)])],
    ['home agent reply', 145, Buffer.concat([be32(0), v6(HOST6)])],
    ['prefix advertisement', 147, Buffer.concat([be32(0), ndOption(1, octets(6))])],
    ['RPL', 155, octets(50)],
    ['unknown', 200, octets(50)],
  ];
  return messages.flatMap(([name, type, body]) => {
    const message = icmpv6(ENDS, type, type === 1 ? 4 : Number(type === 155), body.subarray(0, 4), body.subarray(4));
    return Array.from({ length: message.length }, (_, size): Named => [
      `${name}, of ${size} octets`,
      ipv6(58, message.subarray(0, size)),
    ]);
  });
}

export function casesIpv6(): Named[] {
  return [
    ...typesAndCodes(),
    ...quoted(),
    ...neighbourDiscovery(),
    ...listeners(),
    ...others(),
    ...outer(),
    ...short(),
  ];
}
