import type { Snapshot } from '../../src/host/snapshot.ts';
import { processOf } from '../events.ts';

/** A snapshot of a host with one socket, connected, of a process that is the gateway. */
export function snapshotOf(local: string, remote: string, comm = 'gateway'): Snapshot {
  const unknown = { exe: null, cmdline: null, started: null, unit: null };
  return {
    v: 1,
    host: 'web-3',
    time: '2026-11-23T17:01:14.075Z',
    unreadable: 0,
    unheld: '',
    namespaces: [
      {
        netns: 5,
        mount: null,
        addresses: [local.replace(/:\d+$/, '')],
        complete4: true,
        complete6: true,
        interfaces: {},
        conntrack: [],
        sockets: [
          {
            inode: 7,
            state: 'connected',
            family: 4,
            local,
            remote,
            device: '',
            uid: 0,
            user: 'root',
            recverr: false,
            v6only: null,
            processes: [processOf(4711, { fd: 3, comm, ...unknown })],
          },
        ],
      },
    ],
  };
}
