import { describe, expect, test } from 'vitest';
import type { IcmpEvent, ProcessIdentity, SocketIdentity } from '../../src/event.ts';
import { textSink, type TextLayout } from '../../src/sink/text.ts';

const PROCESS: ProcessIdentity = {
  pid: 4711,
  fd: 7,
  comm: 'gateway',
  exe: '/opt/gateway',
  cmdline: '/opt/gateway -c gw.toml',
  started: '2026-11-20T08:12:09Z',
  container: null,
  runtime: null,
  unit: 'gateway.service',
};
const SOCKET: SocketIdentity = {
  inode: 34_876,
  state: 'connected',
  family: 4,
  local: '192.0.2.10:40000',
  remote: '192.0.2.20:9999',
  uid: 33,
  user: 'www-data',
  netns: null,
  recverr: null,
  processes: [PROCESS],
};
const EVENT: IcmpEvent = {
  seconds: 0,
  nanoseconds: 0,
  nanosecondResolution: false,
  host: 'web-3',
  interface: 'eth0',
  direction: 'in',
  icmp: { version: 4, type: 3, code: 3, name: 'port-unreachable', src: '192.0.2.20', dst: '192.0.2.10', length: 37 },
  flow: { protocol: 'udp', src: '192.0.2.10', sport: 40_000, dst: '192.0.2.20', dport: 9999, ipId: 1 },
  errno: 'ECONNREFUSED',
  outcome: 'reported',
  match: 'connected',
  sockets: [SOCKET],
};
const TUPLE = '192.0.2.10:40000 > 192.0.2.20:9999';

function printed(event: IcmpEvent, layout: TextLayout = 'two-line', verbose = false): string {
  const octets = textSink({ layout, timeStamp: 1, verbose }).format(event, 'IP');
  expect(octets).not.toMatch(/[\u0100-\uffff]/);
  return Buffer.from(octets, 'latin1').toString('utf8');
}

/** The second line. */
function second(changes: Partial<IcmpEvent>, verbose = false): string {
  const [first, line, ...rest] = printed({ ...EVENT, ...changes }, 'two-line', verbose).split('\n');
  expect([first, ...rest]).toEqual(['IP', '']);
  expect(line?.[0]).toBe('\t');
  return line!.slice(1);
}

const UNCONNECTED: SocketIdentity = { ...SOCKET, state: 'unconnected' };
const ORPHAN: SocketIdentity = { ...SOCKET, processes: [] };
const NAT = { src: '10.0.0.2', sport: 5000, dst: '10.0.0.80', dport: 80 };

