import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { describe, expect, test } from 'vitest';
import { jsonLine, textLine, type PortReport } from '../../src/probe/report.ts';
import type { Finding, IcmpError } from '../../src/probe/verdict.ts';
import schema from '../../src/probe.schema.json' with { type: 'json' };

const ajv = new Ajv2020({
  strict: true,
  strictTypes: false,
  strictRequired: false,
  allowUnionTypes: true,
  allErrors: true,
});
addFormats.default(ajv, ['ipv4', 'ipv6']);
const validate = ajv.compile(schema);

const TARGET = { address: '192.0.2.20', port: 9999 };
const LOCAL = { address: '10.0.0.2', port: 40_000 };
const TARGET6 = { address: '2001:db8:2::20', port: 53 };
const LOCAL6 = { address: '2001:db8:1::2', port: 40_000 };

const REFUSED: IcmpError = {
  version: 4,
  type: 3,
  code: 3,
  src: TARGET.address,
  mtu: null,
  sentFrom: LOCAL,
  sentTo: TARGET,
};
const REFUSED6: IcmpError = {
  ...REFUSED,
  version: 6,
  type: 1,
  code: 4,
  src: TARGET6.address,
  sentFrom: LOCAL6,
  sentTo: TARGET6,
};

const REPORT: Omit<PortReport, 'finding'> = {
  target: TARGET,
  name: null,
  local: LOCAL,
  unixMs: Date.UTC(2026, 10, 25, 20, 54, 11, 958) + 0.0381,
  host: 'web-3',
  isOwn: (address) => address === LOCAL.address || address === LOCAL6.address,
};

function finding(more: Partial<Finding> & Pick<Finding, 'verdict'>): Finding {
  return { sent: 1, afterMs: 0.42, sinceFirst: false, ...more };
}

function refused(more: Partial<IcmpError> = {}, others: Partial<Finding> = {}): Finding {
  return finding({ verdict: 'refused', errno: 'ECONNREFUSED', icmp: { ...REFUSED, ...more }, ...others });
}

function unreachable(errno: string | null, more: Partial<IcmpError>, others: Partial<Finding> = {}): Finding {
  return finding({ verdict: 'unreachable', errno, icmp: { ...REFUSED, ...more }, ...others });
}

const V6 = { target: TARGET6, local: LOCAL6 };
const ALIKE = 'open, filtered, dropped, or its ICMP is rate-limited: from outside these look alike';

