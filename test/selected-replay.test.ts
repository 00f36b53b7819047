/**
 * Which events a replay shows, by the built command: with a snapshot, and with what `-w` saved.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import type { IcmpEvent } from '../src/event.ts';
import type { SavedSocket, Snapshot } from '../src/host/snapshot.ts';
import { canonicalAddress } from '../src/selection.ts';
import { udpicmpWatch } from './command.ts';
import { processOf } from './events.ts';
import { snapshotOf } from './host/saved-snapshot.ts';
import { NOTHING_SELECTED, START } from './packets.ts';
import { icmpv4Packet, icmpv6Packet, ipv4, ipv6, octets, tcp, udp } from './parity/packets.ts';
import { replay } from './replay.ts';
import { pcap } from './savefile/build.ts';
import { aloneAndInPairs, argumentsOf, isSelected, type Chosen } from './selected.ts';

vi.setConfig({ testTimeout: 60_000 });

const HOST = '192.0.2.10';
const PEER = '192.0.2.20';
const ROUTER = '203.0.113.1';
const HOST6 = '2001:db8::10';
const PEER6 = '2001:db8::20';
/** In a container, and what it asks: behind NAT it is HOST's port 61000 and the port 53 of the peer. */
const CONTAINER = '10.0.0.2';
const SERVICE = '10.96.0.10';

const UNKNOWN = { exe: null, cmdline: null, started: null, unit: null };
const process = (pid: number, comm: string) => processOf(pid, { comm, ...UNKNOWN });

function socket(
  inode: number,
  local: string,
  remote: string | null,
  ...processes: SavedSocket['processes']
): SavedSocket {
  const state = remote === null ? 'unconnected' : 'connected';
  const family = local.startsWith('[') ? 6 : 4;
  const options = { device: '', uid: 0, user: 'root', recverr: false, v6only: null };
  return { inode, state, family, local, ...(remote !== null && { remote }), ...options, processes };
}

const [{ conntrack: _, ...OWN }] = snapshotOf('192.0.2.10:40000', '192.0.2.20:9999').namespaces as [
  Snapshot['namespaces'][0],
];
const SNAPSHOT: Snapshot = {
  ...snapshotOf('192.0.2.10:40000', '192.0.2.20:9999'),
  namespaces: [
    {
      ...OWN,
      addresses: [HOST, HOST6],
      conntrack: [
        {
          original: { src: CONTAINER, sport: 5000, dst: SERVICE, dport: 8053 },
          reply: { src: PEER, sport: 53, dst: HOST, dport: 61_000 },
        },
      ],
      sockets: [
        // A server that forked: its children have the socket too.
        socket(
          1,
          `${HOST}:40001`,
          `${PEER}:9999`,
          process(100, 'gateway'),
          process(101, 'worker'),
          process(102, 'worker'),
        ),
        socket(2, '0.0.0.0:5353', null, process(200, 'systemd-resolve')),
        socket(3, `[${HOST6}]:40003`, `[${PEER6}]:9999`, process(300, 'gateway')),
        // The kernel's own.
        socket(4, '0.0.0.0:51820', null),
      ],
    },
    {
      ...OWN,
      netns: 6,
      addresses: [CONTAINER],
      conntrack: [],
      sockets: [socket(5, `${CONTAINER}:5000`, `${SERVICE}:8053`, process(400, 'worker'))],
    },
  ],
};

let identification = 0;

/** An error of `sender` that quotes a datagram of the host. */
function error(sender: string, code: number, sport: number, dport: number, [src, dst] = [HOST, PEER]): Buffer {
  const fields = { src, dst, id: ++identification };
  const quote = ipv4(17, udp(fields, octets(4), { sport, dport }), fields);
  return icmpv4Packet(3, code, 0, quote, { src: sender, dst: src, id: identification });
}

function error6(code: number, sport: number, dport: number): Buffer {
  const quoted = { src: HOST6, dst: PEER6 };
  const quote = ipv6(17, udp(quoted, octets(4), { sport, dport }), quoted);
  return icmpv6Packet(1, code, 0, quote, { src: PEER6, dst: HOST6 });
}

const datagram = (sport: number, dport: number, [src, dst]: readonly [string, string] = [HOST, PEER]): Buffer =>
  ipv4(17, udp({ src, dst }, octets(4), { sport, dport }), { src, dst });

const datagram6 = (sport: number, dport: number, [src, dst]: readonly [string, string]): Buffer =>
  ipv6(17, udp({ src, dst }, octets(4), { sport, dport }), { src, dst });

