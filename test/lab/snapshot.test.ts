/**
 * A replay that is attributed by a snapshot says what the live watch said.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CLI, udpicmpWatch } from '../command.ts';
import { Lab, type Namespace, type UdpClient } from './network.ts';
import { describeLab, events, startWatch, type JsonEvent } from './watch.ts';

const SERVER = '192.0.2.20';
const SERVER6 = '2001:db8:1::20';
const CLOSED = 9999;

describeLab('a snapshot', () => {
  let lab: Lab;
  let client: Namespace;
  let router: Namespace;
  let server: Namespace;

  beforeAll(() => {
    lab = new Lab();
    client = lab.namespace('client');
    router = lab.namespace('router');
    server = lab.namespace('server');
    lab.link(client, ['203.0.113.2/24', '2001:db8:2::2/64'], router, ['203.0.113.1/24', '2001:db8:2::1/64']);
    lab.link(router, ['192.0.2.1/24', '2001:db8:1::1/64'], server, [`${SERVER}/24`, `${SERVER6}/64`]);
    lab.router(router);
    lab.ip(client, 'route', 'add', 'default', 'via', '203.0.113.1');
    lab.ip(client, '-6', 'route', 'add', 'default', 'via', '2001:db8:2::1');
    lab.ip(server, 'route', 'add', 'default', 'via', '192.0.2.1');
    lab.ip(server, '-6', 'route', 'add', 'default', 'via', '2001:db8:1::1');
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    for (const tool of ['iptables', 'ip6tables']) {
      lab.run(router, [tool, '-t', 'nat', '-A', 'POSTROUTING', '-o', 'eth1', '-j', 'MASQUERADE']);
    }
  });
  afterAll(() => lab.close());

  /** What is said of an event beside when and where it was captured. */
  function said(event: JsonEvent): unknown {
    return { ...event, time: null, interface: null, interfaces: null, count: null };
  }

  test('gives a replay the same attribution as the live watch, by all kinds of sockets', async () => {
    const capture = await lab.capture(router, join(lab.temporary, 'errors.pcap'), {
      interface: 'eth1',
      filter: 'icmp or icmp6',
    });
    const watch = await startWatch(lab, router, ['--json', '-i', 'eth1']);
    const options = { dport: CLOSED, interactive: true };
    const clients: UdpClient[] = [
      await lab.udpClient(client, { ...options, dst: SERVER, name: 'connected' }),
      await lab.udpClient(client, { ...options, dst: SERVER6, name: 'connected-v6' }),
      await lab.udpClient(client, { ...options, dst: SERVER, connect: false, name: 'wildcard' }),
      await lab.udpClient(client, { ...options, dst: SERVER, family: 6, recverr: true, name: 'carries-v4' }),
      await lab.udpClient(router, { ...options, dst: SERVER, connect: false, src: '192.0.2.1', name: 'own' }),
      await lab.udpClient(router, { ...options, dst: SERVER, device: 'eth1', share: 2, name: 'device' }),
    ];
    for (const udp of clients) await udp.ask('send');
    const live = await events(watch, clients.length);
    const { stdout } = lab.run(router, [process.execPath, CLI, 'sockets']);
    const snapshot = join(lab.temporary, 'sockets.json');
    writeFileSync(snapshot, stdout);
    const replay = udpicmpWatch(['--json', '-r', await capture.finish(), '--sockets', snapshot]);
    expect(replay.status).toBe(0);

    const replayed = replay.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as JsonEvent);
    expect(replayed.map(said)).toEqual(live.map(said));
    expect(live.map(({ sockets }) => sockets?.[0]?.processes.map(({ pid }) => pid).toSorted())).toEqual(
      clients.map(({ ready: { pid, shared } }) => [pid, ...shared].toSorted()),
    );
    expect(live.map(({ nat }) => nat !== undefined)).toEqual([true, true, true, true, false, false]);
  });
});
