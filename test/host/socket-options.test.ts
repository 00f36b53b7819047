import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseSs, SocketDiagnosis, type DiagnosedSocket } from '../../src/host/socket-options.ts';
import { SocketTable, type UdpSocket } from '../../src/host/socket-table.ts';

const hasSs = spawnSync('ss', ['-V']).status === 0;

/** Sockets of every kind, each with what getsockopt(2) says of it. */
const SOCKETS = `
import json, os, socket, struct, sys
V4, V6 = socket.AF_INET, socket.AF_INET6
made = []

def make(family, bind=None, connect=None, recverr=False, v6only=False, device=None, uid=0):
    if os.getuid() == 0: os.seteuid(uid)
    s = socket.socket(family, socket.SOCK_DGRAM)
    if os.getuid() == 0: os.seteuid(0)
    if family == V6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    if recverr: s.setsockopt(socket.IPPROTO_IP, 11, 1)
    if device: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if bind: s.bind((bind, 0))
    if connect: s.connect(connect)
    made.append(s)

make(V4, '127.0.0.1')
make(V4, '0.0.0.0', recverr=True)
make(V4, '127.0.0.1', recverr=True, device='lo')
make(V4, connect=('127.0.0.1', 9), recverr=True)
make(V4, '127.0.0.1', uid=65534)
make(V6, '::')
make(V6, '::', v6only=True, recverr=True)
make(V6, '::1', v6only=True, device='lo')
make(V6, '::ffff:0.0.0.0', recverr=True)
make(V6, '::ffff:127.0.0.1')
make(V6, connect=('::1', 9))
make(V6, connect=('::ffff:127.0.0.1', 9), recverr=True)
for s in made:
    print(json.dumps({
        'inode': os.fstat(s.fileno()).st_ino,
        'device': s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b'\\0').decode(),
        'recverr': bool(s.getsockopt(socket.IPPROTO_IP, 11)),
        'v6only': bool(s.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) if s.family == V6 else None,
    }), flush=True)
print('{}', flush=True)
sys.stdin.read()
`;

interface MadeSocket {
  inode: number;
  device: string;
  recverr: boolean;
  v6only: boolean | null;
}

