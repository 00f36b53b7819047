/**
 * Which of several sockets on one port an ICMP error is for. The kernel is the judge: its error queues say which
 * socket it gave the error to, and InErrors that it found none. The tool must name that one; where what decides
 * cannot be seen from outside, all that it may be, that one among them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Lab, PYTHON, type InjectedError, type LabProcess, type LinkEnd, type Namespace } from './network.ts';
import { describeLab, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '198.51.100.10';
const PEER = '198.51.100.20';
/** Nobody has it. */
const OTHER_PEER = '198.51.100.30';
const BROADCAST = '198.51.100.255';
const MULTICAST = '239.1.2.3';
const CLIENT6 = '2001:db8:51::10';
const PEER6 = '2001:db8:51::20';
const OTHER_PEER6 = '2001:db8:51::30';
const MULTICAST6 = 'ff05::1234';
const LINK_LOCAL = 'fe80::10';
const LINK_LOCAL_PEER = 'fe80::20';
const CLOSED = 9999;
const VXLAN_PORT = 4789;

const mapped = (address: string) => `::ffff:${address}`;

/** How `socket_set.py` opens a socket. */
interface SocketOptions {
  /** 4 unless told. */
  family?: 4 | 6;
  /** The wildcard address unless told. */
  local?: string;
  /** The test's own unless told. */
  port?: number;
  peer?: readonly [address: string, port: number];
  /** Connected to `peer`, then no longer. */
  disconnect?: boolean;
  /** SO_BINDTODEVICE. */
  device?: string;
  /** The interface that link-local addresses are on. */
  scope?: string;
  v6only?: boolean;
  /** SO_REUSEPORT; SO_REUSEADDR unless told. */
  reuseport?: boolean;
  /** True unless told. */
  recverr?: boolean;
}

/** What the kernel did with ICMP errors: the sockets that it gave one to, and how many it found no socket for. */
interface Judgement {
  heard: string[];
  lost: number;
}

/** `socket_set.py`. */
class SocketSet {
  readonly #process: LabProcess;
  readonly #names = new Map<number, string>();

  private constructor(process: LabProcess) {
    this.#process = process;
  }

  /** Resolves when it counts what is lost. */
  static async start(lab: Lab, ns: Namespace): Promise<SocketSet> {
    const set = new SocketSet(lab.spawn(ns, [PYTHON, '-B', join(import.meta.dirname, 'socket_set.py')]));
    await set.judge(0);
    return set;
  }

  get pid(): number {
    return this.#process.pid;
  }

  async open(name: string, port: number, options: SocketOptions): Promise<void> {
    const { inode } = await this.#ask<{ inode: number }>({ open: name, family: 4, port, ...options });
    this.#names.set(inode, name);
  }

  async send(name: string, address: string, port: number): Promise<void> {
    await this.#ask({ send: name, to: [address, port] });
  }

  async close(name: string): Promise<void> {
    await this.#ask({ close: name });
  }

  /** Waits until the kernel has done something with an error, for as long as told. */
  judge(seconds: number): Promise<Judgement> {
    return this.#ask({ judge: seconds });
  }

