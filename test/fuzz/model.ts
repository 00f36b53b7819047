/**
 * A capture as a list of what is in it, so that a mutation changes one thing and the file around it stays sound; and the
 * files that it makes, in pieces: a header, a record, a block.
 */
import { SavefileReader } from '../../src/savefile/reader.ts';
import {
  MICROSECONDS,
  NANOSECONDS,
  PATCHED,
  block,
  enhancedPacket,
  interfaceDescription,
  journal,
  option,
  packetBlock,
  pcapHeader,
  sectionHeader,
  simplePacket,
  statistics,
  u16,
  u32,
  type InterfaceShape,
  type Order,
} from '../savefile/build.ts';
import type { Dice } from './dice.ts';

export interface Packet {
  kind: 'packet';
  data: Buffer;
  /** Octets on the wire. */
  len: number;
  /** Since 1970, in nanoseconds. */
  time: bigint;
  /** The number of its interface. */
  iface: number;
  comments: Buffer[];
}

interface JournalEntry {
  kind: 'journal';
  entry: Buffer;
}

export interface Capture {
  interfaces: InterfaceShape[];
  items: (Packet | JournalEntry)[];
}

/** What is in a sound file. */
export function modelOf(file: Uint8Array): Capture {
  const capture: Capture = { interfaces: [], items: [] };
  const numbers = new Map<object, number>();
  const reader = new SavefileReader({
    packet({ bytes, offset, caplen, len, seconds, nanoseconds, iface, comments }) {
      let number = numbers.get(iface);
      if (number === undefined) {
        number = capture.interfaces.length;
        numbers.set(iface, number);
        const { linkType, snaplen, name, nanosecondResolution } = iface;
        capture.interfaces.push({
          linkType,
          snaplen,
          ...(name !== null && { name }),
          ...(nanosecondResolution && { tsresol: 9 }),
        });
      }
      capture.items.push({
        kind: 'packet',
        data: Buffer.from(bytes.slice(offset, offset + caplen)),
        len,
        time: BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds),
        iface: number,
        comments: comments.map((comment) => Buffer.from(comment)),
      });
    },
    journalEntry: (entry) => capture.items.push({ kind: 'journal', entry: Buffer.from(entry) }),
  });
  reader.push(file);
  reader.end();
  if (reader.damage !== null) throw new Error(reader.damage.message);
  return capture;
}

/** A pcap file: of the packets of one link type. */
export function pcapPieces({ interfaces, items }: Capture, dice: Dice): Buffer[] {
  const order: Order = dice.pick(['little', 'big']);
  const magic = dice.oneIn(8) ? PATCHED : dice.pick([MICROSECONDS, NANOSECONDS]);
  const nanoseconds = magic === NANOSECONDS;
  const { linkType = 1, snaplen = 0 } = interfaces[0] ?? {};
  const pieces = [
    pcapHeader({ order, magic, linkType, snaplen, ...(dice.oneIn(20) && { version: [2, dice.below(5)] }) }),
  ];
  for (const item of items) {
    if (item.kind === 'journal' || interfaces[item.iface]?.linkType !== linkType) continue;
    const fraction = Number(BigInt.asUintN(64, item.time) % 1_000_000_000n);
    const seconds = Number(BigInt.asUintN(32, item.time / 1_000_000_000n));
    const times = [seconds, nanoseconds ? fraction : Math.floor(fraction / 1000)];
    const patch = magic === PATCHED ? dice.octets(8) : Buffer.alloc(0);
    pieces.push(Buffer.concat([u32(order, ...times, item.data.length, item.len), patch, item.data]));
  }
  return pieces;
}

/** A pcapng file, in one section or several, now and then with the rarer blocks. */
export function pcapngPieces({ interfaces, items }: Capture, dice: Dice): Buffer[] {
  const pieces: Buffer[] = [];
  let order: Order = 'little';
  const beginSection = (): void => {
    order = dice.pick(['little', 'big']);
    pieces.push(sectionHeader(order), ...interfaces.map((shape) => interfaceDescription(order, shape)));
  };
  beginSection();
  const hasRareBlocks = dice.oneIn(4);
  for (const item of items) {
    if (dice.oneIn(20)) beginSection();
    if (hasRareBlocks && dice.oneIn(3)) pieces.push(rareBlock(order, dice));
    if (item.kind === 'journal') {
      pieces.push(journal(order, item.entry));
      continue;
    }
    const { iface, data, len, comments } = item;
    const units = BigInt.asUintN(64, unitsOf(item.time, interfaces[iface] ?? {}));
    const kind = hasRareBlocks ? dice.below(4) : 3;
    if (kind === 0) pieces.push(simplePacket(order, len, data));
    else if (kind === 1) pieces.push(packetBlock(order, iface & 0xffff, units, data, len));
    else {
      const short = comments.filter((text) => text.length <= 0xffff);
      pieces.push(enhancedPacket(order, iface, units, data, len, short));
    }
  }
  return pieces;
}

function unitsOf(time: bigint, { tsresol = 6, tsoffset = 0n }: InterfaceShape): bigint {
  const power = BigInt(Math.min(tsresol & 0x7f, 63));
  return ((time - tsoffset * 1_000_000_000n) * (tsresol > 0x7f ? 2n : 10n) ** power) / 1_000_000_000n;
}

function rareBlock(order: Order, dice: Dice): Buffer {
  switch (dice.below(5)) {
    case 0:
      return statistics(order, dice.below(3), [
        [4, dice.long()],
        [dice.pick([5, 7]), dice.long()],
      ]);
    case 1:
      return block(order, dice.word(), dice.octets(dice.below(100)));
    case 2:
      // Claims up to gigabytes.
      return Buffer.concat([u32(order, dice.pick([4, 6, 9, 10, 99]), dice.word()), dice.octets(dice.below(100))]);
    case 3:
      return journal(order, dice.octets(dice.below(300)));
    default: {
      const hostile = option(order, dice.pick([1, 2, 9, 14, dice.below(0x1_0000)]), dice.octets(dice.below(12)));
      const lie = Buffer.concat([u16(order, dice.below(20), dice.word() & 0xffff), dice.octets(4)]);
      const options = [hostile, dice.pick([hostile, lie]), u32(order, 0)];
      return block(
        order,
        1,
        Buffer.concat([u16(order, dice.pick([1, 101, 113, 276]), 0), u32(order, dice.word()), ...options]),
      );
    }
  }
}
