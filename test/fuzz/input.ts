/**
 * One input: a file, a snapshot, and how they are to be read. The same one for the same seed and number.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { SavedHost } from '../../src/host/saved-host.ts';
import type { Snapshot } from '../../src/host/snapshot.ts';
import type { Selection } from '../../src/selection.ts';
import type { TextLayout } from '../../src/sink/text.ts';
import type { TimeStampStyle } from '../../src/sink/time-stamp.ts';
import { snapshotOf } from '../host/saved-snapshot.ts';
import { NOTHING_SELECTED } from '../packets.ts';
import { casesIpv4 } from '../parity/cases-v4.ts';
import { casesIpv6 } from '../parity/cases-v6.ts';
import { ETHERNET, LINKS, type Link } from '../parity/links.ts';
import { replay } from '../replay.ts';
import { bomb } from './bombs.ts';
import { Dice } from './dice.ts';
import { modelOf, pcapngPieces, pcapPieces, type Capture, type Packet } from './model.ts';
import { HOSTILE_TEXTS, mutateJson } from './mutate-json.ts';
import { mutatePacket } from './mutate-packet.ts';

export interface Input {
  /** Of the file: what can be left out by itself. */
  pieces: Buffer[];
  /** What `--sockets` reads, or nothing; `no`: --no-sockets. */
  sockets: Buffer | 'no' | null;
  print: 'json' | { layout: TextLayout; timeStamp: TimeStampStyle; verbose: boolean };
  allIcmp: boolean;
  selection: Selection;
  save: 'pcap' | 'pcapng' | null;
  maxEvents: number;
  /** Octets of the pieces that it is read in. */
  sizes: number[];
  /** What the file is in when the command reads it: how much of the gzip stream is there, and what is changed in it. */
  gzip: { keep: number; flip: number | null; behind: number } | null;
}

interface Seeds {
  captures: Capture[];
  /** Frames to take pieces of. */
  frames: Buffer[];
  snapshots: string[];
}

let seeds: Seeds | undefined;

function loadSeeds(): Seeds {
  const names = readdirSync('fixtures').filter((name) => /\.pcap(ng)?$/.test(name));
  const files = names.map((name) => readFileSync(`fixtures/${name}`));
  const flows: NonNullable<Line['flow']>[] = [];
  for (const file of files) {
    for (const line of replay(file, { print: 'json' }).stdout.split('\n').slice(0, -1)) {
      const { flow } = JSON.parse(line) as Line;
      if (typeof flow?.sport === 'number' && typeof flow.dport === 'number') flows.push(flow);
    }
  }
  const snapshots = snapshotsOf(flows.filter((_, index) => index % 4 === 0));
  const captures = files.flatMap((file, index) => {
    const text = snapshots[index % snapshots.length]!;
    const sockets = new SavedHost(JSON.parse(text) as Snapshot);
    return [
      modelOf(file),
      modelOf(replay(file, { allIcmp: true, save: 'pcapng' }).saved),
      modelOf(replay(file, { save: 'pcapng', sockets }).saved),
    ];
  });
  const frames = captures.flatMap(({ items }) => items.flatMap((item) => (item.kind === 'packet' ? [item.data] : [])));
  return { captures, frames, snapshots };
}

/** What a command line may have and hands on as it is: names are cut at 15 octets, and an empty one is refused. */
const ARGUMENTS = HOSTILE_TEXTS.filter(
  (text) => text !== '' && Buffer.byteLength(text) <= 15 && !/\0|\p{Cs}/u.test(text),
);

interface Line {
  flow?: { src: string; sport?: number | null; dst: string; dport?: number | null };
}

/** Of hosts that sent what the fixtures' errors quote: by sockets of one namespace, or of another, or behind NAT. */
function snapshotsOf(flows: readonly NonNullable<Line['flow']>[]): string[] {
  const endpoint = (address: string, port: number): string =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return [1, 2, 3, 5].map((every) => {
    const snapshot = snapshotOf('192.0.2.1:1', '192.0.2.2:2');
    const [own] = snapshot.namespaces;
    const [socket] = own!.sockets!;
    const other = {
      ...own!,
      netns: 6,
      mount: '/run/netns/b',
      addresses: [] as string[],
      sockets: [] as (typeof socket)[],
    };
    for (const [index, { src, sport, dst, dport }] of flows.entries()) {
      const namespace = index % every === 0 ? own! : other;
      const isConnected = index % 3 !== 0;
      namespace.addresses.push(src);
      namespace.sockets!.push({
        ...socket!,
        inode: index,
        family: src.includes(':') ? 6 : 4,
        state: isConnected ? 'connected' : 'unconnected',
        local: endpoint(index % 3 === 1 ? src : src.includes(':') ? '::' : '0.0.0.0', sport!),
        remote: endpoint(isConnected ? dst : src.includes(':') ? '::' : '0.0.0.0', isConnected ? dport! : 0),
        recverr: [true, false, null][index % 3]!,
        processes: index % 7 === 0 ? [] : Array.from({ length: 1 + (index % 4) }, () => socket!.processes[0]!),
      });
      if (index % 5 === 0) {
        const original = { src: '10.0.0.2', sport: 5000 + index, dst, dport: dport! };
        own!.conntrack!.push({ original, reply: { src: dst, sport: dport!, dst: src, dport: sport! } });
      }
    }
    snapshot.namespaces.push(other as (typeof snapshot.namespaces)[number]);
    return JSON.stringify(snapshot);
  });
}

