/**
 * An SCTP packet and its chunks. What data chunks carry is left to tcpdump's application dissectors.
 */
import type { Payload } from './payload.ts';
import { sourceAndDestination } from './ports.ts';
import type { Printer } from './printer.ts';

const HEADER = 12;
const CHUNK_HEADER = 4;

const DATA = 0;
const INIT = 1;
const INIT_ACK = 2;
const SACK = 3;
const CHUNKS = new Map<number, string>([
  [DATA, 'DATA'],
  [INIT, 'INIT'],
  [INIT_ACK, 'INIT ACK'],
  [SACK, 'SACK'],
  [0x04, 'HB REQ'],
  [0x05, 'HB ACK'],
  [0x06, 'ABORT'],
  [0x07, 'SHUTDOWN'],
  [0x08, 'SHUTDOWN ACK'],
  [0x09, 'OP ERR'],
  [0x0a, 'COOKIE ECHO'],
  [0x0b, 'COOKIE ACK'],
  [0x0c, 'ECN ECHO'],
  [0x0d, 'ECN CWR'],
  [0x0e, 'SHUTDOWN COMPLETE'],
  [0xc0, 'FOR CUM TSN'],
  [0xc1, 'REL CTRL'],
  [0xc2, 'REL CTRL ACK'],
]);

/** IANA "SCTP Payload Protocol Identifiers", as far as tcpdump knows them; index 0 is none. */
const PAYLOAD_PROTOCOLS: readonly (string | undefined)[] = [
  undefined,
  'ISDN Q.921',
  'M2UA',
  'M3UA',
  'SUA',
  'M2PA',
  'V5.2',
  'H.248',
  'BICC',
  'TALI',
  'DUA',
  'ASAP',
  'ENRP',
  'H.323',
  'Q.IPC',
  'SIMCO',
  'DDPSC',
  'DDPSSC',
  'S1AP',
  'RUA',
  'HNBAP',
  'ForCES HP',
  'ForCES MP',
  'ForCES LP',
  'SBc-AP',
  'NBAP',
  undefined,
  'X2AP',
];

/** RFC 5811, section 4.1 */
const FORCES_CHANNELS = new Map<number, string>([
  [6704, '[ForCES HP]'],
  [6705, '[ForCES MP]'],
  [6706, '[ForCES LP]'],
]);

/**
 * RFC 9260, section 3.
 *
 *   0  |      Source Port Number       |    Destination Port Number    |
 *   4  |                       Verification Tag                        |
 *   8  |                           Checksum                            |
 *  12  |   Chunk Type  |  Chunk Flags  |         Chunk Length          |  its header counted in, its padding not
 *  16  |                         Chunk Value                           |
 */
export function printSctp(p: Printer, { ip, at: start, length }: Payload): void {
  p.protocol = 'sctp';
  if (length < HEADER) {
    p.print(`truncated-sctp - ${HEADER - length} bytes missing!`);
    return;
  }
  if (!p.has(start, HEADER)) {
    p.printTruncated();
    return;
  }
  const [source, destination] = sourceAndDestination(p, ip);
  const ports = [p.u16(start), p.u16(start + 2)] as const;
  p.print(`${source}.${ports[0]} > ${destination}.${ports[1]}: sctp`);
  for (const port of ports) p.print(FORCES_CHANNELS.get(port) ?? '');

  let at = start + HEADER;
  let left = length - HEADER;
  for (let count = 1; left !== 0; count++) {
    const heading = `${count === 1 ? ' (' : ', ('}${count}) `;
    if (left < CHUNK_HEADER) {
      p.print(`${heading}[chunk descriptor cut off at end of packet]`);
      return;
    }
    if (!p.has(at, CHUNK_HEADER)) {
      p.printTruncated();
      return;
    }
    const chunkLength = p.u16(at + 2);
    if (chunkLength < CHUNK_HEADER) {
      p.print(`${heading}[Bad chunk length ${chunkLength}, < size of chunk descriptor]`);
      return;
    }
    const padding = (4 - (chunkLength % 4)) % 4;
    if (left < padding) {
      p.print(`${heading}[Bad chunk length ${chunkLength}, > remaining data in packet]`);
      return;
    }
    if (!p.has(at, chunkLength)) {
      p.printTruncated();
      return;
    }
    p.print(heading);
    if (!printChunk(p, at, chunkLength)) {
      p.print(`bogus chunk length ${chunkLength}]`);
      return;
    }
    if (!p.has(at + chunkLength, padding)) {
      p.printTruncated();
      return;
    }
    at += chunkLength + padding;
    left = (left - chunkLength - padding) >>> 0;
  }
}

