/**
 * The main job: ICMP errors, from a live capture or from a file, to text or JSON on standard output.
 */
import { hostname } from 'node:os';
import type { HostAttribution } from '../correlate/attribute.ts';
import { Incidents } from '../correlate/incidents.ts';
import { linkTypeName } from '../decode/link-type-names.ts';
import { EventPipeline, type PipelineOptions } from '../event-pipeline.ts';
import type { Selection } from '../selection.ts';
import { incidentTable } from '../sink/incident-table.ts';
import type { LossRecord } from '../event.ts';
import { jsonLine, lossJson, recordJson, summaryJson } from '../sink/json-lines.ts';
import { lossText } from '../sink/loss-text.ts';
import { Output } from '../sink/output.ts';
import type { Sink } from '../sink/sink.ts';
import { standardOutput } from '../sink/standard-streams.ts';
import { textSink, type TextLayout } from '../sink/text.ts';
import { timeNow, type TimeStampStyle } from '../sink/time-stamp.ts';
import { ANY_DEVICE } from '../source/capture-protocol.ts';
import { counted, grouped } from '../sink/numbers.ts';
import { Failure, say, sayTable } from './messages.ts';
import { openSaveFile } from './save-file.ts';
import type { Top } from './top.ts';
import { caughtUp } from './unread.ts';

export interface WatchOptions {
  /** Replay this file (`-`: standard input) instead of capturing. */
  read: string | undefined;
  device: string;
  /** The user's pcap-filter expression, or empty. */
  expression: string;
  bufferKib: number;
  /** `none`: nothing is printed of single events. */
  format: TextLayout | 'json' | 'none';
  /** Save what is shown in this file (`-`: standard output). */
  write: string | undefined;
  /** Print the table of incidents at the end. */
  incidents: boolean;
  /** Draw it in the terminal as it is now. */
  top: boolean;
  timeStamp: TimeStampStyle;
  verbose: boolean;
  allIcmp: boolean;
  selection: Selection;
  /** Look sockets up on this host; or in the snapshot of this file. */
  sockets: boolean | string;
  /** Which network namespaces are searched. */
  netns: 'all' | 'self';
  lineBuffered: boolean;
  /** Records of what was lost are JSON lines on standard output too. */
  jsonStatus: boolean;
  maxEvents: number;
  summary: boolean;
}

/** What live and replay need alike. */
export interface WatchJob {
  pipeline: EventPipeline;
  incidents: Incidents | null;
  /** Resolves when what reads the output, and the file of `-w`, have caught up. */
  drained: () => Promise<void>;
  attribution: HostAttribution | null;
  stopped: AbortController;
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
  /** The same for a script, by `event.schema.json`. */
  totals(): object;
}

/** Flows that are followed for the peer's answer. */
const FOLLOWED_LIVE = 256;
const FOLLOWED_IN_REPLAY = 4096;

