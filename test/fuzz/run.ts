/**
 * `npm run fuzz -- [--seconds N] [--seed S] [--inputs A,B…]`: mutated captures, snapshots and command lines, through the replay
 * in a child process and as the command in others. The last line is `N inputs, M findings`; exit status 1 if there are findings,
 * each of which is written, as small as it could be made, to a directory that is named.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkInput } from './check.ts';
import { checkCommandLine } from './command-lines.ts';
import { checkCommand, type Usage } from './command.ts';
import { Dice } from './dice.ts';
import { Findings, textOf } from './findings.ts';
import { makeInput } from './input.ts';
import { Within, type Message } from './within.ts';

/** Inputs of the command are others than those within the process. */
const COMMAND_SEED = 0x5eed;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    /** Only these, within this process, with all that is thrown: to look into a finding. */
    inputs: { type: 'string' },
    worker: { type: 'string' },
  },
});
const seed = Number(values.seed);

// Time stamps are local time, here and in the command.
process.env['TZ'] = 'UTC';
if (values.worker !== undefined) work(Number(values.worker));
else if (values.inputs !== undefined) {
  for (const number of values.inputs.split(',')) checkInput(makeInput(seed, Number(number)));
} else process.exitCode = await supervise(Number(values.seconds));

function work(first: number): void {
  const tell = (message: Message): boolean => process.send!(message);
  const next = (number: number): void => {
    tell({ input: number });
    try {
      checkInput(makeInput(seed, number));
    } catch (error) {
      tell({ number, error: textOf(error) });
    }
    // Through the event loop: what was told goes out.
    setImmediate(next, number + 1);
  };
  next(first);
}

async function supervise(seconds: number): Promise<number> {
  console.log(`fuzzing for ${seconds} s with --seed ${seed}`);
  const directory = mkdtempSync(join(tmpdir(), 'udpicmp-watch-fuzz-'));
  const findings = new Findings(directory, seed);
  const end = performance.now() + seconds * 1000;
  const within = new Within(fileURLToPath(import.meta.url), ['--seed', String(seed)]);
  const peak: Usage = { mib: 0, seconds: 0 };
  let commands = 0;
  for (; performance.now() < end; commands++) {
    if (commands % 8 === 7) {
      const number = commands;
      await checkCommandLine(new Dice(seed + number)).catch((error: unknown) =>
        findings.add(`command line ${number}`, error, null, false),
      );
      continue;
    }
    const input = makeInput(seed ^ COMMAND_SEED, commands);
    try {
      const { mib, seconds: took } = await checkCommand(input, join(directory, 'run'));
      peak.mib = Math.max(peak.mib, mib);
      peak.seconds = Math.max(peak.seconds, took);
    } catch (error) {
      await findings.add(`command ${commands}`, error, input, true);
    }
  }
  within.stop();
  for (const [number, error] of within.found)
    await findings.add(`input ${number}`, error, makeInput(seed, number), false);
  console.log(`the command took ${Math.round(peak.mib)} MiB and ${peak.seconds.toFixed(1)} s at the most`);
  const rate = Math.round(within.inputs / seconds);
  console.log(`${within.inputs} inputs within a process (${rate} a second), ${commands} by the command`);
  rmSync(join(directory, 'run'), { recursive: true, force: true });
  if (findings.count === 0) rmSync(directory, { recursive: true });
  console.log(`${within.inputs + commands} inputs, ${findings.count} findings`);
  return findings.count === 0 ? 0 : 1;
}
