/**
 * Sockets of other network namespaces: the tool watches on a router, as a host of containers is one, and the clients are
 * behind it.
 */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  canRunLab,
  eventually,
  Lab,
  PYTHON,
  UdpClient,
  type LabProcess,
  type Namespace,
  type UdpClientOptions,
} from './network.ts';
import { CLI } from '../command.ts';
import { describeLab, events, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '10.89.0.2';
const GATEWAY = '10.89.0.1';
const SERVER = '192.0.2.20';
const CLIENT6 = '2001:db8:89::2';
const GATEWAY6 = '2001:db8:89::1';
const SERVER6 = '2001:db8:1::20';
const CLOSED = 9999;
const PORT = 42_000;

/** udp_client.py with its socket in another namespace than itself: PATH-OF-NAMESPACE SCRIPT OPTIONS. */
const SOCKET_ELSEWHERE = `
import ctypes, os, runpy, socket, sys
def enter(path):
    with open(path) as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), path)
kind, there = socket.socket, sys.argv[1]
home = os.open("/proc/self/ns/net", os.O_RDONLY)
def open_there(*arguments):
    enter(there)
    try:
        return kind(*arguments)
    finally:
        enter(f"/proc/self/fd/{home}")
socket.socket = open_there
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
`;

describeLab('a socket of another network namespace', () => {
  let lab: Lab;
  let client: Namespace;
  let router: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    router = lab.namespace('router');
    server = lab.namespace('server');
    lab.link(router, ['192.0.2.1/24', '2001:db8:1::1/64'], server, [`${SERVER}/24`, `${SERVER6}/64`]);
    lab.router(router);
    lab.ip(server, 'route', 'add', 'default', 'via', '192.0.2.1');
    lab.ip(server, '-6', 'route', 'add', 'default', 'via', '2001:db8:1::1');
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    attach(client, router);
  });
  afterEach(() => lab.close());

  /** Gives a namespace the address of the client, behind a gateway. */
  function attach(ns: Namespace, gateway: Namespace): void {
    lab.link(gateway, [`${GATEWAY}/24`, `${GATEWAY6}/64`], ns, [`${CLIENT}/24`, `${CLIENT6}/64`]);
    lab.ip(ns, 'route', 'add', 'default', 'via', GATEWAY);
    lab.ip(ns, '-6', 'route', 'add', 'default', 'via', GATEWAY6);
  }

  const open = (ns: Namespace, options: Partial<UdpClientOptions> = {}) =>
    lab.udpClient(ns, { dst: SERVER, dport: CLOSED, interactive: true, ...options });

  /** Sends, and resolves with what SO_ERROR then holds: the kernel found this socket. */
  async function fail(udp: UdpClient): Promise<string> {
    await udp.ask('send');
    return String(await eventually(async () => (await udp.ask('soerror')).errno));
  }

  function socketOf(udp: UdpClient, netns: number) {
    const { pid, fd, inode } = udp.ready;
    return { inode, netns, processes: [{ pid, fd }] };
  }

  function expectNamed(event: JsonEvent | undefined, errno: string, sockets: readonly object[]): void {
    expect(event).toMatchObject({ direction: 'in', errno, outcome: 'reported', match: 'connected' });
    expect(event?.sockets).toMatchObject(sockets);
  }

  test.for([
    ['v4', CLIENT, SERVER],
    ['v6', CLIENT6, SERVER6],
  ] as const)('%s, routed: it is named, with its namespace', async ([, src, dst]) => {
    const watch = await startWatch(lab, router, ['--json']);
    const udp = await open(client, { dst });
    const errno = await fail(udp);
    const [event] = await events(watch, 1);
    expect(event?.flow).toMatchObject({ src, sport: udp.port, dst, dport: CLOSED });
    expect(event).not.toHaveProperty('nat');
    expectNamed(event, errno, [socketOf(udp, lab.inode(client))]);
  });

  test('nor does it belong here since packets with a mark are local here, as transparent proxies have it', async () => {
    lab.ip(router, 'rule', 'add', 'fwmark', '1', 'lookup', '100');
    lab.ip(router, 'route', 'add', 'local', '0.0.0.0/0', 'dev', 'lo', 'table', '100');
    const watch = await startWatch(lab, router, ['--json']);
    const udp = await open(client);
    const errno = await fail(udp);
    const [event] = await events(watch, 1);
    expectNamed(event, errno, [socketOf(udp, lab.inode(client))]);
  });

  test('a namespace that has no name, as those of containers', async () => {
    const watch = await startWatch(lab, router, ['--json']);
    const udp = await open(client);
    const netns = lab.inode(client);
    // It lives on by its process.
    lab.run(null, ['ip', 'netns', 'delete', client]);
    const errno = await fail(udp);
    const [event] = await events(watch, 1);
    expectNamed(event, errno, [socketOf(udp, netns)]);
  });

  test('a namespace that has no process, but for the socket that one elsewhere holds', async () => {
    const watch = await startWatch(lab, router, ['--json']);
    const options = { dst: SERVER, dport: CLOSED, interactive: true };
    const script = [PYTHON, '-c', SOCKET_ELSEWHERE, `/run/netns/${client}`];
    const rest = [join(import.meta.dirname, 'udp_client.py'), JSON.stringify(options)];
    const udp = new UdpClient(['ip', 'netns', 'exec', server, ...script, ...rest]);
    await udp.until(() => udp.lines[0]);
    expect(lab.run(null, ['ip', 'netns', 'pids', client]).stdout).toBe('');
    expect(lab.run(null, ['ip', 'netns', 'pids', server]).stdout.split('\n')).toContain(String(udp.pid));
    const errno = await fail(udp);
    const [event] = await events(watch, 1);
    expectNamed(event, errno, [socketOf(udp, lab.inode(client))]);
  });

  test('a namespace that came after the watch', async () => {
    const watch = await startWatch(lab, router, ['--json']);
    const first = await open(client);
    await fail(first);
    await events(watch, 1);

    const late = lab.namespace('late');
    lab.link(router, '10.90.0.1/24', late, '10.90.0.2/24');
    lab.ip(late, 'route', 'add', 'default', 'via', '10.90.0.1');
    const udp = await open(late);
    const errno = await fail(udp);
    const [, event] = await events(watch, 2);
    expectNamed(event, errno, [socketOf(udp, lab.inode(late))]);
  });

  test('a namespace that goes, and one that takes its name and address', async () => {
    const watch = await startWatch(lab, router, ['--json']);
    const before = await open(client);
    await fail(before);
    await events(watch, 1);
    await before.stop('SIGKILL');
    lab.run(null, ['ip', 'netns', 'delete', client]);

    // Its own error, late.
    const { port } = before;
    const quoted = { src: CLIENT, sport: port, dst: SERVER, dport: CLOSED };
    lab.inject(server, { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted });
    const [, late] = await events(watch, 2);
    expect(['closed', 'none']).toContain(late?.match);

    const again = lab.namespace('client');
    expect(again).toBe(client);
    attach(again, router);
    const udp = await open(again, { sport: port });
    const errno = await fail(udp);
    const [, , event] = await events(watch, 3);
    expectNamed(event, errno, [socketOf(udp, lab.inode(again))]);
    expect(await watch.stop('SIGINT')).toMatchObject({ status: 0 });
  });

  /** Another namespace with the same address and a socket with the same tuple, far from here. */
  async function openTwin(): Promise<UdpClient> {
    const twin = lab.namespace('twin');
    attach(twin, lab.namespace('elsewhere'));
    return open(twin, { sport: PORT });
  }

  test('two that have the address and such a socket are both named, and it is said why', async () => {
    const twin = await openTwin();
    const watch = await startWatch(lab, router, ['--json']);
    const udp = await open(client, { sport: PORT });
    const errno = await fail(udp);
    expect((await twin.ask('soerror')).errno).toBeNull();
    const [event] = await events(watch, 1);
    const inodes = [udp, twin].map(({ ready }) => ready.inode);
    expect(event?.sockets?.map(({ inode }) => inode)).toEqual(expect.arrayContaining(inodes));
    expect(event?.sockets).toHaveLength(2);
    expect(event).toMatchObject({ errno, outcome: 'reported', match: 'connected' });
    expect(event?.note).toMatch(/namespace/);
  });

  test('two that have the address: the one that the tool is in comes first', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    const twin = await openTwin();
    const udp = await open(client, { sport: PORT });
    const errno = await fail(udp);
    expect((await twin.ask('soerror')).errno).toBeNull();
    const [event] = await events(watch, 1);
    expectNamed(event, errno, [socketOf(udp, lab.inode(client))]);
  });

  test.for([
    ['an address of its own', SERVER, CLIENT],
    ['a loopback address', '127.0.0.1', '127.0.0.1'],
  ] as const)('%s that fails in the tool’s namespace is not looked for in others', async ([, peer, address]) => {
    const watch = await startWatch(lab, client, ['--json']);
    const twin = lab.namespace('twin');
    attach(twin, lab.namespace('elsewhere'));
    const udp = await open(twin, { dst: peer, sport: PORT, recverr: true });
    const quoted = { src: address, sport: PORT, dst: peer, dport: CLOSED };
    lab.inject(peer === SERVER ? server : client, { src: peer, dst: address, type: 3, code: 3, quoted });
    const [event] = await events(watch, 1);
    expect(event).toMatchObject({ direction: 'in', outcome: 'no-socket', match: 'none', sockets: [] });
    expect((await udp.ask('soerror')).errno).toBeNull();
  });

  test('--netns self: it is said that others were not searched', async () => {
    const watch = await startWatch(lab, router, ['--json', '--netns', 'self']);
    await fail(await open(client));
    const [event] = await events(watch, 1);
    expect(['unknown', 'not-local']).toContain(event?.outcome);
    expect(event).toMatchObject({ note: expect.stringMatching(/namespace/), sockets: [] });

    const udp = await open(router);
    const errno = await fail(udp);
    const [, own] = await events(watch, 2);
    expectNamed(own, errno, [socketOf(udp, lab.inode(router))]);
  });

  test('a namespace that may not be looked into: unknown', async ({ skip }) => {
    const reason = canRunLab(['setpriv']);
    skip(reason !== null, reason ?? '');
    const confined = ['setpriv', '--bounding-set=-all,+net_raw,+net_admin', '--'];
    const udp = await open(client);
    const look = lab.run(router, [...confined, 'readlink', `/proc/${udp.pid}/ns/net`], { allowFailure: true });
    expect(look.status).not.toBe(0);
    const watch: LabProcess = lab.spawn(router, [...confined, process.execPath, CLI, '--json']);
    await watch.waitFor(/listening on/, 'stderr');
    await fail(udp);
    const [event] = await events(watch, 1);
    // Its tables may be read all the same; whose the namespace and the socket are may not.
    expect(event).toMatchObject({
      outcome: 'reported',
      match: 'connected',
      note: expect.stringMatching(/may not be looked into/) as string,
      sockets: [{ inode: udp.ready.inode, netns: null, processes: [] }],
    });
  });
});
