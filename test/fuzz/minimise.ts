/** What is left of an input when all is taken out of it that its finding does not need. */
import { NOTHING_SELECTED } from '../packets.ts';
import type { Input } from './input.ts';

/** What a finding is recognised by: its first words, without numbers. */
export function signature(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error).replace(/^\w+: /, '');
  return text.replaceAll(/\d+/g, '#').slice(0, 48);
}

/**
 * @param fails the signature of what an input fails with, or null
 * @param seconds at the most
 */
export async function minimise(
  input: Input,
  wanted: string,
  fails: (input: Input) => Promise<string | null>,
  seconds: number,
): Promise<Input> {
  const deadline = performance.now() + seconds * 1000;
  let best = input;
  const improves = async (change: Partial<Input>): Promise<boolean> => {
    if (performance.now() > deadline) return false;
    const candidate = { ...best, ...change };
    if ((await fails(candidate)) !== wanted) return false;
    best = candidate;
    return true;
  };
  await improves({ gzip: null });
  await improves({ sockets: null });
  await improves({ selection: NOTHING_SELECTED });
  await improves({ maxEvents: Infinity });
  await improves({ save: null });
  await improves({ allIcmp: true });
  await improves({ print: { layout: 'two-line', timeStamp: 0, verbose: false } });
  await improves({ sizes: [1] });
  await shrink(best.pieces, async (pieces) => improves({ pieces }));
  for (let at = 0; at < best.pieces.length; at++) {
    const around = best.pieces;
    const octets = Array.from(around[at]!);
    await shrink(octets, async (left) => improves({ pieces: around.with(at, Buffer.from(left)) }));
  }
  return best;
}

/** Leaves runs out, long ones first. */
async function shrink<T>(list: readonly T[], improves: (left: T[]) => Promise<boolean>): Promise<void> {
  let left = [...list];
  for (let run = left.length; run >= 1; run = Math.floor(run / 2)) {
    for (let at = 0; at < left.length;) {
      const without = left.toSpliced(at, run);
      if (await improves(without)) left = without;
      else at += run;
    }
  }
}
