/**
 * The pcap-filter expression of a live capture. It takes every ICMP error, whatever it quotes, so that the
 * kernel's own counts of them can be held against what was captured.
 *
 * `and` and `or` bind alike in pcap-filter, hence all the parentheses.
 */

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
