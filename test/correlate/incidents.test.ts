import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { Incidents, type ErringFlow, type Hears, type Incident } from '../../src/correlate/incidents.ts';
import type { Flow, IcmpEvent } from '../../src/event.ts';
import { reversed, type UdpTuple } from '../../src/host/udp-tuple.ts';
import { errorEvent, processOf, quietOf, recoveredOf, socketOf, unattributed } from '../events.ts';

// Thousands of replays, or a dozen processes, a test.
vi.setConfig({ testTimeout: 60_000 });

/** As many flows as no test has. */
const MANY = 10_000;

function incidentsOf(options: Partial<ConstructorParameters<typeof Incidents>[0]> = {}): Incidents {
  return new Incidents({ maxFlows: MANY, onlyKnownSockets: false, ...options });
}

/** A flow of its own to 192.0.2.20:9999. */
function flowOf(sport: number, changes: Partial<Flow> = {}): Flow {
  return { protocol: 'udp', src: '192.0.2.10', sport, dst: '192.0.2.20', dport: 9999, ipId: sport, ...changes };
}

/** The tuple as the socket that got the error sees it. */
function tupleOf({ src, sport, dst, dport }: Pick<Flow, 'src' | 'sport' | 'dst' | 'dport'>): UdpTuple {
  return { version: isIPv6(dst) ? 6 : 4, local: src, localPort: sport!, remote: dst, remotePort: dport! };
}

/** An error about another port for each number, and so an incident of its own. */
function otherPeer(n: number): IcmpEvent {
  return unattributed({ flow: flowOf(1, { dst: `198.51.${n >> 8}.${n & 0xff}` }) });
}

/** The same of a process of its own. */
function otherProcess(n: number): IcmpEvent {
  return errorEvent({ flow: flowOf(n), sockets: [socketOf(n, [processOf(n)])] });
}

function only<T>(list: readonly T[]): T {
  expect(list).toHaveLength(1);
  return list[0]!;
}

const GATEWAY = processOf(4711);
const WORKER = processOf(4712, { comm: 'worker' });

describe('which errors make up an incident', () => {
  test.each<[string, Partial<IcmpEvent>, Partial<IcmpEvent>]>([
    ['other sockets of the process', { sockets: [socketOf(1)] }, { flow: flowOf(2), sockets: [socketOf(2)] }],
    [
      'the same processes, in whatever order and on however many sockets',
      { sockets: [socketOf(1, [GATEWAY, WORKER])] },
      { sockets: [socketOf(1, [WORKER]), socketOf(2, [GATEWAY, WORKER])] },
    ],
    ['another descriptor', { sockets: [socketOf(1)] }, { sockets: [socketOf(1, [{ ...GATEWAY, fd: 8 }])] }],
    ['sockets that no process holds', { sockets: [socketOf(1, [])] }, { sockets: [socketOf(2, [])] }],
    [
      'behind NAT: the remote end that the process sees',
      {},
      {
        flow: flowOf(7, { dst: '10.9.9.9', dport: 1 }),
        nat: { src: '192.0.2.10', sport: 7, dst: '192.0.2.20', dport: 9999 },
      },
    ],
    ['another type and code, the same errno', {}, { icmp: { ...errorEvent().icmp, type: 3, code: 2 } }],
    ['forwarded and addressed here', {}, { direction: 'forward' }],
  ])('one: %s', (_name, first, second) => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(first), 0);
    incidents.error(errorEvent(second), 1);
    expect(only(incidents.table()).errors).toBe(2);
  });

  test.each<[string, IcmpEvent]>([
    ['another process', errorEvent({ sockets: [socketOf(1, [WORKER])] })],
    ['one process more', errorEvent({ sockets: [socketOf(1, [GATEWAY, WORKER])] })],
    [
      'another process that has the number by now',
      errorEvent({ sockets: [socketOf(1, [{ ...GATEWAY, started: '2026-11-23T17:01:13Z' }])] }),
    ],
    ['no process', unattributed()],
    ['another port of the peer', errorEvent({ flow: flowOf(40_000, { dport: 9998 }) })],
    ['another peer', errorEvent({ flow: flowOf(40_000, { dst: '192.0.2.21' }) })],
    ['another errno on the same flow', errorEvent({ errno: 'EHOSTUNREACH' })],
    ['no errno', errorEvent({ errno: null })],
    ['one that this host sent', errorEvent({ direction: 'out' })],
  ])('another: %s', (_name, other) => {
    for (const [first, second] of [
      [errorEvent(), other],
      [other, errorEvent()],
    ] as const) {
      const incidents = incidentsOf();
      for (const [at, event] of [first, second, first, second, second].entries()) incidents.error(event, at);
      // The last to err comes first.
      expect(incidents.table().map(({ errors }) => errors)).toEqual([3, 2]);
    }
  });

  test('none: what quotes no UDP', () => {
    const incidents = incidentsOf();
    const { errno: _errno, outcome: _outcome, ...other } = unattributed();
    incidents.error(other, 0);
    const { flow: _flow, ...bare } = other;
    incidents.error(bare, 0);
    expect(incidents.table()).toEqual([]);
    expect(incidents.isFollowing).toBe(false);
  });

  test('ports that were not quoted are no port, and there is no flow to follow', () => {
    const incidents = incidentsOf();
    for (const dst of ['192.0.2.20', '192.0.2.20', '192.0.2.21']) {
      incidents.error(unattributed({ flow: flowOf(1, { sport: null, dport: null, dst }) }), 0);
    }
    expect(incidents.table().map(({ remote, remotePort, errors }) => [remote, remotePort, errors])).toEqual([
      ['192.0.2.20', null, 2],
      ['192.0.2.21', null, 1],
    ]);
    expect(incidents.isFollowing).toBe(false);
  });
});

