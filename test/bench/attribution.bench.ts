/**
 * Attribution under load: what it costs on a host with many namespaces, processes and sockets, and how many sockets
 * that do not live long it still names.
 */
import { readFileSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, type TestContext } from 'vitest';
import { CLI } from '../command.ts';
import { canRunLab, delay, Lab, PYTHON, type LabProcess, type Namespace } from '../lab/network.ts';
import type { JsonEvent } from '../lab/watch.ts';
import { addRow, grouped, isWanted, NOTHING, quantile, scaled, skipRow } from './rows.ts';

const PEER = '192.0.2.20';
const OWN = '192.0.2.10';

const whyNoLab = canRunLab();

let lab: Lab;
let watched: Namespace;
let peer: Namespace;

beforeEach(() => {
  if (whyNoLab !== null) return;
  lab = new Lab();
  watched = lab.namespace('watched');
  peer = lab.namespace('peer');
  lab.link(watched, `${OWN}/24`, peer, `${PEER}/24`);
  lab.ip(peer, 'route', 'add', 'default', 'via', OWN);
  lab.sysctl(peer, { 'net.ipv4.icmp_ratelimit': 0 });
});
afterEach(() => {
  if (whyNoLab === null) lab.close();
});

/** A test, or none where it is not wanted, or a loud skip. */
function bench(what: string, body: (what: string) => Promise<void>): void {
  if (!isWanted(what)) return;
  test(what, async (context: TestContext) => {
    if (whyNoLab === null) return body(what);
    skipRow(what, whyNoLab);
    context.skip();
  });
}

/** A row of a measurement that tcpdump has no counterpart to. */
function addOwnRow(what: string, ours: string, memory = NOTHING): void {
  addRow({ what, ours, tcpdump: NOTHING, ratio: NOTHING, memory });
}

const helper = (name: string, ...args: string[]): string[] => [
  PYTHON,
  '-B',
  `${import.meta.dirname}/${name}.py`,
  ...args,
];

/** A line, and how many seconds after the arrival of its packet it was read. */
interface TimedEvent {
  event: JsonEvent;
  late: number;
}

interface Watched {
  events: TimedEvent[];
  /** Longest stalls of the event loop, by event-loop-probe.mjs. */
  stalls: { at: number; ms: number }[];
  /** The most memory that each process has had, in MB. */
  peak: number[];
  stderr: string;
}

/** `udpicmp-watch --json` in the watched namespace. */
class Watch {
  readonly #output = `${lab.temporary}/events`;
  readonly #stalls = `${lab.temporary}/stalls`;
  readonly #reader: LabProcess;
  /** Of the tool, and of its capture process. */
  pids: readonly [number, number] = [0, 0];
  /** Milliseconds until it said that it listens. */
  startMs = 0;