/** Watches until the source ends, a signal comes, or enough events were shown. Returns the exit status. */
export async function watch(options: WatchOptions): Promise<number> {
  const isLive = options.read === undefined;
  const stopped = new AbortController();
  const output = new Output(standardOutput(), (error) => {
    if (error.code !== 'EPIPE') say(`standard output: ${error.message}`);
    run.stop();
  });
  const writer = options.write === undefined ? null : openSaveFile(options.write, options.read, output);
  const saved = writer?.output ?? output;
  const { attribution, whyUnknown, host } = await attributionFor(options);
  const incidents = incidentsFor(options, attribution);
  const onLoss = (loss: LossRecord): void => {
    // What is left over at the end is in the closing statistics.
    if (loss.cause !== 'ended' || !isLive) say(lossText(loss));
    if (options.format !== 'json') return;
    if (options.jsonStatus) output.write(lossJson(loss));
    else sayTable([lossJson(loss).trimEnd()]);
  };
  const pipeline = new EventPipeline({
    output,
    attribution,
    whyUnknown,
    host,
    isLive,
    // --sockets says otherwise, and --no-sockets that nothing is to be said.
    usesComments: !isLive && options.sockets === true,
    onNotBelieved: (why) => say(`a comment in ${options.read} is not believed: ${why}`),
    onUnsupported: (linkType) => say(`link type ${linkTypeName(linkType)} is not decoded: its packets are not read`),
    incidents,
    writer,
    sink: sinkFor(options),
    selection: options.selection,
    allIcmp: options.allIcmp,
    // As tcpdump does, these show every packet.
    once: isLive && options.device === ANY_DEVICE && options.format !== 'plain' && !options.allIcmp,
    lineBuffered: options.lineBuffered,
    onLoss,
    maxEvents: options.maxEvents,
    onMaxEvents: () => run.stop(),
  });
  const drained = async (): Promise<void> => {
    saved.flush();
    if (!isLive) await Promise.all([output.drained(), saved.drained()]);
    else {
      await caughtUp('standard output', 'read', output);
      if (saved !== output) await caughtUp(options.write!, 'written', saved);
    }
  };
  const run = await runFor(options, { pipeline, incidents, drained, attribution, stopped });
  const table = (): void => {
    if (options.incidents && incidents !== null) sayTable(incidentTable(incidents, isLive ? performance.now() : null));
  };
  const summary = (): void => {
    [...eventSummary(pipeline), ...(writer?.losses() ?? []), ...run.summary()].forEach(say);
  };

  const summaryRecord = (): void => {
    // With -w - it would come behind the packets.
    if (!options.jsonStatus || options.format !== 'json') return;
    const { shown, attributed } = pipeline.counts;
    output.write(summaryJson(host, timeNow(), { shown, attributed, ...run.totals() }));
  };

  const onSignal = (): void => {
    if (stopped.signal.aborted) process.exit(hasFailed(output) || hasFailed(saved) ? 1 : 0); // asked twice: at once
    run.stop();
    output.hurry();
    saved.hurry();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  let top: Top | null = null;
  process.on('SIGUSR1', () => {
    if (top !== null) return;
    table();
    summary();
  });
  if (options.top && incidents !== null) {
    const { Top } = await import('./top.ts');
    top = new Top(incidents, pipeline.counts, `-i ${options.device}`);
  }

  const status = await run.run();
  pipeline.end();
  if (run.hasStarted) writer?.begin();
  top?.close();
  if (run.hasStarted && !hasFailed(output)) {
    table();
    if (options.summary) summary();
    summaryRecord();
  }
  await Promise.all([output.finish(), saved.finish()]);
  if (output.unread > 0) {
    say(
      `standard output: up to ${counted(output.unread, 'octet')} at its end, of events that count as shown, were not read`,
    );
  }
  return hasFailed(output) || hasFailed(saved) ? 1 : status;
}

/** A reader that has gone is no failure. */
function hasFailed({ error }: Output): boolean {
  return error !== null && error.code !== 'EPIPE';
}

function incidentsFor(
  { read, format, incidents }: WatchOptions,
  attribution: HostAttribution | null,
): Incidents | null {
  if (format === 'plain' && !incidents) return null;
  return new Incidents({
    maxFlows: read === undefined ? FOLLOWED_LIVE : FOLLOWED_IN_REPLAY,
    onlyKnownSockets: read === undefined && attribution !== null,
  });
}

/** What only one of live and replay needs is loaded for it alone: a replay starts 20 ms sooner. */
async function runFor(options: WatchOptions, job: WatchJob): Promise<Run> {
  if (options.read === undefined) {
    const { Live } = await import('./live.ts');
    return new Live(options, job);
  }
  const { Replay } = await import('./replay.ts');
  return new Replay(options.read, job);
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

function sinkFor({ format, timeStamp, verbose }: WatchOptions): Sink {
  if (format === 'none') return { printsCount: false, describe: () => '', format: () => '', record: () => '' };
  if (format === 'json') return { printsCount: true, describe: () => '', format: jsonLine, record: recordJson };
  return textSink({ layout: format, timeStamp, verbose });
}

/** The part of the summary that replay and live share. */
function eventSummary(pipeline: EventPipeline): string[] {
  const { shown, attributed, malformed, unsupported, unsupportedOthers, notLookedUp, notBelieved } = pipeline.counts;
  const lines = [`${counted(shown, 'event')} shown, ${grouped(attributed)} attributed to a socket`];
  if (notLookedUp > 0) lines.push(`${counted(notLookedUp, 'event')} not looked up: too many at once`);
  if (notBelieved > 0) lines.push(`${counted(notBelieved, 'comment')} not believed`);
  const { forgotten } = pipeline.flowCounts;
  if (forgotten > 0) lines.push(`${counted(forgotten, 'time')} a flow was forgotten: its count starts again at 1`);
  if (malformed > 0) lines.push(`${counted(malformed, 'ICMP packet')} too short or contradictory to be decoded`);
  for (const [linkType, packets] of unsupported) {
    lines.push(`${counted(packets, 'packet')} not read: link type ${linkTypeName(linkType)} is not decoded`);
  }
  if (unsupportedOthers > 0) lines.push(`${counted(unsupportedOthers, 'packet')} not read, of still other link types`);
  return lines;
}
