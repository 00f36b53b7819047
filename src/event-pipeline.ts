/**
 * From captured packets to printed events, in order: decode → correlate → select → sink. What is shown makes up the
 * incidents; a datagram of a peer that an incident is about ends it.
 *
 * Packets come synchronously and their bytes are gone when the call returns; a look-up on the host may take
 * longer. Events wait for theirs in a bounded queue and leave it in the order in which they came.
 */
import type { HostAttribution } from './correlate/attribute.ts';
import type { Attribution } from './correlate/attribution.ts';
import { copyKey, Duplicates } from './correlate/duplicates.ts';
import { FlowCounts } from './correlate/flow-counts.ts';
import { quietRecord, recoveredRecord } from './correlate/incident-records.ts';
import type { ErringFlow, Incidents, PeersDatagram } from './correlate/incidents.ts';
import {
  NotBelieved,
  restoreEvent,
  restoreEntry,
  restoreRecovery,
  savedJson,
  savedJsonOfEntry,
} from './correlate/saved-lines.ts';
import { errnoFor } from './correlate/verdict.ts';
import { decodeExtensions } from './decode/icmp-extension.ts';
import { icmpv4Name } from './decode/icmpv4.ts';
import { icmpv6Name } from './decode/icmpv6.ts';
import { PROTOCOL } from './decode/ip.ts';
import { isSupportedLinkType, linkHeader } from './decode/link.ts';
import { isMalformed, u16 } from './decode/octets.ts';
import { hasPorts, UDP_HEADER, type OriginalDatagram } from './decode/original-datagram.ts';
import { decodeDatagram, decodePacket, findIcmp, findUdp, hasRightChecksum, type IcmpPacket } from './decode/packet.ts';
import {
  isRecord,
  type Flow,
  type IcmpEvent,
  type IncidentRecord,
  type LossRecord,
  type OtherRecord,
  type TimeStamp,
} from './event.ts';
import { reversed } from './host/udp-tuple.ts';
import type { CaptureInterface, PacketCursor } from './savefile/packet.ts';
import { selects, selectsAll, type Selection } from './selection.ts';
import type { Octets, Output } from './sink/output.ts';
import type { PacketWriter, SavedPacket } from './sink/saved-packets.ts';
import type { Sink } from './sink/sink.ts';

/** Events that may wait for their look-up at once. Beyond it the oldest is printed as it is: unknown. */
const MAX_WAITING = 16_384;

/** A packet that seems to have waited longer is one from before the system's clock was set. */
const MAX_DELAY_MS = 60_000;

/** Where an error is looked up so many milliseconds after it came, that is said. */
const LATE_MS = 1_000;

const PROTOCOL_NAMES = new Map<number, string>([
  [PROTOCOL.ICMP, 'icmp'],
  [PROTOCOL.TCP, 'tcp'],
  [PROTOCOL.UDP, 'udp'],
  [PROTOCOL.DCCP, 'dccp'],
  [PROTOCOL.ICMPV6, 'icmp6'],
  [PROTOCOL.SCTP, 'sctp'],
  [PROTOCOL.UDPLITE, 'udplite'],
]);

/** Link types that are told apart among those that are not decoded: a damaged file may claim thousands. */
const MAX_UNSUPPORTED = 16;

/** How an event is to be read that nothing is known of beyond its packet. */
export interface PipelineOptions {
  sink: Sink;
  output: Output;
  /** Null: look nothing up; `whyUnknown` then says why. */
  attribution: HostAttribution | null;
  whyUnknown: string;
  /** The host that live events are about; null in a replay. */
  host: string | null;
  /** Packets come as they happen, and not out of a file. */
  isLive: boolean;
  /** Believe what `-w` saved beside the packets. */
  usesComments: boolean;
  /** Called for the first of those comments that is not believed. */
  onNotBelieved: (why: string) => void;
  /** Called for the first packet of each link type that is not decoded. */
  onUnsupported: (linkType: number) => void;
  /** Null: there are none to be told of. */
  incidents: Incidents | null;
  /** Where the packets that are shown are saved too. */
  writer: PacketWriter | null;
  selection: Selection;
  /** All ICMP, not just the errors that quote UDP. */
  allIcmp: boolean;
  /** Show a packet once though it was captured on several interfaces. */
  once: boolean;
  lineBuffered: boolean;
  /** Stop after this many events. */
  maxEvents: number;
  /** Called for packets that were not seen, in the order of the events. */
  onLoss: (loss: LossRecord) => void;
  /** Called once, when `maxEvents` have been shown. */
  onMaxEvents: () => void;
}

