/**
 * The TCP conversations that were seen, quoted in errors: tcpdump prints the sequence numbers of all segments
 * but the first relative to the first.
 */
import { sourceAndDestination } from './ports.ts';
import type { Payload } from './payload.ts';
import type { Printer } from './printer.ts';

/** The one that was begun first is forgotten beyond these; its sequence numbers are then absolute again. */
const REMEMBERED = 16_384;

/** The first sequence numbers of the side with the lower port, and of the other. */
interface FirstNumbers {
  lower: number;
  higher: number;
}

/** Numbers as they are to be printed, and what is to be taken off those in selective acknowledgments. */
export interface RelativeNumbers {
  sequence: number;
  acknowledgment: number;
  peersFirst: number;
}

export class Conversations {
  readonly #first = new Map<string, FirstNumbers>();

  /** For a segment with the ACK flag; `begins`: it has SYN, too. */
  relative(p: Printer, payload: Payload, begins: boolean): RelativeNumbers {
    const { ip, at } = payload;
    const sequence = p.u32(at + 4);
    const acknowledgment = p.u32(at + 8);
    const [source, destination] = sourceAndDestination(p, ip);
    const sourcePort = p.u16(at);
    const destinationPort = p.u16(at + 2);
    const fromHigher = sourcePort === destinationPort ? compareAddresses(p, payload) > 0 : sourcePort > destinationPort;
    const key = fromHigher
      ? `${destination} ${destinationPort} ${source} ${sourcePort}`
      : `${source} ${sourcePort} ${destination} ${destinationPort}`;

    const known = this.#first.get(key);
    if (known === undefined || begins) {
      const peers = (acknowledgment - 1) >>> 0;
      this.#remember(key, fromHigher ? { lower: peers, higher: sequence } : { lower: sequence, higher: peers });
      return { sequence, acknowledgment, peersFirst: peers };
    }
    const own = fromHigher ? known.higher : known.lower;
    const peers = fromHigher ? known.lower : known.higher;
    return {
      sequence: (sequence - own) >>> 0,
      acknowledgment: (acknowledgment - peers) >>> 0,
      peersFirst: peers,
    };
  }

  #remember(key: string, numbers: FirstNumbers): void {
    if (this.#first.size >= REMEMBERED && !this.#first.has(key)) {
      const [oldest] = this.#first.keys();
      if (oldest !== undefined) this.#first.delete(oldest);
    }
    this.#first.set(key, numbers);
  }
}

function compareAddresses(p: Printer, { ip }: Payload): number {
  const [source, length] = ip.version === 4 ? [ip.at + 12, 4] : [ip.at + 8, 16];
  const addresses = p.bytes.subarray(source, source + 2 * length);
  return Buffer.compare(addresses.subarray(0, length), addresses.subarray(length));
}
