/**
 * What goes to standard error: one line each, escaped, with the program's name before it.
 */
import { writeSync } from 'node:fs';
import { escapeText } from '../sink/escape.ts';

/** Ends the command with exit status 1; `message` is one line that says why. */
export class Failure extends Error {}

/** Never throws: there may be nobody left to read it. */
export function say(text: string): void {
  try {
    writeSync(2, `udpicmp-watch: ${escapeText(text)}\n`);
  } catch {
    // closed or full: nothing better can be done
  }
}

/** `1,234`. Number.prototype.toLocaleString would load ICU's tables for it, which takes 10 ms. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1,234 events` */
export function counted(count: number, singular: string, plural = `${singular}s`): string {
  return `${grouped(count)} ${count === 1 ? singular : plural}`;
}
