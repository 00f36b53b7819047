/** A costly read, made for many at once and never for more than about a tenth of the time. */

/** After work of t ms there is a rest of this many times t. */
const REST = 9;

/** Milliseconds of work at once, before the event loop has a turn. */
const TURN = 8;

/** Keeps what is read of one kind, perhaps by many, to a tenth of the time, and to one job at a time. */
export class Pace {
  readonly #now: () => number;
  readonly #burst: number;
  #spentInTurn = 0;
  #isBusy = false;
  readonly #queue: (() => void)[] = [];
  /** Milliseconds of work that have not been rested for, when it was last reckoned. */
  #debt = 0;
  #reckonedAt: number;

  /** @param burst milliseconds of work that may be done before the first rest. */
  constructor(now: () => number, burst = 0) {
    this.#now = now;
    this.#burst = burst;
    this.#reckonedAt = now();
  }

  /** Milliseconds until work may be done. */
  get rest(): number {
    this.#reckon();
    return Math.max(0, (this.#debt - this.#burst) * REST);
  }

  /** Whether so much was done since the event loop had a turn that it should have one first. */
  get isTired(): boolean {
    return this.#spentInTurn > TURN;
  }

  spent(milliseconds: number): void {
    this.#reckon();
    this.#debt += milliseconds;
    if (this.#spentInTurn === 0) setImmediate(() => (this.#spentInTurn = 0));
    this.#spentInTurn += milliseconds;
  }

  /** False where a job of another is under way: `tryAgain` is called when it has ended. */
  begin(tryAgain: () => void): boolean {
    if (this.#isBusy) {
      this.#queue.push(tryAgain);
      return false;
    }
    this.#isBusy = true;
    return true;
  }

  end(): void {
    this.#isBusy = false;
    // Whoever is called may want nothing any more, or have to rest.
    while (!this.#isBusy && this.#queue.length > 0) this.#queue.shift()!();
  }

  #reckon(): void {
    const now = this.#now();
    this.#debt = Math.max(0, this.#debt - (now - this.#reckonedAt) / REST);
    this.#reckonedAt = now;
  }
}

export interface Run<T> {
  value: T;
  /** Milliseconds of work. */
  cost: number;
}

export interface Latest<T> extends Run<T> {
  /** When the run began, by the clock given to the Refresher. */
  startedAt: number;
}

/** Those who wait for a run that has yet to start. */
interface Waiting<T> {
  promise: Promise<T | null>;
  resolve: (value: T | null) => void;
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
  #waiting: Waiting<T> | null = null;
  #running: Promise<T | null> | null = null;
  readonly #pace: Pace;
  #timer: NodeJS.Timeout | undefined;
  /** It rests, or waits for others. */
  #isPutOff = false;
  #closed = false;

  /**
   * @param job must not reject.
   * @param now milliseconds, monotonic.
   * @param pace of all that share it.
   * @param quickJob does the same at once, or gives null where that would take too long.
   */
  constructor(
    job: () => Promise<Run<T>>,
    now: () => number,
    pace = new Pace(now),
    quickJob: () => Run<T> | null = () => null,
  ) {
    this.#pace = pace;
    this.#job = job;
    this.#quickJob = quickJob;
    this.#now = now;
  }

  /** A run that started at `since` or later, if there is one or can be one at once; else null. */
  at(since: number): Latest<T> | null {
    if (this.latest !== null && this.latest.startedAt >= since) return this.latest;
    if (this.#closed || this.#running !== null || this.#pace.rest > 0 || this.#pace.isTired) return null;
    const startedAt = this.#now();
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
    if (this.#waiting === null || this.#running !== null || this.#isPutOff) return;
    const again = (): void => {
      this.#isPutOff = false;
      this.#schedule();
    };
    const { rest } = this.#pace;
    if (rest > 0) {
      this.#isPutOff = true;
      this.#timer = setTimeout(again, rest);
    } else if (this.#pace.begin(again)) void this.#start(this.#waiting);
    else this.#isPutOff = true;
  }

  async #start(served: Waiting<T>): Promise<void> {
    this.#waiting = null;
    this.#running = served.promise;
    const startedAt = this.#now();
    const run = this.#quickJob() ?? (await this.#job());
    this.#running = null;
    this.#finish(run, startedAt);
    served.resolve(this.#closed ? null : run.value);
    setImmediate(() => this.#pace.end());
    this.#schedule();
  }

  #finish(run: Run<T>, startedAt: number): Latest<T> {
    const latest = { ...run, startedAt };
    this.latest = latest;
    this.totalCost += run.cost;
    this.#pace.spent(run.cost);
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
