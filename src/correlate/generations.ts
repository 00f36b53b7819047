/**
 * A map of bounded size: what was not asked for while as many others were is forgotten, a generation at a time.
 */
export class Generations<V> {
  readonly #size: number;
  readonly #onForget: (value: V) => void;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  /** @param size entries of one generation; at the most twice as many are kept. */
  constructor(size: number, onForget: (value: V) => void = () => {}) {
    this.#size = size;
    this.#onForget = onForget;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const value = this.#old.get(key);
    if (value !== undefined) {
      this.#old.delete(key);
      this.set(key, value);
    }
    return value;
  }

  set(key: string, value: V): void {
    if (this.#young.size >= this.#size && !this.#young.has(key)) {
      for (const forgotten of this.#old.values()) this.#onForget(forgotten);
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  delete(key: string): void {
    if (!this.#young.delete(key)) this.#old.delete(key);
  }

  *values(): Generator<V> {
    yield* this.#old.values();
    yield* this.#young.values();
  }
}
