/**
 * What a live capture survives: interfaces that go, come and are renamed, a capture process that dies or is stopped, a parent that is
 * killed, a libpcap that refuses, a clock that is set, descriptors that run out.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, type TestContext } from 'vitest';
import { CLI } from '../command.ts';
import { delay, eventually, Lab, PYTHON, type LabProcess, type Namespace } from './network.ts';
import {
  captureProcess,
  describeLab,
  errorsOf,
  expectAnswer,
  followed,
  isAlive,
  needsTools,
  provoke as provokeBy,
  recordsOf,
  skip,
  startWatch,
  tableOf,
  type JsonEvent,
} from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const PORT = 9000;
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

describeLab('faults of a live capture', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    link();
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv4.icmp_msgs_per_sec': 100_000 });
  });
  afterEach(() => lab.close());

  function link(): void {
    lab.link(client, `${CLIENT}/24`, server, `${SERVER}/24`, { nameA: 'eth0', nameB: 'eth0' });
  }

  function set(name: string, ...settings: string[]): void {
    lab.ip(client, 'link', 'set', name, ...settings);
    if (settings.includes('up')) lab.settle(client);
  }

  /** Provokes one error about a datagram to `dport`, and waits until the tool shows it. */
  async function provoke(watch: LabProcess, dport: number): Promise<JsonEvent> {
    await lab.udpClient(client, { dst: SERVER, dport, name: 'gateway', hold: 5 });
    return watch.until((self) => self.json<JsonEvent>().find(({ flow }) => flow?.dport === dport));
  }

  /** The tool, on any or by the words before and after it; it may not be capturing yet. */
  function spawnWatch(args: readonly string[], before: readonly string[] = [], cli = CLI): LabProcess {
    return lab.spawn(client, [...before, process.execPath, cli, ...args]);
  }

  async function child(watch: LabProcess): Promise<number> {
    return (await eventually(() => captureProcess(watch)))!;
  }

  /** Ends it by Ctrl-C, at once. */
  async function interrupt(watch: LabProcess): Promise<void> {
    const pid = captureProcess(watch);
    const asked = performance.now();
    expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
    expect(performance.now() - asked).toBeLessThan(1000);
    if (pid !== null) await eventually(() => !isAlive(pid));
  }

  const messages = (watch: LabProcess, pattern: RegExp): string[] =>
    watch.stderr.split('\n').filter((line) => pattern.test(line));

  /** Compiles one of the libraries beside this file, to be preloaded. */
  function preload(context: TestContext, name: string): string {
    needsTools(context, 'cc');
    const library = join(lab.temporary, `${name}.so`);
    const source = join(import.meta.dirname, `${name}.c`);
    lab.run(null, [
      'cc',
      '-D_GNU_SOURCE',
      '-O1',
      '-shared',
      '-fPIC',
      '-o',
      library,
      source,
      '-Wl,--no-as-needed',
      '-lpcap',
      '-ldl',
    ]);
    return `LD_PRELOAD=${library}`;
  }

  test('the watched link goes down and comes back', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0', '--json']);
    await provoke(watch, 7001);
    set('eth0', 'down');
    await watch.waitFor(/eth0: .*down.*waiting for it to come back/, 'stderr');
    set('eth0', 'up');
    await watch.waitFor(/eth0: back after \d+\.\d s/, 'stderr');
    const event = await provoke(watch, 7002);
    expect(event).toMatchObject({ interface: 'eth0', sockets: [{ processes: [{ comm: 'gateway' }] }] });
    await interrupt(watch);
  });

  test('on any, a link that goes down is none of its business', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    await provoke(watch, 7001);
    set('eth0', 'down');
    set('eth0', 'up');
    await provoke(watch, 7002);
    expect(watch.stderr).not.toContain('waiting');
  });

  test('on any, an interface is shown by the name that it has', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    expect((await provoke(watch, 7001)).interface).toBe('eth0');
    set('eth0', 'down');
    set('eth0', 'name', 'uplink');
    set('uplink', 'up');
    const event = await eventually(async () => {
      const dport = 7002 + watch.lines.length;
      const found = await provoke(watch, dport);
      return found.interface === 'eth0' ? null : found;
    });
    expect(event?.interface).toBe('uplink');
  });

  test('the watched interface is renamed, while it is up and while it is down: it is followed', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0', '--json']);
    expect((await provoke(watch, 7001)).interface).toBe('eth0');
    set('eth0', 'down');
    set('eth0', 'name', 'uplink');
    await watch.waitFor(/eth0 is called uplink now; the capture on it goes on/, 'stderr');
    await watch.waitFor(/uplink: The interface went down; waiting for it to come back/, 'stderr');
    set('uplink', 'up');
    await watch.waitFor(/uplink: back after/, 'stderr');
    expect((await provoke(watch, 7002)).interface).toBe('uplink');

    // As newer kernels allow it; where this one does not, it is the same as above.
    const { status } = lab.run(null, ['ip', '-n', client, 'link', 'set', 'uplink', 'name', 'lan0'], {
      allowFailure: true,
    });
    const name = status === 0 ? 'lan0' : 'uplink';
    if (status === 0) await watch.waitFor(/uplink is called lan0 now/, 'stderr');
    expect((await provoke(watch, 7003)).interface).toBe(name);

    process.kill(await child(watch), 'SIGKILL');
    await watch.waitFor(/capturing again/, 'stderr');
    expect((await provoke(watch, 7004)).interface).toBe(name);
    expect(watch.stderr).not.toContain('disappeared');
    await interrupt(watch);
  });

  test('an interface is deleted, and another one gets its name: the capture and what it follows go on there', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0', '--json']);
    const udp = await lab.udpClient(client, {
      dst: SERVER,
      dport: PORT,
      src: CLIENT,
      interactive: true,
      name: 'gateway',
    });
    await provokeBy(udp, watch);
    await followed(lab, watch, udp.port);
    lab.ip(client, 'link', 'del', 'eth0');
    await watch.waitFor(/eth0: .*; waiting for it to come back/, 'stderr');
    link();
    await watch.waitFor(/eth0: back after/, 'stderr');
    await followed(lab, watch, udp.port);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(udp);
    await watch.until(() => recordsOf(watch, udp.port).length === 1);
    expect(recordsOf(watch, udp.port)).toMatchObject([{ event: 'recovered', errors: 1 }]);
    expect(watch.stderr).not.toContain('not seen: ');
    await interrupt(watch);
  });

  test('an interface is deleted for good: Ctrl-C ends the wait at once', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0']);
    lab.ip(client, 'link', 'del', 'eth0');
    await watch.waitFor(/eth0: .*; waiting for it to come back/, 'stderr');
    await interrupt(watch);
    expect(watch.stderr).toContain('0 events shown');
  });

  test('a link flaps: each time is said once, and nothing is left behind', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0', '--json']);
    const udp = await lab.udpClient(client, { dst: SERVER, dport: PORT, src: CLIENT, interactive: true });
    await provokeBy(udp, watch);
    await followed(lab, watch, udp.port);
    const pid = await child(watch);
    const descriptors = (): number => readdirSync(`/proc/${pid}/fd`).length;
    const before = descriptors();
    // Faster than it is opened again each time, or not.
    for (let n = 0; n < 20; n++) {
      lab.ip(client, 'link', 'set', 'eth0', 'down');
      await delay(250);
      lab.ip(client, 'link', 'set', 'eth0', 'up');
      await delay(250);
    }
    lab.settle(client);
    await watch.until(() => messages(watch, /waiting/).length === messages(watch, /back after/).length);
    await followed(lab, watch, udp.port);
    expect(descriptors()).toBe(before);
    const downs = messages(watch, /eth0: The interface went down; waiting for it to come back$/).length;
    expect(downs).toBeGreaterThan(0);
    expect(downs).toBeLessThanOrEqual(20);
    expect(messages(watch, /^udpicmp-watch: /)).toHaveLength(1 + 2 * downs);
    expect(captureProcess(watch)).toBe(pid);
    await provokeBy(udp, watch);
    await interrupt(watch);
  });

  test('started when no interface is up, it captures on those that come', async () => {
    lab.ip(client, 'link', 'del', 'eth0');
    set('lo', 'down');
    const watch = await startWatch(lab, client, ['--json']);
    link();
    expect(await provoke(watch, 7001)).toMatchObject({ interface: 'eth0', direction: 'in' });
    await interrupt(watch);
    expect(watch.stderr).toContain('addressed to this network namespace: 1, of them missed: 0');
  });

  test('started before its interface is up, it waits; where there is none, it says so and ends', async () => {
    set('eth0', 'down');
    const waiting = spawnWatch(['-i', 'eth0']);
    await waiting.waitFor(/eth0: That device is not up; waiting for it to come up/, 'stderr');
    await interrupt(waiting);
    expect(messages(waiting, /./)).toHaveLength(1);

    const watch = spawnWatch(['-i', 'eth0', '--json']);
    await watch.waitFor(/waiting for it to come up/, 'stderr');
    set('eth0', 'up');
    await watch.waitFor(/listening on eth0, link-type ETHERNET/, 'stderr');
    await provoke(watch, 7001);
    await interrupt(watch);
    expect(watch.stderr).not.toContain('back after');

    const none = spawnWatch(['-i', 'eth9']);
    expect(await none.exited).toEqual({ status: 1, signal: null });
    expect(none.stderr).toBe('udpicmp-watch: eth9: No such device exists\n');
  });

  test.for(['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const)(
    'the capture process dies of %s: another takes over, and it is said',
    async (signal) => {
      const watch = await startWatch(lab, client, ['--json']);
      await provoke(watch, 7001);
      const first = await child(watch);
      process.kill(first, signal);
      await watch.waitFor(
        new RegExp(
          `ended \\(${signal}\\); capturing again after \\d+\\.\\d s; ICMP errors missed so far, by the kernel's count: \\d+`,
        ),
        'stderr',
      );
      const event = await provoke(watch, 7002);
      expect(event.count).toBe(1);
      expect(captureProcess(watch)).not.toBe(first);
      await interrupt(watch);
      expect(watch.stderr).toContain('2 events shown, 2 attributed');
      expect(watch.stderr).toMatch(/at least 2 packets received|at least 1 packet received/);
    },
  );

  test('the capture process dies while the link is down', async () => {
    const watch = await startWatch(lab, client, ['-i', 'eth0', '--json']);
    set('eth0', 'down');
    await watch.waitFor(/waiting for it to come back/, 'stderr');
    process.kill(await child(watch), 'SIGKILL');
    await watch.waitFor(/eth0: That device is not up; waiting for it to come back/, 'stderr');
    set('eth0', 'up');
    await watch.waitFor(/capturing again/, 'stderr');
    await provoke(watch, 7001);
    await interrupt(watch);
  });

  test('the capture process dies again and again: it is started later each time, and for ever', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    let last = 0;
    for (let n = 1; n <= 6; n++) {
      const pid = await eventually(() => {
        const found = captureProcess(watch);
        return found === last ? null : found;
      });
      last = pid!;
      process.kill(last, 'SIGKILL');
    }
    await watch.waitFor(/has ended 6 times in a row \(SIGKILL\); starting it again in 5\.0 s/, 'stderr');
    expect(messages(watch, /in a row/)).toHaveLength(3);
    await watch.waitFor(/capturing again after/, 'stderr');
    await provoke(watch, 7001);
    await interrupt(watch);
  });

  test('the capture process dies in a burst: whole lines, and what is missed is what is not shown', async () => {
    const burst = 40_000;
    // Into a file: a reader that is slower than the burst would be measured instead.
    const file = join(lab.temporary, 'events');
    const shell = ['sh', '-c', 'file=$1; shift; exec "$@" > "$file"', 'sh', file];
    const watch = spawnWatch(['--json'], shell);
    await watch.waitFor(/listening on/, 'stderr');
    const injecting = lab.spawn(server, [PYTHON, '-B', join(import.meta.dirname, 'inject_icmp.py')]);
    const quoted = { src: CLIENT, sport: 1, dst: SERVER, dport: 9999 };
    const error = { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted, count: burst, rate: 20_000, vary: 'sport' };
    injecting.child.stdin.end(`${JSON.stringify(error)}\n`);
    await eventually(() => statSync(file).size > 1_000_000);
    process.kill(await child(watch), 'SIGKILL');
    await watch.waitFor(/capturing again/, 'stderr');
    await injecting.exited;
    let size = -1;
    while (size !== (size = statSync(file).size)) await delay(500);
    await interrupt(watch);
    const number = (pattern: RegExp): number => Number(pattern.exec(watch.stderr)?.[1]?.replaceAll(',', ''));
    const shown = number(/([\d,]+) events shown/);
    const lines = readFileSync(file, 'utf8').split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.map((line) => JSON.parse(line) as JsonEvent)).toHaveLength(shown);
    expect(number(/network namespace: ([\d,]+)/)).toBe(burst);
    expect(shown + number(/of them missed: ([\d,]+)/)).toBe(burst);
  });

  test('the capture process is stopped, and goes on: both are said, and what came meanwhile is shown', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    const pid = await child(watch);
    process.kill(pid, 'SIGSTOP');
    await watch.waitFor(new RegExp(`the capture process is stopped \\(kill -CONT ${pid}\\)`), 'stderr');
    await lab.udpClient(client, { dst: SERVER, dport: 7001, name: 'gateway', hold: 60 });
    process.kill(pid, 'SIGCONT');
    await watch.waitFor(/the capture process goes on after about [2-9] s/, 'stderr');
    await watch.until(({ lines }) => lines.length === 1);
    await provoke(watch, 7002);
    await interrupt(watch);
    expect(messages(watch, /stopped|goes on/)).toHaveLength(2);
    expect(watch.stderr).toContain('capture: 2 packets received, 0 packets dropped');
    expect(watch.stderr).toContain('addressed to this network namespace: 2, of them missed: 0');
  });

  test('the capture process is stopped for good: Ctrl-C ends both', async () => {
    const watch = await startWatch(lab, client);
    process.kill(await child(watch), 'SIGSTOP');
    await interrupt(watch);
    expect(watch.stderr).toContain('capture: at least 0 packets received');
  });

  test('a killed parent leaves no child', async () => {
    const watch = await startWatch(lab, client);
    const pid = await child(watch);
    await watch.stop('SIGKILL');
    await eventually(() => !isAlive(pid));
  });

  test('a killed parent leaves no child that is stopped, once that goes on', async () => {
    const watch = await startWatch(lab, client);
    const pid = await child(watch);
    process.kill(pid, 'SIGSTOP');
    await watch.stop('SIGKILL');
    process.kill(pid, 'SIGCONT');
    await eventually(() => !isAlive(pid));
  });

  test('a killed parent leaves no child that still has much for it to read', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    const pid = await child(watch);
    watch.signal('SIGSTOP');
    const quoted = { src: CLIENT, sport: 40_000, dst: SERVER, dport: 9999 };
    // Some MiB: more than a socket holds.
    lab.inject(server, { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted, count: 20_000 });
    await watch.stop('SIGKILL');
    await eventually(() => !isAlive(pid));
  });

  test('two at once: each sees all, and the end of one is nothing to the other', async () => {
    const [any, eth0] = [
      await startWatch(lab, client, ['--json']),
      await startWatch(lab, client, ['--json', '-i', 'eth0']),
    ];
    const udp = await lab.udpClient(client, { dst: SERVER, dport: PORT, interactive: true, name: 'gateway' });
    await provokeBy(udp, any, eth0);
    await interrupt(any);
    await provokeBy(udp, eth0);
    await interrupt(eth0);
    expect(errorsOf(any, udp.port).map(({ flow }) => flow)).toEqual([errorsOf(eth0, udp.port)[0]!.flow]);
    expect(errorsOf(eth0, udp.port)).toMatchObject([{ count: 1 }, { count: 2 }]);
    expect(any.stderr).toContain('addressed to this network namespace: 1, of them missed: 0');
  });

  test('no descriptors for another capture process: it is said, and tried again', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    const limit = (count: string): unknown => lab.run(null, ['prlimit', `--pid=${watch.pid}`, `--nofile=${count}`]);
    limit(`${readdirSync(`/proc/${watch.pid}/fd`).length}:4096`);
    // What it has below the limit is not enough for the three pipes.
    process.kill(await child(watch), 'SIGKILL');
    await watch.waitFor(/in a row \(.*too many open files.*\); starting it again/, 'stderr');
    limit('4096:4096');
    await watch.waitFor(/capturing again after/, 'stderr');
    await provoke(watch, 7001);
    await interrupt(watch);
  });

  test('few descriptors: from where it can be loaded at all, one line or all that it does', () => {
    const runWith = (descriptors: number): { status: number | null; stderr: string } => {
      const argv = ['prlimit', `--nofile=${descriptors}`, process.execPath, CLI, '-i', 'eth9'];
      return lab.run(client, argv, { allowFailure: true });
    };
    // Below, the words are Node's.
    let least = 32;
    while (!runWith(least).stderr.startsWith('udpicmp-watch: ')) least++;
    expect(least).toBeLessThan(100);
    for (let descriptors = least; descriptors < least + 10; descriptors++) {
      const { status, stderr } = runWith(descriptors);
      expect(status).toBe(1);
      expect(stderr).toMatch(/^udpicmp-watch: eth9: .*\n$/);
    }
  });

  test.for([-3600, 3600])('the clock is set by %d s: no time and no count is false', async (shift, context) => {
    const library = preload(context, 'set_clock');
    const file = join(lab.temporary, 'shift');
    const setClock = (seconds: number): void => {
      const octets = Buffer.alloc(8);
      octets.writeBigInt64LE(BigInt(seconds));
      // In place: it is mapped.
      writeFileSync(file, octets, { flag: 'r+' });
    };
    writeFileSync(file, Buffer.alloc(8));
    const env = ['env', library, `CLOCK_SHIFT=${file}`];
    const watch = spawnWatch(['--json', '--incidents'], env);
    const named = spawnWatch(['--json', '-i', 'eth0'], env);
    for (const each of [watch, named]) await each.waitFor(/listening on/, 'stderr');
    const udp = await lab.udpClient(client, { dst: SERVER, dport: PORT, interactive: true, name: 'gateway' });
    await provokeBy(udp, watch);
    setClock(shift);
    await provokeBy(udp, watch);
    const [before, after] = errorsOf(watch, udp.port).map(({ time }) => Date.parse(time) / 1000);
    expect(Math.abs(after! - before! - shift)).toBeLessThan(60);

    await followed(lab, watch, udp.port);
    setClock(0);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(udp);
    await watch.until(() => recordsOf(watch, udp.port).length === 1);
    const [recovered] = recordsOf(watch, udp.port);
    expect(recovered).toMatchObject({ event: 'recovered', errors: 2, keptSocket: true });
    expect(recovered!.downMs).toBeGreaterThan(0);
    expect(recovered!.downMs).toBeLessThan(60_000);
    setClock(shift);
    await provoke(watch, 7001);

    set('eth0', 'down');
    await named.waitFor(/waiting/, 'stderr');
    setClock(0);
    set('eth0', 'up');
    await named.waitFor(/eth0: back after \d\.\d s;/, 'stderr');
    process.kill(await child(named), 'SIGKILL');
    setClock(shift);
    await named.waitFor(/capturing again after \d\.\d s;/, 'stderr');
    await interrupt(named);

    await interrupt(watch);
    expect(tableOf(watch)).toMatchObject([
      { errors: '1', state: expect.stringMatching(/^open, \d\.\d s since the last$/) },
      { errors: '2', state: expect.stringMatching(/^answers again after \d\.\d s$/) },
    ]);
    expect(watch.stderr).toContain('addressed to this network namespace: 3, of them missed: 0');
    expect(watch.stderr).toMatch(/capture: \d+ packets received, 0 packets dropped/);
  });

  test('a libpcap that refuses promiscuous mode on any: the patched cap does not ask for it', async (context) => {
    const library = preload(context, 'libpcap_1_10_5');
    const watch = spawnWatch(['--json'], ['env', library]);
    await watch.waitFor(/listening on any, link-type LINUX_SLL2/, 'stderr');
    await provoke(watch, 7001);
    await interrupt(watch);
  });

  test('cap without the patch: with such a libpcap any fails with one line, else it works and says what it lacks', async (context) => {
    const library = preload(context, 'libpcap_1_10_5');
    const cli = withStockCap(context, lab);
    const refused = spawnWatch(['--json'], ['env', library], cli);
    expect(await refused.exited).toEqual({ status: 1, signal: null });
    expect(refused.stderr).toBe(
      'udpicmp-watch: any: Promiscuous mode not supported on the "any" device; ' +
        'the cap that is installed is not patched: see native-notes/README.md\n',
    );

    const named = spawnWatch(['--json', '-i', 'eth0'], ['env', library], cli);
    await named.waitFor(/cap is not patched: time stamps are when a packet is read/, 'stderr');
    await provoke(named, 7001);
    set('eth0', 'down');
    await named.waitFor(/in a row \(That device is not up\)/, 'stderr');
    set('eth0', 'up');
    await named.waitFor(/capturing again after/, 'stderr');
    await provoke(named, 7002);
    await interrupt(named);
    expect(named.stderr).toContain('capture: received and dropped packets unknown (cap is not patched)');
  });
});

