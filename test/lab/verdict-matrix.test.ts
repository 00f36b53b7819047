/**
 * Every kind of UDP socket × every ICMP error: what the tool says of the socket is held against what the kernel told
 * that very socket (SO_ERROR and MSG_ERRQUEUE), and against the path MTUs that it learnt. No table is restated here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Lab, PYTHON, type InjectedError, type LabProcess, type Namespace } from './network.ts';
import { describeLab, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '203.0.113.10';
const PEER = '203.0.113.20';
const OTHER_ROUTER = '203.0.113.21';
const CLIENT6 = '2001:db8:7::10';
const PEER6 = '2001:db8:7::20';
/** Redirects itself, as the peer's kernel does it. */
const REDIRECTED6 = '2001:db8:9::1';
const OTHER_ROUTER6 = 'fe80::2';
const FIRST_PORT = 20_001;
const REMOTE_PORT = 9;

type Version = 4 | 6;

interface Shape {
  name: string;
  /** Of the datagrams that the errors quote. */
  version: Version;
  family: Version;
  bind: string;
  connected?: boolean;
  v6only?: boolean;
  match: JsonEvent['match'];
}

const SHAPES: readonly Shape[] = [
  { name: 'v4 connected', version: 4, family: 4, bind: '0.0.0.0', connected: true, match: 'connected' },
  { name: 'v4 bound', version: 4, family: 4, bind: CLIENT, match: 'bound' },
  { name: 'v4 wildcard', version: 4, family: 4, bind: '0.0.0.0', match: 'wildcard' },
  { name: 'v4-mapped connected', version: 4, family: 6, bind: '::', connected: true, match: 'connected' },
  { name: 'v4-mapped bound', version: 4, family: 6, bind: `::ffff:${CLIENT}`, match: 'bound' },
  { name: 'v4-mapped wildcard', version: 4, family: 6, bind: '::ffff:0.0.0.0', match: 'wildcard' },
  { name: 'dual-stack wildcard, hit by v4', version: 4, family: 6, bind: '::', match: 'wildcard' },
  { name: 'V6ONLY wildcard, hit by v4', version: 4, family: 6, bind: '::', v6only: true, match: 'none' },
  { name: 'v6 connected', version: 6, family: 6, bind: '::', connected: true, match: 'connected' },
  { name: 'v6 bound', version: 6, family: 6, bind: CLIENT6, match: 'bound' },
  { name: 'dual-stack wildcard, hit by v6', version: 6, family: 6, bind: '::', match: 'wildcard' },
  { name: 'V6ONLY wildcard, hit by v6', version: 6, family: 6, bind: '::', v6only: true, match: 'wildcard' },
];

/** One option at a time: that of the other version must make no difference. */
const RECVERR_OPTIONS = { 4: [null, 'IP_RECVERR'], 6: [null, 'IP_RECVERR', 'IPV6_RECVERR'] } as const;

interface MatrixSocket {
  name: string;
  shape: Shape;
  recverr: 'IP_RECVERR' | 'IPV6_RECVERR' | null;
  /** Path-MTU discovery, for the version of the datagrams, is DONT. */
  dont: boolean;
  port: number;
  /** Its own, so that the routes show which of the errors changed a path MTU. */
  remote: string;
}

function matrixSocket(shape: Shape, recverr: MatrixSocket['recverr'], dont: boolean, index: number): MatrixSocket {
  const name = [shape.name, recverr, dont ? 'DONT' : null].filter((part) => part !== null).join(' + ');
  const remote = shape.version === 4 ? `198.51.100.${index + 1}` : `2001:db8:8::${(index + 1).toString(16)}`;
  return { name, shape, recverr, dont, port: FIRST_PORT + index, remote };
}

const SOCKETS: MatrixSocket[] = [];
for (const dont of [false, true]) {
  for (const shape of SHAPES) {
    for (const recverr of RECVERR_OPTIONS[shape.family]) {
      SOCKETS.push(matrixSocket(shape, recverr, dont, SOCKETS.length));
    }
  }
}

