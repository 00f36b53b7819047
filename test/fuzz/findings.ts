/** Findings are told once each, and kept as small as they can be made. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkInput, Finding } from './check.ts';
import { checkCommand, optionsOf } from './command.ts';
import { fileOf, type Input } from './input.ts';
import { minimise, signature } from './minimise.ts';

const MINIMISING_SECONDS = 20;

export class Findings {
  count = 0;
  readonly #directory: string;
  readonly #seed: number;
  readonly #signatures = new Set<string>();

  /** @param directory where the files go */
  constructor(directory: string, seed: number) {
    this.#directory = directory;
    this.#seed = seed;
  }

  /** Each kind once. */
  async add(what: string, error: unknown, input: Input | null, isByCommand: boolean): Promise<void> {
    const kind = signature(error);
    if (this.#signatures.has(kind)) return;
    this.#signatures.add(kind);
    this.count++;
    console.log(`${what} of seed ${this.#seed}: ${textOf(error)}`);
    if (input === null) return;
    const run = join(this.#directory, 'run');
    const fails = async (candidate: Input): Promise<string | null> => {
      try {
        if (isByCommand) await checkCommand(candidate, run);
        else checkInput(candidate);
        return null;
      } catch (thrown) {
        return signature(isByCommand ? thrown : textOf(thrown));
      }
    };
    // What hangs would hang here too.
    const canTry = isByCommand || !/hangs|process ended/.test(kind);
    const least = canTry ? await minimise(input, kind, fails, MINIMISING_SECONDS) : input;
    const path = join(this.#directory, `${what.replaceAll(' ', '-')}.capture`);
    writeFileSync(path, fileOf(least));
    const args = optionsOf(least, this.#directory);
    console.log(`  udpicmp-watch -r ${path} ${args.join(' ')}${least.save === null ? '' : ` -w saved.${least.save}`}`);
  }
}

export function textOf(error: unknown): string {
  if (error instanceof Finding) return `Finding: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
