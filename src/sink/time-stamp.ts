/**
 * The five time stamps of tcpdump (ts_print() of util-print.c), and RFC 3339.
 */

import type { TimeStamp } from '../event.ts';

/** How often -t was given: 0 time of day, 1 none, 2 seconds since 1970, 3 delta, 4 date too, 5 since the first. */
export type TimeStampStyle = 0 | 1 | 2 | 3 | 4 | 5;

/** By the clock of the host. */
export function timeNow(): TimeStamp {
  const now = Date.now();
  return { seconds: Math.floor(now / 1000), nanoseconds: (now % 1000) * 1_000_000, nanosecondResolution: false };
}

const THREE_DIGITS = Array.from({ length: 1000 }, (_, value) => value.toString().padStart(3, '0'));

/** `075617` for 75,617,000 to 75,617,999 ns. */
function microseconds(nanoseconds: number): string {
  const whole = Math.trunc(nanoseconds / 1000);
  return THREE_DIGITS[Math.trunc(whole / 1000)]! + THREE_DIGITS[whole % 1000]!;
}

/** Remembers the text of the last whole second: packets of one second come together. */
function perSecond(format: (seconds: number) => string): (seconds: number) => string {
  let lastSeconds = Number.NaN;
  let lastText = '';
  return (seconds) => {
    if (seconds !== lastSeconds) {
      lastText = format(seconds);
      lastSeconds = seconds;
    }
    return lastText;
  };
}

function twoDigits(value: number): string {
  return value.toString().padStart(2, '0');
}

/** A capture may claim any 64-bit time; beyond the year 275,760 a Date is none. */
const NOT_A_DATE = '[Error converting time]';

function localTimeOfDay(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return NOT_A_DATE;
  return `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}:${twoDigits(date.getSeconds())}`;
}

function localDateAndTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return NOT_A_DATE;
  const day = `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())}`;
  return `${day} ${localTimeOfDay(seconds)}`;
}

/** A function that gives the time stamp of each printed packet, trailing blank included, in their order. */
export function timeStamper(style: TimeStampStyle): (seconds: number, nanoseconds: number) => string {
  switch (style) {
    case 0: {
      const timeOfDay = perSecond(localTimeOfDay);
      return (seconds, nanoseconds) => `${timeOfDay(seconds)}.${microseconds(nanoseconds)} `;
    }
    case 1:
      return () => '';
    case 2:
      return (seconds, nanoseconds) => `${seconds}.${microseconds(nanoseconds)} `;
    case 4: {
      const dateAndTime = perSecond(localDateAndTime);
      return (seconds, nanoseconds) => `${dateAndTime(seconds)}.${microseconds(nanoseconds)} `;
    }
    case 3:
    case 5:
      return delta(style === 3);
  }
}

function delta(sincePrevious: boolean): (seconds: number, nanoseconds: number) => string {
  let reference: { seconds: number; micros: number } | null = null;
  return (seconds, nanoseconds) => {
    const micros = Math.trunc(nanoseconds / 1000);
    // tcpdump takes the time 0 for none yet.
    if (reference === null || (reference.seconds === 0 && reference.micros === 0)) reference = { seconds, micros };
    let difference = (seconds - reference.seconds) * 1e6 + (micros - reference.micros);
    if (sincePrevious) reference = { seconds, micros };
    const sign = difference < 0 ? '-' : ' ';
    difference = Math.abs(difference);
    const whole = Math.trunc(difference / 1e6) % 86_400; // tcpdump prints it as a time of day
    const hours = twoDigits(Math.trunc(whole / 3600));
    const minutes = twoDigits(Math.trunc(whole / 60) % 60);
    return `${sign}${hours}:${minutes}:${twoDigits(whole % 60)}.${microseconds((difference % 1e6) * 1000)} `;
  };
}

/** The time that `rfc3339` wrote; null for any other text. */
export function parseRfc3339(text: string): TimeStamp | null {
  const [, second, fraction] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6}|\d{9})Z$/.exec(text) ?? [];
  const seconds = Date.parse(`${second}Z`) / 1000;
  if (fraction === undefined || Number.isNaN(seconds)) return null;
  return { seconds, nanoseconds: Number(fraction.padEnd(9, '0')), nanosecondResolution: fraction.length === 9 };
}

/** RFC 3339 knows the years 0 to 9999 only. */
const FIRST_SECOND = Date.parse('0000-01-01T00:00:00Z') / 1000;
const LAST_SECOND = Date.parse('9999-12-31T23:59:59Z') / 1000;

const utcSecond = perSecond((seconds) => new Date(seconds * 1000).toISOString().slice(0, 19));

/**
 * RFC 3339 in UTC: six fraction digits, or nine where the capture's resolution is finer than that. Null for
 * a time that RFC 3339 cannot write.
 */
export function rfc3339(seconds: number, nanoseconds: number, nanosecondResolution: boolean): string | null {
  if (!(seconds >= FIRST_SECOND && seconds <= LAST_SECOND)) return null;
  const fraction = nanosecondResolution ? nanoseconds.toString().padStart(9, '0') : microseconds(nanoseconds);
  return `${utcSecond(seconds)}.${fraction}Z`;
}
