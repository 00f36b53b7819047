/**
 * A refused datagram on the loopback, end to end: captured on `any`, decoded and attributed as `watch` does it. The socket is
 * one of this process, so what must come out is known.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { hostname, networkInterfaces } from 'node:os';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { HostAttribution } from '../correlate/attribute.ts';
import { isMalformed } from '../decode/octets.ts';
import type { IcmpPacket } from '../decode/packet.ts';
import type { IcmpEvent, ProcessIdentity, SocketIdentity } from '../event.ts';
import { EventPipeline } from '../event-pipeline.ts';
import { countersBetween, readIcmpCounters, type IcmpCounters } from '../host/counters.ts';
import type { LiveHost } from '../host/live-host.ts';
import { linkedInode, readLink } from '../host/proc-file.ts';
import { endpoint } from '../host/snapshot.ts';
import { Output } from '../sink/output.ts';
import type { Sink } from '../sink/sink.ts';
import { captureFilters } from '../source/capture-filter.ts';
import { ANY_DEVICE } from '../source/capture-protocol.ts';
import { CaptureError, LiveCapture } from '../source/live.ts';
import type { Check, Trial } from './check.ts';
import { BUILD_CAP } from './software.ts';

const BUFFER_KIB = 4096;
const OPEN_WITHIN_MS = 5000;
/** An error comes within milliseconds; a look-up gives up after 3 s. */
const EVENT_WITHIN_MS = 4000;
/** The socket hears of it before the capture does. */
const HEARD_WITHIN_MS = 500;

const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const;
/** Port unreachable is of this type. */
const UNREACHABLE = { 4: 3, 6: 1 } as const;

/** What comes out of the pipeline, for whoever waits for it, by the tuple of the datagram. */
class Ear implements Sink {
  readonly printsCount = false;
  readonly captured = new Set<string>();
  readonly #events = new Map<string, (event: IcmpEvent) => void>();

