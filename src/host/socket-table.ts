/**
 * The UDP sockets of one network namespace, from /proc/net/udp and /proc/net/udp6 (udp4_format_sock in
 * net/ipv4/udp.c, __ip6_dgram_sock_seq_show in net/ipv6/datagram.c):
 *
 *       sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode …
 *      421: 0100007F:C0BC 7000007F:1267 01 00000000:00000000 00:00000000 00000000     0        0 36585 …
 *
 * Ports are plain hexadecimal. Addresses are words of 32 bits, each printed as the number that this
 * machine reads in memory: 127.0.0.1 is 0100007F on a little-endian machine.
 *
 * A table of 20,000 sockets is read for the sake of one or two, so lines are only indexed when the table
 * comes in and parsed when they are asked for.
 */

import { endianness } from 'node:os';
import { formatIpv4, formatIpv6 } from '../decode/octets.ts';
import type { FileHead } from './proc-file.ts';
import type { UdpTuple } from './udp-tuple.ts';

/** One line of /proc/net/udp or udp6. The device it may be bound to is not in there. */
export interface UdpSocket {
  /** Of the socket: one of family 6 may carry v4, and its addresses are then written as v4. */
  family: 4 | 6;
  local: string;
  localPort: number;
  /** `0.0.0.0` or `::` where it has none. */
  remote: string;
  /** 0 where it has none. */
  remotePort: number;
  /** `st` 01, TCP_ESTABLISHED; otherwise 07, TCP_CLOSE. */
  connected: boolean;
  uid: number;
  /** 0 while the socket is being closed. */
  inode: number;
}

/** More sockets than this are not indexed. */
const MAX_SOCKETS = 262_144;

const LINE =
  /^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ +\S+ +\S+ +(\d+) +\d+ +(\d+) /;

const COLON = 0x3a;
const SPACE = 0x20;
const NEWLINE = 0x0a;

/** The value of each hexadecimal digit by its character code; -1 for what is none. */
const NIBBLE = new Int8Array(256).fill(-1);
for (let value = 0; value < 16; value++) {
  NIBBLE[value.toString(16).charCodeAt(0)] = value;
  NIBBLE[value.toString(16).toUpperCase().charCodeAt(0)] = value;
}

/** The sockets of one namespace at one moment. */
export class SocketTable implements Iterable<UdpSocket> {
  /** Sockets in the table. */
  readonly size: number;
  /** The table was larger than is kept, so a socket that is not found may exist. */
  readonly cut: boolean;

  readonly #v4: Buffer;
  readonly #v6: Buffer;
  readonly #littleEndian: boolean;
  /** Sockets before this index are lines of #v4. */
  readonly #v4Size: number;
  /** Where each socket's line starts. */
  readonly #starts: Int32Array;
  /** Local port and remote port of each socket. */
  readonly #ports: Uint32Array;
  /** Hash chains over both ports: the first socket of each slot, and the one that follows each socket. */
  readonly #heads: Int32Array;
  readonly #next: Int32Array;

  /**
   * Indexes the text of both files; no text makes it throw, and a malformed line is skipped.
   *
   * @param cut one of the texts does not go to the end of its file.
   * @param littleEndian the byte order of the machine that wrote the text.
   */
  constructor(v4: Buffer, v6: Buffer, cut = false, littleEndian = endianness() === 'LE') {
    this.#v4 = v4;
    this.#v6 = v6;
    this.#littleEndian = littleEndian;
    const capacity = Math.min(MAX_SOCKETS, countLines(v4) + countLines(v6));
    this.#starts = new Int32Array(capacity);
    this.#ports = new Uint32Array(capacity);
    this.#next = new Int32Array(capacity);
    this.#heads = new Int32Array(slotsFor(capacity)).fill(-1);
    this.#v4Size = this.#index(v4, 8, 0);
    this.size = this.#index(v6, 32, this.#v4Size);
    this.cut = cut || (this.size === MAX_SOCKETS && capacity === MAX_SOCKETS);
  }

  /**
   * The sockets that can take a datagram from `remotePort` to `localPort` as far as the ports go: those
   * with that local port and with that remote port or none.
   */
  socketsFor(localPort: number, remotePort: number): UdpSocket[] {
    const found: UdpSocket[] = [];
    this.#collect(localPort, remotePort, found);
    if (remotePort !== 0) this.#collect(localPort, 0, found);
    return found;
  }

  /** The socket that is connected with this very tuple; null where there is none. */
  connectedSocket({ local, localPort, remote, remotePort }: UdpTuple): UdpSocket | null {
    if (remotePort === 0 || !this.#mayHave(portPair(localPort, remotePort))) return null;
    const sockets: UdpSocket[] = [];
    this.#collect(localPort, remotePort, sockets);
    return sockets.find((socket) => socket.connected && socket.local === local && socket.remote === remote) ?? null;
  }

  /** Whether the table may have a socket with that inode; it has none where this says so. */
  hasInode(inode: number): boolean {
    return this.#v4.includes(` ${inode} `) || this.#v6.includes(` ${inode} `);
  }

  /** Octets of text. */
  get octets(): number {
    return this.#v4.length + this.#v6.length;
  }

  *[Symbol.iterator](): Generator<UdpSocket> {
    for (let index = 0; index < this.size; index++) {
      const socket = this.#parse(index);
      if (socket !== null) yield socket;
    }
  }

  /** Cheaply: in a storm of foreign tuples every table that is kept is asked for each. */
  #mayHave(ports: number): boolean {
    return this.#heads[this.#slotOf(ports)] !== -1;
  }

