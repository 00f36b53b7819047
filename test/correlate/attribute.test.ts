import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { HostAttribution } from '../../src/correlate/attribute.ts';
import type { Attribution, QuotedTuple } from '../../src/correlate/attribution.ts';
import { LiveHost, type LiveHostOptions } from '../../src/host/live-host.ts';
import { directoryNames, readHead, readIfSmall } from '../../src/host/proc-file.ts';
import { FakeProc, fibTrie, OWN_NETNS, rootWith, UDP_HEADER, udpLine } from '../host/fake-proc.ts';
import { closeUdp, fdOf, inodeOf, openUdp } from '../host/udp-sockets.ts';

// What is read is counted.
vi.mock('../../src/host/proc-file.ts', { spy: true });

const CONNECTED = udpLine('020200C0:1388', '010200C0:0035', '01', 77);
const WILDCARD = udpLine('00000000:1388', '00000000:0000', '07', 78);
const REFUSED: QuotedTuple = {
  version: 4,
  type: 3,
  code: 3,
  src: '192.0.2.2',
  sport: 5000,
  dst: '192.0.2.1',
  dport: 53,
  dropped: null,
};

/** A host with the address 192.0.2.2, these sockets, and the process 50 that holds 77 and 78. */
function fakeHost(...lines: string[]): FakeProc {
  const proc = new FakeProc();
  proc.net('udp', UDP_HEADER + lines.join(''));
  proc.net('fib_trie', fibTrie('192.0.2.2'));
  proc.net('if_inet6', '');
  proc.process(50, { comm: 'gateway', sockets: { 7: 77, 8: 78 } });
  return proc;
}

function attributionOf(root: string, options: Partial<LiveHostOptions> = {}): HostAttribution {
  const host = new HostAttribution(new LiveHost({ allNamespaces: true, root, ...options }));
  onTestFinished(() => host.close());
  return host;
}

function brief({ outcome, match, sockets }: Attribution): unknown[] {
  return [
    outcome,
    match,
    ...sockets.map(({ inode, processes }) => [inode, ...processes.map(({ pid, fd }) => `${pid}/${fd}`)]),
  ];
}

