#!/usr/bin/env node
/**
 * Where the program begins. Modules are run when all that they import is loaded, so what has to be done first is imported here
 * with nothing else: it shuts a debugger after 10 ms, and not after 50.
 */
import './signals.ts';
import './core-dump.ts';

await import('./command-line.ts');
