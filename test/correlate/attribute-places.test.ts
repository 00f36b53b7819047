/** Where a socket is looked for, and what is said of it, on hosts that are known in full. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { HostAttribution } from '../../src/correlate/attribute.ts';
import type { Attribution, QuotedTuple } from '../../src/correlate/attribution.ts';
import type { Direction } from '../../src/event.ts';
import { LiveHost } from '../../src/host/live-host.ts';
import { SavedHost } from '../../src/host/saved-host.ts';
import type { UdpSocket } from '../../src/host/socket-table.ts';
import type { SavedNamespace, SavedSocket, Snapshot } from '../../src/host/snapshot.ts';
import { BLUE_NETNS, fakeRouter, OWN_NETNS, procEndpoint, UDP_HEADER, udpLine } from '../host/fake-proc.ts';

const GREEN_NETNS = BLUE_NETNS + 1;
const V4_REFUSED = { type: 3, code: 3 };
const V6_REFUSED = { type: 1, code: 4 };

let inode = 0;

/** Held by a process that has its inode for a number. */
function socket(local: string, remote: string | null, changes: Partial<SavedSocket> = {}): SavedSocket {
  inode++;
  const process = {
    pid: inode,
    fd: 3,
    comm: 'client',
    exe: null,
    cmdline: null,
    started: null,
    container: null,
    runtime: null,
    unit: null,
  };
  return {
    inode,
    state: remote === null ? 'unconnected' : 'connected',
    family: local.startsWith('[') ? 6 : 4,
    local,
    ...(remote !== null && { remote }),
    device: '',
    uid: 0,
    user: null,
    recverr: false,
    v6only: false,
    processes: [process],
    ...changes,
  };
}

/** `10.0.0.2 5000 > 192.0.2.9 53`, the tuple of a socket and its peer. */
function parts(text: string): { src: string; sport: number; dst: string; dport: number } {
  const [src, sport, , dst, dport] = text.split(' ');
  return { src: src!, sport: Number(sport), dst: dst!, dport: Number(dport) };
}

/** Datagrams of the first tuple leave as the second. */
function nat(inside: string, outside: string): NonNullable<SavedNamespace['conntrack']>[number] {
  const { src, sport, dst, dport } = parts(outside);
  return { original: parts(inside), reply: { src: dst, sport: dport, dst: src, dport: sport } };
}

function namespace(netns: number, addresses: string[], changes: Partial<SavedNamespace> = {}): SavedNamespace {
  const known = { mount: null, complete4: true, complete6: true, interfaces: {}, conntrack: [], sockets: [] };
  return { netns, addresses, ...known, ...changes };
}

function hostOf(namespaces: SavedNamespace[], changes: Partial<Snapshot> = {}): HostAttribution {
  const unheld = 'the kernel’s own';
  return new HostAttribution(
    new SavedHost({ v: 1, host: 'h', time: '', unreadable: 0, unheld, namespaces, ...changes }),
  );
}

interface Asked {
  direction?: Direction;
  interfaceName?: string | null;
  icmp?: { type: number; code: number };
  dropped?: string | null;
}

function ask(host: HostAttribution, text: string, options: Asked = {}): Attribution {
  const { direction = 'in', interfaceName = 'eth0', icmp, dropped = null } = options;
  const version = text.includes(':') ? 6 : 4;
  const quoted: QuotedTuple = {
    version,
    dropped,
    ...(icmp ?? (version === 4 ? V4_REFUSED : V6_REFUSED)),
    ...parts(text),
  };
  const found = host.lookup(quoted, direction, interfaceName);
  if (found instanceof Promise) expect.fail('all is known, and yet it waits');
  return found;
}

const inodes = ({ sockets }: Attribution): number[] => sockets.map((found) => found.inode);

