/**
 * `npm run parity -- [-v] [-t…] [-c N] [--kinds] [--only ORIGIN] [--text TEXT] [--seed S | FILE…]`: what tcpdump and this tool
 * print of the ICMP packets of captures, and the first differences. Without FILE: all of fixtures/ and the generated ones.
 * Exit status 1 if there are differences beyond those that are deliberate.
 */
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compare, groupBy, readPackets, type ComparedPacket, type Comparison, type Difference } from './compare.ts';
import { differenceText } from './difference-text.ts';
import { damaged, generated } from './generate.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    verbose: { type: 'boolean', short: 'v', default: false },
    t: { type: 'boolean', short: 't', multiple: true, default: [] },
    count: { type: 'string', short: 'c', default: '10' },
    /** Only packets whose origin matches this regular expression. */
    only: { type: 'string', default: '' },
    /** Only differences with a text that matches this one. */
    text: { type: 'string', default: '' },
    /** Every kind of difference once: texts that differ in their numbers alone are of one kind. */
    kinds: { type: 'boolean', default: false },
    /** In place of captures: damaged packets, others for another number. */
    seed: { type: 'string' },
  },
});

/** At a time. */
const DAMAGED = 40_000;

function allPackets(): ComparedPacket[] {
  if (values.seed !== undefined) return damaged(Number(values.seed), DAMAGED);
  const fixtures = readdirSync('fixtures').filter((name) => /\.pcap(ng)?$/.test(name));
  return [...fixtures.flatMap((name) => readPackets(`fixtures/${name}`)), ...generated()];
}

// Whoever reads it may have seen enough.
process.stdout.on('error', () => process.exit());

// npm has changed to the project.
const directory = process.env['INIT_CWD'] ?? process.cwd();
const packets =
  positionals.length === 0 ? allPackets() : positionals.flatMap((path) => readPackets(resolve(directory, path)));
const only = new RegExp(values.only);
const stamp = values.t.length === 0 ? null : `-${'t'.repeat(values.t.length)}`;
const comparison = compare(
  packets.filter(({ origin }) => only.test(origin)),
  values.verbose ? ['-v'] : [],
  stamp,
);
process.stdout.write(report(comparison, Number(values.count), values.kinds));
process.exitCode = comparison.differences.length === 0 ? 0 : 1;

function report({ compared, differences, deliberate }: Comparison, count: number, kinds: boolean): string {
  const wanted = new RegExp(values.text);
  const matching = differences.filter(({ theirs, ours }) => wanted.test(`${theirs}\n${ours}`));
  const shown = kinds ? firstOfEachKind(matching) : matching;
  const text = shown.slice(0, count).map(differenceText);
  if (kinds) text.push(`${shown.length} kinds of difference\n`);
  for (const [{ what }, times] of deliberate) text.push(`${times} differ in what is deliberate: ${what}\n`);
  text.push(`${compared} ICMP packets of ${packets.length} packets compared, ${differences.length} differ\n`);
  return text.join('');
}

function firstOfEachKind(differences: readonly Difference[]): Difference[] {
  const kind = (text: string | null): string =>
    (text ?? '(nothing)')
      .replace(/^\S+ +(?:In|Out|B|M|P|\?) +(?=IP)/, '')
      .replaceAll(/[\da-f]+(?:[.:][\da-f:.]+)?/g, '#')
      .replaceAll(/(?: *#+)+/g, '#');
  return groupBy(differences, ({ theirs, ours }) => `${kind(theirs)}\n${kind(ours)}`).map(([first]) => first!);
}