describe('what is told of an incident', () => {
  test('first, last and how many', () => {
    const incidents = incidentsOf();
    const events = [10, 11, 15].map((seconds) => errorEvent({ seconds }));
    for (const event of events) incidents.error(event, event.seconds * 1000 + 5);
    expect(only(incidents.table())).toMatchObject({
      first: { seconds: 10 },
      last: { seconds: 15 },
      firstAt: 10_005,
      lastAt: 15_005,
      errors: 3,
      state: 'open',
      errno: 'ECONNREFUSED',
      remote: '192.0.2.20',
      remotePort: 9999,
      processes: [{ pid: 4711 }],
    });
  });

  test('the sockets, each once; by their tuple where none is known', () => {
    const incidents = incidentsOf();
    for (const inode of [1, 2, 1, 3, 2]) incidents.error(errorEvent({ sockets: [socketOf(inode)] }), 0);
    incidents.error(errorEvent({ sockets: [socketOf(3), socketOf(4)] }), 0);
    for (const sport of [1, 2, 1]) incidents.error(unattributed({ flow: flowOf(sport) }), 1);
    incidents.error(unattributed({ flow: flowOf(1, { src: '192.0.2.11' }) }), 1);
    expect(incidents.table().map(({ socketCount }) => socketCount)).toEqual([
      { count: 3, isMore: false },
      { count: 4, isMore: false },
    ]);
  });

  test('the sockets are told apart up to a bound, and then it says that there are more', () => {
    const incidents = incidentsOf();
    const SOCKETS = 1000;
    const most: number[] = [];
    for (let n = 1; n <= SOCKETS; n++) {
      incidents.error(errorEvent({ flow: flowOf(n), sockets: [socketOf(n)] }), n);
      const { count, isMore } = only(incidents.table()).socketCount;
      if (isMore) most.push(count);
      else expect(count).toBe(n);
    }
    // From the first time that it says so the number stands still.
    expect(most.length).toBeGreaterThan(0);
    expect(new Set(most)).toEqual(new Set([SOCKETS - most.length]));
    expect(only(incidents.table()).errors).toBe(SOCKETS);
  });

  const HEARD: [Hears, IcmpEvent][] = [
    ['yes', errorEvent()],
    ['yes', errorEvent({ outcome: 'queued' })],
    ['no', errorEvent({ outcome: 'ignored' })],
    ['no', errorEvent({ outcome: 'ignored', dropped: true, sockets: [socketOf(1, [GATEWAY], { recverr: true })] })],
    ['recverr', errorEvent({ outcome: 'ignored', sockets: [socketOf(1, [GATEWAY], { recverr: null })] })],
    ['closed', errorEvent({ outcome: 'no-socket', match: 'closed' })],
    ['unknown', errorEvent({ outcome: 'unknown', match: null })],
    ['unknown', errorEvent({ outcome: 'not-local', match: 'none' })],
  ];

  test.each(HEARD)('whether the process hears: %s', (hears, event) => {
    const incidents = incidentsOf();
    for (const at of [0, 1, 2]) incidents.error(event, at);
    expect(only(incidents.table()).hears).toBe(hears);
  });

  test('whether the process hears, where only the path MTU changes, or there is no errno: no', () => {
    for (const event of [
      errorEvent({ errno: 'EMSGSIZE', outcome: 'pmtu' }),
      errorEvent({ errno: null, outcome: 'ignored', sockets: [socketOf(1, [GATEWAY], { recverr: true })] }),
    ]) {
      const incidents = incidentsOf();
      incidents.error(event, 0);
      expect(only(incidents.table()).hears).toBe('no');
    }
  });

  test('it hears of some where it heard of one and not of another, in either order and ever after', () => {
    for (const [before, first] of HEARD) {
      for (const [after, second] of HEARD) {
        if (before === after || (before !== 'yes' && after !== 'yes')) continue;
        const incidents = incidentsOf();
        for (const event of [first, second, second, first]) incidents.error(event, 0);
        expect([before, after, only(incidents.table()).hears]).toEqual([before, after, 'some']);
      }
    }
  });

  test('it is not said to hear of some where it is known to have heard of none', () => {
    for (const [before, first] of HEARD) {
      for (const [after, second] of HEARD) {
        if (before === 'yes' || after === 'yes') continue;
        const incidents = incidentsOf();
        for (const event of [first, second]) incidents.error(event, 0);
        expect([before, after, only(incidents.table()).hears]).not.toEqual([before, after, 'some']);
      }
    }
  });
});

test('the table: what goes on first, the last to err first among each', () => {
  const incidents = incidentsOf();
  for (const [at, n] of [3, 1, 4, 2, 3, 5].entries()) incidents.error(otherPeer(n), at);
  for (const n of [5, 1]) incidents.answered(incidents.find(tupleOf(otherPeer(n).flow!))!, 10);
  const peers = [3, 2, 4, 5, 1].map((n) => otherPeer(n).flow!.dst);
  expect(incidents.table().map(({ remote }) => remote)).toEqual(peers);
});

/** What `Incidents` is to do while it has room for everything. */
class Model {
  readonly #running = new Map<string, { errors: number; key: string; firstAt: number }>();
  readonly #flows = new Map<string, Set<string>>();
  readonly over: { errors: number; downMs: number }[] = [];

