/**
 * Makes the captures that are replayed and sent: classic pcap, Ethernet, IPv4.
 */
import { closeSync, openSync, writeSync } from 'node:fs';

const RECORD_HEADER = 16;
const ETHERNET = 14;
const IP = 20;
const ICMP = 8;
const PROTOCOL_ICMP = 1;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const CHUNK = 4 << 20;

/** Type and code of three errors in four, and of the fourth. */
const PORT_UNREACHABLE = [3, 3] as const;
const OTHERS = [
  [3, 1],
  [3, 10],
  [3, 13],
  [11, 0],
] as const;

export interface Addresses {
  /** To whom the errors are sent, and who sent the datagrams that they quote. */
  client: string;
  clientMac?: string;
  serverMac?: string;
}

const SOMEBODY: Addresses = { client: '192.0.2.10' };

/** Octets of a frame in mixedCapture(). */
const MIXED_FRAME = 200;

/** TCP and UDP, and one ICMP error in 1,000; every record has 216 octets, header included. */
export function mixedCapture(path: string, records: number): void {
  const ordinary = Array.from({ length: 997 }, (_, n) => ordinaryFrame(n));
  const error = errorFrame(SOMEBODY, MIXED_FRAME);
  writeCapture(path, records, (n) => {
    if (n % 1000 !== 500) return ordinary[n % ordinary.length]!;
    return error.of(n, PORT_UNREACHABLE);
  });
}

/** ICMP errors alone; no two quote the same five-tuple. */
export function errorsCapture(path: string, records: number): void {
  const error = errorFrame(SOMEBODY, 90);
  writeCapture(path, records, (n) => error.of(n, n % 4 === 3 ? OTHERS[(n >> 2) % 4]! : PORT_UNREACHABLE));
}

/** Port unreachables alone, to a host that is there; no two quote the same five-tuple. */
export function stormCapture(path: string, records: number, addresses: Addresses): void {
  const error = errorFrame(addresses, 70);
  writeCapture(path, records, (n) => error.of(n, PORT_UNREACHABLE));
}

function writeCapture(path: string, records: number, frameOf: (n: number) => Uint8Array): void {
  const file = openSync(path, 'wx', 0o600);
  const chunk = Buffer.allocUnsafe(CHUNK);
  let end = 0;
  for (const value of [0xa1b2c3d4, 0x0004_0002, 0, 0, 262_144, 1]) end = chunk.writeUInt32LE(value, end);
  for (let n = 0; n < records; n++) {
    const frame = frameOf(n);
    if (end + RECORD_HEADER + frame.length > CHUNK) {
      writeSync(file, chunk, 0, end);
      end = 0;
    }
    // 20,000 a second
    end = chunk.writeUInt32LE(1_700_000_000 + Math.trunc(n / 20_000), end);
    end = chunk.writeUInt32LE((n % 20_000) * 50 + (n % 50), end);
    end = chunk.writeUInt32LE(frame.length, end);
    end = chunk.writeUInt32LE(frame.length, end);
    chunk.set(frame, end);
    end += frame.length;
  }
  writeSync(file, chunk, 0, end);
  closeSync(file);
}

function ordinaryFrame(n: number): Buffer {
  const frame = Buffer.alloc(MIXED_FRAME, n);
  ethernet(frame, SOMEBODY);
  ipHeader(frame, ETHERNET, [PROTOCOL_UDP, PROTOCOL_TCP, PROTOCOL_TCP][n % 3]!, MIXED_FRAME - ETHERNET);
  writeAddress(frame, ETHERNET + 12, SOMEBODY.client);
  writeServer(frame, ETHERNET + 16, n);
  sumIpHeader(frame, ETHERNET);
  frame.writeUInt16BE(40_000 + n, ETHERNET + IP);
  frame.writeUInt16BE(n % 3 === 0 ? 53 : 443, ETHERNET + IP + 2);
  if (n % 3 === 0) frame.writeUInt16BE(MIXED_FRAME - ETHERNET - IP, ETHERNET + IP + 4);
  else frame[ETHERNET + IP + 12] = 0x50;
  return frame;
}

/** A frame that becomes one error after the other. */
function errorFrame(addresses: Addresses, length: number): { of(n: number, type: readonly number[]): Buffer } {
  const frame = Buffer.alloc(length, 'quoted');
  const icmp = ETHERNET + IP;
  const quoted = icmp + ICMP;
  const udp = quoted + IP;
  ethernet(frame, addresses);
  ipHeader(frame, ETHERNET, PROTOCOL_ICMP, length - ETHERNET);
  writeAddress(frame, ETHERNET + 16, addresses.client);
  ipHeader(frame, quoted, PROTOCOL_UDP, length - quoted);
  writeAddress(frame, quoted + 12, addresses.client);
  frame.writeUInt32BE(0, icmp + 4);
  frame.writeUInt16BE(length - udp, udp + 4);
  frame.writeUInt16BE(0, udp + 6);
  return {
    of(n, [type, code]) {
      frame.writeUInt16BE(n & 0xffff, ETHERNET + 4);
      writeServer(frame, ETHERNET + 12, n);
      sumIpHeader(frame, ETHERNET);
      frame.writeUInt16BE((n * 7) & 0xffff, quoted + 4);
      writeServer(frame, quoted + 16, n);
      sumIpHeader(frame, quoted);
      frame.writeUInt16BE(1024 + (n % SOURCE_PORTS), udp);
      frame.writeUInt16BE(20_000 + (n % 20_000), udp + 2);
      frame[icmp] = type!;
      frame[icmp + 1] = code!;
      frame.writeUInt16BE(0, icmp + 2);
      frame.writeUInt16BE(checksum(frame, icmp, length), icmp + 2);
      return frame;
    },
  };
}

function ethernet(
  frame: Buffer,
  { clientMac = '00:00:5e:00:53:01', serverMac = '00:00:5e:00:53:02' }: Addresses,
): void {
  frame.write(`${clientMac}${serverMac}`.replaceAll(':', ''), 'hex');
  frame.writeUInt16BE(0x0800, 12);
}

function ipHeader(frame: Buffer, at: number, protocol: number, length: number): void {
  frame.fill(0, at, at + IP);
  frame[at] = 0x45;
  frame.writeUInt16BE(length, at + 2);
  frame[at + 8] = 64;
  frame[at + 9] = protocol;
}

function sumIpHeader(frame: Buffer, at: number): void {
  frame.writeUInt16BE(0, at + 10);
  frame.writeUInt16BE(checksum(frame, at, at + IP), at + 10);
}

function writeAddress(frame: Buffer, at: number, address: string): void {
  address.split('.').forEach((octet, n) => (frame[at + n] = Number(octet)));
}

/** They have no common divisor: 60 million pairs before one repeats. */
const SOURCE_PORTS = 60_000;
const SERVERS = 1009;

/** In RFC 2544's network for benchmarks, 198.18.0.0/15. */
function writeServer(frame: Buffer, at: number, n: number): void {
  const host = 1 + (n % SERVERS);
  frame[at] = 198;
  frame[at + 1] = 18;
  frame[at + 2] = host >> 8;
  frame[at + 3] = host & 0xff;
}

/** RFC 1071. */
function checksum(bytes: Buffer, start: number, end: number): number {
  let sum = 0;
  for (let at = start; at < end; at += 2) sum += (bytes[at]! << 8) | (at + 1 < end ? bytes[at + 1]! : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
