import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test } from 'vitest';
import { settled, type SocketSource } from '../../src/host/host-view.ts';
import { NetworkNamespace, type NamespaceEntrance } from '../../src/host/network-namespace.ts';
import type { UdpTuple } from '../../src/host/udp-tuple.ts';
import { BLUE_NETNS, FakeProc, fibTrie, OWN_NETNS, procEndpoint, UDP_HEADER, udpLine } from './fake-proc.ts';
import { inodeOf, openUdp } from './udp-sockets.ts';

const canUnshare = process.getuid?.() === 0 && spawnSync('unshare', ['-n', 'true']).status === 0;

const OWN: NamespaceEntrance = { inode: OWN_NETNS, filesInode: null, pids: [], mount: null };
const BLUE: NamespaceEntrance = { inode: BLUE_NETNS, filesInode: null, pids: [60, 61], mount: null };

function namespaceOf(root: string, entrance = OWN, now = () => performance.now()): NetworkNamespace {
  const namespace = new NetworkNamespace(root, now, entrance, entrance === OWN);
  onTestFinished(() => namespace.close());
  return namespace;
}

const CONNECTED: UdpTuple = { version: 4, local: '192.0.2.2', localPort: 5000, remote: '192.0.2.1', remotePort: 53 };

/** Lines of /proc/net/udp: connected with the tuple, or not. */
function connected(inode: number, { local, localPort, remote, remotePort }: UdpTuple = CONNECTED): string {
  return udpLine(procEndpoint(local, localPort), procEndpoint(remote, remotePort), '01', inode);
}

function listening(inode: number, local = '0.0.0.0', localPort = 5000): string {
  return udpLine(procEndpoint(local, localPort), procEndpoint('0.0.0.0', 0), '07', inode);
}

/** `*:PORT` of udp6. */
function listening6(inode: number, localPort: number, local = '0'.repeat(32)): string {
  const port = localPort.toString(16).toUpperCase().padStart(4, '0');
  return udpLine(`${local}:${port}`, `${'0'.repeat(32)}:0000`, '07', inode);
}

async function inodesOn(
  namespace: NetworkNamespace,
  port: number,
  since = performance.now(),
): Promise<number[] | null> {
  const source = await settled<SocketSource | null>(() => namespace.sockets(port, since));
  return source === null ? null : source.socketsFor(port, 53).map(({ inode }) => inode);
}

/** One's own namespace, whose sockets and time the test sets. */
class OwnNamespace {
  readonly proc = new FakeProc();
  time = 1_000;
  readonly namespace = namespaceOf(this.proc.proc, OWN, () => this.time);

  /** Reads the sockets that there are at that time. */
  async at(time: number, v4: readonly string[], v6: readonly string[] = []): Promise<void> {
    this.time = time;
    this.proc.net('udp', UDP_HEADER + v4.join(''));
    this.proc.net('udp6', UDP_HEADER + v6.join(''));
    await settled(() => this.namespace.sockets(5000, time));
  }

  /** The same as the rounds of LiveHost do. */
  async round(time: number, v4: readonly string[], v6: readonly string[] = []): Promise<number[]> {
    await this.at(time, v4, v6);
    const seen: number[] = [];
    await this.namespace.refresh(({ inode }) => seen.push(inode));
    return seen;
  }

  get closed(): [number, number] | null {
    const found = this.namespace.closedSocket(CONNECTED);
    return found === null ? null : [found.socket.inode, found.msAgo];
  }
}

