/**
 * The main job: ICMP errors, from a live capture or from a file, to text or JSON on standard output.
 */
import { hostname } from 'node:os';
import type { HostAttribution } from '../correlate/attribute.ts';
import { linkTypeName } from '../decode/link.ts';
import { EventPipeline, type PipelineOptions } from '../event-pipeline.ts';
import type { Selection } from '../selection.ts';
import { jsonLine } from '../sink/json-lines.ts';
import { Output } from '../sink/output.ts';
import type { Sink } from '../sink/sink.ts';
import { textSink, type TextLayout } from '../sink/text.ts';
import type { TimeStampStyle } from '../sink/time-stamp.ts';
import { ANY_DEVICE } from '../source/capture-protocol.ts';
import { counted, Failure, grouped, say } from './messages.ts';

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
  /** Look sockets up on this host; or in the snapshot of this file. */
  sockets: boolean | string;
  /** Which network namespaces are searched. */
  netns: 'all' | 'self';
  lineBuffered: boolean;
  maxEvents: number;
  summary: boolean;
}

/** A source on its way through the pipeline. */
export interface Run {
  /** Returns the exit status when the source has ended or `stop` was called. */
  run(): Promise<number>;
  stop(): void;
  /** Whether there was anything to watch; if not, there are no closing statistics. */
  readonly hasStarted: boolean;
  /** Lines of the closing statistics, beside those on the events. */
  summary(): string[];
}

/** Watches until the source ends, a signal comes, or enough events were shown. Returns the exit status. */
export async function watch(options: WatchOptions): Promise<number> {
  const stopped = new AbortController();
  const output = new Output(process.stdout, (error) => {
    if (error.code !== 'EPIPE') say(`standard output: ${error.message}`);
    run.stop();
  });
  const { attribution, whyUnknown, host } = await attributionFor(options);
  const pipeline = new EventPipeline({
    output,
    attribution,
    whyUnknown,
    sink: sinkFor(options, host),
    selection: options.selection,
    allIcmp: options.allIcmp,
    // As tcpdump does, these show every packet.
    once: options.read === undefined && options.device === ANY_DEVICE && options.format !== 'plain' && !options.allIcmp,
    lineBuffered: options.lineBuffered,
    maxEvents: options.maxEvents,
    onMaxEvents: () => run.stop(),
  });
  const run = await runFor(options, pipeline, output, attribution, stopped);
  const summary = (): void => [...eventSummary(pipeline), ...run.summary()].forEach(say);

  const onSignal = (): void => {
    if (stopped.signal.aborted) process.exit(0); // asked twice: at once
    run.stop();
    output.hurry();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  process.on('SIGUSR1', summary);

  const status = await run.run();
  pipeline.end();
  const outputFailed = output.error !== null && output.error.code !== 'EPIPE';
  if (options.summary && run.hasStarted && !outputFailed) summary();
  await output.finish();
  return outputFailed ? 1 : status;
}

/** What only one of live and replay needs is loaded for it alone: a replay starts 20 ms sooner. */
async function runFor(
  options: WatchOptions,
  pipeline: EventPipeline,
  output: Output,
  attribution: HostAttribution | null,
  stopped: AbortController,
): Promise<Run> {
  if (options.read === undefined) {
    const { Live } = await import('./live.ts');
    return new Live(options, pipeline, output, attribution, stopped);
  }
  const { Replay } = await import('./replay.ts');
  return new Replay(options.read, pipeline, output, stopped);
}

/** What events are attributed by, and the name of the host that they are about; null where that is not known. */
async function attributionFor({
  read,
  sockets,
  netns,
}: WatchOptions): Promise<Pick<PipelineOptions, 'attribution' | 'whyUnknown'> & { host: string | null }> {
  const host = read === undefined ? hostname() : null;
  if (sockets === false) return { attribution: null, whyUnknown: 'sockets are not looked up (--no-sockets)', host };
  if (typeof sockets === 'string') {
    const { SavedHost, SnapshotError } = await import('../host/saved-host.ts');
    const saved = await SavedHost.open(sockets).catch((error: Error) => {
      throw error instanceof SnapshotError ? new Failure(error.message) : error;
    });
    const { HostAttribution } = await import('../correlate/attribute.ts');
    say(`attributed by the sockets that ${saved.name} had at ${saved.time}`);
    return { attribution: new HostAttribution(saved), whyUnknown: '', host: saved.name };
  }
  if (read !== undefined) return { attribution: null, whyUnknown: 'a replay has no socket table', host };
  const { HostAttribution } = await import('../correlate/attribute.ts');
  const { LiveHost } = await import('../host/live-host.ts');
  const live = new LiveHost({ allNamespaces: netns === 'all' });
  return { attribution: new HostAttribution(live), whyUnknown: '', host };
}

function sinkFor({ format, timeStamp, verbose }: WatchOptions, host: string | null): Sink {
  if (format !== 'json') return textSink({ layout: format, timeStamp, verbose });
  return { printsCount: true, describe: () => '', format: (event) => jsonLine(event, host) };
}

/** The part of the summary that replay and live share. */
function eventSummary(pipeline: EventPipeline): string[] {
  const { shown, attributed, malformed, unsupported, notLookedUp } = pipeline.counts;
  const lines = [`${counted(shown, 'event')} shown, ${grouped(attributed)} attributed to a socket`];
  if (notLookedUp > 0) lines.push(`${counted(notLookedUp, 'event')} not looked up: too many at once`);
  const { forgotten } = pipeline.flowCounts;
  if (forgotten > 0) lines.push(`${counted(forgotten, 'time')} a flow was forgotten: its count starts again at 1`);
  if (malformed > 0) lines.push(`${counted(malformed, 'ICMP packet')} too short or contradictory to be decoded`);
  for (const [linkType, packets] of unsupported) {
    lines.push(`${counted(packets, 'packet')} not read: ${linkTypeName(linkType)} is not a link type that is decoded`);
  }
  return lines;
}
