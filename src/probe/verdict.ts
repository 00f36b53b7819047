/**
 * What is to be thought of one port: takes what happens to its datagrams, and says what to do next and, in the end, the
 * verdict. It has no socket, no clock and no timer: times are given, in milliseconds of one monotonic clock.
 */
import { errnoFor } from '../correlate/verdict.ts';
import { ICMPV4, icmpv4Name } from '../decode/icmpv4.ts';
import { ICMPV6, icmpv6Name } from '../decode/icmpv6.ts';

export type Verdict = 'answered' | 'refused' | 'unreachable' | 'silent' | 'local-error';

export interface Endpoint {
  address: string;
  port: number;
}

/** An ICMP error that quotes one of our datagrams. */
export interface IcmpError {
  version: 4 | 6;
  type: number;
  code: number;
  /** Who sent it. */
  src: string;
  /** The MTU that it tells where it says that the datagram is too big for the path. */
  mtu: number | null;
  /** The quoted datagram's source and destination: not the socket's own, and not the target, where NAT of this host changed them. */
  sentFrom: Endpoint;
  sentTo: Endpoint;
}

/** The end of a port's probe. */
export interface Finding {
  verdict: Verdict;
  /** Datagrams that left. */
  sent: number;
  /**
   * Milliseconds to what the verdict rests on: from the datagram that was answered, or from the first where that cannot be
   * told. For `silent`, to the end of the waiting. Null where nothing was sent.
   */
  afterMs: number | null;
  /** Whether `afterMs` counts from the first of several datagrams since it cannot be told which was answered. */
  sinceFirst: boolean;
  /** Null: an ICMP error of which the kernel makes none. Absent: there was no error. */
  errno?: string | null;
  /** Null: there was one, or may have been, and it was not captured. Absent: there was none. */
  icmp?: IcmpError | null;
  /** Of the answer. */
  octets?: number;
  /** The datagram had to be sent again, in fragments. The MTU of the path is null where the ICMP was not captured. */
  tooBig?: { mtu: number | null };
  /** The error came in and should have been reported to the socket, and was not. */
  socketNotTold?: true;
}

export type Step =
  /** Send a datagram, not before `at`. */
  | { do: 'send'; at: number }
  /** Nothing, until something happens; at `at` ask again. */
  | { do: 'wait'; at: number }
  | { do: 'end'; finding: Finding };

export interface PortOptions {
  /** Datagrams to be sent at the most, those not counted that are sent again since they were too big for the path. */
  count: number;
  /** Milliseconds between two of them. */
  interval: number;
  /** Milliseconds to wait after the last. */
  timeout: number;
  /** Whether ICMP errors are captured now. */
  isCapturing: () => boolean;
  /** Whether it is an address of this host. */
  isOwn: (address: string) => boolean;
}

/**
 * The socket hears of an error and the capture sees it, in either order, and mostly within a few milliseconds. How long the one
 * waits for the other.
 */
const OTHER_HALF_MS = 500;

/** A path has few links of ever smaller MTU (RFC 1191 section 7 lists ten sizes); a peer that goes on is not followed. */
const MAX_TOO_BIG = 8;

interface Told {
  errno: string;
  at: number;
}

interface Seen {
  error: IcmpError;
  errno: string | null;
  at: number;
  isUntranslated: boolean;
}

export class PortProbe {
  readonly #options: PortOptions;
  readonly #sentAt: number[] = [];
  /** Of them, those that were sent again since they were too big for the path. */
  #sentAgain = 0;
  #sendAgain = false;
  /** How many datagrams had left when the last was said to be too big. */
  #tooBigAfter = 0;
  #tooBig: { error: IcmpError | null; at: number } | null = null;
  /** The first error that need not be the end. */
  #soft: Seen | null = null;
  /** Errors that are the end: as the socket was told, and as it was captured. */
  #told: Told | null = null;
  #seen: Seen | null = null;
  #finding: Finding | null = null;

  constructor(options: PortOptions) {
    this.#options = options;
  }

