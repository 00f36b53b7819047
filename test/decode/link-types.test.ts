/**
 * Every link type and what may stand between its header and IP's, as the installed tcpdump reads them.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { linkTypeName } from '../../src/decode/link-type-names.ts';
import { isSupportedLinkType } from '../../src/decode/link.ts';
import { needs, run, udpicmpWatch } from '../command.ts';
import { pcap, pcapHeader, type TestPacket } from '../savefile/build.ts';

const directory = mkdtempSync(join(tmpdir(), 'link-types-'));
const FILE = join(directory, 'capture.pcap');
afterAll(() => rmSync(directory, { recursive: true }));

/** Port unreachable, of a datagram from 192.0.2.2:40000 to 192.0.2.1:9999, and the same in IPv6. */
const V4 =
  '45000038000100004001f6c0c0000201c0000202' +
  '0303fcfe00000000' +
  '4500001c000100004011f6ccc0000202c0000201' +
  '9c40270f00080000';
const V6 =
  '6000000000383a4020010db800000000000000000000000120010db8000000000000000000000002' +
  '0104000000000000' +
  '600000000008114020010db800000000000000000000000220010db8000000000000000000000001' +
  '9c40270f00080000';
const MACS = '02005e00530102005e005302';
const SLL = '0000000100060200 5e0053010000';
const SLL2 = '000000000007000100 0602005e0053010000';

function pppoe(length: number, ppp: string, start = '1100 0011'): string {
  return start + length.toString(16).padStart(4, '0') + ppp;
}

/** The IPv4 and the IPv6 packet behind each of these, as PPP. */
const PPP: string[] = [
  `ff030021${V4}`,
  `0021${V4}`,
  `21${V4}`,
  `ff0321${V4}`,
  `ff030057${V6}`,
  `57${V6}`,
  `00030021${V4}`,
  `010357${V6}`,
  `ff030800${V4}`,
  `86dd${V6}`,
  // Of another version than announced, another protocol, another address.
  `0057${V4}`,
  `ff03c021010100040000`,
  `0f000800${V4}`,
];
const SESSIONS: string[] = [
  pppoe(58, `0021${V4}`),
  pppoe(57, `21${V4}`),
  pppoe(60, `ff030021${V4}`),
  pppoe(98, `0057${V6}`),
  // More and less than is there, and Ethernet's padding.
  pppoe(63, `0021${V4}`),
  pppoe(53, `0021${V4}`),
  pppoe(58, `0021${V4}000000000000`),
  // No session; another version; discovery, which has tags.
  pppoe(58, `0021${V4}`, '1100 0000'),
  pppoe(58, `0021${V4}`, '2200 0011'),
  pppoe(58, `0021${V4}`, '1109 0011'),
];
/** Behind an EtherType; tcpdump looks through these tags on Ethernet. */
const TYPES: string[] = [
  `0800${V4}`,
  `86dd${V6}`,
  `86dd${V4}`,
  ...SESSIONS.map((session) => `8864${session}`),
  `8863${SESSIONS[0]}`,
  `3c12${SESSIONS[0]}`,
  `3c13${SESSIONS[0]}`,
];
const TAGGED: string[] = [1, 2, 3, 7].flatMap((tags) =>
  ['0800' + V4, '86dd' + V6, '8864' + SESSIONS[0]].map((rest) => '81000064'.repeat(tags) + rest),
);

const FILES: [name: string, linkType: number, packets: string[]][] = [
  ['NULL', 0, [`02000000${V4}`, `00000002${V4}`, `18000000${V6}`, `0000001c${V6}`, `1e000000${V6}`, `02000000${V6}`]],
  ['LOOP', 108, [`00000002${V4}`, `0000001e${V6}`]],
  ['RAW', 101, [V4, V6]],
  ['RAW of old BSDs', 12, [V4, V6]],
  ['IPV4', 228, [V4, V6]],
  ['IPV6', 229, [V4, V6]],
  ['PPP', 9, PPP],
  ['PPP_PPPD', 166, PPP],
  ['PPP_HDLC', 50, [...PPP, `8f0086dd${V6}`, `ff000021${V4}`, `0f000021${V4}`]],
  ['PPP_ETHER', 51, SESSIONS],
  ['C_HDLC', 104, [`0f000800${V4}`, `8f0086dd${V6}`, `0f000021${V4}`]],
  [
    'Ethernet',
    1,
    [
      ...TYPES,
      ...TAGGED,
      `88a80064${TYPES[0]}`,
      `88a8006481000065${TYPES[1]}`,
      `9100006492000065${TYPES[1]}`,
      `8100006488a80065${TYPES[3]}`,
    ].map((rest) => MACS + rest),
  ],
  ['LINUX_SLL', 113, [...TYPES, ...TAGGED].map((rest) => SLL + rest)],
  ['LINUX_SLL2', 276, [...TYPES, ...TAGGED].map((rest) => rest.slice(0, 4) + SLL2 + rest.slice(4))],
];

