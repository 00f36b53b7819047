import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errnoFor, ICMP_ERRNOS, verdict } from '../../src/correlate/verdict.ts';
import type { Match } from '../../src/event.ts';

interface Injected {
  version: 4 | 6;
  type: number;
  code: number;
  connected: boolean;
  /** What SO_ERROR held afterwards. */
  errno: string | null;
}

const SCRIPT = fileURLToPath(new URL('so_error.py', import.meta.url));
const canInject = process.getuid?.() === 0 && spawnSync('unshare', ['-n', 'python3', '-c', '']).status === 0;

describe.skipIf(!canInject)('an injected error', () => {
  test('sets on the socket what the verdict says', () => {
    const { stdout, stderr, status } = spawnSync('unshare', ['-n', 'python3', SCRIPT], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    const injected = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Injected);
    expect(injected).toHaveLength((18 + 8 + 18) * 2);
    for (const { version, type, code, connected, errno } of injected) {
      const said = verdict(version, type, code, connected ? 'connected' : 'bound');
      const told = said.outcome === 'reported' ? said.errno : null;
      expect({ version, type, code, connected, errno: told }).toEqual({ version, type, code, connected, errno });
    }
  });
});

describe('a verdict', () => {
  test.each<[string, 4 | 6, number, number, Match, string | null, string]>([
    ['refused, connected', 4, 3, 3, 'connected', 'ECONNREFUSED', 'reported'],
    ['refused, not connected', 4, 3, 3, 'wildcard', 'ECONNREFUSED', 'ignored'],
    ['refused, socket gone', 4, 3, 3, 'none', 'ECONNREFUSED', 'no-socket'],
    ['refused, from memory', 4, 3, 3, 'closed', 'ECONNREFUSED', 'no-socket'],
    ['refused, no table', 4, 3, 3, null, 'ECONNREFUSED', 'unknown'],
    ['host unreachable is not fatal', 4, 3, 1, 'connected', 'EHOSTUNREACH', 'ignored'],
    ['fragmentation needed, connected', 4, 3, 4, 'connected', 'EMSGSIZE', 'reported'],
    ['fragmentation needed, not connected', 4, 3, 4, 'bound', 'EMSGSIZE', 'pmtu'],
    ['packet too big, not connected', 6, 2, 0, 'wildcard', 'EMSGSIZE', 'pmtu'],
    ['source quench', 4, 4, 0, 'connected', null, 'ignored'],
    ['redirect', 4, 5, 1, 'connected', null, 'ignored'],
    ['reassembly time exceeded', 4, 11, 1, 'connected', null, 'ignored'],
    ['code above NR_ICMP_UNREACH', 4, 3, 16, 'connected', null, 'ignored'],
    ['v6 redirect', 6, 137, 0, 'connected', null, 'ignored'],
  ])('%s', (_, version, type, code, match, errno, outcome) => {
    expect(verdict(version, type, code, match)).toEqual({ errno, outcome });
  });

  test('exists for every type and code; what maps to nothing is not fatal', () => {
    fc.assert(
      fc.property(fc.constantFrom(4 as const, 6 as const), fc.nat(255), fc.nat(255), (version, type, code) => {
        const { errno, fatal } = errnoFor(version, type, code);
        expect(errno === null && fatal).toBe(false);
      }),
    );
  });

  test('every one of which is listed, and no other', () => {
    const errnos = new Set<string | null>();
    for (const version of [4, 6] as const) {
      for (let type = 0; type < 256; type++) {
        for (let code = 0; code < 256; code++) errnos.add(errnoFor(version, type, code).errno);
      }
    }
    errnos.delete(null);
    expect([...errnos].toSorted()).toEqual(ICMP_ERRNOS);
  });
});
