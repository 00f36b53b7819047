/**
 * Live: the capture of this host, through the pipeline, with what it may have missed.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { HostAttribution } from '../correlate/attribute.ts';
import { MAX_SENT, type ErringFlow } from '../correlate/incidents.ts';
import type { LossRecord, TimeStamp } from '../event.ts';
import type { EventPipeline } from '../event-pipeline.ts';
import type { UdpTuple } from '../host/udp-tuple.ts';
import { captureFilters, followFilter } from '../source/capture-filter.ts';
import { ANY_DEVICE } from '../source/capture-protocol.ts';
import { CaptureError, LiveCapture, type CaptureNotice, type Gap, type HostTime } from '../source/live.ts';
import { readSoftnetDrops } from '../host/softnet.ts';
import { seconds } from '../sink/loss-text.ts';
import { counted, grouped } from '../sink/numbers.ts';
import { timeNow } from '../sink/time-stamp.ts';
import { say } from './messages.ts';
import type { Run, WatchJob, WatchOptions } from './watch.ts';
import { Yardstick } from './yardstick.ts';

/** From when it is told to end until look-ups that are under way are not waited for. */
const LAST_LOOKUPS_MS = 400;

const TICK_MS = 1000;

const NET_DIRECTORY = '/proc/self/net';

/** What is to be said of a loss. */
type Loss = LossRecord extends infer One
  ? One extends LossRecord
    ? Omit<One, 'event' | 'host' | keyof TimeStamp>
    : never
  : never;

/** All of one cause. */
interface Gaps {
  times: number;
  ms: number;
}

/** Tuples that are followed at once. */
const MAX_FOLLOWED = 64;
/** Instructions of a filter for one of them, in both directions and at the most: libpcap's optimizer shares some. */
const INSTRUCTIONS = { 4: 30, 6: 80 } as const;
/**
 * The filter must fit into the kernel, or libpcap filters all traffic of the host itself, without a word: BPF_MAXINSNS is 4,096,
 * and each instruction takes some 44 octets of the memory that a socket's options may have.
 */
const MAX_INSTRUCTIONS = 3_000;
const OCTETS_EACH = 44;
const DEFAULT_OPTMEM_MAX = 20_480;
/** A filter that changes costs another capture, which takes some milliseconds to open. */
const FOLLOW_EVERY_MS = 1000;

