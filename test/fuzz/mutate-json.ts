/** Mutations of JSON by its structure, and of its text. */
import type { Dice } from './dice.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What steers a terminal, deceives a reader, or is no text at all. */
export const HOSTILE_TEXTS: readonly string[] = [
  '',
  '\u001b[31mred',
  '\u001b]0;title\u0007',
  'a\nb',
  'a\r\tb',
  '\u0000',
  '\u007f\u0085\u009b2J',
  '\u202Egnp.exe\u2066',
  '\u2028\u2029',
  '\uFEFFbom',
  '\u{E0041}tag',
  '\uD800',
  'x\uDC00',
  '\\x1b',
  'größe 日本 🦀',
  '__proto__',
  'constructor',
  'toString',
  'udpicmp-watch {}',
];

const NUMBERS: readonly number[] = [0, -0, -1, 1, 1.5, 255, 65_535, 65_536, 2 ** 31, 2 ** 53, 1e21, 1e300, -1e300];

/** Characters. */
const MAX_JSON = 500_000;

/** JSON text. What is no JSON to begin with is changed as text alone. */
export function mutateJson(text: string, dice: Dice): Buffer {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return mutateText(Buffer.from(text), dice);
  }
  for (let changes = 1 + dice.few(4); changes > 0; changes--) value = mutateValue(value, dice);
  let result = JSON.stringify(value).slice(0, MAX_JSON);
  if (dice.oneIn(12))
    result = result.replace('{', `{${dice.pick(['"__proto__":{"x":1},', '"constructor":1,', '"v":2,', ' \n'])}`);
  return dice.oneIn(12) ? mutateText(Buffer.from(result), dice) : Buffer.from(result);
}

function mutateValue(value: Json, dice: Dice): Json {
  if (value === null || typeof value !== 'object' || dice.oneIn(6)) return replace(value, dice);
  if (Array.isArray(value)) {
    if (value.length === 0) return [replace(null, dice)];
    const at = dice.below(value.length);
    switch (dice.below(6)) {
      case 0:
        return value.toSpliced(at, 1);
      case 1: {
        const times = dice.few(Math.min(3000, MAX_JSON / JSON.stringify(value[at]).length));
        return [...value, ...Array.from({ length: times }, () => value[at]!)];
      }
      default:
        return value.with(at, mutateValue(value[at]!, dice));
    }
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return { [dice.pick(HOSTILE_TEXTS)]: 1 };
  const at = dice.below(entries.length);
  const [key, child] = entries[at]!;
  switch (dice.below(12)) {
    case 0:
      return Object.fromEntries(entries.toSpliced(at, 1));
    case 1:
      return Object.fromEntries([...entries, [dice.pick(HOSTILE_TEXTS), child]]);
    case 2:
      return Object.fromEntries(entries.with(at, [key, dice.pick(entries)[1]]));
    default:
      return Object.fromEntries(entries.with(at, [key, mutateValue(child, dice)]));
  }
}

function replace(value: Json, dice: Dice): Json {
  // Of the same type it is more often taken for sound.
  if (typeof value === 'string' && !dice.oneIn(5)) {
    const text = dice.pick(HOSTILE_TEXTS);
    if (dice.oneIn(10)) return text.repeat(dice.few(20_000));
    return dice.oneIn(2) ? text : value + text;
  }
  if (typeof value === 'number' && !dice.oneIn(5)) return dice.oneIn(2) ? dice.pick(NUMBERS) : value + 1;
  switch (dice.below(6)) {
    case 0:
      return null;
    case 1:
      return dice.oneIn(2);
    case 2:
      return dice.pick(NUMBERS);
    case 3:
      return dice.pick(HOSTILE_TEXTS);
    case 4:
      return [value];
    default: {
      let nested: Json = value;
      for (let depth = dice.few(2000); depth > 0; depth--) nested = dice.oneIn(2) ? [nested] : { a: nested };
      return nested;
    }
  }
}

function mutateText(octets: Buffer, dice: Dice): Buffer {
  const at = dice.below(octets.length + 1);
  const inserted = dice.pick([
    Buffer.alloc(0),
    dice.octets(1 + dice.few(8)),
    Buffer.from('\uFEFF'),
    Buffer.from('['.repeat(dice.few(40_000))),
    Buffer.from('1e400'),
  ]);
  return Buffer.concat([octets.subarray(0, at), inserted, octets.subarray(at + dice.few(8))]);
}
