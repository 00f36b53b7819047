/**
 * `-w`: what is read of the file again is the very same output.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { captures, CLI, FIXTURES, needs, run, udpicmpWatch, type Finished } from './command.ts';
import { snapshotOf } from './host/saved-snapshot.ts';
import { eventually, LabProcess, PYTHON } from './lab/network.ts';
import { answer, captureOf, datagram, echoRequest, portUnreachable, RAW } from './packets.ts';
import { replay, type ReplayOptions } from './replay.ts';
import { enhancedPacket, interfaceDescription, sectionHeader } from './savefile/build.ts';
import { tcpdump, timeOf, tsharkFields } from './savefile/judges.ts';
import { read } from './savefile/read.ts';

// Thousands of replays, or a dozen processes, a test.
vi.setConfig({ testTimeout: 60_000 });

const directory = mkdtempSync(join(tmpdir(), 'uiw-saved-'));
chmodSync(directory, 0o755);
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
/** A path where nothing is yet. */
function unused(name: string): string {
  return join(directory, `${files++}-${name}`);
}

function fileOf(name: string, content: Uint8Array | string): string {
  const path = unused(name);
  writeFileSync(path, content);
  return path;
}

/** Two outages, one of them with quiet, and other packets between. */
const STORY = captureOf(
  [0, portUnreachable(1)],
  [500, portUnreachable(1, 17, 1)],
  [1000, portUnreachable(2)],
  [1500, datagram(1)],
  [1600, datagram(2)],
  [2000, echoRequest()],
  [3000, portUnreachable(3, 6)],
  [5000, answer(2)],
  [5100, answer(1)],
  [7000, portUnreachable(1)],
  [8000, datagram(1)],
  [45_000, portUnreachable(4, 17, 4)],
  [46_000, answer(1)],
  [48_000, portUnreachable(1)],
);

const SOURCES: [string, Buffer][] = [
  ['the story', STORY],
  ...captures().map((name): [string, Buffer] => [name, readFileSync(FIXTURES + name)]),
];

const PRINTED: [string, ReplayOptions][] = [
  ['text', {}],
  ['-v', { print: { verbose: true } }],
  ['--oneline', { print: { layout: 'oneline' } }],
  ['--json', { print: 'json' }],
  ['-tttt', { print: { timeStamp: 4 } }],
  ['-ttt', { print: { timeStamp: 3 } }],
  ['-tt -v --oneline', { print: { timeStamp: 2, verbose: true, layout: 'oneline' } }],
];

describe.each([
  ['errors that quote UDP', false],
  ['--all-icmp', true],
])('the same output again, of every fixture: %s', (_name, allIcmp) => {
  test.each(PRINTED)('%s', (_print, options) => {
    let lines = 0;
    for (const [name, capture] of SOURCES) {
      const first = replay(capture, { ...options, allIcmp, save: 'pcapng' });
      const second = replay(first.saved, { ...options, allIcmp, save: 'pcapng' });
      expect([name, second.stdout]).toEqual([name, first.stdout]);
      expect([name, second.incidents]).toEqual([name, first.incidents]);
      expect([name, second.notBelieved, second.losses]).toEqual([name, [], []]);
      expect([name, second.saved.equals(first.saved)]).toEqual([name, true]);
      lines += first.stdout.split('\n').length - 1;
    }
    expect(lines).toBeGreaterThan(200);
  });
});

