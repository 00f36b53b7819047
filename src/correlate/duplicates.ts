/**
 * One packet, one event: the same ICMP packet is captured on every interface of this host that it passes (uplink, bridge,
 * veth), before and after NAT.
 *
 * Addresses and ports do not survive NAT; in IPv4 the identifications do, and conntrack tells what they were. Genuine repeats may be equal to the octet,
 * in IPv6 they always are. So the rule is: as many events as the largest number of occurrences on any one interface.
 */
import { ICMP_HEADER, type IcmpPacket } from '../decode/packet.ts';
import { PROTOCOL, type IpHeader } from '../decode/ip.ts';
import { isMalformed } from '../decode/octets.ts';
import { UDP_HEADER, type OriginalDatagram } from '../decode/original-datagram.ts';
import { tupleKey, type UdpTuple } from '../host/udp-tuple.ts';

/** Octets of the quoted payload that are compared. */
const PAYLOAD = 32;

/** Copies come within microseconds of each other, or, where the host is busy, within some milliseconds. */
const COPY_WITHIN_SECONDS = 0.1;

/** Equal packets that are remembered, and different ones in a generation, of which there are two. */
const MAX_EQUAL = 1024;
const GENERATION = 32_768;

/**
 * What is the same in every copy of a packet, and different, mostly, in every other packet.
 *
 * @param undoNat gives the tuple of a quoted datagram before NAT, as its sender has it.
 */
export function copyKey(bytes: Uint8Array, packet: IcmpPacket, undoNat: (tuple: UdpTuple) => UdpTuple): string {
  const { ip, type, code, length, original, icmpOffset, end } = packet;
  let key = `${ip.version} ${type} ${code} ${length}`;
  let payload = icmpOffset + ICMP_HEADER;
  if (original !== null && !isMalformed(original)) {
    payload = original.ip.payloadOffset + UDP_HEADER;
    key += ` ${original.ip.protocol} ${original.ip.payloadLength}`;
    // Some routers set it to 0 (RFC 6864), which tells nothing apart.
    if (ip.version === 4 && ip.identification !== 0) key += ` ${ip.identification} ${original.ip.identification}`;
    else key += ` ${addressesOf(ip, original, undoNat)}`;
  }
  for (let at = payload; at < end && at < payload + PAYLOAD; at++) key += String.fromCharCode(bytes[at]!);
  return key;
}

/**
 * Addresses and ports as they are before NAT. Of the outer addresses NAT changes one with the quoted address that is equal
 * to it, so what counts is whether it is.
 */
function addressesOf(
  ip: IpHeader,
  { ip: quoted, ports }: OriginalDatagram,
  undoNat: (tuple: UdpTuple) => UdpTuple,
): string {
  const tuple = {
    version: ip.version,
    local: quoted.src,
    localPort: ports?.source ?? 0,
    remote: quoted.dst,
    remotePort: ports?.destination ?? 0,
  };
  const own = quoted.protocol === PROTOCOL.UDP && ports !== null ? undoNat(tuple) : tuple;
  const from = ip.src === quoted.dst ? '' : ip.src;
  const to = ip.dst === quoted.src ? '' : ip.dst;
  return `${from} ${to} ${tupleKey(own)}`;
}

interface Sighting {
  /** The time stamp of the first one. */
  seconds: number;
  /** Where it was seen, each interface once. */
  interfaces: string[];
}

/** The events of equal packets, oldest first, and which of them each interface has yet to see. */
class EqualPackets {
  readonly #events: Sighting[];
  /** Events that were forgotten: the number of #events[0]. */
  #forgotten = 0;
  /** The number of the event that the next packet on an interface is a copy of. */
  readonly #next = new Map<string, number>();

  constructor(first: Sighting) {
    this.#events = [first];
    for (const name of first.interfaces) this.#next.set(name, 1);
  }

  see(interfaceName: string, seconds: number): string[] | null {
    while (this.#events.length > 0 && (isOver(this.#events[0]!, seconds) || this.#events.length >= MAX_EQUAL)) {
      this.#events.shift();
      this.#forgotten++;
    }
    const number = Math.max(this.#next.get(interfaceName) ?? 0, this.#forgotten);
    this.#next.set(interfaceName, number + 1);
    const event = this.#events[number - this.#forgotten];
    if (event !== undefined) {
      event.interfaces.push(interfaceName);
      return null;
    }
    const interfaces = [interfaceName];
    this.#events.push({ seconds, interfaces });
    return interfaces;
  }
}

/** In both directions: the clock may have been set back. */
function isOver(sighting: Sighting, seconds: number): boolean {
  return Math.abs(seconds - sighting.seconds) > COPY_WITHIN_SECONDS;
}

export class Duplicates {
  /** Most packets are seen once: only for equal ones more is kept. */
  #young = new Map<string, Sighting | EqualPackets>();
  #old = new Map<string, Sighting | EqualPackets>();

  /**
   * One packet more. Returns the interfaces of its event, to which later sightings will be added; null where it is a
   * sighting of an event that is there already.
   *
   * @param seconds its time stamp.
   */
  see(key: string, interfaceName: string, seconds: number): string[] | null {
    const known = this.#young.get(key) ?? this.#old.get(key);
    if (known === undefined) {
      const interfaces = [interfaceName];
      this.#remember(key, { seconds, interfaces });
      return interfaces;
    }
    const equal = known instanceof EqualPackets ? known : new EqualPackets(known);
    this.#remember(key, equal);
    return equal.see(interfaceName, seconds);
  }

  #remember(key: string, sighting: Sighting | EqualPackets): void {
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, sighting);
  }
}
