/** The judgement on one port, in made-up time. */
import { describe, expect, test } from 'vitest';
import { PortProbe, type Finding, type IcmpError, type PortOptions, type Step } from '../../src/probe/verdict.ts';

const ROUTER = '10.0.0.1';
const OWN = '10.0.0.2';
const TARGET = { address: '192.0.2.20', port: 9999 };

function icmp(type: number, code: number, more: Partial<IcmpError> = {}): IcmpError {
  const sentFrom = { address: OWN, port: 40_000 };
  return { version: 4, type, code, src: TARGET.address, mtu: null, sentFrom, sentTo: TARGET, ...more };
}

/** A probe with the default options; `run` plays the driver, whose sends succeed unless told. */
function probe(more: Partial<PortOptions> = {}): PortProbe {
  return new PortProbe({
    count: 3,
    interval: 1000,
    timeout: 4000,
    isCapturing: () => true,
    isOwn: (address) => address === OWN,
    ...more,
  });
}

/** What happens, by its time. */
type Happenings = [at: number, happening: (port: PortProbe, at: number) => void][];

/** Does what the port says, and lets happen what happens, until it ends. */
function run(port: PortProbe, happenings: Happenings = []): { finding: Finding; endedAt: number; sentAt: number[] } {
  const sentAt: number[] = [];
  let now = 0;
  for (let turns = 0; turns < 1000; turns++) {
    const step = port.next(now);
    if (step.do === 'end') return { finding: step.finding, endedAt: now, sentAt };
    const next = happenings[0];
    if (next !== undefined && next[0] <= Math.max(now, step.at)) {
      happenings.shift();
      now = Math.max(now, next[0]);
      next[1](port, now);
    } else if (step.do === 'send' && step.at <= now) {
      sentAt.push(now);
      port.sent(now);
    } else now = step.at;
  }
  return expect.fail('it does not end');
}

const told =
  (errno: string): Happenings[number][1] =>
  (port, at) =>
    port.told(errno, at);
const captured =
  (error: IcmpError): Happenings[number][1] =>
  (port, at) =>
    port.captured(error, at);

test('nothing comes: silent, when the last datagram has had its time', () => {
  expect(run(probe())).toEqual({
    finding: { verdict: 'silent', sent: 3, afterMs: 6000, sinceFirst: expect.any(Boolean) as boolean },
    endedAt: 6000,
    sentAt: [0, 1000, 2000],
  });
});

test('nothing comes, and the ICMP is not captured: that one came unseen is possible', () => {
  expect(run(probe({ isCapturing: () => false })).finding).toMatchObject({ verdict: 'silent', icmp: null });
});

describe('an answer', () => {
  test('ends it at once', () => {
    const { finding, endedAt } = run(probe(), [[3, (port, at) => port.answered(31, null, at)]]);
    expect(finding).toEqual({ verdict: 'answered', octets: 31, sent: 1, afterMs: 3, sinceFirst: false });
    expect(endedAt).toBe(3);
  });

  test('to the second of two datagrams, where that is known', () => {
    const { finding } = run(probe(), [[1003, (port, at) => port.answered(0, 1, at)]]);
    expect(finding).toMatchObject({ verdict: 'answered', sent: 2, afterMs: 3, sinceFirst: false });
  });

  test('to one of two datagrams, it is not known which', () => {
    const { finding } = run(probe(), [[1003, (port, at) => port.answered(0, null, at)]]);
    expect(finding).toMatchObject({ verdict: 'answered', sent: 2, afterMs: 1003, sinceFirst: true });
  });

  test.each([
    ['an error that is not fatal', captured(icmp(3, 1, { src: ROUTER }))],
    ['an error that is fatal', told('ECONNREFUSED')],
  ])('wins over %s', (_name, error) => {
    const { finding } = run(probe(), [
      [2, error],
      [400, (port, at) => port.answered(5, null, at)],
    ]);
    expect(finding).toMatchObject({ verdict: 'answered', octets: 5 });
    expect(finding).not.toHaveProperty('icmp');
    expect(finding).not.toHaveProperty('errno');
  });
});

describe('a fatal error', () => {
  test.each<[string, Happenings]>([
    [
      'the socket first',
      [
        [1, told('ECONNREFUSED')],
        [3, captured(icmp(3, 3))],
      ],
    ],
    [
      'the capture first',
      [
        [1, captured(icmp(3, 3))],
        [3, told('ECONNREFUSED')],
      ],
    ],
  ])('is known when both tell of it, %s', (_name, happenings) => {
    const { finding, endedAt } = run(probe(), happenings);
    expect(finding).toMatchObject({ verdict: 'refused', errno: 'ECONNREFUSED', icmp: icmp(3, 3), sent: 1 });
    expect(finding).not.toHaveProperty('socketNotTold');
    expect(endedAt).toBe(3);
  });

  test('without a capture: at once, and who said it is not known', () => {
    const { finding, endedAt } = run(probe({ isCapturing: () => false }), [[1, told('EHOSTUNREACH')]]);
    expect(finding).toMatchObject({ verdict: 'unreachable', errno: 'EHOSTUNREACH', icmp: null });
    expect(endedAt).toBe(1);
  });

  test('the capture missed it', () => {
    const { finding, sentAt } = run(probe(), [[1, told('EACCES')]]);
    expect(finding).toMatchObject({ verdict: 'unreachable', errno: 'EACCES', icmp: null, afterMs: 1 });
    expect(sentAt).toEqual([0]);
  });

  test('the capture saw another that is not fatal and maps to the same errno: that is not it', () => {
    const { finding } = run(probe(), [
      [1, captured(icmp(3, 1, { src: ROUTER }))],
      [2, told('EHOSTUNREACH')],
    ]);
    expect(finding).toMatchObject({ errno: 'EHOSTUNREACH', icmp: null });
  });

  test('the socket is not told', () => {
    const { finding, sentAt } = run(probe(), [[1, captured(icmp(3, 3))]]);
    expect(finding).toMatchObject({ verdict: 'refused', icmp: icmp(3, 3), afterMs: 1, socketNotTold: true });
    expect(sentAt).toEqual([0]);
  });
});

