/**
 * The packet sockets of this process, as /proc shows them.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const COLUMN = { interface: 4, inode: 8 } as const;

/** The index of the interface that this process captures on; 0: none, all (`any`), or not known. */
export function boundInterface(): number {
  try {
    const inodes = new Set(readdirSync('/proc/self/fd').map(socketInode));
    const rows = readFileSync('/proc/self/net/packet', 'utf8').split('\n').slice(1);
    for (const row of rows) {
      const columns = row.trim().split(/\s+/);
      const index = Number(columns[COLUMN.interface]);
      // A socket whose interface has gone has -1.
      if (index > 0 && inodes.has(columns[COLUMN.inode])) return index;
    }
  } catch {
    // no /proc
  }
  return 0;
}

function socketInode(fd: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  } catch {
    return undefined; // closed again: that of the listing itself
  }
}
