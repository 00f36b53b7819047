/**
 * What /proc/net/udp does not show of a socket, from ss(8) of iproute2, which asks the kernel by netlink (udp_diag_dump_one
 * and inet_diag_msg_attrs_fill in net/ipv4): the device it is bound to, IP_RECVERR, IPV6_V6ONLY.
 *
 *     UNCONN 0 0 0.0.0.0%lo:5003 0.0.0.0:* uid:1000 ino:37866 sk:1 cgroup:/ v6only:0 <-> inet-sockopt: ( recverr mc_loop)
 *
 * IPV6_RECVERR and the mode of path-MTU discovery are not among what the kernel tells.
 */
import { Refresher, type Pace, type Run } from './refresher.ts';
import type { UdpSocket } from './socket-table.ts';
import { runTool } from './tool.ts';

/** Null: not known. */
export interface SocketOptions {
  /** SO_BINDTODEVICE, or the scope of a link-local peer; empty: none. */
  device: string | null;
  /** IP_RECVERR, of v4 and v6 sockets. */
  recverr: boolean | null;
  /** IPV6_V6ONLY; not told of connected sockets. */
  v6only: boolean | null;
}

export type DiagnosedSocket = UdpSocket & SocketOptions;

/** Names of interfaces and control groups have anything in them but blanks and line feeds, the line ends of Unicode too. */
const ROW = /^([^ ]+) +\d+ +\d+ +([^ ]+) +([^ ]+) (.*)$/s;
const ENDPOINT = /^(\*|\[[0-9a-f:.]+\]|[0-9.]+)(?:%([^ ]+))?:(\d+|\*)$/;

/** Milliseconds that it is not asked after it failed. */
const FAILED_FOR = 10_000;
/** Milliseconds that a question waits for others, if nobody waits for its answer. */
const BESIDE_AFTER = 500;
/** Local ports in one question: its filter runs over every socket of the namespace. */
const PORTS_AT_ONCE = 256;
const MAX_PORTS = 4_096;
const MAX_SOCKETS = 65_536;
/**
 * Milliseconds that options are believed, and after which they are asked for anew beside their use. They are first asked for
 * when an error comes, and a socket that has sent something mostly has its options for good.
 */
const BELIEVED_FOR = 30_000;
const ASK_AFTER = 15_000;

interface Answer {
  /** Null: ss failed. */
  sockets: DiagnosedSocket[] | null;
  startedAt: number;
}

interface Observed {
  options: SocketOptions;
  at: number;
}

/** Asks ss in one network namespace, for many ports at once and never for more than about a tenth of the time. */
export class SocketDiagnosis {
  readonly #enter: () => readonly string[] | null;
  readonly #now: () => number;
  readonly #runs: Refresher<null>;
  readonly #wanted = new Set<number>();
  readonly #byPort = new Map<number, Answer>();
  readonly #byInode = new Map<number, Observed>();
  #besides: NodeJS.Timeout | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param enter the words of a command that runs the words behind it in the namespace; null where it cannot be entered.
   * @param now milliseconds, monotonic.
   * @param pace of all that ask ss.
   */
  constructor(enter: () => readonly string[] | null, now: () => number, pace?: Pace) {
    this.#enter = enter;
    this.#now = now;
    this.#runs = new Refresher(() => this.#run(), now, pace);
  }

  /** Whether it is worth asking: it is not for a while after it failed, or was not there. */
  get isAvailable(): boolean {
    return this.#now() - this.#failedAt > FAILED_FOR;
  }

  close(): void {
    clearTimeout(this.#besides);
    this.#runs.close();
  }

  /** The sockets with that local port at `since` or later; null where ss cannot tell. A promise: ask again when it resolves. */
  socketsOn(port: number, since: number): DiagnosedSocket[] | null | Promise<unknown> {
    if (!this.isAvailable) return null;
    const answer = this.#byPort.get(port);
    if (answer !== undefined && answer.startedAt >= since) return answer.sockets;
    this.#wanted.add(port);
    return this.#runs.fresh();
  }

  /** The options of a socket; null where they cannot be found out. A promise: ask again when it resolves. */
  options({ inode, localPort }: UdpSocket, since: number): SocketOptions | null | Promise<unknown> {
    const observed = this.#byInode.get(inode);
    const age = this.#now() - (observed?.at ?? Number.NEGATIVE_INFINITY);
    if (observed !== undefined && age < BELIEVED_FOR) {
      if (age > ASK_AFTER) this.askBeside(localPort);
      return observed.options;
    }
    const sockets = this.socketsOn(localPort, since);
    if (sockets === null || sockets instanceof Promise) return sockets;
    return sockets.find((socket) => socket.inode === inode) ?? null;
  }

  /** The sockets with that local port as they were not longer ago than `maxAge`; null where that is not known. */
  recent(port: number, maxAge: number): DiagnosedSocket[] | null {
    const answer = this.#byPort.get(port);
    if (answer === undefined || answer.sockets === null) return null;
    const age = this.#now() - answer.startedAt;
    if (age > maxAge / 2) this.askBeside(port);
    return age > maxAge ? null : answer.sockets;
  }

  /** Asks for the sockets with that port though nobody waits for the answer. */
  askBeside(port: number): void {
    if (!this.isAvailable || this.#wanted.has(port)) return;
    this.#wanted.add(port);
    // With others that will be wanted by then.
    this.#besides ??= setTimeout(() => {
      this.#besides = undefined;
      void this.#runs.fresh();
    }, BESIDE_AFTER).unref();
  }

