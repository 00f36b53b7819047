/**
 * Imported before anything else: until SIGUSR1 has a handler, Node answers it by opening a debugger, and this program
 * runs as root. One that a signal opened before that is closed again.
 */
import { close } from 'node:inspector';

process.on('SIGUSR1', () => {});
close();
