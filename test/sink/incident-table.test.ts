import { describe, expect, test } from 'vitest';
import { Incidents } from '../../src/correlate/incidents.ts';
import type { IcmpEvent } from '../../src/event.ts';
import { incidentTable } from '../../src/sink/incident-table.ts';
import { errorEvent, processOf, recoveredOf, quietOf, socketOf, unattributed } from '../events.ts';

const COLUMNS = ['FIRST', 'LAST', 'ERRORS', 'RATE', 'SOCKETS', 'PROCESS', 'REMOTE', 'ERRNO', 'HEARS', 'STATE'] as const;
type Row = Record<(typeof COLUMNS)[number], string>;

function incidentsOf(...errors: [event: IcmpEvent, at: number][]): Incidents {
  const incidents = new Incidents({ maxFlows: 1000, onlyKnownSockets: false });
  for (const [event, at] of errors) incidents.error(event, at);
  return incidents;
}

function linesOf(incidents: Incidents, now: number | null = null): string[] {
  return incidentTable(incidents, now).map((octets) => {
    expect(octets).not.toMatch(/[\u0100-\uffff]/);
    return Buffer.from(octets, 'latin1').toString('utf8');
  });
}

/** The rows, cut where the columns of the header begin: as an eye reads them. */
function rowsOf(incidents: Incidents, now: number | null = null): Row[] {
  const [header = [], ...lines] = linesOf(incidents, now).map((line) => Array.from(line));
  const heads = Array.from(header.join('').matchAll(/\S+/g));
  expect(heads.map(([name]) => name)).toEqual(COLUMNS);
  return lines.map((line) => {
    const cells = heads.map(({ index }, n) => {
      // Two spaces before each column: no cell runs into the next one.
      if (n > 0) expect(line.slice(index - 2, index).join('')).toBe('  ');
      return line
        .slice(index, heads[n + 1]?.index)
        .join('')
        .trimEnd();
    });
    return Object.fromEntries(COLUMNS.map((name, n) => [name, cells[n]!])) as Row;
  });
}

test('nothing is no table', () => {
  expect(incidentTable(incidentsOf(), null)).toEqual([]);
});

test('an incident in a row', () => {
  const last = errorEvent({ seconds: errorEvent().seconds + 86_400, sockets: [socketOf(2)] });
  expect(rowsOf(incidentsOf([errorEvent(), 0], [last, 60_000]), 61_500)).toEqual([
    {
      FIRST: '11-23 17:01:14',
      LAST: '11-24 17:01:14',
      ERRORS: '2',
      RATE: '1.0/min',
      SOCKETS: '2',
      PROCESS: 'gateway[4711]',
      REMOTE: '192.0.2.20:9999',
      ERRNO: 'ECONNREFUSED',
      HEARS: 'yes',
      STATE: 'open, 1.5 s since the last',
    },
  ]);
});

test('columns are as wide as what is in them, by characters and not by octets', () => {
  const events = ['größe', '日本語', '😀', 'x', 'a-name-as-long'].map((comm, n): [IcmpEvent, number] => [
    errorEvent({
      flow: { ...errorEvent().flow!, dst: n % 2 === 0 ? '192.0.2.1' : '2001:db8:1111:2222:3333:4444:5555:6666' },
      sockets: [socketOf(n, [processOf(10 ** n, { comm })])],
    }),
    n,
  ]);
  const rows = rowsOf(incidentsOf(...events)).toReversed();
  expect(rows.map(({ PROCESS }) => PROCESS)).toEqual([
    'größe[1]',
    '日本語[10]',
    '😀[100]',
    'x[1000]',
    'a-name-as-long[10000]',
  ]);
  expect(rows.map(({ REMOTE }) => REMOTE)).toContain('[2001:db8:1111:2222:3333:4444:5555:6666]:9999');
});

test('no line ends in spaces', () => {
  for (const line of linesOf(incidentsOf([errorEvent(), 0]))) expect(line).not.toMatch(/\s$/);
});

test.each(['\x1b[2J\x9b31m\x07', 'x\ny', 'a\u202eb', '\ud800', '\\x1b'])('a hostile name is escaped: %j', (comm) => {
  const lines = linesOf(incidentsOf([errorEvent({ sockets: [socketOf(1, [processOf(1, { comm })])] }), 0]));
  expect(lines).toHaveLength(2);
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  for (const line of lines) expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f]|\p{Cf}|\p{Cs}/u);
});