describe('NAT', () => {
  test('is undone before the socket is looked for: not whoever has the port on the wire', () => {
    const client = socket('10.0.0.2:5000', '192.0.2.9:53');
    const bystander = socket('192.0.2.2:5000', null);
    const host = hostOf([
      namespace(OWN_NETNS, ['192.0.2.2', '10.0.0.1'], {
        conntrack: [nat('10.0.0.2 5000 > 192.0.2.9 53', '192.0.2.2 5000 > 192.0.2.9 53')],
        sockets: [bystander],
      }),
      namespace(BLUE_NETNS, ['10.0.0.2'], { sockets: [client] }),
    ]);
    const found = ask(host, '192.0.2.2 5000 > 192.0.2.9 53', { direction: 'in' });
    expect(found).toMatchObject({ direction: 'in', outcome: 'reported', match: 'connected' });
    expect(found.nat).toEqual(parts('10.0.0.2 5000 > 192.0.2.9 53'));
    expect(found.sockets).toMatchObject([{ inode: client.inode, netns: BLUE_NETNS }]);
    // Seen on the client's side it is as the client has it.
    const inside = ask(host, '10.0.0.2 5000 > 192.0.2.9 53', { direction: 'forward' });
    expect([inodes(inside), inside.nat, inside.direction]).toEqual([[client.inode], undefined, 'in']);
    // Another flow on the same port is the bystander's.
    expect(inodes(ask(host, '192.0.2.2 5000 > 192.0.2.8 53'))).toEqual([bystander.inode]);
  });

  test('of one namespace behind that of another is undone in turn', () => {
    const client = socket('10.1.0.2:5000', '198.51.100.80:80');
    const host = hostOf([
      namespace(OWN_NETNS, ['192.0.2.2'], {
        conntrack: [nat('10.0.0.2 6000 > 198.51.100.80 80', '192.0.2.2 7000 > 203.0.113.9 8080')],
      }),
      namespace(BLUE_NETNS, ['10.0.0.2'], {
        conntrack: [nat('10.1.0.2 5000 > 198.51.100.80 80', '10.0.0.2 6000 > 198.51.100.80 80')],
      }),
      namespace(GREEN_NETNS, ['10.1.0.2'], { sockets: [client] }),
    ]);
    const found = ask(host, '192.0.2.2 7000 > 203.0.113.9 8080', { direction: 'in' });
    expect([inodes(found), found.nat]).toEqual([[client.inode], parts('10.1.0.2 5000 > 198.51.100.80 80')]);
  });

  test('on the socket’s own host is undone too', () => {
    const client = socket('192.0.2.2:5000', '198.51.100.80:80');
    const host = hostOf([
      namespace(OWN_NETNS, ['192.0.2.2'], {
        conntrack: [nat('192.0.2.2 5000 > 198.51.100.80 80', '192.0.2.2 5000 > 203.0.113.9 8080')],
        sockets: [client],
      }),
    ]);
    const found = ask(host, '192.0.2.2 5000 > 203.0.113.9 8080');
    expect([found.match, inodes(found)]).toEqual(['connected', [client.inode]]);
    expect(found.nat).toEqual(parts('192.0.2.2 5000 > 198.51.100.80 80'));
  });

  test('makes an error that is addressed here one that is passed on', () => {
    const wire = { version: 4, local: '192.0.2.2', localPort: 5000, remote: '192.0.2.9', remotePort: 53 } as const;
    const conntrack = [
      nat('10.0.0.2 5000 > 192.0.2.9 53', '192.0.2.2 5000 > 192.0.2.9 53'),
      nat('192.0.2.2 6000 > 198.51.100.80 53', '192.0.2.2 6000 > 192.0.2.9 53'),
    ];
    const host = hostOf([namespace(OWN_NETNS, ['192.0.2.2'], { conntrack })]);
    expect(host.passesOn(wire)).toBe(true);
    expect(host.passesOn({ ...wire, localPort: 6000 })).toBe(false);
    expect(host.passesOn({ ...wire, localPort: 7000 })).toBe(false);
  });

  test('for a client that has gone says so, with its tuple', () => {
    const host = hostOf([
      namespace(OWN_NETNS, ['192.0.2.2'], {
        conntrack: [nat('10.0.0.2 5000 > 192.0.2.9 53', '192.0.2.2 5000 > 192.0.2.9 53')],
      }),
      namespace(BLUE_NETNS, ['10.0.0.2']),
    ]);
    expect(ask(host, '192.0.2.2 5000 > 192.0.2.9 53')).toEqual({
      direction: 'in',
      errno: 'ECONNREFUSED',
      outcome: 'no-socket',
      match: 'none',
      nat: parts('10.0.0.2 5000 > 192.0.2.9 53'),
      sockets: [],
    });
  });

  test('for a client that is on another machine is an error that passes through', () => {
    const host = hostOf([
      namespace(OWN_NETNS, ['192.0.2.2'], {
        conntrack: [nat('10.0.0.2 5000 > 192.0.2.9 53', '192.0.2.2 5000 > 192.0.2.9 53')],
        sockets: [socket('0.0.0.0:5000', null)],
      }),
    ]);
    const found = ask(host, '192.0.2.2 5000 > 192.0.2.9 53', { direction: 'in' });
    expect(found).toMatchObject({ outcome: 'not-local', match: 'none', sockets: [] });
  });
});

