/**
 * What a replay tells of incidents, from captures of a client and a peer that goes and comes back.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, test, vi } from 'vitest';
import schema from '../src/event.schema.json' with { type: 'json' };
import { udpicmpWatch } from './command.ts';
import { answer, captureOf, datagram, NOTHING_SELECTED, portUnreachable, START } from './packets.ts';
import { replay, type ReplayOptions } from './replay.ts';

// Thousands of replays, or a dozen processes, a test.
vi.setConfig({ testTimeout: 60_000 });

/** The lines about incidents alone. */
function told(capture: Buffer, options: ReplayOptions = {}): string[] {
  const lines = replay(capture, { ...options, print: { timeStamp: 1, ...(options.print as object) } }).stdout.split(
    '\n',
  );
  return lines.filter((line) => / answers .*again |is quiet: /.test(line)).map((line) => line.trim());
}

/** Errors about the client's ports, one a second. */
function errors(...sports: readonly number[]): [number, Buffer][] {
  return sports.map((sport, n) => [n * 1000, portUnreachable(sport)]);
}

const HOST_UNREACHABLE = 1;
const FRAGMENTATION_NEEDED = 4;

function unreachable(sport: number, code: number): Buffer {
  return portUnreachable(sport, 17, code);
}

const RECOVERED = '192.0.2.20:9999 answers 192.0.2.10:1 again after 5.0 s (3 errors, ECONNREFUSED)';

