/**
 * A capture file, or standard input, as a stream of chunks. gzip is recognised by its first octets.
 */
import { close, constants, fstatSync, open, read } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';

/** Large enough that handing a block from thread to thread costs little: 1 GB takes 20 % longer with 512 KiB. */
const BLOCK = 4 * 1024 * 1024;

/** A source that cannot be read; `message` is one line, with the source's name, that says why. */
export class SourceError extends Error {}

/**
 * The octets of the capture at `path` (`-`: standard input), decompressed. A chunk is valid until the next
 * one is asked for. Ends early, without an error, when `signal` aborts.
 *
 * Throws a SourceError where the source cannot be opened, read or decompressed.
 */
export async function* readCapture(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (path === '-') {
    if (process.stdin.isTTY) {
      throw new SourceError(
        'standard input is a terminal: pipe a capture into it, as in tcpdump -w - icmp | udpicmp-watch -r -',
      );
    }
    yield* readStream(process.stdin, 'standard input', signal);
    return;
  }

  let fd: number;
  try {
    // Not waiting for a FIFO's writer: the thread that waits could not be interrupted, and the exit would wait for it.
    fd = await promisify(open)(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new SourceError(`${path}: ${reason(error)}`);
  }
  const status = fstatSync(fd);
  if (status.isDirectory()) throw new SourceError(`${path}: is a directory, not a capture file`);
  if (status.isFIFO()) {
    // Or <(command): through the event loop, so that waiting for its writer can be interrupted.
    yield* readStream(new Socket({ fd, writable: false }), path, signal);
  } else {
    yield* readFile(fd, path, signal);
  }
}

async function* readFile(fd: number, path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    const blocks = readBlocks(fd, path, signal);
    const first = await blocks.next();
    if (first.done === true) return;
    const all = prepend(first.value, blocks);
    yield* isGzip(first.value) ? gunzip(all, path) : all;
  } finally {
    await promisify(close)(fd);
  }
}

/** While one block is looked at, the next is read: in another thread, so that it costs no time of this one. */
async function* readBlocks(fd: number, path: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  let block = Buffer.allocUnsafeSlow(BLOCK);
  let other = Buffer.allocUnsafeSlow(BLOCK);
  let reading = readBlock(fd, block, path);
  try {
    while (!signal.aborted) {
      const length = await reading;
      if (length === 0) return;
      reading = readBlock(fd, other, path);
      reading.catch(() => {}); // it is awaited when the consumer comes back
      yield block.subarray(0, length);
      [block, other] = [other, block];
    }
  } finally {
    // The descriptor is closed next: not under a read.
    await reading.catch(() => {});
  }
}

function readBlock(fd: number, block: Buffer, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, block, 0, block.length, null, (error, length) => {
      if (error === null) resolve(length);
      else reject(new SourceError(`${path}: ${reason(error)}`));
    });
  });
}

async function* readStream(stream: Readable, name: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const stop = (): void => void stream.destroy();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop(); // before anybody listened
  try {
    const chunks = stream.iterator() as NodeJS.AsyncIterator<Buffer>;
    let first = Buffer.alloc(0);
    while (first.length < 2) {
      const next = await chunks.next();
      if (next.done === true) break;
      first = Buffer.concat([first, next.value]);
    }
    const all = prepend(first, chunks);
    yield* isGzip(first) ? gunzip(all, name) : all;
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof SourceError ? error : new SourceError(`${name}: ${reason(error)}`);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function* prepend(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

function isGzip(octets: Uint8Array): boolean {
  return octets[0] === 0x1f && octets[1] === 0x8b;
}

/**
 * Decompresses piece by piece, and hands out what a piece gave before it looks at the next: what stands
 * before damage is not lost with it, and a bomb (1,000 to 1) takes no more than some MiB at a time.
 */
async function* gunzip(compressed: AsyncIterable<Buffer>, name: string): AsyncGenerator<Uint8Array> {
  const PIECE = 16 * 1024;
  const FIRST_PIECES = 64;
  // What one call to zlib gave is lost when that call fails, hence the small chunks.
  const gunzipper = createGunzip({ chunkSize: 4096 });
  const plain: Buffer[] = [];
  let settle = (): void => {};
  gunzipper.on('data', (chunk: Buffer) => plain.push(chunk));
  // A write that fails is not called back: the stream ends with the error instead.
  gunzipper.on('error', () => settle());
  // Garbage behind the last member ends the stream, and nothing that is written after it is called back.
  gunzipper.on('end', () => settle());
  let total = 0;
  for await (const chunk of compressed) {
    for (let at = 0; at < chunk.length && gunzipper.errored === null && !gunzipper.readableEnded;) {
      // Of a small file hardly anything may be lost.
      const piece = chunk.subarray(at, at + (total < PIECE ? FIRST_PIECES : PIECE));
      await new Promise<void>((resolve) => {
        settle = resolve;
        gunzipper.write(piece, () => resolve());
      });
      at += piece.length;
      total += piece.length;
      yield Buffer.concat(plain.splice(0));
    }
    if (gunzipper.errored !== null || gunzipper.readableEnded) break;
  }
  if (gunzipper.errored === null && !gunzipper.readableEnded) await finished(gunzipper.end()).catch(() => {});
  yield Buffer.concat(plain);
  if (gunzipper.errored !== null) throw new SourceError(`${name}: ${reason(gunzipper.errored)}`);
}

/** A system error's or zlib's text without Node's decoration. */
function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
      return 'permission denied';
    case 'Z_BUF_ERROR':
      return 'the gzip stream ends before its end; what it held so far is above';
    case 'Z_DATA_ERROR':
      return `damaged gzip data (${message}); what was before it is above`;
    default:
      // `ENXIO: no such device or address, open '/dev/tty'`
      return message.replace(/^E[A-Z0-9]+: /, '').replace(/, [a-z]+(?: '.*')?$/, '');
  }
}
