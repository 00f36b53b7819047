/**
 * The tool, watching in a namespace of a lab.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, type TestContext } from 'vitest';
import type { IcmpEvent, IncidentRecord } from '../../src/event.ts';
import { CLI } from '../command.ts';
import { canRunLab, eventually, type Lab, type LabProcess, type Namespace, type UdpClient } from './network.ts';

/** A line of `--json` has its time as text. */
type Line<T> = Omit<T, 'seconds' | 'nanoseconds' | 'nanosecondResolution'> & { time: string };

/** A line of `--json`: an event. */
export type JsonEvent = Line<IcmpEvent>;

/** Or a record of what became of an incident. */
export type JsonRecord = Line<IncidentRecord>;

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

/** The records of a `--json` watch about one local port, as far as they have come. */
export function recordsOf(watch: LabProcess, port: number): JsonRecord[] {
  return watch
    .json<JsonEvent | JsonRecord>()
    .filter((line): line is JsonRecord => 'event' in line && line.flow.sport === port);
}

/** Its errors about that port. */
export function errorsOf(watch: LabProcess, port: number): JsonEvent[] {
  return watch
    .json<JsonEvent | JsonRecord>()
    .filter((line): line is JsonEvent => 'icmp' in line && line.flow?.sport === port);
}

/** The filters that a capture process has in the kernel, one for each of its packet sockets, as `ss` shows them. */
export function filtersOf(lab: Lab, pid: number): string[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      } catch {
        return undefined;
      }
    }),
  );
  const { stdout } = lab.run(null, ['nsenter', `--net=/proc/${pid}/ns/net`, 'ss', '-0', '-H', '-a', '-b', '-e']);
  return stdout
    .split(/\n(?=\S)/)
    .filter((socket) => inodes.has(/\bino:(\d+)/.exec(socket)?.[1]))
    .map((socket) => /bpf filter \(\d+\):.*/.exec(socket)?.[0] ?? '');
}

/** Those of the ports that are in a filter. */
export function portsIn(filter: string, ports: readonly number[]): number[] {
  return ports.filter((port) => new RegExp(` ${port}(?:,|$)`).test(filter));
}

/** Resolves when datagrams of that port are captured too. */
export async function followed(lab: Lab, watch: LabProcess, port: number): Promise<void> {
  await eventually(() => {
    const pid = captureProcess(watch);
    return pid !== null && filtersOf(lab, pid).some((filter) => portsIn(filter, [port]).length === 1);
  }, 10_000);
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

const COLUMNS = ['first', 'last', 'errors', 'rate', 'sockets', 'process', 'remote', 'errno', 'hears', 'state'] as const;
type Row = Record<(typeof COLUMNS)[number], string>;

/** The rows of the last table of incidents on standard error, by the names of its columns. */
export function tableOf(watch: LabProcess): Row[] {
  const lines = watch.stderr.split('\n');
  const head = lines.findLastIndex((line) => line.startsWith('FIRST '));
  const names = [...(lines[head] ?? '').matchAll(/\S+ */g)];
  expect(names.map(([name]) => name.trim().toLowerCase())).toEqual(COLUMNS);
  const rows = lines.slice(
    head + 1,
    lines.findIndex((line, n) => n > head && line.startsWith('udpicmp-watch:')),
  );
  return rows.map((row) => {
    const cells = names.map(({ index }, n) => row.slice(index, names[n + 1]?.index).trim());
    return Object.fromEntries(COLUMNS.map((column, n) => [column, cells[n]])) as Row;
  });
}

/** The lines, if there are so many. */
export function atLeast<T>(count: number, lines: T[]): [T, ...T[]] | null {
  return lines.length >= count ? (lines as [T, ...T[]]) : null;
}

/** One datagram, and the one error that answers it: each shows it. */
export async function provoke(udp: UdpClient, ...watches: LabProcess[]): Promise<void> {
  const shown = (watch: LabProcess): number =>
    watch.stdout.split('\n').filter((line) => / unreachable,|"icmp":/.test(line)).length;
  const before = watches.map(shown);
  await udp.ask('soerror');
  await udp.ask('send');
  await Promise.all(watches.map((watch, n) => watch.until(() => shown(watch) > before[n]!)));
}

/** One datagram, and the peer's answer: the client has it. */
export async function expectAnswer(udp: UdpClient): Promise<void> {
  await udp.ask('soerror');
  expect(await udp.ask('send')).toMatchObject({ event: 'sent' });
  await eventually(async () => (await udp.ask('recv')).event === 'reply');
}

/** Skips the test, and says so, where one of the tools is not installed. */
export function needsTools(context: TestContext, ...tools: string[]): void {
  const reason = canRunLab(tools);
  if (reason !== null) skip(context, reason);
}

export function skip(context: TestContext, reason: string): never {
  console.warn(`SKIPPED: ${context.task.name}: ${reason}`);
  context.skip(reason);
}