const CASES: [text: string, finding: Finding, more?: Partial<PortReport>][] = [
  ['192.0.2.20:9999 answered: 31 octets after 0.4 ms', finding({ verdict: 'answered', octets: 31 })],
  [
    '[2001:db8:2::20]:53 (dns.example) answered: 1 octet after 1.2 s since the first of 3 datagrams',
    finding({ verdict: 'answered', octets: 1, afterMs: 1234, sent: 3, sinceFirst: true }),
    { ...V6, name: 'dns.example' },
  ],
  ['192.0.2.20:9999 refused: ECONNREFUSED, port unreachable (type 3 code 3) from 192.0.2.20 after 0.4 ms', refused()],
  [
    '[2001:db8:2::20]:53 refused: ECONNREFUSED, port unreachable (ICMPv6 type 1 code 4) from 2001:db8:2::20 after 0.4 ms',
    finding({ verdict: 'refused', errno: 'ECONNREFUSED', icmp: REFUSED6 }),
    V6,
  ],
  [
    '192.0.2.20:9999 refused: ECONNREFUSED, port unreachable (type 3 code 3) from 10.0.0.1 after 0.4 ms; ' +
      'not said by the target itself: a firewall or NAT on the way',
    refused({ src: '10.0.0.1' }),
  ],
  [
    '192.0.2.20:9999 refused: ECONNREFUSED, port unreachable (type 3 code 3) from 192.0.2.7 after 0.4 ms; ' +
      'NAT: sent to 192.0.2.7:8053; NAT: sent from 10.0.0.3',
    refused({
      src: '192.0.2.7',
      sentFrom: { ...LOCAL, address: '10.0.0.3' },
      sentTo: { address: '192.0.2.7', port: 8053 },
    }),
  ],
  [
    '192.0.2.20:9999 refused: ECONNREFUSED after 0.4 ms; the ICMP was not captured: who said it is not seen',
    finding({ verdict: 'refused', errno: 'ECONNREFUSED', icmp: null }),
  ],
  [
    '192.0.2.20:9999 refused: ECONNREFUSED, port unreachable (type 3 code 3) from 192.0.2.20 after 0.4 ms; ' +
      'the socket was not told: a firewall rule of this host for ICMP?',
    refused({}, { socketNotTold: true }),
  ],
  [
    '192.0.2.20:9999 unreachable: EHOSTUNREACH, host unreachable (type 3 code 1) from 10.0.0.2 after 3.1 s since the first ' +
      'of 3 datagrams; this host itself: no answer to ARP from it or its gateway; not fatal: a connected socket is not told',
    unreachable('EHOSTUNREACH', { code: 1, src: LOCAL.address }, { sent: 3, afterMs: 3070, sinceFirst: true }),
  ],
  [
    '[2001:db8:2::20]:53 unreachable: EHOSTUNREACH, address unreachable (ICMPv6 type 1 code 3) from 2001:db8:1::2 after ' +
      '0.4 ms; this host itself: no answer to neighbour solicitation from it or its gateway; not fatal: a connected socket is not told',
    finding({
      verdict: 'unreachable',
      errno: 'EHOSTUNREACH',
      icmp: { ...REFUSED6, code: 3, src: LOCAL6.address },
    }),
    V6,
  ],
  ...[
    [9, 'ENETUNREACH', 'network'],
    [10, 'EHOSTUNREACH', 'host'],
    [13, 'EHOSTUNREACH', 'communication'],
  ].map(([code, errno, what]): [string, Finding] => [
    `192.0.2.20:9999 unreachable: ${errno}, ${what} administratively prohibited (type 3 code ${code}) from 10.0.0.1 after ` +
      '0.4 ms; a firewall or a routing policy there forbids it',
    unreachable(errno as string, { code: code as number, src: '10.0.0.1' }),
  ]),
  [
    '192.0.2.20:9999 unreachable: no errno, fragment reassembly time exceeded (type 11 code 1) from 192.0.2.20 after 0.4 ms; ' +
      'not fatal: a connected socket is not told',
    unreachable(null, { type: 11, code: 1 }),
  ],
  [
    `192.0.2.20:9999 silent: no answer to 3 datagrams in 6.0 s; ${ALIKE}`,
    finding({ verdict: 'silent', sent: 3, afterMs: 6004 }),
  ],
  [
    `192.0.2.20:9999 silent: no answer to 1 datagram in 900.0 ms; ${ALIKE}; ` +
      'the ICMP was not captured: host unreachable looks like this too',
    finding({ verdict: 'silent', icmp: null, afterMs: 900 }),
  ],
  [
    '224.0.0.251:5353 silent: no answer to 1 datagram in 4.0 s; members of a multicast group answer from addresses of their ' +
      `own, which a connected socket does not hear; ${ALIKE}`,
    finding({ verdict: 'silent', afterMs: 4000 }),
    { target: { address: '224.0.0.251', port: 5353 } },
  ],
  [
    `192.0.2.20:9999 silent: no answer to 4 datagrams in 6.0 s; ${ALIKE}; too big for the path, whose MTU is 1300: sent again in fragments`,
    finding({ verdict: 'silent', sent: 4, afterMs: 6000, tooBig: { mtu: 1300 } }),
  ],
  [
    '192.0.2.20:9999 local-error: EPERM, the datagram did not leave; a firewall rule of this host',
    finding({ verdict: 'local-error', errno: 'EPERM', sent: 0, afterMs: null }),
  ],
  [
    '192.0.2.20:9999 local-error: ENETUNREACH, the datagram after 2 others did not leave; this host has no route to it',
    finding({ verdict: 'local-error', errno: 'ENETUNREACH', sent: 2 }),
    { local: null },
  ],
  [
    '192.0.2.20:9999 local-error: EPROTO, the datagram did not leave; refused by this host',
    finding({ verdict: 'local-error', errno: 'EPROTO', sent: 0, afterMs: null }),
  ],
];

