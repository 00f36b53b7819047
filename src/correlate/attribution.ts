/**
 * What is said of an ICMP error, once its socket has been looked for.
 */
import type { Direction, Match, NatTuple, Outcome, SocketIdentity } from '../event.ts';
import { reversed, type UdpTuple } from '../host/udp-tuple.ts';
import { errnoFor, verdict } from './verdict.ts';

/** An ICMP error's type and code, and the addresses and ports of the datagram it quotes, as on the wire. */
export interface QuotedTuple {
  version: 4 | 6;
  type: number;
  code: number;
  src: string;
  sport: number;
  dst: string;
  dport: number;
  /** Why the kernel drops the error before it looks for a socket, or null. */
  dropped: string | null;
}

export interface Attribution {
  /** With other network namespaces of the host counted as this host. */
  direction: Direction;
  /** What the kernel maps type and code to; null where to nothing. */
  errno: string | null;
  outcome: Outcome;
  match: Match;
  /** The kernel drops the error before it looks for a socket. */
  dropped?: true;
  /** Where NAT was undone. */
  nat?: NatTuple;
  /** With match `closed`: milliseconds since the socket was last seen. */
  closedMsAgo?: number;
  /** Several where nothing shows which of them the kernel chose. */
  sockets: SocketIdentity[];
  /** What could not be found out, and why. */
  note?: string;
}

/** The socket that was found, before type and code are considered. */
export interface Found {
  match: Match;
  /** Where it differs from what the verdict on `match` gives. */
  outcome?: Outcome;
  sockets: SocketIdentity[];
  /** The tuple that the socket has, where it is not the one on the wire. */
  socketTuple?: UdpTuple;
  closedMsAgo?: number;
  note?: string;
}

export const OTHERS_SKIPPED = unknown(
  'the quoted source is not an address of this network namespace; others are not searched (--netns self)',
);
const SOME_RECVERR = 'those with IP_RECVERR also have it in their error queue';
const PMTU_DISCOVERY = 'or only the path MTU changes, if the socket has IP_PMTUDISC_DONT, which cannot be seen';

/** It could not be found out, and why. */
export function unknown(note: string): Found {
  return { match: null, sockets: [], note };
}

export function withNotes(found: Found, notes: readonly string[]): Found {
  if (notes.length === 0) return found;
  return { ...found, note: [...(found.note === undefined ? [] : [found.note]), ...notes].join('; ') };
}

export function attributionIn(
  { version, type, code, dropped }: QuotedTuple,
  direction: Direction,
  found: Found,
): Attribution {
  const { match, sockets, socketTuple, closedMsAgo } = found;
  const withRecverr = sockets.filter(({ recverr }) => recverr === true).length;
  const { errno, outcome } = verdict(version, type, code, match, sockets.length > 0 && withRecverr === sockets.length);
  // As most are in a storm, so made in little time.
  if (match === 'none' && socketTuple === undefined && found.note === undefined) {
    return { direction, errno, outcome: found.outcome ?? outcome, match, sockets };
  }
  const notes: string[] = [];
  if (errno !== null && withRecverr > 0 && withRecverr < sockets.length) notes.push(SOME_RECVERR);
  if (errno === 'EMSGSIZE' && (outcome === 'reported' || outcome === 'queued')) notes.push(PMTU_DISCOVERY);
  const isDropped = dropped !== null && outcome !== 'unknown' && outcome !== 'no-socket';
  if (isDropped) notes.push(`the kernel drops it: ${dropped}`);
  const { note } = withNotes(found, notes);
  return {
    direction,
    errno,
    outcome: found.outcome ?? (isDropped ? 'ignored' : outcome),
    ...(isDropped && { dropped: true as const }),
    match,
    ...(socketTuple !== undefined && { nat: natTuple(socketTuple) }),
    ...(closedMsAgo !== undefined && { closedMsAgo }),
    sockets,
    ...(note !== undefined && { note }),
  };
}

/** An error that a router sends about a datagram that it forwards is about no port here. */
export function attributionOut({ version, type, code }: QuotedTuple, direction: Direction, found: Found): Attribution {
  const { match, sockets, socketTuple, closedMsAgo, note } = found;
  const { errno } = errnoFor(version, type, code);
  if (found.outcome === 'not-local' || found === OTHERS_SKIPPED) {
    return { direction, errno, outcome: 'not-local', match: 'none', sockets: [] };
  }
  return {
    direction: match === null ? direction : 'out',
    errno,
    outcome: 'not-local',
    match,
    // As in the quote: the socket that has the port is the destination.
    ...(socketTuple !== undefined && { nat: natTuple(reversed(socketTuple)) }),
    ...(closedMsAgo !== undefined && { closedMsAgo }),
    sockets,
    ...(note !== undefined && { note }),
  };
}

function natTuple({ local, localPort, remote, remotePort }: UdpTuple): NatTuple {
  return { src: local, sport: localPort, dst: remote, dport: remotePort };
}
