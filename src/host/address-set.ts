/**
 * The addresses that are local to a network namespace: the `host LOCAL` routes of /proc/net/fib_trie
 * (fib_trie_seq_show in net/ipv4/fib_trie.c) and the addresses of /proc/net/if_inet6 (if6_seq_show in
 * net/ipv6/addrconf.c).
 */

import { formatIpv6 } from '../decode/octets.ts';

interface Prefix {
  network: number;
  mask: number;
}

/** The local addresses of one namespace at one moment. */
export class AddressSet {
  readonly #exact: Set<string>;
  readonly #prefixes: Prefix[];
  readonly complete4: boolean;
  readonly complete6: boolean;
  /** As they were given: those that every namespace has, 127.0.0.0/8 and ::1, may be missing. */
  readonly addresses: readonly string[];

  /**
   * @param addresses `192.0.2.2`, `2001:db8::2`; `198.51.100.0/24` where all of a prefix is local.
   * @param complete4 those of IPv4 are all there.
   * @param complete6 those of IPv6 are all there.
   */
  constructor(addresses: Iterable<string>, complete4: boolean, complete6: boolean) {
    this.#exact = new Set(['::1']);
    this.#prefixes = [{ network: 0x7f000000, mask: 0xff000000 }];
    this.complete4 = complete4;
    this.complete6 = complete6;
    for (const text of addresses) {
      const [address, length] = text.split('/');
      if (length === undefined) this.#exact.add(address!);
      else this.#addPrefix(address!, Number(length));
    }
    this.addresses = [...addresses];
  }

  /** Whether the address is local; null where that is not known. */
  has(address: string): boolean | null {
    if (this.#exact.has(address)) return true;
    if (address.includes(':')) return this.complete6 ? false : null;
    const value = ipv4Value(address);
    if (value !== null && this.#prefixes.some(({ network, mask }) => (value & mask) >>> 0 === network)) return true;
    return this.complete4 ? false : null;
  }

  #addPrefix(leaf: string, length: number): void {
    const value = ipv4Value(leaf);
    if (value === null || length > 32) return;
    const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
    this.#prefixes.push({ network: (value & mask) >>> 0, mask });
  }
}

/** From the text of both files, null where one could not be read. No text makes it throw. */
export function parseAddresses(fibTrie: string | null, ifInet6: string | null, cut = false): AddressSet {
  const addresses = new Set<string>();
  // Main:, Local:, and for others Id 100:
  for (const table of (fibTrie ?? '').split(/^(?=\S)/m)) {
    const isOther = table.startsWith('Id ');
    // |-- 192.0.2.2
    //    /32 host LOCAL
    // A prefix shorter than 32 is an AnyIP route: `ip route add local 198.51.100.0/24 dev lo`. In other tables it is mostly
    // there for marked packets alone (TPROXY: all that there is), while the addresses of a VRF are in its table.
    for (const [, leaf, aliases] of table.matchAll(/\|-- ([\d.]+)\n((?: +\/\d+ .*\n?)+)/g)) {
      for (const [, length] of aliases!.matchAll(/^ +\/(\d+) host LOCAL/gm)) {
        if (length === '32') addresses.add(leaf!);
        else if (!isOther) addresses.add(`${leaf}/${length}`);
      }
    }
  }
  // fe8000000000000000fc00fffe000001 04 40 20 80     eth0
  for (const [digits] of (ifInet6 ?? '').matchAll(/^[0-9a-f]{32}(?= )/gm)) {
    addresses.add(formatIpv6(Buffer.from(digits, 'hex'), 0));
  }
  return new AddressSet(addresses, fibTrie !== null && !cut, ifInet6 !== null);
}

function ipv4Value(address: string): number | null {
  const octets = address.split('.').map(Number);
  if (octets.length !== 4 || !octets.every((octet) => octet >= 0 && octet <= 255)) return null;
  return octets.reduce((value, octet) => value * 256 + octet, 0);
}