const answer = (sport: number, dport: number): Buffer => datagram(sport, dport, [PEER, HOST]);

const PACKETS = [
  error(PEER, 3, 40_001, 9999),
  error(ROUTER, 1, 40_001, 9999),
  error(PEER, 3, 5353, 9998),
  error6(4, 40_003, 9999),
  error6(1, 40_003, 9999),
  // NAT; the kernel's own socket; no socket at all; not sent from here.
  error(PEER, 3, 61_000, 53),
  error(PEER, 3, 51_820, 51_820),
  error(PEER, 13, 40_009, 53),
  error(PEER, 3, 40_001, 9999, ['198.51.100.7', PEER]),
  // The first outage ends.
  datagram(40_001, 9999),
  datagram(5353, 9998),
  datagram6(40_003, 9999, [HOST6, PEER6]),
  answer(9999, 40_001),
  answer(9998, 5353),
  datagram6(9999, 40_003, [PEER6, HOST6]),
  error(ROUTER, 0, 5353, 40_001),
  // With --all-icmp: no flow, and one that is no UDP.
  icmpv4Packet(8, 0, 7, octets(8), { src: PEER, dst: HOST }),
  icmpv4Packet(
    3,
    3,
    0,
    ipv4(6, tcp({ src: HOST, dst: PEER }, octets(0), { sport: 40_001, dport: 53 }), { src: HOST, dst: PEER }),
    {
      src: PEER,
      dst: HOST,
    },
  ),
];

/** Then a minute passes, and what is open becomes quiet. */
const LAST_ANSWER = 14;

const directory = mkdtempSync(join(tmpdir(), 'uiw-selected-'));
afterAll(() => rmSync(directory, { recursive: true }));
const path = (name: string): string => join(directory, name);

const CAPTURE = path('capture.pcap');
const SOCKETS = path('sockets.json');
const SAVED = path('saved.pcapng');
writeFileSync(
  CAPTURE,
  pcap(
    PACKETS.map((data, index) => ({ seconds: START + index + (index > LAST_ANSWER ? 60 : 0), nanoseconds: 0, data })),
    { linkType: 101 },
  ),
);
writeFileSync(SOCKETS, JSON.stringify(SNAPSHOT));

const linesOf = (text: string): string[] => text.split('\n').slice(0, -1);

/** The lines of the events among those of `--json`. */
function eventsOf(json: string): string[] {
  return linesOf(json).filter((line) => 'icmp' in (JSON.parse(line) as object));
}

const WHOLE = udpicmpWatch(['--json', '--all-icmp', '-r', CAPTURE, '--sockets', SOCKETS, '-w', SAVED]);
const EVENTS = eventsOf(WHOLE.stdout);

const RESOLVE: Chosen = { option: '--comm', value: 'systemd-resolved', means: 'systemd-resolve' };
const CHOICES: Chosen[] = [
  { option: '--host', value: HOST },
  { option: '--host', value: ROUTER },
  { option: '--host', value: '::FFFF:192.0.2.20', means: PEER },
  { option: '--host', value: '::ffff:cb00:7101', means: ROUTER },
  { option: '--host', value: '2001:0DB8:0:0::0010', means: HOST6 },
  { option: '--host', value: CONTAINER },
  { option: '--host', value: SERVICE },
  { option: '--host', value: '198.51.100.7' },
  { option: '--host', value: '192.0.2.99' },
  ...['9999', '40001', '53', '61000', '8053', '5000', '51820', '1'].map((value): Chosen => ({
    option: '--port',
    value,
  })),
  { option: '--port', value: '005353', means: '5353' },
  ...['100', '102', '200', '300', '400', '999'].map((value): Chosen => ({ option: '--pid', value })),
  ...['gateway', 'worker', 'Worker', 'gate'].map((value): Chosen => ({ option: '--comm', value })),
  RESOLVE,
  { option: '--errno', value: 'econnrefused', means: 'ECONNREFUSED' },
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EACCES', 'EMSGSIZE'].map((value): Chosen => ({ option: '--errno', value })),
];

/** Some hundred of all triples. */
function triples(all: readonly Chosen[]): Chosen[][] {
  const found = all.flatMap((a, i) => all.slice(i + 1).flatMap((b, j) => all.slice(i + j + 2).map((c) => [a, b, c])));
  return found.filter((_triple, index) => index % 23 === 0);
}

