/**
 * What attribution asks of a host, as it is now (LiveHost) or as it was when it was saved (SavedHost).
 *
 * `since` is when the packets came, in milliseconds: what a table read from then on lacks was not there. Where an answer
 * has to be waited for, a promise is given in its place: ask again when it resolves. So whoever asks can be written as if
 * everything were at hand, and in a storm, where it mostly is, no promise is made.
 */
import type { ProcessIdentity } from '../event.ts';
import type { SocketOptions } from './socket-options.ts';
import type { UdpSocket } from './socket-table.ts';
import type { UdpTuple } from './udp-tuple.ts';

type Later = Promise<unknown>;

/** What a lookup takes its sockets from. */
export interface SocketSource {
  /** Every socket with this local port whose remote port is `remotePort` or 0. */
  socketsFor(localPort: number, remotePort: number): readonly UdpSocket[];
  /** The table is larger than is kept. */
  readonly cut?: boolean;
}

/** A network namespace. */
export interface NamespaceView {
  /** Null where it is not known. */
  readonly inode: number | null;
  /** Why the sockets could not be read when they were read last: `EMFILE`. */
  readonly whyUnreadable?: string | null;
  /** From memory, at once; null: not known. */
  isLocalByMemory(address: string): boolean | null;
  /** Null: it cannot be found out. */
  isLocal(address: string, since: number): boolean | null | Later;
  /** The tuples that a socket may have that is seen as `tuple` on the wire; empty: no such flow; null: not readable. */
  undoNat(tuple: UdpTuple, since: number): readonly UdpTuple[] | null | Later;
  /** The same, if that can be told at once; else `tuple`. */
  undoNatNow(tuple: UdpTuple): UdpTuple;
  /** The sockets, if they are known or quickly read; null: not readable; undefined: they are not at hand. */
  socketsNow(since: number): SocketSource | null | undefined;
  /** The sockets, or at least those with that local port, as they were a moment ago. */
  socketsBefore(localPort: number): SocketSource | null;
  /** At least those with that local port; null: not readable. */
  sockets(localPort: number, since: number): SocketSource | null | Later;
  /** Null: not to be found out. */
  options(socket: UdpSocket, since: number): SocketOptions | null | Later;
  /** The socket that was connected with this tuple and is gone, and how many milliseconds ago it was last seen, at the most. */
  closedSocket(tuple: UdpTuple): { socket: UdpSocket; msAgo: number } | null;
  /** The socket that last took datagrams to this address and port, with the same. */
  lastListener(tuple: UdpTuple): { socket: UdpSocket; msAgo: number } | null;
}

/** Asks until the answer is at hand. */
export async function settled<T>(ask: () => T | Later): Promise<T> {
  for (;;) {
    const answer = ask();
    if (!(answer instanceof Promise)) return answer;
    await answer;
  }
}

export interface HostView {
  /** The namespace of the capture. */
  readonly own: NamespaceView;
  /** Milliseconds, monotonic; `since` is by this clock. */
  now(): number;
  /**
   * The other namespaces in which the address is local; `unreadable` processes are in one that may not be looked into.
   * Null where others are not searched.
   */
  namespacesOf(
    address: string,
    since: number,
  ): { namespaces: readonly NamespaceView[]; unreadable: number } | null | Later;
  /** Those of the other namespaces that are known to have the address, at once: a new list. */
  knownNamespacesOf(address: string): NamespaceView[];
  /** Looks for namespaces anew; null: there are no others than there were. */
  lookForNamespaces(): Later | null;
  /** Every process that holds the socket; empty where none does that can be seen. */
  holders(socket: UdpSocket, since: number): readonly ProcessIdentity[] | Later;
  /** Who held it when it was looked at last. */
  lastHolders(socket: UdpSocket): readonly ProcessIdentity[];
  /** Why there may be processes, and namespaces of theirs, that are not seen at all; null where all are. */
  readonly whyNotSeen?: string | null;
  /** Whether the socket is the kernel's own, if no process holds it; else why not. */
  whyUnheld(): string;
  /** The name of the socket's user in the host's own list; null where it has none, and for containers, which have others. */
  userOf(socket: UdpSocket, holders: readonly ProcessIdentity[]): string | null;
  /** The interfaces that a packet may be delivered on which is captured on `name`: itself, the bridge or VLAN above it. */
  interfacesAbove(name: string): ReadonlySet<string>;
  /** Gets ready to answer. */
  start(): Promise<void>;
  close(): void;
}
