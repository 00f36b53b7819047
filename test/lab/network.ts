/**
 * Network namespaces for the tests that need root: a real kernel answers, and a test looks at what it did.
 *
 * Nothing outlives the process that made it. `close()` removes what a lab made; a shell that waits for this
 * process's end does it for a process that was killed; `sweep()` does it for one whose shell was killed too.
 */

import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Every namespace and temporary directory is named `uiw-<pid>-…`. */
const PREFIX = 'uiw-';
const OWN_PREFIX = `${PREFIX}${process.pid}-`;

/** Debian's own where there is one: a version manager's `python3` is a shell script that takes a while. */
export const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

/** A named network namespace, as `ip netns` knows it. */
export type Namespace = string;

export interface RunOptions {
  input?: string | Uint8Array;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Milliseconds; 30,000 unless told. */
  timeout?: number;
  /** Do not throw when the exit status is not 0. */
  allowFailure?: boolean;
}

export interface RunResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface SpawnOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** A process group of its own, as a shell's job has. */
  detached?: boolean;
}

export interface LinkOptions {
  /** Interface names; `eth0`, `eth1`, … of each namespace unless told. */
  nameA?: string;
  nameB?: string;
  mtu?: number;
}

export interface LinkEnd {
  name: string;
  mac: string;
}

export interface Exit {
  status: number | null;
  signal: NodeJS.Signals | null;
}

let labUnavailable: string | null | undefined;

/** Why labs cannot run here, or null when they can: `describe.skipIf(canRunLab() !== null)`. */
export function canRunLab(moreTools: readonly string[] = []): string | null {
  labUnavailable ??= tryLab();
  if (labUnavailable !== null) return labUnavailable;
  const missing = moreTools.filter((tool) => !isInstalled(tool));
  return missing.length === 0 ? null : `not installed: ${missing.join(', ')}`;
}

function tryLab(): string | null {
  if (process.platform !== 'linux') return 'network namespaces are Linux';
  if (process.getuid?.() !== 0) return 'not root';
  const missing = ['ip', 'sh', 'tcpdump', PYTHON].filter((tool) => !isInstalled(tool));
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  const lab = new Lab();
  try {
    const a = lab.namespace('probe');
    const b = lab.namespace('probe');
    lab.link(a, [], b, []);
    lab.run(a, ['true']);
    return null;
  } catch (error) {
    return (error as Error).message;
  } finally {
    lab.close();
  }
}

