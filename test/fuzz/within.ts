/** Inputs one after the other in a child process, and the watchdog beside it. */
import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { signature } from './minimise.ts';

/** For one input with its checks; some seconds at the most are what it should take on a slow machine. */
const HANGS_AFTER_CPU_SECONDS = 20;

/** What the child tells: which input it is about to read, and what does not hold. So one that hangs or crashes is known. */
export type Message = { input: number } | { number: number; error: string };

/** The child that replays within its process, and whoever looks that it gets on. */
export class Within {
  readonly found = new Map<number, string>();
  inputs = 0;
  #child: ChildProcess;
  #current = 0;
  #cpuAtStart = 0;
  #isStopped = false;
  readonly #signatures = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  readonly #module: string;
  readonly #args: readonly string[];

  /** @param args of the module, but for the number of the first input */
  constructor(module: string, args: readonly string[]) {
    this.#module = module;
    this.#args = args;
    this.#child = this.#start(0);
    this.#timer = setInterval(() => this.#watch(), 500);
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#child.kill('SIGKILL');
  }

  #start(first: number): ChildProcess {
    const child = fork(this.#module, [...this.#args, '--worker', String(first)], {
      env: { ...process.env, TZ: 'UTC' },
    });
    this.#cpuAtStart = 0;
    child.on('message', (message: Message) => {
      if ('input' in message) {
        this.inputs++;
        this.#current = message.input;
        this.#cpuAtStart = cpuSeconds(child.pid!);
        return;
      }
      this.#add(message.number, message.error);
    });
    child.on('exit', (status, signal) => {
      if (this.#isStopped) return;
      this.#add(this.#current, `Finding: the process ended by ${signal ?? status}`);
      this.#child = this.#start(this.#current + 1);
    });
    return child;
  }

  #add(number: number, error: string): void {
    const kind = signature(error);
    if (this.#signatures.has(kind)) return;
    this.#signatures.add(kind);
    this.found.set(number, error);
  }

  #watch(): void {
    if (this.#cpuAtStart === 0) return;
    const took = cpuSeconds(this.#child.pid!) - this.#cpuAtStart;
    if (took < HANGS_AFTER_CPU_SECONDS) return;
    this.#add(this.#current, `Finding: it hangs, after ${took} s`);
    this.#child.kill('SIGKILL');
  }
}

/** Of a process that may have ended. */
function cpuSeconds(pid: number): number {
  try {
    const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
      .slice(11, 13);
    return (Number(user) + Number(system)) / 100;
  } catch {
    return 0;
  }
}