  error(flow: string, key: string, ends: boolean, at: number): void {
    const incident = this.#running.get(key) ?? { errors: 0, key, firstAt: at };
    incident.errors++;
    this.#running.set(key, incident);
    if (!ends) return;
    const incidents = this.#flows.get(flow) ?? new Set();
    this.#flows.set(flow, incidents.add(key));
    // A new incident with the key of one that is over is another one.
    for (const [other, keys] of this.#flows) if (incident.errors === 1 && other !== flow) keys.delete(key);
  }

  /** How many incidents it ended. */
  answer(flow: string, at: number): number {
    const keys = this.#flows.get(flow) ?? new Set<string>();
    for (const key of keys) {
      const { errors, firstAt } = this.#running.get(key)!;
      this.over.push({ errors, downMs: at - firstAt });
      this.#running.delete(key);
    }
    const count = keys.size;
    for (const key of keys) for (const others of this.#flows.values()) others.delete(key);
    return count;
  }

  get running(): number[] {
    return [...this.#running.values()].map(({ errors }) => errors);
  }
}

test('errors and answers in any order come to what a plain list of them comes to', () => {
  const step = fc.record({
    kind: fc.constantFrom('error', 'error', 'error', 'answer'),
    flow: fc.integer({ min: 0, max: 5 }),
    process: fc.constantFrom('', '1', '2'),
    errno: fc.constantFrom('ECONNREFUSED', 'EHOSTUNREACH', 'EMSGSIZE'),
    direction: fc.constantFrom('in' as const, 'in' as const, 'out' as const),
  });
  const sorted = (numbers: number[]): number[] => numbers.toSorted((a, b) => a - b);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const incidents = incidentsOf();
      const model = new Model();
      for (const [at, { kind, flow: n, process, errno, direction }] of steps.entries()) {
        // Two flows to each of three ports, every other one behind NAT.
        const flow = flowOf(100 + n, { dport: 9000 + (n >> 1) });
        const inside = { src: '10.0.0.2', sport: 200 + n, dst: '192.0.2.20', dport: 9000 + (n >> 1) };
        if (kind === 'error') {
          // Each has a socket of its own.
          const sockets = process === '' ? [] : [socketOf(10 * Number(process) + n, [processOf(Number(process))])];
          const nat = n % 2 === 0 ? {} : { nat: inside };
          incidents.error(errorEvent({ flow, errno, direction, sockets, ...nat }), at);
          const ends = direction === 'in' && errno !== 'EMSGSIZE';
          model.error(String(n), `${process} ${errno} ${direction} ${n >> 1}`, ends, at);
        } else {
          const seen = n % 2 === 0 || at % 2 === 0 ? tupleOf(flow) : tupleOf(inside);
          const found = incidents.find(seen);
          const ended = found === null ? [] : incidents.answered(found, at);
          expect(ended).toHaveLength(model.answer(String(n), at));
        }
        const table = incidents.table();
        const running = table.filter(({ state }) => state !== 'recovered').map(({ errors }) => errors);
        expect(sorted(running)).toEqual(sorted(model.running));
      }
      const over = incidents.table().filter(({ state }) => state === 'recovered');
      const ended = over.map(({ errors, downMs }) => `${errors} ${downMs}`).toSorted();
      expect(ended).toEqual(model.over.map(({ errors, downMs }) => `${errors} ${downMs}`).toSorted());
      expect(incidents.forgotten).toEqual({ incidents: 0, errors: 0 });
    }),
    { numRuns: 300 },
  );
});

describe('bounds', () => {
  test('a flood without any process drives out no incident of one', () => {
    const incidents = incidentsOf({ maxFlows: 16 });
    for (let n = 1; n <= 100; n++) incidents.error(otherProcess(n), n);
    for (let n = 0; n < 50_000; n++) incidents.error(otherPeer(n), 1000 + n);
    const named = incidents.table().filter(({ processes }) => processes.length > 0);
    expect(named.map(({ processes }) => processes[0]!.pid).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, n) => n + 1),
    );
    expect(incidents.table().length).toBeLessThan(1000);
  });

  test('one that errs on and on stays, whatever else comes', () => {
    for (const [lasting, flood] of [
      [unattributed(), otherPeer],
      [errorEvent(), otherProcess],
    ] as const) {
      const incidents = incidentsOf();
      for (let n = 1; n <= 3000; n++) {
        incidents.error(lasting, n);
        incidents.error(flood(n), n);
      }
      const found = incidents.table().find(({ event }) => event === lasting);
      expect(found?.errors).toBe(3000);
    }
  });

  /** Bursts of new incidents between errors and answers of old ones: enough to make each table forget. */
  const burst = fc.record({
    kind: fc.constantFrom('peers', 'processes', 'again', 'answers'),
    from: fc.integer({ min: 1, max: 3000 }),
    count: fc.integer({ min: 1, max: 1500 }),
  });

  function replayBursts(bursts: readonly { kind: string; from: number; count: number }[], maxFlows: number): void {
    const incidents = incidentsOf({ maxFlows });
    let errors = 0;
    const error = (event: IcmpEvent): void => {
      incidents.error(event, errors++);
    };
    const tell = (n: number): IcmpEvent => (n % 2 === 0 ? otherPeer(n) : otherProcess(n));
    for (const { kind, from, count } of bursts) {
      for (let n = from; n < from + count; n++) {
        if (kind === 'peers') error(otherPeer(n));
        else if (kind === 'processes') error(otherProcess(n));
        else if (kind === 'again') {
          error(tell(from));
          error(tell(n));
        } else {
          const flow = incidents.find(tupleOf(tell(n).flow!));
          if (flow !== null) incidents.answered(flow, errors);
        }
      }
    }
    const remembered = incidents.table().reduce((sum, incident) => sum + incident.errors, 0);
    expect(remembered + incidents.forgotten.errors).toBe(errors);
    expect(incidents.table().length).toBeLessThan(5000);
  }

  test('what is forgotten and what is remembered add up to all errors', () => {
    fc.assert(
      fc.property(fc.array(burst, { maxLength: 8 }), (bursts) => replayBursts(bursts, 64)),
      { numRuns: 40 },
    );
  });

  test('and where more flows are remembered than incidents', () => {
    fc.assert(
      fc.property(fc.array(burst, { maxLength: 8 }), (bursts) => replayBursts(bursts, 4096)),
      { numRuns: 40 },
    );
  });

  test('an incident that is forgotten is counted once, with all its errors', () => {
    const incidents = incidentsOf({ maxFlows: 0 });
    const INCIDENTS = 3000;
    for (let n = 0; n < INCIDENTS; n++) for (const at of [0, 1, 2]) incidents.error(otherPeer(n), 3 * n + at);
    const left = incidents.table().length;
    expect(left).toBeLessThan(INCIDENTS);
    expect(incidents.forgotten).toEqual({ incidents: INCIDENTS - left, errors: 3 * (INCIDENTS - left) });
  });
});

