/**
 * Which events a live watch shows: those that the whole of another one has, by what is in their JSON.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CLI } from '../command.ts';
import { aloneAndInPairs, argumentsOf, isSelected, type Chosen } from '../selected.ts';
import { delay, Lab, type Namespace, type UdpClient } from './network.ts';
import { describeLab, provoke, startWatch, type JsonEvent } from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const ROUTER = '192.0.2.1';
const CLIENT6 = '2001:db8:1::10';
const SERVER6 = '2001:db8:1::20';
/** Watches at once, each of two processes. */
const AT_ONCE = 5;

/** Each capture stamps a packet itself. */
const timeless = (lines: readonly string[]): string[] => lines.map((line) => line.replace(/"time":"[^"]+",/, ''));

describeLab('--host --port --pid --comm --errno, live', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;
  let clients: Record<'gateway' | 'worker' | 'gateway6' | 'resolved' | 'bound', UdpClient>;

  beforeAll(async () => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], server, [`${SERVER}/24`, `${ROUTER}/24`, `${SERVER6}/64`]);
    lab.sysctl(server, {
      'net.ipv4.icmp_ratelimit': 0,
      'net.ipv4.icmp_msgs_per_sec': 100_000,
      'net.ipv6.icmp.ratelimit': 0,
    });
    const open = (name: string, dport: number, options = {}): Promise<UdpClient> =>
      lab.udpClient(client, { dst: SERVER, dport, interactive: true, name, ...options });
    clients = {
      gateway: await open('gateway', 9001, { share: 1 }),
      worker: await open('worker', 9002),
      gateway6: await open('gateway', 9001, { dst: SERVER6 }),
      // The kernel keeps 15 octets of it.
      resolved: await open('systemd-resolved', 9003, { connect: false }),
      bound: await open('worker', 9003, { connect: false, src: CLIENT, sport: 9001 }),
    };
  });
  afterAll(() => lab.close());

  /** Several processes, ports and errnos; one of the errors is about no socket, and one about no datagram of this host. */
  async function fail(...watches: Parameters<typeof provoke>[1][]): Promise<number> {
    for (const udp of Object.values(clients)) await provoke(udp, ...watches);
    const { gateway, worker, bound } = clients;
    const about = (sport: number, dport: number, src = CLIENT) => ({ src, sport, dst: SERVER, dport });
    const injected = [
      { type: 3, code: 1, quoted: about(gateway.port, 9001) },
      { type: 3, code: 13, quoted: about(worker.port, 9002) },
      { type: 3, code: 0, quoted: about(bound.port, 9003) },
      { type: 11, code: 0, quoted: about(gateway.port, 9001) },
      { type: 3, code: 3, quoted: about(9, 9002) },
      { type: 3, code: 3, quoted: about(gateway.port, 9001, '203.0.113.9') },
    ];
    lab.injectAll(
      server,
      injected.map((error) => ({ src: ROUTER, dst: CLIENT, ...error })),
    );
    return Object.keys(clients).length + injected.length;
  }

  test('each option alone, and in pairs', { timeout: 240_000 }, async () => {
    const { gateway, worker, gateway6 } = clients;
    const choices: Chosen[] = [
      { option: '--host', value: ROUTER },
      { option: '--host', value: '2001:DB8:1:0::20', means: SERVER6 },
      { option: '--port', value: '9001' },
      { option: '--pid', value: String(gateway.ready.shared[0]) },
      { option: '--comm', value: 'worker' },
      { option: '--comm', value: 'systemd-resolved', means: 'systemd-resolve' },
      { option: '--errno', value: 'econnrefused', means: 'ECONNREFUSED' },
    ];
    const rounds: Chosen[][] = [
      ...aloneAndInPairs(choices),
      [
        { option: '--pid', value: String(worker.pid) },
        { option: '--pid', value: String(gateway6.pid) },
        { option: '--port', value: '9001' },
        { option: '--errno', value: 'EHOSTUNREACH' },
        { option: '--errno', value: 'ECONNREFUSED' },
      ],
    ];
    let [shown, hidden] = [0, 0];
    while (rounds.length > 0) {
      const whole = await startWatch(lab, client, ['--json', '--netns', 'self']);
      const some = await Promise.all(
        rounds.splice(0, AT_ONCE).map(async (chosen) => {
          const args = ['--json', '-l', '--netns', 'self', ...argumentsOf(chosen)];
          return { chosen, watch: await startWatch(lab, client, args) };
        }),
      );
      const errors = await fail(whole);
      await whole.until(({ lines }) => lines.length >= errors);
      expect(whole.lines).toHaveLength(errors);
      for (const { chosen, watch } of some) {
        const wanted = whole.lines.filter((line) => isSelected(JSON.parse(line) as JsonEvent, chosen));
        await watch.until(({ lines }) => lines.length >= wanted.length);
        shown += wanted.length;
        hidden += errors - wanted.length;
      }
      await delay(200);
      for (const { chosen, watch } of some) {
        const wanted = whole.lines.filter((line) => isSelected(JSON.parse(line) as JsonEvent, chosen));
        expect([chosen, await watch.stop('SIGINT')]).toEqual([chosen, { status: 0, signal: null }]);
        expect([chosen, timeless(watch.lines)]).toEqual([chosen, timeless(wanted)]);
        expect(watch.stderr).toMatch(new RegExp(`\nudpicmp-watch: ${wanted.length} events? shown, `));
      }
      await whole.stop('SIGINT');
    }
    expect(Math.min(shown, hidden)).toBeGreaterThan(50);
  });

  test('-c 3 ends after three that are shown, whatever else comes; what is saved is those', async () => {
    const file = `${lab.temporary}/three.pcapng`;
    const watch = await startWatch(lab, client, ['-c', '3', '--json', '--comm', 'gateway', '-w', file, '--incidents']);
    for (let n = 0; n < 3 && watch.exit === undefined; n++) await fail();
    expect(await watch.exited).toEqual({ status: 0, signal: null });
    const pids = [clients.gateway.pid, ...clients.gateway.ready.shared, clients.gateway6.pid];
    const found = watch.json<JsonEvent>();
    expect(found).toHaveLength(3);
    for (const { sockets } of found) expect(pids).toContain(sockets?.[0]?.processes[0]?.pid);
    expect(watch.stderr).toContain('udpicmp-watch: 3 events shown, 3 attributed to a socket\n');
    // The table has those processes alone.
    const rows = watch.stderr.split('\n').filter((line) => / (?:open|quiet), /.test(line));
    expect(rows.length).toBeGreaterThan(0);
    for (const row of rows) expect(row).toContain(' gateway[');
    expect(lab.run(client, [process.execPath, CLI, '--json', '-r', file]).stdout).toBe(watch.stdout);
  });
});
