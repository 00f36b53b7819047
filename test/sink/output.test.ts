import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { octetsOf, Output } from '../../src/sink/output.ts';

/** A reader that takes a piece only when it is told to. */
class SlowReader extends Writable {
  taken = '';
  writes = 0;
  #take: ((error?: Error) => void) | null = null;

  override _write(octets: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.writes++;
    this.#take = (error) => {
      this.#take = null;
      if (error === undefined) this.taken += octets.toString('utf8');
      callback(error);
    };
  }

  /** Takes the piece that is waiting, or fails with it. */
  async take(error?: Error): Promise<void> {
    this.#take?.(error);
    await nextTurn();
  }

  async takeAll(): Promise<void> {
    while (this.#take !== null) await this.take();
  }
}

/** Whether a promise has been resolved by now. */
async function isResolved(promise: Promise<void>): Promise<boolean> {
  let resolved = false;
  void promise.then(() => (resolved = true));
  await nextTurn();
  return resolved;
}

let reader: SlowReader;
let errors: Error[];
let output: Output;

beforeEach(() => {
  // finish() gives up after a time: here it passes when it is told to.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  reader = new SlowReader();
  errors = [];
  output = new Output(reader, (error) => errors.push(error));
});
afterEach(() => vi.useRealTimers());

const EPIPE = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });

test('small pieces are collected, a large one goes at once', async () => {
  output.write('a\n');
  output.write('b\n');
  expect(reader.writes).toBe(0);
  output.flush();
  output.flush();
  expect(reader.writes).toBe(1);
  output.write('c'.repeat(64 * 1024));
  await reader.takeAll();
  expect(reader.taken).toBe(`a\nb\n${'c'.repeat(64 * 1024)}`);
});

test('octets are written as they are', async () => {
  const text = 'ascii, größe, → 日本 😀\n';
  output.write(octetsOf(text));
  output.flush();
  await reader.takeAll();
  expect(reader.taken).toBe(text);
  expect(Buffer.from(octetsOf('\ud800'), 'latin1').toString('utf8')).toBe('\ufffd');
});

test('whoever writes waits for a reader that is behind, and only then', async () => {
  output.write('x');
  output.flush();
  expect(await isResolved(output.drained())).toBe(true);
  output.write('y'.repeat(70_000));
  const waits = [output.drained(), output.drained()];
  expect(await isResolved(Promise.race(waits))).toBe(false);
  await reader.takeAll();
  await Promise.all(waits);
  expect(await isResolved(output.drained())).toBe(true);
});

test('in a hurry nobody waits, neither who waits by now nor who comes later', async () => {
  output.write('y'.repeat(70_000));
  const waits = output.drained();
  output.hurry();
  await waits;
  await output.drained();
});

test('an error is told once; who waits is let go, and what comes later is dropped', async () => {
  output.write('y'.repeat(70_000));
  output.write('z'.repeat(70_000));
  const waits = output.drained();
  await reader.take(EPIPE);
  await waits;
  output.write('w'.repeat(70_000));
  output.flush();
  await output.drained();
  await output.finish();
  await nextTurn();
  expect(errors).toEqual([EPIPE]);
  expect(output.error).toBe(EPIPE);
  expect(reader.writes).toBe(1);
  reader.emit('error', new Error('once more'));
  expect(errors).toHaveLength(1);
  expect(output.error).toBe(EPIPE);
});

test('an error while finishing ends the waiting', async () => {
  output.write('z');
  const finished = output.finish();
  await reader.take(EPIPE);
  await finished;
  expect(output.error).toBe(EPIPE);
});

test('finish waits for a slow reader, until it must hurry; then it gives it its time, not more', async () => {
  output.write('last');
  const finished = output.finish();
  expect(reader.writes).toBe(1);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await isResolved(finished)).toBe(false);
  output.hurry();
  await vi.advanceTimersByTimeAsync(299);
  expect(await isResolved(finished)).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  await finished;
});

test.each([1, 1000, 16 * 1024, 200_000])('finish ends when the reader has taken the last %i octets', async (octets) => {
  output.write('l'.repeat(octets));
  const finished = output.finish();
  expect(await isResolved(finished)).toBe(false);
  await reader.takeAll();
  expect(reader.taken).toHaveLength(octets);
  expect(await isResolved(finished)).toBe(true);
});

test('with nothing left to write, finish is done', async () => {
  await output.finish();
  expect(reader.writes).toBe(0);
});
