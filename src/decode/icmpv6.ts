/**
 * ICMPv6 (RFC 4443).
 *
 *  |     Type      |     Code      |          Checksum             |
 *  |             depends on the type (4 octets)                    |
 *  |      errors: as much of the invoking packet as fits           |
 */

export const ICMPV6 = {
  DESTINATION_UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
  LISTENER_QUERY: 130,
  LISTENER_REPORT: 131,
  LISTENER_DONE: 132,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOR_SOLICITATION: 135,
  NEIGHBOR_ADVERTISEMENT: 136,
  REDIRECT: 137,
  LISTENER_REPORT_V2: 143,
} as const;

/**
 * Whether messages of this type are errors that quote the invoking packet. RFC 4443 section 2.1: types below 128 are, of
 * which four are assigned; the others are handed to the upper layer too (section 2.4 (a), icmpv6_rcv in net/ipv6/icmp.c).
 */
export function isIcmpv6Error(type: number): boolean {
  return type < ICMPV6.ECHO_REQUEST;
}

/** IANA "ICMPv6 Parameters", code fields of type 1. */
const UNREACHABLE: readonly string[] = [
  'no-route',
  'administratively-prohibited',
  'beyond-scope',
  'address-unreachable',
  'port-unreachable',
  'source-address-failed-policy',
  'reject-route',
  'error-in-source-routing-header',
  'headers-too-long',
];
const TIME_EXCEEDED: readonly string[] = ['hop-limit-exceeded', 'fragment-reassembly-time-exceeded'];
const PARAMETER_PROBLEM: readonly string[] = [
  'erroneous-header-field',
  'unrecognized-next-header',
  'unrecognized-option',
  'incomplete-header-chain',
];

const OTHER_TYPES = new Map<number, string>([
  [ICMPV6.PACKET_TOO_BIG, 'packet-too-big'],
  [ICMPV6.ECHO_REQUEST, 'echo-request'],
  [ICMPV6.ECHO_REPLY, 'echo-reply'],
  [ICMPV6.LISTENER_QUERY, 'multicast-listener-query'],
  [ICMPV6.LISTENER_REPORT, 'multicast-listener-report'],
  [ICMPV6.LISTENER_DONE, 'multicast-listener-done'],
  [ICMPV6.ROUTER_SOLICITATION, 'router-solicitation'],
  [ICMPV6.ROUTER_ADVERTISEMENT, 'router-advertisement'],
  [ICMPV6.NEIGHBOR_SOLICITATION, 'neighbor-solicitation'],
  [ICMPV6.NEIGHBOR_ADVERTISEMENT, 'neighbor-advertisement'],
  [ICMPV6.REDIRECT, 'redirect'],
  [ICMPV6.LISTENER_REPORT_V2, 'multicast-listener-report-v2'],
]);

/** IANA's name, hyphenated; `type-T-code-C` where it has none. */
export function icmpv6Name(type: number, code: number): string {
  let name: string | undefined;
  switch (type) {
    case ICMPV6.DESTINATION_UNREACHABLE:
      name = UNREACHABLE[code];
      break;
    case ICMPV6.TIME_EXCEEDED:
      name = TIME_EXCEEDED[code];
      break;
    case ICMPV6.PARAMETER_PROBLEM:
      name = PARAMETER_PROBLEM[code];
      break;
    default:
      name = OTHER_TYPES.get(type);
  }
  return name ?? `type-${type}-code-${code}`;
}
