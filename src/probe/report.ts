/**
 * The verdict on a port, as a line of text and as a line of JSON (probe.schema.json).
 */
import { endpoint } from '../sink/attribution-text.ts';
import { escapeText } from '../sink/escape.ts';
import { jsonOctets } from '../sink/json-lines.ts';
import { counted } from '../sink/numbers.ts';
import { octetsOf, type Octets } from '../sink/output.ts';
import { rfc3339 } from '../sink/time-stamp.ts';
import { icmpName, isAdministrative, isFatal, type Endpoint, type Finding, type IcmpError } from './verdict.ts';

const SCHEMA_VERSION = 1;

export interface PortReport {
  finding: Finding;
  target: Endpoint;
  /** The name that was given and resolved to the target's address, or null. */
  name: string | null;
  local: Endpoint | null;
  /** Milliseconds since 1970 when the verdict was reached. */
  unixMs: number;
  /** This host's name. */
  host: string;
  isOwn: (address: string) => boolean;
}

/** What a local errno mostly means for a datagram that did not leave. */
const LOCAL_ERRORS = new Map<string, string>([
  ['EPERM', 'a firewall rule of this host'],
  ['EACCES', 'a route that prohibits it, or a broadcast address'],
  ['ENETUNREACH', 'this host has no route to it'],
  ['EHOSTUNREACH', 'a route of this host says unreachable'],
  ['EINVAL', 'a blackhole route of this host, or a link-local address without its interface (fe80::1%eth0)'],
  ['EMSGSIZE', 'longer than may be sent at once'],
  ['EADDRNOTAVAIL', 'this host has no address to send from'],
  ['EADDRINUSE', 'no local port is free'],
  ['EAFNOSUPPORT', 'this host does not speak that protocol'],
  ['ENETDOWN', 'the interface is down'],
  ['ENODEV', 'no such interface'],
  ['ENOBUFS', 'the queue of the interface is full'],
  ['EMFILE', 'too many open files'],
  ['ENFILE', 'too many open files'],
]);

/** `HOST:PORT verdict: what was seen; what it means` and a newline. */
export function textLine(report: PortReport): Octets {
  const { finding, target, name } = report;
  const named = name === null ? '' : ` (${name})`;
  const what = [facts(finding), ...notes(report)].join('; ');
  return octetsOf(`${escapeText(`${endpoint(target.address, target.port)}${named} ${finding.verdict}: ${what}`)}\n`);
}

function facts(finding: Finding): string {
  const { verdict, errno, icmp, octets, sent } = finding;
  switch (verdict) {
    case 'answered':
      return `${counted(octets ?? 0, 'octet')} ${after(finding)}`;
    case 'silent':
      return `no answer to ${counted(sent, 'datagram')} in ${duration(finding.afterMs ?? 0)}`;
    case 'local-error':
      return `${errno}, ${sent === 0 ? 'the datagram did not leave' : `the datagram after ${counted(sent, 'other')} did not leave`}`;
    case 'refused':
    case 'unreachable': {
      const said = icmp === null || icmp === undefined ? '' : `, ${icmpText(icmp)} from ${icmp.src}`;
      return `${errno ?? 'no errno'}${said} ${after(finding)}`;
    }
  }
}

function icmpText(icmp: IcmpError): string {
  const { version, type, code } = icmp;
  return `${icmpName(icmp).replaceAll('-', ' ')} (${version === 6 ? 'ICMPv6 ' : ''}type ${type} code ${code})`;
}

function after({ afterMs, sinceFirst, sent }: Finding): string {
  return `after ${duration(afterMs ?? 0)}${sinceFirst ? ` since the first of ${sent} datagrams` : ''}`;
}

