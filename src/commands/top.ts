/**
 * `--top`: the table of incidents in a terminal, drawn anew every second.
 */
import type { Incidents } from '../correlate/incidents.ts';
import { incidentTable } from '../sink/incident-table.ts';
import { counted } from '../sink/numbers.ts';
import type { PipelineCounts } from '../event-pipeline.ts';
import { printable } from '../sink/escape.ts';
import { octetsOf, type Octets } from '../sink/output.ts';
import { standardOutput } from '../sink/standard-streams.ts';
import { holdMessages, releaseMessages } from './messages.ts';

const EVERY_MS = 1000;

/** The other screen, without wrapping and cursor; and back. ECMA-48 and DEC private modes, as all terminals have them. */
const ENTER = '\x1b[?1049h\x1b[?7l\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?7h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_REST = '\x1b[J';

export class Top {
  readonly #incidents: Incidents;
  readonly #counts: PipelineCounts;
  readonly #title: Octets;
  readonly #timer: NodeJS.Timeout;
  /** The last one stands below the table; all of them come when it is gone. */
  readonly #messages = holdMessages();

  /** @param title what is watched; the name of an interface may have anything in it. */
  constructor(incidents: Incidents, counts: PipelineCounts, title: string) {
    this.#incidents = incidents;
    this.#counts = counts;
    this.#title = printable(title);
    standardOutput().write(ENTER);
    this.#draw();
    this.#timer = setInterval(() => this.#draw(), EVERY_MS);
    process.stdout.on('resize', this.#draw);
    process.on('SIGTSTP', stop);
    process.on('SIGCONT', this.#resume);
    // By whatever way the program ends, the terminal is left as it was.
    process.on('exit', leave);
  }

  close(): void {
    clearInterval(this.#timer);
    process.stdout.off('resize', this.#draw);
    process.off('exit', leave);
    process.off('SIGTSTP', stop);
    process.off('SIGCONT', this.#resume);
    leave();
  }

  readonly #resume = (): void => {
    standardOutput().write(ENTER);
    this.#draw();
  };

  readonly #draw = (): void => {
    // A terminal that takes nothing (Ctrl-S) is not written to ever more.
    if (standardOutput().writableNeedDrain) return;
    const { shown } = this.#counts;
    const now = new Date();
    const clock = now.toTimeString().slice(0, 8);
    const lines = [`udpicmp-watch ${this.#title}  ${clock}  ${counted(shown, 'error')}`, ''];
    lines.push(...incidentTable(this.#incidents, performance.now()));
    const last = this.#messages.at(-1);
    const foot = last === undefined ? [] : ['', octetsOf(last)];
    const text = [...lines.slice(0, Math.max(0, process.stdout.rows - foot.length)), ...foot]
      .map((line) => line + CLEAR_LINE)
      .join('\n');
    standardOutput().write(Buffer.from(HOME + text + CLEAR_REST, 'latin1'));
  };
}

function leave(): void {
  standardOutput().write(LEAVE);
  releaseMessages();
}

/** Ctrl-Z: the shell gets its screen back. */
function stop(): void {
  standardOutput().write(LEAVE);
  process.kill(process.pid, 'SIGSTOP');
}