describe('recovered', () => {
  test('by the next datagram of the peer to that socket, once', () => {
    const capture = captureOf(...errors(1, 1, 1), [3000, datagram(1)], [5000, answer(1)], [5001, answer(1)]);
    expect(told(capture)).toEqual([RECOVERED]);
    expect(replay(capture).stdout.split('\n').slice(-2)).toEqual([`\t22:13:25.000000 ${RECOVERED}`, '']);
  });

  test('an answer before any error, one to another socket, or what the client sends, is none', () => {
    expect(told(captureOf([0, answer(1)], [1, datagram(1)], [2, portUnreachable(1)]))).toEqual([]);
    expect(told(captureOf(...errors(1), [1500, datagram(1)], [2000, answer(2)], [2001, datagram(2)]))).toEqual([]);
  });

  test('a datagram of which too little was captured is none', () => {
    expect(told(captureOf(...errors(1), [1000, datagram(1)], [2000, answer(1).subarray(0, 23)]))).toEqual([]);
    expect(told(captureOf(...errors(1), [1000, datagram(1)], [2000, answer(1).subarray(0, 24)]))).toHaveLength(1);
  });

  test('nor is a later fragment, whose first octets are no ports', () => {
    const fragment = answer(1);
    fragment.writeUInt16BE(1, 6);
    expect(told(captureOf(...errors(1), [1000, datagram(1)], [2000, fragment]))).toEqual([]);
  });

  test('once for an incident of several sockets', () => {
    const sent = [1, 2, 3].map((sport): [number, Buffer] => [3000 + sport, datagram(sport)]);
    const capture = captureOf(...errors(1, 2, 3), ...sent, [4000, answer(2)], [4001, answer(1)], [4002, answer(3)]);
    expect(told(capture)).toEqual(['192.0.2.20:9999 answers 192.0.2.10:2 again after 4.0 s (3 errors, ECONNREFUSED)']);
  });

  test('not by what the peer sends unasked: a datagram to it, after the last error, comes first', () => {
    const unasked = captureOf(...errors(1, 1, 1), [4000, answer(1)], [5000, answer(1)], [5001, datagram(1)]);
    expect(told(unasked)).toEqual([]);
    const askedBefore = captureOf([0, portUnreachable(1)], [500, datagram(1)], [1000, portUnreachable(1)]);
    const later = captureOf(...errors(1), [500, datagram(1)], [1000, portUnreachable(1)], [5000, answer(1)]);
    expect([told(askedBefore), told(later)]).toEqual([[], []]);
    // On that flow, not on another one.
    expect(told(captureOf(...errors(1, 2), [2000, datagram(2)], [3000, answer(1)]))).toEqual([]);
    // The first datagram after that which was sent, not one before it.
    expect(told(captureOf(...errors(1, 1, 1), [3000, answer(1)], [4000, datagram(1)], [5000, answer(1)]))).toEqual([
      RECOVERED,
    ]);
  });

  test('not if an error follows within 1.5 s, on whichever flow of the incident', () => {
    for (const sport of [1, 2]) {
      const capture = (gap: number): Buffer =>
        captureOf(...errors(1, 1, 1), [4000, datagram(1)], [5000, answer(1)], [5000 + gap, portUnreachable(sport)]);
      expect(told(capture(1499))).toEqual([]);
      expect(told(capture(1500))).toEqual([RECOVERED]);
      expect(told(capture(3000))).toEqual([RECOVERED]);
    }
    // One of another errno on the flow too: what the peer sent is no answer to what was sent.
    const capture = captureOf([0, portUnreachable(1)], [1000, datagram(1)], [2000, answer(1)]);
    const other = captureOf(
      [0, portUnreachable(1)],
      [1000, datagram(1)],
      [2000, answer(1)],
      [2500, unreachable(1, HOST_UNREACHABLE)],
      [9000, portUnreachable(7)],
    );
    expect([told(capture).length, told(other)]).toEqual([1, []]);
  });

  test('an answer after one that was none ends it', () => {
    for (const gap of [200, 3000]) {
      const capture = captureOf(
        [0, portUnreachable(1)],
        [1000, datagram(1)],
        [1500, answer(1)],
        [2000, portUnreachable(1)],
        [2000 + gap / 2, datagram(1)],
        [2000 + gap, answer(1)],
      );
      expect(told(capture)).toEqual([
        `192.0.2.20:9999 answers 192.0.2.10:1 again after ${((2000 + gap) / 1000).toFixed(1)} s (2 errors, ECONNREFUSED)`,
      ]);
    }
  });

  test('it is told before the first packet that comes 1.5 s after it, with its own time', () => {
    const capture = captureOf(
      ...errors(1, 1, 1),
      [4000, datagram(1)],
      [5000, answer(1)],
      [6499, portUnreachable(7, 17, 4)],
      [6500, portUnreachable(8, 17, 4)],
    );
    const lines = replay(capture, { print: { layout: 'oneline' } }).stdout.split('\n');
    expect(lines.map((line) => /answers|:(7|8) >/.exec(line)?.[0]).filter(Boolean)).toEqual([
      ':7 >',
      'answers',
      ':8 >',
    ]);
    expect(lines).toContainEqual(expect.stringContaining(`22:13:25.000000 ${RECOVERED}`));
  });

  test('a second outage is another incident, with its own time and count', () => {
    const capture = captureOf(
      ...errors(1, 1, 1),
      [4000, datagram(1)],
      [5000, answer(1)],
      [8000, portUnreachable(1)],
      [8400, datagram(1)],
      [8500, answer(1)],
      [8501, answer(1)],
    );
    expect(told(capture)).toEqual([
      RECOVERED,
      '192.0.2.20:9999 answers 192.0.2.10:1 again after 0.5 s (1 error, ECONNREFUSED)',
    ]);
  });

  test('of two errnos on one flow both', () => {
    const capture = captureOf(
      [0, portUnreachable(1)],
      [1000, unreachable(1, HOST_UNREACHABLE)],
      [2000, portUnreachable(1)],
      [2500, datagram(1)],
      [3000, answer(1)],
      [3001, answer(1)],
    );
    expect(told(capture).toSorted()).toEqual([
      '192.0.2.20:9999 answers 192.0.2.10:1 again after 2.0 s (1 error, EHOSTUNREACH)',
      '192.0.2.20:9999 answers 192.0.2.10:1 again after 3.0 s (2 errors, ECONNREFUSED)',
    ]);
  });

  test('an error about a datagram alone ends with no answer', () => {
    expect(told(captureOf([0, unreachable(1, FRAGMENTATION_NEEDED)], [500, datagram(1)], [1000, answer(1)]))).toEqual(
      [],
    );
  });

  test('what is not shown makes no incident', () => {
    const sent = [1, 2].map((sport): [number, Buffer] => [2000 + sport, datagram(sport)]);
    const capture = captureOf(...errors(1, 2), ...sent, [3000, answer(1)], [3001, answer(2)]);
    const selection = { ...NOTHING_SELECTED, ports: [2] };
    expect(told(capture, { selection })).toEqual([
      '192.0.2.20:9999 answers 192.0.2.10:2 again after 2.0 s (1 error, ECONNREFUSED)',
    ]);
  });

  test('--plain is tcpdump alone', () => {
    const capture = captureOf(...errors(1, 1), [2000, datagram(1)], [3000, answer(1)], [5000, portUnreachable(1)]);
    const { stdout } = replay(capture, { print: { layout: 'plain' } });
    expect(stdout.split('\n').slice(0, -1)).toHaveLength(3);
    expect(told(capture, { print: { layout: 'plain' } })).toEqual([]);
  });

  test('the table says so', () => {
    const { incidents } = replay(
      captureOf(...errors(1, 1, 1), [4000, datagram(1)], [5000, answer(1)], [7000, portUnreachable(1)]),
    );
    expect(incidents.split('\n').map((line) => /(STATE|open|answers again after 5\.0 s)$/.exec(line)?.[0])).toEqual([
      'STATE',
      'open',
      'answers again after 5.0 s',
    ]);
  });
});

