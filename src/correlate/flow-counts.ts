/**
 * Which error this is on its flow. Bounded: flows that had no error while as many others had one are
 * forgotten, and counted as forgotten.
 */
import type { Flow } from '../event.ts';
import { Hash } from './hash.ts';

/** Flows in one generation; at the most twice as many are remembered. */
const GENERATION = 65_536;

/** Slots of a table that has nothing in it: a power of two, as all its sizes. */
const FEWEST_SLOTS = 1024;

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

/** Open addressing, with at least half of the slots empty. */
class CountTable {
  /** 0: empty. */
  keys = new Float64Array(FEWEST_SLOTS);
  /** 0: taken. */
  counts = new Uint32Array(FEWEST_SLOTS);
  size = 0;
  #taken = 0;

  /** Those that have not been taken. */
  get left(): number {
    return this.size - this.#taken;
  }

  /** Where the key is, or would be. */
  slotOf(key: number): number {
    const last = this.keys.length - 1;
    let slot = (key / 2 ** 21) & last;
    while (this.keys[slot] !== 0 && this.keys[slot] !== key) slot = (slot + 1) & last;
    return slot;
  }

  add(key: number, count: number): void {
    if (2 * this.size >= this.keys.length) this.#grow();
    this.#put(key, count);
    this.size++;
  }

  #put(key: number, count: number): void {
    const slot = this.slotOf(key);
    this.keys[slot] = key;
    this.counts[slot] = count;
  }

  #grow(): void {
    const { keys, counts } = this;
    this.keys = new Float64Array(2 * keys.length);
    this.counts = new Uint32Array(2 * keys.length);
    for (const [slot, key] of keys.entries()) if (key !== 0) this.#put(key, counts[slot]!);
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
