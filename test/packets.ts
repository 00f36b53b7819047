/**
 * IPv4 packets between a client, 192.0.2.10, and a peer, 192.0.2.20, as they are on a link without a header of its own; and
 * captures of them.
 */
import type { Selection } from '../src/selection.ts';
import { pcap } from './savefile/build.ts';

/** LINKTYPE_RAW */
export const RAW = 101;

export const NOTHING_SELECTED: Selection = { hosts: [], ports: [], pids: [], comms: [], errnos: [] };

/** The peer's ICMP error, type 3, that quotes a datagram from `sport` to port 9999. */
export function portUnreachable(sport: number, protocol = 17, code = 3): Buffer {
  const packet = Buffer.from(
    '45c00038000000004001 0000 c0000214 c000020a 0303000000000000'.replaceAll(' ', '') +
      '45000021beef00004011 0000 c000020a c0000214 0000270f000d0000'.replaceAll(' ', ''),
    'hex',
  );
  packet.writeUInt16BE(sport, 4); // each has an identification of its own
  packet[21] = code;
  packet[37] = protocol;
  packet.writeUInt16BE(sport, 48);
  packet.writeUInt16BE(checksumOf(packet.subarray(20)), 22);
  return packet;
}

/** RFC 1071, of an even number of octets whose checksum is 0. */
function checksumOf(message: Buffer): number {
  let sum = 0;
  for (let at = 0; at < message.length; at += 2) sum += message.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function echoRequest(): Buffer {
  return Buffer.from('4500001c0000000040010000c0000214c000020a0800000000070001', 'hex');
}

/** A datagram of the client to port 9999 of the peer. */
export function datagram(sport: number): Buffer {
  const packet = Buffer.from('4500001c0000000040110000c000020ac00002140000270f00080000', 'hex');
  packet.writeUInt16BE(sport, 20);
  return packet;
}

/** A datagram of the peer's port 9999 to the client. */
export function answer(sport: number): Buffer {
  const packet = Buffer.from('4500001c0000000040110000c0000214c000020a270f000000080000', 'hex');
  packet.writeUInt16BE(sport, 22);
  return packet;
}

/** 2023-11-14T22:13:20Z */
export const START = 1_700_000_000;

/** A pcap file of packets, each so many milliseconds after START. */
export function captureOf(...packets: readonly (readonly [milliseconds: number, packet: Buffer])[]): Buffer {
  return pcap(
    packets.map(([milliseconds, data]) => ({
      seconds: START + Math.floor(milliseconds / 1000),
      nanoseconds: (milliseconds % 1000) * 1e6,
      data,
    })),
    { linkType: RAW },
  );
}
