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
  if (error !== undefined) return error;
  // Where both are the same (2>&1, a terminal), a message must not come in the middle of a line.
  const shared = isSame(1, 2) ? standardOutput() : null;
  if (isPipe(2)) error = shared ?? process.stderr;
  else if (isatty(2) && shared instanceof DescriptorStream) error = new Between(shared);
  else error = terminal(2);
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

type Done = (error?: Error | null) => void;

interface Piece {
  octets: Buffer;
  written: number;
  done: Done;
}

const LINE_END = 0x0a;

/** Writes each piece whole, or, to a file that takes no more, not at all. */
class DescriptorStream extends Writable {
  readonly #fd: number;
  readonly #isFile: boolean;
  /** What is being written. */
  #piece: Piece | null = null;
  /** What is to come before the rest of it. */
  #between: Piece[] = [];
  #isWaiting = false;

  constructor(fd: number) {
    super();
    this.#fd = fd;
    this.#isFile = fstatSync(fd).isFile();
  }

  override _write(octets: Buffer, _encoding: string, done: Done): void {
    this.#piece = { octets, written: 0, done };
    this.#writeOn();
  }

  /** Writes it where the next line begins. */
  writeBetween(octets: Buffer, done: Done): void {
    this.#between.push({ octets, written: 0, done });
    this.#writeOn();
  }

  #writeOn(): void {
    while (!this.#isWaiting) {
      const isInLine = this.#piece !== null && !isAtLineStart(this.#piece);
      const isBetween = this.#between.length > 0 && !isInLine;
      const piece = isBetween ? this.#between[0]! : this.#piece;
      if (piece === null) return;
      const end = this.#between.length > 0 && isInLine ? endOfLine(piece) : piece.octets.length;
      if (!this.#write(piece, end) || piece.written < piece.octets.length) continue;
      if (isBetween) this.#between.shift();
      else this.#piece = null;
      piece.done();
    }
  }

  /** False where it was not written, now or ever. */
  #write(piece: Piece, end: number): boolean {
    const sizeBefore = this.#isFile ? fstatSync(this.#fd).size : 0;
    const { written } = piece;
    try {
      while (piece.written < end)
        piece.written += writeSync(this.#fd, piece.octets, piece.written, end - piece.written);
      return true;
    } catch (failure) {
      if ((failure as NodeJS.ErrnoException).code === 'EAGAIN') this.#tryAgainLater();
      else {
        if (this.#isFile && piece.written > written) this.#cut(sizeBefore, piece.written - written);
        this.#fail(failure as Error);
      }
      return false;
    }
  }

  #tryAgainLater(): void {
    this.#isWaiting = true;
    setTimeout(() => {
      this.#isWaiting = false;
      this.#writeOn();
    }, TRY_AGAIN_AFTER);
  }

  #fail(failure: Error): void {
    const pieces = [...this.#between, ...(this.#piece === null ? [] : [this.#piece])];
    this.#between = [];
    this.#piece = null;
    for (const { done } of pieces) done(failure);
  }

  /** Takes back what was written in part, if nobody else has written behind it. */
  #cut(sizeBefore: number, written: number): void {
    try {
      if (fstatSync(this.#fd).size === sizeBefore + written) ftruncateSync(this.#fd, sizeBefore);
    } catch {
      // It may only be added to (chattr +a).
    }
  }
}

function isAtLineStart({ octets, written }: Piece): boolean {
  return written === 0 || octets[written - 1] === LINE_END;
}

function endOfLine({ octets, written }: Piece): number {
  const at = octets.indexOf(LINE_END, written);
  return at === -1 ? octets.length : at + 1;
}

/** What is written to it goes between the lines of another one. */
class Between extends Writable {
  readonly #stream: DescriptorStream;

  constructor(stream: DescriptorStream) {
    super();
    this.#stream = stream;
  }

  override _write(octets: Buffer, _encoding: string, done: Done): void {
    this.#stream.writeBetween(octets, done);
  }
}
