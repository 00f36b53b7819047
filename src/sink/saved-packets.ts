/**
 * `-w`: the packets that are shown, each with what was found out as comments: a line for people, and the JSON line, by which
 * a replay prints the same again (correlate/saved-lines.ts). A classic pcap file has the packets alone.
 */
import type { IcmpEvent, OtherRecord } from '../event.ts';
import { isRecord } from '../event.ts';
import { LINKTYPE } from '../decode/link.ts';
import type { CaptureInterface } from '../savefile/packet.ts';
import { pcapFileHeader, pcapRecord } from '../savefile/pcap-writer.ts';
import {
  commentedPacket,
  interfaceDescriptionSize,
  journalEntry,
  MAXIMUM_COMMENT,
  sectionHeaderSize,
  writeInterfaceDescription,
  writeSectionHeader,
} from '../savefile/pcapng-writer.ts';
import { attributionText } from './attribution-text.ts';
import { printable } from './escape.ts';
import { jsonLine, lossJson, recordJson } from './json-lines.ts';
import { lossText } from './loss-text.ts';
import { counted } from './numbers.ts';
import type { Octets, Output } from './output.ts';
import { recordText } from './record-text.ts';

/** A packet whose octets were copied out of its capture. */
export interface SavedPacket {
  bytes: Uint8Array;
  /** Octets on the wire. */
  len: number;
  iface: CaptureInterface;
}

/** What a comment with JSON begins with; one that is too long for an option goes on in the next. */
export const COMMENT_START = 'udpicmp-watch ';
export const COMMENT_MORE = 'udpicmp-watch+ ';
/** The field of a journal entry that has the JSON. */
export const JOURNAL_FIELD = 'UDPICMP_WATCH=';

/** Options that one JSON line may take; some thousand processes. */
const MAX_COMMENTS = 64;

/** A journal entry is read only if its block has at most 1 MiB (savefile/pcapng.ts); what people read is in it too. */
const MAXIMUM_JOURNAL_JSON = 1024 * 1024 - MAXIMUM_COMMENT - 4096;

/** After this many interfaces a new section begins, so that no reader's table of them grows for ever. */
const MAX_INTERFACES = 1024;

/** Seconds whose nanoseconds fit into 64 bits. What is before 1970 or later counts from a multiple of them. */
const TIME_SPAN = 2 ** 34;

export interface PacketWriter {
  readonly output: Output;
  /** Called by who knows that there is a capture, even if there is nothing to save. */
  begin(): void;
  /** How many packets could not be saved whole, and why: lines for the closing statistics. */
  losses(): string[];
  /** Saves what was shown; a record of quiet or loss has no packet. */
  write(shown: IcmpEvent | OtherRecord, packet: SavedPacket | null): void;
}

export class PcapngFile implements PacketWriter {
  readonly output: Output;
  readonly #empty: () => void;
  readonly #interfaces = new Map<string, number>();
  #hasBegun = false;
  #withoutJson = 0;

  /** @param empty removes what is in the file from an earlier time */
  constructor(output: Output, empty: () => void) {
    this.output = output;
    this.#empty = empty;
  }

  /** Without any packet there is an interface all the same: libpcap reads no file without. */
  begin(): void {
    if (this.#open()) {
      this.#interfaceId({ id: 0, name: null, linkType: LINKTYPE.ETHERNET, snaplen: 0, nanosecondResolution: false });
    }
  }

  /** False if it was open. */
  #open(): boolean {
    if (this.#hasBegun) return false;
    this.#hasBegun = true;
    this.#empty();
    this.#section();
    return true;
  }

  losses(): string[] {
    if (this.#withoutJson === 0) return [];
    return [`${counted(this.#withoutJson, 'time')} only the line for people was saved: too many processes for more`];
  }

  write(shown: IcmpEvent | OtherRecord, packet: SavedPacket | null): void {
    const isFirst = this.#open();
    const json = jsonOf(shown).trimEnd();
    let words = wordsOf(shown);
    // The kernel's names are short, those in a snapshot or another file as long as they like.
    words = words.slice(0, endOfPiece(words, MAXIMUM_COMMENT));
    if (packet === null) {
      const line = json.length > MAXIMUM_JOURNAL_JSON ? '' : `${JOURNAL_FIELD}${json}\n`;
      if (line === '') this.#withoutJson++;
      const microseconds = BigInt(shown.seconds) * 1_000_000n + BigInt(Math.trunc(shown.nanoseconds / 1000));
      const fields = `__REALTIME_TIMESTAMP=${microseconds}\nSYSLOG_IDENTIFIER=udpicmp-watch\nMESSAGE=${words}\n`;
      this.#put(journalEntry(octets(fields + line)));
      return;
    }
    const comments = words === '' ? [] : [octets(words)];
    const pieces = commentsOf(json);
    if (pieces === null) this.#withoutJson++;
    else comments.push(...pieces.map(octets));
    const { seconds, nanoseconds } = shown;
    const timeOffset = Math.floor(seconds / TIME_SPAN) * TIME_SPAN;
    const id = this.#interfaceId(packet.iface, timeOffset);
    const { nanosecondResolution } = packet.iface;
    const { bytes, len } = packet;
    this.#put(commentedPacket(id, seconds - timeOffset, nanoseconds, nanosecondResolution, bytes, len, comments));
    // A large piece that a disk has no room for is taken back whole: not what makes it a file that can be read.
    if (isFirst) this.output.flush();
  }

  #section(): void {
    const header = { application: 'udpicmp-watch' };
    const block = Buffer.allocUnsafe(sectionHeaderSize(header));
    writeSectionHeader(block, 0, header);
    this.#put(block);
    this.#interfaces.clear();
  }

