/**
 * Which processes hold a socket: every /proc/PID/fd link that says `socket:[inode]`.
 *
 * A synchronous call on /proc takes about 4 µs, one through the thread pool about 50 µs; so a scan
 * calls synchronously, in slices short enough for the event loop, and rests in between (Refresher). What
 * can hang on a process that is stuck, its command line, is read asynchronously and given up in time.
 */

import type { ProcessIdentity } from '../event.ts';
import { directoryNames, linkedInode, readHead, readLink, readShort, readText } from './proc-file.ts';
import { Refresher, type Run } from './refresher.ts';
import { Turns } from './turns.ts';

/** Milliseconds of scanning before the event loop has a turn. */
const SLICE = 4;
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
/** Milliseconds after which holders are scanned for again beside their use: a process may have forked. */
const SCAN_FOR = 10_000;

const CMDLINE_OCTETS = 1024;
const CMDLINE_TIMEOUT = 250;
/** Reads of command lines at once: one that hangs occupies one of the four threads of Node's pool. */
const CMDLINE_READS = 2;
const MAX_WAITING = 1_000;
/** USER_HZ: /proc shows times in 1/100 s on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

interface Holder {
  pid: number;
  fd: number;
  next: Holder | undefined;
}

interface Scan {
  /** By socket inode. */
  holders: Map<number, Holder>;
  /** Processes whose descriptors may not be read. */
  unreadable: number;
  /** Some process is, or may be, in another network namespace. */
  otherNamespaces: boolean;
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
}

export interface ProcessTableOptions {
  root: string;
  now: () => number;
}

/** Finds and names the holders of sockets. Bounded, and never wrong about a process: each is checked when named. */
export class ProcessTable {
  readonly #root: string;
  readonly #now: () => number;
  readonly #scans: Refresher<Scan>;
  readonly #netns: string | null;
  /** Asked for and not found yet: kept by the next scan however full it is. */
  #wanted = new Set<number>();
  /** When a scan found nobody, by inode. */
  readonly #unheld = new Map<number, number>();
  readonly #identities = new Map<number, Known>();
  readonly #identifying = new Map<number, Promise<Known | null>>();
  /** Questions that are being answered, by inode. */
  readonly #asking = new Map<number, Promise<ProcessIdentity[] | null>>();
  readonly #checks = new Turns(CHECKS_PER_TURN);
  readonly #cmdlines = new Slots(CMDLINE_READS);
  /** Seconds since the epoch at which the system started; undefined before it was read. */
  #bootTime: number | null | undefined;

  constructor(options: ProcessTableOptions) {
    this.#root = options.root;
    this.#now = options.now;
    this.#netns = readLink(`${options.root}/self/ns/net`);
    this.#scans = new Refresher(() => this.#scan(), options.now);
  }

  /** Processes whose descriptors could not be read at the last scan; null before the first. */
  get unreadable(): number | null {
    return this.#scans.latest?.value.unreadable ?? null;
  }

  get scans(): number {
    return this.#scans.runs;
  }

  /** Milliseconds spent scanning. */
  get scanCost(): number {
    return this.#scans.totalCost;
  }

  /** Scans once, so that the first question is answered from memory. */
  async warm(): Promise<void> {
    await this.#scans.join();
  }

  close(): void {
    this.#scans.close();
  }

