/**
 * A live capture: how it ends, and bursts. What it survives is in faults-capture.test.ts.
 */
import { readFileSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { delay, eventually, Lab, type LabProcess, type Namespace } from './network.ts';
import { CLI } from '../command.ts';
import { captureProcess, describeLab, isAlive, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const BURST = 100_000;

describeLab('live capture', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, `${CLIENT}/24`, server, `${SERVER}/24`);
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv4.icmp_msgs_per_sec': 100_000 });
  });
  afterEach(() => lab.close());

  /** Provokes one error about a datagram to `dport`, and waits until the tool shows it. */
  async function provoke(watch: LabProcess, dport: number): Promise<JsonEvent> {
    await lab.udpClient(client, { dst: SERVER, dport, name: 'gateway', hold: 5 });
    return watch.until((self) => self.json<JsonEvent>().find(({ flow }) => flow?.dport === dport));
  }

  test.for(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s ends it at once, with the closing statistics and no child left',
    async (signal) => {
      const watch = await startWatch(lab, client, ['--json']);
      await provoke(watch, 7001);
      const child = await eventually(() => captureProcess(watch));
      const asked = performance.now();
      expect(await watch.stop(signal)).toEqual({ status: 0, signal: null });
      expect(performance.now() - asked).toBeLessThan(1000);
      expect(watch.stderr).toContain('1 event shown, 1 attributed to a socket');
      expect(watch.stderr).toContain('capture: 1 packet received, 0 packets dropped');
      expect(watch.stderr).toContain('addressed to this network namespace: 1, of them missed: 0');
      await eventually(() => !isAlive(child!));
    },
  );

  test('SIGUSR1 opens no debugger, in neither process', async () => {
    const watch = await startWatch(lab, client);
    const child = await eventually(() => captureProcess(watch));
    watch.signal('SIGUSR1');
    process.kill(child!, 'SIGUSR1');
    await watch.waitFor(/0 events shown/, 'stderr');
    expect(lab.run(client, ['ss', '-Hltn']).stdout).toBe('');
    expect(watch.stderr).not.toContain('Debugger');
  });

  test('-c ends it after that many events', async () => {
    const watch = await startWatch(lab, client, ['-c', '2', '--plain']);
    await lab.udpClient(client, { dst: SERVER, dport: 7001, connect: false, count: 5, interval: 0.05 });
    expect(await watch.exited).toEqual({ status: 0, signal: null });
    expect(watch.lines).toHaveLength(2);
  });

  test('a reader that goes away ends it quietly', async () => {
    const command = `${process.execPath} ${CLI} --plain | head -n 1`;
    const shell = lab.spawn(client, ['sh', '-c', `${command}; true`]);
    await shell.waitFor(/listening on/, 'stderr');
    await lab.udpClient(client, { dst: SERVER, dport: 7001, connect: false, count: 100, interval: 0.05 });
    await shell.exited;
    expect(shell.lines).toHaveLength(1);
    expect(shell.stderr).not.toMatch(/EPIPE|Error/);
  });

  test.for([
    ['text', []],
    ['json', ['--json']],
  ] as const)(
    `a burst of ${BURST}, as %s: events and reported losses add up to what the kernel counted`,
    async ([, args]) => {
      // Into a file: a reader that is slower than the burst would be measured instead.
      const file = `${lab.temporary}/events`;
      const watch = lab.spawn(client, [
        'sh',
        '-c',
        'file=$1; shift; exec "$@" > "$file"',
        'sh',
        file,
        process.execPath,
        CLI,
        ...args,
      ]);
      await watch.waitFor(/listening on/, 'stderr');
      lab.inject(server, {
        src: SERVER,
        dst: CLIENT,
        type: 3,
        code: 3,
        quoted: { src: CLIENT, sport: 40_000, dst: SERVER, dport: 9999 },
        count: BURST,
        vary: 'sport',
      });
      let size = -1;
      while (size !== (size = statSync(file).size)) await delay(500);
      await watch.stop('SIGINT');

      const number = (pattern: RegExp): number => Number(pattern.exec(watch.stderr)?.[1]?.replaceAll(',', ''));
      const shown = number(/([\d,]+) events? shown/);
      const missed = number(/of them missed: ([\d,]+)/);
      expect(number(/network namespace: ([\d,]+)/)).toBe(BURST);
      expect(shown + missed).toBe(BURST);
      expect(number(/([\d,]+) packets? dropped/)).toBe(missed);
      const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
      expect(lines.filter((line) => !line.startsWith('\t'))).toHaveLength(shown);
      console.info(`burst of ${BURST} ${args.join(' ')}: ${missed} missed, all of them counted as dropped`);
    },
  );
});