describe('followed flows', () => {
  test('none without an error, and none that cannot be answered', () => {
    const incidents = incidentsOf();
    expect(incidents.isFollowing).toBe(false);
    incidents.error(errorEvent({ direction: 'out' }), 0);
    incidents.error(errorEvent({ errno: 'EMSGSIZE', outcome: 'pmtu' }), 0);
    incidents.error(errorEvent({ errno: 'EPROTO' }), 0);
    incidents.error(errorEvent({ errno: null }), 0);
    expect(incidents.isFollowing).toBe(false);
    expect(incidents.find(tupleOf(flowOf(40_000)))).toBeNull();
    expect(incidents.followed(new Set(), 0)).toEqual([]);
  });

  test('with onlyKnownSockets: only those of a socket that is there', () => {
    const incidents = incidentsOf({ onlyKnownSockets: true });
    incidents.error(unattributed(), 0);
    incidents.error(errorEvent({ sockets: [], outcome: 'no-socket', match: 'none' }), 1);
    incidents.error(errorEvent({ outcome: 'no-socket', match: 'closed' }), 2);
    expect(incidents.isFollowing).toBe(false);
    incidents.error(errorEvent({ sockets: [socketOf(1, [])] }), 3);
    expect(incidents.find(tupleOf(flowOf(40_000)))).not.toBeNull();
  });

  test('maxFlows 0: none', () => {
    const incidents = incidentsOf({ maxFlows: 0 });
    incidents.error(errorEvent(), 0);
    expect(incidents.isFollowing).toBe(false);
    expect(only(incidents.table()).errors).toBe(1);
  });

  test('what is sent has the tuple, what is answered the reversed one', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    const sent = tupleOf(flowOf(40_000));
    expect(incidents.find(sent)).not.toBeNull();
    expect(incidents.find(reversed(sent))).toBeNull();
    expect(incidents.mayFollow(40_000, 9999)).toBe(true);
    expect(incidents.mayFollow(9999, 40_000)).toBe(true);
    expect(incidents.mayFollow(40_000, 9998)).toBe(false);
    expect(incidents.mayFollow(40_001, 9999)).toBe(false);
  });

  test('NAT: the tuple on the wire and that of the socket are one flow', () => {
    const incidents = incidentsOf();
    const nat = { src: '10.0.0.2', sport: 5000, dst: '10.0.0.80', dport: 80 };
    incidents.error(errorEvent({ nat }), 0);
    const [wire, inside] = [tupleOf(flowOf(40_000)), tupleOf(nat)];
    const flow = incidents.find(wire)!;
    expect(incidents.find(inside)).toBe(flow);
    expect(flow.tuples).toEqual([wire, inside]);
    expect(incidents.mayFollow(80, 5000)).toBe(true);
    incidents.answered(flow, 5);
    expect([incidents.find(wire), incidents.find(inside)]).toEqual([null, null]);
  });

  test('onFollow is called for a flow that is new, that comes back, and when an incident ends', () => {
    const incidents = incidentsOf();
    let calls = 0;
    incidents.onFollow = () => calls++;
    const callsOf = (step: () => void): number => {
      const before = calls;
      step();
      return calls - before;
    };
    expect(callsOf(() => incidents.error(errorEvent(), 0))).toBe(1);
    expect(callsOf(() => incidents.error(errorEvent(), 1))).toBe(0);
    expect(callsOf(() => incidents.answered(incidents.find(tupleOf(flowOf(40_000)))!, 2))).toBe(1);
    expect(callsOf(() => incidents.error(errorEvent(), 3))).toBe(1);
  });

  const flow = fc.integer({ min: 0, max: 60 });

  /** Every third is IPv6, every other one behind NAT. */
  function erring(n: number): IcmpEvent {
    const icmp = errorEvent().icmp;
    if (n % 3 === 0) {
      const tuple = { src: '2001:db8::1', sport: 1000 + n, dst: '2001:db8::2', dport: 9000 + (n % 7) };
      return errorEvent({ icmp: { ...icmp, version: 6 }, flow: { protocol: 'udp', ...tuple } });
    }
    const event = errorEvent({ flow: flowOf(1000 + n, { dport: 9000 + (n % 7) }) });
    if (n % 2 === 0) return event;
    return { ...event, nat: { src: '10.0.0.2', sport: 3000 + n, dst: '10.0.0.80', dport: 80 } };
  }

  function tuplesOf({ flow: wire, nat }: IcmpEvent): UdpTuple[] {
    return (nat === undefined ? [wire!] : [wire!, nat]).map(tupleOf);
  }

  test('the ports of a followed flow are never denied, and those of a forgotten one not followed for ever', () => {
    const MAX_FLOWS = 8;
    fc.assert(
      fc.property(fc.array(flow, { maxLength: 200 }), (sequence) => {
        const incidents = incidentsOf({ maxFlows: MAX_FLOWS });
        for (const [at, n] of sequence.entries()) incidents.error(erring(n), at);
        // Distinct flows, the last to err first.
        const latest = [...new Set(sequence.toReversed())];
        let tuplesSince = 0;
        for (const n of latest) {
          const tuples = tuplesOf(erring(n));
          for (const tuple of tuples) {
            const isFound = incidents.find(tuple) !== null;
            // Surely in one of the two generations; or surely in none.
            if (tuplesSince + tuples.length <= MAX_FLOWS) expect(isFound).toBe(true);
            if (isFound) {
              expect(incidents.mayFollow(tuple.localPort, tuple.remotePort)).toBe(true);
              expect(incidents.mayFollow(tuple.remotePort, tuple.localPort)).toBe(true);
            }
          }
          tuplesSince += tuples.length;
        }
        expect(incidents.isFollowing).toBe(sequence.length > 0);
        // Others, and only they, are followed after as many as there is room for twice.
        for (let n = 0; n < 3 * MAX_FLOWS; n++)
          incidents.error(errorEvent({ flow: flowOf(20_000 + n, { dport: 7 }) }), n);
        for (const n of latest) {
          for (const tuple of tuplesOf(erring(n))) {
            expect(incidents.find(tuple)).toBeNull();
            expect(incidents.mayFollow(tuple.localPort, tuple.remotePort)).toBe(false);
          }
        }
        expect(incidents.followed(new Set(), 0).length).toBeLessThanOrEqual(2 * MAX_FLOWS);
      }),
      { numRuns: 300 },
    );
  });

  test('a flow that errs on and on is followed on all its tuples, whatever else comes', () => {
    for (const n of [1, 2, 3]) {
      const incidents = incidentsOf({ maxFlows: 8 });
      for (let other = 0; other < 100; other++) {
        incidents.error(erring(n), other);
        incidents.error(errorEvent({ flow: flowOf(20_000 + other) }), other);
      }
      for (const tuple of tuplesOf(erring(n))) expect(incidents.find(tuple)).not.toBeNull();
    }
  });

  test('followed(): those that are followed already and not quiet, then the last to err', () => {
    const incidents = incidentsOf();
    for (let n = 0; n < 6; n++) incidents.error(otherPeer(n), n * 1000);
    const flows = Array.from({ length: 6 }, (_, n) => incidents.find(tupleOf(otherPeer(n).flow!))!);
    const order = (already: ErringFlow[], at: number): number[] =>
      incidents.followed(new Set(already), at).map((one) => flows.indexOf(one));
    expect(order([], 6000)).toEqual([5, 4, 3, 2, 1, 0]);
    expect(order([flows[1]!, flows[3]!], 6000)).toEqual([3, 1, 5, 4, 2, 0]);
    incidents.answered(flows[4]!, 7000);
    expect(order([flows[4]!], 7000)).toEqual([5, 3, 2, 1, 0]);
    // 1 became quiet: it makes way.
    expect(incidents.becomeQuiet(31_500)).toHaveLength(2);
    expect(order([flows[1]!, flows[3]!], 31_500)).toEqual([3, 5, 2, 1, 0]);
  });

  test('followed(): not longer than ten minutes after the last error', () => {
    const incidents = incidentsOf();
    incidents.error(otherPeer(1), 0);
    incidents.error(otherPeer(2), 60_000);
    incidents.error(otherPeer(2), 120_000);
    const TEN_MINUTES = 600_000;
    expect(incidents.followed(new Set(), TEN_MINUTES - 1)).toHaveLength(2);
    expect(incidents.followed(new Set(), TEN_MINUTES)).toHaveLength(1);
    expect(incidents.followed(new Set(), TEN_MINUTES + 119_999)).toHaveLength(1);
    expect(incidents.followed(new Set(), TEN_MINUTES + 120_000)).toHaveLength(0);
  });
});

