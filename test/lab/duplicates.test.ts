/**
 * A router sees each packet on both of its interfaces, before and after NAT.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, type TestContext } from 'vitest';
import { canRunLab, eventually, Lab, type LabProcess, type Namespace } from './network.ts';
import { describeLab, startWatch, type JsonEvent } from './watch.ts';

const SERVER = '192.0.2.20';
const SERVER6 = '2001:db8:2::20';
const CLOSED = 9999;

const withoutNat = canRunLab(['iptables', 'ip6tables']);

/** What comes before the IP header in a savefile of one Ethernet frame. */
const HEADERS = 24 + 16 + 14;

describeLab('one packet on several interfaces', () => {
  let lab: Lab;
  let client: Namespace;
  let router: Namespace;
  let server: Namespace;
  let uplinkMac: string;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    router = lab.namespace('router');
    server = lab.namespace('server');
    lab.link(client, ['203.0.113.2/24', '2001:db8:3::2/64'], router, ['203.0.113.1/24', '2001:db8:3::1/64']);
    const uplink = lab.link(router, ['192.0.2.1/24', '2001:db8:2::1/64'], server, [`${SERVER}/24`, `${SERVER6}/64`]);
    uplinkMac = uplink.a.mac;
    lab.router(router);
    for (const [ns, gateways] of [
      [client, ['203.0.113.1', '2001:db8:3::1']],
      [server, ['192.0.2.1', '2001:db8:2::1']],
    ] as const) {
      for (const gateway of gateways) lab.ip(ns, 'route', 'add', 'default', 'via', gateway);
    }
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
  });
  afterEach(() => lab.close());

  /** Skips the test where that cannot be had. */
  function masquerade(command: 'iptables' | 'ip6tables', { skip }: TestContext): void {
    skip(withoutNat !== null, withoutNat ?? '');
    lab.run(router, [command, '-w', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'eth1', '-j', 'MASQUERADE']);
  }

  async function watchClient(args: readonly string[], count: number, dst = SERVER): Promise<LabProcess> {
    const watch = await startWatch(lab, router, args);
    // Not connected: each datagram is sent and answered.
    await lab.udpClient(client, { dst, dport: CLOSED, connect: false, count: 3, interval: 0.05 });
    await watch.until(({ lines }) => lines.length >= count);
    await watch.stop('SIGINT');
    return watch;
  }

  /** That many events, no more, each seen on the uplink and then behind the router. */
  function expectOnBoth(watch: LabProcess, count: number): void {
    expect(watch.json<JsonEvent>().map(({ interface: first, interfaces }) => [first, interfaces])).toEqual(
      Array.from({ length: count }, () => ['eth1', ['eth1', 'eth0']]),
    );
  }

  test.for([
    ['v4, routed', SERVER, null],
    ['v4, behind MASQUERADE', SERVER, 'iptables'],
    ['v6, routed', SERVER6, null],
    ['v6, behind MASQUERADE', SERVER6, 'ip6tables'],
  ] as const)('%s: one event for each packet, with both interfaces', async ([, dst, command], context) => {
    if (command !== null) masquerade(command, context);
    expectOnBoth(await watchClient(['--json'], 3, dst), 3);
  });

  test.for([1, 2])('behind MASQUERADE, without an identification of their own: %i of them', async (count, context) => {
    masquerade('iptables', context);
    await lab.udpEcho(server, SERVER, 53);
    // Answered, so that the only errors of the flow are those that follow.
    const udp = await lab.udpClient(client, { dst: SERVER, dport: 53, interactive: true });
    await udp.ask('send');
    await eventually(async () => (await udp.ask('recv')).event === 'reply');

    const watch = await startWatch(lab, router, ['--json']);
    const write = join(lab.temporary, 'error.pcap');
    const quoted = { src: '192.0.2.1', sport: udp.port, dst: SERVER, dport: 53 };
    lab.inject(server, { src: SERVER, dst: '192.0.2.1', type: 3, code: 3, quoted, write });
    // Through a raw socket the kernel would put one in.
    const packet = readFileSync(write).subarray(HEADERS);
    packet.writeUInt16BE(0, 4);
    for (let n = 0; n < count; n++) {
      lab.sendPacket(server, 'eth0', uplinkMac, packet);
      // It has passed the router, changed.
      await eventually(async () => (await udp.ask('soerror')).errno);
    }
    await watch.until(({ lines }) => lines.length >= count);
    await watch.stop('SIGINT');
    expectOnBoth(watch, count);
  });

  test.for([
    ['routed', '2001:db8:3::2', null],
    ['behind MASQUERADE', '2001:db8:2::1', 'ip6tables'],
  ] as const)('v6, %s: two errors that are the same in every octet are two', async ([, address, command], context) => {
    if (command !== null) masquerade(command, context);
    await lab.udpEcho(server, SERVER6, 53);
    const udp = await lab.udpClient(client, { dst: SERVER6, dport: 53, interactive: true });
    await udp.ask('send');
    await eventually(async () => (await udp.ask('recv')).event === 'reply');

    const watch = await startWatch(lab, router, ['--json']);
    const quoted = { src: address, sport: udp.port, dst: SERVER6, dport: 53 };
    lab.inject(server, { src: SERVER6, dst: address, type: 1, code: 4, quoted, count: 2 });
    await eventually(async () => (await udp.ask('soerror')).errno);
    await watch.until(({ lines }) => lines.length >= 2);
    await watch.stop('SIGINT');
    expectOnBoth(watch, 2);
  });

  test('--plain shows every packet, as tcpdump does', async () => {
    const watch = await watchClient(['--plain'], 6);
    expect(watch.lines).toHaveLength(6);
  });
});
