import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SocketTable, socketTableOf, type UdpSocket } from '../../src/host/socket-table.ts';
import { inodeOf, openUdp } from './udp-sockets.ts';

const SNAPSHOT = 'fixtures/proc-every-kind/net';
const LINE =
  ' 7030: 020200C0:1388 010200C0:0035 01 00000000:00000000 00:00000000 00000000     0        0 187433 2 000000006af87a75 0        ';
const NOTHING = Buffer.alloc(0);

function readTable(netDirectory: string): SocketTable {
  return new SocketTable(readFileSync(`${netDirectory}/udp`), readFileSync(`${netDirectory}/udp6`));
}

function tableOf(v4: string, v6 = ''): SocketTable {
  return new SocketTable(Buffer.from(v4, 'latin1'), Buffer.from(v6, 'latin1'), false, true);
}

describe('a snapshot', () => {
  test('gives every socket of both files', () => {
    const table = readTable(SNAPSHOT);
    expect(table.size).toBe(12);
    expect(table.cut).toBe(false);
    const seen = [...table].map(({ family, local, localPort, remote, remotePort, connected, inode }) =>
      [family, local, localPort, remote, remotePort, connected ? '01' : '07', inode].join(' '),
    );
    expect(seen).toEqual([
      '4 0.0.0.0 5000 0.0.0.0 0 07 187435',
      '4 192.0.2.2 5000 0.0.0.0 0 07 187434',
      '4 192.0.2.2 5000 192.0.2.1 53 01 187433',
      '4 0.0.0.0 5004 0.0.0.0 0 07 187443',
      '4 0.0.0.0 5004 0.0.0.0 0 07 187442',
      '6 :: 5000 :: 0 07 187436',
      '6 192.0.2.2 5001 192.0.2.1 53 01 187437',
      '6 0.0.0.0 5002 :: 0 07 187438',
      '6 :: 5003 :: 0 07 187441',
      '6 2001:db8::2 5003 :: 0 07 187440',
      '6 2001:db8::2 5003 2001:db8::1 53 01 187439',
      '6 :: 5005 :: 0 07 187444',
    ]);
  });

  test('is looked up by both ports', () => {
    const table = readTable(SNAPSHOT);
    const inodes = (localPort: number, remotePort: number): number[] =>
      table.socketsFor(localPort, remotePort).map(({ inode }) => inode);
    expect(inodes(5000, 53).toSorted()).toEqual([187433, 187434, 187435, 187436]);
    expect(inodes(5000, 54).toSorted()).toEqual([187434, 187435, 187436]);
    expect(inodes(5000, 0).toSorted()).toEqual([187434, 187435, 187436]);
    expect(inodes(5006, 53)).toEqual([]);
  });

  test('without udp6 has no v6 sockets; without udp it is none', () => {
    const bytes = readFileSync(`${SNAPSHOT}/udp`);
    expect(socketTableOf(null, { bytes, cut: false })).toBeNull();
    expect(socketTableOf({ bytes, cut: false }, null)).toMatchObject({ size: 5, cut: false, octets: bytes.length });
    expect(socketTableOf({ bytes, cut: true }, null)!.cut).toBe(true);
    expect(socketTableOf({ bytes, cut: false }, { bytes: NOTHING, cut: true })!.cut).toBe(true);
  });

  test('tells the socket that is connected with a tuple, and no other', () => {
    const table = readTable(SNAPSHOT);
    const v4 = { version: 4, local: '192.0.2.2', localPort: 5000, remote: '192.0.2.1', remotePort: 53 } as const;
    expect(table.connectedSocket(v4)?.inode).toBe(187433);
    expect(table.connectedSocket({ ...v4, localPort: 5001 })?.inode).toBe(187437);
    const v6 = { version: 6, local: '2001:db8::2', localPort: 5003, remote: '2001:db8::1', remotePort: 53 } as const;
    expect(table.connectedSocket(v6)?.inode).toBe(187439);
    for (const change of [{ local: '192.0.2.3' }, { remote: '192.0.2.9' }, { remotePort: 54 }, { localPort: 5004 }]) {
      expect(table.connectedSocket({ ...v4, ...change })).toBeNull();
    }
    // 5004 is bound to no address, and has no peer.
    const unconnected = { version: 4, local: '0.0.0.0', localPort: 5004, remote: '0.0.0.0', remotePort: 0 } as const;
    expect(table.connectedSocket(unconnected)).toBeNull();
  });

  test('never denies an inode that it has', () => {
    const table = readTable(SNAPSHOT);
    for (const { inode } of table) expect(table.hasInode(inode)).toBe(true);
    expect(table.hasInode(18743)).toBe(false);
    expect(table.hasInode(999_999)).toBe(false);
  });
});