  #interfaceId({ name, linkType, snaplen, nanosecondResolution }: CaptureInterface, timeOffset = 0): number {
    const key = `${linkType} ${snaplen} ${nanosecondResolution} ${timeOffset} ${name ?? ''}`;
    const known = this.#interfaces.get(key);
    if (known !== undefined) return known;
    if (this.#interfaces.size === MAX_INTERFACES) this.#section();
    const description = { linkType, snaplen, name: name ?? '', nanosecondResolution, timeOffset };
    const block = Buffer.allocUnsafe(interfaceDescriptionSize(description));
    writeInterfaceDescription(block, 0, description);
    this.#put(block);
    const id = this.#interfaces.size;
    this.#interfaces.set(key, id);
    return id;
  }

  #put(block: Buffer): void {
    this.output.write(block.toString('latin1'));
  }
}

export class PcapFile implements PacketWriter {
  readonly output: Output;
  readonly #empty: () => void;
  /** That of the first packet: the file header has one for all. */
  #iface: Pick<CaptureInterface, 'linkType' | 'nanosecondResolution'> | null = null;
  #otherLinkType = 0;

  constructor(output: Output, empty: () => void) {
    this.output = output;
    this.#empty = empty;
  }

  /** Without any packet it is taken for a capture on Ethernet. */
  begin(iface = { linkType: LINKTYPE.ETHERNET as number, nanosecondResolution: false }): void {
    if (this.#iface !== null) return;
    this.#iface = iface;
    this.#empty();
    this.#put(pcapFileHeader(iface.linkType, iface.nanosecondResolution));
    this.output.flush();
  }

  losses(): string[] {
    if (this.#otherLinkType === 0) return [];
    return [`${counted(this.#otherLinkType, 'packet')} not saved: a pcap file has one link type, pcapng any number`];
  }

  write(shown: IcmpEvent | OtherRecord, packet: SavedPacket | null): void {
    if (packet === null) return;
    const { iface, bytes, len } = packet;
    this.begin(iface);
    const { linkType, nanosecondResolution } = this.#iface!;
    if (iface.linkType !== linkType) {
      this.#otherLinkType++;
      return;
    }
    const { seconds, nanoseconds } = shown;
    const fraction = nanosecondResolution ? nanoseconds : Math.trunc(nanoseconds / 1000);
    this.#put(pcapRecord(seconds, fraction, bytes, len));
  }

  #put(block: Buffer): void {
    this.output.write(block.toString('latin1'));
  }
}

function jsonOf(shown: IcmpEvent | OtherRecord): Octets {
  if (!isRecord(shown)) return jsonLine(shown);
  return shown.event === 'loss' ? lossJson(shown) : recordJson(shown);
}

/** The line for people. */
function wordsOf(shown: IcmpEvent | OtherRecord): Octets {
  if (!isRecord(shown)) return shown.outcome === undefined ? '' : attributionText(shown, false);
  return shown.event === 'loss' ? printable(lossText(shown)) : recordText(shown);
}

function octets(text: Octets): Buffer {
  return Buffer.from(text, 'latin1');
}

/** The JSON in pieces that fit into an option each, cut between characters; null where there would be too many. */
function commentsOf(json: Octets): Octets[] | null {
  const pieces: Octets[] = [];
  for (let at = 0; at < json.length;) {
    if (pieces.length === MAX_COMMENTS) return null;
    const prefix = at === 0 ? COMMENT_START : COMMENT_MORE;
    const end = endOfPiece(json, at + MAXIMUM_COMMENT - prefix.length);
    pieces.push(prefix + json.slice(at, end));
    at = end;
  }
  return pieces;
}

/** `limit`, or the text's end, or where the UTF-8 character begins that goes on at `limit`. */
function endOfPiece(text: Octets, limit: number): number {
  let end = Math.min(text.length, limit);
  while (end < text.length && (text.charCodeAt(end) & 0xc0) === 0x80) end--;
  return end;
}
