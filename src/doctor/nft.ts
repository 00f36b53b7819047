/** The rules of nftables, as `nft -j list ruleset` writes them (libnftables-json(5)), and `nft -a list ruleset` for people. */
import {
  MAYBE,
  oneOf,
  protocolIn,
  protocolNumber,
  stateIn,
  type BaseChain,
  type Condition,
  type FilteredError,
  type Rule,
  type Ruleset,
  type Verdict,
} from './ruleset.ts';

type Json = Record<string, unknown>;

const HOOKS: ReadonlyMap<unknown, 'in' | 'out'> = new Map([
  ['ingress', 'in'],
  ['prerouting', 'in'],
  ['input', 'in'],
  ['output', 'out'],
  ['postrouting', 'out'],
  ['egress', 'out'],
]);
const VERSIONS: ReadonlyMap<unknown, readonly (4 | 6)[]> = new Map<unknown, readonly (4 | 6)[]>([
  ['ip', [4]],
  ['ip6', [6]],
  ['inet', [4, 6]],
  ['netdev', [4, 6]],
]);
const TYPES: Record<4 | 6, ReadonlyMap<unknown, number>> = {
  4: new Map([
    ['destination-unreachable', 3],
    ['source-quench', 4],
    ['redirect', 5],
    ['time-exceeded', 11],
    ['parameter-problem', 12],
  ]),
  6: new Map([
    ['destination-unreachable', 1],
    ['packet-too-big', 2],
    ['time-exceeded', 3],
    ['parameter-problem', 4],
  ]),
};
const NAT = new Set(['snat', 'dnat', 'masquerade', 'redirect']);
/** Statements that neither restrict a rule nor end it. */
const HARMLESS = new Set(['counter', 'log', 'notrack', 'mangle', 'ct helper', ...NAT]);
const MAX_RANGE = 1024;

/**
 * Null where the text is not what it should be.
 *
 * @param text what `nft -a list ruleset` prints, where rules are as people write them.
 * @param isListedElsewhere whether iptables-save lists that chain, `<table> <chain>`, too.
 */
export function parseNft(
  json: string,
  text: string,
  isListedElsewhere: (family: string, chain: string) => boolean,
): Ruleset | null {
  const items = itemsOf(json);
  if (items === null) return null;
  const texts = ruleTexts(text);
  const chains = new Map<string, { chain: Json; rules: Rule[] }>();
  let natRules = 0;
  for (const item of items) {
    const { chain, rule } = item;
    if (
      isObject(chain) &&
      !isListedElsewhere(String(chain['family']), `${String(chain['table'])} ${String(chain['name'])}`)
    ) {
      chains.set(keyOf(chain, chain['name']), { chain, rules: [] });
    }
    if (!isObject(rule)) continue;
    const own = chains.get(keyOf(rule, rule['chain']));
    const expressions = Array.isArray(rule['expr']) ? rule['expr'].filter(isObject) : [];
    if (own === undefined) continue;
    const where = `nft ${String(rule['family'])} ${String(rule['table'])} ${String(rule['chain'])}`;
    const literal = texts.get(`${keyOf(rule, rule['chain'])} ${String(rule['handle'])}`);
    own.rules.push(...rulesOf(`${where}: ${literal ?? `rule with handle ${String(rule['handle'])}`}`, expressions));
    if (expressions.some((expression) => NAT.has(Object.keys(expression)[0] ?? ''))) natRules++;
  }
  const baseChains = [...chains.values()].flatMap(({ chain, rules }) => baseChainOf(chain, rules, chains));
  return { baseChains, natRules };
}

