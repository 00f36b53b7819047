/**
 * What the host does to a watch: an output that nobody reads or that is full, a terminal that is gone, a /proc that changes,
 * hides or cannot be opened. It goes on, ends when it is told to, and says nothing that it does not know.
 */
import { constants, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { constants as osConstants } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLI, FIXTURES } from '../command.ts';
import { eventually, Lab, PYTHON, type LabProcess, type Namespace, type UdpClient } from './network.ts';
import {
  captureProcess,
  describeLab,
  errorsOf,
  events,
  isAlive,
  needsTools,
  provoke,
  startWatch,
  type JsonEvent,
} from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const CLOSED = 9999;
const TOOL = [process.execPath, CLI];
const REPLAY = [
  ...TOOL,
  '-r',
  join(
    FIXTURES,
    readdirSync(FIXTURES).find((name) => name.endsWith('.pcap'))!,
  ),
];
const CTRL_Q = '11';
const CTRL_S = '13';

describeLab('faults of the host', () => {
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

  const file = (name: string): string => `${lab.temporary}/${name}`;

  const open = (options: object = {}): Promise<UdpClient> =>
    lab.udpClient(client, { dst: SERVER, dport: CLOSED, interactive: true, name: 'gateway', ...options });

  /** Errors without end, some hundred a second. */
  const load = (): Promise<UdpClient> => open({ interactive: false, connect: false, count: 0, interval: 0.002 });

  /** Datagrams that go on to the end leave some that is not looked at any more. */
  const withoutLosses = (stderr: string): string =>
    stderr.replaceAll(
      /^.*(?: captured and not looked at before the watch ended|"event":"loss","cause":"ended",.*)\n/gm,
      '',
    );

  /** `script` begins the shell that becomes the tool. */
  function tool(script: string, ...args: string[]): LabProcess {
    return lab.spawn(client, ['sh', '-c', `${script} exec "$@"`, 'sh', ...TOOL, ...args]);
  }

  /** A FIFO with a reader that does not read. */
  function unreadPipe(name: string): { path: string; fd: number } {
    const path = file(name);
    lab.run(null, ['mkfifo', path]);
    return { path, fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) };
  }

  function fill(path: string): void {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    expect(() => {
      for (;;) writeSync(fd, Buffer.alloc(4096, 'x'));
    }).toThrow('EAGAIN');
  }

  async function expectEndsAtOnce(watch: LabProcess, status = 0): Promise<void> {
    const asked = performance.now();
    expect(await watch.stop('SIGINT')).toEqual({ status, signal: null });
    expect(performance.now() - asked).toBeLessThan(1_500);
  }

  describe('an output that nobody reads', () => {
    test('it is said, then how long it was so, and nothing is lost', async () => {
      const { path, fd } = unreadPipe('out');
      const watch = tool(`exec > ${path};`, '--json');
      await watch.waitFor(/listening on/, 'stderr');
      const udp = await load();
      await watch.waitFor(
        /udpicmp-watch: standard output is not being read, or too slowly: what is captured waits, and what the buffers do not hold will be lost\n/,
        'stderr',
      );
      let text = '';
      const reader = new Socket({ fd, writable: false }).setEncoding('utf8').on('data', (octets) => (text += octets));
      await watch.waitFor(/standard output is read again after \d+\.\d s\n/, 'stderr');
      await udp.stop();
      await watch.stop('SIGINT');
      await eventually(() => reader.closed || reader.readableEnded);
      const lines = text.trimEnd().split('\n');
      const shown = Number(/([\d,]+) events shown/.exec(watch.stderr)![1]!.replaceAll(',', ''));
      expect(lines.filter((line) => (JSON.parse(line) as JsonEvent).icmp !== undefined)).toHaveLength(shown);
      expect(watch.stderr.match(/is not being read/g)).toHaveLength(1);
      expect(watch.stderr).not.toContain('were not read');
    });

    test.for([['--json'], ['--oneline'], ['-w', '-']])('%j, for ever: Ctrl-C ends it', async (args) => {
      const watch = tool(`exec > ${unreadPipe('out').path};`, ...args);
      await watch.waitFor(/listening on/, 'stderr');
      await load();
      await watch.waitFor(/is not being read/, 'stderr');
      const child = captureProcess(watch);
      await expectEndsAtOnce(watch);
      expect(watch.stderr).toMatch(/\d events shown/);
      expect(watch.stderr).toMatch(/standard output: up to [\d,]+ octets at its end, .* were not read\n$/);
      await eventually(() => !isAlive(child!));
    });

    test('together with standard error (2>&1)', async () => {
      const watch = tool(`exec > ${unreadPipe('out').path} 2>&1;`, '--json');
      await eventually(() => captureProcess(watch));
      const udp = await load();
      // Of so many events a pipe holds a fraction.
      await udp.until(({ lines }) => lines.length > 500);
      await expectEndsAtOnce(watch);
    });

    test.for([
      ['live', [...TOOL, '--json', '-c', '3']],
      ['replay', [...REPLAY, '--json']],
    ] as const)('standard error that is full, %s: the events are printed', async ([, command]) => {
      const { path } = unreadPipe('err');
      fill(path);
      const watch = lab.spawn(client, ['sh', '-c', `exec "$@" 2> ${path}`, 'sh', ...command]);
      const udp = await load();
      expect(await watch.exited).toEqual({ status: 0, signal: null });
      await udp.stop();
      expect(watch.json().length).toBeGreaterThan(0);
    });

    test.for([
      ['<&-', ''],
      ['2>&-', ''],
      ['<&- >&- 2>&-', ''],
      ['2>/dev/full', ''],
    ])('%s: what would be printed goes into no other file', async ([redirections]) => {
      const path = file('saved.pcapng');
      const watch = lab.spawn(client, ['sh', '-c', `exec "$@" ${redirections}`, 'sh', ...TOOL, '--json', '-w', path]);
      await eventually(() => captureProcess(watch));
      const udp = await load();
      await eventually(() => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
      await udp.stop();
      await expectEndsAtOnce(watch);
      const { stdout, stderr } = lab.run(null, [...TOOL, '-r', path, '--json']);
      expect(withoutLosses(stderr)).toMatch(/^udpicmp-watch: \d+ events? shown, \d+ attributed to a socket\n$/);
      if (!redirections!.includes('>&- ')) expect(watch.stdout).toBe(stdout);
    });
  });

  describe('on a terminal', () => {
    /** Starts the tool on one. */
    async function onTerminal(...args: string[]): Promise<{ terminal: LabProcess; pid: number }> {
      const script = join(import.meta.dirname, 'terminal.py');
      const terminal = lab.spawn(client, [PYTHON, script, '24', ...TOOL, ...args]);
      const [, pid] = await terminal.waitFor(/pid (\d+)/, 'stderr');
      await terminal.waitFor(/listening on/);
      return { terminal, pid: Number(pid) };
    }

    const type = (terminal: LabProcess, octets: string): void => terminal.write(`${octets}\n`);

    test.for([['--json'], ['--oneline'], ['--top']])('%j, stopped by Ctrl-S: SIGTERM ends it', async (args) => {
      const { terminal, pid } = await onTerminal(...args);
      await load();
      await terminal.waitFor(/ECONNREFUSED/);
      type(terminal, CTRL_S);
      await quietFor(terminal, 2_500);
      process.kill(pid, 'SIGTERM');
      await terminal.until(({ exit }) => exit !== undefined, 2_000);
      expect(terminal.exit).toMatchObject({ status: 0 });
    });

    test('Ctrl-S and Ctrl-Q: what came meanwhile is printed, and how long it was so', async () => {
      const { terminal, pid } = await onTerminal('--json', '--no-summary');
      const udp = await load();
      await terminal.waitFor(/ECONNREFUSED/);
      type(terminal, CTRL_S);
      await quietFor(terminal, 3_000);
      type(terminal, CTRL_Q);
      await terminal.waitFor(/standard output is read again after \d+\.\d s\r\n/);
      await udp.stop();
      // Ctrl-C would make the terminal forget what it has not shown yet.
      process.kill(pid, 'SIGTERM');
      expect(await terminal.exited).toMatchObject({ status: 0 });
      const counts = [...terminal.stdout.matchAll(/"count":(\d+)\}\r\n/g)].map(([, count]) => Number(count));
      expect(counts).toEqual(counts.map((_, n) => n + 1));
    });

    test.for([[['--json']], [['--top']], [['--oneline']]])('%j, that is gone: it ends, by SIGHUP', async ([args]) => {
      const path = file('saved.pcapng');
      const { terminal, pid } = await onTerminal(...args!, '-w', path);
      await load();
      await terminal.waitFor(/ECONNREFUSED/);
      // One may be ss.
      const [child] = children(pid);
      terminal.write('hang up\n');
      expect(await terminal.exited).toMatchObject({ status: 128 + osConstants.signals.SIGHUP });
      await eventually(() => !isAlive(child!));
      const { stderr } = lab.run(null, [...TOOL, '-r', path]);
      expect(withoutLosses(stderr)).toMatch(/^udpicmp-watch: \d+ events? shown, \d+ attributed to a socket\n$/);
    });

    /** Resolves when it has printed nothing for so long. */
    async function quietFor(terminal: LabProcess, milliseconds: number): Promise<void> {
      let [size, since] = [-1, 0];
      await eventually(() => {
        if (terminal.stdout.length !== size) [size, since] = [terminal.stdout.length, performance.now()];
        return performance.now() - since > milliseconds;
      }, 20_000);
    }
  });

  function children(pid: number): number[] {
    const { stdout } = lab.run(null, ['pgrep', '-P', String(pid)], { allowFailure: true });
    return stdout.split('\n').filter(Boolean).map(Number);
  }

  describe('a disk that is full', () => {
    const MOUNT = 'mount -t tmpfs -o size=64k tmpfs /mnt;';

    test.for([['--json'], ['--plain'], ['-w', '-']])(
      '%j into a file there: one line, status 1, and whole lines before it',
      async (args) => {
        const watch = lab.spawn(client, [
          'unshare',
          '--mount',
          'sh',
          '-c',
          `${MOUNT} "$@" > /mnt/events; echo "EXIT $?"; cat /mnt/events`,
          'sh',
          ...TOOL,
          ...args,
        ]);
        await watch.waitFor(/listening on/, 'stderr');
        await load();
        await watch.exited;
        expect(withoutLosses(watch.stderr).split('\n').slice(1)).toEqual([
          expect.stringMatching(/^udpicmp-watch: standard output: ENOSPC: no space left on device/),
          '',
        ]);
        expect(watch.stdout).toMatch(/^EXIT 1\n/);
        expect(watch.stdout.length).toBeGreaterThan(32 * 1024);
        const written = watch.stdout.replace('EXIT 1\n', '');
        if (args[0] === '--json')
          written
            .trimEnd()
            .split('\n')
            .forEach((line) => JSON.parse(line));
        if (args[0] === '--plain') expect(written).toMatch(/^(\S+ eth0  In  IP .* length \d+\n)+$/);
      },
    );

    test('a replay of which only the last octets do not fit: status 1', () => {
      const script = `${MOUNT} head -c 65536 /dev/zero > /mnt/full; "$@" > /mnt/events; echo "$? $(wc -c < /mnt/events)"`;
      const { stdout, stderr } = lab.run(null, ['unshare', '--mount', 'sh', '-c', script, 'sh', ...REPLAY]);
      expect(stdout).toBe('1 0\n');
      expect(stderr).toContain('standard output: ENOSPC');
    });

    test('that has room again: what was saved can be read, and no more is there', async () => {
      const watch = lab.spawn(client, [
        'unshare',
        '--mount',
        'sh',
        '-c',
        `${MOUNT} head -c 32768 /dev/zero > /mnt/other; exec "$@"`,
        'sh',
        ...TOOL,
        '--json',
        '-w',
        '/mnt/saved.pcapng',
      ]);
      await watch.waitFor(/listening on/, 'stderr');
      const udp = await load();
      await watch.waitFor(/no space left on device; nothing more is saved/, 'stderr');
      const there = `/proc/${watch.pid}/root/mnt`;
      lab.run(null, ['rm', `${there}/other`]);
      const before = watch.lines.length;
      await watch.until(({ lines }) => lines.length > before + 100);
      await udp.stop();
      const { stdout, stderr } = lab.run(null, [...TOOL, '-r', `${there}/saved.pcapng`, '--json']);
      expect(stderr).toMatch(/^udpicmp-watch: \d+ events shown[^\n]*\n$/);
      expect(watch.stdout.startsWith(stdout)).toBe(true);
      await expectEndsAtOnce(watch, 1);
    });

    test.for([
      ['--json', /standard output: EFBIG: file too large/],
      ['-w', /saved\.pcapng: file too large; nothing more is saved/],
    ] as const)('a limit on the size of files (ulimit -f), %s: no signal kills it', async ([option, message]) => {
      const saved = file('saved.pcapng');
      const printed = file('printed');
      const args = option === '-w' ? ['-w', saved] : ['--json'];
      const watch = tool(`ulimit -f 80; exec > ${option === '-w' ? '/dev/null' : printed};`, ...args);
      await watch.waitFor(/listening on/, 'stderr');
      await load();
      await watch.waitFor(message, 'stderr');
      await expectEndsAtOnce(watch, 1);
      if (option === '-w') lab.run(null, [...TOOL, '-r', saved]);
      else
        readFileSync(printed, 'utf8')
          .trimEnd()
          .split('\n')
          .forEach((line) => JSON.parse(line));
    });

    test.for(['rm /mnt/saved.pcapng', 'umount --lazy /mnt'])('%s under it: the watch goes on', async (fault) => {
      const script = `${MOUNT} exec "$@"`;
      const args = ['--json', '-w', '/mnt/saved.pcapng'];
      const watch = lab.spawn(client, ['unshare', '--mount', 'sh', '-c', script, 'sh', ...TOOL, ...args]);
      await watch.waitFor(/listening on/, 'stderr');
      const udp = await open();
      await provoke(udp, watch);
      lab.run(null, ['nsenter', `--mount=/proc/${watch.pid}/ns/mnt`, 'sh', '-c', fault]);
      await provoke(udp, watch);
      await expectEndsAtOnce(watch);
    });
  });

  describe('a /proc that does not tell all', () => {
    const USER = 65_534;
    const AS_USER = `setpriv --reuid=${USER} --regid=${USER} --clear-groups --inh-caps=+net_raw --ambient-caps=+net_raw`;

    /** Starts the tool with another /proc; the first `script` has run. */
    async function watchBy(script: string, args: readonly string[], ns = client): Promise<LabProcess> {
      const words = ['unshare', '--mount', 'sh', '-c', `${script} "$@"`, 'sh', ...TOOL, '--json', ...args];
      const watch = lab.spawn(ns, words);
      await watch.waitFor(/listening on/, 'stderr');
      return watch;
    }

    const PROC = {
      'hidepid=1': `mount -t proc -o hidepid=1 proc /proc; exec ${AS_USER}`,
      'hidepid=2': `mount -t proc -o hidepid=2 proc /proc; exec ${AS_USER}`,
      'hidepid=2, in its group': `mount -t proc -o hidepid=2,gid=${USER} proc /proc; exec ${AS_USER}`,
      'no CAP_SYS_PTRACE': 'exec setpriv --bounding-set=-sys_ptrace',
      'another PID namespace': 'exec unshare --pid --fork --kill-child --mount-proc',
    };

    test.for([
      ['hidepid=1', /may not be looked into/],
      ['hidepid=2', /of a process that \/proc hides \(hidepid\)/],
      ['hidepid=2, in its group', /may not be looked into/],
      ['no CAP_SYS_PTRACE', /may not be looked into/],
      ['another PID namespace', /of a process in another PID namespace/],
    ] as const)('%s: the socket is found, and its process said to be hidden', async ([how, why], context) => {
      needsTools(context, 'setpriv', 'unshare');
      const watch = await watchBy(PROC[how], []);
      // Root without CAP_SYS_PTRACE may look into what has no more than itself.
      const drop = ['setpriv', '--reuid=1234', '--clear-groups', '--'];
      const script = [PYTHON, join(import.meta.dirname, 'udp_client.py')];
      const udp = await lab.udpClientBy(client, [
        ...drop,
        ...script,
        JSON.stringify({ dst: SERVER, dport: CLOSED, interactive: true }),
      ]);
      await udp.ask('send');
      const [event] = await events(watch, 1);
      expect(event).toMatchObject({ errno: 'ECONNREFUSED', outcome: 'reported', match: 'connected' });
      expect(event?.sockets).toMatchObject([{ inode: udp.ready.inode, uid: 1234, processes: [] }]);
      expect(event?.note).toMatch(why);
    });

    test('hidepid=2, as root: all is seen', async () => {
      const watch = await watchBy('mount -t proc -o hidepid=2 proc /proc; exec', []);
      const udp = await open();
      await udp.ask('send');
      const [event] = await events(watch, 1);
      expect(event).toMatchObject({ match: 'connected', sockets: [{ processes: [{ pid: udp.ready.pid }] }] });
      expect(event).not.toHaveProperty('note');
    });

    test('subset=pid, which has no /proc/net: all is seen', async () => {
      const watch = await watchBy('mount -t proc -o subset=pid proc /proc; exec', []);
      const udp = await open();
      await udp.ask('send');
      const [event] = await events(watch, 1);
      expect(event).toMatchObject({ match: 'connected', sockets: [{ processes: [{ pid: udp.ready.pid }] }] });
      await watch.stop('SIGINT');
      expect(watch.stderr).toContain('network namespace: 1, of them missed: 0');
    });

    test('no /proc at all: unknown', async () => {
      const watch = await watchBy('mount -t tmpfs tmpfs /proc; exec', []);
      await (await open()).ask('send');
      const [event] = await events(watch, 1);
      expect(event).toMatchObject({ outcome: 'unknown', note: 'the socket table could not be read: ENOENT' });
    });

    test.for(['hidepid=2', 'another PID namespace'] as const)(
      '%s: a container whose processes are not seen is not said to be elsewhere',
      async (how, context) => {
        needsTools(context, 'setpriv', 'unshare');
        const router = lab.namespace('router');
        const container = lab.namespace('container');
        lab.link(router, '198.51.100.1/24', server, '198.51.100.20/24');
        lab.link(router, '10.89.0.1/24', container, '10.89.0.2/24');
        lab.router(router);
        lab.ip(container, 'route', 'add', 'default', 'via', '10.89.0.1');
        lab.ip(server, 'route', 'add', '10.89.0.0/24', 'via', '198.51.100.1');
        const udp = await lab.udpClient(container, { dst: '198.51.100.20', dport: CLOSED, interactive: true });
        // As those of containers, it has no name.
        lab.run(null, ['ip', 'netns', 'delete', container]);
        const watch = await watchBy(PROC[how], [], router);
        await udp.ask('send');
        const [event] = await events(watch, 1);
        expect(event).toMatchObject({ errno: 'ECONNREFUSED', outcome: 'unknown', match: null, sockets: [] });
        // That of the server has a name, and may not be entered by a user.
        expect(event?.note).toMatch(
          how === 'hidepid=2' ? /that may be read, and \d+ processes or mounts/ : /that is seen, and .*PID namespaces/,
        );
      },
    );
  });

  describe('a host under pressure', () => {
    const fdsOf = (watch: LabProcess): number => readdirSync(`/proc/${watch.pid}/fd`).length;

    /** Starts processes that live a moment, and resolves with which had which port when all have sent. */
    async function storm(rate: number, count: number, life: number): Promise<Map<number, Set<number>>> {
      const options = JSON.stringify({ dst: SERVER, dport: CLOSED, rate, count, life });
      const python = lab.spawn(client, [PYTHON, join(import.meta.dirname, 'udp_storm.py'), options]);
      await python.until(({ lines }) => lines.length === count, 60_000);
      const holders = new Map<number, Set<number>>();
      for (const line of python.lines) {
        const [port, pid] = line.split(' ').map(Number);
        holders.set(port!, (holders.get(port!) ?? new Set()).add(pid!));
      }
      return holders;
    }

    function expectNobodyElse(watch: LabProcess, holders: ReadonlyMap<number, ReadonlySet<number>>): void {
      for (const { flow, outcome, sockets } of watch.json<JsonEvent>()) {
        const pids = holders.get(flow?.sport ?? 0);
        if (pids === undefined) continue;
        expect(['reported', 'no-socket', 'unknown']).toContain(outcome);
        for (const { processes } of sockets ?? []) for (const { pid } of processes) expect(pids).toContain(pid);
      }
    }

    const isZombie = (pid: number): boolean => !isAlive(pid);

    test('processes that live a moment, and namespaces that come and go: right or nobody, and nothing leaks', async () => {
      const watch = await startWatch(lab, client, ['--json']);
      await provoke(await open(), watch);
      const before = fdsOf(watch);
      const churn =
        'trap exit TERM; n=0; while :; do n=$((n+1)); ip netns add "$1-$n"; ip netns exec "$1-$n" true & ' +
        'ip -n "$1-$n" address add 203.0.113.1/32 dev lo; ip netns delete "$1-$n"; done';
      const namespaces = lab.spawn(null, ['sh', '-c', churn, 'sh', `${client}-churn`]);
      const holders = await storm(500, 5_000, 0.005);
      lab.injectAll(
        server,
        Array.from({ length: 200 }, (_, n) => ({
          src: SERVER,
          dst: CLIENT,
          type: 3,
          code: 3,
          quoted: { src: '203.0.113.1', sport: 1000 + n, dst: SERVER, dport: CLOSED },
        })),
      );
      await watch.until(({ lines }) => lines.length > 5_200, 30_000);
      await namespaces.stop();
      expectNobodyElse(watch, holders);
      // Look-ups that are under way take some.
      await eventually(() => fdsOf(watch) <= before && children(watch.pid).filter(isZombie).length === 0);
      await watch.stop('SIGINT');
      expect(watch.stderr.split('\n')).toHaveLength(5);
      expect(watch.stderr).toMatch(/listening.*\n.*shown.*\n.*received.*\n.*of them missed: [\d, to]+\n$/);
    });

    test('no more descriptors: unknown, and why; and none is said to be missed. It recovers', async (context) => {
      needsTools(context, 'prlimit');
      const watch = await startWatch(lab, client, ['--json']);
      const udp = await open();
      await provoke(udp, watch);
      const limit = (soft: number): unknown => lab.run(null, ['prlimit', `--pid=${watch.pid}`, `--nofile=${soft}:`]);
      limit(10);
      const isUnknown = async (): Promise<boolean> => {
        await provoke(udp, watch);
        const { outcome, note } = errorsOf(watch, udp.port).at(-1)!;
        return outcome === 'unknown' && note!.startsWith('the socket table could not be read: EMFILE');
      };
      await eventually(isUnknown);
      limit(1024);
      await eventually(async () => !(await isUnknown()));
      await eventually(async () => {
        await provoke(udp, watch);
        return errorsOf(watch, udp.port).at(-1)?.note === undefined;
      }, 15_000);
      for (const { outcome } of errorsOf(watch, udp.port)) expect(['reported', 'unknown']).toContain(outcome);
      await watch.stop('SIGINT');
      expect(watch.stderr).toMatch(/of them missed: 0( to \d+)?\n/);
    });

    test('stopped for a while (SIGSTOP): every error is counted, and it is said that it was looked up late', async () => {
      const watch = await startWatch(lab, client, ['--json']);
      const udp = await open();
      await provoke(udp, watch);
      watch.signal('SIGSTOP');
      const stoppedAt = performance.now();
      const holders = await storm(100, 300, 0.5);
      await eventually(() => performance.now() - stoppedAt > 4_000);
      watch.signal('SIGCONT');
      await watch.until(({ lines }) => lines.length >= 301, 20_000);
      expectNobodyElse(watch, new Map([...holders].filter(([, pids]) => pids.size === 1)));
      const [late] = errorsOf(watch, [...holders.keys()][0]!);
      expect(late?.note).toMatch(/looked up [3-9]\.\d s after it came: sockets may have been closed and opened since$/);
      await provoke(udp, watch);
      expect(errorsOf(watch, udp.port).at(-1)).not.toHaveProperty('note');
      await watch.stop('SIGINT');
      expect(watch.stdout).not.toContain('"event":');
      expect(watch.stderr).toMatch(
        /302 events shown.*\n.* 302 packets received, 0 packets dropped\n.*: 302, of them missed: 0\b/,
      );
    });
  });
});
