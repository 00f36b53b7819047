/**
 * Incidents: the errors of one process about one remote port with one errno, from the first one to the peer's next answer.
 *
 * Bounded: of incidents and of flows those are forgotten that had no error while as many others had one. Those in which no
 * process is known (a spoofed flood has as many as it likes) have a place of their own, so that they drive out none of the
 * others.
 */
import type {
  Direction,
  Flow,
  IcmpEvent,
  IncidentRecord,
  ProcessIdentity,
  SocketIdentity,
  TimeStamp,
} from '../event.ts';
import { tupleKey, type UdpTuple } from '../host/udp-tuple.ts';
import type { SavedPacket } from '../sink/saved-packets.ts';
import { Generations } from './generations.ts';
import { RecentFlows } from './recent-flows.ts';

/** In one generation, of which there are two. */
const NAMED_INCIDENTS = 512;
const OTHER_INCIDENTS = 128;
/** Those that ended. */
const OVER = 1024;
/** Distinct sockets of an incident that are told apart. */
const MAX_SOCKETS = 100;
/** Datagrams to the peer that are counted: to capture them all costs more than the number is worth. */
export const MAX_SENT = 10_000;
/** Interfaces of a flow on which datagrams are counted. */
const MAX_PLACES = 16;

/** An incident is quiet when no error has come for this long, and for this many times the longest gap between two. */
const QUIET_MS = 30_000;
const QUIET_GAPS = 3;

/** New flows that are followed, in a second and at once. */
const NEW_FLOWS = 1000;

/** A flow is followed for this long after its last error. */
const FOLLOWED_MS = 10 * 60_000;
/** Incidents of one flow. */
const MAX_INCIDENTS = 8;

/**
 * An answer counts when no error has come for this long after it: one may be on its way already. Longer than a second, since
 * Linux sends one ICMP error a second at the most where it limits them.
 */
const ANSWER_MS = 1_500;

/** Time stamps that are further from when their packets came were made by a clock that was set in between. */
const CLOCK_SET_MS = 1000;

/**
 * `open`: it goes on, as far as is known; `other`: its flows go on to have errors, with another errno or another process;
 * `quiet`: no error for a while; `recovered`: the peer answered, which ends it.
 */
export type IncidentState = 'open' | 'other' | 'quiet' | 'recovered';

/**
 * Whether the process hears of the errors. `some`: of some of them; `recverr`: only if the socket has IP_RECVERR, which is not
 * known; `closed`: the socket is gone; `unknown`: no socket is known.
 */
export type Hears = 'yes' | 'no' | 'some' | 'recverr' | 'closed' | 'unknown';

export class Incident {
  readonly key: string;
  /** Whether a process was known when it began: which of the tables it is in. */
  readonly isNamed: boolean;
  /** Without repetition, those of the last error; empty where none is known. */
  processes: readonly ProcessIdentity[];
  /** The remote end as the process sees it; of an error that this host sent, the port that was closed. */
  readonly remote: string;
  readonly remotePort: number | null;
  readonly errno: string | null;
  readonly first: TimeStamp;
  readonly last: TimeStamp;
  /** The last one that was not like the one before it. */
  event: IcmpEvent;
  errors = 0;
  hears: Hears;
  state: IncidentState = 'open';
  /** It is in no table any more, and its errors are counted as forgotten. */
  isForgotten = false;
  /** What became of it is told by the file that told of it. */
  isSaved = false;
  /** When it was recovered: milliseconds after the first error. */
  downMs = 0;
  /** Milliseconds on the clock of `Incidents.error`. */
  readonly firstAt: number;
  lastAt: number;
  #longestGap = 0;
  readonly #sockets = new Set<number | string>();

  constructor(key: string, event: IcmpEvent, at: number) {
    this.key = key;
    this.processes = processesOf(event.sockets);
    this.isNamed = this.processes.length > 0;
    const { address, port } = remoteOf(event);
    this.remote = address;
    this.remotePort = port;
    this.errno = event.errno ?? null;
    const { seconds, nanoseconds, nanosecondResolution } = event;
    this.first = { seconds, nanoseconds, nanosecondResolution };
    this.last = { ...this.first };
    this.event = event;
    this.hears = hearsOf(event);
    this.firstAt = at;
    this.lastAt = at;
    this.#countSockets(event);
  }

  /** Errors with this errno say that the peer, or the way to it, is gone; others are about a datagram. */
  get isOutage(): boolean {
    return this.errno !== null && this.errno !== 'EMSGSIZE' && this.errno !== 'EPROTO';
  }