  /** The names of an event's sockets, in alphabetical order. */
  namesIn(event: JsonEvent): string[] {
    return (event.sockets ?? []).map(({ inode }) => this.#names.get(inode) ?? `inode ${inode}`).toSorted();
  }

  async stop(): Promise<void> {
    await this.#process.stop('SIGKILL');
  }

  async #ask<T>(request: Record<string, unknown>): Promise<T> {
    const before = this.#process.lines.length;
    this.#process.write(`${JSON.stringify(request)}\n`);
    return JSON.parse(await this.#process.until(({ lines }) => lines[before])) as T;
  }
}

describeLab('several sockets on one port', () => {
  let lab: Lab;
  let client: Namespace;
  let peer: Namespace;
  /** The client's ends of two links to the peer. The global addresses are on the first. */
  let eth0: LinkEnd;
  let eth1: LinkEnd;
  let watch: LabProcess;
  let set: SocketSet;
  /** Each test has its own, by which its events are known. */
  let port = 41_000;
  let injected = 0;

  beforeAll(async () => {
    lab = new Lab();
    client = lab.namespace('client');
    peer = lab.namespace('peer');
    const [onClient, onPeer] = [`${LINK_LOCAL}/64`, `${LINK_LOCAL_PEER}/64`];
    ({ a: eth0 } = lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`, onClient], peer, [
      `${PEER}/24`,
      `${PEER6}/64`,
      onPeer,
    ]));
    ({ a: eth1 } = lab.link(client, onClient, peer, onPeer));
    lab.ip(client, 'route', 'add', '239.0.0.0/8', 'dev', 'eth0');
    lab.sysctl(client, {
      // Errors may come in by the other link than the one to their sender.
      'net.ipv4.conf.all.rp_filter': 0,
      'net.ipv4.conf.eth1.rp_filter': 0,
      // A neighbour that does not answer is soon given up.
      'net.ipv4.neigh.eth0.retrans_time_ms': 50,
    });
    lab.sysctl(peer, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    watch = await startWatch(lab, client, ['--json']);
  });
  beforeEach(async () => {
    port++;
    set = await SocketSet.start(lab, client);
  });
  afterEach(() => set.stop());
  afterAll(() => lab.close());

  const open = (name: string, options: SocketOptions = {}) => set.open(name, port, options);

  interface Verdict {
    event: JsonEvent;
    /** The socket that the kernel gave the error to, or null. */
    chosen: string | null;
  }

  /** Does what brings about one error, and gives what the kernel and the tool make of it. */
  async function verdict(bringAbout: () => unknown): Promise<Verdict> {
    const nextEvent = eventsAbout(({ sport }) => sport === port);
    await bringAbout();
    const { heard, lost } = await set.judge(5);
    expect(heard.length + lost, 'errors that the kernel handled').toBe(1);
    return { event: await nextEvent(), chosen: heard[0] ?? null };
  }

  /** Gives a function that waits for the next event from now on about such a flow. */
  function eventsAbout(isWanted: (flow: NonNullable<JsonEvent['flow']>) => boolean): () => Promise<JsonEvent> {
    const wanted = () => watch.json<JsonEvent>().filter(({ flow }) => flow !== undefined && isWanted(flow));
    const before = wanted().length;
    return () => watch.until(() => wanted()[before]);
  }

  /** The peer says "port unreachable" about a datagram from this test's port. */
  function refuse(src: string, dst: string, via?: LinkEnd): Promise<Verdict> {
    return verdict(() => inject({ src, sport: port, dst, dport: CLOSED }, via));
  }

  function inject(quoted: InjectedError['quoted'], via?: LinkEnd, kind?: Partial<InjectedError>): void {
    const v6 = quoted.src.includes(':');
    const error: InjectedError = {
      src: quoted.src === LINK_LOCAL ? LINK_LOCAL_PEER : v6 ? PEER6 : PEER,
      dst: quoted.src,
      type: v6 ? 1 : 3,
      code: v6 ? 4 : 3,
      ...kind,
      // No two alike: one that comes by another link would be a copy of the one before.
      quoted: { payload: (++injected).toString(16).padStart(16, '0'), ...quoted },
    };
    if (via === undefined) {
      lab.inject(peer, error);
      return;
    }
    // Routes do not choose between links with the same addresses on them.
    const write = join(lab.temporary, 'error.pcap');
    lab.inject(peer, { ...error, write });
    const [fileHeader, recordHeader, ethernetHeader] = [24, 16, 14];
    const packet = readFileSync(write).subarray(fileHeader + recordHeader + ethernetHeader);
    lab.sendPacket(peer, via.name, via.mac, packet);
  }

  /** The kernel chose this socket, and the tool names it and no other. */
  function expectOne({ event, chosen }: Verdict, name: string, match: JsonEvent['match']): void {
    expect(chosen).toBe(name);
    expect(set.namesIn(event)).toEqual([name]);
    const v4 = event.icmp.version === 4;
    expect(event).toMatchObject({
      match,
      outcome: v4 ? 'queued' : match === 'connected' ? 'reported' : 'ignored',
      sockets: [{ recverr: v4 ? true : null, processes: [{ pid: set.pid }] }],
    });
  }

  /** The kernel chose one of these, by what cannot be seen from outside, and the tool names all of them. */
  function expectOneOf({ event, chosen }: Verdict, names: string[], match: JsonEvent['match']): void {
    expect(names).toContain(chosen);
    expect(set.namesIn(event)).toEqual(names.toSorted());
    expect(event.match).toBe(match);
  }

  /** The kernel found no socket, and the tool names none. */
  function expectNone({ event, chosen }: Verdict): void {
    expect(chosen).toBeNull();
    expect(event).toMatchObject({ match: 'none', outcome: 'no-socket', sockets: [] });
  }

  describe('from the best to the last', () => {
    type Level = [match: JsonEvent['match'], options: SocketOptions];

    /** Opens all, and closes the best after each error, until only those are left that the error is not for. */
    async function descend(
      levels: Record<string, Level>,
      others: SocketOptions[],
      order: 'best first' | 'best last',
      provoke: () => Promise<Verdict>,
    ): Promise<void> {
      const names = Object.keys(levels);
      // The kernel's hash chains keep the order: it must not matter.
      for (const name of order === 'best first' ? names : names.toReversed()) await open(name, levels[name]![1]);
      for (const [n, options] of others.entries()) await open(`other ${n}`, options);
      for (const name of names) {
        expectOne(await provoke(), name, levels[name]![0]);
        await set.close(name);
      }
      const { event, chosen } = await provoke();
      expect(chosen).toBeNull();
      expect(event.outcome).toBe('no-socket');
      // Those that were closed may be remembered.
      expect(['none', 'closed']).toContain(event.match);
      for (const name of set.namesIn(event)) expect(name).not.toMatch(/^other/);
    }

    const ORDERS = ['best first', 'best last'] as const;
    const peer4 = [PEER, CLOSED] as const;
    const peer6 = [PEER6, CLOSED] as const;

    test.for(ORDERS)('v4, opened %s', (order) =>
      descend(
        {
          connected: ['connected', { local: CLIENT, peer: peer4 }],
          bound: ['bound', { local: CLIENT }],
          'bound v6': ['bound', { family: 6, local: mapped(CLIENT) }],
          wildcard: ['wildcard', {}],
          'dual-stack': ['wildcard', { family: 6 }],
        },
        [
          { local: CLIENT, peer: [OTHER_PEER, CLOSED] },
          { local: CLIENT, peer: [PEER, CLOSED + 1] },
          { local: '127.0.0.1' },
          { family: 6, v6only: true },
          { family: 6, local: CLIENT6 },
        ],
        order,
        () => refuse(CLIENT, PEER),
      ),
    );

    test.for(ORDERS)('v4 by v6 sockets alone, opened %s', (order) =>
      descend(
        {
          connected: ['connected', { family: 6, local: mapped(CLIENT), peer: [mapped(PEER), CLOSED] }],
          bound: ['bound', { family: 6, local: mapped(CLIENT) }],
          'v4 wildcard': ['wildcard', { family: 6, local: mapped('0.0.0.0') }],
        },
        [
          { family: 6, local: mapped(CLIENT), peer: [mapped(OTHER_PEER), CLOSED] },
          { family: 6, local: CLIENT6, peer: peer6 },
          { family: 6, v6only: true },
        ],
        order,
        () => refuse(CLIENT, PEER),
      ),
    );

    test.for(ORDERS)('v6, opened %s', (order) =>
      descend(
        {
          connected: ['connected', { family: 6, local: CLIENT6, peer: peer6 }],
          bound: ['bound', { family: 6, local: CLIENT6 }],
          wildcard: ['wildcard', { family: 6 }],
        },
        [
          { family: 6, local: CLIENT6, peer: [OTHER_PEER6, CLOSED] },
          { family: 6, local: CLIENT6, peer: [PEER6, CLOSED + 1] },
          { family: 6, local: '::1' },
          { family: 6, local: mapped('0.0.0.0') },
          {},
        ],
        order,
        () => refuse(CLIENT6, PEER6),
      ),
    );

    // The device counts less than the peer and the local address, and more than the family.
    test.for(ORDERS)('v4, some bound to a device, opened %s', (order) =>
      descend(
        {
          connected: ['connected', { local: CLIENT, peer: peer4 }],
          'bound, device': ['bound', { local: CLIENT, device: 'eth0' }],
          'bound v6, device': ['bound', { family: 6, local: mapped(CLIENT), device: 'eth0' }],
          bound: ['bound', { local: CLIENT }],
          'wildcard, device': ['wildcard', { device: 'eth0' }],
          'dual-stack, device': ['wildcard', { family: 6, device: 'eth0' }],
          wildcard: ['wildcard', {}],
          'dual-stack': ['wildcard', { family: 6 }],
        },
        [
          { local: CLIENT, peer: peer4, device: 'eth1' },
          { local: CLIENT, device: 'eth1' },
          { device: 'eth1' },
          { family: 6, device: 'eth1' },
        ],
        order,
        () => refuse(CLIENT, PEER),
      ),
    );

    test.for(ORDERS)('v6, some bound to a device, opened %s', (order) =>
      descend(
        {
          connected: ['connected', { family: 6, local: CLIENT6, peer: peer6 }],
          'bound, device': ['bound', { family: 6, local: CLIENT6, device: 'eth0' }],
          bound: ['bound', { family: 6, local: CLIENT6 }],
          'wildcard, device': ['wildcard', { family: 6, device: 'eth0' }],
          wildcard: ['wildcard', { family: 6 }],
        },
        [{ family: 6, device: 'eth1' }],
        order,
        () => refuse(CLIENT6, PEER6),
      ),
    );
  });

  describe('equals: all are named, the one that the kernel chose among them', () => {
    test.for([
      ['v4', { family: 4, local: CLIENT }, CLIENT, PEER],
      ['v6', { family: 6 }, CLIENT6, PEER6],
    ] as const)('a SO_REUSEPORT group of three, %s', async ([, options, src, dst]) => {
      for (const name of ['a', 'b', 'c']) await open(name, { ...options, reuseport: true });
      expectOneOf(await refuse(src, dst), ['a', 'b', 'c'], options.family === 4 ? 'bound' : 'wildcard');
    });

    test('a connected member of a SO_REUSEPORT group goes before the others, for its own peer', async () => {
      await open('connected', { local: CLIENT, peer: [PEER, CLOSED], reuseport: true });
      for (const name of ['a', 'b']) await open(name, { local: CLIENT, reuseport: true });
      expectOne(await refuse(CLIENT, PEER), 'connected', 'connected');
      expectOneOf(await refuse(CLIENT, OTHER_PEER), ['a', 'b'], 'bound');
    });

    test('SO_REUSEADDR twins', async () => {
      for (const name of ['a', 'b']) await open(name);
      expectOneOf(await refuse(CLIENT, PEER), ['a', 'b'], 'wildcard');
    });

    test('of :: and ::ffff:0.0.0.0 either takes v4', async () => {
      await open('dual-stack', { family: 6 });
      await open('v4 wildcard', { family: 6, local: mapped('0.0.0.0') });
      expectOneOf(await refuse(CLIENT, PEER), ['dual-stack', 'v4 wildcard'], 'wildcard');
    });

    // Since Linux 6.13 connected sockets are looked up by the four-tuple alone, and the last one that was
    // connected is found, whatever else would have scored.
    const v4: SocketOptions = { local: CLIENT, peer: [PEER, CLOSED] };
    test.for<[string, SocketOptions]>([
      ['a v6 socket that carries v4', { family: 6, local: mapped(CLIENT), peer: [mapped(PEER), CLOSED] }],
      ['one bound to the device', { ...v4, device: 'eth0' }],
    ])('connected twins, a v4 socket and %s', async ([, other]) => {
      await open('first', v4);
      await open('last', other);
      expectOneOf(await refuse(CLIENT, PEER), ['first', 'last'], 'connected');
      await set.close('first');
      await open('first again', v4);
      expectOneOf(await refuse(CLIENT, PEER), ['first again', 'last'], 'connected');
    });
  });

  describe('a peer', () => {
    test.for([
      ['v4', { local: CLIENT, peer: [OTHER_PEER, CLOSED] }, CLIENT, PEER],
      ['v6', { family: 6, local: CLIENT6, peer: [OTHER_PEER6, CLOSED] }, CLIENT6, PEER6],
    ] as const)('%s, connected to another: no socket', async ([, options, src, dst]) => {
      await open('connected', options);
      expectNone(await refuse(src, dst));
    });

    test('a disconnected v4 socket is one that was never connected', async () => {
      await open('disconnected', { peer: [PEER, CLOSED], disconnect: true });
      expectOne(await refuse(CLIENT, PEER), 'disconnected', 'wildcard');
      expectOne(await refuse(CLIENT, OTHER_PEER), 'disconnected', 'wildcard');
    });

    test('a disconnected v6 socket keeps its peer for v6, not for v4', async () => {
      await open('disconnected', { family: 6, peer: [PEER6, CLOSED], disconnect: true });
      expectOne(await refuse(CLIENT6, PEER6), 'disconnected', 'wildcard');
      expectNone(await refuse(CLIENT6, OTHER_PEER6));
      expectOne(await refuse(CLIENT, PEER), 'disconnected', 'wildcard');
    });

    test('a v6 socket disconnected from a v4 peer takes any v4 peer, and no v6 one', async () => {
      await open('disconnected', { family: 6, peer: [mapped(PEER), CLOSED], disconnect: true });
      expectOne(await refuse(CLIENT, PEER), 'disconnected', 'wildcard');
      expectOne(await refuse(CLIENT, OTHER_PEER), 'disconnected', 'wildcard');
      expectNone(await refuse(CLIENT6, PEER6));
    });

    test('plain sockets: the connected one is told, the others hear nothing', async () => {
      await open('wildcard');
      await open('connected', { local: CLIENT, peer: [PEER, CLOSED], recverr: false });
      const { event, chosen } = await refuse(CLIENT, PEER);
      expect(chosen).toBe('connected');
      expect(set.namesIn(event)).toEqual(['connected']);
      expect(event).toMatchObject({ match: 'connected', outcome: 'reported', sockets: [{ recverr: false }] });
    });
  });

  describe('IPV6_V6ONLY', () => {
    test('alone on ::, it is not for a v4 error', async () => {
      await open('v6only', { family: 6, v6only: true });
      expectNone(await refuse(CLIENT, PEER));
    });

    test('it is for a v6 error', async () => {
      await open('v6only', { family: 6, v6only: true });
      expectOne(await refuse(CLIENT6, PEER6), 'v6only', 'wildcard');
    });
  });

  describe('SO_BINDTODEVICE', () => {
    // The device that the error comes in by counts, whichever the datagram left by.
    test.for([
      ['v4', { local: CLIENT }, CLIENT, PEER],
      ['v6', { family: 6, local: CLIENT6 }, CLIENT6, PEER6],
    ] as const)('%s: the device by which the error comes in decides', async ([, options, src, dst]) => {
      await open('on eth0', { ...options, device: 'eth0' });
      expectOne(await refuse(src, dst, eth0), 'on eth0', 'bound');
      expectNone(await refuse(src, dst, eth1));
      await open('on any', options);
      expectOne(await refuse(src, dst, eth0), 'on eth0', 'bound');
      expectOne(await refuse(src, dst, eth1), 'on any', 'bound');
    });

    test('it goes when the socket is disconnected', async () => {
      await open('disconnected', { local: CLIENT, device: 'eth1', peer: [PEER, CLOSED], disconnect: true });
      expectOne(await refuse(CLIENT, PEER, eth0), 'disconnected', 'bound');
    });

    test('an error of this kernel itself comes by lo: it misses the socket, and hits another', async () => {
      await open('sender', { local: CLIENT, device: 'eth0' });
      const unanswered = () => verdict(() => set.send('sender', OTHER_PEER, CLOSED));
      expectNone(await unanswered());
      await open('bystander', { local: CLIENT });
      const second = await unanswered();
      expect(second.event).toMatchObject({ interface: 'lo', icmp: { name: 'host-unreachable' } });
      expectOne(second, 'bystander', 'bound');
    });
  });

  describe('the quoted destination is no unicast address', () => {
    test.for([
      ['v4 multicast', {}, CLIENT, MULTICAST],
      ['v6 multicast', { family: 6 }, CLIENT6, MULTICAST6],
      ['broadcast', {}, CLIENT, BROADCAST],
    ] as const)('%s, not connected, then connected to it', async ([, options, src, dst]) => {
      await open('wildcard', options);
      expectOne(await refuse(src, dst), 'wildcard', 'wildcard');
      await open('connected', { ...options, local: src, peer: [dst, CLOSED] });
      expectOne(await refuse(src, dst), 'connected', 'connected');
    });

    test.for([
      ['v4', { local: MULTICAST }, PEER],
      ['v6', { family: 6, local: MULTICAST6 }, PEER6],
    ] as const)('a socket bound to a multicast address sends from another: no socket, %s', async ([, options, dst]) => {
      await open('group', options);
      const refused = await verdict(() => set.send('group', dst, CLOSED));
      expect(refused.event.flow).toMatchObject({ dst });
      expectNone(refused);
    });
  });

  test('the same link-local tuple on two links is two sockets', async () => {
    for (const scope of ['eth0', 'eth1']) {
      await open(scope, { family: 6, local: LINK_LOCAL, peer: [LINK_LOCAL_PEER, CLOSED], scope });
    }
    expectOne(await refuse(LINK_LOCAL, LINK_LOCAL_PEER, eth0), 'eth0', 'connected');
    expectOne(await refuse(LINK_LOCAL, LINK_LOCAL_PEER, eth1), 'eth1', 'connected');
  });

  test("an application's socket on VXLAN's port is not told of datagrams to that port", async () => {
    await open('application', { port: VXLAN_PORT });
    expectNone(await verdict(() => inject({ src: CLIENT, sport: port, dst: PEER, dport: VXLAN_PORT })));
  });

  describe("a tunnel's socket", () => {
    const VNI = 5;
    const vxlanHeader = (vni: number) => `08000000${vni.toString(16).padStart(6, '0')}00`;
    const INNER = '203.0.113.1';
    const INNER_PEER = '203.0.113.2';

    beforeAll(() => {
      for (const [name, vni, remote] of [
        ['vx4', VNI, PEER],
        ['vx6', VNI + 1, PEER6],
      ] as const) {
        const type = ['type', 'vxlan', 'id', String(vni), 'dstport', String(VXLAN_PORT)];
        lab.ip(client, 'link', 'add', name, ...type, 'remote', remote, 'dev', 'eth0');
        lab.ip(client, 'link', 'set', name, 'up');
      }
      lab.address(client, 'vx4', `${INNER}/24`);
      lab.ip(client, 'neighbour', 'add', INNER_PEER, 'lladdr', '00:00:5e:00:53:ff', 'dev', 'vx4');
    });

    /** The inode of the socket on VXLAN's port, by /proc/net/udp or udp6. */
    function inodeOfTunnel(table: 'udp' | 'udp6'): number {
      const localPort = `:${VXLAN_PORT.toString(16).toUpperCase()}`;
      const rows = lab.run(client, ['cat', `/proc/net/${table}`]).stdout.split('\n');
      const row = rows.map((line) => line.trim().split(/\s+/)).find(([, local]) => local?.endsWith(localPort) === true);
      return Number(row?.[9]);
    }

    /** Brings about one error, which the kernel gives to a tunnel: no queue has it, and it is not lost. */
    async function eventOfTunnel(
      dport: number,
      bringAbout: () => unknown,
      { src = CLIENT, sport }: { src?: string; sport?: number } = {},
    ): Promise<JsonEvent> {
      // The tunnel sends of its own accord too: neighbour discovery.
      const nextEvent = eventsAbout(
        (flow) => flow.dport === dport && flow.src === src && (sport === undefined || flow.sport === sport),
      );
      await bringAbout();
      const event = await nextEvent();
      expect(await set.judge(0)).toEqual({ heard: [], lost: 0 });
      return event;
    }

    function expectTunnel(event: JsonEvent, table: 'udp' | 'udp6'): void {
      expect(event).toMatchObject({
        match: 'wildcard',
        outcome: 'ignored',
        note: expect.stringMatching(/kernel/) as string,
        sockets: [{ inode: inodeOfTunnel(table), processes: [] }],
      });
    }

    test("a refused datagram of VXLAN's, from the port that its flow hashes to", async () => {
      await open('inner');
      const event = await eventOfTunnel(VXLAN_PORT, () => set.send('inner', INNER_PEER, CLOSED));
      expect(event.flow).toMatchObject({ src: CLIENT, dst: PEER });
      expect(event.flow?.sport).not.toBe(VXLAN_PORT);
      expectTunnel(event, 'udp');
    });

    test('likewise in v6', async () => {
      const quoted = { src: CLIENT6, sport: port, dst: PEER6, dport: VXLAN_PORT, payload: vxlanHeader(VNI + 1) };
      expectTunnel(await eventOfTunnel(VXLAN_PORT, () => inject(quoted), { src: CLIENT6, sport: port }), 'udp6');
    });

    test("from VXLAN's own port", async () => {
      const quoted = { src: CLIENT, sport: VXLAN_PORT, dst: PEER, dport: port, payload: vxlanHeader(VNI) };
      expectTunnel(await eventOfTunnel(port, () => inject(quoted)), 'udp');
    });

    test('the kernel asks the tunnel whether it has the network identifier', async () => {
      const quoted = { src: CLIENT, sport: port, dst: PEER, dport: VXLAN_PORT, payload: vxlanHeader(VNI + 2) };
      // So what is not lost in the other tests is the tunnel's. The tool does not know which identifiers it has.
      const { chosen } = await verdict(() => inject(quoted));
      expect(chosen).toBeNull();
    });

    test('fragmentation needed: the path MTU changes', async () => {
      const mtu = 1400;
      const quoted = { src: CLIENT, sport: port, dst: PEER, dport: VXLAN_PORT, payload: vxlanHeader(VNI) };
      const tooBig = { code: 4, rest: mtu.toString(16).padStart(8, '0') };
      const event = await eventOfTunnel(VXLAN_PORT, () => inject(quoted, undefined, tooBig), { sport: port });
      expect(lab.ip(client, 'route', 'get', PEER)).toContain(`mtu ${mtu}`);
      expect(event).toMatchObject({ errno: 'EMSGSIZE', outcome: 'pmtu', sockets: [{ processes: [] }] });
    });

    test("an application's socket that has the port of the flow goes first", async () => {
      await open('application');
      const quoted = { src: CLIENT, sport: port, dst: PEER, dport: VXLAN_PORT, payload: vxlanHeader(VNI) };
      expectOne(await verdict(() => inject(quoted)), 'application', 'wildcard');
    });
  });
});