describe('an error that came in', () => {
  test('for a connected socket', async () => {
    const host = attributionOf(fakeHost(WILDCARD, CONNECTED).root);
    expect(await host.lookup(REFUSED, 'in', 'eth0')).toEqual({
      direction: 'in',
      errno: 'ECONNREFUSED',
      outcome: 'reported',
      match: 'connected',
      sockets: [
        {
          inode: 77,
          state: 'connected',
          family: 4,
          local: '192.0.2.2:5000',
          remote: '192.0.2.1:53',
          uid: 1000,
          user: null,
          netns: OWN_NETNS,
          recverr: null,
          processes: [
            {
              pid: 50,
              fd: 7,
              comm: 'gateway',
              exe: '/usr/bin/client',
              cmdline: 'gateway',
              started: '2023-11-14T22:15:23Z',
              container: null,
              runtime: null,
              unit: null,
            },
          ],
        },
      ],
    });
  });

  test('for a socket that is not connected', async () => {
    const host = attributionOf(fakeHost(WILDCARD, CONNECTED).root);
    const attribution = await host.lookup({ ...REFUSED, dst: '192.0.2.9' }, 'in', 'eth0');
    expect(brief(attribution)).toEqual(['ignored', 'wildcard', [78, '50/8']]);
    expect(attribution.sockets[0]).not.toHaveProperty('remote');
  });

  test('for a connected socket is answered for as long as its holder has it', async () => {
    const proc = fakeHost(CONNECTED);
    const host = attributionOf(proc.root);
    await host.start();
    for (let error = 0; error < 3; error++) {
      host.packetsArrived();
      expect(brief(await host.lookup(REFUSED, 'in', 'eth0'))).toEqual(['reported', 'connected', [77, '50/7']]);
    }
    proc.process(50, { comm: 'gateway' });
    proc.net('udp', UDP_HEADER);
    host.packetsArrived();
    expect(brief(await host.lookup(REFUSED, 'in', 'eth0'))).toEqual(['no-socket', 'closed', [77, '50/7']]);
  });

  test('names the process that took the tuple over, at once', async () => {
    const proc = fakeHost(CONNECTED);
    const host = attributionOf(proc.root);
    await host.start();
    host.packetsArrived();
    await host.lookup(REFUSED, 'in', 'eth0');
    proc.process(50, { comm: 'gateway' });
    proc.process(51, { comm: 'other', sockets: { 3: 177 } });
    proc.net('udp', UDP_HEADER + CONNECTED.replace(' 77 ', ' 177 '));
    host.packetsArrived();
    expect(brief(await host.lookup(REFUSED, 'in', 'eth0'))).toEqual(['reported', 'connected', [177, '51/3']]);
  });

  test('for a socket that is closed', async () => {
    const host = attributionOf(fakeHost().root);
    expect(brief(await host.lookup(REFUSED, 'in', 'eth0'))).toEqual(['no-socket', 'none']);
  });

  test('sees a socket that was opened after the last read', async () => {
    const proc = fakeHost();
    const host = attributionOf(proc.root);
    await host.start();
    proc.net('udp', UDP_HEADER + CONNECTED);
    host.packetsArrived();
    expect(brief(await host.lookup(REFUSED, 'in', 'eth0'))).toEqual(['reported', 'connected', [77, '50/7']]);
  });

  test('about a datagram of someone else is not given to a wildcard socket', async () => {
    const proc = fakeHost(WILDCARD);
    const host = attributionOf(proc.root);
    const other = { ...REFUSED, src: '198.51.100.5' };
    expect(await host.lookup(other, 'in', 'eth0')).toEqual({
      direction: 'in',
      errno: 'ECONNREFUSED',
      outcome: 'not-local',
      match: 'none',
      sockets: [],
    });
    proc.process(60, { netns: 4026532000 });
    const among = attributionOf(proc.root);
    expect(await among.lookup(other, 'in', 'eth0')).toMatchObject({ outcome: 'unknown', match: null, sockets: [] });
    expect((await among.lookup(other, 'in', 'eth0')).note).toMatch(
      /^the quoted source is an address of no network namespace that may be read, and 1 processes or mounts are of others/,
    );
    const alone = attributionOf(proc.root, { allNamespaces: false });
    expect(await alone.lookup(other, 'in', 'eth0')).toMatchObject({ outcome: 'unknown', match: null, sockets: [] });
    expect((await alone.lookup(other, 'in', 'eth0')).note).toMatch(
      /^the quoted source is not an address of this network namespace/,
    );
  });

  test('for a socket that nobody holds says so', async () => {
    const host = attributionOf(fakeHost(udpLine('00000000:1388', '00000000:0000', '07', 79)).root);
    const attribution = await host.lookup(REFUSED, 'in', 'eth0');
    expect(brief(attribution)).toEqual(['ignored', 'wildcard', [79]]);
    expect(attribution.note).toMatch(/: the kernel’s own, .*or of a process in another PID namespace, or kept by/);
  });

  test('names all that share a port, and not more than it can', async () => {
    const two = attributionOf(fakeHost(WILDCARD, WILDCARD.replace(' 78 ', ' 77 ')).root);
    expect(brief(await two.lookup(REFUSED, 'in', 'eth0'))).toEqual(['ignored', 'wildcard', [77, '50/7'], [78, '50/8']]);
    const many = attributionOf(fakeHost(WILDCARD.repeat(100)).root);
    const attribution = await many.lookup(REFUSED, 'in', 'eth0');
    expect(attribution.sockets).toHaveLength(64);
    expect(attribution.note).toBe('64 of 100 candidates are named');
  });

  test('without a socket table is unknown', async () => {
    for (const root of ['/nonexistent', new FakeProc().root]) {
      const attribution = await attributionOf(root).lookup(REFUSED, 'in', 'eth0');
      expect(attribution).toMatchObject({ errno: 'ECONNREFUSED', outcome: 'unknown', match: null, sockets: [] });
      expect(attribution.note).toBeDefined();
    }
  });

  test('without the local addresses says so, and that there is no socket it cannot say', async () => {
    const proc = new FakeProc();
    proc.net('udp', UDP_HEADER + WILDCARD);
    const host = attributionOf(proc.root);
    const wildcard = await host.lookup(REFUSED, 'in', 'eth0');
    expect([wildcard.match, wildcard.note]).toEqual(['wildcard', expect.stringContaining('could not be found out')]);
    const none = await host.lookup({ ...REFUSED, sport: 9 }, 'in', 'eth0');
    expect(brief(none)).toEqual(['unknown', null]);
  });

  test('shares one read with all that wait', async () => {
    const proc = fakeHost(WILDCARD);
    const live = new LiveHost({ allNamespaces: true, root: proc.root });
    const host = new HostAttribution(live);
    onTestFinished(() => host.close());
    // As start() does, but without what it goes on to read.
    await live.namespaces.own.warm();
    await live.namespaces.warm();
    await live.processes.warm();
    vi.clearAllMocks();
    host.packetsArrived();
    const answers = await Promise.all(
      Array.from({ length: 5_000 }, async (_, index) => host.lookup({ ...REFUSED, dport: 1 + index }, 'in', 'eth0')),
    );
    expect(new Set(answers.map(({ sockets }) => sockets[0]!.inode))).toEqual(new Set([78]));
    // The first question's read may start before the second question; the others share one.
    const tableReads = (): number =>
      [...vi.mocked(readHead).mock.calls, ...vi.mocked(readIfSmall).mock.calls].filter(
        ([path]) => path === `${proc.proc}/net/udp`,
      ).length;
    expect(tableReads()).toBeGreaterThanOrEqual(1);
    expect(tableReads()).toBeLessThanOrEqual(3);
    // All is known from the start: nobody's descriptors are looked at again.
    expect(vi.mocked(directoryNames).mock.calls.map(([path]) => path)).not.toContain(`${proc.proc}/50/fd`);
    // A further error on one of these flows that came with them is answered from memory.
    const before = tableReads();
    const { sockets } = await host.lookup({ ...REFUSED, dport: 4_000 }, 'in', 'eth0');
    expect(sockets).toBe(answers[3_999]!.sockets);
    expect(tableReads()).toBe(before);
  });

  test('that waits when everything is closed is unknown', async () => {
    const host = attributionOf(fakeHost(CONNECTED).root);
    const waiting = host.lookup(REFUSED, 'in', 'eth0');
    host.close();
    expect(brief(await waiting)).toEqual(['unknown', null]);
  });

  test('on a snapshot without processes', async () => {
    const host = attributionOf(rootWith('fixtures/proc-every-kind/net'));
    const attribution = await host.lookup({ ...REFUSED, type: 3, code: 4 }, 'in', 'eth0');
    expect(brief(attribution)).toEqual(['reported', 'connected', [187433]]);
    expect(attribution.sockets[0]!.netns).toBeNull();
    const refused6 = { dropped: null, version: 6, type: 1, code: 4, src: '2001:db8::2', dst: '2001:db8::1' } as const;
    const v6 = await host.lookup({ ...refused6, sport: 5003, dport: 53 }, 'in', 'eth0');
    expect(v6.sockets[0]).toMatchObject({ family: 6, local: '[2001:db8::2]:5003', remote: '[2001:db8::1]:53' });
  });
});

