/**
 * An ICMPv6 message, as tcpdump prints it (print-icmp6.c). Of the packet that an error quotes it prints the destination
 * and the port, with `-v` no more than without.
 */
import { ICMPV6 } from '../../decode/icmpv6.ts';
import { PROTOCOL } from '../../decode/ip.ts';
import { checksum, pseudoHeaderSum, rightChecksum, sumOf } from './checksum.ts';
import { OTHER_TYPE, typeName } from './icmpv6-types.ts';
import { EXTENSION_HEADER } from './ipv6-extension-headers.ts';
import { printListenerMessage, printListenerQuery, printListenerReport } from './multicast-listener.ts';
import { printMobileMessage } from './mobile-ipv6.ts';
import { printNeighborDiscovery } from './neighbor-discovery.ts';
import { printNodeInformationQuery, printNodeInformationReply } from './node-information.ts';
import type { Payload } from './payload.ts';
import { hex, type Printer } from './printer.ts';
import { printRouterRenumbering } from './router-renumbering.ts';
import { printRpl } from './rpl.ts';

/** Octets before what an error quotes, and of the header that it quotes. */
const HEADER = 8;
const QUOTED_SOURCE = HEADER + 8;
const QUOTED_DESTINATION = HEADER + 24;

/** Types after whose name the length comes even with `-v`, as other lines follow. */
const LENGTH_FIRST: ReadonlySet<number> = new Set([
  ICMPV6.ROUTER_SOLICITATION,
  ICMPV6.ROUTER_ADVERTISEMENT,
  ICMPV6.NEIGHBOR_SOLICITATION,
  ICMPV6.NEIGHBOR_ADVERTISEMENT,
  ICMPV6.REDIRECT,
  OTHER_TYPE.HOME_AGENT_REPLY,
  OTHER_TYPE.MOBILE_PREFIX_ADVERTISEMENT,
]);

/**
 * RFC 4443, section 2.1:
 *
 *   0  |     Type      |     Code      |          Checksum             |
 *   4  |                         Message Body                          |
 */
export function printIcmpv6(p: Printer, payload: Payload): void {
  const { at, length } = payload;
  p.protocol = 'icmp6';
  if (length === 0) {
    p.print('ICMP6, length 0');
    return p.printInvalid();
  }
  if (p.verbose && !payload.fragmented && p.has(at, length)) printChecksum(p, payload);
  const type = p.u8(at);
  p.print(`ICMP6, ${typeName(type)}`);
  if (p.verbose && LENGTH_FIRST.has(type)) p.print(`, length ${length}`);
  if (printBody(p, type, at, length) && !p.verbose) p.print(`, length ${length}`);
}

function printChecksum(p: Printer, { ip, at, length }: Payload): void {
  const stated = p.u16(at + 2);
  const computed = checksum(pseudoHeaderSum(p, ip, length, PROTOCOL.ICMPV6) + sumOf(p.bytes, at, length));
  if (computed === 0) p.print('[icmp6 sum ok] ');
  else p.print(`[bad icmp6 cksum 0x${hex(stated, 4)} -> 0x${hex(rightChecksum(stated, computed), 4)}!] `);
}

