/**
 * Imported before anything else: until SIGUSR1 has a handler, Node answers it by opening a debugger, and
 * this program runs as root.
 */
process.on('SIGUSR1', () => {});