describe('a connected socket that is closed', () => {
  test('is remembered, with the time since', async () => {
    const own = new OwnNamespace();
    expect(own.closed).toBeNull();
    await own.at(1_000, [connected(7)]);
    await own.at(1_100, []);
    own.time = 1_234;
    expect(own.closed).toEqual([7, 234]);
  });

  test('is none as long as it is there', async () => {
    const own = new OwnNamespace();
    await own.at(1_000, [connected(7)]);
    expect(own.closed).toBeNull();
  });

  test.each<[string, string]>([
    ['is connected elsewhere', connected(7, { ...CONNECTED, remotePort: 54 })],
    ['is disconnected', listening(7, '192.0.2.2')],
  ])('is none where the same socket %s', async (_name, line) => {
    const own = new OwnNamespace();
    await own.at(1_000, [connected(7)]);
    await own.at(1_100, [line]);
    expect(own.closed).toBeNull();
    await own.at(1_200, []);
    expect(own.closed).toEqual([7, 200]);
  });

  test('is the last that had the tuple', async () => {
    const own = new OwnNamespace();
    await own.at(1_000, [connected(7)]);
    await own.at(1_100, [connected(8)]);
    await own.at(1_200, []);
    expect(own.closed).toEqual([8, 100]);
  });

  test('is only one that was connected with the very tuple', async () => {
    const own = new OwnNamespace();
    await own.at(1_000, [listening(7), connected(8, { ...CONNECTED, local: '192.0.2.3' })]);
    await own.at(1_100, []);
    expect(own.closed).toBeNull();
  });

  test('is forgotten after five seconds', async () => {
    const own = new OwnNamespace();
    await own.at(1_000, [connected(7)]);
    await own.at(1_100, []);
    own.time = 6_000;
    expect(own.closed).toEqual([7, 5_000]);
    own.time = 6_001;
    expect(own.closed).toBeNull();
  });

  test('is remembered in a storm of reads, to some 50 ms', async () => {
    const own = new OwnNamespace();
    const closedAt = 3_000;
    for (let time = 1_000; time < 4_000; time += 5) {
      const line = time < closedAt ? [connected(7)] : [];
      await own.at(time, line);
    }
    const [inode, msAgo] = own.closed!;
    expect(inode).toBe(7);
    const lastSeen = own.time - msAgo;
    expect(lastSeen).toBeLessThan(closedAt);
    expect(lastSeen).toBeGreaterThanOrEqual(closedAt - 60);
  });
});

describe('a listener that is closed', () => {
  const asked = (version: 4 | 6, local: string): UdpTuple => ({
    version,
    local,
    localPort: 5000,
    remote: version === 4 ? '192.0.2.9' : '2001:db8::9',
    remotePort: 1,
  });

  test('is the one that last had the address, or all of them', async () => {
    const own = new OwnNamespace();
    const last = (version: 4 | 6, local: string): [number, number] | null => {
      const found = own.namespace.lastListener(asked(version, local));
      return found === null ? null : [found.socket.inode, found.msAgo];
    };
    expect(last(4, '192.0.2.2')).toBeNull();
    const bound6 = '000080FE000000000000000001000000';
    const v6 = [listening6(9, 5000), listening6(10, 5000, bound6)];
    expect(await own.round(1_000, [listening(7, '192.0.2.2'), listening(8), connected(6)], v6)).toEqual([
      7, 8, 6, 9, 10,
    ]);
    await own.round(1_500, [listening(8)], v6);
    await own.round(2_000, [], v6);
    own.time = 3_000;
    expect(last(4, '192.0.2.2')).toEqual([7, 2_000]);
    expect(last(4, '192.0.2.3')).toEqual([8, 1_500]);
    expect(last(6, '2001:db8::1')).toEqual([9, 1_000]);
    expect(last(6, 'fe80::1')).toEqual([10, 1_000]);
    expect(own.namespace.lastListener({ ...asked(4, '192.0.2.2'), localPort: 5001 })).toBeNull();
  });

  test('of v4 may be a v6 socket that took v4 too', async () => {
    const own = new OwnNamespace();
    await own.round(1_000, [], [listening6(9, 5000)]);
    expect(own.namespace.lastListener(asked(4, '192.0.2.2'))?.socket.inode).toBe(9);
  });

  test('is forgotten after an hour', async () => {
    const own = new OwnNamespace();
    await own.round(1_000, [listening(7)]);
    own.time = 1_000 + 3_600_000;
    expect(own.namespace.lastListener(asked(4, '192.0.2.2'))?.msAgo).toBe(3_600_000);
    own.time++;
    expect(own.namespace.lastListener(asked(4, '192.0.2.2'))).toBeNull();
  });

  test('is one of the last 8,192', async () => {
    const own = new OwnNamespace();
    const lines = Array.from({ length: 8_193 }, (_, index) => listening(index + 1, '0.0.0.0', 5_000 + index));
    await own.round(1_000, lines);
    expect(own.namespace.lastListener(asked(4, '192.0.2.2'))).toBeNull();
    expect(own.namespace.lastListener({ ...asked(4, '192.0.2.2'), localPort: 5_001 })?.socket.inode).toBe(2);
  });
});

