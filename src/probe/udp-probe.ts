/**
 * Probes one port: a connected UDP socket, whose errors the kernel reports, and the ICMP errors that the ear hears.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { canonicalAddress } from '../selection.ts';
import type { IcmpEar } from './icmp-ear.ts';
import type { Pace } from './pace.ts';
import type { Question } from './payload.ts';
import { PortProbe, type Endpoint, type Finding, type PortOptions } from './verdict.ts';

export interface UdpProbe {
  /** An address, with its scope where it is link-local (fe80::1%eth0), and a port. */
  target: Endpoint;
  question: Question;
  options: PortOptions;
  ear: IcmpEar;
  /** Null: nobody limits ICMP errors on the way. */
  pace: Pace | null;
  /** The port's place among those that share `pace`. */
  order: number;
  /** Ends it without a finding. */
  signal: AbortSignal;
}

export interface UdpFinding {
  finding: Finding;
  /** What the socket was bound to; null where it could not be. */
  local: Endpoint | null;
}

/** A port of this host may be the very one that the kernel gives the socket: it would hear itself. */
const MAX_SELF_CONNECTED = 10;

/** Probes a port. Resolves with what was found, or with null when the signal aborts first. Never rejects for a system error. */
export async function probePort(probe: UdpProbe): Promise<UdpFinding | null> {
  for (let tries = 1; ; tries++) {
    if (probe.signal.aborted) return null;
    const attempt = new Attempt(probe);
    try {
      if (await attempt.connect(tries === MAX_SELF_CONNECTED)) return await attempt.run();
    } finally {
      attempt.close();
    }
  }
}

class Attempt {
  readonly #probe: UdpProbe;
  readonly #socket: Socket;
  readonly #port: PortProbe;
  #local: Endpoint | null = null;
  #unlisten: () => void = () => {};
  /** The datagrams that left, for finding out which of them was answered. */
  readonly #datagrams: Uint8Array[] = [];
  /** Ends the waiting: something happened. */
  #wake: () => void = () => {};
  readonly #onAbort = (): void => this.#wake();
  #isConnected = false;

  constructor(probe: UdpProbe) {
    this.#probe = probe;
    this.#port = new PortProbe(probe.options);
    this.#socket = createSocket(probe.target.address.includes(':') ? 'udp6' : 'udp4');
    probe.signal.addEventListener('abort', this.#onAbort);
  }

  /** Resolves with false where the socket is connected to itself. What fails is the port's finding, and that too if `isLast`. */
  async connect(isLast: boolean): Promise<boolean> {
    const { target, ear } = this.#probe;
    const socket = this.#socket;
    const error = await new Promise<Error | null>((resolve) => {
      // Where it cannot even be bound, that is told by the event.
      socket.once('error', resolve);
      socket.connect(target.port, target.address, (failure?: Error) => resolve(failure ?? null));
    });
    socket.removeAllListeners('error');
    socket.on('error', (failure) => this.#failed(failure));
    if (error !== null) {
      this.#port.localError(errnoOf(error), performance.now());
      return true;
    }
    this.#isConnected = true;
    const local = socket.address();
    const peer = socket.remoteAddress();
    this.#local = { address: unscoped(local.address), port: local.port };
    if (local.port === peer.port && local.address === peer.address) {
      if (isLast) this.#port.localError('EADDRINUSE', performance.now());
      return isLast;
    }
    this.#unlisten = ear.listen(this.#local, { address: unscoped(peer.address), port: peer.port }, (icmp, at) => {
      const { sentFrom, sentTo } = icmp;
      const isUntranslated = isSame(sentFrom, local) && isSame(sentTo, peer);
      this.#port.captured(icmp, at, isUntranslated);
      this.#wake();
    });
    socket.on('message', (answer, from) => {
      // Until it was connected, the socket took what anybody sent.
      if (isFrom(from, peer)) this.#answered(answer);
    });
    return true;
  }

  async run(): Promise<UdpFinding | null> {
    const { pace, order, signal } = this.#probe;
    while (!signal.aborted) {
      const now = performance.now();
      const step = this.#port.next(now);
      if (step.do === 'end') return { finding: step.finding, local: this.#local };
      if (step.do === 'wait' || step.at > now) await this.#waitUntil(step.at);
      else if (pace !== null && !pace.take(order, now)) await this.#waitUntil(pace.readyAt(order));
      else await this.#send();
    }
    return null;
  }

  close(): void {
    const { pace, order, signal } = this.#probe;
    signal.removeEventListener('abort', this.#onAbort);
    pace?.leave(order);
    this.#unlisten();
    this.#socket.close();
  }

  /** Waits until something happens, but not beyond a time. */
  async #waitUntil(at: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, Math.max(1, Math.ceil(at - performance.now())));
    });
    clearTimeout(timer);
    this.#wake = () => {};
  }

  /**
   * The kernel reports a pending ICMP error to the next call, whichever that is, and forgets it; that call then did nothing. So
   * where send() fails, it may have failed for an earlier datagram: only what fails the same way again is this one's.
   */
  async #send(): Promise<void> {
    const port = this.#port;
    const isFirst = this.#datagrams.length === 0;
    const datagram = this.#probe.question.datagram();
    const failure = await this.#sendOnce(datagram);
    if (failure === null) return;
    const errno = errnoOf(failure);
    if (errno === 'ECONNREFUSED') {
      // Nothing but ICMP makes it.
      this.#probe.pace?.giveBack();
      port.told(errno, performance.now());
      return;
    }
    const failedAt = performance.now();
    const again = isFirst ? failure : await this.#sendOnce(datagram);
    if (again !== null) this.#probe.pace?.giveBack();
    if (again === null || errnoOf(again) !== errno) port.told(errno, failedAt);
    else port.localError(errno, failedAt);
  }

  /** Resolves with why the datagram did not leave, or with null. */
  async #sendOnce(datagram: Uint8Array): Promise<Error | null> {
    const at = performance.now();
    const failure = await new Promise<Error | null>((resolve) => {
      this.#socket.send(datagram, (error) => resolve(error));
    });
    if (failure !== null) return failure;
    this.#datagrams.push(datagram);
    this.#port.sent(at);
    return null;
  }

  #answered(answer: Uint8Array): void {
    const { question } = this.#probe;
    const sent = this.#datagrams;
    const nth = sent.findIndex((datagram) => question.isAnswered(datagram, answer));
    this.#port.answered(answer.length, nth === -1 ? null : nth, performance.now());
    this.#wake();
  }

  /** recvmsg() failed: a pending error, and never this host's own. */
  #failed(error: Error): void {
    if (!this.#isConnected) return;
    this.#port.told(errnoOf(error), performance.now());
    this.#wake();
  }
}

/** As the kernel names it; `UNKNOWN` where Node does not know it. */
function errnoOf(error: NodeJS.ErrnoException): string {
  // One number on Linux, for which libuv has the other name.
  return error.code === 'ENOTSUP' ? 'EOPNOTSUPP' : (error.code ?? 'UNKNOWN');
}

function isFrom(from: RemoteInfo, peer: { address: string; port: number }): boolean {
  return from.port === peer.port && from.address === peer.address;
}

/** An address without its scope, as the decoder writes it. */
function unscoped(address: string): string {
  const text = address.replace(/%.*/, '');
  return canonicalAddress(text) ?? text;
}

function isSame({ address, port }: Endpoint, other: Endpoint): boolean {
  return port === other.port && address === unscoped(other.address);
}
