/**
 * Which socket the kernel gives an ICMP error to: __udp4_lib_lookup (net/ipv4/udp.c) and __udp6_lib_lookup
 * (net/ipv6/udp.c), as __udp4_lib_err and __udp6_lib_err call them, on the sockets that /proc shows.
 *
 * What /proc does not show, and so cannot be told apart: the device a socket is bound to, IPV6_V6ONLY,
 * SO_INCOMING_CPU, the order of a hash chain, and the hash by which a SO_REUSEPORT group picks its member.
 * Sockets that differ in nothing else are all returned.
 */

import type { UdpSocket } from '../host/socket-table.ts';

/** A UDP tuple seen from the socket's side. For an error that came in, local is the quoted source. */
export interface LookupTuple {
  version: 4 | 6;
  local: string;
  localPort: number;
  remote: string;
  remotePort: number;
}

export interface LookupResult {
  match: 'connected' | 'bound' | 'wildcard' | 'none';
  /** Those with the highest score; more than one where /proc does not show what decides between them. */
  sockets: UdpSocket[];
}

/** SocketTable is one. */
export interface SocketSource {
  /** Every socket with this local port whose remote port is `remotePort` or 0. */
  socketsFor(localPort: number, remotePort: number): readonly UdpSocket[];
}

/**
 * The sockets that the kernel chooses between for the tuple: first those bound to its local address,
 * connected or not, then those bound to none (udp4_lib_lookup2, udp6_lib_lookup2, called twice).
 */
export function lookup(source: SocketSource, tuple: LookupTuple): LookupResult {
  const sockets = source.socketsFor(tuple.localPort, tuple.remotePort);
  let best = highestScores(sockets, tuple, (socket) => socket.local === tuple.local);
  if (best.length > 0) return { match: best[0]!.connected ? 'connected' : 'bound', sockets: best };
  best = highestScores(sockets, tuple, (socket) => isWildcard(socket, tuple.version));
  return { match: best.length > 0 ? 'wildcard' : 'none', sockets: best };
}

function highestScores(
  sockets: readonly UdpSocket[],
  tuple: LookupTuple,
  eligible: (socket: UdpSocket) => boolean,
): UdpSocket[] {
  let best: UdpSocket[] = [];
  let highest = 0;
  for (const socket of sockets) {
    if (!eligible(socket)) continue;
    const score = computeScore(socket, tuple);
    if (score < highest || score < 0) continue;
    if (score > highest) best = [];
    highest = score;
    best.push(socket);
  }
  return best;
}

/**
 * compute_score of net/ipv4/udp.c for a v4 tuple, of net/ipv6/udp.c for a v6 one. -1: never, and that is
 * every connected socket with another peer. The peer counts whatever the state: a disconnected v6 socket
 * keeps its address.
 */
function computeScore(socket: UdpSocket, tuple: LookupTuple): number {
  if (socket.localPort !== tuple.localPort) return -1;
  if (tuple.version === 6 && socket.family !== 6) return -1;
  // A v4 socket goes before a v6 one that carries v4.
  let score = tuple.version === 4 && socket.family === 4 ? 1 : 0;
  if (!isAny(socket.remote)) {
    if (socket.remote !== tuple.remote) return -1;
    score += 4;
  }
  if (socket.remotePort !== 0) {
    if (socket.remotePort !== tuple.remotePort) return -1;
    score += 4;
  }
  return score;
}

/**
 * Whether the socket takes datagrams to any local address of this version. `::` takes v4 too, unless the
 * socket is IPV6_V6ONLY, which /proc does not show: where such a one is all there is for a v4 tuple, it is
 * returned, though the kernel would have found nothing. `::ffff:0.0.0.0` takes v4 alone.
 */
function isWildcard(socket: UdpSocket, version: 4 | 6): boolean {
  return version === 4 ? isAny(socket.local) : socket.local === '::';
}

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}