describe('an error that is not fatal', () => {
  test.each([
    ['host unreachable', icmp(3, 1, { src: ROUTER }), 'EHOSTUNREACH'],
    ['time exceeded', icmp(11, 0, { src: ROUTER }), 'EHOSTUNREACH'],
    ['reassembly time exceeded, which reaches no socket', icmp(11, 1), null],
    ['an unknown code, which reaches no socket', icmp(3, 200), null],
    ['no route (v6)', icmp(1, 0, { version: 6, src: '2001:db8::1' }), 'ENETUNREACH'],
  ])('%s: a router may be wrong, so the rest of the time is waited', (_name, error, errno) => {
    const { finding, endedAt, sentAt } = run(probe(), [[5, captured(error)]]);
    expect(finding).toEqual({ verdict: 'unreachable', errno, icmp: error, sent: 3, afterMs: 5, sinceFirst: false });
    expect(endedAt).toBe(6000);
    expect(sentAt).toHaveLength(3);
  });

  test('the first of several is reported', () => {
    const { finding } = run(probe(), [
      [5, captured(icmp(11, 0, { src: ROUTER }))],
      [1005, captured(icmp(3, 0, { src: ROUTER }))],
    ]);
    expect(finding).toMatchObject({ icmp: { type: 11 }, afterMs: 5 });
  });

  test.each([
    ['v4', icmp(3, 1, { src: OWN })],
    ['v6', icmp(1, 3, { version: 6, src: OWN })],
  ])('this host itself says so (%s): that is the end', (_name, error) => {
    const { finding, endedAt } = run(probe(), [[3070, captured(error)]]);
    expect(finding).toMatchObject({ verdict: 'unreachable', errno: 'EHOSTUNREACH', icmp: error, sinceFirst: true });
    expect(endedAt).toBe(3070);
  });

  test('a fatal one after it wins', () => {
    const { finding } = run(probe(), [
      [5, captured(icmp(3, 1, { src: ROUTER }))],
      [1001, captured(icmp(3, 3))],
      [1002, told('ECONNREFUSED')],
    ]);
    expect(finding).toMatchObject({ verdict: 'refused', afterMs: 1002, sinceFirst: true, sent: 2 });
  });
});

test.each([
  ['redirect', 5],
  ['source quench', 4],
])('%s: the datagram went on', (_name, type) => {
  expect(run(probe(), [[1, captured(icmp(type, 1, { src: ROUTER }))]]).finding.verdict).toBe('silent');
});

describe('too big for the path', () => {
  const tooBig = icmp(3, 4, { src: ROUTER, mtu: 1300 });

  test('it is sent again at once, and that is the one that counts', () => {
    const { finding, sentAt } = run(probe(), [
      [1, told('EMSGSIZE')],
      [2, (port) => port.captured(tooBig, 0.5)],
      [3, captured(icmp(3, 3))],
      [4, told('ECONNREFUSED')],
    ]);
    expect(sentAt).toEqual([0, 1]);
    expect(finding).toMatchObject({
      verdict: 'refused',
      tooBig: { mtu: 1300 },
      sent: 2,
      afterMs: 3,
      sinceFirst: false,
    });
  });

  test('the capture tells of it late, by a time stamp before the second: once is enough', () => {
    const { sentAt, finding } = run(probe(), [
      [1, told('EMSGSIZE')],
      [4, (port) => port.captured(tooBig, 0.5)],
    ]);
    expect(sentAt).toEqual([0, 1, 1001, 2001]);
    expect(finding).toMatchObject({ verdict: 'silent', sent: 4, afterMs: 6001, tooBig: { mtu: 1300 } });
  });

  test('each link of the path may be smaller', () => {
    const { sentAt } = run(probe({ count: 1 }), [
      [1, told('EMSGSIZE')],
      [2, told('EMSGSIZE')],
    ]);
    expect(sentAt).toEqual([0, 1, 2]);
  });

  test('whatever is sent: it ends', () => {
    const always: Happenings = Array.from({ length: 50 }, (_, n) => [n + 1, told('EMSGSIZE')]);
    const { finding, sentAt } = run(probe({ count: 1 }), always);
    expect(finding).toMatchObject({ verdict: 'unreachable', errno: 'EMSGSIZE' });
    expect(sentAt.length).toBeLessThan(12);
  });
});

test('a local error ends it', () => {
  const port = probe();
  port.localError('EPERM', 7);
  const step: Step = port.next(7);
  expect(step).toEqual({
    do: 'end',
    finding: { verdict: 'local-error', errno: 'EPERM', sent: 0, afterMs: null, sinceFirst: false },
  });
});

test('the first verdict stays', () => {
  const port = probe();
  port.sent(0);
  port.answered(1, 0, 1);
  port.localError('EPERM', 2);
  port.captured(icmp(3, 3), 2);
  port.told('ECONNREFUSED', 2);
  expect(port.next(10_000)).toMatchObject({ do: 'end', finding: { verdict: 'answered' } });
});
