/**
 * Neighbor Discovery (RFC 4861), as tcpdump prints it. Its options are printed with `-v` only.
 */
import { ICMPV6 } from '../../decode/icmpv6.ts';
import { printNeighborDiscoveryOptions, routerPreference } from './neighbor-discovery-options.ts';
import { bitNames, type Printer } from './printer.ts';

/** RFC 4861 section 4.2, RFC 6275 section 7.1; 0x02 is of a draft. */
const ROUTER_FLAGS = [
  [0x80, 'managed'],
  [0x40, 'other stateful'],
  [0x20, 'home agent'],
  [0x02, 'ipv6 only'],
] as const;

/** RFC 4861, section 4.4. */
const NEIGHBOR_FLAGS = [
  [0x80, 'router'],
  [0x40, 'solicited'],
  [0x20, 'override'],
] as const;

/** Octets before the options. */
const OPTIONS_AT = {
  ROUTER_SOLICITATION: 8,
  ROUTER_ADVERTISEMENT: 16,
  NEIGHBOR: 24,
  REDIRECT: 40,
} as const;

/** False where the message is cut short. */
export function printNeighborDiscovery(p: Printer, type: number, at: number, length: number): boolean {
  switch (type) {
    case ICMPV6.ROUTER_SOLICITATION:
      return printOptions(p, at, OPTIONS_AT.ROUTER_SOLICITATION, length);
    case ICMPV6.ROUTER_ADVERTISEMENT:
      if (p.verbose) printRouter(p, at);
      return printOptions(p, at, OPTIONS_AT.ROUTER_ADVERTISEMENT, length);
    // RFC 4861, sections 4.3 and 4.4:
    //
    //   4  |R|S|O|                     Reserved                            |
    //   8  |                      Target Address (16)                      |
    case ICMPV6.NEIGHBOR_SOLICITATION:
      p.print(`, who has ${p.ipv6(at + 8)}`);
      return printOptions(p, at, OPTIONS_AT.NEIGHBOR, length);
    case ICMPV6.NEIGHBOR_ADVERTISEMENT:
      p.print(`, tgt is ${p.ipv6(at + 8)}`);
      if (p.verbose) p.print(`, Flags [${bitNames(NEIGHBOR_FLAGS, p.u8(at + 4), ', ')}]`);
      return printOptions(p, at, OPTIONS_AT.NEIGHBOR, length);
    default:
      // RFC 4861, section 4.5:
      //
      //   4  |                           Reserved                            |
      //   8  |                      Target Address (16)                      |
      //  24  |                    Destination Address (16)                   |
      p.print(`, ${p.ipv6(at + 24)}`);
      p.print(` to ${p.ipv6(at + 8)}`);
      return printOptions(p, at, OPTIONS_AT.REDIRECT, length);
  }
}

function printOptions(p: Printer, at: number, optionsAt: number, length: number): boolean {
  return !p.verbose || printNeighborDiscoveryOptions(p, at + optionsAt, length - optionsAt);
}

/**
 * RFC 4861 section 4.2, RFC 4191 section 2.2:
 *
 *   4  | Cur Hop Limit |M|O|H|Prf|Resvd|       Router Lifetime         |
 *   8  |                         Reachable Time                        |
 *  12  |                          Retrans Timer                        |
 */
function printRouter(p: Printer, at: number): void {
  const flags = p.u8(at + 5);
  p.print(
    `\n\thop limit ${p.u8(at + 4)}, Flags [${bitNames(ROUTER_FLAGS, flags, ', ')}], pref ${routerPreference(flags)}, ` +
      `router lifetime ${p.u16(at + 6)}s, reachable time ${p.u32(at + 8)}ms, retrans timer ${p.u32(at + 12)}ms`,
  );
}
