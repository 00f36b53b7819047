/**
 * Behind NAT the wire has one tuple and the socket another. The kernel undoes NAT before it looks a socket up, so whoever
 * happens to hold the translated port is not whom an error is about.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { expectValid } from '../sink/schema.ts';
import {
  canRunLab,
  eventually,
  Lab,
  type LabProcess,
  type Namespace,
  type UdpClient,
  PYTHON,
  type UdpClientOptions,
} from './network.ts';
import { events, expectAnswer, followed, startWatch, type JsonEvent, type JsonRecord } from './watch.ts';

const V4 = {
  family: 4,
  client: '10.88.0.2',
  gateway: '10.88.0.1',
  router: '203.0.113.1',
  outside: '203.0.113.20',
  /** No namespace has these: the router translates the one, and the other is on the wire only. */
  service: '198.51.100.10',
  stranger: '203.0.113.99',
} as const;
const V6 = {
  family: 6,
  client: '2001:db8:88::2',
  gateway: '2001:db8:88::1',
  router: '2001:db8:1::1',
  outside: '2001:db8:1::20',
  service: '2001:db8:5::10',
  stranger: '2001:db8:1::99',
} as const;

/** One datagram from an address that the sender does not have: IP_TRANSPARENT. */
const SEND_AS = `
import socket, sys
src, sport, dst, dport = sys.argv[1:]
udp = socket.socket(socket.AF_INET6 if ":" in src else socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IP, 19, 1)
udp.bind((src, int(sport)))
udp.sendto(b"hello", (dst, int(dport)))
`;

const CLOSED = 9999;
const PORT = 41_000;

interface Tuple {
  src: string;
  sport: number;
  dst: string;
  dport: number;
}

/** What a socket was told, and what conntrack has of its flow: the first datagram's tuple, and that of the answers. */
interface Failure {
  errno: string;
  original: Tuple;
  reply: Tuple;
}

const reverse = ({ src, sport, dst, dport }: Tuple): Tuple => ({ src: dst, sport: dport, dst: src, dport: sport });

const endpoint = (host: string, port: number) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

const wireTuple = ({ flow }: Pick<JsonEvent, 'flow'>) => ({
  src: flow?.src,
  sport: flow?.sport,
  dst: flow?.dst,
  dport: flow?.dport,
});

/** `nat` has it where the wire had another. */
const socketTuple = (event: Pick<JsonEvent, 'flow' | 'nat'>) => event.nat ?? wireTuple(event);

/** What SO_ERROR holds as soon as it holds something: the kernel found this socket. */
const heard = async (udp: UdpClient) => String(await eventually(async () => (await udp.ask('soerror')).errno));

/** With IP_RECVERR no error would go unnoticed, and none came. */
async function expectUntouched(udp: UdpClient): Promise<void> {
  expect(await udp.ask('errqueue')).toMatchObject({ event: 'error', errno: 'EAGAIN' });
  expect((await udp.ask('soerror')).errno).toBeNull();
}

const reason = canRunLab(['iptables', 'ip6tables', 'conntrack']);
if (reason !== null) console.warn(`SKIPPED: NAT: ${reason}`);

