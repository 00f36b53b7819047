/**
 * How fast datagrams may go to one peer without making it silent. Linux answers a burst of 6 with ICMP errors and then one a
 * second (icmp_ratelimit; inet_peer_xrlim_allow in net/ipv4/inetpeer.c): a closed port that is asked beyond that looks filtered.
 * All ports of an address share that budget.
 */

const BURST = 6;
/** Milliseconds to one more; a little more than the kernel takes, whose clock is not this one. */
const REFILL_MS = 1050;

/** A token bucket; a datagram takes one. Ports that wait take theirs in their order. Times are milliseconds. */
export class Pace {
  #tokens = BURST;
  #since = Number.NEGATIVE_INFINITY;
  /** Numbers of the ports that wait. */
  readonly #waiting = new Set<number>();

  /** Takes a token for port number `order` where there is one at `now` that no earlier port waits for. */
  take(order: number, now: number): boolean {
    this.#refill(now);
    if (this.#tokens < this.#rank(order)) {
      this.#waiting.add(order);
      return false;
    }
    this.#waiting.delete(order);
    this.#tokens--;
    return true;
  }

  /** When there will be a token for a port that `take` has refused, as far as is known now. */
  readyAt(order: number): number {
    return this.#since + (this.#rank(order) - this.#tokens) * REFILL_MS;
  }

  /** Gives a token back: the datagram did not leave. */
  giveBack(): void {
    this.#tokens = Math.min(BURST, this.#tokens + 1);
  }

  /** The port waits no more. */
  leave(order: number): void {
    this.#waiting.delete(order);
  }

  /** Tokens that must be there for this port to have one. */
  #rank(order: number): number {
    let rank = 1;
    for (const other of this.#waiting) if (other < order) rank++;
    return rank;
  }

  #refill(now: number): void {
    this.#tokens = Math.min(BURST, this.#tokens + (now - this.#since) / REFILL_MS);
    this.#since = now;
  }
}
