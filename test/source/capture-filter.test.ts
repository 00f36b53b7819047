/**
 * The kernel's filter against libpcap itself, as tcpdump uses it.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { findIcmp } from '../../src/decode/packet.ts';
import { captureFilter } from '../../src/source/capture-filter.ts';
import { captures, FIXTURES, needs, run } from '../command.ts';
import { read } from '../savefile/read.ts';

/** How many packets of a fixture pass a filter. */
function passing(name: string, filter: string): number {
  const { stdout, stderr, status } = run('tcpdump', ['-nn', '-t', '-q', '-r', FIXTURES + name, filter]);
  expect([status, stderr.replace(/^(reading from file|Warning).*\n/gm, '')]).toEqual([0, '']);
  return stdout.split('\n').filter((line) => /^\S/.test(line)).length;
}

// tcpdump does not look behind VLAN tags unless told, and reads no file of several link types.
const NAMES = captures().filter((name) => !/vlan|qinq|\.pcapng$/.test(name));

test('it lets through every ICMP error that is decoded, and nothing else', (context) => {
  needs(context, 'tcpdump');
  let errors = 0;
  for (const name of NAMES) {
    const { records } = read(readFileSync(FIXTURES + name));
    const count = (errorsOnly: boolean): number =>
      records.filter(({ data, iface }) => {
        const bytes = Buffer.from(data, 'hex');
        return findIcmp(bytes, 0, bytes.length, iface.linkType, errorsOnly) !== -1;
      }).length;
    expect([name, passing(name, captureFilter(false, ''))]).toEqual([name, count(true)]);
    expect([name, passing(name, captureFilter(true, ''))]).toEqual([name, count(false)]);
    errors += count(true);
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
  const expected = passing(name, `(${same}) and (${captureFilter(false, '')})`);
  expect(passing(name, captureFilter(false, expression))).toBe(expected);
});

test.for(['port 53', 'udp', 'tcp port 80', 'udp and host 192.0.2.10', 'arp'])(
  'libpcap says that it excludes ICMP: %s',
  (expression, context) => {
    needs(context, 'tcpdump');
    for (const allIcmp of [false, true]) {
      const { stderr, status } = run('tcpdump', ['-d', captureFilter(allIcmp, expression)]);
      expect([status, stderr]).toEqual([1, expect.stringContaining('expression rejects all packets')]);
    }
  },
);
