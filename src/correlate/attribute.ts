/**
 * Joins an ICMP error to what a host knows: the socket that the kernel gives it to, the processes that hold the socket,
 * and what they hear of it.
 *
 * In the kernel's order: NAT is undone in the quoted tuple; where the address that comes out is local, there the socket is
 * looked up; otherwise the error goes on to the namespace that has the address, and so forth (a container behind
 * MASQUERADE, behind another one).
 *
 * Host state is read beside the stream (HostView): what is not at hand is waited for, and then all is tried again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Direction, ProcessIdentity, SocketIdentity } from '../event.ts';
import type { HostView, NamespaceView, SocketSource } from '../host/host-view.ts';
import type { SocketOptions } from '../host/socket-options.ts';
import type { UdpSocket } from '../host/socket-table.ts';
import { endpoint } from '../host/snapshot.ts';
import { isLoopback, isSameTuple, reversed, tupleKey, type UdpTuple } from '../host/udp-tuple.ts';
import {
  attributionIn,
  attributionOut,
  OTHERS_SKIPPED,
  unknown,
  withNotes,
  type Attribution,
  type Found,
  type QuotedTuple,
} from './attribution.ts';
import { eligibleSockets, lookup, type LookupResult } from './kernel-lookup.ts';
import { RecentQuestions, type Role } from './recent-questions.ts';

interface Question {
  readonly role: Role;
  readonly tuple: UdpTuple;
  /** Where the error was captured; null: not known. */
  readonly interfaceName: string | null;
  readonly askedAt: number;
  /** What is read from then on is good for an answer. */
  since: number;
  /** A socket that nobody holds was looked up once more, after its holders had been looked for. */
  isSecondLook: boolean;
  /** A namespace could not be read, so all were looked for once more. */
  isListedAnew: boolean;
  /** The sockets that it is answered by: the last ones of each namespace. */
  sources: { namespace: NamespaceView; localPort: number; source: SocketSource }[];
}

/** Where the socket may be: a namespace, and the tuple that it has there. */
interface Place {
  namespace: NamespaceView;
  tuple: UdpTuple;
  /** False: the addresses of the namespace cannot be read. */
  isKnownLocal: boolean;
}

/** What is known of a socket, and what that was made of: errors on one flow share it. */
interface KnownIdentity {
  socket: UdpSocket;
  processes: readonly ProcessIdentity[];
  options: SocketOptions | null;
  version: 4 | 6;
  identity: SocketIdentity;
}

interface Survey {
  places: Place[];
  /** Namespaces that the error has gone through. */
  visited: NamespaceView[];
  /** Processes in namespaces that may not be read. */
  unreadable: number;
  othersSkipped: boolean;
  natUnknown: boolean;
}

const MAX_ANSWERS = 65_536;
/** Questions that may be open at once; those beyond are answered: unknown. */
const MAX_OPEN = 16_384;
/** Milliseconds of trying before the event loop has a turn. */
const TRYING = 8;
/**
 * With so many questions waiting, what is read of addresses may be so many milliseconds behind: in a storm of foreign
 * addresses the next ones must not wait too.
 */
const MANY = 1_000;
const BEHIND = 100;
/** Milliseconds until a question is given up, and until options of a socket are. */
const GIVE_UP_AFTER = 3_000;
const OPTIONS_AFTER = 150;
/**
 * Milliseconds that NAT and addresses are believed for further errors on the flow of a connected socket, which still has to
 * be there, where they cannot be looked at now.
 */
const ROUTE_FOR = 1_000;
/** Candidates that are named. */
const MAX_CANDIDATES = 64;
/** Owners that a note names. */
const MAX_NAMED = 4;
/** Milliseconds since a connected socket was last seen in which it may have got the error. */
const JUST_CLOSED = 500;
/** Namespaces that an error is followed through. */
const MAX_HOPS = 8;

