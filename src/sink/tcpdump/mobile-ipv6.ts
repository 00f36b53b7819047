/**
 * Home agent discovery and mobile prefixes (RFC 6275, sections 6.5 to 6.8), as tcpdump prints them.
 *
 *   4  |          Identifier           |M|O|        Reserved           |
 *   8  |        home agents' addresses (16 each), or options           |
 */
import { OTHER_TYPE } from './icmpv6-types.ts';
import { printNeighborDiscoveryOptions } from './neighbor-discovery-options.ts';
import { hex, type Printer } from './printer.ts';

const HEADER = 8;
const MANAGED = 0x8000;
const OTHER = 0x4000;

/** False where the message is cut short. */
export function printMobileMessage(p: Printer, type: number, at: number, length: number): boolean {
  const isRequest = type === OTHER_TYPE.HOME_AGENT_REQUEST || type === OTHER_TYPE.MOBILE_PREFIX_SOLICITATION;
  if (isRequest || p.verbose) p.print(`, id 0x${hex(p.u16(at + 4), 4)}`);
  if (isRequest || !p.verbose) return true;
  if (type === OTHER_TYPE.HOME_AGENT_REPLY) {
    for (let address = at + HEADER; address < at + length; address += 16) p.print(`, ${p.ipv6(address)}`);
    return true;
  }
  const flags = p.u16(at + 6) & (MANAGED | OTHER);
  if (flags !== 0) p.print(` ${(flags & MANAGED) === 0 ? '' : 'M'}${(flags & OTHER) === 0 ? '' : 'O'}`);
  return printNeighborDiscoveryOptions(p, at + HEADER, length - HEADER);
}