describe('several namespaces with one address', () => {
  const hostWith = (blue: SavedSocket[], green: SavedSocket[]): HostAttribution =>
    hostOf([
      namespace(OWN_NETNS, ['192.0.2.2']),
      namespace(BLUE_NETNS, ['10.0.0.2'], { sockets: blue }),
      namespace(GREEN_NETNS, ['10.0.0.2'], { sockets: green }),
    ]);
  const QUOTED = '10.0.0.2 5000 > 192.0.2.9 53';

  test('and the socket in one of them: that one, for certain', () => {
    const client = socket('10.0.0.2:5000', '192.0.2.9:53');
    for (const host of [hostWith([client], []), hostWith([], [client])]) {
      const found = ask(host, QUOTED);
      expect([found.match, inodes(found), found.note]).toEqual(['connected', [client.inode], undefined]);
    }
  });

  test('and sockets in both: both, and that it cannot be told', () => {
    const [one, other] = [socket('10.0.0.2:5000', '192.0.2.9:53'), socket('0.0.0.0:5000', null)];
    for (const host of [hostWith([one], [other]), hostWith([other], [one])]) {
      const found = ask(host, QUOTED);
      expect([found.match, inodes(found)]).toEqual(['connected', [one.inode, other.inode]]);
      expect(found.note).toMatch(/^several network namespaces have the address/);
    }
  });

  test('and none in either', () => {
    expect(ask(hostWith([], []), QUOTED)).toMatchObject({ outcome: 'no-socket', match: 'none' });
  });

  test('that is a loopback address: only one’s own', () => {
    const host = hostOf([
      namespace(OWN_NETNS, []),
      namespace(BLUE_NETNS, ['127.0.0.1'], { sockets: [socket('0.0.0.0:5000', null)] }),
    ]);
    expect(ask(host, '127.0.0.1 5000 > 127.0.0.1 53')).toMatchObject({ outcome: 'no-socket', match: 'none' });
  });
});

describe('IP_RECVERR', () => {
  const QUOTED = '192.0.2.2 5000 > 192.0.2.9 53';
  const hostWith = (...sockets: SavedSocket[]): HostAttribution =>
    hostOf([namespace(OWN_NETNS, ['192.0.2.2', '2001:db8::2'], { sockets })]);
  const bound = (recverr: boolean | null): SavedSocket => socket('192.0.2.2:5000', null, { recverr });

  test.each<[string, (boolean | null)[], Attribution['outcome'], string | undefined]>([
    ['set: queued', [true], 'queued', undefined],
    ['not set: ignored', [false], 'ignored', undefined],
    ['unknown: as if not', [null], 'ignored', undefined],
    ['of all that share the port', [true, true], 'queued', undefined],
    ['of some', [true, false, null], 'ignored', 'those with IP_RECVERR also have it in their error queue'],
  ])('%s', (_name, recverr, outcome, note) => {
    const found = ask(hostWith(...recverr.map(bound)), QUOTED);
    expect([found.outcome, found.note]).toEqual([outcome, note]);
    expect(found.sockets.map((shared) => shared.recverr)).toEqual(recverr);
  });

  test('a connected socket has it in its queue too', () => {
    const found = ask(hostWith(socket('192.0.2.2:5000', '192.0.2.9:53', { recverr: true })), QUOTED);
    expect([found.outcome, found.match]).toEqual(['queued', 'connected']);
    const notFatal = ask(hostWith(socket('192.0.2.2:5000', '192.0.2.9:53', { recverr: true })), QUOTED, {
      icmp: { type: 3, code: 1 },
    });
    expect([notFatal.outcome, notFatal.errno]).toEqual(['queued', 'EHOSTUNREACH']);
  });

  test('is of no use where there is no errno', () => {
    const found = ask(hostWith(bound(true), bound(false)), QUOTED, { icmp: { type: 4, code: 0 } });
    expect(found).toMatchObject({ errno: null, outcome: 'ignored' });
    expect(found).not.toHaveProperty('note');
  });

  test('of a v6 error is not known: the kernel tells IP_RECVERR, not IPV6_RECVERR', () => {
    const found = ask(hostWith(socket('[::]:5000', null, { recverr: true })), '2001:db8::2 5000 > 2001:db8::9 53');
    expect([found.outcome, found.sockets[0]!.recverr]).toEqual(['ignored', null]);
  });

  test('and the path MTU: what cannot be seen is said', () => {
    const icmp = { type: 3, code: 4 };
    const connected = (recverr: boolean): SavedSocket => socket('192.0.2.2:5000', '192.0.2.9:53', { recverr });
    const dont = /^or only the path MTU changes, if the socket has IP_PMTUDISC_DONT/;
    expect(ask(hostWith(connected(false)), QUOTED, { icmp })).toMatchObject({
      outcome: 'reported',
      note: expect.stringMatching(dont) as string,
    });
    expect(ask(hostWith(connected(true)), QUOTED, { icmp })).toMatchObject({
      outcome: 'queued',
      note: expect.stringMatching(dont) as string,
    });
    const found = ask(hostWith(bound(false)), QUOTED, { icmp });
    expect([found.outcome, found.note]).toEqual(['pmtu', undefined]);
  });
});

