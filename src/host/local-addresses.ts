/**
 * The addresses that are local to a network namespace: the `host LOCAL` routes of /proc/net/fib_trie
 * (fib_trie_seq_show in net/ipv4/fib_trie.c) and the addresses of /proc/net/if_inet6 (if6_seq_show in
 * net/ipv6/addrconf.c).
 */

import { formatIpv6 } from '../decode/octets.ts';
import { readHead } from './proc-file.ts';
import { Refresher, type Run } from './refresher.ts';

/** Milliseconds between two reads that unknown addresses cause, at least. */
const INTERVAL = 1_000;
/** A router's table of a million routes takes 100 MB; its local routes may then be beyond this. */
const MAX_OCTETS = 8 * 1024 * 1024;

interface Prefix {
  network: number;
  mask: number;
}

/** The local addresses of one namespace at one moment. */
export class AddressSet {
  readonly #exact: Set<string>;
  readonly #prefixes: Prefix[];
  readonly #complete4: boolean;
  readonly #complete6: boolean;

  /** Takes the text of both files, null where one could not be read. No text makes it throw. */
  constructor(fibTrie: string | null, ifInet6: string | null, cut = false) {
    this.#exact = new Set(['::1']);
    this.#prefixes = [{ network: 0x7f000000, mask: 0xff000000 }];
    this.#complete4 = fibTrie !== null && !cut;
    this.#complete6 = ifInet6 !== null;
    // |-- 192.0.2.2
    //    /32 host LOCAL
    // A prefix shorter than 32 is an AnyIP route: `ip route add local 198.51.100.0/24 dev lo`.
    for (const [, leaf, aliases] of (fibTrie ?? '').matchAll(/\|-- ([\d.]+)\n((?: +\/\d+ .*\n?)+)/g)) {
      for (const [, length] of aliases!.matchAll(/^ +\/(\d+) host LOCAL/gm)) {
        if (length === '32') this.#exact.add(leaf!);
        else this.#addPrefix(leaf!, Number(length));
      }
    }
    // fe8000000000000000fc00fffe000001 04 40 20 80     eth0
    for (const [digits] of (ifInet6 ?? '').matchAll(/^[0-9a-f]{32}(?= )/gm)) {
      this.#exact.add(formatIpv6(Buffer.from(digits, 'hex'), 0));
    }
  }

  /** Whether the address is local; null where that is not known. */
  has(address: string): boolean | null {
    if (this.#exact.has(address)) return true;
    if (address.includes(':')) return this.#complete6 ? false : null;
    const value = ipv4Value(address);
    if (value !== null && this.#prefixes.some(({ network, mask }) => (value & mask) >>> 0 === network)) return true;
    return this.#complete4 ? false : null;
  }

  #addPrefix(leaf: string, length: number): void {
    const value = ipv4Value(leaf);
    if (value === null || length > 32) return;
    const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
    this.#prefixes.push({ network: (value & mask) >>> 0, mask });
  }
}

/** Keeps the local addresses of a namespace: an answer is at most a second behind. */
export class LocalAddresses {
  readonly #reads: Refresher<AddressSet>;
  readonly #now: () => number;

  /** @param netDirectory `/proc/net`, `/proc/PID/net`, or `net` in a snapshot. */
  constructor(netDirectory: string, now: () => number) {
    this.#now = now;
    this.#reads = new Refresher(() => readAddresses(netDirectory, now), now, INTERVAL);
  }

  /** Reads the addresses once. */
  async warm(): Promise<void> {
    await this.#reads.join();
  }

  close(): void {
    this.#reads.close();
  }

  /** From memory; null where it is not known. An old answer makes the addresses be read again meanwhile. */
  isLocal(address: string): boolean | null {
    if (!this.#isRecent()) void this.#reads.join();
    return this.#reads.latest?.value.has(address) ?? null;
  }

  /**
   * Like `isLocal`, but an address that is not known as local is looked up in a read of the last second. A
   * promise only where that has yet to be made.
   */
  check(address: string): boolean | null | Promise<boolean | null> {
    const local = this.#reads.latest?.value.has(address) ?? null;
    if (local === true || this.#isRecent()) return local;
    return this.#reads.join().then((addresses) => addresses?.has(address) ?? null);
  }

  #isRecent(): boolean {
    const { latest } = this.#reads;
    return latest !== null && this.#now() - latest.startedAt < INTERVAL;
  }
}

async function readAddresses(netDirectory: string, now: () => number): Promise<Run<AddressSet>> {
  const start = now();
  const [fibTrie, ifInet6] = await Promise.all([
    readHead(`${netDirectory}/fib_trie`, MAX_OCTETS).catch(() => null),
    readHead(`${netDirectory}/if_inet6`, MAX_OCTETS).catch(() => null),
  ]);
  const value = new AddressSet(
    fibTrie?.bytes.toString('latin1') ?? null,
    ifInet6?.bytes.toString('latin1') ?? null,
    fibTrie?.cut ?? false,
  );
  return { value, cost: now() - start };
}

function ipv4Value(address: string): number | null {
  const octets = address.split('.').map(Number);
  if (octets.length !== 4 || !octets.every((octet) => octet >= 0 && octet <= 255)) return null;
  return octets.reduce((value, octet) => value * 256 + octet, 0);
}
