/**
 * From captured packets to printed events, in order: decode → correlate → select → sink.
 *
 * Packets come synchronously and their bytes are gone when the call returns; a look-up on the host may take
 * longer. Events wait for theirs in a bounded queue and leave it in the order in which they came.
 */
import type { HostAttribution } from './correlate/attribute.ts';
import type { Attribution } from './correlate/attribution.ts';
import { copyKey, Duplicates } from './correlate/duplicates.ts';
import { FlowCounts } from './correlate/flow-counts.ts';
import { errnoFor } from './correlate/verdict.ts';
import { icmpv4Name } from './decode/icmpv4.ts';
import { icmpv6Name } from './decode/icmpv6.ts';
import { PROTOCOL } from './decode/ip.ts';
import { cookedHeader, isSupportedLinkType } from './decode/link.ts';
import { isMalformed } from './decode/octets.ts';
import { hasPorts, UDP_HEADER, type OriginalDatagram } from './decode/original-datagram.ts';
import { decodePacket, findIcmp, hasRightChecksum, type IcmpPacket } from './decode/packet.ts';
import type { Flow, IcmpEvent } from './event.ts';
import type { CaptureInterface, PacketCursor } from './savefile/packet.ts';
import { selects, type Selection } from './selection.ts';
import type { Octets, Output } from './sink/output.ts';
import type { Sink } from './sink/sink.ts';

/** Events that may wait for their look-up at once. Beyond it the oldest is printed as it is: unknown. */
const MAX_WAITING = 16_384;

const PROTOCOL_NAMES = new Map<number, string>([
  [PROTOCOL.ICMP, 'icmp'],
  [PROTOCOL.TCP, 'tcp'],
  [PROTOCOL.UDP, 'udp'],
  [PROTOCOL.DCCP, 'dccp'],
  [PROTOCOL.ICMPV6, 'icmp6'],
  [PROTOCOL.SCTP, 'sctp'],
  [PROTOCOL.UDPLITE, 'udplite'],
]);

/** How an event is to be read that nothing is known of beyond its packet. */
export interface PipelineOptions {
  sink: Sink;
  output: Output;
  /** Null: look nothing up; `whyUnknown` then says why. */
  attribution: HostAttribution | null;
  whyUnknown: string;
  selection: Selection;
  /** All ICMP, not just the errors that quote UDP. */
  allIcmp: boolean;
  /** Show a packet once though it was captured on several interfaces. */
  once: boolean;
  lineBuffered: boolean;
  /** Stop after this many events. */
  maxEvents: number;
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
  /** Packets of link types that are not decoded, by link type. */
  unsupported: Map<number, number>;
  /** Events printed without a look-up since too many waited. */
  notLookedUp: number;
}

/**
 * Counts between two readings of the kernel's counters. Reading takes its time, and a packet has its time stamp some
 * time before it is counted, so whether those close to a reading are in it is not known.
 */
export class ErrorsBetween {
  /** Seconds since the epoch between which the first and the last reading were made. */
  readonly first = { from: Number.POSITIVE_INFINITY, until: Number.POSITIVE_INFINITY };
  readonly last = { from: Number.POSITIVE_INFINITY, until: Number.POSITIVE_INFINITY };
  certain = 0;
  uncertain = 0;

  count(time: number): void {
    if (time < this.first.from || time > this.last.until) return;
    if (time <= this.first.until || time >= this.last.from) this.uncertain++;
    else this.certain++;
  }
}

interface WaitingEvent {
  event: IcmpEvent;
  description: Octets;
  ready: boolean;
}

export class EventPipeline {
  readonly counts: PipelineCounts = {
    shown: 0,
    attributed: 0,
    errorsAddressedHere: new ErrorsBetween(),
    malformed: 0,
    unsupported: new Map(),
    notLookedUp: 0,
  };
  readonly flowCounts = new FlowCounts();
  readonly #options: PipelineOptions;
  #iface: CaptureInterface | null = null;
  #ifaceSupported = false;
  /** In order of arrival; those before #head have left. */
  #waiting: WaitingEvent[] = [];
  #head = 0;
  readonly #duplicates = new Duplicates();
  /** Between two chunks events go out at once; within one they wait for further sightings of their packet. */
  #inChunk = false;
  #ended = false;
  #whenEmpty: (() => void)[] = [];

  constructor(options: PipelineOptions) {
    this.#options = options;
  }

