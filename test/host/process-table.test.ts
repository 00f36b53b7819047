import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ProcessIdentity } from '../../src/event.ts';
import { settled } from '../../src/host/host-view.ts';
import { directoryNames, readLink } from '../../src/host/proc-file.ts';
import { argumentsOf, placeOf, ProcessTable } from '../../src/host/process-table.ts';
import { FakeProc } from './fake-proc.ts';
import { fdOf, inodeOf, openUdp } from './udp-sockets.ts';

vi.mock('../../src/host/proc-file.ts', { spy: true });

function tableOf(root: string, now = () => performance.now()): ProcessTable {
  const table = new ProcessTable({ root, now });
  onTestFinished(() => table.close());
  return table;
}

/** Everyone who holds the socket, looked for among all processes if need be. */
async function holdersOf(table: ProcessTable, inode: number, since = 0): Promise<ProcessIdentity[]> {
  return settled(() => table.known(inode, since) ?? table.holders(inode, since));
}

describe('a fake /proc', () => {
  test('names the holder', async () => {
    const proc = new FakeProc();
    proc.process(41, { comm: 'other', sockets: { 3: 7 } });
    proc.process(42, {
      comm: 'gateway',
      sockets: { 7: 34876 },
      cmdline: '/opt/gateway\0-c\0/etc/gw.toml\0',
      startTicks: 250,
      cgroup: '0::/system.slice/gateway.service\n',
    });
    const table = tableOf(proc.proc);
    expect(table.known(34876, 0)).toBeNull();
    const expected = [
      {
        pid: 42,
        fd: 7,
        comm: 'gateway',
        exe: '/usr/bin/client',
        cmdline: '/opt/gateway -c /etc/gw.toml',
        started: '2023-11-14T22:13:22Z',
        container: null,
        runtime: null,
        unit: 'gateway.service',
      },
    ];
    expect(await holdersOf(table, 34876)).toEqual(expected);
    expect(table.known(34876, 0)).toEqual(expected);
    expect(table.unreadable).toBe(0);
  });

  test('names every holder of a shared socket', async () => {
    const proc = new FakeProc();
    for (const pid of [50, 51, 52]) proc.process(pid, { comm: 'worker', sockets: { 3: 99 } });
    const holders = await holdersOf(tableOf(proc.proc), 99);
    expect(holders.map(({ pid }) => pid).toSorted()).toEqual([50, 51, 52]);
  });

  test('leaves out a holder that closed the socket, and finds the one that has it now', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    const table = tableOf(proc.proc);
    await table.warm();
    rmSync(`${proc.proc}/50/fd/3`);
    proc.process(51, { sockets: { 5: 99 } });
    expect(table.known(99, 0)).toBeNull();
    expect((await holdersOf(table, 99)).map(({ pid, fd }) => [pid, fd])).toEqual([[51, 5]]);
  });

  test('does not take a process for one that had its number', async () => {
    const proc = new FakeProc();
    proc.process(50, { comm: 'old', startTicks: 100, sockets: { 3: 99 } });
    let passed = 0;
    const table = tableOf(proc.proc, () => performance.now() + passed);
    expect((await holdersOf(table, 99))[0]!.comm).toBe('old');
    proc.process(50, { comm: 'old', startTicks: 900, sockets: { 3: 99 }, cmdline: 'new' });
    passed = 100;
    expect(table.known(99, 0)).toBeNull();
    expect((await holdersOf(table, 99))[0]).toMatchObject({ cmdline: 'new', started: '2023-11-14T22:13:29Z' });
    proc.process(50, { comm: 'unrelated', startTicks: 901 });
    expect(table.known(99, 0)).toBeNull();
    expect(await holdersOf(table, 99)).toEqual([]);
  });

  test('sees execve', async () => {
    const proc = new FakeProc();
    proc.process(50, { comm: 'sh', sockets: { 3: 99 } });
    let passed = 0;
    const table = tableOf(proc.proc, () => performance.now() + passed);
    expect((await holdersOf(table, 99))[0]!.comm).toBe('sh');
    proc.process(50, { comm: 'client', sockets: { 3: 99 }, cmdline: 'client\0--go\0' });
    passed = 100;
    expect(table.known(99, 0)).toBeNull();
    expect((await holdersOf(table, 99))[0]).toMatchObject({ comm: 'client', cmdline: 'client --go' });
  });

  test('remembers for a while that nobody holds a socket', async () => {
    const proc = new FakeProc();
    proc.process(50);
    let time = 0;
    const table = tableOf(proc.proc, () => time);
    expect(await holdersOf(table, 99)).toEqual([]);
    proc.process(51, { sockets: { 3: 99 } });
    time = 4_999;
    expect(table.known(99, time)).toEqual([]);
    await table.holders(99, time);
    expect(table.known(99, time)).toEqual([]);
    time = 6_000;
    expect(await holdersOf(table, 99)).toHaveLength(1);
  });

  test.each(['a) b (c', '\u001B[31mred', 'x\u0007\u009B', ' ', '(', ') S 1 2 3 4 5 6', '\u202Eevil'])(
    'takes the name %j as it is',
    async (comm) => {
      const proc = new FakeProc();
      proc.process(50, { comm, sockets: { 3: 99 }, startTicks: 100 });
      const [holder] = await holdersOf(tableOf(proc.proc), 99);
      expect(holder).toMatchObject({ comm, started: '2023-11-14T22:13:21Z' });
    },
  );

  test('passes over what is no process, vanishes, or has no files', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    proc.process(60, { sockets: { 3: 99 } });
    for (const file of ['stat', 'comm', 'cmdline', 'cgroup']) rmSync(`${proc.proc}/60/${file}`);
    proc.process(70, { sockets: { 3: 99 } });
    rmSync(`${proc.proc}/70/fd`, { recursive: true });
    symlinkSync('nowhere', `${proc.proc}/80`);
    expect((await holdersOf(tableOf(proc.proc), 99)).map(({ pid }) => pid)).toEqual([50]);
  });

  test('says null for what cannot be read of a holder', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    for (const file of ['comm', 'cmdline', 'cgroup', 'exe']) rmSync(`${proc.proc}/50/${file}`);
    rmSync(`${proc.proc}/stat`);
    expect(await holdersOf(tableOf(proc.proc), 99)).toEqual([
      {
        pid: 50,
        fd: 3,
        comm: null,
        exe: null,
        cmdline: null,
        started: null,
        container: null,
        runtime: null,
        unit: null,
      },
    ]);
  });

  test('gives up a command line that hangs', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    rmSync(`${proc.proc}/50/cmdline`);
    // Opening a FIFO for reading waits until someone writes.
    execFileSync('mkfifo', [`${proc.proc}/50/cmdline`]);
    const table = tableOf(proc.proc);
    const [holder] = await holdersOf(table, 99);
    expect(holder).toMatchObject({ pid: 50, comm: 'client', cmdline: null });
    // Lets the thread go.
    spawn('sh', ['-c', `: > ${proc.proc}/50/cmdline`]);
    await new Promise((resolve) => setTimeout(resolve, 50));
  });

  test('counts the processes that may not be read', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    chmodSync(`${proc.proc}/50/fd`, 0o000);
    chmodSync(proc.root, 0o755);
    // Root may read everything.
    const nobody = 65_534;
    if (process.getuid!() === 0) {
      process.seteuid!(nobody);
      onTestFinished(() => process.seteuid!(0));
    }
    const table = tableOf(proc.proc);
    expect(await holdersOf(table, 99)).toEqual([]);
    expect(table.unreadable).toBe(1);
  });

  test('of those it does not count the capture process', async () => {
    const proc = new FakeProc();
    for (const pid of [50, 51]) {
      proc.process(pid, { comm: 'node) S 7 (', ...(pid === 51 && { parent: process.pid }) });
      chmodSync(`${proc.proc}/${pid}/fd`, 0o000);
    }
    chmodSync(proc.root, 0o755);
    // Root may read everything.
    if (process.getuid!() === 0) {
      process.seteuid!(65_534);
      onTestFinished(() => process.seteuid!(0));
    }
    const table = tableOf(proc.proc);
    await table.warm();
    expect(table.unreadable).toBe(1);
  });

  test.each([
    ['whose descriptors may be listed, but not looked at', 0o444],
    ['whose descriptors may not be listed', 0o000],
  ])('counts a process %s', async (_name, mode) => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    proc.process(51, { sockets: { 3: 98 } });
    chmodSync(`${proc.proc}/50/fd`, mode);
    chmodSync(proc.root, 0o755);
    // Root may read everything.
    if (process.getuid!() === 0) {
      process.seteuid!(65_534);
      onTestFinished(() => process.seteuid!(0));
    }
    const table = tableOf(proc.proc);
    expect(await holdersOf(table, 99)).toEqual([]);
    expect(table.unreadable).toBe(1);
    expect(await holdersOf(table, 98)).toMatchObject([{ pid: 51 }]);
  });

  test('that is not there holds nothing', async () => {
    const table = tableOf('/nonexistent');
    expect(await holdersOf(table, 1)).toEqual([]);
  });

  test('once closed answers null', async () => {
    const table = tableOf('/nonexistent');
    table.close();
    await table.holders(1, 0);
    expect(table.known(1, 0)).toBeNull();
  });
});

