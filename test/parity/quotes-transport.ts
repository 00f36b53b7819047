/**
 * What `-v` prints beyond the ports of quoted transports: options of Multipath TCP, conversations whose sequence numbers
 * become relative, the types of DCCP, chunks of SCTP that are too short, every part of a GRE header.
 */
import {
  be16,
  be32,
  hex,
  HOST,
  ipv4,
  octets,
  option,
  PEER,
  sctp,
  sctpChunk,
  tcp,
  u8,
  udp,
  v4,
  v6,
  type Ends,
  type TcpFields,
} from './packets.ts';

/** A protocol number and what it carries. */
type Quoted = readonly [name: string, protocol: number, payload: Buffer];

const TO_PEER: Ends = { src: HOST, dst: PEER };
const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;

/** RFC 8684, section 3: subtype and what it shares its octet with, then the rest. */
function multipath(first: number, rest: Buffer): Buffer {
  return option(30, Buffer.concat([u8(first), rest]));
}

const MULTIPATH: readonly (readonly [name: string, option: Buffer, flags: number])[] = [
  ['capable, version 0', multipath(0x00, Buffer.concat([u8(0x01), octets(8, 1)])), SYN],
  ['capable, version 1', multipath(0x01, u8(0x81)), SYN],
  ['capable, version 5', multipath(0x05, u8(0x81)), SYN],
  ['capable, third', multipath(0x01, Buffer.concat([u8(0x81), octets(16)])), ACK],
  ['capable, third with data length', multipath(0x01, Buffer.concat([u8(0x81), octets(18)])), ACK],
  ['capable, not in a SYN', multipath(0x01, u8(0x81)), ACK],
  ['join, SYN', multipath(0x11, Buffer.concat([u8(7), octets(8)])), SYN],
  ['join, SYN ACK', multipath(0x10, Buffer.concat([u8(7), octets(12)])), SYN_ACK],
  ['join, ACK', multipath(0x10, Buffer.concat([u8(0), octets(20)])), ACK],
  ['join of a bad length', multipath(0x10, Buffer.concat([u8(0), octets(19)])), ACK],
  ...[0x00, 0x01, 0x03, 0x04, 0x05, 0x0c, 0x0f, 0x10, 0x1f].flatMap((flags) =>
    [0, 2, 4, 8, 10, 12, 14, 16, 18, 20, 22, 24].map(
      (size) =>
        [`sequence, flags ${flags}, ${size}`, multipath(0x20, Buffer.concat([u8(flags), octets(size)])), ACK] as const,
    ),
  ),
  ['sequence in a SYN', multipath(0x20, Buffer.concat([u8(1), octets(4)])), SYN],
  ...[0x30, 0x31, 0x33, 0x34, 0x36].flatMap((first) =>
    [4, 6, 12, 14].map(
      (size) =>
        [
          `address ${first}, ${size}`,
          multipath(first, Buffer.concat([u8(5), v4(PEER), octets(size - 4)])),
          ACK,
        ] as const,
    ),
  ),
  ...[16, 18, 24, 26].map(
    (size) =>
      [
        `IPv6 address, ${size}`,
        multipath(0x30, Buffer.concat([u8(5), v6('2001:db8::1'), octets(size - 16)])),
        ACK,
      ] as const,
  ),
  ['address of a bad length', multipath(0x30, octets(4)), ACK],
  ['addresses removed', multipath(0x40, u8(1, 2, 3)), ACK],
  ['no addresses removed', multipath(0x40, Buffer.alloc(0)), ACK],
  ['priority', multipath(0x51, u8(4)), ACK],
  ['priority without address', multipath(0x50, Buffer.alloc(0)), ACK],
  ['priority of a bad length', multipath(0x50, u8(1, 2)), ACK],
  ['fail', multipath(0x60, octets(9)), ACK],
  ['fail of a bad length', multipath(0x60, octets(3)), ACK],
  ['fast close', multipath(0x70, octets(9)), ACK],
  ['reset', multipath(0x80, u8(1)), ACK],
  ['unknown subtype', multipath(0xf0, u8(1)), ACK],
  ['nothing', option(30, Buffer.alloc(0)), ACK],
];

