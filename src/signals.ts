/**
 * Imported before anything else: until SIGUSR1 has a handler, Node answers it by opening a debugger, and this program
 * runs as root. One that a signal opened before that is closed again.
 *
 * And at its end Node aborts, or crashes, where a terminal is gone that it began with: then the end is by SIGHUP, as that of
 * other programs without a terminal.
 */
import { close } from 'node:inspector';
import { isatty } from 'node:tty';

process.on('SIGUSR1', () => {});
close();

const terminals = [0, 1, 2].filter((fd) => isatty(fd));
process.on('exit', () => {
  if (terminals.every((fd) => isatty(fd))) return;
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
});