/** Counts for the closing statistics. */
export interface PipelineCounts {
  shown: number;
  /** Of those shown: a socket was named. */
  attributed: number;
  /** ICMP errors addressed to this host, whatever they quote: what the kernel's counters count too. */
  errorsAddressedHere: ErrorsBetween;
  /** ICMP whose headers could not be decoded. */
  malformed: number;
  /** Packets of link types that are not decoded, by link type; and of those beyond the first `MAX_UNSUPPORTED`. */
  unsupported: Map<number, number>;
  unsupportedOthers: number;
  /** Events printed without a look-up since too many waited. */
  notLookedUp: number;
  /** Comments, of those that `-w` writes, that contradict their packet or are not as they were written. */
  notBelieved: number;
}

/**
 * Counts between two readings of the kernel's counters. Reading takes its time, and a packet has its time stamp some
 * time before it is counted, so whether those close to a reading are in it is not known.
 */
export class ErrorsBetween {
  /** Between which times the first and the last reading were made: milliseconds on the clock of the pipeline. */
  readonly first = { from: Number.POSITIVE_INFINITY, until: Number.POSITIVE_INFINITY };
  readonly last = { from: Number.POSITIVE_INFINITY, until: Number.POSITIVE_INFINITY };
  certain = 0;
  uncertain = 0;
  #interim: { counts: ErrorsBetween; settle: (areAllThere: boolean) => void } | null = null;

