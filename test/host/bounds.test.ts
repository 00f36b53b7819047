import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { append, dropOldest, Slices, Slots, Turns } from '../../src/host/bounds.ts';

/** A clock of performance.now() that the test sets. */
function fakeClock(): { time: number } {
  const clock = { time: 1_000 };
  vi.spyOn(performance, 'now').mockImplementation(() => clock.time);
  onTestFinished(() => void vi.restoreAllMocks());
  return clock;
}

test('turns: so many jobs, then the event loop, then the next', async () => {
  const turns = new Turns(3);
  const done: (number | 'turn')[] = [];
  const loop = (async (): Promise<void> => {
    for (let turn = 0; turn < 2; turn++) {
      await nextTurn();
      done.push('turn');
    }
  })();
  const jobs = Array.from({ length: 8 }, async (_, job) => {
    await turns.take();
    done.push(job);
  });
  await Promise.all([...jobs, loop]);
  expect(done).toEqual([0, 1, 2, 'turn', 3, 4, 5, 'turn', 6, 7]);
});

describe('slices', () => {
  test('are over after four milliseconds, until the event loop had its turn', async () => {
    const clock = fakeClock();
    const slices = new Slices();
    clock.time += 4;
    expect(slices.isOver).toBe(false);
    clock.time += 1;
    expect(slices.isOver).toBe(true);
    const others: string[] = [];
    setImmediate(() => others.push('had its turn'));
    await slices.rest();
    expect(others).toEqual(['had its turn']);
    expect(slices.isOver).toBe(false);
  });

  test('add up what is worked, without the rests and the waits', async () => {
    const clock = fakeClock();
    const slices = new Slices();
    clock.time += 5;
    const resting = slices.rest();
    clock.time += 100;
    await resting;
    clock.time += 2;
    expect(slices.worked).toBe(7);
    const waited = await slices.during(async () => {
      clock.time += 50;
      return 'what came of it';
    });
    clock.time += 1;
    expect([waited, slices.worked]).toEqual(['what came of it', 8]);
  });
});

describe('slots', () => {
  /** Jobs that end when the test says so. */
  function jobs(slots: Slots): {
    begin: (name: string) => Promise<string>;
    end: (name: string) => void;
    begun: string[];
  } {
    const begun: string[] = [];
    const ends = new Map<string, () => void>();
    return {
      begun,
      begin: (name) =>
        slots.run(async () => {
          begun.push(name);
          await new Promise<void>((resolve) => ends.set(name, resolve));
          return name;
        }),
      end: (name) => ends.get(name)!(),
    };
  }

  test('so many jobs at once, the others in the order in which they came', async () => {
    const { begin, end, begun } = jobs(new Slots(2));
    const results = ['a', 'b', 'c', 'd'].map(begin);
    await nextTurn();
    expect(begun).toEqual(['a', 'b']);
    end('b');
    await nextTurn();
    expect(begun).toEqual(['a', 'b', 'c']);
    for (const name of ['a', 'c']) end(name);
    await nextTurn();
    end('d');
    expect(await Promise.all(results)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a job that fails makes room too', async () => {
    const slots = new Slots(1);
    const failing = slots.run(() => Promise.reject(new Error('no')));
    const next = slots.run(async () => 'yes');
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('yes');
  });

  test('more than a thousand that wait are refused, and the others come to their turn', async () => {
    const { begin, end } = jobs(new Slots(1));
    const first = begin('first');
    const waiting = Array.from({ length: 1_000 }, (_, index) => begin(String(index)));
    await expect(begin('too many')).rejects.toThrow('too many');
    end('first');
    for (let index = 0; index < waiting.length; index++) {
      await nextTurn();
      end(String(index));
    }
    expect(await first).toBe('first');
    expect(await Promise.all(waiting)).toHaveLength(1_000);
  });
});

test('the oldest goes first', () => {
  const map = new Map([
    ['a', 1],
    ['b', 2],
  ]);
  dropOldest(map);
  expect([...map]).toEqual([['b', 2]]);
  dropOldest(map);
  dropOldest(map);
  expect(map.size).toBe(0);
});

test('a list under a key is begun, and goes on', () => {
  const map = new Map<string, number[]>();
  append(map, 'a', 1);
  append(map, 'b', 2);
  append(map, 'a', 3);
  expect([...map]).toEqual([
    ['a', [1, 3]],
    ['b', [2]],
  ]);
});