const NO_SOCKET: Found = { match: 'none', sockets: [] };
const NOT_LOCAL: Found = { match: 'none', outcome: 'not-local', sockets: [] };
const TOO_LARGE = unknown('the socket table is too large to be read whole');
const TOO_SLOW = unknown(`it could not be looked up within ${GIVE_UP_AFTER / 1000} s`);
const TOO_MANY = unknown('too many look-ups at once');
const ENDED = unknown('the watch ended before it was looked up');
const ADDRESSES_UNKNOWN = 'whether the address is one of this host could not be found out';
const ADDRESSES_UNREADABLE = unknown(ADDRESSES_UNKNOWN);
const NAT_UNKNOWN = 'NAT is not undone: conntrack cannot be read';
const MAYBE_V6_ONLY = 'or nobody, if the socket is IPV6_V6ONLY';
const SEVERAL_NAMESPACES = 'several network namespaces have the address, and which of them sent it cannot be seen';

/** What a host knows of the sockets behind ICMP errors. Never throws for what it lacks. */
export class HostAttribution {
  readonly #host: HostView;
  /** Questions of the packets that came together: a storm on one flow is looked up once. */
  readonly #recent = new RecentQuestions();
  /** Where connected sockets were found, by the tuple on the wire. */
  readonly #routes = new Map<string, { place: Place; foundAt: number }>();
  /** Who holds the sockets of the packets that came together, by inode. */
  readonly #held = new Map<number, readonly ProcessIdentity[]>();
  /** What was told of sockets, and of what; by inode. */
  readonly #identities = new Map<number, KnownIdentity>();
  /** Those that are not answered yet, oldest first. */
  readonly #open = new Map<Question, (found: Found) => void>();
  #giveUpTimer: NodeJS.Timeout | undefined;
  /** What they wait for. */
  readonly #waiting = new Map<Promise<unknown>, Question[]>();
  /** Those that have waited, and may be tried again. */
  readonly #ready: Question[] = [];
  #isTrying = false;
  readonly #orTicks = new Map<Promise<unknown>, Promise<unknown>>();
  #arrival: number;

  constructor(host: HostView) {
    this.#host = host;
    this.#arrival = host.now();
  }

  /** Gets ready, so that the first error is answered from memory. */
  async start(): Promise<void> {
    await this.#host.start();
  }