function isInstalled(tool: string): boolean {
  if (tool.includes('/')) return existsSync(tool);
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Removes the namespaces and temporary directories of labs whose process is gone. */
export function sweep(): void {
  for (const name of listIfThere('/run/netns')) {
    if (isLeftover(name)) removeNamespace(name);
  }
  for (const name of listIfThere(tmpdir())) {
    if (isLeftover(name)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function listIfThere(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}

function isLeftover(name: string): boolean {
  const match = /^uiw-(\d+)-/.exec(name);
  return match !== null && !existsSync(`/proc/${match[1]}`);
}

/** Kills what runs in a namespace, which a lab or one of its children started, and removes it. */
function removeNamespace(name: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout;
  for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid), 'SIGKILL');
  spawnSync('ip', ['netns', 'del', name]);
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone, which is what was wanted.
  }
}

/** Blocks this thread. */
export function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

const isTruthy = (value: unknown): boolean => Boolean(value);

/** Asks every few milliseconds until the answer is truthy. */
export async function eventually<T>(ask: () => T | Promise<T>, milliseconds = 5_000): Promise<T> {
  const end = performance.now() + milliseconds;
  for (;;) {
    const answer = await ask();
    if (isTruthy(answer)) return answer;
    if (performance.now() > end) throw new Error(`did not come about within ${milliseconds} ms: ${ask.toString()}`);
    await delay(10);
  }
}

/** A child that the lab started and will end. */
export class LabProcess {
  readonly argv: readonly string[];
  readonly child: ChildProcessWithoutNullStreams;
  /** Everything written so far. */
  stdout = '';
  stderr = '';
  /** Undefined while it runs. */
  exit: Exit | undefined;
  readonly exited: Promise<Exit>;
  readonly #watchers = new Set<() => void>();

  constructor(argv: readonly string[], options: SpawnOptions = {}) {
    this.argv = argv;
    const [command, ...rest] = argv;
    if (command === undefined) throw new Error('nothing to run');
    this.child = spawn(command, rest, { stdio: 'pipe', ...options });
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#wake();
    });
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#wake();
    });
    // A child that ended does not read what is still written to it.
    this.child.stdin.on('error', () => {});
    this.exited = new Promise((resolve) => {
      const finish = (exit: Exit) => {
        this.exit = exit;
        this.#wake();
        resolve(exit);
      };
      this.child.on('error', (error) => {
        this.stderr += error.message;
        finish({ status: null, signal: null });
      });
      this.child.on('close', (status, signal) => finish({ status, signal }));
    });
  }

  /** `ip netns exec` replaces itself, so this is the program's own. */
  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`not started: ${this.argv.join(' ')}`);
    return this.child.pid;
  }

  /** The complete lines of standard output. */
  get lines(): string[] {
    return this.stdout.split('\n').slice(0, -1);
  }

  /** The complete lines of standard output, each parsed. */
  json<T = Record<string, unknown>>(): T[] {
    return this.lines.filter(Boolean).map((line) => JSON.parse(line) as T);
  }

  /** Resolves with what `ask` gives as soon as that is truthy; asks after each output and at the end. */
  async until<T>(ask: (self: this) => T, milliseconds = 10_000): Promise<NonNullable<T>> {
    const answer = await new Promise<T>((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(watcher);
        finish();
      };
      const watcher = () => {
        let value: T;
        try {
          value = ask(this);
        } catch (error) {
          settle(() => reject(error));
          return;
        }
        if (isTruthy(value)) settle(() => resolve(value));
        else if (this.exit) settle(() => reject(this.#complaint('ended first')));
      };
      const timer = setTimeout(() => {
        settle(() => reject(this.#complaint(`no answer within ${milliseconds} ms`)));
      }, milliseconds);
      this.#watchers.add(watcher);
      watcher();
    });
    return answer as NonNullable<T>;
  }

  /** Resolves with the first match in standard output, or in standard error. */
  waitFor(pattern: RegExp, stream: 'stdout' | 'stderr' = 'stdout', milliseconds = 10_000): Promise<RegExpExecArray> {
    return this.until(() => pattern.exec(this[stream]), milliseconds);
  }

  write(text: string): void {
    this.child.stdin.write(text);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.exit === undefined && this.child.pid !== undefined) kill(this.child.pid, signal);
  }

  /** Asks it to end, insists after five seconds, and resolves when it has. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.signal(signal);
    const insist = setTimeout(() => this.signal('SIGKILL'), 5_000);
    const exit = await this.exited;
    clearTimeout(insist);
    return exit;
  }

  #wake(): void {
    for (const watcher of this.#watchers) watcher();
  }

  #complaint(what: string): Error {
    return new Error(`${this.argv.join(' ')}: ${what}\n${this.stdout}${this.stderr}`);
  }
}

export interface CaptureOptions {
  /** `eth0`, `any`, …; `any` unless told. */
  interface?: string;
  /** More of tcpdump's options, such as `['-y', 'LINUX_SLL']`. */
  options?: readonly string[];
  filter?: string;
}

/** A tcpdump that writes a savefile. */
export class Capture extends LabProcess {
  readonly file: string;

  constructor(argv: readonly string[], file: string) {
    super(argv);
    this.file = file;
  }

  /** Ends the capture when what has been sent by now has been written. */
  async finish(): Promise<string> {
    await delay(250);
    const { status } = await this.stop('SIGINT');
    if (status !== 0) throw new Error(`${this.argv.join(' ')}: exit status ${status}\n${this.stderr}`);
    return this.file;
  }
}

export interface UdpClientOptions {
  dst: string;
  dport: number;
  /** Unconnected sockets use sendto. True unless told. */
  connect?: boolean;
  /** A local address to bind to; without one the socket is wildcard, or as connect() sets it. */
  src?: string;
  sport?: number;
  /** A v6 socket, also where `dst` is v4 (then by its v4-mapped address). */
  family?: 4 | 6;
  recverr?: boolean;
  reuseport?: boolean;
  /** Bind to this interface. */
  device?: string;
  /** comm, up to 15 octets. */
  name?: string;
  /** Datagrams to send; 0 is without end. 1 unless told. */
  count?: number;
  /** Seconds between two; 0.2 unless told. */
  interval?: number;
  /** Wait in poll() between two, and report errors and replies as they come. */
  poll?: boolean;
  /** Send nothing unasked: `ask()` does it. The process stays until told `quit`. */
  interactive?: boolean;
  /** Seconds to stay after the last datagram, socket open. */
  hold?: number;
  payload?: string;
  /** Octets of payload, in place of `payload`. */
  size?: number;
  ttl?: number;
  /** IP_MTU_DISCOVER or IPV6_MTU_DISCOVER. */
  pmtu?: 'dont' | 'want' | 'do' | 'probe' | 'interface' | 'omit';
  /** IP_OPTIONS, hexadecimal. */
  ipOptions?: string;
  /** IPV6_DSTOPTS, hexadecimal. */
  dstOptions?: string;
  /** Processes to fork, which hold the socket too. */
  share?: number;
}

/** One line of `udp_client.py`. `mono` is CLOCK_MONOTONIC in seconds. */
export interface UdpClientLine {
  event: 'ready' | 'sent' | 'error' | 'queued' | 'reply' | 'ok' | 'end';
  mono: number;
  pid?: number;
  fd?: number;
  inode?: number;
  /** Pids that share the socket. */
  shared?: number[];
  local?: string;
  remote?: string | null;
  /** Which datagram, from 1. */
  n?: number;
  /** Which call failed, or which command this answers. */
  call?: string;
  /** A symbolic name; null where SO_ERROR holds none. */
  errno?: string | null;
  origin?: number;
  type?: number;
  code?: number;
  info?: number;
  offender?: string | null;
  payload?: string;
}

/** A process with one UDP socket, which says what it is told about it. */
export class UdpClient extends LabProcess {
  get reports(): UdpClientLine[] {
    return this.json<UdpClientLine>();
  }

  get ready(): Required<Pick<UdpClientLine, 'pid' | 'fd' | 'inode' | 'local' | 'shared'>> & UdpClientLine {
    const line = this.reports[0];
    if (line?.event !== 'ready') throw new Error('not ready');
    return line as ReturnType<() => UdpClient['ready']>;
  }

  /** The local port. */
  get port(): number {
    return Number(/\d+$/.exec(this.ready.local)?.[0]);
  }

  get errors(): UdpClientLine[] {
    return this.reports.filter((line) => line.event === 'error');
  }

  /** One command, one answer: `send`, `recv`, `soerror`, `errqueue`, `connect A P`, `disconnect`, `close`, `quit`. */
  async ask(command: string): Promise<UdpClientLine> {
    const before = this.lines.length;
    this.write(`${command}\n`);
    const line = await this.until(() => this.lines[before]);
    return JSON.parse(line) as UdpClientLine;
  }
}

/** An ICMP error to inject, and the datagram it pretends to answer. IPv4 or IPv6 by its addresses. */
export interface InjectedError {
  /** The outer header's addresses: who says it, and to whom. */
  src: string;
  dst: string;
  type: number;
  code: number;
  /** The four octets after the checksum (MTU, pointer, gateway), hexadecimal. */
  rest?: string;
  /** RFC 4884 extension structure, hexadecimal; sets the length field and pads the quote. */
  extension?: string;
  /** The quoted datagram: as it left its sender. */
  quoted: {
    src: string;
    sport?: number;
    dst: string;
    dport?: number;
    /** 17 unless told; no ports are written for others. */
    protocol?: number;
    id?: number;
    /** Hexadecimal; 8 octets unless told. */
    payload?: string;
    /** IPv4 options, hexadecimal, a multiple of 4 octets. */
    options?: string;
    /** Cut the quote to this many octets. */
    octets?: number;
  };
  /** 1 unless told. */
  count?: number;
  /** Packets a second; 0, as fast as it goes, unless told. */
  rate?: number;
  /** Another quoted identification for each (v4), or another quoted source port. */
  vary?: 'none' | 'id' | 'sport';
  /** Write them to this pcap file, for tcpreplay, in place of sending. */
  write?: string;
  srcMac?: string;
  dstMac?: string;
}

export interface InjectionReport {
  sent: number;
  seconds: number;
}

export class Lab {
  readonly #namespaces: Namespace[] = [];
  readonly #processes = new Set<LabProcess>();
  readonly #interfaceCounts = new Map<Namespace, number>();
  #temporary: string | undefined;
  #links = 0;

  constructor() {
    guard();
    openLabs.add(this);
  }

  /** A new network namespace, with `lo` up and no duplicate address detection to wait for. */
  namespace(label: string): Namespace {
    const name = this.#addNamespace(label);
    this.ip(name, 'link', 'set', 'lo', 'up');
    this.sysctl(name, {
      'net.ipv6.conf.default.accept_dad': 0,
      'net.ipv6.conf.default.dad_transmits': 0,
      'net.ipv6.conf.default.router_solicitations': 0,
    });
    return name;
  }

  #addNamespace(label: string): Namespace {
    for (let n = 1; ; n++) {
      const name = `${OWN_PREFIX}${n}-${label}`;
      if (existsSync(`/run/netns/${name}`)) continue;
      // Known before it exists: whatever comes in between, it is removed.
      this.#namespaces.push(name);
      const { status, stderr } = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
      if (status === 0) return name;
      this.#namespaces.pop();
      if (!stderr.includes('File exists')) throw new Error(`ip netns add ${name}: ${stderr.trim()}`);
    }
  }

  /** The namespace's inode number: what /proc/PID/ns/net shows of a process in it. */
  inode(ns: Namespace): number {
    return statSync(`/run/netns/${ns}`).ino;
  }

  /**
   * A veth pair. Addresses are given with their prefix lengths, v4 and v6 alike, and can be used at once.
   */
  link(
    nsA: Namespace,
    addressesA: string | readonly string[],
    nsB: Namespace,
    addressesB: string | readonly string[],
    options: LinkOptions = {},
  ): { a: LinkEnd; b: LinkEnd } {
    const a = { name: options.nameA ?? this.#nextInterface(nsA), mac: this.#mac() };
    const b = { name: options.nameB ?? this.#nextInterface(nsB), mac: this.#mac() };
    const ends = [a.name, 'address', a.mac, 'netns', nsA, 'type', 'veth', 'peer', 'name', b.name];
    this.run(null, ['ip', 'link', 'add', ...ends, 'address', b.mac, 'netns', nsB]);
    for (const [ns, end, addresses] of [
      [nsA, a, addressesA],
      [nsB, b, addressesB],
    ] as const) {
      if (options.mtu !== undefined) this.ip(ns, 'link', 'set', end.name, 'mtu', String(options.mtu));
      this.address(ns, end.name, ...(typeof addresses === 'string' ? [addresses] : addresses));
      this.ip(ns, 'link', 'set', end.name, 'up');
    }
    // Asked for one link, newer kernels bring its state up to date first; it may lag by a second otherwise.
    this.ip(nsA, 'link', 'show', 'dev', a.name);
    this.ip(nsB, 'link', 'show', 'dev', b.name);
    this.settle(nsA);
    this.settle(nsB);
    return { a, b };
  }

  /** Adds addresses to an interface. */
  address(ns: Namespace, name: string, ...addresses: string[]): void {
    for (const address of addresses) {
      this.ip(ns, 'address', 'add', address, 'dev', name, ...(address.includes(':') ? ['nodad'] : []));
    }
  }

  /** Waits until every interface that is set up runs and no IPv6 address is tentative. */
  settle(ns: Namespace): void {
    for (let tries = 0; tries < 300; tries++) {
      const tentative = this.ip(ns, '-o', '-6', 'address', 'show', 'tentative');
      const links = this.ip(ns, '-o', 'link', 'show', 'up');
      if (tentative === '' && !/NO-CARRIER|state (?:DOWN|LOWERLAYERDOWN)/.test(links)) return;
      pause(10);
    }
    throw new Error(`${ns}: the addresses do not get ready`);
  }

  #nextInterface(ns: Namespace): string {
    const n = this.#interfaceCounts.get(ns) ?? 0;
    this.#interfaceCounts.set(ns, n + 1);
    return `eth${n}`;
  }

  /** RFC 7042's documentation range while it lasts, then locally administered. */
  #mac(): string {
    const n = ++this.#links;
    const low = (n & 0xff).toString(16).padStart(2, '0');
    const high = (n >> 8).toString(16).padStart(2, '0');
    return n < 0x100 ? `00:00:5e:00:53:${low}` : `02:00:5e:00:${high}:${low}`;
  }

  /** Forwards v4 and v6 between its interfaces. */
  router(ns: Namespace): void {
    this.sysctl(ns, { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  }

  /** `ip -n NS …`; its standard output. */
  ip(ns: Namespace, ...args: string[]): string {
    return this.run(null, ['ip', '-n', ns, ...args]).stdout;
  }

  /** Sets settings under /proc/sys of the namespace. */
  sysctl(ns: Namespace, settings: Record<string, string | number>): void {
    const script = Object.entries(settings)
      .map(([key, value]) => `echo '${value}' > '/proc/sys/${key.replaceAll('.', '/')}'`)
      .join(' && ');
    this.run(ns, ['sh', '-c', script]);
  }

  /** Waits for a program's end. It runs in the namespace, or in this process's own where that is null. */
  run(ns: Namespace | null, argv: readonly string[], options: RunOptions = {}): RunResult {
    const [command, ...rest] = inNamespace(ns, argv);
    const { allowFailure = false, timeout = 30_000, ...others } = options;
    const result = spawnSync(command, rest, {
      ...others,
      timeout,
      encoding: 'utf8',
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 28,
    });
    if (!allowFailure && (result.error !== undefined || result.status !== 0)) {
      const why = result.error?.message ?? `exit status ${result.status ?? result.signal}`;
      throw new Error(`${argv.join(' ')}: ${why}\n${result.stdout ?? ''}${result.stderr ?? ''}`.trim());
    }
    return { status: result.status, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
  }

  /** Starts a program that is killed when the lab closes. */
  spawn(ns: Namespace | null, argv: readonly string[], options: SpawnOptions = {}): LabProcess {
    return this.#track(new LabProcess(inNamespace(ns, argv), options));
  }

  #track<T extends LabProcess>(process: T): T {
    this.#processes.add(process);
    return process;
  }

  /** A directory that goes when the lab closes. */
  get temporary(): string {
    this.#temporary ??= mkdtempSync(join(tmpdir(), OWN_PREFIX));
    return this.#temporary;
  }

  /** Starts tcpdump and resolves when it captures. */
  async capture(ns: Namespace, file: string, options: CaptureOptions = {}): Promise<Capture> {
    const { interface: device = 'any', options: more = [], filter } = options;
    const argv = ['tcpdump', '-n', '-U', '--immediate-mode', '-Z', 'root', '-i', device, '-w', file, ...more];
    if (filter !== undefined) argv.push(filter);
    const capture = this.#track(new Capture(inNamespace(ns, argv), file));
    await capture.waitFor(/listening on/, 'stderr');
    return capture;
  }

  /** Starts a process with one UDP socket and resolves when the socket is open and nothing has been sent. */
  async udpClient(ns: Namespace, options: UdpClientOptions): Promise<UdpClient> {
    return this.udpClientBy(ns, [PYTHON, join(import.meta.dirname, 'udp_client.py'), JSON.stringify(options)]);
  }

  /** The same, by the words that start it. */
  async udpClientBy(ns: Namespace, argv: readonly string[]): Promise<UdpClient> {
    const client = this.#track(new UdpClient(inNamespace(ns, argv)));
    await client.until(() => client.lines[0]);
    return client;
  }

  /** A process that answers every datagram with the same one. Resolves when it listens. */
  async udpEcho(ns: Namespace, address: string, port: number, name = 'echo'): Promise<LabProcess> {
    const script = join(import.meta.dirname, 'udp_echo.py');
    const server = this.spawn(ns, [PYTHON, script, address, String(port), name]);
    await server.waitFor(/ready/);
    return server;
  }

  /** Injects ICMP errors from a namespace, whose routes they take, and waits until they are sent. */
  inject(ns: Namespace, error: InjectedError): InjectionReport {
    return JSON.parse(this.#inject(ns, [error])) as InjectionReport;
  }

  /** Several different ones by one process, in order. */
  injectAll(ns: Namespace, errors: readonly InjectedError[]): InjectionReport[] {
    return this.#inject(ns, errors)
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as InjectionReport);
  }

  #inject(ns: Namespace, errors: readonly InjectedError[]): string {
    const input = errors.map((error) => `${JSON.stringify(error)}\n`).join('');
    const argv = [PYTHON, '-B', join(import.meta.dirname, 'inject_icmp.py')];
    return this.run(ns, argv, { input, timeout: 300_000 }).stdout;
  }

  /**
   * Sends one IP packet as it is, but for the checksums, which are filled in, to the neighbour of that MAC address.
   * @param tags VLAN tags before it, hexadecimal
   */
  sendPacket(ns: Namespace, device: string, mac: string, packet: Uint8Array, tags = ''): void {
    const hex = Buffer.from(packet).toString('hex');
    this.run(ns, [PYTHON, '-B', join(import.meta.dirname, 'send_packet.py'), device, mac, hex, tags]);
  }

  /** Kills every process of the lab and removes its namespaces. */
  close(): void {
    for (const process of this.#processes) process.signal('SIGKILL');
    this.#processes.clear();
    for (const name of this.#namespaces.splice(0)) removeNamespace(name);
    if (this.#temporary !== undefined) rmSync(this.#temporary, { recursive: true, force: true });
    this.#temporary = undefined;
    openLabs.delete(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function inNamespace(ns: Namespace | null, argv: readonly string[]): [string, ...string[]] {
  if (ns !== null) return ['ip', 'netns', 'exec', ns, ...argv];
  const [command, ...rest] = argv;
  if (command === undefined) throw new Error('nothing to run');
  return [command, ...rest];
}

const openLabs = new Set<Lab>();
let guarded = false;

/**
 * Starts the shell that reads a pipe which only this process can write to: its end is this process's end,
 * by whatever signal. Detached, so that Ctrl-C does not reach it.
 */
function guard(): void {
  if (guarded) return;
  guarded = true;
  sweep();
  const script = `
    cat > /dev/null
    for path in /run/netns/"$1"*; do
      [ -e "$path" ] || continue
      name=\${path##*/}
      for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done
      ip netns del "$name"
    done
    rm -rf "$2/$1"*`;
  const child = spawn('sh', ['-c', script, 'sh', OWN_PREFIX, tmpdir()], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.unref();
  (child.stdin as Socket).unref();
  process.on('exit', () => {
    for (const lab of openLabs) lab.close();
  });
}