  /** Distinct sockets that it hit; `isMore` where there were too many to tell them apart. */
  get socketCount(): { count: number; isMore: boolean } {
    const { size } = this.#sockets;
    return { count: Math.min(size, MAX_SOCKETS), isMore: size > MAX_SOCKETS };
  }

  /** When it is quiet, unless another error comes: milliseconds on its clock. */
  get quietAt(): number {
    return this.lastAt + Math.max(QUIET_MS, QUIET_GAPS * this.#longestGap);
  }

  /** One error more, on a flow that had one before unless `isNewFlow`. */
  add(event: IcmpEvent, at: number, isNewFlow: boolean): void {
    this.errors++;
    this.state = 'open';
    this.#longestGap = Math.max(this.#longestGap, at - this.lastAt);
    this.lastAt = at;
    this.last.seconds = event.seconds;
    this.last.nanoseconds = event.nanoseconds;
    const isAlike = event.sockets === this.event.sockets && event.outcome === this.event.outcome;
    if (isAlike && !isNewFlow) return;
    if (!isAlike) {
      this.processes = processesOf(event.sockets);
      const hears = hearsOf(event);
      if (hears !== this.hears) this.hears = mixed(this.hears, hears);
    }
    this.event = event;
    this.#countSockets(event);
  }

  #countSockets({ flow, sockets }: IcmpEvent): void {
    if (this.#sockets.size > MAX_SOCKETS) return;
    if (sockets === undefined || sockets.length === 0) this.#sockets.add(`${flow!.src} ${flow!.sport}`);
    else for (const { inode } of sockets) this.#sockets.add(inode);
  }
}

/** A datagram that a peer sent, and when: on the clock of `Incidents.error`. */
export interface PeersDatagram {
  at: number;
  time: TimeStamp;
  /** Where packets are saved: a copy of it. */
  packet: SavedPacket | null;
}

/** A flow that had an error; what is seen of it afterwards tells whether the peer is back. */
export class ErringFlow {
  // Of `tuples[0]`: looked at for every error.
  readonly #src: string;
  readonly #sport: number;
  readonly #dst: string;
  readonly #dport: number;
  /** Those that it belongs to, one for each errno, the last one last. */
  readonly incidents: Incident[];
  /** The last error about it that was not like the one before it. */
  event: IcmpEvent;
  lastAt: number;
  /** It is followed no more, or another one in its place. */
  isForgotten = false;
  /** What became of it is told by the file that told of it. */
  isSaved: boolean;
  /** The tuple on the wire and, where it is another one, the socket's own, as its sender sees it. */
  readonly tuples: readonly UdpTuple[];
  /** Datagrams since error number `#sentSince` of the last incident, by where they were seen; null: none was captured. */
  #sent: Map<string, number> | null = null;
  #sentSince = 0;
  /** The peer's first datagram since, as long as it is not known to be an answer. */
  answer: PeersDatagram | null = null;

  constructor(event: IcmpEvent, incidents: Incident[], at: number, isSaved: boolean) {
    this.event = event;
    this.isSaved = isSaved;
    this.incidents = incidents;
    this.lastAt = at;
    const { src: ownSource, sport: ownPort, dst: peer, dport: peerPort } = event.flow!;
    this.#src = ownSource;
    this.#sport = ownPort!;
    this.#dst = peer;
    this.#dport = peerPort!;
    const { version } = event.icmp;
    const tuples = event.nat === undefined ? [event.flow!] : [event.flow!, event.nat];
    this.tuples = tuples.map(({ src, sport, dst, dport }) => ({
      version,
      local: src,
      localPort: sport!,
      remote: dst,
      remotePort: dport!,
    }));
  }

  /** Whether it has that tuple, and is still followed. */
  isOf({ src, sport, dst, dport }: Flow): boolean {
    return (
      sport === this.#sport && dport === this.#dport && src === this.#src && dst === this.#dst && !this.isForgotten
    );
  }

  get incident(): Incident {
    return this.incidents.at(-1)!;
  }

  /** Whether an answer would end anything. */
  get isDown(): boolean {
    return this.incidents.some(({ state }) => state !== 'recovered');
  }

