/**
 * Replay of captures, and starting up.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, test } from 'vitest';
import { CLI } from '../command.ts';
import { Lab } from '../lab/network.ts';
import { isInstalled } from './installed.ts';
import { errorsCapture, mixedCapture } from './generate.ts';
import { inTurn, measure, type Command, type Measurement } from './measure.ts';
import { addRow, grouped, isWanted, memory, NOTHING, ratio, scaled, skipRow, wallRatio, wallTime } from './rows.ts';

const RUNS = 5;

/** A row: two of a group's commands, by name. */
interface Comparison {
  what: string;
  ours: string;
  tcpdump: string;
  /** Their outputs must be the same. */
  identical?: true;
}

type Group = Readonly<Record<string, Command>>;

/** For its directory alone, which goes even when this process is killed. */
const lab = new Lab();
const file = (name: string): string => join(lab.temporary, name);

afterAll(() => lab.close());

function replay(name: string, options: readonly string[], input?: string): Command {
  const argv = [process.execPath, CLI, '--no-summary', ...options];
  return { argv, output: file(name), ...(input !== undefined && { input }) };
}

function tcpdump(name: string, options: readonly string[], input?: string): Command {
  return { argv: ['tcpdump', '-nn', ...options], output: file(name), ...(input !== undefined && { input }) };
}

/** Runs the commands that the wanted rows need, in turn. */
async function compare(
  comparisons: readonly Comparison[],
  group: Group,
  runs = RUNS,
): Promise<Record<string, Measurement[]>> {
  const names = new Set(comparisons.flatMap(({ ours, tcpdump: theirs }) => [theirs, ours]));
  const measurements = await inTurn(
    Object.fromEntries([...names].map((name) => [name, () => measure(group[name]!)])),
    runs,
  );
  for (const { what, ours, tcpdump: theirs, identical } of comparisons) {
    const pairs = { ours: measurements[ours]!, tcpdump: measurements[theirs]! };
    const outputs = [group[ours]!.output, group[theirs]!.output];
    addRow({
      what: identical === true ? `${what}; ${sameness(outputs)}` : what,
      ours: wallTime(pairs.ours),
      tcpdump: wallTime(pairs.tcpdump),
      ratio: wallRatio(pairs),
      memory: memory(pairs),
    });
  }
  return measurements;
}

function sameness(files: readonly string[]): string {
  return spawnSync('cmp', ['-s', ...files]).status === 0 ? 'outputs identical' : '**OUTPUTS DIFFER**';
}

/** A test of the rows that are wanted, or a loud skip. */
function bench(comparisons: readonly Comparison[], body: (wanted: readonly Comparison[]) => Promise<void>): void {
  const wanted = comparisons.filter(({ what }) => isWanted(what));
  if (wanted.length === 0) return;
  test(wanted.map(({ what }) => what).join(' | '), async (context) => {
    if (isInstalled('tcpdump')) return body(wanted);
    for (const { what } of wanted) skipRow(what, 'tcpdump is not installed');
    context.skip();
  });
}

describe('replay', () => {
  const mixed = `replay of ${grouped(scaled(5_000_000))} packets, 0.1 % ICMP errors`;
  const pipe = 'pipe against file';
  bench(
    [
      { what: `${mixed}, --plain`, ours: 'file', tcpdump: 'tcpdump file', identical: true },
      { what: `${mixed}, from a pipe`, ours: 'pipe', tcpdump: 'tcpdump pipe', identical: true },
    ],
    async (wanted) => {
      const capture = file('mixed.pcap');
      mixedCapture(capture, scaled(5_000_000));
      const results = await compare(wanted, {
        file: replay('file', ['--plain', '-r', capture]),
        'tcpdump file': tcpdump('tcpdump-file', ['-r', capture, 'icmp']),
        pipe: replay('pipe', ['--plain', '-r', '-'], `|${capture}`),
        'tcpdump pipe': tcpdump('tcpdump-pipe', ['-r', '-', 'icmp'], `|${capture}`),
      });
      if (wanted.length === 2) {
        const [ours, theirs] = ['', 'tcpdump '].map((who) =>
          ratio(
            results[`${who}pipe`]!.map(({ wall }) => wall),
            results[`${who}file`]!.map(({ wall }) => wall),
          ),
        );
        addRow({ what: pipe, ours: ours!, tcpdump: theirs!, ratio: NOTHING, memory: NOTHING });
      }
      rmSync(capture);
    },
  );

  const errors = `replay of ${grouped(scaled(1_000_000))} ICMP errors`;
  bench(
    [
      { what: `${errors}, --plain`, ours: 'plain', tcpdump: 'tcpdump', identical: true },
      { what: `${errors}, text`, ours: 'text', tcpdump: 'tcpdump' },
      { what: `${errors}, --json`, ours: 'json', tcpdump: 'tcpdump' },
    ],
    async (wanted) => {
      const capture = file('errors.pcap');
      errorsCapture(capture, scaled(1_000_000));
      await compare(wanted, {
        tcpdump: tcpdump('tcpdump', ['-r', capture]),
        plain: replay('plain', ['--plain', '-r', capture]),
        text: replay('text', ['-r', capture]),
        json: replay('json', ['--json', '-r', capture]),
      });
      rmSync(capture);
    },
  );
});

describe('start-up', () => {
  bench([{ what: 'start-up: --version', ours: 'version', tcpdump: 'tcpdump' }], async (wanted) => {
    await compare(
      wanted,
      {
        version: { argv: [process.execPath, CLI, '--version'], output: file('version') },
        tcpdump: { argv: ['tcpdump', '--version'], output: file('tcpdump-version') },
      },
      20,
    );
  });
});
