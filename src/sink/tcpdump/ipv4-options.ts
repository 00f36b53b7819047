/**
 * The options of an IPv4 header (RFC 791, section 3.1; RFC 2113).
 *
 *  one octet:    |  type  |                                 end of options, no operation
 *  all others:   |  type  | length | data …   |
 */
import type { Printer } from './printer.ts';

const END = 0;
const NO_OPERATION = 1;
const RECORD_ROUTE = 7;
const TIMESTAMP = 68;
const LOOSE_SOURCE_ROUTE = 131;
const STRICT_SOURCE_ROUTE = 137;
const ROUTER_ALERT = 148;

const NAMES = new Map<number, string>([
  [END, 'EOL'],
  [NO_OPERATION, 'NOP'],
  [TIMESTAMP, 'timestamp'],
  [130, 'security'],
  [RECORD_ROUTE, 'RR'],
  [STRICT_SOURCE_ROUTE, 'SSRR'],
  [LOOSE_SOURCE_ROUTE, 'LSRR'],
  [ROUTER_ALERT, 'RA'],
  [82, 'traceroute'],
]);

/** `length` octets of options; false where one was cut off. */
export function printIpv4Options(p: Printer, from: number, length: number): boolean {
  const end = from + length;
  for (let at = from; at < end;) {
    if (at > from) p.print(',');
    const type = p.u8(at);
    p.print(NAMES.get(type) ?? `unknown ${type}`);
    const optionLength = type === END || type === NO_OPERATION ? 1 : p.u8(at + 1);
    if (optionLength > end - at || (optionLength < 2 && type !== END && type !== NO_OPERATION)) {
      p.print(` [bad length ${optionLength}]`);
      return true;
    }
    if (!p.has(at, optionLength)) return false;
    switch (type) {
      case END:
        return true;
      case TIMESTAMP:
        if (!printTimestamps(p, at, optionLength)) return false;
        break;
      case RECORD_ROUTE:
      case LOOSE_SOURCE_ROUTE:
      case STRICT_SOURCE_ROUTE:
        if (!printRoute(p, at, optionLength)) return false;
        break;
      case ROUTER_ALERT:
        if (optionLength < 4) p.print(` [bad length ${optionLength}]`);
        else if (p.u16(at + 2) !== 0) p.print(` value ${p.u16(at + 2)}`);
        break;
      default:
    }
    at += optionLength;
  }
  return true;
}

/** |  type  | length |pointer | address | address | …; a comma behind those that the pointer is beyond. */
function printRoute(p: Printer, at: number, length: number): boolean {
  if (length < 3) {
    p.print(` [bad length ${length}]`);
    return true;
  }
  if (((length + 1) & 3) !== 0) p.print(` [bad length ${length}]`);
  const pointer = p.u8(at + 2);
  // It counts from 1; a pointer of 0 is beyond everything in unsigned arithmetic.
  const next = (pointer - 1) >>> 0;
  if (next < 3 || ((next + 1) & 3) !== 0 || next > length + 1) p.print(` [bad ptr ${pointer}]`);
  for (let entry = 3; entry < length; entry += 4) {
    // Where the length is wrong, the last address is not wholly in the option.
    if (!p.has(at + entry, 4)) return false;
    p.print(` ${p.ipv4(at + entry)}${next > entry ? ',' : ''}`);
  }
  return true;
}

const TIMES_ONLY = 0;
const TIMESTAMP_KINDS = new Map<number, string>([
  [TIMES_ONLY, 'TSONLY'],
  [1, 'TS+ADDR'],
  [3, 'PRESPEC'],
]);

/** |  type  | length |pointer |overflow|flag| [address] time | [address] time | …; ^ where the pointer points to. */
function printTimestamps(p: Printer, at: number, length: number): boolean {
  if (length < 4) {
    p.print(`[bad length ${length}]`);
    return true;
  }
  p.print(' TS{');
  const flag = p.u8(at + 3) & 0x0f;
  const overflow = p.u8(at + 3) >> 4;
  const entryLength = flag === TIMES_ONLY ? 4 : 8;
  if (((length - 4) & (entryLength - 1)) !== 0) p.print(`[bad length ${length}]`);
  const pointer = p.u8(at + 2);
  const next = (pointer - 1) >>> 0;
  if (next < 4 || ((next - 4) & (entryLength - 1)) !== 0 || next > length + 1) p.print(`[bad ptr ${pointer}]`);
  const kind = TIMESTAMP_KINDS.get(flag);
  let entry = 0;
  if (kind === undefined) p.print(`[bad ts type ${flag}]`);
  else {
    p.print(kind);
    for (entry = 4; entry < length; entry += entryLength) {
      if (!p.has(at + entry, entryLength)) return false;
      const time = p.u32(at + entry + entryLength - 4);
      p.print(`${next === entry ? ' ^ ' : ' '}${time}@${entryLength === 8 ? p.ipv4(at + entry) : ''}`);
    }
  }
  if (next === entry) p.print(' ^ ');
  p.print(overflow === 0 ? '}' : ` [${overflow} hops not recorded]} `);
  return true;
}