describe('the rate, between the first error and the last', () => {
  test.each<[string, number, number, string]>([
    ['one error has none', 1, 0, '-'],
    ['nor have two at the same moment', 2, 0, '-'],
    ['5 errors in a second', 5, 1000, '4.0/s'],
    ['two in 10 s', 2, 10_000, '0.1/s'],
    ['two in 20 s', 2, 20_000, '3.0/min'],
    ['three in 10 minutes', 3, 600_000, '0.2/min'],
    ['two in 20 minutes', 2, 1_200_000, '3.0/h'],
    ['two in 10 hours', 2, 36_000_000, '0.1/h'],
    ['1,235 in 10 s', 1235, 10_000, '123/s'],
    ['20,001 in a second', 20_001, 1000, '20,000/s'],
  ])('%s', (_name, count, span, rate) => {
    const errors = Array.from({ length: count }, (_, n): [IcmpEvent, number] => [
      errorEvent(),
      n === count - 1 ? 500 + span : 500,
    ]);
    const row = rowsOf(incidentsOf(...errors))[0]!;
    expect(row.RATE).toBe(rate);
    expect(row.ERRORS.replaceAll(',', '')).toBe(String(count));
  });

  test('a clock that was set back makes none', () => {
    expect(rowsOf(incidentsOf([errorEvent(), 5000], [errorEvent(), 4000]))[0]!.RATE).toBe('-');
  });
});

describe('the state', () => {
  test.each([
    [0, '0.0 s'],
    [99_900, '99.9 s'],
    [100_000, '1.7 min'],
    [5_999_000, '100.0 min'],
    [6_000_000, '1.7 h'],
    [-1000, '0.0 s'],
  ])('%i ms since the last are %s', (since, text) => {
    expect(rowsOf(incidentsOf([errorEvent(), 7000]), 7000 + since)[0]!.STATE).toBe(`open, ${text} since the last`);
  });

  test('quiet, recovered; in a replay no clock runs on', () => {
    const incidents = incidentsOf([errorEvent(), 0]);
    expect(rowsOf(incidents)[0]!.STATE).toBe('open');
    incidents.restate(quietOf());
    expect(rowsOf(incidents)[0]!.STATE).toBe('quiet');
    expect(rowsOf(incidents, 31_000)[0]!.STATE).toBe('quiet, 31.0 s since the last');
    incidents.restate(recoveredOf());
    expect(rowsOf(incidents, 31_000)[0]!.STATE).toBe('answers again after 42.1 s');
  });
});

test.each<[string, IcmpEvent, Partial<Row>]>([
  ['no process is known', unattributed(), { PROCESS: '?', HEARS: '?' }],
  ['a socket that no process holds', errorEvent({ sockets: [socketOf(1, [])] }), { PROCESS: '?', HEARS: 'yes' }],
  [
    'this host sent it',
    unattributed({ direction: 'out', outcome: 'not-local', match: 'none' }),
    { PROCESS: 'sent by this host', HEARS: '?' },
  ],
  [
    'it is about another host',
    unattributed({ direction: 'forward', outcome: 'not-local', match: 'none' }),
    { PROCESS: 'not sent from here', HEARS: '?' },
  ],
  [
    'several processes',
    errorEvent({ sockets: [1, 2, 3, 4, 5].map((pid) => socketOf(pid, [processOf(pid)])) }),
    { PROCESS: 'gateway[1] or gateway[2] or gateway[3] or gateway[4] or 1 more', SOCKETS: '5' },
  ],
  ['no errno', errorEvent({ errno: null, outcome: 'ignored' }), { ERRNO: '-', HEARS: 'no' }],
  [
    'not known whether it has IP_RECVERR',
    errorEvent({ outcome: 'ignored', sockets: [socketOf(1, [processOf(1)], { recverr: null })] }),
    { HEARS: 'if IP_RECVERR' },
  ],
  ['a socket that is gone', errorEvent({ outcome: 'no-socket', match: 'closed' }), { HEARS: 'closed' }],
  [
    'ports that were not quoted',
    unattributed({ flow: { protocol: 'udp', src: '192.0.2.10', sport: null, dst: '192.0.2.20', dport: null } }),
    { REMOTE: '192.0.2.20:?' },
  ],
])('%s', (_name, event, expected) => {
  expect(rowsOf(incidentsOf([event, 0]))).toMatchObject([expected]);
});

test('sockets that are not told apart any more are so many and more', () => {
  const errors = Array.from({ length: 500 }, (_, n): [IcmpEvent, number] => [
    errorEvent({ flow: { ...errorEvent().flow!, sport: n }, sockets: [socketOf(n)] }),
    n,
  ]);
  expect(rowsOf(incidentsOf(...errors))[0]!.SOCKETS).toMatch(/^\d+\+$/);
});

test('what is forgotten is said in the last line, with its errors', () => {
  const incidents = new Incidents({ maxFlows: 0, onlyKnownSockets: false });
  let n = 0;
  const next = (): void => {
    const flow = { ...errorEvent().flow!, dport: n++ };
    incidents.error(unattributed({ flow }), n);
    incidents.error(unattributed({ flow }), n);
  };
  while (incidents.forgotten.incidents === 0) next();
  const { incidents: count, errors } = incidents.forgotten;
  expect(errors).toBe(2 * count);
  expect(linesOf(incidents).at(-1)).toBe(`${count} older incidents with ${errors} errors are forgotten`);
  Object.assign(incidents.forgotten, { incidents: 1, errors: 1 });
  expect(linesOf(incidents).at(-1)).toBe('1 older incident with 1 error is forgotten');
  Object.assign(incidents.forgotten, { incidents: 1200, errors: 1_234_567 });
  expect(linesOf(incidents).at(-1)).toBe('1,200 older incidents with 1,234,567 errors are forgotten');
});
