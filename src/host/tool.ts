/** Programs of iproute2, conntrack-tools and util-linux that tell what /proc does not. All of them optional. */
import { execFile, type ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { Slots } from './bounds.ts';

/** Milliseconds; a program that takes longer is killed. */
const TIMEOUT = 2_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

const ENVIRONMENT = {
  // sudo may have a PATH without the administrator's directories, which is where they are.
  PATH: `/usr/sbin:/usr/bin:/sbin:/bin:${process.env['PATH'] ?? ''}`,
  LC_ALL: 'C',
};

export interface ToolOutput {
  /** Null where the program failed, was not there, or was killed. */
  output: string | null;
  /** Milliseconds that it waited for others to end before it was started. */
  waited: number;
}

/** Programs at once: starting one takes this process some milliseconds, in which it does nothing else. */
const AT_ONCE = 2;
const slots = new Slots(AT_ONCE);
const running = new Set<ChildProcess>();

/**
 * Runs a program to its end in a network namespace; standard error is dropped. Never rejects.
 *
 * @param enter the words of a command that runs those behind it in the namespace; null where it cannot be entered.
 */
export async function runTool(enter: readonly string[] | null, command: readonly string[]): Promise<ToolOutput> {
  if (enter === null) return { output: null, waited: 0 };
  const asked = performance.now();
  const tooMany = (): ToolOutput => ({ output: null, waited: performance.now() - asked });
  return slots
    .run(async () => {
      const waited = performance.now() - asked;
      return { output: await run([...enter, ...command]), waited };
    })
    .catch(tooMany);
}

/** Where `runTool` finds a program; null where it is not installed. */
export function findTool(name: string): string | null {
  const directories = ENVIRONMENT.PATH.split(':').filter((directory) => directory !== '');
  return directories.map((directory) => `${directory}/${name}`).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Ends the programs that run: one may hang, and would outlive this process. */
export function endTools(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** Its output; null where it failed, was not there, or was killed. */
function run([program, ...args]: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    try {
      const child = execFile(
        program!,
        args,
        { env: ENVIRONMENT, timeout: TIMEOUT, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT },
        (error, stdout) => {
          running.delete(child);
          resolve(error === null ? stdout : null);
        },
      );
      running.add(child);
    } catch {
      // No process can be started now: EAGAIN, EMFILE.
      resolve(null);
    }
  });
}
