/**
 * Getters for big-endian fields, and the text of addresses. The getters do not check bounds: a decoder
 * checks once that its header is all there, and then reads.
 */

export function u16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

export function u32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0;
}

/**
 * A decoder's other result: what it could not read.
 *
 * `truncated`: the captured octets ran out, `need` of them were wanted from `offset` and `have` were there.
 * `invalid`: the octets contradict each other or the RFC.
 */
export interface Malformed {
  readonly layer: 'link' | 'ip' | 'icmp' | 'quoted-ip' | 'quoted-transport' | 'extension';
  readonly reason: 'truncated' | 'invalid';
  /** Where in the packet's bytes. */
  readonly offset: number;
  readonly need: number;
  readonly have: number;
}

export function malformed(
  layer: Malformed['layer'],
  reason: Malformed['reason'],
  offset: number,
  need: number,
  have: number,
): Malformed {
  return { layer, reason, offset, need, have: Math.max(0, have) };
}

export function isMalformed(value: object): value is Malformed {
  return 'reason' in value;
}

/**
 * Addresses repeat from packet to packet, and making their text is the dearest part of decoding one. The
 * caches are emptied when full, so that a flood of ever-new addresses costs no memory.
 */
const CACHED_ADDRESSES = 8192;
const ipv4Text = new Map<number, string>();
const ipv6Text = new Map<string, string>();

/** The dotted quad at `offset`; four octets must be there. */
export function formatIpv4(bytes: Uint8Array, offset: number): string {
  const address = u32(bytes, offset);
  let text = ipv4Text.get(address);
  if (text === undefined) {
    text = `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
    if (ipv4Text.size >= CACHED_ADDRESSES) ipv4Text.clear();
    ipv4Text.set(address, text);
  }
  return text;
}

/**
 * The address at `offset` as RFC 5952 writes it and inet_ntop(3) prints it; 16 octets must be there.
 * IPv4-mapped and IPv4-compatible addresses end in a dotted quad.
 */
export function formatIpv6(bytes: Uint8Array, offset: number): string {
  const key = String.fromCharCode(
    u16(bytes, offset),
    u16(bytes, offset + 2),
    u16(bytes, offset + 4),
    u16(bytes, offset + 6),
    u16(bytes, offset + 8),
    u16(bytes, offset + 10),
    u16(bytes, offset + 12),
    u16(bytes, offset + 14),
  );
  let text = ipv6Text.get(key);
  if (text === undefined) {
    text = ipv6ToText(key, bytes, offset);
    if (ipv6Text.size >= CACHED_ADDRESSES) ipv6Text.clear();
    ipv6Text.set(key, text);
  }
  return text;
}

/** `groups` holds the eight 16-bit groups as its eight UTF-16 code units. */
function ipv6ToText(groups: string, bytes: Uint8Array, offset: number): string {
  // The longest run of at least two zero groups, the first one where several are as long.
  let zerosAt = -1;
  let zeros = 1;
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && groups.charCodeAt(end) === 0) end++;
    if (end - at > zeros) {
      zerosAt = at;
      zeros = end - at;
    }
    if (end > at) at = end;
  }
  const isIpv4Mapped = zerosAt === 0 && zeros === 5 && groups.charCodeAt(5) === 0xffff;
  const isIpv4Compatible = zerosAt === 0 && zeros === 6;
  if (isIpv4Mapped) return `::ffff:${formatIpv4(bytes, offset + 12)}`;
  if (isIpv4Compatible) return `::${formatIpv4(bytes, offset + 12)}`;

  let text = '';
  for (let at = 0; at < 8; at++) {
    if (at === zerosAt) {
      text += '::';
      at += zeros - 1;
      continue;
    }
    if (text !== '' && !text.endsWith(':')) text += ':';
    text += groups.charCodeAt(at).toString(16);
  }
  return text;
}