describe('a quote of less than a UDP header', () => {
  const client = socket('192.0.2.2:5000', '192.0.2.9:53', { recverr: true });
  const host = hostOf([namespace(OWN_NETNS, ['192.0.2.2'], { sockets: [client] })]);

  test('is dropped by the kernel, whatever the socket', () => {
    const found = ask(host, '192.0.2.2 5000 > 192.0.2.9 53', { dropped: 'it quotes less than a UDP header' });
    expect(found).toMatchObject({ outcome: 'ignored', dropped: true, match: 'connected', errno: 'ECONNREFUSED' });
    expect(found.note).toBe('the kernel drops it: it quotes less than a UDP header');
    expect(inodes(found)).toEqual([client.inode]);
    expect(ask(host, '192.0.2.2 5000 > 192.0.2.9 53')).not.toHaveProperty('dropped');
  });

  test('does not make more of a socket that is not there', () => {
    const found = ask(host, '192.0.2.2 5001 > 192.0.2.9 53', { dropped: 'its checksum is wrong' });
    expect(found).toMatchObject({ outcome: 'no-socket', match: 'none' });
    expect(found).not.toHaveProperty('dropped');
  });
});

describe('a socket bound to a device', () => {
  const QUOTED = '192.0.2.2 5000 > 192.0.2.9 53';
  const other = socket('0.0.0.0:5000', null);
  const onEth1 = socket('0.0.0.0:5000', null, { device: 'eth1' });
  const onBr0 = socket('0.0.0.0:5000', null, { device: 'br0' });
  const hostWith = (...sockets: SavedSocket[]): HostAttribution =>
    hostOf([namespace(OWN_NETNS, ['192.0.2.2'], { sockets, interfaces: { eth0: ['br0'] } })]);

  test('takes what came in there, and nothing else', () => {
    const host = hostWith(other, onEth1);
    expect(inodes(ask(host, QUOTED, { interfaceName: 'eth1' }))).toEqual([onEth1.inode]);
    expect(ask(host, QUOTED, { interfaceName: 'eth1' }).sockets[0]).toMatchObject({ device: 'eth1' });
    expect(inodes(ask(host, QUOTED, { interfaceName: 'eth0' }))).toEqual([other.inode]);
    expect(ask(host, QUOTED, { interfaceName: 'eth0' }).sockets[0]).not.toHaveProperty('device');
    expect(ask(hostWith(onEth1), QUOTED, { interfaceName: 'eth0' })).toMatchObject({ match: 'none' });
  });

  test('that is a bridge: what came in on its ports', () => {
    expect(inodes(ask(hostWith(other, onBr0), QUOTED, { interfaceName: 'eth0' }))).toEqual([onBr0.inode]);
    expect(inodes(ask(hostWith(other, onBr0), QUOTED, { interfaceName: 'eth1' }))).toEqual([other.inode]);
  });

  test('where it is not known where the error came in: all', () => {
    expect(inodes(ask(hostWith(other, onEth1), QUOTED, { interfaceName: null }))).toEqual([other.inode, onEth1.inode]);
    const host = hostOf([
      namespace(OWN_NETNS, ['192.0.2.1']),
      namespace(BLUE_NETNS, ['192.0.2.2'], { sockets: [other, onEth1] }),
    ]);
    // The names of devices are those of another namespace.
    expect(inodes(ask(host, QUOTED, { interfaceName: 'eth0' }))).toEqual([other.inode, onEth1.inode]);
  });
});

