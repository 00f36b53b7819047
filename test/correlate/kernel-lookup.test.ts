import { once } from 'node:events';
import type { Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { eligibleSockets, lookup, type KnownOptions } from '../../src/correlate/kernel-lookup.ts';
import type { SocketOptions } from '../../src/host/socket-options.ts';
import { SocketTable, type UdpSocket } from '../../src/host/socket-table.ts';
import type { UdpTuple } from '../../src/host/udp-tuple.ts';
import { closeUdp, inodeOf, openUdp, type OpenSocket } from '../host/udp-sockets.ts';

function readTable(netDirectory: string): SocketTable {
  return new SocketTable(readFileSync(`${netDirectory}/udp`), readFileSync(`${netDirectory}/udp6`));
}

const SNAPSHOT = readTable('fixtures/proc-every-kind/net');

function find(
  version: 4 | 6,
  local: string,
  localPort: number,
  remote: string,
  remotePort: number,
): [string, number[]] {
  const { match, sockets } = lookup(SNAPSHOT, { version, local, localPort, remote, remotePort });
  return [match, sockets.map(({ inode }) => inode).toSorted()];
}

describe('on one port', () => {
  test.each<[string, Parameters<typeof find>, [string, number[]]]>([
    ['the connected socket', [4, '192.0.2.2', 5000, '192.0.2.1', 53], ['connected', [187433]]],
    ['another peer: the bound one', [4, '192.0.2.2', 5000, '192.0.2.9', 53], ['bound', [187434]]],
    ['another peer port: the bound one', [4, '192.0.2.2', 5000, '192.0.2.1', 54], ['bound', [187434]]],
    [
      'another local address: the v4 wildcard, before the dual-stack one',
      [4, '127.0.0.1', 5000, '192.0.2.1', 53],
      ['wildcard', [187435]],
    ],
    ['v6: the dual-stack one', [6, '2001:db8::2', 5000, '2001:db8::1', 53], ['wildcard', [187436]]],
    ['v4 held by a connected v6 socket', [4, '192.0.2.2', 5001, '192.0.2.1', 53], ['connected', [187437]]],
    ['which never takes another peer', [4, '192.0.2.2', 5001, '192.0.2.9', 53], ['none', []]],
    ['::ffff:0.0.0.0 takes v4', [4, '192.0.2.2', 5002, '192.0.2.1', 53], ['wildcard', [187438]]],
    ['::ffff:0.0.0.0 does not take v6', [6, '2001:db8::2', 5002, '2001:db8::1', 53], ['none', []]],
    ['v6 connected', [6, '2001:db8::2', 5003, '2001:db8::1', 53], ['connected', [187439]]],
    ['v6 bound', [6, '2001:db8::2', 5003, '2001:db8::1', 54], ['bound', [187440]]],
    ['v6 wildcard', [6, '::1', 5003, '2001:db8::1', 53], ['wildcard', [187441]]],
    ['SO_REUSEPORT: both', [4, '192.0.2.2', 5004, '192.0.2.1', 53], ['wildcard', [187442, 187443]]],
    ['a v4 socket never takes v6', [6, '2001:db8::2', 5004, '2001:db8::1', 53], ['none', []]],
    ['IPV6_V6ONLY is not in /proc', [4, '192.0.2.2', 5005, '192.0.2.1', 53], ['wildcard', [187444]]],
    ['no socket', [4, '192.0.2.2', 5999, '192.0.2.1', 53], ['none', []]],
  ])('%s', (_, tuple, expected) => {
    expect(find(...tuple)).toEqual(expected);
  });

  test('a disconnected v6 socket still has its peer’s address', () => {
    const socket = {
      family: 6,
      local: '::',
      localPort: 1,
      remote: '::1',
      remotePort: 0,
      connected: false,
      uid: 0,
      inode: 1,
    } as const;
    const source = { socketsFor: () => [socket] };
    const tuple: UdpTuple = { version: 6, local: '::2', localPort: 1, remote: '::1', remotePort: 9 };
    expect(lookup(source, tuple).match).toBe('wildcard');
    expect(lookup(source, { ...tuple, remote: '::3' }).match).toBe('none');
  });
});

describe('with what /proc does not show', () => {
  type Made = Partial<UdpSocket> & { options?: Partial<SocketOptions> };

  const TUPLE4: UdpTuple = { version: 4, local: '192.0.2.2', localPort: 1, remote: '192.0.2.1', remotePort: 53 };
  const TUPLE6: UdpTuple = { ...TUPLE4, version: 6, local: '2001:db8::2', remote: '2001:db8::1' };
  const V6: Made = { family: 6, local: '::', remote: '::' };
  const CONNECTED: Made = { local: '192.0.2.2', remote: '192.0.2.1', remotePort: 53, connected: true };
  const ON = (device: string): Made => ({ options: { device } });

  /** What is found among these sockets, by their place, from 1. */
  function found(made: readonly Made[], tuple: UdpTuple, interfaces: string[] | null = null): [string, number[]] {
    const options = new Map<number, SocketOptions>();
    const sockets = made.map(({ options: own, ...socket }, index): UdpSocket => {
      const inode = index + 1;
      if (own !== undefined) options.set(inode, { device: null, recverr: null, v6only: null, ...own });
      const nothing = { family: 4, remote: '0.0.0.0', remotePort: 0, connected: false, uid: 0 } as const;
      return { local: '0.0.0.0', localPort: 1, inode, ...nothing, ...socket };
    });
    const known: KnownOptions = {
      of: ({ inode }) => options.get(inode) ?? null,
      interfaces: interfaces === null ? null : new Set(interfaces),
    };
    const result = lookup({ socketsFor: () => sockets }, tuple, known);
    return [result.match, result.sockets.map(({ inode }) => inode)];
  }

  test.each<[string, Made[], UdpTuple, string[] | null, [string, number[]]]>([
    ['IPV6_V6ONLY does not take v4', [{ ...V6, options: { v6only: true } }], TUPLE4, null, ['none', []]],
    ['and takes v6', [{ ...V6, options: { v6only: true } }], TUPLE6, null, ['wildcard', [1]]],
    ['without it v4 is taken', [{ ...V6, options: { v6only: false } }], TUPLE4, null, ['wildcard', [1]]],
    ['unknown: perhaps', [{ ...V6, options: { v6only: null } }], TUPLE4, null, ['wildcard', [1]]],
    [
      'of two on :: the one that takes v4',
      [
        { ...V6, options: { v6only: true } },
        { ...V6, options: { v6only: false } },
      ],
      TUPLE4,
      null,
      ['wildcard', [2]],
    ],
    ['the device that it came in on goes before none', [{}, ON('eth0')], TUPLE4, ['eth0'], ['wildcard', [2]]],
    ['another device takes nothing', [{}, ON('eth1')], TUPLE4, ['eth0'], ['wildcard', [1]]],
    ['nor where it is all there is', [ON('eth1')], TUPLE4, ['eth0'], ['none', []]],
    ['the bridge above is the device too', [ON('br0'), ON('eth1')], TUPLE4, ['eth0', 'br0'], ['wildcard', [1]]],
    ['where it came in is not known: both', [{}, ON('eth1')], TUPLE4, null, ['wildcard', [1, 2]]],
    ['no device, and one that is not known: both', [ON(''), {}], TUPLE4, ['eth0'], ['wildcard', [1, 2]]],
    ['a bound address goes before the device', [{ local: '192.0.2.2' }, ON('eth0')], TUPLE4, ['eth0'], ['bound', [1]]],
    ['of a v6 socket too', [V6, { ...V6, ...ON('eth0') }], TUPLE6, ['eth0'], ['wildcard', [2]]],
    [
      'a connected socket on another device',
      [{ ...CONNECTED, ...ON('eth1') }, {}],
      TUPLE4,
      ['eth0'],
      ['wildcard', [2]],
    ],
    // Which of them connected last does not show, and that one it is.
    ['connected twins: both', [CONNECTED, {}, CONNECTED], TUPLE4, null, ['connected', [1, 3]]],
    [
      'even where one is on the device',
      [CONNECTED, { ...CONNECTED, ...ON('eth0') }],
      TUPLE4,
      ['eth0'],
      ['connected', [1, 2]],
    ],
    ['but not one on another', [CONNECTED, { ...CONNECTED, ...ON('eth1') }], TUPLE4, ['eth0'], ['connected', [1]]],
    ['v4 and mapped v4: both', [CONNECTED, { ...CONNECTED, family: 6 }], TUPLE4, null, ['connected', [1, 2]]],
    // connect(AF_UNSPEC) leaves sk_v6_daddr, but not inet_daddr.
    ['disconnected v6: from its old peer', [{ ...V6, remote: '2001:db8::1' }], TUPLE6, null, ['wildcard', [1]]],
    ['and from no other', [{ ...V6, remote: '2001:db8::9' }], TUPLE6, null, ['none', []]],
    ['but v4 from any', [{ ...V6, remote: '2001:db8::9' }], TUPLE4, null, ['wildcard', [1]]],
    [
      'disconnected v6 with its old peer goes before one without',
      [V6, { ...V6, remote: '2001:db8::1' }],
      TUPLE6,
      null,
      ['wildcard', [2]],
    ],
    ['disconnected v4: from any', [{ remote: '192.0.2.9' }], TUPLE4, null, ['wildcard', [1]]],
    ['a mapped wildcard takes no v6', [{ ...V6, local: '0.0.0.0' }], TUPLE6, null, ['none', []]],
    ['another port', [{ localPort: 2 }], TUPLE4, null, ['none', []]],
  ])('%s', (_name, sockets, tuple, interfaces, expected) => {
    expect(found(sockets, tuple, interfaces)).toEqual(expected);
  });

  test('those whose options matter are those that could take it, whatever their options', () => {
    const inodes = (tuple: UdpTuple): number[] =>
      eligibleSockets(SNAPSHOT, tuple)
        .map(({ inode }) => inode)
        .toSorted();
    const v4 = { ...TUPLE4, localPort: 5000 };
    expect(inodes(v4)).toEqual([187433, 187434, 187435, 187436]);
    expect(inodes({ ...v4, remote: '192.0.2.9' })).toEqual([187434, 187435, 187436]);
    expect(inodes({ ...v4, local: '192.0.2.3' })).toEqual([187435, 187436]);
    expect(inodes({ ...TUPLE6, localPort: 5000 })).toEqual([187436]);
  });
});

/** The socket that gets a datagram from `peer`: the kernel chooses it by the same function as for an error. */
async function receiverOf(peer: OpenSocket, to: { port: number; address: string }, sockets: Socket[]): Promise<number> {
  const received = new AbortController();
  const receiver = Promise.any(
    sockets.map(async (socket) => {
      await once(socket, 'message', { signal: received.signal });
      return inodeOf(socket);
    }),
  );
  peer.socket.send('x', to.port, to.address);
  const inode = await receiver;
  received.abort();
  return inode;
}

describe('the kernel chooses the same', () => {
  test('among v4, dual-stack and v6 sockets on one port, from the best to the last', async () => {
    const peer = await openUdp('udp4', { address: '127.0.0.1' });
    const peerAddress = { port: peer.port, address: '127.0.0.1' };
    const reuseAddr = true;
    const first = await openUdp('udp4', { address: '127.0.0.1', reuseAddr });
    const { port } = first;
    const others = [
      await openUdp('udp4', { address: '127.0.0.1', port, reuseAddr, connect: peerAddress }),
      await openUdp('udp4', { port, reuseAddr, address: '127.0.0.1', connect: { port: 9, address: '127.0.0.1' } }),
      await openUdp('udp4', { address: '0.0.0.0', port, reuseAddr }),
      await openUdp('udp6', { address: '::', port, reuseAddr }),
      await openUdp('udp6', { address: '::1', port, reuseAddr }),
      await openUdp('udp6', { address: '::ffff:127.0.0.1', port, reuseAddr }),
    ];
    let sockets = [first, ...others].map(({ socket }) => socket);
    const matches: string[] = [];
    for (;;) {
      const table = readTable('/proc/net');
      const tuple = { local: '127.0.0.1', localPort: port, remote: '127.0.0.1', remotePort: peer.port };
      const found = lookup(table, { version: 4, ...tuple });
      matches.push(found.match);
      if (found.match === 'none') break;
      const inode = await receiverOf(peer, { port, address: '127.0.0.1' }, sockets);
      expect(found.sockets.map((socket) => socket.inode)).toEqual([inode]);
      const chosen = sockets.find((socket) => inodeOf(socket) === inode)!;
      sockets = sockets.filter((socket) => socket !== chosen);
      closeUdp(chosen);
      await sleep(1);
    }
    expect(matches).toEqual(['connected', 'bound', 'bound', 'wildcard', 'wildcard', 'none']);
  });

  test('and tells a connected socket that its peer is gone', async () => {
    const gone = await openUdp('udp4', { address: '127.0.0.1' });
    const closed = gone.port;
    closeUdp(gone.socket);
    const { socket, port } = await openUdp('udp4', { connect: { port: closed, address: '127.0.0.1' } });
    socket.send('x');
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
    const table = readTable('/proc/net');
    const found = lookup(table, {
      version: 4,
      local: '127.0.0.1',
      localPort: port,
      remote: '127.0.0.1',
      remotePort: closed,
    });
    expect([found.match, found.sockets[0]?.inode]).toEqual(['connected', inodeOf(socket)]);
  });
});
