import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { settled } from '../../src/host/host-view.ts';
import { mountedNamespaces, Namespaces } from '../../src/host/namespaces.ts';
import { netFilesInode } from '../../src/host/proc-file.ts';
import { FakeProc, fibTrie, OWN_NETNS, UDP_HEADER } from './fake-proc.ts';

vi.mock('../../src/host/proc-file.ts', { spy: true });

const BLUE = 4_026_532_001;
const GREEN = 4_026_532_002;

function namespacesOf(proc: string, now = () => performance.now()): Namespaces {
  const namespaces = new Namespaces(proc, now);
  onTestFinished(() => namespaces.close());
  return namespaces;
}

/** Files of a namespace with these addresses. */
function addresses(...list: string[]): Record<string, string> {
  return { fib_trie: fibTrie(...list), if_inet6: '', udp: UDP_HEADER };
}

/** The inodes of the other namespaces with the address, and how many could not be looked into. */
async function others(namespaces: Namespaces, address: string, since = 0): Promise<[(number | null)[], number]> {
  const found = await settled(() => namespaces.withAddress(address, since));
  return [found.namespaces.map(({ inode }) => inode).toSorted(), found.unreadable];
}

describe('where namespaces are mounted', () => {
  test.each<[string, string, { netns: number; mount: string }[]]>([
    [
      'ip netns',
      '97 25 0:4 net:[4026532281] /run/netns/blue rw shared:2 - nsfs nsfs rw',
      [{ netns: 4_026_532_281, mount: '/run/netns/blue' }],
    ],
    [
      'several optional fields, and none',
      '97 25 0:4 net:[1] /a rw shared:2 master:1 propagate_from:7 - nsfs nsfs rw\n98 25 0:4 net:[2] /b rw - nsfs nsfs rw\n',
      [
        { netns: 1, mount: '/a' },
        { netns: 2, mount: '/b' },
      ],
    ],
    [
      'names with a space, a tab, a newline and a backslash',
      String.raw`97 25 0:4 net:[1] /run/a\040b\011c\012d\134e rw - nsfs nsfs rw`,
      [{ netns: 1, mount: '/run/a b\tc\nd\\e' }],
    ],
    [
      'an escaped backslash before digits',
      String.raw`1 2 0:4 net:[1] /a\134040 rw - nsfs nsfs rw`,
      [{ netns: 1, mount: '/a\\040' }],
    ],
    ['any script', '1 2 0:4 net:[1] /run/größe rw - nsfs nsfs rw', [{ netns: 1, mount: '/run/größe' }]],
    [
      'one at two places: both',
      '1 2 0:4 net:[1] /a rw - nsfs nsfs rw\n1 2 0:4 net:[1] /b rw - nsfs nsfs rw',
      [
        { netns: 1, mount: '/a' },
        { netns: 1, mount: '/b' },
      ],
    ],
    ['namespaces of other kinds', '1 2 0:4 mnt:[1] /a rw - nsfs nsfs rw\n1 2 0:4 uts:[1] /b rw - nsfs nsfs rw', []],
    ['a directory that is named like one', '1 2 8:1 net:[1] /a rw - ext4 /dev/sda1 rw', []],
    ['no line of its', 'nonsense\n\n1 2 3\n - nsfs \nnet:[1]', []],
    ['nothing', '', []],
  ])('%s', (_name, mountinfo, expected) => {
    expect(mountedNamespaces(mountinfo)).toEqual(expected);
  });

  test('is nowhere without the file', () => {
    expect(mountedNamespaces(null)).toEqual([]);
    expect(mountedNamespaces(readFileSync('/proc/self/mountinfo', 'utf8'))).toBeInstanceOf(Array);
  });

  test('never throws, whatever the text', () => {
    const part = fc.constantFrom(
      '1 2 0:4 ',
      'net:[',
      '5',
      ']',
      ' /a',
      String.raw`\04`,
      String.raw`\777`,
      ' - nsfs ',
      '\n',
    );
    const mountinfo = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(part).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(mountinfo, (text) => {
        for (const { netns } of mountedNamespaces(text)) expect(Number.isSafeInteger(netns)).toBe(true);
      }),
    );
  });
});

