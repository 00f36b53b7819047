import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { runTool } from '../../src/host/tool.ts';

const shell = async (script: string): Promise<string | null> => (await runTool([], ['sh', '-c', script])).output;

test('is run by the words that enter a namespace, and not at all where it cannot be entered', async () => {
  expect((await runTool(['echo', 'entered'], ['ss', '-u'])).output).toBe('entered ss -u\n');
  expect(await runTool(null, ['echo'])).toEqual({ output: null, waited: 0 });
});

test('two at once: how long one waited for others is told', async () => {
  const [first, second, third] = await Promise.all(['0.3', '0.3', '0'].map((time) => runTool([], ['sleep', time])));
  expect(Math.max(first!.waited, second!.waited)).toBeLessThan(100);
  expect(third!.waited).toBeGreaterThan(200);
});

describe('a program in a directory of PATH', () => {
  const NAME = 'uiw-program';
  const home = process.cwd();
  const directory = mkdtempSync(join(tmpdir(), 'uiw-tool-'));
  writeFileSync(join(directory, NAME), '#!/bin/sh\necho ran\n', { mode: 0o755 });

  afterEach(() => {
    process.chdir(home);
    chmodSync(directory, 0o700);
    vi.unstubAllEnvs();
  });

  afterAll(() => rmSync(directory, { recursive: true }));

  /** What the tool, started there and with that PATH, makes of it. */
  const findAndRun = async (path: string | undefined): Promise<[found: string | null, output: string | null]> => {
    process.chdir(directory);
    vi.stubEnv('PATH', path);
    vi.resetModules();
    const tool = await import('../../src/host/tool.ts');
    return [tool.findTool(NAME), (await tool.runTool([], [NAME])).output];
  };

  test('that is this user’s alone is run', async () => {
    expect(await findAndRun(directory)).toEqual([join(directory, NAME), 'ran\n']);
  });

  test.each([undefined, '', '.', ':/bin', '/bin:', '/bin::/usr/bin', '../uiw-nowhere/..'])(
    'the working directory, by %j, is not',
    async (path) => {
      expect(await findAndRun(path)).toEqual([null, null]);
    },
  );

  test.each([0o777, 0o1777, 0o770])('to which others may write (%o) is not', async (mode) => {
    chmodSync(directory, mode);
    expect(await findAndRun(directory)).toEqual([null, null]);
  });

  test.skipIf(process.getuid?.() !== 0)('of another user is not', async () => {
    chownSync(directory, 65_534, 65_534);
    expect(await findAndRun(directory)).toEqual([null, null]);
  });
});

describe('a program', () => {
  test('gives what it printed, in the language of programs', async () => {
    expect(await shell('echo out; echo err >&2')).toBe('out\n');
    expect(await shell('echo "$LC_ALL"')).toBe('C\n');
  });

  test('is found where the administrator’s are, whatever PATH says', async () => {
    expect(await shell('echo "$PATH"')).toMatch(/^\/usr\/sbin:\/usr\/bin:\/sbin:\/bin:/);
  });

  test.each([
    ['fails', 'echo out; exit 3'],
    ['is killed', 'echo out; kill -9 $$'],
  ])('that %s gives nothing', async (_name, script) => {
    expect(await runTool([], ['sh', '-c', script])).toMatchObject({ output: null });
  });

  test('that is not there gives nothing', async () => {
    expect(await runTool([], ['/nonexistent/program'])).toMatchObject({ output: null });
  });

  test('that hangs is given up', async () => {
    const start = performance.now();
    expect(await runTool([], ['sleep', '60'])).toMatchObject({ output: null });
    expect(performance.now() - start).toBeLessThan(4_000);
  });

  test('never makes it reject, however many wait', async () => {
    const results = await Promise.all(Array.from({ length: 1_100 }, () => runTool([], ['/nonexistent/program'])));
    expect(results).toHaveLength(1_100);
  });
});
