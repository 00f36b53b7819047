/**
 * Mutations of a packet. Lengths and checksums are mostly made right again, so that what changed is looked at, and not thrown
 * away for a checksum.
 */
import { findIcmp } from '../../src/decode/packet.ts';
import type { Dice } from './dice.ts';

const MAX_PACKET = 65_535;

/**
 * @param others packets to take pieces of
 * @param linkType LINKTYPE_ value
 */
export function mutatePacket(data: Buffer, linkType: number, others: readonly Buffer[], dice: Dice): Buffer {
  let octets: Buffer = Buffer.from(data);
  const ip = Math.max(0, findIcmp(octets, 0, octets.length, linkType, false));
  for (let changes = 1 + dice.few(6); changes > 0; changes--) octets = change(octets, ip, others, dice);
  octets = octets.subarray(0, dice.oneIn(50) ? 262_144 : MAX_PACKET);
  if (!dice.oneIn(4) && findIcmp(octets, 0, octets.length, linkType, false) === ip) repair(octets, ip);
  return octets;
}

function change(octets: Buffer, ip: number, others: readonly Buffer[], dice: Dice): Buffer {
  if (octets.length === 0) return dice.octets(40);
  // Most fields are near the start of the IP packet; what is before it chooses how it is read.
  const behind = Math.max(1, octets.length - ip);
  const at = dice.oneIn(4)
    ? dice.below(octets.length)
    : Math.min(octets.length - 1, ip + dice.below(Math.min(behind, 160)));
  const length = 1 + dice.few(80);
  const slice = octets.subarray(at, at + length);
  const splice = (removed: number, ...inserted: Buffer[]): Buffer =>
    Buffer.concat([octets.subarray(0, at), ...inserted, octets.subarray(at + removed)]);
  switch (dice.below(9)) {
    case 0:
      octets[at]! ^= 1 << dice.below(8);
      return octets;
    case 1:
      octets[at] = dice.pick([0, 1, 4, 6, 17, 41, 43, 44, 47, 58, 60, 132, 255, 0x45, 0x60, dice.below(256)]);
      return octets;
    case 2: {
      const width = Math.min(dice.pick([2, 4]), octets.length - at);
      const word = dice.word();
      octets.writeUIntBE(width === 4 ? word : word % 2 ** (8 * width), at, width);
      return octets;
    }
    case 3:
      return splice(length);
    case 4:
      return splice(0, dice.octets(length));
    case 5: {
      const other = dice.pick(others);
      const from = dice.below(other.length + 1);
      return splice(dice.oneIn(2) ? length : 0, other.subarray(from, from + 1 + dice.few(400)));
    }
    case 6: {
      // A list of thousands of what there was one of.
      const room = dice.oneIn(4) ? MAX_PACKET - octets.length : 2000;
      const times = Math.max(0, Math.min(Math.floor(room / slice.length), 1 + dice.few(20_000)));
      return splice(0, ...Array.from({ length: times }, () => slice));
    }
    case 7:
      // A packet in itself.
      return splice(dice.oneIn(2) ? length : 0, octets.subarray(ip));
    default:
      return dice.oneIn(3) ? octets.subarray(0, at) : octets;
  }
}

/** Lengths and checksums of the IP packet at `ip`, of the ICMP message in it, and of the header that the message quotes. */
export function repair(octets: Buffer, ip: number): void {
  const length = octets.length - ip;
  if (octets[ip]! >> 4 === 4) {
    if (length < 20) return;
    octets.writeUInt16BE(Math.min(length, MAX_PACKET), ip + 2);
    const icmp = ip + (octets[ip]! & 0x0f) * 4;
    if (icmp + 8 + 20 <= octets.length && octets[icmp + 8]! >> 4 === 4) repairHeader(octets, icmp + 8);
    if (octets[ip + 9] === 1 && icmp + 4 <= octets.length) sumUp(octets, icmp, icmp + 2, 0);
    repairHeader(octets, ip);
    return;
  }
  if (length < 40) return;
  octets.writeUInt16BE(Math.min(length - 40, MAX_PACKET), ip + 4);
  if (octets[ip + 6] !== 58 || length < 44) return;
  sumUp(
    octets,
    ip + 40,
    ip + 42,
    sumOf(octets, ip + 8, ip + 40) + 58 + ((length - 40) & 0xffff) + ((length - 40) >>> 16),
  );
}

function repairHeader(octets: Buffer, ip: number): void {
  const end = Math.min(octets.length, ip + (octets[ip]! & 0x0f) * 4);
  octets.writeUInt16BE(0, ip + 10);
  octets.writeUInt16BE(folded(sumOf(octets, ip, end)), ip + 10);
}

function sumUp(octets: Buffer, from: number, field: number, before: number): void {
  octets.writeUInt16BE(0, field);
  octets.writeUInt16BE(folded(before + sumOf(octets, from, octets.length)), field);
}

function sumOf(octets: Buffer, from: number, end: number): number {
  let sum = 0;
  for (let at = from; at < end; at += 2) sum += (octets[at]! << 8) | (at + 1 < end ? octets[at + 1]! : 0);
  return sum;
}

function folded(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}
