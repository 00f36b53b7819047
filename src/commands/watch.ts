/**
 * The main job: ICMP errors, from a live capture or from a file, to text or JSON on standard output.
 */
import { hostname } from 'node:os';
import { HostAttribution } from '../correlate/attribute.ts';
import { linkTypeName } from '../decode/link.ts';
import { EventPipeline } from '../event-pipeline.ts';
import { SavefileReader } from '../savefile/reader.ts';
import type { Selection } from '../selection.ts';
import { jsonLine } from '../sink/json-lines.ts';
import { Output } from '../sink/output.ts';
import type { Sink } from '../sink/sink.ts';
import { textSink, type TextLayout } from '../sink/text.ts';
import type { TimeStampStyle } from '../sink/time-stamp.ts';
import { captureFilter } from '../source/capture-filter.ts';
import { ANY_DEVICE } from '../source/capture-protocol.ts';
import { readCapture, SourceError } from '../source/file.ts';
import { CaptureError, LiveCapture, type CaptureNotice } from '../source/live.ts';
import { counted, grouped, say } from './messages.ts';
import { Yardstick } from './yardstick.ts';

export interface WatchOptions {
  /** Replay this file (`-`: standard input) instead of capturing. */
  read: string | undefined;
  device: string;
  /** The user's pcap-filter expression, or empty. */
  expression: string;
  bufferKib: number;
  format: TextLayout | 'json';
  timeStamp: TimeStampStyle;
  verbose: boolean;
  allIcmp: boolean;
  selection: Selection;
  /** Look sockets up on this host. */
  sockets: boolean;
  lineBuffered: boolean;
  maxEvents: number;
  summary: boolean;
}

/** How long the reader of standard output may take for what is still to be written at the end. */
const LAST_WRITES_MS = 300;

/** Watches until the source ends, a signal comes, or enough events were shown. Returns the exit status. */
export async function watch(options: WatchOptions): Promise<number> {
  const stop = new AbortController();
  const output = new Output(process.stdout, (error) => {
    if (error.code !== 'EPIPE') say(`standard output: ${error.message}`);
    stop.abort();
  });
  const isLive = options.read === undefined;
  const attribution = isLive && options.sockets ? new HostAttribution() : null;
  const pipeline = new EventPipeline({
    sink: sinkFor(options, isLive),
    output,
    attribution,
    whyUnknown: isLive ? 'sockets are not looked up (--no-sockets)' : 'a replay has no socket table',
    selection: options.selection,
    allIcmp: options.allIcmp,
    lineBuffered: options.lineBuffered,
    maxEvents: options.maxEvents,
    onMaxEvents: () => run.stop(),
  });
  const run =
    options.read === undefined
      ? new LiveRun(options, pipeline, output, attribution, stop)
      : new Replay(options.read, pipeline, output, stop);

  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(0); // asked twice: at once
    run.stop();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  process.on('SIGUSR1', () => run.summary().forEach(say));

  const status = await run.run();
  pipeline.end();
  attribution?.close();
  if (options.summary) run.summary().forEach(say);
  await output.finish(LAST_WRITES_MS);
  return output.error === null || output.error.code === 'EPIPE' ? status : 1;
}

function sinkFor(options: WatchOptions, isLive: boolean): Sink {
  const { format, timeStamp, verbose } = options;
  if (format !== 'json') return textSink({ layout: format, timeStamp, verbose });
  // Whose events a replayed capture holds is not known.
  const host = isLive ? hostname() : null;
  return { printsCount: true, describe: () => '', format: (event) => jsonLine(event, host) };
}

/** The part of the summary that replay and live share. */
function eventSummary(pipeline: EventPipeline): string[] {
  const { shown, attributed, malformed, unsupported, notLookedUp } = pipeline.counts;
  const lines = [`${counted(shown, 'event')} shown, ${grouped(attributed)} attributed to a socket`];
  if (notLookedUp > 0) lines.push(`${counted(notLookedUp, 'event')} not looked up: too many at once`);
  const { forgotten } = pipeline.flowCounts;
  if (forgotten > 0) lines.push(`${counted(forgotten, 'flow')} forgotten: their count starts again at 1`);
  if (malformed > 0) lines.push(`${counted(malformed, 'ICMP packet')} too short or contradictory to be decoded`);
  for (const [linkType, packets] of unsupported) {
    lines.push(`${counted(packets, 'packet')} not read: ${linkTypeName(linkType)} is not a link type that is decoded`);
  }
  return lines;
}

class Replay {
  readonly #path: string;
  readonly #pipeline: EventPipeline;
  readonly #output: Output;
  readonly #stop: AbortController;

  constructor(path: string, pipeline: EventPipeline, output: Output, stop: AbortController) {
    this.#path = path;
    this.#pipeline = pipeline;
    this.#output = output;
    this.#stop = stop;
  }

  stop(): void {
    this.#stop.abort();
    this.#output.release();
  }

