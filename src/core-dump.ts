/**
 * Imported for what it does: a core that this process, or a program that it starts, dumps has none of its memory, which knows
 * command lines of all users. It still has the registers, the names of mapped files and the first 80 octets of the command line.
 */
import { writeFileSync } from 'node:fs';

try {
  writeFileSync('/proc/self/coredump_filter', '0');
} catch {
  // No /proc, or a process that dumps no core.
}
