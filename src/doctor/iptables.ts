/** The rules of iptables and ip6tables, as iptables-save(8) and ip6tables-save(8) write them. */
import {
  icmpProtocol,
  MAYBE,
  protocolIn,
  protocolNumber,
  stateIn,
  type BaseChain,
  type Condition,
  type Rule,
  type Ruleset,
  type Verdict,
} from './ruleset.ts';

interface Token {
  text: string;
  isQuoted: boolean;
}

interface Table {
  name: string;
  /** Those of the kernel by their policy. */
  policies: Map<string, string>;
  chains: Map<string, Rule[]>;
}

const CHAINS = { in: ['PREROUTING', 'INPUT'], out: ['OUTPUT', 'POSTROUTING'] } as const;
const NAT_TARGETS = new Set(['SNAT', 'DNAT', 'MASQUERADE', 'REDIRECT', 'NETMAP']);
/** Modules that match nothing by themselves: their options do. */
const MATCHES_OF_OPTIONS = new Set(['comment', 'icmp', 'icmp6', 'state', 'conntrack', 'tcp', 'udp']);
/** What --icmp-type any is written as, too. */
const ANY_TYPE = 255;

/** `<table> <chain>` for each chain in the text: those of iptables-nft are listed by nft once more. */
export function chainNames(text: string): Set<string> {
  const names = new Set<string>();
  let table = '';
  for (const [, tableName, chain] of text.matchAll(/^(?:\*(\S+)|:(\S+) .*)$/gm)) {
    if (chain === undefined) table = tableName!;
    else names.add(`${table} ${chain}`);
  }
  return names;
}

/** Null where the text is not what those programs write; no text makes it throw. */
export function parseIptables(version: 4 | 6, text: string): Ruleset | null {
  const tables: Table[] = [];
  let natRules = 0;
  for (const line of text.split('\n')) {
    const table = tables.at(-1);
    if (line.startsWith('*')) {
      tables.push({ name: line.slice(1).trim(), policies: new Map(), chains: new Map() });
    } else if (line.startsWith(':') && table !== undefined) {
      const [name, policy] = line.slice(1).split(' ');
      table.chains.set(name!, []);
      if (policy !== undefined && policy !== '-') table.policies.set(name!, policy);
    } else if (line.startsWith('-A ') && table !== undefined) {
      const { chain, rule, target } = parseRule(version, table.name, line);
      table.chains.get(chain)?.push(rule);
      if (table.name === 'nat' && NAT_TARGETS.has(target)) natRules++;
    } else if (line !== '' && line !== 'COMMIT' && !line.startsWith('#')) {
      return null;
    }
  }
  return { baseChains: tables.flatMap((table) => baseChains(version, table)), natRules };
}

function baseChains(version: 4 | 6, { name: table, policies, chains }: Table): BaseChain[] {
  return (['in', 'out'] as const).flatMap((direction) =>
    CHAINS[direction]
      .filter((name) => policies.has(name))
      .map((name) => ({
        direction,
        versions: [version],
        rules: chains.get(name) ?? [],
        dropPolicy: policies.get(name) === 'DROP' ? `${program(version)} -t ${table} -P ${name} DROP` : null,
        chains,
      })),
  );
}

function program(version: 4 | 6): string {
  return version === 4 ? 'iptables' : 'ip6tables';
}

function parseRule(version: 4 | 6, table: string, line: string): { chain: string; rule: Rule; target: string } {
  const [, chain, ...tokens] = tokensOf(line);
  const conditions: Condition[] = [];
  let verdict: Verdict = { kind: 'continue' };
  let target = '';
  let isInverted = false;
  for (let at = 0; at < tokens.length; at++) {
    const { text, isQuoted } = tokens[at]!;
    if (!isQuoted && text === '!') {
      isInverted = true;
      continue;
    }
    const value = valueAt(tokens, at + 1);
    if (text === '-j' || text === '-g') {
      target = value ?? '';
      verdict = verdictOf(text, target);
      break; // options of the target follow
    }
    const condition = conditionOf(version, text, value, isInverted);
    if (condition !== null) conditions.push(condition);
    isInverted = false;
    while (valueAt(tokens, at + 1) !== undefined) at++;
  }
  const text = `${program(version)} -t ${table} ${line}`;
  return { chain: chain?.text ?? '', rule: { text, conditions, verdict }, target };
}

/** Undefined where an option begins there. */
function valueAt(tokens: readonly Token[], at: number): string | undefined {
  const token = tokens[at];
  if (token === undefined || (!token.isQuoted && (token.text === '!' || /^-{1,2}[a-z]/i.test(token.text))))
    return undefined;
  return token.text;
}

/** Null where it restricts nothing. */
function conditionOf(version: 4 | 6, option: string, value: string | undefined, isInverted: boolean): Condition | null {
  if (value === undefined) return MAYBE;
  switch (option) {
    case '-p':
      if (value === 'all' || value === '0') return null;
      return protocolIn(new Set([protocolNumber(value)]), isInverted);
    case '-m':
      return MATCHES_OF_OPTIONS.has(value) ? null : MAYBE;
    case '--comment':
      return null;
    case '--ctstate':
    case '--state':
      return stateIn(new Set(value.split(',')), isInverted);
    case '--icmp-type':
    case '--icmpv6-type':
      return typeCondition(version, value, isInverted);
    default:
      return MAYBE;
  }
}

/** `3`, `3/1`, `any`; by name it is not written. */
function typeCondition(version: 4 | 6, value: string, isInverted: boolean): Condition {
  const [, typeText, codeText] = /^(\d+)(?:\/(\d+))?$/.exec(value) ?? [];
  const type = Number(typeText);
  if (value === 'any' || (version === 4 && type === ANY_TYPE)) {
    return { matches: () => (isInverted ? 'no' : 'yes'), namesIcmp: true };
  }
  if (typeText === undefined) return { ...MAYBE, namesIcmp: true };
  return {
    matches: (error) => {
      const isOfType = error.type === type && (codeText === undefined || error.code === Number(codeText));
      return isOfType !== isInverted && icmpProtocol(error) === icmpProtocol({ version }) ? 'yes' : 'no';
    },
    namesIcmp: true,
  };
}

/** What is neither here nor a chain of the table leaves the packet as it is, or lets it go on. */
function verdictOf(option: '-j' | '-g', target: string): Verdict {
  switch (target) {
    case 'ACCEPT':
      return { kind: 'accept' };
    case 'DROP':
    case 'REJECT':
      return { kind: 'drop' };
    case 'RETURN':
      return { kind: 'return' };
    case 'QUEUE':
    case 'NFQUEUE':
      return { kind: 'queue' };
    default:
      return { kind: option === '-g' ? 'goto' : 'jump', chain: target };
  }
}

/** Words, of which those in double quotes have a backslash before each quote and backslash (xtables_save_string). */
function tokensOf(line: string): Token[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|[^\s"]+/gs)].map(([word, quoted]) =>
    quoted === undefined ? { text: word, isQuoted: false } : { text: quoted.replace(/\\(.)/gs, '$1'), isQuoted: true },
  );
}