/** Options that are cut off or too long behind others, and those whose length tcpdump does not believe. */
const OPTIONS: readonly (readonly [name: string, options: Buffer])[] = [
  ['capabilities of SCPS', option(20, u8(1, 2))],
  ['authentication without code', option(29, u8(1, 2))],
  ['authentication, too short', option(29, u8(1))],
  ['fast open cookie, odd', option(34, octets(5))],
  ['fast open, experiment', option(254, Buffer.concat([be16(0xf989), octets(8)]))],
  ['fast open, experiment, request', option(254, be16(0xf989))],
  ['experiment of one octet', option(254, u8(1))],
  ['even time-out', option(28, be16(0x0010))],
  ['MSS of four octets', option(2, octets(4))],
  ['SACK permitted with data', option(4, octets(2))],
  ['bad behind others', Buffer.concat([u8(1, 1), u8(77, 40)])],
  ['no length behind others', Buffer.concat([u8(1, 1, 1), u8(77)])],
  ['empty unknown', option(77, Buffer.alloc(0))],
];

function conversation(fields: TcpFields): Buffer {
  return tcp(TO_PEER, octets(4), { sport: 40_123, dport: 50_321, ...fields });
}

function answer(fields: TcpFields): Buffer {
  return tcp({ src: PEER, dst: HOST }, Buffer.alloc(0), { sport: 50_321, dport: 40_123, ...fields });
}

const DCCP_PORTS = be16(1000, 2000);

