/**
 * A client fails in a namespace: the tool names its socket, its process and the errno that it really gets.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab, type LabProcess, type UdpClientOptions } from './network.ts';
import { describeLab, events, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const CLIENT6 = '2001:db8:1::10';
const SERVER6 = '2001:db8:1::20';
const CLOSED = 9999;

interface Failure {
  event: JsonEvent;
  pid: number;
  fd: number;
  inode: number;
  /** What SO_ERROR held after it. */
  errno: string | null | undefined;
}

describeLab('a refused datagram', () => {
  let lab: Lab;
  let client: string;
  let watch: LabProcess;

  beforeAll(async () => {
    lab = new Lab();
    client = lab.namespace('client');
    const server = lab.namespace('server');
    lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], server, [`${SERVER}/24`, `${SERVER6}/64`]);
    // Each test waits for its own error.
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    watch = await startWatch(lab, client, ['--json']);
  });
  afterAll(() => lab.close());

  /** Runs a client that sends one datagram, and gives the event of its port. */
  async function eventOf(options: Partial<UdpClientOptions>): Promise<Failure> {
    const udp = await lab.udpClient(client, {
      dst: SERVER,
      dport: CLOSED,
      interactive: true,
      name: 'gateway',
      ...options,
    });
    await udp.ask('send');
    const event = await watch.until((self) => self.json<JsonEvent>().find(({ flow }) => flow?.sport === udp.port));
    const { errno } = await udp.ask('soerror');
    const { pid, inode, fd } = udp.ready;
    await udp.ask('quit');
    return { event, pid, inode, errno, fd };
  }

  test.for([
    ['v4', CLIENT, SERVER],
    ['v6', CLIENT6, SERVER6],
  ] as const)('%s, connected: reported, by pid, tuple and errno', async ([, src, dst]) => {
    const { event, pid, inode, fd, errno } = await eventOf({ dst });
    expect(event).toMatchObject({
      interface: 'eth0',
      direction: 'in',
      icmp: { name: 'port-unreachable', src: dst, dst: src },
      flow: { protocol: 'udp', src, dst, dport: CLOSED },
      outcome: 'reported',
      match: 'connected',
      sockets: [{ inode, state: 'connected', uid: 0, processes: [{ pid, fd, comm: 'gateway' }] }],
      count: 1,
    });
    expect(event.errno).toBe(errno);
  });

  test('a v6 socket that carries v4 is found, and its addresses are written as v4', async () => {
    const { event, pid, inode, errno } = await eventOf({ family: 6 });
    expect(event).toMatchObject({
      flow: { src: CLIENT, dst: SERVER },
      match: 'connected',
      sockets: [{ inode, family: 6, remote: `${SERVER}:${CLOSED}`, processes: [{ pid }] }],
    });
    expect(event.errno).toBe(errno);
  });

  test('not connected: ignored, and the socket holds no error', async () => {
    const { event, pid, inode, errno } = await eventOf({ connect: false, src: CLIENT, sport: 40_001 });
    expect(errno).toBeNull();
    expect(event).toMatchObject({
      errno: 'ECONNREFUSED',
      outcome: 'ignored',
      match: 'bound',
      sockets: [{ inode, state: 'unconnected', recverr: false, processes: [{ pid }] }],
    });
  });

  test('further errors of the flow are counted', async () => {
    const udp = await lab.udpClient(client, { dst: SERVER, dport: CLOSED, count: 4, interval: 0.05, name: 'repeats' });
    const counts = await watch.until((self) => {
      const found = self.json<JsonEvent>().filter(({ flow }) => flow?.sport === udp.port);
      // Every other send reports the error of the one before instead of sending.
      return found.length >= 2 ? found.map(({ count }) => count) : null;
    });
    expect(counts).toEqual(counts.map((_, index) => index + 1));
  });

  test('an error about a datagram of another host is not given to a socket here', async () => {
    const before = watch.lines.length;
    lab.inject(client, {
      src: SERVER,
      dst: CLIENT,
      type: 3,
      code: 3,
      quoted: { src: '203.0.113.9', sport: 40_000, dst: SERVER, dport: CLOSED },
    });
    const [event] = (await events(watch, before + 1)).slice(before);
    expect(event).toMatchObject({ flow: { src: '203.0.113.9' } });
    expect(event).toMatchObject({ outcome: 'not-local', match: 'none', sockets: [] });
  });

  test.for([
    ['v4', CLIENT, SERVER, 20],
    ['v6', CLIENT6, SERVER6, 40],
  ] as const)('%s: a quote without the whole UDP header is dropped by the kernel', async ([, src, dst, header]) => {
    const udp = await lab.udpClient(client, { dst, dport: CLOSED, interactive: true, name: 'cut' });
    const heard: (string | null | undefined)[] = [];
    for (const octets of [header + 7, header + 8]) {
      lab.inject(client, {
        src: dst,
        dst: src,
        type: src === CLIENT ? 3 : 1,
        code: src === CLIENT ? 3 : 4,
        quoted: { src, sport: udp.port, dst, dport: CLOSED, octets },
      });
      await watch.until((self) => self.json<JsonEvent>().filter(({ flow }) => flow?.sport === udp.port)[heard.length]);
      heard.push((await udp.ask('soerror')).errno);
    }
    expect(heard).toEqual([null, 'ECONNREFUSED']);
    const said = watch.json<JsonEvent>().filter(({ flow }) => flow?.sport === udp.port);
    expect(said.map(({ outcome, match }) => [outcome, match])).toEqual([
      ['ignored', 'connected'],
      ['reported', 'connected'],
    ]);
    expect(said[0]?.note).toMatch(/drops/);
  });
});
