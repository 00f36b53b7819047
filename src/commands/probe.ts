/**
 * `probe`: asks UDP ports whether somebody is there, and says what the answer, the ICMP error or the silence means.
 */
import { lookup } from 'node:dns/promises';
import { setMaxListeners } from 'node:events';
import { isIP, isIPv6 } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { unixNow } from '../probe/clock.ts';
import { IcmpEar } from '../probe/icmp-ear.ts';
import { Pace } from '../probe/pace.ts';
import { checkLength, questionFor, readPayload, WrongArgument } from '../probe/payload.ts';
import { jsonLine, textLine, type PortReport } from '../probe/report.ts';
import { probePort } from '../probe/udp-probe.ts';
import type { Verdict } from '../probe/verdict.ts';
import { canonicalAddress } from '../selection.ts';
import { Output } from '../sink/output.ts';
import { standardOutput } from '../sink/standard-streams.ts';
import { say } from './messages.ts';

export interface ProbeOptions {
  /** A name or an address. */
  host: string;
  ports: readonly number[];
  /** 0: whichever the resolver gives first. */
  family: 0 | 4 | 6;
  /** Datagrams to each port at the most. */
  count: number;
  /** Seconds between two of them. */
  interval: number;
  /** Seconds to wait after the last. */
  timeout: number;
  /** As on the command line. */
  payload: string | undefined;
  json: boolean;
}

/** Ports that are probed at once, or wait for those before them to be printed. */
const AT_ONCE = 32;

/** 0: all answered. */
const STATUS = { failed: 1, wrongCommandLine: 2, silent: 3 } as const;

/**
 * Prints a line for each port, in their order, each as soon as it is known. Returns the exit status: 0 all answered; 1 any
 * refused, unreachable or local error, or the host is not found; 2 the payload or the address cannot be; 3 otherwise silent.
 */
export async function probe(options: ProbeOptions): Promise<number> {
  try {
    return await probeHost(options);
  } catch (error) {
    if (!(error instanceof WrongArgument)) throw error;
    say(`probe: ${error.message}`);
    return STATUS.wrongCommandLine;
  }
}

async function probeHost(options: ProbeOptions): Promise<number> {
  // Before there are handlers: who asks for a FIFO that nobody writes to can still interrupt it.
  const payload = options.payload === undefined ? null : readPayload(options.payload);
  const stop = new AbortController();
  // Each port that is under way listens.
  setMaxListeners(AT_ONCE + 10, stop.signal);
  const output = new Output(standardOutput(), (error) => {
    if (error.code !== 'EPIPE') say(`standard output: ${error.message}`);
    stop.abort();
  });
  let isInterrupted = false;
  const onSignal = (): void => {
    if (isInterrupted) process.exit(STATUS.failed); // asked twice: at once
    isInterrupted = true;
    stop.abort();
    output.hurry();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  const status = await listenAndProbe(options, payload, output, stop.signal);
  if (isInterrupted) say('probe: interrupted');
  await output.finish();
  const outputFailed = output.error !== null && output.error.code !== 'EPIPE';
  return outputFailed || isInterrupted ? STATUS.failed : status;
}

async function listenAndProbe(
  options: ProbeOptions,
  payload: Uint8Array | null,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const literal = literalAddress(options.host);
  if (literal !== null && options.family !== 0 && familyOf(literal) !== options.family) {
    throw new WrongArgument(`${options.host} is no IPv${options.family} address`);
  }
  const ear = new IcmpEar();
  try {
    // It takes about as long as a name server does.
    const opening = ear.open((why) => say(`probe: ${why}; ICMP errors may have been missed`));
    const aborted = new Promise<null>((resolve) => signal.addEventListener('abort', () => resolve(null)));
    const address = literal ?? (await Promise.race([resolved(options), aborted]));
    if (address === null) return STATUS.failed;
    if (payload !== null) checkLength(payload, familyOf(address));
    const whyDeaf = await Promise.race([opening, aborted]);
    if (whyDeaf !== null) {
      say(
        `probe: the ICMP cannot be captured (${whyDeaf}): who said it, and errors that the kernel does not hand to the ` +
          'socket (host unreachable, time exceeded), are not seen; such ports look silent',
      );
    }
    return await probeAll({ options, payload, address, isNamed: literal === null, ear, output, signal });
  } finally {
    await ear.close();
  }
}

interface Probing {
  options: ProbeOptions;
  payload: Uint8Array | null;
  /** What the host's name stands for. */
  address: string;
  isNamed: boolean;
  ear: IcmpEar;
  output: Output;
  signal: AbortSignal;
}

async function probeAll({ options, payload, address, isNamed, ear, output, signal }: Probing): Promise<number> {
  const { ports, json } = options;
  const addresses = ownAddresses();
  const isOwn = (other: string): boolean => other.startsWith('127.') || addresses.has(other);
  // This host limits no ICMP errors on the loopback, which is the way to all its addresses.
  const pace = isOwn(address) ? null : new Pace();
  const host = hostname();

  const probeOne = async (order: number): Promise<PortReport | null> => {
    const target = { address, port: ports[order]! };
    const found = await probePort({
      target,
      question: questionFor(target.port, payload),
      options: {
        count: options.count,
        interval: options.interval * 1000,
        timeout: options.timeout * 1000,
        isCapturing: () => ear.isListening,
        isOwn,
      },
      ear,
      pace,
      order,
      signal,
    });
    return found && { ...found, target, name: isNamed ? options.host : null, unixMs: unixNow(), host, isOwn };
  };

  const verdicts = new Set<Verdict>();
  const underWay: Promise<PortReport | null>[] = [];
  for (let next = 0; next < ports.length || underWay.length > 0;) {
    while (next < ports.length && underWay.length < AT_ONCE) {
      const started = probeOne(next++);
      // Whoever waits for it hears of it.
      started.catch(() => {});
      underWay.push(started);
    }
    const report = await underWay.shift()!;
    if (report === null) break;
    verdicts.add(report.finding.verdict);
    output.write(json ? jsonLine(report) : textLine(report));
    output.flush();
    await output.drained();
  }
  verdicts.delete('answered');
  if (verdicts.size === 0) return 0;
  return verdicts.size === 1 && verdicts.has('silent') ? STATUS.silent : STATUS.failed;
}

/** The address where `host` is one; its v4 form where it is v4-mapped; the one that the kernel sends to where it is no host's. */
function literalAddress(host: string): string | null {
  if (isIP(host) === 0) return null;
  const address = canonicalAddress(host) ?? host;
  if (address === '0.0.0.0') return '127.0.0.1';
  return address === '::' ? '::1' : address;
}

/** The first address of a name, as a program would take it; null, and said, where there is none. */
async function resolved({ host, family }: ProbeOptions): Promise<string | null> {
  try {
    const { address } = await lookup(host, { family });
    return literalAddress(address);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    say(`probe: ${host} cannot be resolved: ${whyNotResolved(code, family) ?? message}`);
    return null;
  }
}

function whyNotResolved(code: string | undefined, family: 0 | 4 | 6): string | null {
  switch (code) {
    case 'ENOTFOUND':
      return family === 0 ? 'no such name (ENOTFOUND)' : `no such name, or no IPv${family} address (ENOTFOUND)`;
    case 'EAI_AGAIN':
      return 'no name server answers (EAI_AGAIN)';
    default:
      return null;
  }
}

function familyOf(address: string): 4 | 6 {
  return isIPv6(address) ? 6 : 4;
}

function ownAddresses(): Set<string> {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(['::1', ...addresses.map(({ address }) => canonicalAddress(address) ?? address)]);
}
