import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AddressSet, parseAddresses } from '../../src/host/address-set.ts';

const FIB_TRIE = readFileSync('fixtures/proc-every-kind/net/fib_trie', 'latin1');
const IF_INET6 = readFileSync('fixtures/proc-every-kind/net/if_inet6', 'latin1');

describe('the addresses of a snapshot', () => {
  const EXPECTED: [string, boolean][] = [
    ['192.0.2.2', true],
    ['192.0.2.1', false],
    ['192.0.2.0', false],
    ['192.0.2.255', false],
    ['127.0.0.1', true],
    ['127.255.1.2', true],
    ['198.51.100.77', true],
    ['198.51.101.77', false],
    ['0.0.0.0', false],
    ['2001:db8::2', true],
    ['2001:db8::1', false],
    ['fe80::d02a:cfff:fe78:7e46', true],
    ['::1', true],
    ['::', false],
  ];

  test.each(EXPECTED)('%s: %s', (address, local) => {
    expect(parseAddresses(FIB_TRIE, IF_INET6).has(address)).toBe(local);
  });

  test.each(EXPECTED)('%s: %s, when it was saved and loaded again', (address, local) => {
    const { addresses, complete4, complete6 } = parseAddresses(FIB_TRIE, IF_INET6);
    expect(new AddressSet(addresses, complete4, complete6).has(address)).toBe(local);
  });

  test('are unknown where a file is missing or cut, but for those that are known', () => {
    const v6 = parseAddresses(null, IF_INET6);
    expect([v6.has('192.0.2.1'), v6.has('127.0.0.1'), v6.has('2001:db8::1')]).toEqual([null, true, false]);
    const v4 = parseAddresses(FIB_TRIE, null);
    expect([v4.has('192.0.2.1'), v4.has('::1'), v4.has('2001:db8::1')]).toEqual([false, true, null]);
    const cut = parseAddresses(FIB_TRIE, IF_INET6, true);
    expect([cut.has('192.0.2.2'), cut.has('192.0.2.1')]).toEqual([true, null]);
  });

  test('never throw, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(fc.constantFrom('|-- ', '1.2.3.4', '1.2.3', '/32', '/99', ' host LOCAL', '\n', '999', ' '))
        .map((parts) => parts.join('')),
    );
    fc.assert(fc.property(text, text, text, (trie, inet6, address) => void parseAddresses(trie, inet6).has(address)));
    fc.assert(
      fc.property(fc.array(text), text, (texts, address) => void new AddressSet(texts, true, true).has(address)),
    );
  });
});

test('the addresses of this system are those of its interfaces', () => {
  const set = parseAddresses(
    readFileSync('/proc/net/fib_trie', 'latin1'),
    readFileSync('/proc/net/if_inet6', 'latin1'),
  );
  for (const { address } of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
    expect([address, set.has(address)]).toEqual([address, true]);
  }
  expect(set.has('203.0.113.77')).toBe(false);
});
