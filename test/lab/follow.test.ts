/**
 * The capture process and its second capture, which follows orders: it takes the datagrams of the flows that it is told, and
 * nothing else, and the first one goes on.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { captureFilters, followFilter } from '../../src/source/capture-filter.ts';
import { tsharkTable } from '../savefile/judges.ts';
import { delay, eventually, Lab, PYTHON, type LabProcess, type Namespace } from './network.ts';
import { describeLab, filtersOf, portsIn } from './watch.ts';

const CHILD = fileURLToPath(new URL('../../dist/source/capture-child.js', import.meta.url));
const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const OTHER = '192.0.2.30';
const PORT = 9000;

describeLab('the capture process', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, [`${CLIENT}/24`, '2001:db8:1::10/64'], server, [
      `${SERVER}/24`,
      `${OTHER}/24`,
      '2001:db8:1::20/64',
    ]);
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv4.icmp_msgs_per_sec': 100_000 });
  });
  afterEach(() => lab.close());

  const file = (): string => `${lab.temporary}/stream.pcapng`;

  /** Starts it with its stream into a file, and resolves when it captures. */
  async function start(device: string): Promise<LabProcess> {
    const request = JSON.stringify({
      list: false,
      device,
      filters: captureFilters(device, false, ''),
      bufferKib: 4096,
    });
    const shell = 'file=$1; shift; exec "$@" > "$file"';
    const child = lab.spawn(client, ['sh', '-c', shell, 'sh', file(), process.execPath, CHILD, request]);
    await child.waitFor(/"opened"/, 'stderr');
    return child;
  }

  const order = (child: LabProcess, follow: string | null): void => child.write(`${JSON.stringify({ follow })}\n`);
  const follow = (localPort: number, remotePort: number): string =>
    followFilter([[{ version: 4, local: CLIENT, localPort, remote: SERVER, remotePort }, false]])!;

  /** What is in its stream when it has ended. */
  async function end(child: LabProcess, ...fields: string[]): Promise<string[][]> {
    await delay(250);
    child.child.stdin.end();
    expect(await child.exited).toEqual({ status: 0, signal: null });
    return tsharkTable(file(), ...fields);
  }

  test.for(['any', 'eth0'])(
    '%s: of all datagrams it takes those of the flow alone, in both directions',
    async (device) => {
      const child = await start(device);
      order(child, follow(40_001, PORT));
      await eventually(() => filtersOf(lab, child.pid).some((filter) => portsIn(filter, [40_001, PORT]).length === 2));
      for (const address of [SERVER, OTHER, '2001:db8:1::20']) {
        for (const port of [PORT, PORT + 1]) await lab.udpEcho(server, address, port);
      }
      for (const dst of [SERVER, OTHER, '2001:db8:1::20']) {
        for (const dport of [PORT, PORT + 1]) {
          for (const sport of [40_001, 40_002]) {
            const udp = await lab.udpClient(client, { dst, dport, sport, interactive: true });
            await udp.ask('send');
            await eventually(async () => (await udp.ask('recv')).event === 'reply');
            await udp.ask('quit');
            await udp.exited;
          }
        }
      }
      // The other way round: the same ports, but each at the other end.
      const turned = await lab.udpClient(client, { dst: SERVER, dport: 40_001, sport: PORT, interactive: true });
      await turned.ask('send');
      const found = await end(child, 'ip.src', 'udp.srcport', 'ip.dst', 'udp.dstport', 'icmp.type');
      expect(found).toEqual([
        [CLIENT, '40001', SERVER, `${PORT}`, ''],
        [SERVER, `${PORT}`, CLIENT, '40001', ''],
        // To that one there was no answer but this.
        [`${SERVER},${CLIENT}`, `${PORT}`, `${CLIENT},${SERVER}`, '40001', '3'],
      ]);
      expect(child.stderr.trim().split('\n')).toHaveLength(1);
    },
  );

  /** Errors, each with an identification of its own. */
  function inject(count: number): LabProcess {
    const quoted = { src: CLIENT, sport: 40_001, dst: SERVER, dport: PORT };
    const error = { src: SERVER, dst: CLIENT, type: 3, code: 3, quoted, count, rate: 1000, vary: 'id' };
    const injector = lab.spawn(server, [PYTHON, '-B', join(import.meta.dirname, 'inject_icmp.py')]);
    injector.write(`${JSON.stringify(error)}\n`);
    return injector;
  }

  test.for(['any', 'eth0'])('%s: while orders come, every error is captured, once', async (device) => {
    const child = await start(device);
    const injector = inject(3000);
    for (let n = 0; n < 50; n++) {
      const next = n % 3 === 2 ? null : follow(40_001 + n, PORT);
      order(child, next);
      // Each is obeyed before the next one.
      await eventually(() => {
        const filters = filtersOf(lab, child.pid);
        return next === null
          ? filters.length === 1
          : filters.some((filter) => portsIn(filter, [40_001 + n]).length === 1);
      });
    }
    await injector.until(({ lines }) => lines.length > 0);
    const ids = (await end(child, 'ip.id')).map(([id]) => id);
    expect(ids).toHaveLength(3000);
    expect(new Set(ids).size).toBe(3000);
    expect(child.stderr.trim().split('\n')).toHaveLength(1);
  });

  test('a flow that stays followed while others change: no datagram is captured twice', async () => {
    const child = await start('any');
    await lab.udpEcho(server, SERVER, PORT);
    const udp = await lab.udpClient(client, { dst: SERVER, dport: PORT, sport: 40_001, interactive: true });
    for (let n = 0; n < 20; n++) {
      order(child, `(${follow(40_001, PORT)}) or (${follow(41_000 + n, PORT)})`);
      // Some are sent while there are two captures.
      for (let isObeyed = false; !isObeyed;) {
        isObeyed = filtersOf(lab, child.pid).some((filter) => portsIn(filter, [41_000 + n]).length === 1);
        await udp.ask('send');
        await eventually(async () => (await udp.ask('recv')).event === 'reply');
      }
    }
    const seen = (await end(child, 'ip.src', 'ip.id')).map((fields) => fields.join(' '));
    expect(seen).not.toEqual([]);
    expect(new Set(seen).size).toBe(seen.length);
  });

  test('the link was down, and could not be opened for a while: then every error is captured', async () => {
    const child = await start('eth0');
    order(child, follow(40_001, PORT));
    lab.ip(client, 'link', 'set', 'eth0', 'down');
    await child.waitFor(/"down"/, 'stderr');
    // Some attempts.
    await delay(1500);
    lab.ip(client, 'link', 'set', 'eth0', 'up');
    lab.settle(client);
    await child.waitFor(/"up"/, 'stderr');
    await eventually(() => filtersOf(lab, child.pid).some((filter) => portsIn(filter, [40_001]).length === 1));
    await inject(2000).until(({ lines }) => lines.length > 0);
    expect(await end(child, 'ip.id')).toHaveLength(2000);
  });

  test('what libpcap does not understand is said, and errors are captured all the same', async () => {
    const child = await start('any');
    order(child, 'udp and (((');
    await child.waitFor(/"not-followed".*syntax error/, 'stderr');
    order(child, follow(40_001, PORT));
    await eventually(() => filtersOf(lab, child.pid).length === 2);
    const udp = await lab.udpClient(client, { dst: SERVER, dport: PORT, sport: 40_001, interactive: true });
    await udp.ask('send');
    await eventually(async () => (await udp.ask('soerror')).errno);
    expect(await end(child, 'icmp.type')).toEqual([[''], ['3']]);
  });
});
