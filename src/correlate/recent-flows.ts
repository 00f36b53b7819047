/**
 * Flows that were looked for lately, found by their ports: building a key for a table takes longer than all else that is done
 * with an error. What is in one's place drives it out.
 */
import type { Flow } from '../event.ts';

/** A power of two. */
const PLACES = 4096;

export class RecentFlows<T extends { isOf(flow: Flow): boolean }> {
  readonly #places: (T | undefined)[] = Array.from({ length: PLACES });

  /** What is remembered of `flow`, or is to be remembered from now on: `find` says what that is. */
  get<F extends T | undefined>(flow: Flow, find: (flow: Flow) => F): T | F {
    const place = ((flow.sport ?? 0) * 31 + (flow.dport ?? 0)) & (PLACES - 1);
    const recent = this.#places[place];
    if (recent !== undefined && recent.isOf(flow)) return recent;
    const found = find(flow);
    if (found !== undefined) this.#places[place] = found;
    return found;
  }
}
