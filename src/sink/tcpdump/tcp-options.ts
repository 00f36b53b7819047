/**
 * The options of a TCP header.
 *
 *  one octet:    |  kind  |                                 end of list, no operation
 *  all others:   |  kind  | length | data …   |
 */
import { printMptcp } from './mptcp.ts';
import type { Printer } from './printer.ts';

const HEADER = 20;

const END = 0;
const NO_OPERATION = 1;
const MAXIMUM_SEGMENT_SIZE = 2;
const WINDOW_SCALE = 3;
const SACK = 5;
const ECHO = 6;
const ECHO_REPLY = 7;
const TIMESTAMPS = 8;
const CC = 11;
const CC_NEW = 12;
const CC_ECHO = 13;
const MD5_SIGNATURE = 19;
const SCPS_CAPABILITIES = 20;
const USER_TIMEOUT = 28;
const AUTHENTICATION = 29;
const MPTCP = 30;
const FAST_OPEN = 34;
const EXPERIMENT_2 = 254;

/** RFC 6994: Fast Open had this number while it was an experiment. */
const FAST_OPEN_EXPERIMENT = 0xf989;

const NAMES = new Map<number, string>([
  [END, 'eol'],
  [NO_OPERATION, 'nop'],
  [MAXIMUM_SEGMENT_SIZE, 'mss'],
  [WINDOW_SCALE, 'wscale'],
  [4, 'sackOK'],
  [SACK, 'sack'],
  [ECHO, 'echo'],
  [ECHO_REPLY, 'echoreply'],
  [TIMESTAMPS, 'TS'],
  [CC, 'cc'],
  [CC_NEW, 'ccnew'],
  [CC_ECHO, ''],
  [MD5_SIGNATURE, 'md5'],
  [SCPS_CAPABILITIES, 'scps'],
  [USER_TIMEOUT, 'uto'],
  [AUTHENTICATION, 'tcp-ao'],
  [MPTCP, 'mptcp'],
  [FAST_OPEN, 'tfo'],
  [EXPERIMENT_2, 'exp'],
]);

/** Octets of data that tcpdump takes for granted, whatever the option's length says. */
const FIXED_DATA = new Map<number, number>([
  [MAXIMUM_SEGMENT_SIZE, 2],
  [WINDOW_SCALE, 1],
  [ECHO, 4],
  [ECHO_REPLY, 4],
  [TIMESTAMPS, 8],
  [CC, 4],
  [CC_NEW, 4],
  [CC_ECHO, 4],
  [MD5_SIGNATURE, 16],
  [SCPS_CAPABILITIES, 2],
  [USER_TIMEOUT, 2],
]);
/** Those that have as much data as their length says. */
const COUNTED_DATA: ReadonlySet<number> = new Set([MPTCP, FAST_OPEN, EXPERIMENT_2]);
/** Those that have none, whatever their length says. */
const NO_DATA: ReadonlySet<number> = new Set([END, NO_OPERATION, 4]);

export interface TcpHeader {
  readonly at: number;
  readonly headerLength: number;
  /** Octets behind the header. */
  readonly data: number;
  readonly flags: number;
  /** What is taken off the numbers in selective acknowledgments. */
  readonly peersFirst: number;
}

interface Option {
  readonly kind: number;
  /** Where its data is, and how much tcpdump takes for its data. */
  readonly at: number;
  readonly data: number;
}

/** False where they are wrong or cut off: nothing is printed behind them then. */
export function printTcpOptions(p: Printer, header: TcpHeader): boolean {
  p.print(', options [');
  const end = header.at + header.headerLength;
  let separator = '';
  for (let at = header.at + HEADER; at < end;) {
    p.print(separator);
    const kind = p.u8(at);
    const isSingle = kind === END || kind === NO_OPERATION;
    const length = isSingle ? 1 : p.u8(at + 1);
    if (!isSingle && (length < 2 || length > end - at)) return bad(p, separator);
    p.print(NAMES.get(kind) ?? `unknown-${kind}`);
    const dataAt = at + (isSingle ? 1 : 2);
    const data = NO_DATA.has(kind) ? 0 : (FIXED_DATA.get(kind) ?? length - 2);
    if (FIXED_DATA.has(kind) || COUNTED_DATA.has(kind)) {
      if (data > end - dataAt) return bad(p, separator);
      if (!p.has(dataAt, data)) return truncated(p, separator);
    }
    switch (printData(p, header, { kind, at: dataAt, data })) {
      case 'bad':
        return bad(p, separator);
      case 'truncated':
        return truncated(p, separator);
      case 'read':
        break;
    }
    at = dataAt + data;
    if (data + (isSingle ? 1 : 2) !== length) p.print(`[len ${length}]`);
    separator = ',';
    if (kind === END) break;
  }
  p.print(']');
  return true;
}