describe('between two scans', () => {
  /** A table that has scanned, of processes up to 50. */
  async function scanned(proc: FakeProc): Promise<ProcessTable> {
    proc.file('proc/loadavg', '0.00 0.01 0.05 1/234 50\n');
    const table = tableOf(proc.proc);
    await table.warm();
    return table;
  }

  test('a new socket of a process that had one is found at once', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    const table = await scanned(proc);
    await holdersOf(table, 99);
    symlinkSync('socket:[100]', `${proc.proc}/50/fd/4`);
    expect(table.known(100, performance.now())).toMatchObject([{ pid: 50, fd: 4 }]);
  });

  test('not all descriptors of a process are looked at, where that takes long', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    const table = await scanned(proc);
    await holdersOf(table, 99);
    const fds = Array.from({ length: 1_000 }, (_, index) => index + 4);
    for (const fd of fds) symlinkSync(`socket:[${1_000 + fd}]`, `${proc.proc}/50/fd/${fd}`);
    const since = performance.now();
    let time = since;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => time++);
    onTestFinished(() => clock.mockRestore());
    vi.mocked(readLink).mockClear();
    table.known(1, since);
    expect(vi.mocked(readLink).mock.calls.length).toBeLessThan(50);
    clock.mockRestore();
    // A scan, which rests in between, has them all.
    expect(await Promise.all(fds.map((fd) => holdersOf(table, 1_000 + fd)))).toEqual(
      fds.map((fd) => [expect.objectContaining({ pid: 50, fd })]),
    );
  });

  test('a process that was started since is looked into', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    const table = await scanned(proc);
    proc.process(60, { comm: 'new', sockets: { 5: 100 } });
    proc.file('proc/loadavg', '0.00 0.01 0.05 1/234 60\n');
    const since = performance.now();
    expect(table.known(100, since)).toBeNull();
    // Without a scan, which would see no more.
    vi.mocked(directoryNames).mockClear();
    await table.holders(100, since);
    expect(table.known(100, since)).toMatchObject([{ pid: 60, fd: 5, comm: 'new' }]);
    expect(directoryNames).not.toHaveBeenCalledWith(proc.proc);
  });

  test('a thread is no process', async () => {
    const proc = new FakeProc();
    const table = await scanned(proc);
    proc.process(60, { sockets: { 5: 100 } });
    proc.file('proc/60/status', 'Name:\tclient\nTgid:\t50\nPid:\t60\n');
    proc.file('proc/loadavg', '0.00 0.01 0.05 1/234 60\n');
    const since = performance.now();
    expect(table.known(100, since)).toBeNull();
    // Had it been looked into, it would be named now.
    proc.end(60);
    expect(await holdersOf(table, 100, since)).toEqual([]);
  });

  test('one that was seen to hold the socket after the error is named though it has ended', async () => {
    const proc = new FakeProc();
    const table = await scanned(proc);
    proc.process(60, { comm: 'brief', sockets: { 5: 100 } });
    proc.file('proc/loadavg', '0.00 0.01 0.05 1/234 60\n');
    const since = performance.now();
    expect(table.known(100, since)).toBeNull();
    proc.end(60);
    expect(await holdersOf(table, 100, since)).toEqual([
      expect.objectContaining({ pid: 60, fd: 5, comm: 'brief', exe: '/usr/bin/client', cmdline: null }),
    ]);
    // But not for an error that came later.
    expect(await holdersOf(table, 100, performance.now())).toEqual([]);
  });

  test('who holds a socket is learned for when it is closed', async () => {
    const proc = new FakeProc();
    proc.process(50, { comm: 'gateway', sockets: { 3: 99 } });
    const table = await scanned(proc);
    expect(table.remembered(99)).toEqual([]);
    const learn = (): number => {
      table.learn(99, performance.now());
      table.learned(performance.now());
      return table.remembered(99).length;
    };
    await expect.poll(learn, { timeout: 4_000 }).toBe(1);
    proc.end(50);
    expect(await holdersOf(table, 99, performance.now())).toEqual([]);
    expect(table.remembered(99)).toMatchObject([{ pid: 50, fd: 3, comm: 'gateway' }]);
  });
});

