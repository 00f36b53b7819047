/**
 * Joins an ICMP error to what this host knows: the socket that the kernel gives it to, the processes that
 * hold the socket, and what they hear of it.
 *
 * Host state is read beside the stream. An error for a connected socket that is known, and is still held, is
 * answered at once; any other waits for a read of the socket table that began after the error came, and
 * shares it with all that wait. Reads rest nine times as long as they take (Refresher).
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Direction, Match, Outcome, ProcessIdentity, SocketIdentity } from '../event.ts';
import { LocalAddresses } from '../host/local-addresses.ts';
import { linkedInode, readLink } from '../host/proc-file.ts';
import { ProcessTable } from '../host/process-table.ts';
import { Refresher, type Latest, type Run } from '../host/refresher.ts';
import { readSmallSocketTable, readSocketTable, type SocketTable, type UdpSocket } from '../host/socket-table.ts';
import { lookup, type LookupTuple } from './kernel-lookup.ts';
import { errnoFor, verdict } from './verdict.ts';

/** An ICMP error's type and code, and the addresses and ports of the datagram it quotes, as on the wire. */
export interface QuotedTuple {
  version: 4 | 6;
  type: number;
  code: number;
  src: string;
  sport: number;
  dst: string;
  dport: number;
}

export interface Attribution {
  /** What the kernel maps type and code to; null where to nothing. */
  errno: string | null;
  outcome: Outcome;
  match: Match;
  /** Several where /proc does not show which of them the kernel chose. */
  sockets: SocketIdentity[];
  /** What could not be found out, and why. */
  note?: string;
}

export interface HostStatistics {
  tableReads: number;
  /** Milliseconds. */
  tableCost: number;
  processScans: number;
  /** Milliseconds. */
  scanCost: number;
  /** Processes whose descriptors could not be read at the last scan; null before the first. */
  unreadableProcesses: number | null;
  /** The socket table is larger than is kept. */
  tableCut: boolean;
}

/** The socket that was found, before type and code are considered. */
interface Found {
  match: Match;
  /** Where it differs from what the verdict on `match` gives. */
  outcome?: Outcome;
  sockets: SocketIdentity[];
  note?: string;
}

/** Questions that are answered by the same read of the socket table, by tuple. */
interface Batch {
  read: Promise<SocketTable | null>;
  questions: Map<string, Question>;
}

interface Question {
  tuple: LookupTuple;
  answer: Promise<Found>;
  resolve: (found: Found) => void;
}

/** A table of so many sockets is read at once, in some 100 µs. */
const SMALL_TABLE = 128;
const MAX_ANSWERS = 65_536;
/** Tuples looked up before the event loop has a turn. */
const LOOKUPS_PER_TURN = 500;
/** Candidates that are named. */
const MAX_CANDIDATES = 64;
/** A socket table is used for connected sockets this long, in milliseconds and in times its own cost. */
const TABLE_FOR = 100;
const TABLE_FOR_COSTS = 20;

const ADDRESSES_UNKNOWN = 'whether the address is one of this host could not be found out';
const NO_SOCKET: Found = { match: 'none', sockets: [] };
const NOT_LOCAL: Found = { match: 'none', outcome: 'not-local', sockets: [] };
const TOO_LARGE: Found = { match: null, sockets: [], note: 'the socket table is too large to be read whole' };
const ADDRESSES_UNREADABLE: Found = { match: null, sockets: [], note: ADDRESSES_UNKNOWN };
const MAYBE_V6_ONLY = 'or nobody, if the socket is IPV6_V6ONLY';
const UNREADABLE: Found = { match: null, sockets: [], note: 'the socket table could not be read' };
const ELSEWHERE: Found = {
  match: null,
  sockets: [],
  note: 'the quoted source is not an address of this network namespace; others are not searched',
};

/** What this host knows of the sockets behind ICMP errors. Never throws for what /proc lacks. */
export class HostAttribution {
  readonly #now: () => number;
  readonly #tables: Refresher<SocketTable | null>;
  readonly #processes: ProcessTable;
  readonly #addresses: LocalAddresses;
  /** The inode of this network namespace. */
  readonly #netns: number | null;
  /** Answers for the packets that came together, by tuple: a storm on one flow costs a Map hit each. */
  readonly #answers = new Map<string, { found: Found; foundAt: number }>();
  /** By the clock given; what a table read from then on lacks was not there when the packets came. */
  #arrival = Number.POSITIVE_INFINITY;
  /** The questions that wait for the next read of the socket table. */
  #batch: Batch | null = null;

