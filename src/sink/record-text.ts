/**
 * What is said of an incident that ends or goes quiet.
 */
import { MAX_SENT } from '../correlate/incidents.ts';
import type { IncidentRecord, SocketIdentity } from '../event.ts';
import { endpoint, listed, processName } from './attribution-text.ts';
import { counted, grouped } from './numbers.ts';
import type { Octets } from './output.ts';

/** One line, without its end. */
export function recordText(record: IncidentRecord): Octets {
  const { flow, nat, errors } = record;
  const peer = endpoint(nat?.dst ?? flow.dst, nat?.dport ?? flow.dport);
  const who = processes(record.sockets ?? []);
  const count = `${counted(errors, 'error')}, ${record.errno}`;
  if (record.event === 'recovered') {
    const asker = who === '' ? ` ${endpoint(nat?.src ?? flow.src, nat?.sport ?? flow.sport)}` : '';
    const socket = who === '' ? '' : `; ${who} ${ofSocket(record.keptSocket)}`;
    return `${peer} answers${asker} again after ${seconds(record.downMs)}${socket} (${count})`;
  }
  const asker = who === '' ? '' : `; ${who}`;
  return `${peer} is quiet: no error for ${seconds(record.quietMs)}, ${evidence(record.sent)}${asker} (${count})`;
}

function ofSocket(kept: boolean | null | undefined): string {
  if (kept === true) return 'kept its socket';
  return kept === false ? 'no longer has that socket' : 'had the socket';
}

function evidence(sent: number | null | undefined): string {
  if (sent === undefined || sent === null) return 'and whether anything was sent to it since is not known';
  if (sent === 0) return 'but no datagram to it was seen since, so nothing is known';
  const datagrams = sent === MAX_SENT ? `${grouped(sent)} datagrams or more` : counted(sent, 'datagram');
  return `${datagrams} to it seen since: evidence that it is back, no proof`;
}

function seconds(milliseconds: number | undefined): string {
  return `${((milliseconds ?? 0) / 1000).toFixed(1)} s`;
}

/** `gateway[1285966]`, each process once; empty where none is known. */
function processes(sockets: readonly SocketIdentity[]): Octets {
  const names = new Set<Octets>();
  for (const socket of sockets) for (const process of socket.processes) names.add(processName(process));
  return listed([...names]);
}