  describe(_bytes: Uint8Array, { original }: IcmpPacket): '' {
    if (original !== null && !isMalformed(original) && original.ports !== null) {
      const { ip, ports } = original;
      const tuple = tupleText(ip.src, ports.source, ip.dst, ports.destination);
      if (this.#events.has(tuple)) this.captured.add(tuple);
    }
    return '';
  }

  format(event: IcmpEvent): '' {
    const { src, sport, dst, dport } = event.flow!;
    if (typeof sport === 'number' && typeof dport === 'number') {
      this.#events.get(tupleText(src, sport, dst, dport))?.(event);
    }
    return '';
  }

  record(): '' {
    return '';
  }

  /** Resolves with the first event about that datagram. */
  event(tuple: string): Promise<IcmpEvent> {
    return new Promise((resolve) => this.#events.set(tuple, resolve));
  }
}

function tupleText(src: string, sport: number, dst: string, dport: number): string {
  return `${endpoint(src, sport)} > ${endpoint(dst, dport)}`;
}

/** Says whether `any` can be captured on, and what becomes of a refused datagram in each version of IP. */
export async function* checkLive(host: LiveHost): AsyncGenerator<Check> {
  const ear = new Ear();
  const stopped = new AbortController();
  const attribution = new HostAttribution(host);
  const pipeline = new EventPipeline({
    sink: ear,
    output: new Output(new Writable({ write: (_chunk, _encoding, done) => done() }), () => {}),
    attribution,
    whyUnknown: '',
    host: hostname(),
    isLive: true,
    usesComments: false,
    onNotBelieved: () => {},
    onUnsupported: () => {},
    incidents: null,
    writer: null,
    selection: { hosts: [], ports: [], pids: [], comms: [], errnos: [] },
    allIcmp: false,
    once: true,
    lineBuffered: false,
    maxEvents: Infinity,
    onLoss: () => {},
    onMaxEvents: () => {},
  });
  await attribution.start();
  const kept: string[] = [];
  const { opened, ended } = capture(pipeline, stopped, (why) => kept.push(why));
  try {
    const check = await Promise.race([opened, delay(OPEN_WITHIN_MS, null, { ref: false })]);
    yield check ?? notOpened(`it took longer than ${OPEN_WITHIN_MS / 1000} s to open`);
    const lo = checkLoopback();
    yield lo;
    for (const version of [4, 6] as const) {
      const name = `refused on IPv${version} loopback`;
      if (version === 6 && lo.status === 'ok' && !isAddress(LOOPBACK[6])) {
        yield { name, status: 'ok', found: 'not tried: lo has no IPv6 address' };
      } else if (check?.status === 'ok') {
        const tried = await tryRefused(version, ear);
        yield { name, ...tried, ...(tried.status === 'failed' && lo.status !== 'ok' && { remedy: 'see lo' }) };
      } else {
        const costs = 'that the parts of a live watch work together is not shown';
        yield { name, status: 'unknown', found: 'not tried: nothing is captured', costs };
      }
    }
    // It is told when the capture has been opened; by now it was.
    if (kept.length > 0) {
      const costs = 'a fault in libpcap or cap could do more harm than it need';
      yield {
        name: 'capture privileges',
        status: 'warning',
        found: `the capture process keeps some: ${kept.join('; ')}`,
        costs,
      };
    }
  } finally {
    stopped.abort();
    await ended;
    attribution.close();
  }
}

function capture(
  pipeline: EventPipeline,
  stopped: AbortController,
  onKept: (why: string) => void,
): { opened: Promise<Check>; ended: Promise<unknown> } {
  let ended: Promise<unknown> = Promise.resolve();
  const opened = new Promise<Check>((resolve) => {
    const live = new LiveCapture(
      {
        device: ANY_DEVICE,
        filters: captureFilters(ANY_DEVICE, false, ''),
        bufferKib: BUFFER_KIB,
        signal: stopped.signal,
      },
      {
        beforeChunk: () => pipeline.beginChunk(),
        packet: (cursor) => pipeline.packet(cursor),
        tick: (time) => pipeline.tick(time),
        afterChunk: () => {
          pipeline.endChunk();
          return Promise.resolve();
        },
        notice: (notice) => {
          if (notice.kind === 'privileges-kept') onKept(notice.message);
          if (notice.kind !== 'opened') return;
          const linkType = notice.linkType.replace(/^LINKTYPE_/, '');
          const found = `opened, link-type ${linkType}, snapshot length ${notice.snaplen} bytes`;
          resolve({ name: `capture on ${ANY_DEVICE}`, status: 'ok', found });
        },
      },
    );
    ended = live.run().catch((error: unknown) => {
      if (!(error instanceof CaptureError)) throw error;
      resolve(notOpened(error.message));
    });
  });
  return { opened, ended };
}

function notOpened(why: string): Check {
  return {
    name: `capture on ${ANY_DEVICE}`,
    status: 'failed',
    found: why,
    costs: 'no live watch',
    remedy: /permi(ssion|tted)/i.test(why) ? 'see CAP_NET_RAW' : `see cap; ${BUILD_CAP}`,
  };
}

function checkLoopback(): Check {
  const name = 'lo';
  if (isAddress(LOOPBACK[4])) return { name, status: 'ok', found: 'up' };
  return {
    name,
    status: 'warning',
    found: 'down, or without 127.0.0.1',
    costs:
      'errors that this host raises itself (no answer to ARP) come in on lo: they are neither captured nor heard of',
    remedy: 'ip link set lo up',
  };
}

function isAddress(address: string): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((own) => own.address === address) === true);
}