  /**
   * @param options.procRoot a /proc, or a directory with a copy of some of it.
   * @param options.now milliseconds, monotonic.
   */
  constructor(options: { procRoot?: string; now?: () => number } = {}) {
    const root = options.procRoot ?? '/proc';
    const now = options.now ?? (() => performance.now());
    this.#now = now;
    this.#tables = new Refresher(
      () => readTable(`${root}/net`, now),
      now,
      0,
      () => this.#readSmallTable(`${root}/net`),
    );
    this.#processes = new ProcessTable({ root, now });
    this.#addresses = new LocalAddresses(`${root}/net`, now);
    this.#netns = linkedInode('net', readLink(`${root}/self/ns/net`));
  }

  /** Reads everything once, so that the first error is answered from memory. */
  async start(): Promise<void> {
    // One after the other: the time that a read takes says how long the next one is put off.
    await this.#addresses.warm();
    await this.#tables.join();
    await this.#processes.warm();
  }

  /** Ends all reading; questions that wait are answered `unknown`. */
  close(): void {
    this.#tables.close();
    this.#processes.close();
    this.#addresses.close();
  }

  get statistics(): HostStatistics {
    return {
      tableReads: this.#tables.runs,
      tableCost: this.#tables.totalCost,
      processScans: this.#processes.scans,
      scanCost: this.#processes.scanCost,
      unreadableProcesses: this.#processes.unreadable,
      tableCut: this.#tables.latest?.value?.cut ?? false,
    };
  }

  /**
   * The packets that are asked about next came no later than now. One read of the table after this call serves
   * them all.
   */
  packetsArrived(): void {
    this.#arrival = this.#now();
  }

  /** Which way a packet with these addresses goes. Between two addresses of this host it comes in. */
  directionOf(src: string, dst: string): Direction {
    const toHere = this.#addresses.isLocal(dst);
    if (toHere === true) return 'in';
    const fromHere = this.#addresses.isLocal(src);
    if (fromHere === true) return toHere === null ? null : 'out';
    return toHere === null || fromHere === null ? null : 'forward';
  }

  /**
   * For an error that came in, or passes through: whose datagram it quotes. The kernel looks the quoted
   * source up as local, the quoted destination as remote.
   */
  lookupIn(quoted: QuotedTuple): Attribution | Promise<Attribution> {
    const { version, src, sport, dst, dport } = quoted;
    const found = this.#find({ version, local: src, localPort: sport, remote: dst, remotePort: dport });
    if (found instanceof Promise) return found.then((answer) => attributionIn(quoted, answer));
    return attributionIn(quoted, found);
  }

  /**
   * For an error that this host sent: who now holds the port that it complains about, which is the quoted
   * destination. `match` says how a datagram from that peer would find its socket now; `none` is what the error
   * itself says, anything else is a listener that is back (or a firewall of this host that rejects). The quoted
   * datagram came from the peer, so the outcome is `not-local`; `errno` is what the peer's kernel maps the error
   * to, if it is a Linux.
   */
  lookupOut(quoted: QuotedTuple): Attribution | Promise<Attribution> {
    const { version, src, sport, dst, dport } = quoted;
    const found = this.#find({ version, local: dst, localPort: dport, remote: src, remotePort: sport });
    if (found instanceof Promise) return found.then((answer) => attributionOut(quoted, answer));
    return attributionOut(quoted, found);
  }

  /**
   * Not asynchronous where the answer is known or the table is small: a storm must not cost a promise each.
   */
  #find(tuple: LookupTuple): Found | Promise<Found> {
    const key = `${tuple.local} ${tuple.localPort} ${tuple.remote} ${tuple.remotePort}`;
    const answer = this.#answers.get(key);
    if (answer !== undefined && answer.foundAt >= this.#arrival) return answer.found;
    const table = this.#tables.at(this.#arrival);
    if (table === null) return this.#findKnown(key, tuple) ?? this.#findFresh(key, tuple);
    const local = this.#addresses.check(tuple.local);
    if (local instanceof Promise) return this.#findWhenAddressesAreRead(key, tuple, local);
    return local === false ? this.#notLocal() : this.#findIn(table, key, tuple);
  }

  /**
   * The connected socket that the last read has for the tuple: at once where its holders are known and still
   * have it; else when they are found, for then the socket is open. Null where there is no such socket.
   */
  #findKnown(key: string, tuple: LookupTuple): Found | Promise<Found> | null {
    const table = this.#usableTable();
    if (table === null) return null;
    const { match, sockets } = lookup(table, tuple);
    if (match !== 'connected') return null;
    const holders = this.#knownHolders(sockets);
    if (holders === null) return this.#findHeld(key, tuple, sockets);
    return this.#remember(key, this.#held(match, sockets, holders));
  }

  /** Null where not every socket is known to be held: then somebody has to look. */
  #knownHolders(sockets: readonly UdpSocket[]): ProcessIdentity[][] | null {
    if (sockets.length > MAX_CANDIDATES) return null;
    const holders: ProcessIdentity[][] = [];
    for (const { inode } of sockets) {
      const processes = this.#processes.known(inode);
      if (processes === null || processes.length === 0) return null;
      holders.push(processes);
    }
    return holders;
  }

  async #findHeld(key: string, tuple: LookupTuple, sockets: readonly UdpSocket[]): Promise<Found> {
    const holders = await Promise.all(sockets.map(({ inode }) => this.#processes.holders(inode)));
    // A socket that nobody holds may be closed.
    const held = holders.filter((processes) => processes !== null && processes.length > 0);
    if (held.length < sockets.length) return this.#findFresh(key, tuple);
    return this.#remember(key, this.#held('connected', sockets, holders));
  }

  /** Null where the table is not small, which the last read of it tells. */
  #readSmallTable(netDirectory: string): Run<SocketTable | null> | null {
    const last = this.#tables.latest?.value;
    if (last === undefined || last === null || last.size > SMALL_TABLE) return null;
    const start = this.#now();
    const value = readSmallSocketTable(netDirectory);
    return value === null ? null : { value, cost: this.#now() - start };
  }

  /** A socket may connect to another peer, so a table is used for a while only, and read again in the second half. */
  #usableTable(): SocketTable | null {
    const latest: Latest<SocketTable | null> | null = this.#tables.latest;
    if (latest === null) return null;
    const age = this.#now() - latest.startedAt;
    const usableFor = Math.max(TABLE_FOR, TABLE_FOR_COSTS * latest.cost);
    if (age > usableFor) return null;
    if (age > usableFor / 2) void this.#tables.join();
    return latest.value;
  }

  #findFresh(key: string, tuple: LookupTuple): Found | Promise<Found> {
    // Before the sockets: a wildcard socket of this namespace would match any address.
    const local = this.#addresses.check(tuple.local);
    if (local instanceof Promise) return this.#findWhenAddressesAreRead(key, tuple, local);
    return local === false ? this.#notLocal() : this.#ask(key, tuple);
  }

  async #findWhenAddressesAreRead(key: string, tuple: LookupTuple, reading: Promise<boolean | null>): Promise<Found> {
    return (await reading) === false ? this.#notLocal() : this.#ask(key, tuple);
  }

  /** One question for all who ask for the same tuple before the same read. */
  #ask(key: string, tuple: LookupTuple): Promise<Found> {
    const read = this.#tables.fresh();
    if (this.#batch?.read !== read) {
      const batch: Batch = { read, questions: new Map() };
      this.#batch = batch;
      void this.#answerAll(batch);
    }
    const { questions } = this.#batch;
    let question = questions.get(key);
    if (question === undefined) {
      question = questionAbout(tuple);
      questions.set(key, question);
    }
    return question.answer;
  }

  /** Most of a storm has no socket here, and is answered without a promise more. */
  async #answerAll({ read, questions }: Batch): Promise<void> {
    const table = await read;
    let asked = 0;
    for (const [key, { tuple, resolve }] of questions) {
      if (asked++ % LOOKUPS_PER_TURN === LOOKUPS_PER_TURN - 1) await nextTurn();
      const found = table === null ? UNREADABLE : this.#findIn(table, key, tuple);
      if (found instanceof Promise) void found.then(resolve);
      else resolve(found);
    }
  }

  #findIn(table: SocketTable, key: string, tuple: LookupTuple): Found | Promise<Found> {
    const { match, sockets } = lookup(table, tuple);
    const isLocal = this.#addresses.isLocal(tuple.local);
    if (match !== 'none') {
      const holders = this.#knownHolders(sockets);
      if (holders !== null && isLocal !== null && !isMaybeV6Only(match, sockets, tuple))
        return this.#remember(key, this.#held(match, sockets, holders));
      return this.#findHolders(key, tuple, match, sockets, isLocal === null);
    }
    if (table.cut) return TOO_LARGE;
    return isLocal === null ? ADDRESSES_UNREADABLE : NO_SOCKET;
  }

  async #findHolders(
    key: string,
    tuple: LookupTuple,
    match: Match,
    sockets: readonly UdpSocket[],
    addressesUnknown: boolean,
  ): Promise<Found> {
    const named = sockets.slice(0, MAX_CANDIDATES);
    const holders = await Promise.all(named.map(({ inode }) => this.#processes.holders(inode)));
    const all = named.map((socket, index) => this.#identity(socket, holders[index] ?? []));
    // Of several candidates, those that nobody holds any more were closed while the holders were looked for.
    const held = all.filter(({ processes }) => processes.length > 0);
    const identities = held.length > 0 ? held : all;
    const found: Found = { match, sockets: identities };
    const notes: string[] = [];
    if (isMaybeV6Only(match, named, tuple)) notes.push(MAYBE_V6_ONLY);
    if (addressesUnknown) notes.push(ADDRESSES_UNKNOWN);
    if (sockets.length > identities.length)
      notes.push(`${identities.length} of ${sockets.length} candidates are named`);
    if (identities.some(({ processes }) => processes.length === 0)) notes.push(this.#unheldNote());
    if (notes.length > 0) found.note = notes.join('; ');
    return this.#remember(key, found);
  }

  /** Not sent from this namespace: but perhaps from another one of this host. */
  #notLocal(): Found | Promise<Found> {
    const others = this.#processes.otherNamespaces();
    return others instanceof Promise ? others.then(foundElsewhere) : foundElsewhere(others);
  }

  #unheldNote(): string {
    const unreadable = this.#processes.unreadable ?? 0;
    if (unreadable > 0) return `${unreadable} processes may not be looked into, and one of them may hold the socket`;
    return 'no process that can be seen from here holds the socket: it is the kernel’s own, was closed just now, or is held in another PID namespace';
  }

  #remember(key: string, found: Found): Found {
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
    this.#answers.set(key, { found, foundAt: this.#now() });
    return found;
  }

  #held(match: Match, sockets: readonly UdpSocket[], holders: readonly (ProcessIdentity[] | null)[]): Found {
    return {
      match,
      sockets: sockets.map((socket, index) => this.#identity(socket, holders[index] ?? [])),
    };
  }

  #identity(socket: UdpSocket, processes: ProcessIdentity[]): SocketIdentity {
    return {
      inode: socket.inode,
      state: socket.connected ? 'connected' : 'unconnected',
      family: socket.family,
      local: endpoint(socket.local, socket.localPort),
      ...(socket.connected && { remote: endpoint(socket.remote, socket.remotePort) }),
      uid: socket.uid,
      netns: this.#netns,
      recverr: null,
      processes,
    };
  }
}

