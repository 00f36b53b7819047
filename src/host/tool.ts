/** Programs of iproute2, conntrack-tools and util-linux that tell what /proc does not. All of them optional. */
import { execFile, type ChildProcess } from 'node:child_process';
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { Slots } from './bounds.ts';

/** Milliseconds; a program that takes longer is killed. */
const TIMEOUT = 2_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

/** sudo may have a PATH without the administrator's directories, which is where they are. */
const SYSTEM_DIRECTORIES = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

const ENVIRONMENT = {
  PATH: [...SYSTEM_DIRECTORIES, ...(process.env['PATH'] ?? '').split(':').filter(isSafeDirectory)].join(':'),
  LC_ALL: 'C',
};

/**
 * Whether nobody but root and this user can put a program there. One that is not installed is looked for in all of PATH, and root
 * must not find it in the working directory, which an empty word means, or with a user whose PATH this is.
 */
function isSafeDirectory(directory: string): boolean {
  if (!isAbsolute(directory)) return false;
  try {
    let path = realpathSync(directory);
    if (!isSafe(path, false)) return false;
    while (path !== '/') if (!isSafe((path = dirname(path)), true)) return false;
    return true;
  } catch {
    return false; // not there, or not to be looked at
  }
}

function isSafe(path: string, isAbove: boolean): boolean {
  const { uid, mode } = statSync(path);
  if (uid !== 0 && uid !== process.geteuid!()) return false;
  // What others have in a sticky directory, as /tmp, they cannot exchange.
  return (mode & 0o022) === 0 || (isAbove && (mode & 0o1000) !== 0);
}

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
  const paths = ENVIRONMENT.PATH.split(':').map((directory) => `${directory}/${name}`);
  return paths.find(isExecutable) ?? null;
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