  sent(at: number): void {
    if (this.#sendAgain) this.#sentAgain++;
    this.#sendAgain = false;
    this.#sentAt.push(at);
  }

  /** A datagram did not leave, and that is no ICMP error's doing. */
  localError(errno: string, at: number): void {
    this.#end({ verdict: 'local-error', errno }, at);
  }

  /** A datagram came from the peer; it answers the datagram number `nth`, from 0, or null where that cannot be told. */
  answered(octets: number, nth: number | null, at: number): void {
    this.#end({ verdict: 'answered', octets }, at, nth);
  }

  /** The kernel reported an ICMP error to the socket. */
  told(errno: string, at: number): void {
    if (errno === 'EMSGSIZE') this.#tooBigFor(null, at);
    else this.#told ??= { errno, at };
  }

  /**
   * An ICMP error was captured that quotes a datagram of this socket; or, where it is not the socket's own tuple, one that NAT of
   * this host may have made of it. Another process, or another network namespace, may have had the same port: that one is
   * believed only if the socket is told of it.
   */
  captured(error: IcmpError, at: number, isUntranslated = true): void {
    const { version, type, code } = error;
    if (saysNothing(version, type)) return;
    const { errno, fatal } = errnoFor(version, type, code);
    const seen = { error, errno, at, isUntranslated };
    if (!isUntranslated && !fatal) return;
    if (errno === 'EMSGSIZE') this.#tooBigFor(error, at);
    else if (fatal) this.#seen ??= seen;
    else if (isUnreachable(version, type) && this.#options.isOwn(error.src)) this.#endWith(seen);
    else this.#soft ??= seen;
  }

  /** What to do at `now`. */
  next(now: number): Step {
    const { count, interval, timeout } = this.#options;
    if (this.#finding === null) this.#weigh(now);
    if (this.#finding !== null) return { do: 'end', finding: this.#finding };
    const first = this.#told ?? this.#seen;
    if (first !== null) return { do: 'wait', at: first.at + OTHER_HALF_MS };

    if (this.#sendAgain) return { do: 'send', at: now };
    const last = this.#sentAt.at(-1);
    if (last === undefined) return { do: 'send', at: now };
    if (this.#sentAt.length - this.#sentAgain < count) return { do: 'send', at: last + interval };
    if (now < last + timeout) return { do: 'wait', at: last + timeout };
    return { do: 'end', finding: this.#givenUp(now) };
  }

  /** The socket and the capture tell of one error: whoever comes first waits for the other. */
  #weigh(now: number): void {
    const told = this.#told;
    const seen = this.#seen;
    if (told !== null) {
      if (seen !== null && seen.errno === told.errno) this.#endWith({ ...seen, at: told.at });
      else if (!this.#options.isCapturing() || now >= told.at + OTHER_HALF_MS) {
        this.#end({ verdict: verdictOf(told.errno), errno: told.errno, icmp: null }, told.at);
      }
    } else if (seen !== null && now >= seen.at + OTHER_HALF_MS) {
      if (seen.isUntranslated) this.#endWith(seen, { socketNotTold: true });
      else this.#seen = null;
    }
  }

  #endWith({ error, errno, at }: Seen, more: Partial<Finding> = {}): void {
    this.#end({ verdict: verdictOf(errno), errno, icmp: error, ...more }, at);
  }

  /** Nothing came that was the end. */
  #givenUp(now: number): Finding {
    const icmp = this.#options.isCapturing() ? {} : { icmp: null };
    if (this.#soft !== null) this.#endWith(this.#soft);
    else if (this.#tooBig !== null && this.#tooBigAfter === this.#sentAt.length) {
      const { error, at } = this.#tooBig;
      this.#end({ verdict: 'unreachable', errno: 'EMSGSIZE', icmp: error }, at);
    } else this.#end({ verdict: 'silent', ...icmp }, now, 0);
    return this.#finding!;
  }

  /**
   * The kernel has learnt the path's MTU by that, and cuts the datagram into fragments when it is sent again. The socket and
   * the capture both tell of it, the capture maybe when the next has left.
   */
  #tooBigFor(error: IcmpError | null, at: number): void {
    const sent = this.#sentUntil(at);
    if (this.#tooBig !== null && sent <= this.#tooBigAfter) {
      this.#tooBig.error ??= error;
      return;
    }
    this.#tooBig = { error, at };
    this.#tooBigAfter = sent;
    this.#sendAgain = sent === this.#sentAt.length && this.#sentAgain < MAX_TOO_BIG;
  }

  #end(finding: Omit<Finding, 'sent' | 'afterMs' | 'sinceFirst'>, at: number, nth: number | null = null): void {
    if (this.#finding !== null) return;
    const sent = this.#sentUntil(at);
    // Those that were too big have had their answer.
    const first = this.#tooBigAfter < sent ? this.#tooBigAfter : 0;
    const from = this.#sentAt[nth ?? first];
    this.#finding = {
      ...finding,
      sent: this.#sentAt.length,
      afterMs: from === undefined ? null : Math.max(0, at - from),
      sinceFirst: nth === null && sent - first > 1,
      ...(this.#tooBig !== null && { tooBig: { mtu: this.#tooBig.error?.mtu ?? null } }),
    };
  }

  #sentUntil(at: number): number {
    return this.#sentAt.filter((sentAt) => sentAt <= at).length;
  }
}

/** Redirects and source quench: the datagram went on. */
function saysNothing(version: 4 | 6, type: number): boolean {
  return version === 4 && (type === ICMPV4.REDIRECT || type === ICMPV4.SOURCE_QUENCH);
}

function isUnreachable(version: 4 | 6, type: number): boolean {
  return type === (version === 4 ? ICMPV4.DESTINATION_UNREACHABLE : ICMPV6.DESTINATION_UNREACHABLE);
}

function verdictOf(errno: string | null): Verdict {
  return errno === 'ECONNREFUSED' ? 'refused' : 'unreachable';
}

/** Whether a connected socket without IP_RECVERR is told of the error. */
export function isFatal({ version, type, code }: IcmpError): boolean {
  return errnoFor(version, type, code).fatal;
}

/** IANA's name of the error, hyphenated. */
export function icmpName({ version, type, code }: IcmpError): string {
  return version === 4 ? icmpv4Name(type, code) : icmpv6Name(type, code);
}

/** Codes that only a rule can be the reason for: a firewall's, an access list's, or a routing policy's. */
export function isAdministrative({ version, type, code }: IcmpError): boolean {
  if (!isUnreachable(version, type)) return false;
  return version === 4 ? [9, 10, 13].includes(code) : [1, 5, 6].includes(code);
}
