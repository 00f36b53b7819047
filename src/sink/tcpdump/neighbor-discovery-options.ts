/**
 * Options of Neighbor Discovery messages, as tcpdump prints them: each on a line of its own.
 */
import { formatIpv6 } from '../../decode/octets.ts';
import { printDomainName } from './domain-name.ts';
import { bitNames, type Printer } from './printer.ts';

const OPTION = {
  SOURCE_LINK_ADDRESS: 1,
  TARGET_LINK_ADDRESS: 2,
  PREFIX_INFORMATION: 3,
  REDIRECTED_HEADER: 4,
  MTU: 5,
  ADVERTISEMENT_INTERVAL: 7,
  HOME_AGENT_INFORMATION: 8,
  ROUTE_INFORMATION: 24,
  RDNSS: 25,
  DNSSL: 31,
} as const;

const NAMES = new Map<number, string>([
  [OPTION.SOURCE_LINK_ADDRESS, 'source link-address'],
  [OPTION.TARGET_LINK_ADDRESS, 'destination link-address'],
  [OPTION.PREFIX_INFORMATION, 'prefix info'],
  [OPTION.REDIRECTED_HEADER, 'redirected header'],
  [OPTION.MTU, 'mtu'],
  [OPTION.RDNSS, 'rdnss'],
  [OPTION.DNSSL, 'dnssl'],
  [OPTION.ADVERTISEMENT_INTERVAL, 'advertisement interval'],
  [OPTION.HOME_AGENT_INFORMATION, 'homeagent information'],
  [OPTION.ROUTE_INFORMATION, 'route info'],
]);

/** RFC 4861 section 4.6.2, RFC 6275 section 7.2. */
const PREFIX_FLAGS = [
  [0x80, 'onlink'],
  [0x40, 'auto'],
  [0x20, 'router'],
] as const;

/** RFC 4191, section 2.1. */
export function routerPreference(flags: number): string {
  return ['medium', 'high', 'rsv', 'low'][(flags >> 3) & 3]!;
}

/**
 * The options from `first` on; `rest` octets are left by the IP header. False where they are cut short or invalid. As
 * tcpdump does it, what follows an option that it does not know is not printed.
 *
 *   0  |     Type      |    Length (8s)|              ...              |
 */
export function printNeighborDiscoveryOptions(p: Printer, first: number, rest: number): boolean {
  for (let at = first; at < p.end;) {
    if (!p.has(at, 2)) return false;
    if (at - first >= rest) return true;
    const type = p.u8(at);
    const words = p.u8(at + 1);
    if (words === 0 || !p.has(at, words * 8)) return false;
    p.print(`\n\t  ${NAMES.get(type) ?? 'unknown'} option (${type}), length ${words * 8} (${words}): `);
    if (!NAMES.has(type)) {
      p.printHexDump('\n\t  ', at + 2, words * 8 - 2);
      return true;
    }
    if (!printOption(p, type, words, at, first)) return false;
    at += words * 8;
  }
  return true;
}

function printOption(p: Printer, type: number, words: number, at: number, first: number): boolean {
  switch (type) {
    case OPTION.SOURCE_LINK_ADDRESS:
    case OPTION.TARGET_LINK_ADDRESS:
      p.print(p.hex(at + 2, words * 8 - 2).replace(/..(?=.)/g, '$&:'));
      return true;
    case OPTION.PREFIX_INFORMATION:
      printPrefix(p, words, at);
      return true;
    case OPTION.REDIRECTED_HEADER:
      // From the first option on, whichever this is.
      p.printHexDump('\n\t    ', first, words * 8);
      return true;
    case OPTION.MTU:
      p.print(` ${p.u32(at + 4)}${words === 1 ? '' : 'bad option length'}`);
      return true;
    case OPTION.ADVERTISEMENT_INTERVAL:
      p.print(` ${p.u32(at + 4)}ms`);
      return true;
    case OPTION.HOME_AGENT_INFORMATION:
      p.print(` preference ${p.u16(at + 4)}, lifetime ${p.u16(at + 6)}`);
      return true;
    case OPTION.ROUTE_INFORMATION:
      return printRoute(p, words, at);
    case OPTION.RDNSS:
      // RFC 8106, section 5.1: | Type | Length | Reserved | Lifetime (4) | Addresses (16 each) |
      p.print(` lifetime ${p.u32(at + 4)}s,`);
      for (let server = at + 8; server + 16 <= at + words * 8; server += 16) p.print(` addr: ${p.ipv6(server)}`);
      return true;
    default:
      return printSearchList(p, words, at, first);
  }
}

/**
 * RFC 4861, section 4.6.2:
 *
 *   0  |     Type      |    Length     | Prefix Length |L|A|R|Reserved1|
 *   4  |                         Valid Lifetime                        |
 *   8  |                       Preferred Lifetime                      |
 *  12  |                           Reserved2                           |
 *  16  |                           Prefix (16)                         |
 */
function printPrefix(p: Printer, words: number, at: number): void {
  p.print(
    `${p.ipv6(at + 16)}/${p.u8(at + 2)}${words === 4 ? '' : 'badlen'}, ` +
      `Flags [${bitNames(PREFIX_FLAGS, p.u8(at + 3), ', ')}], valid time ${lifetime(p.u32(at + 4))}`,
  );
  p.print(`, pref. time ${lifetime(p.u32(at + 8))}`);
}

/**
 * RFC 4191, section 2.3:
 *
 *   0  |     Type      |    Length     | Prefix Length |Resvd|Prf|Resvd|
 *   4  |                        Route Lifetime                         |
 *   8  |                   Prefix (0, 8 or 16 octets)                  |
 */
function printRoute(p: Printer, words: number, at: number): boolean {
  if (words > 3) return false;
  const address = new Uint8Array(16);
  address.set(p.bytes.subarray(at + 8, at + words * 8));
  p.print(` ${formatIpv6(address, 0)}/${p.u8(at + 2)}`);
  p.print(`, pref=${routerPreference(p.u8(at + 3))}`);
  p.print(`, lifetime=${lifetime(p.u32(at + 4))}`);
  return true;
}

/**
 * RFC 8106, section 5.2:
 *
 *   0  |     Type      |    Length     |           Reserved            |
 *   4  |                           Lifetime                            |
 *   8  |                    Domain Names (RFC 1035)                    |
 */
function printSearchList(p: Printer, words: number, at: number, first: number): boolean {
  p.print(` lifetime ${p.u32(at + 4)}s, domain(s):`);
  for (let name: number | null = at + 8; name < at + words * 8 && p.u8(name) !== 0;) {
    p.print(' ');
    name = printDomainName(p, name, first);
    if (name === null) return false;
  }
  return true;
}

function lifetime(seconds: number): string {
  return seconds === 0xffffffff ? 'infinity' : `${seconds}s`;
}
