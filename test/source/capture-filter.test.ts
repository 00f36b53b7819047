/**
 * The kernel's filter against libpcap itself, as tcpdump uses it.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LINKTYPE } from '../../src/decode/link.ts';
import { findIcmp } from '../../src/decode/packet.ts';
import { captureFilters } from '../../src/source/capture-filter.ts';
import { captures, FIXTURES, needs, run } from '../command.ts';
import { pcap, pcapHeader } from '../savefile/build.ts';
import { read } from '../savefile/read.ts';

/** How many packets of a fixture pass a filter. */
function passing(name: string, filter: string): number {
  const { stdout, stderr, status } = run('tcpdump', ['-nn', '-t', '-q', '-r', FIXTURES + name, filter]);
  expect([status, stderr.replace(/^(reading from file|Warning).*\n/gm, '')]).toEqual([0, '']);
  return stdout.split('\n').filter((line) => /^\S/.test(line)).length;
}

// tcpdump reads no file of several link types.
const NAMES = captures().filter((name) => !name.endsWith('.pcapng'));

/** The first that is tried on a device of this link type, and the last. */
function filtersFor(linkType: number, allIcmp: boolean, expression: string): { best: string; plain: string } {
  const filters = captureFilters(linkType === LINKTYPE.LINUX_SLL2 ? 'any' : 'eth0', allIcmp, expression);
  return { best: filters[0]!, plain: filters.at(-1)! };
}

test('it lets through every ICMP error that is decoded, and nothing else', (context) => {
  needs(context, 'tcpdump');
  let errors = 0;
  for (const name of NAMES) {
    const { records } = read(readFileSync(FIXTURES + name));
    const linkType = records[0]!.iface.linkType;
    const count = (errorsOnly: boolean): number =>
      records.filter(({ data }) => {
        const bytes = Buffer.from(data, 'hex');
        return findIcmp(bytes, 0, bytes.length, linkType, errorsOnly) !== -1;
      }).length;
    for (const allIcmp of [false, true]) {
      const { best, plain } = filtersFor(linkType, allIcmp, '');
      const decoded = count(!allIcmp);
      expect([name, passing(name, best)]).toEqual([name, decoded]);
      if (!/vlan|qinq/.test(name)) expect([name, passing(name, plain)]).toEqual([name, decoded]);
      if (!allIcmp) errors += decoded;
    }
  }
  expect(errors).toBeGreaterThan(200);
});

test.for([
  ['host 192.0.2.10', 'host 192.0.2.10'],
  ['host 203.0.113.77', 'host 203.0.113.77'],
  ['host 203.0.113.77 or host 192.0.2.10', 'net 192.0.2.10/32'],
  ['not host 192.0.2.10', 'not host 192.0.2.10'],
  ['not host 203.0.113.77 and net 192.0.2.0/24 or src 203.0.113.77', 'net 192.0.2.0/24'],
  ['udp or icmp', 'icmp'],
] as const)("the user's expression is joined to it whole: %s", ([expression, same], context) => {
  needs(context, 'tcpdump');
  const name = 'mixed.pcap';
  const expected = passing(name, `(${same}) and ${filtersFor(LINKTYPE.ETHERNET, false, '').plain}`);
  const { best, plain } = filtersFor(LINKTYPE.ETHERNET, false, expression);
  expect([passing(name, best), passing(name, plain)]).toEqual([expected, expected]);
});

const MACS = '02005e00530102005e005302';
const SLL2 = '0000000000070001000602005e0053010000';
const ADDRESSES = `20010db8${'00'.repeat(11)}01 20010db8${'00'.repeat(11)}02`;

/** Behind an EtherType: an IPv4 or IPv6 header, and the first octets of what follows. */
function ipv4(protocol: number, payload: string): string {
  return `0800 4500 003c 0001 0000 40 ${octet(protocol)} 0000 c0000201 c0000202 ${payload}`;
}
function ipv6(next: number, payload: string): string {
  return `86dd 6000 0000 0040 ${octet(next)} 40 ${ADDRESSES} ${payload}`;
}
function octet(value: number): string {
  return value.toString(16).padStart(2, '0');
}
/** Long enough for whatever is read of it. */
const BODY = '00'.repeat(64);
/** Eight octets of options, then that header; and a fragment header. */
const options = (next: number): string => `${octet(next)}00 0104 0000 0000`;
const fragment = (next: number, offset = 0): string =>
  `${octet(next)}00 ${(offset | 1).toString(16).padStart(4, '0')} 0000 0001`;

