import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConntrackTable, parseConntrackLine } from '../../src/host/conntrack.ts';
import { formatIpv6 } from '../../src/decode/octets.ts';
import { reversed, type UdpTuple } from '../../src/host/udp-tuple.ts';

/**
 * A router between 10.88.0.2 (2001:db8:88::2) and 203.0.113.20 (2001:db8:1::20) that does MASQUERADE as 203.0.113.1
 * (2001:db8:1::1), and DNAT of 198.51.100.10 port 53 (2001:db8:5::10) to 203.0.113.20 port 5353; port 7777 has zone 5.
 * What Linux 6.18 had of it in /proc/net/nf_conntrack.
 */
const PROC = `\
ipv4     2 udp      17 24 src=10.88.0.2 dst=198.51.100.10 sport=41002 dport=53 src=203.0.113.20 dst=203.0.113.1 sport=5353 dport=41002 mark=0 zone=0 use=2
ipv4     2 udp      17 25 src=10.88.0.2 dst=203.0.113.20 sport=41003 dport=7777 [UNREPLIED] src=203.0.113.20 dst=203.0.113.1 sport=7777 dport=41003 mark=0 zone=5 use=2
ipv4     2 tcp      6 59 CLOSE_WAIT src=10.88.0.2 dst=203.0.113.20 sport=37410 dport=8080 src=203.0.113.20 dst=203.0.113.1 sport=8080 dport=37410 [ASSURED] mark=0 zone=0 use=2
ipv6     10 udp      17 29 src=2001:0db8:0088:0000:0000:0000:0000:0002 dst=2001:0db8:0005:0000:0000:0000:0000:0010 sport=41006 dport=53 [UNREPLIED] src=2001:0db8:0001:0000:0000:0000:0000:0020 dst=2001:0db8:0001:0000:0000:0000:0000:0001 sport=5353 dport=41006 mark=0 zone=0 use=2
ipv6     10 udp      17 26 src=2001:0db8:0088:0000:0000:0000:0000:0002 dst=2001:0db8:0001:0000:0000:0000:0000:0020 sport=41004 dport=9000 [UNREPLIED] src=2001:0db8:0001:0000:0000:0000:0000:0020 dst=2001:0db8:0001:0000:0000:0000:0000:0001 sport=9000 dport=41004 mark=0 zone=0 use=2
ipv4     2 udp      17 113 src=10.88.0.2 dst=203.0.113.20 sport=41000 dport=9000 src=203.0.113.20 dst=203.0.113.1 sport=9000 dport=41000 [ASSURED] mark=0 zone=0 use=2
`;
/** The same, with nf_conntrack_acct, as conntrack -L -p udp of conntrack-tools 1.4.7 has it. */
const CONNTRACK = `\
udp      17 26 src=2001:db8:88::2 dst=2001:db8:1::20 sport=41004 dport=9000 packets=2 bytes=100 [UNREPLIED] src=2001:db8:1::20 dst=2001:db8:1::1 sport=9000 dport=41004 packets=0 bytes=0 mark=0 use=1
udp      17 25 src=10.88.0.2 dst=203.0.113.20 sport=41003 dport=7777 packets=1 bytes=30 [UNREPLIED] src=203.0.113.20 dst=203.0.113.1 sport=7777 dport=41003 packets=0 bytes=0 mark=0 zone=5 use=1
tcp      6 59 CLOSE_WAIT src=10.88.0.2 dst=203.0.113.20 sport=43600 dport=8080 packets=3 bytes=164 src=203.0.113.20 dst=203.0.113.1 sport=8080 dport=43600 packets=2 bytes=112 [ASSURED] mark=0 use=1
udp      17 113 src=10.88.0.2 dst=203.0.113.20 sport=41000 dport=9000 packets=12 bytes=360 src=203.0.113.20 dst=203.0.113.1 sport=9000 dport=41000 packets=12 bytes=360 [ASSURED] mark=0 use=1
udp      17 24 src=10.88.0.2 dst=198.51.100.10 sport=41002 dport=53 packets=2 bytes=60 src=203.0.113.20 dst=203.0.113.1 sport=5353 dport=41002 packets=2 bytes=60 mark=0 use=1
udp      17 29 src=2001:db8:88::2 dst=2001:db8:5::10 sport=41006 dport=53 packets=2 bytes=100 [UNREPLIED] src=2001:db8:1::20 dst=2001:db8:1::1 sport=5353 dport=41006 packets=0 bytes=0 mark=0 use=1
`;

function tableOf(text: string): ConntrackTable {
  return new ConntrackTable(Buffer.from(text, 'latin1'));
}