function attributionIn({ version, type, code }: QuotedTuple, found: Found): Attribution {
  const { errno, outcome } = verdict(version, type, code, found.match);
  return withNote({ errno, outcome: found.outcome ?? outcome, match: found.match, sockets: found.sockets }, found.note);
}

function attributionOut({ version, type, code }: QuotedTuple, found: Found): Attribution {
  const { errno } = errnoFor(version, type, code);
  // A router's own error about a datagram that it forwards: there is no port here that it is about.
  const note = found === ELSEWHERE ? undefined : found.note;
  return withNote({ errno, outcome: 'not-local', match: found.match, sockets: found.sockets }, note);
}

function withNote(attribution: Attribution, note: string | undefined): Attribution {
  if (note !== undefined) attribution.note = note;
  return attribution;
}

/** `::` takes v4 too, unless it is IPV6_V6ONLY, which /proc does not show (kernel-lookup.ts). */
function isMaybeV6Only(match: Match, sockets: readonly UdpSocket[], { version }: LookupTuple): boolean {
  return version === 4 && match === 'wildcard' && sockets.every(({ family, local }) => family === 6 && local === '::');
}

function questionAbout(tuple: LookupTuple): Question {
  let resolve!: (found: Found) => void;
  const answer = new Promise<Found>((settle) => {
    resolve = settle;
  });
  return { tuple, answer, resolve };
}

function foundElsewhere(otherNamespaces: boolean | null): Found {
  return otherNamespaces === false ? NOT_LOCAL : ELSEWHERE;
}

async function readTable(netDirectory: string, now: () => number): Promise<Run<SocketTable | null>> {
  const start = now();
  const value = await readSocketTable(netDirectory);
  return { value, cost: now() - start };
}

function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