/** libpcap, the judge of fixtures, has 32 bits for seconds here and there. */
test.each([
  ['microseconds that no plain number counts', {}, 13_953_551_628_838_633n],
  ['all 64 bits of nanoseconds', { tsresol: 9 }, 2n ** 64n - 1n],
  ['before 1970', { tsoffset: -(10n ** 10n) }, 1_000_001n],
  ['before RFC 3339', { tsoffset: -(10n ** 12n) }, 1_000_001n],
  ['years that no date has', { tsoffset: 2n ** 62n }, 999_999n],
  ['years of 64 bits', { tsresol: 0 }, 2n ** 64n - 1n],
])('times far away: %s', (_name, shape, units) => {
  const errors = [0n, 1n, 60_000_000n].map((later, n) =>
    enhancedPacket('little', 0, BigInt.asUintN(64, units + later), portUnreachable(n + 1), 56, []),
  );
  const header = [sectionHeader('little'), interfaceDescription('little', { linkType: RAW, ...shape })];
  const capture = Buffer.concat([...header, ...errors]);
  for (const [, options] of PRINTED) {
    const first = replay(capture, { ...options, save: 'pcapng' });
    const second = replay(first.saved, { ...options, save: 'pcapng' });
    expect(first.stdout).toContain('192.0.2.20');
    expect(second.stdout).toBe(first.stdout);
    expect(second.incidents).toBe(first.incidents);
    expect(second.saved.equals(first.saved)).toBe(true);
  }
});

test('what was saved with --all-icmp is read without it', () => {
  for (const [name, capture] of SOURCES) {
    const { saved } = replay(capture, { allIcmp: true, save: 'pcapng' });
    expect([name, replay(saved).stdout]).toEqual([name, replay(capture).stdout]);
  }
});

test.each(SOURCES)('by the command: %s', (_name, capture) => {
  const expected = replay(capture, { save: 'pcapng' });
  const [saved, again] = [unused('saved.pcapng'), unused('again.pcapng')];
  const first = udpicmpWatch(['-r', fileOf('source.capture', capture), '-w', saved]);
  expect(first).toMatchObject({ status: 0, stdout: expected.stdout });
  expect(readFileSync(saved).equals(expected.saved)).toBe(true);
  expect(udpicmpWatch(['-r', saved, '-w', again])).toEqual(first);
  expect(readFileSync(again).equals(expected.saved)).toBe(true);
});

describe('other readers, of what is saved of every fixture', () => {
  const all = SOURCES.map(([, capture]) => replay(capture, { allIcmp: true, save: 'pcapng' }));

  test('tshark: each packet, with its comments, of which the first is the second line', (context) => {
    needs(context, 'tshark');
    // A file may have any number of sections.
    const file = Buffer.concat(all.map(({ saved }) => saved));
    const { records, comments, damage } = read(file);
    expect(damage).toBeNull();
    const theirs = tsharkFields(file, 'frame.time_epoch', 'frame.comment', 'systemd_journal.message');
    const packets = theirs.filter(([, , message]) => message!.length === 0);
    expect(packets.map(([time]) => time![0])).toEqual(records.map(timeOf));
    expect(packets.map(([, found]) => found)).toEqual(comments);
    const words = theirs.flatMap(([, found, message]) => (found!.length > 1 ? [found![0]] : message!));
    // Ours begin with a tab, as the dump does that tcpdump makes of what it does not know; a record has its time before it.
    const lines = all.flatMap(({ stdout }) => stdout.split('\n').filter((line) => /^\t(?!0x)/.test(line)));
    expect(words).toEqual(lines.map((line) => line.replace(/^\t(?:\d\d:\d\d:\d\d\.\d{6} )?/, '')));
  });

  test('tcpdump: each packet, where the link types of a file allow it', (context) => {
    needs(context, 'tcpdump');
    const byKind = new Map<string, Buffer[]>();
    for (const [n, { saved }] of all.entries()) {
      const kinds = new Set(read(saved).records.map(({ iface }) => `${iface.linkType} ${iface.snaplen}`));
      // libpcap takes the RAW of a second section for another one than that of the first: those one by one.
      const kind = [...kinds].map((text) => (text.startsWith(`${RAW} `) ? `${text} ${n}` : text))[0];
      if (kinds.size === 1) byKind.set(kind!, [...(byKind.get(kind!) ?? []), saved]);
    }
    expect(byKind.size).toBeGreaterThan(5);
    for (const sections of byKind.values()) {
      const file = Buffer.concat(sections);
      const theirs = tcpdump(file);
      expect(theirs.records).toEqual(read(file).records.map((record) => ({ time: timeOf(record), data: record.data })));
      expect(theirs.status).toBe(0);
    }
  });
});

