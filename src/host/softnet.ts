/**
 * Packets that the kernel dropped before any capture could see them: those for which a CPU's receive queue had no room
 * (softnet_seq_show in net/core/net-procfs.c; enqueue_to_backlog in net/core/dev.c).
 */
import { readText } from './proc-file.ts';

/** Columns of /proc/net/softnet_stat, a line for each CPU, in hexadecimal. */
const DROPPED = 1;

/**
 * Of all kinds and namespaces, since the system started; null where it cannot be read. The kernel's counters have 32 bits.
 *
 * @param netDirectory `/proc/net`
 */
export async function readSoftnetDrops(netDirectory: string): Promise<number | null> {
  const text = await readText(`${netDirectory}/softnet_stat`);
  if (text === null) return null;
  const drops = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number.parseInt(line.split(' ')[DROPPED] ?? '', 16));
  return drops.some(Number.isNaN) ? null : drops.reduce((sum, count) => sum + count, 0);
}
