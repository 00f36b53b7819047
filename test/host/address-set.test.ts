import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AddressSet, LocalAddresses } from '../../src/host/local-addresses.ts';
import { FakeProc } from './fake-proc.ts';

const FIB_TRIE = readFileSync('fixtures/proc-every-kind/net/fib_trie', 'latin1');
const IF_INET6 = readFileSync('fixtures/proc-every-kind/net/if_inet6', 'latin1');

function addressesOf(netDirectory: string, now = () => performance.now()): LocalAddresses {
  const addresses = new LocalAddresses(netDirectory, now);
  onTestFinished(() => addresses.close());
  return addresses;
}

describe('the addresses of a snapshot', () => {
  test.each([
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
  ])('%s: %s', (address, local) => {
    expect(new AddressSet(FIB_TRIE, IF_INET6).has(address)).toBe(local);
  });

  test('are unknown where a file is missing or cut, but for those that are known', () => {
    const v6 = new AddressSet(null, IF_INET6);
    expect([v6.has('192.0.2.1'), v6.has('127.0.0.1'), v6.has('2001:db8::1')]).toEqual([null, true, false]);
    const v4 = new AddressSet(FIB_TRIE, null);
    expect([v4.has('192.0.2.1'), v4.has('::1'), v4.has('2001:db8::1')]).toEqual([false, true, null]);
    const cut = new AddressSet(FIB_TRIE, IF_INET6, true);
    expect([cut.has('192.0.2.2'), cut.has('192.0.2.1')]).toEqual([true, null]);
  });

  test('never throw, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fc.constantFrom('|-- ', '1.2.3', '/32', ' host LOCAL', '\n', '999', ' ')).map((parts) => parts.join('')),
    );
    fc.assert(fc.property(text, text, text, (trie, inet6, address) => void new AddressSet(trie, inet6).has(address)));
  });
});

describe('the addresses of this system', () => {
  test('are those of its interfaces', async () => {
    const addresses = addressesOf('/proc/net');
    expect(addresses.isLocal('192.0.2.200')).toBeNull();
    await addresses.warm();
    for (const { address } of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
      expect([address, addresses.isLocal(address)]).toEqual([address, true]);
    }
    expect(addresses.isLocal('203.0.113.77')).toBe(false);
  });

  test('are read again after a second', async () => {
    const proc = new FakeProc();
    proc.net('if_inet6', '');
    let time = 0;
    const addresses = addressesOf(`${proc.root}/net`, () => time);
    expect(await addresses.check('2001:db8::2')).toBe(false);
    proc.net('if_inet6', IF_INET6);
    expect(await addresses.check('2001:db8::2')).toBe(false);
    time = 1_500;
    expect(await addresses.check('2001:db8::2')).toBe(true);
  });
});
