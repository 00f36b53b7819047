/** Chances that are the same ones for the same seed. */
import { random } from '../parity/packets.ts';

/** Lengths, counts and flags at which code changes its mind. */
const CRITICAL: readonly number[] = [
  0, 1, 2, 3, 4, 7, 8, 12, 16, 20, 24, 28, 32, 40, 63, 64, 0x7f, 0x80, 0xff, 0x100, 0x3fff, 0x4000, 0x7fff, 0x8000,
  0xfffc, 0xffff, 0x1_0000, 0x4_0000, 0x4_0001, 0xff_ffff, 0x100_0000, 0x100_0001, 0x7fff_ffff, 0x8000_0000,
  0xffff_fffc, 0xffff_ffff,
];

export class Dice {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = random(seed);
    // The first numbers of neighbouring seeds are alike.
    for (let skipped = 0; skipped < 4; skipped++) this.#next();
  }

  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error('there is nothing to pick from');
    return list[this.below(list.length)]!;
  }

  /** Mostly few. */
  few(limit: number): number {
    return Math.floor(this.#next() ** 3 * limit);
  }

  /** Of 32 bits. */
  word(): number {
    return this.oneIn(3) ? this.below(2 ** 32) : this.pick(CRITICAL);
  }

  /** Of 64 bits. */
  long(): bigint {
    return (BigInt(this.word()) << 32n) | BigInt(this.word());
  }

  octets(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}
