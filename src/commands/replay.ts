/**
 * Replay: a capture file or standard input, through the pipeline.
 */
import { SavefileReader } from '../savefile/reader.ts';
import { readCapture, SourceError } from '../source/file.ts';
import { say } from './messages.ts';
import type { Run, WatchJob } from './watch.ts';

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
        reader.push(chunk);
        this.hasStarted = reader.format !== null;
        pipeline.endChunk();
        await drained();
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
}
