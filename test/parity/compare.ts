/**
 * The same packets to the tcpdump that is installed and to the built command, and what differs between what they print.
 *
 * The packets of all captures are put together by link type and get their number for a time stamp: few processes print
 * much, and what they print is told apart by packet, whatever lines it has.
 */
import { resolve } from 'node:path';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { decodeIp, PROTOCOL } from '../../src/decode/ip.ts';
import { ipOffset } from '../../src/decode/link.ts';
import { isMalformed } from '../../src/decode/octets.ts';
import { SavefileReader } from '../../src/savefile/reader.ts';
import { run } from '../command.ts';
import { pcap } from '../savefile/build.ts';
import { inCommon, whyAdded, whyLeftOut, type Deliberate } from './deliberate.ts';

export interface ComparedPacket {
  /** Where it is from, for people. */
  origin: string;
  linkType: number;
  data: Uint8Array;
  /** Octets on the wire. */
  len: number;
  seconds: number;
  nanoseconds: number;
}

export interface Difference {
  packet: ComparedPacket;
  /** Null: not printed, or nothing about ICMP. */
  theirs: string | null;
  ours: string | null;
}

export interface Comparison {
  /** ICMP packets, by what tcpdump says of them. */
  compared: number;
  differences: Difference[];
  /** How many packets differ for each of the reasons on the list, and are the same otherwise. */
  deliberate: Map<Deliberate, number>;
}

const COMMAND = resolve('dist/cli.js');

/** The packets of a capture. */
export function readPackets(path: string): ComparedPacket[] {
  const packets: ComparedPacket[] = [];
  const reader = new SavefileReader({
    packet({ bytes, offset, caplen, len, seconds, nanoseconds, iface: { linkType } }) {
      const data = bytes.slice(offset, offset + caplen);
      packets.push({ origin: `${path}, packet ${packets.length + 1}`, linkType, data, len, seconds, nanoseconds });
    },
  });
  const file = readFileSync(path);
  reader.push(file[0] === 0x1f && file[1] === 0x8b ? gunzipSync(file) : file);
  reader.end();
  if (reader.damage !== null) console.error(`${path}: ${reader.damage.message}`);
  return packets;
}

/**
 * @param verbosity `-v`, or nothing
 * @param stamp `-t` and so on: time stamps are compared too
 */
export function compare(
  packets: readonly ComparedPacket[],
  verbosity: readonly string[] = [],
  stamp: string | null = null,
): Comparison {
  const comparison: Comparison = { compared: 0, differences: [], deliberate: new Map() };
  for (const ofLinkType of groupBy(packets, ({ linkType }) => linkType)) {
    compareCapture(ofLinkType, verbosity, stamp, comparison);
  }
  return comparison;
}

function compareCapture(
  packets: readonly ComparedPacket[],
  verbosity: readonly string[],
  stamp: string | null,
  comparison: Comparison,
): void {
  const numbered = pcapOf(packets.map((packet, index) => ({ ...packet, seconds: index, nanoseconds: 0 })));
  const theirs = byNumber(tcpdump(numbered, [...verbosity, '-tt']), packets.length);
  const ours = byNumber(udpicmpWatch(numbered, [...verbosity, '-tt']), packets.length);
  if (stamp === null) {
    for (const [index, packet] of packets.entries()) judge(packet, theirs[index]!, ours[index]!, comparison);
    return;
  }
  // Stamps depend on the packets before: of those that only one of both prints nothing can be said.
  const printed = packets.filter((packet, index) => isAboutIcmp(theirs[index]!, packet) && ours[index] !== '');
  const capture = pcapOf(printed);
  const theirBlocks = blocks(tcpdump(capture, [...verbosity, stamp]));
  const ourBlocks = blocks(udpicmpWatch(capture, [...verbosity, stamp]));
  for (const [index, packet] of printed.entries()) {
    judge(packet, theirBlocks[index] ?? '', ourBlocks[index] ?? '', comparison);
  }
}

function judge(packet: ComparedPacket, theirs: string, ours: string, comparison: Comparison): void {
  const isIcmp = isAboutIcmp(theirs, packet);
  if (!isIcmp && ours === '') return;
  comparison.compared++;
  if (theirs === ours) return;
  let reason = inCommon(theirs, ours) ?? (isIcmp ? null : whyAdded(theirs));
  if (ours === '') reason = whyLeftOut(theirs, packet);
  if (reason === null) comparison.differences.push({ packet, theirs: theirs || null, ours: ours || null });
  else comparison.deliberate.set(reason, (comparison.deliberate.get(reason) ?? 0) + 1);
}

/** Whether tcpdump's text mentions a message or a part of one. */
function isAboutIcmp(text: string, packet: ComparedPacket): boolean {
  // Of a later fragment in IPv6 it does not say what is in it.
  if (/ frag \(0x[\da-f]{8}:[1-9]\d*\|\d+\)$| frag \([1-9]\d*\|\d+\)$/.test(text)) return isIcmpv6Fragment(packet);
  return /: (?:.* )?ICMP6?[ ,]|\[\|icmp6?\]|proto ICMP \(1\)|next-header ICMPv6 \(58\)|ip-proto-1$/m.test(text);
}

function isIcmpv6Fragment({ data, linkType }: ComparedPacket): boolean {
  const at = ipOffset(data, 0, data.length, linkType);
  if (at === -1) return false;
  const header = decodeIp(data, at, data.length, 'outer');
  return !isMalformed(header) && header.fragmentOffset > 0 && header.protocol === PROTOCOL.ICMPV6;
}

function pcapOf(packets: readonly ComparedPacket[]): Buffer {
  return pcap([...packets], { linkType: packets[0]?.linkType ?? 1 });
}

function tcpdump(capture: Buffer, options: readonly string[]): string {
  const { stdout, stderr, status } = run('tcpdump', ['-nn', ...options, '-r', '-'], capture);
  if (status !== 0) throw new Error(`tcpdump: ${stderr}`);
  return stdout;
}

function udpicmpWatch(capture: Buffer, options: readonly string[]): string {
  const args = [COMMAND, '--plain', '--all-icmp', '--no-summary', ...options, '-r', '-'];
  const { stdout, stderr, status } = run(process.execPath, args, capture);
  if (status !== 0) throw new Error(`udpicmp-watch: ${stderr}`);
  return stdout;
}

/** What was printed of each packet, without its number; empty where nothing was. */
function byNumber(text: string, count: number): string[] {
  const texts = Array.from({ length: count }, () => '');
  let current = -1;
  for (const line of text.split('\n')) {
    const [stamp, number] = /^(\d+)\.000000 /.exec(line) ?? [];
    if (stamp !== undefined) {
      current = Number(number);
      texts[current] = line.slice(stamp.length);
    } else if (line !== '') texts[current] += `\n${line}`;
  }
  return texts;
}

/** Lines that begin with a tab or with four blanks go on from the one before. */
function blocks(text: string): string[] {
  return text.trimEnd().split(/\n(?!\t| {4})/);
}

/** In the order in which the first of each group comes. */
export function groupBy<T>(items: readonly T[], key: (item: T) => unknown): T[][] {
  const groups = new Map<unknown, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