async function makeSockets(): Promise<MadeSocket[]> {
  const python = spawn('python3', ['-c', SOCKETS], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(python, 'exit');
  onTestFinished(async () => {
    python.stdin.end();
    await exited;
  });
  const made: MadeSocket[] = [];
  for await (const line of createInterface(python.stdout)) {
    if (line === '{}') break;
    made.push(JSON.parse(line) as MadeSocket);
  }
  return made;
}

const procTable = (): SocketTable => new SocketTable(readFileSync('/proc/net/udp'), readFileSync('/proc/net/udp6'));

describe.skipIf(!hasSs)('the installed ss', () => {
  test('says of every socket what its owner knows, and all that /proc says', async () => {
    const made = await makeSockets();
    expect(made).toHaveLength(12);
    const { stdout } = spawnSync('ss', ['-uaneOH', '--inet-sockopt'], { encoding: 'utf8' });
    const byInode = new Map(parseSs(stdout).map((socket) => [socket.inode, socket]));
    const table = [...procTable()];
    for (const { inode, device, recverr, v6only } of made) {
      const socket = table.find((known) => known.inode === inode)!;
      // The kernel does not tell it of connected sockets.
      const told = socket.connected ? null : v6only;
      expect(byInode.get(inode)).toEqual({ ...socket, device, recverr, v6only: told });
    }
  });

  test('is asked for what it is asked for', async () => {
    const made = await makeSockets();
    const diagnosis = new SocketDiagnosis(
      () => [],
      () => performance.now(),
    );
    onTestFinished(() => diagnosis.close());
    const table = [...procTable()];
    for (const { inode, device, recverr } of made) {
      const socket = table.find((known) => known.inode === inode)!;
      const since = performance.now();
      await diagnosis.options(socket, since);
      expect(diagnosis.options(socket, since)).toMatchObject({ device, recverr });
      const found = diagnosis.socketsOn(socket.localPort, since) as DiagnosedSocket[];
      expect(found.map((known) => known.inode)).toContain(inode);
      expect(new Set(found.map(({ localPort }) => localPort))).toEqual(new Set([socket.localPort]));
    }
    expect(diagnosis.isAvailable).toBe(true);
  });
});

/** What ss of iproute2 6.1 prints of a socket; `details` in place of what follows the addresses. */
function row(details: string, endpoints = '127.0.0.1:5000            0.0.0.0:*'): string {
  return `UNCONN 0      0      ${endpoints} ${details}`;
}
const OPTIONS = ' <-> inet-sockopt: ( mc_loop mc_all)';

describe('a line', () => {
  test.each<[string, string, Partial<DiagnosedSocket>]>([
    [
      'v4 on a device',
      row(`uid:1000 ino:37866 sk:1 cgroup:/ <-> inet-sockopt: ( recverr mc_loop)`, '0.0.0.0%lo:5003 0.0.0.0:*'),
      { family: 4, local: '0.0.0.0', device: 'lo', uid: 1000, inode: 37_866, recverr: true, v6only: null },
    ],
    [
      'v6 that takes v4 too',
      row(`ino:1 sk:1 cgroup:/ v6only:0${OPTIONS}`, '*:46000 *:*'),
      { family: 6, local: '::', remote: '::', remotePort: 0, device: '', uid: 0, recverr: false, v6only: false },
    ],
    [
      'v6 alone',
      row(`ino:1 sk:1 cgroup:/ v6only:1${OPTIONS}`, '[::1]%lo:46001 [::]:*'),
      { family: 6, local: '::1', remote: '::', localPort: 46_001, device: 'lo', v6only: true },
    ],
    [
      'v4 on a v6 socket',
      row(`ino:1 sk:1 cgroup:/${OPTIONS}`, '[::ffff:192.0.2.1]:40490 [::ffff:192.0.2.9]:9'),
      { family: 6, local: '192.0.2.1', remote: '192.0.2.9', remotePort: 9 },
    ],
    [
      'a link-local peer',
      row(`ino:1 sk:1 cgroup:/${OPTIONS}`, '[fe80::1]%eth0:1 [fe80::2]:9'),
      { local: 'fe80::1', remote: 'fe80::2', device: 'eth0' },
    ],
    [
      'a device with a strange name',
      row(`ino:1 sk:1 cgroup:/${OPTIONS}`, '0.0.0.0%v:e%th:5003 0.0.0.0:*'),
      { local: '0.0.0.0', device: 'v:e%th', localPort: 5003 },
    ],
    [
      'a device whose name has blanks and line ends of Unicode',
      row(`ino:1 sk:1 cgroup:/${OPTIONS}`, '0.0.0.0%v\u2003\u2028\u2029\ufeff:5003 0.0.0.0:*'),
      { device: 'v\u2003\u2028\u2029\ufeff', localPort: 5003 },
    ],
    // IP_RECVERR_RFC4884 is another option.
    ['recverr4884', row('ino:1 sk:1 cgroup:/ <-> inet-sockopt: ( recverr_rfc4884 mc_loop)'), { recverr: false }],
    ['the only option', row('ino:1 sk:1 cgroup:/ <-> inet-sockopt: ( recverr)'), { recverr: true }],
    ['no options', row('ino:1 sk:1 cgroup:/'), { recverr: null, v6only: null }],
    ['a group out of sight', row(`ino:7 sk:1 cgroup:unreachable:1${OPTIONS}`), { inode: 7, recverr: false }],
  ])('%s', (_name, line, expected) => {
    expect(parseSs(line)).toMatchObject([expected]);
  });

  // The name of a control group is whatever a user calls it, but for a newline.
  test.each([
    ['options', '/a <-> inet-sockopt: ( recverr)', 'recverr', false],
    ['an inode', '/a ino:99', 'inode', 5],
    ['v6only', '/a v6only:1', 'v6only', false],
    ['brackets', '/( recverr) [::1]:9 *', 'recverr', false],
    ['the end of the line', '/a\r\u2028b\u2029', 'recverr', false],
  ] as const)('a control group whose name imitates %s deceives nobody', (_name, group, field, value) => {
    const line = row(`ino:5 sk:1 cgroup:${group} v6only:0${OPTIONS}`, '*:5000 *:*');
    expect(parseSs(line)).toHaveLength(1);
    expect(parseSs(line)[0]![field]).toBe(value);
  });

  test.each([
    ['v6only', '/a v6only:1', 'v6only', null],
    ['a user', '/a uid:1000', 'uid', 0],
  ] as const)('of v4: a control group whose name imitates %s deceives nobody', (_name, group, field, value) => {
    expect(parseSs(row(`ino:5 sk:1 cgroup:${group}${OPTIONS}`))[0]![field]).toBe(value);
  });

  test.each([
    ['what ss falls back to where it cannot ask the kernel', 'UNCONN 0      0      127.0.0.1:45999 0.0.0.0:*'],
    ['that too, v6', 'UNCONN 0      0              *:46000       *:*'],
    ['a header', 'State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process'],
    ['names in place of ports', row(`ino:1 sk:1${OPTIONS}`, '0.0.0.0:domain 0.0.0.0:*')],
    ['nothing', ''],
    ['no inode', row(`sk:1 cgroup:/${OPTIONS}`)],
  ])('is passed over: %s', (_name, line) => {
    expect(parseSs(line)).toEqual([]);
    expect(parseSs(`${line}\n${row('ino:8 sk:1')}\n${line}`)).toMatchObject([{ inode: 8 }]);
  });

  test('of any kind never makes it throw', () => {
    const part = fc.constantFrom(
      'UNCONN',
      ' 0',
      ' *:1',
      ' [::1]%lo:5',
      ' 0.0.0.0:*',
      ' ino:1',
      ' v6only:1',
      OPTIONS,
      '\n',
    );
    const output = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(part).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(output, (text) => {
        for (const { inode, localPort, uid } of parseSs(text)) {
          expect([inode, localPort, uid].every((number) => number >= 0)).toBe(true);
        }
      }),
    );
  });
});

