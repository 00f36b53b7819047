import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Time stamps in goldens are local time.
    env: { TZ: 'UTC' },
    projects: [
      {
        extends: true,
        // Some count to a million, which a machine that is busy takes its time for.
        test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/lab/**'], testTimeout: 30_000 },
      },
      {
        extends: true,
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          // They load the machine and look at the clock: one after the other, when the rest is done.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