describe('a dual-stack socket', () => {
  const hostWith = (v6only: boolean | null): HostAttribution =>
    hostOf([namespace(OWN_NETNS, ['192.0.2.2', '2001:db8::2'], { sockets: [socket('[::]:5000', null, { v6only })] })]);

  test.each<[boolean | null, string, string | undefined]>([
    [false, 'wildcard', undefined],
    [true, 'none', undefined],
    [null, 'wildcard', 'or nobody, if the socket is IPV6_V6ONLY'],
  ])('IPV6_V6ONLY %s', (v6only, match, note) => {
    const found = ask(hostWith(v6only), '192.0.2.2 5000 > 192.0.2.9 53');
    expect([found.match, found.note]).toEqual([match, note]);
    expect(ask(hostWith(v6only), '2001:db8::2 5000 > 2001:db8::9 53')).toMatchObject({ match: 'wildcard' });
    expect(ask(hostWith(v6only), '2001:db8::2 5000 > 2001:db8::9 53')).not.toHaveProperty('note');
  });
});

describe('a tunnel', () => {
  const VXLAN = '192.0.2.2 54321 > 192.0.2.9 4789';
  const hostWith = (...sockets: SavedSocket[]): HostAttribution =>
    hostOf([namespace(OWN_NETNS, ['192.0.2.2'], { sockets })]);

  test('of the kernel’s sends from a port that no socket has, to its own port', () => {
    const tunnel = socket('0.0.0.0:4789', null, { processes: [] });
    const found = ask(hostWith(tunnel), VXLAN);
    expect([found.match, inodes(found)]).toEqual(['wildcard', [tunnel.inode]]);
    expect(found.note).toBe('no socket has the tuple, but a tunnel may have sent it: the kernel’s own');
  });

  test.each<[string, SavedSocket]>([
    ['held by a process', socket('0.0.0.0:4789', null)],
    ['connected', socket('192.0.2.2:4789', '192.0.2.9:54321', { processes: [] })],
  ])('is none where the socket on that port is %s', (_name, listener) => {
    expect(ask(hostWith(listener), VXLAN)).toMatchObject({ outcome: 'no-socket', match: 'none', sockets: [] });
  });
});

describe('an error that this host sent', () => {
  const listener = socket('0.0.0.0:53', null);
  const own = namespace(OWN_NETNS, ['192.0.2.2', '10.0.0.1'], { sockets: [listener] });
  const QUOTED = '192.0.2.9 5000 > 192.0.2.2 53';

  test('names who has the port now; the errno is the peer’s', () => {
    const found = ask(hostOf([own]), QUOTED, { direction: 'out' });
    expect(found).toMatchObject({ direction: 'out', errno: 'ECONNREFUSED', outcome: 'not-local', match: 'wildcard' });
    expect(inodes(found)).toEqual([listener.inode]);
  });

  test('about a datagram of its own is one that came in', () => {
    const client = socket('192.0.2.2:5000', '192.0.2.2:54');
    const host = hostOf([{ ...own, sockets: [listener, client] }]);
    const found = ask(host, '192.0.2.2 5000 > 192.0.2.2 54', { direction: 'out' });
    expect([found.direction, found.outcome, inodes(found)]).toEqual(['in', 'reported', [client.inode]]);
  });

  test('by another namespace of it is its own too', () => {
    const host = hostOf([{ ...own, sockets: [] }, namespace(BLUE_NETNS, ['10.0.0.2'], { sockets: [listener] })]);
    const found = ask(host, '192.0.2.9 5000 > 10.0.0.2 53', { direction: 'forward' });
    expect(found).toMatchObject({ direction: 'out', outcome: 'not-local', match: 'wildcard' });
    expect(found.sockets).toMatchObject([{ netns: BLUE_NETNS }]);
    const none = ask(host, '192.0.2.9 5000 > 10.0.0.2 54', { direction: 'forward' });
    expect(none).toMatchObject({ direction: 'out', outcome: 'not-local', match: 'none', sockets: [] });
  });

  test('about a service behind NAT: the socket that serves it, the tuple as it has it', () => {
    const server = socket('10.0.0.2:5353', null);
    const host = hostOf([
      { ...own, conntrack: [nat('192.0.2.9 5000 > 192.0.2.2 53', '192.0.2.9 5000 > 10.0.0.2 5353')] },
      namespace(BLUE_NETNS, ['10.0.0.2'], { sockets: [server] }),
    ]);
    const found = ask(host, '192.0.2.9 5000 > 192.0.2.2 53', { direction: 'out' });
    expect([found.match, inodes(found)]).toEqual(['bound', [server.inode]]);
    expect(found.nat).toEqual(parts('192.0.2.9 5000 > 10.0.0.2 5353'));
  });

  test('that only passes through is nobody’s', () => {
    const found = ask(hostOf([own]), '192.0.2.9 5000 > 192.0.2.8 53', { direction: 'forward' });
    expect(found).toEqual({
      direction: 'forward',
      errno: 'ECONNREFUSED',
      outcome: 'not-local',
      match: 'none',
      sockets: [],
    });
  });

  test('and others are not searched: that of a router is about no port here', () => {
    const host = hostOf([own], { unreadable: null });
    const found = ask(host, '192.0.2.9 5000 > 192.0.2.8 53', { direction: 'out' });
    expect(found).toEqual({
      direction: 'out',
      errno: 'ECONNREFUSED',
      outcome: 'not-local',
      match: 'none',
      sockets: [],
    });
  });
});

