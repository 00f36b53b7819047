import { expect, test } from 'vitest';
import type { Attribution } from '../../src/correlate/attribution.ts';
import { recoveredRecord } from '../../src/correlate/incident-records.ts';
import { Incident } from '../../src/correlate/incidents.ts';
import type { SocketIdentity } from '../../src/event.ts';
import { errorEvent, processOf, socketOf } from '../events.ts';

const HIT = socketOf(1, [processOf(1), processOf(2)]);
const LATER = { seconds: 1_800_000_000, nanoseconds: 5, nanosecondResolution: false };

function record(sockets: SocketIdentity[] | null, match: Attribution['match'] = 'connected') {
  const event = errorEvent({ sockets: [HIT] });
  const found = sockets === null ? null : ({ outcome: 'reported', match, sockets } as Attribution);
  return recoveredRecord(event, found, LATER, new Incident('', event, 0));
}

test('the socket is kept, by whichever of its processes: those of the error are named', () => {
  for (const processes of [[processOf(1), processOf(2)], [processOf(2)], [processOf(2), processOf(3)]]) {
    expect(record([socketOf(1, processes)])).toMatchObject({ ...LATER, sockets: [HIT], keptSocket: true });
  }
});

test('it is kept, and others have it by now: those are named', () => {
  const others = [[processOf(3)], [processOf(1, { started: '2026-11-23T17:01:13Z' })], []];
  for (const processes of others) {
    const sockets = [socketOf(1, processes)];
    expect(record(sockets)).toMatchObject({ sockets, keptSocket: true });
  }
});

test('it is not kept, or that is not known: those of the error are named', () => {
  expect(record([socketOf(9, [processOf(3)])])).toMatchObject({ sockets: [HIT], keptSocket: false });
  expect(record([], 'none')).toMatchObject({ sockets: [HIT], keptSocket: false });
  expect(record([HIT], 'closed')).toMatchObject({ sockets: [HIT], keptSocket: false });
  expect(record([], null)).toMatchObject({ sockets: [HIT], keptSocket: null });
  expect(record(null)).not.toHaveProperty('keptSocket');
});