describe('quiet', () => {
  /** Half a minute without an error; another peer's ones come in between. */
  const OTHER = portUnreachable(7);
  OTHER.writeUInt16BE(53, 50);

  test('at the first error after 30 seconds without one, and before it', () => {
    for (const [at, is] of [
      [29_999, false],
      [30_000, true],
      [31_000, true],
    ] as const) {
      const { stdout } = replay(captureOf([0, portUnreachable(1)], [at, OTHER]), { print: { timeStamp: 1 } });
      const lines = stdout.split('\n');
      expect(lines.some((line) => line.includes('is quiet'))).toBe(is);
      if (!is) continue;
      const record = lines.findIndex((line) => line.includes('is quiet'));
      expect(lines[record]).toContain(`192.0.2.20:9999 is quiet: no error for ${(at / 1000).toFixed(1)} s`);
      expect(lines[record + 1]).toContain('udp port 53 unreachable');
    }
  });

  test('at an answer, whosever it is', () => {
    const capture = captureOf([0, portUnreachable(1)], [20_000, OTHER], [29_000, datagram(1)], [31_000, answer(1)]);
    expect(told(capture)).toEqual([
      expect.stringContaining('192.0.2.20:9999 is quiet: no error for 31.0 s') as string,
      '192.0.2.20:9999 answers 192.0.2.10:1 again after 31.0 s (1 error, ECONNREFUSED)',
    ]);
  });

  test('at a datagram that is sent to the peer, which may be all that the rest of the file holds', () => {
    const sent = Array.from({ length: 20 }, (_, n): [number, Buffer] => [10_000 + n * 5000, datagram(1)]);
    expect(told(captureOf([0, portUnreachable(1)], ...sent))).toEqual([
      expect.stringContaining('192.0.2.20:9999 is quiet: no error for 30.0 s') as string,
    ]);
  });

  test('the datagrams that were sent since the last error are counted', () => {
    const sent = (...at: number[]): [number, Buffer][] => at.map((milliseconds) => [milliseconds, datagram(1)]);
    const quiet = (...packets: [number, Buffer][]): string => told(captureOf(...packets, [60_000, OTHER]))[0]!;
    const error = portUnreachable(1);
    expect(quiet([0, error], ...sent(1, 2, 3, 20_000))).toContain(
      ', 4 datagrams to it seen since: evidence that it is',
    );
    expect(quiet([0, error], ...sent(1, 2), [3, error], ...sent(4))).toContain(', 1 datagram to it seen since: ');
    expect(quiet([0, error], ...sent(1, 2), [3, error])).toContain(', but no datagram to it was seen since');
    expect(quiet([0, error])).toContain(', and whether anything was sent to it since is not known');
  });

  test('once, and again after another error', () => {
    const capture = captureOf(
      [0, portUnreachable(1)],
      [31_000, OTHER],
      [40_000, OTHER],
      [41_000, portUnreachable(1)],
      [200_000, OTHER],
    );
    expect(told(capture).filter((line) => line.includes(':9999 is quiet'))).toHaveLength(2);
  });

  test('not while its flow errs on with another errno, nor in the table', () => {
    const capture = captureOf(
      [0, portUnreachable(1)],
      ...Array.from({ length: 8 }, (_, n): [number, Buffer] => [10_000 * (n + 1), unreachable(1, HOST_UNREACHABLE)]),
    );
    expect(told(capture)).toEqual([]);
    const states = replay(capture)
      .incidents.split('\n')
      .map((line) => /(open|goes on in another row)$/.exec(line)?.[0]);
    expect(states.filter(Boolean)).toEqual(['open', 'goes on in another row']);
  });

  test('--plain is tcpdump alone', () => {
    expect(told(captureOf([0, portUnreachable(1)], [31_000, OTHER]), { print: { layout: 'plain' } })).toEqual([]);
  });
});