  /** Asks for every socket. */
  async askForAll(): Promise<void> {
    const now = this.#now();
    const { sockets } = await this.#ask([]);
    this.#remember(sockets ?? [], now);
  }

  async #run(): Promise<Run<null>> {
    const startedAt = this.#now();
    const ports = [...this.#wanted].slice(0, PORTS_AT_ONCE);
    for (const port of ports) this.#wanted.delete(port);
    const { sockets, waited } = ports.length === 0 ? { sockets: [], waited: 0 } : await this.#ask(ports);
    if (this.#byPort.size + ports.length > MAX_PORTS) this.#byPort.clear();
    const byPort = new Map<number, DiagnosedSocket[]>(ports.map((port) => [port, []]));
    for (const socket of sockets ?? []) byPort.get(socket.localPort)?.push(socket);
    for (const [port, found] of byPort) {
      this.#byPort.set(port, { sockets: sockets === null ? null : found, startedAt });
    }
    this.#remember(sockets ?? [], startedAt);
    return { value: null, cost: this.#now() - startedAt - waited };
  }

  /** No ports: all. */
  async #ask(ports: readonly number[]): Promise<{ sockets: DiagnosedSocket[] | null; waited: number }> {
    const filter = ports.flatMap((port, index) => [...(index === 0 ? [] : ['or']), 'sport', '=', `:${port}`]);
    const { output, waited } = await runTool(this.#enter(), ['ss', '-uaneOH', '--inet-sockopt', ...filter]);
    const sockets = output === null ? null : parseSs(output);
    const isUnderstood = sockets !== null && (sockets.length > 0 || output?.trim() === '');
    if (!isUnderstood) this.#failedAt = this.#now();
    return { sockets: isUnderstood ? sockets : null, waited };
  }

  #remember(sockets: readonly DiagnosedSocket[], at: number): void {
    if (this.#byInode.size + sockets.length > MAX_SOCKETS) this.#byInode.clear();
    for (const { inode, device, recverr, v6only } of sockets) {
      this.#byInode.set(inode, { options: { device, recverr, v6only }, at });
    }
  }
}

/** The sockets in the output of `ss -uaneOH --inet-sockopt`; a line that is not understood is passed over. */
export function parseSs(output: string): DiagnosedSocket[] {
  const sockets: DiagnosedSocket[] = [];
  for (const line of output.split('\n')) {
    const socket = parseRow(line);
    if (socket !== null) sockets.push(socket);
  }
  return sockets;
}

function parseRow(line: string): DiagnosedSocket | null {
  const [, state, localText, remoteText, details] = ROW.exec(line) ?? [];
  const local = ENDPOINT.exec(localText ?? '');
  const remote = ENDPOINT.exec(remoteText ?? '');
  // Where ss cannot ask by netlink it reads /proc, and has no `sk`. The name of a control group, which may look like anything,
  // comes between these and those below.
  const [, uid, inode] = /(?:^| )(?:uid:(\d+) )?ino:(\d+) sk:/.exec(details ?? '') ?? [];
  if (local === null || remote === null || inode === undefined) return null;
  const family = /^[*[]/.test(local[1]!) ? 6 : 4;
  const isConnected = state === 'ESTAB';
  const v6only = family === 4 || isConnected ? undefined : /^.* v6only:([01])/s.exec(details!)?.[1];
  const sockopt = /^.*inet-sockopt: \(([^)]*)\)/s.exec(details!)?.[1];
  return {
    family,
    local: addressOf(local[1]!),
    localPort: Number(local[3]),
    remote: addressOf(remote[1]!),
    remotePort: remote[3] === '*' ? 0 : Number(remote[3]),
    connected: isConnected,
    uid: Number(uid ?? 0),
    inode: Number(inode),
    device: local[2] ?? '',
    recverr: sockopt === undefined ? null : / recverr(?: |$)/.test(sockopt),
    v6only: v6only === undefined ? null : v6only === '1',
  };
}

function addressOf(text: string): string {
  if (text === '*') return '::';
  return text.replace(/^\[(?:::ffff:(?=.*\.))?/, '').replace(/\]$/, '');
}
