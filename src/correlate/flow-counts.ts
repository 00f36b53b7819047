/**
 * Which error this is on its flow. Bounded: flows that had no error while as many others had one are
 * forgotten, and counted as forgotten.
 */
import type { Flow } from '../event.ts';
import { Generations } from './generations.ts';

/** Flows in one generation; at the most twice as many are remembered. */
const GENERATION = 65_536;

export class FlowCounts {
  readonly #counts = new Generations<number>(GENERATION, () => this.forgotten++);
  /** Flows whose count starts again at 1 should they come back. */
  forgotten = 0;

  /** Counts one more error on `flow`, and gives the number so far. */
  next(flow: Flow): number {
    const key = `${flow.src} ${flow.sport ?? ''} ${flow.dst} ${flow.dport ?? ''} ${flow.protocol}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    return count;
  }
}
