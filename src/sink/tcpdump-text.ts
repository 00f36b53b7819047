/**
 * tcpdump's line for an ICMP message, as `tcpdump -nn` 4.99 prints it, byte for byte, without the time
 * stamp. The wording follows print-icmp.c and print-icmp6.c: where octets that a message needs were not
 * captured, ` [|icmp]` stands in its place.
 */
import { ICMPV4 } from '../decode/icmpv4.ts';
import { ICMPV6 } from '../decode/icmpv6.ts';
import { IPV6_HEADER, PROTOCOL } from '../decode/ip.ts';
import type { CookedHeader } from '../decode/link.ts';
import { formatIpv4, formatIpv6, isMalformed, u16, u32 } from '../decode/octets.ts';
import type { IcmpPacket } from '../decode/packet.ts';
import { printable } from './escape.ts';
import type { Octets } from './output.ts';

/** What the message says, or null where octets that it needs were not captured. */
type Wording = string | null;

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
  cooked: CookedHeader | null,
  interfaceName: string | null,
): Octets {
  let line = '';
  if (cooked !== null && cooked.interfaceIndex !== null) {
    const name = interfaceName === null ? '?' : printable(interfaceName);
    line = `${name.padEnd(5)} ${(PACKET_TYPES[cooked.packetType] ?? '?').padEnd(3)} `;
  }
  return packet.ip.version === 4 ? line + ipv4Line(bytes, packet, wireEnd) : line + ipv6Line(bytes, packet, wireEnd);
}

function ipv4Line(bytes: Uint8Array, packet: IcmpPacket, wireEnd: number): string {
  const missing = packet.icmpOffset + packet.length - wireEnd;
  const truncated = missing > 0 ? `truncated-ip - ${missing} bytes missing! ` : '';
  const wording = icmpv4Wording(bytes, packet);
  const message = wording === null ? ' [|icmp]' : `ICMP ${wording}, length ${packet.length}`;
  return `IP ${truncated}${packet.ip.src} > ${packet.ip.dst}: ${message}`;
}

