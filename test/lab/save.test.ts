/**
 * `-w`, live: the file says what the watch said, on any machine, and a file that cannot take more does not end the watch.
 */
import { copyFileSync, readFileSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLI } from '../command.ts';
import { tsharkTable } from '../savefile/judges.ts';
import { expectValid } from '../sink/schema.ts';
import { eventually, Lab, type LabProcess, type Namespace, type RunResult } from './network.ts';
import {
  describeLab,
  errorsOf,
  expectAnswer,
  followed,
  needsTools,
  provoke,
  startWatch,
  type JsonEvent,
  type JsonRecord,
} from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const CLIENT6 = '2001:db8:1::10';
const SERVER6 = '2001:db8:1::20';
const SERVICE = '198.51.100.10';
const PORT = 9000;
const HOSTILE = '\x1b[2J\x9b1m\\\u202e"\n';

describeLab('-w', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], server, [`${SERVER}/24`, `${SERVER6}/64`]);
    for (const ns of [client, server]) {
      lab.sysctl(ns, {
        'net.ipv4.icmp_ratelimit': 0,
        'net.ipv4.icmp_msgs_per_sec': 100_000,
        'net.ipv6.icmp.ratelimit': 0,
      });
    }
  });
  afterEach(() => lab.close());

  const open = (options: Partial<Parameters<Lab['udpClient']>[1]> = {}) =>
    lab.udpClient(client, { dst: SERVER, dport: PORT, interactive: true, name: 'gateway', ...options });

  const file = (name: string): string => `${lab.temporary}/${name}`;

  /** Reads a file on what is another machine, as far as the tool can see: another host name, network and user's settings. */
  function replay(path: string, ...args: string[]): RunResult {
    const elsewhere = lab.namespace('elsewhere');
    const command = ['unshare', '--uts', 'sh', '-c', 'hostname elsewhere; exec "$@"', 'sh', process.execPath, CLI];
    const env = { PATH: process.env['PATH'], TZ: process.env['TZ'], LC_ALL: 'C', HOME: '/nonexistent' };
    return lab.run(elsewhere, [...command, '-r', path, ...args], { env, allowFailure: true });
  }

  function expectSame(watch: LabProcess, path: string, ...args: string[]): void {
    const { stdout, stderr, status } = replay(path, ...args);
    expect(stdout).toBe(watch.stdout);
    expect([status, stderr]).toEqual([
      0,
      expect.stringMatching(/^udpicmp-watch: \d+ events? shown, \d+ attributed[^\n]*\n$/),
    ]);
  }

  test('SIGTERM under load: as many are saved as are printed, for its owner alone to read', async () => {
    const path = file('load.pcapng');
    const watch = await startWatch(lab, client, ['--json', '-w', path]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const udp = await lab.udpClient(client, { dst: SERVER, dport: PORT, connect: false, count: 0, interval: 0 });
    await watch.until(() => watch.lines.length > 3000, 30_000);
    expect(await watch.stop('SIGTERM')).toMatchObject({ signal: null });
    await udp.stop('SIGKILL');
    // The last line may be there in part: whoever reads it had gone.
    const printed = watch.stdout
      .split('\n')
      .slice(0, -1)
      .filter((line) => line.includes('"icmp"')).length;
    const { stdout } = replay(path, '--json');
    const saved = stdout.split('\n').filter((line) => line.includes('"icmp"')).length;
    const [, shown] = /([\d,]+) events shown/.exec(watch.stderr)!;
    expect(printed).toBeGreaterThan(3000);
    expect(saved).toBe(Number(shown!.replace(',', '')));
    expect(saved).toBeGreaterThanOrEqual(printed);
  });

  test('what is read from the file is what the watch printed, to the byte', { timeout: 120_000 }, async (context) => {
    needsTools(context, 'tshark');
    const runs = await Promise.all(
      ['any', 'eth0'].flatMap((device) =>
        [[], ['--json'], ['-v', '-tttt', '--oneline']].map(async (args) => {
          const path = file(`${device}${args.join('')}.pcapng`);
          const watch = await startWatch(lab, client, ['-i', device, '-l', '--netns', 'self', '-w', path, ...args]);
          return { device, args, path, watch };
        }),
      ),
    );
    const watches = runs.map(({ watch }) => watch);
    const json = watches[1]!;
    const all = async (ask: (watch: LabProcess) => boolean): Promise<void> => {
      await Promise.all(watches.map((watch) => watch.until(ask, 90_000)));
    };

    const [gateway, gateway6] = [await open(), await open({ dst: SERVER6 })];
    const stops = await open({ dport: 9001, name: 'stops' });
    for (const udp of [
      gateway,
      gateway6,
      stops,
      await open({ connect: false, name: HOSTILE }),
      await open({ connect: false, src: CLIENT, name: 'bound' }),
      await open({ family: 6, name: 'größe → 日本' }),
      await open({ recverr: true, name: 'queued' }),
    ]) {
      await provoke(udp, ...watches);
    }
    const quoted = { src: CLIENT, sport: gateway.port, dst: SERVER, dport: PORT };
    const closed = await open({ name: 'closed' });
    await provoke(closed, ...watches);
    await closed.ask('close');
    lab.injectAll(server, [
      { src: SERVER, dst: CLIENT, type: 3, code: 4, rest: '00000578', quoted },
      { src: SERVER, dst: CLIENT, type: 3, code: 1, quoted },
      { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted: { ...quoted, sport: closed.port } },
      { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted: { ...quoted, src: '203.0.113.9' } },
      { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted: { ...quoted, octets: 20 } },
    ]);
    const stranger = await lab.udpClient(server, { dst: CLIENT, dport: 8125, interactive: true });
    await stranger.ask('send');
    await all(({ stdout }) => / 8125\b|:8125\b|"dport":8125/.test(stdout));
    for (const watch of watches) {
      for (const { port } of [gateway, gateway6]) await followed(lab, watch, port);
    }
    for (const address of [SERVER, SERVER6]) await lab.udpEcho(server, address, PORT);
    for (const udp of [gateway, gateway6]) await expectAnswer(udp);
    await all(
      ({ stdout }) => stdout.includes(`${SERVER}:9001 is quiet`) || /"event":"quiet".*"dport":9001/.test(stdout),
    );
    for (const watch of watches) expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });

    // Or it would be shown for too little.
    const lines = json.json<JsonEvent | JsonRecord>();
    const kinds = new Set(lines.map((line) => ('icmp' in line ? `${line.outcome} ${line.match}` : line.event)));
    expect([...kinds].toSorted()).toEqual([
      'ignored bound',
      'ignored connected',
      'ignored wildcard',
      'no-socket closed',
      'not-local none',
      'queued connected',
      'quiet',
      'recovered',
      'reported connected',
      'unknown null',
    ]);
    for (const { watch, path, args } of runs) {
      expectSame(watch, path, ...args);
      // What became quiet has no packet: Wireshark lists it as an entry of a journal, and libpcap passes it over.
      const found = tsharkTable(path, 'systemd_journal.message', 'frame.comment');
      const packets = found.filter(([message]) => message === '');
      expect(packets).toHaveLength(lines.filter((line) => !('event' in line && line.event === 'quiet')).length);
      for (const [, comment] of packets) expect(comment).toMatch(/^\S.*,udpicmp-watch \{"v":1,/);
      expect(found).toContainEqual([
        expect.stringMatching(/^192\.0\.2\.20:9001 is quiet: no error for .*; stops\[\d+\] \(1 error, ECONNREFUSED\)$/),
        '',
      ]);
      expect(lab.run(client, ['tcpdump', '-nn', '-r', path]).stdout.trimEnd().split('\n')).toHaveLength(packets.length);
      // Any of the files can be read in any of the ways.
      const { stdout } = replay(path, '--json');
      const replayed = stdout.trimEnd().split('\n');
      expect(replayed).toHaveLength(found.length);
      replayed.forEach(expectValid);
    }
  });

  test.for([
    ['--no-sockets', '--json'],
    ['--no-sockets'],
    ['--all-icmp', '--json'],
    ['--all-icmp'],
    ['--plain'],
    ['--json', '--errno', 'EHOSTUNREACH'],
  ])('%j: the same from the file', async (args, context) => {
    needsTools(context, 'ping');
    const watch = await startWatch(lab, client, [...args, '-w', file('saved.pcapng')]);
    lab.run(client, ['ping', '-n', '-q', '-c', '1', SERVER6]);
    const udp = await open();
    await udp.ask('send');
    const quoted = { src: CLIENT, sport: udp.port, dst: SERVER, dport: PORT };
    lab.inject(server, { src: SERVER, dst: CLIENT, type: 3, code: 1, quoted });
    await watch.until(({ lines }) =>
      lines.some((line) => line.includes('EHOSTUNREACH') || / host \S+ unreachable/.test(line)),
    );
    expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
    expectSame(watch, file('saved.pcapng'), ...args.filter((arg) => arg !== '--no-sockets'));
  });

  test('behind NAT: the tuple that the socket has is in the file', async (context) => {
    needsTools(context, 'iptables', 'conntrack');
    lab.ip(client, 'route', 'add', SERVICE, 'via', SERVER);
    const rule = ['-p', 'udp', '-d', SERVICE, '--dport', '53', '-j', 'DNAT', '--to-destination', `${SERVER}:${PORT}`];
    lab.run(client, ['iptables', '-w', '-t', 'nat', '-A', 'OUTPUT', ...rule]);
    const json = await startWatch(lab, client, ['--json', '-w', file('json.pcapng')]);
    const text = await startWatch(lab, client, ['-w', file('text.pcapng')]);
    const udp = await open({ dst: SERVICE, dport: 53 });
    await provoke(udp, json, text);
    await Promise.all([followed(lab, json, PORT), followed(lab, text, PORT)]);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(udp);
    await json.waitFor(/"event":"recovered"/);
    await text.waitFor(/answers again/);
    for (const watch of [json, text]) await watch.stop('SIGINT');
    const nat = { src: CLIENT, sport: udp.port, dst: SERVICE, dport: 53 };
    expect(json.json()).toMatchObject([{ nat }, { event: 'recovered', nat }]);
    expect(text.stdout).toContain(`${SERVICE}:53 answers again`);
    expectSame(json, file('json.pcapng'), '--json');
    expectSame(text, file('text.pcapng'));
  });

  test('tshark and tcpdump read it: the comment for people, and a datagram that ended an incident', async (context) => {
    needsTools(context, 'tshark');
    const path = file('saved.pcapng');
    const watch = await startWatch(lab, client, ['-w', path]);
    const udp = await open();
    await provoke(udp, watch);
    await followed(lab, watch, udp.port);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(udp);
    await watch.waitFor(/answers again.*\n/);
    await watch.stop('SIGINT');
    const [, words, , answer] = watch.stdout.split(/\n?\t|\n/);
    const found = tsharkTable(path, 'frame.interface_name', 'icmp.code', 'udp.srcport', 'frame.comment');
    expect(found).toHaveLength(2);
    expect(found[0]).toEqual(['eth0', '3', `${udp.port}`, expect.stringContaining(`${words},udpicmp-watch {"v":1,`)]);
    expect(found[1]).toEqual(['eth0', '', `${PORT}`, expect.stringContaining(answer!.replace(/^\S+ /, ''))]);
    const printed = lab.run(client, ['tcpdump', '-nn', '-r', path]).stdout.split('\n');
    expect(printed[0]).toBe(watch.lines[0]);
    expect(printed).toHaveLength(3);
  });

  test('-w - into another one: it shows at once what the first one found out', async () => {
    const pipe = 'node=$1 cli=$2 file=$3; "$node" "$cli" -w - | tee "$file" | "$node" "$cli" -r - --json';
    const path = file('piped.pcapng');
    const shell = lab.spawn(client, ['sh', '-c', pipe, 'sh', process.execPath, CLI, path]);
    await shell.waitFor(/listening on/, 'stderr');
    const udp = await open();
    await provoke(udp, shell);
    await provoke(udp, shell);
    expect(errorsOf(shell, udp.port)).toMatchObject(
      [1, 2].map((count) => ({ count, match: 'connected', sockets: [{ inode: udp.ready.inode }] })),
    );
    const [first] = await eventually(() => lab.run(null, ['pgrep', '-P', String(shell.pid)]).stdout.split('\n'));
    process.kill(Number(first), 'SIGINT');
    expect(await shell.exited).toEqual({ status: 0, signal: null });
    expect(replay(path, '--json').stdout).toBe(shell.stdout);
  });

  test('the disk is full: one line says so, the watch goes on, and what was saved can be read', async () => {
    const mount = 'mount -t tmpfs -o size=64k tmpfs /mnt && exec "$@"';
    const tool = [process.execPath, CLI, '--json', '-w', '/mnt/full.pcapng'];
    const watch = lab.spawn(client, ['unshare', '--mount', 'sh', '-c', mount, 'sh', ...tool]);
    await watch.waitFor(/listening on/, 'stderr');
    const udp = await open({ connect: false });
    for (let n = 0; !watch.stderr.includes('/mnt'); n++) {
      expect(n).toBeLessThan(200);
      await provoke(udp, watch);
    }
    await provoke(udp, watch);
    const saved = file('full.pcapng');
    copyFileSync(`/proc/${watch.pid}/root/mnt/full.pcapng`, saved);
    expect(await watch.stop('SIGINT')).toEqual({ status: 1, signal: null });
    expect(watch.stderr.match(/^.*\/mnt.*$/gm)).toEqual([
      'udpicmp-watch: /mnt/full.pcapng: no space left on device; nothing more is saved, what was saved before is there',
    ]);
    expect(watch.stderr).toMatch(/\n.*events shown/);
    const { stdout, stderr, status } = replay(saved, '--json');
    expect([status, stderr]).toEqual([0, expect.stringMatching(/^udpicmp-watch: \d+ events shown[^\n]*\n$/)]);
    expect(watch.stdout.startsWith(stdout)).toBe(true);
    // Not much of it is missing.
    expect(readFileSync(saved).length).toBeGreaterThan(32 * 1024);
    expect(tsharkTable(saved, 'frame.number')).toHaveLength(stdout.split('\n').length - 1);
  });

  test('a pipe whose reader goes away: the watch goes on', async () => {
    const pipe = file('pipe');
    lab.run(null, ['mkfifo', pipe]);
    const reader = lab.spawn(null, ['head', '-c', '1000', pipe]);
    const watch = await startWatch(lab, client, ['--json', '-w', pipe]);
    const udp = await open({ connect: false });
    for (let n = 0; !watch.stderr.includes(pipe); n++) {
      expect(n).toBeLessThan(200);
      await provoke(udp, watch);
    }
    expect((await reader.exited).status).toBe(0);
    await provoke(udp, watch);
    expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
    expect(watch.stderr.split('\n').filter((line) => line.includes(pipe))).toEqual([
      expect.stringMatching(/: broken pipe; nothing more is saved/),
    ]);
  });
});
