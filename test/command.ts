/**
 * The built command, and the programs it is compared with, as tests run them.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TestContext } from 'vitest';

export const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
export const FIXTURES = fileURLToPath(new URL('../fixtures/', import.meta.url));

export interface Finished {
  stdout: string;
  stderr: string;
  status: number | null;
}

/** `udpicmp-watch ARGS`, in UTC. */
export function udpicmpWatch(args: readonly string[], input?: Uint8Array): Finished {
  return run(process.execPath, [CLI, ...args], input);
}

export function run(program: string, args: readonly string[], input?: Uint8Array): Finished {
  const { stdout, stderr, status, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC' },
    maxBuffer: 2 ** 30,
    ...(input !== undefined && { input }),
  });
  if (error !== undefined) throw error;
  return { stdout, stderr, status };
}

/** The captures in fixtures/, by file name. */
export function captures(): string[] {
  return readdirSync(FIXTURES)
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .toSorted();
}

/** Skips the test, and says so, where a program that it needs is not installed. */
export function needs(context: TestContext, program: string): void {
  const { error } = spawnSync(program, ['--version']);
  if (error === undefined) return;
  const reason = `${program} is not installed`;
  console.warn(`SKIPPED: ${context.task.name}: ${reason}`);
  context.skip(reason);
}
