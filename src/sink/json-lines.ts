/**
 * JSON lines: one object an event or a record, by `event.schema.json`.
 *
 * The lines are put together by hand, since JSON.stringify takes five times as long; whatever is hostile
 * text goes through JSON.stringify all the same. Addresses and names of ours need no escaping.
 */
import type { Flow, IcmpEvent, IncidentRecord, LossRecord, NatTuple, SocketIdentity, TimeStamp } from '../event.ts';
import { octetsOf, type Octets } from './output.ts';
import { rfc3339 } from './time-stamp.ts';

const SCHEMA_VERSION = 1;

export function jsonLine(event: IcmpEvent): Octets {
  const { icmp } = event;
  let line =
    `{"v":${SCHEMA_VERSION},"host":${quoted(event.host)},"time":${timeJson(event)}` +
    `,"interface":${quoted(event.interface)}${interfacesJson(event.interfaces)}` +
    `,"direction":${event.direction === null ? 'null' : `"${event.direction}"`}` +
    `,"icmp":{"version":${icmp.version},"type":${icmp.type},"code":${icmp.code},"name":"${icmp.name}"` +
    `,"src":"${icmp.src}","dst":"${icmp.dst}","length":${icmp.length}}`;
  if (event.flow !== undefined) line += `,"flow":${flowJson(event.flow)}`;
  if (event.extensions !== undefined) line += `,"extensions":${jsonOctets(event.extensions)}`;
  if (event.errno !== undefined) line += `,"errno":${event.errno === null ? 'null' : `"${event.errno}"`}`;
  if (event.outcome !== undefined) line += `,"outcome":"${event.outcome}"`;
  if (event.match !== undefined) line += `,"match":${event.match === null ? 'null' : `"${event.match}"`}`;
  if (event.dropped === true) line += ',"dropped":true';
  if (event.closedMsAgo !== undefined) line += `,"closedMsAgo":${event.closedMsAgo}`;
  if (event.nat !== undefined) line += `,"nat":${natJson(event.nat)}`;
  if (event.note !== undefined) line += `,"note":${quoted(event.note)}`;
  if (event.sockets !== undefined) line += `,"sockets":${socketsJson(event.sockets)}`;
  if (event.count !== undefined) line += `,"count":${event.count}`;
  return `${line}}\n`;
}

export function recordJson(record: IncidentRecord): Octets {
  let line =
    `{"v":${SCHEMA_VERSION},"host":${quoted(record.host)},"time":${timeJson(record)},"event":"${record.event}"` +
    `,"flow":${flowJson(record.flow)}`;
  if (record.nat !== undefined) line += `,"nat":${natJson(record.nat)}`;
  line += `,"errno":"${record.errno}"`;
  if (record.sockets !== undefined) line += `,"sockets":${socketsJson(record.sockets)}`;
  if (record.keptSocket !== undefined) line += `,"keptSocket":${record.keptSocket}`;
  if (record.downMs !== undefined) line += `,"downMs":${record.downMs}`;
  if (record.quietMs !== undefined) line += `,"quietMs":${record.quietMs}`;
  if (record.sent !== undefined) line += `,"sent":${record.sent}`;
  return `${line},"errors":${record.errors}}\n`;
}

/** @param totals what is added to the record, by `event.schema.json` */
export function summaryJson(host: string | null, time: TimeStamp, totals: object): Octets {
  return recordLine(host, time, 'summary', totals);
}

export function lossJson(record: LossRecord): Octets {
  const { seconds: _seconds, nanoseconds: _nanoseconds, nanosecondResolution: _finer, host, event, ...loss } = record;
  return recordLine(host, record, event, loss);
}

function recordLine(host: string | null, time: TimeStamp, event: string, fields: object): Octets {
  const rest = jsonOctets(fields).slice(1);
  return `{"v":${SCHEMA_VERSION},"host":${quoted(host)},"time":${timeJson(time)},"event":"${event}",${rest}\n`;
}

function timeJson({ seconds, nanoseconds, nanosecondResolution }: TimeStamp): string {
  const time = rfc3339(seconds, nanoseconds, nanosecondResolution);
  return time === null ? 'null' : `"${time}"`;
}

/** The field, or nothing where the packet was seen on one interface alone. */
function interfacesJson(interfaces: readonly string[] | undefined): Octets {
  if (interfaces === undefined || interfaces.length < 2) return '';
  return `,"interfaces":[${interfaces.map(quoted).join(',')}]`;
}

function flowJson(flow: Flow): string {
  let json = `{"protocol":"${flow.protocol}","src":"${flow.src}"`;
  if (flow.sport !== undefined) json += `,"sport":${flow.sport}`;
  json += `,"dst":"${flow.dst}"`;
  if (flow.dport !== undefined) json += `,"dport":${flow.dport}`;
  if (flow.ipId !== undefined) json += `,"ipId":${flow.ipId}`;
  return `${json}}`;
}

function natJson({ src, sport, dst, dport }: NatTuple): string {
  return `{"src":"${src}","sport":${sport},"dst":"${dst}","dport":${dport}}`;
}

/** What is known of a socket serves many events; so does its text. */
const knownSockets = new WeakMap<SocketIdentity, string>();

function socketsJson(sockets: readonly SocketIdentity[]): string {
  return `[${sockets.map(socketJson).join(',')}]`;
}

function socketJson(socket: SocketIdentity): string {
  let json = knownSockets.get(socket);
  if (json === undefined) {
    json = jsonOctets(socket);
    knownSockets.set(socket, json);
  }
  return json;
}

/** Names of hosts and interfaces, and notes, are few and come again and again. */
const CACHED_TEXTS = 256;
const CACHED_LENGTH = 256;
const knownTexts = new Map<string, string>();

function quoted(text: string | null): string {
  if (text === null) return 'null';
  let json = knownTexts.get(text);
  if (json === undefined) {
    json = jsonOctets(text);
    if (text.length > CACHED_LENGTH) return json;
    if (knownTexts.size >= CACHED_TEXTS) knownTexts.clear();
    knownTexts.set(text, json);
  }
  return json;
}

/** What JSON.stringify leaves as it is and a terminal would act on, or a reader not see. */
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029]|\p{Cf}/gu;

/** `value` as JSON that nothing in it can steer a terminal with. */
export function jsonOctets(value: unknown): Octets {
  const json = JSON.stringify(value).replace(UNPRINTABLE, (character) =>
    Array.from({ length: character.length }, (_, unit) => {
      return `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`;
    }).join(''),
  );
  return octetsOf(json);
}
