/**
 * ICMPv6 types (IANA "ICMPv6 Parameters") beyond those of decode/icmpv6.ts, and what tcpdump calls them all.
 */
import { ICMPV6 } from '../../decode/icmpv6.ts';

export const OTHER_TYPE = {
  ROUTER_RENUMBERING: 138,
  NODE_INFORMATION_QUERY: 139,
  NODE_INFORMATION_REPLY: 140,
  INVERSE_SOLICITATION: 141,
  INVERSE_ADVERTISEMENT: 142,
  HOME_AGENT_REQUEST: 144,
  HOME_AGENT_REPLY: 145,
  MOBILE_PREFIX_SOLICITATION: 146,
  MOBILE_PREFIX_ADVERTISEMENT: 147,
  RPL: 155,
} as const;

/** icmp6_type_values of print-icmp6.c. The names of 139 and 140 are those of a draft that used their numbers before. */
const NAMES = new Map<number, string>([
  [ICMPV6.DESTINATION_UNREACHABLE, 'destination unreachable'],
  [ICMPV6.PACKET_TOO_BIG, 'packet too big'],
  [ICMPV6.TIME_EXCEEDED, 'time exceeded in-transit'],
  [ICMPV6.PARAMETER_PROBLEM, 'parameter problem'],
  [ICMPV6.ECHO_REQUEST, 'echo request'],
  [ICMPV6.ECHO_REPLY, 'echo reply'],
  [ICMPV6.LISTENER_QUERY, 'multicast listener query'],
  [ICMPV6.LISTENER_REPORT, 'multicast listener report'],
  [ICMPV6.LISTENER_DONE, 'multicast listener done'],
  [ICMPV6.ROUTER_SOLICITATION, 'router solicitation'],
  [ICMPV6.ROUTER_ADVERTISEMENT, 'router advertisement'],
  [ICMPV6.NEIGHBOR_SOLICITATION, 'neighbor solicitation'],
  [ICMPV6.NEIGHBOR_ADVERTISEMENT, 'neighbor advertisement'],
  [ICMPV6.REDIRECT, 'redirect'],
  [OTHER_TYPE.ROUTER_RENUMBERING, 'router renumbering'],
  [OTHER_TYPE.NODE_INFORMATION_QUERY, 'who-are-you request'],
  [OTHER_TYPE.NODE_INFORMATION_REPLY, 'who-are-you reply'],
  [OTHER_TYPE.INVERSE_SOLICITATION, 'inverse neighbor solicitation'],
  [OTHER_TYPE.INVERSE_ADVERTISEMENT, 'inverse neighbor advertisement'],
  [ICMPV6.LISTENER_REPORT_V2, 'multicast listener report v2'],
  [OTHER_TYPE.HOME_AGENT_REQUEST, 'ha discovery request'],
  [OTHER_TYPE.HOME_AGENT_REPLY, 'ha discovery reply'],
  [OTHER_TYPE.MOBILE_PREFIX_SOLICITATION, 'mobile router solicitation'],
  [OTHER_TYPE.MOBILE_PREFIX_ADVERTISEMENT, 'mobile router advertisement'],
  [OTHER_TYPE.RPL, 'RPL'],
  [200, 'mtrace response'],
  [201, 'mtrace message'],
]);

export function typeName(type: number): string {
  return NAMES.get(type) ?? `unknown icmp6 type (${type})`;
}
