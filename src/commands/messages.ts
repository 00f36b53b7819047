/**
 * What goes to standard error: one line each, escaped, with the program's name before it.
 */
import { writeSync } from 'node:fs';
import { escapeText } from '../sink/escape.ts';
import type { Octets } from '../sink/output.ts';

/** Ends the command with exit status 1; `message` is one line that says why. */
export class Failure extends Error {}

/** Messages that wait until the terminal is free again; null: it is. */
let held: string[] | null = null;
const MAX_HELD = 1000;

/** Never throws: there may be nobody left to read it. */
export function say(text: string): void {
  const line = `udpicmp-watch: ${escapeText(text)}`;
  if (held === null) write(Buffer.from(`${line}\n`));
  else if (held.push(line) > MAX_HELD) held.shift();
}

/** From now on messages are kept for `releaseMessages`; what is returned has them in it. */
export function holdMessages(): readonly string[] {
  held ??= [];
  return held;
}

export function releaseMessages(): void {
  const lines = held ?? [];
  held = null;
  if (lines.length > 0) write(Buffer.from(`${lines.join('\n')}\n`));
}

/** Lines for people that are no messages, and escaped already. Never throws either. */
export function sayTable(lines: readonly Octets[]): void {
  if (lines.length > 0) write(Buffer.from(`${lines.join('\n')}\n`, 'latin1'));
}

function write(octets: Uint8Array): void {
  try {
    writeSync(2, octets);
  } catch {
    // closed or full: nothing better can be done
  }
}
