import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { IcmpEvent, ProcessIdentity, SocketIdentity } from '../../src/event.ts';
import { jsonLine } from '../../src/sink/json-lines.ts';
import { captures, FIXTURES } from '../command.ts';
import { replay } from '../replay.ts';
import { expectValid } from './schema.ts';

/** The octets that are written, as text; exactly one line. */
function lineOf(event: IcmpEvent): string {
  const text = Buffer.from(jsonLine(event), 'latin1').toString('utf8');
  expect(text.endsWith('\n')).toBe(true);
  expect(text.slice(0, -1)).not.toMatch(/[\r\n]/);
  return text.slice(0, -1);
}

test.each([
  ['--json', false],
  ['--json --all-icmp', true],
])('%s: every line of every fixture is valid by the schema', (_name, allIcmp) => {
  let lines = 0;
  for (const name of captures()) {
    const { stdout } = replay(readFileSync(FIXTURES + name), { print: 'json', allIcmp });
    for (const line of stdout.split('\n').slice(0, -1)) {
      expectValid(line);
      lines++;
    }
  }
  expect(lines).toBeGreaterThan(200);
});

const PROCESS: ProcessIdentity = {
  pid: 1_285_966,
  fd: 7,
  comm: 'gateway',
  exe: '/opt/gateway',
  cmdline: '/opt/gateway -c /etc/gw.toml',
  started: '2026-11-20T08:12:09Z',
  container: null,
  runtime: null,
  unit: 'gateway.service',
};
const SOCKET: SocketIdentity = {
  inode: 34_876,
  state: 'connected',
  family: 4,
  local: '172.16.0.62:62651',
  remote: '172.16.0.46:29999',
  uid: 0,
  user: 'root',
  netns: 4_026_531_840,
  recverr: false,
  processes: [PROCESS],
};
const EVENT: IcmpEvent = {
  seconds: Date.parse('2026-11-23T17:01:14Z') / 1000,
  nanoseconds: 75_617_000,
  nanosecondResolution: false,
  host: 'web-3',
  interface: 'eth0',
  direction: 'in',
  icmp: { version: 4, type: 3, code: 3, name: 'port-unreachable', src: '172.16.0.46', dst: '172.16.0.62', length: 37 },
  flow: { protocol: 'udp', src: '172.16.0.62', sport: 62_651, dst: '172.16.0.46', dport: 29_999, ipId: 27_828 },
  errno: 'ECONNREFUSED',
  outcome: 'reported',
  match: 'connected',
  sockets: [SOCKET],
  count: 4,
};

test('extensions stand beside the flow; the names of interfaces are hostile text', () => {
  const line = lineOf({
    ...EVENT,
    extensions: [
      { kind: 'mpls', labels: [{ label: 16_001, tc: 7, bottom: true, ttl: 255 }] },
      {
        kind: 'interface',
        role: 'next-hop',
        ifIndex: 7,
        address: '2001:db8::9',
        name: 'ge\x1b[31m\u202e\ufeff"\u2028',
        mtu: 1500,
      },
      { kind: 'other', class: 3, ctype: 2, length: 4 },
    ],
  });
  expectValid(line);
  expect(line).toContain(
    ',"ipId":27828},"extensions":[{"kind":"mpls","labels":[{"label":16001,"tc":7,"bottom":true,"ttl":255}]},' +
      '{"kind":"interface","role":"next-hop","ifIndex":7,"address":"2001:db8::9","name":"ge\\u001b[31m\\u202e\\ufeff\\"\\u2028",' +
      '"mtu":1500},{"kind":"other","class":3,"ctype":2,"length":4}],"errno":',
  );
});

test('the event that the documentation shows, key by key', () => {
  expect(lineOf(EVENT)).toBe(
    '{"v":1,"host":"web-3","time":"2026-11-23T17:01:14.075617Z","interface":"eth0","direction":"in",' +
      '"icmp":{"version":4,"type":3,"code":3,"name":"port-unreachable","src":"172.16.0.46","dst":"172.16.0.62","length":37},' +
      '"flow":{"protocol":"udp","src":"172.16.0.62","sport":62651,"dst":"172.16.0.46","dport":29999,"ipId":27828},' +
      '"errno":"ECONNREFUSED","outcome":"reported","match":"connected",' +
      '"sockets":[{"inode":34876,"state":"connected","family":4,' +
      '"local":"172.16.0.62:62651","remote":"172.16.0.46:29999","uid":0,"user":"root","netns":4026531840,"recverr":false,' +
      '"processes":[{"pid":1285966,"fd":7,"comm":"gateway","exe":"/opt/gateway","cmdline":"/opt/gateway -c /etc/gw.toml",' +
      '"started":"2026-11-20T08:12:09Z","container":null,"runtime":null,"unit":"gateway.service"}]}],' +
      '"count":4}',
  );
  expectValid(lineOf(EVENT));
});

const UNKNOWN_PROCESS: ProcessIdentity = {
  ...PROCESS,
  comm: null,
  exe: null,
  cmdline: null,
  started: null,
  unit: null,
};
const { remote: _, ...UNCONNECTED } = {
  ...SOCKET,
  state: 'unconnected' as const,
  family: 6 as const,
  local: '[::]:9',
  netns: null,
  recverr: null,
  processes: [UNKNOWN_PROCESS, PROCESS],
};
const BARE: IcmpEvent = {
  seconds: 0,
  nanoseconds: 0,
  nanosecondResolution: true,
  host: 'web-3',
  interface: null,
  direction: null,
  icmp: { ...EVENT.icmp, version: 6, src: 'fe80::1', dst: '::ffff:1.2.3.4' },
};

