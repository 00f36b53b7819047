/**
 * Numbers for keys: in a storm, making a text for each and keeping it in a Map takes as long as all else that is done with an
 * error.
 */
import { randomBytes } from 'node:crypto';

const SEEDS = randomBytes(8);

/**
 * 52 bits, never 0: two hashes of 32 bits side by side, by the steps of MurmurHash3. Of 65,536 keys in a table a new one is taken
 * for another by chance once in some 10^11; that nobody can bring about who does not know this process's seeds.
 */
export class Hash {
  #a = SEEDS.readInt32LE(0);
  #b = SEEDS.readInt32LE(4);

  /** @param value an integer of 32 bits. */
  add(value: number): void {
    let word = Math.imul(value, 0xcc9e2d51);
    word = Math.imul((word << 15) | (word >>> 17), 0x1b873593);
    this.#a = (Math.imul(((this.#a ^ word) << 13) | ((this.#a ^ word) >>> 19), 5) + 0xe6546b64) | 0;
    this.#b = (Math.imul(((this.#b ^ word) << 17) | ((this.#b ^ word) >>> 15), 9) + 0x38b34ae5) | 0;
  }

  addText(text: string): void {
    // So that the end of one text is not taken for the start of the next.
    this.add(text.length);
    for (let at = 0; at < text.length; at++) this.add(text.charCodeAt(at));
  }

  get value(): number {
    return (finished(this.#a) >>> 0) * 2 ** 21 + ((finished(this.#b) >>> 11) | 1);
  }
}

function finished(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