describe('whether what a peer sends is an answer', () => {
  const START = errorEvent().seconds;
  const ANSWER_MS = 1500;

  /** So many milliseconds after the first error. */
  function erred(at: number, changes: Partial<IcmpEvent> = {}): IcmpEvent {
    return errorEvent({ seconds: START + Math.floor(at / 1000), nanoseconds: (at % 1000) * 1e6, ...changes });
  }

  class Peer {
    readonly incidents = incidentsOf();

    error(at: number, changes: Partial<IcmpEvent> = {}): void {
      this.incidents.error(erred(at, changes), at);
    }

    flow(sport = 40_000): ErringFlow {
      return this.incidents.find(tupleOf(flowOf(sport)))!;
    }

    sent(sport = 40_000): void {
      this.flow(sport).countSent(tupleOf(flowOf(sport)), 'eth0');
    }

    sends(at: number, sport = 40_000): void {
      const { seconds, nanoseconds, nanosecondResolution } = erred(at);
      this.incidents.hear(this.flow(sport), { at, time: { seconds, nanoseconds, nanosecondResolution }, packet: null });
    }

    /** What is ended by then. */
    endedBy(at: number): Incident[] {
      return this.incidents.takeAnswers(at).flatMap(({ flow, answer }) => {
        flow.answer = null;
        return this.incidents.answered(flow, answer.at);
      });
    }
  }

  test('only after something was sent to it since the last error', () => {
    const peer = new Peer();
    peer.error(0);
    peer.sends(100);
    expect(peer.flow().answer).toBeNull();
    peer.sent();
    peer.error(200);
    peer.sends(300);
    expect(peer.flow().answer).toBeNull();
    peer.sent();
    peer.sends(400);
    expect(peer.flow().answer).toMatchObject({ at: 400 });
    expect(only(peer.endedBy(1e9))).toMatchObject({ state: 'recovered', downMs: 400, errors: 2 });
  });

  test('only on the flow on which that was sent', () => {
    const peer = new Peer();
    for (const sport of [1, 2]) peer.error(sport, { flow: flowOf(sport) });
    peer.sent(1);
    peer.sends(100, 2);
    expect(peer.endedBy(1e9)).toEqual([]);
    peer.sends(200, 1);
    expect(only(peer.endedBy(1e9)).downMs).toBe(199);
  });

  test('not what was captured before the last error, nor at the same time, though it is seen after it', () => {
    const peer = new Peer();
    peer.error(1000);
    peer.sent();
    for (const at of [999, 1000]) peer.sends(at);
    expect(peer.flow().answer).toBeNull();
    peer.sends(1001);
    expect(peer.flow().answer).not.toBeNull();
  });

  test('when 1.5 s have passed without an error; at the end at once', () => {
    for (const error of [1, ANSWER_MS - 1]) {
      const peer = new Peer();
      peer.error(0);
      peer.sent();
      peer.sends(1000);
      expect(peer.incidents.nextAt).toBe(1000 + ANSWER_MS);
      peer.error(1000 + error);
      expect(peer.endedBy(1000 + ANSWER_MS)).toEqual([]);
      expect(only(peer.incidents.table()).state).toBe('open');
    }
    const peer = new Peer();
    peer.error(0);
    peer.sent();
    peer.sends(1000);
    expect(peer.endedBy(1000 + ANSWER_MS - 1)).toEqual([]);
    expect(peer.endedBy(1000 + ANSWER_MS)).toHaveLength(1);
    const other = new Peer();
    other.error(0);
    other.sent();
    other.sends(1000);
    expect(other.endedBy(Number.POSITIVE_INFINITY)).toHaveLength(1);
  });

  test('no error of the incident may follow, on whichever flow; those of other incidents may', () => {
    for (const [changes, ended] of [
      [{ flow: flowOf(2) }, 0],
      [{ flow: flowOf(2), sockets: [socketOf(2, [WORKER])] }, 1],
      [{ flow: flowOf(2, { dport: 53 }) }, 1],
    ] as const) {
      const peer = new Peer();
      peer.error(0);
      peer.sent();
      peer.sends(1000);
      peer.error(1500, changes as Partial<IcmpEvent>);
      expect(peer.endedBy(1e9)).toHaveLength(ended);
    }
  });

  test('nor one of another errno on the flow', () => {
    const peer = new Peer();
    peer.error(0);
    peer.sent();
    peer.sends(1000);
    peer.error(1500, { errno: 'EHOSTUNREACH' });
    expect(peer.endedBy(1e9)).toEqual([]);
    peer.sent();
    peer.sends(2000);
    expect(peer.endedBy(1e9)).toHaveLength(2);
  });

  test('of two flows that are answered the first ends it, and the other one ends nothing', () => {
    const peer = new Peer();
    for (const sport of [1, 2]) peer.error(sport, { flow: flowOf(sport) });
    for (const sport of [1, 2]) peer.sent(sport);
    peer.sends(100, 2);
    peer.sends(200, 1);
    expect(peer.endedBy(1e9).map(({ downMs }) => downMs)).toEqual([99]);
  });

  test('what is answered does not become quiet, however late it is looked at', () => {
    const peer = new Peer();
    peer.error(0);
    peer.sent();
    peer.sends(1000);
    expect(peer.incidents.becomeQuiet(60_000)).toEqual([]);
    expect(peer.endedBy(60_000)).toHaveLength(1);
    expect(peer.incidents.becomeQuiet(90_000)).toEqual([]);
  });

  test('a datagram after an error takes the place of one before it', () => {
    const peer = new Peer();
    peer.error(0);
    peer.sent();
    peer.sends(1000);
    peer.error(1100);
    peer.sent();
    peer.sends(1200);
    expect(peer.endedBy(2600)).toEqual([]);
    expect(only(peer.endedBy(2700)).downMs).toBe(1200);
  });
});

