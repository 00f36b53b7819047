/**
 * tcpdump's line for an ICMP message, as `tcpdump -nn` 4.99 prints it, byte for byte, without the time
 * stamp. The wording follows print-icmp.c and print-icmp6.c: where octets that a message needs were not
 * captured, ` [|icmp]` stands in its place.
 */
import { ICMPV4 } from '../decode/icmpv4.ts';
import { ICMPV6 } from '../decode/icmpv6.ts';
import { IPV6_HEADER, PROTOCOL } from '../decode/ip.ts';
import type { LinkHeader } from '../decode/link.ts';
import { formatIpv4, formatIpv6, isMalformed, u16, u32 } from '../decode/octets.ts';
import type { IcmpPacket } from '../decode/packet.ts';
import { printable } from './escape.ts';
import type { Octets } from './output.ts';
import { Conversations } from './tcpdump/conversations.ts';
import { printIpv6 } from './tcpdump/ipv6.ts';
import { Printer } from './tcpdump/printer.ts';

/** What the message says, or null where octets that it needs were not captured (ICMPv6: or where it is a rare one). */
type Wording = string | null;

/** None is needed: this prints no TCP. */
const NO_CONVERSATIONS = new Conversations();

/** sll_pkttype_values of print-sll.c. */
const PACKET_TYPES: readonly string[] = ['In', 'B', 'M', 'P', 'Out'];

/**
 * The line for `packet`, which lies in `bytes`; `wireEnd` is where it would end there had all of it been
 * captured. The name of a LINUX_SLL2 packet's interface is the one that the capture recorded, `?` where it
 * recorded none (tcpdump looks the index up on the machine that reads).
 */
export function tcpdumpLine(
  bytes: Uint8Array,
  packet: IcmpPacket,
  wireEnd: number,
  link: LinkHeader | null,
  interfaceName: string | null,
): Octets {
  const prefix = linkPrefix(link, interfaceName);
  return prefix + (packet.ip.version === 4 ? ipv4Line(bytes, packet, wireEnd) : ipv6Line(bytes, packet, wireEnd));
}

/** What stands before the IP packet. */
export function linkPrefix(link: LinkHeader | null, interfaceName: string | null): Octets {
  if (link === null) return '';
  const { packetType, interfaceIndex, encapsulation } = link;
  let text = '';
  if (interfaceIndex !== null) {
    const name = interfaceName === null ? '?' : printable(interfaceName);
    text = `${name.padEnd(5)} ${(PACKET_TYPES[packetType] ?? '?').padEnd(3)} `;
  }
  return text + encapsulation;
}

function ipv4Line(bytes: Uint8Array, packet: IcmpPacket, wireEnd: number): string {
  const missing = packet.icmpOffset + packet.length - wireEnd;
  const truncated = missing > 0 ? `truncated-ip - ${missing} bytes missing! ` : '';
  const start = `IP ${truncated}${packet.ip.src} > ${packet.ip.dst}:`;
  if (packet.ip.fragmentOffset !== 0) return `${start} ip-proto-1`;
  if (packet.end < packet.icmpOffset) {
    const [captured, header] = [packet.end - packet.ipOffset, packet.icmpOffset - packet.ipOffset];
    return `${start}  [remaining caplen(${captured}) < header length(${header})] [|ip]`;
  }
  const wording = icmpv4Wording(bytes, packet);
  return wording === null ? `${start}  [|icmp]` : `${start} ICMP ${wording}, length ${packet.length}`;
}

/** An ICMP message may itself be quoted: of that no more is known than where it is. */
type Icmpv4Message = Pick<IcmpPacket, 'icmpOffset' | 'end' | 'type' | 'code'>;

