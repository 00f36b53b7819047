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
import { Hash } from './hash.ts';

/** Octets of the quoted payload that are compared. */
const PAYLOAD = 32;

/** Copies come within microseconds of each other, or, where the host is busy, within some milliseconds. */
const COPY_WITHIN_SECONDS = 0.1;

/** Equal packets that are remembered, and different ones in a generation, of which there are two. */
const MAX_EQUAL = 1024;
const GENERATION = 32_768;

/**
 * What is the same in every copy of a packet, and different, mostly, in every other packet, as a hash.
 *
 * @param undoNat gives the tuple of a quoted datagram before NAT, as its sender has it.
 */
export function copyKey(bytes: Uint8Array, packet: IcmpPacket, undoNat: (tuple: UdpTuple) => UdpTuple): number {
  const { ip, type, code, length, original, icmpOffset, end } = packet;
  const hash = new Hash();
  hash.add((ip.version << 16) | ((type ?? 0) << 8) | (code ?? 0));
  hash.add(length);
  let payload = icmpOffset + ICMP_HEADER;
  if (original !== null && !isMalformed(original)) {
    payload = original.ip.payloadOffset + UDP_HEADER;
    hash.add(original.ip.protocol);
    hash.add(original.ip.payloadLength);
    // Some routers set it to 0 (RFC 6864), which tells nothing apart.
    if (ip.version === 4 && ip.identification !== 0) {
      hash.add(((ip.identification ?? 0) << 16) | (original.ip.identification ?? 0));
    } else hash.addText(addressesOf(ip, original, undoNat));
  }
  for (let at = payload; at < end && at < payload + PAYLOAD; at++) hash.add(bytes[at]!);
  return hash.value;
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
  #young = new Sightings();
  #old = new Sightings();

  /**
   * One packet more. Returns the interfaces of its event, to which later sightings will be added; null where it is a
   * sighting of an event that is there already.
   *
   * @param seconds its time stamp.
   */
  see(key: number, interfaceName: string, seconds: number): string[] | null {
    const known = this.#young.get(key) ?? this.#old.get(key);
    if (known === undefined) {
      const interfaces = [interfaceName];
      this.#remember(key, seconds, interfaces);
      return interfaces;
    }
    const equal = known instanceof EqualPackets ? known : new EqualPackets(known);
    this.#remember(key, seconds, equal);
    return equal.see(interfaceName, seconds);
  }

  #remember(key: number, seconds: number, seen: string[] | EqualPackets): void {
    if (this.#young.isFull) {
      [this.#young, this.#old] = [this.#old, this.#young];
      this.#young.clear();
    }
    this.#young.set(key, seconds, seen);
  }
}

/** Slots: a power of two, half of which are used. */
const SLOTS = 2 * GENERATION;

/**
 * A hash table of what was seen of which packets: open addressing. Most packets are seen once, and of those it keeps their
 * event's interfaces and the time: in a storm a Map, with an object for each, took a quarter of the time.
 */
class Sightings {
  /** 0: empty. */
  readonly #keys = new Float64Array(SLOTS);
  readonly #seconds = new Float64Array(SLOTS);
  readonly #seen: (string[] | EqualPackets | undefined)[] = Array.from({ length: SLOTS });
  #size = 0;

  get isFull(): boolean {
    return this.#size >= GENERATION;
  }

  get(key: number): Sighting | EqualPackets | undefined {
    const slot = this.#slotOf(key);
    const seen = this.#seen[slot];
    if (seen === undefined || seen instanceof EqualPackets) return seen;
    return { seconds: this.#seconds[slot]!, interfaces: seen };
  }

  set(key: number, seconds: number, seen: string[] | EqualPackets): void {
    const slot = this.#slotOf(key);
    if (this.#keys[slot] === 0) this.#size++;
    this.#keys[slot] = key;
    this.#seconds[slot] = seconds;
    this.#seen[slot] = seen;
  }

  clear(): void {
    this.#keys.fill(0);
    this.#seen.fill(undefined);
    this.#size = 0;
  }

  /** Where it is, or would be. */
  #slotOf(key: number): number {
    let slot = (key / 2 ** 21) & (SLOTS - 1);
    while (this.#keys[slot] !== 0 && this.#keys[slot] !== key) slot = (slot + 1) & (SLOTS - 1);
    return slot;
  }
}
