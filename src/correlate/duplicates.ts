/**
 * One packet, one event: the same ICMP packet is captured on every interface of this host that it passes (uplink, bridge,
 * veth), before and after NAT.
 *
 * Addresses and ports do not survive NAT; in IPv4 the identifications do. Genuine repeats may be equal to the octet,
 * in IPv6 they always are. So the rule is: as many events as the largest number of occurrences on any one interface.
 */
import { ICMP_HEADER, type IcmpPacket } from '../decode/packet.ts';
import { isMalformed } from '../decode/octets.ts';

/** Octets of the quoted payload that are compared. */
const PAYLOAD = 32;
const UDP_HEADER = 8;

/**
 * Copies come within microseconds of each other; packets are remembered for one to two seconds, or, in a storm, as
 * long as it takes for so many others to come.
 */
const GENERATION_SECONDS = 1;
const GENERATION = 32_768;

/** What is the same in every copy of a packet, and different, mostly, in every other packet. */
export function copyKey(bytes: Uint8Array, packet: IcmpPacket): string {
  const { ip, type, code, length, original, icmpOffset, end } = packet;
  let key = `${ip.version} ${type} ${code} ${length}`;
  let payload = icmpOffset + ICMP_HEADER;
  if (original !== null && !isMalformed(original)) {
    payload = original.ip.payloadOffset + UDP_HEADER;
    key += ` ${original.ip.protocol} ${original.ip.payloadLength}`;
    if (ip.version === 4) key += ` ${ip.identification} ${original.ip.identification}`;
    else key += ` ${ip.src} ${ip.dst} ${original.ports?.source} ${original.ports?.destination}`;
  }
  for (let at = payload; at < end && at < payload + PAYLOAD; at++) key += String.fromCharCode(bytes[at]!);
  return key;
}

/** How often a packet was seen: on the first interface alone, or on each, with the interfaces of each event. */
type Sightings = string[] | { occurrences: Map<string, number>; events: string[][] };

export class Duplicates {
  #young = new Map<string, Sightings>();
  #old = new Map<string, Sightings>();
  #youngSince = Number.NEGATIVE_INFINITY;

  /**
   * One packet more. Returns the interfaces of its event, to which later sightings will be added; null where it is a
   * sighting of an event that is there already.
   *
   * @param seconds its time stamp.
   */
  see(key: string, interfaceName: string, seconds: number): string[] | null {
    this.#age(seconds);
    const known = this.#young.get(key) ?? this.#old.get(key);
    if (known === undefined) {
      const interfaces = [interfaceName];
      this.#young.set(key, interfaces);
      return interfaces;
    }
    const sightings = Array.isArray(known) ? { occurrences: new Map([[known[0]!, 1]]), events: [known] } : known;
    this.#young.set(key, sightings);
    const { occurrences, events } = sightings;
    const occurrence = (occurrences.get(interfaceName) ?? 0) + 1;
    occurrences.set(interfaceName, occurrence);
    if (occurrence > events.length) {
      const interfaces = [interfaceName];
      events.push(interfaces);
      return interfaces;
    }
    events[occurrence - 1]!.push(interfaceName);
    return null;
  }

  #age(seconds: number): void {
    const age = Math.abs(seconds - this.#youngSince);
    if (age <= GENERATION_SECONDS && this.#young.size < GENERATION) return;
    this.#old = age > 2 * GENERATION_SECONDS ? new Map() : this.#young;
    this.#young = new Map();
    this.#youngSince = seconds;
  }
}
