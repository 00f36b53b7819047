/**
 * What is told of an incident besides its errors: that the peer answers again, and that no error has come for a while.
 */
import type { Flow, IcmpEvent, IncidentRecord, TimeStamp } from '../event.ts';
import type { Attribution } from './attribution.ts';
import type { Incident } from './incidents.ts';

/** `sent`: datagrams to the peer that were seen since the last error, null where they are not captured. */
export function quietRecord(incident: Incident, sent: number | null, time: TimeStamp, at: number): IncidentRecord {
  return {
    ...recordOf('quiet', incident.event, time, incident.errors),
    quietMs: Math.round(at - incident.lastAt),
    sent,
  };
}

/**
 * @param event the last error on the flow that was answered
 * @param found who has the flow's socket now; null where that is not known, as in a replay
 */
export function recoveredRecord(
  event: IcmpEvent,
  found: Attribution | null,
  time: TimeStamp,
  { downMs, errno, errors }: Incident,
): IncidentRecord {
  const record = { ...recordOf('recovered', event, time, errors), errno: errno!, downMs };
  if (found === null || event.sockets === undefined) return record;
  const keptSocket = hasSameSocket(event, found);
  // Who has it now, if that is somebody else by now.
  return keptSocket === true && !hasSameProcess(event, found)
    ? { ...record, sockets: found.sockets, keptSocket }
    : { ...record, keptSocket };
}

function hasSameSocket({ sockets }: IcmpEvent, found: Attribution): boolean | null {
  if (found.match === null) return null;
  // What is remembered of it does not mean that it is there.
  if (found.match === 'closed') return false;
  return found.sockets.some(({ inode }) => sockets!.some((hit) => hit.inode === inode));
}

function hasSameProcess({ sockets }: IcmpEvent, found: Attribution): boolean {
  const hit = sockets!.flatMap(({ processes }) => processes);
  return found.sockets.some(({ processes }) =>
    processes.some(({ pid, started }) => hit.some((one) => one.pid === pid && one.started === started)),
  );
}

function recordOf(kind: IncidentRecord['event'], event: IcmpEvent, time: TimeStamp, errors: number): IncidentRecord {
  const { host, flow, nat, errno, sockets } = event;
  return {
    ...time,
    event: kind,
    host,
    flow: withoutId(flow!),
    ...(nat !== undefined && { nat }),
    errno: errno!,
    ...(sockets !== undefined && { sockets }),
    errors,
  };
}

/** The identification is that of one datagram. */
function withoutId({ ipId: _ipId, ...flow }: Flow): Flow {
  return flow;
}