function fileOf(linkType: number, packets: readonly string[], kept = Infinity): void {
  const records = packets.map((hex, index): TestPacket => {
    const data = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    return {
      seconds: index,
      nanoseconds: 0,
      data: data.subarray(0, Math.max(0, data.length - (kept === Infinity ? 0 : kept))),
      len: data.length,
    };
  });
  writeFileSync(FILE, pcap(records, { linkType }));
}

/** Lines about ICMP, as tcpdump prints them. Interfaces of LINUX_SLL2 it looks up on the machine that reads. */
function tcpdumpLines(): string[] {
  const { stdout } = run('tcpdump', ['-nn', '-r', FILE]);
  return stdout
    .split('\n')
    .filter((line) => /\bICMP/.test(line))
    .map(withoutInterface);
}

function ownLines(): string[] {
  const { stdout, status } = udpicmpWatch(['--plain', '--all-icmp', '--no-summary', '-r', FILE]);
  expect(status).toBe(0);
  return stdout
    .split('\n')
    .filter((line) => /\bICMP/.test(line))
    .map(withoutInterface);
}

function withoutInterface(line: string): string {
  return line.replace(/^(\S+ )\S+ +(In|Out|B|M|P) +/, '$1');
}

test.for(FILES)('%s', ([, linkType, packets], context) => {
  needs(context, 'tcpdump');
  fileOf(linkType, packets);
  const expected = tcpdumpLines();
  expect(expected.length).toBeGreaterThanOrEqual(2);
  expect(ownLines()).toEqual(expected);
  // With the end of each packet missing.
  for (const missing of [1, 9, 20, 28]) {
    fileOf(linkType, packets, missing);
    expect(ownLines()).toEqual(tcpdumpLines());
  }
});

/** tcpdump shows their octets instead: it looks through no tag but 0x8100 where the capture is cooked. */
test.for([
  ['LINUX_SLL', 113, (rest: string) => SLL + rest],
  ['LINUX_SLL2', 276, (rest: string) => rest.slice(0, 4) + SLL2 + rest.slice(4)],
] as const)('what is read and tcpdump does not read: 802.1ad on %s', ([, linkType, header], context) => {
  needs(context, 'tcpdump');
  fileOf(linkType, [`88a8006481000065${TYPES[0]}`, `88a80064${TYPES[0]}`].map(header));
  expect(tcpdumpLines()).toEqual([]);
  expect(ownLines().map((line) => line.replace(/^\S+ (.*)(?= > ).*/, '$1'))).toEqual([
    'ethertype 802.1Q, ethertype IPv4, IP 192.0.2.1',
    'ethertype IPv4, IP 192.0.2.1',
  ]);
});

test('a link type that is not decoded has the name that tcpdump gives it', (context) => {
  needs(context, 'tcpdump');
  let names = 0;
  for (let linkType = 0; linkType < 300; linkType++) {
    const name = / ?(\S+) \(\d+\)$/.exec(linkTypeName(linkType))?.[1];
    if (name === undefined || isSupportedLinkType(linkType)) continue;
    writeFileSync(FILE, pcapHeader({ linkType }));
    expect(run('tcpdump', ['-r', FILE]).stderr).toContain(`link-type ${name} (`);
    names++;
  }
  expect(names).toBeGreaterThan(40);
});

test('it is said when its first packet comes, and counted', () => {
  fileOf(105, [V4, V4, V4]);
  const { stdout, stderr, status } = udpicmpWatch(['-r', FILE]);
  expect([stdout, status]).toEqual(['', 0]);
  expect(stderr.split('\n')).toEqual([
    'udpicmp-watch: link type IEEE802_11 (105) is not decoded: its packets are not read',
    'udpicmp-watch: 0 events shown, 0 attributed to a socket',
    'udpicmp-watch: 3 packets not read: link type IEEE802_11 (105) is not decoded',
    '',
  ]);
  fileOf(147, [V4]);
  expect(udpicmpWatch(['-r', FILE]).stderr).toContain('1 packet not read: link type 147 is not decoded\n');
});