test.each<[string, Partial<IcmpEvent>, string]>([
  ['reported', {}, 'ECONNREFUSED → gateway[4711] fd 7, connected: its next call fails'],
  [
    'queued',
    { outcome: 'queued', match: 'bound' },
    'ECONNREFUSED → gateway[4711] fd 7, bound: it is in its error queue',
  ],
  [
    'pmtu',
    { errno: 'EMSGSIZE', outcome: 'pmtu', match: 'wildcard' },
    'EMSGSIZE → gateway[4711] fd 7, wildcard: only the path MTU changes',
  ],
  [
    'ignored, not connected, IP_RECVERR unknown',
    { outcome: 'ignored', match: 'wildcard', sockets: [UNCONNECTED] },
    'ECONNREFUSED → gateway[4711] fd 7, wildcard: not connected, it hears of it only with IP_RECVERR',
  ],
  [
    'ignored, not connected, without IP_RECVERR',
    { outcome: 'ignored', match: 'bound', sockets: [{ ...UNCONNECTED, recverr: false }] },
    'ECONNREFUSED → gateway[4711] fd 7, bound: not connected, it does not hear of it',
  ],
  [
    'ignored, not fatal',
    { errno: 'EHOSTUNREACH', outcome: 'ignored' },
    'EHOSTUNREACH → gateway[4711] fd 7, connected: not fatal, it hears of it only with IP_RECVERR',
  ],
  [
    'ignored, no errno',
    { errno: null, outcome: 'ignored' },
    'no errno → gateway[4711] fd 7, connected: the kernel tells no socket',
  ],
  [
    'ignored, since too little is quoted',
    { outcome: 'ignored', dropped: true, note: 'too short' },
    'ECONNREFUSED → gateway[4711] fd 7, connected: the kernel tells no socket (too short)',
  ],
  [
    'no socket, with a note',
    { outcome: 'no-socket', match: 'none', sockets: [], note: 'closed 12 ms ago' },
    'ECONNREFUSED → no socket here has it now (closed 12 ms ago)',
  ],
  [
    'no socket, but one that is remembered',
    { outcome: 'no-socket', match: 'closed', closedMsAgo: 12 },
    'ECONNREFUSED → closed: gateway[4711] fd 7 had it, last seen 12 ms ago',
  ],
  [
    'closed long ago, by nobody knows whom',
    { outcome: 'no-socket', match: 'closed', closedMsAgo: 4_250, sockets: [ORPHAN] },
    'ECONNREFUSED → closed: a socket of uid 33 without a known process had it, last seen 4.3 s ago',
  ],
  [
    'closed, with a note',
    { outcome: 'no-socket', match: 'closed', closedMsAgo: 0, note: 'so it is' },
    'ECONNREFUSED → closed: gateway[4711] fd 7 had it, last seen 0 ms ago (so it is)',
  ],
  ['not local', { outcome: 'not-local', match: 'none', sockets: [] }, 'ECONNREFUSED → not sent from here'],
  [
    'sent by this host, and nobody listens',
    { direction: 'out', outcome: 'not-local', match: 'none', sockets: [] },
    'ECONNREFUSED → sent by this host: nothing here listens there now',
  ],
  [
    'sent by this host, and somebody listens by now',
    { direction: 'out', outcome: 'not-local', match: 'wildcard' },
    'ECONNREFUSED → sent by this host: gateway[4711] fd 7 listens there now',
  ],
  [
    'sent by this host, and the port was held before',
    { direction: 'out', outcome: 'not-local', match: 'closed', closedMsAgo: 999 },
    'ECONNREFUSED → sent by this host: gateway[4711] fd 7 had the port, last seen 999 ms ago',
  ],
  [
    'sent by this host, with a note',
    { direction: 'out', outcome: 'not-local', match: 'none', sockets: [], note: 'so it is' },
    'ECONNREFUSED → sent by this host: nothing here listens there now (so it is)',
  ],
  [
    'forwarded',
    { direction: 'forward', outcome: 'not-local', match: 'none', sockets: [] },
    'ECONNREFUSED → not sent from here',
  ],
  ['unknown', { outcome: 'unknown', match: null, note: 'a replay' }, 'ECONNREFUSED → unknown: a replay'],
  [
    'a socket that no process holds',
    { sockets: [ORPHAN] },
    'ECONNREFUSED → a socket of uid 33 without a known process, connected: its next call fails',
  ],
  [
    'a process in a container',
    { sockets: [{ ...SOCKET, processes: [{ ...PROCESS, container: 'c0ffee' }] }] },
    'ECONNREFUSED → gateway[4711] fd 7 in container c0ffee, connected: its next call fails',
  ],
  [
    'a process in a container of a runtime that is known',
    { sockets: [{ ...SOCKET, processes: [{ ...PROCESS, container: 'c0ffee', runtime: 'podman' }] }] },
    'ECONNREFUSED → gateway[4711] fd 7 in podman c0ffee, connected: its next call fails',
  ],
  [
    'a process without a name',
    { sockets: [{ ...SOCKET, processes: [{ ...PROCESS, comm: null }] }] },
    'ECONNREFUSED → ?[4711] fd 7, connected: its next call fails',
  ],
])('%s', (_name, changes, expected) => {
  expect(second(changes)).toBe(`${TUPLE}  ${expected}`);
});

test('behind NAT: the tuple that the socket has, then the one on the wire', () => {
  const wire = 'NAT of 10.0.0.2:5000 > 10.0.0.80:80';
  expect(second({ nat: NAT })).toBe(
    `${TUPLE} (${wire})  ECONNREFUSED → gateway[4711] fd 7, connected: its next call fails`,
  );
  const nat = { src: '2001:db8::2', sport: 1, dst: '2001:db8::80', dport: 0 };
  expect(second({ nat })).toContain(`${TUPLE} (NAT of [2001:db8::2]:1 > [2001:db8::80]:0)  ECONNREFUSED`);
});

test('seen on one interface says nothing, on several all of them', () => {
  expect(second({ interfaces: ['eth0'] })).toMatch(/next call fails$/);
  expect(second({ interfaces: ['eth0', 'br0'] })).toMatch(/next call fails \(seen on eth0, br0\)$/);
});

