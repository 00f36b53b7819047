/**
 * A router sees each packet on both of its interfaces, before and after NAT.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Lab, type LabProcess, type Namespace } from './network.ts';
import { describeLab, startWatch, type JsonEvent } from './watch.ts';

describeLab('one packet on several interfaces', () => {
  let lab: Lab;
  let client: Namespace;
  let router: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    router = lab.namespace('router');
    const server = lab.namespace('server');
    lab.link(client, '203.0.113.2/24', router, '203.0.113.1/24');
    lab.link(router, '192.0.2.1/24', server, '192.0.2.20/24');
    lab.router(router);
    lab.ip(client, 'route', 'add', 'default', 'via', '203.0.113.1');
    lab.ip(server, 'route', 'add', 'default', 'via', '192.0.2.1');
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0 });
  });
  afterEach(() => lab.close());

  async function watchClient(args: readonly string[], count: number): Promise<LabProcess> {
    const watch = await startWatch(lab, router, args);
    // Not connected: each datagram is sent and answered.
    await lab.udpClient(client, { dst: '192.0.2.20', dport: 9999, connect: false, count: 3, interval: 0.05 });
    await watch.until(({ lines }) => lines.length >= count);
    await watch.stop('SIGINT');
    return watch;
  }

  test.for([
    ['routed', []],
    ['behind MASQUERADE', ['-o', 'eth1', '-j', 'MASQUERADE']],
  ] as const)('%s: one event for each packet, with both interfaces', async ([, rule]) => {
    if (rule.length > 0) lab.run(router, ['iptables', '-t', 'nat', '-A', 'POSTROUTING', ...rule]);
    const watch = await watchClient(['--json'], 3);
    expect(watch.json<JsonEvent>().map(({ interface: first, interfaces }) => [first, interfaces])).toEqual(
      Array.from({ length: 3 }, () => ['eth1', ['eth1', 'eth0']]),
    );
  });

  test('--plain shows every packet, as tcpdump does', async () => {
    const watch = await watchClient(['--plain'], 6);
    expect(watch.lines).toHaveLength(6);
  });
});
