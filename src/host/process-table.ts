/**
 * Which processes hold a socket: every /proc/PID/fd link that says `socket:[inode]`.
 *
 * A synchronous call on /proc takes about 4 µs, one through the thread pool about 50 µs; so a scan
 * calls synchronously, in slices short enough for the event loop, and rests in between (Refresher). What
 * can hang on a process that is stuck, its command line, is read asynchronously and given up in time.
 */

import { readlinkSync } from 'node:fs';
import type { ProcessIdentity } from '../event.ts';
import { directoryNames, isForbidden, linkedInode, readHead, readLink, readShort, readText } from './proc-file.ts';
import { Refresher, type Run } from './refresher.ts';
import { dropOldest, Slices, Slots, Turns } from './bounds.ts';

/** Holders checked before the event loop has a turn; each takes two or three calls on /proc. */
const CHECKS_PER_TURN = 200;
/** Sockets whose holders are remembered, of any kind. Those that were asked for come on top. */
const MAX_SOCKETS = 262_144;
/** Processes whose identity is remembered. */
const MAX_IDENTITIES = 16_384;
/** Holders of one socket that are named. */
const MAX_HOLDERS = 256;
/** Milliseconds that "nobody holds it" is believed: else each error on a kernel's own socket meant a scan. */
const UNHELD_FOR = 5_000;
/** Milliseconds after which an identity is read again beside its use: a process may have called execve. */
const IDENTITY_FOR = 10_000;
/** Milliseconds that a process which holds the socket is taken for the one that held it. */
const CHECKED_FOR = 100;
/** Holders are scanned for again beside their use after so many milliseconds, and times what it cost: a process may have forked. */
const SCAN_FOR = 10_000;
const SCAN_FOR_COSTS = 100;

/** Processes that held a socket that was asked for: most new sockets are theirs. */
const LIKELY_HOLDERS = 32;
/** Processes started since the last scan that are looked into. */
const NEWCOMERS = 64;
/**
 * Milliseconds after which a look into those begins no other process, and ends within one, which may have a million descriptors;
 * and how many times what it took it rests afterwards.
 */
const QUICK_LOOK = 2;
const LONGEST_LOOK = 20;
const QUICK_REST = 9;
/** Sockets whose holders are remembered when they are closed. */
const MAX_REMEMBERED = 32_768;
const MAX_WITNESSES = 1_024;
/** Processes whose identity is read at once though nobody waits for it. */
const IDENTIFIED_AHEAD = 100;
/** Milliseconds between two scans for the sake of memory, at least, and in times the cost of a scan. */
const LEARN_EVERY = 1_000;
const LEARN_EVERY_COSTS = 50;

const CMDLINE_OCTETS = 1024;
const CMDLINE_TIMEOUT = 250;
/** Reads of command lines at once: one that hangs occupies one of the four threads of Node's pool. */
const CMDLINE_READS = 2;
/** USER_HZ: /proc shows times in 1/100 s on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

interface Holder {
  pid: number;
  fd: number;
  next: Holder | undefined;
  /** As it was named last. */
  named?: { known: Known; process: ProcessIdentity };
}

interface Scan {
  /** By socket inode. */
  holders: Map<number, Holder>;
  /** Processes, and those of them whose descriptors may not be read. */
  processes: number;
  unreadable: number;
  /** The highest process number given out when it began, unless the numbers have started again from the bottom. */
  lastPid: number;
}

/** A process that was seen to hold a socket, which it may have closed since. */
interface Witness {
  pid: number;
  fd: number;
  fingerprint: Fingerprint;
  at: number;
}

/** What tells one process from a later one with the same number, and from itself before execve. */
interface Fingerprint {
  /** /proc/PID/stat field 22, in ticks since boot. */
  startTicks: string;
  comm: string;
}

interface Known extends Fingerprint {
  identity: Omit<ProcessIdentity, 'fd'>;
  readAt: number;
  /** When the process was last seen to be this one. */
  checkedAt: number;
}

export interface ProcessTableOptions {
  root: string;
  now: () => number;
}