describe('what was found out by a snapshot comes back without it', () => {
  const gateway = fileOf('sockets.json', JSON.stringify(snapshotOf('192.0.2.10:40000', '198.51.100.20:9999')));
  const hostile = fileOf(
    'hostile.json',
    JSON.stringify(snapshotOf('192.0.2.10:40000', '198.51.100.20:9998', '\x1b[2J→größe\n\ud800')),
  );

  test.each([
    ['injected-codes.pcap', 'gateway', []],
    ['injected-codes.pcap', 'gateway', ['--json']],
    ['injected-codes.pcap', 'gateway', ['-v', '-tttt']],
    ['injected-codes.pcap', 'gateway', ['--oneline', '--errno', 'ECONNREFUSED']],
    ['recovery.pcap', 'hostile', []],
    ['recovery.pcap', 'hostile', ['--json']],
    ['recovery.pcap', 'hostile', ['--incidents']],
  ] as const)('%s, the process is %s, %j', (name, which, options) => {
    const sockets = { gateway, hostile }[which];
    const saved = unused('saved.pcapng');
    const first = udpicmpWatch(['--sockets', sockets, '-r', FIXTURES + name, '-w', saved, ...options]);
    expect(first.status).toBe(0);
    expect(first.stdout).toContain('4711');
    const second = udpicmpWatch(['-r', saved, ...options]);
    expect(second.stdout).toBe(first.stdout);
    // All but whose sockets they were.
    expect(second.stderr).toBe(first.stderr.replace(/^udpicmp-watch: attributed by .*\n/, ''));
    expect(udpicmpWatch(['-r', saved, '--pid', '4711', ...options]).stdout).toBe(first.stdout);
    expect(udpicmpWatch(['-r', saved, '--pid', '4712', ...options]).stdout).toBe('');
  });
});

describe('what Wireshark’s tools make of the file keeps the comments', () => {
  const source = fileOf('story.pcap', STORY);
  const saved = unused('saved.pcapng');
  const whole = udpicmpWatch(['--oneline', '-r', source, '-w', saved]).stdout;
  const again = (path: string): Finished => udpicmpWatch(['--oneline', '--no-summary', '-r', path]);

  test('editcap, the whole file', (context) => {
    needs(context, 'editcap');
    const copy = unused('copy.pcapng');
    expect(run('editcap', [saved, copy]).status).toBe(0);
    expect(again(copy)).toEqual({ stdout: whole, stderr: '', status: 0 });
  });

  test('editcap -r, some of the packets', (context) => {
    needs(context, 'editcap');
    const some = unused('some.pcapng');
    expect(run('editcap', ['-r', saved, some, '2-4']).status).toBe(0);
    expect(again(some).stdout).toBe(`${whole.split('\n').slice(1, 4).join('\n')}\n`);
  });

  test('mergecap, twice the same file', (context) => {
    needs(context, 'mergecap');
    const merged = unused('merged.pcapng');
    expect(run('mergecap', ['-a', '-w', merged, saved, saved]).status).toBe(0);
    expect(again(merged)).toEqual({ stdout: whole + whole, stderr: '', status: 0 });
  });
});

