/**
 * Standard output and standard error, whatever they are, as streams that never hold up the event loop: whoever reads may be
 * asleep, and a terminal may be stopped (Ctrl-S).
 *
 * Node's own are good for pipes and sockets. To a terminal they write with blocking calls, and of a file they take a write
 * that was cut short, as on a full disk, for a whole one.
 */
import { constants, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';

/** Milliseconds until a terminal that takes nothing is tried again. */
const TRY_AGAIN_AFTER = 10;

let output: Writable | undefined;
let error: Writable | null | undefined;

export function standardOutput(): Writable {
  output ??= isPipe(1) ? process.stdout : (terminal(1) ?? new DescriptorStream(1));
  return output;
}

/** Null where it is a file: then a write is one call, which does not wait for anybody. */
export function standardError(): Writable | null {
  // In one pipe (2>&1) a message must not come in the middle of a line.
  error ??= isPipe(2) ? (isSame(1, 2) ? standardOutput() : process.stderr) : terminal(2);
  return error;
}

/**
 * Its own open file description, so that others who write to the terminal do not become non-blocking with it. Undefined where
 * it is none; Node's own stream where it may not be opened, as after su(1).
 */
function terminal(fd: 1): Writable | undefined;
function terminal(fd: 2): Writable | null;
function terminal(fd: 1 | 2): Writable | null | undefined {
  if (!isatty(fd)) return fd === 1 ? undefined : null;
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    return new DescriptorStream(openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY));
  } catch {
    return fd === 1 ? process.stdout : process.stderr;
  }
}

function isPipe(fd: number): boolean {
  const status = fstatSync(fd);
  return status.isFIFO() || status.isSocket();
}

function isSame(a: number, b: number): boolean {
  const [one, other] = [fstatSync(a), fstatSync(b)];
  return one.dev === other.dev && one.ino === other.ino;
}

/** Writes each piece whole, or, to a file that takes no more, not at all. */
class DescriptorStream extends Writable {
  readonly #fd: number;
  readonly #isFile: boolean;

  constructor(fd: number) {
    super();
    this.#fd = fd;
    this.#isFile = fstatSync(fd).isFile();
  }

  override _write(octets: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const sizeBefore = this.#isFile ? fstatSync(this.#fd).size : 0;
    let written = 0;
    const go = (): void => {
      try {
        while (written < octets.length) written += writeSync(this.#fd, octets, written);
      } catch (failure) {
        if ((failure as NodeJS.ErrnoException).code === 'EAGAIN') {
          setTimeout(go, TRY_AGAIN_AFTER);
          return;
        }
        if (this.#isFile && written > 0) this.#cut(sizeBefore, written);
        done(failure as Error);
        return;
      }
      done();
    };
    go();
  }

  /** Takes back what was written in part, if nobody else has written behind it. */
  #cut(sizeBefore: number, written: number): void {
    if (fstatSync(this.#fd).size === sizeBefore + written) ftruncateSync(this.#fd, sizeBefore);
  }
}
