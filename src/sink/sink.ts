/**
 * A sink turns events into text. The bytes of a packet are gone when its event is printed (look-ups take
 * their time), so what a sink wants of them it says in `describe`, while they are there.
 */
import type { IcmpEvent, IncidentRecord } from '../event.ts';
import type { LinkHeader } from '../decode/link.ts';
import type { IcmpPacket } from '../decode/packet.ts';
import type { Octets } from './output.ts';

export interface Sink {
  /** Whether it prints `count`: remembering millions of flows is not free. */
  readonly printsCount: boolean;
  /** Called with each packet as it comes; `wireEnd` is where it would end in `bytes` had all of it been captured, and `link` what stands before it. */
  describe(
    bytes: Uint8Array,
    packet: IcmpPacket,
    wireEnd: number,
    link: LinkHeader | null,
    interfaceName: string | null,
  ): Octets;
  /** Called for the events that are shown, in order; the text to print, line end included. */
  format(event: IcmpEvent, description: Octets): Octets;
  /** Likewise for what became of an incident; empty where it is not shown. */
  record(record: IncidentRecord): Octets;
}
