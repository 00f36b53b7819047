/**
 * One network namespace of this host: its addresses, its UDP sockets, its NAT. Everything is read when it is asked for,
 * for many at once, and for never more than about a tenth of the time for each kind, all namespaces together (SharedBounds).
 *
 * A namespace is read through /proc/PID/net of a process in it. Where it has none (`ip netns add`, and a process that
 * opened its socket there and went back), it is entered by its mount with nsenter(1).
 */
import { existsSync, statSync } from 'node:fs';
import { parseAddresses, type AddressSet } from './address-set.ts';
import { ConntrackTable } from './conntrack.ts';
import {
  isForbidden,
  linkedInode,
  netFilesInode,
  readHead,
  readIfSmall,
  readLink,
  type FileHead,
} from './proc-file.ts';
import type { NamespaceView, SocketSource } from './host-view.ts';
import { Pace, Refresher, type Latest, type Run } from './refresher.ts';
import { SocketDiagnosis, type SocketOptions } from './socket-options.ts';
import { socketTableOf, type SocketTable, type UdpSocket } from './socket-table.ts';
import { runTool } from './tool.ts';
import { dropOldest, Slices } from './bounds.ts';
import type { UdpTuple } from './udp-tuple.ts';

/** A table of so many sockets is read for every packet, in some 100 µs. */
const SMALL_TABLE = 128;
/** A table of so many is read at once, in some milliseconds: the pages of a larger one are read beside. */
const MEDIUM_TABLE = 1_000;
/** Some 250 flows, or a lot of addresses. */
const SMALL_OCTETS = 32 * 1024;
/** Milliseconds that reading the socket table may take before ss is asked for the port instead. */
const COSTLY_TABLE = 30;
/** A line of udp6 takes up to 168 octets; more than 262,144 sockets are not kept. */
const MAX_TABLE_OCTETS = 262_144 * 168;
/** A router's table of a million routes takes 100 MB; its local routes may then be beyond this. */
const MAX_ADDRESS_OCTETS = 8 * 1024 * 1024;
const MAX_CONNTRACK_OCTETS = 128 * 1024 * 1024;
/**
 * Milliseconds that a flow once seen in conntrack is believed where it cannot be looked at now, and times what reading costs:
 * entries live for 30 s and more after a datagram, unless they are deleted.
 */
const FLOW_FOR = 1_000;
const FLOW_FOR_COSTS = 20;
/** Milliseconds that an empty conntrack of another namespace is believed. */
const UNTRACKED_FOR = 1_000;
/** Milliseconds of work of one kind, in all namespaces, before the first rest; for ss, which works beside this process. */
const BURST = 500;
const DIAGNOSES_BURST = 1_000;
/** Milliseconds that an address is believed to be local where it cannot be looked at now. */
const LOCAL_FOR = 1_000;
/** Milliseconds that what is answered from memory alone may be behind. */
const MEMORY_FOR = 100;
/**
 * A socket table is used for connected sockets this long, in milliseconds and in times the cost of all tables that are in
 * use: 2,000 sockets connected in 50 namespaces must not mean 50 reads every 100 ms.
 */
const TABLE_FOR = 100;
const TABLE_FOR_COSTS = 40;
/** Milliseconds that a namespace counts as in use after an error. */
const IN_USE_FOR = 3_000;
/** Earlier socket tables that are kept, for sockets that are closed when their error comes; octets of all namespaces. */
const KEPT_TABLES = 64;
const KEPT_OCTETS = 16 * 1024 * 1024;
const KEPT_FOR = 5_000;
const KEPT_APART = 50;
/** Milliseconds that a conntrack which cannot be read is not tried again. */
const UNREADABLE_FOR = 5_000;
/** Sockets that are not connected: who held a port last is remembered for so many milliseconds. */
const MAX_LISTENERS = 8_192;
const LISTENERS_FOR = 3_600_000;

/** The ways to a namespace. */
export interface NamespaceEntrance {
  /** Of the namespace; null where it may not be read. */
  inode: number | null;
  /** Where it may not be read: of its files (netFilesInode). */
  filesInode: number | null;
  /** Processes in it, any one of which will do; of its own namespace a process needs none. */
  pids: readonly number[];
  /** Where it is mounted: `/run/netns/NAME`. */
  mount: string | null;
}

