/**
 * Events as the pipeline makes them, for tests of what comes behind it.
 */
import type { IcmpEvent, IncidentRecord, ProcessIdentity, SocketIdentity } from '../src/event.ts';

export function processOf(pid: number, changes: Partial<ProcessIdentity> = {}): ProcessIdentity {
  return {
    pid,
    fd: 7,
    comm: 'gateway',
    exe: '/opt/gateway',
    cmdline: '/opt/gateway -c gw.toml',
    started: '2026-11-20T08:12:09Z',
    container: null,
    runtime: null,
    unit: 'gateway.service',
    ...changes,
  };
}

export function socketOf(
  inode: number,
  processes: ProcessIdentity[] = [processOf(4711)],
  changes: Partial<SocketIdentity> = {},
): SocketIdentity {
  return {
    inode,
    state: 'connected',
    family: 4,
    local: '192.0.2.10:40000',
    remote: '192.0.2.20:9999',
    uid: 33,
    user: 'www-data',
    netns: 4_026_531_840,
    recverr: false,
    processes,
    ...changes,
  };
}

/** A port unreachable that a connected socket hears of. */
export function errorEvent(changes: Partial<IcmpEvent> = {}): IcmpEvent {
  return {
    seconds: Date.parse('2026-11-23T17:01:14Z') / 1000,
    nanoseconds: 75_617_000,
    nanosecondResolution: false,
    host: 'web-3',
    interface: 'eth0',
    direction: 'in',
    icmp: { version: 4, type: 3, code: 3, name: 'port-unreachable', src: '192.0.2.20', dst: '192.0.2.10', length: 37 },
    flow: { protocol: 'udp', src: '192.0.2.10', sport: 40_000, dst: '192.0.2.20', dport: 9999, ipId: 1 },
    errno: 'ECONNREFUSED',
    outcome: 'reported',
    match: 'connected',
    sockets: [socketOf(34_876)],
    count: 1,
    ...changes,
  };
}

/** The same without a socket table, as in a replay. */
export function unattributed(changes: Partial<IcmpEvent> = {}): IcmpEvent {
  const { sockets: _sockets, ...event } = errorEvent({ outcome: 'unknown', match: null, ...changes });
  return event;
}

export function recoveredOf(changes: Partial<IncidentRecord> = {}): IncidentRecord {
  const { seconds, nanoseconds, nanosecondResolution, host, flow, sockets } = errorEvent();
  const { ipId: _ipId, ...tuple } = flow!;
  return {
    seconds: seconds + 42,
    nanoseconds,
    nanosecondResolution,
    event: 'recovered',
    host,
    flow: tuple,
    errno: 'ECONNREFUSED',
    sockets: sockets!,
    keptSocket: true,
    downMs: 42_123,
    errors: 4,
    ...changes,
  };
}

export function quietOf(changes: Partial<IncidentRecord> = {}): IncidentRecord {
  const { keptSocket: _keptSocket, downMs: _downMs, ...record } = recoveredOf();
  return { ...record, event: 'quiet', quietMs: 30_049, sent: 4, ...changes };
}
