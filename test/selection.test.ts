import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { IcmpEvent, SocketIdentity } from '../src/event.ts';
import { formatIpv6 } from '../src/decode/octets.ts';
import { canonicalAddress, keptName, selects, type Selection } from '../src/selection.ts';

const PROCESS = { fd: 3, exe: null, cmdline: null, started: null, container: null, runtime: null, unit: null };
const SOCKET: SocketIdentity = {
  inode: 1,
  state: 'connected',
  family: 4,
  local: '192.0.2.10:40000',
  remote: '198.51.100.20:9999',
  uid: 0,
  user: null,
  netns: null,
  recverr: null,
  processes: [],
};
const EVENT: IcmpEvent = {
  seconds: 0,
  nanoseconds: 0,
  nanosecondResolution: false,
  host: 'web-3',
  interface: null,
  direction: null,
  icmp: { version: 4, type: 3, code: 1, name: 'host-unreachable', src: '203.0.113.1', dst: '192.0.2.11', length: 36 },
  flow: { protocol: 'udp', src: '192.0.2.10', sport: 40_000, dst: '198.51.100.20', dport: 9999 },
  errno: 'EHOSTUNREACH',
  sockets: [
    { ...SOCKET, processes: [{ ...PROCESS, pid: 1, comm: 'gateway' }] },
    {
      ...SOCKET,
      processes: [
        { ...PROCESS, pid: 2, comm: 'worker' },
        { ...PROCESS, pid: 3, comm: null },
      ],
    },
  ],
};
const { flow: _flow, errno: _errno, sockets: _sockets, ...BARE } = EVENT;

function select(selection: Partial<Selection>, event: IcmpEvent): boolean {
  return selects({ hosts: [], ports: [], pids: [], comms: [], errnos: [], ...selection }, event);
}

test.each<[string, Partial<Selection>, boolean]>([
  ['nothing: everything', {}, true],
  ['the quoted source', { hosts: ['192.0.2.10'] }, true],
  ['the quoted destination', { hosts: ['198.51.100.20'] }, true],
  ['who sent the error', { hosts: ['203.0.113.1'] }, true],
  ['whom the error went to', { hosts: ['192.0.2.11'] }, true],
  ['another host', { hosts: ['192.0.2.1'] }, false],
  ['one of several', { hosts: ['192.0.2.1', '203.0.113.1'] }, true],
  ['the quoted source port', { ports: [40_000] }, true],
  ['the quoted destination port', { ports: [53, 9999] }, true],
  ['another port', { ports: [53] }, false],
  ['a pid of any socket', { pids: [2] }, true],
  ['another pid', { pids: [4] }, false],
  ['a name', { comms: ['worker'] }, true],
  ['a part of a name', { comms: ['work'] }, false],
  ['an errno', { errnos: ['EHOSTUNREACH'] }, true],
  ['another errno', { errnos: ['ECONNREFUSED', 'EPROTO'] }, false],
  [
    'all of them',
    { hosts: ['192.0.2.10'], ports: [9999], pids: [1], comms: ['gateway'], errnos: ['EHOSTUNREACH'] },
    true,
  ],
  [
    'all but one of them',
    { hosts: ['192.0.2.10'], ports: [9999], pids: [1], comms: ['gateway'], errnos: ['EPROTO'] },
    false,
  ],
])('%s', (_name, selection, expected) => {
  expect(select(selection, EVENT)).toBe(expected);
});

test('the tuple that the socket has behind NAT is its tuple too', () => {
  const event = { ...EVENT, nat: { src: '10.0.0.2', sport: 5000, dst: '10.0.0.80', dport: 80 } };
  for (const hosts of [['10.0.0.2'], ['10.0.0.80'], ['192.0.2.10']]) expect(select({ hosts }, event)).toBe(true);
  for (const ports of [[5000], [80], [40_000]]) expect(select({ ports }, event)).toBe(true);
  expect(select({ hosts: ['10.0.0.3'] }, event)).toBe(false);
  expect(select({ ports: [81] }, event)).toBe(false);
  expect(select({ hosts: ['10.0.0.2'], ports: [9999] }, event)).toBe(true);
});

test('a v4-mapped address in a packet is found by what --host makes of it', () => {
  const flow = { ...EVENT.flow!, src: '::ffff:192.0.2.77' };
  expect(select({ hosts: [canonicalAddress('::ffff:192.0.2.77')!] }, { ...EVENT, flow })).toBe(true);
  expect(select({ hosts: [canonicalAddress('::ffff:192.0.2.78')!] }, { ...EVENT, flow })).toBe(false);
});

test.each<[string, Partial<Selection>]>([
  ['port', { ports: [0] }],
  ['pid', { pids: [1] }],
  ['name', { comms: [''] }],
  ['errno', { errnos: ['EHOSTUNREACH'] }],
])('an event without a %s is not selected by one', (_name, selection) => {
  expect(select(selection, BARE)).toBe(false);
  const unknown = { ...EVENT, flow: { ...EVENT.flow!, sport: null, dport: null }, errno: null, sockets: [] };
  expect(select(selection, unknown)).toBe(false);
});

describe('--host takes any spelling of an address', () => {
  test.each([
    ['192.0.2.10', '192.0.2.10'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::', '::'],
    ['0::2', '::2'],
    // The sockets and the datagrams that it is about are v4.
    ['::ffff:c000:20a', '192.0.2.10'],
  ])('%s', (text, expected) => {
    expect(canonicalAddress(text)).toBe(expected);
  });

  test.each(['::2', '::1:0', 'fe80::1', '1:0:0:2::', '1:2:3:4:5:6:7:8'])('%s: as the decoder writes it', (text) => {
    const groups = text.split('::').map((part) => part.split(':').filter(Boolean));
    const missing = 8 - groups.flat().length;
    const all = text.includes('::')
      ? [...groups[0]!, ...Array<string>(missing).fill('0'), ...groups[1]!]
      : groups.flat();
    const bytes = Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
    expect(canonicalAddress(text)).toBe(formatIpv6(bytes, 0));
  });

  test('of any octets: as the decoder writes it, or the v4 address that is in it', () => {
    const group = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffff));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const bytes = Buffer.alloc(16);
        groups.forEach((value, index) => bytes.writeUInt16BE(value, 2 * index));
        const spelled = groups.map((value) => value.toString(16).toUpperCase()).join(':');
        expect(canonicalAddress(spelled)).toBe(formatIpv6(bytes, 0).replace(/^::ffff:(?=.*\.)/, ''));
      }),
    );
  });

  test.each(['', 'localhost', '192.0.2', '192.0.2.256', '192.0.2.10/24', '192.0.2.010', '2001:db8:::1', '1:2', '::g'])(
    'not an address: %j',
    (text) => {
      expect(canonicalAddress(text)).toBeNull();
    },
  );
});

describe('--comm takes a name that is longer than the kernel keeps', () => {
  test.each([
    ['gateway', 'gateway'],
    ['systemd-resolved', 'systemd-resolve'],
    ['fifteen-letters', 'fifteen-letters'],
    // Cut within a character, what is left of it is not UTF-8.
    ['größe→größe', 'größe→grö\ufffd'],
    ['\x1b[31mred', '\x1b[31mred'],
  ])('%j', (name, kept) => {
    expect(keptName(name)).toBe(kept);
  });
});