  /**
   * What is counted from the first reading to one that is made now, `counts.last`. All that came before that is in it when
   * `allThere` resolves; with false where another reading was made, or `giveUpInterim` called, before that.
   */
  upToNow(): { counts: ErrorsBetween; allThere: Promise<boolean> } {
    this.giveUpInterim();
    const counts = new ErrorsBetween();
    Object.assign(counts.first, this.first);
    counts.certain = this.certain;
    counts.uncertain = this.uncertain;
    const allThere = new Promise<boolean>((settle) => (this.#interim = { counts, settle }));
    return { counts, allThere };
  }

  giveUpInterim(): void {
    this.#interim?.settle(false);
    this.#interim = null;
  }

  /** All packets were there that came before this time. */
  passTime(at: number): void {
    if (this.#interim === null || at <= this.#interim.counts.last.until) return;
    this.#interim.settle(true);
    this.#interim = null;
  }

  /** @param isForHere false: it may have been for another host, or another network namespace. */
  count(at: number, isForHere: boolean): void {
    this.#interim?.counts.count(at, isForHere);
    if (at < this.first.from || at > this.last.until) return;
    if (!isForHere || at <= this.first.until || at >= this.last.from) this.uncertain++;
    else this.certain++;
  }
}

interface Waiting {
  event: IcmpEvent | Answer | LossRecord | SavedRecord | PassedTime;
  description: Octets;
  /** Where the packets are saved: a copy of it. */
  packet: SavedPacket | null;
  /** When it came, on the clock of the incidents. */
  at: number;
  ready: boolean;
}

/** A record that a savefile told. */
interface SavedRecord {
  saved: OtherRecord;
}

/** All that came before that time was there. */
interface PassedTime {
  passed: TimeStamp;
}

/** A peer's answer after an error, while its socket is looked up. */
interface Answer {
  answering: ErringFlow;
  datagram: PeersDatagram;
  /** Null where nothing is looked up. */
  found: Attribution | null;
}

export class EventPipeline {
  readonly counts: PipelineCounts = {
    shown: 0,
    attributed: 0,
    errorsAddressedHere: new ErrorsBetween(),
    malformed: 0,
    unsupported: new Map(),
    unsupportedOthers: 0,
    notLookedUp: 0,
    notBelieved: 0,
  };
  readonly flowCounts = new FlowCounts();
  readonly #options: PipelineOptions;
  #iface: CaptureInterface | null = null;
  #ifaceSupported = false;
  /** The one that `wants` was last asked about: a look-up in a table for each packet of a file would be a fifth of its time. */
  #linkType = -1;
  #isLinkTypeSupported = false;
  /** In order of arrival; those before #head have left. */
  #waiting: Waiting[] = [];
  #head = 0;
  readonly #duplicates: Duplicates | null;
  /** Between two chunks events go out at once; within one they wait for further sightings of their packet. */
  #inChunk = false;
  /** When the chunk came that is at hand: reading clocks for each packet takes a tenth of a storm's time. */
  #chunkAt: ReturnType<typeof bothClocks> | null = null;
  #ended = false;
  #whenEmpty: (() => void)[] = [];
  /** Events that a savefile told, and with them what became of their incidents. */
  readonly #saved = new WeakSet<IcmpEvent>();

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#duplicates = options.once ? new Duplicates() : null;
  }

  /** The sieve for a savefile reader (SavefileHandler.wants); what it lets through `packet` looks at again. */
  readonly wants = (bytes: Uint8Array, offset: number, end: number, linkType: number): boolean => {
    if (linkType !== this.#linkType) {
      this.#linkType = linkType;
      this.#isLinkTypeSupported = isSupportedLinkType(linkType);
    }
    return (
      !this.#isLinkTypeSupported ||
      findIcmp(bytes, offset, end, linkType, !this.#options.allIcmp) !== -1 ||
      this.#isFollowed(bytes, offset, end, linkType)
    );
  };

  /** Takes one captured packet; to be called by a savefile reader. */
  packet(cursor: PacketCursor): void {
    if (this.#ended) return;
    const { bytes, offset, iface } = cursor;
    if (iface !== this.#iface) {
      this.#iface = iface;
      this.#ifaceSupported = isSupportedLinkType(iface.linkType);
    }
    if (!this.#ifaceSupported) {
      this.#countUnsupported(iface.linkType);
      return;
    }
    const end = offset + cursor.caplen;
    const ipAt = findIcmp(bytes, offset, end, iface.linkType, !this.#options.allIcmp);
    if (ipAt === -1) {
      this.#datagram(cursor);
      return;
    }
    const packet = decodePacket(bytes, ipAt, end);
    if (isMalformed(packet) || (packet.code === null && !this.#options.allIcmp)) {
      this.counts.malformed++;
      return;
    }
    this.#icmp(cursor, packet);
  }

  #countUnsupported(linkType: number): void {
    const { unsupported } = this.counts;
    const known = unsupported.get(linkType);
    if (known === undefined && unsupported.size === MAX_UNSUPPORTED) {
      this.counts.unsupportedOthers++;
      return;
    }
    unsupported.set(linkType, (known ?? 0) + 1);
    if (known === undefined) this.#options.onUnsupported(linkType);
  }

  /** A journal entry of a savefile: one of ours says that an incident became quiet. */
  readonly journalEntry = (entry: string): void => {
    const json = this.#options.usesComments ? savedJsonOfEntry(entry) : null;
    if (json === null || this.#ended) return;
    this.#believe(() => {
      this.#ready({ saved: restoreEntry(json, entry) }, '', null, 0);
    });
  };

  /**
   * To be called when all packets were there that came before this time, in a live capture every second: says what became of
   * incidents.
   */
  tick(time: { seconds: number; nanoseconds: number }): void {
    const at = this.#clock(time);
    this.counts.errorsAddressedHere.passTime(at);
    this.#passTime(at, { ...time, nanosecondResolution: false });
    this.#flushSoon();
  }

  /** Packets were not seen: said after the events before it. */
  lose(loss: LossRecord): void {
    this.#ready(loss, '', null, 0);
    this.#flushSoon();
  }

  /** There are no more packets: an answer that no error followed is one. */
  finish(): void {
    this.#takeAnswers(Number.POSITIVE_INFINITY);
  }

  /** To be called before the packets of each chunk of a live capture. */
  beginChunk(): void {
    this.#options.attribution?.packetsArrived();
    this.#chunkAt = bothClocks();
    this.#inChunk = this.#options.once;
  }

  /** To be called after them: copies of a packet come within microseconds, and so in one chunk. */
  endChunk(): void {
    this.#inChunk = false;
    this.#chunkAt = null;
    this.#leave();
    this.#options.output.flush();
  }

  /** Resolves when no event waits for a look-up any more. */
  async settled(): Promise<void> {
    if (this.#head === this.#waiting.length) return;
    await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  /** Prints what still waits, as unknown, and takes nothing more. */
  end(): void {
    while (this.#head < this.#waiting.length) this.#giveUpOldest('the watch ended before it was looked up');
    this.#ended = true;
  }

  /** Whether it is a datagram between an error's sender and the peer. Most are told by their ports alone. */
  #isFollowed(bytes: Uint8Array, offset: number, end: number, linkType: number): boolean {
    const { incidents } = this.#options;
    if (incidents === null || !incidents.isFollowing) return false;
    const udp = findUdp(bytes, offset, end, linkType);
    return udp !== -1 && incidents.mayFollow(u16(bytes, udp), u16(bytes, udp + 2));
  }

  /** Any packet that is no ICMP. */
  #datagram(cursor: PacketCursor): void {
    const { incidents, usesComments } = this.#options;
    const { bytes, offset, iface } = cursor;
    const end = offset + cursor.caplen;
    const json = usesComments ? savedJson(cursor.comments) : null;
    if (json === null && !this.#isFollowed(bytes, offset, end, iface.linkType)) return;
    const datagram = decodeDatagram(bytes, offset, end, iface.linkType);
    if (datagram === null) return;
    const { ip, ports } = datagram;
    if (json !== null) {
      this.#believe(() => {
        const answer = { src: ip.src, sport: ports.source, dst: ip.dst, dport: ports.destination };
        const saved = restoreRecovery(json, timeOf(cursor), answer);
        this.#ready({ saved }, '', this.#copy(cursor), 0);
      });
      return;
    }
    const { version, src: local, dst: remote } = ip;
    const at = this.#clock(cursor);
    if (!this.#options.isLive) this.#passTime(at, timeOf(cursor));
    const sent = { version, local, localPort: ports.source, remote, remotePort: ports.destination };
    const sender = incidents!.find(sent);
    if (sender?.hadErrorSince(cursor, at) === false) sender.countSent(sent, iface.name);
    const flow = incidents!.find(reversed(sent));
    if (flow !== null && flow.mayHear) {
      incidents!.hear(flow, { at, time: timeOf(cursor), packet: this.#copy(cursor) });
    }
  }

  /** Says what became of incidents by now. */
  #passTime(at: number, time: TimeStamp): void {
    const { incidents } = this.#options;
    if (incidents === null || at < incidents.nextAt) return;
    this.#takeAnswers(at);
    // After the errors before it, which may wait for their look-up.
    this.#ready({ passed: time }, '', null, at);
  }

  #takeAnswers(at: number): void {
    const { attribution, incidents, isLive } = this.#options;
    for (const { flow, answer: datagram } of incidents?.takeAnswers(at) ?? []) {
      const answer: Answer = { answering: flow, datagram, found: null };
      if (!isLive || attribution === null) {
        this.#ready(answer, '', null, at);
        continue;
      }
      const { icmp, flow: tuple, interface: name } = flow.event;
      const { src, sport, dst, dport } = tuple!;
      const ports = { sport: sport!, dport: dport! };
      const quoted = { ...icmp, type: icmp.type!, code: icmp.code!, src, dst, ...ports, dropped: null };
      this.#whenFound(attribution.lookup(quoted, 'in', name), answer, '', null, at);
    }
  }

  /** Null, or why what was saved is not believed. */
  #believe(restore: () => void): string | null {
    try {
      restore();
      return null;
    } catch (error) {
      if (!(error instanceof NotBelieved)) throw error;
      if (this.counts.notBelieved++ === 0) this.#options.onNotBelieved(error.message);
      return error.message;
    }
  }

  /**
   * Milliseconds; in a replay by the packets' time stamps, live on a clock that is never set back: when its chunk came, less
   * what the packet had to wait by its time stamp.
   */
  #clock({ seconds, nanoseconds }: Pick<TimeStamp, 'seconds' | 'nanoseconds'>): number {
    const time = seconds * 1000 + nanoseconds / 1e6;
    if (!this.#options.isLive) return time;
    const { monotonic, wall } = this.#chunkAt ?? bothClocks();
    return monotonic - Math.min(MAX_DELAY_MS, Math.max(0, wall - time));
  }

  #copy({ bytes, offset, caplen, len, iface }: PacketCursor): SavedPacket | null {
    if (this.#options.writer === null) return null;
    return { bytes: bytes.slice(offset, offset + caplen), len, iface };
  }

  #icmp(cursor: PacketCursor, packet: IcmpPacket): void {
    const { attribution, allIcmp, host, incidents, isLive, sink, usesComments } = this.#options;
    const { bytes, offset, iface } = cursor;
    const at = this.#clock(cursor);
    if (!isLive && incidents !== null && at >= incidents.nextAt) this.#passTime(at, timeOf(cursor));
    const original = packet.original !== null && !isMalformed(packet.original) ? packet.original : null;
    const direction = attribution === null ? null : attribution.directionOf(packet.ip.src, packet.ip.dst);
    let interfaces: string[] | null = null;
    if (this.#duplicates !== null && iface.name !== null) {
      const key = copyKey(bytes, packet, (tuple) => attribution?.undoNat(tuple) ?? tuple);
      interfaces = this.#duplicates.see(key, iface.name, cursor.seconds + cursor.nanoseconds / 1e9);
      if (interfaces === null) return;
    }
    const quotesUdp = original !== null && original.ip.protocol === PROTOCOL.UDP;
    const isMaybeForHere = direction === 'in' || (direction === null && attribution !== null);
    if (isMaybeForHere && packet.original !== null && !(quotesUdp && this.#passesOn(original))) {
      this.counts.errorsAddressedHere.count(at, direction === 'in');
    }
    if (!quotesUdp && !allIcmp) return;

    const wireEnd = offset + cursor.len;
    const link = linkHeader(bytes, offset, packet.ipOffset, iface.linkType, wireEnd);
    const description = sink.describe(bytes, packet, link === null ? wireEnd : link.wireEnd, link, iface.name);
    const { ip, type, code } = packet;
    const event: IcmpEvent = {
      seconds: cursor.seconds,
      nanoseconds: cursor.nanoseconds,
      nanosecondResolution: iface.nanosecondResolution,
      host,
      interface: iface.name,
      direction,
      icmp: {
        version: ip.version,
        type,
        code,
        name: nameOf(packet),
        src: ip.src,
        dst: ip.dst,
        length: packet.length,
      },
    };
    if (interfaces !== null) event.interfaces = interfaces;
    if (original !== null) event.flow = flowOf(original);
    const extensions = decodeExtensions(bytes, packet);
    if (extensions !== null && !isMalformed(extensions) && extensions.objects.length > 0) {
      event.extensions = extensions.objects;
    }
    const saved = this.#copy(cursor);
    const whyNot = usesComments && cursor.comments.length > 0 ? this.#restore(event, cursor.comments) : '';
    if (whyNot === null) {
      this.#ready(event, description, saved, at);
      return;
    }
    if (quotesUdp) this.#attribute(event, bytes, packet, original, description, saved, at, whyNot);
    else this.#ready(event, description, saved, at);
  }

  /** Adds what was saved of the event. Null, or why nothing is: it is not believed, or (empty) there is nothing. */
  #restore(event: IcmpEvent, comments: readonly string[]): string | null {
    const json = savedJson(comments);
    if (json === null) return '';
    return this.#believe(() => {
      restoreEvent(event, json);
      this.#saved.add(event);
    });
  }

  /** Whether the error is addressed to this namespace on the wire alone, and NAT sends it on to another one. */
  #passesOn({ ip, ports }: OriginalDatagram): boolean {
    const { attribution } = this.#options;
    if (attribution === null || ports === null) return false;
    return attribution.passesOn({
      version: ip.version,
      local: ip.src,
      localPort: ports.source,
      remote: ip.dst,
      remotePort: ports.destination,
    });
  }