  /** One more was sent. A datagram passes several interfaces, on some of them with other addresses. */
  countSent(tuple: UdpTuple, interfaceName: string | null): void {
    if (this.#sent === null || this.#sentSince !== this.incident.errors) {
      this.#sent = new Map();
      this.#sentSince = this.incident.errors;
    }
    const place = `${tuple.local} ${interfaceName ?? ''}`;
    const count = this.#sent.get(place) ?? 0;
    if (count > 0 || this.#sent.size < MAX_PLACES) this.#sent.set(place, count + 1);
  }

  /** Another error: what was sent before it tells nothing. */
  startAnew(): void {
    this.#sent?.clear();
  }

  /**
   * Whether it had an error after that time, or at it. Time stamps are the finer; where the system's clock was set between the two,
   * `at`, on the clock of `Incidents.error`, is the true one.
   */
  hadErrorSince({ seconds, nanoseconds }: Pick<TimeStamp, 'seconds' | 'nanoseconds'>, at: number): boolean {
    const { last, lastAt } = this.incident;
    const later = (last.seconds - seconds) * 1000 + (last.nanoseconds - nanoseconds) / 1e6;
    const isClockSet = Math.abs(later - (lastAt - at)) > CLOCK_SET_MS;
    return (isClockSet ? lastAt - at : later) >= 0;
  }

  /** Whether there is no answer yet, or only one that an error followed. */
  get mayHear(): boolean {
    return this.answer === null || this.hadErrorSince(this.answer.time, this.answer.at);
  }

  /** From now on datagrams are captured: none seen is none sent. */
  beginCounting(): void {
    if (this.#sent !== null) return;
    this.#sent = new Map();
    this.#sentSince = this.incident.errors;
  }

  /** Datagrams seen since the last incident's last error, up to MAX_SENT; null where none was captured. */
  get sent(): number | null {
    if (this.#sent === null) return null;
    if (this.#sentSince !== this.incident.errors) return 0;
    return Math.min(MAX_SENT, Math.max(0, ...this.#sent.values()));
  }
}

interface FollowedTuple {
  tuple: UdpTuple;
  flow: ErringFlow;
}

export interface IncidentsOptions {
  /** Flows that are followed for an answer, in a generation. */
  maxFlows: number;
  /** Only those whose socket is known: to follow any other costs a live capture something, and anybody can make them up. */
  onlyKnownSockets: boolean;
}

export class Incidents {
  readonly #options: IncidentsOptions;
  readonly #named: Generations<Incident>;
  readonly #others: Generations<Incident>;
  readonly #over: Incident[] = [];
  /** By tuple. */
  readonly #flows: Generations<FollowedTuple>;
  /** How many followed tuples have the port, at either end: most datagrams need no further look. */
  readonly #ports = new Uint16Array(65_536);
  #followedTuples = 0;
  /** New flows that may be followed at `#roomAt`. */
  #room = NEW_FLOWS;
  #roomAt = 0;
  readonly #recent = new RecentFlows<ErringFlow>();
  /** Flows with an answer that has yet to count. */
  readonly #answering = new Set<ErringFlow>();
  /** No incident becomes quiet, and no answer counts, before: milliseconds on the clock of `error`. */
  nextAt = Number.POSITIVE_INFINITY;
  /** Called when a flow is to be followed that was not, or no longer. */
  onFollow: (() => void) | undefined;
  /** Incidents that are in no table any more, and their errors. */
  readonly forgotten = { incidents: 0, errors: 0 };

  constructor(options: IncidentsOptions) {
    this.#options = options;
    const forget = (incident: Incident): void => this.#forget(incident);
    this.#named = new Generations(NAMED_INCIDENTS, forget);
    this.#others = new Generations(OTHER_INCIDENTS, forget);
    this.#flows = new Generations(options.maxFlows, ({ tuple, flow }) => {
      flow.isForgotten = true;
      this.#countTuple(tuple, -1);
    });
  }

  /**
   * An error more.
   * @param at when it came: milliseconds on any clock that is never set back, the same for all calls.
   * @param isSaved it is known, or will be, what became of it: it is not to be found out.
   */
  error(event: IcmpEvent, at: number, isSaved = false): void {
    const { flow } = event;
    if (flow === undefined || event.errno === undefined) return;
    const before = this.#recent.get(flow, this.#flowOf);
    const incident = before?.incident;
    if (
      incident !== undefined &&
      incident.state !== 'recovered' &&
      isSame(incident, before!.event, event) &&
      (!incident.isForgotten || this.#remembers(incident))
    ) {
      incident.add(event, at, false);
      if (event.sockets !== before!.event.sockets) before!.event = event;
      before!.lastAt = at;
      before!.isSaved = isSaved;
      incident.isSaved = isSaved;
      // All of them, not the one on the wire alone.
      if (before!.tuples.length > 1) this.#remember(before!);
    } else {
      this.#add(event, at, before, isSaved);
    }
    if (this.nextAt > at + QUIET_MS) this.nextAt = at + QUIET_MS;
  }

  /** Whether any flow is followed. */
  get isFollowing(): boolean {
    return this.#followedTuples > 0;
  }

  /** Whether a datagram between these ports may belong to a followed flow. */
  mayFollow(sourcePort: number, destinationPort: number): boolean {
    return this.#ports[sourcePort]! > 0 && this.#ports[destinationPort]! > 0;
  }

  /** The followed flow of a datagram that its sender sees as `tuple`; null where none is, or its incident is over. */
  find(tuple: UdpTuple): ErringFlow | null {
    const flow = this.#flows.get(tupleKey(tuple))?.flow;
    return flow?.isDown === true && !flow.isSaved ? flow : null;
  }

  /**
   * A datagram of the peer on `flow`. It may be an answer only if something was sent to the peer since the last error: a peer
   * that sends whatever happens answers nothing.
   */
  hear(flow: ErringFlow, datagram: PeersDatagram): void {
    if (!flow.mayHear || flow.hadErrorSince(datagram.time, datagram.at) || (flow.sent ?? 0) === 0) return;
    flow.answer = datagram;
    this.#answering.add(flow);
    this.nextAt = Math.min(this.nextAt, datagram.at + ANSWER_MS);
  }

  /** The flows whose answer counts by `at`, unless an error came after it that has yet to be shown. */
  takeAnswers(at: number): { flow: ErringFlow; answer: PeersDatagram }[] {
    const answers: { flow: ErringFlow; answer: PeersDatagram }[] = [];
    for (const flow of this.#answering) {
      const answer = flow.answer!;
      if (answer.at + ANSWER_MS > at) this.nextAt = Math.min(this.nextAt, answer.at + ANSWER_MS);
      else answers.push({ flow, answer });
    }
    for (const { flow } of answers) this.#answering.delete(flow);
    return answers;
  }

  /** The incidents that an answer of the peer at `at` ends: none where an error came after it, of another errno either. */
  answered({ incidents, lastAt: flowErredAt }: ErringFlow, at: number): Incident[] {
    const down = incidents.filter(({ state }) => state !== 'recovered');
    if (flowErredAt > at || down.some(({ lastAt }) => lastAt > at)) return [];
    for (const incident of down) this.#end(incident, Math.max(0, Math.round(at - incident.firstAt)));
    return down;
  }

  /** Takes what a saved record says of its incident. False where none is known. */
  restate({ flow, event, errno, downMs }: IncidentRecord): boolean {
    const incident = this.#flowOf(flow)?.incidents.find((one) => one.errno === errno && one.state !== 'recovered');
    if (incident === undefined) return false;
    if (event === 'quiet') incident.state = 'quiet';
    else this.#end(incident, downMs ?? 0);
    return true;
  }

  /** Those that have become quiet by `at`, with the datagrams that were seen to go to the peer since the last error. */
  becomeQuiet(at: number): { incident: Incident; sent: number | null }[] {
    this.nextAt = Number.POSITIVE_INFINITY;
    for (const { answer } of this.#answering) this.nextAt = Math.min(this.nextAt, answer!.at + ANSWER_MS);
    const ceased: Incident[] = [];
    for (const incident of this.#running()) {
      if (incident.state !== 'open' || !incident.isOutage || incident.isSaved) continue;
      const quietAt = this.#quietAt(incident);
      if (quietAt <= at) ceased.push(incident);
      else this.nextAt = Math.min(this.nextAt, quietAt);
    }
    if (ceased.length === 0) return [];
    const answered = new Set<Incident>();
    for (const { flow } of this.#flows.values()) {
      // It ends them, if no error was before it that has yet to be shown.
      if (!flow.mayHear) for (const incident of flow.incidents) answered.add(incident);
      for (const other of flow.incidents) {
        if (other !== flow.incident && other.state === 'open' && flow.lastAt > other.lastAt) other.state = 'other';
      }
    }
    const quiet = ceased.filter((incident) => incident.state === 'open' && !answered.has(incident));
    const sent = this.#sentOf(new Set(quiet));
    return quiet.map((incident) => {
      incident.state = 'quiet';
      const count = sent.get(incident) ?? null;
      // Of several sockets each may have been another one's successor, and what the next one sends is not seen.
      return { incident, sent: count === 0 && incident.socketCount.count > 1 ? null : count };
    });
  }

  /** Errors about the same port that no process is known to have had may be its own. */
  #quietAt(incident: Incident): number {
    if (!incident.isNamed) return incident.quietAt;
    const { remote, remotePort, errno, event } = incident;
    const unknown = this.#others.get(keyFor('', event.direction, remote, remotePort, errno));
    return Math.max(incident.quietAt, unknown?.quietAt ?? 0);
  }

  /**
   * The flows that are followed for an answer, those in `already` that had an error lately first, then the last to err. A peer that has not answered for long, and had no error either, may be one that never answers.
   */
  followed(already: ReadonlySet<ErringFlow>, at: number): ErringFlow[] {
    const flows = new Set<ErringFlow>();
    for (const { flow } of this.#flows.values()) if (flow.isDown && at - flow.lastAt < FOLLOWED_MS) flows.add(flow);
    const rank = (flow: ErringFlow): number => (already.has(flow) && at - flow.lastAt < QUIET_MS ? 0 : 1);
    return [...flows].toSorted((a, b) => rank(a) - rank(b) || b.lastAt - a.lastAt);
  }

  /** All that are remembered: those that go on first, the last to err first among each. */
  table(): Incident[] {
    return [...this.#running(), ...this.#over].toSorted(
      (a, b) => Number(a.state === 'recovered') - Number(b.state === 'recovered') || b.lastAt - a.lastAt,
    );
  }

  readonly #flowOf = ({ src, sport, dst, dport }: Flow): ErringFlow | undefined => {
    if (typeof sport !== 'number' || typeof dport !== 'number' || !this.mayFollow(sport, dport)) return undefined;
    return this.#flows.get(tupleKey({ version: 4, local: src, localPort: sport, remote: dst, remotePort: dport }))
      ?.flow;
  };

  #add(event: IcmpEvent, at: number, before: ErringFlow | undefined, isSaved: boolean): void {
    const key = keyOf(event);
    const incidents = processesOf(event.sockets).length > 0 ? this.#named : this.#others;
    let incident = incidents.get(key);
    if (incident === undefined) {
      incident = new Incident(key, event, at);
      incidents.set(key, incident);
    }
    incident.add(event, at, true);
    incident.isSaved = isSaved;
    if (before !== undefined) {
      before.startAnew();
      for (const other of before.incidents) if (other !== incident && other.state === 'open') other.state = 'other';
    }
    if (!incident.isOutage || !this.#mayBeFollowed(event) || (before === undefined && !this.#hasRoomAt(at))) return;
    if (before !== undefined) before.lastAt = at;
    // The peer that is gone may be gone in more than one way: refused first, then unreachable.
    const others = before?.incidents.filter((other) => other.key !== incident.key && other.state !== 'recovered') ?? [];
    this.#follow(new ErringFlow(event, [...others.slice(1 - MAX_INCIDENTS), incident], at, isSaved));
  }

  /** In a flood of ever-new flows, a spoofed one say, following them would cost more than all else. */
  #hasRoomAt(at: number): boolean {
    this.#room = Math.min(NEW_FLOWS, this.#room + Math.max(0, at - this.#roomAt) * (NEW_FLOWS / 1000));
    this.#roomAt = at;
    if (this.#room < 1) return false;
    this.#room--;
    return true;
  }

  #mayBeFollowed({ flow, direction, sockets, match }: IcmpEvent): boolean {
    if (typeof flow!.sport !== 'number' || typeof flow!.dport !== 'number' || direction === 'out') return false;
    return !this.#options.onlyKnownSockets || (sockets !== undefined && sockets.length > 0 && match !== 'closed');
  }

  #follow(flow: ErringFlow): void {
    if (this.#options.maxFlows === 0) return;
    this.#remember(flow);
    this.onFollow?.();
  }

  #remember(flow: ErringFlow): void {
    for (const tuple of flow.tuples) {
      const key = tupleKey(tuple);
      const known = this.#flows.get(key);
      if (known === undefined) this.#countTuple(tuple, 1);
      else if (known.flow !== flow) known.flow.isForgotten = true;
      this.#flows.set(key, { tuple, flow });
    }
  }

  #countTuple({ localPort, remotePort }: UdpTuple, change: 1 | -1): void {
    this.#followedTuples += change;
    this.#ports[localPort]! += change;
    this.#ports[remotePort]! += change;
  }

  #end(incident: Incident, downMs: number): void {
    incident.state = 'recovered';
    incident.downMs = downMs;
    this.onFollow?.();
    if (incident.isForgotten) return;
    this.#tableOf(incident).delete(incident.key);
    this.#over.push(incident);
    if (this.#over.length > OVER) this.#forget(this.#over.shift()!);
  }

  /** Puts a forgotten one that errs on back into its table. False where another one has its place. */
  #remembers(incident: Incident): boolean {
    const table = this.#tableOf(incident);
    if (table.get(incident.key) !== undefined) return false;
    incident.isForgotten = false;
    this.forgotten.incidents--;
    this.forgotten.errors -= incident.errors;
    table.set(incident.key, incident);
    return true;
  }

  #tableOf({ isNamed }: Incident): Generations<Incident> {
    return isNamed ? this.#named : this.#others;
  }