function text(report: PortReport): string {
  return Buffer.from(textLine(report), 'latin1').toString('utf8');
}

function json(report: PortReport): string {
  return Buffer.from(jsonLine(report), 'latin1').toString('utf8');
}

describe.each(CASES)('%s', (line, seen, more = {}) => {
  const report: PortReport = { ...REPORT, finding: seen, ...more };

  test('as text', () => {
    expect(text(report)).toBe(`${line}\n`);
  });

  test('as JSON: by the schema, and says the same', () => {
    const object = JSON.parse(json(report)) as { verdict: string; note?: string; sent: number };
    if (!validate(object)) expect.fail(ajv.errorsText(validate.errors));
    expect(line).toContain(` ${object.verdict}: `);
    if (object.note !== undefined) expect(line.endsWith(`; ${object.note}`)).toBe(true);
    expect(object.sent).toBe(seen.sent);
  });
});

test('a line of JSON', () => {
  const report: PortReport = {
    ...REPORT,
    finding: refused({ src: '192.0.2.7', sentTo: { address: '192.0.2.7', port: 8053 } }, { afterMs: 0.41234 }),
    name: 'dns.example',
  };
  expect(JSON.parse(json(report))).toEqual({
    v: 1,
    event: 'probe',
    host: 'web-3',
    time: '2026-11-25T20:54:11.958038Z',
    target: { name: 'dns.example', address: '192.0.2.20', port: 9999 },
    local: '10.0.0.2:40000',
    verdict: 'refused',
    errno: 'ECONNREFUSED',
    icmp: { version: 4, type: 3, code: 3, name: 'port-unreachable', src: '192.0.2.7' },
    nat: { address: '192.0.2.7', port: 8053 },
    sent: 1,
    afterMs: 0.412,
    note: 'NAT: sent to 192.0.2.7:8053',
  });
});

test('a link-local target keeps its scope, which is no NAT', () => {
  const target = { address: 'fe80::1%eth0', port: 9 };
  const icmp = { ...REFUSED6, src: 'fe80::1', sentTo: { address: 'fe80::1', port: 9 } };
  const report = { ...REPORT, ...V6, target, finding: finding({ verdict: 'refused', errno: 'ECONNREFUSED', icmp }) };
  expect(text(report)).toBe(
    '[fe80::1%eth0]:9 refused: ECONNREFUSED, port unreachable (ICMPv6 type 1 code 4) from fe80::1 after 0.4 ms\n',
  );
  expect(validate(JSON.parse(json(report)))).toBe(true);
  expect(JSON.parse(json(report))).not.toHaveProperty('nat');
});

test('names are hostile text', () => {
  const report = {
    ...REPORT,
    finding: finding({ verdict: 'answered', octets: 0 }),
    name: '\x1b[2J\x9b\u202e"\n\\',
    host: '\x9b',
  };
  expect(text(report)).toBe('192.0.2.20:9999 (\\x1b[2J\\x9b\\u{202e}"\\x0a\\\\) answered: 0 octets after 0.4 ms\n');
  const line = json(report);
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  expect(line.slice(0, -1)).not.toMatch(/[\x00-\x1f\x7f-\x9f]|\p{Cf}/u);
  expect(JSON.parse(line)).toMatchObject({ host: '\x9b', target: { name: report.name } });
});

describe('the schema refuses', () => {
  const valid = JSON.parse(json({ ...REPORT, finding: refused() })) as Record<string, unknown>;
  test.each<[string, Record<string, unknown>]>([
    ['another version', { v: 2 }],
    ['a verdict that there is not', { verdict: 'succeeded' }],
    ['a refusal without an errno', { errno: undefined }],
    ['a refusal without a word on the ICMP', { icmp: undefined }],
    ['silence with an errno', { verdict: 'silent' }],
    ['an answer without its length', { verdict: 'answered', errno: undefined, icmp: undefined }],
    ['a field of nobody', { extra: 1 }],
    ['a local address that is not bracketed', { local: '2001:db8::1:53' }],
  ])('%s', (_name, change) => {
    expect(validate(valid)).toBe(true);
    expect(validate(JSON.parse(JSON.stringify({ ...valid, ...change })))).toBe(false);
  });
});