export const QUOTED_TRANSPORTS: readonly Quoted[] = [
  ...MULTIPATH.map(([name, options, flags]): Quoted => [
    `multipath TCP, ${name}`,
    6,
    tcp(TO_PEER, octets(3), { options, flags, dport: 50_000 }),
  ]),
  ...OPTIONS.map(([name, options]): Quoted => [
    `TCP, options: ${name}`,
    6,
    tcp(TO_PEER, octets(3), { options, dport: 50_000 }),
  ]),
  [
    'RST with binary text',
    6,
    tcp(TO_PEER, Buffer.from([0, 7, 9, 31, 32, 126, 127, 128, 160, 255]), { flags: 0x04, dport: 50_000 }),
  ],
  ['RST with long text', 6, tcp(TO_PEER, Buffer.alloc(40, 'long '), { flags: 0x04, dport: 50_000 })],
  ['RST, text cut off', 6, tcp(TO_PEER, Buffer.alloc(40, 'long '), { flags: 0x04, dport: 50_000 }).subarray(0, 30)],
  ['conversation, first', 6, conversation({ flags: 0x18, seq: 4_294_967_290, ack: 500 })],
  ['conversation, second', 6, conversation({ flags: 0x18, seq: 10, ack: 600 })],
  ['conversation, before the first', 6, conversation({ flags: 0x18, seq: 4_294_967_000, ack: 400 })],
  ['conversation, without ACK', 6, conversation({ flags: 0x08, seq: 11 })],
  [
    'conversation, answered',
    6,
    answer({ flags: ACK, seq: 501, ack: 4_294_967_295, options: option(5, be32(4_294_967_291, 20)) }),
  ],
  ['conversation, begun again', 6, conversation({ flags: SYN_ACK, seq: 77, ack: 88 })],
  ['conversation, then', 6, conversation({ flags: ACK, seq: 80, ack: 90, options: option(5, be32(100, 120)) })],
  [
    'conversation with itself',
    6,
    tcp(TO_PEER, octets(1), { sport: 50_000, dport: 50_000, flags: ACK, seq: 5, ack: 6 }),
  ],
  [
    'conversation with itself, then',
    6,
    tcp(TO_PEER, octets(1), { sport: 50_000, dport: 50_000, flags: ACK, seq: 8, ack: 9 }),
  ],

  ...[0, 12, 16, 20, 24].flatMap((size) =>
    Array.from({ length: 32 }, (_, type): Quoted => {
      const header = Buffer.concat([DCCP_PORTS, u8(5, 0x35), be16(0xbeef), u8(type), octets(24, 1)]);
      return [`DCCP, type ${type}, ${size} octets`, 33, header.subarray(0, size)];
    }),
  ),
  ...Array.from({ length: 16 }, (_, code): Quoted => {
    const reset = Buffer.concat([DCCP_PORTS, u8(7, 0), be16(0), u8(0x0e, 0, 0, 1), octets(8), u8(code, 0, 0, 0)]);
    return [`DCCP, reset ${code}`, 33, reset];
  }),

  ...[0, 1, 2, 3].flatMap((type) =>
    [0, 3, 4, 11, 12, 13, 15, 16, 20, 23].map((size): Quoted => [
      `SCTP, chunk ${type} of ${size}`,
      132,
      sctp(sctpChunk(type, 0, octets(size)), sctpChunk(8, 0, octets(0))),
    ]),
  ),
  ...Array.from({ length: 30 }, (_, protocol): Quoted => {
    const data = Buffer.concat([be32(1), be16(2, 3), be32(protocol), octets(4)]);
    return [`SCTP, payload protocol ${protocol}`, 132, sctp(sctpChunk(0, 7, data))];
  }),
  ['SCTP, SACK with gaps', 132, sctp(sctpChunk(3, 0, Buffer.concat([be32(4_294_967_295, 9), be16(2, 2), octets(16)])))],
  ['SCTP, SACK with fewer than said', 132, sctp(sctpChunk(3, 0, Buffer.concat([be32(7, 9), be16(9, 9), octets(16)])))],
  ['SCTP, SACK with half a gap', 132, sctp(sctpChunk(3, 0, Buffer.concat([be32(7, 9), be16(2, 0), octets(6)])))],
  ['SCTP, padding cut off', 132, sctp(sctpChunk(99, 0, octets(5))).subarray(0, -2)],
  ['SCTP, three octets behind', 132, Buffer.concat([sctp(sctpChunk(99, 0, octets(4))), octets(3)])],

  ...[0x0000, 0x8000, 0x2000, 0x1000, 0x0800, 0x0080, 0xb880, 0x0001, 0x2001, 0x1001, 0x3081, 0x0007].flatMap((flags) =>
    [2, 3, 4, 6, 8, 12, 16, 20, 24].map((size): Quoted => [
      `GRE, flags ${flags}, ${size} octets`,
      47,
      Buffer.concat([be16(flags, 0x1234), octets(20)]).subarray(0, size),
    ]),
  ),
  ...[
    '0800 00 08 0a000001 0a000002',
    '0800 04 08 0a000001 0a000002',
    '0800 05 08 0a000001 0a000002',
    '0800 00 06 0a000001 0a00',
    '0800 08 08 0a000001 0a000002',
    '0800 00 ff 0a000001',
    'fffe 02 04 fde8 fde9',
    'fffe 01 04 fde8 fde9',
    'fffe 00 03 fde8 fd',
    'fffe 04 04 fde8 fde9',
    '1234 00 02 0102',
    '1234 00 00',
  ].map((route): Quoted => [
    `GRE, routed by ${route}`,
    47,
    Buffer.concat([hex('4000 0800 0000 0000'), hex(route), be32(0), ipv4(17, udp(TO_PEER, octets(9)))]),
  ]),

  ['ESP, 8 octets', 50, octets(8)],
  ['ESP, 9 octets', 50, octets(9)],
  ['IPComp, 3 octets', 108, octets(3)],
  ['mobile, destination', 55, Buffer.concat([hex('1100 beef'), v4(PEER), octets(4)])],
  ['mobile, source too', 55, Buffer.concat([hex('1180 beef'), v4(PEER), v4(HOST), octets(4)])],
  ['mobile, 8 octets', 55, Buffer.concat([hex('1100 beef'), v4(PEER)])],
  ['mobile, 7 octets', 55, octets(7)],
  ['SUN ND', 77, octets(7)],
  ['Ethernet', 143, octets(20)],
  [
    'AH behind AH',
    51,
    Buffer.concat([hex('33 01 0000'), be32(1, 2), hex('11 02 beef'), be32(3, 4), be32(5), udp(TO_PEER, octets(3))]),
  ],
];
