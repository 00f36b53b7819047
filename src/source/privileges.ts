/**
 * The capture process needs CAP_NET_RAW to open its captures, now and later, and nothing else that root has.
 */
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';

/** What a patched cap has for this (native-notes/). */
export interface PrivilegeCalls {
  /** Returns what was refused. Threads that were there before may keep capabilities where the user stays the same. */
  dropPrivileges?: (uid: number, gid: number) => string[];
  /** This process becomes that program, with CAP_NET_RAW at the most. Returns only if that fails: why. */
  execute?: (file: string, args: readonly string[]) => string;
}

/** Overflow uid and gid of the kernel; distributions call them nobody and nogroup. */
const NOBODY = 65534;

const CAP_NET_RAW = 1n << 13n;

/**
 * Gives up all but CAP_NET_RAW, and the user root. Where threads keep more, this process begins anew, if it can read its
 * `files` then. Returns what could not be given up, and why; none with an unpatched cap, which gives up nothing.
 */
export function dropPrivileges({ dropPrivileges: drop, execute }: PrivilegeCalls, files: readonly string[]): string[] {
  if (drop === undefined || execute === undefined) return [];
  const refused = drop(NOBODY, NOBODY);
  if (!doThreadsHaveMore()) return refused;
  const { argv0, execPath, execArgv, argv } = process;
  const why = unreadable(files) ?? execute(execPath, [argv0, ...execArgv, ...argv.slice(1)]);
  return [...refused, `threads keep their capabilities, since starting it anew fails: ${why}`];
}

/** Whether a thread has another capability than CAP_NET_RAW. */
function doThreadsHaveMore(): boolean {
  try {
    return readdirSync('/proc/self/task').some((thread) => {
      const status = readFileSync(`/proc/self/task/${thread}/status`, 'utf8');
      const permitted = /^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
      return (BigInt(`0x${permitted}`) & ~CAP_NET_RAW) !== 0n;
    });
  } catch {
    return false; // no /proc, or a thread that has ended
  }
}

function unreadable(files: readonly string[]): string | null {
  try {
    for (const file of files) accessSync(file, constants.R_OK);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