describe('the text', () => {
  test('of a big-endian machine', () => {
    const line = ' 1: C0000202:1388 C0000201:0035 01 00000000:00000000 00:00000000 00000000  1000        0 7 2 0 0\n';
    const [socket] = new SocketTable(Buffer.from(line), NOTHING, false, false);
    expect(socket).toMatchObject({ local: '192.0.2.2', remote: '192.0.2.1', localPort: 5000, uid: 1000, inode: 7 });
  });

  test.each([
    ['a header alone', '   sl  local_address rem_address   st tx_queue\n', 0],
    ['no newline at the end', LINE, 1],
    ['cut before the inode ends', LINE.slice(0, LINE.indexOf('187433') + 3), 0],
    ['cut in an address', `${LINE}\n${LINE.slice(0, 12)}`, 1],
    ['a malformed line between two others', `${LINE}\n 7030: zz0200C0:1388 nonsense\n${LINE}\n`, 2],
    ['a port that is none', LINE.replace(':1388', ':13x8'), 0],
    ['empty lines', `\n\n${LINE}\n\n`, 1],
  ])('%s', (_, text, sockets) => {
    expect([...tableOf(text)]).toHaveLength(sockets);
  });

  test('of any kind never makes it throw', () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constant(LINE),
      fc
        .tuple(fc.nat(LINE.length), fc.string({ maxLength: 3 }))
        .map(([at, text]) => LINE.slice(0, at) + text + LINE.slice(at + text.length)),
    );
    const text = fc.array(line, { maxLength: 20 }).map((lines) => Buffer.from(lines.join('\n'), 'latin1'));
    fc.assert(
      fc.property(text, text, (v4, v6) => {
        const table = new SocketTable(v4, v6);
        const all: UdpSocket[] = [...table];
        for (const socket of all) {
          expect(table.socketsFor(socket.localPort, socket.remotePort)).toContainEqual(socket);
        }
      }),
    );
  });

  test('of more sockets than are kept says so', () => {
    const line = ' 1: 00000000:1388 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 7 2 0 0\n';
    expect(tableOf(line.repeat(262_144)).size).toBe(262_144);
    expect(tableOf(line.repeat(262_150)).cut).toBe(true);
    expect(tableOf(line.repeat(1000)).cut).toBe(false);
  });
});

describe('the running kernel', () => {
  test('shows our own sockets', async () => {
    const peer = await openUdp('udp4', { address: '127.0.0.1' });
    const sockets = {
      bound: await openUdp('udp4', { address: '127.0.0.1' }),
      wildcard: await openUdp('udp4', { address: '0.0.0.0' }),
      connected: await openUdp('udp4', { connect: { port: peer.port, address: '127.0.0.1' } }),
      dual: await openUdp('udp6', { address: '::' }),
      connected6: await openUdp('udp6', { connect: { port: peer.port, address: '::1' } }),
      mapped: await openUdp('udp6', { connect: { port: peer.port, address: '::ffff:127.0.0.1' } }),
    };
    const table = readTable('/proc/net');
    const shown = Object.entries(sockets).map(([name, { socket, port }]) => {
      const line = [...table].find(({ inode }) => inode === inodeOf(socket));
      expect(line?.localPort).toBe(port);
      return [name, line?.family, line?.local, line?.remote, line?.remotePort === peer.port, line?.connected];
    });
    expect(shown).toEqual([
      ['bound', 4, '127.0.0.1', '0.0.0.0', false, false],
      ['wildcard', 4, '0.0.0.0', '0.0.0.0', false, false],
      ['connected', 4, '127.0.0.1', '127.0.0.1', true, true],
      ['dual', 6, '::', '::', false, false],
      ['connected6', 6, '::1', '::1', true, true],
      ['mapped', 6, '127.0.0.1', '127.0.0.1', true, true],
    ]);
  });
});
