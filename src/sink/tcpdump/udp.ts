/**
 * A UDP header. What the payload says is left to tcpdump's application dissectors.
 */
import { PROTOCOL } from '../../decode/ip.ts';
import { checksum, pseudoHeaderSum, rightChecksum, sumOf } from './checksum.ts';
import type { Payload } from './payload.ts';
import { hex, type Printer } from './printer.ts';
import { addresses, portsWithAddresses } from './ports.ts';

const HEADER = 8;

/**
 * RFC 768; RFC 8200, section 8.1.
 *
 *  0  |          Source Port          |       Destination Port        |
 *  4  |            Length             |           Checksum            |
 */
export function printUdp(p: Printer, payload: Payload): void {
  const { ip, at, length, fragmented } = payload;
  p.protocol = 'udp';
  if (!p.has(at, 4)) {
    p.print(addresses(p, ip, PROTOCOL.UDP));
    p.printTruncated();
    return;
  }
  p.print(portsWithAddresses(p, payload, PROTOCOL.UDP));
  if (length < HEADER) {
    p.print(`truncated-udp ${length}`);
    return;
  }
  if (!p.has(at, 6)) {
    p.printTruncated();
    return;
  }
  const stated = p.u16(at + 4);
  if (stated < HEADER) {
    // RFC 2675: a datagram beyond 65,535 octets has none.
    if (stated !== 0 || length <= 0xffff) {
      p.print(`truncated-udplength ${stated}`);
      return;
    }
  }
  if (!p.has(at, HEADER)) {
    p.printTruncated();
    return;
  }
  const dataByHeader = (stated === 0 ? length : stated) - HEADER;
  const data = Math.min(dataByHeader, length - HEADER);
  // In IPv4 tcpdump checks it with -vv only.
  if (ip.version === 6 && !fragmented && p.has(at + HEADER, data)) printChecksum(p, payload, data + HEADER);
  if (dataByHeader > data && !fragmented) p.print(`UDP, bad length ${dataByHeader} > ${data}`);
  else p.print(`UDP, length ${dataByHeader}`);
}

function printChecksum(p: Printer, { ip, at }: Payload, length: number): void {
  const computed = checksum(pseudoHeaderSum(p, ip, length, PROTOCOL.UDP) + sumOf(p.bytes, at, length));
  const stated = p.u16(at + 6);
  if (computed === 0) p.print('[udp sum ok] ');
  else p.print(`[bad udp cksum 0x${hex(stated, 4)} -> 0x${hex(rightChecksum(stated, computed), 4)}!] `);
}
