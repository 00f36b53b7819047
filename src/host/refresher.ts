/** A costly read, made for many at once and never for more than about a tenth of the time. */

/** After a run that cost t ms the next starts no sooner than this many times t later. */
const REST = 9;

export interface Run<T> {
  value: T;
  /** Milliseconds of work. */
  cost: number;
}

export interface Latest<T> extends Run<T> {
  /** When the run began, by the clock given to the Refresher. */
  startedAt: number;
}

/**
 * Runs a job one at a time. Everyone who asks before a run starts shares it; the first who asks when
 * the job has rested enough starts it at once, without a timer.
 */
export class Refresher<T> {
  /** The last run that ended. */
  latest: Latest<T> | null = null;
  /** Milliseconds of work, all runs. */
  totalCost = 0;

  readonly #job: () => Promise<Run<T>>;
  readonly #quickJob: () => Run<T> | null;
  readonly #now: () => number;
  readonly #interval: number;
  #waiting: { promise: Promise<T | null>; resolve: (value: T | null) => void } | null = null;
  #running: Promise<T | null> | null = null;
  #notBefore = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * @param job must not reject.
   * @param now milliseconds, monotonic.
   * @param interval milliseconds between the starts of two runs, at least.
   * @param quickJob does the same at once, or gives null where that would take too long.
   */
  constructor(job: () => Promise<Run<T>>, now: () => number, interval = 0, quickJob: () => Run<T> | null = () => null) {
    this.#job = job;
    this.#quickJob = quickJob;
    this.#now = now;
    this.#interval = interval;
  }

  /** A run that started at `since` or later, if there is one or can be one at once; else null. */
  at(since: number): Latest<T> | null {
    if (this.latest !== null && this.latest.startedAt >= since) return this.latest;
    const startedAt = this.#now();
    if (this.#closed || this.#running !== null || startedAt < this.#notBefore) return null;
    const run = this.#quickJob();
    if (run === null) return null;
    const served = this.#waiting;
    this.#waiting = null;
    const latest = this.#finish(run, startedAt);
    served?.resolve(run.value);
    return latest;
  }

  /** The value of a run that starts after this call; null once closed. */
  fresh(): Promise<T | null> {
    if (this.#closed) return Promise.resolve(null);
    if (this.#waiting !== null) return this.#waiting.promise;
    const { promise, resolve } = deferred<T | null>();
    this.#waiting = { promise, resolve };
    this.#schedule();
    return promise;
  }

  /** The value of the run that is under way, or else of one that starts as soon as it may; null once closed. */
  join(): Promise<T | null> {
    return this.#running ?? this.fresh();
  }

  /** Everyone who waits gets null; a run under way ends unheard. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#waiting?.resolve(null);
    this.#waiting = null;
  }

  #schedule(): void {
    if (this.#running !== null || this.#timer !== undefined) return;
    const rest = this.#notBefore - this.#now();
    if (rest <= 0) {
      void this.#start();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#start();
    }, rest);
  }

  async #start(): Promise<void> {
    const served = this.#waiting;
    if (served === null) return;
    this.#waiting = null;
    this.#running = served.promise;
    const startedAt = this.#now();
    const run = this.#quickJob() ?? (await this.#job());
    this.#running = null;
    this.#finish(run, startedAt);
    served.resolve(this.#closed ? null : run.value);
    if (this.#waiting !== null) this.#schedule();
  }

  #finish(run: Run<T>, startedAt: number): Latest<T> {
    const latest = { ...run, startedAt };
    this.latest = latest;
    this.totalCost += run.cost;
    this.#notBefore = Math.max(this.#now() + REST * run.cost, startedAt + this.#interval);
    return latest;
  }
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
