/**
 * Which error this is on its flow. Bounded: flows that had no error while as many others had one are
 * forgotten, and counted as forgotten.
 */
import type { Flow } from '../event.ts';

/** Flows in one generation; at the most twice as many are remembered. */
const GENERATION = 65_536;

export class FlowCounts {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  /** Flows whose count starts again at 1 should they come back. */
  forgotten = 0;

  /** Counts one more error on `flow`, and gives the number so far. */
  next(flow: Flow): number {
    const key = `${flow.src} ${flow.sport ?? ''} ${flow.dst} ${flow.dport ?? ''} ${flow.protocol}`;
    let count = this.#young.get(key);
    if (count === undefined) {
      count = this.#old.get(key) ?? 0;
      if (count !== 0) this.#old.delete(key);
      if (this.#young.size >= GENERATION) {
        this.forgotten += this.#old.size;
        this.#old = this.#young;
        this.#young = new Map();
      }
    }
    this.#young.set(key, count + 1);
    return count + 1;
  }
}