export class Live implements Run {
  readonly #options: WatchOptions;
  readonly #pipeline: EventPipeline;
  readonly #attribution: HostAttribution | null;
  readonly #stop: AbortController;
  readonly #job: WatchJob;
  readonly #capture: LiveCapture;
  readonly #yardstick: Yardstick;
  hasStarted = false;
  #stoppedAt = 0;
  /** As it is called now. */
  #device: string;
  #followed: ReadonlySet<ErringFlow> = new Set();
  #followedAt = Number.NEGATIVE_INFINITY;
  #follows: NodeJS.Timeout | undefined;
  #isFollowingRefused = false;
  #isKeepingSaid = false;
  readonly #maxInstructions = maxInstructions();
  readonly #gaps: Record<Gap['cause'], Gaps> = {
    'capture-restarted': { times: 0, ms: 0 },
    'interface-down': { times: 0, ms: 0 },
  };
  /** The kernel's count when it was read last, and how much it grew; null: it cannot be read. */
  #softnetDrops: number | null = null;
  #softnetLost = 0;

  constructor(options: WatchOptions, job: WatchJob) {
    const { device, expression, allIcmp, bufferKib } = options;
    const { pipeline, attribution, drained, stopped } = job;
    this.#options = options;
    this.#device = device;
    this.#job = job;
    this.#pipeline = pipeline;
    this.#attribution = attribution;
    this.#stop = stopped;
    this.#yardstick = new Yardstick(pipeline.counts.errorsAddressedHere, whyNoYardstick(options));
    this.#capture = new LiveCapture(
      { device, bufferKib, filters: captureFilters(device, allIcmp, expression), signal: stopped.signal },
      {
        beforeChunk: () => pipeline.beginChunk(),
        packet: (cursor) => pipeline.packet(cursor),
        tick: (time) => pipeline.tick(time),
        afterChunk: async () => {
          pipeline.endChunk();
          await drained();
        },
        notice: (notice) => void this.#notice(notice),
      },
    );
  }

  /** The yardstick is read before the capture ends, so that nothing comes between. */
  stop(): void {
    this.#stoppedAt = performance.now();
    void this.#yardstick.end().finally(() => this.#stop.abort());
  }

  async run(): Promise<number> {
    const { incidents } = this.#job;
    if (incidents !== null) incidents.onFollow = () => this.#followSoon();
    const ticks = setInterval(() => {
      if (incidents !== null) this.#followSoon();
      void this.#countSoftnetDrops();
    }, TICK_MS);
    await this.#countSoftnetDrops();
    try {
      const aborted = new Promise<void>((resolve) => this.#stop.signal.addEventListener('abort', () => resolve()));
      await Promise.race([this.#attribution?.start(), aborted]);
      await this.#capture.run();
      await this.#countSoftnetDrops();
      const unseen = this.#capture.counts?.unseen ?? 0;
      if (unseen > 0) this.#lose({ cause: 'ended', packets: unseen });
      this.#pipeline.finish();
      // Events that came before Ctrl-C still wait for their look-up.
      const wait = this.#stoppedAt + LAST_LOOKUPS_MS - performance.now();
      await Promise.race([this.#pipeline.settled(), delay(Math.max(0, wait))]);
      return 0;
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      say(explain(error, this.#options));
      return 1;
    } finally {
      clearInterval(ticks);
      clearTimeout(this.#follows);
      this.#attribution?.close();
    }
  }

  #followSoon(): void {
    const wait = Math.max(0, this.#followedAt + FOLLOW_EVERY_MS - performance.now());
    this.#follows ??= setTimeout(() => this.#follow(), wait);
  }

  /** Has the datagrams of flows that had an error captured too. */
  #follow(): void {
    this.#follows = undefined;
    this.#followedAt = performance.now();
    const flows = new Set<ErringFlow>();
    const tuples: [UdpTuple, boolean][] = [];
    let room = this.#maxInstructions;
    for (const flow of this.#job.incidents!.followed(this.#followed, this.#followedAt)) {
      room -= flow.tuples.length * INSTRUCTIONS[flow.event.icmp.version];
      if (room < 0 || tuples.length + flow.tuples.length > MAX_FOLLOWED) break;
      flows.add(flow);
      for (const tuple of flow.tuples) tuples.push([tuple, flow.sent === MAX_SENT]);
    }
    this.#followed = flows;
    this.#capture.follow(followFilter(tuples));
    if (!this.#isFollowingRefused) for (const flow of flows) flow.beginCounting();
  }

  summary(): string[] {
    const { counts } = this.#capture;
    const atLeast = counts?.incomplete === true ? 'at least ' : '';
    // Of one that goes on, more may have come since than the events that were shown.
    const capture = this.#stop.signal.aborted ? 'capture' : 'capture, at its last count (one a second)';
    const lines = [
      counts === null
        ? 'capture: received and dropped packets unknown (cap is not patched)'
        : `${capture}: ${atLeast}${counted(counts.received, 'packet')} received, ${atLeast}${counted(counts.dropped, 'packet')} dropped`,
    ];
    if (counts !== null && counts.unseen > 0) lines[0] += `, ${grouped(counts.unseen)} not looked at before the end`;
    const { 'capture-restarted': restarts, 'interface-down': downs } = this.#allGaps();
    if (restarts.times > 0) lines.push(gapText(restarts, 'while the capture process was started again'));
    if (downs.times > 0) lines.push(gapText(downs, `while ${this.#device} was down`));
    if (this.#softnetLost > 0) {
      lines.push(
        `kernel: ${counted(this.#softnetLost, 'packet')} of any kind dropped before any capture: the receive queue of a CPU was full`,
      );
    }
    return [...lines, this.#yardstick.summary()];
  }

  /** The same for a script. */
  totals(): object {
    const { counts } = this.#capture;
    const { received = null, dropped = null, unseen = null } = counts ?? {};
    const { 'capture-restarted': restarted, 'interface-down': interfaceDown } = this.#allGaps();
    return {
      capture: { received, dropped, unseen, isAtLeast: counts?.incomplete ?? null },
      gaps: { restarted, interfaceDown },
      softnet: this.#softnetDrops === null ? null : this.#softnetLost,
      kernel: this.#yardstick.result,
    };
  }

  /** Those that are over, and the one that goes on. */
  #allGaps(): Record<Gap['cause'], Gaps> {
    const { gap } = this.#capture;
    if (gap === null) return this.#gaps;
    const { times, ms } = this.#gaps[gap.cause];
    return { ...this.#gaps, [gap.cause]: { times: times + 1, ms: ms + Math.round(gap.ms) } };
  }

  /** One that is over. Returns its milliseconds. */
  #countGap(cause: Gap['cause'], milliseconds: number): number {
    const ms = Math.round(milliseconds);
    this.#gaps[cause].times++;
    this.#gaps[cause].ms += ms;
    return ms;
  }

  #lose(loss: Loss, time: HostTime = timeNow()): void {
    this.#pipeline.lose({ event: 'loss', host: hostname(), ...time, nanosecondResolution: false, ...loss });
  }

  /** Those that the kernel dropped since it was asked last, before any capture saw them. */
  async #countSoftnetDrops(): Promise<void> {
    const drops = await readSoftnetDrops(NET_DIRECTORY);
    const before = this.#softnetDrops;
    this.#softnetDrops = drops;
    if (drops === null || before === null || drops <= before) return;
    this.#softnetLost += drops - before;
    this.#lose({ cause: 'softnet', packets: drops - before });
  }

  async #notice(notice: CaptureNotice): Promise<void> {
    const device = this.#device;
    switch (notice.kind) {
      case 'opened':
        if (this.hasStarted) return; // `up` follows
        this.hasStarted = true;
        // Before it is said: what comes from then on is counted.
        await this.#yardstick.begin();
        say(
          `listening on ${device}, link-type ${notice.linkType.replace(/^LINKTYPE_/, '')}, snapshot length ${notice.snaplen} bytes`,
        );
        if (notice.stock) {
          say(
            'cap is not patched: time stamps are when a packet is read, dropped packets are not counted, ' +
              'and whether a peer answers again is not seen',
          );
        }
        break;
      case 'down':
        say(`${device}: ${notice.message}; waiting for it to come ${this.hasStarted ? 'back' : 'up'}`);
        break;
      case 'up':
        this.#lose({ cause: 'interface-down', interface: device, ms: this.#countGap('interface-down', notice.downMs) });
        this.#isFollowingRefused = false;
        break;
      case 'renamed':
        this.#device = notice.to;
        say(`${notice.from} is called ${notice.to} now; the capture on it goes on`);
        break;
      case 'put-off':
        say(
          `the capture process has ended ${notice.times} times in a row (${notice.why}); ` +
            `starting it again in ${seconds(notice.waitMs)}`,
        );
        break;
      case 'stopped':
        say(
          `the capture process is stopped (kill -CONT ${notice.pid}); nothing is shown meanwhile, ` +
            'and what the capture buffer does not hold is dropped',
        );
        break;
      case 'continued':
        say(`the capture process goes on after about ${Math.round(notice.stoppedMs / 1000)} s`);
        break;
      case 'restarted': {
        const { why, gapMs } = notice;
        const time = timeNow();
        const ms = this.#countGap('capture-restarted', gapMs);
        const missed = await this.#yardstick.missedSoFar();
        this.#lose({ cause: 'capture-restarted', ms, why, missed }, time);
        break;
      }
      case 'dropped':
        this.#lose({ cause: 'buffer-full', packets: notice.packets }, notice.time);
        break;
      case 'privileges-kept':
        // Each process that is started says so.
        if (!this.#isKeepingSaid) say(`the capture process keeps more privileges than it needs: ${notice.message}`);
        this.#isKeepingSaid = true;
        break;
      case 'not-followed':
        if (this.#isFollowingRefused) return;
        this.#isFollowingRefused = true;
        say(`whether a peer answers again is not seen: ${notice.message}`);
        break;
      case 'stderr':
        say(`capture process: ${notice.text}`);
        break;
    }
  }
}

function gapText({ times, ms }: Gaps, when: string): string {
  return `capture: ${counted(times, 'gap')}, ${seconds(ms)} in all, ${when}`;
}

/** Why the kernel's counters cannot be held against this capture, or null. */
function whyNoYardstick({ device, expression, sockets, maxEvents }: WatchOptions): string | null {
  if (device !== ANY_DEVICE) return `only a capture on ${ANY_DEVICE} sees all that the kernel counts`;
  if (expression !== '') return 'a filter expression hides some of what the kernel counts';
  if (Number.isFinite(maxEvents)) return 'the capture ends before they are read (-c)';
  if (sockets === false) return 'addresses of this host are not looked up (--no-sockets)';
  if (sockets !== true) return 'the addresses of this host are those of a snapshot (--sockets)';
  return null;
}

/** libpcap's message, and what to do about it. */
function explain(error: CaptureError, { device, expression }: WatchOptions): string {
  const { reason, message } = error;
  if (reason === 'no-cap') {
    return (
      `live capture needs the native module cap, which is not built here (${message}): ` +
      'sudo apt-get install libpcap-dev g++ make python3, then node native-notes/build-cap.mjs; replay (-r) works without'
    );
  }
  if (reason === 'died') return message;
  if (/permi(ssion|tted)/i.test(message)) return `${device}: ${message}; capturing needs root: sudo udpicmp-watch`;
  if (/rejects all packets/i.test(message)) {
    const port = /\bport\s+([\w-]+)/.exec(expression)?.[1];
    const hint =
      port === undefined ? '' : `; an ICMP error has no port of its own: for the quoted one, use --port ${port}`;
    return `the filter "${expression}" and ICMP exclude each other${hint}`;
  }
  return `${device}: ${message}`;
}

function maxInstructions(): number {
  let optmemMax = DEFAULT_OPTMEM_MAX;
  try {
    optmemMax = Number(readFileSync('/proc/sys/net/core/optmem_max', 'utf8'));
  } catch {
    // not to be read here
  }
  return Math.min(MAX_INSTRUCTIONS, Math.floor(optmemMax / OCTETS_EACH));
}
