/**
 * A replay within the process, as `-r` does it: for tests that make thousands of them.
 */
import { Writable } from 'node:stream';
import { HostAttribution } from '../src/correlate/attribute.ts';
import { Incidents } from '../src/correlate/incidents.ts';
import type { LossRecord } from '../src/event.ts';
import { EventPipeline, type PipelineCounts, type PipelineOptions } from '../src/event-pipeline.ts';
import type { HostView } from '../src/host/host-view.ts';
import type { Damage } from '../src/savefile/packet.ts';
import { SavefileReader } from '../src/savefile/reader.ts';
import { incidentTable } from '../src/sink/incident-table.ts';
import { jsonLine, recordJson } from '../src/sink/json-lines.ts';
import { Output } from '../src/sink/output.ts';
import { PcapFile, PcapngFile } from '../src/sink/saved-packets.ts';
import type { Sink } from '../src/sink/sink.ts';
import { textSink, type TextOptions } from '../src/sink/text.ts';
import { NOTHING_SELECTED } from './packets.ts';

export const JSON_SINK: Sink = { printsCount: true, describe: () => '', format: jsonLine, record: recordJson };

export interface ReplayOptions extends Partial<
  Pick<PipelineOptions, 'allIcmp' | 'selection' | 'usesComments' | 'maxEvents'>
> {
  /** Text, if absent, as without options. */
  print?: 'json' | Partial<TextOptions>;
  save?: 'pcap' | 'pcapng';
  /** What `--sockets` reads. */
  sockets?: HostView & { name: string };
  /** Octets of the pieces that the capture comes in, over and over; all at once if absent. */
  pieces?: readonly number[];
}

export interface Replayed {
  stdout: string;
  /** The octets of `-w`. */
  saved: Buffer;
  losses: string[];
  /** What `--incidents` prints. */
  incidents: string;
  /** What was said of comments that are not believed. */
  notBelieved: string[];
  /** What it said of packets that were not seen. */
  unseen: LossRecord[];
  counts: PipelineCounts;
  damage: Damage | null;
}

/** What is written, and where to. */
class Sheet {
  readonly #pieces: Buffer[] = [];
  readonly output: Output;

  constructor() {
    const write: Writable['_write'] = (octets: Buffer, _encoding, callback) => {
      this.#pieces.push(octets);
      callback();
    };
    this.output = new Output(new Writable({ write }), (error) => {
      throw error;
    });
  }

  get octets(): Buffer {
    this.output.flush();
    return Buffer.concat(this.#pieces);
  }
}

/** Of a sound capture. */
export function replay(capture: Uint8Array, options: ReplayOptions = {}): Replayed {
  const replayed = replayAny(capture, options);
  if (replayed.damage !== null) throw new Error(replayed.damage.message);
  return replayed;
}

export function replayAny(capture: Uint8Array, options: ReplayOptions = {}): Replayed {
  const { print = {}, save, sockets, pieces = [capture.length || 1], ...others } = options;
  const [out, file] = [new Sheet(), new Sheet()];
  const notBelieved: string[] = [];
  const unseen: LossRecord[] = [];
  const incidents = new Incidents({ maxFlows: 4096, onlyKnownSockets: false });
  const writer = new { pcap: PcapFile, pcapng: PcapngFile }[save ?? 'pcapng'](file.output, () => {});
  const pipeline = new EventPipeline({
    output: out.output,
    sink: print === 'json' ? JSON_SINK : textSink({ layout: 'two-line', timeStamp: 0, verbose: false, ...print }),
    attribution: sockets === undefined ? null : new HostAttribution(sockets),
    whyUnknown: 'a replay has no socket table',
    host: sockets?.name ?? null,
    isLive: false,
    usesComments: sockets === undefined,
    onNotBelieved: (why) => notBelieved.push(why),
    onUnsupported: () => {},
    incidents,
    writer: save === undefined ? null : writer,
    selection: NOTHING_SELECTED,
    allIcmp: false,
    once: false,
    lineBuffered: false,
    maxEvents: Infinity,
    onLoss: (loss) => unseen.push(loss),
    onMaxEvents: () => {},
    ...others,
  });
  const reader = new SavefileReader({
    wants: pipeline.wants,
    packet: (cursor) => pipeline.packet(cursor),
    journalEntry: (entry) => pipeline.journalEntry(entry),
  });
  for (let at = 0, piece = 0; at < capture.length; piece++) {
    const chunk = capture.subarray(at, at + pieces[piece % pieces.length]!);
    reader.push(chunk);
    pipeline.endChunk();
    at += chunk.length;
  }
  reader.end();
  pipeline.finish();
  pipeline.end();
  if (save !== undefined) writer.begin();
  return {
    stdout: out.octets.toString('utf8'),
    saved: file.octets,
    losses: writer.losses(),
    incidents: Buffer.from(incidentTable(incidents, null).join('\n'), 'latin1').toString('utf8'),
    notBelieved,
    unseen,
    counts: pipeline.counts,
    damage: reader.damage,
  };
}