describe('a fake /proc', () => {
  test('other namespaces by their addresses; one’s own is not among them', async () => {
    const proc = new FakeProc();
    proc.net('fib_trie', fibTrie('192.0.2.1'));
    proc.process(50);
    proc.process(60, { netns: BLUE, net: proc.namespace(addresses('192.0.2.2', '10.0.0.1')) });
    proc.process(61, { netns: GREEN, net: proc.namespace(addresses('192.0.2.3', '10.0.0.1')) });
    const namespaces = namespacesOf(proc.proc);
    expect(await others(namespaces, '192.0.2.2')).toEqual([[BLUE], 0]);
    expect(await others(namespaces, '192.0.2.3')).toEqual([[GREEN], 0]);
    expect(await others(namespaces, '10.0.0.1')).toEqual([[BLUE, GREEN], 0]);
    expect(await others(namespaces, '192.0.2.1')).toEqual([[], 0]);
    expect(await others(namespaces, '127.0.0.1')).toEqual([[], 0]);
    expect(namespaces.own.inode).toBe(OWN_NETNS);
    expect(namespaces.all.map(({ inode }) => inode)).toEqual([OWN_NETNS, BLUE, GREEN]);
  });

  test('v6, and a prefix that is local as a whole', async () => {
    const proc = new FakeProc();
    const ifInet6 = '20010db8000000000000000000000002 02 40 00 80     eth0\n';
    proc.process(60, { netns: BLUE, net: proc.namespace({ ...addresses('198.51.100.0/24'), if_inet6: ifInet6 }) });
    const namespaces = namespacesOf(proc.proc);
    expect(await others(namespaces, '2001:db8::2')).toEqual([[BLUE], 0]);
    expect(await others(namespaces, '198.51.100.77')).toEqual([[BLUE], 0]);
    expect(await others(namespaces, '198.51.101.77')).toEqual([[], 0]);
  });

  test('many processes of one namespace are one, and any of them is a way in', async () => {
    const proc = new FakeProc();
    const net = proc.namespace(addresses('192.0.2.2'));
    for (let pid = 60; pid < 70; pid++) proc.process(pid, { netns: BLUE, net });
    const namespaces = namespacesOf(proc.proc);
    expect(await others(namespaces, '192.0.2.2')).toEqual([[BLUE], 0]);
    const [, blue] = namespaces.all;
    expect(blue!.entrance.pids.length).toBeGreaterThan(1);
    for (const pid of blue!.entrance.pids.slice(1)) proc.end(pid);
    expect(blue!.isThere).toBe(true);
    proc.end(blue!.entrance.pids[0]!);
    expect(blue!.isThere).toBe(false);
  });

  test('one that comes is found at once, one that goes is forgotten', async () => {
    const proc = new FakeProc();
    const namespaces = namespacesOf(proc.proc);
    expect(await others(namespaces, '192.0.2.2')).toEqual([[], 0]);
    proc.process(60, { netns: BLUE, net: proc.namespace(addresses('192.0.2.2')) });
    expect(await others(namespaces, '192.0.2.2', performance.now())).toEqual([[BLUE], 0]);
    proc.end(60);
    expect(namespaces.knownWithAddress('192.0.2.2').map(({ inode }) => inode)).toEqual([BLUE]);
    expect(await others(namespaces, '192.0.2.2', performance.now())).toEqual([[], 0]);
    expect(namespaces.all).toEqual([namespaces.own]);
  });

  test('they are listed anew after a second, beside the answer', async () => {
    const proc = new FakeProc();
    let passed = 0;
    const namespaces = namespacesOf(proc.proc, () => performance.now() + passed);
    expect(await others(namespaces, '192.0.2.2')).toEqual([[], 0]);
    proc.process(60, { netns: BLUE, net: proc.namespace(addresses('192.0.2.2')) });
    passed = 500;
    expect(namespaces.knownWithAddress('192.0.2.2')).toEqual([]);
    passed = 1_001;
    expect(namespaces.knownWithAddress('192.0.2.2')).toEqual([]);
    await expect.poll(() => namespaces.knownWithAddress('192.0.2.2').length).toBe(1);
  });

  test('what is known of one is kept as long as it is there', async () => {
    const proc = new FakeProc();
    proc.process(60, { netns: BLUE, net: proc.namespace(addresses('192.0.2.2')) });
    const namespaces = namespacesOf(proc.proc);
    await namespaces.warm();
    const [, before] = namespaces.all;
    proc.process(61, { netns: BLUE, net: proc.namespace(addresses('192.0.2.2')) });
    proc.end(60);
    await namespaces.lookAgain();
    expect(namespaces.all[1]).toBe(before);
    expect(before!.entrance.pids).toEqual([61]);
  });

  test('one that is only mounted is listed, with where; and with its processes where it has some', async () => {
    const proc = new FakeProc();
    proc.process(60, { netns: GREEN, net: proc.namespace(addresses('192.0.2.3')) });
    // No namespace, so it cannot be entered.
    const place = `${proc.root}/blue`;
    writeFileSync(place, '');
    const blue = statSync(place).ino;
    proc.file(
      'proc/self/mountinfo',
      `1 2 0:4 net:[${blue}] ${place} rw - nsfs nsfs rw\n` +
        `1 2 0:4 net:[${BLUE}] /nonexistent/gone rw - nsfs nsfs rw\n` +
        `1 2 0:4 net:[${GREEN}] /nonexistent/green rw - nsfs nsfs rw\n` +
        `1 2 0:4 net:[${OWN_NETNS}] /nonexistent/own rw - nsfs nsfs rw\n`,
    );
    const namespaces = namespacesOf(proc.proc);
    // That one may have any address; one that has gone since has none.
    expect(await others(namespaces, '192.0.2.2')).toEqual([[], 1]);
    const entrances = namespaces.all.slice(1).map(({ entrance: { inode, pids, mount } }) => [inode, pids, mount]);
    expect(entrances).toEqual([
      [GREEN, [60], '/nonexistent/green'],
      [blue, [], place],
      [BLUE, [], '/nonexistent/gone'],
    ]);
  });

  test('one that a process is in that may not be looked into is told by its files', async () => {
    const proc = new FakeProc();
    proc.net('udp', UDP_HEADER);
    const blue = proc.namespace(addresses('192.0.2.2'));
    const green = proc.namespace(addresses('192.0.2.3'));
    proc.process(60, { netns: null, net: blue });
    proc.process(61, { netns: null, net: blue });
    // These are in namespaces that are known otherwise.
    proc.process(62, { netns: null, net: green });
    proc.process(63, { netns: GREEN, net: green });
    proc.process(64, { netns: null, net: `${proc.proc}/net` });
    const namespaces = namespacesOf(proc.proc);
    const found = await settled(() => namespaces.withAddress('192.0.2.2', 0));
    expect(found.namespaces.map(({ inode, entrance: { pids } }) => [inode, pids])).toEqual([[null, [60, 61]]]);
    expect(found.unreadable).toBe(0);
    expect(await others(namespaces, '192.0.2.3')).toEqual([[GREEN], 0]);
    expect(namespaces.all).toHaveLength(3);
  });

  test('processes whose namespace cannot be told are counted, but not those that have ended', async () => {
    const proc = new FakeProc();
    for (const pid of [60, 61, 62]) proc.process(pid, { netns: null });
    // Root may look at every file of this test.
    vi.mocked(netFilesInode).mockImplementation((directory) => (/\/6[01]\//.test(directory) ? 'forbidden' : null));
    onTestFinished(() => void vi.mocked(netFilesInode).mockReset());
    const namespaces = namespacesOf(proc.proc);
    expect(await others(namespaces, '192.0.2.2')).toEqual([[], 2]);
    expect(namespaces.unreadable).toBe(2);
  });

  test('that is not there has no other namespace', async () => {
    const namespaces = namespacesOf('/nonexistent');
    expect(await others(namespaces, '192.0.2.2')).toEqual([[], 0]);
    expect(namespaces.own.inode).toBeNull();
  });
});

test('of this system, one that a process has made is found by its address', async (context) => {
  const program = `
import fcntl, os, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
name = b'lo:1'.ljust(16, b'\\0')
fcntl.ioctl(s, 0x8916, struct.pack('16sHH4s8x', name, socket.AF_INET, 0, socket.inet_aton('203.0.113.77')))
fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x41))
print(os.getpid(), flush=True)
sys.stdin.read()
`;
  const python = spawn('unshare', ['-n', 'python3', '-c', program], { stdio: ['pipe', 'pipe', 'ignore'] });
  const exited = once(python, 'exit');
  onTestFinished(async () => {
    python.stdin.end();
    await exited;
  });
  const line = await Promise.race([once(createInterface(python.stdout), 'line'), exited]);
  if (python.exitCode !== null) context.skip('a network namespace cannot be made');
  const netns = Number(/\d+/.exec(readlinkSync(`/proc/${Number(line[0])}/ns/net`))![0]);
  const namespaces = namespacesOf('/proc');
  const [found] = await others(namespaces, '203.0.113.77');
  expect(found).toEqual([netns]);
}, 60_000);
