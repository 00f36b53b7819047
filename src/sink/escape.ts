/**
 * Text from packets, files and processes is hostile: a process may name itself with escape sequences.
 */
import { octetsOf, type Octets } from './output.ts';

/**
 * C0 and C1 controls, the backslash (so that escapes cannot be forged), line and paragraph separators, spaces that are not
 * the one of ASCII, bidirectional and other format characters (Unicode Cf), what else is not to be seen (fillers,
 * variation selectors), and lone surrogates.
 */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\\\u2028\u2029]|(?! )\p{Zs}|\p{Cf}|\p{DI}|\p{Cs}/gu;

/** `text` with everything that could steer a terminal or deceive a reader as \xNN or \u{NNNN}. */
export function escapeText(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    if (character === '\\') return '\\\\';
    const code = character.codePointAt(0)!;
    const hex = code.toString(16);
    return code < 0x100 ? `\\x${hex.padStart(2, '0')}` : `\\u{${hex}}`;
  });
}

/** Names and notes are few and come again and again. */
const CACHED_TEXTS = 1024;
const CACHED_LENGTH = 256;
const printed = new Map<string, Octets>();

/** `escapeText`, as octets to be written. */
export function printable(text: string): Octets {
  let octets = printed.get(text);
  if (octets === undefined) {
    octets = octetsOf(escapeText(text));
    if (text.length > CACHED_LENGTH) return octets;
    if (printed.size >= CACHED_TEXTS) printed.clear();
    printed.set(text, octets);
  }
  return octets;
}
