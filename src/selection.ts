/**
 * `--host --port --pid --comm --errno`: which events are shown. What is given must match, all of it; of
 * several values for one option, any.
 */
import { isIPv4, SocketAddress } from 'node:net';
import type { IcmpEvent, ProcessIdentity } from './event.ts';

export interface Selection {
  hosts: readonly string[];
  ports: readonly number[];
  pids: readonly number[];
  comms: readonly string[];
  errnos: readonly string[];
}

/** The address as the decoder writes it, or null if `text` is none. */
export function canonicalAddress(text: string): string | null {
  if (isIPv4(text)) return text;
  // A scope (fe80::1%eth0) is in no packet.
  if (text.includes('%')) return null;
  try {
    return unmapped(new SocketAddress({ address: text, family: 'ipv6' }).address);
  } catch {
    return null;
  }
}

/** Of an IPv4-mapped address (RFC 4291 section 2.5.5.2) the IPv4 one, as the sockets are written that have it. */
function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

/** TASK_COMM_LEN, without the NUL. */
const COMM_OCTETS = 15;

/** The name of a process as the kernel keeps it: cut, within a character too, and read again as /proc is read. */
export function keptName(name: string): string {
  return Buffer.from(name).toString('utf8', 0, COMM_OCTETS);
}

export function selects(selection: Selection, event: IcmpEvent): boolean {
  const { hosts, ports, pids, comms, errnos } = selection;
  const { flow, icmp, nat } = event;
  if (
    hosts.length > 0 &&
    ![flow?.src, flow?.dst, nat?.src, nat?.dst, icmp.src, icmp.dst].some(
      (host) => host !== undefined && hosts.includes(unmapped(host)),
    )
  ) {
    return false;
  }
  if (
    ports.length > 0 &&
    ![flow?.sport, flow?.dport, nat?.sport, nat?.dport].some((port) => typeof port === 'number' && ports.includes(port))
  ) {
    return false;
  }
  if (errnos.length > 0 && !errnos.includes(event.errno ?? '')) return false;
  if (pids.length > 0 && !hasProcess(event, (process) => pids.includes(process.pid))) return false;
  return comms.length === 0 || hasProcess(event, (process) => process.comm !== null && comms.includes(process.comm));
}

export function selectsAll(selection: Selection): boolean {
  return Object.values(selection).every((wanted: readonly unknown[]) => wanted.length === 0);
}

function hasProcess(event: IcmpEvent, matches: (process: ProcessIdentity) => boolean): boolean {
  return event.sockets?.some((socket) => socket.processes.some(matches)) ?? false;
}
