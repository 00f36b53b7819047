/**
 * Which error this is on its flow. Bounded: flows that had no error while as many others had one are
 * forgotten, and counted as forgotten.
 */
import type { Flow } from '../event.ts';
import { Hash } from './hash.ts';

/** Flows in one generation; at the most twice as many are remembered. */
const GENERATION = 65_536;

/** A power of two; at least half of them stay empty. */
const SLOTS = 2 * GENERATION;

export class FlowCounts {
  #young = new CountTable();
  #old = new CountTable();
  /** Flows whose count starts again at 1 should they come back. */
  forgotten = 0;

  /** Counts one more error on `flow`, and gives the number so far. */
  next(flow: Flow): number {
    const key = keyOf(flow);
    const young = this.#young.slotOf(key);
    if (this.#young.keys[young] === key) return ++this.#young.counts[young]!;
    const count = this.#old.take(key) + 1;
    if (this.#young.size === GENERATION) {
      this.forgotten += this.#old.left;
      [this.#young, this.#old] = [new CountTable(), this.#young];
    }
    this.#young.add(key, count);
    return count;
  }
}

function keyOf({ protocol, src, sport, dst, dport }: Flow): number {
  const hash = new Hash();
  hash.addText(protocol);
  hash.addText(src);
  hash.add(sport ?? -1);
  hash.addText(dst);
  hash.add(dport ?? -1);
  return hash.value;
}

/** Open addressing. */
class CountTable {
  /** 0: empty. */
  readonly keys = new Float64Array(SLOTS);
  /** 0: taken. */
  readonly counts = new Uint32Array(SLOTS);
  size = 0;
  #taken = 0;

  /** Those that have not been taken. */
  get left(): number {
    return this.size - this.#taken;
  }

  /** Where the key is, or would be. */
  slotOf(key: number): number {
    let slot = (key / 2 ** 21) & (SLOTS - 1);
    while (this.keys[slot] !== 0 && this.keys[slot] !== key) slot = (slot + 1) & (SLOTS - 1);
    return slot;
  }

  add(key: number, count: number): void {
    const slot = this.slotOf(key);
    this.keys[slot] = key;
    this.counts[slot] = count;
    this.size++;
  }

  /** Its count, which it then has no more; 0: it had none. */
  take(key: number): number {
    const slot = this.slotOf(key);
    const count = this.counts[slot]!;
    if (count > 0) this.#taken++;
    this.counts[slot] = 0;
    return count;
  }
}