function itemsOf(json: string): Json[] | null {
  try {
    const { nftables } = JSON.parse(json) as { nftables?: unknown };
    return Array.isArray(nftables) ? nftables.filter(isObject) : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function keyOf({ family, table }: Json, chain: unknown): string {
  return JSON.stringify([family, table, chain]);
}

/** By chain and handle. */
function ruleTexts(text: string): Map<string, string> {
  const texts = new Map<string, string>();
  let table: Json = {};
  let chain = '';
  for (const line of text.split('\n')) {
    const [, family, tableName] = /^table (\S+) (\S+) \{/.exec(line) ?? [];
    if (tableName !== undefined) table = { family, table: tableName };
    chain = /^\tchain (\S+) \{/.exec(line)?.[1] ?? chain;
    const [, rule, handle] = /^\t\t(.*) # handle (\d+)$/.exec(line) ?? [];
    if (handle !== undefined) texts.set(`${keyOf(table, chain)} ${handle}`, rule!);
  }
  return texts;
}

function baseChainOf(
  chain: Json,
  rules: readonly Rule[],
  all: ReadonlyMap<string, { chain: Json; rules: Rule[] }>,
): BaseChain[] {
  const direction = HOOKS.get(chain['hook']);
  const versions = VERSIONS.get(chain['family']);
  if (direction === undefined || versions === undefined) return [];
  const beside = [...all.values()].filter(
    ({ chain: other }) => other['family'] === chain['family'] && other['table'] === chain['table'],
  );
  const name = ['family', 'table', 'name'].map((key) => String(chain[key])).join(' ');
  return [
    {
      direction,
      versions,
      rules,
      dropPolicy: chain['policy'] === 'drop' ? `nft ${name}: policy drop` : null,
      chains: new Map(beside.map(({ chain: other, rules: others }) => [String(other['name']), others])),
    },
  ];
}

/** A rule with a verdict map stands for one rule for each of its elements. */
function rulesOf(text: string, expressions: readonly Json[]): Rule[] {
  const conditions: Condition[] = [];
  for (const expression of expressions) {
    const [name = '', value] = Object.entries(expression)[0] ?? [];
    const verdict = verdictOf(name, value);
    if (verdict !== null) return [{ text, conditions, verdict }];
    if (name === 'vmap') return mapped(text, conditions, value);
    if (name === 'match') conditions.push(...matchOf(value));
    else if (!HARMLESS.has(name)) conditions.push(MAYBE);
  }
  return [];
}

/** Null where the statement is no verdict. */
function verdictOf(name: string, value: unknown): Verdict | null {
  switch (name) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
    case 'queue':
      return { kind: name };
    case 'reject':
      return { kind: 'drop' };
    case 'jump':
    case 'goto':
      return { kind: name, chain: isObject(value) ? String(value['target']) : '' };
    default:
      return null;
  }
}

function mapped(text: string, conditions: readonly Condition[], map: unknown): Rule[] {
  const { key, data } = isObject(map) ? map : {};
  const elements = isObject(data) && Array.isArray(data['set']) ? data['set'] : [];
  return elements.flatMap((element: unknown) => {
    const [value, statement] = Array.isArray(element) ? (element as unknown[]) : [];
    const [name = '', argument] = Object.entries(isObject(statement) ? statement : {})[0] ?? [];
    const verdict = verdictOf(name, argument);
    if (verdict === null) return [];
    return [{ text, conditions: [...conditions, ...matchOf({ op: '==', left: key, right: value })], verdict }];
  });
}

function matchOf(match: unknown): Condition[] {
  const { op, left, right } = isObject(match) ? match : {};
  const isInverted = op === '!=';
  const values = op === '==' || op === 'in' || isInverted ? valuesOf(right) : null;
  const { meta, payload, ct } = isObject(left) ? left : {};
  if (isObject(payload)) return payloadConditions(payload, values, isInverted);
  if (values === null) return [MAYBE];
  if (isObject(ct) && ct['key'] === 'state') {
    return [stateIn(new Set(values.map((value) => String(value).toUpperCase())), isInverted)];
  }
  if (!isObject(meta)) return [MAYBE];
  switch (meta['key']) {
    case 'l4proto':
      return [protocolCondition(values, isInverted)];
    case 'nfproto':
      return [oneOf(new Set(values.map(String)), isInverted, ({ version }) => `ipv${version}`)];
    default:
      return [MAYBE];
  }
}

/** A field of a header says too that there is such a header, also where the values are not known. */
function payloadConditions({ protocol, field }: Json, values: unknown[] | null, isInverted: boolean): Condition[] {
  const versionOf = { ip: 4, ip6: 6, icmp: 4, icmpv6: 6 } as const;
  switch (protocol) {
    case 'ip':
    case 'ip6': {
      const isProtocol = values !== null && (field === 'protocol' || field === 'nexthdr');
      return [ofVersion(versionOf[protocol]), isProtocol ? protocolCondition(values, isInverted) : MAYBE];
    }
    case 'icmp':
    case 'icmpv6': {
      const version = versionOf[protocol];
      const isType = values !== null && field === 'type';
      return [{ ...ofVersion(version), namesIcmp: true }, isType ? typeCondition(version, values, isInverted) : MAYBE];
    }
    case 'udp':
    case 'tcp':
      return [{ matches: () => 'no' }];
    default:
      return [MAYBE];
  }
}

function ofVersion(version: 4 | 6): Condition {
  return oneOf(new Set([version]), false, (error) => error.version);
}

function protocolCondition(values: readonly unknown[], isInverted: boolean): Condition {
  return protocolIn(new Set(values.map((value) => protocolNumber(String(value)))), isInverted);
}

/** A range by names has its ends in it. */
function typeCondition(version: 4 | 6, values: readonly unknown[], isInverted: boolean): Condition {
  const types = new Set<number>();
  for (const value of values) {
    const ends = (isObject(value) && Array.isArray(value['range']) ? (value['range'] as unknown[]) : [value]).map(
      (end) => (typeof end === 'number' ? end : TYPES[version].get(end)),
    );
    const [first, last = first] = ends;
    // Of a single name that is not known here: no error.
    if (ends.length > 1 && (first === undefined || last === undefined)) return { ...MAYBE, namesIcmp: true };
    for (let type = first ?? 0; type <= (last ?? -1) && types.size < MAX_RANGE; type++) types.add(type);
  }
  return { ...oneOf(types, isInverted, (error: FilteredError) => error.type), namesIcmp: true };
}

/** What the right side says: single values and ranges; null where it is something else, as a named set. */
function valuesOf(right: unknown): unknown[] | null {
  const values = isObject(right) && 'set' in right ? right['set'] : right;
  const list: unknown[] = Array.isArray(values) ? values : [values];
  const isKnown = (value: unknown): boolean =>
    typeof value === 'number' ||
    (typeof value === 'string' && !value.startsWith('@')) ||
    (isObject(value) && Array.isArray(value['range']));
  return list.every(isKnown) ? list : null;
}