describe('an error that was sent', () => {
  const sent: QuotedTuple = {
    version: 4,
    type: 3,
    code: 3,
    src: '192.0.2.1',
    sport: 53,
    dst: '192.0.2.2',
    dport: 5000,
    dropped: null,
  };

  test('names whoever has the port now', async () => {
    const host = attributionOf(fakeHost(WILDCARD).root);
    const attribution = await host.lookup(sent, 'out', 'eth0');
    expect(brief(attribution)).toEqual(['not-local', 'wildcard', [78, '50/8']]);
    expect(attribution.errno).toBe('ECONNREFUSED');
  });

  test('names nobody where the port is closed, or is not of this host', async () => {
    const host = attributionOf(fakeHost().root);
    expect(brief(await host.lookup(sent, 'out', 'eth0'))).toEqual(['not-local', 'none']);
    expect(brief(await host.lookup({ ...sent, dst: '198.51.100.5' }, 'out', 'eth0'))).toEqual(['not-local', 'none']);
  });
});

describe('the direction', () => {
  test('is told by the addresses of this host', () => {
    const host = attributionOf(fakeHost().root);
    expect(host.directionOf('192.0.2.1', '192.0.2.2')).toBe('in');
    expect(host.directionOf('192.0.2.2', '192.0.2.1')).toBe('out');
    expect(host.directionOf('127.0.0.1', '127.0.0.1')).toBe('in');
    expect(host.directionOf('192.0.2.1', '192.0.2.3')).toBe('forward');
  });

  test('is unknown where the addresses are', async () => {
    const host = attributionOf(new FakeProc().root);
    await host.start();
    expect(host.directionOf('192.0.2.1', '192.0.2.3')).toBeNull();
  });
});

