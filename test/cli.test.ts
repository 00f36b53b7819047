/**
 * The built command: what it takes, what it says, and how it ends. Live capture is in lab/.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, test } from 'vitest';
import type { IcmpEvent } from '../src/event.ts';
import type { Snapshot } from '../src/host/snapshot.ts';
import schema from '../src/snapshot.schema.json' with { type: 'json' };
import { CLI, FIXTURES, run, udpicmpWatch, type Finished } from './command.ts';
import { snapshotOf } from './host/saved-snapshot.ts';
import { eventually, LabProcess } from './lab/network.ts';

const directory = mkdtempSync(join(tmpdir(), 'uiw-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: Uint8Array | string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** 32 errors, nothing else; little-endian pcap. */
const CODES = `${FIXTURES}injected-codes.pcap`;
const CODES_OCTETS = readFileSync(CODES);
const PCAP_HEADER = CODES_OCTETS.subarray(0, 24);
const EVENTS = 32;

/** Where each record of the capture ends; the first: where the file header does. */
const ENDS = [24];
while (ENDS.at(-1)! < CODES_OCTETS.length) ENDS.push(ENDS.at(-1)! + 16 + CODES_OCTETS.readUInt32LE(ENDS.at(-1)! + 8));

/** What the command prints of it, whole. */
const WHOLE = udpicmpWatch(['-r', CODES]);
const LINES = WHOLE.stdout.split('\n').slice(0, -1);

/** The capture, its records so many times. */
function repeated(times: number): Buffer {
  return Buffer.concat([PCAP_HEADER, ...Array.from({ length: times }, () => CODES_OCTETS.subarray(24))]);
}

function spawnWatch(args: readonly string[]): LabProcess {
  return new LabProcess([process.execPath, CLI, ...args], { env: { ...process.env, TZ: 'UTC' } });
}

function shell(script: string, ...args: string[]): Finished {
  return run('bash', ['-c', `set -o pipefail; watch() { "$NODE" "$CLI" "$@"; }; ${script}`, 'bash', ...args]);
}
Object.assign(process.env, { NODE: process.execPath, CLI });

