/**
 * Standard output, or a file: written in large pieces, in small ones when idle, and never faster than its reader.
 */
import type { Writable } from 'node:stream';

const FLUSH_AT = 64 * 1024;

/** What the reader may take for the last of it when the program was told to end. */
const LAST_WRITES_MS = 300;

/**
 * What is written are octets, as a string with one character for each. One character beyond Latin-1 would make V8 keep
 * the whole of a string in two octets a character, and encoding that takes four times as long.
 */
export type Octets = string;

// oxlint-disable-next-line no-control-regex -- all of ASCII
const ASCII = /^[\x00-\x7f]*$/;

/** The UTF-8 octets of `text`; lone surrogates become U+FFFD. */
export function octetsOf(text: string): Octets {
  return ASCII.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

export class Output {
  readonly #stream: Writable;
  /** What ended it: EPIPE when the reader has gone, ENOSPC when the disk is full, … */
  #error: NodeJS.ErrnoException | null = null;
  #block: Buffer = Buffer.allocUnsafeSlow(FLUSH_AT);
  #end = 0;
  #waiting: (() => void)[] = [];
  #hurries = false;
  /** Resolves some time after `hurry`. */
  readonly #hurried = deferred();
  #soon: NodeJS.Immediate | undefined;
  /** Octets that were written for good: whole pieces, as `write` got them. */
  written = 0;

  /** A file: what is left is written at the end even if the program was told to end. */
  readonly #isFile: boolean;

  /** `onError` is called once, when a write fails; after that everything written is dropped. */
  constructor(stream: Writable, onError: (error: NodeJS.ErrnoException) => void, isFile = false) {
    this.#stream = stream;
    this.#isFile = isFile;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#error !== null) return;
      this.#error = error;
      this.#end = 0;
      this.#release();
      onError(error);
    });
    stream.on('drain', () => this.#release());
  }

  get error(): NodeJS.ErrnoException | null {
    return this.#error;
  }

  write(octets: Octets): void {
    if (this.#error !== null) return;
    if (this.#end + octets.length > this.#block.length) {
      this.flush();
      if (octets.length >= FLUSH_AT) {
        this.#send(Buffer.from(octets, 'latin1'));
        return;
      }
      this.#block = Buffer.allocUnsafeSlow(FLUSH_AT);
    }
    this.#end += this.#block.write(octets, this.#end, 'latin1');
  }

  /** Flushes when the event loop comes round: what thousands of look-ups release together goes out together. */
  flushSoon(): void {
    this.#soon ??= setImmediate(() => this.flush());
  }

  flush(): void {
    clearImmediate(this.#soon);
    this.#soon = undefined;
    if (this.#end === 0) return;
    const octets = this.#block.subarray(0, this.#end);
    this.#block = this.#block.subarray(this.#end);
    this.#end = 0;
    this.#send(octets);
  }

  #send(octets: Buffer): void {
    const { length } = octets;
    this.#stream.write(octets, (error) => {
      if (error === null || error === undefined) this.written += length;
    });
  }

  /** Octets that the reader has not taken yet, at the most. */
  get unread(): number {
    return this.#error === null ? this.#stream.writableLength : 0;
  }

  /** Whether the reader has to catch up before more is to be written. */
  get isBehind(): boolean {
    return this.#error === null && this.#stream.writableNeedDrain;
  }

  /** Resolves when the reader has caught up; at once if it has. Also when the stream has failed. */
  async drained(): Promise<void> {
    if (this.#hurries || !this.isBehind) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** From now on nobody waits for the reader: the program was told to end. */
  hurry(): void {
    if (this.#hurries) return;
    this.#hurries = true;
    this.#release();
    setTimeout(() => this.#hurried.resolve(), LAST_WRITES_MS);
  }

  /** Writes what is left, and resolves when the reader has taken it, or has had its time after `hurry`. */
  async finish(): Promise<void> {
    this.flush();
    if (this.#error !== null || this.#stream.writableLength === 0) return;
    const taken = new Promise<void>((resolve) => {
      this.#stream.write('', () => resolve());
    });
    await (this.#isFile ? taken : Promise.race([taken, this.#hurried.promise]));
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
