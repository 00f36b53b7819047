/**
 * An IPv6 packet, as tcpdump prints it (print-ip6.c).
 */
import { IPV6_HEADER } from '../../decode/ip.ts';
import {
  EXTENSION_HEADER,
  printDestinationOptions,
  printFragmentHeader,
  printHopByHopOptions,
  printRoutingHeader,
  type PayloadLength,
} from './ipv6-extension-headers.ts';
import { hex, type Printer } from './printer.ts';
import { printUpperLayer, protocolName, startsWithAddresses } from './upper-layer.ts';

/**
 * RFC 8200, section 3; `length` octets of it are there by the layer below.
 *
 *   0  |Version| Traffic Class |           Flow Label                  |
 *   4  |         Payload Length        |  Next Header  |   Hop Limit   |
 *   8  |                        Source Address (16)                    |
 *  24  |                     Destination Address (16)                  |
 */
export function printIpv6(p: Printer, at: number, length: number): void {
  p.protocol = 'ip6';
  if (!p.has(at, IPV6_HEADER)) return p.printTruncated();
  if (length < IPV6_HEADER) return p.print(`truncated-ip6 ${length}`);
  p.print('IP6 ');
  const version = p.u8(at) >> 4;
  if (version !== 6) return p.print(`version error: ${version} != 6`);

  const payloadLength = p.u16(at + 4);
  if (payloadLength !== 0) printMissing(p, length, payloadLength);
  if (p.verbose) printFields(p, at);
  // Without a length, all that is there is taken for a jumbogram until a Jumbo Payload option is found, or not.
  const packetLength = payloadLength === 0 ? length + IPV6_HEADER : IPV6_HEADER + payloadLength;
  p.within(at, packetLength, () => printHeaders(p, at, length, packetLength));
}

function printMissing(p: Printer, length: number, payloadLength: number): void {
  const missing = IPV6_HEADER + payloadLength - length;
  if (missing > 0) p.print(`truncated-ip6 - ${missing} bytes missing!`);
}

function printFields(p: Printer, at: number): void {
  const flow = p.u32(at);
  const trafficClass = (flow >>> 20) & 0xff;
  const flowLabel = flow & 0xfffff;
  const nextHeader = p.u8(at + 6);
  p.print('(');
  if (trafficClass !== 0) p.print(`class 0x${hex(trafficClass, 2)}, `);
  if (flowLabel !== 0) p.print(`flowlabel 0x${hex(flowLabel, 5)}, `);
  p.print(`hlim ${p.u8(at + 7)}, next-header ${protocolName(nextHeader)} (${nextHeader}) `);
  p.print(`payload length: ${p.u16(at + 4)}) `);
}

/** The extension headers of the packet at `ip`, and what follows them. */
function printHeaders(p: Printer, ip: number, length: number, packetLength: number): void {
  const payload: PayloadLength = { octets: p.u16(ip + 4), isJumbo: false };
  const firstHeader = p.u8(ip + 6);
  const first = ip + IPV6_HEADER;
  if (!startsWithAddresses(firstHeader)) p.print(`${p.ipv6(ip + 8)} > ${p.ipv6(ip + 24)}: `);

  let fragmented = false;
  let nextHeader = firstHeader;
  let rest = packetLength - IPV6_HEADER;
  for (let at = first; ;) {
    let headerLength: number | null;
    switch (nextHeader) {
      case EXTENSION_HEADER.HOP_BY_HOP_OPTIONS:
        // RFC 8200, section 4.1: only as the first.
        if (at !== first) {
          const what = firstHeader === nextHeader ? 'was already found' : "don't follow the IPv6 header";
          p.print(`[The Hop-by-Hop Options header ${what}]`);
          return p.printInvalid();
        }
        headerLength = printHopByHopOptions(p, at, payload);
        if (payload.octets === 0) {
          p.print('[No valid Jumbo Payload Hop-by-Hop option found]');
          return p.printInvalid();
        }
        break;
      case EXTENSION_HEADER.DESTINATION_OPTIONS:
        headerLength = printDestinationOptions(p, at);
        break;
      case EXTENSION_HEADER.FRAGMENT:
        headerLength = printFragmentHeader(p, at, ip);
        fragmented = true;
        // A fragment of which no data was captured ends here.
        if (headerLength !== null && !p.has(at, headerLength + 1)) return;
        break;
      case EXTENSION_HEADER.ROUTING:
        p.need(at, 1);
        headerLength = printRoutingHeader(p, at);
        break;
      default: {
        let end = ip + packetLength;
        if (payload.isJumbo) {
          end = ip + IPV6_HEADER + payload.octets;
          if (end < at) return p.printTruncated();
          printMissing(p, length, payload.octets);
          rest = end - at;
        } else if (payload.octets === 0) {
          if (at !== first) return p.printTruncated();
          end = first;
          rest = 0;
        }
        const upperLayer = { ip: { version: 6, at: ip }, at, length: rest, fragmented } as const;
        return p.within(ip, end - ip, () => printUpperLayer(p, nextHeader, upperLayer));
      }
    }
    if (headerLength === null) return;
    nextHeader = p.u8(at);
    p.protocol = 'ip6';
    if (rest < headerLength) return p.printTruncated();
    at += headerLength;
    rest -= headerLength;
  }
}
