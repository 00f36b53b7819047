/**
 * Domain names (RFC 1035, section 3.1), as fqdn_print() of print-domain.c prints them: with compression, which the
 * options of Neighbor Discovery do not have, and the bit labels that RFC 6891 abolished.
 */
import { hex, type Printer } from './printer.ts';

/** The two high bits of a label's first octet. */
const LABEL = { ORDINARY: 0x00, EXTENDED: 0x40, RESERVED: 0x80, POINTER: 0xc0 } as const;

/** RFC 2673. */
const BIT_LABEL = 0x41;

const MAX_NAME = 255;

/** `character` as tcpdump shows it: `^` for control, `M-` for the eighth bit. */
export function visible(octet: number): string {
  let text = '';
  let ascii = octet;
  if (ascii > 0x7f) {
    ascii &= 0x7f;
    text = 'M-';
  }
  if (ascii < 0x20 || ascii === 0x7f) {
    ascii ^= 0x40;
    text += '^';
  }
  return text + String.fromCharCode(ascii);
}

/**
 * Prints the name at `start`, whose first label is not empty; pointers count from `message`. Where what follows it starts,
 * or null where it is cut short or invalid.
 */
export function printDomainName(p: Printer, start: number, message: number): number | null {
  // Pointers must point ever further back, so that every name ends.
  let limit = start - message;
  let after: number | null = null;
  let printed = 0;
  for (let at = start; ;) {
    p.countLabel(message);
    const first = p.u8(at);
    const size = labelSize(p, at);
    if (size === null) return null;
    if (first === 0) {
      if (printed > MAX_NAME) p.print('<DOMAIN NAME TOO LONG>');
      return after ?? at + 1;
    }
    // A label of which only the first octet was captured ends the name as if it had been all there.
    if (!p.has(at, 2)) return after ?? (at === start && first >= LABEL.POINTER ? null : at + 1 + size);
    if (first >= LABEL.POINTER) {
      after ??= at + 2;
      const target = p.u16(at) & 0x3fff;
      if (target >= limit) {
        p.print('<BAD PTR>');
        return null;
      }
      limit = target;
      at = message + target;
      continue;
    }
    if (first === BIT_LABEL) printBitLabel(p, at + 1);
    else {
      if (!printLabel(p, at + 1, Math.min(size, Math.max(0, MAX_NAME - printed)))) return null;
      printed += size;
    }
    if (printed <= MAX_NAME) p.print('.');
    printed++;
    at += 1 + size;
    if (!p.has(at, 1)) return null;
  }
}

/** Octets behind the label's first one, or null where there is no telling. */
function labelSize(p: Printer, at: number): number | null {
  const first = p.u8(at);
  switch (first & LABEL.POINTER) {
    case LABEL.EXTENDED:
      if (first !== BIT_LABEL) {
        p.print(`<ELT ${first & 0x3f}>`);
        return null;
      }
      return p.has(at + 1, 1) ? Math.ceil(bitsOf(p, at + 1) / 8) + 1 : null;
    case LABEL.RESERVED:
      p.print('<BAD LABEL TYPE>');
      return null;
    default:
      return first;
  }
}

/** Whether all of the label was captured. */
function printLabel(p: Printer, at: number, size: number): boolean {
  const captured = Math.min(size, p.available(at));
  let text = '';
  for (let index = 0; index < captured; index++) text += visible(p.u8(at + index));
  p.print(text);
  return captured === size;
}

/** RFC 2673, section 3: | Count | Label Data |, as a string of hexadecimal digits. */
function printBitLabel(p: Printer, at: number): void {
  const bits = bitsOf(p, at);
  const whole = bits >> 3;
  const left = bits & 7;
  const octet = at + 1 + whole;
  const captured = Math.min(whole, p.available(at + 1));
  // In one piece: a string that is added up from thousands of short ones takes as much memory as they do.
  p.print(`\\[x${Buffer.from(p.bytes.subarray(at + 1, at + 1 + captured)).toString('hex')}`);
  p.need(at + 1, whole);
  if (left > 4) p.print(hex(p.u8(octet) & (0xff << (8 - left)), 2));
  else if (left > 0) p.print(hex((p.u8(octet) >> 4) & (0xf << (4 - left))));
  p.print(`/${bits}]`);
}

function bitsOf(p: Printer, at: number): number {
  const bits = p.u8(at);
  return bits === 0 ? 256 : bits;
}