  private constructor() {
    const probe = new URL('event-loop-probe.mjs', import.meta.url).href;
    this.#reader = lab.spawn(watched, helper('read_times', this.#output, process.execPath, CLI, '--json'), {
      env: { ...process.env, NODE_OPTIONS: `--import=${probe}`, EVENT_LOOP_PROBE: this.#stalls },
    });
  }

  /** Resolves when it listens. */
  static async start(): Promise<Watch> {
    const watch = new Watch();
    const start = performance.now();
    await watch.#reader.waitFor(/listening on/, 'stderr', 60_000);
    watch.startMs = performance.now() - start;
    const pid = Number(watch.#reader.lines[0]);
    const capture = childrenOf(pid).find((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('capture'));
    if (capture === undefined) throw new Error('there is no capture process');
    watch.pids = [pid, capture];
    return watch;
  }

  /** User and system time so far of each, with the children that it has waited for, in seconds. */
  get cpuSeconds(): number[] {
    return this.pids.map(cpuSeconds);
  }

  /** Ends it when no line has come for a while, and gives what it wrote and needed. */
  async stop(): Promise<Watched> {
    for (let size = -1; size !== statSync(this.#output).size; await delay(2000)) ({ size } = statSync(this.#output));
    const peak = this.pids.map(peakMegabytes);
    const { status } = await this.#reader.stop('SIGINT');
    if (status !== 0) throw new Error(`udpicmp-watch: exit status ${status}\n${this.#reader.stderr}`);
    const lines = readFileSync(this.#output, 'utf8').split('\n').filter(Boolean);
    return {
      events: lines.map(timedEvent).filter(({ event }) => 'icmp' in event),
      stalls: JSON.parse(readFileSync(this.#stalls, 'utf8')) as Watched['stalls'],
      peak,
      stderr: this.#reader.stderr,
    };
  }
}

function timedEvent(line: string): TimedEvent {
  const space = line.indexOf(' ');
  const event = JSON.parse(line.slice(space + 1)) as JsonEvent;
  const [seconds, fraction] = event.time.split(/[.Z]/);
  const arrival = Date.parse(`${seconds}Z`) / 1000 + Number(`0.${fraction}`);
  return { event, late: Number(line.slice(0, space)) - arrival };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** In clock ticks of 10 ms. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}

function peakMegabytes(pid: number): number {
  return (Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024) / 1e6;
}

/** Processes of crowd.py, and the sockets that are dealt out among them. */
interface Group {
  netns: Namespace;
  processes: number;
  /** Not connected. */
  sockets: number;
  connected: number;
}

/** A connected socket, and whose it is. */
interface Flow {
  pid: number;
  inode: number;
  src: string;
  sport: number;
  dst: string;
  dport: number;
}

/** Resolves when all their sockets are open. */
async function startCrowd(groups: readonly Group[]): Promise<{ process: LabProcess; flows: Flow[] }> {
  const specification = groups.map((group) => ({ ...group, netns: `/run/netns/${group.netns}`, peer: PEER }));
  const crowd = lab.spawn(null, helper('crowd', JSON.stringify(specification)));
  const line = await crowd.until(({ lines }) => lines[0], 60_000);
  return { process: crowd, flows: JSON.parse(line) as Flow[] };
}

/** Ends the crowd, and says what SO_ERROR held of how many of its connected sockets. */
async function endCrowd({ process }: { process: LabProcess }): Promise<Record<string, number>> {
  process.child.stdin.end();
  await process.exited;
  return JSON.parse(process.lines[1]!) as Record<string, number>;
}

/** Does it name the owner's process, and no other, by the owner's socket? */
function names({ sockets = [] }: JsonEvent, owner: Pick<Flow, 'pid' | 'inode'> | undefined): boolean {
  return (
    sockets.length === 1 && sockets[0]!.inode === owner?.inode && pidsOf(sockets).every((pid) => pid === owner.pid)
  );
}

function pidsOf(sockets: JsonEvent['sockets'] = []): number[] {
  return sockets.flatMap(({ processes }) => processes.map(({ pid }) => pid));
}

/** `98.555 %`: fine enough for one of 30,000. */
function percent(part: number, whole: number): string {
  return `${((part / whole) * 100).toFixed(3).replace(/\.?0+$/, '')} %`;
}

const sum = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0);

const difference = (after: readonly number[], before: readonly number[]): number[] =>
  after.map((value, at) => value - before[at]!);

/** `33.7 % (capture process: 13.1 %)` */
function ofCore(cpu: readonly number[], seconds: number): string {
  const [all, capture] = [sum(cpu), cpu[1]!].map((value) => ((value / seconds) * 100).toFixed(1));
  return `${all} % (capture process: ${capture} %)`;
}

const milliseconds = (seconds: number): string => `${(seconds * 1000).toFixed(1)} ms`;

const NAMESPACES = 50;
const ERRORS_PER_SECOND = 1000;
const SECONDS = scaled(30);
/** Of the tool after its start and before the errors. */
const IDLE_SECONDS = 5;

async function cost(what: string, groups: readonly Group[]): Promise<void> {
  const crowd = await startCrowd(groups);
  const watch = await Watch.start();
  const started = watch.cpuSeconds;
  await delay(IDLE_SECONDS * 1000);
  const idle = difference(watch.cpuSeconds, started);

  const errors = lab.spawn(peer, helper('paced_errors', String(ERRORS_PER_SECOND), String(SECONDS)));
  errors.child.stdin.end(JSON.stringify(crowd.flows));
  await errors.waitFor(/sending/, 'stdout', 60_000);
  const [before, begin] = [watch.cpuSeconds, Date.now() / 1000];
  await errors.until(({ exit }) => exit, (SECONDS + 60) * 1000);
  const cpu = difference(watch.cpuSeconds, before);
  const { sent, seconds } = JSON.parse(errors.lines[1]!) as { sent: number; seconds: number };
  const { events, stalls, peak, stderr } = await watch.stop();

  // The kernel's word that the errors reached the sockets.
  expect(await endCrowd(crowd)).toEqual({ ECONNREFUSED: crowd.flows.length });
  expect(sent).toBe(ERRORS_PER_SECOND * SECONDS);
  expect(events.length).toBeGreaterThan(0);

  const owners = new Map(crowd.flows.map((flow) => [`${flow.src}:${flow.sport}`, flow]));
  const ownerOf = ({ flow }: JsonEvent): Flow | undefined => owners.get(`${flow?.src}:${flow?.sport}`);
  const late = events.map((one) => one.late);
  const named = events.filter(({ event }) => pidsOf(event.sockets).length > 0);
  const right = named.filter(({ event }) => names(event, ownerOf(event))).length;
  const inTime = late.filter((value) => value <= 0.5).length;
  const worst = (from: number, to: number): string =>
    `${Math.max(0, ...stalls.filter(({ at }) => at > from && at <= to).map(({ ms }) => ms)).toFixed(0)} ms`;

  addOwnRow(
    `${what}: lines`,
    `${percent(inTime, sent)} of ${grouped(sent)}, sent at ${grouped(sent / seconds)}/s, within 500 ms (target: 99 %); ` +
      `median ${milliseconds(quantile(late, 0.5))}, 99th percentile ${milliseconds(quantile(late, 0.99))}, ` +
      `max ${milliseconds(quantile(late, 1))}`,
  );
  addOwnRow(
    `${what}: attribution`,
    `right ${percent(right, sent)}, another process named ${percent(named.length - right, sent)}, ` +
      `nobody named ${percent(events.length - named.length, sent)}, no line ${percent(sent - events.length, sent)}` +
      notices(stderr),
  );
  addOwnRow(
    `${what}: cost`,
    `CPU ${ofCore(cpu, seconds)} of a core (target: 25 %); ` +
      `longest stall of the event loop ${worst(begin, Infinity)} (target: 50 ms)`,
    `${sum(peak).toFixed(0)} MB (capture process: ${peak[1]!.toFixed(0)} MB; target: 250 MB)`,
  );
  addOwnRow(
    `${what}: start`,
    `${(watch.startMs / 1000).toFixed(2)} s until it listens, CPU ${sum(started).toFixed(2)} s; then idle, ` +
      `CPU ${ofCore(idle, IDLE_SECONDS)} of a core; longest stall until the errors ${worst(0, begin)}`,
  );
}

/** What the tool says that it did not do. */
function notices(stderr: string): string {
  return [/([1-9][\d,]*) packets? dropped/, /([1-9][\d,]*) events? not looked up/]
    .flatMap((pattern) => pattern.exec(stderr)?.[0] ?? [])
    .map((text) => `; ${text}`)
    .join('');
}

/** Namespaces behind the watched one, which routes to them. */
function routedNamespaces(): Namespace[] {
  lab.router(watched);
  return Array.from({ length: NAMESPACES }, (_, n) => {
    const namespace = lab.namespace('routed');
    lab.link(watched, `198.18.${n}.1/24`, namespace, `198.18.${n}.2/24`);
    lab.ip(namespace, 'route', 'add', 'default', 'via', `198.18.${n}.1`);
    return namespace;
  });
}

const load = `${grouped(ERRORS_PER_SECOND)} errors/s`;

bench(`20,000 sockets of 2,000 processes in ${NAMESPACES} namespaces, ${load}`, async (what) => {
  await cost(
    what,
    routedNamespaces().map((netns) => ({
      netns,
      processes: scaled(40),
      sockets: scaled(390),
      connected: scaled(10),
    })),
  );
});

bench(`20,000 sockets in one of ${NAMESPACES} namespaces with 2,000 processes, ${load}`, async (what) => {
  const others = routedNamespaces().map((netns) => ({ netns, processes: scaled(38), sockets: 0, connected: 0 }));
  await cost(what, [
    ...others,
    { netns: watched, processes: scaled(100), sockets: scaled(19_500), connected: scaled(500) },
  ]);
});

/** A socket of short_lived.py, when it is closed. */
interface Short {
  pid: number;
  inode: number;
  sport: number;
  dport: number;
  errno: string | null;
}

interface Kind {
  name: string;
  mode: 'process' | 'fork' | 'refused';
  /** Seconds from its datagram to its end. */
  life: number;
}

const LIVES = [0.005, 0.02, 0.1, 0.5];
const KINDS: readonly Kind[] = [
  ...LIVES.map((life) => ({ name: `closed after ${life * 1000} ms`, mode: 'process', life }) as const),
  ...LIVES.map((life) => ({ name: `of a process that ends after ${life * 1000} ms`, mode: 'fork', life }) as const),
  { name: 'closed on ECONNREFUSED', mode: 'refused', life: 0 },
];
const SHORT_SOCKETS = scaled(200);
const SHORT_PER_SECOND = 20;
/** Closed at the peer. No two sockets have the same. */
const FIRST_PORT = 20_000;

async function shortLived(what: string, others: number): Promise<void> {
  await startCrowd([{ netns: watched, processes: scaled(others), sockets: 0, connected: 0 }]);
  const watch = await Watch.start();
  const sockets = new Map<Kind, Short[]>();
  for (const [at, kind] of KINDS.entries()) {
    const dport = FIRST_PORT + at * SHORT_SOCKETS;
    const options = { ...kind, dst: PEER, dport, count: SHORT_SOCKETS, rate: SHORT_PER_SECOND };
    const opener = lab.spawn(watched, helper('short_lived', JSON.stringify(options)));
    await opener.until(({ exit }) => exit, 120_000);
    sockets.set(kind, opener.json<Short>());
  }
  const { events } = await watch.stop();
  const byPort = new Map(events.map(({ event }) => [event.flow?.dport, event]));
  for (const [{ name }, ofKind] of sockets) {
    // The kernel's word that each was told.
    expect(ofKind.map(({ errno }) => errno)).toEqual(Array.from({ length: SHORT_SOCKETS }, () => 'ECONNREFUSED'));
    addOwnRow(`${what}: ${name}`, sharesText(ofKind, byPort));
  }
}

function sharesText(sockets: readonly Short[], byPort: ReadonlyMap<unknown, JsonEvent>): string {
  const shares = { 'named while open': 0, 'named as closed': 0, 'nobody named': 0, 'another named': 0, 'no line': 0 };
  for (const socket of sockets) {
    const event = byPort.get(socket.dport);
    if (event === undefined) shares['no line']++;
    else if (pidsOf(event.sockets).length === 0) shares['nobody named']++;
    else if (!names(event, socket)) shares['another named']++;
    else if (event.match === 'closed') shares['named as closed']++;
    else shares['named while open']++;
  }
  return Object.entries(shares)
    .map(([share, count]) => `${share} ${percent(count, sockets.length)}`)
    .join(', ');
}

for (const others of [200, 2000]) {
  bench(`short-lived sockets, ${SHORT_PER_SECOND}/s, ${grouped(others)} other processes`, (what) =>
    shortLived(what, others));
}