describe('a .pcap', () => {
  test.each(['x.pcap', 'x.PCAP', 'x.cap'])('%s: it says that comments are lost, and can be read', (name) => {
    const path = unused(name);
    const source = `${FIXTURES}recovery.pcap`;
    const { stderr, status } = udpicmpWatch(['--no-summary', '-r', source, '-w', path]);
    expect(stderr).toMatch(/^udpicmp-watch: [^\n]*\.p?cap: a pcap file has no room for comments[^\n]*\n$/i);
    expect(status).toBe(0);
    expect(read(readFileSync(path))).toMatchObject({ format: 'pcap', damage: null });
    // The errors, and the answer; but not what was sent before it, without which it may be none.
    const whole = udpicmpWatch(['-r', source]).stdout.split('\n');
    const [ends, ...more] = whole.filter((line) => line.includes(' answers '));
    expect([ends, more]).toEqual([expect.stringContaining('again after'), []]);
    expect(udpicmpWatch(['-r', path]).stdout).toBe(whole.filter((line) => line !== ends).join('\n'));
  });

  test('packets of another link type are counted', () => {
    const path = unused('x.pcap');
    const { stderr, status } = udpicmpWatch(['-r', `${FIXTURES}two-link-types.pcapng`, '-w', path]);
    const events = Number(/(\d+) events shown/.exec(stderr)![1]);
    const left = Number(/: (\d+) packets not saved: /.exec(stderr)![1]);
    expect(left).toBeGreaterThan(0);
    expect(read(readFileSync(path)).records).toHaveLength(events - left);
    expect(status).toBe(0);
  });

  test('any other name is a pcapng file', () => {
    for (const name of ['x.pcapng', 'x', 'pcap', 'x.pcap.1', 'x.PcapNg']) {
      const path = unused(name);
      udpicmpWatch(['-r', `${FIXTURES}recovery.pcap`, '-w', path]);
      expect([name, read(readFileSync(path)).format]).toEqual([name, 'pcapng']);
    }
  });
});

describe('-w -', () => {
  const source = fileOf('story.pcap', STORY);
  const { saved } = replay(STORY, { save: 'pcapng' });

  /** The octets of standard output. */
  function octets(...args: string[]): { stdout: Buffer; stderr: string; status: number | null } {
    const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...args], { maxBuffer: 1 << 24 });
    return { stdout, stderr: stderr.toString('utf8'), status };
  }

  test.each([
    [[]],
    [['--json']],
    [['--json', '--json-status']],
    [['--plain']],
    [['-v', '--incidents']],
    [['-l', '--oneline']],
  ])('into a pipe, with %j: nothing else is there', (options) => {
    const { stdout, status } = octets('-r', source, '-w', '-', ...options);
    expect(status).toBe(0);
    expect(stdout.equals(saved)).toBe(true);
  });

  test('and another one reads it', () => {
    expect(udpicmpWatch(['-r', '-'], octets('-r', source, '-w', '-').stdout).stdout).toBe(replay(STORY).stdout);
  });

  test('nothing to save is a file all the same, and no capture is none', () => {
    const { stdout } = octets('-r', source, '-w', '-', '--port', '1');
    expect(read(stdout).format).toBe('pcapng');
    const nothing = octets('-r', source, '-w', '-', '--errno', 'EPROTO');
    expect(read(nothing.stdout)).toMatchObject({ format: 'pcapng', records: [], damage: null });
    expect(octets('-r', join(directory, 'missing'), '-w', '-').stdout).toHaveLength(0);
  });

  test('to a terminal it is refused', () => {
    const script =
      'import os, pty, sys\n' +
      'status = pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 65536))\n' +
      'sys.exit(os.waitstatus_to_exitcode(status))\n';
    const { stdout, status } = run(PYTHON, ['-c', script, process.execPath, CLI, '-r', source, '-w', '-']);
    expect(stdout).toMatch(/^udpicmp-watch: -w -: standard output is a terminal[^\n]*\r?\n$/);
    expect(status).toBe(1);
  });

  test('its reader has gone: quiet, status 0', () => {
    const script = '"$0" "$1" --no-summary -r "$2" -w - | true; exit ${PIPESTATUS[0]}';
    expect(run('bash', ['-c', script, process.execPath, CLI, source])).toEqual({ stdout: '', stderr: '', status: 0 });
  });
});

