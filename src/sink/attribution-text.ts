/**
 * The second line: the tuple of the quoted datagram, the errno that the kernel maps the error to, who was
 * hit, and whether it hears of it.
 */
import type { Flow, IcmpEvent, ProcessIdentity, SocketIdentity } from '../event.ts';
import { printable } from './escape.ts';
import { octetsOf, type Octets } from './output.ts';

const ARROW = octetsOf('→');

/** More owners than this are counted, not named. */
const MAX_NAMED = 4;

/** `172.16.0.62:62651 > 172.16.0.46:29999`; `?` for a port that was not quoted. */
function flowText(flow: Pick<Flow, 'src' | 'sport' | 'dst' | 'dport'>): string {
  return `${endpoint(flow.src, flow.sport)} > ${endpoint(flow.dst, flow.dport)}`;
}

export function endpoint(address: string, port: number | null | undefined): string {
  const host = address.includes(':') ? `[${address}]` : address;
  return port === undefined ? host : `${host}:${port ?? '?'}`;
}

/** The line without its tab and its end, `verbose` adds what `-v` shows. */
export function attributionText(event: IcmpEvent, verbose: boolean): Octets {
  const { flow, nat } = event;
  let tuple = flow === undefined ? 'quotes no datagram' : flowText(flow);
  if (nat !== undefined) tuple += ` (NAT of ${flowText(nat)})`;
  if (event.outcome === undefined) return tuple;
  const text = `${tuple}  ${event.errno ?? 'no errno'} ${ARROW} ${verdictText(event, verbose)}`;
  return event.interfaces === undefined || event.interfaces.length < 2
    ? text
    : `${text} (seen on ${event.interfaces.map(printable).join(', ')})`;
}

function verdictText(event: IcmpEvent, verbose: boolean): Octets {
  const sockets = event.sockets ?? [];
  switch (event.outcome ?? 'unknown') {
    case 'unknown':
      return `unknown: ${printable(event.note ?? 'no socket table')}`;
    case 'not-local':
      return notLocalText(event, sockets, verbose);
    case 'no-socket':
      return withNote(noSocketText(event, sockets, verbose), event.note);
    case 'reported':
      return withNote(`${owners(sockets, verbose)}, ${event.match}: its next call fails`, event.note);
    case 'queued':
      return withNote(`${owners(sockets, verbose)}, ${event.match}: it is in its error queue`, event.note);
    case 'pmtu':
      return withNote(`${owners(sockets, verbose)}, ${event.match}: only the path MTU changes`, event.note);
    case 'ignored':
      return withNote(`${owners(sockets, verbose)}, ${event.match}: ${whyIgnored(event, sockets)}`, event.note);
  }
}

function notLocalText(event: IcmpEvent, sockets: readonly SocketIdentity[], verbose: boolean): Octets {
  if (event.direction !== 'out') return withNote('not sent from here', event.note);
  return withNote(`sent by this host: ${listenerText(event, sockets, verbose)}`, event.note);
}

function listenerText({ match, closedMsAgo }: IcmpEvent, sockets: readonly SocketIdentity[], verbose: boolean): Octets {
  if (match === 'closed') return `${owners(sockets, verbose)} had the port, last seen ${ago(closedMsAgo)}`;
  return sockets.length === 0 ? 'nothing here listens there now' : `${owners(sockets, verbose)} listens there now`;
}

function noSocketText({ match, closedMsAgo }: IcmpEvent, sockets: readonly SocketIdentity[], verbose: boolean): Octets {
  if (match !== 'closed') return 'no socket here has it now';
  return `closed: ${owners(sockets, verbose)} had it, last seen ${ago(closedMsAgo)}`;
}

function ago(milliseconds: number | undefined): string {
  if (milliseconds === undefined) return 'before';
  return milliseconds < 1_000 ? `${milliseconds} ms ago` : `${(milliseconds / 1_000).toFixed(1)} s ago`;
}

/** The kernel drops the error for one of three reasons; a socket that set IP_RECVERR hears of it all the same. */
function whyIgnored(event: IcmpEvent, sockets: readonly SocketIdentity[]): Octets {
  if (event.errno === null || event.dropped === true) return 'the kernel tells no socket';
  const reason = event.match === 'connected' ? 'not fatal' : 'not connected';
  const knownWithout = sockets.every((socket) => socket.recverr === false);
  return knownWithout ? `${reason}, it does not hear of it` : `${reason}, it hears of it only with IP_RECVERR`;
}

function withNote(text: string, note: string | undefined): Octets {
  return note === undefined ? text : `${text} (${printable(note)})`;
}

function owners(sockets: readonly SocketIdentity[], verbose: boolean): Octets {
  const names: string[] = [];
  for (const socket of sockets) {
    if (socket.processes.length === 0) names.push(`a socket of uid ${socket.uid} without a known process`);
    for (const process of socket.processes) names.push(processText(process, socket, verbose));
  }
  return listed(names);
}

/** `a or b`, the first few of them. */
export function listed(names: readonly Octets[]): Octets {
  const named = names.slice(0, MAX_NAMED).join(' or ');
  return names.length <= MAX_NAMED ? named : `${named} or ${names.length - MAX_NAMED} more`;
}

/** `gateway[1285966]` */
export function processName({ comm, pid }: ProcessIdentity): Octets {
  return `${printable(comm ?? '?')}[${pid}]`;
}

function processText(process: ProcessIdentity, socket: SocketIdentity, verbose: boolean): Octets {
  const { container, runtime } = process;
  let name = `${processName(process)} fd ${process.fd}`;
  if (container !== null) name += ` in ${runtime ?? 'container'} ${printable(container)}`;
  if (!verbose) return name;
  const details = [socket.user === null ? `uid ${socket.uid}` : `user ${printable(socket.user)}`];
  if (socket.device !== undefined) details.push(`device ${printable(socket.device)}`);
  if (socket.netns !== null) details.push(`netns ${socket.netns}`);
  if (process.unit !== null) details.push(printable(process.unit));
  if (process.started !== null) details.push(`since ${printable(process.started)}`);
  if (process.cmdline !== null) details.push(printable(process.cmdline));
  return `${name} {${details.join(', ')}}`;
}
