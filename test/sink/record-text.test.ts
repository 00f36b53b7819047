import { describe, expect, test } from 'vitest';
import type { IncidentRecord, SocketIdentity } from '../../src/event.ts';
import { recordText } from '../../src/sink/record-text.ts';
import { textSink, type TextOptions } from '../../src/sink/text.ts';
import { processOf, quietOf, recoveredOf, socketOf, unattributed } from '../events.ts';

/** What a terminal would act on, or a reader not see. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f]|\p{Cf}|\p{Cs}/u;

function printed(record: IncidentRecord): string {
  const octets = recordText(record);
  expect(octets).not.toMatch(/[\u0100-\uffff]/);
  return Buffer.from(octets, 'latin1').toString('utf8');
}

/** Without sockets, as in a replay. */
function bare({ sockets: _sockets, keptSocket: _keptSocket, ...record }: IncidentRecord): IncidentRecord {
  return record;
}

const PEER = '192.0.2.20:9999';
const NAT = { src: '10.0.0.2', sport: 5000, dst: '10.0.0.80', dport: 80 };

describe('the peer answers again', () => {
  test.each<[string, IncidentRecord, string]>([
    ['the process kept its socket', recoveredOf(), '; gateway[4711] kept its socket (4 errors, ECONNREFUSED)'],
    [
      'it has another one',
      recoveredOf({ keptSocket: false }),
      '; gateway[4711] no longer has that socket (4 errors, ECONNREFUSED)',
    ],
    [
      'whether it has could not be found out',
      recoveredOf({ keptSocket: null }),
      '; gateway[4711] had the socket (4 errors, ECONNREFUSED)',
    ],
    [
      'one error, another errno',
      recoveredOf({ errors: 1, errno: 'EHOSTUNREACH' }),
      '; gateway[4711] kept its socket (1 error, EHOSTUNREACH)',
    ],
    [
      'many errors',
      recoveredOf({ errors: 1_234_567 }),
      '; gateway[4711] kept its socket (1,234,567 errors, ECONNREFUSED)',
    ],
  ])('%s', (_name, record, rest) => {
    expect(printed(record)).toBe(`${PEER} answers again after 42.1 s${rest}`);
  });

  test('nobody known asked: it says which address and port did', () => {
    const asker = `${PEER} answers 192.0.2.10:40000 again after 42.1 s (4 errors, ECONNREFUSED)`;
    expect(printed(bare(recoveredOf()))).toBe(asker);
    expect(printed(recoveredOf({ sockets: [socketOf(1, [])] }))).toBe(asker);
  });

  test.each([
    [0, '0.0 s'],
    [49, '0.0 s'],
    [50, '0.1 s'],
    [42_149, '42.1 s'],
    [7_200_000, '7200.0 s'],
  ])('%i ms are %s', (downMs, text) => {
    expect(printed(recoveredOf({ downMs }))).toContain(` again after ${text};`);
  });
});

describe('the peer is quiet', () => {
  test.each<[string, IncidentRecord, string]>([
    ['datagrams seen', quietOf(), '4 datagrams to it seen since: evidence that it is back, no proof'],
    ['one datagram seen', quietOf({ sent: 1 }), '1 datagram to it seen since: evidence that it is back, no proof'],
    ['none seen', quietOf({ sent: 0 }), 'but no datagram to it was seen since, so nothing is known'],
    ['not captured', quietOf({ sent: null }), 'and whether anything was sent to it since is not known'],
  ])('%s', (_name, record, evidence) => {
    const start = `${PEER} is quiet: no error for 30.0 s, ${evidence}`;
    expect(printed(record)).toBe(`${start}; gateway[4711] (4 errors, ECONNREFUSED)`);
    expect(printed(bare(record))).toBe(`${start} (4 errors, ECONNREFUSED)`);
  });
});

