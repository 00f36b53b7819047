/**
 * The pcap-filter expression of a live capture. It takes every ICMP error, whatever it quotes, so that the
 * kernel's own counts of them can be held against what was captured. And that of the datagrams of some flows.
 *
 * `and` and `or` bind alike in pcap-filter, hence all the parentheses.
 */

import { reversed, type UdpTuple } from '../host/udp-tuple.ts';

const ICMPV4_ERRORS = 'icmp and (icmp[0] = 3 or icmp[0] = 4 or icmp[0] = 5 or icmp[0] = 11 or icmp[0] = 12)';
// Not icmp6[0], which libpcap knows since 1.10 only; 40 octets is the length of the IPv6 header.
const ICMPV6_ERRORS = 'icmp6 and ip6[40] < 128';

/**
 * The user's expression stands where libpcap sees that it excludes ICMP (`port 53`) and says so: behind the
 * comparisons of octets its optimizer loses track.
 *
 * @param expression the user's, or empty
 */
export function captureFilter(allIcmp: boolean, expression: string): string {
  const parts = ['icmp or icmp6'];
  if (expression !== '') parts.push(expression);
  if (!allIcmp) parts.push(`(${ICMPV4_ERRORS}) or (${ICMPV6_ERRORS})`);
  return parts.map((part) => `(${part})`).join(' and ');
}

/**
 * The datagrams of these flows, and nothing else; null where there are none.
 * @param answersOnly whether of a flow those to `local` are enough
 */
export function followFilter(tuples: readonly (readonly [tuple: UdpTuple, answersOnly: boolean])[]): string | null {
  if (tuples.length === 0) return null;
  const directions = tuples.flatMap(([tuple, answersOnly]) => {
    const answers = datagramsOf(reversed(tuple));
    return answersOnly ? [answers] : [answers, datagramsOf(tuple)];
  });
  // In their order, so that the same flows make the same filter.
  return `udp and (${directions.toSorted().join(' or ')})`;
}

function datagramsOf({ local, localPort, remote, remotePort }: UdpTuple): string {
  return `(src host ${local} and src port ${localPort} and dst host ${remote} and dst port ${remotePort})`;
}