  /** Ends all reading; questions that wait are answered `unknown`. */
  close(): void {
    for (const question of this.#open.keys()) this.#resolve(question, ENDED);
    this.#host.close();
  }

  /** The packets that are asked about next came no later than now. */
  packetsArrived(): void {
    this.#arrival = this.#host.now();
    this.#held.clear();
  }

  /** Which way a packet with these addresses goes at this namespace. Between two addresses of it it comes in. */
  directionOf(src: string, dst: string): Direction {
    const { own } = this.#host;
    const toHere = own.isLocalByMemory(dst);
    if (toHere === true) return 'in';
    const fromHere = own.isLocalByMemory(src);
    if (fromHere === true) return toHere === null ? null : 'out';
    return toHere === null || fromHere === null ? null : 'forward';
  }

  /** Whether NAT, as far as is known at once, makes the tuple one of another namespace. */
  passesOn(tuple: UdpTuple): boolean {
    const own = this.undoNat(tuple);
    return own !== tuple && this.#host.own.isLocalByMemory(own.local) === false;
  }

  /** The tuple with NAT undone, as far as that is known at once: the same on either side of a router. */
  undoNat(tuple: UdpTuple): UdpTuple {
    return this.#host.own.undoNatNow(tuple);
  }

  /**
   * Who is hit: whoever sent the quoted datagram. For an error that this host sent, or passes on, without having sent the
   * datagram: who has the port that it complains about. `match` then says how a datagram from that peer would find its
   * socket now; `none` is what the error itself says, anything else is a listener that is back (or a firewall of this
   * host that rejects). The outcome is then `not-local`, and `errno` what the peer's kernel maps the error to, if it is a
   * Linux.
   *
   * @param direction of the packet, by `directionOf`.
   * @param interfaceName where it was captured; null: not known.
   */
  lookup(quoted: QuotedTuple, direction: Direction, interfaceName: string | null): Attribution | Promise<Attribution> {
    const { version, src, sport, dst, dport } = quoted;
    const tuple = { version, local: src, localPort: sport, remote: dst, remotePort: dport };
    const sender = this.#find('sender', tuple, interfaceName);
    if (!(sender instanceof Promise)) return this.#answer(quoted, direction, tuple, interfaceName, sender);
    return sender.then((found) => this.#answer(quoted, direction, tuple, interfaceName, found));
  }

  #answer(
    quoted: QuotedTuple,
    direction: Direction,
    tuple: UdpTuple,
    interfaceName: string | null,
    sender: Found,
  ): Attribution | Promise<Attribution> {
    const isElsewhere = sender.outcome === 'not-local' || (direction === 'out' && sender.match === null);
    if (direction === 'in' || direction === null || !isElsewhere) {
      // Only what is in a namespace of this host has a match.
      const isHere = sender.match !== null && !isElsewhere;
      return attributionIn(quoted, isHere ? 'in' : direction, sender);
    }
    const receiver = this.#find('receiver', reversed(tuple), interfaceName);
    if (!(receiver instanceof Promise)) return attributionOut(quoted, direction, receiver);
    return receiver.then((found) => attributionOut(quoted, direction, found));
  }

  /** Not asynchronous where everything is at hand: a storm must not cost a promise each. */
  #find(role: Role, tuple: UdpTuple, interfaceName: string | null): Found | Promise<Found> {
    const since = this.#arrival;
    const known = this.#recent.get(role, tuple, interfaceName, since);
    if (known !== undefined) return known;
    const question: Question = {
      role,
      tuple,
      interfaceName,
      askedAt: this.#host.now(),
      since,
      isSecondLook: false,
      isListedAnew: false,
      sources: [],
    };
    const found = this.#try(question);
    if (found instanceof Promise && this.#open.size >= MAX_OPEN) return TOO_MANY;
    const answer = found instanceof Promise ? this.#answerLater(question, found) : found;
    this.#recent.remember({ role, tuple, interfaceName, since, answer });
    return answer;
  }

  #answerLater(question: Question, wait: Promise<unknown>): Promise<Found> {
    return new Promise((resolve) => {
      this.#open.set(question, resolve);
      this.#giveUpTimer ??= setInterval(() => this.#giveUpOld(), GIVE_UP_AFTER / 10).unref();
      this.#waitFor(wait, question);
    });
  }

  #resolve(question: Question, found: Found): void {
    this.#open.get(question)?.(found);
    this.#open.delete(question);
    if (this.#open.size > 0) return;
    clearInterval(this.#giveUpTimer);
    this.#giveUpTimer = undefined;
  }

  /** What is waited for may take longer than anybody waits for an answer, or hang. */
  #giveUpOld(): void {
    for (const question of this.#open.keys()) {
      if (this.#host.now() - question.askedAt <= GIVE_UP_AFTER) break;
      this.#resolve(question, TOO_SLOW);
    }
  }

  /** Thousands wait for the same table. */
  #waitFor(wait: Promise<unknown>, question: Question): void {
    const known = this.#waiting.get(wait);
    if (known !== undefined) {
      known.push(question);
      return;
    }
    const questions = [question];
    this.#waiting.set(wait, questions);
    void this.#wake(wait, questions);
  }