function bad(p: Printer, separator: string): false {
  p.print(`[bad opt]${separator === '' ? '' : ']'}`);
  return false;
}

function truncated(p: Printer, separator: string): false {
  p.printTruncated();
  if (separator !== '') p.print('>');
  return false;
}

function printData(p: Printer, header: TcpHeader, { kind, at, data }: Option): 'read' | 'bad' | 'truncated' {
  switch (kind) {
    case END:
    case NO_OPERATION:
    case 4:
      return 'read';
    case MAXIMUM_SEGMENT_SIZE:
      p.print(` ${p.u16(at)}`);
      return 'read';
    case WINDOW_SCALE:
      p.print(` ${p.u8(at)}`);
      return 'read';
    case SACK:
      return printSack(p, header, at, data);
    case ECHO:
    case ECHO_REPLY:
    case CC:
    case CC_NEW:
    case CC_ECHO:
      p.print(` ${p.u32(at)}`);
      return 'read';
    case TIMESTAMPS:
      p.print(` val ${p.u32(at)} ecr ${p.u32(at + 4)}`);
      return 'read';
    case MD5_SIGNATURE: {
      const isAllThere = p.has(header.at + header.headerLength, header.data);
      const why = isAllThere ? 'shared secret not supplied with -M' : 'snaplen too short';
      p.print(` ${why}, can't check - ${p.hex(at, data)}`);
      return 'read';
    }
    case SCPS_CAPABILITIES:
      p.print(` cap ${p.hex(at, 1)} id ${p.u8(at + 1)}`);
      return 'read';
    case USER_TIMEOUT: {
      const timeout = p.u16(at);
      const seconds = (timeout & 1) === 1 ? (timeout >> 1) * 60 : timeout >> 1;
      p.print(` 0x${timeout.toString(16)} ${seconds}`);
      return 'read';
    }
    case AUTHENTICATION:
      return printAuthentication(p, at, data);
    case MPTCP:
      return printMptcp(p, at - 2, data + 2, header.flags) ? 'read' : 'bad';
    case FAST_OPEN:
      p.print(' ');
      printFastOpen(p, at, data);
      return 'read';
    case EXPERIMENT_2: {
      if (data < 2) return 'bad';
      const experiment = p.u16(at);
      p.print('-');
      if (experiment === FAST_OPEN_EXPERIMENT) {
        p.print('tfo');
        printFastOpen(p, at + 2, data - 2);
      } else p.print(p.hex(at, 2));
      return 'read';
    }
    default:
      if (data > 0) p.print(' 0x');
      return printOctets(p, at, data);
  }
}

/** RFC 2018: pairs of sequence numbers. */
function printSack(p: Printer, { peersFirst }: TcpHeader, at: number, data: number): 'read' | 'truncated' {
  if (data % 8 !== 0) {
    p.print(' invalid sack');
    return 'read';
  }
  p.print(` ${data / 8} `);
  for (let block = at; block < at + data; block += 8) {
    if (!p.has(block, 8)) return 'truncated';
    p.print(`{${(p.u32(block) - peersFirst) >>> 0}:${(p.u32(block + 4) - peersFirst) >>> 0}}`);
  }
  return 'read';
}

/** RFC 5925, section 2.2: |  29  | length | key identifier | next key identifier | message authentication code … */
function printAuthentication(p: Printer, at: number, data: number): 'read' | 'truncated' {
  if (data < 2) {
    p.printInvalid();
    return 'read';
  }
  if (!p.has(at, 1)) return 'truncated';
  p.print(` keyid ${p.u8(at)}`);
  if (!p.has(at, 2)) return 'truncated';
  p.print(` rnextkeyid ${p.u8(at + 1)}`);
  if (data === 2) return 'read';
  p.print(' mac 0x');
  return printOctets(p, at + 2, data - 2);
}

/** RFC 7413, section 4.1.1 */
function printFastOpen(p: Printer, at: number, data: number): void {
  if (data === 0) p.print(' cookiereq');
  else if (data % 2 !== 0 || data < 4 || data > 16) p.printInvalid();
  else p.print(` cookie ${p.hex(at, data)}`);
}

/** As many as there are. */
function printOctets(p: Printer, at: number, octets: number): 'read' | 'truncated' {
  const captured = Math.min(octets, p.available(at));
  p.print(p.hex(at, captured));
  return captured === octets ? 'read' : 'truncated';
}
