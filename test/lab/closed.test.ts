/**
 * Who had a socket that is gone: of an error that comes late, and of one that this host sends about a port.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { delay, eventually, Lab, type LabProcess, type Namespace, type UdpClient } from './network.ts';
import { describeLab, startWatch, type JsonEvent } from './watch.ts';

const HOST = '192.0.2.10';
const PEER = '192.0.2.20';
const PORT = 8125;

describeLab('a socket that is gone', () => {
  let lab: Lab;
  let host: Namespace;
  let peer: Namespace;
  let watch: LabProcess;

  beforeEach(async () => {
    lab = new Lab();
    host = lab.namespace('host');
    peer = lab.namespace('peer');
    lab.link(host, `${HOST}/24`, peer, `${PEER}/24`);
    lab.sysctl(host, { 'net.ipv4.icmp_ratelimit': 0 });
    // The peer is in a namespace of this machine, and would be taken for the one who is hit.
    watch = await startWatch(lab, host, ['--json', '--netns', 'self']);
  });
  afterEach(() => lab.close());

  /** A late error about a datagram of the client's, as often as it takes until `isExpected`. */
  async function lateError(port: number, isExpected: (event: JsonEvent) => boolean): Promise<JsonEvent> {
    return eventually(async () => {
      const before = watch.lines.length;
      const quoted = { src: HOST, sport: port, dst: PEER, dport: PORT };
      lab.inject(peer, { src: PEER, dst: HOST, type: 3, code: 3, quoted });
      const event = await watch.until((self) => self.json<JsonEvent>()[before]);
      return isExpected(event) ? event : null;
    }) as Promise<JsonEvent>;
  }

  /** A client that the tool has seen: the error about its datagram was attributed to it. */
  async function seenClient(): Promise<UdpClient> {
    const udp = await lab.udpClient(host, { dst: PEER, dport: PORT, interactive: true, name: 'client' });
    await lateError(udp.port, ({ match }) => match === 'connected');
    return udp;
  }

  test('its last holder is named, with the time since', async () => {
    const udp = await seenClient();
    await udp.ask('close');
    const event = await lateError(udp.port, ({ match }) => match !== 'connected');
    expect(event).toMatchObject({
      outcome: 'no-socket',
      match: 'closed',
      sockets: [{ inode: udp.ready.inode, processes: [{ pid: udp.ready.pid, comm: 'client' }] }],
    });
    expect(event.closedMsAgo).toBeLessThan(5_000);
  });

  test('but not while its socket lives on with another peer', async () => {
    const udp = await seenClient();
    await udp.ask(`connect ${PEER} ${PORT + 1}`);
    const event = await lateError(udp.port, ({ match }) => match !== 'connected');
    expect(event).toMatchObject({ outcome: 'no-socket', match: 'none', sockets: [] });
  });

  test('nor when another socket has the tuple: that is the one', async () => {
    const udp = await seenClient();
    await udp.ask('close');
    const other = await lab.udpClient(host, {
      dst: PEER,
      dport: PORT,
      sport: udp.port,
      interactive: true,
      name: 'successor',
    });
    const event = await lateError(udp.port, () => true);
    expect(event).toMatchObject({ match: 'connected', sockets: [{ processes: [{ pid: other.ready.pid }] }] });
    expect((await other.ask('soerror')).errno).toBe('ECONNREFUSED');
  });

  test('an error that this host sends: who listened last, and that a listener is back', async () => {
    const send = (): Promise<UdpClient> => lab.udpClient(peer, { dst: HOST, dport: PORT, connect: false, hold: 1 });
    const server = await lab.udpEcho(host, '0.0.0.0', PORT, 'metricsd');
    // The tool looks at the sockets many times a second; nothing shows from outside that it has.
    await delay(2_000);
    await server.stop('SIGKILL');
    await send();
    const gone = await watch.until((self) => self.json<JsonEvent>()[0]);
    expect(gone).toMatchObject({
      direction: 'out',
      outcome: 'not-local',
      match: 'closed',
      sockets: [{ local: `0.0.0.0:${PORT}`, processes: [{ pid: server.pid, comm: 'metricsd' }] }],
    });
    expect(gone.closedMsAgo).toBeLessThan(10_000);

    const back = await lab.udpEcho(host, '0.0.0.0', PORT, 'metricsd');
    lab.run(host, ['iptables', '-A', 'INPUT', '-p', 'udp', '--dport', String(PORT), '-j', 'REJECT']);
    await send();
    const rejected = await watch.until((self) => self.json<JsonEvent>()[1]);
    expect(rejected).toMatchObject({
      direction: 'out',
      outcome: 'not-local',
      match: 'wildcard',
      sockets: [{ processes: [{ pid: back.pid }] }],
    });
  });
});
