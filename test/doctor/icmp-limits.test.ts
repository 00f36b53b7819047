import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkIcmpLimits, typeName, typesOfMask, typesOfRanges } from '../../src/doctor/icmp-limits.ts';

test.each([
  // Documentation/networking/ip-sysctl.rst: the default.
  ['6168', [3, 4, 11, 12]],
  ['0', []],
  ['4294967295', Array.from({ length: 32 }, (_, type) => type)],
])('icmp_ratemask %s', (mask, types) => {
  expect(typesOfMask(mask)).toEqual(types);
});

test.each(['', '-1', '0x1818', '1 2', '99999999999'])('is no icmp_ratemask: %j', (mask) => {
  expect(typesOfMask(mask)).toBeNull();
});

test.each([
  ['0-1,3-127', [0, 1, ...Array.from({ length: 125 }, (_, n) => n + 3)]],
  ['', []],
  ['2', [2]],
  ['1-2,2-3', [1, 2, 3]],
])('icmp.ratemask %s', (ranges, types) => {
  expect(typesOfRanges(ranges)).toEqual(types);
});

test.each(['-', '1-', '1-256', 'a', '1,,2', '1-2-3'])('is no icmp.ratemask: %j', (ranges) => {
  expect(typesOfRanges(ranges)).toBeNull();
});

test('types by name', () => {
  expect([3, 11, 12, 5, 8, 31].map((type) => typeName(4, type))).toEqual([
    'destination-unreachable',
    'time-exceeded',
    'parameter-problem',
    'redirect',
    'echo-request',
    'type 31',
  ]);
  expect([1, 2, 3, 4, 100].map((type) => typeName(6, type))).toEqual([
    'destination-unreachable',
    'packet-too-big',
    'time-exceeded',
    'parameter-problem',
    'type 100',
  ]);
});

describe('what is said', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'limits-'));
    mkdirSync(join(root, 'ipv4'));
    mkdirSync(join(root, 'ipv6/icmp'), { recursive: true });
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const set = (settings: Record<string, string>): void => {
    for (const [name, value] of Object.entries(settings)) writeFileSync(join(root, name), `${value}\n`);
  };

  test('the defaults are nothing to warn of', () => {
    set({ 'ipv4/icmp_ratelimit': '1000', 'ipv4/icmp_ratemask': '6168' });
    set({ 'ipv4/icmp_msgs_per_sec': '1000', 'ipv4/icmp_msgs_burst': '50' });
    set({ 'ipv6/icmp/ratelimit': '1000', 'ipv6/icmp/ratemask': '0-1,3-127' });
    const [v4, total, v6] = checkIcmpLimits(root);
    expect([v4, total, v6].map((check) => check!.status)).toEqual(['ok', 'ok', 'ok']);
    expect(v4!.found).toContain('1000 ms between two errors');
    expect(v4!.note).toContain(
      ': destination-unreachable, source-quench, time-exceeded, parameter-problem; the loopback',
    );
    expect(total!.found).toContain('1000 a second to all destinations, in bursts of 50');
    expect(v6!.note).toContain(
      ': destination-unreachable, time-exceeded, parameter-problem, 124 other types; the loopback',
    );
  });

  test('slower ones are, with the setting that mends it', () => {
    set({ 'ipv4/icmp_ratelimit': '60000', 'ipv4/icmp_ratemask': '0', 'ipv4/icmp_msgs_per_sec': '5' });
    const [v4, total, v6] = checkIcmpLimits(root);
    expect(v4).toMatchObject({ status: 'warning', remedy: 'sysctl -w net.ipv4.icmp_ratelimit=1000' });
    expect(v4!.note).toContain('limited: none;');
    expect(total).toMatchObject({ status: 'warning', remedy: 'sysctl -w net.ipv4.icmp_msgs_per_sec=1000' });
    expect(v6).toMatchObject({ status: 'ok', found: 'not there: IPv6 is off' });
  });

  test('what cannot be read is unknown', () => {
    expect(checkIcmpLimits(root).map(({ status }) => status)).toEqual(['unknown', 'unknown', 'ok']);
  });

  test('no limit at all', () => {
    set({ 'ipv4/icmp_ratelimit': '0', 'ipv4/icmp_ratemask': '6168' });
    expect(checkIcmpLimits(root)[0]).toMatchObject({ status: 'ok', found: '0: no limit for each destination' });
  });
});
