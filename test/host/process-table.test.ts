import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { argumentsOf, placeOf, ProcessTable } from '../../src/host/process-table.ts';
import { FakeProc } from './fake-proc.ts';
import { fdOf, inodeOf, openUdp } from './udp-sockets.ts';

function tableOf(root: string, now = () => performance.now()): ProcessTable {
  const table = new ProcessTable({ root, now });
  onTestFinished(() => table.close());
  return table;
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
    const table = tableOf(proc.root);
    expect(table.known(34876)).toBeNull();
    const expected = [
      {
        pid: 42,
        fd: 7,
        comm: 'gateway',
        exe: '/usr/bin/client',
        cmdline: '/opt/gateway -c /etc/gw.toml',
        started: '2023-11-14T22:13:22Z',
        container: null,
        unit: 'gateway.service',
      },
    ];
    expect(await table.holders(34876)).toEqual(expected);
    expect(table.known(34876)).toEqual(expected);
    expect(table.unreadable).toBe(0);
  });

  test('names every holder of a shared socket', async () => {
    const proc = new FakeProc();
    for (const pid of [50, 51, 52]) proc.process(pid, { comm: 'worker', sockets: { 3: 99 } });
    const holders = await tableOf(proc.root).holders(99);
    expect(holders!.map(({ pid }) => pid).toSorted()).toEqual([50, 51, 52]);
  });

  test('leaves out a holder that closed the socket, and finds the one that has it now', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    const table = tableOf(proc.root);
    await table.warm();
    rmSync(`${proc.root}/50/fd/3`);
    proc.process(51, { sockets: { 5: 99 } });
    expect(table.known(99)).toBeNull();
    expect((await table.holders(99))!.map(({ pid, fd }) => [pid, fd])).toEqual([[51, 5]]);
  });

  test('does not take a process for one that had its number', async () => {
    const proc = new FakeProc();
    proc.process(50, { comm: 'old', startTicks: 100, sockets: { 3: 99 } });
    const table = tableOf(proc.root);
    expect((await table.holders(99))![0]!.comm).toBe('old');
    proc.process(50, { comm: 'old', startTicks: 900, sockets: { 3: 99 }, cmdline: 'new' });
    expect(table.known(99)).toBeNull();
    expect((await table.holders(99))![0]).toMatchObject({ cmdline: 'new', started: '2023-11-14T22:13:29Z' });
    proc.process(50, { comm: 'unrelated', startTicks: 901 });
    expect(table.known(99)).toBeNull();
    expect(await table.holders(99)).toEqual([]);
  });

  test('sees execve', async () => {
    const proc = new FakeProc();
    proc.process(50, { comm: 'sh', sockets: { 3: 99 } });
    const table = tableOf(proc.root);
    expect((await table.holders(99))![0]!.comm).toBe('sh');
    proc.process(50, { comm: 'client', sockets: { 3: 99 }, cmdline: 'client\0--go\0' });
    expect(table.known(99)).toBeNull();
    expect((await table.holders(99))![0]).toMatchObject({ comm: 'client', cmdline: 'client --go' });
  });

  test('remembers for a while that nobody holds a socket', async () => {
    const proc = new FakeProc();
    proc.process(50);
    let time = 0;
    const table = tableOf(proc.root, () => time);
    expect(await table.holders(99)).toEqual([]);
    expect(await table.holders(99)).toEqual([]);
    expect(table.scans).toBe(1);
    proc.process(51, { sockets: { 3: 99 } });
    time = 6_000;
    expect(await table.holders(99)).toHaveLength(1);
  });

  test.each(['a) b (c', '\u001B[31mred', 'x\u0007\u009B', ' ', '(', ') S 1 2 3 4 5 6', '\u202Eevil'])(
    'takes the name %j as it is',
    async (comm) => {
      const proc = new FakeProc();
      proc.process(50, { comm, sockets: { 3: 99 }, startTicks: 100 });
      const [holder] = (await tableOf(proc.root).holders(99))!;
      expect(holder).toMatchObject({ comm, started: '2023-11-14T22:13:21Z' });
    },
  );

  test('passes over what is no process, vanishes, or has no files', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    proc.process(60, { sockets: { 3: 99 } });
    for (const file of ['stat', 'comm', 'cmdline', 'cgroup']) rmSync(`${proc.root}/60/${file}`);
    proc.process(70, { sockets: { 3: 99 } });
    rmSync(`${proc.root}/70/fd`, { recursive: true });
    symlinkSync('nowhere', `${proc.root}/80`);
    expect((await tableOf(proc.root).holders(99))!.map(({ pid }) => pid)).toEqual([50]);
  });

  test('says null for what cannot be read of a holder', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    for (const file of ['comm', 'cmdline', 'cgroup', 'exe']) rmSync(`${proc.root}/50/${file}`);
    rmSync(`${proc.root}/stat`);
    expect(await tableOf(proc.root).holders(99)).toEqual([
      { pid: 50, fd: 3, comm: null, exe: null, cmdline: null, started: null, container: null, unit: null },
    ]);
  });

  test('gives up a command line that hangs', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    rmSync(`${proc.root}/50/cmdline`);
    // Opening a FIFO for reading waits until someone writes.
    execFileSync('mkfifo', [`${proc.root}/50/cmdline`]);
    const table = tableOf(proc.root);
    const [holder] = (await table.holders(99))!;
    expect(holder).toMatchObject({ pid: 50, comm: 'client', cmdline: null });
    // Lets the thread go.
    spawn('sh', ['-c', `: > ${proc.root}/50/cmdline`]);
    await new Promise((resolve) => setTimeout(resolve, 50));
  });

  test('knows whether processes are in other network namespaces', async () => {
    const proc = new FakeProc();
    proc.process(50);
    expect(await tableOf(proc.root).otherNamespaces()).toBe(false);
    proc.process(51, { netns: 4026532000 });
    expect(await tableOf(proc.root).otherNamespaces()).toBe(true);
    proc.process(51);
    rmSync(`${proc.root}/51/ns/net`);
    expect(await tableOf(proc.root).otherNamespaces()).toBe(true);
  });

  test('counts the processes that may not be read', async () => {
    const proc = new FakeProc();
    proc.process(50, { sockets: { 3: 99 } });
    chmodSync(`${proc.root}/50/fd`, 0o000);
    chmodSync(proc.root, 0o755);
    // Root may read everything.
    const nobody = 65_534;
    if (process.getuid!() === 0) {
      process.seteuid!(nobody);
      onTestFinished(() => process.seteuid!(0));
    }
    const table = tableOf(proc.root);
    expect(await table.holders(99)).toEqual([]);
    expect(table.unreadable).toBe(1);
  });

  test('that is not there holds nothing', async () => {
    const table = tableOf('/nonexistent');
    expect(await table.holders(1)).toEqual([]);
  });

  test('once closed answers null', async () => {
    const table = tableOf('/nonexistent');
    table.close();
    expect(await table.holders(1)).toBeNull();
  });
});