/** `10.0.0.1 5000 > 192.0.2.1 53`: the socket at the left. */
function tuple(text: string): UdpTuple {
  const [local, localPort, , remote, remotePort] = text.split(' ');
  return {
    version: local!.includes(':') ? 6 : 4,
    local: local!,
    localPort: Number(localPort),
    remote: remote!,
    remotePort: Number(remotePort),
  };
}

describe.each([
  ['/proc/net/nf_conntrack', PROC],
  ['conntrack -L', CONNTRACK],
])('%s', (_name, text) => {
  test.each<[string, string, string | null]>([
    // What the client sent, quoted in an error that the router gets, after NAT.
    ['MASQUERADE', '203.0.113.1 41000 > 203.0.113.20 9000', '10.88.0.2 41000 > 203.0.113.20 9000'],
    ['MASQUERADE and DNAT', '203.0.113.1 41002 > 203.0.113.20 5353', '10.88.0.2 41002 > 198.51.100.10 53'],
    ['MASQUERADE in a zone', '203.0.113.1 41003 > 203.0.113.20 7777', '10.88.0.2 41003 > 203.0.113.20 7777'],
    ['MASQUERADE, v6', '2001:db8:1::1 41004 > 2001:db8:1::20 9000', '2001:db8:88::2 41004 > 2001:db8:1::20 9000'],
    [
      'MASQUERADE and DNAT, v6',
      '2001:db8:1::1 41006 > 2001:db8:1::20 5353',
      '2001:db8:88::2 41006 > 2001:db8:5::10 53',
    ],
    // The same before NAT: it is as the client's socket has it.
    ['before MASQUERADE', '10.88.0.2 41000 > 203.0.113.20 9000', null],
    ['before DNAT', '10.88.0.2 41002 > 198.51.100.10 53', null],
    // What the server answered, quoted in an error of the client, when NAT was undone in the answer.
    ['the answer to the client', '203.0.113.20 9000 > 10.88.0.2 41000', '203.0.113.20 9000 > 203.0.113.1 41000'],
    ['the answer of the service', '198.51.100.10 53 > 10.88.0.2 41002', '203.0.113.20 5353 > 203.0.113.1 41002'],
    [
      'the answer of the service, v6',
      '2001:db8:5::10 53 > 2001:db8:88::2 41006',
      '2001:db8:1::20 5353 > 2001:db8:1::1 41006',
    ],
    // The answer before: it is as the server's socket has it.
    ['the answer before', '203.0.113.20 5353 > 203.0.113.1 41002', null],
    // TCP, another port, another address, a port that begins the same.
    ['TCP', '203.0.113.1 37410 > 203.0.113.20 8080', null],
    ['another port', '203.0.113.1 41009 > 203.0.113.20 9000', null],
    ['another address', '203.0.113.11 41000 > 203.0.113.20 9000', null],
    ['the beginning of a port', '203.0.113.1 4100 > 203.0.113.20 9000', null],
    ['the beginning of an address', '203.0.113.1 41000 > 203.0.113.2 9000', null],
  ])('%s', (_case, wire, socket) => {
    expect(tableOf(text).undoNat(tuple(wire))).toEqual(socket === null ? [] : [tuple(socket)]);
  });

  test('all entries: of UDP alone, IPv6 as the decoder writes it', () => {
    const entries = [...tableOf(text).entries()];
    expect(entries).toHaveLength(5);
    expect(entries).toContainEqual({
      original: { src: '2001:db8:88::2', sport: 41_006, dst: '2001:db8:5::10', dport: 53 },
      reply: { src: '2001:db8:1::20', sport: 5353, dst: '2001:db8:1::1', dport: 41_006 },
    });
    expect(entries).toContainEqual({
      original: { src: '10.88.0.2', sport: 41_003, dst: '203.0.113.20', dport: 7777 },
      reply: { src: '203.0.113.20', sport: 7777, dst: '203.0.113.1', dport: 41_003 },
    });
  });
});

const LINE = PROC.split('\n')[0]!;

test('a flow that NAT leaves as it is comes out as it is', () => {
  const line =
    'ipv4 2 udp 17 29 src=10.0.0.1 dst=10.0.0.2 sport=5 dport=6 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=6 dport=5 mark=0 use=2';
  for (const wire of ['10.0.0.1 5 > 10.0.0.2 6', '10.0.0.2 6 > 10.0.0.1 5']) {
    expect(tableOf(line).undoNat(tuple(wire))).toEqual([tuple(wire)]);
  }
});

test('flows of several zones that look alike: every tuple, each once', () => {
  const other = LINE.replace('src=10.88.0.2', 'src=10.99.0.2').replace('zone=0', 'zone=7');
  const wire = tuple('203.0.113.1 41002 > 203.0.113.20 5353');
  expect(tableOf(`${LINE}\n${other}\n${LINE}`).undoNat(wire)).toEqual([
    tuple('10.88.0.2 41002 > 198.51.100.10 53'),
    tuple('10.99.0.2 41002 > 198.51.100.10 53'),
  ]);
});

