/**
 * Rows of the table: which are wanted, and how a figure is written.
 */
import { appendFileSync } from 'node:fs';
import { inject } from 'vitest';
import type { Measurement } from './measure.ts';

/** One line of the table. */
export interface Row {
  what: string;
  ours: string;
  tcpdump: string;
  ratio: string;
  memory: string;
}

/** Both sides of a comparison, run for run. */
export interface Pairs<T = Measurement> {
  ours: readonly T[];
  tcpdump: readonly T[];
}

export const NOTHING = '–';

export const scale = Number(process.env['BENCH_SCALE'] ?? 1);
const only = new RegExp(process.env['BENCH_ONLY'] ?? '');

export function scaled(count: number): number {
  return Math.max(1, Math.round(count * scale));
}

/** Does BENCH_ONLY ask for it? */
export function isWanted(what: string): boolean {
  return only.test(what);
}

export function addRow(row: Row): void {
  appendFileSync(inject('rowsFile'), `${JSON.stringify(row)}\n`);
}

/** Says loudly why rows are missing, in the table too. */
export function skipRow(what: string, reason: string): void {
  console.warn(`SKIPPED: ${what}: ${reason}`);
  addRow({ what, ours: `skipped: ${reason}`, tcpdump: NOTHING, ratio: NOTHING, memory: NOTHING });
}

/** The value below which that share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** `1.23 s (1.20–1.31)` */
export function spread(values: readonly number[], unit: string, digits = 2): string {
  return spreadAs(values, (value) => value.toFixed(digits), unit);
}

/** `1,234 (1,200–1,260)` */
export function spreadCount(values: readonly number[]): string {
  return spreadAs(values, grouped, '');
}

function spreadAs(values: readonly number[], write: (value: number) => string, unit: string): string {
  const [least, middle, most] = [0, 0.5, 1].map((share) => write(quantile(values, share)));
  return least === most ? `${middle}${unit}` : `${middle}${unit} (${least}–${most})`;
}

/** `1,234` */
export function grouped(count: number): string {
  return Math.round(count).toLocaleString('en');
}

/** `0.31× (0.30–0.33)`: of each pair, what the first needs for one of the second. */
export function ratio(first: readonly number[], second: readonly number[]): string {
  return spread(
    first.map((value, at) => value / second[at]!),
    '×',
  );
}

/** Seconds, written as such or as milliseconds. */
export function duration(seconds: readonly number[]): string {
  if (quantile(seconds, 0.5) >= 1) return spread(seconds, ' s');
  return spread(
    seconds.map((value) => value * 1000),
    ' ms',
    1,
  );
}

export function wallTime(runs: readonly Measurement[]): string {
  return `${duration(runs.map(({ wall }) => wall))}, CPU ${duration(runs.map(({ cpu }) => cpu))}`;
}

export function wallRatio({ ours, tcpdump }: Pairs): string {
  return ratio(
    ours.map(({ wall }) => wall),
    tcpdump.map(({ wall }) => wall),
  );
}

export function memory({ ours, tcpdump }: Pairs): string {
  const peaks = [ours, tcpdump].map((runs) => Math.max(...runs.map(({ rss }) => rss)).toFixed(0));
  return `${peaks.join(', ')} MiB`;
}