/** What follows the type. Whether it went well, so that the length belongs behind it. */
function printBody(p: Printer, type: number, at: number, length: number): boolean {
  const code = p.u8(at + 1);
  switch (type) {
    case ICMPV6.DESTINATION_UNREACHABLE:
      return printUnreachable(p, code, at, length);
    case ICMPV6.PACKET_TOO_BIG:
      p.print(`, mtu ${p.u32(at + 4)}`);
      return true;
    case ICMPV6.TIME_EXCEEDED:
      if (code === 0) p.print(` for ${p.ipv6(at + QUOTED_DESTINATION)}`);
      else p.print(code === 1 ? ' (reassembly)' : `, unknown code (${code})`);
      return true;
    case ICMPV6.PARAMETER_PROBLEM: {
      p.need(at + QUOTED_DESTINATION, 16);
      const what = ['erroneous', 'next header', 'option', 'incomplete header chain'][code];
      p.print(what === undefined ? `, code-#${code}` : `, ${what} - octet ${p.u32(at + 4)}`);
      return true;
    }
    case ICMPV6.ECHO_REQUEST:
    case ICMPV6.ECHO_REPLY:
      p.print(`, id ${p.u16(at + 4)}, seq ${p.u16(at + 6)}`);
      return true;
    case ICMPV6.LISTENER_QUERY:
      printListenerQuery(p, at, length);
      return true;
    case ICMPV6.LISTENER_REPORT:
    case ICMPV6.LISTENER_DONE:
      printListenerMessage(p, at);
      return true;
    case ICMPV6.LISTENER_REPORT_V2:
      printListenerReport(p, at, length);
      return true;
    case ICMPV6.ROUTER_SOLICITATION:
    case ICMPV6.ROUTER_ADVERTISEMENT:
    case ICMPV6.NEIGHBOR_SOLICITATION:
    case ICMPV6.NEIGHBOR_ADVERTISEMENT:
    case ICMPV6.REDIRECT:
      return printNeighborDiscovery(p, type, at, length) || givesUp(p);
    case OTHER_TYPE.ROUTER_RENUMBERING:
      printRouterRenumbering(p, code, at);
      return true;
    case OTHER_TYPE.NODE_INFORMATION_QUERY:
      printNodeInformationQuery(p, code, at);
      return true;
    case OTHER_TYPE.NODE_INFORMATION_REPLY:
      printNodeInformationReply(p, code, at, length);
      return true;
    case OTHER_TYPE.INVERSE_SOLICITATION:
    case OTHER_TYPE.INVERSE_ADVERTISEMENT:
      return true;
    case OTHER_TYPE.HOME_AGENT_REQUEST:
    case OTHER_TYPE.HOME_AGENT_REPLY:
    case OTHER_TYPE.MOBILE_PREFIX_SOLICITATION:
    case OTHER_TYPE.MOBILE_PREFIX_ADVERTISEMENT:
      return printMobileMessage(p, type, at, length) || givesUp(p);
    case OTHER_TYPE.RPL:
      printRpl(p, code, at, length);
      return true;
    default:
      p.print(`, length ${length}`);
      printUnknown(p, at, length);
      return false;
  }
}

function printUnreachable(p: Printer, code: number, at: number, length: number): boolean {
  switch (code) {
    case 0:
    case 1:
    case 3:
      // The two blanks of code 1 are tcpdump's.
      p.print([', unreachable route', ',  unreachable prohibited', '', ', unreachable address'][code]!);
      p.print(` ${p.ipv6(at + QUOTED_DESTINATION)}`);
      return true;
    case 2:
      p.print(', beyond scope');
      p.print(` ${p.ipv6(at + QUOTED_DESTINATION)}, source address ${p.ipv6(at + QUOTED_SOURCE)}`);
      return true;
    case 4:
      p.print(', unreachable port');
      return printQuotedPort(p, at + HEADER);
    default:
      p.print(`, unknown unreach code (${code})`);
      printUnknown(p, at, length);
      return false;
  }
}

/** get_upperlayer() of print-icmp6.c: the port of a quoted UDP or TCP header, behind any extension headers. */
function printQuotedPort(p: Printer, ip: number): boolean {
  let protocol = p.u8(ip + 6);
  for (let at = ip + 40; ;) {
    let headerLength: number;
    switch (protocol) {
      case PROTOCOL.UDP:
      case PROTOCOL.TCP: {
        const name = protocol === PROTOCOL.UDP ? 'udp' : 'tcp';
        p.print(`, ${p.ipv6(ip + 24)} ${name} port ${p.u16(at + 2)}`);
        return true;
      }
      case EXTENSION_HEADER.HOP_BY_HOP_OPTIONS:
      case EXTENSION_HEADER.DESTINATION_OPTIONS:
      case EXTENSION_HEADER.ROUTING:
        headerLength = (p.u8(at + 1) + 1) * 8;
        break;
      case EXTENSION_HEADER.FRAGMENT:
        if ((p.u16(at + 2) & 0xfff8) !== 0) return givesUp(p);
        headerLength = 8;
        break;
      case EXTENSION_HEADER.AUTHENTICATION:
        headerLength = (p.u8(at + 1) + 2) * 4;
        break;
      default:
        return givesUp(p);
    }
    protocol = p.u8(at);
    at += headerLength;
  }
}

/** What is invalid, or is not understood, reads as what was cut off. */
function givesUp(p: Printer): false {
  p.printTruncated();
  return false;
}

/** What tcpdump shows of a message that it does not know: its octets. */
function printUnknown(p: Printer, at: number, length: number): void {
  p.printHexDump('\n\t', at, Math.min(length, p.available(at)));
}
