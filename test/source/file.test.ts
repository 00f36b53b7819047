import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { readCapture, SourceError } from '../../src/source/file.ts';

const directory = mkdtempSync(join(tmpdir(), 'uiw-source-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** More than two blocks, and nothing that gzip makes small. */
const CONTENT = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(1_300_000));

function file(name: string, content: Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function fifo(name: string): string {
  const path = join(directory, name);
  execFileSync('mkfifo', [path]);
  return path;
}

function shell(script: string, ...args: string[]): ChildProcess {
  return spawn('sh', ['-c', script, 'sh', ...args], { stdio: 'ignore' });
}

/** What came, and how it ended; `onChunk` is called after each chunk. */
async function readAll(
  path: string,
  signal = new AbortController().signal,
  onChunk?: () => void,
): Promise<{ octets: Buffer; error: unknown }> {
  const pieces: Buffer[] = [];
  let error: unknown = null;
  try {
    for await (const chunk of readCapture(path, signal)) {
      pieces.push(Buffer.from(chunk)); // the block is used again
      onChunk?.();
    }
  } catch (thrown) {
    error = thrown;
  }
  return { octets: Buffer.concat(pieces), error };
}

const GZIPPED = gzipSync(CONTENT);
const HALF = gzipSync(CONTENT.subarray(0, 700_000));

describe('octets come as they are, gzip decompressed', () => {
  test.each([
    ['plain', CONTENT, CONTENT],
    ['gzip', GZIPPED, CONTENT],
    ['gzip in two members', Buffer.concat([HALF, gzipSync(CONTENT.subarray(700_000))]), CONTENT],
    ['gzip, with zeros behind it', Buffer.concat([GZIPPED, Buffer.alloc(512)]), CONTENT],
    ['a bomb', gzipSync(Buffer.alloc(50_000_000)), Buffer.alloc(50_000_000)],
    ['gzip of nothing', gzipSync(''), Buffer.alloc(0)],
    ['nothing', Buffer.alloc(0), Buffer.alloc(0)],
    ['one octet, the first of gzip', Buffer.from([0x1f]), Buffer.from([0x1f])],
  ])('%s', async (name, content, expected) => {
    const { octets, error } = await readAll(file(name, content));
    expect(error).toBeNull();
    expect(octets.equals(expected)).toBe(true);
  });

  test('a FIFO, piece by piece', async () => {
    const path = fifo('fifo');
    const reading = readAll(path);
    const source = file('fifo.gz', GZIPPED);
    const writer = shell('(head -c 1 "$2"; sleep 0.1; tail -c +2 "$2") > "$1"', path, source);
    const [{ octets, error }] = await Promise.all([reading, once(writer, 'exit')]);
    expect(error).toBeNull();
    expect(octets.equals(CONTENT)).toBe(true);
  });
});

describe('what stands before the damage is handed out, then it is said', () => {
  test.each([
    ['cut in the middle', GZIPPED.subarray(0, GZIPPED.length / 2), /the gzip stream ends before its end/, 500_000],
    ['cut before its checksum', GZIPPED.subarray(0, -8), /the gzip stream ends before its end/, CONTENT.length],
    ['a wrong checksum', Buffer.concat([GZIPPED.subarray(0, -8), Buffer.alloc(8)]), /damaged gzip data/, 1_200_000],
    ['garbage after 900,000 octets', Buffer.from(GZIPPED).fill(0xff, 900_000, 900_100), /damaged gzip data/, 800_000],
    ['two octets of it', GZIPPED.subarray(0, 2), /the gzip stream ends before its end/, 0],
  ])('%s', async (name, content, message, atLeast) => {
    const path = file(name, content);
    const { octets, error } = await readAll(path);
    expect(error).toBeInstanceOf(SourceError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message.startsWith(`${path}: `)).toBe(true);
    expect((error as Error).message).not.toContain('\n');
    expect(octets.length).toBeGreaterThanOrEqual(atLeast);
    // Behind the damage inflate may take some of it for data, before it sees it.
    expect(CONTENT.subarray(0, atLeast).equals(octets.subarray(0, atLeast))).toBe(true);
  });
});

test.each([
  ['a file that is not there', 'missing', /^.*missing: no such file$/],
  ['a directory', '', /: is a directory, not a capture file$/],
  ['a path through a file', 'plain/x', /: (ENOTDIR: )?not a directory/i],
])('%s', async (_name, path, message) => {
  const { error } = await readAll(join(directory, path));
  expect(error).toBeInstanceOf(SourceError);
  expect((error as Error).message).toMatch(message);
});

test('an abort ends it, without an error', async () => {
  const path = file('large', new Uint8Array());
  truncateSync(path, 100_000_000);
  const stop = new AbortController();
  const { octets, error } = await readAll(path, stop.signal, () => stop.abort());
  expect(error).toBeNull();
  expect(octets.length).toBeGreaterThan(0);
  expect(octets.length).toBeLessThan(50_000_000);
});

test('an abort ends the waiting for whoever writes to a FIFO', async () => {
  const path = fifo('open-fifo');
  const stop = new AbortController();
  const writer = shell('exec > "$1"; echo abc; exec sleep 60', path);
  const { octets, error } = await readAll(path, stop.signal, () => stop.abort());
  expect(error).toBeNull();
  expect(octets.toString()).toBe('abc\n');
  writer.kill();
});

test('so does one that came before it was opened', async () => {
  const { octets, error } = await readAll(fifo('unopened-fifo'), AbortSignal.abort());
  expect(error).toBeNull();
  expect(octets).toHaveLength(0);
});
