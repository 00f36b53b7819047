/**
 * Which processes /proc shows.
 */
import { linkedInode, readLink } from './proc-file.ts';

/** PROC_PID_INIT_INO (include/linux/proc_ns.h): in this PID namespace every process of the host is seen. */
const FIRST_PID_NAMESPACE = 0xeffffffc;

/** By the text of mountinfo, the option hidepid= (proc(5)) by which /proc hides processes of others; null: it hides none. */
export function hidepidOf(mountinfo: string): string | null {
  // Of several at one place the last is on top.
  const [, options] = [...mountinfo.matchAll(/^\d+ \d+ \S+ \S+ \/proc .* - proc \S+ (\S+)$/gm)].at(-1) ?? [];
  return /(?:^|,)(hidepid=(?!0|off)[^,]+)/.exec(options ?? '')?.[1] ?? null;
}

/** Whether this process is in the first PID namespace, and not in a container's; null: not known. */
export function seesAllProcesses(procRoot: string): boolean | null {
  const inode = linkedInode('pid', readLink(`${procRoot}/self/ns/pid`));
  return inode === null ? null : inode === FIRST_PID_NAMESPACE;
}