test('the peer is the one that the process sees; IPv6 in brackets', () => {
  expect(printed(recoveredOf({ nat: NAT }))).toMatch(/^10\.0\.0\.80:80 answers again /);
  expect(printed(bare(recoveredOf({ nat: NAT })))).toMatch(/^10\.0\.0\.80:80 answers 10\.0\.0\.2:5000 again /);
  const flow = { protocol: 'udp', src: '2001:db8::1', sport: 1, dst: '2001:db8::2', dport: 53 };
  expect(printed(bare(recoveredOf({ flow })))).toMatch(/^\[2001:db8::2\]:53 answers \[2001:db8::1\]:1 again /);
  expect(printed(quietOf({ flow }))).toMatch(/^\[2001:db8::2\]:53 is quiet: /);
});

test('each process once, four of them by name', () => {
  const sockets = (...pids: number[]): SocketIdentity[] => pids.map((pid, n) => socketOf(n, [processOf(pid)]));
  expect(printed(recoveredOf({ sockets: sockets(1, 2, 1, 2) }))).toContain('; gateway[1] or gateway[2] kept its');
  expect(printed(quietOf({ sockets: sockets(1, 2, 3, 4, 5, 6) }))).toContain(
    '; gateway[1] or gateway[2] or gateway[3] or gateway[4] or 2 more (',
  );
});

test.each(['\x1b[2J\x9b31m\x07', 'x\n\ty answers again', 'a\u202eb\u2066c', '\ud800', '\\x1b'])(
  'a hostile name is escaped: %j',
  (comm) => {
    for (const record of [recoveredOf(), quietOf()]) {
      const line = printed({ ...record, sockets: [socketOf(1, [processOf(4711, { comm })])] });
      expect(line).not.toMatch(UNPRINTABLE);
      expect(line).toContain('[4711]');
    }
  },
);

test('names in any script stay as they are', () => {
  const sockets = [socketOf(1, [processOf(4711, { comm: 'größe-日本-😀' })])];
  expect(printed(recoveredOf({ sockets }))).toContain('; größe-日本-😀[4711] kept its socket');
});

describe('in the text output', () => {
  const line = (options: Partial<TextOptions>): string =>
    textSink({ layout: 'two-line', timeStamp: 1, verbose: false, ...options }).record(recoveredOf());
  const TEXT = `${PEER} answers again after 42.1 s; gateway[4711] kept its socket (4 errors, ECONNREFUSED)\n`;

  test('a line of its own, indented, with the time of the answer', () => {
    expect(line({ timeStamp: 1 })).toBe(`\t${TEXT}`);
    expect(line({ timeStamp: 1, layout: 'oneline' })).toBe(`\t${TEXT}`);
    expect(line({ timeStamp: 1, verbose: true })).toBe(`\t${TEXT}`);
    expect(line({ timeStamp: 0 })).toBe(`\t17:01:56.075617 ${TEXT}`);
    expect(line({ timeStamp: 2 })).toBe(`\t${recoveredOf().seconds}.075617 ${TEXT}`);
    expect(line({ timeStamp: 4 })).toBe(`\t2026-11-23 17:01:56.075617 ${TEXT}`);
  });

  test('--plain is tcpdump alone', () => {
    expect(line({ layout: 'plain' })).toBe('');
  });

  test.each([3, 5] as const)('it does not change the differences between packets (style %i)', (timeStamp) => {
    const stamps = (withRecord: boolean): string[] => {
      const sink = textSink({ layout: 'plain', timeStamp, verbose: false });
      const withText = textSink({ layout: 'two-line', timeStamp, verbose: false });
      const [first, second] = [unattributed(), unattributed({ seconds: unattributed().seconds + 60 })];
      const plain = [sink.format(first, ''), sink.format(second, '')];
      const text = [withText.format(first, '')];
      if (withRecord) expect(withText.record(recoveredOf())).toContain('answers again');
      text.push(withText.format(second, ''));
      expect(text.map((both) => both.split('\n')[0])).toEqual(plain.map((one) => one.trimEnd() + ' '));
      return text;
    };
    expect(stamps(true)).toEqual(stamps(false));
  });
});
