/** Packets of up to 64 KiB that are made to cost time, memory or depth: sound where it counts. */
import {
  be16,
  be32,
  extensionHeader,
  HOST,
  HOST6,
  icmpv4Packet,
  icmpv6Packet,
  ipv4,
  ipv6,
  octets,
  PEER,
  PEER6,
  u8,
  udp,
} from '../parity/packets.ts';
import type { Dice } from './dice.ts';

const QUOTE = ipv4(17, udp({ src: HOST, dst: PEER }, octets(29)), { src: HOST, dst: PEER });
const QUOTE6 = ipv6(17, udp({ src: HOST6, dst: PEER6 }, octets(29)), { src: HOST6, dst: PEER6 });

type Bomb = (size: number, dice: Dice) => Buffer;

/**
 * DNSSL options with names that are a label and a pointer to the name before: tcpdump follows them all.
 * @param words of eight octets that each option has
 */
export function searchLists(size: number, label: Buffer, words = 255): Buffer {
  const length = words * 8;
  const options: Buffer[] = [];
  // The first ends where the lifetime has a zero.
  let last = 4;
  for (let at = 0; at < size; at += length) {
    const names: Buffer[] = [];
    let offset = at + 8;
    while (offset + label.length + 2 <= at + length) {
      names.push(label, be16(0xc000 | last));
      if (offset <= 0x3fff) last = offset;
      offset += label.length + 2;
    }
    const option = Buffer.concat([u8(31, words), be16(0), be32(60), ...names, Buffer.alloc(length)]);
    options.push(option.subarray(0, length));
  }
  return icmpv6Packet(134, 0, 0, Buffer.concat([be32(0, 0), ...options]));
}

/** As deep as there is room. */
function nested(size: number, first: Buffer, wrap: (inner: Buffer) => Buffer): Buffer {
  let packet = first;
  for (;;) {
    const next = wrap(packet);
    if (next.length > size) return packet;
    packet = next;
  }
}

const BOMBS: readonly Bomb[] = [
  (size, dice) => {
    const labels = ['', '0161', '410800', `4100${'ff'.repeat(32)}`, `3f${'61'.repeat(63)}`];
    return searchLists(size - 4000, Buffer.from(dice.pick(labels), 'hex'));
  },
  (size) => nested(Math.min(size, 20_000), QUOTE, (inner) => icmpv4Packet(3, 3, 0, inner)),
  (size) => nested(Math.min(size, 20_000), QUOTE6, (inner) => icmpv6Packet(1, 4, 0, inner)),
  (size) =>
    icmpv4Packet(
      3,
      3,
      0,
      nested(Math.min(size, 20_000), QUOTE, (inner) => ipv4(4, inner)),
    ),
  (size) =>
    icmpv6Packet(
      1,
      4,
      0,
      nested(Math.min(size, 20_000), QUOTE6, (inner) => ipv6(41, inner)),
    ),
  (size) =>
    icmpv4Packet(
      3,
      3,
      0,
      nested(Math.min(size, 20_000), QUOTE, (inner) => ipv4(47, Buffer.concat([be16(0, 0x800), inner]))),
    ),
  (size, dice) => {
    const protocol = dice.pick([0, 60, 43]);
    const value = dice.pick([Buffer.alloc(6), octets(6), u8(1, 4, 0, 0, 0, 0)]);
    const headers = Array.from(
      { length: Math.floor(size / 8) - 20 },
      () => [protocol, extensionHeader(value)] as const,
    );
    return dice.oneIn(2)
      ? icmpv6Packet(1, 4, 0, QUOTE6, { headers })
      : icmpv6Packet(1, 4, 0, ipv6(17, octets(20), { headers }));
  },
  (size, dice) => {
    // RFC 4884: thousands of objects, and MPLS labels.
    const object = dice.pick([
      Buffer.concat([be16(4), u8(1, 1)]),
      Buffer.concat([be16(8), u8(1, 1), be32(0x1234_5100)]),
    ]);
    const objects = Array.from({ length: Math.floor(size / object.length) - 60 }, () => object);
    const quote = Buffer.concat([QUOTE, Buffer.alloc(128)]).subarray(0, 128);
    return icmpv4Packet(11, 0, be32(32 << 16), Buffer.concat([quote, u8(0x20, 0, 0, 0), ...objects]));
  },
];

export function bomb(dice: Dice): Buffer {
  const size = dice.oneIn(3) ? 65_000 : 1000 + dice.few(60_000);
  return dice.pick(BOMBS)(size, dice);
}