/** Sent to last in each round: when the tool has shown this socket's event, it has shown all of the round. */
const MARKER = matrixSocket(SHAPES[0]!, null, false, SOCKETS.length);
const MARKER_ROUND: Round = { version: 4, type: 3, code: 3 };

/** One type and code, to every socket that takes datagrams of the version. */
interface Round {
  version: Version;
  type: number;
  code: number;
  rest?: string;
}

function codes(version: Version, type: number, last: number, rest = '00000000'): Round[] {
  return Array.from({ length: last + 1 }, (_, code) => ({ version, type, code, rest }));
}

/** 1400: less than the interface's, more than the least that the kernel believes. */
const MTU = '00000578';
const TOO_BIG: readonly Round[] = [
  { version: 4, type: 3, code: 4, rest: MTU },
  { version: 6, type: 2, code: 0, rest: MTU },
];

const ROUNDS: readonly Round[] = [
  ...TOO_BIG,
  ...codes(4, 3, 16).filter(({ code }) => code !== 4),
  { version: 4, type: 3, code: 255 },
  { version: 4, type: 4, code: 0 },
  // Such as the kernel follows: from the router in use, to a neighbour.
  ...codes(4, 5, 3, Buffer.from(OTHER_ROUTER.split('.').map(Number)).toString('hex')),
  ...codes(4, 11, 2),
  ...codes(4, 12, 2),
  ...codes(6, 1, 8),
  ...codes(6, 3, 2),
  ...codes(6, 4, 4),
  // RFC 4443 section 2.4: errors of unknown type must be passed to the upper layer.
  { version: 6, type: 100, code: 0 },
  { version: 6, type: 127, code: 0 },
];

/**
 * Cells that cannot be told: IP_MTU_DISCOVER and IPV6_MTU_DISCOVER of a socket are shown neither in /proc nor by `ss`,
 * and with DONT the kernel keeps from these sockets what it tells them without. The other DONT sockets are compared.
 */
const CANNOT_BE_TOLD: readonly string[] = [
  'ICMP 3/4, v4 connected + DONT',
  'ICMP 3/4, v4 connected + IP_RECVERR + DONT',
  'ICMP 3/4, v4 bound + IP_RECVERR + DONT',
  'ICMP 3/4, v4 wildcard + IP_RECVERR + DONT',
  'ICMP 3/4, v4-mapped connected + DONT',
  'ICMP 3/4, v4-mapped connected + IP_RECVERR + DONT',
  'ICMP 3/4, v4-mapped connected + IPV6_RECVERR + DONT',
  'ICMP 3/4, v4-mapped bound + IP_RECVERR + DONT',
  'ICMP 3/4, v4-mapped wildcard + IP_RECVERR + DONT',
  'ICMP 3/4, dual-stack wildcard, hit by v4 + IP_RECVERR + DONT',
  'ICMPv6 2/0, v6 connected + DONT',
  'ICMPv6 2/0, v6 connected + IP_RECVERR + DONT',
  'ICMPv6 2/0, v6 connected + IPV6_RECVERR + DONT',
];

/** What the kernel told a socket. */
interface Told {
  soError: string | null;
  queue: { errno: string; type: number; code: number }[];
}

interface Cell {
  name: string;
  socket: MatrixSocket;
  inode: number;
  told: Told;
  mtuChanged: boolean;
  events: JsonEvent[];
}

interface PlayedRound extends Round {
  name: string;
  cells: Cell[];
  /** What the kernel makes of type and code: what any socket with the option was told. Null where none was. */
  errno: string | null;
  /** Errors that the kernel looked a socket up for and found none. */
  unclaimed: number;
}

/** The field, what the tool says of it, and what it should. */
type Comparison = readonly [field: string, tool: unknown, kernel: unknown];

/** `ss` does not show IPV6_RECVERR: the contract is then the outcome without it, which is that of the plain twin. */
function judgeOf(cell: Cell, { cells }: PlayedRound): Cell {
  const { shape, dont, recverr } = cell.socket;
  if (shape.version !== 6 || recverr !== 'IPV6_RECVERR') return cell;
  const twin = cells.find(({ socket }) => socket.shape === shape && socket.dont === dont && socket.recverr === null);
  if (twin === undefined) throw new Error(`${cell.name}: no plain twin`);
  return twin;
}

