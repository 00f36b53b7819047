/**
 * Which socket the kernel gives an ICMP error to: __udp4_lib_lookup (net/ipv4/udp.c) and __udp6_lib_lookup
 * (net/ipv6/udp.c), as __udp4_lib_err and __udp6_lib_err call them, on the sockets that /proc shows.
 *
 * What /proc does not show ss may: the device a socket is bound to, and IPV6_V6ONLY. What nothing shows: SO_INCOMING_CPU, the
 * order of a hash chain, and the hash by which a SO_REUSEPORT group picks its member. Sockets that differ in nothing that
 * is known are all returned.
 */

import type { SocketSource } from '../host/host-view.ts';
import type { SocketOptions } from '../host/socket-options.ts';
import type { UdpSocket } from '../host/socket-table.ts';
import type { UdpTuple } from '../host/udp-tuple.ts';

export interface LookupResult {
  match: 'connected' | 'bound' | 'wildcard' | 'none';
  /** Those with the highest score; more than one where nothing shows what decides between them. */
  sockets: UdpSocket[];
}

/** What is known beyond /proc, for sockets that could take the datagram as far as /proc goes. */
export interface KnownOptions {
  /** Null: nothing. */
  of(socket: UdpSocket): SocketOptions | null;
  /** The interfaces that the error may have been delivered on; null: not known. */
  interfaces: ReadonlySet<string> | null;
}

const NO_OPTIONS: KnownOptions = { of: () => null, interfaces: null };

/**
 * The sockets that the kernel chooses between for the tuple: first those bound to its local address,
 * connected or not, then those bound to none (udp4_lib_lookup2, udp6_lib_lookup2, called twice).
 */
export function lookup(source: SocketSource, tuple: UdpTuple, options = NO_OPTIONS): LookupResult {
  const sockets = source.socketsFor(tuple.localPort, tuple.remotePort);
  if (sockets.length === 0) return NOTHING;
  let best = highestScores(sockets, tuple, options, (socket) => socket.local === tuple.local);
  if (best[0]?.connected === true) {
    // Of several with the same peer Linux takes the last that connected (udp4_lib_lookup4; before 6.13, by score).
    const equals = sockets.filter(
      (socket) => socket.connected && socket.local === tuple.local && computeScore(socket, tuple, options) >= 0,
    );
    return { match: 'connected', sockets: equals };
  }
  if (best.length > 0) return { match: 'bound', sockets: best };
  best = highestScores(sockets, tuple, options, (socket) => isWildcard(socket, tuple.version));
  return best.length > 0 ? { match: 'wildcard', sockets: best } : NOTHING;
}

const NOTHING: LookupResult = { match: 'none', sockets: [] };

/** Every socket that could take the datagram as far as /proc goes: those whose options matter. */
export function eligibleSockets(source: SocketSource, tuple: UdpTuple): UdpSocket[] {
  return source
    .socketsFor(tuple.localPort, tuple.remotePort)
    .filter(
      (socket) =>
        (socket.local === tuple.local || isWildcard(socket, tuple.version)) &&
        computeScore(socket, tuple, NO_OPTIONS) >= 0,
    );
}

function highestScores(
  sockets: readonly UdpSocket[],
  tuple: UdpTuple,
  options: KnownOptions,
  eligible: (socket: UdpSocket) => boolean,
): UdpSocket[] {
  let best: UdpSocket[] = [];
  let highest = 0;
  for (const socket of sockets) {
    if (!eligible(socket)) continue;
    const score = computeScore(socket, tuple, options);
    if (score < highest || score < 0) continue;
    if (score > highest) best = [];
    highest = score;
    best.push(socket);
  }
  return best;
}

/**
 * compute_score of net/ipv4/udp.c for a v4 tuple, of net/ipv6/udp.c for a v6 one. -1: never, and that is
 * every connected socket with another peer. A disconnected v6 socket keeps its peer's address (sk_v6_daddr), and takes v6
 * from no other; for v4 it has none (inet_daddr).
 */
function computeScore(socket: UdpSocket, tuple: UdpTuple, known: KnownOptions): number {
  if (socket.localPort !== tuple.localPort) return -1;
  if (tuple.version === 6 && socket.family !== 6) return -1;
  // A v4 socket goes before a v6 one that carries v4.
  let score = tuple.version === 4 && socket.family === 4 ? 1 : 0;
  const weight = tuple.version === 4 ? 4 : 1;
  if (!isAny(socket.remote) && (socket.connected || tuple.version === 6)) {
    if (socket.remote !== tuple.remote) return -1;
    score += weight;
  }
  if (socket.remotePort !== 0) {
    if (socket.remotePort !== tuple.remotePort) return -1;
    score += weight;
  }
  const options = known.of(socket);
  if (tuple.version === 4 && options?.v6only === true) return -1;
  const device = options?.device ?? '';
  // Whether a device is the one that the error came in on is not known everywhere: then it decides nothing.
  if (device !== '' && known.interfaces !== null) {
    if (!known.interfaces.has(device)) return -1;
    score += weight;
  }
  return score;
}

/**
 * Whether the socket takes datagrams to any local address of this version. `::` takes v4 too, unless the socket is
 * IPV6_V6ONLY: where that is not known and such a one is all there is for a v4 tuple, it is returned, though the kernel
 * may have found nothing. `::ffff:0.0.0.0` takes v4 alone.
 */
function isWildcard(socket: UdpSocket, version: 4 | 6): boolean {
  return version === 4 ? isAny(socket.local) : socket.local === '::';
}

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}
