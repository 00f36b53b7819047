import { symlinkSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { LiveHost, type LiveHostOptions } from '../../src/host/live-host.ts';
import { settled } from '../../src/host/host-view.ts';
import { BLUE_NETNS, FakeProc, fakeRouter } from './fake-proc.ts';

function hostOf(root: string, options: Partial<LiveHostOptions> = {}): LiveHost {
  const host = new LiveHost({ allNamespaces: true, root, ...options });
  onTestFinished(() => host.close());
  return host;
}

const SOCKET = {
  family: 4,
  local: '0.0.0.0',
  localPort: 5000,
  remote: '0.0.0.0',
  remotePort: 0,
  connected: false,
  uid: 1000,
  inode: 78,
} as const;

test('the interfaces above one: bridge, VLAN and bond, directly or not', () => {
  const proc = new FakeProc();
  for (const path of ['eth0/upper_br0', 'eth1/upper_br0', 'br0/upper_br0.5', 'br0/lower_eth0', 'br0.5', 'lo']) {
    proc.file(`sys/class/net/${path}/ifindex`, '');
  }
  const host = hostOf(proc.root);
  expect([...host.interfacesAbove('eth0')]).toEqual(['eth0', 'br0', 'br0.5']);
  expect([...host.interfacesAbove('lo')]).toEqual(['lo']);
  expect([...host.interfacesAbove('gone')]).toEqual(['gone']);
  expect(host.interfaces()).toEqual({ br0: ['br0.5'], eth0: ['br0'], eth1: ['br0'] });
});

test('interfaces that are above each other are followed once', () => {
  const proc = new FakeProc();
  for (const path of ['a/upper_b', 'b/upper_a']) proc.file(`sys/class/net/${path}/ifindex`, '');
  expect([...hostOf(proc.root).interfacesAbove('a')]).toEqual(['a', 'b']);
});

test('without /sys there is nothing above', () => {
  const host = hostOf('/nonexistent');
  expect([[...host.interfacesAbove('eth0')], host.interfaces()]).toEqual([['eth0'], {}]);
});

test('why a socket has no process', async () => {
  const proc = new FakeProc();
  expect(hostOf(proc.root).whyUnheld()).toMatch(
    /: the kernel’s own.* or of a process in another PID namespace, or kept by/,
  );
  // The first PID namespace sees every process.
  symlinkSync('pid:[4026531836]', `${proc.proc}/self/ns/pid`);
  expect(hostOf(proc.root).whyUnheld()).toMatch(
    /^no process that .*: the kernel’s own[^,]*, as those of WireGuard and VXLAN are, or kept by/,
  );
});

test('the user of a socket; not of one in a container, which has users of its own', async () => {
  const host = hostOf(fakeRouter().root);
  const [inside] = await settled(() => host.holders({ ...SOCKET, inode: 80 }, 0));
  const [outside] = await settled(() => host.holders({ ...SOCKET, inode: 77 }, 0));
  expect([inside!.container, outside!.container]).toEqual(['0123456789ab', null]);
  expect(host.userOf(SOCKET, [outside!])).toBe('alice');
  expect(host.userOf(SOCKET, [])).toBe('alice');
  expect(host.userOf(SOCKET, [outside!, inside!])).toBeNull();
  expect(host.userOf({ ...SOCKET, uid: 7 }, [])).toBeNull();
});

test('others are searched, or not', async () => {
  const { root } = fakeRouter();
  const all = hostOf(root);
  const found = await settled(() => all.namespacesOf('10.88.0.2', 0));
  expect(found?.namespaces.map(({ inode }) => inode)).toEqual([BLUE_NETNS]);
  const self = hostOf(root, { allNamespaces: false });
  expect(self.namespacesOf('10.88.0.2', 0)).toBeNull();
  await self.start();
  expect(self.namespaces.all).toEqual([self.own]);
});

test('once started it knows all that an error needs, without waiting', async () => {
  const host = hostOf(fakeRouter().root);
  const since = host.now();
  await host.start();
  expect(host.own.isLocal('192.0.2.2', since)).toBe(true);
  expect(
    host.own
      .socketsNow(since)
      ?.socketsFor(5000, 53)
      .map(({ inode }) => inode),
  ).toHaveLength(2);
  const wire = { version: 4, local: '192.0.2.2', localPort: 41_000, remote: '203.0.113.20', remotePort: 9000 } as const;
  expect(host.own.undoNat(wire, since)).toEqual([{ ...wire, local: '10.88.0.2' }]);
  expect(host.knownNamespacesOf('10.88.0.2').map(({ inode }) => inode)).toEqual([BLUE_NETNS]);
});

test('where there is nothing it starts all the same', async () => {
  const host = hostOf('/nonexistent');
  await host.start();
  expect(host.own.inode).toBeNull();
  expect(host.own.socketsNow(0)).toBeNull();
});