  /**
   * Whether sockets may exist outside this network namespace: some process is in another one, or in one
   * that may not be read. Null where it could not be found out.
   */
  otherNamespaces(): boolean | null | Promise<boolean | null> {
    const { latest } = this.#scans;
    if (latest !== null && this.#now() - latest.startedAt < SCAN_FOR) return latest.value.otherNamespaces;
    return this.#scans.join().then((scan) => scan?.otherNamespaces ?? null);
  }

  /** The holders as far as they are known and still hold the socket, with no waiting; null: ask `holders`. */
  known(inode: number): ProcessIdentity[] | null {
    const { latest } = this.#scans;
    if (latest === null) return null;
    if (this.#now() - latest.startedAt > SCAN_FOR) void this.#scans.join();
    if (this.#isUnheld(inode)) return [];
    const found: ProcessIdentity[] = [];
    for (const { pid, fd } of chain(latest.value.holders.get(inode))) {
      if (!this.#holds(pid, fd, inode)) continue;
      const fingerprint = this.#fingerprint(pid);
      if (fingerprint === null) continue;
      const known = this.#identities.get(pid);
      if (known === undefined || !isSame(known, fingerprint)) return null;
      if (this.#now() - known.readAt > IDENTITY_FOR) void this.#identify(pid, fingerprint);
      found.push(named(known, fd));
    }
    return found.length > 0 ? found : null;
  }

  /**
   * Every process that holds the socket, by its descriptor; a process forked since the last scan may be
   * missing where the others still hold it. Empty where no process that may be read does.
   *
   * @returns null once closed.
   */
  holders(inode: number): Promise<ProcessIdentity[] | null> {
    let asking = this.#asking.get(inode);
    if (asking === undefined) {
      asking = this.#findHolders(inode).finally(() => this.#asking.delete(inode));
      this.#asking.set(inode, asking);
    }
    return asking;
  }

  async #findHolders(inode: number): Promise<ProcessIdentity[] | null> {
    const remembered = await this.#name(inode, this.#scans.latest?.value);
    if (remembered.length > 0 || this.#isUnheld(inode)) return remembered;
    this.#wanted.add(inode);
    const scan = await this.#scans.fresh();
    if (scan === null) return null;
    const found = await this.#name(inode, scan);
    if (found.length === 0) {
      if (this.#unheld.size >= MAX_SOCKETS) this.#unheld.clear();
      this.#unheld.set(inode, this.#now());
    }
    return found;
  }

  #isUnheld(inode: number): boolean {
    const since = this.#unheld.get(inode);
    if (since === undefined) return false;
    if (this.#now() - since < UNHELD_FOR) return true;
    this.#unheld.delete(inode);
    return false;
  }

  async #name(inode: number, scan: Scan | undefined): Promise<ProcessIdentity[]> {
    const found: ProcessIdentity[] = [];
    for (const { pid, fd } of chain(scan?.holders.get(inode))) {
      await this.#checks.take();
      const fingerprint = this.#fingerprint(pid);
      if (fingerprint === null) continue;
      let known: Known | null | undefined = this.#identities.get(pid);
      if (known === undefined || !isSame(known, fingerprint)) known = await this.#identify(pid, fingerprint);
      // Last, so that the link is read from the process that was identified.
      if (known !== null && this.#holds(pid, fd, inode)) found.push(named(known, fd));
    }
    return found;
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
    const [cmdline, cgroup, started] = await Promise.all([
      this.#cmdline(`${directory}/cmdline`),
      readText(`${directory}/cgroup`),
      this.#startTime(fingerprint.startTicks),
    ]);
    const comm = readShort(`${directory}/comm`)?.replace(/\n$/, '') ?? null;
    const exe = readLink(`${directory}/exe`);
    const after = this.#fingerprint(pid);
    if (after === null || after.startTicks !== fingerprint.startTicks) return null;
    const identity = { pid, comm, exe, cmdline, started, ...placeOf(cgroup) };
    const known = { ...after, identity, readAt: this.#now() };
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
    const scan: Scan = { holders: new Map(), unreadable: 0, otherNamespaces: false };
    let cost = 0;
    let sliceStart = performance.now();
    const steps = this.#steps(scan, wanted);
    while (steps.next().done !== true) {
      const elapsed = performance.now() - sliceStart;
      if (elapsed < SLICE) continue;
      cost += elapsed;
      await new Promise((resolve) => setImmediate(resolve));
      sliceStart = performance.now();
    }
    cost += performance.now() - sliceStart;
    return { value: scan, cost };
  }

  /** The work of a scan, yielding where it may be interrupted. Processes that vanish are passed over. */
  *#steps(scan: Scan, wanted: ReadonlySet<number>): Generator<undefined> {
    try {
      for (const name of directoryNames(this.#root)) {
        const pid = Number(name);
        if (!Number.isInteger(pid) || pid <= 0) continue;
        yield;
        scan.otherNamespaces ||= this.#isElsewhere(pid);
        try {
          for (const descriptor of directoryNames(`${this.#root}/${pid}/fd`)) {
            yield;
            this.#note(scan, wanted, pid, Number(descriptor));
          }
        } catch (error) {
          if (isForbidden(error)) scan.unreadable++;
        }
      }
    } catch {
      // No /proc: nobody is found.
    }
  }

  #note(scan: Scan, wanted: ReadonlySet<number>, pid: number, fd: number): void {
    const inode = linkedInode('socket', readLink(`${this.#root}/${pid}/fd/${fd}`));
    if (inode === null) return;
    const first = scan.holders.get(inode);
    if (first === undefined && scan.holders.size >= MAX_SOCKETS && !wanted.has(inode)) return;
    scan.holders.set(inode, { pid, fd, next: first });
  }

  /** Whether the process's network namespace is another one than ours, or may be. */
  #isElsewhere(pid: number): boolean {
    const netns = readLink(`${this.#root}/${pid}/ns/net`);
    if (netns !== null) return netns !== this.#netns;
    // Not readable, or already gone: then its directory is gone too, or it is a zombie, which has no sockets.
    const stat = readShort(`${this.#root}/${pid}/stat`);
    return stat !== null && !/^\) [ZX] /.test(stat.slice(stat.lastIndexOf(')')));
  }
}

/** Runs at most so many jobs at once; the others wait their turn, or are refused where too many do. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else if (this.#waiting.length >= MAX_WAITING) throw new Error('too many jobs wait');
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await job();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

/**
 * Container and unit of a process from the text of /proc/PID/cgroup, lines of `hierarchy:controllers:path`.
 * Docker, containerd, CRI-O and Podman all name the container's group by its 64 hexadecimal digits, with or
 * without a prefix and `.scope`; the first 12 are what their commands print. The unit is the innermost group
 * that systemd manages.
 */
export function placeOf(cgroup: string | null): Pick<ProcessIdentity, 'container' | 'unit'> {
  let container: string | null = null;
  let unit: string | null = null;
  for (const line of cgroup?.split('\n') ?? []) {
    const groups = line.split(':').slice(2).join(':').split('/');
    for (const group of groups) {
      container = /(?:^|[-:])([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?$/.exec(group)?.[1] ?? container;
    }
    // On a host with both versions of cgroups only the hierarchy of systemd has units.
    unit ??= groups.findLast((group) => group.endsWith('.service') || group.endsWith('.scope')) ?? null;
  }
  return { container, unit };
}

/** The NUL-separated text of /proc/PID/cmdline with spaces, cut at 1,024 octets where a character ends. */
export function argumentsOf(cmdline: Uint8Array): string {
  const text = Buffer.from(cmdline).toString('utf8').replace(/\0+$/, '').replaceAll('\0', ' ');
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

function named(known: Known, fd: number): ProcessIdentity {
  const { pid, ...rest } = known.identity;
  return { pid, fd, ...rest };
}

function isSame(a: Fingerprint, b: Fingerprint): boolean {
  return a.startTicks === b.startTicks && a.comm === b.comm;
}

function isForbidden(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EACCES' || code === 'EPERM';
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
