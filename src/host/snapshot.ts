/**
 * A snapshot: the UDP sockets of a host at one moment, with all that attribution asks about them, as `snapshot.schema.json`
 * says. `udpicmp-watch sockets` writes it.
 */
import { hostname } from 'node:os';
import type { ProcessIdentity } from '../event.ts';
import type { ConntrackEntry } from './conntrack.ts';
import { settled } from './host-view.ts';
import type { LiveHost } from './live-host.ts';
import type { NetworkNamespace } from './network-namespace.ts';
import type { UdpSocket } from './socket-table.ts';

export interface Snapshot {
  v: 1;
  host: string;
  /** RFC 3339. */
  time: string;
  /** Processes or mounts of network namespaces that may not be read; null: only one namespace was looked at. */
  unreadable: number | null;
  unheld: string;
  namespaces: SavedNamespace[];
}

export interface SavedNamespace {
  netns: number | null;
  mount: string | null;
  addresses: string[];
  complete4: boolean;
  complete6: boolean;
  /** The interfaces above an interface, where there are any. */
  interfaces: Record<string, string[]>;
  conntrack: ConntrackEntry[] | null;
  sockets: SavedSocket[] | null;
}

export interface SavedSocket {
  inode: number;
  state: 'connected' | 'unconnected';
  family: 4 | 6;
  local: string;
  /** Absent where it has no peer. */
  remote?: string;
  device: string | null;
  uid: number;
  user: string | null;
  recverr: boolean | null;
  v6only: boolean | null;
  processes: ProcessIdentity[];
}

/** Looks at everything, once. */
export async function takeSnapshot(host: LiveHost): Promise<Snapshot> {
  const { namespaces } = host;
  const time = new Date().toISOString();
  const isOnlyOwn = !host.searchesAll;
  if (!isOnlyOwn) await namespaces.warm();
  const saved: SavedNamespace[] = [];
  for (const namespace of isOnlyOwn ? [namespaces.own] : namespaces.all) {
    saved.push(await saveNamespace(host, namespace, namespace === namespaces.own ? host.interfaces() : {}));
  }
  return {
    v: 1,
    host: hostname(),
    time,
    unreadable: isOnlyOwn ? null : namespaces.unreadable,
    unheld: host.whyUnheld(),
    namespaces: saved,
  };
}

async function saveNamespace(
  host: LiveHost,
  namespace: NetworkNamespace,
  interfaces: Record<string, string[]>,
): Promise<SavedNamespace> {
  const { addresses, conntrack, table } = await namespace.readAll();
  // All at once: those whose holders are not known share a scan.
  const sockets = await Promise.all([...(table ?? [])].map((socket) => saveSocket(host, namespace, socket)));
  return {
    netns: namespace.inode,
    mount: namespace.entrance.mount,
    addresses: [...(addresses?.addresses ?? [])],
    complete4: addresses?.complete4 ?? false,
    complete6: addresses?.complete6 ?? false,
    interfaces,
    conntrack: conntrack === null ? null : [...conntrack.entries()],
    sockets: table === null ? null : sockets,
  };
}

async function saveSocket(host: LiveHost, namespace: NetworkNamespace, socket: UdpSocket): Promise<SavedSocket> {
  const since = host.now();
  const options = await settled(() => namespace.options(socket, since));
  const processes = await settled(() => host.holders(socket, since));
  const { inode, connected, family, local, localPort, remote, remotePort, uid } = socket;
  const hasPeer = remotePort !== 0 || (remote !== '0.0.0.0' && remote !== '::');
  return {
    inode,
    state: connected ? 'connected' : 'unconnected',
    family,
    local: endpoint(local, localPort),
    ...(hasPeer && { remote: endpoint(remote, remotePort) }),
    device: options?.device ?? null,
    uid,
    user: host.userOf(socket, processes),
    recverr: options?.recverr ?? null,
    v6only: options?.v6only ?? null,
    processes: [...processes],
  };
}

/** `192.0.2.1:53`, `[2001:db8::1]:53` */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The address and port of what `endpoint` wrote. */
export function parseEndpoint(text: string): { address: string; port: number } {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}
