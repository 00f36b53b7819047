/**
 * NAT as the kernel keeps it: /proc/net/nf_conntrack (ct_seq_show in net/netfilter/nf_conntrack_standalone.c) and the
 * output of conntrack(8), a line for each flow:
 *
 *     ipv4     2 udp      17 27 src=10.0.0.2 dst=192.0.2.9 sport=5000 dport=53 [UNREPLIED] src=192.0.2.9 dst=192.0.2.1 …
 *
 * The first tuple is that of the datagrams that opened the flow, before NAT; the second that of the answers, before
 * NAT is undone for them. A packet socket sees an ICMP error before the kernel undoes NAT in it (nf_nat_icmp_reply_translation),
 * so the quoted tuple is the one on the wire at that interface.
 */
import { formatIpv6 } from '../decode/octets.ts';
import { Slices } from './bounds.ts';
import type { UdpTuple } from './udp-tuple.ts';

/** Datagrams of one direction of a flow. */
export interface ConntrackTuple {
  src: string;
  sport: number;
  dst: string;
  dport: number;
}

export interface ConntrackEntry {
  original: ConntrackTuple;
  reply: ConntrackTuple;
}

const NEWLINE = 0x0a;
const ENTRY =
  /^(?:ipv[46] +\d+ +)?udp +17 .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) /;
/** Eight groups of four digits: /proc does not shorten IPv6 addresses. */
const FULL_IPV6 = /^(?:[0-9a-f]{4}:){7}[0-9a-f]{4}$/;

/** A table of less text is searched as it is: few flows are ever asked for. */
const INDEXED_FROM = 64 * 1024;
const SPORT = Buffer.from(' sport=');
const DPORT = Buffer.from(' dport=');

/** The UDP flows of one namespace at one moment. */
export class ConntrackTable {
  readonly #text: Buffer;
  /** Where tuples have their ports, by both of them; null: there are so few that they are searched for. */
  #index: PortIndex | null = null;

  /** No text makes it throw; what is no line of a UDP flow is passed over. */
  constructor(text: Buffer) {
    this.#text = text;
  }

  /** The same with an index, which takes 5 ms for every 10,000 flows. */
  static async of(text: Buffer): Promise<ConntrackTable> {
    const table = new ConntrackTable(text);
    if (text.length >= INDEXED_FROM) table.#index = await PortIndex.of(text);
    return table;
  }

  /** Octets of text. */
  get size(): number {
    return this.#text.length;
  }

  /**
   * The tuples that a socket may have whose tuple on the wire is `tuple`: none where conntrack has no such flow, several
   * where flows of several zones (`ct zone`) look alike. Whether NAT changed it does not matter.
   */
  undoNat(tuple: UdpTuple): UdpTuple[] {
    if (this.size === 0) return [];
    const found = new Map<string, UdpTuple>();
    for (const [remote, local] of spellings(tuple)) {
      const pattern = Buffer.from(`src=${remote} dst=${local} sport=${tuple.remotePort} dport=${tuple.localPort} `);
      for (const at of this.#find(pattern, tuple)) {
        const entry = parseConntrackLine(this.#lineAt(at));
        const socket = entry === null ? null : socketTuple(entry, tuple);
        if (socket !== null) found.set(JSON.stringify(socket), socket);
      }
    }
    return [...found.values()];
  }

  /** Where the text has the pattern, which is the tuple as it is written. */
  *#find(pattern: Buffer, { remotePort, localPort }: UdpTuple): Generator<number> {
    const text = this.#text;
    if (this.#index === null) {
      for (let at = text.indexOf(pattern); at !== -1; at = text.indexOf(pattern, at + 1)) yield at;
      return;
    }
    const portsAt = pattern.indexOf(SPORT);
    for (const at of this.#index.find(remotePort, localPort)) {
      const start = at - portsAt;
      if (start >= 0 && text.compare(pattern, 0, pattern.length, start, start + pattern.length) === 0) yield start;
    }
  }

  *entries(): Generator<ConntrackEntry> {
    for (let start = 0; start < this.#text.length;) {
      const line = this.#lineAt(start);
      start += line.length + 1;
      const entry = parseConntrackLine(line);
      if (entry !== null) yield entry;
    }
  }

