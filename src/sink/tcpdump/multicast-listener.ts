/**
 * Multicast Listener Discovery, versions 1 (RFC 2710) and 2 (RFC 3810), as tcpdump prints it.
 */
import type { Printer } from './printer.ts';

const V1_LENGTH = 24;
const V2_QUERY_HEADER = 28;
const V2_REPORT_HEADER = 8;
const GROUP_RECORD_HEADER = 20;

/** RFC 3810, section 5.2.12; ` ` before the unknown ones is tcpdump's. */
const RECORD_TYPES = ['', 'is_in', 'is_ex', 'to_in', 'to_ex', 'allow', 'block'] as const;

/**
 * RFC 2710, section 3:
 *
 *   4  |     Maximum Response Delay    |          Reserved             |
 *   8  |                     Multicast Address (16)                    |
 */
export function printListenerMessage(p: Printer, at: number): void {
  if (!p.has(at, V1_LENGTH)) return;
  p.print(`max resp delay: ${p.u16(at + 4)} addr: ${p.ipv6(at + 8)}`);
}

/** The version of a query is told from its length: RFC 3810, section 8.1. */
export function printListenerQuery(p: Printer, at: number, length: number): void {
  if (length === V1_LENGTH) return printListenerMessage(p, at);
  if (length < V2_QUERY_HEADER) return p.print(` unknown-version (len ${length}) `);
  p.print(' v2');
  printQueryV2(p, at, length);
}

/**
 * RFC 3810, section 5.1:
 *
 *   4  |    Maximum Response Code      |           Reserved            |
 *   8  |                     Multicast Address (16)                    |
 *  24  | Resv  |S| QRV |     QQIC      |     Number of Sources (N)     |
 *  28  |                     Source Addresses (16 each)                |
 */
function printQueryV2(p: Printer, at: number, length: number): void {
  const code = p.u16(at + 4);
  // Section 5.1.3: above 32767 a floating-point number, 1|exp(3)|mant(12).
  const delay = code < 0x8000 ? code : ((code & 0x0fff) | 0x1000) << (((code & 0x7000) >> 12) + 3);
  if (p.verbose) p.print(` [max resp delay=${delay}]`);
  p.print(` [gaddr ${p.ipv6(at + 8)}`);
  if (p.verbose) {
    const flags = p.u8(at + 24);
    if ((flags & 0x08) !== 0) p.print(' sflag');
    if ((flags & 0x07) !== 0) p.print(` robustness=${flags & 0x07}`);
    // Section 5.1.9: above 127 a floating-point number, 1|exp(3)|mant(4).
    const interval = p.u8(at + 25);
    p.print(` qqi=${interval < 0x80 ? interval : ((interval & 0x0f) | 0x10) << (((interval & 0x70) >> 4) + 3)}`);
  }
  const sources = p.u16(at + 26);
  if (length < V2_QUERY_HEADER + sources * 16) p.print(' [invalid number of sources]');
  else if (sources > 0) p.print(`, ${sources} source(s)`);
  p.print(']');
}

/**
 * RFC 3810, section 5.2:
 *
 *   4  |           Reserved            |Nr of Mcast Address Records (M)|
 *   8  |                     Multicast Address Records                 |
 *
 * and each record:
 *
 *   0  |  Record Type  |  Aux Data Len |     Number of Sources (N)     |
 *   4  |                     Multicast Address (16)                    |
 *  20  |                     Source Addresses (16 each)                |
 *
 * Auxiliary data, of which there are none yet, are taken for the next record.
 */
export function printListenerReport(p: Printer, at: number, length: number): void {
  if (length < V2_REPORT_HEADER) return p.print(` [invalid len ${length}]`);
  const records = p.u16(at + 6);
  p.print(`, ${records} group record(s)`);
  if (!p.verbose) return;
  const end = at + length;
  for (let index = 0, record = at + V2_REPORT_HEADER; index < records; index++) {
    if (end < record + GROUP_RECORD_HEADER) return p.print(' [invalid number of groups]');
    p.print(` [gaddr ${p.ipv6(record + 4)}`);
    const type = p.u8(record);
    p.print(` ${(type === 0 ? undefined : RECORD_TYPES[type]) ?? ` [v2-report-#${type}]`}`);
    const sources = p.u16(record + 2);
    record += GROUP_RECORD_HEADER + sources * 16;
    if (end < record) return p.print(` [invalid number of sources ${sources}]`);
    p.print(`, ${sources} source(s)]`);
  }
}