describe('the running system', () => {
  async function refusedTuple(type: 'udp4' | 'udp6', address: string): Promise<[QuotedTuple, number, number]> {
    const gone = await openUdp(type, { address });
    closeUdp(gone.socket);
    const { socket, port } = await openUdp(type, { connect: { address, port: gone.port } });
    const icmp =
      type === 'udp4' ? ({ version: 4, type: 3, code: 3 } as const) : ({ version: 6, type: 1, code: 4 } as const);
    return [
      { ...icmp, src: address, sport: port, dst: address, dport: gone.port, dropped: null },
      inodeOf(socket),
      fdOf(socket),
    ];
  }

  test.each([
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const)('%s: names this process', async (type, address) => {
    // Others may be making namespaces by the hundred: to read them all takes its time.
    const host = attributionOf('', { allNamespaces: false });
    await host.start();
    const [tuple, inode, fd] = await refusedTuple(type, address);
    host.packetsArrived();
    expect(brief(await host.lookup(tuple, 'in', 'eth0'))).toEqual([
      'reported',
      'connected',
      [inode, `${process.pid}/${fd}`],
    ]);
  });

  test('names every member of a SO_REUSEPORT group', async () => {
    const program = `
import os, socket, sys
a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
for s in (a, b):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(('127.0.0.1', a.getsockname()[1] if s is b else 0))
print(a.getsockname()[1], *(os.fstat(s.fileno()).st_ino for s in (a, b)), flush=True)
sys.stdin.read()
`;
    const python = spawn('python3', ['-c', program], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void python.stdin.end());
    const [line] = (await once(createInterface(python.stdout), 'line')) as [string];
    const [sport, ...inodes] = line.split(' ').map(Number);
    const host = attributionOf('');
    const tuple: QuotedTuple = {
      version: 4,
      type: 3,
      code: 3,
      src: '127.0.0.1',
      sport: sport!,
      dst: '127.0.0.1',
      dport: 9,
      dropped: null,
    };
    const { outcome, match, sockets } = await host.lookup(tuple, 'in', 'eth0');
    expect([outcome, match]).toEqual(['ignored', 'bound']);
    expect(sockets.map(({ inode }) => inode).toSorted()).toEqual(inodes.toSorted());
    expect(sockets.every(({ processes }) => processes[0]!.comm!.startsWith('python3'))).toBe(true);
  });
});
