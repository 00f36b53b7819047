/**
 * Which error this is on its flow. Bounded: flows that had no error while as many others had one are
 * forgotten, and counted as forgotten.
 */
import type { Flow } from '../event.ts';
import { Generations } from './generations.ts';
import { RecentFlows } from './recent-flows.ts';

/** Flows in one generation; at the most twice as many are remembered. */
const GENERATION = 65_536;

class FlowCount {
  count = 0;
  isForgotten = false;
  readonly #flow: Flow;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  isOf({ src, sport, dst, dport, protocol }: Flow): boolean {
    const flow = this.#flow;
    return (
      sport === flow.sport && dport === flow.dport && src === flow.src && dst === flow.dst && protocol === flow.protocol
    );
  }
}

export class FlowCounts {
  readonly #counts = new Generations<FlowCount>(GENERATION, (flow) => {
    flow.isForgotten = true;
    this.forgotten++;
  });
  readonly #recent = new RecentFlows<FlowCount>();
  /** Flows whose count starts again at 1 should they come back. */
  forgotten = 0;

  /** Counts one more error on `flow`, and gives the number so far. */
  next(flow: Flow): number {
    const recent = this.#recent.get(flow, this.#countOf);
    if (recent.isForgotten) this.#remember(flow, recent);
    return ++recent.count;
  }

  #remember(flow: Flow, count: FlowCount): void {
    count.isForgotten = false;
    this.forgotten--;
    this.#counts.set(keyOf(flow), count);
  }

  readonly #countOf = (flow: Flow): FlowCount => {
    const key = keyOf(flow);
    let count = this.#counts.get(key);
    if (count === undefined) {
      count = new FlowCount(flow);
      this.#counts.set(key, count);
    }
    return count;
  };
}

function keyOf({ src, sport, dst, dport, protocol }: Flow): string {
  return `${src} ${sport ?? ''} ${dst} ${dport ?? ''} ${protocol}`;
}