test.each<[string, string]>([
  ['nothing', ''],
  ['half a line', LINE.slice(0, LINE.indexOf('src=203'))],
  ['a line cut before the last port', LINE.slice(0, LINE.lastIndexOf('41002'))],
  ['a port that is none', LINE.replace('dport=53', 'dport=x')],
  ['TCP', LINE.replace('udp      17', 'tcp      6')],
  ['UDP-Lite', LINE.replace('udp      17', 'udplite  136')],
  [
    'ICMP',
    'ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=1 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=1',
  ],
  ['another protocol that names UDP', `unknown  253 ${LINE}`],
])('no flow: %s', (_name, line) => {
  expect(parseConntrackLine(line)).toBeNull();
  expect([...tableOf(line).entries()]).toEqual([]);
  expect(tableOf(line).undoNat(tuple('203.0.113.1 41002 > 203.0.113.20 5353'))).toEqual([]);
});

test('no flow: a line cut in the last port', () => {
  expect(parseConntrackLine(LINE.slice(0, LINE.lastIndexOf('41002') + 2))).toBeNull();
});

test('what is malformed does not hide what follows it', () => {
  const text = `${LINE.slice(0, 60)}\n\n\0\xff\n${LINE}`;
  expect([...tableOf(text).entries()]).toHaveLength(1);
  expect(tableOf(text).undoNat(tuple('203.0.113.1 41002 > 203.0.113.20 5353'))).toHaveLength(1);
});

describe('of any kind', () => {
  const port = fc.nat(65_535);
  const v4 = fc.ipV4();
  const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((octets) => formatIpv6(octets, 0));
  const address = fc.oneof(fc.constant(4 as const), fc.constant(6 as const)).chain((version) => {
    const of = version === 4 ? v4 : v6;
    return fc.tuple(fc.constant(version), of, of, of, of);
  });

  /** As /proc writes it: eight groups of four digits. */
  function inFull(text: string): string {
    if (!text.includes(':')) return text;
    const url = new URL(`http://[${text}]`).hostname.slice(1, -1).split('::');
    const [head, tail] = url.map((part) => part.split(':').filter(Boolean));
    const zeros = tail === undefined ? [] : Array<string>(8 - head!.length - tail.length).fill('0');
    return [...head!, ...zeros, ...(tail ?? [])].map((group) => group.padStart(4, '0')).join(':');
  }

  test('text never makes it throw', () => {
    const fields = fc.constantFrom(...LINE.split(/(?<=[ =])/), '\n', 'ipv6 10 ', '65536 ', '::1 ', '-1 ');
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fields, { maxLength: 60 }).map((parts) => parts.join('')),
      fc
        .tuple(fc.nat(PROC.length), fc.string({ maxLength: 4, unit: 'binary' }))
        .map(([at, octets]) => PROC.slice(0, at) + octets + PROC.slice(at + octets.length)),
    );
    const tuples = fc.constantFrom(
      tuple('203.0.113.1 41002 > 203.0.113.20 5353'),
      tuple('2001:db8:1::1 41006 > 2001:db8:1::20 5353'),
      tuple(':: 0 > :: 0'),
    );
    fc.assert(
      fc.property(texts, tuples, (text, asked) => {
        const table = tableOf(text);
        const entries = [...table.entries()];
        for (const found of table.undoNat(asked)) {
          expect(entries.some(({ original, reply }) => [original.src, reply.src].includes(found.local))).toBe(true);
        }
      }),
    );
  });

  test('flow comes back by either of its tuples on the wire, in either spelling', () => {
    fc.assert(
      fc.property(
        address,
        port,
        port,
        port,
        port,
        fc.boolean(),
        ([version, client, service, server, router], clientPort, servicePort, serverPort, routerPort, isProc) => {
          const written = isProc ? inFull : (text: string) => text;
          const line =
            `${isProc ? `ipv${version} ${version === 4 ? 2 : 10} ` : ''}udp 17 29 ` +
            `src=${written(client)} dst=${written(service)} sport=${clientPort} dport=${servicePort} [UNREPLIED] ` +
            `src=${written(server)} dst=${written(router)} sport=${serverPort} dport=${routerPort} mark=0 use=2\n`;
          const table = tableOf(PROC + line + PROC);
          const sender = tuple(`${client} ${clientPort} > ${service} ${servicePort}`);
          const receiver = tuple(`${server} ${serverPort} > ${router} ${routerPort}`);
          expect(table.undoNat(reversed(receiver))).toContainEqual(sender);
          expect(table.undoNat(reversed(sender))).toContainEqual(receiver);
        },
      ),
    );
  });
});