/** Whether the process has a handler for the signal of that number; Node has one for SIGINT (2) from the start. */
function hasHandler(pid: number, signal: number): boolean {
  const caught = /^SigCgt:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
  return ((BigInt(`0x${caught}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

/** One line, the program's, without anything that is not text. */
function expectOneLine(stderr: string, message: RegExp | string): void {
  expect(stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
  expect(stderr).not.toMatch(/\\x0a|\bat .*:\d+:\d+\b/);
  expect(stderr.slice('udpicmp-watch: '.length, -1)).toMatch(message);
}

test('the whole capture: two lines an event, and the closing statistics', () => {
  expect(WHOLE).toMatchObject({
    status: 0,
    stderr: `udpicmp-watch: ${EVENTS} events shown, 0 attributed to a socket\n`,
  });
  expect(LINES).toHaveLength(2 * EVENTS);
  expect(ENDS).toHaveLength(EVENTS + 1);
});

describe('help and version', () => {
  test('--help, on standard output', () => {
    const { stdout, stderr, status } = udpicmpWatch(['--help']);
    expect([status, stderr]).toEqual([0, '']);
    for (const word of ['Usage: udpicmp-watch', '--interface', '--read', '--json', '--no-summary']) {
      expect(stdout).toContain(word);
    }
  });

  test('--version, that of the package', () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(udpicmpWatch(['--version'])).toEqual({ stdout: `${version}\n`, stderr: '', status: 0 });
  });
});

describe('a wrong command line: one line, status 2, and nothing is begun', () => {
  test.each<[string[], RegExp | string]>([
    [['--frobnicate'], /unknown option '--frobnicate'/],
    [['--plian'], /unknown option '--plian'.*--plain/],
    [['-r'], /argument missing/],
    [['-c', '0', '-r', CODES], /'-c, --count <n>' argument '0' is invalid/],
    [['-c', '1e3', '-r', CODES], /'1e3' is invalid/],
    [['-B', '2097152'], /at most 2,097,151 KiB/],
    [['--port', '65536', '-r', CODES], /'65536' is invalid/],
    [['--port', '-1', '-r', CODES], /'-1' is invalid|argument missing/],
    [['--host', 'localhost', '-r', CODES], /names are not resolved/],
    [['-tttttt', '-r', CODES], /at most five times/],
    [['--json', '--plain', '-r', CODES], /'--plain' cannot be used with option '--json'/],
    [['--oneline', '--json', '-r', CODES], /'--oneline' cannot be used with option '--json'/],
    [['--netns', 'bogus', '-r', CODES], /'bogus' is invalid.*all, self/],
    [['--sockets'], /argument missing/],
    [['--sockets', '', '-r', CODES], /an empty name/],
    [['sockets', '--netns', 'bogus'], /'bogus' is invalid.*all, self/],
    [['sockets', '--frobnicate'], /unknown option '--frobnicate'/],
    [['sockets', 'icmp'], /too many arguments for 'sockets'/],
    [['doctor', '--frobnicate'], /unknown option '--frobnicate'/],
    [['doctor', 'eth0'], /too many arguments for 'doctor'/],
  ])('%j', (args, message) => {
    const { stdout, stderr, status } = udpicmpWatch(args);
    expectOneLine(stderr, message);
    expect([stdout, status]).toEqual(['', 2]);
  });

  test('a filter with -r: the tcpdump that does it, to be copied', () => {
    const { stderr, status } = udpicmpWatch(['-r', 'incident.pcap', 'icmp', 'and', 'host', '192.0.2.10']);
    expectOneLine(stderr, /: tcpdump -r incident\.pcap -w - 'icmp and host 192\.0\.2\.10' \| udpicmp-watch -r -$/);
    expect(status).toBe(2);
  });

  test('and a shell reads it as it was meant', () => {
    const name = "it's; rm -rf $HOME & `x`.pcap";
    const expression = "host 'a' && !(port 53)";
    const { stderr } = udpicmpWatch(['-r', name, expression]);
    const suggestion = /tcpdump .* \| /.exec(stderr)![0].replace(/ \| $/, '');
    const words = execFileSync('sh', ['-c', `tcpdump() { printf '%s\\0' "$@"; }; ${suggestion}`], { encoding: 'utf8' });
    expect(words.split('\0').slice(0, -1)).toEqual(['-r', name, '-w', '-', expression]);
  });
});

describe('a capture that cannot be read: all before the damage, then one line, status 1', () => {
  const damaged = Buffer.concat([
    CODES_OCTETS.subarray(0, ENDS[20]),
    Buffer.alloc(16, 0xff),
    CODES_OCTETS.subarray(ENDS[20]),
  ]);
  const gzipped = gzipSync(CODES_OCTETS);
  test.each<[string, string, number, RegExp]>([
    ['missing', join(directory, 'missing.pcap'), 0, /missing\.pcap: no such file$/],
    ['a directory', directory, 0, /: is a directory, not a capture file$/],
    ['empty', file('empty.pcap', ''), 0, /empty\.pcap: empty/],
    ['text', file('notes.txt', 'host unreachable\n'), 0, /notes\.txt: not a pcap or pcapng file: .*text/],
    [
      'cut in a record header',
      file('cut1.pcap', CODES_OCTETS.subarray(0, ENDS[10]! + 7)),
      10,
      /cut1\.pcap: .*truncated/,
    ],
    ['cut in a packet', file('cut2.pcap', CODES_OCTETS.subarray(0, ENDS[11]! - 1)), 10, /cut2\.pcap: .*truncated/],
    ['garbage in the middle', file('damaged.pcap', damaged), 20, new RegExp(`damaged\\.pcap: .*\\b${ENDS[20]}\\b`)],
    ['gzip, cut short', file('cut.pcap.gz', gzipped.subarray(0, -4)), EVENTS, /cut\.pcap\.gz: the gzip stream ends/],
  ])('%s', (_name, path, events, message) => {
    const { stdout, stderr, status } = udpicmpWatch(['--no-summary', '-r', path]);
    expect(stdout.split('\n').slice(0, -1)).toEqual(LINES.slice(0, 2 * events));
    expectOneLine(stderr, message);
    expect(status).toBe(1);
  });

  test('gzip, damaged: what it gave before is shown', () => {
    const path = file('bad.pcap.gz', Buffer.concat([gzipSync(repeated(200)).subarray(0, -8), Buffer.alloc(8)]));
    const { stdout, stderr, status } = udpicmpWatch(['--no-summary', '-r', path]);
    expectOneLine(stderr, /bad\.pcap\.gz: damaged gzip data/);
    expect(status).toBe(1);
    expect(stdout.startsWith(WHOLE.stdout.repeat(190))).toBe(true);
  });

  test('a name that would steer the terminal is escaped', () => {
    const { stderr } = udpicmpWatch(['-r', join(directory, '\x1b[2J\u202e.pcap')]);
    expectOneLine(stderr, /\\x1b\[2J\\u\{202e\}\.pcap: no such file$/);
  });

  test('damage on standard input, with statistics', () => {
    const { stderr, status } = udpicmpWatch(['-r', '-'], CODES_OCTETS.subarray(0, -1));
    expect(stderr).toMatch(
      /^udpicmp-watch: standard input: .*truncated[^\n]*\nudpicmp-watch: 31 events shown, [^\n]*\n$/,
    );
    expect(status).toBe(1);
  });
});

describe('the same capture by every way is the same text', () => {
  const gzipped = file('codes.pcap.gz', gzipSync(CODES_OCTETS));

  test.each<[string, () => Finished]>([
    ['gzip', () => udpicmpWatch(['-r', gzipped])],
    ['gzip on standard input', () => udpicmpWatch(['-r', '-'], readFileSync(gzipped))],
    ['standard input that is a file', () => shell('watch -r - < "$1"', CODES)],
    ['a FIFO', () => shell('watch -r <(cat "$1")', CODES)],
    ['standard input', () => udpicmpWatch(['--read=-'], CODES_OCTETS)],
  ])('%s', (_name, replay) => {
    expect(replay()).toEqual(WHOLE);
  });

  test('standard input in pieces of any size, plain and gzip', async () => {
    for (const octets of [CODES_OCTETS, readFileSync(gzipped)]) {
      const watch = spawnWatch(['-r', '-']);
      for (let at = 0, size = 1; at < octets.length; at += size, size = ((size * 7 + 3) % 61) + 1) {
        watch.child.stdin.write(octets.subarray(at, at + size));
        await nextTurn();
      }
      watch.child.stdin.end();
      await watch.exited;
      expect(watch.stdout).toBe(WHOLE.stdout);
      expect(watch.stderr).toBe(WHOLE.stderr);
    }
  });
});

describe('standard input that stays open', () => {
  test('events come while it is; the rest when it does', async () => {
    const watch = spawnWatch(['-r', '-']);
    watch.child.stdin.write(CODES_OCTETS.subarray(0, ENDS[10]! + 20));
    await watch.until(({ lines }) => lines.length >= 20);
    expect(watch.lines).toEqual(LINES.slice(0, 20));
    watch.child.stdin.write(CODES_OCTETS.subarray(ENDS[10]! + 20, ENDS[11]));
    await watch.until(({ lines }) => lines.length >= 22);
    expect(watch.lines).toEqual(LINES.slice(0, 22));
    watch.child.stdin.end(CODES_OCTETS.subarray(ENDS[11]));
    expect(await watch.exited).toEqual({ status: 0, signal: null });
    expect(watch.lines).toEqual(LINES);
  });

  test('of gzip: what the pieces so far hold is shown', async () => {
    const gzipped = gzipSync(repeated(2000), { level: 1 });
    const watch = spawnWatch(['-r', '-', '--plain']);
    watch.child.stdin.write(gzipped.subarray(0, gzipped.length / 2));
    await watch.until(({ lines }) => lines.length >= 1000);
    watch.child.stdin.end(gzipped.subarray(gzipped.length / 2));
    expect(await watch.exited).toEqual({ status: 0, signal: null });
    expect(watch.lines).toHaveLength(2000 * EVENTS);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s ends it, with the closing statistics', async (signal) => {
    const watch = spawnWatch(['-r', '-', '--plain']);
    watch.child.stdin.write(CODES_OCTETS.subarray(0, ENDS[3]! + 9)); // what is cut then is no damage
    await watch.until(({ lines }) => lines.length >= 3);
    watch.signal(signal);
    expect(await watch.exited).toEqual({ status: 0, signal: null });
    expect(watch.stderr).toBe('udpicmp-watch: 3 events shown, 0 attributed to a socket\n');
  });

  test('SIGINT while nobody has opened the FIFO for writing', async () => {
    const path = join(directory, 'unopened');
    execFileSync('mkfifo', [path]);
    const watch = spawnWatch(['-r', path]);
    await eventually(() => hasHandler(watch.pid, 1));
    expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
  });
});

describe('how much is shown', () => {
  test('-c: so many, and it ends though the input does not', async () => {
    const watch = spawnWatch(['-c', '5', '-r', '-']);
    watch.child.stdin.write(CODES_OCTETS);
    expect(await watch.exited).toEqual({ status: 0, signal: null });
    expect(watch.lines).toEqual(LINES.slice(0, 10));
    expect(watch.stderr).toBe('udpicmp-watch: 5 events shown, 0 attributed to a socket\n');
  });

  test('-c with damage behind what was asked for: not an error', () => {
    expect(udpicmpWatch(['-c', '10', '--no-summary', '-r', join(directory, 'cut1.pcap')])).toEqual({
      stdout: `${LINES.slice(0, 20).join('\n')}\n`,
      stderr: '',
      status: 0,
    });
  });

  test.each<[string[], string, (event: IcmpEvent) => boolean]>([
    [
      ['--errno', 'ehostunreach', '--errno', 'EPROTO', '--port', '9999'],
      'injected-codes.pcap',
      ({ errno }) => errno === 'EHOSTUNREACH' || errno === 'EPROTO',
    ],
    [
      ['--host', '2001:DB8:5:0:0:0:0:1', '--host', '2001:db8:4::1'],
      'route-errors-v6.pcap',
      ({ flow }) => /^2001:db8:[45]::1$/.test(flow!.dst),
    ],
    [
      ['--host', '203.0.113.17', '--errno', 'EHOSTUNREACH'],
      'route-errors.pcap',
      ({ flow }) => flow?.dst === '203.0.113.17',
    ],
    [['--port', '61927'], 'nat-masquerade-two-interfaces.pcapng', ({ flow }) => flow?.sport === 61_927],
  ])('%j on %s', (args, name, expected) => {
    const golden = readFileSync(`${FIXTURES}golden/${name}.json`, 'utf8').split('\n').slice(0, -1);
    const wanted = golden.filter((line) => expected(JSON.parse(line) as IcmpEvent));
    expect(wanted.length).toBeGreaterThan(0);
    expect(wanted.length).toBeLessThan(golden.length);
    const { stdout, stderr } = udpicmpWatch(['--json', ...args, '-r', FIXTURES + name]);
    expect(stdout.split('\n').slice(0, -1)).toEqual(wanted);
    expect(stderr).toMatch(new RegExp(`^udpicmp-watch: ${wanted.length} events? shown, 0 attributed`));
  });

  test('no socket of this machine answers for a replay', () => {
    expect(udpicmpWatch(['--pid', String(process.pid), '-r', CODES]).stdout).toBe('');
    for (const line of udpicmpWatch(['--json', '-r', CODES]).stdout.trimEnd().split('\n')) {
      const event = JSON.parse(line) as IcmpEvent & { host: unknown };
      expect(event).toMatchObject({ host: null, direction: null, outcome: 'unknown', match: null });
      expect(event).not.toHaveProperty('sockets');
    }
  });
});

describe('the layouts', () => {
  test('--plain is the first lines, --oneline both on one', () => {
    const first = LINES.filter((_, index) => index % 2 === 0);
    const second = LINES.filter((_, index) => index % 2 === 1);
    expect(udpicmpWatch(['--plain', '--no-summary', '-r', CODES])).toEqual({
      stdout: `${first.join('\n')}\n`,
      stderr: '',
      status: 0,
    });
    const oneline = udpicmpWatch(['--oneline', '-nn', '-l', '-r', CODES]).stdout;
    expect(oneline.split('\n').slice(0, -1)).toEqual(first.map((line, index) => `${line}  ${second[index]!.slice(1)}`));
  });

  test('-t changes the time stamp alone, and options may be run together', () => {
    expect(udpicmpWatch(['-ntr', CODES]).stdout).toBe(WHOLE.stdout.replace(/^\d\d:\d\d:\d\d\.\d{6} /gm, ''));
  });
});

describe('whoever reads standard output', () => {
  const large = file('large.pcap', repeated(1000));

  test('has enough: quiet, status 0', () => {
    const { stdout, stderr, status } = shell('watch --no-summary -r "$1" | head -n 1', large);
    expect({ stdout, stderr, status }).toEqual({ stdout: `${LINES[0]}\n`, stderr: '', status: 0 });
  });

  test('is a full disk: one line, status 1', () => {
    const { stderr, status } = shell('watch --no-summary -r "$1" > /dev/full', large);
    expectOneLine(stderr, /standard output: .*no space left/);
    expect(status).toBe(1);
  });

  test.each<[string, string[], number]>([
    ['the whole file', [], 12 * EVENTS],
    ['-c', ['-c', '370'], 370],
  ])('takes its time: nothing is lost, %s', (_name, args, events) => {
    // More than a pipe holds, with much between that is no ICMP: the last pieces are small ones.
    const rest = Buffer.alloc(16 + 60_000);
    rest.writeUInt32LE(60_000, 8);
    rest.writeUInt32LE(60_000, 12);
    const records = [CODES_OCTETS.subarray(24), ...Array.from({ length: 80 }, () => rest)];
    const path = file('sparse.pcap', Buffer.concat([PCAP_HEADER, ...Array.from({ length: 12 }, () => records).flat()]));
    const { stdout, stderr, status } = shell('f=$1; shift; watch -r "$f" "$@" | (sleep 1; cat)', path, ...args);
    expect(stdout.split('\n')).toHaveLength(2 * events + 1);
    expect([stderr, status]).toEqual([`udpicmp-watch: ${events} events shown, 0 attributed to a socket\n`, 0]);
  });
});

describe('sockets: a snapshot', () => {
  const validate = new Ajv2020({ allowUnionTypes: true }).compile<Snapshot>(schema);

  function snapshotIn(text: string): Snapshot {
    const snapshot: unknown = JSON.parse(text);
    if (!validate(snapshot)) expect.fail(JSON.stringify(validate.errors));
    return snapshot;
  }

  test('on standard output, one line by its schema, of all namespaces that there are', () => {
    const { stdout, stderr, status } = udpicmpWatch(['sockets']);
    expect(status).toBe(0);
    // What may not be read is said: who is not root cannot look into every process.
    expect(stderr).toMatch(/^(?:udpicmp-watch: \d+ processes or mounts are of network namespaces [^\n]+\n)?$/);
    expect(stdout.split('\n')).toHaveLength(2);
    const { v, host, time, namespaces } = snapshotIn(stdout);
    expect([v, host]).toEqual([1, hostname()]);
    expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(60_000);
    expect(namespaces[0]!.netns).toBe(Number(/\d+/.exec(readlinkSync('/proc/self/ns/net'))![0]));
  }, 60_000);

  test('--netns self: its own alone', () => {
    const { stdout, stderr, status } = udpicmpWatch(['sockets', '--netns', 'self']);
    expect([stderr, status]).toEqual(['', 0]);
    const { unreadable, namespaces } = snapshotIn(stdout);
    expect([unreadable, namespaces.length]).toEqual([null, 1]);
  });

  test('into a full disk: one line, status 1; into a pipe that is closed: quiet', () => {
    const full = shell('watch sockets --netns self > /dev/full');
    expectOneLine(full.stderr, /standard output: .*no space left/);
    expect(full.status).toBe(1);
    // The pipe is closed before anything is written.
    expect(shell('watch sockets --netns self | true')).toMatchObject({ stderr: '', status: 0 });
  });

  test('--help tells of it, and of its options', () => {
    expect(udpicmpWatch(['--help']).stdout).toMatch(/^ {2}sockets /m);
    expect(udpicmpWatch(['sockets', '--help'])).toMatchObject({
      stdout: expect.stringContaining('--netns') as string,
      status: 0,
    });
  });
});

describe('--sockets FILE', () => {
  const snapshot = snapshotOf('192.0.2.10:40000', '198.51.100.20:9999');
  const saved = file('host.json', JSON.stringify(snapshot));

  test('a replay is attributed by it', () => {
    const { stdout, stderr, status } = udpicmpWatch(['--json', '--sockets', saved, '-r', CODES]);
    const events = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as IcmpEvent & { host: unknown });
    expect(events).toHaveLength(EVENTS);
    for (const event of events) {
      expect(event).toMatchObject({
        host: 'web-3',
        direction: 'in',
        match: 'connected',
        sockets: [{ inode: 7, netns: 5 }],
      });
    }
    const outcomes = new Map(events.map(({ errno, outcome }) => [errno, outcome]));
    expect(outcomes.get('ECONNREFUSED')).toBe('reported');
    expect(outcomes.get('EOPNOTSUPP')).toBe('ignored');
    expect(status).toBe(0);
    expect(stderr).toMatch(/^udpicmp-watch: attributed by the sockets that web-3 had at 2026-11-23T17:01:14.075Z\n/);
    expect(stderr).toMatch(`udpicmp-watch: ${EVENTS} events shown, ${EVENTS} attributed to a socket\n`);
  });

  test('its processes can be selected', () => {
    expect(udpicmpWatch(['--sockets', saved, '--pid', '4711', '-r', CODES]).stdout).toBe(
      udpicmpWatch(['--sockets', saved, '-r', CODES]).stdout,
    );
    expect(udpicmpWatch(['--sockets', saved, '--comm', 'other', '-r', CODES]).stdout).toBe('');
  });

  test('one that was just made is read again', () => {
    const made = shell(
      'watch sockets --netns self > "$1" && watch --json --sockets "$1" -r "$2"',
      join(directory, 'made.json'),
      CODES,
    );
    expect(made.status).toBe(0);
    for (const line of made.stdout.trimEnd().split('\n')) {
      expect(JSON.parse(line)).toMatchObject({
        host: hostname(),
        outcome: 'unknown',
        note: expect.stringContaining('others are not searched') as string,
      });
    }
  });

  test.each<[string, string, RegExp]>([
    ['missing', join(directory, 'missing.json'), /ENOENT.*missing\.json/],
    ['a directory', directory, /EISDIR/],
    ['empty', file('empty.json', ''), /empty\.json: not JSON/],
    ['a capture', CODES, /injected-codes\.pcap: not JSON/],
    [
      'other JSON',
      file('other.json', '{"v":1}'),
      /other\.json: it is not what udpicmp-watch sockets writes: .*required/,
    ],
    [
      'of another version',
      file('v2.json', JSON.stringify({ ...snapshot, v: 2 })),
      /v2\.json: .*\/v must be equal to constant/,
    ],
    [
      'with a name that steers the terminal',
      file('\x1b[2J\u202e.json', JSON.stringify(snapshot).replace('"interfaces":{', '"interfaces":{"\\u001b[2J\\n":0')),
      /\\x1b\[2J\\u\{202e\}\.json: .*\/\\x1b\[2J\\x0a must be array/,
    ],
  ])('%s: one line, status 1, nothing is shown', (_name, path, message) => {
    const { stdout, stderr, status } = udpicmpWatch(['--sockets', path, '-r', CODES]);
    expect(stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\bat .*:\d+:\d+\b/);
    expect([stdout, status]).toEqual(['', 1]);
  });
});

test('-D: the interfaces, numbered; what is missing where the native module is not built', (context) => {
  const { stdout, stderr, status } = udpicmpWatch(['-D']);
  if (/needs the native module cap|not built/.test(stderr)) {
    console.warn(`SKIPPED: ${context.task.name}: ${stderr}`);
    context.skip(stderr);
  }
  const theirs = run('sh', ['-c', 'tcpdump -D']);
  const names = (text: string): string[] => [...text.matchAll(/^\d+\.([^\s.]+)/gm)].map(([, name]) => name!);
  expect([stderr, status]).toEqual(['', 0]);
  expect(names(stdout)).toContain('lo');
  expect(
    stdout
      .split('\n')
      .slice(0, -1)
      .every((line, index) => line.startsWith(`${index + 1}.`)),
  ).toBe(true);
  if (theirs.status === 0) expect(names(theirs.stdout)).toEqual(expect.arrayContaining(names(stdout)));
});

test('a debugger is shut before anything else is loaded', () => {
  const copy = join(directory, 'copy');
  mkdirSync(copy);
  writeFileSync(join(copy, 'package.json'), '{ "type": "module" }');
  for (const module of ['cli.js', 'core-dump.js', 'signals.js'])
    copyFileSync(join(dirname(CLI), module), join(copy, module));
  // It ends where this is loaded.
  writeFileSync(join(copy, 'command-line.js'), "import './nowhere.js';");
  const atExit = 'import { url } from "inspector"; process.on("exit", () => console.log(`debugger: ${url()}`));';
  const options = ['--inspect=127.0.0.1:0', '--import', `data:text/javascript,${encodeURIComponent(atExit)}`];
  const { stdout, stderr } = run(process.execPath, [...options, join(copy, 'cli.js')]);
  expect(stderr).toMatch(/Debugger listening on .*Cannot find module .*nowhere\.js/s);
  expect(stdout).toBe('debugger: undefined\n');
});
