/**
 * Two clocks: performance.now(), by which a probe waits and measures, and the time of day, which packets and reports have.
 * Milliseconds, both.
 */

/** The resolution of Date.now(), and a little. */
const APART_MS = 2;

/** Whether nobody has set the clock since the program started. */
function isSteady(): boolean {
  return Math.abs(performance.timeOrigin + performance.now() - Date.now()) < APART_MS;
}

/** Since 1970; to the microsecond, or to the millisecond where somebody has set the clock. */
export function unixNow(): number {
  return isSteady() ? performance.timeOrigin + performance.now() : Date.now();
}

/** A packet's time stamp by performance.now(): never later than now, and now where somebody has set the clock. */
export function monotonicOf(unixMs: number): number {
  const now = performance.now();
  return isSteady() ? Math.min(now, unixMs - performance.timeOrigin) : now;
}