/** An ss that prints what it is told to, and remembers what it was asked. */
class FakeSs {
  readonly #directory = mkdtempSync(join(tmpdir(), 'ss-'));
  time = 0;
  readonly diagnosis: SocketDiagnosis;

  constructor() {
    onTestFinished(() => rmSync(this.#directory, { recursive: true }));
    writeFileSync(`${this.#directory}/asked`, '');
    const script = `cd "$0"; echo "$@" >> asked; if [ -e fails ]; then exit 1; fi; cat output`;
    this.diagnosis = new SocketDiagnosis(
      () => ['sh', '-c', script, this.#directory],
      () => this.time,
    );
    onTestFinished(() => this.diagnosis.close());
    this.prints();
  }

  prints(...lines: string[]): void {
    writeFileSync(`${this.#directory}/output`, lines.map((line) => `${line}\n`).join(''));
  }

  fails(): void {
    writeFileSync(`${this.#directory}/fails`, '');
  }

  /** The filters of the questions so far. */
  get asked(): string[] {
    const lines = readFileSync(`${this.#directory}/asked`, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => line.replace(/^ss -uaneOH --inet-sockopt ?/, ''));
  }
}

function socketOn(localPort: number, inode: number): UdpSocket {
  const nothing = { remote: '0.0.0.0', remotePort: 0, connected: false, uid: 0 };
  return { family: 4, local: '127.0.0.1', localPort, inode, ...nothing };
}
const RECVERR = 'ino:7 sk:1 cgroup:/ <-> inet-sockopt: ( recverr mc_loop)';
const WITH = { device: '', recverr: true, v6only: null };
const WITHOUT = { ...WITH, recverr: false };

describe('asking', () => {
  test('those who ask while an answer is awaited share the next question', async () => {
    const ss = new FakeSs();
    const { diagnosis } = ss;
    ss.prints(row(RECVERR, '127.0.0.1:2 0.0.0.0:*'), row('ino:8 sk:1', '127.0.0.1:3 0.0.0.0:*'));
    const first = diagnosis.socketsOn(1, 0);
    const others = [diagnosis.socketsOn(2, 0), diagnosis.socketsOn(3, 0), diagnosis.socketsOn(2, 0)];
    await Promise.all([first, ...others]);
    expect(ss.asked).toEqual(['sport = :1', 'sport = :2 or sport = :3']);
    expect(diagnosis.socketsOn(1, 0)).toEqual([]);
    expect(diagnosis.socketsOn(2, 0)).toMatchObject([{ inode: 7, ...WITH }]);
    expect(diagnosis.socketsOn(3, 0)).toMatchObject([{ inode: 8 }]);
    expect(ss.asked).toHaveLength(2);
  });

  test('not for more than 256 ports at once; the others come to their turn', async () => {
    const ss = new FakeSs();
    const { diagnosis } = ss;
    await diagnosis.socketsOn(1, 0);
    ss.time = 1;
    const ports = Array.from({ length: 600 }, (_, index) => 1_000 + index);
    for (;;) {
      const waits = ports.map((port) => diagnosis.socketsOn(port, 1)).filter((answer) => answer instanceof Promise);
      if (waits.length === 0) break;
      await Promise.all(waits);
    }
    const asked = ss.asked.map((filter) => filter.split(' or ').length);
    expect(Math.max(...asked)).toBeLessThanOrEqual(256);
    for (const port of ports) expect(diagnosis.socketsOn(port, 1)).toEqual([]);
  });

  test('an answer from before the error is none', async () => {
    const ss = new FakeSs();
    await ss.diagnosis.socketsOn(5000, 0);
    expect(ss.diagnosis.socketsOn(5000, 0)).toEqual([]);
    expect(ss.diagnosis.socketsOn(5000, 1)).toBeInstanceOf(Promise);
  });

  test('a socket that ss does not have has no options', async () => {
    const ss = new FakeSs();
    ss.prints(row(RECVERR));
    await ss.diagnosis.options(socketOn(5000, 9), 0);
    expect(ss.diagnosis.options(socketOn(5000, 9), 0)).toBeNull();
  });

  test.each<[string, (ss: FakeSs) => void]>([
    ['fails', (ss) => ss.fails()],
    ['cannot ask the kernel, and prints what /proc has', (ss) => ss.prints('UNCONN 0 0 127.0.0.1:5000 0.0.0.0:*')],
  ])('where ss %s nothing is known', async (_name, prepare) => {
    const ss = new FakeSs();
    prepare(ss);
    await ss.diagnosis.askForAll();
    await ss.diagnosis.options(socketOn(5000, 7), 0);
    expect(ss.diagnosis.options(socketOn(5000, 7), 0)).toBeNull();
    expect(ss.diagnosis.isAvailable).toBe(false);
    // It is not asked again for a while.
    const asked = ss.asked.length;
    ss.time = 9_000;
    expect(ss.diagnosis.socketsOn(5001, ss.time)).toBeNull();
    ss.time = 20_000;
    expect(ss.diagnosis.isAvailable).toBe(true);
    await ss.diagnosis.socketsOn(5001, ss.time);
    expect(ss.asked).toHaveLength(asked + 1);
  });

  test('where ss cannot ask the kernel, that a port has no sockets is not known', async () => {
    const ss = new FakeSs();
    ss.prints('UNCONN 0      0      127.0.0.1:5000 0.0.0.0:*');
    await ss.diagnosis.socketsOn(5000, 0);
    expect(ss.diagnosis.socketsOn(5000, 0)).toBeNull();
  });

  test.each<[string, (() => null) | (() => string[])]>([
    ['cannot be entered', () => null],
    ['could be entered, if there were nsenter', () => ['/nonexistent']],
  ])('where a namespace %s nothing is known', async (_name, enter) => {
    const diagnosis = new SocketDiagnosis(enter, () => 0);
    onTestFinished(() => diagnosis.close());
    await diagnosis.askForAll();
    await diagnosis.options(socketOn(5000, 7), 0);
    expect(diagnosis.options(socketOn(5000, 7), 0)).toBeNull();
    expect(diagnosis.socketsOn(5000, 0)).toBeNull();
    expect(diagnosis.isAvailable).toBe(false);
  });
});

describe('how long an answer is believed', () => {
  /** Asks until it is answered. */
  async function optionsNow({ diagnosis, time }: FakeSs): Promise<unknown> {
    await diagnosis.options(socketOn(5000, 7), time);
    return diagnosis.options(socketOn(5000, 7), time);
  }

  test('for some time, whatever the time of the error; late in it, it is asked for again beside', async () => {
    const ss = new FakeSs();
    ss.prints(row(RECVERR));
    expect(await optionsNow(ss)).toEqual(WITH);
    ss.prints(row('ino:7 sk:1 cgroup:/ <-> inet-sockopt: ( mc_loop)'));
    ss.time = 14_000;
    expect(await optionsNow(ss)).toEqual(WITH);
    expect(ss.asked).toHaveLength(1);
    ss.time = 29_000;
    expect(ss.diagnosis.options(socketOn(5000, 7), ss.time)).toEqual(WITH);
    await expect.poll(() => ss.diagnosis.options(socketOn(5000, 7), ss.time), { timeout: 4_000 }).toEqual(WITHOUT);
  });

  test('not for ever', async () => {
    const ss = new FakeSs();
    ss.prints(row(RECVERR));
    await optionsNow(ss);
    ss.time = 30_000;
    ss.prints(row('ino:7 sk:1 cgroup:/ <-> inet-sockopt: ( mc_loop)'));
    expect(await optionsNow(ss)).toEqual(WITHOUT);
    expect(ss.asked).toHaveLength(2);
  });

  test('what is read at the start is the first one', async () => {
    const ss = new FakeSs();
    ss.prints(row(RECVERR));
    await ss.diagnosis.askForAll();
    ss.time = 500;
    expect(ss.diagnosis.options(socketOn(5000, 7), 500)).toEqual(WITH);
    expect(ss.asked).toEqual(['']);
  });

  test('the sockets of a port so long as is asked for; in the second half of it they are asked for again', async () => {
    const ss = new FakeSs();
    const { diagnosis } = ss;
    const recent = (): number[] | undefined => diagnosis.recent(5000, 100)?.map(({ inode }) => inode);
    expect(recent()).toBeUndefined();
    ss.prints(row(RECVERR));
    await diagnosis.socketsOn(5000, 0);
    ss.prints(row('ino:8 sk:1'));
    ss.time = 50;
    expect(recent()).toEqual([7]);
    expect(ss.asked).toHaveLength(1);
    ss.time = 100;
    expect(recent()).toEqual([7]);
    await expect.poll(recent, { timeout: 4_000 }).toEqual([8]);
    ss.time = 250;
    expect(recent()).toBeUndefined();
  });
});