function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${milliseconds.toFixed(1)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** For people: what it means, and what could not be seen. */
function notes(report: PortReport): string[] {
  const { finding, target } = report;
  const { verdict, errno, icmp, tooBig, socketNotTold } = finding;
  const parts: string[] = [];
  if (icmp !== null && icmp !== undefined) parts.push(...icmpNotes(icmp, report));
  switch (verdict) {
    case 'silent':
      if (isMulticast(target.address)) {
        parts.push(
          'members of a multicast group answer from addresses of their own, which a connected socket does not hear',
        );
      }
      parts.push('open, filtered, dropped, or its ICMP is rate-limited: from outside these look alike');
      if (icmp === null) parts.push('the ICMP was not captured: host unreachable looks like this too');
      break;
    case 'local-error':
      parts.push(LOCAL_ERRORS.get(errno ?? '') ?? 'refused by this host');
      break;
    case 'refused':
    case 'unreachable':
      if (icmp === null) parts.push('the ICMP was not captured: who said it is not seen');
      break;
    case 'answered':
      break;
  }
  if (tooBig !== undefined) {
    const mtu = tooBig.mtu === null ? '' : `, whose MTU is ${tooBig.mtu}`;
    parts.push(`too big for the path${mtu}: sent again in fragments`);
  }
  if (socketNotTold === true) parts.push('the socket was not told: a firewall rule of this host for ICMP?');
  return parts;
}

function icmpNotes(icmp: IcmpError, { target, local, isOwn }: PortReport): string[] {
  const parts: string[] = [];
  const { version, type, code, src, sentFrom, sentTo } = icmp;
  const isNeighbourMissing = version === 4 ? type === 3 && code === 1 : type === 1 && code === 3;
  if (isOwn(src) && !isOwn(sentTo.address)) {
    const why =
      version === 4
        ? 'no answer to ARP from it or its gateway'
        : 'no answer to neighbour solicitation from it or its gateway';
    parts.push(`this host itself${isNeighbourMissing ? `: ${why}` : ''}`);
  }
  if (isAdministrative(icmp)) parts.push('a firewall or a routing policy there forbids it');
  const isPortUnreachable = version === 4 ? type === 3 && code === 3 : type === 1 && code === 4;
  if (isPortUnreachable && src !== sentTo.address)
    parts.push('not said by the target itself: a firewall or NAT on the way');
  if (!isFatal(icmp)) parts.push('not fatal: a connected socket is not told');
  const nat = natOf(icmp, target);
  if (nat !== null) parts.push(`NAT: sent to ${endpoint(nat.address, nat.port)}`);
  if (local !== null && sentFrom.address !== local.address) parts.push(`NAT: sent from ${sentFrom.address}`);
  return parts;
}

/** Where NAT of this host sent the datagram, or null. */
function natOf({ sentTo }: IcmpError, target: Endpoint): Endpoint | null {
  const address = target.address.replace(/%.*/, '');
  return sentTo.address === address && sentTo.port === target.port ? null : sentTo;
}

function isMulticast(address: string): boolean {
  const first = /^(\d+)\./.exec(address)?.[1];
  return first === undefined ? /^ff/i.test(address) : Number(first) >= 224 && Number(first) < 240;
}

export function jsonLine(report: PortReport): Octets {
  const { finding, target, name, local, unixMs, host } = report;
  const { verdict, errno, icmp, sent, afterMs, octets } = finding;
  const seconds = Math.trunc(unixMs / 1000);
  const nat = icmp === null || icmp === undefined ? null : natOf(icmp, target);
  const note = notes(report).join('; ');
  return `${jsonOctets({
    v: SCHEMA_VERSION,
    event: 'probe',
    host,
    time: rfc3339(seconds, (unixMs - seconds * 1000) * 1e6, false),
    target: { ...(name !== null && { name }), ...target },
    local: local === null ? null : endpoint(local.address, local.port),
    verdict,
    ...(errno !== undefined && { errno }),
    ...(icmp !== undefined && { icmp: icmp === null ? null : icmpObject(icmp) }),
    ...(nat !== null && { nat }),
    sent,
    ...(afterMs !== null && { afterMs: Math.round(afterMs * 1000) / 1000 }),
    ...(octets !== undefined && { octets }),
    ...(note !== '' && { note }),
  })}\n`;
}

function icmpObject(icmp: IcmpError): object {
  const { version, type, code, src } = icmp;
  return { version, type, code, name: icmpName(icmp), src };
}
