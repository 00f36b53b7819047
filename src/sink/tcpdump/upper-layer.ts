/**
 * What follows an IP header, by its protocol number (IANA "Protocol Numbers").
 */
import { PROTOCOL } from '../../decode/ip.ts';
import { printDccp } from './dccp.ts';
import { printGre } from './gre.ts';
import { printIcmpv4 } from './icmpv4.ts';
import { printIcmpv6 } from './icmpv6.ts';
import { printIpv4 } from './ipv4.ts';
import { printIpv6 } from './ipv6.ts';
import type { Payload } from './payload.ts';
import type { Printer } from './printer.ts';
import { printSctp } from './sctp.ts';
import { printAuthenticationHeader, printEsp, printIpComp, printMinimalEncapsulation } from './small-headers.ts';
import { printTcp } from './tcp.ts';
import { printUdp } from './udp.ts';

const IGMP = 2;
const IPV4_IN_IP = 4;
const IPV6_IN_IP = 41;
const GRE = 47;
const ESP = 50;
const AUTHENTICATION = 51;
const MOBILE = 55;
const NO_NEXT_HEADER = 59;
const SUN_ND = 77;
const IPCOMP = 108;
const ETHERNET = 143;

/** ipproto_values of ipproto.c. */
const NAMES = new Map<number, string>([
  [0, 'Options'],
  [PROTOCOL.ICMP, 'ICMP'],
  [IGMP, 'IGMP'],
  [IPV4_IN_IP, 'IPIP'],
  [PROTOCOL.TCP, 'TCP'],
  [8, 'EGP'],
  [9, 'IGRP'],
  [PROTOCOL.UDP, 'UDP'],
  [PROTOCOL.DCCP, 'DCCP'],
  [IPV6_IN_IP, 'IPv6'],
  [43, 'Routing'],
  [44, 'Fragment'],
  [46, 'RSVP'],
  [GRE, 'GRE'],
  [ESP, 'ESP'],
  [AUTHENTICATION, 'AH'],
  [MOBILE, 'Mobile IP'],
  [PROTOCOL.ICMPV6, 'ICMPv6'],
  [62, 'Mobile IP (old)'],
  [88, 'EIGRP'],
  [89, 'OSPF'],
  [103, 'PIM'],
  [IPCOMP, 'Compressed IP'],
  [112, 'VRRP'],
  [113, 'PGM'],
  [PROTOCOL.SCTP, 'SCTP'],
  [135, 'Mobility'],
  [ETHERNET, 'Ethernet'],
]);

export function protocolName(protocol: number): string {
  return NAMES.get(protocol) ?? 'unknown';
}

/** Whether the printer of `protocol` prints the addresses itself, with its ports. */
export function startsWithAddresses(protocol: number): boolean {
  return (
    protocol === PROTOCOL.TCP || protocol === PROTOCOL.UDP || protocol === PROTOCOL.SCTP || protocol === PROTOCOL.DCCP
  );
}

export function printUpperLayer(p: Printer, firstProtocol: number, firstPayload: Payload): void {
  let protocol = firstProtocol;
  let payload = firstPayload;
  while (protocol === AUTHENTICATION) {
    const next = printAuthenticationHeader(p, payload);
    if (next === null) return;
    protocol = p.u8(payload.at);
    payload = next;
  }
  printProtocol(p, protocol, payload);
}

function printProtocol(p: Printer, protocol: number, payload: Payload): void {
  switch (protocol) {
    case PROTOCOL.ICMP:
      if (payload.ip.version === 4) printIcmpv4(p, payload);
      else printMisplaced(p, protocol, 4);
      break;
    case PROTOCOL.ICMPV6:
      if (payload.ip.version === 6) printIcmpv6(p, payload);
      else printMisplaced(p, protocol, 6);
      break;
    case ETHERNET:
    case IGMP: {
      const belongsTo = protocol === IGMP ? 4 : 6;
      if (payload.ip.version === belongsTo) printUnknown(p, protocol, payload);
      else printMisplaced(p, protocol, belongsTo);
      break;
    }
    case PROTOCOL.UDP:
      printUdp(p, payload);
      break;
    case PROTOCOL.TCP:
      printTcp(p, payload);
      break;
    case PROTOCOL.SCTP:
      printSctp(p, payload);
      break;
    case PROTOCOL.DCCP:
      printDccp(p, payload);
      break;
    case ESP:
      printEsp(p, payload);
      break;
    case IPCOMP:
      printIpComp(p, payload);
      break;
    case MOBILE:
      printMinimalEncapsulation(p, payload);
      break;
    case GRE:
      printGre(p, payload);
      break;
    case IPV4_IN_IP:
      printIpv4(p, payload.at, payload.length);
      break;
    case IPV6_IN_IP:
      printIpv6(p, payload.at, payload.length);
      break;
    case SUN_ND:
      p.print(` nd ${payload.length}`);
      break;
    case NO_NEXT_HEADER:
      p.print('no next header');
      break;
    default:
      printUnknown(p, protocol, payload);
  }
}

function printUnknown(p: Printer, protocol: number, { length }: Payload): void {
  p.print(` ip-proto-${protocol} ${length}`);
}

function printMisplaced(p: Printer, protocol: number, version: 4 | 6): void {
  p.print(`[${protocolName(protocol)} requires IPv${version}]`);
  p.printInvalid();
}