export function icmpv4Wording(bytes: Uint8Array, packet: Icmpv4Message): Wording {
  const { icmpOffset: icmp, end, type, code } = packet;
  if (type === null || code === null) return null;
  switch (type) {
    case ICMPV4.ECHO_REQUEST:
    case ICMPV4.ECHO_REPLY:
      if (icmp + 8 > end) return null;
      return `echo ${type === ICMPV4.ECHO_REQUEST ? 'request' : 'reply'}, id ${u16(bytes, icmp + 4)}, seq ${u16(bytes, icmp + 6)}`;
    case ICMPV4.DESTINATION_UNREACHABLE:
      return icmpv4Unreachable(bytes, icmp, end, code);
    case ICMPV4.SOURCE_QUENCH:
      return 'source quench';
    case ICMPV4.REDIRECT:
      return icmpv4Redirect(bytes, icmp, end, code);
    case ICMPV4.TIME_EXCEEDED:
      if (quotedDestination(bytes, icmp, end) === null) return null;
      if (code === 0) return 'time exceeded in-transit';
      if (code === 1) return 'ip reassembly time exceeded';
      return `time exceeded-#${code}`;
    case ICMPV4.PARAMETER_PROBLEM:
      if (code !== 0) return `parameter problem - code ${code}`;
      return icmp + 5 > end ? null : `parameter problem - octet ${bytes[icmp + 4]}`;
    case ICMPV4.TIMESTAMP:
      if (icmp + 8 > end) return null;
      return `time stamp query id ${u16(bytes, icmp + 4)} seq ${u16(bytes, icmp + 6)}`;
    case ICMPV4.TIMESTAMP_REPLY:
      if (icmp + 20 > end) return null;
      return (
        `time stamp reply id ${u16(bytes, icmp + 4)} seq ${u16(bytes, icmp + 6)}: ` +
        `org ${sinceMidnight(u32(bytes, icmp + 8))}, recv ${sinceMidnight(u32(bytes, icmp + 12))}, ` +
        `xmit ${sinceMidnight(u32(bytes, icmp + 16))}`
      );
    case ICMPV4.ADDRESS_MASK_REPLY:
      if (icmp + 12 > end) return null;
      return `address mask is 0x${u32(bytes, icmp + 8)
        .toString(16)
        .padStart(8, '0')}`;
    case ICMPV4.ROUTER_ADVERTISEMENT:
      return icmpv4RouterAdvertisement(bytes, icmp, end);
    case ICMPV4.ROUTER_SOLICITATION:
      return 'router solicitation';
    case ICMPV4.INFORMATION_REQUEST:
      return 'information request';
    case ICMPV4.INFORMATION_REPLY:
      return 'information reply';
    case ICMPV4.ADDRESS_MASK_REQUEST:
      return 'address mask request';
    default:
      return `type-#${type}`;
  }
}

/** The destination in the quoted IPv4 header. */
function quotedDestination(bytes: Uint8Array, icmp: number, end: number): string | null {
  return icmp + 28 > end ? null : formatIpv4(bytes, icmp + 24);
}

function icmpv4Unreachable(bytes: Uint8Array, icmp: number, end: number, code: number): Wording {
  const destination = quotedDestination(bytes, icmp, end);
  if (destination === null) return null;
  switch (code) {
    case 0:
      return `net ${destination} unreachable`;
    case 1:
      return `host ${destination} unreachable`;
    case 2:
      return `${destination} protocol ${bytes[icmp + 17]} unreachable`;
    case 3: {
      // The header length is taken as it stands, as tcpdump does.
      const port = icmp + 8 + (bytes[icmp + 8]! & 0x0f) * 4 + 2;
      if (port + 2 > end) return null;
      const protocol = bytes[icmp + 17]!;
      if (protocol === PROTOCOL.UDP) return `${destination} udp port ${u16(bytes, port)} unreachable`;
      if (protocol === PROTOCOL.TCP) return `${destination} tcp port ${u16(bytes, port)} unreachable`;
      return `${destination} protocol ${protocol} port ${u16(bytes, port)} unreachable`;
    }
    case 4: {
      const mtu = u16(bytes, icmp + 6);
      return `${destination} unreachable - need to frag${mtu === 0 ? '' : ` (mtu ${mtu})`}`;
    }
    case 5:
      return `${destination} unreachable - source route failed`;
    case 6:
      return `net ${destination} unreachable - unknown`;
    case 7:
      return `host ${destination} unreachable - unknown`;
    case 8:
      return `${destination} unreachable - source host isolated`;
    case 9:
      return `net ${destination} unreachable - admin prohibited`;
    case 10:
      return `host ${destination} unreachable - admin prohibited`;
    case 11:
      return `net ${destination} unreachable - tos prohibited`;
    case 12:
      return `host ${destination} unreachable - tos prohibited`;
    case 13:
      return `host ${destination} unreachable - admin prohibited filter`;
    case 14:
      return `host ${destination} unreachable - host precedence violation`;
    case 15:
      return `host ${destination} unreachable - precedence cutoff`;
    default:
      return `${destination} unreachable - #${code}`;
  }
}

function icmpv4Redirect(bytes: Uint8Array, icmp: number, end: number, code: number): Wording {
  const destination = quotedDestination(bytes, icmp, end);
  if (destination === null) return null;
  const gateway = formatIpv4(bytes, icmp + 4);
  switch (code) {
    case 0:
      return `redirect ${destination} to net ${gateway}`;
    case 1:
      return `redirect ${destination} to host ${gateway}`;
    case 2:
      return `redirect-tos ${destination} to net ${gateway}`;
    case 3:
      return `redirect-tos ${destination} to host ${gateway}`;
    default:
      return `redirect-#${code} ${destination} to ${gateway}`;
  }
}

/** Octets. */
const WORDING_BUFFER = 164;

