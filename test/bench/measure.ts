/**
 * One command, measured; and commands in turn, so that what else the machine does meets them all.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PYTHON } from '../lab/network.ts';

/** What a command took, with all of its processes. */
export interface Measurement {
  /** Seconds. */
  wall: number;
  /** User and system time, seconds. */
  cpu: number;
  /** Peak of resident memory, MiB. */
  rss: number;
  status: number;
}

export interface Command {
  argv: readonly string[];
  /** Standard output goes there. */
  output: string;
  /** Standard input: a file, or with `|FILE` a pipe into which cat writes it. */
  input?: string;
}

const MEASURE = join(import.meta.dirname, 'measure.py');

/** The command line that runs a command and prints its Measurement as JSON. */
export function measured({ argv, output, input = '/dev/null' }: Command): string[] {
  return [PYTHON, '-IS', MEASURE, output, input, ...argv];
}

/** Runs it to its end. Throws when its exit status is not 0. */
export async function measure(command: Command): Promise<Measurement> {
  const [program, ...args] = measured(command);
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const result = (stdout === '' ? { status: -1 } : JSON.parse(stdout)) as Measurement;
  if (result.status === 0) return result;
  throw new Error(`${command.argv.join(' ')}: exit status ${result.status}\n${stderr}`);
}

/** Runs each once, not counted, and then all in turn, several times. */
export async function inTurn<Name extends string, T>(
  runs: Readonly<Record<Name, () => Promise<T>>>,
  times: number,
  warmUps = 1,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(runs) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;
  for (let round = -warmUps; round < times; round++) {
    for (const name of names) {
      const result = await runs[name]();
      if (round >= 0) results[name].push(result);
    }
  }
  return results;
}

/** Of a process. */
export function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** User and system time of a process, in clock ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
