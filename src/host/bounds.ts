/** Work within bounds of the event loop's time and of memory. */

/** Keeps work that thousands wait for at the same moment from blocking the event loop. */
export class Turns {
  readonly #jobsPerTurn: number;
  #left: number;
  #queue: (() => void)[] = [];

  /** @param jobsPerTurn how many jobs fit into a few milliseconds. */
  constructor(jobsPerTurn: number) {
    this.#jobsPerTurn = jobsPerTurn;
    this.#left = jobsPerTurn;
  }

  /** Resolves, in the order of the calls, when one more job may be done; it is then to be done without awaiting first. */
  async take(): Promise<void> {
    if (this.#left === this.#jobsPerTurn) setImmediate(() => this.#nextTurn());
    if (this.#left > 0) this.#left--;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
  }

  #nextTurn(): void {
    const next = this.#queue.splice(0, this.#jobsPerTurn);
    this.#left = this.#jobsPerTurn - next.length;
    if (next.length > 0) setImmediate(() => this.#nextTurn());
    for (const resolve of next) resolve();
  }
}

/** Milliseconds of work before the event loop has a turn. */
const SLICE = 4;

/** Cuts a long job into slices that are short enough for the event loop, and adds up what they took. */
export class Slices {
  #worked = 0;
  #start = performance.now();

  /** Whether it is time to rest. */
  get isOver(): boolean {
    return performance.now() - this.#start > SLICE;
  }

  /** Resolves when the event loop has had its turn. */
  async rest(): Promise<void> {
    await this.during(() => new Promise((resolve) => setImmediate(resolve)));
  }

  /** Waits for something that takes its time elsewhere. */
  async during<T>(wait: () => Promise<T>): Promise<T> {
    this.#worked += performance.now() - this.#start;
    const value = await wait();
    this.#start = performance.now();
    return value;
  }

  /** Milliseconds of work so far. */
  get worked(): number {
    return this.#worked + performance.now() - this.#start;
  }
}

/** Makes room in a map that is used as a memory: the entry that was set first goes. */
export function dropOldest<K>(map: Map<K, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}

/** Adds to the list under a key. */
export function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

/** Jobs that may wait for their turn. */
const MAX_WAITING = 1_000;

/** Runs at most so many jobs at once; the others wait their turn, or are refused where too many do. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else if (this.#waiting.length >= MAX_WAITING) throw new Error('too many jobs wait');
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await job();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