describe('the running system', () => {
  test('shows our own socket', async () => {
    const { socket } = await openUdp('udp4');
    const holders = await holdersOf(tableOf('/proc'), inodeOf(socket));
    expect(holders).toHaveLength(1);
    expect(holders[0]).toMatchObject({
      pid: process.pid,
      fd: fdOf(socket),
      comm: readFileSync('/proc/self/comm', 'utf8').trimEnd(),
      exe: process.execPath,
    });
    const started = Date.parse(holders[0]!.started!);
    expect(started).toBeLessThanOrEqual(Date.now());
    expect(started).toBeGreaterThan(Date.now() - 3_600_000);
  });

  test('shows both holders of a socket that was inherited by fork, with a hostile name', async () => {
    const program = `
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
child = os.fork()
open('/proc/self/comm', 'wb').write(b'\\x1b[2J\\xff) x' if child else b'child')
if child:
    print(os.fstat(s.fileno()).st_ino, os.getpid(), child, flush=True)
sys.stdin.read()
`;
    const python = spawn('python3', ['-c', program], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void python.stdin.end());
    const [line] = (await once(createInterface(python.stdout), 'line')) as [string];
    const [inode, parent, child] = line.split(' ').map(Number);
    const holders = (await holdersOf(tableOf('/proc'), inode!)).toSorted((a, b) => a.pid - b.pid);
    expect(holders.map(({ pid }) => pid)).toEqual([parent, child]);
    expect(holders[0]!.comm).toBe('\u001B[2J\uFFFD) x');
  });
});