describe('who holds the socket changes', () => {
  const held = (...processes: (typeof GATEWAY)[]): IcmpEvent => errorEvent({ sockets: [socketOf(5, processes)] });

  test('it is one incident, of those who hold it now, and is quiet and ends as one', () => {
    const incidents = incidentsOf();
    const [first, second, third] = [processOf(1), processOf(2), processOf(3)];
    for (const [at, processes] of [[first, second], [second], [second, third], [], [third]].entries()) {
      incidents.error(held(...processes), at * 1000);
    }
    const incident = only(incidents.table());
    expect(incident).toMatchObject({ errors: 5, processes: [{ pid: 3 }], state: 'open' });
    expect(only(incidents.becomeQuiet(34_000)).incident).toBe(incident);
    incidents.error(held(second), 40_000);
    expect(incidents.answered(incidents.find(tupleOf(flowOf(40_000)))!, 50_000)).toEqual([incident]);
    expect(only(incidents.table())).toMatchObject({ errors: 6, state: 'recovered' });
    expect(incidents.forgotten).toEqual({ incidents: 0, errors: 0 });
  });

  test('not of sockets that have no number', () => {
    const incidents = incidentsOf();
    for (const process of [GATEWAY, WORKER]) incidents.error(errorEvent({ sockets: [socketOf(0, [process])] }), 0);
    expect(incidents.table()).toHaveLength(2);
  });
});

