/**
 * `source.port > destination.port: `, with which the lines of UDP, TCP, SCTP and DCCP begin.
 */
import type { IpAt, Payload } from './payload.ts';
import type { Printer } from './printer.ts';

/** The addresses alone, with `end` behind them, where the ports were not captured. */
export function sourceAndDestination(p: Printer, ip: IpAt): readonly [string, string] {
  return ip.version === 4 ? [p.ipv4(ip.at + 12), p.ipv4(ip.at + 16)] : [p.ipv6(ip.at + 8), p.ipv6(ip.at + 24)];
}

/** Whether the IP header names `protocol`: behind another header than that tcpdump prints no addresses again. */
function isNextTo(p: Printer, ip: IpAt, protocol: number): boolean {
  return p.u8(ip.at + (ip.version === 4 ? 9 : 6)) === protocol;
}

/** `source > destination: `, or nothing. */
export function addresses(p: Printer, ip: IpAt, protocol: number): string {
  return isNextTo(p, ip, protocol) ? `${sourceAndDestination(p, ip).join(' > ')}: ` : '';
}

/** The ports are the first two fields of `payload`; four octets of it must be there. */
export function portsWithAddresses(p: Printer, { ip, at }: Payload, protocol: number): string {
  const sourcePort = p.u16(at);
  const destinationPort = p.u16(at + 2);
  if (!isNextTo(p, ip, protocol)) return `${sourcePort} > ${destinationPort}: `;
  const [source, destination] = sourceAndDestination(p, ip);
  return `${source}.${sourcePort} > ${destination}.${destinationPort}: `;
}