  /** The sieve for a savefile reader (SavefileHandler.wants); what it lets through `packet` looks at again. */
  readonly wants = (bytes: Uint8Array, offset: number, end: number, linkType: number): boolean =>
    findIcmp(bytes, offset, end, linkType, !this.#options.allIcmp) !== -1 || !isSupportedLinkType(linkType);

  /** Takes one captured packet; to be called by a savefile reader. */
  packet(cursor: PacketCursor): void {
    if (this.#ended) return;
    const { bytes, offset, iface } = cursor;
    if (iface !== this.#iface) {
      this.#iface = iface;
      this.#ifaceSupported = isSupportedLinkType(iface.linkType);
    }
    if (!this.#ifaceSupported) {
      const { unsupported } = this.counts;
      unsupported.set(iface.linkType, (unsupported.get(iface.linkType) ?? 0) + 1);
      return;
    }
    const end = offset + cursor.caplen;
    const ipAt = findIcmp(bytes, offset, end, iface.linkType, !this.#options.allIcmp);
    if (ipAt === -1) return;
    const packet = decodePacket(bytes, ipAt, end);
    if (isMalformed(packet)) {
      this.counts.malformed++;
      return;
    }
    this.#icmp(cursor, packet);
  }

  /** To be called before the packets of each chunk of a live capture. */
  beginChunk(): void {
    this.#options.attribution?.packetsArrived();
    this.#inChunk = this.#options.once;
  }

  /** To be called after them: copies of a packet come within microseconds, and so in one chunk. */
  endChunk(): void {
    this.#inChunk = false;
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

  #icmp(cursor: PacketCursor, packet: IcmpPacket): void {
    const { attribution, allIcmp, once, sink } = this.#options;
    const { bytes, offset, iface } = cursor;
    const original = packet.original !== null && !isMalformed(packet.original) ? packet.original : null;
    const direction = attribution === null ? null : attribution.directionOf(packet.ip.src, packet.ip.dst);
    let interfaces: string[] | null = null;
    if (once && iface.name !== null) {
      const key = copyKey(bytes, packet, (tuple) => attribution?.undoNat(tuple) ?? tuple);
      interfaces = this.#duplicates.see(key, iface.name, cursor.seconds + cursor.nanoseconds / 1e9);
      if (interfaces === null) return;
    }
    const quotesUdp = original !== null && original.ip.protocol === PROTOCOL.UDP;
    if (direction === 'in' && packet.original !== null && !(quotesUdp && this.#passesOn(original))) {
      this.counts.errorsAddressedHere.count(cursor.seconds + cursor.nanoseconds / 1e9);
    }
    if (!quotesUdp && !allIcmp) return;

    const description = sink.describe(
      bytes,
      packet,
      offset + cursor.len,
      cookedHeader(bytes, offset, offset + cursor.caplen, iface.linkType),
      iface.name,
    );
    const { ip, type, code } = packet;
    const event: IcmpEvent = {
      seconds: cursor.seconds,
      nanoseconds: cursor.nanoseconds,
      nanosecondResolution: iface.nanosecondResolution,
      interface: iface.name,
      direction,
      icmp: {
        version: ip.version,
        type,
        code,
        name: ip.version === 4 ? icmpv4Name(type, code) : icmpv6Name(type, code),
        src: ip.src,
        dst: ip.dst,
        length: packet.length,
      },
    };
    if (interfaces !== null) event.interfaces = interfaces;
    if (original !== null) event.flow = flowOf(original);
    if (!quotesUdp) {
      this.#ready(event, description);
      return;
    }
    this.#attribute(event, bytes, packet, original, description);
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
  ): void {
    const { attribution, whyUnknown, sink } = this.#options;
    const { version, type, code } = event.icmp;
    event.errno = errnoFor(version, type, code).errno;
    if (sink.printsCount) event.count = this.flowCounts.next(event.flow!);
    event.outcome = 'unknown';
    event.match = null;
    const { ports } = original;
    if (attribution === null || ports === null) {
      event.note = attribution === null ? whyUnknown : 'the ports are not in the quote';
      this.#ready(event, description);
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
    const result = attribution.lookup(quoted, event.direction, event.interface);
    if (!(result instanceof Promise)) {
      applyAttribution(event, result);
      this.#ready(event, description);
      return;
    }
    const entry: WaitingEvent = { event, description, ready: false };
    this.#waiting.push(entry);
    this.#bound();
    void this.#await(entry, result);
  }

  async #await(entry: WaitingEvent, result: Promise<Attribution>): Promise<void> {
    try {
      const found = await result;
      if (!entry.ready) applyAttribution(entry.event, found);
    } catch (error) {
      entry.event.note = `the look-up failed: ${error instanceof Error ? error.message : String(error)}`;
    }
    entry.ready = true;
    this.#leave();
  }

  /** An event that waits for nothing still waits for those before it. */
  #ready(event: IcmpEvent, description: Octets): void {
    if (this.#head === this.#waiting.length && !this.#inChunk) {
      this.#show(event, description);
      return;
    }
    this.#waiting.push({ event, description, ready: true });
    this.#bound();
  }

  #bound(): void {
    if (this.#waiting.length - this.#head <= MAX_WAITING) return;
    if (!this.#waiting[this.#head]!.ready) this.counts.notLookedUp++;
    this.#giveUpOldest('too many look-ups at once');
  }

  #giveUpOldest(why: string): void {
    const oldest = this.#waiting[this.#head]!;
    if (!oldest.ready) oldest.event.note = why;
    oldest.ready = true;
    this.#release();
  }

  #leave(): void {
    if (!this.#inChunk) this.#release();
  }

  /** Lets all events go that are ready and have none before them that is not. */
  #release(): void {
    for (;;) {
      const next = this.#waiting[this.#head];
      if (next === undefined || !next.ready) break;
      this.#head++;
      this.#show(next.event, next.description);
    }
    this.#options.output.flushSoon();
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
      for (const resolve of this.#whenEmpty.splice(0)) resolve();
    } else if (this.#head >= MAX_WAITING) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
  }

  #show(event: IcmpEvent, description: Octets): void {
    const { sink, output, selection, lineBuffered, maxEvents, onMaxEvents } = this.#options;
    if (this.#ended || !selects(selection, event)) return;
    output.write(sink.format(event, description));
    if (lineBuffered) output.flush();
    this.counts.shown++;
    if (event.sockets !== undefined && event.sockets.length > 0) this.counts.attributed++;
    if (this.counts.shown === maxEvents) {
      this.#ended = true;
      onMaxEvents();
    }
  }
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

function applyAttribution(event: IcmpEvent, found: Attribution): void {
  Object.assign(event, found);
}
