/**
 * How many ICMP errors this host sends: icmpv4_xrlim_allow and icmp_global_allow in net/ipv4/icmp.c, icmpv6_xrlim_allow in
 * net/ipv6/icmp.c.
 */
import { icmpv4Name, ICMPV4 } from '../decode/icmpv4.ts';
import { icmpv6Name, ICMPV6 } from '../decode/icmpv6.ts';
import { readShort } from '../host/proc-file.ts';
import type { Check } from './check.ts';

/** XRLIM_BURST_FACTOR */
const BURST = 6;
/** The kernel's defaults, at which errors of one peer come about once a second, and 1,000 a second to all of them. */
const DEFAULT_INTERVAL_MS = 1000;
const DEFAULT_PER_SECOND = 1000;
/** The types of errors, and those with codes that are told apart by name are named by their type. */
const ERRORS_4: ReadonlyMap<number, string> = new Map([
  [ICMPV4.DESTINATION_UNREACHABLE, 'destination-unreachable'],
  [ICMPV4.TIME_EXCEEDED, 'time-exceeded'],
  [ICMPV4.PARAMETER_PROBLEM, 'parameter-problem'],
  [ICMPV4.REDIRECT, 'redirect'],
]);
const ERRORS_6: ReadonlyMap<number, string> = new Map([
  [ICMPV6.DESTINATION_UNREACHABLE, 'destination-unreachable'],
  [ICMPV6.TIME_EXCEEDED, 'time-exceeded'],
  [ICMPV6.PARAMETER_PROBLEM, 'parameter-problem'],
]);
const MAX_TYPE = 255;
const LOWER_BOUND =
  'errors that this host sends are limited by it, and peers have limits of their own: counts are lower bounds of what was lost';

/** The types whose bits are set in net.ipv4.icmp_ratemask; null where it is no number. */
export function typesOfMask(mask: string): number[] | null {
  if (!/^\d{1,10}$/.test(mask)) return null;
  const bits = BigInt(mask);
  return Array.from({ length: 32 }, (_, type) => type).filter((type) => ((bits >> BigInt(type)) & 1n) === 1n);
}

/** The types in net.ipv6.icmp.ratemask, as `0-1,3-127`; null where it is no list of ranges. */
export function typesOfRanges(ranges: string): number[] | null {
  const types = new Set<number>();
  for (const range of ranges === '' ? [] : ranges.split(',')) {
    const [, from, to = from] = /^(\d{1,3})(?:-(\d{1,3}))?$/.exec(range) ?? [];
    if (from === undefined || Number(to) > MAX_TYPE) return null;
    for (let type = Number(from); type <= Number(to); type++) types.add(type);
  }
  return [...types].toSorted((a, b) => a - b);
}

/** A type by its name in the sense of IANA, hyphenated; `type 42` where it has none. */
export function typeName(version: 4 | 6, type: number): string {
  const name =
    (version === 4 ? ERRORS_4 : ERRORS_6).get(type) ?? (version === 4 ? icmpv4Name(type, 0) : icmpv6Name(type, 0));
  return name.startsWith('type-') ? `type ${type}` : name;
}

/** @param root of /proc/sys/net. */
export function checkIcmpLimits(root = '/proc/sys/net'): Check[] {
  const read = (name: string): string | null => readShort(`${root}/${name}`)?.trim() ?? null;
  return [
    checkInterval(4, read('ipv4/icmp_ratelimit'), read('ipv4/icmp_ratemask')),
    checkTotal(read('ipv4/icmp_msgs_per_sec'), read('ipv4/icmp_msgs_burst')),
    checkInterval(6, read('ipv6/icmp/ratelimit'), read('ipv6/icmp/ratemask')),
  ];
}

function checkInterval(version: 4 | 6, limit: string | null, mask: string | null): Check {
  const name = version === 4 ? 'net.ipv4.icmp_ratelimit' : 'net.ipv6.icmp.ratelimit';
  const types = mask === null ? null : version === 4 ? typesOfMask(mask) : typesOfRanges(mask);
  if (limit === null || !/^\d+$/.test(limit)) {
    if (version === 6) return { name, status: 'ok', found: 'not there: IPv6 is off' };
    return { name, status: 'unknown', found: 'cannot be read', costs: 'how many errors this host sends is not known' };
  }
  const milliseconds = Number(limit);
  if (milliseconds === 0) return { name, status: 'ok', found: '0: no limit for each destination' };
  const wider = version === 6 ? ' (less by routes wider than /128)' : '';
  const found = `${limit} ms between two errors to one destination${wider}, after the first ${BURST}`;
  const limited = types === null ? `unknown (ratemask ${mask})` : typesText(version, types);
  const note = `types that are limited: ${limited}; the loopback is exempt`;
  if (milliseconds <= DEFAULT_INTERVAL_MS) {
    return { name, status: 'ok', found, note: version === 4 ? `${note}; ${LOWER_BOUND}` : note };
  }
  return {
    name,
    status: 'warning',
    found,
    note,
    costs: `slower than the kernel's default: a peer of this host hears of one error in ${milliseconds / 1000} s; ${LOWER_BOUND}`,
    remedy: `sysctl -w ${name}=${DEFAULT_INTERVAL_MS}`,
  };
}

/** Those that are errors by name; of the many others of IPv6 the numbers. */
function typesText(version: 4 | 6, types: readonly number[]): string {
  if (types.length === 0) return 'none';
  const known = version === 4 ? types : types.filter((type) => ERRORS_6.has(type));
  const others = types.length - known.length;
  const names = known.map((type) => typeName(version, type));
  return [...names, ...(others === 0 ? [] : [`${others} other types`])].join(', ');
}

/** Before Linux 6.13 it is one for the whole host, and shown in its first network namespace only. */
function checkTotal(limit: string | null, burst: string | null): Check {
  const name = 'net.ipv4.icmp_msgs_per_sec';
  if (limit === null || !/^\d+$/.test(limit)) {
    return {
      name,
      status: 'unknown',
      found: 'not shown in this network namespace',
      costs: 'how many errors a second this host sends at the most is not known',
    };
  }
  const found = `${limit} a second to all destinations, in bursts of ${burst ?? 'unknown size'}; ICMPv6 too; the loopback is exempt`;
  if (Number(limit) >= DEFAULT_PER_SECOND) return { name, status: 'ok', found };
  return {
    name,
    status: 'warning',
    found,
    costs: `less than the kernel's default; ${LOWER_BOUND}`,
    remedy: `sysctl -w ${name}=${DEFAULT_PER_SECOND}`,
  };
}