  #lineAt(offset: number): string {
    const start = offset === 0 ? 0 : this.#text.lastIndexOf(NEWLINE, offset - 1) + 1;
    const end = this.#text.indexOf(NEWLINE, offset);
    return this.#text.toString('latin1', start, end === -1 ? this.#text.length : end);
  }
}

/** Hash chains over both ports of every tuple in the text. */
class PortIndex {
  /** Where each tuple has ` sport=`, and its ports. */
  readonly #offsets: number[] = [];
  readonly #ports: number[] = [];
  readonly #next: number[] = [];
  readonly #heads = new Int32Array(65_536).fill(-1);

  static async of(text: Buffer): Promise<PortIndex> {
    const index = new PortIndex();
    const slices = new Slices();
    for (let at = text.indexOf(SPORT); at !== -1; at = text.indexOf(SPORT, at + 1)) {
      if (slices.isOver) await slices.rest();
      const sport = numberAt(text, at + SPORT.length);
      const dportAt = text.indexOf(DPORT, at);
      if (dportAt === -1 || dportAt - at > 16) continue;
      index.#add(at, portPair(sport, numberAt(text, dportAt + DPORT.length)));
    }
    return index;
  }

  *find(sport: number, dport: number): Generator<number> {
    const ports = portPair(sport, dport);
    for (let entry = this.#heads[slotOf(ports)]!; entry !== -1; entry = this.#next[entry]!) {
      if (this.#ports[entry] === ports) yield this.#offsets[entry]!;
    }
  }

  #add(offset: number, ports: number): void {
    const slot = slotOf(ports);
    this.#next.push(this.#heads[slot]!);
    this.#heads[slot] = this.#offsets.length;
    this.#offsets.push(offset);
    this.#ports.push(ports);
  }
}

/** The decimal number that begins there. */
function numberAt(text: Buffer, offset: number): number {
  let value = 0;
  for (let at = offset; at < offset + 5; at++) {
    const digit = text[at]! - 0x30;
    if (!(digit >= 0 && digit <= 9)) break;
    value = value * 10 + digit;
  }
  return value;
}

function portPair(sport: number, dport: number): number {
  return sport * 65_536 + dport;
}

function slotOf(ports: number): number {
  return ((ports >>> 16) ^ Math.imul(ports & 0xffff, 0x9e35)) & 0xffff;
}

/** Null where the line is not that of a UDP flow. */
export function parseConntrackLine(line: string): ConntrackEntry | null {
  const fields = ENTRY.exec(line);
  if (fields === null) return null;
  return { original: tupleOf(fields.slice(1, 5)), reply: tupleOf(fields.slice(5, 9)) };
}

/** The socket's tuple if the entry is of the flow that has `tuple` on the wire; else null. */
export function socketTuple({ original, reply }: ConntrackEntry, tuple: UdpTuple): UdpTuple | null {
  const { version } = tuple;
  const other = arrivesAt(original, tuple) ? reply : arrivesAt(reply, tuple) ? original : null;
  if (other === null) return null;
  return { version, local: other.src, localPort: other.sport, remote: other.dst, remotePort: other.dport };
}

/** Whether datagrams of this direction are those that arrive at `tuple`. */
function arrivesAt({ src, sport, dst, dport }: ConntrackTuple, tuple: UdpTuple): boolean {
  return sport === tuple.remotePort && dport === tuple.localPort && src === tuple.remote && dst === tuple.local;
}

function tupleOf([src, dst, sport, dport]: string[]): ConntrackTuple {
  return { src: canonical(src!), sport: Number(sport), dst: canonical(dst!), dport: Number(dport) };
}

function canonical(address: string): string {
  return FULL_IPV6.test(address) ? formatIpv6(Buffer.from(address.replaceAll(':', ''), 'hex'), 0) : address;
}

/** Remote and local address as they may be written: IPv6 in full (/proc), and short (conntrack). */
function spellings({ version, remote, local }: UdpTuple): [string, string][] {
  if (version === 4) return [[remote, local]];
  return [
    [inFull(remote), inFull(local)],
    [remote, local],
  ];
}

/** 2001:db8::1 as 2001:0db8:0000:0000:0000:0000:0000:0001. */
function inFull(address: string): string {
  const [head, tail] = address.split('::').map((part) => part.split(':').filter(Boolean));
  const groups = tail === undefined ? head! : [...head!, ...Array(8 - head!.length - tail.length).fill('0'), ...tail];
  return groups.map((group) => group.padStart(4, '0')).join(':');
}