/**
 * Finds and names the holders of sockets. Bounded, and never wrong about a process, but for 100 ms after it begins another
 * program: each is checked when named.
 */
export class ProcessTable {
  readonly #root: string;
  readonly #now: () => number;
  readonly #scans: Refresher<Scan>;
  /** Asked for and not found yet: kept by the next scan however full it is. */
  #wanted = new Set<number>();
  /** When a scan found nobody, by inode. */
  readonly #unheld = new Map<number, number>();
  readonly #identities = new Map<number, Known>();
  readonly #identifying = new Map<number, Promise<Known | null>>();
  /** Questions that are being answered, by inode. */
  readonly #asking = new Map<number, Promise<void>>();
  /** Those named last by inode, and by process; the newest last. */
  readonly #remembered = new Map<number, ProcessIdentity[]>();
  readonly #likelyHolders = new Map<number, true>();
  readonly #witnesses = new Map<number, Witness>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #lookNotBefore = 0;
  /** Sockets that nobody was found to hold when they were learned of, since the last scan. */
  readonly #unlearnable = new Set<number>();
  readonly #checks = new Turns(CHECKS_PER_TURN);
  readonly #cmdlines = new Slots(CMDLINE_READS);
  /** Seconds since the epoch at which the system started; undefined before it was read. */
  #bootTime: number | null | undefined;

  constructor(options: ProcessTableOptions) {
    this.#root = options.root;
    this.#now = options.now;
    this.#scans = new Refresher(() => this.#scan(), options.now);
  }

  /** Processes whose descriptors could not be read at the last scan; null before the first. */
  get unreadable(): number | null {
    return this.#scans.latest?.value.unreadable ?? null;
  }

  /** Processes that there were at the last scan; null before the first. */
  get count(): number | null {
    return this.#scans.latest?.value.processes ?? null;
  }

  /** Scans once, so that the first question is answered from memory. */
  async warm(): Promise<void> {
    await this.#scans.join();
  }

  close(): void {
    this.#scans.close();
  }

