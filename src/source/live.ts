/**
 * Live capture: starts the capture process, reads its stream as a replay is read, and starts it again when
 * it dies.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CaptureInterface, InterfaceStatistics, PacketCursor } from '../savefile/packet.ts';
import { SavefileReader } from '../savefile/reader.ts';
import type {
  CaptureLibraries,
  CaptureOrder,
  CaptureReport,
  CaptureRequest,
  ListedInterface,
} from './capture-protocol.ts';
import { watchStopped, type StoppedNotice } from './stopped-process.ts';

/** Live capture is not possible; `message` is one line that says why. */
export class CaptureError extends Error {
  /** `no-cap`: the native module is not there; `open`: libpcap refused; `died`: the process dies again and again. */
  readonly reason: 'no-cap' | 'open' | 'died';
  constructor(reason: CaptureError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface LiveOptions {
  device: string;
  /** pcap-filter expressions: the first of them that libpcap takes for the device. */
  filters: readonly string[];
  /** The kernel's capture buffer. */
  bufferKib: number;
  /** Ends the capture. */
  signal: AbortSignal;
}

export interface LiveHandler {
  /** Before the packets of each chunk of the stream. */
  beforeChunk(): void;
  packet(cursor: PacketCursor): void;
  /** Every second, in the order of the packets: those that came before this time, by the clock of the host, were there. */
  tick(time: HostTime): void;
  /** After each chunk of the stream; reading goes on when it resolves. */
  afterChunk(): Promise<void>;
  /** Something that the user should know. */
  notice(notice: CaptureNotice): void;
}

/** By the clock of the host: seconds since the epoch, and nanoseconds within them. */
export type HostTime = Pick<InterfaceStatistics, 'seconds' | 'nanoseconds'>;

export type CaptureNotice =
  | Extract<CaptureReport, { kind: 'opened' | 'down' | 'up' | 'renamed' | 'privileges-kept' | 'not-followed' }>
  /** The process died and was started again, with nothing captured for `gapMs`. */
  | { kind: 'restarted'; why: string; gapMs: number }
  /** It has died so many times in a row that the next start is put off. */
  | { kind: 'put-off'; why: string; times: number; waitMs: number }
  | StoppedNotice
  /** Packets that the kernel had no room for in the capture buffer since it was asked last, a second before, by that time. */
  | { kind: 'dropped'; packets: number; time: HostTime }
  /** Text that something native wrote. Hostile text. */
  | { kind: 'stderr'; text: string };

/**
 * A process that dies sooner than this after its start is started again after a while that doubles each time. Where there was no
 * capture yet that ends: after so many.
 */
const SHORT_LIFE_MS = 10_000;
const MAX_SHORT_LIVES = 5;
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 5000;
/** What is put off for longer is said. */
const LONG_WAIT_MS = 1000;

/** What a capture that was told to end may take for its last counts; then it is killed. */
const FINISH_MS = 300;
/** And what is shown of the packets that came before that: those that are left are counted. */
const LAST_PACKETS_MS = 100;

/** libpcap's counts. */
interface Counts {
  /** Packets that passed the filter. */
  received: number;
  /** Those of them that were lost in the kernel's buffer. */
  dropped: number;
  /** Those that were captured, and not looked at before the end. */
  unseen: number;
}

/** Nothing is captured, for so long now: the interface is down, or the process ended and is to be started again. */
export interface Gap {
  cause: 'interface-down' | 'capture-restarted';
  ms: number;
}

type CaptureProcess = ChildProcessByStdio<Writable, Readable, Readable>;

export class LiveCapture {
  readonly #options: LiveOptions;
  readonly #handler: LiveHandler;
  /** libpcap's counts of the processes that have ended, as far as they were told; and of the present one. */
  #ended: Counts = { received: 0, dropped: 0, unseen: 0 };
  #current: Counts | null = null;
  /** From when on packets are too late to be looked at, performance.now(), and how many were. */
  #overAt = Number.POSITIVE_INFINITY;
  #late = 0;
  /** Whether a count may be too low: a process died before it told its last one. */
  #countsIncomplete = false;
  #isStock = false;
  #child: CaptureProcess | null = null;
  #order: CaptureOrder = { follow: null };
  /** As it is called now. */
  #device: string;
  /** There is something to come back to: a capture was open, or waits for its interface. */
  #waits = false;
  #wasOpen = false;
  #gap: { cause: Gap['cause']; since: number } | null = null;

  constructor(options: LiveOptions, handler: LiveHandler) {
    this.#options = options;
    this.#handler = handler;
    this.#device = options.device;
  }

  /**
   * The counts so far; at least so many where a process died before it told its last ones. Null: an unpatched cap does not
   * count.
   */
  get counts(): (Counts & { incomplete: boolean }) | null {
    if (this.#isStock) return null;
    return {
      received: this.#ended.received + (this.#current?.received ?? 0),
      dropped: this.#ended.dropped + (this.#current?.dropped ?? 0),
      unseen: this.#late + this.#ended.unseen + (this.#current?.unseen ?? 0),
      incomplete: this.#countsIncomplete,
    };
  }

  /** The one that goes on now; null: packets are captured, or none ever were. */
  get gap(): Gap | null {
    if (this.#gap === null || !this.#wasOpen) return null;
    return { cause: this.#gap.cause, ms: performance.now() - this.#gap.since };
  }

  /**
   * Captures also what passes this pcap-filter expression (null: nothing else), in place of what it was told before. What it
   * captures anyway goes on without a gap. Not possible with an unpatched cap, which never reads an order.
   */
  follow(filter: string | null): void {
    if (this.#order.follow === filter) return;
    this.#order = { follow: filter };
    this.#sendOrder();
  }

  #sendOrder(): void {
    this.#child?.stdin.write(`${JSON.stringify(this.#order)}\n`);
  }

  /** Captures until the signal aborts. Throws a CaptureError where that is not possible. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    let why: string | null = null;
    let shortLives = 0;
    while (!signal.aborted) {
      const started = performance.now();
      try {
        why = await this.#runProcess(this.#wasOpen ? why : null);
      } catch (error) {
        // What could be opened before will be again.
        if (!this.#waits || !(error instanceof CaptureError)) throw error;
        why = error.message;
      }
      if (signal.aborted) return;
      this.#gap = { cause: 'capture-restarted', since: this.#gap?.since ?? performance.now() };
      shortLives = performance.now() - started < SHORT_LIFE_MS ? shortLives + 1 : 0;
      if (shortLives === 0) continue;
      if (shortLives >= MAX_SHORT_LIVES && !this.#waits) {
        throw new CaptureError('died', `the capture process ended ${MAX_SHORT_LIVES} times in a row: ${why}`);
      }
      const waitMs = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** (shortLives - 1));
      if (waitMs > LONG_WAIT_MS) this.#handler.notice({ kind: 'put-off', why, times: shortLives, waitMs });
      await delay(waitMs, undefined, { signal }).catch(() => {});
    }
  }

  /** Runs one capture process until it ends, and says how it ended. */
  async #runProcess(lastEnd: string | null): Promise<string> {
    const { filters, bufferKib, signal } = this.#options;
    const child = startProcess({ list: false, device: this.#device, filters, bufferKib, waits: this.#waits });
    const exit = exitOf(child);
    this.#child = child;
    if (this.#order.follow !== null) this.#sendOrder();
    const finish = (): void => {
      this.#child = null;
      child.stdin.end();
      this.#overAt = performance.now() + LAST_PACKETS_MS;
      setTimeout(() => {
        this.#countsIncomplete ||= child.kill('SIGKILL');
      }, FINISH_MS).unref();
    };
    signal.addEventListener('abort', finish);
    if (signal.aborted) finish();

    let failure: CaptureError | null = null;
    const reports = readReports(child.stderr, (report) => {
      if (report.kind === 'failed') {
        failure = new CaptureError(report.cause, report.message);
        return;
      }
      if (report.kind === 'renamed') this.#device = report.to;
      if (report.kind === 'down') {
        this.#waits = true;
        this.#gap ??= { cause: 'interface-down', since: performance.now() };
      }
      if (report.kind === 'opened') {
        if (report.stock) this.#isStock = true;
        const gapMs = performance.now() - (this.#gap?.since ?? performance.now());
        this.#waits = true;
        this.#wasOpen = true;
        this.#gap = null;
        if (lastEnd !== null) {
          this.#handler.notice({ kind: 'restarted', why: lastEnd, gapMs });
          lastEnd = null;
          return;
        }
      }
      this.#handler.notice(report);
    });

    const unwatch = watchStopped(child.pid!, (notice) => this.#handler.notice(notice));
    await this.#readStream(child.stdout);
    await reports;
    const why = await exit;
    unwatch();
    this.#child = null;
    signal.removeEventListener('abort', finish);
    if (failure !== null) throw failure;
    if (this.#current !== null) {
      this.#ended.received += this.#current.received;
      this.#ended.dropped += this.#current.dropped;
      // Of one that died nobody knows what it had read.
      if (signal.aborted) this.#ended.unseen += this.#current.unseen;
      this.#current = null;
    }
    if (!signal.aborted) this.#countsIncomplete = true;
    return why;
  }

  /** A block that is cut off at the end of the stream is no damage: the process died while it wrote. */
  async #readStream(stdout: Readable): Promise<void> {
    let isOver = false;
    const reader = new SavefileReader({
      packet: (cursor) => {
        if (isOver) this.#late++;
        else this.#handler.packet(cursor);
      },
      statistics: (_iface: CaptureInterface, counts: InterfaceStatistics) => this.#count(counts),
    });
    for await (const chunk of stdout) {
      isOver = performance.now() > this.#overAt;
      this.#handler.beforeChunk();
      reader.push(chunk as Buffer);
      await this.#handler.afterChunk();
      // Reading goes on in the same turn of the event loop for as long as there is something to read: signals would wait.
      await nextTurn();
    }
  }

  #count({ received, dropped, delivered, seconds, nanoseconds }: InterfaceStatistics): void {
    const before = this.#current?.dropped ?? 0;
    const counts = { received: received ?? 0, dropped: dropped ?? 0 };
    this.#current = { ...counts, unseen: Math.max(0, counts.received - counts.dropped - (delivered ?? 0)) };
    const time = { seconds, nanoseconds };
    if (counts.dropped > before) this.#handler.notice({ kind: 'dropped', packets: counts.dropped - before, time });
    this.#handler.tick(time);
  }
}

/** The interfaces that can be captured on. Throws a CaptureError. */
export async function listInterfaces(): Promise<ListedInterface[]> {
  return (await listed({ list: true })) as ListedInterface[];
}

/** What live capture works with. Throws a CaptureError. */
export async function captureLibraries(): Promise<CaptureLibraries> {
  return (await listed({ list: 'libraries' })) as CaptureLibraries;
}

async function listed(request: CaptureRequest): Promise<unknown> {
  const child = startProcess(request);
  const exit = exitOf(child);
  let failure: CaptureError | null = null;
  const reports = readReports(child.stderr, (report) => {
    if (report.kind === 'failed') failure = new CaptureError(report.cause, report.message);
  });
  let json = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) json += chunk as string;
  await reports;
  const why = await exit;
  if (failure !== null) throw failure;
  if (json === '') throw new CaptureError('died', `the capture process ended: ${why}`);
  return JSON.parse(json);
}

/**
 * Detached, so that Ctrl-C in the terminal reaches the parent alone; its standard input is its lifeline.
 */
function startProcess(request: CaptureRequest): CaptureProcess {
  const script = fileURLToPath(new URL('./capture-child.js', import.meta.url));
  // Options for this process, a debugger say, are not for that one.
  const { NODE_OPTIONS: _, ...env } = process.env;
  let child: CaptureProcess;
  try {
    child = spawn(process.execPath, [script, JSON.stringify(request)], {
      detached: true,
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CaptureError('open', code === 'E2BIG' ? 'the filter expression is too long' : message);
  }
  // Where there are no descriptors for its pipes, Node gives none, whatever the types say.
  if ((child.stdin as Writable | undefined) === undefined) {
    child.on('error', () => {});
    throw new CaptureError('open', 'the capture process cannot be started: too many open files');
  }
  return child;
}

/** Resolves with how the process ended, when it has. */
function exitOf(child: CaptureProcess): Promise<string> {
  // It may be gone when its lifeline is cut.
  child.stdin.on('error', () => {});
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, signal) => resolve(signal ?? `exit status ${code}`));
  });
}

async function readReports(
  stderr: Readable,
  onReport: (report: CaptureReport | { kind: 'stderr'; text: string }) => void,
): Promise<void> {
  for await (const line of createInterface({ input: stderr })) onReport(parseReport(line));
}

/** Lines that are no report come from something native: an assertion, libpcap, the dynamic linker. */
function parseReport(line: string): CaptureReport | { kind: 'stderr'; text: string } {
  try {
    const report = JSON.parse(line) as CaptureReport;
    if (typeof report === 'object' && report !== null && 'kind' in report) return report;
  } catch {
    // not JSON
  }
  return { kind: 'stderr', text: line };
}