describe('a file that cannot be written: one line, and nothing is shown', () => {
  const source = fileOf('story.pcap', STORY);

  function expectRefused(args: readonly string[], message: RegExp, status = 1): void {
    const result = udpicmpWatch(args);
    expect(result.stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toMatch(/unexpected/);
    expect([result.stdout, result.status]).toEqual(['', status]);
  }

  test('no such directory', () => {
    expectRefused(
      ['-r', source, '-w', join(directory, 'none/x.pcapng')],
      /none\/x\.pcapng: cannot be written: no such dir/,
    );
  });

  test('a directory', () => {
    expectRefused(['-r', source, '-w', directory], /: cannot be written: .*directory/);
  });

  test('a file as a directory', () => {
    expectRefused(['-r', source, '-w', `${source}/x.pcapng`], /: cannot be written: not a directory/);
  });

  test('a name that steers the terminal', () => {
    expectRefused(['-r', source, '-w', join(directory, '\x1b[2J/x')], /\\x1b\[2J\/x: cannot be written: /);
  });

  test('.gz', () => {
    const path = unused('x.pcapng.gz');
    expectRefused(['-r', source, '-w', path], /does not compress.*gzip/);
    expect(existsSync(path)).toBe(false);
  });

  test('an empty name', () => {
    expectRefused(['-r', source, '-w', ''], /an empty name/, 2);
    expectRefused(['-r', source, '-w'], /argument missing/, 2);
  });

  test('the file that is read, by its own name, by another, by a link, as standard input', () => {
    const copy = fileOf('copy.pcapng', STORY);
    const [symbolic, hard] = [unused('symbolic.pcapng'), unused('hard.pcapng')];
    symlinkSync(copy, symbolic);
    linkSync(copy, hard);
    const other = join(directory, '.', copy.slice(directory.length));
    for (const path of [copy, symbolic, hard, other])
      expectRefused(['-r', copy, '-w', path], /is the file that is read/);
    expectRefused(['-r', symbolic, '-w', hard], /is the file that is read/);
    const script = '"$0" "$1" -r - -w "$2" < "$2"';
    expect(run('sh', ['-c', script, process.execPath, CLI, copy])).toMatchObject({
      stdout: '',
      stderr: expect.stringContaining('is the file that is read') as string,
      status: 1,
    });
    expect(readFileSync(copy).equals(STORY)).toBe(true);
  });

  test('the input cannot be read: that is said, and what was in the file is there still', () => {
    const kept = fileOf('kept.pcapng', 'kept');
    const loop = unused('loop');
    symlinkSync(loop, loop);
    for (const [input, message] of [
      [join(directory, 'missing.pcap'), /missing\.pcap: no such file/],
      [directory, /is a directory, not a capture file/],
      [fileOf('empty.pcap', ''), /empty\.pcap: empty/],
      [fileOf('notes.pcap', 'host unreachable\n'), /not a pcap or pcapng file/],
      [`${source}/x`, /not a directory/],
      [loop, /loop: .*symbolic links/],
    ] as const) {
      expectRefused(['-r', input, '-w', kept], message);
      expect(readFileSync(kept, 'utf8')).toBe('kept');
    }
  });

  /** As somebody who is not root, and in no group. */
  function asNobody(...args: string[]): Finished {
    if (process.getuid!() !== 0) return udpicmpWatch(args);
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
    return run('setpriv', [...nobody, process.execPath, CLI, ...args]);
  }

  describe.skipIf(process.getuid!() !== 0)('what another user has put into a directory like /tmp', () => {
    const OTHER = 65_534;
    const shared = join(directory, 'shared');
    const target = fileOf('target', 'kept');
    const trap = join(shared, 'trap.pcapng');
    const save = (...environment: string[]): Finished =>
      run('env', [...environment, process.execPath, CLI, '-r', source, '-w', trap]);

    beforeEach(() => {
      mkdirSync(shared);
      chmodSync(shared, 0o1777);
    });
    afterEach(() => rmSync(shared, { recursive: true }));

    test.each([
      ['a file', () => writeFileSync(trap, '')],
      ['a FIFO', () => run('mkfifo', [trap])],
      ['a link', () => symlinkSync(target, trap)],
      ['a link to nothing', () => symlinkSync(unused('nothing'), trap)],
    ])('%s', (_what, put) => {
      put();
      lchownSync(trap, OTHER, OTHER);
      expect(save()).toEqual({
        stdout: '',
        stderr: `udpicmp-watch: ${trap}: belongs to uid ${OTHER}, in a directory where anybody may have put it: use another name\n`,
        status: 1,
      });
      expect(readFileSync(target, 'utf8')).toBe('kept');
    });

    test('is written to for the one who called sudo, and so is what is one’s own', () => {
      writeFileSync(trap, '');
      chownSync(trap, OTHER, OTHER);
      expect(save(`SUDO_UID=${OTHER}`, `SUDO_GID=${OTHER}`).status).toBe(0);
      rmSync(trap);
      symlinkSync(target, trap);
      expect(save().status).toBe(0);
      expect(readFileSync(target).subarray(0, 4).toString('hex')).toBe('0a0d0d0a');
    });
  });

  test('no permission', () => {
    const closed = unused('closed');
    mkdirSync(closed, { mode: 0o500 });
    const path = join(closed, 'x.pcapng');
    const foreign = fileOf('foreign.pcapng', 'kept');
    chmodSync(foreign, 0o444);
    for (const target of [path, foreign]) {
      expect(asNobody('-r', source, '-w', target)).toEqual({
        stdout: '',
        stderr: `udpicmp-watch: ${target}: cannot be written: permission denied\n`,
        status: 1,
      });
    }
    expect(readFileSync(foreign, 'utf8')).toBe('kept');
  });

  test('no permission to look at the input: that is said', () => {
    const closed = unused('closed');
    mkdirSync(closed, { mode: 0o700 });
    const input = join(closed, 'x.pcap');
    writeFileSync(input, STORY);
    chmodSync(closed, 0o000);
    const open = unused('open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    const result = asNobody('-r', input, '-w', join(open, 'x.pcapng'));
    chmodSync(closed, 0o700);
    expect(result).toEqual({ stdout: '', stderr: `udpicmp-watch: ${input}: permission denied\n`, status: 1 });
  });
});

describe('what becomes of the file', () => {
  const source = fileOf('story.pcap', STORY);
  const { saved } = replay(STORY, { save: 'pcapng' });

  test('what was in it is replaced, whatever its length', () => {
    for (const length of [1, saved.length, 100_000]) {
      const path = fileOf('old.pcapng', Buffer.alloc(length, 'x'));
      expect(udpicmpWatch(['-r', source, '-w', path]).status).toBe(0);
      expect(readFileSync(path).equals(saved)).toBe(true);
    }
  });

  test('a link to it stays one, and its rights stay as they are', () => {
    const path = fileOf('old.pcapng', 'old');
    chmodSync(path, 0o600);
    const link = unused('link.pcapng');
    symlinkSync(path, link);
    udpicmpWatch(['-r', source, '-w', link]);
    expect(readFileSync(path).equals(saved)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('a capture that is cut: what was read of it is saved', () => {
    const cut = fileOf('cut.pcap', STORY.subarray(0, -5));
    const path = unused('saved.pcapng');
    const { stdout, stderr, status } = udpicmpWatch(['--no-summary', '-r', cut, '-w', path]);
    expect(stderr).toMatch(/^udpicmp-watch: [^\n]*truncated[^\n]*\n$/);
    expect(status).toBe(1);
    expect(udpicmpWatch(['-r', path])).toMatchObject({ stdout, status: 0 });
  });

  test('-c: as much is saved as is shown', () => {
    const path = unused('saved.pcapng');
    const { stdout } = udpicmpWatch(['-c', '3', '-r', source, '-w', path]);
    expect(udpicmpWatch(['-r', path]).stdout).toBe(stdout);
    expect(read(readFileSync(path)).records).toHaveLength(3);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s: what was shown is there, before it and after',
    async (signal) => {
      const path = unused('saved.pcapng');
      const env = { ...process.env, TZ: 'UTC' };
      const watch = new LabProcess([process.execPath, CLI, '-r', '-', '-w', path], { env });
      watch.child.stdin.write(STORY.subarray(0, -5));
      await watch.until(({ lines }) => lines.length >= 10);
      await eventually(() => udpicmpWatch(['-r', path]).stdout === watch.stdout);
      watch.signal(signal);
      expect(await watch.exited).toEqual({ status: 0, signal: null });
      expect(udpicmpWatch(['-r', path])).toMatchObject({ stdout: watch.stdout, status: 0 });
    },
  );

  test('a reader of standard output that has enough: the file can be read', () => {
    const large = fileOf(
      'large.pcap',
      Buffer.concat([STORY, ...Array.from({ length: 2000 }, () => STORY.subarray(24))]),
    );
    const path = unused('saved.pcapng');
    const script = 'set -o pipefail; "$0" "$1" --no-summary -r "$2" -w "$3" | head -n 1';
    const { stdout, stderr, status } = run('bash', ['-c', script, process.execPath, CLI, large, path]);
    expect([stderr, status]).toEqual(['', 0]);
    const left = udpicmpWatch(['--no-summary', '-r', path]);
    expect([left.stderr, left.status]).toEqual(['', 0]);
    expect(left.stdout.startsWith(stdout)).toBe(true);
  });

  test('a pipe: its reader gets the file', () => {
    const path = unused('fifo');
    const script = 'mkfifo "$3" && { cat "$3" & "$0" "$1" --no-summary -r "$2" -w "$3" > /dev/null; wait; }';
    const { stdout, stderr } = spawnSync('bash', ['-c', script, process.execPath, CLI, source, path]);
    expect([stdout.equals(saved), stderr.toString()]).toEqual([true, '']);
  });

  test('/dev/null takes everything', () => {
    expect(udpicmpWatch(['--no-summary', '-r', source, '-w', '/dev/null'])).toEqual({
      stdout: replay(STORY).stdout,
      stderr: '',
      status: 0,
    });
  });

  test('a full disk: all is shown, one line says it, status 1', () => {
    const { stdout, stderr, status } = udpicmpWatch(['--no-summary', '-r', source, '-w', '/dev/full']);
    expect(stdout).toBe(replay(STORY).stdout);
    expect(stderr).toMatch(/^udpicmp-watch: \/dev\/full: no space left on device[^\n]*\n$/);
    expect(status).toBe(1);
  });

  test('a file that may not grow: what is there of it can be read', () => {
    const large = Buffer.concat([STORY, ...Array.from({ length: 500 }, () => STORY.subarray(24))]);
    const path = unused('limited.pcapng');
    // 200 blocks of 1 KiB; without SIGXFSZ the write fails with EFBIG.
    const script = 'trap "" XFSZ; ulimit -f 200; exec "$0" "$1" --no-summary -r "$2" -w "$3"';
    const input = fileOf('large.pcap', large);
    const { stdout, stderr, status } = run('bash', ['-c', script, process.execPath, CLI, input, path]);
    expect(stdout).toBe(udpicmpWatch(['-r', input]).stdout);
    expect(stderr).toMatch(/^udpicmp-watch: [^\n]*limited\.pcapng: file too large[^\n]*\n$/);
    expect(status).toBe(1);
    const left = udpicmpWatch(['--no-summary', '-r', path]);
    expect([left.status, left.stderr]).toEqual([0, '']);
    expect(left.stdout.length).toBeGreaterThan(1000);
    expect(stdout.startsWith(left.stdout)).toBe(true);
  });
});

describe('--top', () => {
  test.each([
    [['--top'], /is for a terminal.*--incidents/],
    [['--top', '-r', 'x'], /--top.* cannot be used with .*--read/],
    [['--top', '--json'], /cannot be used with option '--top'|'--top' cannot be used/],
    [['--top', '--plain'], /'--top' cannot be used with option '--plain'/],
    [['--top', '--oneline'], /'--top' cannot be used with option '--oneline'/],
    [['--top', '-w', '-'], /both want standard output/],
  ])('%j is refused in one line', (args, message) => {
    const { stdout, stderr, status } = udpicmpWatch(args);
    expect(stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect([stdout, status]).toEqual(['', 2]);
  });
});
