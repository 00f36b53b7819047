/**
 * The one type every sink reads: an ICMP message, what it quotes, and what this host knows of the
 * socket that sent the quoted datagram. `event.schema.json` is the same as a JSON Schema.
 *
 * Absent means "does not apply"; null means "could not be found out".
 */

import type { IcmpExtension } from './decode/icmp-extension.ts';

/**
 * `in`: addressed to this host; `out`: sent by it; `forward`: passing through; null: not known (replay). Its other network
 * namespaces are this host too, where they are looked up.
 */
export type Direction = 'in' | 'out' | 'forward' | null;

/** What the kernel does with the error. */
export type Outcome =
  /** The owner's next call on the socket returns `errno`. */
  | 'reported'
  /** The socket has IP_RECVERR: the error is also in its error queue. */
  | 'queued'
  /** The kernel drops it: socket not connected, or error not fatal, and no IP_RECVERR. */
  | 'ignored'
  /** Only the path MTU changes. */
  | 'pmtu'
  /** No socket on this host has the quoted tuple. */
  | 'no-socket'
  /** The quoted datagram was not sent from here. */
  | 'not-local'
  /** There was no socket table to look in. */
  | 'unknown';

/**
 * How the socket was found; `closed`: it is gone, and was connected with this tuple (or, in an error that this host sent,
 * had the port) when it was last seen; `none`: there is none; null: there was no table to look in.
 */
export type Match = 'connected' | 'bound' | 'wildcard' | 'closed' | 'none' | null;

export interface IcmpSummary {
  version: 4 | 6;
  /** Null where it was not captured, or where the packet is a later fragment of a message. */
  type: number | null;
  code: number | null;
  /** IANA's name of the type and code, hyphenated; `truncated` or `later-fragment` where there is none of them. */
  name: string;
  src: string;
  dst: string;
  /** Octets of the ICMP message, by the IP header. */
  length: number;
}

/** The tuple of the quoted datagram, as it was on the wire. */
export interface Flow {
  /** `udp`, `tcp`, …, or the protocol's number. */
  protocol: string;
  src: string;
  /** Absent where the protocol has no ports; null where the quote ends before them. */
  sport?: number | null;
  dst: string;
  dport?: number | null;
  /** IPv4 identification of the quoted header; absent in IPv6. */
  ipId?: number;
}

/** A datagram's tuple as the socket that has it sees it: its own address is `src` where it sent the datagram, and `dst` where it was to get it. */
export interface NatTuple {
  src: string;
  sport: number;
  dst: string;
  dport: number;
}

export interface ProcessIdentity {
  pid: number;
  fd: number;
  /** /proc/PID/comm. Hostile text. */
  comm: string | null;
  exe: string | null;
  /** Arguments joined by spaces, cut at 1,024 octets. Hostile text. */
  cmdline: string | null;
  /** RFC 3339, whole seconds. */
  started: string | null;
  /** The first 12 digits of its id. */
  container: string | null;
  /** `docker`, `containerd`, `cri-o`, `podman`. */
  runtime: string | null;
  unit: string | null;
}

export interface SocketIdentity {
  inode: number;
  /** `connected` is TCP_ESTABLISHED (`st` 01) in /proc/net/udp. */
  state: 'connected' | 'unconnected';
  /** The socket's address family: a v6 socket may carry v4. */
  family: 4 | 6;
  local: string;
  /** Present where connected. */
  remote?: string;
  /** Present where it is bound to one. */
  device?: string;
  uid: number;
  /** In the host's own list of users; null for a process in a container, which has users of its own. */
  user: string | null;
  /** The inode of its network namespace. */
  netns: number | null;
  /** IP_RECVERR; null where it could not be found out. */
  recverr: boolean | null;
  processes: ProcessIdentity[];
}

export interface TimeStamp {
  /** Seconds since the epoch, and nanoseconds within it. */
  seconds: number;
  nanoseconds: number;
  /** Whether the capture's resolution is finer than a microsecond. */
  nanosecondResolution: boolean;
}

export interface IcmpEvent extends TimeStamp {
  /** The name of the host that saw it; null where that is not known (replay). */
  host: string | null;
  interface: string | null;
  /** Present where the packet was seen on several interfaces of this host: all of them, `interface` first. */
  interfaces?: string[];
  direction: Direction;
  icmp: IcmpSummary;
  /** Absent where the message quotes nothing. */
  flow?: Flow;
  /** What the sender of the message said behind the quote (RFC 4884); absent where that is nothing. */
  extensions?: IcmpExtension[];
  /** The symbolic name the kernel maps type and code to; null where it maps to none; absent where no UDP is quoted. */
  errno?: string | null;
  outcome?: Outcome;
  match?: Match;
  /** The kernel drops the error before it looks for a socket; `note` says why. */
  dropped?: true;
  /** With match `closed`: milliseconds since the socket was last seen. */
  closedMsAgo?: number;
  /** Present where NAT was undone: the tuple that the socket has. */
  nat?: NatTuple;
  /** For people: why something could not be found out, or what `sockets` does not say. */
  note?: string;
  sockets?: SocketIdentity[];
  /** Which error this is on this flow, from 1. */
  count?: number;
}

/** What became of an incident: the peer answers again, or no error has come for a while. */
export interface IncidentRecord extends TimeStamp {
  event: 'recovered' | 'quiet';
  host: string | null;
  /** The tuple that the peer answered on; where quiet, that of the last error. */
  flow: Flow;
  nat?: NatTuple;
  errno: string;
  /** Absent where there was no table to look in. */
  sockets?: SocketIdentity[];
  /** `recovered`: whether the socket that the error hit got the answer; null where that could not be found out. */
  keptSocket?: boolean | null;
  /** `recovered`: milliseconds from the first error to the answer. */
  downMs?: number;
  /** `quiet`: milliseconds since the last error. */
  quietMs?: number;
  /** `quiet`: datagrams to the peer that were seen since; null where they are not captured. */
  sent?: number | null;
  /** Errors of the incident. */
  errors: number;
}

/** Packets that were not seen. */
export type LossRecord = TimeStamp & { event: 'loss'; host: string | null } & (
    | {
        /**
         * `buffer-full`: of those that passed the filter, the capture buffer had no room for them, within the second before;
         * `softnet`: of any kind, a CPU's receive queue had no room for them; `ended`: they were captured and not looked at
         * before the watch ended.
         */
        cause: 'buffer-full' | 'softnet' | 'ended';
        packets: number;
      }
    | {
        /** Nothing was captured until `time`. */
        cause: 'capture-restarted';
        /** Milliseconds. */
        ms: number;
        /** How the capture process had ended. */
        why: string;
        /** ICMP errors to this network namespace that were missed in the whole watch, by the kernel's count; null: not known. */
        missed: { least: number; most: number } | null;
      }
    | {
        /** Nothing was captured on it until `time`. */
        cause: 'interface-down';
        interface: string;
        ms: number;
      }
  );

/** What is told beside the ICMP messages themselves. */
export type OtherRecord = IncidentRecord | LossRecord;

export function isRecord(line: IcmpEvent | OtherRecord): line is OtherRecord {
  return 'event' in line;
}