describe('the place of a process', () => {
  const ID = '0123456789abcdef'.repeat(4);
  const SHORT = ID.slice(0, 12);

  test.each<[string | null, string | null, string | null, string | null]>([
    ['0::/system.slice/nginx.service\n', null, null, 'nginx.service'],
    // Within these others than the system's systemd name the groups.
    ['0::/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service\n', null, null, 'user@1000.service'],
    ['2:cpu:/\n1:name=systemd:/system.slice/cron.service\n0::/\n', null, null, 'cron.service'],
    // Docker: with systemd, with cgroupfs in version 1 and 2, and what runs in a group of its own within.
    [`0::/system.slice/docker-${ID}.scope\n`, SHORT, 'docker', `docker-${ID}.scope`],
    [`12:memory:/docker/${ID}\n1:name=systemd:/docker/${ID}\n`, SHORT, 'docker', null],
    [`0::/docker/${ID}\n`, SHORT, 'docker', null],
    [`0::/system.slice/docker-${ID}.scope/init.scope\n`, SHORT, 'docker', `docker-${ID}.scope`],
    // containerd: of Kubernetes with systemd and with cgroupfs, of nerdctl, and version 1.
    [
      `0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope\n`,
      SHORT,
      'containerd',
      `cri-containerd-${ID}.scope`,
    ],
    [
      `0::/system.slice/containerd.service/kubepods-x.slice:cri-containerd:${ID}\n`,
      SHORT,
      'containerd',
      'containerd.service',
    ],
    [`0::/system.slice/nerdctl-${ID}.scope\n`, SHORT, 'containerd', `nerdctl-${ID}.scope`],
    [
      `5:pids:/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope\n` +
        `1:name=systemd:/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope\n`,
      SHORT,
      'containerd',
      `cri-containerd-${ID}.scope`,
    ],
    // CRI-O, and the monitor beside its container.
    [`0::/kubepods.slice/kubepods-pod1.slice/crio-${ID}.scope\n`, SHORT, 'cri-o', `crio-${ID}.scope`],
    [`0::/kubepods.slice/kubepods-pod1.slice/crio-${ID}.scope/container\n`, SHORT, 'cri-o', `crio-${ID}.scope`],
    [`1:name=systemd:/kubepods/besteffort/pod1/crio-${ID}\n`, SHORT, 'cri-o', null],
    [`0::/kubepods.slice/kubepods-pod1.slice/crio-conmon-${ID}.scope\n`, null, null, `crio-conmon-${ID}.scope`],
    // Podman: of root, of a user, with cgroupfs, and its monitor.
    [`0::/machine.slice/libpod-${ID}.scope/container\n`, SHORT, 'podman', `libpod-${ID}.scope`],
    [
      `0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container\n`,
      SHORT,
      'podman',
      'user@1000.service',
    ],
    [`10:cpu:/libpod_parent/libpod-${ID}\n`, SHORT, 'podman', null],
    [`0::/machine.slice/libpod-conmon-${ID}.scope\n`, null, null, `libpod-conmon-${ID}.scope`],
    // A container of whom is not told.
    [`0::/kubepods/besteffort/pod1/${ID}\n`, SHORT, null, null],
    [`0::/${ID}\n`, SHORT, null, null],
    // A container within a container: the innermost.
    [`0::/docker/${'f'.repeat(64)}/docker/${ID}\n`, SHORT, 'docker', null],
    // No container: too short, too long, capitals, another suffix.
    [`0::/docker/${ID.slice(1)}\n`, null, null, null],
    [`0::/docker/${ID}0\n`, null, null, null],
    [`0::/docker/${ID.toUpperCase()}\n`, null, null, null],
    [`0::/docker-${ID}.slice\n`, null, null, null],
    ['0::/\n', null, null, null],
    ['nonsense', null, null, null],
    ['', null, null, null],
    [null, null, null, null],
  ])('%j', (cgroup, container, runtime, unit) => {
    expect(placeOf(cgroup)).toEqual({ container, runtime, unit });
  });

  test('a container within another has the runtime of the other only if it says so', () => {
    const cgroup = `0::/docker/${'f'.repeat(64)}/kubepods/besteffort/pod1/${ID}\n`;
    expect(placeOf(cgroup)).toEqual({ container: SHORT, runtime: null, unit: null });
  });
});

describe('a command line', () => {
  test.each([
    ['', ''],
    ['a\0b c\0', 'a b c'],
    ['a\0\0b\0\0\0', 'a  b'],
    [`${'x'.repeat(1023)}é`, 'x'.repeat(1023)],
    [`${'x'.repeat(1022)}é`, `${'x'.repeat(1022)}é`],
    [`${'x'.repeat(1021)}😀`, 'x'.repeat(1021)],
  ])('%#', (text, expected) => {
    expect(argumentsOf(Buffer.from(text))).toBe(expected);
  });

  test('is valid text of at most 1,024 octets whatever it is made of', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096, size: 'max' }), (octets) => {
        const text = argumentsOf(octets);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(1024);
        expect(Buffer.from(text).toString()).toBe(text);
      }),
    );
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (cgroup) => void placeOf(cgroup)));
  });
});
