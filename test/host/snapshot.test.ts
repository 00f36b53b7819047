import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { LiveHost, type LiveHostOptions } from '../../src/host/live-host.ts';
import { netFilesInode } from '../../src/host/proc-file.ts';
import { endpoint, parseEndpoint, takeSnapshot, type Snapshot } from '../../src/host/snapshot.ts';
import schema from '../../src/snapshot.schema.json' with { type: 'json' };
import { formatIpv6 } from '../../src/decode/octets.ts';
import { BLUE_NETNS, FakeProc, fakeRouter, OWN_NETNS } from './fake-proc.ts';
import { fdOf, inodeOf, openUdp } from './udp-sockets.ts';

vi.mock('../../src/host/proc-file.ts', { spy: true });

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
const validate = ajv.compile(schema);

/** A snapshot, as whoever reads the file finds it. */
async function snapshotOf(options: Partial<LiveHostOptions>): Promise<Snapshot> {
  const host = new LiveHost({ allNamespaces: true, ...options });
  onTestFinished(() => host.close());
  const snapshot = JSON.parse(JSON.stringify(await takeSnapshot(host))) as Snapshot;
  if (!validate(snapshot)) expect.fail(ajv.errorsText(validate.errors));
  return snapshot;
}

const NOBODY_KNOWS = { device: null, recverr: null, v6only: null };
const GATEWAY = {
  pid: 50,
  comm: 'gateway',
  exe: '/usr/bin/client',
  cmdline: 'gateway',
  started: '2023-11-14T22:15:23Z',
  container: null,
  runtime: null,
  unit: null,
};

test('a host: its namespaces, their addresses, NAT and sockets, and who holds those', async () => {
  const { time, ...snapshot } = await snapshotOf({ root: fakeRouter().root });
  expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(60_000);
  expect(snapshot).toEqual({
    v: 1,
    host: hostname(),
    unreadable: 0,
    unheld: expect.stringContaining('or of a process in another PID namespace') as string,
    namespaces: [
      {
        netns: OWN_NETNS,
        mount: null,
        addresses: ['192.0.2.2', '10.88.0.1', '198.51.100.0/24'],
        complete4: true,
        complete6: true,
        interfaces: { eth0: ['br0'] },
        conntrack: [
          {
            original: { src: '10.88.0.2', sport: 41_000, dst: '203.0.113.20', dport: 9000 },
            reply: { src: '203.0.113.20', sport: 9000, dst: '192.0.2.2', dport: 41_000 },
          },
        ],
        sockets: [
          {
            inode: 77,
            state: 'connected',
            family: 4,
            local: '192.0.2.2:5000',
            remote: '192.0.2.1:53',
            uid: 1000,
            user: 'alice',
            ...NOBODY_KNOWS,
            processes: [{ ...GATEWAY, fd: 7 }],
          },
          {
            inode: 78,
            state: 'unconnected',
            family: 4,
            local: '0.0.0.0:5000',
            uid: 1000,
            user: 'alice',
            ...NOBODY_KNOWS,
            processes: [{ ...GATEWAY, fd: 8 }],
          },
          {
            inode: 79,
            state: 'unconnected',
            family: 4,
            local: '0.0.0.0:4789',
            uid: 1000,
            user: 'alice',
            ...NOBODY_KNOWS,
            processes: [],
          },
        ],
      },
      {
        netns: BLUE_NETNS,
        mount: null,
        addresses: ['10.88.0.2', '2001:db8:88::2'],
        complete4: true,
        complete6: true,
        interfaces: {},
        conntrack: [],
        sockets: [
          {
            inode: 80,
            state: 'connected',
            family: 4,
            local: '10.88.0.2:41000',
            remote: '203.0.113.20:9000',
            uid: 1000,
            // A container has users of its own.
            user: null,
            ...NOBODY_KNOWS,
            processes: [
              {
                ...GATEWAY,
                pid: 60,
                fd: 3,
                comm: 'client',
                cmdline: 'client',
                container: '0123456789ab',
                runtime: 'docker',
                unit: expect.stringMatching(/^docker-/) as string,
              },
            ],
          },
        ],
      },
    ],
  });
});

test('its own namespace alone', async () => {
  const { unreadable, namespaces } = await snapshotOf({ root: fakeRouter().root, allNamespaces: false });
  expect(unreadable).toBeNull();
  expect(namespaces.map(({ netns }) => netns)).toEqual([OWN_NETNS]);
});

test('what cannot be read is null, and what is not there is not there', async () => {
  const nothing = await snapshotOf({ root: '/nonexistent' });
  expect(nothing.namespaces).toMatchObject([{ netns: null, addresses: [], complete4: false, sockets: null }]);
  const proc = new FakeProc();
  proc.net('udp', '');
  proc.process(60, { netns: null });
  vi.mocked(netFilesInode).mockReturnValue('forbidden');
  onTestFinished(() => void vi.mocked(netFilesInode).mockReset());
  const { unreadable, namespaces } = await snapshotOf({ root: proc.root });
  expect(unreadable).toBe(1);
  expect(namespaces).toMatchObject([{ netns: OWN_NETNS, conntrack: [], sockets: [] }]);
});

test('a hostile name is kept as it is, as JSON', async () => {
  const proc = fakeRouter();
  const comm = '\u001B[2J"\\\u202E\u2028x';
  proc.process(50, { comm, sockets: { 7: 77 }, cmdline: Buffer.from([0xff, 0x41, 0]) });
  const { namespaces } = await snapshotOf({ root: proc.root });
  expect(namespaces[0]!.sockets![0]!.processes).toMatchObject([{ comm, cmdline: '\uFFFDA' }]);
});

test('this host: our own sockets, with what was set on them', async () => {
  const bound = await openUdp('udp4', { address: '127.0.0.1' });
  const v6only = await openUdp('udp6', { address: '::', ipv6Only: true });
  const connected = await openUdp('udp6', { connect: { address: '::ffff:127.0.0.1', port: bound.port } });
  const snapshot = await snapshotOf({ allNamespaces: false });
  const [own] = snapshot.namespaces;
  const saved = (inode: number): unknown => own!.sockets!.find((socket) => socket.inode === inode);
  const holder = { pid: process.pid, comm: readFileSync('/proc/self/comm', 'utf8').trimEnd() };
  expect(saved(inodeOf(bound.socket))).toMatchObject({
    state: 'unconnected',
    family: 4,
    local: `127.0.0.1:${bound.port}`,
    processes: [{ ...holder, fd: fdOf(bound.socket) }],
  });
  expect(saved(inodeOf(bound.socket))).not.toHaveProperty('remote');
  expect(saved(inodeOf(v6only.socket))).toMatchObject({ family: 6, local: `[::]:${v6only.port}` });
  expect(saved(inodeOf(connected.socket))).toMatchObject({
    state: 'connected',
    family: 6,
    local: `127.0.0.1:${connected.port}`,
    remote: `127.0.0.1:${bound.port}`,
  });
  expect(own!.addresses.length).toBeGreaterThan(0);
  expect([own!.complete4, own!.complete6]).toEqual([true, true]);
});

test('an endpoint comes back', () => {
  const address = fc.oneof(
    fc.ipV4(),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map((octets) => formatIpv6(octets, 0)),
  );
  fc.assert(
    fc.property(address, fc.nat(65_535), (text, port) => {
      expect(parseEndpoint(endpoint(text, port))).toEqual({ address: text, port });
    }),
  );
  expect(endpoint('2001:db8::1', 53)).toBe('[2001:db8::1]:53');
  expect(endpoint('192.0.2.1', 0)).toBe('192.0.2.1:0');
});