describe('the end of an incident', () => {
  function erredAndFound(...events: IcmpEvent[]): { incidents: Incidents; flow: ErringFlow } {
    const incidents = incidentsOf();
    for (const [at, event] of events.entries()) incidents.error(event, at * 1000);
    return { incidents, flow: incidents.find(tupleOf(events.at(-1)!.flow!))! };
  }

  test('an answer ends it once, and tells how long it took from the first error', () => {
    const { incidents, flow } = erredAndFound(errorEvent(), errorEvent());
    const ended = only(incidents.answered(flow, 42_100.4));
    expect(ended).toMatchObject({ state: 'recovered', downMs: 42_100, errors: 2 });
    expect(incidents.answered(flow, 43_000)).toEqual([]);
    expect(incidents.find(tupleOf(flowOf(40_000)))).toBeNull();
    expect(only(incidents.table())).toBe(ended);
  });

  test('an answer to one socket ends the incident of all that it hit', () => {
    const { incidents, flow } = erredAndFound(errorEvent({ flow: flowOf(1) }), errorEvent({ flow: flowOf(2) }));
    expect(incidents.answered(flow, 5000)).toHaveLength(1);
    expect(incidents.find(tupleOf(flowOf(1)))).toBeNull();
  });

  test('a peer that was gone in several ways is back in all of them; errors about a datagram go on', () => {
    const { incidents, flow } = erredAndFound(
      errorEvent(),
      errorEvent({ errno: 'EMSGSIZE', outcome: 'pmtu' }),
      errorEvent({ errno: 'EHOSTUNREACH' }),
      errorEvent(),
    );
    expect(incidents.answered(flow, 9000).map(({ errno, errors }) => [errno, errors])).toEqual(
      expect.arrayContaining([
        ['ECONNREFUSED', 2],
        ['EHOSTUNREACH', 1],
      ]),
    );
    expect(incidents.table().map(({ errno, state }) => [errno, state])[0]).toEqual(['EMSGSIZE', 'open']);
    expect(incidents.find(tupleOf(flowOf(40_000)))).toBeNull();
  });

  test('an error after it begins another incident', () => {
    const { incidents, flow } = erredAndFound(errorEvent(), errorEvent());
    incidents.answered(flow, 2000);
    incidents.error(errorEvent(), 3000);
    expect(incidents.table().map(({ errors, state, firstAt }) => [errors, state, firstAt])).toEqual([
      [1, 'open', 3000],
      [2, 'recovered', 0],
    ]);
    const again = incidents.find(tupleOf(flowOf(40_000)))!;
    expect(again.answer).toBeNull();
    expect(incidents.answered(again, 4000).map(({ downMs }) => downMs)).toEqual([1000]);
  });

  test('an answer after it has become quiet ends it too', () => {
    const { incidents, flow } = erredAndFound(errorEvent());
    expect(incidents.becomeQuiet(100_000)).toHaveLength(1);
    expect(incidents.find(tupleOf(flowOf(40_000)))).toBe(flow);
    expect(only(incidents.answered(flow, 120_000))).toMatchObject({ state: 'recovered', downMs: 120_000 });
  });

  test('a clock that was set back makes no negative time', () => {
    const incidents = incidentsOf();
    for (const at of [5000, 0]) incidents.error(errorEvent(), at);
    expect(only(incidents.answered(incidents.find(tupleOf(flowOf(40_000)))!, 2000)).downMs).toBe(0);
  });
});

