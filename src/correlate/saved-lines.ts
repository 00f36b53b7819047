/**
 * What `-w` wrote beside the packets: the JSON lines of what was shown (sink/saved-packets.ts), read again.
 *
 * Anybody may have edited a file. So a line is believed only if it is one by `event.schema.json` and says of its packet
 * what the packet itself says.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isIPv4, isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Ajv2020, ValidateFunction } from 'ajv/dist/2020.js';
import type { Flow, IcmpEvent, IncidentRecord, NatTuple, OtherRecord, TimeStamp } from '../event.ts';
import { COMMENT_MORE, COMMENT_START, JOURNAL_FIELD } from '../sink/saved-packets.ts';
import { parseRfc3339 } from '../sink/time-stamp.ts';
import { errnoFor } from './verdict.ts';

/** Beside the sources and beside what is built from them. */
const SCHEMA = new URL('../../src/event.schema.json', import.meta.url);

/** A line as it is in the file; of the time stamp, its text. Of each of several types, if it is one of several. */
type Saved<T> = T extends unknown ? Omit<T, keyof TimeStamp> & { time: string | null } : never;

/** A line that is not believed; `message` says why. */
export class NotBelieved extends Error {}

/** The JSON in a packet's comments, or null where none of them is ours. */
export function savedJson(comments: readonly string[]): string | null {
  let json: string | null = null;
  for (const comment of comments) {
    if (comment.startsWith(COMMENT_START)) json = comment.slice(COMMENT_START.length);
    else if (json !== null && comment.startsWith(COMMENT_MORE)) json += comment.slice(COMMENT_MORE.length);
  }
  return json;
}

/** The JSON in a journal entry, or null where it is none of ours. */
export function savedJsonOfEntry(entry: string): string | null {
  const field = entry.split('\n').find((line) => line.startsWith(JOURNAL_FIELD));
  return field === undefined ? null : field.slice(JOURNAL_FIELD.length);
}

/**
 * Adds to `event`, which is what its packet says, what was found out about it. With it comes `count`.
 * @throws NotBelieved
 */
export function restoreEvent(event: IcmpEvent, json: string): void {
  const saved = parse(json);
  if ('event' in saved) throw new NotBelieved('it is a record, and the packet is an ICMP message');
  const { icmp, flow, extensions, errno } = saved;
  const isAboutIt =
    isSame(icmp, event.icmp) && isSame(flow, event.flow) && isDeepStrictEqual(extensions, event.extensions);
  if (!isAboutIt) throw new NotBelieved('it is about another packet');
  const isUdp = flow?.protocol === 'udp';
  // What quotes a datagram has both.
  if (isUdp && errno !== errnoFor(icmp.version, icmp.type!, icmp.code!).errno) {
    throw new NotBelieved(`it has another errno than the kernel makes of type ${icmp.type} code ${icmp.code}`);
  }
  if (!isUdp && errno !== undefined) throw new NotBelieved('it is about a socket, and the packet quotes no UDP');
  if (isUdp && !isConsistent(saved)) throw new NotBelieved('its outcome, match and sockets contradict each other');
  const { time: _time, interface: _interface, ...found } = saved;
  Object.assign(event, found);
}

function isConsistent({ outcome, match, sockets = [] }: Saved<IcmpEvent>): boolean {
  switch (outcome) {
    case 'reported':
    case 'queued':
    case 'ignored':
    case 'pmtu':
      return sockets.length > 0 && match !== 'none' && match !== null && match !== undefined;
    case 'unknown':
      return match === null;
    default:
      return true;
  }
}

/**
 * The record that was saved with a datagram of the peer.
 * @param answer the datagram's tuple
 * @throws NotBelieved
 */
export function restoreRecovery(json: string, time: TimeStamp, answer: NatTuple): IncidentRecord {
  const saved = parse(json);
  if (!('event' in saved) || saved.event !== 'recovered') throw new NotBelieved('it is about another packet');
  const { flow, nat } = saved;
  const isOn = ({ src, sport, dst, dport }: Flow | NatTuple): boolean =>
    src === answer.dst && sport === answer.dport && dst === answer.src && dport === answer.sport;
  if (!isOn(flow) && (nat === undefined || !isOn(nat))) throw new NotBelieved('it is about another packet');
  return record<IncidentRecord>(saved, time);
}

/** A record that has no packet, and the JSON that its journal entry has. @throws NotBelieved */
export function restoreEntry(json: string, entry: string): OtherRecord {
  const saved = parse(json);
  // Of what may be in such a line there is also the summary.
  if (!('event' in saved) || !['quiet', 'loss'].includes(saved.event))
    throw new NotBelieved('it is about another packet');
  const time = saved.time === null ? timeOfEntry(entry) : parseRfc3339(saved.time);
  if (time === null) throw new NotBelieved('it has no time');
  return record<OtherRecord>(saved, time);
}

/** What RFC 3339 cannot write the entry's own time says, in microseconds. */
function timeOfEntry(entry: string): TimeStamp | null {
  const [, text] = /^__REALTIME_TIMESTAMP=(-?\d{1,25})$/m.exec(entry) ?? [];
  if (text === undefined) return null;
  const units = BigInt(text);
  const micros = ((units % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = Number((units - micros) / 1_000_000n);
  if (!Number.isSafeInteger(seconds)) return null;
  return { seconds, nanoseconds: Number(micros) * 1000, nanosecondResolution: false };
}

function record<T extends OtherRecord>({ time: _time, ...saved }: Saved<T>, time: TimeStamp): T {
  const { seconds, nanoseconds, nanosecondResolution } = time;
  return { ...saved, seconds, nanoseconds, nanosecondResolution } as unknown as T;
}

function parse(json: string): Saved<IcmpEvent> | Saved<OtherRecord> {
  let saved: unknown;
  try {
    saved = JSON.parse(json);
  } catch {
    throw new NotBelieved('it is no JSON');
  }
  validator ??= compile();
  if (!validator(saved)) {
    const [error] = validator.errors ?? [];
    throw new NotBelieved(`${error?.instancePath ?? ''} ${error?.message ?? 'is not as it was written'}`.trim());
  }
  const { v: _version, ...line } = saved as { v: 1 } & (Saved<IcmpEvent> | Saved<OtherRecord>);
  return line;
}

let validator: ValidateFunction | undefined;

/** Loaded for a file that has such comments alone: it takes some 50 ms. */
function compile(): ValidateFunction {
  const ajv = createRequire(import.meta.url)('ajv/dist/2020.js') as { Ajv2020: typeof Ajv2020 };
  return new ajv.Ajv2020({
    allowUnionTypes: true,
    formats: { ipv4: isIPv4, ipv6: (text) => isIPv6(text) && !text.includes('%') },
  }).compile(JSON.parse(readFileSync(SCHEMA, 'utf8')) as object);
}

/** Whether two flat objects have the same fields. */
function isSame(a: object | undefined, b: object | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const entries = Object.entries(a);
  return (
    entries.length === Object.keys(b).length &&
    entries.every(([key, value]) => (b as Record<string, unknown>)[key] === value)
  );
}
