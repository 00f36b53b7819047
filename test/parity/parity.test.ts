/**
 * tcpdump's lines, byte for byte, of all fixtures and of the packets that are generated; the tcpdump that is installed is the
 * judge.
 */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LINKTYPE } from '../../src/decode/link.ts';
import { needs } from '../command.ts';
import { compare, readPackets, type Comparison } from './compare.ts';
import { differenceText } from './difference-text.ts';
import { generated } from './generate.ts';

/** Whether -v is compared too, and IPv6 packets that are generated. */
const EVERYTHING: boolean = true;

const VERBOSITIES: readonly (readonly string[])[] = EVERYTHING ? [[], ['-v']] : [[]];

const FIXTURES = readdirSync('fixtures')
  .filter((name) => /\.pcap(ng)?$/.test(name))
  .flatMap((name) => readPackets(`fixtures/${name}`));

const GENERATED = generated(EVERYTHING ? [4, 6] : [4]);

/** So that every form of time stamp need not print all: a stamp depends neither on the link type nor on what is printed. */
const SAMPLE = [...FIXTURES, ...GENERATED.filter((_, index) => index % 50 === 0)].filter(
  ({ linkType }) => linkType === LINKTYPE.ETHERNET,
);

function expectNone({ differences }: Comparison): void {
  expect(differences.slice(0, 5).map(differenceText).join('')).toBe('');
  expect(differences.length).toBe(0);
}

for (const verbosity of VERBOSITIES) {
  const options = ['-nn', ...verbosity].join(' ');

  test(`${options}: fixtures`, (context) => {
    needs(context, 'tcpdump');
    const comparison = compare(FIXTURES, verbosity);
    expectNone(comparison);
    expect(comparison.compared).toBeGreaterThan(200);
  });

  test(`${options}: what is generated`, { timeout: 60_000 }, (context) => {
    needs(context, 'tcpdump');
    const comparison = compare(GENERATED, verbosity);
    expectNone(comparison);
    expect(comparison.compared).toBeGreaterThan(30_000);
  });

  test.for(['-t', '-tt', '-ttt', '-tttt', '-ttttt'])(`${options} %s`, { timeout: 20_000 }, (stamp, context) => {
    needs(context, 'tcpdump');
    const comparison = compare(SAMPLE, verbosity, stamp);
    expectNone(comparison);
    expect(comparison.compared).toBeGreaterThan(500);
  });
}
