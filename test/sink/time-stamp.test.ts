import { spawnSync } from 'node:child_process';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { rfc3339, timeStamper, type TimeStampStyle } from '../../src/sink/time-stamp.ts';

/** What a new stamper of this style prints for these times, in order. */
function stamps(style: TimeStampStyle, ...times: (readonly [seconds: number, nanoseconds: number])[]): string[] {
  const stamp = timeStamper(style);
  return times.map((time) => stamp(...time));
}

/** The last second of a day, leap days, before 1970, the ends of 32 bits, the year 10,000. */
const TIMES = [
  -2_208_988_801, -2_147_483_648, -86_400, -1, 0, 59, 86_399, 951_782_400, 1_709_164_800, 1_700_000_000, 2_147_483_647,
  2_147_483_648, 4_294_967_295, 253_402_300_799, 253_402_300_800,
];

test('the time of day and the date, as date(1) says them', () => {
  const input = TIMES.map((seconds) => `@${seconds}\n`).join('');
  const theirs = spawnSync('date', ['-u', '-f', '-', '+%Y-%m-%d %H:%M:%S'], { input, encoding: 'utf8' });
  const dates = theirs.stdout.trimEnd().split('\n');
  const times = TIMES.map((seconds) => [seconds, 1_234_999] as const);
  expect(stamps(4, ...times)).toEqual(dates.map((date) => `${date}.001234 `));
  expect(stamps(0, ...times)).toEqual(dates.map((date) => `${date.split(' ')[1]}.001234 `));
});

test('the other styles', () => {
  const times = [
    [1_700_000_000, 999_999_999],
    [1_700_000_001, 0],
    [1_699_999_999, 500_000_000],
    [1_700_086_400, 1_000],
  ] as const;
  expect(stamps(1, ...times)).toEqual(['', '', '', '']);
  expect(stamps(2, ...times)).toEqual([
    '1700000000.999999 ',
    '1700000001.000000 ',
    '1699999999.500000 ',
    '1700086400.000001 ',
  ]);
  expect(stamps(3, ...times)).toEqual([
    ' 00:00:00.000000 ',
    ' 00:00:00.000001 ',
    '-00:00:01.500000 ',
    ' 00:00:00.500001 ',
  ]);
  expect(stamps(5, ...times)).toEqual([
    ' 00:00:00.000000 ',
    ' 00:00:00.000001 ',
    '-00:00:01.499999 ',
    ' 23:59:59.000002 ',
  ]);
});

test('the time 0 is no time to differ from, as in tcpdump', () => {
  for (const style of [3, 5] as const) {
    expect(stamps(style, [0, 999], [7, 5000], [8, 6000])).toEqual([
      ' 00:00:00.000000 ',
      ' 00:00:00.000000 ',
      ' 00:00:01.000001 ',
    ]);
  }
});

test('a difference has no rounding error, however far the two are apart', () => {
  const second = fc.integer({ min: -(2 ** 32), max: 2 ** 32 });
  const nanosecond = fc.nat(999_999_999);
  fc.assert(
    fc.property(second, nanosecond, second, nanosecond, (seconds, nanoseconds, seconds2, nanoseconds2) => {
      fc.pre(seconds !== 0 || nanoseconds >= 1000);
      const micros = (s: number, ns: number): bigint => BigInt(s) * 1_000_000n + BigInt(Math.trunc(ns / 1000));
      const difference = micros(seconds2, nanoseconds2) - micros(seconds, nanoseconds);
      const absolute = difference < 0n ? -difference : difference;
      const ofDay = new Date(Number((absolute / 1_000_000n) % 86_400n) * 1000).toISOString().slice(11, 19);
      const expected = `${difference < 0n ? '-' : ' '}${ofDay}.${String(absolute % 1_000_000n).padStart(6, '0')} `;
      expect(stamps(5, [seconds, nanoseconds], [seconds2, nanoseconds2])[1]).toBe(expected);
      expect(stamps(3, [0, 0], [seconds, nanoseconds], [seconds2, nanoseconds2])[2]).toBe(expected);
    }),
  );
});

/** What 64 bits can claim, and beyond what a Date can say. */
const OUTLANDISH = [8.64e12, 8.64e12 + 1, -8.64e12 - 1, 2 ** 53 + 2, 2 ** 64, -(2 ** 63)];

test('outlandish times: a stamp all the same, and nothing else', () => {
  const dateless = /^\[Error converting time\]\.\d{6} $/;
  const difference = /^[- ]\d\d:\d\d:\d\d\.\d{6} $/;
  for (const seconds of OUTLANDISH) {
    const times = [
      [0, 0],
      [seconds, 999_999_999],
      [-seconds, 1],
    ] as const;
    for (const style of [0, 4] as const) {
      for (const stamp of stamps(style, ...times.slice(1))) {
        if (Math.abs(seconds) > 8.64e12) expect(stamp).toMatch(dateless);
        else expect(stamp).toMatch(/^(-?\d+-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{6} $/);
      }
    }
    for (const style of [3, 5] as const) {
      for (const stamp of stamps(style, ...times)) expect(stamp).toMatch(difference);
    }
    expect(stamps(2, ...times)[1]).toBe(`${seconds}.999999 `);
    expect(rfc3339(seconds, 0, false)).toBeNull();
  }
});

test('RFC 3339: what Date says, in either resolution', () => {
  const first = Date.parse('0000-01-01T00:00:00Z') / 1000;
  const last = Date.parse('9999-12-31T23:59:59Z') / 1000;
  fc.assert(
    fc.property(fc.integer({ min: first, max: last }), fc.nat(999_999_999), (seconds, nanoseconds) => {
      const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
      const digits = String(nanoseconds).padStart(9, '0');
      expect(rfc3339(seconds, nanoseconds, true)).toBe(`${whole}.${digits}Z`);
      expect(rfc3339(seconds, nanoseconds, false)).toBe(`${whole}.${digits.slice(0, 6)}Z`);
    }),
  );
  expect(rfc3339(first, 0, false)).toBe('0000-01-01T00:00:00.000000Z');
  expect(rfc3339(last, 999_999_999, true)).toBe('9999-12-31T23:59:59.999999999Z');
  for (const seconds of [first - 1, last + 1, Number.NaN]) expect(rfc3339(seconds, 0, true)).toBeNull();
});
