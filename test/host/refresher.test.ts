import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Refresher, type Run } from '../../src/host/refresher.ts';

/** A job that counts its runs, and ends when it is told to. */
function job(cost = 0): { run: () => Promise<Run<number>>; started: () => number; end: () => void } {
  let started = 0;
  const ends: (() => void)[] = [];
  return {
    run: async () => {
      const value = ++started;
      await new Promise<void>((resolve) => ends.push(resolve));
      return { value, cost };
    },
    started: () => started,
    end: () => ends.shift()!(),
  };
}

test('starts at once, and everyone who asks before it starts shares a run', async () => {
  const { run, started, end } = job();
  const refresher = new Refresher(run, () => 0);
  const first = refresher.fresh();
  expect(started()).toBe(1);
  const second = refresher.fresh();
  expect(refresher.fresh()).toBe(second);
  expect(second).not.toBe(first);
  end();
  expect(await first).toBe(1);
  await sleep(0);
  expect(started()).toBe(2);
  end();
  expect(await second).toBe(2);
  expect(refresher.latest).toEqual({ value: 2, cost: 0, startedAt: 0 });
  expect(refresher.runs).toBe(2);
});

test('joins a run that is under way', async () => {
  const { run, started, end } = job();
  const refresher = new Refresher(run, () => 0);
  const first = refresher.join();
  expect(refresher.join()).toBe(first);
  end();
  expect(await first).toBe(1);
  await sleep(0);
  expect(started()).toBe(1);
});

test('rests nine times as long as a run cost', async () => {
  const { run, started, end } = job(10);
  let time = 0;
  const refresher = new Refresher(run, () => time);
  const first = refresher.fresh();
  time = 10;
  end();
  await first;
  time = 99;
  const second = refresher.fresh();
  expect(started()).toBe(1);
  await sleep(20);
  expect(started()).toBe(2);
  end();
  await second;
  // From 99 on for another 90; the clock stands still, and only the timer's own delay is waited for.
  time = 189;
  void refresher.fresh();
  expect(started()).toBe(3);
});

test('keeps an interval', async () => {
  const { run, started, end } = job();
  let time = 0;
  const refresher = new Refresher(run, () => time, 1_000);
  const first = refresher.fresh();
  end();
  await first;
  time = 500;
  void refresher.fresh();
  expect(started()).toBe(1);
  refresher.close();
  const other = new Refresher(run, () => time, 1_000);
  time = 2_000;
  void other.fresh();
  expect(started()).toBe(2);
});

test('once closed gives null to everyone', async () => {
  const { run, end } = job();
  const refresher = new Refresher(run, () => 0);
  const running = refresher.fresh();
  const waiting = refresher.fresh();
  refresher.close();
  expect(await waiting).toBeNull();
  end();
  expect(await running).toBeNull();
  expect(await refresher.fresh()).toBeNull();
});
