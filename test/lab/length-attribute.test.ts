/**
 * What the length attribute of RFC 4884 does to the look-up of the socket: nothing, in the kernel and here.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Lab, type InjectedError, type Namespace } from './network.ts';
import { describeLab, startWatch, type JsonEvent } from './watch.ts';

const LABEL = '0008010103e81101';

describeLab('the length attribute', () => {
  let lab: Lab;
  let client: Namespace;
  let router: Namespace;

  beforeAll(() => {
    lab = new Lab();
    client = lab.namespace('client');
    router = lab.namespace('router');
    lab.link(client, ['192.0.2.10/24', '2001:db8::10/64'], router, ['192.0.2.20/24', '2001:db8::20/64']);
  });
  afterAll(() => lab.close());

  test.for([
    ['v4, less than the quoted header', 4, '00010000', ''],
    ['v4, more than the message', 4, '00ff0000', ''],
    ['v4, with an extension', 4, '00000000', LABEL],
    ['v6, less than the quoted header', 6, '01000000', ''],
    ['v6, more than the message', 6, 'ff000000', ''],
    ['v6, with an extension', 6, '00000000', LABEL],
  ] as const)('%s: the socket hears of it, and is named', async ([, version, rest, extension]) => {
    const [own, peer] = version === 4 ? ['192.0.2.10', '192.0.2.20'] : ['2001:db8::10', '2001:db8::20'];
    const udp = await lab.udpClient(client, { src: own, dst: peer, dport: 7001, interactive: true });
    const watch = await startWatch(lab, client, ['--json']);
    const [type, code] = version === 4 ? [3, 3] : [1, 4];
    const quoted = { src: own, sport: udp.port, dst: peer, dport: 7001 };
    const error: InjectedError = { src: peer, dst: own, type, code, rest, quoted };
    lab.inject(router, extension === '' ? error : { ...error, extension });
    expect(await eventually(async () => (await udp.ask('soerror')).errno)).toBe('ECONNREFUSED');
    const event = await watch.until((self) => self.json<JsonEvent>()[0]);
    expect(event).toMatchObject({
      flow: { sport: udp.port, dport: 7001 },
      outcome: 'reported',
      sockets: [{ inode: udp.ready.inode }],
    });
    const labels = [{ label: 16_001, tc: 0, bottom: true, ttl: 1 }];
    expect(event.extensions).toEqual(extension === '' ? undefined : [{ kind: 'mpls', labels }]);
    await watch.stop('SIGINT');
  });
});
