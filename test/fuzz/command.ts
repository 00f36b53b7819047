/** The built command on an input, as a user runs it: its exit status, what it prints, its time and its memory. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { escapeText } from '../../src/sink/escape.ts';
import { replayAny } from '../replay.ts';
import { expectClean, expectSame, Finding, replayOptions } from './check.ts';
import { fileOf, type Input } from './input.ts';

const COMMAND = resolve('dist/cli.js');

/** Bounds for what runs away, not for what is slow. */
const MAX_MIB = 300;
const MAX_CPU_SECONDS = 5;
const MAX_SECONDS = 60;

/** The child itself knows what it took: as of its parent's, `getrusage` counts the memory before the exec too. */
const USAGE = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync, writeSync } from 'node:fs';
  process.on('exit', () => {
    const [, kib] = /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
    const { user, system } = process.cpuUsage();
    writeSync(3, JSON.stringify({ mib: kib / 1024, seconds: (user + system) / 1e6 }));
  });`)}`;

export interface Usage {
  mib: number;
  seconds: number;
}

export interface Ended {
  status: number | null;
  signal: string | null;
  stdout: Buffer;
  stderr: string;
  usage: Usage | null;
}

export async function runCommand(args: readonly string[], input: Buffer | null): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', USAGE, COMMAND, ...args], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, TZ: 'UTC' },
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), MAX_SECONDS * 1000);
  const collected = child.stdio.slice(1).map(async (stream) => {
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks);
  });
  // It may end before it has read everything.
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? Buffer.alloc(0));
  const ended = new Promise<[number | null, string | null]>((settle, fail) => {
    child.on('error', fail);
    child.on('close', (status, signal) => settle([status, signal]));
  });
  const [status, signal] = await ended;
  clearTimeout(timer);
  const [stdout, stderr, usage] = await Promise.all(collected);
  return {
    status,
    signal,
    stdout: stdout!,
    stderr: stderr!.toString(),
    usage: usage!.length === 0 ? null : (JSON.parse(usage!.toString()) as Usage),
  };
}

/** What holds of any command line. @throws Finding */
export function checkEnded({ status, signal, stdout, stderr, usage }: Ended, allowed: readonly number[]): void {
  if (signal !== null || status === null) throw new Finding(`it ended by ${signal} (killed after ${MAX_SECONDS} s)`);
  if (!allowed.includes(status)) throw new Finding(`exit status ${status}: ${stderr.slice(0, 500)}`);
  if (/unexpected:|^\s+at /m.test(stderr)) throw new Finding(`an error of the program's own: ${stderr.slice(0, 1500)}`);
  expectClean('standard error', stderr);
  expectClean('standard output', stdout.toString());
  if (usage === null) throw new Finding('it ended without its last words');
  if (usage.mib > MAX_MIB) throw new Finding(`it took ${Math.round(usage.mib)} MiB, more than ${MAX_MIB}`);
  if (usage.seconds > MAX_CPU_SECONDS) {
    throw new Finding(`it took ${usage.seconds.toFixed(1)} s, more than ${MAX_CPU_SECONDS}`);
  }
}

/**
 * Whatever reads the input: the command says what the replay within this process says.
 * @param directory for its files
 * @throws Finding
 */
export async function checkCommand(input: Input, directory: string): Promise<Usage> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  const file = fileOf(input);
  const saved = join(directory, `saved.${input.save}`);
  const isPiped = input.sizes.length % 3 === 0;
  if (!isPiped) writeFileSync(join(directory, 'capture'), file);
  const args = ['-r', isPiped ? '-' : join(directory, 'capture'), '--incidents', ...optionsOf(input, directory)];
  if (input.save !== null) args.push('-w', saved);
  const ended = await runCommand(args, isPiped ? file : null);
  checkEnded(ended, [0, 1]);
  compare(input, ended, existsSync(saved) ? readFileSync(saved) : null);
  return ended.usage!;
}

/** The options but for files; where they need one, it is written. */
export function optionsOf({ print, allIcmp, selection, maxEvents, sockets }: Input, directory: string): string[] {
  const args: string[] = [];
  if (print === 'json') args.push('--json');
  else {
    if (print.layout !== 'two-line') args.push(`--${print.layout}`);
    if (print.timeStamp > 0) args.push(`-${'t'.repeat(print.timeStamp)}`);
    if (print.verbose) args.push('-v');
  }
  if (allIcmp) args.push('--all-icmp');
  if (maxEvents !== Infinity) args.push('-c', String(maxEvents));
  const { hosts, ports, pids, comms, errnos } = selection;
  for (const [name, values] of Object.entries({ host: hosts, port: ports, pid: pids, comm: comms, errno: errnos })) {
    for (const value of values) args.push(`--${name}=${value}`);
  }
  if (sockets === 'no') args.push('--no-sockets');
  else if (sockets !== null) {
    writeFileSync(join(directory, 'sockets.json'), sockets);
    args.push('--sockets', join(directory, 'sockets.json'));
  }
  return args;
}

function compare(input: Input, { status, stdout, stderr }: Ended, saved: Buffer | null): void {
  const options = replayOptions(input);
  if (options === null) {
    if (status !== 1 || stdout.length > 0) throw new Finding(`what is no snapshot is taken for one: ${stderr}`);
    return;
  }
  const { gzip, sockets, save, pieces, maxEvents } = input;
  // What a damaged gzip stream gives nobody else knows; of garbage behind it, it loses some too.
  if (gzip !== null && (gzip.flip !== null || gzip.keep < 1 || gzip.behind > 0)) return;
  const expected = replayAny(Buffer.concat(pieces), options);
  // --no-sockets says why in its own words.
  if (sockets !== 'no') {
    expectSame('the command', stdout.toString(), expected.stdout);
    // Where there is no capture, what is in the file stays there.
    const isSame =
      saved === null || saved.equals(expected.saved) || (saved.length === 0 && expected.counts.shown === 0);
    if (save !== null && !isSame) throw new Finding('the command saves other octets');
  }
  if (expected.counts.shown === maxEvents) return;
  const isDamaged = expected.damage !== null;
  if (status !== Number(isDamaged)) throw new Finding(`exit status ${status}, damage: ${expected.damage?.message}`);
  if (expected.damage !== null && !stderr.includes(escapeText(expected.damage.message))) {
    throw new Finding(`nobody says: ${expected.damage.message}`);
  }
}
