/**
 * The network namespaces of this host: those of processes (/proc/PID/ns/net) and those that are mounted somewhere, as
 * `ip netns` and container runtimes do (/proc/self/mountinfo). One that only an open descriptor or a socket keeps
 * alive cannot be found.
 */
import { NetworkNamespace, SharedBounds, type NamespaceEntrance } from './network-namespace.ts';
import { directoryNames, linkedInode, netFilesInode, readLink, readText } from './proc-file.ts';
import { Refresher, type Run } from './refresher.ts';
import { append, Slices } from './bounds.ts';
import { isLoopback } from './udp-tuple.ts';

/** Namespaces that are searched; the rest is counted as not readable. */
const MAX_NAMESPACES = 4_096;
/** Processes of a namespace that are tried, in case one ends. */
const PIDS_EACH = 4;
/** A listing is made anew beside its use after so many milliseconds, and times what it cost. */
const RELIST_AFTER = 1_000;
const RELIST_AFTER_COSTS = 20;
/** Milliseconds that the addresses of a namespace are believed that a program has to enter. */
const ENTERED_FOR = 10_000;

/** All but this process's own namespace. */
interface Listing {
  byAddress: Map<string, NetworkNamespace[]>;
  /** Those in which all of a prefix is local, or whose addresses are not all known. */
  byPrefix: NetworkNamespace[];
  unreadable: number;
}

/** What is known of the namespaces other than one's own, for one address. */
export interface NamespacesOfAddress {
  namespaces: readonly NetworkNamespace[];
  /** Processes, or mounts, whose namespace may not be read: the address may be there. */
  unreadable: number;
}

export class Namespaces {
  readonly own: NetworkNamespace;
  readonly #root: string;
  readonly #now: () => number;
  readonly #shared: SharedBounds;
  readonly #listings: Refresher<Listing>;
  /** By inode, or that of its files. */
  #others = new Map<string, NetworkNamespace>();