const cases = { made: null as { packet: Buffer; link: Link }[] | null };

/** What test/parity makes: every type of message, in many kinds of frame. */
function generatedFrames(): { packet: Buffer; link: Link }[] {
  cases.made ??= [...casesIpv4(), ...casesIpv6()].map(([, packet], index) => ({
    packet,
    link: index % 3 === 0 ? LINKS[index % LINKS.length]! : ETHERNET,
  }));
  return cases.made;
}

export function makeInput(seed: number, number: number): Input {
  const dice = new Dice((Math.imul(seed, 0x9e37_79b1) ^ Math.imul(number + 1, 0x85eb_ca6b)) >>> 0);
  seeds ??= loadSeeds();
  const capture = dice.oneIn(3) ? generatedCapture(dice) : copyOf(dice.pick(seeds.captures));
  if (capture.items.length > 12)
    capture.items.splice(dice.below(capture.items.length), dice.below(capture.items.length));
  mutateCapture(capture, seeds.frames, dice);
  const pieces = dice.oneIn(3) ? pcapPieces(capture, dice) : pcapngPieces(capture, dice);
  return {
    pieces: dice.oneIn(2) ? damagePieces(pieces, dice) : pieces,
    sockets: socketsFor(seeds.snapshots, dice),
    ...outputOptions(capture, dice),
    sizes: Array.from({ length: 1 + dice.below(8) }, () => 1 + dice.few(dice.pick([20, 3000, 100_000]))),
    gzip: dice.oneIn(4)
      ? {
          keep: dice.oneIn(2) ? 1 : dice.below(1000) / 1000,
          flip: dice.oneIn(2) ? null : dice.below(1000),
          behind: dice.oneIn(4) ? 1 + dice.below(1000) : 0,
        }
      : null,
  };
}

/** What is in it is changed in place, but for the octets of packets. */
function copyOf({ interfaces, items }: Capture): Capture {
  return { interfaces: interfaces.map((shape) => ({ ...shape })), items: items.map((item) => ({ ...item })) };
}

/** The file as the command reads it. */
export function fileOf({ pieces, gzip }: Pick<Input, 'pieces' | 'gzip'>): Buffer {
  const plain = Buffer.concat(pieces);
  if (gzip === null) return plain;
  const whole = gzipSync(plain);
  if (gzip.flip !== null) whole[Math.floor((gzip.flip / 1000) * whole.length)]! ^= 0x10;
  return Buffer.concat([whole.subarray(0, Math.ceil(whole.length * gzip.keep)), Buffer.alloc(gzip.behind, 0x61)]);
}

function generatedCapture(dice: Dice): Capture {
  const frames = generatedFrames();
  const capture: Capture = { interfaces: [], items: [] };
  // Up to 1 MiB.
  const areBombs = dice.oneIn(100);
  for (let left = areBombs ? 16 : 1 + dice.few(12); left > 0; left--) {
    const { packet, link } = dice.pick(frames);
    const octets = areBombs || dice.oneIn(30) ? bomb(dice) : packet;
    let iface = capture.interfaces.findIndex(({ linkType }) => linkType === link.linkType);
    if (iface === -1) iface = capture.interfaces.push({ linkType: link.linkType }) - 1;
    const data = link.frame(octets);
    const time = 1_700_000_000_000_000_000n + BigInt(capture.items.length * 250_000_000);
    capture.items.push({ kind: 'packet', data, len: data.length, time, iface, comments: [] });
  }
  return capture;
}

function mutateCapture(capture: Capture, frames: readonly Buffer[], dice: Dice): void {
  const { interfaces, items } = capture;
  for (const shape of interfaces) {
    if (dice.oneIn(6)) shape.name = dice.oneIn(2) ? dice.pick(HOSTILE_TEXTS) : dice.octets(dice.few(2000));
    if (dice.oneIn(12)) shape.tsresol = dice.pick([0, 3, 6, 9, 12, 19, 0x80, 0x94, 0xbf, dice.below(256)]);
    if (dice.oneIn(12)) shape.tsoffset = BigInt.asIntN(64, dice.long());
    if (dice.oneIn(12)) shape.snaplen = dice.word();
    if (dice.oneIn(30))
      shape.linkType = dice.pick([0, 1, 101, 108, 113, 276, 228, 229, 9, 50, 104, 51, dice.below(0x1_0000)]);
  }
  for (const item of items) {
    if (item.kind === 'journal') {
      if (dice.oneIn(2)) item.entry = mutateEntry(item.entry, dice);
    } else mutateItem(item, interfaces[item.iface]?.linkType ?? 1, frames, dice);
  }
  if (items.length === 0) return;
  const at = dice.below(items.length);
  if (dice.oneIn(8)) items.splice(at, 1);
  if (dice.oneIn(8))
    items.splice(
      dice.below(items.length + 1),
      0,
      ...Array.from({ length: 1 + dice.few(50) }, () => items[at]!).filter(Boolean),
    );
}