describe('the sockets', () => {
  test('at hand are those since the error came; those before it are for what is still held', async () => {
    const own = new OwnNamespace();
    const { namespace } = own;
    const inodes = (source: SocketSource | null | undefined): number[] | undefined =>
      source?.socketsFor(5000, 53).map(({ inode }) => inode);
    expect(namespace.socketsNow(1_000)).toBeUndefined();
    expect(namespace.socketsBefore(5000)).toBeNull();
    await own.at(1_000, [connected(7)]);
    own.proc.net('udp', UDP_HEADER + connected(8));
    expect(inodes(namespace.socketsNow(1_000))).toEqual([7]);
    own.time = 1_050;
    expect(inodes(namespace.socketsBefore(5000))).toEqual([7]);
    // A small table is read at once.
    expect(inodes(namespace.socketsNow(1_050))).toEqual([8]);
    own.time = 1_500;
    expect(namespace.socketsBefore(5000)).toBeNull();
  });

  test('of a large table are not read at once', async () => {
    const own = new OwnNamespace();
    const lines = Array.from({ length: 200 }, (_, index) => listening(index + 1));
    await own.at(1_000, lines);
    own.time = 1_001;
    expect(own.namespace.socketsNow(1_001)).toBeUndefined();
    expect(await inodesOn(own.namespace, 5000, 1_001)).toHaveLength(200);
  });

  test('are unknown without the file', async () => {
    const namespace = namespaceOf(new FakeProc().proc);
    expect(await inodesOn(namespace, 5000)).toBeNull();
    expect(namespace.closedSocket(CONNECTED)).toBeNull();
  });

  test('of a table that takes long are asked of ss', async (context) => {
    if (spawnSync('ss', ['-V']).error !== undefined) context.skip('ss is not installed');
    const own = new OwnNamespace();
    rmSync(`${own.proc.proc}/net/udp`, { force: true });
    execFileSync('mkfifo', [`${own.proc.proc}/net/udp`]);
    const reading = own.namespace.warm();
    const writer = await open(`${own.proc.proc}/net/udp`, 'w');
    own.time += 40;
    await writer.writeFile(UDP_HEADER + connected(7));
    await writer.close();
    await reading;
    rmSync(`${own.proc.proc}/net/udp`);
    const { socket, port } = await openUdp('udp4', { address: '127.0.0.1' });
    own.time += 1_000;
    expect(await inodesOn(own.namespace, port, own.time)).toEqual([inodeOf(socket)]);
  });

  test('once closed are unknown', async () => {
    const { namespace } = new OwnNamespace();
    const waiting = namespace.sockets(5000, 1_000);
    namespace.close();
    expect(waiting).toBeInstanceOf(Promise);
    await waiting;
    expect(await namespace.sockets(5000, 2_000)).toBeNull();
  });
});

describe('addresses', () => {
  test('that came are seen at once, those that went are still believed', async () => {
    const own = new OwnNamespace();
    const { namespace, proc } = own;
    const isLocal = (address: string): Promise<boolean | null> => settled(() => namespace.isLocal(address, own.time));
    proc.net('if_inet6', '');
    proc.net('fib_trie', fibTrie('192.0.2.2'));
    expect(namespace.isLocalByMemory('192.0.2.2')).toBe(true);
    expect([await isLocal('192.0.2.2'), await isLocal('192.0.2.3')]).toEqual([true, false]);
    proc.net('fib_trie', fibTrie('192.0.2.3'));
    expect(await isLocal('192.0.2.3')).toBe(false);
    own.time += 1;
    expect([await isLocal('192.0.2.3'), await isLocal('192.0.2.2')]).toEqual([true, false]);
    expect(namespace.addresses!.addresses).toEqual(['192.0.2.3']);
  });

  test('from memory are at the most a little old', async () => {
    const own = new OwnNamespace();
    const { namespace, proc } = own;
    proc.net('if_inet6', '');
    proc.net('fib_trie', fibTrie('192.0.2.2'));
    await namespace.warm();
    proc.net('fib_trie', fibTrie('192.0.2.3'));
    own.time += 100;
    expect([namespace.isLocalByMemory('192.0.2.2'), namespace.isLocalByMemory('192.0.2.3')]).toEqual([true, false]);
    own.time += 1;
    expect([namespace.isLocalByMemory('192.0.2.2'), namespace.isLocalByMemory('192.0.2.3')]).toEqual([false, true]);
  });

  test('are not known where they cannot be read', async () => {
    const { namespace } = new OwnNamespace();
    expect(await settled(() => namespace.isLocal('192.0.2.2', 1_000))).toBeNull();
    expect(await settled(() => namespace.isLocal('127.0.0.1', 1_000))).toBe(true);
  });
});