/** What is found where a table cannot be read; it is not tried again before the next call. */
type Unreadable = null;

interface Kept {
  table: SocketTable;
  startedAt: number;
}

/** What the namespaces of a host do together, however many they are. */
export class SharedBounds {
  readonly addresses: Pace;
  readonly tables: Pace;
  readonly conntracks: Pace;
  readonly diagnoses: Pace;
  readonly namespaces = new Set<NetworkNamespace>();
  readonly #now: () => number;
  #tableCost = 0;
  #reckonedAt = Number.NEGATIVE_INFINITY;

  /** @param isPaced false: whoever waits wants it all, and at once. */
  constructor(now: () => number, isPaced = true) {
    this.#now = now;
    const paceOf = (burst: number): Pace => new Pace(now, isPaced ? burst : Number.POSITIVE_INFINITY);
    this.addresses = paceOf(BURST);
    this.tables = paceOf(BURST);
    this.conntracks = paceOf(BURST);
    this.diagnoses = paceOf(DIAGNOSES_BURST);
  }

  /** Milliseconds that it takes to read all socket tables that are in use, as it was within the last 100 ms. */
  get tableCost(): number {
    if (this.#now() - this.#reckonedAt >= MEMORY_FOR) {
      this.#reckonedAt = this.#now();
      this.#tableCost = [...this.namespaces].reduce((sum, { tableCost }) => sum + tableCost, 0);
    }
    return this.#tableCost;
  }
}

