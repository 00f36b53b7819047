/**
 * Which errno the kernel makes of an ICMP error, and whether the socket's owner hears of it. v4: icmp_unreach
 * and icmp_err_convert (net/ipv4/icmp.c), __udp4_lib_err (net/ipv4/udp.c). v6: icmpv6_err_convert
 * (net/ipv6/icmp.c), __udp6_lib_err (net/ipv6/udp.c).
 */

import type { Match, Outcome } from '../event.ts';

/** What type and code map to. */
export interface Conversion {
  /** Null where the error never reaches a UDP socket. */
  errno: string | null;
  /** Whether a connected socket without IP_RECVERR is told (`harderr` in the kernel). */
  fatal: boolean;
}

const SILENT: Conversion = { errno: null, fatal: false };
const PROTOCOL_ERROR: Conversion = { errno: 'EPROTO', fatal: true };

const ICMP_DEST_UNREACH = 3;
const ICMP_TIME_EXCEEDED = 11;
const ICMP_PARAMETERPROB = 12;
const ICMP_EXC_FRAGTIME = 1;

/** icmp_err_convert, by code. */
const ICMP_ERR_CONVERT: readonly Conversion[] = [
  { errno: 'ENETUNREACH', fatal: false }, // ICMP_NET_UNREACH
  { errno: 'EHOSTUNREACH', fatal: false }, // ICMP_HOST_UNREACH
  { errno: 'ENOPROTOOPT', fatal: true }, // ICMP_PROT_UNREACH
  { errno: 'ECONNREFUSED', fatal: true }, // ICMP_PORT_UNREACH
  // ICMP_FRAG_NEEDED: not fatal in the table, but __udp4_lib_err does not ask it, and makes it fatal unless
  // the socket has IP_PMTUDISC_DONT. The default is IP_PMTUDISC_WANT; /proc does not show the option.
  { errno: 'EMSGSIZE', fatal: true },
  { errno: 'EOPNOTSUPP', fatal: false }, // ICMP_SR_FAILED
  { errno: 'ENETUNREACH', fatal: true }, // ICMP_NET_UNKNOWN
  { errno: 'EHOSTDOWN', fatal: true }, // ICMP_HOST_UNKNOWN
  { errno: 'ENONET', fatal: true }, // ICMP_HOST_ISOLATED
  { errno: 'ENETUNREACH', fatal: true }, // ICMP_NET_ANO
  { errno: 'EHOSTUNREACH', fatal: true }, // ICMP_HOST_ANO
  { errno: 'ENETUNREACH', fatal: false }, // ICMP_NET_UNR_TOS
  { errno: 'EHOSTUNREACH', fatal: false }, // ICMP_HOST_UNR_TOS
  { errno: 'EHOSTUNREACH', fatal: true }, // ICMP_PKT_FILTERED
  { errno: 'EHOSTUNREACH', fatal: true }, // ICMP_PREC_VIOLATION
  { errno: 'EHOSTUNREACH', fatal: true }, // ICMP_PREC_CUTOFF
];

const ICMPV6_DEST_UNREACH = 1;
const ICMPV6_PKT_TOOBIG = 2;
const ICMPV6_TIME_EXCEED = 3;
const ICMPV6_PARAMPROB = 4;
/** From this type on, ICMPv6 messages are informational (ICMPV6_INFOMSG_MASK). */
const ICMPV6_INFORMATIONAL = 128;

/** tab_unreach of icmpv6_err_convert, by code. */
const TAB_UNREACH: readonly Conversion[] = [
  { errno: 'ENETUNREACH', fatal: false }, // NOROUTE
  { errno: 'EACCES', fatal: true }, // ADM_PROHIBITED
  { errno: 'EHOSTUNREACH', fatal: false }, // was NOT_NEIGHBOUR
  { errno: 'EHOSTUNREACH', fatal: false }, // ADDR_UNREACH
  { errno: 'ECONNREFUSED', fatal: true }, // PORT_UNREACH
  { errno: 'EACCES', fatal: true }, // POLICY_FAIL
  { errno: 'EACCES', fatal: true }, // REJECT_ROUTE
];

/** Every errno that an ICMP error may come to, in the order of the alphabet. */
export const ICMP_ERRNOS: readonly string[] = [
  ...new Set([...ICMP_ERR_CONVERT, ...TAB_UNREACH, PROTOCOL_ERROR].map(({ errno }) => errno!)),
].toSorted();

/** What the kernel makes of an ICMP type and code that quote a UDP datagram, for a socket with default options. */
export function errnoFor(version: 4 | 6, type: number, code: number): Conversion {
  return version === 4 ? icmpErrConvert(type, code) : icmpv6ErrConvert(type, code);
}

function icmpErrConvert(type: number, code: number): Conversion {
  switch (type) {
    case ICMP_DEST_UNREACH:
      // icmp_unreach drops codes above NR_ICMP_UNREACH.
      return ICMP_ERR_CONVERT[code] ?? SILENT;
    case ICMP_TIME_EXCEEDED:
      // icmp_unreach counts reassembly time exceeded and goes no further.
      return code === ICMP_EXC_FRAGTIME ? SILENT : { errno: 'EHOSTUNREACH', fatal: false };
    case ICMP_PARAMETERPROB:
      return PROTOCOL_ERROR;
    default:
      // Source quench and redirect end in __udp4_lib_err without an errno; other types never get there.
      return SILENT;
  }
}

function icmpv6ErrConvert(type: number, code: number): Conversion {
  switch (type) {
    case ICMPV6_DEST_UNREACH:
      return TAB_UNREACH[code] ?? PROTOCOL_ERROR;
    case ICMPV6_PKT_TOOBIG:
      // Made fatal by __udp6_lib_err unless the socket has IPV6_PMTUDISC_DONT; the default is IPV6_PMTUDISC_WANT.
      return { errno: 'EMSGSIZE', fatal: true };
    case ICMPV6_TIME_EXCEED:
      return { errno: 'EHOSTUNREACH', fatal: false };
    case ICMPV6_PARAMPROB:
      return PROTOCOL_ERROR;
    default:
      // icmpv6_rcv passes error types that it does not know to the socket; a redirect ends in __udp6_lib_err.
      return type < ICMPV6_INFORMATIONAL ? { errno: 'EPROTO', fatal: false } : SILENT;
  }
}

/**
 * The errno of an error that came in, and its outcome for the socket that was found. The path-MTU discovery mode cannot
 * be seen from outside: the outcome is the one that holds with its default.
 *
 * @param match how the socket was found; null where there was no table to look in.
 * @param recverr whether the socket has IP_RECVERR or, for an ICMPv6 error, IPV6_RECVERR; where that is not known, false
 * gives the outcome that holds without.
 */
export function verdict(
  version: 4 | 6,
  type: number,
  code: number,
  match: Match,
  recverr = false,
): { errno: string | null; outcome: Outcome } {
  const { errno, fatal } = errnoFor(version, type, code);
  return { errno, outcome: outcomeFor(errno, fatal, match, recverr) };
}

function outcomeFor(errno: string | null, fatal: boolean, match: Match, recverr: boolean): Outcome {
  if (match === null) return 'unknown';
  if (match === 'none' || match === 'closed') return 'no-socket';
  if (recverr && errno !== null) return 'queued';
  if (fatal && match === 'connected') return 'reported';
  // ipv4_sk_update_pmtu and ip6_sk_update_pmtu come before the question who is told.
  return errno === 'EMSGSIZE' ? 'pmtu' : 'ignored';
}
