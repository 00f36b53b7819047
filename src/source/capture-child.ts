/**
 * The capture process: the only importer of cap. It writes a pcapng stream to standard output, takes orders in lines of
 * JSON on standard input, reports likewise on standard error (capture-protocol.ts), and ends when its standard input does,
 * so that it never outlives its parent.
 *
 * It never touches process.stdout. What the parent does not read at once waits here, up to a bound; then writes block, what comes
 * meanwhile stands in the kernel's buffer, and the kernel counts what does not fit.
 */
import '../signals.ts';
import { fstatSync, statSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, release, setPriority } from 'node:os';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { LINKTYPE } from '../decode/link.ts';
import { u32 } from '../decode/octets.ts';
import {
  enhancedPacketSize,
  INTERFACE_STATISTICS_SIZE,
  interfaceDescriptionSize,
  sectionHeaderSize,
  writeEnhancedPacket,
  writeInterfaceDescription,
  writeInterfaceStatistics,
  writeSectionHeader,
  type InterfaceDescription,
  type SectionHeader,
} from '../savefile/pcapng-writer.ts';
import {
  ANY_DEVICE,
  type CaptureLibraries,
  type CaptureOrder,
  type CaptureReport,
  type CaptureRequest,
  type ListedInterface,
} from './capture-protocol.ts';
import { boundInterface } from './packet-sockets.ts';
import { dropPrivileges, type PrivilegeCalls } from './privileges.ts';

/** cap 0.2.1; what is optional is there only when it is patched (native-notes/). */
interface CapModule extends PrivilegeCalls {
  Cap: {
    new (): CapObject;
    deviceList(): ListedInterface[];
    prototype: CapObject;
  };
  interfaceName?: (index: number) => string | null;
  libraryVersion?: () => string;
}
interface CapObject {
  open(device: string, filter: string, bufferSize: number, buffer: Buffer): string;
  close(): void;
  on(event: 'packet', listener: PacketListener): void;
  on(event: 'down', listener: (message: string, stats: CapStatistics | null) => void): void;
  stats?: () => CapStatistics | null;
}
type PacketListener = (
  caplen: number,
  truncated: boolean,
  seconds?: number,
  microseconds?: number,
  len?: number,
) => void;
interface CapStatistics {
  received: number;
  dropped: number;
}

/** Of all captures of this process, those on its followed flows aside. */
interface CaptureCounts extends CapStatistics {
  /** Packets that were read, and those that libpcap passed over. */
  delivered: number;
}

/**
 * Octets kept of each packet. An ICMP error's headers need some 150; a small number keeps the slots of the
 * kernel's ring small, so that it holds more packets (native-notes/).
 */
const SNAPLEN = 1024;

/** Octets kept of each datagram of a flow that is followed, its IP and UDP headers, and the buffer for them. */
const FOLLOW_SNAPLEN = 128;
const FOLLOW_BUFFER_KIB = 2048;

/** Packets are collected until this many octets are there, or until the event loop is idle. */
const BATCH = 256 * 1024;

/** The name by which libpcap knows the loopback. */
const LOOPBACK = 'lo';

/** As nice(2) has it. */
const PRIORITY = -10;

const STATISTICS_EVERY_MS = 1000;
const REOPEN_EVERY_MS = 250;

/** After this many interfaces a new section begins, so that neither side's table of them grows for ever. */
const MAX_INTERFACES = 1024;

const LINK_TYPES = new Map<string, number>([
  ['NULL', LINKTYPE.NULL],
  ['ETHERNET', LINKTYPE.ETHERNET],
  ['RAW', LINKTYPE.RAW],
  ['LINKTYPE_LINUX_SLL', LINKTYPE.LINUX_SLL],
  ['LINKTYPE_LINUX_SLL2', LINKTYPE.LINUX_SLL2],
  ['IEEE802_11_RADIO', 127],
]);

/** cap's word for the link type, "Unknown linktype 9" among them, as a LINKTYPE_ value. */
function linkTypeValue(word: string): number {
  return LINK_TYPES.get(word) ?? Number(/\d+$/.exec(word)?.[0] ?? -1);
}

