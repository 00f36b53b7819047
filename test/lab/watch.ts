/**
 * The tool, watching in a namespace of a lab.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { describe } from 'vitest';
import type { IcmpEvent } from '../../src/event.ts';
import { CLI } from '../command.ts';
import { canRunLab, type Lab, type LabProcess, type Namespace } from './network.ts';

/** A line of `--json`: an event, with its time as text. */
export type JsonEvent = Omit<IcmpEvent, 'seconds' | 'nanoseconds' | 'nanosecondResolution'> & { time: string };

/** Lab tests, or a loud skip where labs cannot run. */
export function describeLab(name: string, tests: () => void): void {
  const reason = canRunLab();
  if (reason !== null) console.warn(`SKIPPED: ${name}: ${reason}`);
  describe.skipIf(reason !== null)(name, tests);
}

/** Starts the tool and resolves when it captures. */
export async function startWatch(lab: Lab, ns: Namespace, args: readonly string[] = []): Promise<LabProcess> {
  const watch = lab.spawn(ns, [process.execPath, CLI, ...args]);
  await watch.waitFor(/listening on/, 'stderr');
  return watch;
}

/** Resolves with the first `count` events of a `--json` watch. */
export async function events(watch: LabProcess, count: number): Promise<JsonEvent[]> {
  await watch.until(({ lines }) => lines.length >= count);
  return watch.json<JsonEvent>().slice(0, count);
}

/** The capture process of a watch: its only child. */
export function captureProcess(watch: LabProcess): number | null {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(parent) === watch.pid && state !== 'Z') return Number(pid);
    } catch {
      // It ended meanwhile.
    }
  }
  return null;
}

export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