function mutateItem(packet: Packet, linkType: number, frames: readonly Buffer[], dice: Dice): void {
  const { data } = packet;
  if (dice.oneIn(2)) {
    packet.data = mutatePacket(data, linkType, frames, dice);
    packet.len = packet.data.length;
  }
  if (dice.oneIn(12)) packet.data = packet.data.subarray(0, dice.below(packet.data.length + 1));
  if (dice.oneIn(16)) packet.len = dice.word();
  if (dice.oneIn(10)) packet.time = dice.oneIn(2) ? dice.long() : packet.time + BigInt(dice.below(2 ** 48));
  packet.comments = packet.comments.flatMap((comment) => {
    if (!dice.oneIn(2)) return [comment];
    const text = comment.toString();
    const brace = text.indexOf('{');
    if (brace === -1) return [Buffer.from(dice.pick(HOSTILE_TEXTS))];
    return split(Buffer.from(text.slice(0, brace)), mutateJson(text.slice(brace), dice));
  });
}

/** As many comments as it takes. */
function split(prefix: Buffer, json: Buffer): Buffer[] {
  const room = 0xffff - 20;
  const comments = [Buffer.concat([prefix, json.subarray(0, room)])];
  for (let at = room; at < json.length; at += room) {
    comments.push(Buffer.concat([Buffer.from('udpicmp-watch+ '), json.subarray(at, at + room)]));
  }
  return comments;
}

function mutateEntry(entry: Buffer, dice: Dice): Buffer {
  const text = entry.toString();
  const brace = text.indexOf('{');
  if (brace === -1) return dice.octets(dice.below(100));
  return Buffer.concat([
    Buffer.from(text.slice(0, brace)),
    mutateJson(text.slice(brace).trimEnd(), dice),
    Buffer.from('\n'),
  ]);
}

/** What is not sound in the file itself. */
function damagePieces(sound: readonly Buffer[], dice: Dice): Buffer[] {
  const pieces: Buffer[] = sound.map((piece) => Buffer.from(piece));
  for (let damages = 1 + dice.few(4); damages > 0 && pieces.length > 0; damages--) {
    const at = dice.oneIn(4) ? 0 : dice.below(pieces.length);
    const piece = pieces[at]!;
    switch (dice.below(7)) {
      case 0:
        if (piece.length >= 4) piece.writeUInt32LE(dice.word(), 4 * dice.below(Math.min(8, piece.length >> 2)));
        break;
      case 1:
        if (piece.length >= 4) piece.writeUInt32BE(dice.word(), 4 * dice.below(Math.min(8, piece.length >> 2)));
        break;
      case 2:
        if (piece.length > 0) piece[dice.below(piece.length)] = dice.below(256);
        break;
      case 3:
        pieces[at] = piece.subarray(0, dice.below(piece.length + 1));
        break;
      case 4:
        pieces.splice(at, 1);
        break;
      case 5:
        pieces.splice(at, 0, dice.octets(dice.few(60)));
        break;
      default:
        pieces.splice(dice.below(pieces.length + 1), 0, piece);
    }
  }
  return pieces;
}

function socketsFor(snapshots: readonly string[], dice: Dice): Buffer | 'no' | null {
  if (dice.oneIn(8)) return 'no';
  if (!dice.oneIn(3)) return null;
  const text = dice.pick(snapshots);
  return dice.oneIn(3) ? Buffer.from(text) : mutateJson(text, dice);
}

function outputOptions(
  { items }: Capture,
  dice: Dice,
): Pick<Input, 'print' | 'allIcmp' | 'selection' | 'save' | 'maxEvents'> {
  const layout: TextLayout = dice.pick(['two-line', 'plain', 'oneline']);
  const timeStamp = dice.below(6) as TimeStampStyle;
  return {
    print: dice.oneIn(4) ? 'json' : { layout, timeStamp, verbose: dice.oneIn(2) },
    allIcmp: !dice.oneIn(3),
    selection: dice.oneIn(6) ? selectionFor(dice) : NOTHING_SELECTED,
    save: dice.oneIn(8) ? 'pcap' : dice.oneIn(2) ? 'pcapng' : null,
    maxEvents: dice.oneIn(10) ? 1 + dice.below(items.length + 1) : Infinity,
  };
}

function selectionFor(dice: Dice): Selection {
  return {
    ...NOTHING_SELECTED,
    ...dice.pick([
      { hosts: [dice.pick(['192.0.2.10', '2001:db8::1', '0.0.0.0', '::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'])] },
      { ports: [dice.pick([0, 53, 9998, 65_535])] },
      { pids: [dice.pick([1, 4711, 2 ** 31 - 1])] },
      { comms: [dice.pick(['gateway', ...ARGUMENTS])] },
      { errnos: [dice.pick(['ECONNREFUSED', 'EHOSTUNREACH', 'EPROTO'])] },
    ]),
  };
}