  /**
   * @param root a /proc, or a directory with a copy of some of it.
   * @param now milliseconds, monotonic.
   * @param isPaced false: whoever waits wants it all, and at once.
   */
  constructor(root: string, now: () => number, isPaced = true) {
    this.#root = root;
    this.#now = now;
    this.#shared = new SharedBounds(now, isPaced);
    const inode = linkedInode('net', readLink(`${root}/self/ns/net`));
    this.own = new NetworkNamespace(root, now, { inode, filesInode: null, pids: [], mount: null }, true, this.#shared);
    this.#listings = new Refresher(() => this.#list(), now);
  }

  /** The namespaces of the last listing, one's own first. */
  get all(): NetworkNamespace[] {
    return [this.own, ...this.#others.values()];
  }

  /** Processes, or mounts, whose namespace could not be read at the last listing. */
  get unreadable(): number {
    return this.#listings.latest?.value.unreadable ?? 0;
  }

  async warm(): Promise<void> {
    await this.#listings.join();
  }

  close(): void {
    this.#listings.close();
    for (const namespace of this.all) namespace.close();
  }

  /** The others in which the address is local. A promise: ask again when it resolves. */
  withAddress(address: string, since: number): NamespacesOfAddress | Promise<unknown> {
    const { latest } = this.#listings;
    if (latest === null) return this.#listings.join();
    if (latest.startedAt < since) return this.#listings.fresh();
    return { namespaces: this.knownWithAddress(address), unreadable: latest.value.unreadable };
  }

  /** The others that had the address at the last listing: a new list. */
  knownWithAddress(address: string): NetworkNamespace[] {
    const { latest } = this.#listings;
    if (latest === null) return [];
    const goodFor = Math.max(RELIST_AFTER, RELIST_AFTER_COSTS * latest.cost);
    if (this.#now() - latest.startedAt > goodFor) void this.#listings.join();
    const { byAddress, byPrefix } = latest.value;
    const found = [...(byAddress.get(address) ?? [])];
    for (const namespace of byPrefix) {
      if (!found.includes(namespace) && namespace.addresses?.has(address) === true) found.push(namespace);
    }
    return found;
  }

  /** Lists them anew. */
  async lookAgain(): Promise<void> {
    await this.#listings.fresh();
  }

  async #list(): Promise<Run<Listing>> {
    const startedAt = this.#now();
    const slices = new Slices();
    const found = new Map<number, NamespaceEntrance>();
    /** Of processes whose namespace may not be read, by the inode of its files. */
    const hidden = new Map<number, NamespaceEntrance>();
    let unreadable = 0;
    for (const { pid, ...process } of this.#processes()) {
      if (slices.isOver) await slices.rest();
      if (process.inode !== null) {
        const { inode } = process;
        addProcess(found, inode, pid, { inode, filesInode: null, pids: [], mount: null });
        continue;
      }
      const { filesInode } = process;
      if (filesInode === 'forbidden') unreadable++;
      else addProcess(hidden, filesInode, pid, { inode: null, filesInode, pids: [], mount: null });
    }
    for (const { netns, mount } of mountedNamespaces(await readText(`${this.#root}/self/mountinfo`))) {
      const known = found.get(netns);
      if (known === undefined) found.set(netns, { inode: netns, filesInode: null, pids: [], mount });
      else found.set(netns, { ...known, mount: known.mount ?? mount });
    }
    if (hidden.size > 0) {
      this.#forget(hidden, `${this.#root}/net`);
      for (const { pids } of found.values()) this.#forget(hidden, `${this.#root}/${pids[0]}/net`);
    }
    if (this.own.inode !== null) found.delete(this.own.inode);
    const all = [...found.values(), ...hidden.values()];
    unreadable += Math.max(0, all.length - MAX_NAMESPACES);
    this.#keep(all.slice(0, MAX_NAMESPACES));

    const listing: Listing = { byAddress: new Map(), byPrefix: [], unreadable };
    for (const namespace of this.#others.values()) {
      if (slices.isOver) await slices.rest();
      let set = await namespace.addressesSince(namespace.isCheap ? startedAt : startedAt - ENTERED_FOR);
      // The process through which it was read may have ended.
      if (set?.complete4 !== true && namespace.isThere) set = await namespace.addressesSince(this.#now());
      if (set?.complete4 !== true && namespace.isThere) listing.unreadable++;
      for (const address of set?.addresses ?? []) {
        // Every namespace has these, and none of them gets an error about them from outside.
        if (isLoopback(address)) continue;
        if (!address.includes('/')) append(listing.byAddress, address, namespace);
        else if (!listing.byPrefix.includes(namespace)) listing.byPrefix.push(namespace);
      }
    }
    return { value: listing, cost: slices.worked };
  }

  /** Keeps what is known of a namespace that is still there. */
  #keep(found: readonly NamespaceEntrance[]): void {
    const others = new Map<string, NetworkNamespace>();
    for (const entrance of found) {
      const key = `${entrance.inode} ${entrance.filesInode}`;
      const known = this.#others.get(key);
      if (known !== undefined) known.entrance = entrance;
      others.set(key, known ?? new NetworkNamespace(this.#root, this.#now, entrance, false, this.#shared));
    }
    for (const [key, namespace] of this.#others) if (!others.has(key)) namespace.close();
    this.#others = others;
  }

  *#processes(): Generator<{ pid: number } & ({ inode: number } | { inode: null; filesInode: number | 'forbidden' })> {
    try {
      for (const name of directoryNames(this.#root)) {
        const pid = Number(name);
        if (!Number.isInteger(pid) || pid <= 0) continue;
        const inode = linkedInode('net', readLink(`${this.#root}/${pid}/ns/net`));
        if (inode !== null) yield { pid, inode };
        else {
          const filesInode = netFilesInode(`${this.#root}/${pid}/net`);
          if (filesInode !== null) yield { pid, inode: null, filesInode };
        }
      }
    } catch {
      // No /proc: there is one's own namespace, perhaps.
    }
  }

  /** Those that may not be looked into are mostly in namespaces that others are in too. */
  #forget(hidden: Map<number, NamespaceEntrance>, netDirectory: string): void {
    const inode = netFilesInode(netDirectory);
    if (typeof inode === 'number') hidden.delete(inode);
  }
}

function addProcess(found: Map<number, NamespaceEntrance>, key: number, pid: number, empty: NamespaceEntrance): void {
  const { pids, ...rest } = found.get(key) ?? empty;
  if (pids.length < PIDS_EACH) found.set(key, { ...rest, pids: [...pids, pid] });
}

/**
 * From the text of mountinfo (proc_pid_mountinfo(5)): `… 0:4 net:[4026532281] /run/netns/blue rw shared:2 - nsfs nsfs rw`,
 * with octal escapes in the mount point.
 */
export function mountedNamespaces(mountinfo: string | null): { netns: number; mount: string }[] {
  const found: { netns: number; mount: string }[] = [];
  for (const line of mountinfo?.split('\n') ?? []) {
    const [, , , root, mount] = line.split(' ');
    const netns = linkedInode('net', root ?? null);
    if (netns === null || mount === undefined || !line.includes(' - nsfs ')) continue;
    found.push({
      netns,
      mount: mount.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    });
  }
  return found;
}
