/**
 * Rules of this network namespace that keep ICMP errors from its sockets, or keep it from sending them. What is asked is
 * what iptables-save, ip6tables-save and nft tell; each of them may be missing.
 */
import { realpathSync } from 'node:fs';
import { icmpv4Name } from '../decode/icmpv4.ts';
import { icmpv6Name } from '../decode/icmpv6.ts';
import { findTool, runTool } from '../host/tool.ts';
import { counted } from '../sink/numbers.ts';
import type { Check } from './check.ts';
import { chainNames, parseIptables } from './iptables.ts';
import { parseNft } from './nft.ts';
import { dropsIn, type Drop, type FilteredError, type Ruleset } from './ruleset.ts';

/** The errors that UDP gets to hear of, or that change its path MTU. */
const ERRORS: Record<4 | 6, readonly FilteredError[]> = {
  4: (
    [
      [3, 3],
      [3, 1],
      [3, 4],
      [11, 0],
      [12, 0],
    ] as const
  ).map(([type, code]) => ({ version: 4, type, code })),
  6: (
    [
      [1, 4],
      [1, 3],
      [2, 0],
      [3, 0],
      [4, 0],
    ] as const
  ).map(([type, code]) => ({ version: 6, type, code })),
};
/** Rules that are named in one line of the report; more are counted. */
const MAX_NAMED = 10;

/** What the tools told. */
export interface Firewall {
  rulesets: Ruleset[];
  /** The programs that told them. */
  read: string[];
  /** Those that could not, and why. */
  failed: string[];
  missing: string[];
}

/** Reads the rules of this network namespace. */
export async function readFirewall(isAllowed: boolean): Promise<Firewall> {
  const firewall: Firewall = { rulesets: [], read: [], failed: [], missing: [] };
  if (!isAllowed) {
    firewall.failed.push('the rules cannot be read without CAP_NET_ADMIN');
    return firewall;
  }
  const listedChains = new Map<string, Set<string>>();
  for (const version of [4, 6] as const) {
    const prefix = version === 4 ? 'ip' : 'ip6';
    for (const program of savePrograms(prefix)) {
      await ask(firewall, [program], (text) => {
        if (text.includes('(nf_tables)')) listedChains.set(prefix, chainNames(text));
        return parseIptables(version, text);
      });
    }
  }
  const { output: text } = await runTool([], ['nft', '-a', 'list', 'ruleset']);
  await ask(firewall, ['nft', '-j', 'list', 'ruleset'], (json) =>
    parseNft(json, text ?? '', (family, chain) => listedChains.get(family)?.has(chain) === true),
  );
  return firewall;
}

/** iptables has its rules in nf_tables, or (legacy) in ip_tables: of each kind one program, that lists its own alone. */
function savePrograms(prefix: 'ip' | 'ip6'): string[] {
  const names = ['', '-nft', '-legacy'].map((kind) => `${prefix}tables${kind}-save`);
  const programs = new Map<string, string>();
  for (const name of names) {
    const path = findTool(name);
    if (path === null) continue;
    const multi = realpathSync(path);
    if (!programs.has(multi)) programs.set(multi, name);
  }
  return programs.size === 0 ? [names[0]!] : [...programs.values()];
}

/** Runs a program, and notes what it told, or why it told nothing. */
async function ask(
  { rulesets, read, failed, missing }: Firewall,
  command: readonly [string, ...string[]],
  parse: (output: string) => Ruleset | null,
): Promise<void> {
  const [program] = command;
  if (findTool(program) === null) {
    missing.push(`${program} is not installed`);
    return;
  }
  const { output } = await runTool([], command);
  const ruleset = output === null ? null : parse(output);
  if (ruleset === null) {
    const line = command.join(' ');
    failed.push(
      output === null ? `${line} failed, or took longer than 2 s` : `the output of ${line} is not understood`,
    );
    return;
  }
  read.push(program);
  rulesets.push(ruleset);
}

