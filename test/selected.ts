/**
 * What `--host --port --pid --comm --errno` select, said once more and otherwise than by src/selection.ts: each option is the
 * texts that an event has of its kind.
 */
import type { IcmpEvent } from '../src/event.ts';

/** Options of selection as on the command line, and what their value is in JSON. */
export interface Chosen {
  option: '--host' | '--port' | '--pid' | '--comm' | '--errno';
  /** As it is typed. */
  value: string;
  /** As it is in JSON, if that is not the same. */
  means?: string;
}

export type SelectableEvent = Pick<IcmpEvent, 'icmp' | 'flow' | 'nat' | 'errno' | 'sockets'>;

const FIELDS: Record<Chosen['option'], (event: SelectableEvent) => unknown[]> = {
  '--host': ({ icmp, flow, nat }) => [icmp, flow, nat].flatMap((tuple) => [tuple?.src, tuple?.dst]),
  '--port': ({ flow, nat }) => [flow, nat].flatMap((tuple) => [tuple?.sport, tuple?.dport]),
  '--pid': ({ sockets }) => (sockets ?? []).flatMap(({ processes }) => processes.map(({ pid }) => pid)),
  '--comm': ({ sockets }) => (sockets ?? []).flatMap(({ processes }) => processes.map(({ comm }) => comm)),
  '--errno': ({ errno }) => [errno],
};

export function isSelected(event: SelectableEvent, chosen: readonly Chosen[]): boolean {
  const kinds = new Set(chosen.map(({ option }) => option));
  return [...kinds].every((kind) => {
    const texts = new Set(FIELDS[kind](event).map(String));
    return chosen.some(({ option, value, means = value }) => option === kind && texts.has(means));
  });
}

export function argumentsOf(chosen: readonly Chosen[]): string[] {
  return chosen.flatMap(({ option, value }) => [option, value]);
}

/** Each alone, and each with every other. */
export function aloneAndInPairs(all: readonly Chosen[]): Chosen[][] {
  return all.flatMap((one, index) => [[one], ...all.slice(index + 1).map((other) => [one, other])]);
}