async function tryRefused(version: 4 | 6, ear: Ear): Promise<Omit<Check, 'name'>> {
  const address = LOOPBACK[version];
  const socket = createSocket(version === 4 ? 'udp4' : 'udp6');
  try {
    const port = await closedPort(version);
    const heard = new Promise<string>((resolve) => {
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
    const before = await readIcmpCounters('/proc/self/net');
    socket.bind(0, address);
    await listening(socket);
    socket.connect(port, address);
    await once(socket, 'connect');
    const local = socket.address().port;
    const tuple = tupleText(address, local, address, port);
    const event = ear.event(tuple);
    const sentAt = performance.now();
    const notSent = await new Promise<Error | null>((resolve) => socket.send('udpicmp-watch', resolve));
    if (notSent !== null) throw notSent;
    const found = await Promise.race([event, delay(EVENT_WITHIN_MS, null, { ref: false })]);
    const latencyMs = found === null ? null : performance.now() - sentAt;
    const errno = await Promise.race([heard, delay(HEARD_WITHIN_MS, null, { ref: false })]);
    const trial: Trial = {
      version,
      local: endpoint(address, local),
      remote: endpoint(address, port),
      latencyMs: latencyMs === null ? null : Math.round(latencyMs * 10) / 10,
      isNamed: found !== null && ownDescriptor(found.sockets ?? []) !== null,
      heard: errno,
    };
    const stage =
      found === null
        ? missing(trial, ear.captured.has(tuple), before, await readIcmpCounters('/proc/self/net'))
        : judge(trial, found);
    return { ...stage, trial };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return {
      status: 'failed',
      found: `not sent: ${message}`,
      costs: 'that the parts of a live watch work together is not shown',
      remedy: 'see firewall',
    };
  } finally {
    socket.close();
  }
}

/** A port that nobody has, a moment ago. */
async function closedPort(version: 4 | 6): Promise<number> {
  const socket = createSocket(version === 4 ? 'udp4' : 'udp6');
  try {
    socket.bind(0, LOOPBACK[version]);
    await listening(socket);
    return socket.address().port;
  } finally {
    socket.close();
  }
}

async function listening(socket: Socket): Promise<void> {
  await once(socket, 'listening');
}

/** What is said of this process, as /proc numbers it, and of a descriptor that it has now. */
function ownDescriptor(sockets: readonly SocketIdentity[]): ProcessIdentity | null {
  const pid = Number(readLink('/proc/self'));
  for (const { inode, processes } of sockets) {
    const own = processes.find(
      (process) => process.pid === pid && linkedInode('socket', readLink(`/proc/self/fd/${process.fd}`)) === inode,
    );
    if (own !== undefined) return own;
  }
  return null;
}

/** What is wrong with an event that came, if anything is. */
function judge({ latencyMs, heard }: Trial, event: IcmpEvent): Omit<Check, 'name'> {
  const after = `${latencyMs!.toFixed(1)} ms after it was sent`;
  const { errno, outcome, sockets = [], note } = event;
  const own = ownDescriptor(sockets);
  if (own === null) {
    const others = sockets.flatMap(({ processes }) => processes.map(({ comm, pid }) => `${comm ?? '?'}[${pid}]`));
    return {
      status: 'failed',
      found:
        `captured ${after}, but not attributed to this process: ` +
        `${others.length > 0 ? others.join(', ') : `outcome ${outcome}`}${note === undefined ? '' : `; ${note}`}`,
      costs: 'a live watch does not name processes here',
      remedy: 'see the warnings above',
    };
  }
  const found = `${errno} → ${own.comm}[${own.pid}] fd ${own.fd}, ${event.match}, ${after}`;
  if (errno !== 'ECONNREFUSED' || outcome !== 'reported') {
    return {
      status: 'failed',
      found: `${found}; expected ECONNREFUSED, reported, and it is ${errno}, ${outcome}`,
      costs: 'a live watch says something else than what happens',
      remedy: 'report it with this output',
    };
  }
  if (heard === errno) return { status: 'ok', found: `${found}; the socket heard ${heard}` };
  return {
    status: 'warning',
    found: `${found}; but the socket heard ${heard ?? 'nothing'}`,
    costs:
      'something drops ICMP errors after they are captured: processes do not hear of them, whatever the second line says',
    remedy: 'see firewall',
  };
}

/** Which stage no event came from. */
function missing(
  { version, heard }: Trial,
  isCaptured: boolean,
  before: IcmpCounters,
  after: IcmpCounters,
): Omit<Check, 'name'> {
  const socketText = `the socket heard ${heard ?? 'nothing'}`;
  if (isCaptured) {
    return {
      status: 'failed',
      found: `captured, but not attributed within ${EVENT_WITHIN_MS / 1000} s; ${socketText}`,
      costs: 'a live watch does not name processes here in time',
      remedy: 'see the warnings above',
    };
  }
  const counted = countersBetween(before, after)[`v${version}`];
  const sent = counted?.sent.byType.get(UNREACHABLE[version]);
  const received = counted?.received.byType.get(UNREACHABLE[version]);
  const counts =
    sent === undefined || received === undefined
      ? 'the kernel’s counters cannot be read'
      : `the kernel counted ${sent} of its type sent meanwhile, and ${received} received`;
  const isLostBefore = received === 0;
  return {
    status: 'failed',
    found: `no error was captured within ${EVENT_WITHIN_MS / 1000} s; ${counts}; ${socketText}`,
    costs: isLostBefore
      ? 'that a live watch works is not shown: there was no error to be captured'
      : 'a live watch does not see errors here',
    remedy: isLostBefore ? 'see firewall' : 'report it with this output',
  };
}
