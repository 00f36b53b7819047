import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Pace, Refresher, type Run } from '../../src/host/refresher.ts';

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
  expect(started()).toBe(2);
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
  await sleep(20);
  expect(started()).toBe(1);
  time = 101;
  await expect.poll(started).toBe(2);
  end();
  await second;
  time = 190;
  const third = refresher.fresh();
  expect(started()).toBe(2);
  time = 192;
  await expect.poll(started).toBe(3);
  end();
  await third;
});

describe('a pace', () => {
  test('asks for nine times the rest of what was worked, and no more for having waited longer', () => {
    let time = 0;
    const pace = new Pace(() => time);
    expect(pace.rest).toBe(0);
    pace.spent(10);
    expect(pace.rest).toBe(90);
    time = 45;
    expect(pace.rest).toBeCloseTo(45);
    pace.spent(5);
    expect(pace.rest).toBeCloseTo(90);
    time = 10_000;
    expect(pace.rest).toBe(0);
    pace.spent(1);
    expect(pace.rest).toBeCloseTo(9);
  });

  test('lets some work be done before the first rest', () => {
    let time = 0;
    const pace = new Pace(() => time, 20);
    pace.spent(20);
    expect(pace.rest).toBe(0);
    pace.spent(1);
    expect(pace.rest).toBe(9);
    time = 10;
    expect(pace.rest).toBe(0);
    pace.spent(20);
    expect(pace.rest).toBeGreaterThan(0);
  });

  test('is one for all that share it', async () => {
    let time = 0;
    const pace = new Pace(() => time);
    const first = job(10);
    const second = job();
    const [one, other] = [first, second].map(({ run }) => new Refresher(run, () => time, pace));
    const done = one!.fresh();
    first.end();
    await done;
    time = 89;
    const waiting = other!.fresh();
    expect(second.started()).toBe(0);
    await sleep(5);
    expect(second.started()).toBe(0);
    time = 91;
    await expect.poll(() => second.started()).toBe(1);
    second.end();
    expect(await waiting).toBe(1);
  });
});

describe('a quick job', () => {
  /** A refresher whose quick job gives what `quick` says, and whose clock the test sets. */
  function withQuickJob(quick: () => Run<number> | null): {
    refresher: Refresher<number>;
    slow: ReturnType<typeof job>;
    clock: { time: number };
  } {
    const slow = job();
    const clock = { time: 0 };
    return { refresher: new Refresher(slow.run, () => clock.time, undefined, quick), slow, clock };
  }

  test('answers at once, in place of the other', async () => {
    const { refresher, slow, clock } = withQuickJob(() => ({ value: 7, cost: 0 }));
    expect(refresher.at(0)).toEqual({ value: 7, cost: 0, startedAt: 0 });
    clock.time = 5;
    expect(refresher.at(0)!.startedAt).toBe(0);
    expect(refresher.at(5)!.startedAt).toBe(5);
    expect(await refresher.fresh()).toBe(7);
    expect(slow.started()).toBe(0);
  });

  test('rests too, and only then', () => {
    const { refresher, clock } = withQuickJob(() => ({ value: 7, cost: 2 }));
    refresher.at(0);
    clock.time = 17;
    expect(refresher.at(1)).toBeNull();
    expect(refresher.at(0)).not.toBeNull();
    clock.time = 19;
    expect(refresher.at(1)!.startedAt).toBe(19);
    expect(refresher.totalCost).toBe(4);
  });

  test('that would take too long leaves it to the other', async () => {
    const { refresher, slow } = withQuickJob(() => null);
    expect(refresher.at(0)).toBeNull();
    const waiting = refresher.fresh();
    slow.end();
    expect(await waiting).toBe(1);
    expect(refresher.at(0)!.value).toBe(1);
  });

  test('does not run beside the other', async () => {
    let isQuick = false;
    const { refresher, slow, clock } = withQuickJob(() => (isQuick ? { value: 7, cost: 0 } : null));
    const waiting = refresher.fresh();
    isQuick = true;
    clock.time = 1;
    expect(refresher.at(1)).toBeNull();
    slow.end();
    expect(await waiting).toBe(1);
    expect(refresher.at(1)!.value).toBe(7);
  });

  test('serves those who wait for a run', async () => {
    let isQuick = true;
    const { refresher, clock } = withQuickJob(() => (isQuick ? { value: 7, cost: 1 } : null));
    refresher.at(0);
    isQuick = false;
    const waiting = refresher.fresh();
    isQuick = true;
    clock.time = 10;
    refresher.at(10);
    expect(await waiting).toBe(7);
    refresher.close();
  });

  test('once closed does not run', () => {
    const { refresher } = withQuickJob(() => ({ value: 7, cost: 0 }));
    refresher.close();
    expect(refresher.at(0)).toBeNull();
  });
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
