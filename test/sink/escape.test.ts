import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { escapeText, printable } from '../../src/sink/escape.ts';

/** What the escapes stand for. */
function unescapeText(text: string): string {
  return text.replace(/\\(?:\\|x([0-9a-f]{2})|u\{([0-9a-f]+)\})/g, (_, latin?: string, other?: string) => {
    const hex = latin ?? other;
    return hex === undefined ? '\\' : String.fromCodePoint(Number.parseInt(hex, 16));
  });
}

/** Any UTF-16, lone surrogates and forged escapes too. */
const anyText = fc.oneof(
  fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) }),
  fc.string({ unit: 'binary' }),
  fc
    .array(fc.constantFrom('\\', '\\x1b', '\\u{202e}', '\x1b', '\u202e', '\n', 'x', '1b', '{', '}', '\ud83d', '\ude00'))
    .map((parts) => parts.join('')),
);

test('nothing is left that steers a terminal or hides from a reader', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      // oxlint-disable-next-line no-control-regex -- they are what is looked for
      expect(escapeText(text)).not.toMatch(/[\x00-\x1f\x7f-\x9f\u2028\u2029]|(?! )\p{Zs}|\p{Cf}|\p{DI}|\p{Cs}/u);
    }),
    { numRuns: 2000 },
  );
});

test('no two texts look alike: what was there can be told from its escapes', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      expect(unescapeText(escapeText(text))).toBe(text);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ['plain text, of any script', 'größe 日本 → 😀 "quoted" {}', 'größe 日本 → 😀 "quoted" {}'],
  ['an escape sequence', '\x1b[31mred\x1b[0m', '\\x1b[31mred\\x1b[0m'],
  ['the eight-bit one', '\x9b31m', '\\x9b31m'],
  ['a forged escape', '\\x1b', '\\\\x1b'],
  ['lines', 'a\r\nb\u2028c', 'a\\x0d\\x0ab\\u{2028}c'],
  ['what turns the line around', 'cod\u202eexe.txt', 'cod\\u{202e}exe.txt'],
  ['spaces that look like the one of ASCII', 'a\u00a0b\u2003c\u3000d', 'a\\xa0b\\u{2003}c\\u{3000}d'],
  [
    'letters and marks that are not to be seen',
    'gate\u3164way\u115f\ufe0f\u034f',
    'gate\\u{3164}way\\u{115f}\\u{fe0f}\\u{34f}',
  ],
  ['tag characters, beyond the BMP', 'a\u{e0041}', 'a\\u{e0041}'],
  ['a lone surrogate, and a pair', '\ud83dx\ud83d\ude00', '\\u{d83d}x😀'],
])('%s', (_name, text, expected) => {
  expect(escapeText(text)).toBe(expected);
});

test('as octets: UTF-8, one character for each, and again from memory', () => {
  for (let n = 0; n < 3000; n++) {
    const text = `→ ${n % 1500} \x1b`;
    const octets = printable(text);
    expect(Buffer.from(octets, 'latin1').toString('utf8')).toBe(`→ ${n % 1500} \\x1b`);
    expect(octets).not.toMatch(/[^\x20-\xff]/);
  }
});