  #attribute(
    event: IcmpEvent,
    bytes: Uint8Array,
    packet: IcmpPacket,
    original: OriginalDatagram,
    description: Octets,
    saved: SavedPacket | null,
    at: number,
    whyNotBelieved: string,
  ): void {
    const { attribution, sink, whyUnknown, writer } = this.#options;
    const { version } = event.icmp;
    // What quotes a datagram has both.
    const type = packet.type!;
    const code = packet.code!;
    event.errno = errnoFor(version, type, code).errno;
    if (sink.printsCount || writer !== null) event.count = this.flowCounts.next(event.flow!);
    event.outcome = 'unknown';
    event.match = null;
    const { ports } = original;
    if (attribution === null || ports === null) {
      if (attribution !== null) event.note = 'the ports are not in the quote';
      else event.note = whyNotBelieved === '' ? whyUnknown : `its comment is not believed: ${whyNotBelieved}`;
      this.#ready(event, description, saved, at);
      return;
    }
    const quoted = {
      version,
      type,
      code,
      src: original.ip.src,
      sport: ports.source,
      dst: original.ip.dst,
      dport: ports.destination,
      dropped: whyDropped(bytes, packet, original),
    };
    this.#whenFound(attribution.lookup(quoted, event.direction, event.interface), event, description, saved, at);
  }

  #whenFound(
    result: Attribution | Promise<Attribution>,
    event: IcmpEvent | Answer,
    description: Octets,
    packet: SavedPacket | null,
    at: number,
  ): void {
    const lateness = isAnswer(event) ? null : this.#lateness(at);
    if (!(result instanceof Promise)) {
      applyAttribution(event, result);
      if (lateness !== null) addNote(event, lateness);
      this.#ready(event, description, packet, at);
      return;
    }
    const entry: Waiting = { event, description, packet, at, ready: false };
    this.#waiting.push(entry);
    this.#bound();
    void this.#await(entry, event, result, lateness);
  }

  /** Whoever reads the output kept the capture waiting, or this process was stopped: the sockets are not those of then. */
  #lateness(at: number): string | null {
    const late = (this.#chunkAt?.monotonic ?? at) - at;
    if (!this.#options.isLive || late < LATE_MS) return null;
    const time = late < MAX_DELAY_MS ? `${(late / 1000).toFixed(1)} s` : `more than ${MAX_DELAY_MS / 1000} s`;
    return `looked up ${time} after it came: sockets may have been closed and opened since`;
  }

  async #await(
    entry: Waiting,
    event: IcmpEvent | Answer,
    result: Promise<Attribution>,
    lateness: string | null,
  ): Promise<void> {
    try {
      const found = await result;
      if (!entry.ready) {
        applyAttribution(event, found);
        if (lateness !== null) addNote(event, lateness);
      }
    } catch (error) {
      if (!isAnswer(event))
        event.note = `the look-up failed: ${error instanceof Error ? error.message : String(error)}`;
    }
    entry.ready = true;
    this.#leave();
  }

  /** An event that waits for nothing still waits for those before it. */
  #ready(event: Waiting['event'], description: Octets, packet: SavedPacket | null, at: number): void {
    if (this.#head === this.#waiting.length && !this.#inChunk) {
      this.#show(event, description, packet, at);
      return;
    }
    this.#waiting.push({ event, description, packet, at, ready: true });
    this.#bound();
  }

  #bound(): void {
    if (this.#waiting.length - this.#head <= MAX_WAITING) return;
    if (!this.#waiting[this.#head]!.ready) this.counts.notLookedUp++;
    this.#giveUpOldest('too many look-ups at once');
  }

  #giveUpOldest(why: string): void {
    const oldest = this.#waiting[this.#head]!;
    if (!oldest.ready && 'icmp' in oldest.event) oldest.event.note = why;
    oldest.ready = true;
    this.#release();
  }

  #leave(): void {
    if (!this.#inChunk) this.#release();
  }

  #flushSoon(): void {
    this.#options.output.flushSoon();
    this.#options.writer?.output.flushSoon();
  }

  /** Lets all events go that are ready and have none before them that is not. */
  #release(): void {
    for (;;) {
      const next = this.#waiting[this.#head];
      if (next === undefined || !next.ready) break;
      this.#head++;
      this.#show(next.event, next.description, next.packet, next.at);
    }
    this.#flushSoon();
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
      for (const resolve of this.#whenEmpty.splice(0)) resolve();
    } else if (this.#head >= MAX_WAITING) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
  }

  #show(event: Waiting['event'], description: Octets, packet: SavedPacket | null, at: number): void {
    const { sink, output, selection, lineBuffered, maxEvents, onMaxEvents, incidents, usesComments, writer } =
      this.#options;
    if (this.#ended) return;
    if (isAnswer(event)) {
      this.#showAnswer(event);
      return;
    }
    if ('passed' in event) {
      this.#showQuiet(event.passed, at);
      return;
    }
    if ('saved' in event) {
      this.#showSaved(event.saved, packet);
      return;
    }
    if (isRecord(event)) {
      this.#showLoss(event);
      return;
    }
    if (!selects(selection, event)) return;
    output.write(sink.format(event, description));
    if (lineBuffered) output.flush();
    writer?.write(event, packet);
    incidents?.error(event, at, usesComments && this.#saved.has(event));
    this.counts.shown++;
    if (event.sockets !== undefined && event.sockets.length > 0) this.counts.attributed++;
    if (this.counts.shown === maxEvents) {
      this.#ended = true;
      onMaxEvents();
    }
  }

  #showAnswer({ answering: flow, datagram, found }: Answer): void {
    const { at, time, packet } = datagram;
    if (flow.answer === datagram) flow.answer = null;
    for (const incident of this.#options.incidents!.answered(flow, at)) {
      this.#showRecord(recoveredRecord(flow.event, found, time, incident), packet);
    }
  }

  #showQuiet(time: TimeStamp, at: number): void {
    for (const { incident, sent } of this.#options.incidents!.becomeQuiet(at)) {
      this.#showRecord(quietRecord(incident, sent, time, at), null);
    }
  }

  /** Where only some events are shown, only what became of those. */
  #showSaved(record: OtherRecord, packet: SavedPacket | null): void {
    if (record.event === 'loss') {
      this.#showLoss(record);
      return;
    }
    const { incidents, selection } = this.#options;
    const isOfShown = incidents?.restate(record) ?? false;
    if (isOfShown || selectsAll(selection)) this.#showRecord(record, packet);
  }

  #showLoss(loss: LossRecord): void {
    const { onLoss, writer } = this.#options;
    onLoss(loss);
    writer?.write(loss, null);
  }

  #showRecord(record: IncidentRecord, packet: SavedPacket | null): void {
    const { sink, output, lineBuffered, writer } = this.#options;
    output.write(sink.record(record));
    if (lineBuffered) output.flush();
    writer?.write(record, packet);
  }
}