  #forget(incident: Incident): void {
    incident.isForgotten = true;
    this.forgotten.incidents++;
    this.forgotten.errors += incident.errors;
  }

  *#running(): Generator<Incident> {
    yield* this.#others.values();
    yield* this.#named.values();
  }

  #sentOf(incidents: ReadonlySet<Incident>): Map<Incident, number> {
    const sums = new Map<Incident, number>();
    const flows = new Set<ErringFlow>();
    for (const { flow } of this.#flows.values()) flows.add(flow);
    for (const { incidents: all, sent } of flows) {
      if (sent === null) continue;
      for (const incident of all) {
        if (incidents.has(incident)) sums.set(incident, Math.min(MAX_SENT, (sums.get(incident) ?? 0) + sent));
      }
    }
    return sums;
  }
}

/** Whether an error on a flow belongs to the incident that the one before it belongs to. */
function isSame(incident: Incident, before: IcmpEvent, event: IcmpEvent): boolean {
  if (incident.errno !== event.errno || (before.direction === 'out') !== (event.direction === 'out')) return false;
  if (before.sockets === event.sockets) return true;
  // Who holds a socket may change: it is the same outage.
  return hasCommonSocket(before, event) || incident.key === keyOf(event);
}

function hasCommonSocket({ sockets: some = [] }: IcmpEvent, { sockets: others = [] }: IcmpEvent): boolean {
  return some.some(({ inode }) => inode !== 0 && others.some((other) => other.inode === inode));
}