function outcomeBy({ told, mtuChanged, socket }: Cell): JsonEvent['outcome'] {
  if (told.queue.length > 0) return 'queued';
  if (told.soError !== null) return 'reported';
  if (mtuChanged) return 'pmtu';
  return socket.shape.match === 'none' ? 'no-socket' : 'ignored';
}

/** IP_RECVERR as the tool can know it; of an error without a socket there is none. */
function recverrBy({ shape: { version, match }, recverr }: MatrixSocket): boolean | null | undefined {
  if (match === 'none') return undefined;
  return version === 6 ? null : recverr === 'IP_RECVERR';
}

/** What an error queue holds after a round. */
function entryOf({ errno, type, code }: PlayedRound): object {
  return { errno, type, code };
}

function asksFor({ shape: { version, match }, recverr }: MatrixSocket): boolean {
  return match !== 'none' && recverr === (version === 4 ? 'IP_RECVERR' : 'IPV6_RECVERR');
}

function differences(cell: Cell, round: PlayedRound): string[] {
  return compare(cell, round)
    .filter(([, tool, kernel]) => !isDeepStrictEqual(tool, kernel))
    .map(([field, ...sides]) => {
      const [tool, kernel] = sides.map((side) => JSON.stringify(side));
      return `${cell.name}: ${field}: tool ${tool}, kernel ${kernel}`;
    });
}

function compare(cell: Cell, round: PlayedRound): Comparison[] {
  const { socket, inode, events } = cell;
  const [event] = events;
  if (event === undefined || events.length > 1) return [['number of events', events.length, 1]];
  const judge = judgeOf(cell, round);
  const isTold = event.outcome === 'reported' || event.outcome === 'queued';
  return [
    ['outcome', event.outcome, outcomeBy(judge)],
    ['errno', event.errno, round.errno],
    ['SO_ERROR', isTold ? event.errno : null, judge.told.soError],
    ['error queue', event.outcome === 'queued' ? [entryOf(round)] : [], judge.told.queue],
    ['match', event.match, socket.shape.match],
    ['inode', (event.sockets ?? []).map((found) => found.inode), socket.shape.match === 'none' ? [] : [inode]],
    ['recverr', event.sockets?.[0]?.recverr, recverrBy(socket)],
  ];
}