function icmpv4Wording(bytes: Uint8Array, packet: IcmpPacket): Wording {
  const { icmpOffset: icmp, end, type, code } = packet;
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
  return text;
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

function ipv6Line(bytes: Uint8Array, packet: IcmpPacket, wireEnd: number): string {
  const { ip, ipOffset, icmpOffset } = packet;
  const missing = icmpOffset + packet.length - wireEnd;
  const truncated = missing > 0 ? `truncated-ip6 - ${missing} bytes missing!` : '';
  return (
    `IP6 ${truncated}${ip.src} > ${ip.dst}: ` +
    extensionHeaders(bytes, ipOffset, icmpOffset) +
    icmpv6Message(bytes, packet)
  );
}

/** What tcpdump says of the headers between IPv6's and the upper layer's. */
function extensionHeaders(bytes: Uint8Array, ipOffset: number, upperLayer: number): string {
  let text = '';
  let nextHeader = bytes[ipOffset + 6]!;
  for (let at = ipOffset + IPV6_HEADER; at < upperLayer;) {
    if (nextHeader === 0) text += 'HBH ';
    else if (nextHeader === 60) text += 'DSTOPT ';
    nextHeader = bytes[at]!;
    at += (bytes[at + 1]! + 1) * 8;
  }
  return text;
}

function icmpv6Message(bytes: Uint8Array, packet: IcmpPacket): string {
  const { icmpOffset: icmp, end, type, code, length } = packet;
  const quoted = icmp + 8;
  const has = (octets: number): boolean => icmp + octets <= end;
  /** tcpdump prints what it has read until the octets run out. */
  const cut = ' [|icmp6]';
  const total = `, length ${length}`;

  switch (type) {
    case ICMPV6.DESTINATION_UNREACHABLE: {
      const start = 'ICMP6, destination unreachable, ';
      switch (code) {
        case 0:
        case 1:
        case 3: {
          // The two blanks of code 1 are tcpdump's.
          const what = ['unreachable route', ' unreachable prohibited', '', 'unreachable address'][code]!;
          return has(48) ? `${start}${what} ${formatIpv6(bytes, quoted + 24)}${total}` : start + what + cut;
        }
        case 2:
          if (!has(48)) return `${start}beyond scope${cut}`;
          return `${start}beyond scope ${formatIpv6(bytes, quoted + 24)}, source address ${formatIpv6(bytes, quoted + 8)}${total}`;
        case 4: {
          const port = quotedPort(packet);
          return `${start}unreachable port${port === null ? cut : `, ${port}${total}`}`;
        }
        default:
          return `${start}unknown unreach code (${code})${hexDump(bytes, icmp, end)}`;
      }
    }
    case ICMPV6.PACKET_TOO_BIG:
      if (!has(8)) return `ICMP6, packet too big${cut}`;
      return `ICMP6, packet too big, mtu ${u32(bytes, icmp + 4)}${total}`;
    case ICMPV6.TIME_EXCEEDED: {
      const start = 'ICMP6, time exceeded in-transit';
      if (code === 1) return `${start} (reassembly)${total}`;
      if (code !== 0) return `${start}, unknown code (${code})${total}`;
      return has(48) ? `${start} for ${formatIpv6(bytes, quoted + 24)}${total}` : start + cut;
    }
    case ICMPV6.PARAMETER_PROBLEM: {
      const start = 'ICMP6, parameter problem';
      if (!has(48)) return start + cut;
      const what = ['erroneous', 'next header', 'option', 'incomplete header chain'][code];
      if (what === undefined) return `${start}, code-#${code}${total}`;
      return `${start}, ${what} - octet ${u32(bytes, icmp + 4)}${total}`;
    }
    case ICMPV6.ECHO_REQUEST:
    case ICMPV6.ECHO_REPLY: {
      const start = `ICMP6, echo ${type === ICMPV6.ECHO_REQUEST ? 'request' : 'reply'}`;
      return has(8) ? `${start}, id ${u16(bytes, icmp + 4)}, seq ${u16(bytes, icmp + 6)}${total}` : start + cut;
    }
    case ICMPV6.ROUTER_SOLICITATION:
      return `ICMP6, router solicitation${total}`;
    case ICMPV6.ROUTER_ADVERTISEMENT:
      return `ICMP6, router advertisement${total}`;
    case ICMPV6.NEIGHBOR_SOLICITATION: {
      const start = 'ICMP6, neighbor solicitation';
      return has(24) ? `${start}, who has ${formatIpv6(bytes, icmp + 8)}${total}` : `${start}, who has${cut}`;
    }
    case ICMPV6.NEIGHBOR_ADVERTISEMENT: {
      const start = 'ICMP6, neighbor advertisement';
      return has(24) ? `${start}, tgt is ${formatIpv6(bytes, icmp + 8)}${total}` : `${start}, tgt is${cut}`;
    }
    case ICMPV6.REDIRECT: {
      if (!has(40)) return `ICMP6, redirect${cut}`;
      return `ICMP6, redirect, ${formatIpv6(bytes, icmp + 24)} to ${formatIpv6(bytes, icmp + 8)}${total}`;
    }
    case ICMPV6.LISTENER_QUERY:
    case ICMPV6.LISTENER_REPORT:
    case ICMPV6.LISTENER_DONE:
    case ICMPV6.LISTENER_REPORT_V2:
      return multicastListener(bytes, packet, total, cut);
    default:
      return `ICMP6, unknown icmp6 type (${type})${total}${hexDump(bytes, icmp, end)}`;
  }
}

/** `2001:db8::1 udp port 53`. get_upperlayer() of print-icmp6.c knows UDP and TCP only. */
function quotedPort({ original }: IcmpPacket): Wording {
  if (original === null || isMalformed(original) || original.ports === null) return null;
  const { dst, protocol } = original.ip;
  if (protocol === PROTOCOL.UDP) return `${dst} udp port ${original.ports.destination}`;
  return protocol === PROTOCOL.TCP ? `${dst} tcp port ${original.ports.destination}` : null;
}

/** RFC 2710 and RFC 3810 section 5. */
function multicastListener(bytes: Uint8Array, packet: IcmpPacket, total: string, cut: string): string {
  const { icmpOffset: icmp, end, type, length } = packet;
  if (type === ICMPV6.LISTENER_REPORT_V2) {
    const start = 'ICMP6, multicast listener report v2';
    return icmp + 8 > end ? start + cut : `${start}, ${u16(bytes, icmp + 6)} group record(s)${total}`;
  }
  const names = ['query', 'report', 'done'];
  const start = `ICMP6, multicast listener ${names[type - ICMPV6.LISTENER_QUERY]}`;
  if (type === ICMPV6.LISTENER_QUERY && length !== 24) {
    if (length < 28) return `${start} unknown-version (len ${length}) ${total}`;
    if (icmp + 28 > end) return `${start} v2${cut}`;
    const sources = u16(bytes, icmp + 26);
    let what = sources === 0 ? '' : `, ${sources} source(s)`;
    if (length < 28 + sources * 16) what = ' [invalid number of sources]';
    return `${start} v2 [gaddr ${formatIpv6(bytes, icmp + 8)}${what}]${total}`;
  }
  if (icmp + 24 > end) return start + total;
  return `${start}max resp delay: ${u16(bytes, icmp + 4)} addr: ${formatIpv6(bytes, icmp + 8)}${total}`;
}

/** hex_print() of print-ascii.c: what tcpdump shows of messages that it does not know. */
function hexDump(bytes: Uint8Array, from: number, end: number): string {
  let text = '';
  for (let at = from; at < end; at++) {
    const index = at - from;
    if (index % 16 === 0) text += `\n\t0x${index.toString(16).padStart(4, '0')}: `;
    if (index % 2 === 0) text += ' ';
    text += bytes[at]!.toString(16).padStart(2, '0');
  }
  return text;
}
