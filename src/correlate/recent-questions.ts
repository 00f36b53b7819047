/**
 * Questions that were asked about the packets that came together, and their answers. Found by their ports: building a key for
 * a table takes longer than most answers. What is in one's place drives it out, and is asked again.
 */
import { isSameTuple, type UdpTuple } from '../host/udp-tuple.ts';
import type { Found } from './attribution.ts';

/** Whose socket is looked for: whoever sent the quoted datagram, or whoever it was for. */
export type Role = 'sender' | 'receiver';

interface RecentQuestion {
  role: Role;
  tuple: UdpTuple;
  interfaceName: string | null;
  /** When the packets came that it is about. */
  since: number;
  answer: Found | Promise<Found>;
}

/** A power of two. */
const PLACES = 16_384;

export class RecentQuestions {
  readonly #places: (RecentQuestion | undefined)[] = Array.from({ length: PLACES });

  get(role: Role, tuple: UdpTuple, interfaceName: string | null, since: number): Found | Promise<Found> | undefined {
    const recent = this.#places[placeOf(tuple)];
    if (recent === undefined || recent.since !== since || recent.role !== role) return undefined;
    return recent.interfaceName === interfaceName && isSameTuple(recent.tuple, tuple) ? recent.answer : undefined;
  }

  remember(question: RecentQuestion): void {
    this.#places[placeOf(question.tuple)] = question;
  }
}

function placeOf({ localPort, remotePort }: UdpTuple): number {
  return (localPort * 31 + remotePort) & (PLACES - 1);
}