function keyOf(event: IcmpEvent): string {
  const { address, port } = remoteOf(event);
  const known = processesOf(event.sockets);
  const processes =
    known.length === 0
      ? ''
      : known
          .map(({ pid, started }) => `${pid} ${started}`)
          .toSorted()
          .join();
  return keyFor(processes, event.direction, address, port, event.errno ?? null);
}

function keyFor(
  processes: string,
  direction: Direction,
  address: string,
  port: number | null,
  errno: string | null,
): string {
  return `${processes} ${direction === 'out' ? 'out' : ''} ${address} ${port} ${errno}`;
}

/** The far end as the socket sees it. */
function remoteOf({ flow, nat }: IcmpEvent): { address: string; port: number | null } {
  return { address: nat?.dst ?? flow!.dst, port: nat?.dport ?? flow!.dport ?? null };
}

/** Each process once. */
function processesOf(sockets: readonly SocketIdentity[] | undefined): readonly ProcessIdentity[] {
  if (sockets === undefined) return [];
  if (sockets.length === 1 && sockets[0]!.processes.length <= 1) return sockets[0]!.processes;
  const processes = new Map<number, ProcessIdentity>();
  for (const socket of sockets) for (const process of socket.processes) processes.set(process.pid, process);
  return [...processes.values()];
}

function hearsOf({ outcome, errno, dropped, sockets }: IcmpEvent): Hears {
  switch (outcome) {
    case 'reported':
    case 'queued':
      return 'yes';
    case 'ignored': {
      const knownWithout = sockets?.every(({ recverr }) => recverr === false) ?? false;
      return errno === null || dropped === true || knownWithout ? 'no' : 'recverr';
    }
    case 'pmtu':
      return 'no';
    case 'no-socket':
      return 'closed';
    default:
      return 'unknown';
  }
}

/** Of errors that were not all heard alike. Where none is known to be heard, what is least known of them. */
function mixed(a: Hears, b: Hears): Hears {
  const both = new Set([a, b]);
  if (both.has('yes') || both.has('some')) return 'some';
  if (both.has('unknown')) return 'unknown';
  return both.has('recverr') ? 'recverr' : 'no';
}
