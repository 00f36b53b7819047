/**
 * `NODE_OPTIONS=--import=…/event-loop-probe.mjs EVENT_LOOP_PROBE=FILE`: writes to FILE, when the process exits, the
 * longest stall of its event loop in each half second, as JSON: `[{at, ms}, …]`, `at` in seconds since the epoch.
 */
import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

// Node counts from one tick of the monitor to the next; what is beyond the interval between two is a stall.
const RESOLUTION_MS = 5;

const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
const stalls = [];

function take() {
  stalls.push({ at: Date.now() / 1000, ms: Math.max(0, monitor.max / 1e6 - RESOLUTION_MS) });
  monitor.reset();
}

monitor.enable();
setInterval(take, 500).unref();
process.on('exit', () => {
  take();
  writeFileSync(process.env['EVENT_LOOP_PROBE'], JSON.stringify(stalls));
});
