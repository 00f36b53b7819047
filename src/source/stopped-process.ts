/**
 * A process that is stopped (SIGSTOP, a debugger) does nothing and says nothing, and nobody tells its parent.
 */
import { readFileSync } from 'node:fs';

export type StoppedNotice =
  /** It is stopped, and has been for a while. */
  | { kind: 'stopped'; pid: number }
  /** It goes on, after about that time. */
  | { kind: 'continued'; stoppedMs: number };

const LOOK_EVERY_MS = 1000;
/** One that goes on sooner than this is not worth a word. */
const STOPPED_MS = 2000;

/** Looks after a process until the function that is returned is called. */
export function watchStopped(pid: number, notice: (notice: StoppedNotice) => void): () => void {
  let since: number | null = null;
  let isSaid = false;
  const look = (): void => {
    const now = performance.now();
    if (isStopped(pid)) {
      since ??= now;
      if (isSaid || now - since < STOPPED_MS) return;
      isSaid = true;
      notice({ kind: 'stopped', pid });
      return;
    }
    if (isSaid) notice({ kind: 'continued', stoppedMs: now - since! });
    since = null;
    isSaid = false;
  };
  const looking = setInterval(look, LOOK_EVERY_MS).unref();
  return () => clearInterval(looking);
}

/** By its state (`T`, `t` where it is traced); the name before that may have any character. */
function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return /^ t/i.test(stat.slice(stat.lastIndexOf(')') + 1));
  } catch {
    return false;
  }
}