test.each<[string, IcmpEvent, Record<string, unknown>]>([
  [
    'nothing but ICMP',
    BARE,
    { v: 1, host: 'web-3', time: '1970-01-01T00:00:00.000000000Z', interface: null, direction: null, icmp: BARE.icmp },
  ],
  [
    'a flow without ports',
    { ...BARE, flow: { protocol: '253', src: '::', dst: '::1' } },
    { flow: { protocol: '253', src: '::', dst: '::1' } },
  ],
  [
    'ports that were not quoted, no errno, no socket, a note',
    {
      ...EVENT,
      flow: { ...EVENT.flow!, sport: null, dport: null },
      errno: null,
      outcome: 'unknown',
      match: null,
      sockets: [],
      note: 'cut',
    },
    { flow: { ...EVENT.flow, sport: null, dport: null }, errno: null, match: null, sockets: [], note: 'cut' },
  ],
  [
    'several sockets and processes, much unknown',
    { ...EVENT, sockets: [SOCKET, UNCONNECTED] },
    { sockets: [SOCKET, UNCONNECTED] },
  ],
  [
    'seen on several interfaces',
    { ...EVENT, interfaces: ['eth0', 'br0'] },
    { interface: 'eth0', interfaces: ['eth0', 'br0'] },
  ],
  [
    'behind NAT, closed, in a container, bound to a device, of a user without a name',
    {
      ...EVENT,
      outcome: 'no-socket',
      match: 'closed',
      closedMsAgo: 0,
      nat: { src: '2001:db8::2', sport: 0, dst: '2001:db8::80', dport: 65_535 },
      sockets: [
        {
          ...SOCKET,
          device: 'eth0',
          user: null,
          recverr: true,
          processes: [{ ...PROCESS, container: '0123456789ab', runtime: 'cri-o' }],
        },
      ],
    },
    {
      outcome: 'no-socket',
      match: 'closed',
      closedMsAgo: 0,
      nat: { src: '2001:db8::2', sport: 0, dst: '2001:db8::80', dport: 65_535 },
      sockets: [
        { device: 'eth0', user: null, recverr: true, processes: [{ container: '0123456789ab', runtime: 'cri-o' }] },
      ],
    },
  ],
  ['queued', { ...EVENT, outcome: 'queued', match: 'wildcard' }, { outcome: 'queued', match: 'wildcard' }],
  ['a time that RFC 3339 cannot write', { ...EVENT, seconds: 1e12 }, { time: null }],
])('valid, and as it came: %s', (_name, event, expected) => {
  const line = lineOf(event);
  expectValid(line);
  expect(JSON.parse(line)).toMatchObject(expected);
  expect(line).toBe(JSON.stringify(JSON.parse(line)));
});

const HOSTILE: [string, string][] = [
  ['control characters', '\x00\x07\b\t\n\r\x1b[2J\x1b]0;owned\x07'],
  ['DEL and C1 controls', '\x7f\x85\x9b31m'],
  ['quotes and backslashes', '"\\" \\u0041 ",\\"pid\\":1,"\''],
  ['lone surrogates', 'a\ud800b\udc00c\udbff'],
  ['line and paragraph separators', 'a\u2028b\u2029c'],
  ['bidirectional marks', 'a\u202eb\u2066c\u200f'],
  ['beyond Latin-1 and beyond the BMP', 'größe → 日本 😀👩\u200d👩'],
  ['one MiB', '\u0001"é😀'.repeat(131_072)],
];

/** The event with `text` wherever text of others may stand, and as the host's name. */
function hostileEvent(text: string): IcmpEvent {
  const process = { ...PROCESS, comm: text, exe: text, cmdline: text, container: text, unit: text };
  return {
    ...EVENT,
    host: text,
    interface: text,
    interfaces: [text, text],
    note: text,
    sockets: [{ ...SOCKET, device: text, user: text, processes: [process] }],
  };
}

test.each(HOSTILE)('hostile text comes back as it was: %s', (_name, text) => {
  const event = hostileEvent(text);
  const line = lineOf(event);
  expectValid(line);
  const { seconds: _s, nanoseconds: _n, nanosecondResolution: _r, ...fields } = event;
  expect(JSON.parse(line)).toEqual({ v: 1, time: '2026-11-23T17:01:14.075617Z', ...fields });
  // Names are kept for the next event.
  expect(lineOf(event)).toBe(line);
});

test.each(HOSTILE)('a terminal sees nothing but text: %s', (_name, text) => {
  const line = lineOf(hostileEvent(text));
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  expect(/[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]|\p{Cf}|\p{Cs}/u.exec(line)?.[0]).toBeUndefined();
});

test('more names than are kept: each is still its own', () => {
  for (let n = 0; n < 600; n++) {
    const name = `veth${n % 300}`;
    expect(JSON.parse(lineOf({ ...BARE, interface: name, host: null }))).toMatchObject({ interface: name, host: null });
  }
});