/** False where it is too short for what it is. */
function printChunk(p: Printer, at: number, length: number): boolean {
  const type = p.u8(at);
  p.print(`[${CHUNKS.get(type) ?? `Unknown chunk type: 0x${type.toString(16)}`}] `);
  switch (type) {
    case DATA:
      return printData(p, at, length);
    case INIT:
    case INIT_ACK:
      return printInit(p, at, length);
    case SACK:
      return printSack(p, at, length);
    default:
      return true;
  }
}

/**
 * Section 3.3.1. Flags: 4 unordered, 2 the beginning, 1 the end of a message.
 *
 *   4  |                              TSN                              |
 *   8  |      Stream Identifier        |   Stream Sequence Number      |
 *  12  |                  Payload Protocol Identifier                  |
 *  16  |                       User Data …                             |
 */
function printData(p: Printer, at: number, length: number): boolean {
  const flags = p.u8(at + 1);
  const shown = `${(flags & 4) === 0 ? '' : '(U)'}${(flags & 2) === 0 ? '' : '(B)'}${(flags & 1) === 0 ? '' : '(E)'}`;
  if (shown !== '') p.print(`${shown} `);
  if (length < 16) return false;
  const protocol = p.u32(at + 12);
  p.print(`[TSN: ${p.u32(at + 4)}] [SID: ${p.u16(at + 8)}] [SSEQ ${p.u16(at + 10)}] `);
  p.print(`[PPID ${PAYLOAD_PROTOCOLS[protocol] ?? `0x${protocol.toString(16)}`}] `);
  return length > 16;
}

/**
 * Sections 3.3.2 and 3.3.3.
 *
 *   4  |                         Initiate Tag                          |
 *   8  |           Advertised Receiver Window Credit                   |
 *  12  |  Number of Outbound Streams   |  Number of Inbound Streams    |
 *  16  |                          Initial TSN                          |
 */
function printInit(p: Printer, at: number, length: number): boolean {
  if (length < 20) return false;
  p.print(
    `[init tag: ${p.u32(at + 4)}] [rwnd: ${p.u32(at + 8)}] [OS: ${p.u16(at + 12)}] [MIS: ${p.u16(at + 14)}] ` +
      `[init TSN: ${p.u32(at + 16)}] `,
  );
  return true;
}

/**
 * Section 3.3.4.
 *
 *   4  |                      Cumulative TSN Ack                       |
 *   8  |          Advertised Receiver Window Credit (a_rwnd)           |
 *  12  | Number of Gap Ack Blocks = N  |  Number of Duplicate TSNs = M |
 *  16  |    Gap Ack Block #1 Start     |     Gap Ack Block #1 End      |  N of them
 *      |                       Duplicate TSN 1                         |  M of them
 */
function printSack(p: Printer, at: number, length: number): boolean {
  if (length < 16) return false;
  const acknowledged = p.u32(at + 4);
  const gaps = p.u16(at + 12);
  const duplicates = p.u16(at + 14);
  p.print(`[cum ack ${acknowledged}] [a_rwnd ${p.u32(at + 8)}] [#gap acks ${gaps}] [#dup tsns ${duplicates}] `);
  const end = at + length;
  let entry = at + 16;
  for (let gap = 1; entry !== end && gap <= gaps; gap++, entry += 4) {
    if (end - entry < 4) return false;
    const from = (acknowledged + p.u16(entry)) >>> 0;
    const to = (acknowledged + p.u16(entry + 2)) >>> 0;
    p.print(`\n\t\t[gap ack block #${gap}: start = ${from}, end = ${to}] `);
  }
  for (let duplicate = 1; entry !== end && duplicate <= duplicates; duplicate++, entry += 4) {
    if (end - entry < 4) return false;
    p.print(`\n\t\t[dup TSN #${duplicate}: ${p.u32(entry)}] `);
  }
  return true;
}