  /**
   * The holders as far as they are known, and hold the socket now or did at `since` or later; empty where no process
   * holds it. Null: ask `holders`, and then again.
   */
  known(inode: number, since: number): ProcessIdentity[] | null {
    const { latest } = this.#scans;
    if (latest === null) return null;
    if (this.#now() - latest.startedAt > Math.max(SCAN_FOR, SCAN_FOR_COSTS * latest.cost)) void this.#scans.join();
    if (this.#isUnheld(inode)) return [];
    let found = this.#nameAtOnce(inode, since);
    if (found?.length === 0 && this.#lookIntoLikelyHolders(since)) found = this.#nameAtOnce(inode, since);
    if (found === null || found.length === 0) return null;
    if (found.length > 1) found.sort((a, b) => a.pid - b.pid || a.fd - b.fd);
    const before = this.#remembered.get(inode);
    if (before?.length === found.length && before.every((process, index) => process === found[index])) return before;
    this.#remember(inode, found);
    return found;
  }

  /** Looks for the holders of a socket among all processes. Resolves when `known` has an answer. */
  holders(inode: number, since: number): Promise<void> {
    let asking = this.#asking.get(inode);
    if (asking === undefined) {
      asking = this.#findHolders(inode, since).finally(() => this.#asking.delete(inode));
      this.#asking.set(inode, asking);
    }
    return asking;
  }

  /** Finds out who holds the socket, as far as that costs little, for when it is closed. */
  learn(inode: number, since: number): void {
    if (this.#remembered.has(inode) || this.#unlearnable.has(inode) || this.known(inode, since) !== null) return;
    // Where a holder is known, its identity is being read, and there in the next round; where nobody was looked for, too.
    if (this.#scans.latest?.value.holders.has(inode) === true || this.#lookedAt < since) return;
    if (this.#unlearnable.size < MAX_REMEMBERED) this.#unlearnable.add(inode);
  }

  /** To be called when a round of `learn` is over: for the sockets that are left, all processes are looked at in time. */
  learned(now: number): void {
    const { latest } = this.#scans;
    if (this.#unlearnable.size === 0 || latest === null) return;
    if (now - latest.startedAt > Math.max(LEARN_EVERY, LEARN_EVERY_COSTS * latest.cost)) void this.#scans.join();
  }

  /** Who held the socket when its holders were named last; empty where that is not known. */
  remembered(inode: number): ProcessIdentity[] {
    return this.#remembered.get(inode) ?? [];
  }

  /** Null where somebody holds it whose identity is not known yet. */
  #nameAtOnce(inode: number, since: number): ProcessIdentity[] | null {
    const found: ProcessIdentity[] = [];
    for (const holder of chain(this.#scans.latest?.value.holders.get(inode))) {
      const { pid, fd } = holder;
      const isHolding = this.#holds(pid, fd, inode);
      const known = this.#identities.get(pid);
      if (isHolding && known !== undefined && this.#now() - known.checkedAt < CHECKED_FOR) {
        found.push(named(known, holder));
        continue;
      }
      const fingerprint = isHolding ? this.#fingerprint(pid) : this.#witnessed(inode, pid, fd, since);
      if (fingerprint === null) continue;
      if (known === undefined || !isSame(known, fingerprint)) {
        if (this.#identifying.size < IDENTIFIED_AHEAD) void this.#identify(pid, fingerprint);
        return null;
      }
      if (isHolding) known.checkedAt = this.#now();
      if (this.#now() - known.readAt > IDENTITY_FOR) void this.#identify(pid, fingerprint);
      found.push(named(known, holder));
    }
    return found;
  }

  async #findHolders(inode: number, since: number): Promise<void> {
    if (await this.#identifyHolders(inode, since, this.#scans.latest?.value)) return;
    if (this.#isUnheld(inode)) return;
    this.#wanted.add(inode);
    const scan = await this.#scans.fresh();
    if (scan === null || (await this.#identifyHolders(inode, since, scan))) return;
    if (this.#unheld.size >= MAX_SOCKETS) this.#unheld.clear();
    this.#unheld.set(inode, this.#now());
  }

  #isUnheld(inode: number): boolean {
    const since = this.#unheld.get(inode);
    if (since === undefined) return false;
    if (this.#now() - since < UNHELD_FOR) return true;
    this.#unheld.delete(inode);
    return false;
  }

  /** Reads the identities of those who hold the socket; false where nobody does. */
  async #identifyHolders(inode: number, since: number, scan: Scan | undefined): Promise<boolean> {
    let isHeld = false;
    for (const { pid, fd } of chain(scan?.holders.get(inode))) {
      await this.#checks.take();
      const fingerprint = this.#holds(pid, fd, inode) ? this.#fingerprint(pid) : this.#witnessed(inode, pid, fd, since);
      if (fingerprint === null) continue;
      let known: Known | null | undefined = this.#identities.get(pid);
      if (known === undefined || !isSame(known, fingerprint)) known = await this.#identify(pid, fingerprint);
      // Read again: the link is then that of the process that was identified.
      if (known !== null && (this.#holds(pid, fd, inode) || this.#witnessed(inode, pid, fd, since) !== null)) {
        isHeld = true;
      }
    }
    return isHeld;
  }

  #witnessed(inode: number, pid: number, fd: number, since: number): Fingerprint | null {
    const witness = this.#witnesses.get(inode);
    if (witness === undefined || witness.pid !== pid || witness.fd !== fd || witness.at < since) return null;
    return witness.fingerprint;
  }

  /**
   * Looks at the descriptors of those who held sockets that were asked for, and of processes that are new: most sockets
   * that no scan has seen are theirs, and a socket that is closed 5 ms later is found in time. False where it has to
   * rest.
   */
  #lookIntoLikelyHolders(since: number): boolean {
    const { latest } = this.#scans;
    if (latest === null || this.#lookedAt >= since || performance.now() < this.#lookNotBefore) return false;
    this.#lookedAt = this.#now();
    const start = performance.now();
    for (const pid of [...this.#likelyHolders.keys()].toReversed().concat(this.#newcomers(latest.value))) {
      if (performance.now() - start > QUICK_LOOK) break;
      try {
        for (const name of directoryNames(`${this.#root}/${pid}/fd`)) {
          if (performance.now() - start > LONGEST_LOOK) break;
          this.#noteNew(latest.value, pid, Number(name));
        }
      } catch {
        // It ended, or may not be looked into.
      }
    }
    this.#lookNotBefore = performance.now() + QUICK_REST * (performance.now() - start);
    return true;
  }

  #noteNew(scan: Scan, pid: number, fd: number): void {
    const inode = linkedInode('socket', readLink(`${this.#root}/${pid}/fd/${fd}`));
    if (inode === null) return;
    const first = scan.holders.get(inode);
    for (const holder of chain(first)) if (holder.pid === pid && holder.fd === fd) return;
    if (first === undefined && scan.holders.size >= 2 * MAX_SOCKETS) return;
    const fingerprint = this.#fingerprint(pid);
    if (fingerprint === null) return;
    scan.holders.set(inode, { pid, fd, next: first });
    this.#unheld.delete(inode);
    if (this.#witnesses.size >= MAX_WITNESSES) this.#witnesses.clear();
    this.#witnesses.set(inode, { pid, fd, fingerprint, at: this.#now() });
    // What does not hang is read at once: the process may end any moment.
    const known = this.#identities.get(pid);
    if (known === undefined || !isSame(known, fingerprint)) void this.#identify(pid, fingerprint);
  }

  /** Processes that were started since the scan, newest first. A thread has a number too, but is no process. */
  #newcomers(scan: Scan): number[] {
    const found: number[] = [];
    const lastPid = this.#lastPid();
    for (let pid = lastPid; pid > scan.lastPid && pid > lastPid - NEWCOMERS; pid--) {
      if (readShort(`${this.#root}/${pid}/status`)?.includes(`\nTgid:\t${pid}\n`) === true) found.push(pid);
    }
    return found;
  }

  /** The last field of /proc/loadavg. */
  #lastPid(): number {
    return Number(readShort(`${this.#root}/loadavg`)?.trim().split(' ').at(-1) ?? 0);
  }

  #remember(inode: number, processes: ProcessIdentity[]): void {
    this.#remembered.delete(inode);
    if (this.#remembered.size >= MAX_REMEMBERED) dropOldest(this.#remembered);
    this.#remembered.set(inode, processes);
    for (const { pid } of processes) {
      this.#likelyHolders.delete(pid);
      if (this.#likelyHolders.size >= LIKELY_HOLDERS) dropOldest(this.#likelyHolders);
      this.#likelyHolders.set(pid, true);
    }
  }

  #holds(pid: number, fd: number, inode: number): boolean {
    return linkedInode('socket', readLink(`${this.#root}/${pid}/fd/${fd}`)) === inode;
  }

  /** Null where the process is gone. */
  #fingerprint(pid: number): Fingerprint | null {
    const stat = readShort(`${this.#root}/${pid}/stat`);
    if (stat === null) return null;
    // Field 2 is the name in parentheses, and the name may have parentheses and spaces in it.
    const nameEnd = stat.lastIndexOf(')');
    const startTicks = stat.slice(nameEnd + 2).split(' ')[19];
    if (startTicks === undefined) return null;
    return { startTicks, comm: stat.slice(stat.indexOf('(') + 1, nameEnd) };
  }

  /** Reads the identity once for all who ask at the same time; null where the process changed meanwhile. */
  #identify(pid: number, fingerprint: Fingerprint): Promise<Known | null> {
    let reading = this.#identifying.get(pid);
    if (reading === undefined) {
      reading = this.#readIdentity(pid, fingerprint).finally(() => this.#identifying.delete(pid));
      this.#identifying.set(pid, reading);
    }
    return reading;
  }

  async #readIdentity(pid: number, fingerprint: Fingerprint): Promise<Known | null> {
    const directory = `${this.#root}/${pid}`;
    const comm = readShort(`${directory}/comm`)?.replace(/\n$/, '') ?? null;
    const exe = readLink(`${directory}/exe`);
    const cgroup = readShort(`${directory}/cgroup`);
    const now = this.#fingerprint(pid);
    if (now === null || now.startTicks !== fingerprint.startTicks) return null;
    const [cmdline, started] = await Promise.all([
      this.#cmdline(`${directory}/cmdline`),
      this.#startTime(fingerprint.startTicks),
    ]);
    // It may have ended meanwhile, or begun another program: then the command line is nobody's.
    const after = this.#fingerprint(pid);
    const identity = {
      pid,
      comm,
      exe,
      cmdline: after !== null && isSame(after, now) ? cmdline : null,
      started,
      ...placeOf(cgroup),
    };
    const known = { ...now, identity, readAt: this.#now(), checkedAt: Number.NEGATIVE_INFINITY };
    if (this.#identities.size >= MAX_IDENTITIES) this.#identities.clear();
    this.#identities.set(pid, known);
    return known;
  }

  /** Null where it cannot be read in time: the kernel waits for a lock of the process's memory. */
  async #cmdline(path: string): Promise<string | null> {
    const reading = this.#cmdlines.run(() => readHead(path, 4096)).catch(() => null);
    const head = await within(CMDLINE_TIMEOUT, reading);
    return head === null ? null : argumentsOf(head.bytes);
  }

  /** RFC 3339, whole seconds; null where the system's start is not known. */
  async #startTime(startTicks: string): Promise<string | null> {
    if (this.#bootTime === undefined) {
      const bootTime = /^btime (\d+)$/m.exec((await readText(`${this.#root}/stat`)) ?? '')?.[1];
      this.#bootTime = bootTime === undefined ? null : Number(bootTime);
    }
    if (this.#bootTime === null) return null;
    const seconds = this.#bootTime + Math.floor(Number(startTicks) / TICKS_PER_SECOND);
    const time = new Date(seconds * 1000);
    return Number.isNaN(time.getTime()) ? null : time.toISOString().replace('.000Z', 'Z');
  }

  async #scan(): Promise<Run<Scan>> {
    const wanted = this.#wanted;
    this.#wanted = new Set();
    const scan: Scan = { holders: new Map(), processes: 0, unreadable: 0, lastPid: this.#lastPid() };
    this.#unlearnable.clear();
    const slices = new Slices();
    const steps = this.#steps(scan, wanted);
    while (steps.next().done !== true) if (slices.isOver) await slices.rest();
    return { value: scan, cost: slices.worked };
  }

  /** The work of a scan, yielding where it may be interrupted. Processes that vanish are passed over. */
  *#steps(scan: Scan, wanted: ReadonlySet<number>): Generator<undefined> {
    try {
      for (const name of directoryNames(this.#root)) {
        const pid = Number(name);
        if (!Number.isInteger(pid) || pid <= 0) continue;
        yield;
        scan.processes++;
        try {
          for (const descriptor of directoryNames(`${this.#root}/${pid}/fd`)) {
            yield;
            this.#note(scan, wanted, pid, Number(descriptor));
          }
        } catch (error) {
          if (isForbidden(error) && !this.#isOwnChild(pid)) scan.unreadable++;
        }
      }
    } catch {
      // No /proc: nobody is found.
    }
  }

  /** The capture process lets nobody look into it, and has no UDP socket. */
  #isOwnChild(pid: number): boolean {
    const stat = readShort(`${this.#root}/${pid}/stat`);
    return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(process.pid);
  }

  #note(scan: Scan, wanted: ReadonlySet<number>, pid: number, fd: number): void {
    let target;
    try {
      target = readlinkSync(`${this.#root}/${pid}/fd/${fd}`);
    } catch (error) {
      // Without CAP_SYS_PTRACE root may list the descriptors of others, and no more.
      if (isForbidden(error)) throw error;
      return;
    }
    const inode = linkedInode('socket', target);
    if (inode === null) return;
    const first = scan.holders.get(inode);
    if (first === undefined && scan.holders.size >= MAX_SOCKETS && !wanted.has(inode)) return;
    scan.holders.set(inode, { pid, fd, next: first });
  }
}

/** How a runtime names the control group of a container: its 64 hexadecimal digits, and what is before them. */
const CONTAINER = /^(?:(.*)[-:])?([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?$/;
const RUNTIMES: ReadonlyMap<string, string> = new Map([
  ['docker', 'docker'],
  ['cri-containerd', 'containerd'],
  ['nerdctl', 'containerd'],
  ['crio', 'cri-o'],
  ['libpod', 'podman'],
]);

/**
 * Container and unit of a process from the text of /proc/PID/cgroup, lines of `hierarchy:controllers:path`.
 * Docker, containerd, CRI-O and Podman all name the container's group by its 64 hexadecimal digits, with or
 * without a prefix and `.scope`; the first 12 are what their commands print. The prefix tells the runtime; without one
 * (cgroupfs driver) the group above may. The unit is the outermost, as the journal's _SYSTEMD_UNIT: that is this host's systemd's;
 * who manages groups within it, as any user does in user@UID.service, may call them what he likes.
 */
export function placeOf(cgroup: string | null): Pick<ProcessIdentity, 'container' | 'runtime' | 'unit'> {
  let container: string | null = null;
  let runtime: string | null = null;
  let unit: string | null = null;
  for (const line of cgroup?.split('\n') ?? []) {
    const groups = line.split(':').slice(2).join(':').split('/');
    for (const [index, group] of groups.entries()) {
      const [, prefix, id] = CONTAINER.exec(group) ?? [];
      // What watches over a container is beside it, not in it.
      if (id === undefined || prefix?.endsWith('-conmon') === true) continue;
      const own = RUNTIMES.get(prefix?.split(':').at(-1) ?? groups[index - 1] ?? '') ?? null;
      // The same container in another hierarchy, or one within it.
      runtime = id === container ? (runtime ?? own) : own;
      container = id;
    }
    // On a host with both versions of cgroups only the hierarchy of systemd has units.
    unit ??= groups.find((group) => group.endsWith('.service') || group.endsWith('.scope')) ?? null;
  }
  return { container, runtime, unit };
}

/** The NUL-separated text of /proc/PID/cmdline with spaces, cut at 1,024 octets where a character ends. */
export function argumentsOf(cmdline: Uint8Array): string {
  // A pattern for the NULs at the end would try each of thousands that stand before something.
  let length = cmdline.length;
  while (length > 0 && cmdline[length - 1] === 0) length--;
  const text = Buffer.from(cmdline.subarray(0, length)).toString('utf8').replaceAll('\0', ' ');
  const octets = Buffer.from(text);
  if (octets.length <= CMDLINE_OCTETS) return text;
  let end = CMDLINE_OCTETS;
  // Back over the continuation octets (10xxxxxx) of a character that goes on after the cut: RFC 3629 section 3.
  while ((octets[end]! & 0xc0) === 0x80) end--;
  return octets.toString('utf8', 0, end);
}

function* chain(first: Holder | undefined): Generator<Holder> {
  let count = 0;
  for (let holder = first; holder !== undefined && count < MAX_HOLDERS; holder = holder.next) {
    count++;
    yield holder;
  }
}

/** The same object for the same, so that what is made of it can be kept too. */
function named(known: Known, holder: Holder): ProcessIdentity {
  if (holder.named?.known !== known) {
    const { pid, ...rest } = known.identity;
    holder.named = { known, process: { pid, fd: holder.fd, ...rest } };
  }
  return holder.named.process;
}

function isSame(a: Fingerprint, b: Fingerprint): boolean {
  return a.startTicks === b.startTicks && a.comm === b.comm;
}

/** The value, or null where it takes longer than `milliseconds`. */
async function within<T>(milliseconds: number, value: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, milliseconds, null);
  });
  try {
    return await Promise.race([value, late]);
  } finally {
    clearTimeout(timer);
  }
}