describe.skipIf(reason !== null).for([V4, V6])('NAT of IPv$family', (addresses) => {
  const { family, stranger } = addresses;
  let lab: Lab;
  let client: Namespace;
  let router: Namespace;
  let outside: Namespace;
  let outsideMac: string;
  /** On all interfaces, and on that where only translated tuples are to be seen. */
  let watches: LabProcess[];

  beforeEach(async () => {
    lab = new Lab();
    client = lab.namespace('client');
    router = lab.namespace('router');
    outside = lab.namespace('outside');
    const length = family === 4 ? 24 : 64;
    lab.link(client, `${addresses.client}/${length}`, router, `${addresses.gateway}/${length}`);
    const uplink = lab.link(router, `${addresses.router}/${length}`, outside, `${addresses.outside}/${length}`);
    outsideMac = uplink.b.mac;
    lab.router(router);
    lab.ip(client, `-${family}`, 'route', 'add', 'default', 'via', addresses.gateway);
    lab.ip(router, `-${family}`, 'route', 'add', addresses.service, 'via', addresses.outside);
    for (const ns of [client, router, outside]) {
      lab.sysctl(ns, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    }
    watches = await Promise.all([
      startWatch(lab, router, ['--json']),
      startWatch(lab, router, ['--json', '-i', 'eth1']),
    ]);
  });
  afterEach(() => lab.close());

  const nat = (...rule: string[]) =>
    lab.run(router, [family === 4 ? 'iptables' : 'ip6tables', '-w', '-t', 'nat', '-A', ...rule]);

  const masquerade = () => nat('POSTROUTING', '-o', 'eth1', '-j', 'MASQUERADE');

  const dnat = (chain: 'OUTPUT' | 'PREROUTING', host: string, port: number, to: string, toPort: number) =>
    nat(chain, '-p', 'udp', '-d', host, '--dport', `${port}`, '-j', 'DNAT', '--to-destination', endpoint(to, toPort));

  const open = (ns: Namespace, options: UdpClientOptions) => lab.udpClient(ns, { interactive: true, ...options });

  function tracked(udp: UdpClient): Pick<Failure, 'original' | 'reply'> {
    const [, host = '', port = ''] = /^\[?([^\]]*)\]?:(\d+)$/.exec(udp.ready.local) ?? [];
    const of = ['-f', `ipv${family}`, '-p', 'udp', '--orig-src', host, '--orig-port-src', port];
    const { stdout } = lab.run(router, ['conntrack', '-L', ...of]);
    const [original, reply, ...more] = Array.from(
      stdout.matchAll(/src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/g),
      ([, src = '', dst = '', sport, dport]): Tuple => ({ src, sport: Number(sport), dst, dport: Number(dport) }),
    );
    if (original === undefined || reply === undefined || more.length > 0) throw new Error(`not one flow: ${stdout}`);
    return { original, reply };
  }

  async function fail(udp: UdpClient): Promise<Failure> {
    await udp.ask('send');
    return { errno: await heard(udp), ...tracked(udp) };
  }

  function socketOf(udp: UdpClient, ns: Namespace) {
    const { pid, fd, inode } = udp.ready;
    return { inode, netns: lab.inode(ns), processes: [{ pid, fd }] };
  }

  /** The last of `count` events, of each watch. */
  async function lastOf(count: number): Promise<[any: JsonEvent, uplink: JsonEvent]> {
    const found = await Promise.all(watches.map((watch) => events(watch, count)));
    return found.map((all) => all.at(-1)) as [JsonEvent, JsonEvent];
  }

  async function expectNamed(udp: UdpClient, ns: Namespace, { errno, original, reply }: Failure, count = 1) {
    const [any, uplink] = await lastOf(count);
    for (const event of [any, uplink]) {
      expect(event).toMatchObject({ direction: 'in', errno, outcome: 'reported', match: 'connected' });
      expect(event.sockets).toMatchObject([socketOf(udp, ns)]);
      expect(socketTuple(event)).toEqual(original);
    }
    expect(wireTuple(uplink)).toEqual(reverse(reply));
  }

  test('MASQUERADE: the client behind it, in its namespace', async () => {
    masquerade();
    const udp = await open(client, { dst: addresses.outside, dport: CLOSED });
    await expectNamed(udp, client, await fail(udp));
  });

  test.for([
    ['on any address', { connect: false }],
    ['on the address of the uplink', { connect: false, src: addresses.router }],
    ['connected to the same peer', { src: addresses.router }],
  ] as const)('MASQUERADE: not the process of the router that holds the same port, %s', async ([, options]) => {
    masquerade();
    const peer = { dst: addresses.outside, dport: CLOSED, sport: PORT };
    const other = await open(router, { ...peer, ...options, recverr: true });
    const udp = await open(client, peer);
    const failure = await fail(udp);
    await expectUntouched(other);
    // Or it would not be the same port.
    expect(failure.reply).toMatchObject({ dst: addresses.router, dport: PORT });
    await expectNamed(udp, client, failure);
  });

  test('MASQUERADE: of two that send from one port, each for its own', async () => {
    masquerade();
    const peer = { dst: addresses.outside, dport: CLOSED, sport: PORT };
    const udp = await open(client, peer);
    const other = await open(router, { ...peer, src: addresses.router });
    const first = await fail(udp);
    const second = await fail(other);
    // The port is taken by the client's flow, so the router's own gets another.
    expect(second.reply.dport).not.toBe(PORT);
    await lastOf(2);
    await expectNamed(other, router, second, 2);
    await udp.ask('send');
    await expectNamed(udp, client, first, 3);
  });

  test.for([
    ['the router itself', 'OUTPUT'],
    ['a client behind it', 'PREROUTING'],
  ] as const)('DNAT of a service address: %s is named, by the address that it knows', async ([who, chain]) => {
    const ns = who === 'the router itself' ? router : client;
    lab.ip(outside, `-${family}`, 'route', 'add', addresses.client, 'via', addresses.router);
    dnat(chain, addresses.service, 53, addresses.outside, CLOSED);
    const udp = await open(ns, { dst: addresses.service, dport: 53, sport: PORT, reuseport: true });
    // It has the very tuple that is on the wire.
    const other = await open(ns, {
      dst: addresses.outside,
      dport: CLOSED,
      sport: PORT,
      reuseport: true,
      recverr: true,
    });
    const failure = await fail(udp);
    await expectUntouched(other);
    expect(failure.original).toMatchObject({ dst: addresses.service, dport: 53 });
    await expectNamed(udp, ns, failure);
  });

  test.for(['MASQUERADE', 'DNAT'])('%s: the peer answers again, and the socket behind it kept it', async (kind) => {
    masquerade();
    if (kind === 'DNAT') dnat('PREROUTING', addresses.service, 53, addresses.outside, CLOSED);
    const udp = await open(
      client,
      kind === 'DNAT' ? { dst: addresses.service, dport: 53 } : { dst: addresses.outside, dport: CLOSED },
    );
    const failure = await fail(udp);
    await lastOf(1);
    for (const watch of watches) await followed(lab, watch, CLOSED);
    await lab.udpEcho(outside, addresses.outside, CLOSED);
    await expectAnswer(udp);
    for (const watch of watches) {
      const record = await watch.until((self) =>
        self.json<JsonEvent | JsonRecord>().find((line): line is JsonRecord => 'event' in line),
      );
      expectValid(JSON.stringify(record));
      expect(record).toMatchObject({ event: 'recovered', errno: failure.errno, keptSocket: true, errors: 1 });
      expect(record.sockets).toMatchObject([socketOf(udp, client)]);
      expect(socketTuple(record)).toEqual(failure.original);
    }
    const [, uplink] = await lastOf(2);
    expect(wireTuple(uplink)).toEqual(reverse(failure.reply));
  });

  test('SNAT and DNAT of one flow', async () => {
    dnat('PREROUTING', addresses.service, 53, addresses.outside, CLOSED);
    nat('POSTROUTING', '-p', 'udp', '-o', 'eth1', '-j', 'SNAT', '--to-source', endpoint(addresses.router, 7000));
    const udp = await open(client, { dst: addresses.service, dport: 53 });
    const failure = await fail(udp);
    expect(failure.reply).toEqual({ src: addresses.outside, sport: CLOSED, dst: addresses.router, dport: 7000 });
    await expectNamed(udp, client, failure);
  });

  describe('a published port', () => {
    beforeEach(() => dnat('PREROUTING', addresses.router, 5353, addresses.client, 53));

    /** A server has been asked by a peer that is no longer there, and is about to answer. */
    async function asked(options: Partial<UdpClientOptions> = {}) {
      // As docker-proxy does.
      const proxy = await open(router, {
        dst: addresses.outside,
        dport: 9,
        connect: false,
        sport: 5353,
        recverr: true,
      });
      const server = await open(client, {
        dst: addresses.outside,
        dport: PORT,
        connect: false,
        sport: 53,
        name: 'named',
        ...options,
      });
      const peer = await open(outside, { dst: addresses.router, dport: 5353, sport: PORT });
      await peer.ask('send');
      await eventually(async () => (await server.ask('recv')).event === 'reply');
      await peer.ask('close');
      return { peer, server, proxy };
    }

    async function expectServer(server: UdpClient, { reply }: Pick<Failure, 'reply'>, expected: Partial<JsonEvent>) {
      for (const event of await lastOf(1)) {
        expect(event).toMatchObject({ direction: 'in', ...expected });
        expect(event.sockets).toMatchObject([socketOf(server, client)]);
        expect(socketTuple(event)).toEqual(reply);
      }
    }

    test('its connected server is named for the answer that is refused', async () => {
      const { peer, server, proxy } = await asked();
      await server.ask(`connect ${addresses.outside} ${PORT}`);
      await server.ask('send');
      const errno = await heard(server);
      await expectUntouched(proxy);
      await expectServer(server, tracked(peer), { errno, outcome: 'reported', match: 'connected' });
    });

    test('its unconnected server too, which is not told', async () => {
      const { peer, server, proxy } = await asked();
      await server.ask('send');
      await lastOf(1);
      expect((await server.ask('soerror')).errno).toBeNull();
      await expectUntouched(proxy);
      await expectServer(server, tracked(peer), { outcome: 'ignored', match: 'wildcard' });
    });

    test('its unconnected server is told where it has IP_RECVERR', async () => {
      const { peer, server, proxy } = await asked({ recverr: true });
      await server.ask('send');
      const queued = await eventually(async () => {
        const line = await server.ask('errqueue');
        return line.event === 'queued' ? line : null;
      });
      await expectUntouched(proxy);
      // `ss` does not show IPV6_RECVERR.
      const outcome = family === 4 ? 'queued' : 'ignored';
      await expectServer(server, tracked(peer), { errno: queued?.errno ?? null, outcome, match: 'wildcard' });
    });

    test('nobody listens: an error that this host sent, and nobody is named', async () => {
      dnat('PREROUTING', addresses.router, 5354, addresses.client, 54);
      // All of the lab is this host: a stranger is who has an address that no namespace has.
      lab.ip(router, 'neighbour', 'add', stranger, 'lladdr', outsideMac, 'dev', 'eth1');
      // To whom the wire says that it was sent, beyond the router.
      await open(router, { dst: addresses.outside, dport: 9, connect: false, sport: 5354 });
      lab.run(outside, [PYTHON, '-c', SEND_AS, stranger, String(PORT), addresses.router, '5354']);
      const [any, uplink] = await lastOf(1);
      expect([any.icmp.src, uplink.icmp.src]).toEqual([addresses.client, addresses.router]);
      for (const event of [any, uplink]) {
        expect(event).toMatchObject({
          direction: 'out',
          icmp: { name: 'port-unreachable', dst: stranger },
          flow: { src: stranger, sport: PORT },
          outcome: 'not-local',
          match: 'none',
          sockets: [],
        });
      }
    });
  });
});
