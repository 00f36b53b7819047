/**
 * Replay: a capture file or standard input, through the pipeline.
 */
import { SavefileReader } from '../savefile/reader.ts';
import { readCapture, SourceError } from '../source/file.ts';
import { say } from './messages.ts';
import type { Run, WatchJob } from './watch.ts';

/** Octets that are looked at before whoever reads the output may catch up: crafted ones make 64 times as much of themselves. */
const PIECE = 256 * 1024;

export class Replay implements Run {
  hasStarted = false;
  readonly #path: string;
  readonly #job: WatchJob;

  constructor(path: string, job: WatchJob) {
    this.#path = path;
    this.#job = job;
  }

  stop(): void {
    this.#job.stopped.abort();
  }

  async run(): Promise<number> {
    const { pipeline, drained, stopped } = this.#job;
    const { signal } = stopped;
    const reader = new SavefileReader({
      wants: pipeline.wants,
      packet: (cursor) => pipeline.packet(cursor),
      journalEntry: (entry) => pipeline.journalEntry(entry),
    });
    signal.addEventListener('abort', () => reader.stop());
    const name = this.#path === '-' ? 'standard input' : this.#path;
    try {
      for await (const chunk of readCapture(this.#path, signal)) {
        for (let at = 0; at < chunk.length && !signal.aborted && reader.damage === null; at += PIECE) {
          reader.push(chunk.subarray(at, at + PIECE));
          this.hasStarted = reader.format !== null;
          pipeline.endChunk();
          await drained();
        }
        if (signal.aborted || reader.damage !== null) break;
      }
      if (!signal.aborted) reader.end();
      pipeline.finish();
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
    return [];
  }

  totals(): object {
    return {};
  }
}