/** Null: not known. */
export function natRulesIn({ rulesets, read, failed }: Firewall): number | null {
  const known = rulesets.reduce((sum, { natRules }) => sum + natRules, 0);
  return known === 0 && (read.length === 0 || failed.length > 0) ? null : known;
}

export function checkFirewall(firewall: Firewall): Check[] {
  const { read, failed, missing } = firewall;
  const found = [...(read.length > 0 ? [`read by ${read.join(', ')}`] : []), ...failed, ...missing].join('; ');
  const isKnown = read.length > 0 && failed.length === 0;
  const all: Check = isKnown
    ? { name: 'firewall', status: 'ok', found }
    : {
        name: 'firewall',
        status: 'unknown',
        found,
        costs:
          'whether a rule keeps ICMP errors from the sockets of this host, or keeps it from sending them, is not known',
        remedy: 'sudo iptables-save; sudo ip6tables-save; sudo nft list ruleset',
      };
  if (read.length === 0) return [all];
  const directions = ([4, 6] as const).flatMap((version) =>
    (['in', 'out'] as const).map((direction) => checkDirection(firewall, version, direction)),
  );
  return [all, ...directions];
}

function checkDirection({ rulesets }: Firewall, version: 4 | 6, direction: 'in' | 'out'): Check {
  const name = `firewall IPv${version} ${direction}`;
  const chains = rulesets.flatMap(({ baseChains }) => baseChains).filter((chain) => chain.direction === direction);
  const found = chains.map((chain) => dropsIn(chain, ERRORS[version]));
  const drops = found.flatMap((drop) => drop ?? []);
  const named = drops.filter(({ isCertain, isMeant }) => isCertain || isMeant);
  const others = drops.length - named.length;
  const notes = [
    ...(others === 0
      ? []
      : [`${counted(others, 'rule')} of other conditions (addresses, interfaces, …) may drop some, ICMP or not`]),
    ...(found.includes(null) ? ['some chains are too long to be followed'] : []),
  ];
  const note = notes.length === 0 ? {} : { note: notes.join('; ') };
  if (named.length === 0)
    return { name, status: 'ok', found: 'no rule that was read drops ICMP errors as such', ...note };
  const isCertain = named.some((drop) => drop.isCertain);
  return {
    name,
    status: 'warning',
    found: isCertain ? 'ICMP errors are dropped' : 'ICMP errors may be dropped',
    items: [
      ...named.slice(0, MAX_NAMED).map(dropText),
      ...(named.length > MAX_NAMED ? [`and ${named.length - MAX_NAMED} more`] : []),
    ],
    ...note,
    costs:
      direction === 'in'
        ? 'a watch shows an error before it is dropped here, but the process does not hear of it, whatever the second line says'
        : 'this host does not send those errors: who sends to a closed port of it gets silence, and a watch sees nothing either',
    remedy: remedyFor(version, direction, named),
  };
}

function dropText({ text, isCertain, errors }: Drop): string {
  const [{ version }] = errors as [FilteredError];
  const names = errors.map(({ type, code }) => (version === 4 ? icmpv4Name : icmpv6Name)(type, code));
  const what = errors.length === ERRORS[version].length ? 'all that UDP hears of' : names.join(', ');
  return `${text}   (${isCertain ? `drops ${what}` : `may drop ${what}: that depends on other conditions or rules`})`;
}

function remedyFor(version: 4 | 6, direction: 'in' | 'out', drops: readonly Drop[]): string {
  const program = version === 4 ? 'iptables' : 'ip6tables';
  const chain = direction === 'in' ? 'INPUT' : 'OUTPUT';
  const protocol = version === 4 ? 'icmp' : 'ipv6-icmp';
  if (drops.some(({ text }) => text.startsWith(`${program} -t raw `))) {
    return 'accept those types before those rules; the raw table comes before conntrack, so not by their state';
  }
  return drops.every(({ text }) => text.startsWith(`${program} -t filter `))
    ? `${program} -I ${chain} -p ${protocol} -m conntrack --ctstate RELATED -j ACCEPT`
    : 'accept ct state related before those rules';
}
