/** Runs the reader over a whole stream, in chunks, and keeps what it hands out. */
import type { CaptureInterface, Damage, InterfaceStatistics } from '../../src/savefile/packet.ts';
import { SavefileReader } from '../../src/savefile/reader.ts';

export interface ReadRecord {
  seconds: number;
  nanoseconds: number;
  len: number;
  /** Captured octets, in hex. */
  data: string;
  iface: CaptureInterface;
}

export interface ReadResult {
  format: 'pcap' | 'pcapng' | null;
  records: ReadRecord[];
  /** Of each packet. */
  comments: (readonly string[])[];
  statistics: [CaptureInterface, InterfaceStatistics][];
  journal: string[];
  damage: Damage | null;
}

/**
 * @param sizes octets of the chunks, used over and over; the whole stream at once if absent. Each chunk is
 *   overwritten after the call, as a source that reads into one buffer does.
 */
export function read(stream: Uint8Array, sizes: number[] = [stream.length || 1]): ReadResult {
  const records: ReadRecord[] = [];
  const comments: (readonly string[])[] = [];
  const journal: string[] = [];
  const statistics: [CaptureInterface, InterfaceStatistics][] = [];
  const reader = new SavefileReader({
    packet({ bytes, offset, caplen, len, seconds, nanoseconds, iface, comments: found }) {
      if (offset + caplen > bytes.length) throw new Error('the packet is not in its block');
      if (!Number.isInteger(nanoseconds) || nanoseconds < 0 || nanoseconds > 999_999_999) throw new Error('time');
      const data = Buffer.from(bytes.buffer, bytes.byteOffset + offset, caplen).toString('hex');
      records.push({ seconds, nanoseconds, len, data, iface });
      comments.push(found);
    },
    statistics: (iface, counts) => statistics.push([iface, counts]),
    journalEntry: (entry) => journal.push(entry),
  });
  for (let at = 0, i = 0; at < stream.length; i++) {
    const chunk = Uint8Array.from(stream.subarray(at, at + sizes[i % sizes.length]!));
    at += chunk.length;
    reader.push(chunk);
    chunk.fill(0xaa);
  }
  reader.end();
  return { format: reader.format, records, comments, statistics, journal, damage: reader.damage };
}
