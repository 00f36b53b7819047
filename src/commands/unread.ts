/**
 * Whoever reads what a live watch prints may be behind. Nothing is piled up for them: the capture waits, and that is said.
 */
import type { Output } from '../sink/output.ts';
import { say } from './messages.ts';

/** Milliseconds that a reader may be behind before it is said. */
const SAID_AFTER = 2_000;

/** Resolves as `output.drained()`; where that takes its time it is said, and afterwards how long it took. */
export async function caughtUp(name: string, done: 'read' | 'written', output: Output): Promise<void> {
  if (!output.isBehind) return;
  const since = performance.now();
  let isSaid = false;
  const timer = setTimeout(() => {
    isSaid = true;
    say(
      `${name} is not being ${done}, or too slowly: what is captured waits, ` +
        'and what the buffers do not hold will be lost',
    );
  }, SAID_AFTER);
  await output.drained();
  clearTimeout(timer);
  // Told to end, nobody waits for it any more.
  if (!isSaid || output.isBehind || output.error !== null) return;
  say(`${name} is ${done} again after ${((performance.now() - since) / 1000).toFixed(1)} s`);
}