describeLab('the verdict, for every kind of socket and every error', () => {
  let lab: Lab;
  let client: Namespace;
  let peer: Namespace;
  let sockets: LabProcess;
  let injector: LabProcess;
  let watch: LabProcess;
  let inodes: number[];
  let eventsSeen = 0;
  const rounds: PlayedRound[] = [];

  beforeAll(async () => {
    lab = new Lab();
    client = lab.namespace('client');
    peer = lab.namespace('peer');
    lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], peer, [`${PEER}/24`, `${PEER6}/64`, `${OTHER_ROUTER}/24`]);
    lab.ip(client, 'route', 'add', 'default', 'via', PEER);
    lab.ip(client, '-6', 'route', 'add', 'default', 'via', PEER6);
    const specs = JSON.stringify([...SOCKETS, MARKER].map(specOf));
    sockets = lab.spawn(client, [PYTHON, join(import.meta.dirname, 'matrix_sockets.py'), specs]);
    injector = lab.spawn(peer, [PYTHON, '-B', join(import.meta.dirname, 'inject_icmp.py')]);
    inodes = JSON.parse(await sockets.until(({ lines }) => lines[0])) as number[];
    watch = await startWatch(lab, client, ['--json']);
    for (const round of ROUNDS) rounds.push(await play(round));
  });
  afterAll(() => lab.close());

  /** As matrix_sockets.py reads it. */
  function specOf({ shape, port, remote, recverr, dont }: MatrixSocket): object {
    const { family, version, bind, connected, v6only } = shape;
    const options = [
      v6only === true ? 'IPV6_V6ONLY' : null,
      recverr,
      dont ? `${version === 4 ? 'IP' : 'IPV6'}_PMTUDISC_DONT` : null,
    ].filter((option) => option !== null);
    const peerAddress = family === version ? remote : `::ffff:${remote}`;
    return { family, bind: [bind, port], connect: connected === true ? [peerAddress, REMOTE_PORT] : null, options };
  }

  /** Injects an error for each socket, waits until kernel and tool have handled them all, and asks both. */
  async function play(round: Round): Promise<PlayedRound> {
    const { version, type, code } = round;
    const name = `${version === 4 ? 'ICMP' : 'ICMPv6'} ${type}/${code}`;
    const hit = SOCKETS.filter(({ shape, dont }) => shape.version === version && (!dont || TOO_BIG.includes(round)));
    const handled = received(round) + hit.length + (version === 4 && type === MARKER_ROUND.type ? 1 : 0);
    const unclaimedBefore = unclaimed(version);
    inject(hit, round);
    inject([MARKER], MARKER_ROUND);
    await eventually(() => received(round) === handled);
    const told = await askSockets();
    const events = await eventsToMarker();
    const mtuChanged = takeChangedMtus(version, hit);
    const cells = hit.map((socket, index) => ({
      name: `${name}, ${socket.name}`,
      socket,
      inode: inodes[SOCKETS.indexOf(socket)]!,
      told: told[SOCKETS.indexOf(socket)]!,
      mtuChanged: mtuChanged[index]!,
      events: events.filter(
        ({ flow, icmp }) => flow?.sport === socket.port && icmp.type === type && icmp.code === code,
      ),
    }));
    const errno = cells.map((cell) => cell.told.soError).find((value) => value !== null) ?? null;
    return { ...round, name, cells, errno, unclaimed: unclaimed(version) - unclaimedBefore };
  }

  function inject(to: readonly MatrixSocket[], { version, type, code, rest = '00000000' }: Round): void {
    const [src, dst] = version === 4 ? [PEER, CLIENT] : [PEER6, CLIENT6];
    for (const { port, remote } of to) {
      const quoted = { src: dst, sport: port, dst: remote, dport: REMOTE_PORT };
      const error: InjectedError = { src, dst, type, code, rest, quoted };
      injector.write(`${JSON.stringify(error)}\n`);
    }
  }

  async function askSockets(): Promise<Told[]> {
    const before = sockets.lines.length;
    sockets.write(`${SOCKETS.length}\n`);
    return JSON.parse(await sockets.until(({ lines }) => lines[before])) as Told[];
  }

  /** The events after the last marker's: the tool shows them in the order of the packets. */
  async function eventsToMarker(): Promise<JsonEvent[]> {
    const found = await watch.until(({ lines }) => {
      const events = lines.slice(eventsSeen).map((line) => JSON.parse(line) as JsonEvent);
      return events.at(-1)?.flow?.sport === MARKER.port ? events : null;
    });
    eventsSeen += found.length;
    return found;
  }

  /** Whether the kernel has learnt a path MTU to the peer of each socket; makes it forget them, and redirects. */
  function takeChangedMtus(version: Version, of: readonly MatrixSocket[]): boolean[] {
    const input = of.map(({ remote }) => `route get ${remote}\n`).join('');
    const { stdout } = lab.run(null, ['ip', '-n', client, '-o', '-batch', '-'], { input });
    lab.ip(client, `-${version}`, 'route', 'flush', 'cache');
    const routes = stdout.split('\n');
    return of.map(({ remote }, index) => {
      const route = routes[index] ?? '';
      if (!route.startsWith(`${remote} `)) throw new Error(`not the route to ${remote}: ${route}`);
      return route.includes(` mtu ${Number.parseInt(MTU, 16)}`);
    });
  }

  /** How many of the round's type the kernel has taken so far. */
  function received({ version, type }: Round): number {
    return counter(version === 4 ? `IcmpMsg InType${type}` : `Icmp6InType${type}`);
  }

  /** How many the kernel has found no socket for so far; malformed ones would count too, and there are none. */
  function unclaimed(version: Version): number {
    return counter(version === 4 ? 'Icmp InErrors' : 'Icmp6InErrors');
  }

  /** Of the client's namespace; those that are 0 may not be listed. */
  function counter(name: string): number {
    const [snmp6, snmp] = ['snmp6', 'snmp'].map((file) => readFileSync(`/proc/${sockets.pid}/net/${file}`, 'utf8'));
    const [prefix, column] = name.split(' ');
    if (column === undefined) return Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(snmp6!)?.[1] ?? 0);
    const [names, values] = snmp!
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([first]) => first === `${prefix}:`);
    return Number(values?.[names!.indexOf(column)] ?? 0);
  }

  test('the kernel queues an error for each socket that asks for it, and for no other', () => {
    const cells = rounds.flatMap((round) => round.cells.map((cell) => ({ ...cell, round })));
    const plain = cells.filter(({ socket }) => !socket.dont);
    expect(plain.map(({ name, told }) => [name, told.queue])).toEqual(
      plain.map(({ name, socket, round }) => [name, asksFor(socket) && round.errno !== null ? [entryOf(round)] : []]),
    );
  });

  test('is what the kernel told the socket', () => {
    const compared = rounds.flatMap((round) =>
      round.cells.filter(({ name }) => !CANNOT_BE_TOLD.includes(name)).map((cell) => differences(cell, round)),
    );
    console.info(`verdict matrix: ${compared.length} cells in ${rounds.length} rounds compared`);
    expect(compared.flat()).toEqual([]);
  });

  test('where it cannot be told, the event has a note', () => {
    const cells = rounds.flatMap((round) => round.cells.filter(({ name }) => CANNOT_BE_TOLD.includes(name)));
    expect(cells.filter(({ events }) => (events[0]?.note ?? '') === '').map(({ name }) => name)).toEqual([]);
  });

  test('cannot be told where the kernel, with DONT, only changes the path MTU', () => {
    const kernel = rounds.flatMap((round) =>
      round.cells
        .filter(({ name }) => CANNOT_BE_TOLD.includes(name))
        .map((cell) => [cell.name, outcomeBy(judgeOf(cell, round))]),
    );
    expect(kernel).toEqual(CANNOT_BE_TOLD.map((name) => [name, 'pmtu']));
  });

  test('is no-socket as often as the kernel found none', () => {
    // Some errors end before the look-up: the kernel counts none of those, and tells nobody.
    const lookedUp = rounds.filter((round) => round.errno !== null || round.unclaimed > 0);
    const shown = lookedUp.map(({ name, cells }) => [
      name,
      cells.filter(({ events }) => events[0]?.outcome === 'no-socket').length,
    ]);
    expect(shown).toEqual(lookedUp.map((round) => [round.name, round.unclaimed]));
  });

  test('an ICMPv6 redirect, which the kernel follows, tells nobody and is no event', async () => {
    const [, router] = /inet6 (fe80:\S+)\//.exec(lab.ip(peer, '-6', 'address', 'show', 'scope', 'link')) ?? [];
    lab.ip(client, '-6', 'route', 'add', REDIRECTED6, 'via', router!, 'dev', 'eth0');
    lab.ip(peer, '-6', 'route', 'add', REDIRECTED6, 'via', OTHER_ROUTER6, 'dev', 'eth0');
    lab.router(peer);
    // Of a redirect for a socket that is not bound to the interface, it makes nothing.
    const udp = await lab.udpClient(client, {
      dst: REDIRECTED6,
      dport: REMOTE_PORT,
      recverr: true,
      device: 'eth0',
      interactive: true,
    });
    await udp.ask('send');
    await eventually(() => lab.ip(client, 'route', 'get', REDIRECTED6).includes(` via ${OTHER_ROUTER6} `));
    expect(await udp.ask('errqueue')).toMatchObject({ event: 'error', errno: 'EAGAIN' });
    expect(await udp.ask('soerror')).toMatchObject({ errno: null });
    inject([MARKER], MARKER_ROUND);
    expect((await eventsToMarker()).map(({ flow }) => flow?.sport)).toEqual([MARKER.port]);
  });
});
