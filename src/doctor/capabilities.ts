/** Capabilities of this process (capabilities(7)), by /proc/self/status. */
import { linkedInode, readLink, readShort } from '../host/proc-file.ts';
import type { Check } from './check.ts';

/** PROC_USER_INIT_INO (include/linux/proc_ns.h): the user namespace of the host. */
const FIRST_USER_NAMESPACE = 0xeffffffd;

/** Bits of the sets, from include/uapi/linux/capability.h. */
const BITS = {
  CAP_DAC_OVERRIDE: 1,
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
} as const;

export type Capability = keyof typeof BITS;

export class Capabilities {
  readonly #effective: bigint;
  readonly #bounding: bigint;

  constructor(effective: bigint, bounding: bigint) {
    this.#effective = effective;
    this.#bounding = bounding;
  }

  has(capability: Capability): boolean {
    return isIn(this.#effective, capability);
  }

  /** False: this process cannot get it, whatever it executes. */
  isPossible(capability: Capability): boolean {
    return isIn(this.#bounding, capability);
  }
}

/** From the text of /proc/PID/status; null where it has no capability sets. */
export function parseCapabilities(status: string): Capabilities | null {
  const [effective, bounding] = ['CapEff', 'CapBnd'].map(
    (name) => new RegExp(`^${name}:\\s*([0-9a-f]{1,16})$`, 'm').exec(status)?.[1],
  );
  return effective === undefined || bounding === undefined
    ? null
    : new Capabilities(BigInt(`0x${effective}`), BigInt(`0x${bounding}`));
}

function isIn(set: bigint, capability: Capability): boolean {
  return ((set >> BigInt(BITS[capability])) & 1n) === 1n;
}

/** Those of this process; none where that cannot be read. */
export function ownCapabilities(): Capabilities {
  return parseCapabilities(readShort('/proc/self/status') ?? '') ?? new Capabilities(0n, 0n);
}

/** A line for each capability that a live watch makes use of. */
export function checkCapabilities(capabilities: Capabilities, needsConntrackTool: boolean): Check[] {
  const checks: Check[] = [
    check(capabilities, 'CAP_NET_RAW', 'nothing can be captured', 'failed'),
    check(
      capabilities,
      'CAP_SYS_PTRACE',
      'of processes of other users, or with more capabilities, neither the sockets nor the network namespace are seen',
    ),
    check(capabilities, 'CAP_DAC_READ_SEARCH', 'the descriptors of other users’ processes cannot be listed'),
    check(
      capabilities,
      'CAP_SYS_ADMIN',
      'network namespaces without a process, and socket options (IP_RECVERR) in others than this one, are not seen',
    ),
  ];
  if (needsConntrackTool || capabilities.has('CAP_NET_ADMIN')) {
    checks.push(check(capabilities, 'CAP_NET_ADMIN', 'conntrack cannot be asked, so NAT is not undone'));
  } else {
    const found = 'not effective; a live watch needs it for the program conntrack alone, and not on this host';
    checks.push({ name: 'CAP_NET_ADMIN', status: 'ok', found });
  }
  if (linkedInode('user', readLink('/proc/self/ns/user')) !== FIRST_USER_NAMESPACE) {
    checks.push({
      name: 'user namespace',
      status: 'warning',
      found: 'not the first one of the host',
      costs: 'the capabilities above count for what belongs to this user namespace alone',
      remedy: 'run it on the host itself, as root',
    });
  }
  return checks;
}

function check(
  capabilities: Capabilities,
  name: Capability,
  costs: string,
  status: 'warning' | 'failed' = 'warning',
): Check {
  if (capabilities.has(name)) return { name, status: 'ok', found: 'effective' };
  // generic_permission() takes either for reading.
  if (name === 'CAP_DAC_READ_SEARCH' && capabilities.has('CAP_DAC_OVERRIDE')) {
    return { name, status: 'ok', found: 'not effective, but CAP_DAC_OVERRIDE is' };
  }
  const isPossible = capabilities.isPossible(name);
  return {
    name,
    status,
    found: isPossible ? 'not effective' : 'not effective, nor in the bounding set',
    costs,
    remedy: remedyFor(name, isPossible),
  };
}

function remedyFor(name: Capability, isPossible: boolean): string {
  if (!isPossible) {
    const short = name.replace('CAP_', '');
    return `whatever started this must leave it: CapabilityBoundingSet= of a systemd unit, docker run --cap-add ${short}`;
  }
  return process.getuid?.() === 0
    ? `start it with the capability: setpriv --inh-caps, AmbientCapabilities=${name} of a systemd unit`
    : 'sudo udpicmp-watch';
}
