/**
 * What goes to standard error: one line each, escaped, with the program's name before it.
 */
import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { escapeText } from '../sink/escape.ts';
import { counted } from '../sink/numbers.ts';
import type { Octets } from '../sink/output.ts';
import { standardError } from '../sink/standard-streams.ts';

/** Ends the command with exit status 1; `message` is one line that says why. */
export class Failure extends Error {}

/** Messages that wait until the terminal is free again; null: it is. */
let held: string[] | null = null;
const MAX_HELD = 1000;

/** Octets that may wait for whoever reads standard error; what comes on top is lost, and counted. */
const MAX_UNREAD = 256 * 1024;
let unread = 0;
let lost = 0;
let whenRead = (): void => {};

/** What the reader may take for the last of it. */
const LAST_MESSAGES_MS = 100;

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

/** Resolves when whoever reads standard error has all of it, or has had its time. */
export async function messagesRead(): Promise<void> {
  if (unread === 0) return;
  const read = new Promise<void>((resolve) => (whenRead = resolve));
  await Promise.race([read, delay(LAST_MESSAGES_MS)]);
}

/** Never waits: standard error that nobody reads must not keep anybody from Ctrl-C. */
function write(octets: Uint8Array): void {
  const stream = standardError();
  if (stream === null) {
    try {
      writeSync(2, octets);
    } catch {
      // closed or full: nothing better can be done
    }
    return;
  }
  if (unread > MAX_UNREAD) {
    lost++;
    return;
  }
  if (stream.listenerCount('error', ignore) === 0) stream.on('error', ignore);
  unread += octets.length;
  stream.write(octets, () => {
    unread -= octets.length;
    if (unread > 0) return;
    if (lost > 0) {
      const missing = counted(lost, 'message');
      lost = 0;
      say(`${missing} lost here: standard error was not read`);
    } else whenRead();
  });
}

/** There is nobody left to read it. */
function ignore(): void {}