describe('the running system', () => {
  test('shows our own socket', async () => {
    const { socket } = await openUdp('udp4');
    const holders = await tableOf('/proc').holders(inodeOf(socket));
    expect(holders).toHaveLength(1);
    expect(holders![0]).toMatchObject({
      pid: process.pid,
      fd: fdOf(socket),
      comm: readFileSync('/proc/self/comm', 'utf8').trimEnd(),
      exe: process.execPath,
    });
    const started = Date.parse(holders![0]!.started!);
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
    const holders = (await tableOf('/proc').holders(inode!))!.toSorted((a, b) => a.pid - b.pid);
    expect(holders.map(({ pid }) => pid)).toEqual([parent, child]);
    expect(holders[0]!.comm).toBe('\u001B[2J\uFFFD) x');
  });
});

describe('the place of a process', () => {
  const ID = '0123456789abcdef'.repeat(4);

  test.each([
    ['0::/system.slice/nginx.service\n', null, 'nginx.service'],
    ['0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope\n', null, 'app-x.scope'],
    [`0::/system.slice/docker-${ID}.scope\n`, ID.slice(0, 12), `docker-${ID}.scope`],
    [`12:memory:/docker/${ID}\n1:name=systemd:/docker/${ID}\n`, ID.slice(0, 12), null],
    [
      `0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope\n`,
      ID.slice(0, 12),
      `cri-containerd-${ID}.scope`,
    ],
    [`0::/kubepods/besteffort/pod1/${ID}\n`, ID.slice(0, 12), null],
    [`0::/machine.slice/libpod-${ID}.scope/container\n`, ID.slice(0, 12), `libpod-${ID}.scope`],
    [
      `0::/system.slice/containerd.service/kubepods-x.slice:cri-containerd:${ID}\n`,
      ID.slice(0, 12),
      'containerd.service',
    ],
    [`2:cpu:/\n1:name=systemd:/system.slice/cron.service\n0::/\n`, null, 'cron.service'],
    ['0::/\n', null, null],
    ['nonsense', null, null],
    ['', null, null],
    [null, null, null],
  ])('%j', (cgroup, container, unit) => {
    expect(placeOf(cgroup)).toEqual({ container, unit });
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
