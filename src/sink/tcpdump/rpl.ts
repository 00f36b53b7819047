/**
 * RPL (RFC 6550, section 6), the routing protocol for low-power networks, as tcpdump prints it. The code tells the message;
 * its high bit that it is secured.
 */
import { hex, type Printer } from './printer.ts';

const SECURED = 0x80;
const MESSAGE = { DIS: 0, DIO: 1, DAO: 2, DAO_ACK: 3 } as const;

const DIO_HEADER = 24;
const DODAG_ID = 16;

/** Octets of a DAO and a DAO-ACK before the DODAG ID, which is optional. */
const DAO_HEADER = 4;

/** RFC 6550, section 6.3.1. */
const MODES = ['nonstoring', 'storing', 'nonstoring-multicast', 'storing-multicast'] as const;

/** `length` octets of ICMPv6 are at `at`; what RPL's own is starts behind the checksum. */
export function printRpl(p: Printer, code: number, at: number, length: number): void {
  if ((code & SECURED) !== 0) return p.print(', (SEC) [worktodo]');
  const body = at + 4;
  // As C reckons in unsigned integers.
  const bodyLength = (length - 4) >>> 0;
  p.print(', (CLR)');
  switch (code) {
    case MESSAGE.DIS:
      p.print('DODAG Information Solicitation');
      break;
    case MESSAGE.DIO:
      p.print('DODAG Information Object');
      if (p.verbose) printDio(p, body, bodyLength);
      break;
    case MESSAGE.DAO:
      p.print('Destination Advertisement Object');
      if (p.verbose) printDao(p, body, bodyLength);
      break;
    case MESSAGE.DAO_ACK:
      p.print('Destination Advertisement Object Ack');
      if (p.verbose) printDaoAck(p, body, bodyLength);
      break;
    default:
      p.print(`RPL message, unknown code ${code}`);
  }
}

/**
 * DODAG Information Object, RFC 6550 section 6.3.1:
 *
 *   0  | RPLInstanceID |Version Number |             Rank              |
 *   4  |G|0| MOP | Prf |     DTSN      |     Flags     |   Reserved    |
 *   8  |                         DODAGID (16)                          |
 */
function printDio(p: Printer, at: number, length: number): void {
  if (length < DIO_HEADER) {
    p.print(` [length ${length} < ${DIO_HEADER}]`);
    return p.printInvalid();
  }
  const modeAndPreference = p.u8(at + 4);
  const mode = (modeAndPreference >> 3) & 7;
  p.print(
    ` [dagid:${p.ipv6(at + 8)},seq:${p.u8(at + 5)},instance:${p.u8(at)},rank:${p.u16(at + 2)},` +
      `${(modeAndPreference & 0x80) === 0 ? '' : 'grounded,'}mop:${MODES[mode] ?? `mop${mode}`},` +
      `prf:${modeAndPreference & 7}]`,
  );
}

/**
 * Destination Advertisement Object, RFC 6550 section 6.4.1:
 *
 *   0  | RPLInstanceID |K|D|   Flags   |   Reserved    |  DAOSequence  |
 *   4  |                 DODAGID (16), where D is set                  |
 */
function printDao(p: Printer, at: number, length: number): void {
  // tcpdump wants the DODAG ID to be there even where it is not.
  p.need(at, DAO_HEADER + DODAG_ID);
  const flags = p.u8(at + 1);
  const hasId = (flags & 0x40) !== 0;
  if (length < DAO_HEADER + (hasId ? DODAG_ID : 0)) return p.print(' [|length too short]');
  p.print(
    ` [dagid:${hasId ? p.ipv6(at + DAO_HEADER) : '<elided>'},seq:${p.u8(at + 3)},instance:${p.u8(at)}` +
      `${(flags & 0x80) === 0 ? '' : ',acK'}${hasId ? ',Dagid' : ''},${hex(flags, 2)}]`,
  );
}

/**
 * Its acknowledgement, RFC 6550 section 6.5.1:
 *
 *   0  | RPLInstanceID |D|  Reserved   |  DAOSequence  |    Status     |
 *   4  |                 DODAGID (16), where D is set                  |
 */
function printDaoAck(p: Printer, at: number, length: number): void {
  p.need(at, DAO_HEADER);
  const hasId = (p.u8(at + 1) & 0x80) !== 0;
  if (length >= DAO_HEADER && hasId) p.need(at + DAO_HEADER, DODAG_ID);
  if (length < DAO_HEADER + (hasId ? DODAG_ID : 0)) return p.print(' [|dao-length too short]');
  p.print(
    ` [dagid:${hasId ? p.ipv6(at + DAO_HEADER) : '<elided>'},seq:${p.u8(at + 2)},instance:${p.u8(at)},` +
      `status:${p.u8(at + 3)}]`,
  );
}
