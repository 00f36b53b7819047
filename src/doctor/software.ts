/** What a live watch is made of and what it calls: Node.js, cap and libpcap, ss, nsenter. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { NetworkNamespace } from '../host/network-namespace.ts';
import { settled } from '../host/host-view.ts';
import { findTool, runTool } from '../host/tool.ts';
import { CaptureError, captureLibraries } from '../source/live.ts';
import type { Check } from './check.ts';

const ANY_ADDRESS = '0.0.0.0';

export const BUILD_CAP = 'node native-notes/build-cap.mjs';

/** @param running as process.versions.node. */
export function checkNode(running = process.versions.node): Check {
  const name = 'node';
  const packageFile = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { engines } = JSON.parse(packageFile) as { engines: { node: string } };
  const needed = engines.node.replace('>=', '');
  if (isAtLeast(running, needed)) return { name, status: 'ok', found: `${running}, ${needed} or later is needed` };
  return {
    name,
    status: 'failed',
    found: `${running}, and ${needed} or later is needed`,
    costs: 'nothing is known of how it works',
    remedy: `install Node.js ${needed} or later`,
  };
}

function isAtLeast(version: string, needed: string): boolean {
  const [a, b] = [version, needed].map((text) => text.split('.').map(Number)) as [number[], number[]];
  const at = b.findIndex((part, index) => part !== a[index]);
  return at === -1 || (a[at] ?? 0) > b[at]!;
}

/** cap and libpcap. */
export async function checkCap(): Promise<Check[]> {
  try {
    const { cap, isPatched, libpcap } = await captureLibraries();
    if (!isPatched) {
      return [
        {
          name: 'cap',
          status: 'warning',
          found: `${cap}, not patched`,
          costs:
            'no time stamps of the kernel, no drop counts, no interface names on any, nothing of peers that answer again; ' +
            'bursts are lost, and a link that goes down ends the capture',
          remedy: BUILD_CAP,
        },
        {
          name: 'libpcap',
          status: 'unknown',
          found: 'cap as it is delivered does not say',
          costs: 'its version is not known: with 1.10.5 or later such a cap cannot capture on any',
          remedy: BUILD_CAP,
        },
      ];
    }
    const check: Check = { name: 'cap', status: 'ok', found: `${cap}, patched` };
    if (libpcap !== null)
      return [check, { name: 'libpcap', status: 'ok', found: libpcap.replace(/^libpcap version /, '') }];
    return [
      { ...check, status: 'warning', found: `${cap}, with an earlier patch`, costs: 'as below', remedy: BUILD_CAP },
      { name: 'libpcap', status: 'unknown', found: 'that patch does not say', costs: 'its version is not known' },
    ];
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    return [
      {
        name: 'cap',
        status: 'failed',
        found: error.reason === 'no-cap' ? `cannot be loaded: ${error.message}` : error.message,
        costs: 'no live capture; replay (-r) works without',
        remedy: `sudo apt-get install libpcap-dev g++ make python3, then npm install and ${BUILD_CAP}`,
      },
    ];
  }
}

/** Whether ss tells the options of a socket of this process. */
export async function checkSs(own: NetworkNamespace, now: () => number): Promise<Check> {
  const name = 'ss';
  const costs =
    'IP_RECVERR, IPV6_V6ONLY and the device that a socket is bound to are not known: `recverr` is null, and candidates ' +
    'are not told apart';
  const remedy = 'apt-get install iproute2';
  const path = findTool(name);
  if (path === null) return { name, status: 'warning', found: 'not installed', costs, remedy };
  const recverr = await ownRecverr(own, now);
  if (recverr !== null) return { name, status: 'ok', found: `${path}, tells the options of sockets` };
  const found = `${path} is there, but tells no options of a socket of this process within 2 s`;
  return { name, status: 'warning', found, costs, remedy: `${remedy} (see: ss -uane --inet-sockopt)` };
}

async function ownRecverr(own: NetworkNamespace, now: () => number): Promise<boolean | null> {
  const socket = createSocket('udp4');
  try {
    // Not on the loopback, which may be down.
    socket.bind(0, ANY_ADDRESS);
    await once(socket, 'listening');
    const { port } = socket.address();
    const since = now();
    const source = await settled(() => own.sockets(port, since));
    const ours = source?.socketsFor(port, 0).find(({ family, local }) => family === 4 && local === ANY_ADDRESS);
    if (ours === undefined) return null;
    const options = await settled(() => own.options(ours, since));
    return options?.recverr ?? null;
  } finally {
    socket.close();
  }
}

/** Whether network namespaces can be entered: this one, for a start. */
export async function checkNsenter(): Promise<Check> {
  const name = 'nsenter';
  const path = findTool(name);
  const { output } = await runTool([], [name, '--net=/proc/self/ns/net', '--', 'true']);
  if (output === '') return { name, status: 'ok', found: `${path}, enters this network namespace` };
  return {
    name,
    status: 'warning',
    found: path === null ? 'not installed' : `${path} is there, but does not enter this network namespace within 2 s`,
    costs: 'sockets in network namespaces without a process, and socket options in others than this one, are not seen',
    remedy: path === null ? 'apt-get install util-linux' : 'see CAP_SYS_ADMIN',
  };
}