/** RFC 1256, section 3. */
function icmpv4RouterAdvertisement(bytes: Uint8Array, icmp: number, end: number): Wording {
  if (icmp + 8 > end) return null;
  const lifetime = u16(bytes, icmp + 6);
  const hours = Math.trunc(lifetime / 3600);
  const minutes = Math.trunc((lifetime % 3600) / 60);
  const seconds = lifetime % 60;
  let text = 'router advertisement lifetime ';
  if (lifetime < 60) text += seconds;
  else if (lifetime < 3600) text += `${minutes}:${twoDigits(seconds)}`;
  else text += `${hours}:${twoDigits(minutes)}:${twoDigits(seconds)}`;

  const count = bytes[icmp + 4]!;
  text += ` ${count}:`;
  const entryWords = bytes[icmp + 5]!;
  if (entryWords !== 2) return `${text} [size ${entryWords}]`;
  for (let entry = icmp + 8; entry < icmp + 8 + count * 8; entry += 8) {
    if (entry + 8 > end) return null;
    text += ` {${formatIpv4(bytes, entry)} ${u32(bytes, entry + 4)}}`;
  }
  // tcpdump has a buffer for it (MAXHOSTNAMELEN + 100), and what is in it is printed.
  return text.slice(0, WORDING_BUFFER - 1);
}

function twoDigits(value: number): string {
  return value.toString().padStart(2, '0');
}

/** Milliseconds since midnight UT, RFC 792. */
function sinceMidnight(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  const minutes = Math.trunc(seconds / 60);
  const hours = twoDigits(Math.trunc(minutes / 60));
  const fraction = (milliseconds % 1000).toString().padStart(3, '0');
  return `${hours}:${twoDigits(minutes % 60)}:${twoDigits(seconds % 60)}.${fraction}`;
}

/** The messages that most packets are, in one piece; what else there may be is `printIpv6`'s. */
function ipv6Line(bytes: Uint8Array, packet: IcmpPacket, wireEnd: number): string {
  const { ip, ipOffset, icmpOffset, length } = packet;
  if (icmpOffset === ipOffset + IPV6_HEADER && icmpOffset + length <= wireEnd) {
    const message = icmpv6Message(bytes, packet);
    if (message !== null) return `IP6 ${ip.src} > ${ip.dst}: ICMP6, ${message}, length ${length}`;
  }
  const printer = new Printer(bytes, packet.end, NO_CONVERSATIONS, false);
  return printer.finish(() => printIpv6(printer, ipOffset, wireEnd - ipOffset));
}

function icmpv6Message(bytes: Uint8Array, packet: IcmpPacket): Wording {
  const { icmpOffset: icmp, end, type, code } = packet;
  if (icmp + 8 > end) return null;
  if (type === ICMPV6.ECHO_REQUEST) return `echo request, id ${u16(bytes, icmp + 4)}, seq ${u16(bytes, icmp + 6)}`;
  if (type === ICMPV6.ECHO_REPLY) return `echo reply, id ${u16(bytes, icmp + 4)}, seq ${u16(bytes, icmp + 6)}`;
  if (icmp + 24 > end) return null;
  if (type === ICMPV6.NEIGHBOR_SOLICITATION) return `neighbor solicitation, who has ${formatIpv6(bytes, icmp + 8)}`;
  if (type === ICMPV6.NEIGHBOR_ADVERTISEMENT) return `neighbor advertisement, tgt is ${formatIpv6(bytes, icmp + 8)}`;
  const quoted = icmp + 8;
  if (quoted + IPV6_HEADER > end) return null;
  switch (type) {
    case ICMPV6.DESTINATION_UNREACHABLE:
      switch (code) {
        case 0:
          return `destination unreachable, unreachable route ${formatIpv6(bytes, quoted + 24)}`;
        case 1:
          // The two blanks are tcpdump's.
          return `destination unreachable,  unreachable prohibited ${formatIpv6(bytes, quoted + 24)}`;
        case 3:
          return `destination unreachable, unreachable address ${formatIpv6(bytes, quoted + 24)}`;
        case 4: {
          const port = quotedPort(packet);
          return port === null ? null : `destination unreachable, unreachable port, ${port}`;
        }
        default:
          return null;
      }
    case ICMPV6.PACKET_TOO_BIG:
      return `packet too big, mtu ${u32(bytes, icmp + 4)}`;
    case ICMPV6.TIME_EXCEEDED:
      return code === 0 ? `time exceeded in-transit for ${formatIpv6(bytes, quoted + 24)}` : null;
    default:
      return null;
  }
}

/** `2001:db8::1 udp port 53`. */
function quotedPort({ original }: IcmpPacket): Wording {
  if (original === null || isMalformed(original) || original.ports === null) return null;
  const { version, dst, protocol } = original.ip;
  if (version !== 6) return null;
  if (protocol === PROTOCOL.UDP) return `${dst} udp port ${original.ports.destination}`;
  return protocol === PROTOCOL.TCP ? `${dst} tcp port ${original.ports.destination}` : null;
}
