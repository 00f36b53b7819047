import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { checkCapabilities, parseCapabilities } from '../../src/doctor/capabilities.ts';

const NAMES = [
  'CAP_NET_RAW',
  'CAP_SYS_PTRACE',
  'CAP_DAC_READ_SEARCH',
  'CAP_DAC_OVERRIDE',
  'CAP_SYS_ADMIN',
  'CAP_NET_ADMIN',
] as const;

const status = (effective: string, bounding: string): string =>
  `Name:\tnode\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t${effective}\nCapBnd:\t${bounding}\nCapAmb:\t0\n`;

test.each([
  ['000001ffffffffff', NAMES],
  ['0000000000000000', []],
  // As capsh --decode has them.
  ['0000000000002004', ['CAP_NET_RAW', 'CAP_DAC_READ_SEARCH']],
  ['0000000000281002', ['CAP_SYS_PTRACE', 'CAP_DAC_OVERRIDE', 'CAP_SYS_ADMIN', 'CAP_NET_ADMIN']],
])('the set %s', (set, names) => {
  const [effective, bounding] = [parseCapabilities(status(set, '0'))!, parseCapabilities(status('0', set))!];
  expect(NAMES.filter((name) => effective.has(name)).toSorted()).toEqual([...names].toSorted());
  expect(NAMES.filter((name) => effective.isPossible(name))).toEqual([]);
  expect(NAMES.filter((name) => bounding.isPossible(name)).toSorted()).toEqual([...names].toSorted());
});

test('the sets of this process', () => {
  expect(parseCapabilities(readFileSync('/proc/self/status', 'utf8'))).not.toBeNull();
});

test.each(['', 'CapEff:\t\nCapBnd:\t\n', 'CapEff:\tzz\nCapBnd:\t0\n', 'CapEff:\t00000000000000001\nCapBnd:\t0\n'])(
  'a text without sets: %j',
  (text) => {
    expect(parseCapabilities(text)).toBeNull();
  },
);

describe('what is said', () => {
  const checked = (effective: string, bounding: string, needsTool: boolean) =>
    Object.fromEntries(
      checkCapabilities(parseCapabilities(status(effective, bounding))!, needsTool).map((check) => [check.name, check]),
    );

  test('without any, capturing fails and the rest are warnings; where the bounding set lacks it, that is said', () => {
    const checks = checked('0', '2000', true);
    expect(checks['CAP_NET_RAW']).toMatchObject({ status: 'failed', found: 'not effective' });
    for (const name of ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH', 'CAP_SYS_ADMIN', 'CAP_NET_ADMIN']) {
      expect(checks[name]).toMatchObject({ status: 'warning', found: 'not effective, nor in the bounding set' });
      expect(checks[name]!.remedy).toContain(`--cap-add ${name.slice(4)}`);
    }
  });

  test('CAP_DAC_OVERRIDE does what CAP_DAC_READ_SEARCH does', () => {
    expect(checked('2', '2', true)['CAP_DAC_READ_SEARCH']).toMatchObject({ status: 'ok' });
  });

  test('CAP_NET_ADMIN is not missed where /proc/net/nf_conntrack tells', () => {
    expect(checked('0', '0', false)['CAP_NET_ADMIN']).toMatchObject({ status: 'ok' });
  });
});
