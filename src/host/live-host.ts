/** This host as it is now. */
import { existsSync, readdirSync } from 'node:fs';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import type { ProcessIdentity } from '../event.ts';
import type { HostView, NamespaceView } from './host-view.ts';
import { Namespaces } from './namespaces.ts';
import { readIfSmall } from './proc-file.ts';
import { hidepidOf, seesAllProcesses } from './proc-mount.ts';
import { ProcessTable } from './process-table.ts';
import type { UdpSocket } from './socket-table.ts';
import { endTools } from './tool.ts';
import { UserNames } from './user-names.ts';

/** Milliseconds between two rounds of reading for memory, at least, and in times what a round cost. */
const ROUND_EVERY = 50;
const ROUND_EVERY_COSTS = 100;

/** Milliseconds that a watch waits for the first listing of the namespaces. */
const START_WITHIN = 500;

export interface LiveHostOptions {
  /** Search all network namespaces of the host; else that of this process alone. */
  allNamespaces: boolean;
  /** False: to look at everything once, as fast as it goes. */
  isPaced?: boolean;
  /** `/`, or a directory that stands for it. */
  root?: string;
  /** Milliseconds, monotonic. */
  now?: () => number;
}

/** Never throws for what /proc lacks. */
export class LiveHost implements HostView {
  readonly now: () => number;
  readonly namespaces: Namespaces;
  readonly processes: ProcessTable;
  readonly #allNamespaces: boolean;
  readonly #users: UserNames;
  readonly #root: string;
  /** Null: not known. */
  readonly #seesAllProcesses: boolean | null;
  readonly #hidesProcesses: boolean;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor({ allNamespaces, isPaced = true, root = '', now = () => performance.now() }: LiveHostOptions) {
    this.now = now;
    this.#allNamespaces = allNamespaces;
    this.#root = root;
    this.namespaces = new Namespaces(`${root}/proc`, now, isPaced);
    this.processes = new ProcessTable({ root: `${root}/proc`, now });
    this.#users = new UserNames(`${root}/etc/passwd`, now);
    this.#hidesProcesses = hidepidOf(readMountinfo(`${root}/proc/self/mountinfo`)) !== null;
    this.#seesAllProcesses = seesAllProcesses(`${root}/proc`);
  }

  get own(): NamespaceView {
    return this.namespaces.own;
  }

  /** Reads everything once, so that the first error is answered from memory, and goes on reading for memory. */
  async start(): Promise<void> {
    await this.namespaces.own.warm();
    await this.processes.warm();
    // Where hundreds have to be entered it takes seconds: then who asks for one of them waits.
    if (this.#allNamespaces)
      await Promise.race([this.namespaces.warm(), delay(START_WITHIN, undefined, { ref: false })]);
    void this.#round();
  }

  /** Ends all reading; whoever waits is answered as if there were nothing. */
  close(): void {
    this.#isClosed = true;
    endTools();
    clearTimeout(this.#timer);
    this.namespaces.close();
    this.processes.close();
  }

  namespacesOf(address: string, since: number): ReturnType<HostView['namespacesOf']> {
    return this.#allNamespaces ? this.namespaces.withAddress(address, since) : null;
  }

  knownNamespacesOf(address: string): NamespaceView[] {
    return this.#allNamespaces ? this.namespaces.knownWithAddress(address) : [];
  }

  lookForNamespaces(): Promise<unknown> {
    return this.namespaces.lookAgain();
  }

  holders({ inode }: UdpSocket, since: number): readonly ProcessIdentity[] | Promise<unknown> {
    return this.processes.known(inode, since) ?? this.processes.holders(inode, since);
  }

  lastHolders({ inode }: UdpSocket): readonly ProcessIdentity[] {
    return this.processes.remembered(inode);
  }

  get whyNotSeen(): string | null {
    if (this.#seesAllProcesses === false) return 'processes of other PID namespaces are not seen';
    // hidepid does not hold for those who have CAP_SYS_PTRACE, or are in its group.
    return this.#hidesProcesses && !existsSync(`${this.#root}/proc/1`) ? '/proc hides processes (hidepid)' : null;
  }

  whyUnheld(): string {
    const unreadable = this.processes.unreadable ?? 0;
    const own =
      'no process that can be looked into has a descriptor for it: the kernel’s own, as those of WireGuard and VXLAN are';
    const reasons = ['kept by io_uring, a message or a thread alone'];
    if (unreadable > 0) reasons.unshift(`of one of ${unreadable} processes that may not be looked into`);
    if (this.#hidesProcesses) reasons.unshift('of a process that /proc hides (hidepid)');
    if (this.#seesAllProcesses !== true) reasons.unshift('of a process in another PID namespace');
    return `${own}, or ${reasons.join(', or ')}`;
  }

  userOf({ uid }: UdpSocket, holders: readonly ProcessIdentity[]): string | null {
    return holders.some(({ container }) => container !== null) ? null : this.#users.nameOf(uid);
  }

  /** Whether all network namespaces are searched. */
  get searchesAll(): boolean {
    return this.#allNamespaces;
  }

  /** The interfaces of this namespace that have others directly above them, and which. */
  interfaces(): Record<string, string[]> {
    const found: Record<string, string[]> = {};
    for (const name of namesIn(`${this.#root}/sys/class/net`)) {
      const above = this.#directlyAbove(name);
      if (above.length > 0) found[name] = above;
    }
    return found;
  }

  interfacesAbove(name: string): ReadonlySet<string> {
    const found = new Set([name]);
    for (const device of found) {
      for (const above of this.#directlyAbove(device)) found.add(above);
    }
    return found;
  }

  /** Nothing where it is gone, or where /sys is another namespace's. */
  #directlyAbove(device: string): string[] {
    return namesIn(`${this.#root}/sys/class/net/${device}`)
      .filter((entry) => entry.startsWith('upper_'))
      .map((entry) => entry.slice('upper_'.length));
  }

  /** Sees which sockets there are, and learns who holds them, for when they are closed. */
  async #round(): Promise<void> {
    let cost = 0;
    const since = this.now();
    for (const namespace of this.#allNamespaces ? this.namespaces.all : [this.namespaces.own]) {
      if (this.#isClosed) return;
      await nextTurn();
      if (namespace.isCheap) cost += await namespace.refresh(({ inode }) => this.processes.learn(inode, since));
    }
    this.processes.learned(since);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#round(), Math.max(ROUND_EVERY, ROUND_EVERY_COSTS * cost));
    this.#timer.unref();
  }
}

function readMountinfo(path: string): string {
  try {
    return readIfSmall(path, 1024 * 1024)?.toString('latin1') ?? '';
  } catch {
    return '';
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
