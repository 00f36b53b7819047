/**
 * What the capture missed, by the kernel's own count of the ICMP errors that were addressed to this network
 * namespace (/proc/net/snmp, snmp6).
 */
import type { ErrorsBetween } from '../event-pipeline.ts';
import { countersBetween, readIcmpCounters, type IcmpCounters } from '../host/counters.ts';
import { rangeText } from '../sink/loss-text.ts';
import { grouped } from '../sink/numbers.ts';

const NET_DIRECTORY = '/proc/self/net';

/** Milliseconds from a packet's time stamp until it is counted, at the most: in a flood the kernel has a backlog. */
const COUNTED_WITHIN = 5;
/** A packet may seem to have come later by this: the resolution of Date.now(). */
const LATER_BY = 1;

/** How many were missed: one number, or the two between which it lies. */
interface Missed {
  least: number;
  most: number;
}

export class Yardstick {
  readonly #captured: ErrorsBetween;
  readonly #whyUnknown: string | null;
  #before: IcmpCounters | null = null;
  #after: IcmpCounters | null = null;

  /** @param whyUnknown why the counters say nothing about this capture, or null. */
  constructor(captured: ErrorsBetween, whyUnknown: string | null) {
    this.#captured = captured;
    this.#whyUnknown = whyUnknown;
  }

  /** To be called when the capture has been opened. */
  async begin(): Promise<void> {
    if (this.#whyUnknown !== null || this.#before !== null) return;
    this.#before = await readWithin(this.#captured.first);
  }

  /** To be called before the capture is closed. */
  async end(): Promise<void> {
    if (this.#before === null || this.#after !== null) return;
    this.#captured.giveUpInterim();
    this.#after = await readWithin(this.#captured.last);
  }

  /**
   * Errors that the kernel has counted by now and the capture has not seen; null: not known. In a flood many were captured and
   * are yet to be read: resolves when they were.
   */
  async missedSoFar(): Promise<Missed | null> {
    if (this.#before === null || this.#after !== null) return null;
    const { counts, allThere } = this.#captured.upToNow();
    const kernel = received(this.#before, await readWithin(counts.last));
    return kernel !== null && (await allThere) ? missedOf(kernel, counts) : null;
  }

  /** What the kernel counted in the whole watch, and how many of those were missed; null: not known. */
  get result(): { errors: number; missed: Missed | null } | null {
    const errors = this.#before === null || this.#after === null ? null : received(this.#before, this.#after);
    return errors === null ? null : { errors, missed: missedOf(errors, this.#captured) };
  }

  summary(): string {
    const label = 'kernel: ICMP errors addressed to this network namespace';
    if (this.#whyUnknown !== null) return `${label}: unknown (${this.#whyUnknown})`;
    if (this.#before === null || this.#after === null) return `${label}: unknown (the capture still runs)`;
    const kernel = received(this.#before, this.#after);
    if (kernel === null) return `${label}: unknown (/proc/net/snmp cannot be read)`;
    const missed = missedOf(kernel, this.#captured);
    if (missed !== null) return `${label}: ${grouped(kernel)}, of them missed: ${rangeText(missed)}`;
    return (
      `${label}: ${grouped(kernel)}, but ${grouped(this.#captured.certain)} were captured (on several interfaces, or ` +
      'dropped by a firewall after capture): how many were missed is unknown'
    );
  }
}

/** Null where more was captured than the kernel counted. */
function missedOf(kernel: number, { certain, uncertain }: ErrorsBetween): Missed | null {
  const most = kernel - certain;
  return most < 0 ? null : { least: Math.max(0, most - uncertain), most };
}

/** Notes in `reading` between when it was made, and when what it holds was captured: by a clock that nobody sets. */
async function readWithin(reading: { from: number; until: number }): Promise<IcmpCounters> {
  reading.from = performance.now() - COUNTED_WITHIN;
  const counters = await readIcmpCounters(NET_DIRECTORY);
  reading.until = performance.now() + LATER_BY;
  return counters;
}

function received(before: IcmpCounters, after: IcmpCounters): number | null {
  const { v4, v6 } = countersBetween(before, after);
  if (v4 === null && v6 === null) return null;
  return (v4?.received.total ?? 0) + (v6?.received.total ?? 0);
}