test('the capture has every kind of event, and they are attributed as it is meant', () => {
  expect(WHOLE.status).toBe(0);
  const found = EVENTS.map((line) => JSON.parse(line) as IcmpEvent);
  expect(
    found.map(({ match, sockets }) => [match, sockets?.flatMap((one) => one.processes.map(({ pid }) => pid))]),
  ).toEqual([
    ['connected', [100, 101, 102]],
    ['connected', [100, 101, 102]],
    ['wildcard', [200]],
    ['connected', [300]],
    ['connected', [300]],
    ['connected', [400]],
    ['wildcard', []],
    ['none', []],
    ['none', []],
    ['wildcard', [200]],
    [undefined, undefined],
    [undefined, undefined],
  ]);
  expect(found[5]!.nat).toEqual({ src: CONTAINER, sport: 5000, dst: SERVICE, dport: 8053 });
});

test('several values of one option: any of them; several options: all of them', () => {
  const saved = readFileSync(SAVED);
  let [shown, none] = [0, 0];
  for (const chosen of [...aloneAndInPairs(CHOICES), ...triples(CHOICES)]) {
    const valuesOf = (option: Chosen['option']): string[] =>
      chosen.filter((one) => one.option === option).map(({ value, means = value }) => means);
    const selection = {
      ...NOTHING_SELECTED,
      hosts: valuesOf('--host').map((host) => canonicalAddress(host)!),
      ports: valuesOf('--port').map(Number),
      pids: valuesOf('--pid').map(Number),
      comms: valuesOf('--comm'),
      errnos: valuesOf('--errno'),
    };
    const { stdout, saved: again } = replay(saved, { selection, allIcmp: true, print: 'json', save: 'pcapng' });
    const wanted = EVENTS.filter((line) => isSelected(JSON.parse(line) as IcmpEvent, chosen));
    expect([chosen, eventsOf(stdout)]).toEqual([chosen, wanted]);
    // What is saved is what is shown.
    expect(replay(again, { allIcmp: true, print: 'json' }).stdout).toBe(stdout);
    if (wanted.length === 0) none++;
    else shown++;
  }
  expect(Math.min(shown, none)).toBeGreaterThan(100);
});

describe('by the command', () => {
  const combinations: Chosen[][] = [
    // What is not spelled as JSON has it, and one of each option.
    ...CHOICES.filter(({ option, means }, index) => means !== undefined || CHOICES[index - 1]?.option !== option).map(
      (one) => [one],
    ),
    [CHOICES[0]!, { option: '--port', value: '53' }],
    [
      { option: '--pid', value: '102' },
      { option: '--errno', value: 'EHOSTUNREACH' },
    ],
    [
      { option: '--comm', value: 'worker' },
      RESOLVE,
      { option: '--port', value: '8053' },
      { option: '--port', value: '9998' },
    ],
    [
      { option: '--host', value: SERVICE },
      { option: '--pid', value: '400' },
      { option: '--comm', value: 'worker' },
    ],
    [
      { option: '--comm', value: 'gateway' },
      { option: '--pid', value: '400' },
    ],
  ];

  test.each(combinations.map((chosen) => [argumentsOf(chosen).join(' '), chosen] as const))('%s', (_name, chosen) => {
    const wanted = EVENTS.filter((line) => isSelected(JSON.parse(line) as IcmpEvent, chosen));
    const options = ['--all-icmp', ...argumentsOf(chosen)];
    const again = path('again.pcapng');
    const first = udpicmpWatch(['--json', '-r', CAPTURE, '--sockets', SOCKETS, ...options]);
    expect(eventsOf(first.stdout)).toEqual(wanted);
    expect(first.stderr).toMatch(new RegExp(`\nudpicmp-watch: ${wanted.length} events? shown, `));
    expect(udpicmpWatch(['--json', '-r', SAVED, ...options, '-w', again]).stdout).toBe(first.stdout);
    expect(udpicmpWatch(['--json', '--all-icmp', '-r', again]).stdout).toBe(first.stdout);
  });
});

