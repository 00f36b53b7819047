/**
 * The first line against the tcpdump that is installed.
 */
import { expect, test } from 'vitest';
import { captures, FIXTURES, needs, run, udpicmpWatch } from '../command.ts';

/** Lines of ICMP, and the hex dumps below them. */
function icmpLines(text: string): string[] {
  return text.split('\n').filter((line) => /: .*ICMP6?[ ,]|\[\|icmp6?\]|^\t0x/.test(line));
}

/**
 * The one deliberate difference: in a replay of LINUX_SLL2 tcpdump prints what the *reading* machine calls
 * the interface index.
 */
function withoutInterfaceName(line: string): string {
  return line.replace(/\S+ +(In|Out|B|M|P) +(?=IP6? )/, '$1 ');
}

function lines(text: string): string[] {
  return text.trimEnd().split('\n');
}

test.for(captures())('%s: as tcpdump -nn prints it', (name, context) => {
  needs(context, 'tcpdump');
  const theirs = run('tcpdump', ['-nn', '-r', FIXTURES + name]);
  // tcpdump reads no file with several link types; this reader does.
  if (theirs.stderr.includes('different from the type of the first interface')) return;
  const ours = udpicmpWatch(['--plain', '--all-icmp', '-r', FIXTURES + name]);
  expect(lines(ours.stdout).map(withoutInterfaceName)).toEqual(icmpLines(theirs.stdout).map(withoutInterfaceName));
});

test.for(['-t', '-tt', '-ttt', '-tttt', '-ttttt'])('%s: as tcpdump prints it', (stamp, context) => {
  needs(context, 'tcpdump');
  const file = `${FIXTURES}injected-codes.pcap`;
  const theirs = run('tcpdump', ['-nn', stamp, '-r', file, 'icmp']);
  const ours = udpicmpWatch(['--plain', '--all-icmp', stamp, '-r', file]);
  expect(lines(ours.stdout).length).toBeGreaterThan(10);
  expect(ours.stdout).toBe(theirs.stdout);
});