describe('NAT', () => {
  /** A flow of 10.88.0.2 that is 192.0.2.2 on the wire. */
  const flow = (port: number): string =>
    `ipv4     2 udp      17 30 src=10.88.0.2 dst=203.0.113.20 sport=${port} dport=9000 ` +
    `src=203.0.113.20 dst=192.0.2.2 sport=9000 dport=${port} [ASSURED] mark=0 zone=0 use=2\n`;
  const wire = (localPort: number): UdpTuple => ({
    version: 4,
    local: '192.0.2.2',
    localPort,
    remote: '203.0.113.20',
    remotePort: 9000,
  });
  const undone = (localPort: number): UdpTuple[] => [{ ...wire(localPort), local: '10.88.0.2' }];
  const undo = async (own: OwnNamespace, port: number): Promise<readonly UdpTuple[] | null> =>
    settled(() => own.namespace.undoNat(wire(port), own.time));

  test('is none where the kernel has no conntrack', async () => {
    expect(await undo(new OwnNamespace(), 1)).toEqual([]);
  });

  test('is undone as it is when the error comes', async () => {
    const own = new OwnNamespace();
    own.proc.net('nf_conntrack', flow(1));
    expect(await undo(own, 1)).toEqual(undone(1));
    expect(own.namespace.undoNatNow(wire(1))).toEqual(undone(1)[0]);
    // People delete flows, and another takes its tuple on the wire.
    own.proc.net('nf_conntrack', flow(2));
    own.time += 1;
    expect(await undo(own, 2)).toEqual(undone(2));
    expect(await undo(own, 1)).toEqual([]);
  });

  test('of many flows: one that is known is believed for a second, one that is not is waited for', async () => {
    const own = new OwnNamespace();
    own.proc.net('nf_conntrack', flow(3).repeat(400) + flow(1));
    expect(await undo(own, 1)).toEqual(undone(1));
    own.proc.net('nf_conntrack', flow(3).repeat(400) + flow(2));
    own.time += 999;
    expect(own.namespace.undoNat(wire(1), own.time)).toEqual(undone(1));
    expect(await undo(own, 2)).toEqual(undone(2));
    own.time += 1_001;
    expect(own.namespace.undoNat(wire(2), own.time)).toBeInstanceOf(Promise);
    expect(await undo(own, 1)).toEqual([]);
  });

  test('at once is what is known, or the tuple itself', async () => {
    const own = new OwnNamespace();
    own.proc.net('nf_conntrack', flow(1).repeat(400) + flow(2));
    expect(own.namespace.undoNatNow(wire(1))).toEqual(wire(1));
    expect(await undo(own, 1)).toEqual(undone(1));
    own.proc.net('nf_conntrack', flow(3).repeat(400));
    own.time += 100;
    // The table is too large to be read at once.
    expect(own.namespace.undoNatNow(wire(2))).toEqual(undone(2)[0]);
    own.time += 1;
    expect(own.namespace.undoNatNow(wire(2))).toEqual(wire(2));
  });

  test('is asked of conntrack(8) where the kernel has no file for it', async () => {
    const own = new OwnNamespace();
    own.proc.file('proc/sys/net/netfilter/nf_conntrack_max', '65536\n');
    const { status } = spawnSync('conntrack', ['-L', '-p', 'udp']);
    expect(await undo(own, 1)).toEqual(status === 0 ? [] : null);
  });
});

describe('a namespace of other processes', () => {
  const files = (inode: number): Record<string, string> => ({
    udp: UDP_HEADER + listening(inode),
    udp6: '',
    fib_trie: '',
  });

  test('is read through any process that is in it', async () => {
    const proc = new FakeProc();
    proc.process(60, { netns: BLUE_NETNS, net: proc.namespace(files(7)) });
    proc.process(61, { netns: BLUE_NETNS, net: proc.namespace(files(7)) });
    const namespace = namespaceOf(proc.proc, BLUE);
    expect(await inodesOn(namespace, 5000)).toEqual([7]);
    proc.end(60);
    expect(await inodesOn(namespace, 5000)).toEqual([7]);
    proc.end(61);
    expect([namespace.isThere, namespace.isCheap]).toEqual([false, false]);
    expect(await inodesOn(namespace, 5000)).toBeNull();
  });

  test('is not read through one that has the number of such a process', async () => {
    const proc = new FakeProc();
    proc.process(60, { netns: OWN_NETNS, net: proc.namespace(files(8)) });
    const namespace = namespaceOf(proc.proc, BLUE);
    expect(await inodesOn(namespace, 5000)).toBeNull();
    proc.process(61, { netns: BLUE_NETNS, net: proc.namespace(files(7)) });
    expect(await inodesOn(namespace, 5000)).toEqual([7]);
  });

  test('that may not be looked into is told by its files', async () => {
    const proc = new FakeProc();
    const net = proc.namespace(files(7));
    proc.process(60, { netns: null, net });
    const filesInode = Number(execFileSync('stat', ['-c', '%i', `${net}/udp`], { encoding: 'utf8' }));
    const namespace = namespaceOf(proc.proc, { inode: null, filesInode, pids: [60], mount: null });
    expect(await inodesOn(namespace, 5000)).toEqual([7]);
    proc.process(60, { netns: null, net: proc.namespace(files(8)) });
    expect(await inodesOn(namespace, 5000)).toBeNull();
  });

  test('is read again where the process ended while it was read', async () => {
    const proc = new FakeProc();
    const net = proc.namespace({ udp6: '' });
    execFileSync('mkfifo', [`${net}/udp`]);
    proc.process(60, { netns: BLUE_NETNS, net });
    proc.process(61, { netns: BLUE_NETNS, net: proc.namespace(files(7)) });
    const reading = inodesOn(namespaceOf(proc.proc, BLUE), 5000);
    const writer = await open(`${net}/udp`, 'w');
    // What is read then is of whoever has the number by now.
    proc.process(60, { netns: OWN_NETNS, net });
    await writer.writeFile(UDP_HEADER + listening(8));
    await writer.close();
    expect(await reading).toEqual([7]);
  });
});

