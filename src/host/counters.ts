/**
 * The kernel's own counts of ICMP errors in a network namespace: IcmpMsg in /proc/net/snmp (icmpmsg_put in
 * net/ipv4/proc.c) and Icmp6InType in /proc/net/snmp6 (snmp6_seq_show_icmpv6msg in net/ipv6/proc.c). They
 * count every ICMP error that was addressed to the namespace and well formed, whatever it quotes: the
 * yardstick for what a capture missed.
 */

import { readText } from './proc-file.ts';

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
const ERROR_TYPES_4 = [3, 4, 5, 11, 12] as const;
/** RFC 4443 section 2.1: errors, assigned or not. */
const ERROR_TYPES_6 = Array.from({ length: 128 }, (_, type) => type);

/** ICMP errors by type, and their sum. */
interface ErrorCounts {
  byType: Map<number, number>;
  total: number;
}

export interface VersionCounters {
  received: ErrorCounts;
  sent: ErrorCounts;
}

/** Since the namespace was made, or between two readings. Null where the file could not be read. */
export interface IcmpCounters {
  v4: VersionCounters | null;
  v6: VersionCounters | null;
}

/** @param netDirectory `/proc/net`, `/proc/PID/net`, or `net` in a snapshot. */
export async function readIcmpCounters(netDirectory: string): Promise<IcmpCounters> {
  const [snmp, snmp6] = await Promise.all([readText(`${netDirectory}/snmp`), readText(`${netDirectory}/snmp6`)]);
  return {
    v4: snmp === null ? null : parseSnmp(snmp),
    v6: snmp6 === null ? null : parseSnmp6(snmp6),
  };
}

/** What was counted between two readings of the same namespace; null in a version that either lacks. */
export function countersBetween(before: IcmpCounters, after: IcmpCounters): IcmpCounters {
  return { v4: versionBetween(before.v4, after.v4), v6: versionBetween(before.v6, after.v6) };
}

/** IcmpMsg is a line of names and a line of numbers, of those types that are not zero; without any, it is absent. */
function parseSnmp(text: string): VersionCounters {
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith('IcmpMsg: '))
    .map((line) => line.trim().split(/ +/));
  const counts = new Map<string, number>();
  for (const [index, name] of (names ?? []).entries()) counts.set(name, numberOf(values?.[index]));
  return select(counts, '', ERROR_TYPES_4);
}

/** A name and a number on each line, of those types that are not zero. */
function parseSnmp6(text: string): VersionCounters {
  const counts = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name, value] = line.trim().split(/\s+/);
    counts.set(name!, numberOf(value));
  }
  return select(counts, 'Icmp6', ERROR_TYPES_6);
}

function select(counts: ReadonlyMap<string, number>, prefix: string, types: readonly number[]): VersionCounters {
  const pick = (direction: string): ErrorCounts =>
    sum(types.map((type) => [type, counts.get(`${prefix}${direction}Type${type}`) ?? 0]));
  return { received: pick('In'), sent: pick('Out') };
}

function versionBetween(before: VersionCounters | null, after: VersionCounters | null): VersionCounters | null {
  if (before === null || after === null) return null;
  const subtract = (from: ErrorCounts, to: ErrorCounts): ErrorCounts =>
    sum([...to.byType].map(([type, count]) => [type, count - (from.byType.get(type) ?? 0)]));
  return { received: subtract(before.received, after.received), sent: subtract(before.sent, after.sent) };
}

function sum(entries: readonly (readonly [number, number])[]): ErrorCounts {
  return { byType: new Map(entries), total: entries.reduce((total, [, count]) => total + count, 0) };
}

function numberOf(text: string | undefined): number {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : 0;
}
