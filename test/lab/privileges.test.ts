/**
 * Who may do what: the capture process keeps CAP_NET_RAW alone, and the watch does with fewer capabilities than root has what
 * the README says.
 */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLI } from '../command.ts';
import { eventually, Lab, PYTHON, type LabProcess, type Namespace, type UdpClient } from './network.ts';
import {
  captureProcess,
  describeLab,
  events,
  followed,
  needsTools,
  provoke,
  skip,
  startWatch,
  type JsonEvent,
} from './watch.ts';

const UNIT = fileURLToPath(new URL('../../native-notes/udpicmp-watch.service', import.meta.url));
const HOST = '192.0.2.10';
const SERVER = '192.0.2.20';
const CLOSED = 9999;
const NET_RAW = '0000000000002000';
const NONE = '0000000000000000';
/** Neither root nor nobody: as systemd's dynamic users. */
const USER = 61_234;
const OTHER_USER = 61_235;

/** What it says of each thread; ids as real, effective, saved and file system's. */
type ThreadStatus = Record<'Uid' | 'Gid' | 'Groups' | 'CapInh' | 'CapPrm' | 'CapEff' | 'CapBnd' | 'NoNewPrivs', string>;

/** The first is the main thread, which captures. */
function threadsOf(pid: number): [ThreadStatus, ...ThreadStatus[]] {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const lines = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8').split('\n');
    return Object.fromEntries(lines.map((line) => line.split(/:\s*/).map((part) => part.trim()))) as ThreadStatus;
  });
  return threads as [ThreadStatus, ...ThreadStatus[]];
}

const ids = (id: number): string => Array(4).fill(id).join('\t');

