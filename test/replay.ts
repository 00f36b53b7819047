/**
 * A replay within the process, as `-r` does it: for tests that make thousands of them.
 */
import { Writable } from 'node:stream';
import { Incidents } from '../src/correlate/incidents.ts';
import { EventPipeline, type PipelineCounts, type PipelineOptions } from '../src/event-pipeline.ts';
import { SavefileReader } from '../src/savefile/reader.ts';
import { incidentTable } from '../src/sink/incident-table.ts';
import { jsonLine, recordJson } from '../src/sink/json-lines.ts';
import { Output } from '../src/sink/output.ts';
import { PcapFile, PcapngFile } from '../src/sink/saved-packets.ts';
import type { Sink } from '../src/sink/sink.ts';
import { textSink, type TextOptions } from '../src/sink/text.ts';
import { NOTHING_SELECTED } from './packets.ts';

export const JSON_SINK: Sink = { printsCount: true, describe: () => '', format: jsonLine, record: recordJson };

export interface ReplayOptions extends Partial<Pick<PipelineOptions, 'allIcmp' | 'selection' | 'usesComments'>> {
  /** Text, if absent, as without options. */
  print?: 'json' | Partial<TextOptions>;
  save?: 'pcap' | 'pcapng';
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
  counts: PipelineCounts;
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

export function replay(capture: Uint8Array, options: ReplayOptions = {}): Replayed {
  const { print = {}, save, ...others } = options;
  const [out, file] = [new Sheet(), new Sheet()];
  const notBelieved: string[] = [];
  const incidents = new Incidents({ maxFlows: 4096, onlyKnownSockets: false });
  const writer = new { pcap: PcapFile, pcapng: PcapngFile }[save ?? 'pcapng'](file.output, () => {});
  const pipeline = new EventPipeline({
    output: out.output,
    sink: print === 'json' ? JSON_SINK : textSink({ layout: 'two-line', timeStamp: 0, verbose: false, ...print }),
    attribution: null,
    whyUnknown: 'a replay has no socket table',
    host: null,
    isLive: false,
    usesComments: true,
    onNotBelieved: (why) => notBelieved.push(why),
    onUnsupported: () => {},
    incidents,
    writer: save === undefined ? null : writer,
    selection: NOTHING_SELECTED,
    allIcmp: false,
    once: false,
    lineBuffered: false,
    maxEvents: Infinity,
    onMaxEvents: () => {},
    ...others,
  });
  const reader = new SavefileReader({
    wants: pipeline.wants,
    packet: (cursor) => pipeline.packet(cursor),
    journalEntry: (entry) => pipeline.journalEntry(entry),
  });
  reader.push(capture);
  reader.end();
  if (reader.damage !== null) throw new Error(reader.damage.message);
  pipeline.end();
  if (save !== undefined) writer.begin();
  return {
    stdout: out.octets.toString('utf8'),
    saved: file.octets,
    losses: writer.losses(),
    incidents: Buffer.from(incidentTable(incidents, null).join('\n'), 'latin1').toString('utf8'),
    notBelieved,
    counts: pipeline.counts,
  };
}
