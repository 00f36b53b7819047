/**
 * Replay: a capture file or standard input, through the pipeline.
 */
import type { EventPipeline } from '../event-pipeline.ts';
import { SavefileReader } from '../savefile/reader.ts';
import type { Output } from '../sink/output.ts';
import { readCapture, SourceError } from '../source/file.ts';
import { say } from './messages.ts';
import type { Run } from './watch.ts';

export class Replay implements Run {
  hasStarted = false;
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
  }

  async run(): Promise<number> {
    const { signal } = this.#stop;
    const pipeline = this.#pipeline;
    const reader = new SavefileReader({ wants: pipeline.wants, packet: (cursor) => pipeline.packet(cursor) });
    signal.addEventListener('abort', () => reader.stop());
    const name = this.#path === '-' ? 'standard input' : this.#path;
    try {
      for await (const chunk of readCapture(this.#path, signal)) {
        reader.push(chunk);
        this.hasStarted = reader.format !== null;
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
    return [];
  }
}
