import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseNft } from '../../src/doctor/nft.ts';
import type { Ruleset } from '../../src/doctor/ruleset.ts';
import { drops, PORT_UNREACHABLE } from './ruleset.ts';

/** What nft 1.0.6 printed of one and the same ruleset. */
const JSON_TEXT = readFileSync(new URL('nft-ruleset.json', import.meta.url), 'utf8');
const TEXT = readFileSync(new URL('nft-ruleset.txt', import.meta.url), 'utf8');
const NEVER = (): boolean => false;

const match = (left: object, right: unknown, op = '=='): object => ({ match: { op, left, right } });
const ICMP_TYPE = { payload: { protocol: 'icmp', field: 'type' } };
const DROP = { drop: null };

/** One chain at the hook input, and one beside it. */
function ruleset(
  rules: readonly object[][],
  { policy = 'accept', family = 'inet', beside = [] as object[][] } = {},
): string {
  const chain = { family, table: 't', name: 'c', handle: 1, type: 'filter', hook: 'input', prio: 0, policy };
  const asRules = (name: string, all: readonly object[][]): object[] =>
    all.map((expr, index) => ({ rule: { family, table: 't', chain: name, handle: index + 10, expr } }));
  return JSON.stringify({
    nftables: [
      { chain },
      { chain: { family, table: 't', name: 'beside', handle: 2 } },
      ...asRules('c', rules),
      ...asRules('beside', beside),
    ],
  });
}

function incoming(json: string, version: 4 | 6 = 4): string[] {
  return drops(parseNft(json, '', NEVER), 'in', PORT_UNREACHABLE[version]);
}

const RULE = 'nft inet t c: rule with handle 10';

describe('a ruleset of nft', () => {
  const parsed = parseNft(JSON_TEXT, TEXT, NEVER) as Ruleset;

  test('IPv4: the rules as nft writes them', () => {
    expect(drops(parsed, 'in', PORT_UNREACHABLE[4])).toEqual([
      'nft inet filter early: ip saddr @bad drop',
      'nft inet filter input: icmp type destination-unreachable icmp code port-unreachable drop',
      'nft inet filter input: ip protocol icmp counter packets 0 bytes 0 drop',
    ]);
    expect(drops(parsed, 'out', PORT_UNREACHABLE[4])).toEqual([
      '!nft inet filter output: ct state { related, new } icmp type destination-unreachable drop',
    ]);
  });

  test('IPv6: accepted before anything drops it', () => {
    expect(drops(parsed, 'in', PORT_UNREACHABLE[6])).toEqual([]);
    expect(drops(parsed, 'out', PORT_UNREACHABLE[6])).toEqual([]);
  });

  test('a chain that iptables-save lists too is passed over', () => {
    const others = parseNft(JSON_TEXT, TEXT, (family, chain) => family === 'inet' && chain === 'filter input');
    expect(drops(others, 'in', PORT_UNREACHABLE[4])).toEqual([]);
  });

  test('rules that translate addresses are counted', () => {
    expect(parsed.natRules).toBe(1);
  });
});