  async #wake(wait: Promise<unknown>, questions: readonly Question[]): Promise<void> {
    let failure: Found | null = null;
    try {
      await wait;
    } catch (error) {
      failure = failed(error);
    }
    this.#waiting.delete(wait);
    for (const question of questions) {
      if (failure === null) this.#ready.push(question);
      else this.#resolve(question, failure);
    }
    this.#tryReadyLater();
  }

  /** Not before the event loop had its turn: what is waited for may be there already, and still not be enough. */
  #tryReadyLater(): void {
    if (this.#isTrying) return;
    this.#isTrying = true;
    setImmediate(() => {
      this.#isTrying = false;
      this.#tryReady();
    });
  }

  /** Tries those that have waited, as many as the event loop can bear, then after it had its turn the next. */
  #tryReady(): void {
    const start = performance.now();
    let tried = 0;
    for (const question of this.#ready) {
      if (performance.now() - start > TRYING) break;
      tried++;
      if (this.#open.has(question)) this.#tryAgain(question);
    }
    this.#ready.splice(0, tried);
    if (this.#ready.length > 0) this.#tryReadyLater();
  }

  #tryAgain(question: Question): void {
    let found;
    try {
      found = this.#try(question);
    } catch (error) {
      found = failed(error);
    }
    if (!(found instanceof Promise)) this.#resolve(question, found);
    else if (this.#host.now() - question.askedAt > GIVE_UP_AFTER) this.#resolve(question, TOO_SLOW);
    else this.#waitFor(found, question);
  }

  /** A promise: something has to be waited for, then to be tried again. */
  #try(question: Question): Found | Promise<unknown> {
    const survey: Survey = {
      places: [],
      visited: [],
      unreadable: 0,
      othersSkipped: false,
      natUnknown: false,
    };
    const wait = this.#follow(this.#host.own, question.tuple, question.since, survey);
    if (wait !== null) return this.#findByRoute(question) ?? wait;
    if (survey.places.length === 0) {
      const found = foundNowhere(survey, this.#host.whyNotSeen ?? null);
      return survey.natUnknown ? onTheWire(found) : found;
    }
    const results: Found[] = [];
    for (const place of survey.places) {
      const found = this.#lookIn(place, question);
      if (found instanceof Promise) return found;
      results.push(found);
    }
    const found = oneOf(results);
    if (results.length === 1 && isHeldConnection(found) && !survey.natUnknown) {
      if (this.#routes.size >= MAX_ANSWERS) this.#routes.clear();
      this.#routes.set(tupleKey(question.tuple), { place: survey.places[0]!, foundAt: this.#host.now() });
    }
    return survey.natUnknown ? onTheWire(found) : found;
  }

  /** Where the socket was found for an earlier error, if it is still there. */
  #findByRoute(question: Question): Found | null {
    if (this.#routes.size === 0) return null;
    const route = this.#routes.get(tupleKey(question.tuple));
    if (route === undefined || this.#host.now() - route.foundAt > ROUTE_FOR) return null;
    const found = this.#lookIn(route.place, {
      ...question,
      isSecondLook: true,
      isListedAnew: true,
      sources: [],
    });
    return !(found instanceof Promise) && isHeldConnection(found) ? found : null;
  }

  /** Notes where the socket may be that has `tuple` on the wire as `namespace` sees it. */
  #follow(namespace: NamespaceView, tuple: UdpTuple, since: number, survey: Survey): Promise<unknown> | null {
    survey.visited.push(namespace);
    const undone = namespace.undoNat(tuple, since);
    if (undone instanceof Promise) return undone;
    if (undone === null) survey.natUnknown = true;
    for (const own of undone === null || undone.length === 0 ? [tuple] : undone) {
      const wait = this.#followFrom(namespace, own, since, survey);
      if (wait !== null) return wait;
    }
    return null;
  }

  /** The tuple is the one behind the NAT of `namespace`: its socket is there, or it goes on from there. */
  #followFrom(namespace: NamespaceView, tuple: UdpTuple, since: number, survey: Survey): Promise<unknown> | null {
    const { local } = tuple;
    const isHere = namespace.isLocalByMemory(local);
    if (isHere === false && !isLoopback(local)) {
      // As of the last listing, so that an error for a container does not mean a listing.
      const placesBefore = survey.places.length;
      const wait = this.#followTo(this.#host.knownNamespacesOf(local), tuple, since, survey);
      if (wait !== null || survey.places.length > placesBefore) return wait;
    }
    const addressesSince = this.#open.size > MANY ? since - BEHIND : since;
    const isLocal = namespace.isLocal(local, addressesSince);
    if (isLocal instanceof Promise) return isLocal;
    if (isLocal !== false) {
      survey.places.push({ namespace, tuple, isKnownLocal: isLocal === true });
      return null;
    }
    if (isLoopback(local)) return null;
    const others = this.#host.namespacesOf(local, addressesSince);
    if (others instanceof Promise) return others;
    if (others === null) {
      survey.othersSkipped = true;
      return null;
    }
    survey.unreadable = others.unreadable;
    return this.#followTo(others.namespaces, tuple, since, survey);
  }

  #followTo(
    namespaces: readonly NamespaceView[],
    tuple: UdpTuple,
    since: number,
    survey: Survey,
  ): Promise<unknown> | null {
    for (const namespace of namespaces) {
      if (survey.visited.includes(namespace) || survey.visited.length > MAX_HOPS) continue;
      const wait = this.#follow(namespace, tuple, since, survey);
      if (wait !== null) return wait;
    }
    return null;
  }

  #lookIn(place: Place, question: Question): Found | Promise<unknown> {
    const { namespace, tuple, isKnownLocal } = place;
    // The first table after the error, also when other things were waited for meanwhile.
    const { localPort } = tuple;
    const kept = question.sources.find((known) => known.namespace === namespace && known.localPort === localPort);
    const source = kept === undefined ? this.#sourceFor(namespace, tuple, question.since) : kept.source;
    if (source instanceof Promise) return source;
    if (source === null) {
      if (namespace === this.#host.own || question.isListedAnew) return unreadableTable(namespace);
      // It may be gone, or have to be entered otherwise.
      question.isListedAnew = true;
      question.sources = [];
      question.since = this.#host.now();
      return this.#host.lookForNamespaces() ?? unreadableTable(namespace);
    }
    if (kept === undefined) question.sources.push({ namespace, localPort, source });
    const eligible = eligibleSockets(source, tuple);
    if (eligible.length === 0) return this.#notFound(place, source, question);
    // Before anything is waited for: the socket may be closed in a moment.
    for (const socket of eligible.slice(0, MAX_CANDIDATES)) void this.#holders(socket, question.since);
    const options = this.#optionsOf(namespace, eligible, question);
    if (options instanceof Promise) return options;
    const result = lookup(source, tuple, {
      of: ({ inode }) => options.get(inode) ?? null,
      ...this.#delivery(place, options, question),
    });
    if (result.match === 'none') return this.#notFound(place, source, question);

    const named = result.sockets.slice(0, MAX_CANDIDATES);
    const identities: SocketIdentity[] = [];
    for (const socket of named) {
      const holders = this.#holders(socket, question.since);
      if (holders instanceof Promise) return holders;
      identities.push(this.#identity(socket, holders, place, options.get(socket.inode) ?? null));
    }
    // Of several candidates, those that nobody holds any more were closed while the holders were looked for.
    const held = identities.filter(({ processes }) => processes.length > 0);
    if (held.length === 0 && !question.isSecondLook) return this.#lookAgain(question);
    const sockets = held.length > 0 ? held : identities;
    const notes: string[] = [];
    if (isMaybeV6Only(result, tuple, options)) notes.push(MAYBE_V6_ONLY);
    if (!isKnownLocal) notes.push(ADDRESSES_UNKNOWN);
    if (result.sockets.length > sockets.length)
      notes.push(`${sockets.length} of ${result.sockets.length} candidates are named`);
    if (held.length === 0) notes.push(this.#host.whyUnheld());
    if (result.match !== 'connected') {
      const predecessor = question.role === 'sender' ? this.#justClosed(place) : null;
      if (predecessor !== null) notes.push(predecessor);
      const rivals = eligible.filter((socket) => !result.sockets.includes(socket) && !socket.connected).length;
      if (rivals > 0 && this.#isByDevice(result.sockets, options)) notes.push(reuseportNote(rivals));
    }
    return withNotes(at(place, question, { match: result.match, sockets }), notes);
  }

  /** A socket that was connected with the tuple a moment ago may have got the error, and have been closed for it. */
  #justClosed({ namespace, tuple }: Place): string | null {
    const last = namespace.closedSocket(tuple);
    if (last === null || last.msAgo > JUST_CLOSED) return null;
    const owners = this.#host.lastHolders(last.socket).map(({ comm, pid, fd }) => `${comm}[${pid}] fd ${fd}`);
    const who = owners.length === 0 ? 'a socket' : owners.slice(0, MAX_NAMED).join(' or ');
    return `or ${who}, connected with this tuple until ${Math.round(last.msAgo)} ms ago`;
  }

  #isByDevice(sockets: readonly UdpSocket[], options: ReadonlyMap<number, SocketOptions>): boolean {
    return sockets.some(({ inode }) => (options.get(inode)?.device ?? '') !== '');
  }

  /** Whether a socket is the kernel's own shows when it is still there after nobody was found to hold it. */
  #lookAgain(question: Question): Found | Promise<unknown> {
    question.isSecondLook = true;
    question.sources = [];
    question.since = this.#host.now();
    return this.#try(question);
  }

  /** The sockets as they are since the error came; or as they were a moment ago, where the tuple's own is still held. */
  #sourceFor(namespace: NamespaceView, tuple: UdpTuple, since: number): SocketSource | null | Promise<unknown> {
    const atHand = namespace.socketsNow(since);
    if (atHand !== undefined) return atHand;
    const before = namespace.socketsBefore(tuple.localPort);
    const known = before === null ? null : lookup(before, tuple);
    if (known?.match === 'connected' && known.sockets.every((socket) => this.#isKnownHeld(socket, since))) {
      return { socketsFor: () => known.sockets };
    }
    return namespace.sockets(tuple.localPort, since);
  }

  #isKnownHeld(socket: UdpSocket, since: number): boolean {
    const holders = this.#holders(socket, since);
    return !(holders instanceof Promise) && holders.length > 0;
  }

  /** Looked at once for the packets that came together. */
  #holders(socket: UdpSocket, since: number): readonly ProcessIdentity[] | Promise<unknown> {
    const known = since === this.#arrival ? this.#held.get(socket.inode) : undefined;
    if (known !== undefined) return known;
    const holders = this.#host.holders(socket, since);
    if (!(holders instanceof Promise) && holders.length > 0 && since === this.#arrival) {
      this.#held.set(socket.inode, holders);
    }
    return holders;
  }

  /** By inode; without those that cannot be found out. */
  #optionsOf(
    namespace: NamespaceView,
    sockets: readonly UdpSocket[],
    { since, askedAt }: Question,
  ): Map<number, SocketOptions> | Promise<unknown> {
    const options = new Map<number, SocketOptions>();
    for (const socket of sockets.slice(0, MAX_CANDIDATES)) {
      const known = namespace.options(socket, since);
      if (known instanceof Promise) {
        if (this.#host.now() - askedAt < OPTIONS_AFTER) return this.#orTick(known);
      } else if (known !== null) options.set(socket.inode, known);
    }
    return options;
  }

  /** Resolves with the promise, or after a while: for what is not waited for to its end. One for all that wait for it. */
  #orTick(promise: Promise<unknown>): Promise<unknown> {
    const known = this.#orTicks.get(promise);
    if (known !== undefined) return known;
    const tick = Promise.race([promise, delay(OPTIONS_AFTER / 3, undefined, { ref: false })]);
    this.#orTicks.set(promise, tick);
    const forget = (): unknown => this.#orTicks.delete(promise);
    tick.then(forget, forget);
    return tick;
  }

  /** Which devices count as the one that the error came in on; that matters only where a socket is bound to one. */
  #delivery(
    { namespace }: Place,
    options: ReadonlyMap<number, SocketOptions>,
    { interfaceName }: Question,
  ): { interfaces: ReadonlySet<string> | null } {
    const matters = [...options.values()].some(({ device }) => device !== null && device !== '');
    if (!matters || interfaceName === null || namespace !== this.#host.own) return { interfaces: null };
    return { interfaces: this.#host.interfacesAbove(interfaceName) };
  }

  /** No socket has the tuple: a tunnel of the kernel's, or one that is gone. */
  #notFound(place: Place, source: SocketSource, question: Question): Found | Promise<unknown> {
    const { namespace, tuple, isKnownLocal } = place;
    if (source.cut === true) return TOO_LARGE;
    if (!isKnownLocal) return ADDRESSES_UNREADABLE;
    if (question.role === 'sender') {
      const tunnel = this.#tunnelOf(place, question);
      if (tunnel !== null) return tunnel;
    }
    const last = question.role === 'sender' ? namespace.closedSocket(tuple) : namespace.lastListener(tuple);
    if (last === null) return at(place, question, NO_SOCKET);
    const identity = this.#identity(last.socket, this.#host.lastHolders(last.socket), place, null);
    return at(place, question, {
      match: 'closed',
      sockets: [identity],
      closedMsAgo: Math.max(0, Math.round(last.msAgo)),
    });
  }

  /**
   * VXLAN and Geneve send from ports that no socket has: the kernel then looks for a tunnel's socket on the quoted
   * destination port (__udp4_lib_err_encap, __udp6_lib_err_encap).
   */
  #tunnelOf(place: Place, question: Question): Found | Promise<unknown> | null {
    const { namespace, tuple } = place;
    const swapped = { ...tuple, localPort: tuple.remotePort, remotePort: tuple.localPort };
    const source = this.#sourceFor(namespace, swapped, question.since);
    if (source === null || source instanceof Promise) return source;
    const { match, sockets } = lookup(source, swapped);
    if (match === 'none' || match === 'connected') return null;
    for (const socket of sockets) {
      const holders = this.#host.holders(socket, question.since);
      if (holders instanceof Promise) return holders;
      if (holders.length > 0) return null;
    }
    if (!question.isSecondLook) return this.#lookAgain(question);
    const found = { match, sockets: sockets.map((socket) => this.#identity(socket, [], place, null)) };
    return withNotes(at(place, question, found), [
      `no socket has the tuple, but a tunnel may have sent it: ${this.#host.whyUnheld()}`,
    ]);
  }

  #identity(
    socket: UdpSocket,
    processes: readonly ProcessIdentity[],
    { namespace, tuple }: Place,
    options: SocketOptions | null,
  ): SocketIdentity {
    const { inode, connected, family, local, localPort, remote, remotePort, uid } = socket;
    const known = this.#identities.get(inode);
    if (
      known !== undefined &&
      known.processes === processes &&
      known.options === options &&
      known.version === tuple.version &&
      isSameSocket(known.socket, socket)
    ) {
      return known.identity;
    }
    const device = options?.device ?? '';
    const identity: SocketIdentity = {
      inode,
      state: connected ? 'connected' : 'unconnected',
      family,
      local: endpoint(local, localPort),
      ...(connected && { remote: endpoint(remote, remotePort) }),
      ...(device !== '' && { device }),
      uid,
      user: this.#host.userOf(socket, processes),
      netns: namespace.inode,
      // IPV6_RECVERR is not among what the kernel tells of a socket.
      recverr: tuple.version === 4 ? (options?.recverr ?? null) : null,
      processes: [...processes],
    };
    if (this.#identities.size >= MAX_ANSWERS) this.#identities.clear();
    this.#identities.set(inode, { socket, processes, options, version: tuple.version, identity });
    return identity;
  }
}

/** udp4_lib_lookup2 and udp6_lib_lookup2 take the first group that they come across, whatever the devices; nothing shows groups. */
function reuseportNote(rivals: number): string {
  return `or one of ${rivals} others on the port, if they are a SO_REUSEPORT group`;
}

function unreadableTable({ whyUnreadable }: NamespaceView): Found {
  const why = typeof whyUnreadable === 'string' ? `: ${whyUnreadable}` : '';
  return unknown(`the socket table could not be read${why}`);
}

function failed(error: unknown): Found {
  return unknown(`the look-up failed: ${error instanceof Error ? error.message : String(error)}`);
}

/** With the tuple that the socket has, where that is not the one on the wire. */
function at({ tuple }: Place, question: Question, found: Found): Found {
  return isSameTuple(tuple, question.tuple) ? found : { ...found, socketTuple: tuple };
}

/** The address is nowhere on this host; but perhaps where it may not be looked for. */
function foundNowhere({ unreadable, othersSkipped }: Survey, whyNotSeen: string | null): Found {
  if (othersSkipped) return OTHERS_SKIPPED;
  if (unreadable === 0) {
    if (whyNotSeen === null) return NOT_LOCAL;
    return unknown(`the quoted source is an address of no network namespace that is seen, and ${whyNotSeen}`);
  }
  return unknown(
    `the quoted source is an address of no network namespace that may be read, and ${unreadable} processes or mounts are of others`,
  );
}

/** What was found by the tuple on the wire alone: that nobody has that one says nothing of the one that NAT may hide. */
function onTheWire(found: Found): Found {
  if (found.match === 'none') return unknown(NAT_UNKNOWN);
  // A second look has noted it.
  return found.note?.includes(NAT_UNKNOWN) === true ? found : withNotes(found, [NAT_UNKNOWN]);
}

/** Of what was found in several namespaces. */
function oneOf(results: readonly Found[]): Found {
  if (results.length === 1) return results[0]!;
  for (const match of ['connected', 'bound', 'wildcard'] as const) {
    const best = results.find((found) => found.match === match);
    if (best === undefined) continue;
    const others = results.filter((found) => found !== best && isOpen(found));
    if (others.length === 0) return best;
    return withNotes({ ...best, sockets: [best, ...others].flatMap(({ sockets }) => sockets) }, [SEVERAL_NAMESPACES]);
  }
  return results.find(({ match }) => match === null) ?? results.find(({ match }) => match === 'closed') ?? results[0]!;
}

function isSameSocket(a: UdpSocket, b: UdpSocket): boolean {
  return (
    a === b ||
    (a.local === b.local && a.localPort === b.localPort && a.remote === b.remote && a.remotePort === b.remotePort)
  );
}

function isHeldConnection({ match, sockets }: Found): boolean {
  return match === 'connected' && sockets.some(({ processes }) => processes.length > 0);
}

function isOpen({ match }: Found): boolean {
  return match === 'connected' || match === 'bound' || match === 'wildcard';
}

/** `::` takes v4 too, unless it is IPV6_V6ONLY, which is not always known (kernel-lookup.ts). */
function isMaybeV6Only(
  { match, sockets }: LookupResult,
  { version }: UdpTuple,
  options: ReadonlyMap<number, SocketOptions>,
): boolean {
  if (version !== 4 || match !== 'wildcard') return false;
  return sockets.every(
    ({ family, local, inode }) => family === 6 && local === '::' && (options.get(inode)?.v6only ?? null) === null,
  );
}