function report(message: CaptureReport): void {
  writeAll(2, Buffer.from(`${JSON.stringify(message)}\n`));
}

/** Writes what goes without waiting, and gives the octets that went; ends the process when nobody reads any more. */
function write(fd: number, bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') break;
      process.exit(0);
    }
  }
  return at;
}

/** Blocks until all is written. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let rest = bytes; (rest = rest.subarray(write(fd, rest))).length > 0;) pause();
}

const NEVER = new Int32Array(new SharedArrayBuffer(4));

/** A millisecond in which this process does nothing. */
function pause(): void {
  Atomics.wait(NEVER, 0, 0, 1);
}

/**
 * In a storm this process would be woken for each packet, and do little else than wake and sleep: then it sleeps a millisecond
 * in between, of the hundreds that the kernel's buffer holds.
 */
class Naps {
  /** Packets in a millisecond from which on it is a storm. */
  static readonly #STORM = 16;
  /** Milliseconds after which that is reckoned anew. */
  static readonly #WINDOW = 2;
  #packets = 0;
  #since = 0;
  #isStorm = false;
  #due = false;

  /** To be called for each packet. */
  packet(): void {
    this.#packets++;
    if (this.#due) return;
    this.#due = true;
    setImmediate(this.#nap);
  }

  readonly #nap = (): void => {
    this.#due = false;
    const elapsed = performance.now() - this.#since;
    if (elapsed >= Naps.#WINDOW) {
      this.#isStorm = this.#packets >= Naps.#STORM * elapsed;
      this.#packets = 0;
      this.#since += elapsed;
    }
    if (this.#isStorm) pause();
  };
}

/**
 * Milliseconds between two writes: each wakes the parent, which at 1,000 packets/s costs more than what it does with them.
 */
const WRITE_EVERY = 3;

/**
 * Batches that wait for the parent, 64 MiB or some 400,000 ICMP errors: a packet takes a sixth of what it takes in the kernel's
 * buffer, and the parent, which looks sockets up, may be slower than a storm.
 */
const MAX_WAITING = 256;

/** Milliseconds until what waits is tried again. */
const WRITE_AGAIN = 4;

/** Milliseconds that the parent has at the end to read what waits. */
const LAST_WRITES = 60;

interface WaitingBatch {
  batch: Buffer;
  /** What of it is yet to be written. */
  rest: Buffer;
  /** Packets in it that the counts are about. */
  packets: number;
}

/** The pcapng stream: blocks go into a batch, and the batch out at once when idle, in larger writes under load. */
class CaptureStream {
  #batch: Buffer = Buffer.allocUnsafeSlow(BATCH);
  #end = 0;
  #flushing: NodeJS.Immediate | NodeJS.Timeout | undefined;
  #writtenAt = 0;
  /** Packets in the batch that the counts are about. */
  packets = 0;
  /** Oldest first. */
  readonly #waiting: WaitingBatch[] = [];
  #writingAgain: NodeJS.Timeout | undefined;
  /** Batches that were written: new ones would be collected time and again. */
  readonly #free: Buffer[] = [];
  #interfaces = 0;

  constructor() {
    // It makes the parent's socket non-blocking, for writeSync, and is for nothing else. A file never blocks.
    if (fstatSync(1).isSocket()) new Socket({ fd: 1, readable: false }).unref();
  }

  get interfaces(): number {
    return this.#interfaces;
  }

  section(): void {
    const header: SectionHeader = { hardware: arch(), os: `Linux ${release()}`, application: 'udpicmp-watch' };
    this.#room(sectionHeaderSize(header));
    this.#end = writeSectionHeader(this.#batch, this.#end, header);
    this.#interfaces = 0;
  }

  /** Returns the interface's number in the section. */
  interface(description: InterfaceDescription): number {
    this.#room(interfaceDescriptionSize(description));
    this.#end = writeInterfaceDescription(this.#batch, this.#end, description);
    return this.#interfaces++;
  }

  packet(
    interfaceId: number,
    seconds: number,
    microseconds: number,
    packet: Uint8Array,
    caplen: number,
    len: number,
  ): void {
    this.#room(enhancedPacketSize(caplen));
    this.#end = writeEnhancedPacket(this.#batch, this.#end, interfaceId, seconds, microseconds, packet, caplen, len);
  }

  statistics(counts: CaptureCounts): void {
    const now = Date.now();
    this.#room(INTERFACE_STATISTICS_SIZE);
    this.#end = writeInterfaceStatistics(
      this.#batch,
      this.#end,
      0,
      Math.trunc(now / 1000),
      (now % 1000) * 1000,
      counts,
    );
  }

  readonly flush = (): void => {
    this.#flushing = undefined;
    this.#write();
    // While others wait, this one may as well be filled.
    if (this.#waiting.length === 0 && this.#end > 0) this.#handOver();
  };

  /** Of packets that are still here after a while the parent is given none. Gives their number. */
  giveUp(): number {
    this.#handOver();
    const start = performance.now();
    while (this.#waiting.length > 0 && performance.now() - start < LAST_WRITES) {
      pause();
      this.#write();
    }
    // The first may be half written.
    const [first, ...others] = this.#waiting.splice(0);
    if (first !== undefined) writeAll(1, first.rest);
    return others.reduce((sum, { packets }) => sum + packets, 0);
  }

  /** Blocks until all is written. */
  end(): void {
    this.#handOver();
    for (const { rest } of this.#waiting.splice(0)) writeAll(1, rest);
  }

  /** To be called now and then: memory that a storm took is given back after it. */
  trim(): void {
    if (this.#waiting.length === 0) this.#free.length = Math.min(this.#free.length, 1);
  }

  #handOver(): void {
    clearTimeout(this.#flushing as NodeJS.Timeout);
    clearImmediate(this.#flushing as NodeJS.Immediate);
    this.#flushing = undefined;
    const batch = this.#batch;
    this.#waiting.push({ batch, rest: batch.subarray(0, this.#end), packets: this.packets });
    this.#batch = this.#free.pop() ?? Buffer.allocUnsafeSlow(BATCH);
    this.#end = 0;
    this.packets = 0;
    this.#writtenAt = performance.now();
    this.#write();
    while (this.#waiting.length > MAX_WAITING) {
      pause();
      this.#write();
    }
  }

  /** What goes without waiting; the rest later. */
  readonly #write = (): void => {
    clearTimeout(this.#writingAgain);
    this.#writingAgain = undefined;
    let first;
    while ((first = this.#waiting[0]) !== undefined) {
      first.rest = first.rest.subarray(write(1, first.rest));
      if (first.rest.length > 0) {
        this.#writingAgain = setTimeout(this.#writeOn, WRITE_AGAIN);
        break;
      }
      this.#waiting.shift();
      this.#free.push(first.batch);
    }
  };

  /** And what was left to be filled meanwhile. */
  readonly #writeOn = (): void => {
    this.#write();
    if (this.#waiting.length === 0 && this.#end > 0 && this.#flushing === undefined) this.#handOver();
  };

  #room(octets: number): void {
    if (this.#end + octets > BATCH) this.#handOver();
    this.#flushing ??=
      performance.now() - this.#writtenAt < WRITE_EVERY
        ? setTimeout(this.flush, WRITE_EVERY)
        : setImmediate(this.flush);
  }
}

type DeviceListener = (
  buffer: Buffer,
  caplen: number,
  seconds: number | undefined,
  microseconds: number | undefined,
  len: number | undefined,
) => void;

/**
 * A capture that can be opened again and again. cap's object is kept for that, and never let go: its destructor tells
 * Node's async_hooks of its end, which within a garbage collection is a SIGSEGV.
 */
class Device {
  readonly cap: CapObject;
  /** cap writes each packet here; it must stay referenced as long as the capture is open. */
  readonly #buffer: Buffer;

  constructor(
    { Cap }: CapModule,
    snaplen: number,
    onPacket: DeviceListener,
    onDown: (message: string, stats: CapStatistics | null) => void,
  ) {
    const buffer = Buffer.alloc(snaplen);
    this.#buffer = buffer;
    this.cap = new Cap();
    this.cap.on('packet', (caplen, _truncated, seconds, microseconds, len) =>
      onPacket(buffer, caplen, seconds, microseconds, len),
    );
    this.cap.on('down', onDown);
  }

  /** Returns cap's word for the link type. Throws libpcap's message where it cannot be opened. */
  open(name: string, filter: string, bufferKib: number): string {
    return this.cap.open(name, filter, bufferKib * 1024, this.#buffer);
  }
}

class Capture {
  readonly #cap: CapModule;
  readonly #request: CaptureRequest & { list: false };
  readonly #stream = new CaptureStream();
  readonly #device: Device;
  /** What the interface is called now, and its index, by which the kernel knows it; 0: not known, or `any`. */
  #name: string;
  #index = 0;
  #open: CapObject | null = null;
  #linkType = -1;
  /** LINUX_SLL2's interface indexes, as the section's interface numbers. */
  readonly #interfaces = new Map<number, { id: number; name: string }>();
  /** All counts so far, and libpcap's at the last look. */
  readonly #total: CaptureCounts = { received: 0, dropped: 0, delivered: 0 };
  #last: CapStatistics = { received: 0, dropped: 0 };
  /** Packets that libpcap counted and passed over: on the loopback it takes each as it comes in, and not as it goes out. */
  #passedOver = 0;
  /** Packets that were read, and that the parent had no time for at the end. */
  #givenUp = 0;
  /** The second capture, whose filter changes. cap cannot change one, so that each time the other of these is opened. */
  readonly #followers: [Device, Device];
  #followed: Device | null = null;
  #order: CaptureOrder = { follow: null };

  constructor(cap: CapModule, request: CaptureRequest & { list: false }) {
    this.#cap = cap;
    this.#request = request;
    this.#name = request.device;
    const naps = new Naps();
    const packet: DeviceListener = (buffer, ...captured) => {
      this.#packet(buffer, ...captured);
      naps.packet();
      this.#stream.packets++;
      this.#total.delivered++;
      const isCooked = this.#linkType === LINKTYPE.LINUX_SLL2;
      const name = isCooked ? this.#interfaces.get(u32(buffer, 4))?.name : this.#name;
      if (name === LOOPBACK) this.#passedOver++;
    };
    this.#device = new Device(cap, SNAPLEN, packet, (message, stats) => this.#down(message, stats));
    this.#followers = [this.#newFollower(), this.#newFollower()];
  }

  /** Throws libpcap's message where the device cannot be opened and is not to be waited for. */
  start(): void {
    try {
      this.open();
    } catch (error) {
      const message = firstLine(error);
      // An object of stock cap that was refused cannot be opened again.
      if (this.#device.cap.stats === undefined || !(this.#request.waits || /is not up/.test(message))) throw error;
      this.#waitUntilUp(message, () => {});
    }
  }

  /** Throws libpcap's message where the device cannot be opened. */
  open(): void {
    const word = this.#openWith(this.#request.filters);
    this.#open = this.#device.cap;
    this.#index = boundInterface();
    this.#linkType = linkTypeValue(word);
    this.#newSection();
    report({ kind: 'opened', linkType: word, snaplen: SNAPLEN, stock: this.#open.stats === undefined });
  }

  /** With the first of the filters that libpcap takes. An object that was refused may be opened again only if cap is patched. */
  #openWith([filter, ...others]: readonly string[]): string {
    try {
      return this.#device.open(this.#name, filter!, this.#request.bufferKib);
    } catch (error) {
      if (others.length === 0 || this.#device.cap.stats === undefined) throw error;
      return this.#openWith(others);
    }
  }

  /** What stands unread in the last one's buffer is lost with it, so these packets are not all; but no packet comes twice. */
  follow(order: CaptureOrder): void {
    this.#order = order;
    // cap as it is delivered has 64 KiB slots for this too, and no time stamps; nor is it safe to close.
    if (this.#open?.stats === undefined) return;
    const last = this.#followed;
    this.#followed = order.follow === null ? null : this.#openFollower(order.follow, last);
    last?.cap.close();
  }

  #newFollower(): Device {
    const follower: Device = new Device(this.#cap, FOLLOW_SNAPLEN, this.#packet, () => {
      // The first capture says so.
      if (this.#followed === follower) this.#followed = null;
    });
    return follower;
  }

  #openFollower(filter: string, last: Device | null): Device | null {
    const follower = this.#followers[last === this.#followers[0] ? 1 : 0];
    this.#rename();
    try {
      follower.open(this.#name, filter, FOLLOW_BUFFER_KIB);
    } catch (error) {
      report({ kind: 'not-followed', message: firstLine(error) });
      return null;
    }
    return follower;
  }

  /** Every second: the counts, which tell the parent too that time passes, and names that have changed. */
  tick(): void {
    for (const [index, { name }] of this.#interfaces) {
      if (this.#nameOf(index) !== name) this.#interfaces.delete(index);
    }
    this.#rename();
    this.#stream.trim();
    this.#statistics(this.#open?.stats?.() ?? null);
  }

  /** Tells the last counts, at the end of what the parent still has the time to read. */
  finish(): void {
    this.#givenUp = this.#stream.giveUp();
    this.#statistics(this.#open?.stats?.() ?? null);
    this.#stream.end();
  }

  #newSection(): void {
    this.#stream.section();
    this.#interfaces.clear();
    // The first is the device itself: `any`, and the one that the counts are for.
    this.#stream.interface({ linkType: this.#linkType, snaplen: SNAPLEN, name: this.#name });
  }

  /** A capture is bound to the interface itself, which may have been given another name. False if it is not known to exist. */
  #rename(): boolean {
    const from = this.#name;
    const to = this.#index > 0 ? (this.#cap.interfaceName?.(this.#index) ?? null) : null;
    if (to === null || to === from) return to !== null;
    this.#name = to;
    report({ kind: 'renamed', from, to });
    if (this.#open !== null) this.#newSection();
    return true;
  }

  readonly #packet: DeviceListener = (buffer, caplen, seconds, microseconds, len) => {
    if (seconds === undefined || microseconds === undefined || len === undefined) {
      // Stock cap knows neither the time nor the length on the wire.
      const now = Date.now();
      this.#stream.packet(0, Math.trunc(now / 1000), (now % 1000) * 1000, buffer, caplen, caplen);
      return;
    }
    const isCooked = this.#linkType === LINKTYPE.LINUX_SLL2 && caplen >= 8;
    const id = isCooked ? this.#interfaceId(u32(buffer, 4)) : 0;
    this.#stream.packet(id, seconds, microseconds, buffer, caplen, len);
  };

  #interfaceId(index: number): number {
    const known = this.#interfaces.get(index);
    if (known !== undefined) return known.id;
    if (this.#stream.interfaces >= MAX_INTERFACES) this.#newSection();
    const name = this.#nameOf(index);
    const id = this.#stream.interface({ linkType: this.#linkType, snaplen: SNAPLEN, name });
    this.#interfaces.set(index, { id, name });
    return id;
  }

  #nameOf(index: number): string {
    return this.#cap.interfaceName?.(index) ?? '?';
  }

  /** libpcap's counts are 32 bits wide, and start again from 0 when the device is opened again. */
  #statistics(current: CapStatistics | null): void {
    if (current === null) return;
    const received = (current.received - this.#last.received) >>> 0;
    const dropped = (current.dropped - this.#last.dropped) >>> 0;
    this.#last = current;
    this.#total.received += received;
    this.#total.dropped += dropped;
    // Where some were dropped nobody knows how many of those that libpcap would have passed over: then none count as unread.
    const isUnknown = this.#passedOver > 0 && this.#total.dropped > 0;
    const read = isUnknown ? this.#total.received - this.#total.dropped : this.#total.delivered + this.#passedOver;
    this.#stream.statistics({ ...this.#total, delivered: read - this.#givenUp });
  }

  /** cap has closed the capture. */
  #down(message: string, stats: CapStatistics | null): void {
    this.#statistics(stats);
    this.#last = { received: 0, dropped: 0 };
    this.#open = null;
    const since = performance.now();
    // libpcap takes one that was renamed for one that has gone.
    const isThere = this.#rename();
    this.#waitUntilUp(isThere ? 'The interface went down' : message, () =>
      report({ kind: 'up', downMs: performance.now() - since }),
    );
  }

  #waitUntilUp(why: string, onUp: () => void): void {
    report({ kind: 'down', message: why });
    const retry = setInterval(() => {
      this.#rename();
      try {
        this.open();
      } catch {
        return; // still down, or not there
      }
      clearInterval(retry);
      this.follow(this.#order);
      onUp();
    }, REOPEN_EVERY_MS);
  }
}

/**
 * On a host without a free core the capture buffer is full before this process has its turn. It takes about 1 µs of it for
 * each packet that comes, so being first costs nobody much.
 */
function hurry(): void {
  try {
    setPriority(PRIORITY);
  } catch {
    // not without CAP_SYS_NICE
  }
}

const require = createRequire(import.meta.url);

const project = fileURLToPath(new URL('../..', import.meta.url));

/**
 * A file of cap in this package's node_modules, or in one that this package is in. Node also looks beside all directories above, of
 * which one may be /tmp, and in the home directory, and this process may be root.
 */
function fileOfCap(file: string): string {
  const directory = require.resolve
    .paths('cap')
    ?.filter((path) => path === `${project}node_modules` || project.startsWith(`${path}/`))
    // Not access(2), for which capabilities do not count.
    .find((path) => statSync(`${path}/cap`, { throwIfNoEntry: false }) !== undefined);
  if (directory === undefined) throw new Error("Cannot find module 'cap'");
  return require.resolve(`${directory}/cap${file}`);
}

function loadCap(): CapModule {
  try {
    return require(fileOfCap('')) as CapModule;
  } catch (error) {
    report({ kind: 'failed', cause: 'no-cap', message: firstLine(error) });
    process.exit(1);
  }
}

function librariesOf({ Cap, libraryVersion }: CapModule): CaptureLibraries {
  const { version } = require(fileOfCap('/package.json')) as { version: string };
  return { cap: version, isPatched: Cap.prototype.stats !== undefined, libpcap: libraryVersion?.() ?? null };
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0]!;
}

function main(): void {
  // A write that would have to wait is an error, and its stack costs more than all else about it.
  Error.stackTraceLimit = 0;
  // They are for the parent to act on.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});

  const request = JSON.parse(process.argv[2]!) as CaptureRequest;
  const cap = loadCap();
  if (request.list === false) hurry();
  const libraries = request.list === 'libraries' ? librariesOf(cap) : null;
  // Everything is loaded by now: the user nobody may not be able to read it.
  const kept = dropPrivileges(cap, [fileURLToPath(import.meta.url), fileOfCap('')]);
  try {
    if (request.list !== false) {
      writeAll(1, Buffer.from(JSON.stringify(libraries ?? cap.Cap.deviceList())));
      return;
    }
    const capture = new Capture(cap, request);
    capture.start();
    if (kept.length > 0) report({ kind: 'privileges-kept', message: kept.join('; ') });
    // After what is there to be read was read: a process that was stopped finds its timers due first.
    setInterval(() => setImmediate(() => capture.tick()), STATISTICS_EVERY_MS);
    process.stdin.on('error', () => {});
    createInterface({ input: process.stdin }).on('line', (line) => capture.follow(JSON.parse(line) as CaptureOrder));
    process.stdin.on('close', () => {
      capture.finish();
      process.exit(0);
    });
  } catch (error) {
    let message = firstLine(error);
    if (request.list === false && request.device === ANY_DEVICE && /promiscuous/i.test(message)) {
      message += '; the cap that is installed is not patched: see native-notes/README.md';
    }
    report({ kind: 'failed', cause: 'open', message });
    process.exitCode = 1;
  }
}

main();
