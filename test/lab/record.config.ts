import { defineConfig } from 'vitest/config';

/** `vitest run --config test/lab/record.config.ts [-t file]` records fixtures/ anew. Needs root. */
export default defineConfig({
  test: {
    include: ['test/lab/record-fixtures.ts'],
    root: new URL('../..', import.meta.url).pathname,
    testTimeout: 60_000,
    maxConcurrency: 4,
  },
});
