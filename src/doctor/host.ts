/** What of this host can be seen: processes, network namespaces, NAT. */
import { accessSync, constants, existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { LiveHost } from '../host/live-host.ts';
import type { NetworkNamespace } from '../host/network-namespace.ts';
import { readLink, readShort, readText } from '../host/proc-file.ts';
import { hidepidOf, seesAllProcesses } from '../host/proc-mount.ts';
import { findTool, runTool } from '../host/tool.ts';
import { counted, grouped } from '../sink/numbers.ts';
import type { Capabilities } from './capabilities.ts';
import type { Check } from './check.ts';

/** Namespaces that are tried to be entered: each takes a program some milliseconds. */
const MAX_ENTERED = 64;
/** A listing may have to start a program for each. */
const LISTED_WITHIN_MS = 10_000;
/** Namespaces that are named. */
const MAX_NAMED = 10;

/** Whether /proc/net/nf_conntrack can be read. */
export function hasConntrackFile(): boolean {
  try {
    accessSync('/proc/net/nf_conntrack', constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether conntrack is in the kernel, and only the program can tell what is in its table. */
export function needsConntrackTool(): boolean {
  return existsSync('/proc/sys/net/netfilter/nf_conntrack_max') && !hasConntrackFile();
}

/** Which processes are seen, and of how many the descriptors. */
export async function checkProcesses({ processes }: LiveHost, capabilities: Capabilities): Promise<Check[]> {
  const hidepid = hidepidOf((await readText('/proc/self/mountinfo')) ?? '');
  await processes.warm();
  const { count, unreadable } = processes;
  return [
    checkPidNamespace(),
    checkHidepid(hidepid, capabilities),
    checkDescriptors(count ?? 0, unreadable ?? 0, capabilities.has('CAP_SYS_PTRACE')),
  ];
}

function checkPidNamespace(): Check {
  const name = 'PID namespace';
  const first = readShort('/proc/1/comm')?.trim();
  const whoIsFirst = first === undefined ? 'PID 1 is hidden' : `PID 1 is ${first}`;
  if (seesAllProcesses('/proc') === true)
    return { name, status: 'ok', found: `the first one of the host; ${whoIsFirst}` };
  const found = `not the first one of the host, as in a container; ${whoIsFirst}`;
  if (readLink('/proc/self') !== String(process.pid)) {
    return {
      name,
      status: 'unknown',
      found: `${found}, of another PID namespace, which /proc was mounted in`,
      costs: 'whether that is the first one cannot be seen: processes outside of it are not named',
      remedy: 'run it on the host itself',
    };
  }
  return {
    name,
    status: 'warning',
    found,
    costs: 'processes outside of it are not seen: their sockets are said to have none',
    remedy: 'run it on the host itself, or with its PID namespace: docker run --pid=host',
  };
}

/** What hides a process is what forbids to ptrace it (has_pid_permissions in fs/proc/base.c). */
function checkHidepid(hidepid: string | null, capabilities: Capabilities): Check {
  const name = 'hidepid';
  if (hidepid === null) return { name, status: 'ok', found: '/proc hides no process' };
  if (capabilities.has('CAP_SYS_PTRACE')) {
    return { name, status: 'ok', found: `/proc is mounted with ${hidepid}, and CAP_SYS_PTRACE sees through it` };
  }
  return {
    name,
    status: 'warning',
    found: `/proc is mounted with ${hidepid}`,
    costs: 'processes of other users are hidden: their sockets are said to have none',
    remedy: 'sudo udpicmp-watch, or mount -o remount,hidepid=0 /proc',
  };
}

function checkDescriptors(count: number, unreadable: number, canTrace: boolean): Check {
  const name = 'processes';
  if (count === 0) {
    const costs = 'no process is named';
    return { name, status: 'warning', found: '/proc shows none', costs, remedy: 'mount -t proc proc /proc' };
  }
  const found = `${grouped(count - unreadable)} of ${counted(count, 'process', 'processes')} in /proc can be looked into`;
  if (unreadable === 0) return { name, status: 'ok', found };
  return {
    name,
    status: 'warning',
    found,
    costs: 'a socket that only the others have is said to be the kernel’s own, or of one of them',
    remedy: canTrace
      ? 'none here: they are of another user namespace, or a security module (SELinux, AppArmor, Landlock) protects them'
      : 'see CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH',
  };
}

/** How many there are, and which of them cannot be read or entered. */
export async function checkNamespaces({ namespaces }: LiveHost, nsenter: Check): Promise<Check> {
  const name = 'network namespaces';
  if (!(await Promise.race([namespaces.warm().then(() => true), delay(LISTED_WITHIN_MS, false, { ref: false })]))) {
    return {
      name,
      status: 'warning',
      found: `they could not be listed within ${LISTED_WITHIN_MS / 1000} s`,
      costs: 'errors about sockets in others than this one are `unknown` at first, or late',
      remedy: 'see nsenter, or --netns self',
    };
  }
  const [, ...others] = namespaces.all;
  const { unreadable } = namespaces;
  // Where nsenter fails at this one, it need not be waited for at each of the others.
  const isTried = nsenter.status === 'ok';
  const tried = others.slice(0, isTried ? MAX_ENTERED : undefined);
  const canBeEntered = isTried ? await Promise.all(tried.map((namespace) => namespace.canBeEntered())) : [];
  const closed = tried.filter((_, index) => canBeEntered[index] !== true);
  const untried = others.length - tried.length;
  const found = `this one and ${counted(others.length, 'other')} seen${untried > 0 ? `, of which ${MAX_ENTERED} were tried` : ''}`;
  if (closed.length === 0 && unreadable === 0) return { name, status: 'ok', found };
  const hidden =
    unreadable === 0
      ? ''
      : `; ${counted(unreadable, 'process or mount', 'processes or mounts')} of others cannot be looked into`;
  return {
    name,
    status: 'warning',
    found: `${found}${closed.length === 0 ? '' : `, ${grouped(closed.length)} of them cannot be entered`}${hidden}`,
    items: closed.slice(0, MAX_NAMED).map(nameOf),
    costs: 'of sockets there the options are not known, or the sockets themselves: an error about one is `unknown`',
    remedy: 'see CAP_SYS_PTRACE, CAP_SYS_ADMIN and nsenter',
  };
}

function nameOf({ inode, entrance }: NetworkNamespace): string {
  const where = entrance.mount ?? (entrance.pids.length === 0 ? null : `that of process ${entrance.pids[0]}`);
  return `${inode === null ? 'net:[?]' : `net:[${inode}]`}${where === null ? '' : ` ${where}`}`;
}

/** Whether NAT can be undone. @param natRules of this namespace; null: not known. */
export async function checkConntrack(natRules: number | null): Promise<Check> {
  const name = 'conntrack';
  if (!existsSync('/proc/sys/net/netfilter/nf_conntrack_max')) {
    return { name, status: 'ok', found: 'not in the kernel, or not loaded: netfilter does no NAT' };
  }
  const tool = findTool(name);
  if (hasConntrackFile()) return { name, status: 'ok', found: '/proc/net/nf_conntrack can be read' };
  const { output } = tool === null ? { output: null } : await runTool([], [name, '-L', '-p', 'udp']);
  if (output !== null) return { name, status: 'ok', found: `${tool} tells what is in it` };
  const found = `neither /proc/net/nf_conntrack nor the program conntrack can tell${tool === null ? ', which is not installed' : ''}`;
  if (natRules === 0) {
    return {
      name,
      status: 'ok',
      found,
      note: 'no NAT rules were found in this network namespace: there is nothing to undo',
    };
  }
  return {
    name,
    status: 'warning',
    found: `${found}; ${natRules === null ? 'whether there are NAT rules is unknown' : `there ${natRules === 1 ? 'is' : 'are'} ${counted(natRules, 'NAT rule')}`}`,
    costs: 'NAT is not undone: of a translated flow no socket is named, or another one with the same port',
    remedy: tool === null ? 'apt-get install conntrack' : 'sudo udpicmp-watch (conntrack needs CAP_NET_ADMIN)',
  };
}
