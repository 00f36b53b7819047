/**
 * The command on a live capture: what it refuses and why, what it prints beside tcpdump, and what it selects.
 */
import { hostname } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLI } from '../command.ts';
import { Lab, PYTHON, type LabProcess, type Namespace, type RunResult } from './network.ts';
import { describeLab, events, needsTools, skip, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const CLIENT6 = '2001:db8:1::10';
const SERVER6 = '2001:db8:1::20';
const CLOSED = 9999;

describeLab('the command, live', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeAll(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], server, [`${SERVER}/24`, `${SERVER6}/64`]);
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
  });
  afterAll(() => lab.close());

  describe('a capture that is not possible: one line that says why, status 1, and no process left', () => {
    function expectFailure({ stdout, stderr, status }: RunResult, message: RegExp): void {
      expect(stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
      expect(stderr.slice('udpicmp-watch: '.length, -1)).toMatch(message);
      expect({ stdout, status }).toEqual({ stdout: '', status: 1 });
      expect(lab.run(null, ['ip', 'netns', 'pids', client]).stdout).toBe('');
    }

    test.for<[string[], RegExp]>([
      [['-i', 'nosuch0'], /^nosuch0: .*No such device/],
      [['-i', 'eth0', 'host', 'or', 'and'], /^eth0: .*syntax error/],
      [['no', 'such', 'primitive('], /^any: .*syntax error/],
      [['udp'], /^the filter "udp" and ICMP exclude each other$/],
      [['port', '53'], /^the filter "port 53" and ICMP exclude each other.*, use --port 53$/],
      [['-i', 'eth0', '--all-icmp', '(udp dst port 53)'], /exclude each other.*, use --port 53$/],
    ])('%j', ([args, message]) => {
      expectFailure(lab.run(client, [process.execPath, CLI, ...args], { allowFailure: true }), message);
    });

    test('as a user who may not', (context) => {
      needsTools(context, 'setpriv');
      const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
      const options = { allowFailure: true, cwd: '/' };
      if (lab.run(null, [...asNobody, process.execPath, CLI, '--version'], options).status !== 0) {
        skip(context, `nobody may not read ${CLI}`);
      }
      for (const device of ['any', 'eth0']) {
        const result = lab.run(client, [...asNobody, process.execPath, CLI, '-i', device], options);
        expectFailure(result, new RegExp(`^${device}: .*permi(tted|ssion).*sudo udpicmp-watch`, 'i'));
      }
    });
  });

  test.for(['eth0', 'any'])('--plain --all-icmp on %s: the lines of the tcpdump beside it', async (device, context) => {
    needsTools(context, 'ping');
    const theirs = lab.spawn(client, ['tcpdump', '-nn', '-l', '--immediate-mode', '-i', device, 'icmp or icmp6']);
    await theirs.waitFor(/listening on/, 'stderr');
    const ours = await startWatch(lab, client, ['--plain', '--all-icmp', '-i', device]);

    for (const address of [SERVER, SERVER6, '127.0.0.1']) {
      lab.run(client, ['ping', '-n', '-q', '-c', '2', '-i', '0.2', '-s', '1400', address]);
    }
    for (const dst of [SERVER, SERVER6]) await lab.udpClient(client, { dst, dport: CLOSED, connect: false, hold: 5 });
    lab.run(server, ['ping', '-n', '-q', '-c', '1', CLIENT]);

    // Neighbours are asked for at any time, also while one of the two is not there yet.
    const lines = (process: LabProcess): string[] =>
      process.lines.map((line) => line.replace(/^\S+ /, '')).filter((line) => /echo|unreachable/.test(line));
    const last = (process: LabProcess): string | undefined => lines(process).at(-1);
    const isLast = (process: LabProcess): boolean =>
      last(process)?.includes(`${CLIENT} > ${SERVER}: ICMP echo reply`) ?? false;
    await Promise.all([theirs.until(isLast), ours.until(isLast)]);
    expect(lines(ours)).toEqual(lines(theirs));
    // 2 requests and 2 replies to each address; 2 errors; 1 ping from the other side.
    expect(lines(ours)).toHaveLength((device === 'any' ? 3 : 2) * 4 + 2 + 2);
    for (const process of [ours, theirs]) await process.stop('SIGINT');
  });

  test('a hostile process name: escaped in text, as it is in JSON', async () => {
    const name = '\x1b[2J\x9b1m\\\u202e"\n';
    const text = await startWatch(lab, client);
    const json = await startWatch(lab, client, ['--json']);
    await lab.udpClient(client, { dst: SERVER, dport: CLOSED, name, hold: 5 });
    const [event] = await events(json, 1);
    expect(event?.sockets?.[0]?.processes[0]?.comm).toBe(name);
    await text.until(({ lines }) => lines.length >= 2);
    expect(text.lines[1]).toContain('→ \\x1b[2J\\x9b1m\\\\\\u{202e}"\\x0a[');
    expect(text.lines).toHaveLength(2);
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    expect(text.stdout.replace(/\n\t|\n/g, '')).not.toMatch(/[\x00-\x1f\x7f-\x9f]|\p{Cf}/u);
    for (const watch of [text, json]) await watch.stop('SIGINT');
  });

  test('--pid, --comm and --errno', async () => {
    const options = { dst: SERVER, dport: CLOSED, connect: false, src: CLIENT, interactive: true };
    const one = await lab.udpClient(client, { ...options, name: 'one' });
    const other = await lab.udpClient(client, { ...options, name: 'other' });
    const byPid = await startWatch(lab, client, ['--json', '--pid', String(one.ready.pid)]);
    const byComm = await startWatch(lab, client, ['--json', '--comm', 'other', '--comm', 'nobody']);
    const byErrno = await startWatch(lab, client, [
      '--json',
      '--errno',
      'ehostunreach',
      '--pid',
      String(one.ready.pid),
    ]);

    for (const udp of [other, one, other]) await udp.ask('send');
    for (const { port } of [other, one]) {
      const quoted = { src: CLIENT, sport: port, dst: SERVER, dport: CLOSED };
      lab.inject(server, { src: SERVER, dst: CLIENT, type: 3, code: 1, quoted });
    }

    const shown = (watch: LabProcess): unknown[] =>
      watch.json<JsonEvent>().map(({ errno, flow, sockets }) => [errno, flow?.sport, sockets?.[0]?.processes[0]?.comm]);
    await byPid.until(({ lines }) => lines.length >= 2);
    await byComm.until(({ lines }) => lines.length >= 3);
    await byErrno.until(({ lines }) => lines.length >= 1);
    for (const watch of [byPid, byComm, byErrno]) await watch.stop('SIGINT');
    expect(shown(byPid)).toEqual([
      ['ECONNREFUSED', one.port, 'one'],
      ['EHOSTUNREACH', one.port, 'one'],
    ]);
    expect(shown(byComm)).toEqual([
      ['ECONNREFUSED', other.port, 'other'],
      ['ECONNREFUSED', other.port, 'other'],
      ['EHOSTUNREACH', other.port, 'other'],
    ]);
    expect(shown(byErrno)).toEqual([['EHOSTUNREACH', one.port, 'one']]);
    // What is hidden is not shown, and was not missed either.
    expect(byErrno.stderr).toContain('1 event shown, 1 attributed to a socket');
    expect(byErrno.stderr).toMatch(/addressed to this network namespace: [45], of them missed: 0\b/);
    for (const udp of [one, other]) await udp.ask('quit');
  });

  test('--no-sockets: nothing is looked up, and it says so', async () => {
    const watch = await startWatch(lab, client, ['--json', '--no-sockets']);
    const udp = await lab.udpClient(client, { dst: SERVER, dport: CLOSED, hold: 5 });
    const [event] = await events(watch, 1);
    expect(event).toMatchObject({
      host: hostname(),
      interface: 'eth0',
      direction: null,
      flow: { sport: udp.port },
      errno: 'ECONNREFUSED',
      outcome: 'unknown',
      match: null,
    });
    expect(event?.note).toContain('--no-sockets');
    expect(event).not.toHaveProperty('sockets');
    await watch.stop('SIGINT');
    expect(watch.stderr).toContain('1 event shown, 0 attributed to a socket');
    expect(watch.stderr).toMatch(/network namespace: unknown \(.*--no-sockets\)/);
  });

  test('a socket that was never bound nor connected: found by its port, and it hears of nothing', async () => {
    const text = await startWatch(lab, client);
    const json = await startWatch(lab, client, ['--json']);
    const script =
      'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); ' +
      `s.sendto(b"hello", ("${SERVER}", ${CLOSED})); print(s.getsockname()[1], flush=True); time.sleep(30)`;
    const udp = lab.spawn(client, [PYTHON, '-c', script]);
    const port = Number(await udp.until(({ lines }) => lines[0]));
    const [event] = await events(json, 1);
    expect(event).toMatchObject({
      direction: 'in',
      flow: { src: CLIENT, sport: port, dst: SERVER, dport: CLOSED },
      errno: 'ECONNREFUSED',
      outcome: 'ignored',
      match: 'wildcard',
      sockets: [{ state: 'unconnected', local: `0.0.0.0:${port}`, uid: 0, processes: [{ pid: udp.pid, fd: 3 }] }],
    });
    expect(event?.sockets?.[0]).not.toHaveProperty('remote');
    await text.until(({ lines }) => lines.length >= 2);
    expect(text.lines[0]).toMatch(
      new RegExp(
        `^\\d\\d:\\d\\d:\\d\\d\\.\\d{6} eth0  In  IP ${SERVER} > ${CLIENT}: ICMP ${SERVER} udp port ${CLOSED} unreachable, length 41$`,
      ),
    );
    expect(text.lines[1]).toContain(`\t${CLIENT}:${port} > ${SERVER}:${CLOSED}  ECONNREFUSED → `);
    expect(text.lines[1]).toContain(`[${udp.pid}] fd 3, wildcard: not connected, `);
    for (const watch of [text, json]) await watch.stop('SIGINT');
    await udp.stop('SIGKILL');
  });
});