  #collect(localPort: number, remotePort: number, into: UdpSocket[]): void {
    const ports = portPair(localPort, remotePort);
    for (let index = this.#heads[this.#slotOf(ports)]!; index !== -1; index = this.#next[index]!) {
      if (this.#ports[index] !== ports) continue;
      const socket = this.#parse(index);
      if (socket !== null) into.push(socket);
    }
  }

  /** Adds the lines of `text`, whose addresses take `digits` digits, from socket `size` on; gives the new size. */
  #index(text: Buffer, digits: number, size: number): number {
    for (let start = 0; start < text.length && size < this.#starts.length;) {
      const newline = text.indexOf(NEWLINE, start);
      const end = newline === -1 ? text.length : newline;
      let colon = start;
      while (colon < end && text[colon] !== COLON) colon++;
      const local = colon + 2;
      const remote = local + digits + 6;
      const localPort = hex16(text, local + digits + 1);
      const remotePort = hex16(text, remote + digits + 1);
      if (
        remote + digits + 6 < end &&
        text[local + digits] === COLON &&
        text[remote - 1] === SPACE &&
        text[remote + digits] === COLON &&
        localPort >= 0 &&
        remotePort >= 0
      ) {
        const ports = portPair(localPort, remotePort);
        const slot = this.#slotOf(ports);
        this.#starts[size] = start;
        this.#ports[size] = ports;
        this.#next[size] = this.#heads[slot]!;
        this.#heads[slot] = size;
        size++;
      }
      start = end + 1;
    }
    return size;
  }

  /** Local ports of clients are spread out already; the multiplier spreads the peers of one server port. */
  #slotOf(ports: number): number {
    return ((ports >>> 16) ^ Math.imul(ports & 0xffff, 0x9e35)) & (this.#heads.length - 1);
  }

  /** Null where the line turns out malformed after its ports. */
  #parse(index: number): UdpSocket | null {
    const family = index < this.#v4Size ? 4 : 6;
    const text = family === 4 ? this.#v4 : this.#v6;
    const start = this.#starts[index]!;
    const newline = text.indexOf(NEWLINE, start);
    const line = text.toString('latin1', start, newline === -1 ? text.length : newline);
    const fields = LINE.exec(line);
    if (fields === null) return null;
    return {
      family,
      local: this.#address(fields[1]!),
      localPort: Number.parseInt(fields[2]!, 16),
      remote: this.#address(fields[3]!),
      remotePort: Number.parseInt(fields[4]!, 16),
      connected: fields[5] === '01',
      uid: Number(fields[6]),
      inode: Number(fields[7]),
    };
  }

  #address(digits: string): string {
    const octets = Buffer.from(digits, 'hex');
    if (this.#littleEndian) octets.swap32();
    if (octets.length === 4) return formatIpv4(octets, 0);
    return isV4Mapped(octets) ? formatIpv4(octets, 12) : formatIpv6(octets, 0);
  }
}

/**
 * The table in the text of /proc/net/udp and /proc/net/udp6.
 *
 * @returns null without the first. Without the second (a kernel without IPv6) there are no v6 sockets.
 */
export function socketTableOf(v4: FileHead | null, v6: FileHead | null): SocketTable | null {
  if (v4 === null) return null;
  return new SocketTable(v4.bytes, v6?.bytes ?? Buffer.alloc(0), v4.cut || (v6?.cut ?? false));
}

function countLines(text: Buffer): number {
  let lines = 1;
  for (let at = text.indexOf(NEWLINE); at !== -1; at = text.indexOf(NEWLINE, at + 1)) lines++;
  return lines;
}

/** The value of four hexadecimal digits; negative where there are no four. */
function hex16(text: Buffer, at: number): number {
  return (
    (NIBBLE[text[at] ?? 0]! << 12) |
    (NIBBLE[text[at + 1] ?? 0]! << 8) |
    (NIBBLE[text[at + 2] ?? 0]! << 4) |
    NIBBLE[text[at + 3] ?? 0]!
  );
}

function portPair(localPort: number, remotePort: number): number {
  return ((localPort << 16) | remotePort) >>> 0;
}

/** A power of two, so that a slot is found by masking; a small table is read often and must cost little. */
function slotsFor(sockets: number): number {
  return Math.min(65_536, 2 ** Math.ceil(Math.log2(Math.max(sockets, 64))));
}

/** ::ffff:0:0/96 (RFC 4291 section 2.5.5.2). */
function isV4Mapped(octets: Buffer): boolean {
  for (let at = 0; at < 10; at++) if (octets[at] !== 0) return false;
  return octets[10] === 0xff && octets[11] === 0xff;
}
