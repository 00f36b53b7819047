/** What a check found, and what that means for a live watch. */

/**
 * `ok`; `warning`: a live watch works, but its answers lack something; `failed`: it does not work; `unknown`: it could not be
 * found out.
 */
export type Status = 'ok' | 'warning' | 'failed' | 'unknown';

export interface Check {
  /** Stable: scripts may select by it. */
  name: string;
  status: Status;
  /** What was found. Hostile text, as all that follows. */
  found: string;
  /** Single things that were found, as they are written there. */
  items?: readonly string[];
  /** What is good to know though nothing has to be done about it. */
  note?: string;
  /** Where the status is not `ok`: what the user does not get. */
  costs?: string;
  /** The command or setting that mends it. */
  remedy?: string;
  /** Of a refused datagram on the loopback. */
  trial?: Trial;
}

/** What became of a datagram to a closed port of the loopback. */
export interface Trial {
  version: 4 | 6;
  /** `<address>:<port>` of the socket, and where it sent the datagram. */
  local: string;
  remote: string;
  /** Milliseconds from the call that sent it until the event was attributed; null where no event came. */
  latencyMs: number | null;
  /** Whether the event named the socket and this process. */
  isNamed: boolean;
  /** The errno that the socket itself got; null where it got none. */
  heard: string | null;
}
