/**
 * What is deliberately not as tcpdump prints it, with the reason. There is nothing else: tools and tests know this list alone.
 */
import { LINKTYPE } from '../../src/decode/link.ts';
import type { ComparedPacket } from './compare.ts';

export interface Deliberate {
  what: string;
  reason: string;
  /** What both texts have in common; the text as it is where there is nothing to leave out. */
  inCommon?: (text: string) => string;
  /** What stands here, in a text that is otherwise the same, for what tcpdump's dissectors make of a payload. */
  standsFor?: RegExp;
  /** Of a packet that is not printed at all: what tcpdump prints of it. */
  leftOut?: RegExp;
  /** Likewise, where its text does not tell. */
  isLeftOut?: (packet: ComparedPacket) => boolean;
  /** Of a packet that tcpdump does not take for ICMP: what it prints of it. */
  added?: RegExp;
}

const DELIBERATE: readonly Deliberate[] = [
  {
    what: 'the name of a LINUX_SLL2 interface',
    reason:
      'tcpdump looks the index up on the machine that reads, where it may be another interface or none; here it is the name ' +
      'that the capture recorded, or `?`.',
    inCommon: (text) => text.replace(/^(.*?)\S+ +(In|Out|B|M|P|\?) +(?=IP6? |ethertype )/, '$1$2 '),
  },
  {
    what: 'what tcpdump’s application dissectors make of quoted UDP, TCP and SCTP payloads (-v)',
    reason:
      'Some hundred protocols, of which an error quotes the first octets: who needs them reads them with tcpdump. ' +
      '`UDP, length N` is enough.',
    standsFor:
      /UDP, (?:bad length \d+ > \d+|length \d+)|(?<=Flags \[[^R\]]*\].*, length [1-9]\d*)(?=\n|$)|(?<=ForCES .*\] )(?=,|\n|$)/g,
  },
  {
    what: 'quoted IGMP, EGP, IGRP, RSVP, EIGRP, OSPF, PIM, VRRP, PGM; what is in GRE beside IP (-v)',
    reason:
      'Protocols between neighbours, mostly by multicast: nothing answers them with an ICMP error. They are printed as ' +
      'tcpdump prints a protocol that it does not know.',
    standsFor: / ip-proto-(?:2|8|9|46|88|89|103|112|113) \d+|gre-proto-0x[\da-f]+/g,
  },
  {
    what: 'domain names in router advertisements beyond 65,536 labels a packet, or 64 characters for each octet (-v)',
    reason: 'Names point to names: of one crafted packet tcpdump prints 280 MB. The line then ends in ` [|icmp6]`.',
  },
  {
    what: 'packets more than 64 deep in each other (-v)',
    reason: 'A crafted packet of 64 KiB holds thousands, and each would be summed up again.',
  },
  {
    what: 'sequence numbers of quoted TCP relative to the first, beyond 16,384 conversations (-v)',
    reason: 'tcpdump remembers without end. Forgotten conversations have absolute numbers again.',
  },
  {
    what: 'ICMP in another packet',
    reason:
      'IPIP, 6in4, GRE, AH in IPv4, MPLS: what passes is the tunnel’s packet, which `tcpdump icmp` does not print ' +
      'either. When the tunnel’s end has unpacked it the message is printed, as it comes out of the tunnel’s interface.',
    leftOut: /^(?:.*?[ \]])?(?:MPLS |PPPoE |IP6? .*?[\da-f.:]+ > [\da-f.:]+: (?:AH\(|GREv\d|IP6? ))/,
  },
  {
    what: 'IP in an IEEE 802.3 frame (LLC, SNAP)',
    reason: 'No Ethernet has it (RFC 1122 section 2.3.3): that link layer is not decoded.',
    isLeftOut: ({ linkType, data }) => linkType === LINKTYPE.ETHERNET && data[12]! < 6,
  },
  {
    what: 'QinQ in a cooked capture',
    reason:
      'tcpdump knows the tags of IEEE 802.1ad on Ethernet alone and dumps the octets; here they are looked through.',
    added: /ethertype 802\.1Q-\S+ \(0x(?:88a8|9100|9200)\), length/,
  },
  {
    what: 'IPv6 as family 10 of LOOP',
    reason:
      'tcpdump knows the numbers of the BSDs there; 10 is that of Linux, which it knows where the link type is NULL.',
    added: /^(?:\S+ )?AF Unknown \(10\), length/,
  },
  {
    what: 'times from 2038-01-19 03:14:08 UTC on in a pcap file',
    reason: 'Its seconds have no sign; tcpdump takes them for negative and prints `[Error converting time]`.',
  },
];

/** The first on the list by which a packet may be left out of which tcpdump prints `theirs`. */
export function whyLeftOut(theirs: string, packet: ComparedPacket): Deliberate | null {
  const [first = ''] = withoutVerboseHeader(theirs).split('\n');
  return (
    DELIBERATE.find(({ leftOut, isLeftOut }) => leftOut?.test(first) === true || isLeftOut?.(packet) === true) ?? null
  );
}

/** Without the outer IP header that `-v` prints. */
function withoutVerboseHeader(text: string): string {
  return text.replace(/^(.*?IP6?) \(.*?\)\s+(?=[\da-f.:]+ > [\da-f.:]+: )/s, '$1 ');
}

/** Likewise, of what tcpdump takes for no ICMP, and is printed here. */
export function whyAdded(theirs: string): Deliberate | null {
  return DELIBERATE.find(({ added }) => added?.test(theirs) === true) ?? null;
}

/** Null, or the reason why both differ: that of the last on the list if there are several. */
export function inCommon(theirs: string, ours: string): Deliberate | null {
  let reason: Deliberate | null = null;
  for (const deliberate of DELIBERATE) {
    if (deliberate.inCommon === undefined) continue;
    const [their, our] = [deliberate.inCommon(theirs), deliberate.inCommon(ours)];
    if (their !== theirs || our !== ours) reason = deliberate;
    [theirs, ours] = [their, our];
  }
  if (theirs === ours) return reason;
  return DELIBERATE.find(({ standsFor }) => standsFor !== undefined && isDissected(theirs, ours, standsFor)) ?? null;
}

/** A dissector that misses octets ends the packet: what stands behind it here is not there then. */
function isDissected(theirs: string, ours: string, standsFor: RegExp): boolean {
  return [...ours.matchAll(standsFor)].some(({ index, 0: text }) => {
    const before = ours.slice(0, index);
    const after = ours.slice(index + text.length);
    if (!theirs.startsWith(before)) return false;
    // Not so where tcpdump says the same kind of thing, but another one.
    if (text !== '' && theirs.slice(index).search(standsFor) === 0) return false;
    return theirs.endsWith(after) || /\[\|[\w-]+\]$/.test(theirs);
  });
}
