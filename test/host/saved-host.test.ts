import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { HostAttribution } from '../../src/correlate/attribute.ts';
import type { Attribution, QuotedTuple } from '../../src/correlate/attribution.ts';
import type { Direction, IcmpEvent } from '../../src/event.ts';
import { LiveHost, type LiveHostOptions } from '../../src/host/live-host.ts';
import { SavedHost, SnapshotError } from '../../src/host/saved-host.ts';
import { takeSnapshot, type SavedNamespace, type SavedSocket, type Snapshot } from '../../src/host/snapshot.ts';
import { attributionText } from '../../src/sink/attribution-text.ts';
import { jsonLine } from '../../src/sink/json-lines.ts';
import { fakeRouter } from './fake-proc.ts';
import { closeUdp, openUdp } from './udp-sockets.ts';

const directory = mkdtempSync(join(tmpdir(), 'snapshot-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** A file with this text; the same one each time. */
function file(text: string | Uint8Array): string {
  const path = join(directory, 'host.json');
  writeFileSync(path, text);
  return path;
}

/** `10.0.0.1 5000 > 192.0.2.1 53` in a port unreachable. */
function refused(text: string): QuotedTuple {
  const [src, sport, , dst, dport] = text.split(' ');
  const icmp = src!.includes(':') ? { version: 6, type: 1, code: 4 } : { version: 4, type: 3, code: 3 };
  return { ...icmp, dropped: null, src: src!, sport: Number(sport), dst: dst!, dport: Number(dport) } as QuotedTuple;
}

/** The same of a host and of its snapshot. */
async function liveAndSaved(
  options: Partial<LiveHostOptions>,
  questions: readonly [QuotedTuple, Direction][],
): Promise<[Attribution[], Attribution[]]> {
  const host = new LiveHost({ allNamespaces: true, ...options });
  onTestFinished(() => host.close());
  const saved = await SavedHost.open(file(JSON.stringify(await takeSnapshot(host))));
  const ask = async (attribution: HostAttribution): Promise<Attribution[]> => {
    attribution.packetsArrived();
    return Promise.all(questions.map(async ([quoted, direction]) => attribution.lookup(quoted, direction, 'eth0')));
  };
  return [await ask(new HostAttribution(host)), await ask(new HostAttribution(saved))];
}

describe('a snapshot answers as the host did', () => {
  const ROUTER: [string, Direction, string][] = [
    ['192.0.2.2 5000 > 192.0.2.1 53', 'in', 'connected'],
    ['192.0.2.2 5000 > 192.0.2.9 53', 'in', 'wildcard'],
    ['198.51.100.7 5000 > 192.0.2.9 53', 'in', 'wildcard'],
    ['192.0.2.2 4789 > 192.0.2.9 1', 'in', 'wildcard'],
    ['192.0.2.2 9 > 192.0.2.1 53', 'in', 'none'],
    ['192.0.2.2 41000 > 203.0.113.20 9000', 'in', 'connected'],
    ['10.88.0.2 41000 > 203.0.113.20 9000', 'forward', 'connected'],
    ['10.88.0.2 41001 > 203.0.113.20 9000', 'forward', 'none'],
    ['2001:db8:88::2 41001 > 2001:db8::1 9000', 'forward', 'none'],
    ['203.0.113.99 5 > 203.0.113.98 6', 'forward', 'none'],
    ['203.0.113.99 53 > 192.0.2.2 5000', 'out', 'wildcard'],
    ['203.0.113.20 9000 > 10.88.0.2 41000', 'out', 'connected'],
    ['203.0.113.99 53 > 192.0.2.2 9', 'out', 'none'],
  ];

  test.each<[string, boolean]>([
    ['all of it', true],
    ['its own namespace', false],
  ])('a fake one, %s', async (_name, allNamespaces) => {
    const questions = ROUTER.map(([text, direction]): [QuotedTuple, Direction] => [refused(text), direction]);
    const [live, saved] = await liveAndSaved({ root: fakeRouter().root, allNamespaces }, questions);
    expect(saved).toEqual(live);
    if (allNamespaces) {
      expect(live.map(({ match }) => match)).toEqual(ROUTER.map(([, , match]) => match));
      expect(live[5]).toMatchObject({ nat: { src: '10.88.0.2', sport: 41_000, dst: '203.0.113.20', dport: 9000 } });
    }
  });

  test('this one', async () => {
    const peer = await openUdp('udp4', { address: '127.0.0.1' });
    const connected = await openUdp('udp4', { connect: { address: '127.0.0.1', port: peer.port } });
    const dual = await openUdp('udp6', { address: '::' });
    const v6only = await openUdp('udp6', { address: '::', ipv6Only: true });
    const gone = await openUdp('udp4', { address: '127.0.0.1' });
    closeUdp(gone.socket);
    const loopback = (port: number): string => `127.0.0.1 ${port} > 127.0.0.1 ${peer.port}`;
    const questions = [connected, dual, v6only, gone, peer].map(({ port }): [QuotedTuple, Direction] => [
      refused(loopback(port)),
      'in',
    ]);
    questions.push(
      [refused(`::1 ${v6only.port} > ::1 9`), 'in'],
      [refused(`127.0.0.1 9 > 127.0.0.1 ${peer.port}`), 'out'],
    );
    const [live, saved] = await liveAndSaved({ allNamespaces: false }, questions);
    expect(saved).toEqual(live);
    expect(live.slice(0, 2).map(({ match }) => match)).toEqual(['connected', 'wildcard']);
    expect(live[5]!.match).toBe('wildcard');
  });

  test('and which way a packet goes', async () => {
    const host = new LiveHost({ allNamespaces: true, root: fakeRouter().root });
    onTestFinished(() => host.close());
    const saved = new HostAttribution(await SavedHost.open(file(JSON.stringify(await takeSnapshot(host)))));
    await saved.start();
    expect(saved.directionOf('203.0.113.9', '192.0.2.2')).toBe('in');
    expect(saved.directionOf('192.0.2.2', '203.0.113.9')).toBe('out');
    expect(saved.directionOf('203.0.113.9', '10.88.0.2')).toBe('forward');
    const tuple = {
      version: 4,
      local: '192.0.2.2',
      localPort: 41_000,
      remote: '203.0.113.20',
      remotePort: 9000,
    } as const;
    expect(saved.undoNat(tuple)).toEqual({ ...tuple, local: '10.88.0.2' });
    expect(saved.undoNat({ ...tuple, localPort: 1 })).toEqual({ ...tuple, localPort: 1 });
    saved.close();
  });
});

const SOCKET: SavedSocket = {
  inode: 7,
  state: 'connected',
  family: 4,
  local: '192.0.2.2:5000',
  remote: '192.0.2.1:53',
  device: '',
  uid: 0,
  user: 'root',
  recverr: false,
  v6only: null,
  processes: [
    {
      pid: 50,
      fd: 3,
      comm: 'client',
      exe: null,
      cmdline: null,
      started: '2026-11-20T08:12:09Z',
      container: null,
      runtime: null,
      unit: null,
    },
  ],
};
const NAMESPACE: SavedNamespace = {
  netns: 4_026_531_840,
  mount: null,
  addresses: ['192.0.2.2', '198.51.100.0/24', '2001:db8::2'],
  complete4: true,
  complete6: true,
  interfaces: { eth0: ['br0'], br0: ['br0.5'] },
  conntrack: [
    {
      original: { src: '10.88.0.2', sport: 41_000, dst: '203.0.113.20', dport: 9000 },
      reply: { src: '203.0.113.20', sport: 9000, dst: '192.0.2.2', dport: 41_000 },
    },
  ],
  sockets: [SOCKET, { ...SOCKET, inode: 8, state: 'unconnected', family: 6, local: '[::]:5000', v6only: false }],
};
const BLUE: SavedNamespace = { ...NAMESPACE, netns: 5, addresses: ['10.88.0.2'], conntrack: [], interfaces: {} };
const SNAPSHOT: Snapshot = {
  v: 1,
  host: 'web-3',
  time: '2026-11-23T17:01:14.075Z',
  unreadable: 0,
  unheld: 'the kernel’s own',
  namespaces: [NAMESPACE, { ...BLUE, sockets: [{ ...SOCKET, local: '10.88.0.2:41000', remote: '203.0.113.20:9000' }] }],
};

const QUESTIONS = [
  '192.0.2.2 5000 > 192.0.2.1 53',
  '192.0.2.2 41000 > 203.0.113.20 9000',
  '10.88.0.2 5 > 192.0.2.1 53',
  '2001:db8::2 5000 > 2001:db8::1 53',
  '192.0.2.1 53 > 192.0.2.2 5000',
].map(refused);

/** Everything that is done with a snapshot; gives what was found. */
async function askEverything(host: SavedHost): Promise<Attribution[]> {
  const attribution = new HostAttribution(host);
  await attribution.start();
  attribution.packetsArrived();
  const found: Attribution[] = [];
  for (const quoted of QUESTIONS) {
    attribution.directionOf(quoted.src, quoted.dst);
    for (const direction of ['in', 'out', null] as const) {
      found.push(await attribution.lookup(quoted, direction, '__proto__'));
    }
  }
  for (const name of ['eth0', '__proto__', 'constructor']) host.interfacesAbove(name);
  attribution.close();
  return found;
}

test('the interfaces above one', () => {
  const host = new SavedHost(SNAPSHOT);
  expect([...host.interfacesAbove('eth0')]).toEqual(['eth0', 'br0', 'br0.5']);
  expect([...host.interfacesAbove('lo')]).toEqual(['lo']);
  expect([...host.interfacesAbove('constructor')]).toEqual(['constructor']);
});

test('one that goes round is followed once', () => {
  const interfaces = { eth0: ['br0'], br0: ['eth0'] };
  const host = new SavedHost({ ...SNAPSHOT, namespaces: [{ ...NAMESPACE, interfaces }] });
  expect([...host.interfacesAbove('eth0')]).toEqual(['eth0', 'br0']);
});

describe('what could not be read when it was made is not known now', () => {
  async function ask(changes: Partial<SavedNamespace>, text: string): Promise<Attribution> {
    const host = new SavedHost({ ...SNAPSHOT, namespaces: [{ ...NAMESPACE, ...changes }] });
    return new HostAttribution(host).lookup(refused(text), 'in', 'eth0');
  }

  test.each<[string, Partial<SavedNamespace>, string, Partial<Attribution>]>([
    ['the sockets', { sockets: null }, '192.0.2.2 5000 > 192.0.2.1 53', { outcome: 'unknown', match: null }],
    [
      'the addresses',
      { addresses: [], complete4: false },
      '192.0.2.9 9 > 192.0.2.1 53',
      { outcome: 'unknown', match: null },
    ],
    [
      'NAT',
      { conntrack: null },
      '192.0.2.2 5000 > 192.0.2.1 53',
      { match: 'connected', note: 'NAT is not undone: conntrack cannot be read' },
    ],
    [
      'NAT, and no socket has the tuple on the wire',
      { conntrack: null },
      '192.0.2.2 9 > 192.0.2.1 53',
      { outcome: 'unknown', match: null, note: 'NAT is not undone: conntrack cannot be read' },
    ],
    [
      'NAT, and nobody has the address on the wire',
      { conntrack: null },
      '198.51.100.9 9 > 192.0.2.1 53',
      { outcome: 'unknown', match: null, note: 'NAT is not undone: conntrack cannot be read' },
    ],
  ])('%s', async (_name, changes, text, expected) => {
    expect(await ask(changes, text)).toMatchObject(expected);
  });

  test('the sockets of another namespace', async () => {
    const host = new SavedHost({ ...SNAPSHOT, namespaces: [NAMESPACE, { ...BLUE, sockets: null }] });
    const found = new HostAttribution(host).lookup(refused('192.0.2.2 41000 > 203.0.113.20 9000'), 'in', 'eth0');
    expect(await found).toMatchObject({ outcome: 'unknown', match: null, note: 'the socket table could not be read' });
  });

  test('and a replay need not wait for what does not change', () => {
    const host = new SavedHost({ ...SNAPSHOT, namespaces: [NAMESPACE, { ...BLUE, sockets: null }] });
    const found = new HostAttribution(host).lookup(refused('192.0.2.2 41000 > 203.0.113.20 9000'), 'in', 'eth0');
    expect(found).not.toBeInstanceOf(Promise);
  });

  test('processes in namespaces that could not be read', async () => {
    const attribution = new HostAttribution(new SavedHost({ ...SNAPSHOT, unreadable: 3 }));
    const found = await attribution.lookup(refused('203.0.113.9 1 > 203.0.113.8 2'), 'forward', null);
    expect(found).toMatchObject({
      outcome: 'unknown',
      note: expect.stringContaining('3 processes or mounts are of others') as string,
    });
  });
});

describe('a file that is no snapshot: one line that says so', () => {
  const { namespaces: _namespaces, ...withoutNamespaces } = SNAPSHOT;
  const without = (key: keyof SavedNamespace): unknown => {
    const { [key]: _left, ...namespace } = NAMESPACE;
    return { ...SNAPSHOT, namespaces: [namespace] };
  };
  const withSocket = (changes: object): unknown => ({
    ...SNAPSHOT,
    namespaces: [{ ...NAMESPACE, sockets: [{ ...SOCKET, ...changes }] }],
  });
  const deep = `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`;

  test.each<[string, string | Uint8Array]>([
    ['empty', ''],
    ['text', 'host unreachable\n'],
    ['two snapshots', `${JSON.stringify(SNAPSHOT)}\n${JSON.stringify(SNAPSHOT)}\n`],
    ['cut short', JSON.stringify(SNAPSHOT).slice(0, -2)],
    ['a capture', Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex')],
    ['a byte order mark', `\uFEFF${JSON.stringify(SNAPSHOT)}`],
    ...[null, true, 1, 'v1', [], {}, [SNAPSHOT]].map((value): [string, string] => [
      `other JSON: ${JSON.stringify(value).slice(0, 20)}`,
      JSON.stringify(value),
    ]),
    ['nested a million deep', deep],
    ['nested a million deep in its place', `{"v":1,"namespaces":${deep}}`],
    ['of another version', JSON.stringify({ ...SNAPSHOT, v: 2 })],
    ['of a version that is text', JSON.stringify({ ...SNAPSHOT, v: '1' })],
    ['without namespaces', JSON.stringify(withoutNamespaces)],
    ['with none', JSON.stringify({ ...SNAPSHOT, namespaces: [] })],
    ['with a prototype in place of its fields', JSON.stringify(SNAPSHOT).replace('"v":1', '"__proto__":{"v":1}')],
    ...Object.keys(NAMESPACE).map((key): [string, string] => [
      `a namespace without ${key}`,
      JSON.stringify(without(key as keyof SavedNamespace)),
    ]),
    ...Object.entries({
      address: { local: 'localhost:53' },
      'bracketed address': { local: '2001:db8::1:53' },
      'remote address': { remote: '192.0.2.1' },
      port: { local: '192.0.2.1:x' },
      'long port': { local: '192.0.2.1:123456' },
      state: { state: 'open' },
      family: { family: 5 },
      inode: { inode: -1 },
      'inode that is none': { inode: 1.5 },
      user: { user: 0 },
      processes: { processes: {} },
      process: { processes: [{}] },
      pid: { processes: [{ ...SOCKET.processes[0], pid: 0 }] },
      runtime: { processes: [{ ...SOCKET.processes[0], runtime: '\u001B[2J' }] },
    }).map(([what, changes]): [string, string] => [
      `a socket with a wrong ${what}`,
      JSON.stringify(withSocket(changes)),
    ]),
    ['an interface’s list that is none', JSON.stringify(SNAPSHOT).replace('["br0"]', '"br0"')],
    ['a name that steers a terminal', JSON.stringify(SNAPSHOT).replace('"eth0":["br0"]', '"\\u001b[2J\\n":1')],
  ])('%s', async (_name, text) => {
    const error = await SavedHost.open(file(text)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SnapshotError);
    const { message } = error as SnapshotError;
    expect(message).toContain('host.json: ');
    expect(message.length).toBeLessThan(500);
    // The command escapes what may be in it.
    expect(message).not.toMatch(/\bat .*:\d+:\d+/);
  });

  test.each<[string, string]>([
    ['missing', join(directory, 'missing.json')],
    ['a directory', directory],
  ])('%s', async (_name, path) => {
    await expect(SavedHost.open(path)).rejects.toThrow(SnapshotError);
    await expect(SavedHost.open(path)).rejects.toThrow(/^[^\n]+$/);
  });
});

describe('a file that somebody else wrote', () => {
  /** What is printed of an attribution. */
  function printed(quoted: QuotedTuple, found: Attribution): [string, string] {
    const { version, type, code, src, sport, dst, dport } = quoted;
    const event: IcmpEvent = {
      seconds: 0,
      nanoseconds: 0,
      nanosecondResolution: false,
      host: 'web-3',
      interface: 'eth0',
      icmp: { version, type, code, name: 'port-unreachable', src: dst, dst: src, length: 36 },
      flow: { protocol: 'udp', src, sport, dst, dport },
      count: 1,
      ...found,
    };
    return [Buffer.from(attributionText(event, true), 'latin1').toString(), jsonLine(event)];
  }

  test.each<[string, string]>([
    [
      'more fields, a prototype among them',
      JSON.stringify(SNAPSHOT).replace('{"v":1', '{"__proto__":{"x":1},"x":{},"v":1'),
    ],
    ['an interface named __proto__', JSON.stringify(SNAPSHOT).replace('"eth0":["br0"]', '"__proto__":["constructor"]')],
    [
      'huge numbers',
      JSON.stringify(SNAPSHOT).replaceAll('"inode":7', '"inode":1e300').replaceAll('"uid":0', '"uid":1e300'),
    ],
    ['ports beyond all ports', JSON.stringify(SNAPSHOT).replaceAll(':5000"', ':99999"')],
    [
      'addresses that are none',
      JSON.stringify(SNAPSHOT).replaceAll('192.0.2.2"', '999.0.2.2"').replaceAll('198.51.100.0/24', '::::/99'),
    ],
    ['a connection without a peer', JSON.stringify(SNAPSHOT).replaceAll('"remote":"192.0.2.1:53",', '')],
    [
      'an unknown field nested a million deep',
      JSON.stringify(SNAPSHOT).replace('{"v":1', `{"x":${'['.repeat(1e6)}${']'.repeat(1e6)},"v":1`),
    ],
  ])('%s: is taken as it is', async (_name, text) => {
    const found = await askEverything(await SavedHost.open(file(text)));
    expect(found).toHaveLength(3 * QUESTIONS.length);
  });

  test('NAT that leads from one namespace to the next, and back, is not followed for ever', async () => {
    const flow = (from: string, to: string): SavedNamespace['conntrack'] => [
      {
        original: { src: to, sport: 1, dst: '203.0.113.20', dport: 9 },
        reply: { src: '203.0.113.20', sport: 9, dst: from, dport: 1 },
      },
    ];
    const namespaces = Array.from({ length: 50 }, (_, index): SavedNamespace => {
      const conntrack = flow(`10.0.0.${index}`, `10.0.0.${(index + 1) % 50}`);
      return { ...NAMESPACE, netns: index, addresses: [`10.0.0.${index}`], conntrack, sockets: [] };
    });
    const attribution = new HostAttribution(new SavedHost({ ...SNAPSHOT, namespaces }));
    const found = await attribution.lookup(refused('10.0.0.0 1 > 203.0.113.20 9'), 'in', 'eth0');
    expect(found).toMatchObject({ sockets: [] });
  });

  const hostile = '\u001B[2J\u009B31m\n\u202E';
  /** Whether there is anything in it that a terminal would act on. */
  const acts = (text: string): boolean => /[\p{Cc}\p{Cf}]/u.test(text.trimEnd());

  test('a time that is none does not reach a terminal', async () => {
    const processes = [{ ...SOCKET.processes[0]!, started: hostile }];
    const text = JSON.stringify({ ...SNAPSHOT, namespaces: [{ ...NAMESPACE, sockets: [{ ...SOCKET, processes }] }] });
    const host = await SavedHost.open(file(text)).catch((error: unknown) => {
      expect(error).toBeInstanceOf(SnapshotError);
    });
    if (host === undefined) return;
    const found = await new HostAttribution(host).lookup(QUESTIONS[0]!, 'in', null);
    expect(printed(QUESTIONS[0]!, found).map(acts)).toEqual([false, false]);
  });

  test('hostile names do not reach a terminal', async () => {
    const socket: SavedSocket = {
      ...SOCKET,
      device: hostile,
      user: hostile,
      processes: [
        {
          ...SOCKET.processes[0]!,
          comm: hostile,
          exe: hostile,
          cmdline: hostile,
          container: hostile,
          unit: hostile,
        },
      ],
    };
    const host = new SavedHost({ ...SNAPSHOT, unheld: hostile, namespaces: [{ ...NAMESPACE, sockets: [socket] }] });
    const found = await new HostAttribution(host).lookup(QUESTIONS[0]!, 'in', null);
    expect(printed(QUESTIONS[0]!, found).map(acts)).toEqual([false, false]);
  });

  test('changed in any place it is refused in one line, or answers', async () => {
    /** Every place in it, as the keys that lead there. */
    const places: string[][] = [];
    const collect = (value: unknown, path: string[]): void => {
      places.push(path);
      if (typeof value !== 'object' || value === null) return;
      for (const [key, member] of Object.entries(value)) collect(member, [...path, key]);
    };
    collect(SNAPSHOT, []);
    const change = (path: readonly string[], value: unknown): unknown => {
      if (path.length === 0) return value ?? null; // a file of nothing is another test
      const copy = structuredClone(SNAPSHOT) as unknown as Record<string, unknown>;
      let at = copy;
      for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
      if (value === undefined) delete at[path.at(-1)!];
      else at[path.at(-1)!] = value;
      return copy;
    };
    const replacement = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(undefined, null, -1, 0, 1e300, '', '::', '0.0.0.0:0', '[::]:0', 'connected', {}, []),
      fc.constantFrom<unknown>('255.255.255.255:65535', '10.0.0.1/0', '10.0.0.1/99', '1:2:3:4:5:6:7:8:9', '....'),
      fc.constantFrom<unknown>(SNAPSHOT, NAMESPACE, SOCKET, [NAMESPACE], [SOCKET]),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...places), replacement, async (path, value) => {
        const text = JSON.stringify(change(path, value));
        const host = await SavedHost.open(file(text)).catch((error: unknown) => {
          expect(error).toBeInstanceOf(SnapshotError);
          return null;
        });
        if (host === null) return;
        const found = await askEverything(host);
        for (const [index, attribution] of found.entries()) {
          for (const line of printed(QUESTIONS[Math.floor(index / 3)]!, attribution)) expect(line).not.toBe('');
        }
      }),
      { numRuns: 150 },
    );
  }, 30_000);
});
