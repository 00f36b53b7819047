/** A host as it was when a snapshot of it was made. */
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ProcessIdentity } from '../event.ts';
import { AddressSet } from './address-set.ts';
import type { ConntrackTuple } from './conntrack.ts';
import type { HostView, NamespaceView, SocketSource } from './host-view.ts';
import { readHead } from './proc-file.ts';
import { parseEndpoint, type SavedNamespace, type SavedSocket, type Snapshot } from './snapshot.ts';
import type { SocketOptions } from './socket-options.ts';
import type { UdpSocket } from './socket-table.ts';
import { append } from './bounds.ts';
import { reversed, tupleKey, type UdpTuple } from './udp-tuple.ts';

const MAX_OCTETS = 512 * 1024 * 1024;
/** Beside the sources and beside what is built from them. */
const SCHEMA = new URL('../../src/snapshot.schema.json', import.meta.url);

/** A file is no snapshot; `message` is one line that says why. */
export class SnapshotError extends Error {}

export class SavedHost implements HostView {
  /** The name of the host. */
  readonly name: string;
  /** When the snapshot was made. */
  readonly time: string;
  readonly own: SavedNetworkNamespace;
  readonly #others: readonly SavedNetworkNamespace[];
  readonly #snapshot: Snapshot;

  constructor(snapshot: Snapshot) {
    this.name = snapshot.host;
    this.time = snapshot.time;
    this.#snapshot = snapshot;
    const [own, ...others] = snapshot.namespaces.map((namespace) => new SavedNetworkNamespace(namespace));
    this.own = own!;
    this.#others = others;
  }

  /** @throws SnapshotError where the file cannot be read or is no snapshot. */
  static async open(path: string): Promise<SavedHost> {
    return new SavedHost(parseSnapshot(await textOf(path), path));
  }

  /** In a snapshot no time passes. */
  now(): number {
    return 0;
  }

  async start(): Promise<void> {}

  close(): void {}

  namespacesOf(address: string): ReturnType<HostView['namespacesOf']> {
    const { unreadable } = this.#snapshot;
    if (unreadable === null) return null;
    return { namespaces: this.knownNamespacesOf(address), unreadable };
  }

  knownNamespacesOf(address: string): NamespaceView[] {
    return this.#others.filter((namespace) => namespace.isLocal(address) === true);
  }

  lookForNamespaces(): null {
    return null;
  }

  holders(socket: UdpSocket): readonly ProcessIdentity[] {
    return (socket as LoadedSocket).saved.processes;
  }

  lastHolders(): readonly ProcessIdentity[] {
    return [];
  }

  whyUnheld(): string {
    return this.#snapshot.unheld;
  }

  userOf(socket: UdpSocket): string | null {
    return (socket as LoadedSocket).saved.user;
  }

  interfacesAbove(name: string): ReadonlySet<string> {
    const { interfaces } = this.#snapshot.namespaces[0]!;
    const found = new Set([name]);
    for (const device of found)
      if (Object.hasOwn(interfaces, device)) interfaces[device]!.forEach((above) => found.add(above));
    return found;
  }
}

type LoadedSocket = UdpSocket & { saved: SavedSocket };

class SavedNetworkNamespace implements NamespaceView, SocketSource {
  readonly inode: number | null;
  readonly #addresses: AddressSet;
  readonly #isReadable: boolean;
  readonly #byPort = new Map<number, LoadedSocket[]>();
  /** What the socket has, by the tuple on the wire; null: conntrack could not be read. */
  readonly #flows: ReadonlyMap<string, UdpTuple[]> | null;

  constructor({ netns, addresses, complete4, complete6, conntrack, sockets }: SavedNamespace) {
    this.inode = netns;
    this.#addresses = new AddressSet(addresses, complete4, complete6);
    this.#isReadable = sockets !== null;
    for (const saved of sockets ?? []) append(this.#byPort, parseEndpoint(saved.local).port, load(saved));
    if (conntrack === null) {
      this.#flows = null;
      return;
    }
    const flows = new Map<string, UdpTuple[]>();
    for (const { original, reply } of conntrack) {
      append(flows, wireKey(original), sentBy(reply));
      append(flows, wireKey(reply), sentBy(original));
    }
    this.#flows = flows;
  }

  isLocal(address: string): boolean | null {
    return this.#addresses.has(address);
  }

  isLocalByMemory(address: string): boolean | null {
    return this.#addresses.has(address);
  }

  undoNat(tuple: UdpTuple): readonly UdpTuple[] | null {
    return this.#flows === null ? null : (this.#flows.get(tupleKey(tuple)) ?? []);
  }

  undoNatNow(tuple: UdpTuple): UdpTuple {
    return this.undoNat(tuple)?.[0] ?? tuple;
  }

  sockets(): SocketSource | null {
    return this.#isReadable ? this : null;
  }

  socketsNow(): SocketSource | null {
    return this.sockets();
  }

  socketsBefore(): SocketSource | null {
    return this.sockets();
  }

  socketsFor(localPort: number, remotePort: number): readonly UdpSocket[] {
    const sockets = this.#byPort.get(localPort) ?? [];
    return sockets.filter((socket) => socket.remotePort === remotePort || socket.remotePort === 0);
  }

  options(socket: UdpSocket): SocketOptions {
    return (socket as LoadedSocket).saved;
  }

  closedSocket(): null {
    return null;
  }

  lastListener(): null {
    return null;
  }
}

function load(saved: SavedSocket): LoadedSocket {
  const local = parseEndpoint(saved.local);
  const remote = saved.remote === undefined ? null : parseEndpoint(saved.remote);
  return {
    family: saved.family,
    local: local.address,
    localPort: local.port,
    remote: remote?.address ?? (local.address.includes(':') ? '::' : '0.0.0.0'),
    remotePort: remote?.port ?? 0,
    connected: saved.state === 'connected',
    uid: saved.uid,
    inode: saved.inode,
    saved,
  };
}

/** The tuple of a socket that datagrams of this direction arrive at, as the wire has it there. */
function wireKey(tuple: ConntrackTuple): string {
  return tupleKey(reversed(sentBy(tuple)));
}

/** The tuple of a socket that sends datagrams of this direction. */
function sentBy({ src, sport, dst, dport }: ConntrackTuple): UdpTuple {
  return { version: src.includes(':') ? 6 : 4, local: src, localPort: sport, remote: dst, remotePort: dport };
}

async function textOf(path: string): Promise<string> {
  try {
    const { bytes, cut } = await readHead(path, MAX_OCTETS);
    if (cut) throw new SnapshotError(`${path}: larger than ${MAX_OCTETS} octets`);
    return bytes.toString('utf8');
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError((error as Error).message);
  }
}

function parseSnapshot(text: string, path: string): Snapshot {
  const what = 'it is not what udpicmp-watch sockets writes';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SnapshotError(`${path}: not JSON, so ${what}`);
  }
  const ajv = new Ajv2020({ allowUnionTypes: true });
  const validate = ajv.compile<Snapshot>(JSON.parse(readFileSync(SCHEMA, 'utf8')) as object);
  if (!validate(value))
    throw new SnapshotError(`${path}: ${what}: ${ajv.errorsText(validate.errors, { dataVar: '' })}`);
  return value;
}