describe('the command', () => {
  const directory = mkdtempSync(join(tmpdir(), 'uiw-recovery-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'story.pcap');
  writeFileSync(
    path,
    captureOf(
      ...errors(1, 1, 1),
      [4000, datagram(1)],
      [5000, answer(1)],
      [7000, portUnreachable(2)],
      [8000, datagram(2)],
      [38_000, answer(2)],
      [40_000, portUnreachable(1)],
    ),
  );

  test('-c counts errors alone, and nothing is told after the last', () => {
    const counts = [1, 2, 3, 4, 5].map((count) => {
      const lines = udpicmpWatch(['--oneline', '-c', String(count), '-r', path])
        .stdout.split('\n')
        .slice(0, -1);
      return [lines.filter((line) => line.includes('ICMP')).length, lines.filter((line) => line[0] === '\t').length];
    });
    expect(counts).toEqual([
      [1, 0],
      [2, 0],
      [3, 0],
      [4, 1],
      [5, 3],
    ]);
  });

  test('--json: a record of its own each, by the schema', () => {
    const { stdout } = udpicmpWatch(['--json', '-r', path]);
    const lines = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const validate = new Ajv2020({ allowUnionTypes: true, formats: { ipv4: true, ipv6: true } }).compile(schema);
    for (const line of lines) if (!validate(line)) expect.fail(JSON.stringify(validate.errors));
    const flow = { protocol: 'udp', src: '192.0.2.10', sport: 1, dst: '192.0.2.20', dport: 9999 };
    const common = { v: 1, host: null, errno: 'ECONNREFUSED' };
    const timeAt = (seconds: number): string => new Date((START + seconds) * 1000).toISOString().replace('Z', '000Z');
    expect(lines.filter((line) => 'event' in line)).toEqual([
      { ...common, event: 'recovered', time: timeAt(5), flow, downMs: 5000, errors: 3 },
      {
        ...common,
        event: 'quiet',
        time: timeAt(38),
        flow: { ...flow, sport: 2 },
        quietMs: 31_000,
        sent: 1,
        errors: 1,
      },
      { ...common, event: 'recovered', time: timeAt(38), flow: { ...flow, sport: 2 }, downMs: 31_000, errors: 1 },
    ]);
  });

  test('the closing statistics count errors alone', () => {
    expect(udpicmpWatch(['-r', path]).stderr).toBe('udpicmp-watch: 5 events shown, 0 attributed to a socket\n');
  });
});
