/**
 * Incidents as a table for people.
 */
import type { Hears, Incident, Incidents, IncidentState } from '../correlate/incidents.ts';
import { endpoint, listed, processName } from './attribution-text.ts';
import { counted, grouped } from './numbers.ts';
import type { Octets } from './output.ts';
import { timeStamper } from './time-stamp.ts';

const HEADER = ['FIRST', 'LAST', 'ERRORS', 'RATE', 'SOCKETS', 'PROCESS', 'REMOTE', 'ERRNO', 'HEARS', 'STATE'];

const HEARS: Record<Hears, string> = {
  yes: 'yes',
  no: 'no',
  some: 'some',
  recverr: 'if IP_RECVERR',
  closed: 'closed',
  unknown: '?',
};

const STATES: Record<Exclude<IncidentState, 'recovered'>, string> = {
  open: 'open',
  other: 'goes on in another row',
  quiet: 'quiet',
};

/** The lines of the table, the header first. `now`: milliseconds on the clock of the incidents, null where it stands still. */
export function incidentTable(incidents: Incidents, now: number | null): Octets[] {
  const table = incidents.table();
  const { forgotten } = incidents;
  const lines = table.length === 0 ? [] : aligned([HEADER, ...table.map((incident) => row(incident, now))]);
  if (forgotten.incidents > 0) {
    lines.push(
      `${counted(forgotten.incidents, 'older incident')} with ${counted(forgotten.errors, 'error')} ` +
        `${forgotten.incidents === 1 ? 'is' : 'are'} forgotten`,
    );
  }
  return lines;
}

function row(incident: Incident, now: number | null): Octets[] {
  const { first, last, errors, errno, remote, remotePort } = incident;
  const { count, isMore } = incident.socketCount;
  return [
    time(first.seconds),
    time(last.seconds),
    grouped(errors),
    rate(incident),
    `${count}${isMore ? '+' : ''}`,
    process(incident),
    endpoint(remote, remotePort),
    errno ?? '-',
    HEARS[incident.hears],
    state(incident, now),
  ];
}

/** Month and day too: an incident may run over midnight. */
const stamp = timeStamper(4);
function time(seconds: number): string {
  return stamp(seconds, 0).slice('2026-'.length, '2026-11-23 17:01:14'.length);
}

/** Errors between the first and the last; none can be told of one error. */
function rate({ errors, firstAt, lastAt }: Incident): string {
  if (errors === 1 || lastAt <= firstAt) return '-';
  const perSecond = ((errors - 1) / (lastAt - firstAt)) * 1000;
  if (perSecond >= 10) return `${grouped(Math.round(perSecond))}/s`;
  if (perSecond >= 0.1) return `${perSecond.toFixed(1)}/s`;
  return perSecond * 60 >= 0.1 ? `${(perSecond * 60).toFixed(1)}/min` : `${(perSecond * 3600).toFixed(1)}/h`;
}

function process({ processes, event }: Incident): Octets {
  if (processes.length > 0) return listed(processes.map(processName));
  if (event.direction === 'out') return 'sent by this host';
  return event.outcome === 'not-local' ? 'not sent from here' : '?';
}

function state({ state: is, downMs, lastAt }: Incident, now: number | null): string {
  if (is === 'recovered') return `answers again after ${duration(downMs)}`;
  const since = now === null ? '' : `, ${duration(now - lastAt)} since the last`;
  return `${STATES[is]}${since}`;
}

function duration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function aligned(rows: readonly Octets[][]): Octets[] {
  const widths = HEADER.map((_, column) => Math.max(...rows.map((cells) => width(cells[column]!))));
  return rows.map((cells) =>
    cells
      .map((cell, column) => cell + ' '.repeat(widths[column]! - width(cell)))
      .join('  ')
      .trimEnd(),
  );
}

/** Characters; of UTF-8's octets those that begin one. */
function width(text: Octets): number {
  let characters = 0;
  for (let at = 0; at < text.length; at++) if ((text.charCodeAt(at) & 0xc0) !== 0x80) characters++;
  return characters;
}
