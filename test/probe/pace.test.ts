import { describe, expect, test } from 'vitest';
import { Pace } from '../../src/probe/pace.ts';

/**
 * The peer's side: inet_peer_xrlim_allow() of net/ipv4/inetpeer.c, with icmp_ratelimit 1000. Times are milliseconds.
 */
class KernelLimit {
  #tokens = 6000;
  #last = 0;

  allows(now: number): boolean {
    this.#tokens = Math.min(6000, this.#tokens + now - this.#last);
    this.#last = now;
    if (this.#tokens < 1000) return false;
    this.#tokens -= 1000;
    return true;
  }
}

/** When each of `ports` has its token, if each asks when it is told to. */
function times(pace: Pace, ports: number): number[] {
  const asksAt = Array.from({ length: ports }, () => 0);
  const got: number[] = [];
  for (let done = 0; done < ports;) {
    const now = Math.min(...asksAt);
    const order = asksAt.indexOf(now);
    if (pace.take(order, now)) {
      got[order] = now;
      asksAt[order] = Number.POSITIVE_INFINITY;
      done++;
    } else {
      asksAt[order] = Math.max(now + 1, Math.ceil(pace.readyAt(order)));
    }
  }
  return got;
}

describe('what Linux lets through', () => {
  test('a burst of 6, and never a datagram that the peer answers no more', () => {
    const got = times(new Pace(), 40);
    expect(got.slice(0, 6)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(got).toEqual(got.toSorted((a, b) => a - b));
    const kernel = new KernelLimit();
    expect(got.filter((at) => !kernel.allows(at))).toEqual([]);
    // And no slower than must be.
    expect(got.at(-1)).toBeLessThan(34 * 1100);
  });

  test('datagrams that are late by up to 40 ms are still answered', () => {
    const kernel = new KernelLimit();
    const got = times(new Pace(), 40).map((at, n) => at + (n % 2) * 40);
    expect(got.toSorted((a, b) => a - b).filter((at) => !kernel.allows(at))).toEqual([]);
  });
});

test('who waits longer has an earlier place: the order of the ports, not of the asking', () => {
  const pace = new Pace();
  for (let order = 0; order < 6; order++) expect(pace.take(order, 0)).toBe(true);
  expect(pace.take(9, 0)).toBe(false);
  expect(pace.take(7, 0)).toBe(false);
  expect(pace.take(9, 1100)).toBe(false);
  expect(pace.take(7, 1100)).toBe(true);
  expect(pace.readyAt(9)).toBeGreaterThan(1100);
  expect(pace.take(9, 2200)).toBe(true);
});

test('one that leaves is waited for no more', () => {
  const pace = new Pace();
  for (let order = 0; order < 6; order++) pace.take(order, 0);
  pace.take(7, 0);
  pace.take(8, 0);
  pace.leave(7);
  expect(pace.take(8, 1100)).toBe(true);
});

test('what did not leave costs nothing, and no more than the burst is saved', () => {
  const pace = new Pace();
  for (let n = 0; n < 100; n++) {
    expect(pace.take(n, 0)).toBe(true);
    pace.giveBack();
  }
  for (let n = 0; n < 6; n++) expect(pace.take(n, 1e9)).toBe(true);
  expect(pace.take(6, 1e9)).toBe(false);
});
