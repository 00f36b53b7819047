/**
 * People delete conntrack's entries when they take them for stale; then another container gets the tuple on the wire.
 */
import { expect, test } from 'vitest';
import { canRunLab, eventually, Lab, type UdpClient } from './network.ts';
import { describeLab, startWatch, type JsonEvent } from './watch.ts';

const SERVER = '192.0.2.20';
const CLOSED = 9999;
const PORT = 5000;

describeLab('behind MASQUERADE, after conntrack was flushed', () => {
  test('the tuple on the wire is the one of whoever has it now', async ({ skip }) => {
    const reason = canRunLab(['iptables', 'conntrack']);
    skip(reason !== null, reason ?? '');
    const lab = new Lab();
    try {
      const router = lab.namespace('router');
      const server = lab.namespace('server');
      lab.link(router, '192.0.2.1/24', server, `${SERVER}/24`);
      lab.router(router);
      lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0 });
      lab.run(router, ['iptables', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'eth0', '-j', 'MASQUERADE']);
      const clients: UdpClient[] = [];
      for (const net of ['203.0.113', '198.51.100']) {
        const client = lab.namespace('client');
        lab.link(router, `${net}.1/24`, client, `${net}.2/24`);
        lab.ip(client, 'route', 'add', 'default', 'via', `${net}.1`);
        clients.push(
          await lab.udpClient(client, { dst: SERVER, dport: CLOSED, src: `${net}.2`, sport: PORT, interactive: true }),
        );
      }
      const watch = await startWatch(lab, router, ['--json', '-i', 'eth0']);
      for (const [index, udp] of clients.entries()) {
        await udp.ask('send');
        expect(await eventually(async () => (await udp.ask('soerror')).errno)).toBe('ECONNREFUSED');
        const event = await watch.until((self) => self.json<JsonEvent>()[index]);
        // Both have the very tuple of the other on the wire.
        expect(event.flow).toMatchObject({ src: '192.0.2.1', sport: PORT });
        expect(event.sockets?.map(({ processes }) => processes.map(({ pid }) => pid))).toEqual([[udp.ready.pid]]);
        lab.run(router, ['conntrack', '-D', '-p', 'udp']);
      }
    } finally {
      lab.close();
    }
  });
});