export class NetworkNamespace implements NamespaceView {
  readonly inode: number | null;
  whyUnreadable: string | null = null;
  entrance: NamespaceEntrance;
  readonly #root: string;
  readonly #now: () => number;
  /** The namespace of this process. */
  readonly #isOwn: boolean;
  readonly #ownDirectory: string;
  readonly #addresses: Refresher<AddressSet>;
  readonly #tables: Refresher<SocketTable | Unreadable>;
  readonly #conntracks: Refresher<ConntrackTable | Unreadable>;
  readonly #diagnosis: SocketDiagnosis;
  readonly #shared: SharedBounds;
  #usedAt = Number.NEGATIVE_INFINITY;
  /** Socket tables of the last seconds, oldest first. */
  readonly #kept: Kept[] = [];
  /** By address and port; the one seen last is the last. */
  readonly #listeners = new Map<string, { socket: UdpSocket; lastSeen: number }>();
  /** Milliseconds that programs waited for others to end. */
  #waited = 0;
  #conntrackFailedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param root a /proc, or a directory with a copy of some of it.
   * @param now milliseconds, monotonic.
   * @param shared by all namespaces of the host.
   */
  constructor(
    root: string,
    now: () => number,
    entrance: NamespaceEntrance,
    isOwn: boolean,
    shared = new SharedBounds(now),
  ) {
    this.#shared = shared;
    shared.namespaces.add(this);
    this.#root = root;
    this.#now = now;
    this.#isOwn = isOwn;
    // Without /proc/net, a link, where proc is mounted with subset=pid.
    this.#ownDirectory = existsSync(`${root}/self/net/udp`) ? `${root}/self/net` : `${root}/net`;
    this.inode = entrance.inode;
    this.entrance = entrance;
    this.#addresses = new Refresher(
      () => this.#timed(() => this.#readAddresses()),
      now,
      isOwn ? shared.addresses : new Pace(now, Number.POSITIVE_INFINITY),
      () => this.#timedNow(() => this.#readAddressesNow()),
    );
    this.#tables = new Refresher(
      () => this.#timed(() => this.#readTable()),
      now,
      shared.tables,
      () => this.#timedNow(() => this.#readTableNow()),
    );
    this.#conntracks = new Refresher(
      () => this.#timed(() => this.#readConntrack()),
      now,
      shared.conntracks,
      () => this.#timedNow(() => this.#readConntrackNow()),
    );
    this.#diagnosis = new SocketDiagnosis(() => this.#enter(), now, shared.diagnoses);
  }

  close(): void {
    this.#shared.namespaces.delete(this);
    this.#addresses.close();
    this.#tables.close();
    this.#conntracks.close();
    this.#diagnosis.close();
  }

  /** Whether there is still a way in. */
  get isThere(): boolean {
    const { mount } = this.entrance;
    return this.#directory() !== null || (mount !== null && isMounted(mount, this.inode));
  }

  /** Reads everything once, so that the first error is answered from memory. */
  async warm(): Promise<void> {
    // One after the other: the time that a read takes says how long the next one is put off.
    await this.#addresses.join();
    await this.#conntracks.join();
    await this.#tables.join();
  }

  /** Reads everything, with the options of every socket. */
  async readAll(): Promise<{
    addresses: AddressSet | null;
    conntrack: ConntrackTable | null;
    table: SocketTable | null;
  }> {
    const addresses = await this.#addresses.fresh();
    const conntrack = await this.#conntracks.fresh();
    const table = await this.#tables.fresh();
    await this.#diagnosis.askForAll();
    return { addresses, conntrack, table };
  }

  /** Whether programs can be run in it, as `ss` has to be. */
  async canBeEntered(): Promise<boolean> {
    return (await runTool(this.#enter(), ['true'])).output !== null;
  }

  /** Whether it can be read without starting a program. */
  get isCheap(): boolean {
    return this.#directory() !== null;
  }

  /**
   * Reads the socket table for the memory of sockets that close, and shows each socket to `see`. Gives the milliseconds of
   * work that it took.
   */
  async refresh(see: (socket: UdpSocket) => void): Promise<number> {
    const before = this.#tables.totalCost;
    const table = await this.#tables.join();
    const slices = new Slices();
    for (const socket of table ?? []) {
      if (slices.isOver) await slices.rest();
      see(socket);
      if (socket.connected) continue;
      const key = `${socket.local} ${socket.localPort}`;
      this.#listeners.delete(key);
      if (this.#listeners.size >= MAX_LISTENERS) dropOldest(this.#listeners);
      this.#listeners.set(key, { socket, lastSeen: this.#now() });
    }
    return this.#tables.totalCost - before + slices.worked;
  }

  /** Milliseconds that reading the socket table takes, if it is in use; else 0. */
  get tableCost(): number {
    return this.#now() - this.#usedAt < IN_USE_FOR ? (this.#tables.latest?.cost ?? 0) : 0;
  }

  /** The addresses as they were read last; null before the first time. */
  get addresses(): AddressSet | null {
    return this.#addresses.latest?.value ?? null;
  }

  /** The addresses as they were at `since` or later. */
  async addressesSince(since: number): Promise<AddressSet | null> {
    const latest = this.#addresses.at(since);
    return latest === null ? this.#addresses.fresh() : latest.value;
  }

  /** Addresses that are old are read again: at once where that is quick, or else meanwhile. */
  isLocalByMemory(address: string): boolean | null {
    const { latest } = this.#addresses;
    if (latest === null || this.#now() - latest.startedAt > MEMORY_FOR) void this.#addresses.join();
    return this.#addresses.latest?.value.has(address) ?? null;
  }

  isLocal(address: string, since: number): boolean | null | Promise<unknown> {
    const { latest } = this.#addresses;
    const isKnown = latest?.value.has(address) === true;
    const age = this.#now() - (latest?.startedAt ?? Number.NEGATIVE_INFINITY);
    if (isKnown && age < MEMORY_FOR) return true;
    const fresh = this.#addresses.at(since);
    if (fresh !== null) return fresh.value.has(address);
    return isKnown && age < LOCAL_FOR ? true : this.#addresses.fresh();
  }

  undoNat(tuple: UdpTuple, since: number): readonly UdpTuple[] | null | Promise<unknown> {
    const { latest } = this.#conntracks;
    const age = this.#now() - (latest?.startedAt ?? Number.NEGATIVE_INFINITY);
    // Where nothing is tracked, nothing will be from one moment to the next; at home a flush may be what people do.
    if (!this.#isOwn && latest?.value?.size === 0 && age < UNTRACKED_FOR) return [];
    const fresh = this.#conntracks.at(since);
    if (fresh !== null) return fresh.value === null ? null : fresh.value.undoNat(tuple);
    const isRecent = latest !== null && age < Math.max(FLOW_FOR, FLOW_FOR_COSTS * latest.cost);
    const known = isRecent ? (latest.value?.undoNat(tuple) ?? []) : [];
    return known.length > 0 ? known : this.#conntracks.fresh();
  }

  undoNatNow(tuple: UdpTuple): UdpTuple {
    return this.#conntracks.at(this.#now() - MEMORY_FOR)?.value?.undoNat(tuple)[0] ?? tuple;
  }

  socketsNow(since: number): SocketTable | null | undefined {
    const { latest } = this.#tables;
    if (latest !== null && latest.startedAt >= since) return latest.value;
    if ((latest?.value?.size ?? 0) > SMALL_TABLE) return undefined;
    const read = this.#tables.at(since);
    return read === null ? undefined : read.value;
  }

  /**
   * A connected socket that is still held is most likely still connected. What is used is read again in the second half of
   * the time that it is good for.
   */
  socketsBefore(localPort: number): SocketSource | null {
    this.#usedAt = this.#now();
    const usableFor = Math.max(TABLE_FOR, TABLE_FOR_COSTS * this.#shared.tableCost);
    const { latest } = this.#tables;
    if (this.#isCostly(latest)) {
      const sockets = this.#diagnosis.recent(localPort, usableFor);
      if (sockets !== null) return { socketsFor: () => sockets };
    }
    const age = this.#now() - (latest?.startedAt ?? Number.NEGATIVE_INFINITY);
    if (age > usableFor) return null;
    if (age > usableFor / 2) {
      if (this.#isCostly(latest)) this.#diagnosis.askBeside(localPort);
      else void this.#tables.join();
    }
    return latest!.value;
  }

  sockets(localPort: number, since: number): SocketSource | null | Promise<unknown> {
    const latest = this.#tables.at(since);
    if (latest !== null) return latest.value;
    if (this.#isCostly(this.#tables.latest)) {
      const sockets = this.#diagnosis.socketsOn(localPort, since);
      if (sockets instanceof Promise) return sockets;
      if (sockets !== null) return { socketsFor: () => sockets };
    }
    return this.#tables.fresh();
  }

  options(socket: UdpSocket, since: number): SocketOptions | null | Promise<unknown> {
    return this.#diagnosis.options(socket, since);
  }

  /** Null too where a socket with its inode is still there, connected elsewhere or not at all. */
  closedSocket(tuple: UdpTuple): { socket: UdpSocket; msAgo: number } | null {
    const present = this.#tables.latest?.value;
    const now = this.#now();
    for (let at = this.#kept.length - 1; at >= 0; at--) {
      const { table, startedAt } = this.#kept[at]!;
      const msAgo = now - startedAt;
      if (msAgo > KEPT_FOR) return null;
      const socket = table.connectedSocket(tuple);
      if (socket !== null) return present?.hasInode(socket.inode) === true ? null : { socket, msAgo };
    }
    return null;
  }

  lastListener({ version, local, localPort }: UdpTuple): { socket: UdpSocket; msAgo: number } | null {
    for (const address of [local, version === 4 ? '0.0.0.0' : '::', '::']) {
      const known = this.#listeners.get(`${address} ${localPort}`);
      if (known === undefined) continue;
      const msAgo = this.#now() - known.lastSeen;
      if (msAgo <= LISTENERS_FOR) return { socket: known.socket, msAgo };
    }
    return null;
  }

  #isCostly(latest: Latest<SocketTable | Unreadable> | null): boolean {
    return latest !== null && latest.cost > COSTLY_TABLE && this.#diagnosis.isAvailable;
  }

  async #timed<T>(job: () => Promise<T>): Promise<Run<T>> {
    const start = this.#now();
    const waited = this.#waited;
    const value = await job();
    return { value, cost: Math.max(0, this.#now() - start - (this.#waited - waited)) };
  }

  /** `job` gives undefined where it would take too long. */
  #timedNow<T>(job: () => T | undefined): Run<T> | null {
    const start = this.#now();
    const value = job();
    return value === undefined ? null : { value, cost: this.#now() - start };
  }

  async #readAddresses(): Promise<AddressSet> {
    const [fibTrie, ifInet6] = await this.#readFiles(['fib_trie', 'if_inet6'], MAX_ADDRESS_OCTETS);
    return parseAddresses(textOf(fibTrie), textOf(ifInet6), fibTrie?.cut ?? false);
  }

  #readAddressesNow(): AddressSet | undefined {
    const files = this.#readSmallFiles(['fib_trie', 'if_inet6']);
    return files === undefined ? undefined : parseAddresses(textOf(files[0]), textOf(files[1]));
  }

  async #readTable(): Promise<SocketTable | Unreadable> {
    const startedAt = this.#now();
    const [v4, v6] = await this.#readFiles(['udp', 'udp6'], MAX_TABLE_OCTETS);
    return this.#keep(socketTableOf(v4!, v6!), startedAt);
  }

  /** Where the last table was not large. */
  #readTableNow(): SocketTable | undefined {
    const last = this.#tables.latest?.value;
    if (last === undefined || last === null || last.size > MEDIUM_TABLE) return undefined;
    const startedAt = this.#now();
    // It is kept whole, so it has no more room than it needs.
    const files = this.#readSmallFiles(['udp', 'udp6'], Math.ceil(last.octets * 1.25) + 4096);
    if (files === undefined || files[0] === null) return undefined;
    return this.#keep(socketTableOf(files[0]!, files[1]!), startedAt)!;
  }

  /** Keeps the table for a while beside the newest: one for every KEPT_APART milliseconds. */
  #keep(table: SocketTable | null, startedAt: number): SocketTable | null {
    if (table === null) return null;
    const kept = this.#kept;
    const beforeLast = kept.at(-2);
    if (beforeLast !== undefined && startedAt - beforeLast.startedAt < KEPT_APART) kept.pop();
    kept.push({ table, startedAt });
    let octets = kept.reduce((sum, { table: { octets: own } }) => sum + own, 0);
    // The last two stay, whatever their size.
    while (
      kept.length > KEPT_TABLES ||
      (kept.length > 2 &&
        (octets > KEPT_OCTETS / this.#shared.namespaces.size || startedAt - kept[0]!.startedAt > KEPT_FOR))
    ) {
      octets -= kept.shift()!.table.octets;
    }
    return table;
  }

  /** Without the file there is no conntrack in the kernel, or its table has to be asked for with conntrack(8). */
  async #readConntrack(): Promise<ConntrackTable | Unreadable> {
    const [file] = await this.#readFiles(['nf_conntrack'], MAX_CONNTRACK_OCTETS);
    // Of a table that is cut nobody could say that it has no such flow.
    if (file !== null && !file!.cut) return ConntrackTable.of(file!.bytes);
    if (!this.#hasConntrack()) return new ConntrackTable(Buffer.alloc(0));
    const { output, waited } = await runTool(this.#enter(), ['conntrack', '-L', '-p', 'udp']);
    this.#waited += waited;
    if (output !== null) return ConntrackTable.of(Buffer.from(output, 'latin1'));
    this.#conntrackFailedAt = this.#now();
    return null;
  }

  #readConntrackNow(): ConntrackTable | Unreadable | undefined {
    const { latest } = this.#conntracks;
    if ((latest?.value?.size ?? 0) > SMALL_OCTETS) return undefined;
    if (this.#now() - this.#conntrackFailedAt < UNREADABLE_FOR) return null;
    // The table is walked bucket by bucket though nothing is in it; this tells the count of the namespace.
    const [stat] = this.#readSmallFiles(['stat/nf_conntrack']) ?? [];
    if (stat?.bytes.toString('latin1').split('\n')[1]?.startsWith('00000000 ') === true) {
      return new ConntrackTable(Buffer.alloc(0));
    }
    const [file] = this.#readSmallFiles(['nf_conntrack']) ?? [];
    if (file === undefined) return undefined;
    if (file !== null) return new ConntrackTable(file.bytes);
    return this.#hasConntrack() ? undefined : new ConntrackTable(Buffer.alloc(0));
  }

  /** Whether the kernel has conntrack at all. */
  #hasConntrack(): boolean {
    return existsSync(`${this.#root}/sys/net/netfilter/nf_conntrack_max`);
  }

  /** The words that run a command in this namespace; null where it cannot be entered. */
  #enter(): readonly string[] | null {
    if (this.#isOwn) return [];
    // What may not be read may not be entered either.
    const pid = this.entrance.filesInode === null ? this.#liveProcess() : null;
    const path = pid === null ? this.entrance.mount : `${this.#root}/${pid}/ns/net`;
    return path === null ? null : ['nsenter', `--net=${path}`, '--'];
  }

  /** The directory of /proc with its files; null where it must be entered. */
  #directory(): string | null {
    if (this.#isOwn) return this.#ownDirectory;
    const pid = this.#liveProcess();
    return pid === null ? null : `${this.#root}/${pid}/net`;
  }

  /** A process that is in this namespace now; its number may have been another one's before. */
  #liveProcess(): number | null {
    return this.entrance.pids.find((pid) => this.#isIn(pid)) ?? null;
  }

  #isIn(pid: number): boolean {
    const { filesInode } = this.entrance;
    if (filesInode !== null) return netFilesInode(`${this.#root}/${pid}/net`) === filesInode;
    return linkedInode('net', readLink(`${this.#root}/${pid}/ns/net`)) === this.inode;
  }

  /** Whether what was read through the directory is of this namespace: the process may have ended meanwhile. */
  #wasIn(directory: string): boolean {
    return this.#isOwn || this.#isIn(Number(directory.split('/').at(-2)));
  }

  #cannotRead(name: string, error: unknown): null {
    if (name === 'udp') this.whyUnreadable = (error as NodeJS.ErrnoException).code ?? null;
    return null;
  }

  /** Null in place of a file that cannot be read. */
  async #readFiles(names: readonly string[], limit: number): Promise<(FileHead | null)[]> {
    for (let tries = 0; tries < 3; tries++) {
      const directory = this.#directory();
      if (directory === null) {
        this.whyUnreadable = null;
        return this.#readByMount(names);
      }
      const files = await Promise.all(
        names.map((name) => readHead(`${directory}/${name}`, limit).catch((error) => this.#cannotRead(name, error))),
      );
      if (this.#wasIn(directory)) return files;
    }
    this.whyUnreadable = null;
    return names.map(() => null);
  }

  /** Undefined where one of them is not small, or no process is in the namespace. */
  #readSmallFiles(names: readonly string[], limit = SMALL_OCTETS): (FileHead | null)[] | undefined {
    const directory = this.#directory();
    if (directory === null) return undefined;
    const files: (FileHead | null)[] = [];
    for (const name of names) {
      try {
        const bytes = readIfSmall(`${directory}/${name}`, limit);
        if (bytes === null) return undefined;
        files.push({ bytes, cut: false });
      } catch (error) {
        files.push(this.#cannotRead(name, error));
      }
    }
    return this.#wasIn(directory) ? files : undefined;
  }

  /** tail(1) puts each file's name before it, and may miss some. Another namespace may be mounted over the one that is wanted. */
  async #readByMount(names: readonly string[]): Promise<(FileHead | null)[]> {
    const paths = names.map((name) => `/proc/net/${name}`);
    const script = 'readlink /proc/self/ns/net; tail -v -n +1 "$@"; true';
    const { output: text, waited } = await runTool(this.#enter(), ['sh', '-c', script, 'sh', ...paths]);
    this.#waited += waited;
    const output = text?.startsWith(`net:[${this.inode}]\n`) === true ? text : null;
    const parts = new Map<string, string>();
    for (const part of (output ?? '').split(/^==> /m)) {
      const [, path, content] = /^(\S+) <==\n([^]*)$/.exec(part) ?? [];
      if (path !== undefined) parts.set(path, content!);
    }
    return paths.map((path) => {
      const content = parts.get(path);
      return content === undefined ? null : { bytes: Buffer.from(content, 'latin1'), cut: false };
    });
  }
}

/** Whether the namespace is mounted there, or may be: a directory on the way may be closed to this user. */
function isMounted(mount: string, inode: number | null): boolean {
  try {
    return statSync(mount).ino === inode;
  } catch (error) {
    return isForbidden(error);
  }
}

function textOf(file: FileHead | null | undefined): string | null {
  return file?.bytes.toString('latin1') ?? null;
}