describe('a rule', () => {
  test.each<[string, object[]]>([
    ['no condition', [DROP]],
    ['reject', [{ reject: { type: 'icmpx', expr: 'port-unreachable' } }]],
    ['counted and logged', [{ counter: { packets: 0, bytes: 0 } }, { log: { prefix: 'x' } }, DROP]],
    ['l4proto', [match({ meta: { key: 'l4proto' } }, 'icmp'), DROP]],
    ['a set of protocols', [match({ meta: { key: 'l4proto' } }, { set: ['tcp', 'icmp'] }), DROP]],
    ['ip protocol by number', [match({ payload: { protocol: 'ip', field: 'protocol' } }, 1), DROP]],
    ['a range of types', [match(ICMP_TYPE, { range: ['destination-unreachable', 'redirect'] }), DROP]],
    ['a range in a set', [match(ICMP_TYPE, { set: [{ range: [2, 4] }] }), DROP]],
    ['another type', [match(ICMP_TYPE, 'echo-request', '!='), DROP]],
    ['a state', [match({ ct: { key: 'state' } }, ['established', 'related'], 'in'), DROP]],
    ['nfproto', [match({ meta: { key: 'nfproto' } }, 'ipv4'), DROP]],
    [
      'a map',
      [
        {
          vmap: {
            key: ICMP_TYPE,
            data: {
              set: [
                ['echo-request', { accept: null }],
                [3, DROP],
              ],
            },
          },
        },
      ],
    ],
  ])('that drops it: %s', (_name, rule) => {
    expect(incoming(ruleset([rule]))).toEqual([`!${RULE}`]);
  });

  test.each<[string, object[]]>([
    ['accept', [match(ICMP_TYPE, 3), { accept: null }]],
    ['no verdict', [match(ICMP_TYPE, 3), { counter: null }]],
    ['another type', [match(ICMP_TYPE, 'echo-request'), DROP]],
    ['a type of another protocol', [match({ payload: { protocol: 'icmpv6', field: 'type' } }, 3), DROP]],
    ['a port', [match({ payload: { protocol: 'udp', field: 'dport' } }, 53), DROP]],
    ['the other version', [match({ payload: { protocol: 'ip6', field: 'saddr' } }, '2001:db8::1'), DROP]],
    ['a state', [match({ ct: { key: 'state' } }, 'invalid', 'in'), DROP]],
    ['another state', [match({ ct: { key: 'state' } }, { set: ['related'] }, '!='), DROP]],
  ])('that does not: %s', (_name, rule) => {
    expect(incoming(ruleset([rule]))).toEqual([]);
  });

  test.each<[string, object[]]>([
    [
      'an address',
      [match({ payload: { protocol: 'ip', field: 'saddr' } }, { prefix: { addr: '192.0.2.0', len: 24 } }), DROP],
    ],
    ['a named set', [match(ICMP_TYPE, '@types'), DROP]],
    ['a limit', [{ limit: { rate: 1, per: 'second' } }, DROP]],
    ['a match of iptables', [{ xt: { type: 'match', name: 'socket' } }, DROP]],
    ['a queue', [{ queue: { num: 0 } }]],
    ['a comparison', [match(ICMP_TYPE, 5, '<'), DROP]],
  ])('of which it is not known: %s', (_name, rule) => {
    expect(incoming(ruleset([rule]))).toEqual([RULE]);
  });
});

test('a policy to drop, and a chain that accepts before', () => {
  expect(incoming(ruleset([], { policy: 'drop' }))).toEqual(['!nft inet t c: policy drop']);
  const accepts = [[match({ ct: { key: 'state' } }, 'related', 'in'), { accept: null }]];
  const rules = [[{ jump: { target: 'beside' } }]];
  expect(incoming(ruleset(rules, { policy: 'drop', beside: accepts }))).toEqual([]);
});

test('a table of one version is for that one', () => {
  expect(incoming(ruleset([[DROP]], { family: 'ip6' }))).toEqual([]);
  expect(incoming(ruleset([[DROP]], { family: 'ip6' }), 6)).toEqual(['!nft ip6 t c: rule with handle 10']);
  expect(incoming(ruleset([[DROP]], { family: 'bridge' }))).toEqual([]);
});

test.each(['', '\x1b[2J', '[]', 'null', '{}', '{"nftables":{}}', 'Error: syntax error'])('no ruleset: %j', (json) => {
  expect(parseNft(json, '', NEVER)).toBeNull();
});

test.each<[string, unknown]>([
  ['odd items', [null, 1, 'x', [], { chain: 1 }, { rule: null }]],
  ['a rule without a chain', [{ rule: { family: 'ip', table: 't', chain: 'none', expr: [DROP] } }]],
  [
    'an odd expression',
    [
      ...(JSON.parse(ruleset([[{ match: null }], [{ vmap: 1 }], [{}], [{ jump: 1 }]])) as { nftables: unknown[] })
        .nftables,
    ],
  ],
])('does not throw: %s', (_name, nftables) => {
  expect(parseNft(JSON.stringify({ nftables }), '', NEVER)).not.toBeNull();
});