describe('quiet', () => {
  const quietAt = (incidents: Incidents, at: number): Incident[] =>
    incidents.becomeQuiet(at).map(({ incident }) => incident);

  const send = (incidents: Incidents, sport: number, times: number, name: string | null = 'eth0'): void => {
    const tuple = tupleOf(flowOf(sport));
    for (let n = 0; n < times; n++) incidents.find(tuple)!.countSent(tuple, name);
  };

  test('after 30 seconds without an error, once', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 1000);
    expect(quietAt(incidents, 30_999)).toEqual([]);
    expect(only(quietAt(incidents, 31_000)).state).toBe('quiet');
    expect(quietAt(incidents, 31_000)).toEqual([]);
    expect(quietAt(incidents, 1e9)).toEqual([]);
  });

  test('after three times the longest gap, where that is longer', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 100_000 }), { minLength: 1, maxLength: 10 }), (gaps) => {
        const incidents = incidentsOf();
        let at = 500;
        incidents.error(errorEvent(), at);
        for (const gap of gaps) incidents.error(errorEvent(), (at += gap));
        const wait = Math.max(30_000, 3 * Math.max(...gaps));
        expect(quietAt(incidents, at + wait - 1)).toEqual([]);
        expect(quietAt(incidents, at + wait)).toHaveLength(1);
      }),
    );
  });

  test('each incident by itself', () => {
    const incidents = incidentsOf();
    for (let n = 0; n < 10; n++) incidents.error(otherPeer(n), n * 1000);
    incidents.error(otherPeer(3), 20_000);
    for (let n = 0; n < 10; n++) {
      const remotes = quietAt(incidents, 30_000 + n * 1000).map(({ remote }) => remote);
      expect(remotes).toEqual(n === 3 ? [] : [otherPeer(n).flow!.dst]);
    }
    expect(quietAt(incidents, 20_000 + 3 * 17_000)).toHaveLength(1);
  });

  test('an error after it opens the same incident, which may become quiet again', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    expect(quietAt(incidents, 30_000)).toHaveLength(1);
    incidents.error(errorEvent(), 40_000);
    expect(only(incidents.table())).toMatchObject({ state: 'open', errors: 2 });
    expect(quietAt(incidents, 40_000 + 119_999)).toEqual([]);
    expect(quietAt(incidents, 40_000 + 120_000)).toHaveLength(1);
  });

  test.each(['EMSGSIZE', 'EPROTO', null])('%s is no outage: it neither becomes quiet nor is answered', (errno) => {
    const incidents = incidentsOf();
    incidents.error(errorEvent({ errno }), 0);
    expect(incidents.becomeQuiet(1e9)).toEqual([]);
    expect(incidents.find(tupleOf(flowOf(40_000)))).toBeNull();
    expect(only(incidents.table()).state).toBe('open');
  });

  test('one that is over does not become quiet', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    incidents.answered(incidents.find(tupleOf(flowOf(40_000)))!, 1000);
    expect(incidents.becomeQuiet(1e9)).toEqual([]);
  });

  test('how many datagrams were sent since the last error: null where none was ever seen', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    expect(only(incidents.becomeQuiet(30_000)).sent).toBeNull();
    incidents.error(errorEvent(), 30_000);
    send(incidents, 40_000, 3);
    expect(only(incidents.becomeQuiet(1e6)).sent).toBe(3);
  });

  test('those before the last error do not count', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    send(incidents, 40_000, 3);
    incidents.error(errorEvent(), 1000);
    expect(only(incidents.becomeQuiet(1e6)).sent).toBe(0);
    incidents.error(errorEvent(), 1e6);
    send(incidents, 40_000, 2);
    expect(only(incidents.becomeQuiet(1e8)).sent).toBe(2);
  });

  test('those of all its flows count, each datagram once though it passes several interfaces and NAT', () => {
    const incidents = incidentsOf();
    const nat = { src: '10.0.0.2', sport: 5000, dst: '192.0.2.20', dport: 9999 };
    incidents.error(errorEvent({ flow: flowOf(1) }), 0);
    incidents.error(errorEvent({ flow: flowOf(2), nat }), 0);
    for (const name of ['eth0', 'br0', null]) send(incidents, 1, 5, name);
    send(incidents, 2, 7);
    for (let n = 0; n < 7; n++) incidents.find(tupleOf(nat))!.countSent(tupleOf(nat), 'eth0');
    expect(only(incidents.becomeQuiet(1e6)).sent).toBe(12);
  });

  test('a peer that was gone in two ways: quiet in the last of them, with what was sent since', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    send(incidents, 40_000, 2);
    incidents.error(errorEvent({ errno: 'EHOSTUNREACH' }), 1000);
    send(incidents, 40_000, 4);
    const { incident, sent } = only(incidents.becomeQuiet(1e6));
    expect([incident.errno, sent]).toEqual(['EHOSTUNREACH', 4]);
    expect(incidents.becomeQuiet(1e9)).toEqual([]);
    expect(incidents.table().map(({ errno, state }) => [errno, state])).toEqual([
      ['EHOSTUNREACH', 'quiet'],
      ['ECONNREFUSED', 'other'],
    ]);
  });

  test.each<[string, Partial<IcmpEvent>]>([
    ['with another errno', { errno: 'EHOSTUNREACH' }],
    ['and no process is known any more', { sockets: [], match: 'none', outcome: 'no-socket' }],
    ['and another process has the port', { sockets: [socketOf(77, [WORKER])] }],
  ])('not while its flow errs on %s; open again with the next error of its own', (_name, change) => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    for (let at = 10_000; at <= 100_000; at += 10_000) {
      incidents.error(errorEvent(change), at);
      expect(quietAt(incidents, at)).toEqual([]);
    }
    expect(incidents.table().map(({ state }) => state)).toEqual(['open', 'other']);
    incidents.error(errorEvent(), 101_000);
    expect(incidents.table().map(({ state, errors }) => [state, errors])).toEqual([
      ['open', 2],
      ['other', 10],
    ]);
  });

  test('not while one of its flows errs on with another errno, though another one had an error of its own since', () => {
    const incidents = incidentsOf();
    for (const sport of [1, 2]) incidents.error(errorEvent({ flow: flowOf(sport) }), 0);
    incidents.error(errorEvent({ flow: flowOf(1), errno: 'EHOSTUNREACH' }), 1000);
    incidents.error(errorEvent({ flow: flowOf(2) }), 2000);
    for (let at = 3000; at <= 90_000; at += 3000) {
      incidents.error(errorEvent({ flow: flowOf(1), errno: 'EHOSTUNREACH' }), at);
      expect(quietAt(incidents, at)).toEqual([]);
    }
  });

  test('an answer ends those too that went on in another row', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    incidents.error(errorEvent({ errno: 'EHOSTUNREACH' }), 1000);
    expect(incidents.answered(incidents.find(tupleOf(flowOf(40_000)))!, 5000)).toHaveLength(2);
    expect(incidents.table().map(({ state }) => state)).toEqual(['recovered', 'recovered']);
  });

  test('not while errors about the same port and errno come of which no process is known', () => {
    const unknown = { sockets: [], match: 'none' as const, outcome: 'no-socket' as const };
    const quietWith = (changes: Partial<IcmpEvent>): number => {
      const incidents = incidentsOf();
      incidents.error(errorEvent(), 0);
      for (let n = 1; n <= 10; n++) {
        incidents.error(errorEvent({ flow: flowOf(n), ...unknown, ...changes }), n * 10_000);
      }
      return quietAt(incidents, 100_000).length;
    };
    expect(quietWith({})).toBe(0);
    expect(quietWith({ errno: 'EHOSTUNREACH' })).toBe(1);
    expect(quietWith({ flow: flowOf(1, { dport: 9998 }) })).toBe(1);
    expect(quietWith({ direction: 'out' })).toBe(1);
    // When those have ceased too, both are.
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    incidents.error(errorEvent({ flow: flowOf(1), ...unknown }), 20_000);
    expect(quietAt(incidents, 49_999)).toEqual([]);
    expect(quietAt(incidents, 50_000)).toHaveLength(2);
  });

  test('of several sockets of which none was seen to send: whether any did is not known', () => {
    const sentOf = (sports: readonly number[], sending: readonly number[]): number | null => {
      const incidents = incidentsOf();
      for (const sport of sports) {
        incidents.error(errorEvent({ flow: flowOf(sport), sockets: [socketOf(sport)] }), sport);
      }
      for (const sport of sports) incidents.find(tupleOf(flowOf(sport)))!.beginCounting();
      for (const sport of sending) send(incidents, sport, 2);
      return only(incidents.becomeQuiet(1e6)).sent;
    };
    expect(sentOf([1], [])).toBe(0);
    expect(sentOf([1, 2], [])).toBeNull();
    expect(sentOf([1, 2], [2])).toBe(2);
  });

  test('any error on its flow clears what was sent, one about a datagram alone too', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    send(incidents, 40_000, 3);
    incidents.error(errorEvent({ errno: 'EMSGSIZE', outcome: 'pmtu' }), 1000);
    expect(incidents.find(tupleOf(flowOf(40_000)))!.sent).toBe(0);
  });
});

describe('what a saved record says of its incident', () => {
  test('quiet, and then recovered, with its time', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    incidents.restate(quietOf({ flow: flowOf(40_000) }));
    expect(only(incidents.table()).state).toBe('quiet');
    incidents.restate(recoveredOf({ flow: flowOf(40_000), downMs: 77 }));
    expect(only(incidents.table())).toMatchObject({ state: 'recovered', downMs: 77 });
  });

  test('only of the errno and the flow that it names', () => {
    const incidents = incidentsOf();
    incidents.error(errorEvent(), 0);
    incidents.restate(recoveredOf({ errno: 'EHOSTUNREACH' }));
    incidents.restate(recoveredOf({ flow: flowOf(1) }));
    incidents.restate(recoveredOf({ flow: flowOf(40_000, { sport: null, dport: null }) }));
    expect(only(incidents.table()).state).toBe('open');
  });
});