describeLab('privileges', () => {
  let lab: Lab;
  let host: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    host = lab.namespace('host');
    server = lab.namespace('server');
    lab.link(host, `${HOST}/24`, server, `${SERVER}/24`);
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0 });
  });
  afterEach(() => lab.close());

  /** The watch, started by the words of another command. */
  async function startBy(words: readonly string[], args: readonly string[] = ['--json']): Promise<LabProcess> {
    const watch = lab.spawn(host, [...words, process.execPath, CLI, ...args], { cwd: '/' });
    await watch.waitFor(/listening on/, 'stderr');
    return watch;
  }

  const captureOf = (watch: LabProcess): Promise<number> => eventually(() => captureProcess(watch)) as Promise<number>;

  const open = (options = {}): Promise<UdpClient> =>
    lab.udpClient(host, { dst: SERVER, dport: CLOSED, interactive: true, ...options });

  describe('the capture process of root', () => {
    const DROPPED = { Uid: ids(65_534), Gid: ids(65_534), Groups: '', CapInh: NONE, NoNewPrivs: '1' };

    function expectDropped(pid: number): void {
      const [main, ...others] = threadsOf(pid);
      expect(main).toMatchObject({ ...DROPPED, CapPrm: NET_RAW, CapEff: NET_RAW, CapBnd: NET_RAW });
      expect(others).not.toEqual([]);
      for (const thread of others) expect(thread).toMatchObject({ ...DROPPED, CapPrm: NONE, CapEff: NONE });
    }

    test('is nobody with CAP_NET_RAW, in every thread, and nobody may look into it', async (context) => {
      needsTools(context, 'setpriv');
      const watch = await startBy(['setpriv', '--groups=4,27']);
      const pid = await captureOf(watch);
      expectDropped(pid);
      expect(threadsOf(watch.pid)[0]).toMatchObject({ Uid: ids(0), Groups: '4 27' });

      expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/^Max core file size +0 +0 /m);
      expect(statSync(`/proc/${pid}/mem`).uid).toBe(0);
      const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
      expect(lab.run(host, [...nobody, 'readlink', `/proc/${pid}/exe`], { allowFailure: true }).status).toBe(1);
    });

    test('opens an interface again that was deleted and made anew, and follows flows there', async () => {
      const watch = await startWatch(lab, host, ['-i', 'eth0', '--json']);
      const before = await captureOf(watch);
      lab.ip(host, 'link', 'delete', 'eth0');
      await watch.waitFor(/waiting for it to come back/, 'stderr');
      lab.link(host, `${HOST}/24`, server, `${SERVER}/24`, { nameA: 'eth0' });
      await watch.waitFor(/eth0: back after/, 'stderr');

      const udp = await open();
      await provoke(udp, watch);
      await followed(lab, watch, udp.port);
      const pid = await captureOf(watch);
      expect(pid).toBe(before);
      expectDropped(pid);
    });

    test('so is the one that takes over', async () => {
      const watch = await startWatch(lab, host, ['--json']);
      process.kill(await captureOf(watch), 'SIGKILL');
      await watch.waitFor(/capturing again/, 'stderr');
      expectDropped(await captureOf(watch));
      await provoke(await open(), watch);
    });

    test('from a directory that nobody may enter', async () => {
      const closed = join(lab.temporary, 'closed');
      mkdirSync(join(closed, 'checkout'), { recursive: true, mode: 0o700 });
      // `ip netns exec` has mounts of its own.
      const script = 'mount --bind "$1" "$2" && cd / && exec "$3" "$2/dist/cli.js" -i eth0 --json';
      const words = [dirname(dirname(CLI)), join(closed, 'checkout'), process.execPath];
      const watch = lab.spawn(host, ['sh', '-c', script, 'sh', ...words]);
      await watch.waitFor(/listening on/, 'stderr');
      expectDropped(await captureOf(watch));
      lab.ip(host, 'link', 'set', 'eth0', 'down');
      await watch.waitFor(/waiting for it to come back/, 'stderr');
      lab.ip(host, 'link', 'set', 'eth0', 'up');
      lab.settle(host);
      await watch.waitFor(/eth0: back after/, 'stderr');
      const udp = await open();
      await provoke(udp, watch);
      await followed(lab, watch, udp.port);
      expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
      expect(watch.stderr).not.toMatch(/privileges|capture process/);
    });

    test('where the user may not be changed it captures all the same, and that is said once', async (context) => {
      needsTools(context, 'setpriv');
      const watch = await startBy(['setpriv', '--bounding-set=-all,+net_raw,+dac_override,+sys_ptrace']);
      const pid = await captureOf(watch);
      for (const thread of threadsOf(pid)) {
        expect(thread).toMatchObject({ Uid: ids(0), CapPrm: NET_RAW, CapEff: NET_RAW, NoNewPrivs: '1' });
      }
      process.kill(pid, 'SIGKILL');
      await watch.waitFor(/capturing again/, 'stderr');
      await provoke(await open(), watch);
      await watch.stop('SIGINT');
      expect(watch.stderr.split('\n').filter((line) => line.includes('privileges'))).toEqual([
        'udpicmp-watch: the capture process keeps more privileges than it needs: setgroups: Operation not permitted; ' +
          'setresgid: Operation not permitted; setresuid: Operation not permitted',
      ]);
    });

    test('is not among the processes that may hold a socket and may not be looked into', async (context) => {
      needsTools(context, 'setpriv', 'unshare');
      // It sees itself and the capture process, which is another user's: not to be looked into without CAP_SYS_PTRACE.
      const words = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
      const capabilities = '+setpcap,+setuid,+setgid,+kill,+net_raw,+dac_read_search';
      const watch = await startBy([...words, 'setpriv', `--bounding-set=-all,${capabilities}`]);
      await provoke(await open(), watch);
      const [event] = await events(watch, 1);
      expect(event?.note).toContain('of a process in another PID namespace');
      expect(event?.note).not.toContain('of one of');
    });
  });

  test('a core has nothing of the memory of the watch; the capture process dumps none', async (context) => {
    if (readFileSync('/proc/sys/kernel/core_pattern', 'utf8') !== 'core\n') skip(context, 'core_pattern is not "core"');
    if (lab.run(null, ['sh', '-c', 'ulimit -H -c']).stdout === '0\n') skip(context, 'no core may be dumped here');
    const secret = 'what-is-only-in-memory';
    const script = 'ulimit -c unlimited; exec "$@"';
    const words = ['sh', '-c', script, 'sh', process.execPath, CLI, '--json'];
    const options = { cwd: lab.temporary, env: { ...process.env, SECRET: secret } };
    const watch = lab.spawn(host, words, options);
    await watch.waitFor(/listening on/, 'stderr');
    process.kill(await captureOf(watch), 'SIGSEGV');
    await watch.waitFor(/capturing again/, 'stderr');
    const cores = (): string[] => readdirSync(lab.temporary).filter((name) => name.startsWith('core'));
    expect(cores()).toEqual([]);
    watch.signal('SIGSEGV');
    await watch.exited;
    const [core] = cores();
    expect(core).toBeDefined();
    const dumped = readFileSync(join(lab.temporary, core!), 'latin1');
    expect(dumped.includes(process.execPath)).toBe(true);
    expect(dumped.includes(secret)).toBe(false);
  });

  function clientWords(name: string): string[] {
    const options = { dst: SERVER, dport: CLOSED, interactive: true, recverr: true, name };
    return [PYTHON, join(import.meta.dirname, 'udp_client.py'), JSON.stringify(options)];
  }

  const asUser = (uid: number, words: readonly string[]): string[] => [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${uid}`,
    '--clear-groups',
    ...words,
  ];

  describe('with capabilities and not root', () => {
    let clients: Record<'root' | 'other' | 'contained', UdpClient>;

    beforeEach(async (context) => {
      needsTools(context, 'setpriv', 'iptables', 'conntrack', 'nsenter', 'ss');
      if (lab.run(null, asUser(USER, ['test', '-r', CLI]), { allowFailure: true, cwd: '/' }).status !== 0) {
        skip(context, `others may not read ${CLI}`);
      }
      const container = lab.namespace('container');
      lab.link(host, '10.88.0.1/24', container, '10.88.0.2/24');
      lab.router(host);
      lab.ip(container, 'route', 'add', 'default', 'via', '10.88.0.1');
      const rule = ['POSTROUTING', '-s', '10.88.0.0/24', '-p', 'udp', '-j', 'MASQUERADE', '--to-ports', '61000-61999'];
      lab.run(host, ['iptables', '-w', '-t', 'nat', '-A', ...rule]);
      clients = {
        root: await lab.udpClientBy(host, clientWords('root')),
        other: await lab.udpClientBy(host, asUser(OTHER_USER, clientWords('other'))),
        contained: await lab.udpClientBy(container, clientWords('contained')),
      };
    });

    const startWith = (...capabilities: string[]): Promise<LabProcess> => {
      const list = capabilities.map((name) => `+${name}`).join(',');
      const sets = [`--inh-caps=${list}`, `--ambient-caps=${list}`, `--bounding-set=-all,${list}`];
      return startBy(asUser(USER, [...sets, '--no-new-privs']));
    };

    /** An error of each, and what the watch says of it. */
    async function eventOfEach(watch: LabProcess): Promise<Record<keyof typeof clients, JsonEvent>> {
      for (const udp of Object.values(clients)) await provoke(udp, watch);
      const [root, other, contained] = await events(watch, 3);
      return { root: root!, other: other!, contained: contained! };
    }

    const named = ({ ready: { pid, fd, inode } }: UdpClient): object => ({ inode, processes: [{ pid, fd }] });
    const unnamed = ({ ready: { inode } }: UdpClient): object => ({ inode, processes: [] });
    const hidden = expect.stringMatching(/of one of \d+ processes that may not be looked into/) as string;
    const natUnknown = 'NAT is not undone: conntrack cannot be read';

    /** Of the systemd unit, as setpriv has them. */
    function unitCapabilities(setting: string): string[] {
      const value = new RegExp(`^${setting}=(.*)$`, 'm').exec(readFileSync(UNIT, 'utf8'))?.[1] ?? '';
      return value.split(' ').map((name) => name.toLowerCase().replace(/^cap_/, ''));
    }

    const all = unitCapabilities('AmbientCapabilities');
    const without = (name: string): string[] => all.filter((other) => other !== name);

    test('those of the systemd unit: it names everybody’s processes, in containers too, and undoes NAT', async () => {
      expect(all).toEqual(['net_raw', 'dac_read_search', 'sys_ptrace']);
      expect(unitCapabilities('CapabilityBoundingSet')).toEqual(all);
      const watch = await startWith(...all);
      const { root, other, contained } = await eventOfEach(watch);
      for (const [event, client] of [
        [root, clients.root],
        [other, clients.other],
      ] as const) {
        const sockets = [{ ...named(client), recverr: true }];
        expect(event).toMatchObject({ direction: 'in', outcome: 'queued', match: 'connected', sockets });
        expect(event).not.toHaveProperty('note');
      }
      expect(other).toMatchObject({ sockets: [{ uid: OTHER_USER, processes: [{ comm: 'other' }] }] });
      expect(root.sockets?.[0]?.processes[0]?.exe).toContain('python');
      expect(contained).toMatchObject({
        nat: { src: '10.88.0.2', sport: clients.contained.port },
        match: 'connected',
        sockets: [{ ...named(clients.contained), recverr: null }],
      });

      const threads = threadsOf(await captureOf(watch));
      for (const thread of threads) {
        expect(thread).toMatchObject({ Uid: ids(USER), CapPrm: NET_RAW, CapEff: NET_RAW, NoNewPrivs: '1' });
      }
      await watch.stop('SIGTERM');
      expect(watch.stderr).toContain('3 events shown, 3 attributed to a socket');
      expect(watch.stderr).not.toContain('privileges');
    });

    test('without CAP_NET_RAW there is no capture, and sudo is named', async () => {
      await expect(startWith(...without('net_raw'))).rejects.toThrow(
        /any: .*permission to perform this capture.*; capturing needs root: sudo udpicmp-watch/,
      );
    });

    test('without CAP_SYS_PTRACE sockets are found, and their processes are hidden', async () => {
      const { root, other, contained } = await eventOfEach(await startWith(...without('sys_ptrace')));
      expect(root).toMatchObject({ match: 'connected', sockets: [unnamed(clients.root)], note: hidden });
      expect(other).toMatchObject({ match: 'connected', sockets: [unnamed(clients.other)], note: hidden });
      expect(contained).toMatchObject({
        nat: { sport: clients.contained.port },
        sockets: [{ ...unnamed(clients.contained), netns: null }],
        note: hidden,
      });
    });

    test('without CAP_DAC_READ_SEARCH the same, and NAT is not undone', async () => {
      const { root, other, contained } = await eventOfEach(await startWith(...without('dac_read_search')));
      for (const [event, client] of [
        [root, clients.root],
        [other, clients.other],
      ] as const) {
        expect(event).toMatchObject({ match: 'connected', sockets: [unnamed(client)], note: hidden });
        expect(event.note?.split(natUnknown)).toHaveLength(2);
      }
      expect(contained).toMatchObject({ outcome: 'unknown', match: null, note: natUnknown });
    });

    test('CAP_NET_ADMIN in its place: conntrack is asked', async () => {
      const { contained } = await eventOfEach(await startWith(...without('dac_read_search'), 'net_admin'));
      expect(contained).toMatchObject({
        nat: { sport: clients.contained.port },
        sockets: [unnamed(clients.contained)],
        note: hidden,
      });
    });

    test('and CAP_SYS_ADMIN: options of sockets in other namespaces', async () => {
      const { contained } = await eventOfEach(await startWith(...all, 'sys_admin'));
      expect(contained).toMatchObject({ outcome: 'queued', sockets: [{ ...named(clients.contained), recverr: true }] });
      expect(contained).not.toHaveProperty('note');
    });

    test('from a directory that is readable by CAP_DAC_READ_SEARCH alone', async () => {
      const closed = join(lab.temporary, 'closed');
      mkdirSync(join(closed, 'checkout'), { recursive: true, mode: 0o700 });
      const list = all.map((name) => `+${name}`).join(',');
      const words = asUser(USER, [`--inh-caps=${list}`, `--ambient-caps=${list}`, process.execPath]);
      const script = 'from=$1 to=$2; shift 2; mount --bind "$from" "$to" && cd / && exec "$@" "$to/dist/cli.js" --json';
      const watch = lab.spawn(host, [
        'sh',
        '-c',
        script,
        'sh',
        dirname(dirname(CLI)),
        join(closed, 'checkout'),
        ...words,
      ]);
      await watch.waitFor(/privileges than it needs: threads keep their capabilities.*EACCES/, 'stderr');
      await provoke(clients.root, watch);
      expect(threadsOf(await captureOf(watch))[0]).toMatchObject({ CapPrm: NET_RAW, CapEff: NET_RAW });
    });
  });
});
