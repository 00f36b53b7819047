/**
 * The pcap-filter expression of a live capture. It takes every ICMP error, whatever it quotes, so that the
 * kernel's own counts of them can be held against what was captured. And that of the datagrams of some flows.
 *
 * The words `icmp` and `icmp6` know neither VLAN tags nor IPv6 extension headers, so for these there are comparisons of
 * octets. They let through more than ICMP errors only where that is rare, and the decoder has the last word. `protochain`
 * will not do: it loops, which the kernel refuses, and libpcap then copies all traffic to filter it itself. Nor will `vlan`:
 * it shifts what follows it, and LINUX_SLL2 has no such word.
 */

import { VLAN_TAGS } from '../decode/link.ts';
import { reversed, type UdpTuple } from '../host/udp-tuple.ts';
import { ANY_DEVICE } from './capture-protocol.ts';

const ICMPV4 = 'icmp';
const ICMPV4_ERRORS = '(icmp and (icmp[0] = 3 or icmp[0] = 4 or icmp[0] = 5 or icmp[0] = 11 or icmp[0] = 12))';

/** Next Header: hop-by-hop options, routing, fragment, authentication, destination options. */
const EXTENSION_HEADERS = [0, 43, 44, 51, 60];

/**
 * Where to look for what the first tag that stands in the packet announces. The kernel takes a tag off before the filter
 * sees the packet, but only the outermost one, and not from packets that this host sends through a device which leaves
 * tagging to software.
 */
interface TagPlaces {
  /** Of the EtherType behind the tag, and of the header that it announces, in the packet as the filter counts it. */
  etherType: number;
  payload: number;
}
const ON_ETHERNET: TagPlaces = { etherType: 16, payload: 18 };
/** The packet's octets come after the 20 of LINUX_SLL2's header, which has the EtherType of the tag itself. */
const ON_LINUX_SLL2: TagPlaces = { etherType: 22, payload: 24 };
/** Of packets that this host sends the kernel shows them from the IP header on, and yet says that a tag comes first. */
const LINUX_SLL2_PAYLOAD = 20;

/**
 * The expressions, of which the first that libpcap takes is to be used: the last is made of words that all link types with
 * IP in them take.
 *
 * The user's expression stands where libpcap sees that it excludes ICMP (`port 53`) and says so: behind comparisons of
 * octets its optimizer loses track. Hence what may be ICMP in few words before it, and what is exactly, after it.
 *
 * @param expression the user's, or empty
 */
export function captureFilters(device: string, allIcmp: boolean, expression: string): string[] {
  const tags = VLAN_TAGS.map((tag) => `ether proto ${tag}`);
  // Those behind a fragment header are in the words already; naming that header would let `udp` look for UDP behind it.
  const extended = EXTENSION_HEADERS.filter((header) => header !== 44).map((header) => `ip6 proto ${header}`);
  const users = expression === '' ? [] : [`(${expression})`];
  const ipv4 = allIcmp ? ICMPV4 : ICMPV4_ERRORS;
  const exactly = any(ipv4, icmpv6(allIcmp), all(any(...tags), behindTag(device, allIcmp)));
  return [
    all(any('icmp', 'icmp6', ...extended, ...tags), ...users, exactly),
    all('(icmp or icmp6)', ...users, ...(allIcmp ? [] : [any(ipv4, '(icmp6 and ip6[40] < 128)')])),
  ];
}

/** Behind one extension header ICMPv6, or a second extension header, whatever follows that one. */
function icmpv6(allIcmp: boolean): string {
  // Not icmp6[0], which libpcap knows since 1.10 only; 40 octets is the length of the IPv6 header.
  const isError = (offset: string): string[] => (allIcmp ? [] : [`ip6[${offset}] < 128`]);
  return any(
    all('ip6[6] = 58', ...isError('40')),
    all(
      'ip6[40] = 58',
      any(
        all('ip6[6] = 44', ...(allIcmp ? [] : ['ip6[42:2] & 0xfff8 = 0']), ...isError('48')),
        // In units of four octets there, and of eight in the others.
        all('ip6[6] = 51', ...isError('48 + ip6[41] * 4')),
        all(oneOf('ip6[6]', [0, 43, 60]), ...isError('48 + ip6[41] * 8')),
      ),
    ),
    all(oneOf('ip6[6]', EXTENSION_HEADERS), oneOf('ip6[40]', EXTENSION_HEADERS)),
  );
}

/** Behind one tag or two. */
function behindTag(device: string, allIcmp: boolean): string {
  const { etherType, payload } = device === ANY_DEVICE ? ON_LINUX_SLL2 : ON_ETHERNET;
  const behind = (at: number): string =>
    any(
      all(`link[${at - 2}:2] = 0x0800`, icmpv4At(at, allIcmp)),
      all(`link[${at - 2}:2] = 0x86dd`, icmpv6At(at, allIcmp)),
    );
  const places = [behind(payload), all(oneOf(`link[${etherType}:2]`, VLAN_TAGS), behind(payload + 4))];
  if (device === ANY_DEVICE) {
    const at = LINUX_SLL2_PAYLOAD;
    places.push(
      all(`link[${at}] & 0xf0 = 0x40`, icmpv4At(at, allIcmp)),
      all(`link[${at}] & 0xf0 = 0x60`, icmpv6At(at, allIcmp)),
    );
  }
  return any(...places);
}

/** In octets of the packet, which nothing shifts: an IPv4 header at `at`. Of the rest, echo alone is frequent. */
function icmpv4At(at: number, allIcmp: boolean): string {
  const isIcmp = `link[${at + 9}] = 1`;
  if (allIcmp) return isIcmp;
  return all(isIcmp, `not (link[${at}] = 0x45 and ${oneOf(`link[${at + 20}]`, [0, 8])})`);
}

function icmpv6At(at: number, allIcmp: boolean): string {
  const next = `link[${at + 6}]`;
  return any(
    all(`${next} = 58`, ...(allIcmp ? [] : [`link[${at + 40}] < 128`])),
    all(oneOf(next, EXTENSION_HEADERS), oneOf(`link[${at + 40}]`, [58, ...EXTENSION_HEADERS])),
  );
}

/** `and` and `or` bind alike in pcap-filter, hence all the parentheses. */
function any(...parts: readonly string[]): string {
  return `(${parts.join(' or ')})`;
}

function all(...parts: readonly string[]): string {
  return `(${parts.join(' and ')})`;
}

function oneOf(field: string, values: readonly number[]): string {
  return any(...values.map((value) => `${field} = ${value}`));
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
