/**
 * Router renumbering (RFC 2894), as tcpdump prints it.
 */
import { hex, type Printer } from './printer.ts';

const HEADER = 16;
const MATCH_PREFIX = 24;
const USE_PREFIX = 32;

const CODES = new Map([
  [0, 'command'],
  [1, 'result'],
  [255, 'sequence number reset'],
]);
const COMMAND = 0;

/** RFC 2894, section 3.1. */
const FLAGS = [
  [0x80, 'T'],
  [0x40, 'R'],
  [0x20, 'A'],
  [0x10, 'S'],
  [0x08, 'P'],
] as const;

/** RFC 2894, section 3.2.1.2: valid and preferred lifetime are to be decremented. */
const LIFETIME_FLAGS = [
  [0x80, 'V'],
  [0x40, 'P'],
] as const;

const OPERATIONS = ['', 'add', 'change', 'setglobal'] as const;

const INFINITE = 0xffffffff;

/**
 * RFC 2894, section 3.1:
 *
 *   4  |                        Sequence Number                        |
 *   8  |  Segment Nr   |     Flags     |           MaxDelay            |
 *  12  |                           Reserved                            |
 */
export function printRouterRenumbering(p: Printer, code: number, at: number): void {
  if (!p.has(at, HEADER)) return p.printTruncated();
  p.print(`, ${CODES.get(code) ?? `code-#${code}`}`);
  p.print(`, seq=${p.u32(at + 4)}`);
  if (p.verbose) {
    const flags = p.u8(at + 9);
    const reserved = p.u32(at + 12);
    p.print(`[${flags === 0 ? '' : `${letters(FLAGS, flags)},`}seg=${p.u8(at + 8)},maxdelay=${p.u16(at + 10)}`);
    p.print(`${reserved === 0 ? '' : `rsvd=0x${hex(reserved)}`}]`);
  }
  if (code === COMMAND) printPrefixControl(p, at + HEADER);
}

/**
 * RFC 2894, section 3.2.1.1:
 *
 *   0  |    OpCode     |   OpLength    |    Ordinal    |   MatchLen    |
 *   4  |    MinLen     |    MaxLen     |           reserved            |
 *   8  |                      MatchPrefix (16)                         |
 */
function printPrefixControl(p: Printer, at: number): void {
  if (!p.has(at, MATCH_PREFIX)) return p.printTruncated();
  const operation = p.u8(at);
  p.print(` match(${(operation === 0 ? undefined : OPERATIONS[operation]) ?? `#${operation}`}`);
  if (p.verbose) p.print(`,ord=${p.u8(at + 2)},min=${p.u8(at + 4)},max=${p.u8(at + 5)}`);
  p.print(`,${p.ipv6(at + 8)}/${p.u8(at + 3)})`);
  // OpLength is 4 * N + 3 for N Use-Prefix parts.
  const uses = (p.u8(at + 1) - 3) / 4;
  if (!Number.isInteger(uses)) return p.printTruncated();
  let use = at + MATCH_PREFIX;
  for (let index = 0; index < uses; index++, use += USE_PREFIX) {
    if (!p.has(use, USE_PREFIX)) return p.printTruncated();
    printUsePrefix(p, use);
  }
}

/**
 * RFC 2894, section 3.2.1.2:
 *
 *   0  |    UseLen     |    KeepLen    |   FlagMask    |    RAFlags    |
 *   4  |                        Valid Lifetime                         |
 *   8  |                      Preferred Lifetime                       |
 *  12  |V|P|                         reserved                          |
 *  16  |                        UsePrefix (16)                         |
 */
function printUsePrefix(p: Printer, at: number): void {
  p.print(' use(');
  const flags = p.u8(at + 12);
  if (flags !== 0) p.print(`${letters(LIFETIME_FLAGS, flags)},`);
  if (p.verbose) {
    p.print(`mask=0x${hex(p.u8(at + 2))},raflags=0x${hex(p.u8(at + 3))},`);
    p.print(`vltime=${lifetime(p.u32(at + 4))},pltime=${lifetime(p.u32(at + 8))},`);
  }
  p.print(`${p.ipv6(at + 16)}/${p.u8(at)}/${p.u8(at + 1)})`);
}

function letters(table: readonly (readonly [number, string])[], flags: number): string {
  return table.map(([bit, letter]) => ((flags & bit) === 0 ? '' : letter)).join('');
}

function lifetime(seconds: number): string {
  return seconds === INFINITE ? 'infty' : `${seconds}`;
}