/** The built command beside a cap as npm delivers it, whose sources the project leaves as they are. */
function withStockCap(context: TestContext, lab: Lab): string {
  const node = dirname(dirname(process.execPath));
  const npm = lab.run(null, ['sh', '-c', 'command -v npm'], { allowFailure: true }).stdout.trim();
  const gyp = npm === '' ? '' : join(dirname(realpathSync(npm)), '../node_modules/node-gyp/bin/node-gyp.js');
  if (!existsSync(gyp) || !existsSync(join(node, 'include/node/node.h'))) {
    skip(context, "node-gyp or Node's headers are not here");
  }
  const project = join(lab.temporary, 'stock');
  const modules = join(project, 'node_modules');
  mkdirSync(modules, { recursive: true });
  for (const name of ['dist', 'package.json']) cpSync(join(PROJECT, name), join(project, name), { recursive: true });
  for (const name of readdirSync(join(PROJECT, 'node_modules'))) {
    if (name !== 'cap') symlinkSync(join(PROJECT, 'node_modules', name), join(modules, name));
  }
  for (const name of ['binding.gyp', 'package.json', 'lib', 'src']) {
    cpSync(join(PROJECT, 'node_modules/cap', name), join(modules, 'cap', name), { recursive: true });
  }
  lab.run(null, [process.execPath, gyp, 'rebuild', `--nodedir=${node}`], {
    cwd: join(modules, 'cap'),
    timeout: 120_000,
  });
  return join(project, 'dist/cli.js');
}