describe('as text', () => {
  test('it is the lines of those events', () => {
    const whole = linesOf(udpicmpWatch(['--oneline', '-r', SAVED]).stdout);
    const some = linesOf(
      udpicmpWatch(['--oneline', '-r', SAVED, '--comm', 'worker', '--errno', 'ECONNREFUSED']).stdout,
    );
    expect(some.length).toBeGreaterThan(1);
    expect(whole.filter((line) => some.includes(line))).toEqual(some);
    const events = some.filter((line) => !line.startsWith('\t'));
    expect(events).toEqual([
      expect.stringMatching(/40001 > 192\.0\.2\.20:9999 .*gateway\[100\] .* or worker\[101\] .* or worker\[102\]/),
      expect.stringMatching(/NAT of 10\.0\.0\.2:5000 > 10\.96\.0\.10:8053.*worker\[400\]/),
    ]);
  });

  test('--incidents has only those, and what became of them', () => {
    const { stdout, stderr } = udpicmpWatch(['-r', SAVED, '--incidents', '--pid', '200', '--pid', '300']);
    const table = linesOf(stderr).filter((line) => / ECONNREFUSED | ENETUNREACH | EACCES /.test(line));
    expect(table.map((line) => /(\S+\[\d+\])/.exec(line)![1]).toSorted()).toEqual([
      'gateway[300]',
      'gateway[300]',
      'systemd-resolve[200]',
      'systemd-resolve[200]',
    ]);
    // The v6 peer was gone in two ways.
    expect(stdout.match(/\S+ answers again/g)?.toSorted()).toEqual([
      '192.0.2.20:9998 answers again',
      `[${PEER6}]:9999 answers again`,
      `[${PEER6}]:9999 answers again`,
    ]);
  });
});

describe('-c counts what is shown', () => {
  test.each<[string, string[]]>([
    ['snapshot', ['-r', CAPTURE, '--sockets', SOCKETS]],
    ['saved', ['-r', SAVED]],
  ])('%s: the first of those that are selected, and the records between them', (_name, source) => {
    const options = ['--json', '--errno', 'ECONNREFUSED', '--errno', 'ENETUNREACH', '--host', HOST];
    const all = udpicmpWatch([...source, ...options]).stdout;
    const wanted = eventsOf(all);
    // Two incidents have ended before the last event, and two have become quiet.
    expect(all.match(/"event":"(recovered|quiet)"/g)).toHaveLength(4);
    for (const count of [1, 2, 4, wanted.length, wanted.length + 1]) {
      const { stdout, stderr, status } = udpicmpWatch([...source, ...options, '-c', String(count)]);
      const shown = Math.min(count, wanted.length);
      expect([count, status, eventsOf(stdout)]).toEqual([count, 0, wanted.slice(0, shown)]);
      expect(all.startsWith(stdout)).toBe(true);
      expect(stderr).toContain(`udpicmp-watch: ${shown} event${shown === 1 ? '' : 's'} shown`);
    }
  });
});

// With --plain nothing is said of what became of it.
test.each([
  [[], ['error', 'quiet']],
  [['--json'], ['error', 'quiet']],
  [['--plain'], ['error']],
])('%j -w: nothing is saved of what is not selected', (layout, saved) => {
  const again = path('some.pcapng');
  udpicmpWatch(['-r', SAVED, ...layout, '--port', '51820', '-w', again]);
  const left = linesOf(udpicmpWatch(['-r', again, '--json']).stdout).map(
    (line) => JSON.parse(line) as Pick<IcmpEvent, 'flow'> & { event?: string },
  );
  expect(left.map(({ event, flow }) => [event ?? 'error', flow?.sport])).toEqual(saved.map((what) => [what, 51_820]));
});

describe('a value that nothing can match: one line, status 2', () => {
  test.each([
    [['--host', '192.0.2.10/24'], /not an IP address/],
    [['--host', '192.0.2.010'], /not an IP address/],
    [['--host', 'fe80::1%eth0'], /no scope/],
    [['--host', ''], /not an IP address/],
    [['--port', '53,54'], /not a port/],
    [['--port', '+53'], /not a port/],
    [['--port', ''], /not a port/],
    [['--pid', '0'], /whole number/],
    [['--pid', '1x'], /whole number/],
    [['--comm', ''], /empty/],
    [['--errno', 'ECONREFUSED'], /'ECONREFUSED' is invalid.* ECONNREFUSED, /],
    [['--errno', '111'], / ECONNREFUSED, /],
    [['--errno', 'ETIMEDOUT'], /No ICMP error comes to that/],
    [['--errno', ''], / ECONNREFUSED, /],
    // The first is right.
    [['--errno', 'EPROTO', '--errno', 'EPROTO,EACCES'], /'EPROTO,EACCES' is invalid/],
  ])('%j', (options, message) => {
    const { stdout, stderr, status } = udpicmpWatch(['-r', SAVED, ...options]);
    expect([stdout, status]).toEqual(['', 2]);
    expect(stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
    expect(stderr).toMatch(message);
  });
});