/** Milliseconds. */
function bothClocks(): { monotonic: number; wall: number } {
  return { monotonic: performance.now(), wall: Date.now() };
}

function isAnswer(event: Waiting['event']): event is Answer {
  return 'answering' in event;
}

function timeOf({ seconds, nanoseconds, iface }: PacketCursor): TimeStamp {
  return { seconds, nanoseconds, nanosecondResolution: iface.nanosecondResolution };
}

/**
 * Why the kernel drops an error before it looks for a socket, or null: icmp_rcv and icmp_socket_deliver (net/ipv4/icmp.c),
 * icmpv6_rcv and icmpv6_notify (net/ipv6/icmp.c).
 */
function whyDropped(bytes: Uint8Array, packet: IcmpPacket, original: OriginalDatagram): string | null {
  const quotedOctets = packet.icmpOffset + packet.length - original.ip.payloadOffset;
  if (quotedOctets < UDP_HEADER) return 'it quotes less than a UDP header';
  return hasRightChecksum(bytes, packet) === false ? 'its checksum is wrong' : null;
}

function nameOf({ ip, type, code }: IcmpPacket): string {
  if (ip.fragmentOffset !== 0) return 'later-fragment';
  if (type === null || code === null) return 'truncated';
  return ip.version === 4 ? icmpv4Name(type, code) : icmpv6Name(type, code);
}

function flowOf(original: OriginalDatagram): Flow {
  const { ip, ports } = original;
  const flow: Flow = {
    protocol: PROTOCOL_NAMES.get(ip.protocol) ?? String(ip.protocol),
    src: ip.src,
    dst: ip.dst,
  };
  if (hasPorts(ip.protocol)) {
    flow.sport = ports?.source ?? null;
    flow.dport = ports?.destination ?? null;
  }
  if (ip.identification !== null) flow.ipId = ip.identification;
  return flow;
}

function addNote(event: IcmpEvent | Answer, note: string): void {
  if (!isAnswer(event)) event.note = event.note === undefined ? note : `${event.note}; ${note}`;
}

function applyAttribution(event: IcmpEvent | Answer, found: Attribution): void {
  if (isAnswer(event)) event.found = found;
  else Object.assign(event, found);
}