describe('in a replay, where the direction is not known', () => {
  test('what is in a namespace of the host came in, anything else is not known', () => {
    const client = socket('192.0.2.2:5000', '192.0.2.9:53');
    const host = hostOf([namespace(OWN_NETNS, ['192.0.2.2'], { sockets: [client] })]);
    expect(ask(host, '192.0.2.2 5000 > 192.0.2.9 53', { direction: null })).toMatchObject({
      direction: 'in',
      match: 'connected',
    });
    expect(ask(host, '192.0.2.8 5000 > 192.0.2.9 53', { direction: null })).toMatchObject({
      direction: null,
      outcome: 'not-local',
    });
  });
});

describe('what has been closed', () => {
  const SENT: QuotedTuple = { version: 4, dropped: null, ...V4_REFUSED, ...parts('203.0.113.9 4000 > 192.0.2.2 5000') };

  /** The socket with that inode, whatever else it is. */
  const numbered = (number: number): UdpSocket => ({
    family: 4,
    local: '',
    localPort: 0,
    remote: '',
    remotePort: 0,
    connected: true,
    uid: 0,
    inode: number,
  });

  test('a listener is remembered, with who it was', async () => {
    const proc = fakeRouter();
    const live = new LiveHost({ allNamespaces: true, root: proc.root });
    const host = new HostAttribution(live);
    onTestFinished(() => host.close());
    await host.start();
    await expect.poll(() => live.lastHolders(numbered(78)).length, { timeout: 4_000 }).toBe(1);
    const listening = udpLine(procEndpoint('0.0.0.0', 5000), procEndpoint('0.0.0.0', 0), '07', 78);
    proc.net('udp', UDP_HEADER + listening);
    const local = { version: 4, local: '192.0.2.2', localPort: 5000, remote: '203.0.113.9', remotePort: 4000 } as const;
    await expect.poll(() => live.own.lastListener(local), { timeout: 4_000 }).not.toBeNull();
    proc.net('udp', UDP_HEADER);
    proc.process(50, { comm: 'gateway' });
    host.packetsArrived();
    const found = await host.lookup(SENT, 'out', 'eth0');
    expect(found).toMatchObject({
      direction: 'out',
      outcome: 'not-local',
      match: 'closed',
      sockets: [{ inode: 78, state: 'unconnected', processes: [{ pid: 50, comm: 'gateway', fd: 8 }] }],
    });
    expect(found.closedMsAgo).toBeGreaterThanOrEqual(0);
    expect(found.closedMsAgo).toBeLessThan(4_000);
  });

  test('a socket that nobody asked about is remembered with its process, and the time', async () => {
    const proc = fakeRouter();
    const live = new LiveHost({ allNamespaces: true, root: proc.root });
    const host = new HostAttribution(live);
    onTestFinished(() => host.close());
    await host.start();
    await expect.poll(() => live.lastHolders(numbered(77)).length, { timeout: 4_000 }).toBe(1);
    proc.net('udp', UDP_HEADER);
    proc.process(50, { comm: 'gateway' });
    host.packetsArrived();
    const quoted = { version: 4, dropped: null, ...V4_REFUSED, ...parts('192.0.2.2 5000 > 192.0.2.1 53') } as const;
    const found = await host.lookup(quoted, 'in', 'eth0');
    expect(found).toMatchObject({
      outcome: 'no-socket',
      match: 'closed',
      sockets: [{ inode: 77, user: 'alice', remote: '192.0.2.1:53', processes: [{ pid: 50, fd: 7 }] }],
    });
    expect(found.closedMsAgo).toBeLessThan(4_000);
  });
});