/** Each with what passes: an error's filter, that of all ICMP. */
const PACKETS: [name: string, packet: string, errors: boolean, all: boolean][] = [
  ['ICMP', ipv4(1, `0303${BODY}`), true, true],
  ['ICMP echo', ipv4(1, `0800${BODY}`), false, true],
  ['UDP', ipv4(17, `9c40270f${BODY}`), false, false],
  ['TCP', ipv4(6, `9c40270f${BODY}`), false, false],
  ['ICMPv6', ipv6(58, `0104${BODY}`), true, true],
  ['ICMPv6 echo', ipv6(58, `8000${BODY}`), false, true],
  ['UDP over IPv6', ipv6(17, `9c40270f${BODY}`), false, false],
  ...[0, 43, 51, 60].flatMap((header): [string, string, boolean, boolean][] => [
    [`ICMPv6 behind ${header}`, ipv6(header, `${options(58)}0104${BODY}`), true, true],
    [`UDP behind ${header}`, ipv6(header, `${options(17)}9c40${BODY}`), false, false],
    [`ICMPv6 behind ${header} and a second one`, ipv6(header, `${options(60)}${options(58)}0104${BODY}`), true, true],
  ]),
  ['ICMPv6 behind 24 octets of options', ipv6(0, `3a02 ${'00'.repeat(22)} 0104 ${BODY}`), true, true],
  ['ICMPv6, first fragment', ipv6(44, `${fragment(58)}0104${BODY}`), true, true],
  ['ICMPv6, later fragment', ipv6(44, `${fragment(58, 8)}0104${BODY}`), false, true],
  ['UDP, first fragment', ipv6(44, `${fragment(17)}9c40${BODY}`), false, false],
];
/** Where only the header itself is looked for behind extension headers, and types are not. */
const UNTAGGED_ALONE: typeof PACKETS = [
  ['a listener report behind options', ipv6(0, `${options(58)}8f00${BODY}`), false, true],
  ['an echo behind 24 octets of options', ipv6(0, `3a02 ${'00'.repeat(22)} 8000 ${BODY}`), false, true],
];

test.for([
  ['Ethernet', LINKTYPE.ETHERNET, (tags: string, rest: string) => MACS + tags + rest],
  [
    'LINUX_SLL2',
    LINKTYPE.LINUX_SLL2,
    (tags: string, rest: string) => {
      const [type, payload] = [(tags + rest).slice(0, 4), (tags + rest).slice(4)];
      return type + SLL2 + payload;
    },
  ],
] as const)('behind tags and extension headers: %s', ([, linkType, packetOf], context) => {
  needs(context, 'tcpdump');
  for (const tags of ['', '81000064', '88a80064 81000065', '91000064', '88a80064']) {
    for (const [name, packet, errors, all] of [...PACKETS, ...(tags === '' ? UNTAGGED_ALONE : [])]) {
      const data = Buffer.from(
        packetOf(tags.replaceAll(' ', ''), packet.replaceAll(' ', '')).replaceAll(' ', ''),
        'hex',
      );
      const file = pcap([{ seconds: 1, nanoseconds: 0, data }], { linkType });
      for (const allIcmp of [false, true]) {
        // Of a later fragment it does not know, and so it has them all.
        const isLetThrough = /later/.test(name) && tags !== '' ? true : allIcmp ? all : errors;
        const { best } = filtersFor(linkType, allIcmp, '');
        const { stdout } = run('tcpdump', ['-nn', '-t', '-r', '-', best], file);
        expect([tags, name, allIcmp, stdout !== '']).toEqual([tags, name, allIcmp, isLetThrough]);
      }
    }
  }
});

test.for([
  'port 53',
  'udp',
  'tcp port 80',
  'udp and host 192.0.2.10',
  'arp',
  'udp port 53 or tcp port 53',
  'src port 53 and dst host 192.0.2.10',
  'portrange 1-1023',
])('libpcap says that it excludes ICMP: %s', (expression, context) => {
  needs(context, 'tcpdump');
  // Those that devices of Linux have.
  for (const linkType of [LINKTYPE.ETHERNET, LINKTYPE.LINUX_SLL, LINKTYPE.LINUX_SLL2, LINKTYPE.RAW]) {
    for (const allIcmp of [false, true]) {
      const { best, plain } = filtersFor(linkType, allIcmp, expression);
      for (const filter of [best, plain]) {
        const { stderr, status } = run('tcpdump', ['-d', '-r', '-', filter], pcapHeader({ linkType }));
        expect([status, stderr]).toEqual([1, expect.stringContaining('expression rejects all packets')]);
      }
    }
  }
});