  async run(): Promise<number> {
    const { signal } = this.#stop;
    const reader = new SavefileReader({ packet: (cursor) => this.#pipeline.packet(cursor) });
    signal.addEventListener('abort', () => reader.stop());
    const name = this.#path === '-' ? 'standard input' : this.#path;
    try {
      for await (const chunk of readCapture(this.#path, signal)) {
        reader.push(chunk);
        this.#output.flush();
        await this.#output.drained();
        if (signal.aborted || reader.damage !== null) break;
      }
      if (!signal.aborted) reader.end();
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      say(error.message);
      return 1;
    }
    if (signal.aborted || reader.damage === null) return 0;
    say(`${name}: ${reader.damage.message}`);
    return 1;
  }

  summary(): string[] {
    return eventSummary(this.#pipeline);
  }
}

class LiveRun {
  readonly #options: WatchOptions;
  readonly #pipeline: EventPipeline;
  readonly #output: Output;
  readonly #attribution: HostAttribution | null;
  readonly #stop: AbortController;
  readonly #capture: LiveCapture;
  readonly #yardstick: Yardstick;

  constructor(
    options: WatchOptions,
    pipeline: EventPipeline,
    output: Output,
    attribution: HostAttribution | null,
    stop: AbortController,
  ) {
    const { device, expression, allIcmp, bufferKib } = options;
    this.#options = options;
    this.#pipeline = pipeline;
    this.#output = output;
    this.#attribution = attribution;
    this.#stop = stop;
    this.#yardstick = new Yardstick(pipeline.counts, whyNoYardstick(options));
    this.#capture = new LiveCapture(
      { device, bufferKib, filter: captureFilter(allIcmp, expression), signal: stop.signal },
      {
        packet: (cursor) => pipeline.packet(cursor),
        afterChunk: async () => {
          output.flush();
          await output.drained();
        },
        notice: (notice) => void this.#notice(notice),
      },
    );
  }

  /** The yardstick is read before the capture ends, so that nothing comes between. */
  stop(): void {
    void this.#yardstick.end().finally(() => {
      this.#stop.abort();
      this.#output.release();
    });
  }

  async run(): Promise<number> {
    await this.#attribution?.start();
    try {
      await this.#capture.run();
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      say(explain(error, this.#options));
      return 1;
    }
    // Events that came before Ctrl-C still wait for their look-up.
    await Promise.race([this.#pipeline.settled(), timeout(LAST_LOOKUPS_MS)]);
    return 0;
  }

  summary(): string[] {
    const { received, dropped, incomplete } = this.#capture.counts;
    const atLeast = incomplete ? 'at least ' : '';
    const capture =
      received === null || dropped === null
        ? 'capture: received and dropped packets unknown (cap is not patched)'
        : `capture: ${atLeast}${counted(received, 'packet')} received, ${atLeast}${counted(dropped, 'packet')} dropped`;
    return [...eventSummary(this.#pipeline), capture, this.#yardstick.summary()];
  }

  async #notice(notice: CaptureNotice): Promise<void> {
    const { device } = this.#options;
    switch (notice.kind) {
      case 'opened':
        say(
          `listening on ${device}, link-type ${notice.linkType.replace(/^LINKTYPE_/, '')}, snapshot length ${notice.snaplen} bytes`,
        );
        if (notice.stock) {
          say('cap is not patched: time stamps are when a packet is read, and dropped packets are not counted');
        }
        await this.#yardstick.begin();
        break;
      case 'down':
        say(`${device}: ${notice.message}; waiting for it to come back`);
        break;
      case 'up':
        say(`${device}: back after ${seconds(notice.downMs)}; what came in between was not seen`);
        break;
      case 'restarted': {
        const missed = await this.#yardstick.missedSoFar();
        const count =
          missed === null
            ? 'how many ICMP errors came meanwhile is unknown'
            : `${counted(missed, 'ICMP error')} missed so far, by the kernel's count`;
        say(`the capture process ended (${notice.why}); capturing again after ${seconds(notice.gapMs)}; ${count}`);
        break;
      }
      case 'stderr':
        say(`capture process: ${notice.text}`);
        break;
    }
  }
}

/** What look-ups that are under way may take at the end. */
const LAST_LOOKUPS_MS = 300;

function timeout(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Why the kernel's counters cannot be held against this capture, or null. */
function whyNoYardstick({ device, expression, sockets, maxEvents }: WatchOptions): string | null {
  if (device !== ANY_DEVICE) return `only a capture on ${ANY_DEVICE} sees all that the kernel counts`;
  if (expression !== '') return 'a filter expression hides some of what the kernel counts';
  if (Number.isFinite(maxEvents)) return 'the capture ends before they are read (-c)';
  if (!sockets) return 'addresses of this host are not looked up (--no-sockets)';
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
    const port = /\bport\s+(\S+)/.exec(expression)?.[1];
    const hint =
      port === undefined ? '' : `; an ICMP error has no port of its own: for the quoted one, use --port ${port}`;
    return `the filter "${expression}" and ICMP exclude each other${hint}`;
  }
  return `${device}: ${message}`;
}