/** A process in a network namespace of its own that does what `program` says, and prints a line when it is done. */
async function inNewNamespace(program: string): Promise<{ pid: number; inode: number; said: string }> {
  const script = `import os, socket, sys\n${program}\nsys.stdin.read()\n`;
  const python = spawn('unshare', ['-n', 'python3', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(python, 'exit');
  onTestFinished(async () => {
    python.stdin.end();
    await exited;
  });
  const [said] = (await once(createInterface(python.stdout), 'line')) as [string];
  const pid = python.pid!;
  const inode = Number(execFileSync('stat', ['-Lc', '%i', `/proc/${pid}/ns/net`], { encoding: 'utf8' }));
  return { pid, inode, said };
}

describe.skipIf(!canUnshare)('a real one', () => {
  const SOCKET = `
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 11, 1)
s.bind(('0.0.0.0', 5000))
print(os.fstat(s.fileno()).st_ino, flush=True)`;

  test.each(['a process', 'its mount'])('is entered by %s', async (way) => {
    const { pid, inode, said } = await inNewNamespace(SOCKET);
    const byProcess = way === 'a process';
    const namespace = namespaceOf('/proc', {
      inode,
      filesInode: null,
      pids: byProcess ? [pid] : [],
      mount: byProcess ? null : `/proc/${pid}/ns/net`,
    });
    expect([namespace.isThere, namespace.isCheap]).toEqual([true, byProcess]);
    const { table, addresses, conntrack } = await namespace.readAll();
    expect([...table!].map((socket) => socket.inode)).toEqual([Number(said)]);
    expect([addresses!.complete4, addresses!.complete6, conntrack!.size]).toEqual([true, true, 0]);
    const [socket] = [...table!];
    const { error } = spawnSync('ss', ['-V']);
    const since = performance.now();
    const options = await settled(() => namespace.options(socket!, since));
    expect(options?.recverr).toBe(error === undefined ? true : undefined);
  });

  test('undoes the NAT that its kernel does, among more flows than are read at once', async (context) => {
    if (spawnSync('iptables', ['-V']).error !== undefined) context.skip('iptables is not installed');
    // One rule that needs it makes the kernel track all.
    const { pid, inode, said } = await inNewNamespace(`
import subprocess
subprocess.run('ip link set lo up && iptables -t nat -A OUTPUT -p udp --dport 53 -j DNAT --to 127.0.0.1:5353',
               shell=True, stderr=2)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 5000))
for port in range(10000, 11000):
    try: s.sendto(b'', ('127.0.0.1', port))
    except ConnectionRefusedError: pass
s.sendto(b'', ('127.0.0.9', 53))
print(subprocess.run(['iptables', '-t', 'nat', '-S', 'OUTPUT'], capture_output=True, text=True).stdout.count('DNAT'), flush=True)`);
    if (said !== '1') context.skip('the kernel does no NAT');
    let passed = 0;
    const now = (): number => performance.now() + passed;
    const namespace = namespaceOf('/proc', { inode, filesInode: null, pids: [pid], mount: null }, now);
    await namespace.warm();
    const tuple = { version: 4, local: '127.0.0.1', localPort: 5000, remote: '127.0.0.1', remotePort: 5353 } as const;
    const undone = [{ ...tuple, remote: '127.0.0.9', remotePort: 53 }];
    // What was read at the start is believed no longer.
    passed = 1_001;
    const since = now();
    expect(await settled(() => namespace.undoNat(tuple, since))).toEqual(undone);
    expect(await settled(() => namespace.undoNat({ ...tuple, localPort: 5001 }, since))).toEqual([]);
  });
});
