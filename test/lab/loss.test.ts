/**
 * What was lost, and that it is said: when it happens, at the end, and for scripts.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { udpicmpWatch } from '../command.ts';
import { expectValid } from '../sink/schema.ts';
import { delay, eventually, Lab, type LabProcess, type Namespace } from './network.ts';
import { captureProcess, describeLab, isAlive, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';

interface Loss {
  event: 'loss';
  cause: string;
  packets?: number;
  ms?: number;
}

interface Summary {
  event: 'summary';
  shown: number;
  capture: { received: number; dropped: number; unseen: number; isAtLeast: boolean };
  gaps: Record<'restarted' | 'interfaceDown', { times: number; ms: number }>;
  kernel: { errors: number; missed: { least: number; most: number } } | null;
}

type Line = JsonEvent | Loss | Summary;

function lossesOf(lines: readonly Line[]): Loss[] {
  return lines.filter((line): line is Loss => 'event' in line && line.event === 'loss');
}

function summaryOf(lines: readonly Line[]): Summary {
  return lines.find((line): line is Summary => 'event' in line && line.event === 'summary')!;
}

/** Those on standard error, between the lines for people. */
function jsonOnStderr(watch: LabProcess): Line[] {
  return watch.stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);
}

describeLab('loss', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, `${CLIENT}/24`, server, `${SERVER}/24`);
  });
  afterEach(() => lab.close());

  function inject(count: number): void {
    const quoted = { src: CLIENT, sport: 40_000, dst: SERVER, dport: 9999 };
    lab.inject(server, { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted, count, vary: 'sport' });
  }

  async function untilShown(watch: LabProcess): Promise<void> {
    for (let before = -1; before !== watch.stdout.length; await delay(1500)) before = watch.stdout.length;
  }

  /** A capture process that does not read, and a small buffer. */
  async function overflow(watch: LabProcess, count: number): Promise<void> {
    const child = captureProcess(watch)!;
    process.kill(child, 'SIGSTOP');
    inject(count);
    process.kill(child, 'SIGCONT');
    await watch.waitFor(/dropped: the capture buffer was full/, 'stderr');
  }

  test('the capture buffer is full: once a second, at the end, and in the stream with --json-status', async () => {
    const file = `${lab.temporary}/saved.pcapng`;
    const args = ['-B', '256', '--json', '--json-status', '-w', file];
    const watch = await startWatch(lab, client, args);
    await overflow(watch, 5000);
    await overflow(watch, 3000);
    await untilShown(watch);
    expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });

    for (const line of watch.lines) expectValid(line);
    const lines = watch.json<Line>();
    const shown = lines.filter((line) => 'icmp' in line).length;
    const losses = lossesOf(lines);
    const dropped = losses.reduce((sum, { packets }) => sum + packets!, 0);
    expect(new Set(losses.map(({ cause }) => cause))).toEqual(new Set(['buffer-full']));
    expect(losses.length).toBeLessThan(10);
    expect(dropped).toBeGreaterThan(0);
    expect(shown + dropped).toBe(8000);
    expect(lines.at(-1)).toEqual(summaryOf(lines));
    expect(summaryOf(lines)).toMatchObject({
      shown,
      capture: { received: 8000, dropped, unseen: 0, isAtLeast: false },
      kernel: { errors: 8000, missed: { least: dropped, most: dropped } },
    });
    expect(watch.stderr.match(/dropped: the capture buffer was full/g)).toHaveLength(losses.length);
    expect(jsonOnStderr(watch)).toEqual([]);

    // The file says so too, on any machine.
    const replay = udpicmpWatch(['-r', file, '--json', '--json-status']);
    const replayed = replay.stdout.split('\n').slice(0, -1);
    expect(lossesOf(replayed.map((line) => JSON.parse(line) as Line))).toEqual(losses);
    expect(replay.stderr.match(/dropped: the capture buffer was full/g)).toHaveLength(losses.length);
  });

  test('with --json alone the records are on standard error', async () => {
    const watch = await startWatch(lab, client, ['-B', '256', '--json']);
    await overflow(watch, 3000);
    await untilShown(watch);
    await watch.stop('SIGINT');
    const losses = lossesOf(jsonOnStderr(watch));
    expect(losses.length).toBeGreaterThan(0);
    expect(watch.json<Line>().every((line) => 'icmp' in line)).toBe(true);
    expect(watch.lines.length + losses.reduce((sum, { packets }) => sum + packets!, 0)).toBe(3000);
  });

  test('gaps: while the capture process was started again, while the interface was down', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0', '--json', '--json-status']);
    process.kill(captureProcess(watch)!, 'SIGKILL');
    await watch.waitFor(/capturing again/, 'stderr');
    lab.ip(client, 'link', 'set', 'eth0', 'down');
    await watch.waitFor(/waiting for it to come back/, 'stderr');
    lab.ip(client, 'link', 'set', 'eth0', 'up');
    await watch.waitFor(/eth0: back after/, 'stderr');
    await watch.stop('SIGINT');
    for (const line of watch.lines) expectValid(line);
    const lines = watch.json<Line>();
    const [restarted, down] = lossesOf(lines);
    expect(restarted).toMatchObject({ cause: 'capture-restarted', why: 'SIGKILL', missed: null });
    expect(down).toMatchObject({ cause: 'interface-down', interface: 'eth0' });
    expect(summaryOf(lines).gaps).toEqual({
      restarted: { times: 1, ms: restarted!.ms },
      interfaceDown: { times: 1, ms: down!.ms },
    });
    expect(watch.stderr).toMatch(/capture: 1 gap, \d+\.\d s in all, while the capture process was started again\n/);
    expect(watch.stderr).toMatch(/capture: 1 gap, \d+\.\d s in all, while eth0 was down\n/);
  });

  test('a gap that is not over: on SIGUSR1, and at the end', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0', '--json', '--json-status']);
    lab.ip(client, 'link', 'set', 'eth0', 'down');
    await watch.waitFor(/waiting for it to come back/, 'stderr');
    watch.signal('SIGUSR1');
    await watch.waitFor(/capture, at its last count \(one a second\): 0 packets received/, 'stderr');
    await watch.waitFor(/capture: 1 gap, \d+\.\d s in all, while eth0 was down\n/, 'stderr');
    await watch.stop('SIGINT');
    for (const line of watch.lines) expectValid(line);
    const { gaps } = summaryOf(watch.json<Line>());
    expect(gaps.interfaceDown.times).toBe(1);
    expect(gaps.interfaceDown.ms).toBeGreaterThan(0);
    expect(gaps.restarted).toEqual({ times: 0, ms: 0 });
    expect(watch.stderr.match(/capture: 1 gap, .* while eth0 was down\n/g)).toHaveLength(2);
    expect(watch.stderr).toContain('capture: 0 packets received, 0 packets dropped\n');
  });

  test.each([[['-i', 'any']], [['-i', 'lo']]])(
    'on the loopback, with %j: what libpcap passes over, as it goes out, was not lost',
    async (device) => {
      const watch = await startWatch(lab, client, [...device, '--json', '--json-status']);
      const udp = await lab.udpClient(client, { dst: '127.0.0.1', dport: 9999 });
      await watch.until((self) => self.json<Line>().some((line) => 'icmp' in line));
      await udp.stop();
      await watch.stop('SIGINT');
      const lines = watch.json<Line>();
      expect(lossesOf(lines)).toEqual([]);
      const { shown, capture } = summaryOf(lines);
      expect(capture).toEqual({ received: 2 * shown, dropped: 0, unseen: 0, isAtLeast: false });
      expect(watch.stderr).not.toContain('not looked at');
    },
  );

  test('Ctrl-C while nobody reads the output: what was captured and not looked at is counted', async () => {
    const COUNT = 250_000;
    const watch = await startWatch(lab, client, []);
    watch.child.stdout.pause();
    const child = captureProcess(watch)!;
    inject(COUNT);
    watch.signal('SIGINT');
    await eventually(() => !isAlive(watch.pid) && !isAlive(child));
    watch.child.stdout.resume();
    expect(await watch.exited).toEqual({ status: 0, signal: null });
    const number = (pattern: RegExp): number => Number(pattern.exec(watch.stderr)?.[1]?.replaceAll(',', '') ?? 0);
    const unseen = number(/, ([\d,]+) not looked at before the end/);
    expect(unseen).toBeGreaterThan(0);
    expect(number(/([\d,]+) packets received/)).toBe(COUNT);
    expect(number(/([\d,]+) events? shown/) + number(/([\d,]+) packets? dropped/) + unseen).toBe(COUNT);
    expect(watch.stderr).toMatch(
      /standard output: up to [\d,]+ octets at its end, of events that count as shown, were not read\n/,
    );
  });
});
