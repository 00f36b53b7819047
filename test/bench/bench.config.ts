import { defineConfig } from 'vitest/config';

/**
 * `npm run bench`: the tool beside tcpdump. It asserts nothing about time.
 *
 * BENCH_ONLY   only rows whose name matches this regular expression
 * BENCH_SCALE  sizes are multiplied by it: 0.01 for a quick try
 * BENCH_WRITE  1 writes the table to test/bench/RESULTS.md too
 */
export default defineConfig({
  test: {
    include: ['test/bench/*.bench.ts'],
    root: new URL('../..', import.meta.url).pathname,
    globalSetup: new URL('report.ts', import.meta.url).pathname,
    // They measure the machine: one after the other.
    fileParallelism: false,
    passWithNoTests: true,
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
    env: { TZ: 'UTC' },
  },
});
