/**
 * ICMP for IPv4 (RFC 792, RFC 1122 section 3.2.2, RFC 1812 section 5.2.7.1).
 *
 *  |     Type      |     Code      |          Checksum             |
 *  |             depends on the type (4 octets)                    |
 *  |      errors: IP header + first octets of the datagram         |
 */

export const ICMPV4 = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  ROUTER_ADVERTISEMENT: 9,
  ROUTER_SOLICITATION: 10,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
  TIMESTAMP: 13,
  TIMESTAMP_REPLY: 14,
  INFORMATION_REQUEST: 15,
  INFORMATION_REPLY: 16,
  ADDRESS_MASK_REQUEST: 17,
  ADDRESS_MASK_REPLY: 18,
} as const;

/** Whether messages of this type quote the datagram that caused them. */
export function isIcmpv4Error(type: number): boolean {
  return (
    type === ICMPV4.DESTINATION_UNREACHABLE ||
    type === ICMPV4.SOURCE_QUENCH ||
    type === ICMPV4.REDIRECT ||
    type === ICMPV4.TIME_EXCEEDED ||
    type === ICMPV4.PARAMETER_PROBLEM
  );
}

/** IANA "ICMP Type Numbers", code fields of type 3. */
const UNREACHABLE: readonly string[] = [
  'net-unreachable',
  'host-unreachable',
  'protocol-unreachable',
  'port-unreachable',
  'fragmentation-needed',
  'source-route-failed',
  'destination-network-unknown',
  'destination-host-unknown',
  'source-host-isolated',
  'network-administratively-prohibited',
  'host-administratively-prohibited',
  'network-unreachable-for-tos',
  'host-unreachable-for-tos',
  'communication-administratively-prohibited',
  'host-precedence-violation',
  'precedence-cutoff',
];
const REDIRECTS: readonly string[] = ['redirect-network', 'redirect-host', 'redirect-tos-network', 'redirect-tos-host'];
const TIME_EXCEEDED: readonly string[] = ['ttl-exceeded-in-transit', 'fragment-reassembly-time-exceeded'];
const PARAMETER_PROBLEM: readonly string[] = ['pointer-indicates-error', 'missing-required-option', 'bad-length'];

const OTHER_TYPES = new Map<number, string>([
  [ICMPV4.ECHO_REPLY, 'echo-reply'],
  [ICMPV4.SOURCE_QUENCH, 'source-quench'],
  [ICMPV4.ECHO_REQUEST, 'echo-request'],
  [ICMPV4.ROUTER_ADVERTISEMENT, 'router-advertisement'],
  [ICMPV4.ROUTER_SOLICITATION, 'router-solicitation'],
  [ICMPV4.TIMESTAMP, 'timestamp'],
  [ICMPV4.TIMESTAMP_REPLY, 'timestamp-reply'],
  [ICMPV4.INFORMATION_REQUEST, 'information-request'],
  [ICMPV4.INFORMATION_REPLY, 'information-reply'],
  [ICMPV4.ADDRESS_MASK_REQUEST, 'address-mask-request'],
  [ICMPV4.ADDRESS_MASK_REPLY, 'address-mask-reply'],
]);

/** IANA's name, hyphenated; `type-T-code-C` where it has none. */
export function icmpv4Name(type: number, code: number): string {
  let name: string | undefined;
  switch (type) {
    case ICMPV4.DESTINATION_UNREACHABLE:
      name = UNREACHABLE[code];
      break;
    case ICMPV4.REDIRECT:
      name = REDIRECTS[code];
      break;
    case ICMPV4.TIME_EXCEEDED:
      name = TIME_EXCEEDED[code];
      break;
    case ICMPV4.PARAMETER_PROBLEM:
      name = PARAMETER_PROBLEM[code];
      break;
    default:
      name = OTHER_TYPES.get(type);
  }
  return name ?? `type-${type}-code-${code}`;
}
