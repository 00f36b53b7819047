/**
 * What the capture missed, by the kernel's own count of the ICMP errors that were addressed to this network
 * namespace (/proc/net/snmp, snmp6).
 */
import type { PipelineCounts } from '../event-pipeline.ts';
import { countersBetween, readIcmpCounters, type IcmpCounters } from '../host/counters.ts';
import { counted, grouped } from './messages.ts';

const NET_DIRECTORY = '/proc/self/net';

export class Yardstick {
  readonly #counts: PipelineCounts;
  readonly #whyUnknown: string | null;
  #before: IcmpCounters | null = null;
  #after: IcmpCounters | null = null;

  /** @param whyUnknown why the counters say nothing about this capture, or null. */
  constructor(counts: PipelineCounts, whyUnknown: string | null) {
    this.#counts = counts;
    this.#whyUnknown = whyUnknown;
  }

  /** To be called when the capture has been opened: what was captured before the counters were read does not count. */
  async begin(): Promise<void> {
    if (this.#whyUnknown !== null || this.#before !== null) return;
    const before = await readIcmpCounters(NET_DIRECTORY);
    this.#counts.countFrom = Date.now() / 1000;
    this.#before = before;
  }

  /** To be called before the capture is closed: what comes after the counters were read does not count. */
  async end(): Promise<void> {
    if (this.#before === null || this.#after !== null) return;
    this.#counts.countUntil = Date.now() / 1000;
    this.#after = await readIcmpCounters(NET_DIRECTORY);
  }

  /** Errors that the kernel counted and the capture did not, so far; null where that is not known. */
  async missedSoFar(): Promise<number | null> {
    if (this.#before === null) return null;
    const kernel = received(countersBetween(this.#before, await readIcmpCounters(NET_DIRECTORY)));
    return kernel === null ? null : Math.max(0, kernel - this.#captured);
  }

  summary(): string {
    const label = 'kernel: ICMP errors addressed to this network namespace';
    if (this.#whyUnknown !== null) return `${label}: unknown (${this.#whyUnknown})`;
    if (this.#before === null || this.#after === null) return `${label}: unknown (not read yet)`;
    const kernel = received(countersBetween(this.#before, this.#after));
    if (kernel === null) return `${label}: unknown (/proc/net/snmp cannot be read)`;
    const missed = kernel - this.#captured;
    if (missed >= 0) return `${label}: ${grouped(kernel)}, of them missed: ${grouped(missed)}`;
    return (
      `${label}: ${grouped(kernel)}, but ${counted(this.#captured, 'was', 'were')} captured ` +
      '(on several interfaces, or dropped by a firewall after capture): how many were missed is unknown'
    );
  }

  get #captured(): number {
    return this.#counts.errorsAddressedHere;
  }
}

function received({ v4, v6 }: IcmpCounters): number | null {
  if (v4 === null && v6 === null) return null;
  return (v4?.received.total ?? 0) + (v6?.received.total ?? 0);
}
