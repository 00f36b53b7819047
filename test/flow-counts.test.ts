import { expect, test } from 'vitest';
import { FlowCounts } from '../src/correlate/flow-counts.ts';
import type { Flow } from '../src/event.ts';

/** As many flows as are remembered at the least. */
const REMEMBERED = 65_536;

function flow(n: number, changes: Partial<Flow> = {}): Flow {
  return { protocol: 'udp', src: `192.0.2.${n >> 16}`, sport: n & 0xffff, dst: '192.0.2.20', dport: 9999, ...changes };
}

test('each flow is counted for itself', () => {
  const counts = new FlowCounts();
  const flows = [
    flow(1),
    flow(2),
    flow(1, { src: '192.0.2.1' }),
    flow(1, { dst: '192.0.2.21' }),
    flow(1, { dport: 9998 }),
    flow(1, { protocol: 'udplite' }),
    flow(1, { sport: null, dport: null }),
    // Ports and addresses do not run into each other.
    flow(1, { src: '192.0.2.1', sport: 11 }),
    flow(1, { src: '192.0.2.11', sport: 1 }),
  ];
  for (const round of [1, 2, 3]) {
    for (const one of flows) expect(counts.next(one)).toBe(round);
  }
  // The identification is another one in each datagram.
  expect(counts.next(flow(1, { ipId: 5 }))).toBe(4);
  expect(counts.forgotten).toBe(0);
});

test('a flow is remembered while fewer others had an error than are remembered', () => {
  const counts = new FlowCounts();
  for (let n = 0; n < 20 * REMEMBERED; n++) {
    counts.next(flow(n + 1));
    if (n % (REMEMBERED - 1) === 0) expect(counts.next(flow(0))).toBe(n / (REMEMBERED - 1) + 1);
  }
});

test('what is forgotten is counted, and only that', () => {
  const counts = new FlowCounts();
  const FLOWS = 5 * REMEMBERED;
  for (let n = 0; n < FLOWS; n++) counts.next(flow(n));
  let known = 0;
  // The youngest first, so that asking does not make room.
  for (let n = FLOWS - 1; n >= FLOWS - REMEMBERED; n--) if (counts.next(flow(n)) > 1) known++;
  expect(known).toBe(REMEMBERED);
  expect(counts.forgotten).toBeGreaterThanOrEqual(FLOWS - 2 * REMEMBERED);
  expect(counts.forgotten).toBeLessThanOrEqual(FLOWS - REMEMBERED);
  const { forgotten } = counts;
  expect(counts.next(flow(0))).toBe(1);
  expect(counts.forgotten).toBeGreaterThanOrEqual(forgotten);
});
