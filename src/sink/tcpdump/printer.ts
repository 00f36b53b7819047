/**
 * What the printers of `-v` share: the text so far, and reading that knows where the captured octets end.
 *
 * tcpdump leaves a packet at once when a printer reads an octet that was not captured, however deep in it
 * the printer is, and closes the line with ` [|protocol]`. Here that is an exception which `finish` catches;
 * it never leaves this room.
 */
import { formatIpv4, formatIpv6, u16, u32 } from '../../decode/octets.ts';
import type { Conversations } from './conversations.ts';

class Truncated extends Error {}

/** One for all: nobody wants its stack, which is what takes time to make. */
const TRUNCATED = new Truncated('the captured octets ended');

/**
 * Packets in packets (errors that quote errors, tunnels in tunnels) are printed this deep: a crafted one of
 * 64 KiB holds thousands, and each would be summed up again.
 */
const MAX_DEPTH = 64;

/**
 * Names that point to names (domain-name.ts) say the same again and again: tcpdump makes 280 MB of a crafted packet of 64 KiB,
 * and a minute of others. No packet without them has as many labels, nor more text for each of its octets.
 */
const MAX_LABELS = 65_536;
const MAX_TEXT_OF_AN_OCTET = 64;
const MAX_TEXT_OF_A_SHORT_PACKET = 65_536;

export class Printer {
  readonly bytes: Uint8Array;
  /** Where the captured octets of the packet that is being printed end: tcpdump's `snapend`. */
  end: number;
  /** Whose octets are being read, for ` [|protocol]`. */
  protocol = 'ip';
  readonly conversations: Conversations;
  /** As with `-v`. The rarer lines of ICMPv6 without it are made here too. */
  readonly verbose: boolean;
  text = '';
  #depth = 0;
  #labels = 0;

  constructor(bytes: Uint8Array, end: number, conversations: Conversations, verbose = true) {
    this.bytes = bytes;
    this.end = end;
    this.conversations = conversations;
    this.verbose = verbose;
  }

  /** Whether `octets` from `at` were captured. */
  has(at: number, octets: number): boolean {
    return at + octets <= this.end;
  }

  /** The captured octets from `at` on. */
  available(at: number): number {
    return Math.max(0, this.end - at);
  }

  /** Leaves the packet where fewer than `octets` from `at` on were captured. */
  need(at: number, octets: number): void {
    if (at + octets > this.end) throw TRUNCATED;
  }

  u8(at: number): number {
    this.need(at, 1);
    return this.bytes[at]!;
  }

  u16(at: number): number {
    this.need(at, 2);
    return u16(this.bytes, at);
  }

  u24(at: number): number {
    this.need(at, 3);
    return (u16(this.bytes, at) << 8) | this.bytes[at + 2]!;
  }

  u32(at: number): number {
    this.need(at, 4);
    return u32(this.bytes, at);
  }

  u64(at: number): bigint {
    this.need(at, 8);
    return (BigInt(u32(this.bytes, at)) << 32n) | BigInt(u32(this.bytes, at + 4));
  }

  ipv4(at: number): string {
    this.need(at, 4);
    return formatIpv4(this.bytes, at);
  }

  ipv6(at: number): string {
    this.need(at, 16);
    return formatIpv6(this.bytes, at);
  }

  /** `octets` from `at` on, two hexadecimal digits each. */
  hex(at: number, octets: number): string {
    let text = '';
    for (let index = 0; index < octets; index++)
      text += this.u8(at + index)
        .toString(16)
        .padStart(2, '0');
    return text;
  }

  print(text: string): void {
    this.text += text;
  }

  /** To be called for each label of a name: leaves the packet where there have been too many, or too much text. */
  countLabel(message: number): void {
    const most = Math.max(MAX_TEXT_OF_A_SHORT_PACKET, MAX_TEXT_OF_AN_OCTET * (this.end - message));
    if (++this.#labels > MAX_LABELS || this.text.length > most) throw TRUNCATED;
  }

  /** What a printer says that goes no further, and leaves it to its caller to go on. */
  printTruncated(): void {
    this.text += ` [|${this.protocol}]`;
  }

  printInvalid(): void {
    this.text += ' (invalid)';
  }

  /** hex_print() of print-ascii.c: 16 octets a line, `indent` (with its line end) before each. */
  printHexDump(indent: string, from: number, length: number): void {
    for (let index = 0; index < length; index++) {
      if (index % 16 === 0) this.text += `${indent}0x${index.toString(16).padStart(4, '0')}: `;
      if (index % 2 === 0) this.text += ' ';
      this.text += this.u8(from + index)
        .toString(16)
        .padStart(2, '0');
    }
  }

  /** Prints a packet, `length` octets from `at`, that lies in the one that is being printed. */
  within(at: number, length: number, print: () => void): void {
    if (this.#depth === MAX_DEPTH) return;
    const { end } = this;
    this.end = Math.min(end, at + length);
    this.#depth++;
    print();
    this.#depth--;
    this.end = end;
  }

  /** The text of a packet: what `print` could print of it. */
  finish(print: () => void): string {
    try {
      print();
    } catch (error) {
      if (error !== TRUNCATED) throw error;
      this.printTruncated();
    }
    return this.text;
  }
}

/** The names of the bits that are set in `value`, in the order of the table. */
export function bitNames(table: readonly (readonly [number, string])[], value: number, separator: string): string {
  const names = table.filter(([bit]) => (value & bit) === bit).map(([, name]) => name);
  return names.length === 0 ? 'none' : names.join(separator);
}

/** `value` in hexadecimal with at least `digits` digits. */
export function hex(value: number, digits = 1): string {
  return value.toString(16).padStart(digits, '0');
}
