import { once } from 'node:events';
import type { Socket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { lookup, type LookupTuple } from '../../src/correlate/kernel-lookup.ts';
import { readSocketTable } from '../../src/host/socket-table.ts';
import { closeUdp, inodeOf, openUdp, type OpenSocket } from '../host/udp-sockets.ts';

const SNAPSHOT = (await readSocketTable('fixtures/proc-every-kind/net'))!;

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
    const tuple: LookupTuple = { version: 6, local: '::2', localPort: 1, remote: '::1', remotePort: 9 };
    expect(lookup(source, tuple).match).toBe('wildcard');
    expect(lookup(source, { ...tuple, remote: '::3' }).match).toBe('none');
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
      const table = (await readSocketTable('/proc/net'))!;
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
    const table = (await readSocketTable('/proc/net'))!;
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