test('several owners are named up to four, the others counted', () => {
  const owner = (pid: number): ProcessIdentity => ({ ...PROCESS, pid });
  const sockets = [
    { ...SOCKET, processes: [owner(1), owner(2)] },
    { ...SOCKET, processes: [owner(3), owner(4), owner(5)] },
    ORPHAN,
  ];
  const four = 'gateway[1] fd 7 or gateway[2] fd 7 or gateway[3] fd 7 or gateway[4] fd 7';
  expect(second({ sockets })).toContain(`→ ${four} or 2 more, connected`);
  sockets.splice(1, 2, { ...SOCKET, processes: [owner(3), owner(4)] });
  expect(second({ sockets })).toContain(`→ ${four}, connected`);
});

test.each<[string, IcmpEvent['flow'], string]>([
  ['IPv6', { protocol: 'udp', src: '2001:db8::1', sport: 1, dst: '::1', dport: 2 }, '[2001:db8::1]:1 > [::1]:2'],
  ['ports not quoted', { ...EVENT.flow!, sport: null, dport: null }, '192.0.2.10:? > 192.0.2.20:?'],
  ['a port 0', { ...EVENT.flow!, sport: 0 }, '192.0.2.10:0 > 192.0.2.20:9999'],
])('the tuple: %s', (_name, flow, expected) => {
  expect(second({ flow: flow! })).toMatch(`${expected}  ECONNREFUSED`);
});

describe('-v tells what is known of the process, and no more', () => {
  test.each<[string, Partial<SocketIdentity>, Partial<ProcessIdentity>, string, string]>([
    ['most', {}, {}, '', 'user www-data, gateway.service, since 2026-11-20T08:12:09Z, /opt/gateway -c gw.toml'],
    [
      'everything',
      { device: 'eth0', netns: 4_026_532_000 },
      { container: 'c0ffee', runtime: 'docker' },
      ' in docker c0ffee',
      'user www-data, device eth0, netns 4026532000, gateway.service, since 2026-11-20T08:12:09Z, /opt/gateway -c gw.toml',
    ],
    ['nothing', { user: null }, { cmdline: null, started: null, unit: null }, '', 'uid 33'],
  ])('%s', (_name, socket, process, place, details) => {
    const sockets = [{ ...SOCKET, ...socket, processes: [{ ...PROCESS, ...process }] }];
    expect(second({ sockets }, true)).toBe(
      `${TUPLE}  ECONNREFUSED → gateway[4711] fd 7${place} {${details}}, connected: its next call fails`,
    );
  });
});

describe('the layouts', () => {
  const attribution = `${TUPLE}  ECONNREFUSED → gateway[4711] fd 7, connected: its next call fails`;
  const { outcome: _outcome, ...unattributed } = EVENT;
  test.each<[TextLayout, string, string]>([
    ['two-line', `IP\n\t${attribution}\n`, 'IP\n'],
    ['oneline', `IP  ${attribution}\n`, 'IP\n'],
    ['plain', 'IP\n', 'IP\n'],
  ])('%s', (layout, withOutcome, without) => {
    expect(printed(EVENT, layout)).toBe(withOutcome);
    expect(printed(unattributed, layout)).toBe(without);
  });
});

test.each([
  ['escape sequences', '\x1b[2J\x9b31m\x07', '\\x1b[2J\\x9b31m\\x07'],
  ['a second line', 'x\n\t192.0.2.1:1 > 192.0.2.2:2  EPERM', 'x\\x0a\\x09192.0.2.1:1 > 192.0.2.2:2  EPERM'],
  ['bidirectional marks', 'a\u202eb\u2066c', 'a\\u{202e}b\\u{2066}c'],
  ['forged escapes', '\\x1b', '\\\\x1b'],
  ['lone surrogates', '\ud800', '\\u{d800}'],
  ['names in any script', 'größe-日本-😀', 'größe-日本-😀'],
])('hostile names: %s', (_name, hostile, escaped) => {
  const process = { ...PROCESS, comm: hostile, cmdline: hostile, unit: hostile, container: hostile, exe: hostile };
  const sockets = [{ ...SOCKET, user: hostile, device: hostile, processes: [process] }];
  const line = second({ sockets, note: hostile, interfaces: ['eth0', hostile] }, true);
  expect(line).toBe(
    `${TUPLE}  ECONNREFUSED → ${escaped}[4711] fd 7 in container ${escaped} ` +
      `{user ${escaped}, device ${escaped}, ${escaped}, since 2026-11-20T08:12:09Z, ${escaped}}, connected: its next call fails (${escaped}) (seen on eth0, ${escaped})`,
  );
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f]|\p{Cf}|\p{Cs}/u);
  expect(second({ outcome: 'unknown', note: hostile })).toBe(`${TUPLE}  ECONNREFUSED → unknown: ${escaped}`);
});
