/**
 * What a probe sends. A port that speaks a protocol answers only what it understands: DNS and NTP get a question, every
 * other port an empty datagram, which does the least harm.
 */
import { randomBytes } from 'node:crypto';
import { readIfSmall } from '../host/proc-file.ts';

/** What is sent to a port. */
export interface Question {
  /** The octets of one more datagram. */
  datagram(): Uint8Array;
  /** Whether `answer` answers this datagram and no other. */
  isAnswered(datagram: Uint8Array, answer: Uint8Array): boolean;
}

/** What was asked for on the command line cannot be done; `message` is one line that says why. */
export class WrongArgument extends Error {}

/** Octets of payload that fit into a datagram: 65,535 of IPv4's total length, or of IPv6's payload length, less the headers. */
export const MAX_PAYLOAD = { 4: 65_507, 6: 65_527 } as const;

const DNS_PORT = 53;
const NTP_PORT = 123;

/** The name servers of the root, with recursion desired (RFC 1035 section 4.1): every resolver has an answer to that. */
const DNS_QUERY: Question = {
  datagram() {
    const id = randomBytes(2);
    const flagsAndCounts = [0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    const root = 0;
    const typeNs = [0, 2];
    const classIn = [0, 1];
    return Uint8Array.of(...id, ...flagsAndCounts, root, ...typeNs, ...classIn);
  },
  isAnswered: (query, answer) => hasSame(query, 0, answer, 0, 2),
};

const NTP_OCTETS = 48;
const NTP_ORIGIN = 24;
const NTP_TRANSMIT = 40;

/**
 * A client's request (RFC 5905 section 7.3): version 4, mode 3, and nothing but a transmit time stamp, random so that it tells
 * nothing of this host's clock (draft-ietf-ntp-data-minimization).
 */
const NTP_REQUEST: Question = {
  datagram() {
    const request = new Uint8Array(NTP_OCTETS);
    request[0] = (4 << 3) | 3;
    request.set(randomBytes(8), NTP_TRANSMIT);
    return request;
  },
  isAnswered: (request, answer) => hasSame(request, NTP_TRANSMIT, answer, NTP_ORIGIN, 8),
};

function hasSame(a: Uint8Array, atA: number, b: Uint8Array, atB: number, length: number): boolean {
  return b.length >= atB + length && Buffer.compare(a.subarray(atA, atA + length), b.subarray(atB, atB + length)) === 0;
}

/** What is sent to `port`: the octets given, or what suits the port. */
export function questionFor(port: number, given: Uint8Array | null): Question {
  if (given !== null) return always(given);
  if (port === DNS_PORT) return DNS_QUERY;
  return port === NTP_PORT ? NTP_REQUEST : always(new Uint8Array(0));
}

function always(octets: Uint8Array): Question {
  return { datagram: () => octets, isAnswered: () => false };
}

/**
 * The octets that `--payload` names: `hex:` and digits, or a file. No more is read of a file than any datagram holds.
 *
 * @throws WrongArgument
 */
export function readPayload(what: string): Uint8Array {
  if (what.startsWith('hex:')) return fromHex(what.slice('hex:'.length));
  let octets;
  try {
    octets = readIfSmall(what, MAX_PAYLOAD[6]);
  } catch (error) {
    throw new WrongArgument(`--payload: ${(error as Error).message.replace(/, read$/, `, read '${what}'`)}`);
  }
  if (octets === null) throw tooLong(`${what} is`, 6);
  return octets;
}

/** @throws WrongArgument where `octets` do not fit into one datagram. */
export function checkLength(octets: Uint8Array, family: 4 | 6): void {
  if (octets.length > MAX_PAYLOAD[family]) throw tooLong('it is', family);
}

function tooLong(what: string, family: 4 | 6): WrongArgument {
  const most = family === 4 ? '65,507' : '65,527';
  return new WrongArgument(`--payload: ${what} longer than a datagram over IPv${family} holds (${most} octets)`);
}

function fromHex(digits: string): Uint8Array {
  if (!/^[0-9a-f]*$/i.test(digits))
    throw new WrongArgument('--payload: what follows hex: is not all hexadecimal digits');
  if (digits.length % 2 === 1) throw new WrongArgument('--payload: an odd number of hexadecimal digits');
  return Buffer.from(digits, 'hex');
}
