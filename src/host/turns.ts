/** Keeps work that thousands wait for at the same moment from blocking the event loop. */
export class Turns {
  readonly #jobsPerTurn: number;
  #left: number;
  #nextTurn: Promise<void> | null = null;

  /** @param jobsPerTurn how many jobs fit into a few milliseconds. */
  constructor(jobsPerTurn: number) {
    this.#jobsPerTurn = jobsPerTurn;
    this.#left = jobsPerTurn;
  }

  /** Resolves when one more job may be done; it is then to be done without awaiting first. */
  async take(): Promise<void> {
    while (this.#left === 0) await this.#nextTurn;
    this.#left--;
    this.#nextTurn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#left = this.#jobsPerTurn;
        this.#nextTurn = null;
        resolve();
      });
    });
  }
}
