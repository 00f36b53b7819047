/**
 * Captures that enumerate what an ICMP packet may look like: the same octets at every run.
 */
import { casesIpv4 } from './cases-v4.ts';
import { casesIpv6 } from './cases-v6.ts';
import type { ComparedPacket } from './compare.ts';
import { ETHERNET, LINKS, type Link } from './links.ts';
import { random } from './packets.ts';
import type { Named } from './quotes.ts';

const SEED = 20_251_125;
const DAMAGED = 4000;

function packet(origin: string, link: Link, ip: Buffer, caplen?: number): ComparedPacket {
  const frame = link.frame(ip);
  const data = frame.subarray(0, caplen ?? frame.length);
  return {
    origin: `${origin} (${link.name})`,
    linkType: link.linkType,
    data,
    len: frame.length,
    seconds: 0,
    nanoseconds: 0,
  };
}

/** One of each kind: what its name starts with, up to the first number or comma, is the kind. */
function oneOfEach(cases: readonly Named[]): Named[] {
  const kinds = new Map<string, Named>();
  for (const named of cases) {
    const kind = named[0].split(/[\d,]/)[0]!;
    const known = kinds.get(kind);
    // Of several the longest shows most, within reason.
    if (known === undefined || (known[1].length < named[1].length && named[1].length < 300)) kinds.set(kind, named);
  }
  return [...kinds.values()];
}

/** Cut at every octet. */
function truncated(cases: readonly Named[], link: Link): ComparedPacket[] {
  return cases.flatMap(([name, ip]) => {
    const { length } = link.frame(ip);
    const cuts = Array.from({ length: Math.min(length, 400) - 1 }, (_, index) => index + 1);
    return cuts.map((caplen) => packet(`${name}, cut to ${caplen}`, link, ip, caplen));
  });
}

/**
 * Packets with damage that nobody thought of: some octets are others, most of them in the first headers behind the link
 * layer's; now and then the packet is cut, or its end was not captured.
 * @param versions of IP, to leave one out
 */
export function damaged(seed: number, count: number, versions: readonly (4 | 6)[] = [4, 6]): ComparedPacket[] {
  const next = random(seed);
  const below = (limit: number): number => Math.floor(next() * limit);
  const oneIn = (times: number): boolean => below(times) === 0;
  const cases = [...(versions.includes(4) ? casesIpv4() : []), ...(versions.includes(6) ? casesIpv6() : [])];
  const short = cases.filter(([, ip]) => ip.length < 700);
  return Array.from({ length: count }, (_, index) => {
    const [name, ip] = short[below(short.length)]!;
    const link = oneIn(4) ? LINKS[below(LINKS.length)]! : ETHERNET;
    const each = packet(`${name}, damaged ${index} of seed ${seed}`, link, ip);
    const { data } = each;
    const behind = data.length - ip.length;
    for (let changes = 1 + below(5); changes > 0; changes--) {
      const at = oneIn(3) ? below(data.length) : behind + below(Math.min(100, data.length - behind));
      if (at < data.length) data[at] = [0, 1, 4, 255, 0x45, below(256), data[at]! ^ (1 << below(8))][below(7)]!;
    }
    if (oneIn(4)) each.data = data.subarray(0, 1 + below(data.length));
    if (oneIn(20)) each.len += below(40);
    return each;
  });
}

/** @param versions of IP, to leave one out */
export function generated(versions: readonly (4 | 6)[] = [4, 6]): ComparedPacket[] {
  const four = versions.includes(4) ? casesIpv4() : [];
  const six = versions.includes(6) ? casesIpv6() : [];
  const kinds = [...oneOfEach(four), ...oneOfEach(six)];
  const few = kinds.filter((_, index) => index % 12 === 0);
  const packets = [
    ...[...four, ...six].map(([name, ip]) => packet(name, ETHERNET, ip)),
    ...truncated(kinds, ETHERNET),
    ...LINKS.flatMap((link) => kinds.map(([name, ip]) => packet(name, link, ip))),
    ...LINKS.flatMap((link) => truncated(few.slice(0, 3), link)),
    ...damaged(SEED, DAMAGED, versions),
  ];
  for (const [index, each] of packets.entries()) setTime(each, index);
  return packets;
}

/** The first, before and on a leap day, the last that tcpdump can print. */
const RARE_TIMES = [0, 951_782_399, 951_782_400, 2 ** 31 - 1];

/** Mostly forward, from microseconds to days, and now and then back. */
function setTime(each: ComparedPacket, index: number): void {
  const rare = RARE_TIMES[(index % 1000) / 50];
  if (rare !== undefined) {
    each.seconds = rare;
    each.nanoseconds = rare % 2 === 0 ? 0 : 999_999_000;
    return;
  }
  const steps = [0, 0.000_001, 0.5, 1, -0.25, 59, -1, 3600, 86_399.999_999];
  each.seconds = 1_700_000_000 + index * 7 + Math.floor(steps[index % steps.length]!);
  each.nanoseconds = ((index * 7919) % 1_000_000) * 1000;
}
