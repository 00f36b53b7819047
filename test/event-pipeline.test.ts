import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { HostAttribution } from '../src/correlate/attribute.ts';
import type { Attribution, QuotedTuple } from '../src/correlate/attribution.ts';
import { Incidents } from '../src/correlate/incidents.ts';
import type { Direction, IcmpEvent } from '../src/event.ts';
import { ErrorsBetween, EventPipeline, type PipelineOptions } from '../src/event-pipeline.ts';
import type { UdpTuple } from '../src/host/udp-tuple.ts';
import type { CaptureInterface } from '../src/savefile/packet.ts';
import { Output } from '../src/sink/output.ts';
import { errorEvent } from './events.ts';
import { echoRequest, NOTHING_SELECTED, portUnreachable, RAW } from './packets.ts';

/** Events that may wait at once. */
const MAX_WAITING = 16_384;

const FOUND: Attribution = {
  direction: 'in',
  errno: 'ECONNREFUSED',
  outcome: 'reported',
  match: 'connected',
  sockets: [
    {
      inode: 1,
      state: 'connected',
      family: 4,
      local: '192.0.2.10:1',
      remote: '192.0.2.20:9999',
      uid: 0,
      user: null,
      netns: null,
      recverr: null,
      processes: [],
    },
  ],
};
const NOT_FOUND: Attribution = {
  direction: 'in',
  errno: 'ECONNREFUSED',
  outcome: 'no-socket',
  match: 'none',
  sockets: [],
};

interface Shape extends Partial<Omit<PipelineOptions, 'attribution'>> {
  /** What a look-up of this tuple gives; without it nothing is looked up. */
  lookUp?: HostAttribution['lookup'];
  undoNat?: HostAttribution['undoNat'];
  passesOn?: HostAttribution['passesOn'];
  direction?: Direction;
  printsCount?: boolean;
}

/** A pipeline, what it printed (the quoted source port and the outcome of each event), and what it was asked. */
class Bench {
  readonly pipeline: EventPipeline;
  readonly output: Output;
  readonly events: IcmpEvent[] = [];
  #written = '';
  #iface: CaptureInterface = { id: 0, name: 'eth0', linkType: RAW, snaplen: 0, nanosecondResolution: false };

  constructor({ lookUp, undoNat, passesOn, direction = 'in', printsCount = false, ...options }: Shape = {}) {
    const write: Writable['_write'] = (octets: Buffer, _encoding, callback) => {
      this.#written += octets.toString();
      callback();
    };
    this.output = new Output(new Writable({ write }), (error) => expect.fail(error.message));
    const attribution = lookUp && {
      packetsArrived: () => {},
      directionOf: (): Direction => direction,
      undoNat: undoNat ?? ((tuple: UdpTuple) => tuple),
      passesOn: passesOn ?? (() => false),
      lookup: lookUp,
    };
    this.pipeline = new EventPipeline({
      output: this.output,
      attribution: (attribution ?? null) as unknown as HostAttribution | null,
      whyUnknown: 'a replay',
      host: null,
      isLive: true,
      usesComments: false,
      onNotBelieved: (why) => expect.fail(why),
      onUnsupported: () => {},
      incidents: null,
      writer: null,
      sink: {
        printsCount,
        describe: (bytes, packet) => `${bytes.length}-${packet.length}`,
        format: (event) => {
          this.events.push(structuredClone(event));
          return `${event.flow?.sport ?? event.icmp.name} ${event.outcome ?? '-'}\n`;
        },
        record: (record) => `${record.flow.sport} ${record.event}\n`,
      },
      selection: NOTHING_SELECTED,
      allIcmp: false,
      once: false,
      lineBuffered: false,
      maxEvents: Infinity,
      onLoss: (loss) => expect.fail(loss.cause),
      onMaxEvents: () => expect.fail('nobody set a limit'),
      ...options,
    });
  }

  packet(bytes: Uint8Array, linkType = RAW, name = 'eth0'): void {
    if (linkType !== this.#iface.linkType || name !== this.#iface.name)
      this.#iface = { ...this.#iface, linkType, name };
    const at = { offset: 0, caplen: bytes.length, len: bytes.length, seconds: 1000, nanoseconds: 500_000_000 };
    this.pipeline.packet({ bytes, ...at, iface: this.#iface, comments: [] });
    bytes.fill(0xaa); // the reader's block is used again
  }

  errors(...sports: number[]): void {
    for (const sport of sports) this.packet(portUnreachable(sport));
  }

  /** The lines that have left the output. */
  get written(): string[] {
    return this.#written.split('\n').slice(0, -1);
  }

  get shown(): (number | null | undefined)[] {
    return this.events.map(({ flow }) => flow?.sport);
  }
}

/** Look-ups that are answered when the test says so. */
class LookUps {
  readonly #waiting = new Map<number, { resolve: (found: Attribution) => void; reject: (error: unknown) => void }>();
  readonly lookUp = ({ sport }: QuotedTuple): Promise<Attribution> =>
    new Promise((resolve, reject) => this.#waiting.set(sport, { resolve, reject }));

  async answer(sport: number, found = FOUND): Promise<void> {
    this.#waiting.get(sport)!.resolve(found);
    await nextTurn();
  }

  async fail(sport: number, error: unknown): Promise<void> {
    this.#waiting.get(sport)!.reject(error);
    await nextTurn();
  }
}

test('look-ups are answered in any order, events leave in theirs', async () => {
  const lookUps = new LookUps();
  const bench = new Bench({ lookUp: lookUps.lookUp, allIcmp: true });
  bench.errors(1, 2, 3);
  bench.packet(echoRequest()); // waits for nothing but those before it
  bench.errors(4, 5);
  const settled = bench.pipeline.settled();
  await lookUps.answer(3);
  await lookUps.answer(2, NOT_FOUND);
  await lookUps.answer(5);
  expect(bench.shown).toEqual([]);
  await lookUps.answer(1);
  expect(bench.shown).toEqual([1, 2, 3, undefined]);
  await lookUps.answer(4);
  await settled;
  await bench.pipeline.settled();
  await nextTurn(); // Nobody else flushes when an answer comes.
  expect(bench.written).toEqual([
    '1 reported',
    '2 no-socket',
    '3 reported',
    'echo-request -',
    '4 reported',
    '5 reported',
  ]);
  expect(bench.pipeline.counts).toMatchObject({ shown: 6, attributed: 4, notLookedUp: 0 });
});

test('an answer that is there at once does not overtake', async () => {
  const lookUps = new LookUps();
  const bench = new Bench({ lookUp: (quoted) => (quoted.sport === 1 ? lookUps.lookUp(quoted) : FOUND) });
  bench.errors(1, 2, 3);
  expect(bench.shown).toEqual([]);
  await lookUps.answer(1);
  bench.errors(4);
  expect(bench.shown).toEqual([1, 2, 3, 4]);
});

test('too many wait: the oldest is given up, and counted', async () => {
  const lookUps = new LookUps();
  const bench = new Bench({ lookUp: lookUps.lookUp });
  const sports = Array.from({ length: MAX_WAITING + 2 }, (_, index) => index + 1);
  bench.errors(...sports.slice(0, MAX_WAITING));
  expect(bench.shown).toEqual([]);
  await lookUps.answer(2);
  bench.errors(MAX_WAITING + 1);
  // With the first, the second goes too: it was ready.
  expect(bench.shown).toEqual([1, 2]);
  expect(bench.events[0]).toMatchObject({ outcome: 'unknown', match: null, note: 'too many look-ups at once' });
  expect(bench.events[1]).toMatchObject({ outcome: 'reported' });
  bench.errors(MAX_WAITING + 2);
  expect(bench.pipeline.counts.notLookedUp).toBe(1);

  // The late answer to the first is nobody's.
  await lookUps.answer(1);
  for (const sport of sports.slice(2)) void lookUps.answer(sport);
  await bench.pipeline.settled();
  expect(bench.shown).toEqual(sports);
  expect(bench.pipeline.counts).toMatchObject({ shown: sports.length, attributed: sports.length - 1, notLookedUp: 1 });
});

test('too many wait, and all of them came in one chunk', () => {
  const bench = new Bench({ lookUp: new LookUps().lookUp, once: true });
  for (const chunk of [1, 2, 3]) {
    bench.pipeline.beginChunk();
    bench.errors(...Array.from({ length: MAX_WAITING }, (_, index) => chunk * MAX_WAITING + index));
    bench.pipeline.endChunk();
  }
  expect(bench.shown).toHaveLength(2 * MAX_WAITING);
  expect(bench.pipeline.counts.notLookedUp).toBe(2 * MAX_WAITING);
});

test('a packet on several interfaces is one event, with all of them', () => {
  const bench = new Bench({ lookUp: () => FOUND, once: true });
  bench.pipeline.beginChunk();
  for (const name of ['eth0', 'br0', 'veth1']) bench.packet(portUnreachable(1), RAW, name);
  bench.packet(portUnreachable(2), RAW, 'eth0');
  expect(bench.events).toEqual([]);
  bench.pipeline.endChunk();
  expect(bench.events).toMatchObject([
    { interface: 'eth0', interfaces: ['eth0', 'br0', 'veth1'] },
    { interfaces: ['eth0'] },
  ]);
  // The same once more on one of them is another packet.
  bench.packet(portUnreachable(1), RAW, 'br0');
  expect(bench.pipeline.counts.shown).toBe(3);
});

test.each([
  ['an error', new Error('EMFILE'), 'the look-up failed: EMFILE'],
  ['anything else', 'out of luck', 'the look-up failed: out of luck'],
])('a look-up that fails with %s is a note, and holds nobody up', async (_name, error, note) => {
  const lookUps = new LookUps();
  const bench = new Bench({ lookUp: lookUps.lookUp });
  bench.errors(1, 2);
  await lookUps.answer(2);
  await lookUps.fail(1, error);
  expect(bench.events).toMatchObject([
    { outcome: 'unknown', match: null, note },
    { outcome: 'reported', flow: { sport: 2 } },
  ]);
  expect(bench.pipeline.counts).toMatchObject({ shown: 2, attributed: 1 });
});

test('maxEvents: exactly so many, said once, and nothing after it', async () => {
  let said = 0;
  const lookUps = new LookUps();
  const bench = new Bench({ lookUp: lookUps.lookUp, maxEvents: 2, onMaxEvents: () => said++ });
  bench.errors(1, 2, 3, 4);
  await lookUps.answer(2);
  await lookUps.answer(3);
  await lookUps.answer(1);
  expect([bench.shown, said]).toEqual([[1, 2], 1]);
  bench.errors(5);
  await lookUps.answer(4);
  bench.pipeline.end();
  expect([bench.shown, said]).toEqual([[1, 2], 1]);
  // The third and fourth were not asked for, rather than too many.
  expect(bench.pipeline.counts).toMatchObject({ shown: 2, attributed: 2, notLookedUp: 0 });
});

test('maxEvents does not count what --port hides', () => {
  let said = 0;
  const selection = { ...NOTHING_SELECTED, ports: [2, 4] };
  const bench = new Bench({ selection, maxEvents: 2, onMaxEvents: () => said++ });
  bench.errors(1, 2, 3);
  expect(said).toBe(0);
  bench.errors(4, 2);
  expect([bench.shown, said]).toEqual([[2, 4], 1]);
});

test('the end: what still waits is shown as unknown, in order, and then nothing more', async () => {
  const lookUps = new LookUps();
  const bench = new Bench({ lookUp: lookUps.lookUp });
  bench.errors(1, 2, 3);
  await lookUps.answer(2);
  const settled = bench.pipeline.settled();
  bench.pipeline.end();
  bench.pipeline.end();
  await settled;
  bench.output.flush();
  expect(bench.written).toEqual(['1 unknown', '2 reported', '3 unknown']);
  await lookUps.answer(1);
  await lookUps.fail(3, new Error('too late'));
  bench.errors(4);
  expect(bench.shown).toEqual([1, 2, 3]);
  expect(bench.pipeline.counts).toMatchObject({ shown: 3, attributed: 1 });
});

test('the end is not "too many look-ups": it says neither that nor counts them', () => {
  const bench = new Bench({ lookUp: new LookUps().lookUp });
  bench.errors(1);
  bench.pipeline.end();
  expect(bench.events[0]?.note).toBeTypeOf('string');
  expect(bench.events[0]?.note).not.toMatch(/too many/);
  expect(bench.pipeline.counts.notLookedUp).toBe(0);
});

test('only what is shown is counted as shown, and as attributed', () => {
  const lookUp = ({ sport }: QuotedTuple): Attribution => (sport % 2 === 0 ? FOUND : NOT_FOUND);
  const bench = new Bench({ lookUp, selection: { ...NOTHING_SELECTED, ports: [1, 2] } });
  bench.errors(1, 2, 3, 4, 2);
  expect(bench.pipeline.counts).toMatchObject({ shown: 3, attributed: 2 });
});

test('what is not ICMP, not decoded or malformed is no event', () => {
  const bench = new Bench({ allIcmp: true });
  bench.packet(portUnreachable(1), 147);
  bench.packet(portUnreachable(1), 105);
  bench.packet(portUnreachable(1), 147);
  const contradictory = portUnreachable(1);
  contradictory.writeUInt16BE(19, 2);
  bench.packet(contradictory);
  const udp = portUnreachable(1);
  udp[9] = 17;
  bench.packet(udp);
  expect(bench.events).toEqual([]);
  expect(bench.pipeline.counts).toMatchObject({ shown: 0, malformed: 1 });
  expect([...bench.pipeline.counts.unsupported]).toEqual([
    [147, 2],
    [105, 1],
  ]);
});

test('what has no ICMP header, or not all of it, is for --all-icmp', () => {
  const cut = portUnreachable(1).subarray(0, 21);
  const cutEarlier = portUnreachable(1).subarray(0, 20);
  const fragment = portUnreachable(1);
  fragment.writeUInt16BE(185, 6);
  for (const allIcmp of [false, true]) {
    const bench = new Bench({ allIcmp });
    for (const packet of [cut, cutEarlier, fragment]) bench.packet(Buffer.from(packet));
    const { shown, malformed } = bench.pipeline.counts;
    expect([shown, malformed]).toEqual(allIcmp ? [3, 0] : [0, 1]);
    if (!allIcmp) continue;
    expect(bench.events.map(({ icmp, flow }) => [icmp.type, icmp.code, icmp.name, flow])).toEqual([
      [3, null, 'truncated', undefined],
      [null, null, 'truncated', undefined],
      [null, null, 'later-fragment', undefined],
    ]);
  }
});

test('a link type that is not decoded is said once; of thousands, the first few', () => {
  const said: number[] = [];
  const bench = new Bench({ onUnsupported: (linkType) => said.push(linkType) });
  for (let round = 0; round < 2; round++) {
    for (let linkType = 1000; linkType < 1100; linkType++) bench.packet(portUnreachable(1), linkType);
  }
  expect(said).toEqual(Array.from({ length: 16 }, (_, index) => 1000 + index));
  const { unsupported, unsupportedOthers } = bench.pipeline.counts;
  expect([unsupported.size, unsupported.get(1000), unsupportedOthers]).toEqual([16, 2, 168]);
});

test('errors that quote no UDP are for --all-icmp', () => {
  const TCP = 6;
  const asked: number[] = [];
  const lookUp = ({ sport }: QuotedTuple): Attribution => (asked.push(sport), FOUND);
  for (const allIcmp of [false, true]) {
    const bench = new Bench({ lookUp, allIcmp });
    bench.packet(portUnreachable(1, TCP));
    bench.packet(echoRequest());
    bench.errors(2);
    expect(bench.written).toEqual([]);
    bench.output.flush();
    expect(bench.written).toEqual(allIcmp ? ['1 -', 'echo-request -', '2 reported'] : ['2 reported']);
    // The kernel counts what quotes TCP too.
    expect(bench.pipeline.counts.errorsAddressedHere).toMatchObject({ certain: 0, uncertain: 0 });
  }
  expect(asked).toEqual([2, 2]);
});

test('the event: what was in the packet, what was looked up, and for what', () => {
  const asked: unknown[] = [];
  const bench = new Bench({
    lookUp: (...question) => {
      asked.push(question);
      return { ...FOUND, note: 'so it is' };
    },
  });
  bench.errors(40_000);
  expect(asked).toEqual([
    [
      { version: 4, type: 3, code: 3, src: '192.0.2.10', sport: 40_000, dst: '192.0.2.20', dport: 9999, dropped: null },
      'in',
      'eth0',
    ],
  ]);
  expect(bench.events).toEqual([
    {
      seconds: 1000,
      nanoseconds: 500_000_000,
      nanosecondResolution: false,
      host: null,
      interface: 'eth0',
      icmp: {
        version: 4,
        type: 3,
        code: 3,
        name: 'port-unreachable',
        src: '192.0.2.20',
        dst: '192.0.2.10',
        length: 36,
      },
      flow: { protocol: 'udp', src: '192.0.2.10', sport: 40_000, dst: '192.0.2.20', dport: 9999, ipId: 0xbeef },
      ...FOUND,
      note: 'so it is',
    },
  ]);
});

test('an error that this host sent is looked up as one', () => {
  const directions: Direction[] = [];
  const bench = new Bench({
    direction: 'out',
    lookUp: (_quoted, direction) => (directions.push(direction), { ...NOT_FOUND, direction }),
  });
  bench.errors(1);
  expect(directions).toEqual(['out']);
});

test('the direction is the one that the look-up found out, and NAT and the time of closing are its too', () => {
  const nat = { src: '10.0.0.2', sport: 5, dst: '192.0.2.20', dport: 9999 };
  const found: Attribution = { ...NOT_FOUND, match: 'closed', nat, closedMsAgo: 12 };
  const bench = new Bench({ direction: 'forward', lookUp: () => found });
  bench.errors(1);
  expect(bench.events).toMatchObject([{ direction: 'in', match: 'closed', nat, closedMsAgo: 12, flow: { sport: 1 } }]);
  // On the wire it was passing through: the kernel counted nothing in this namespace.
  expect(bench.pipeline.counts.errorsAddressedHere).toMatchObject({ certain: 0, uncertain: 0 });
});

test('what is addressed here for another namespace’s sake is not held against the counters', () => {
  for (const passedOn of [true, false]) {
    const asked: UdpTuple[] = [];
    const bench = new Bench({ lookUp: () => FOUND, passesOn: (tuple) => (asked.push(tuple), passedOn) });
    Object.assign(bench.pipeline.counts.errorsAddressedHere.first, { from: -2e9, until: -1e9 });
    bench.errors(7);
    expect(bench.pipeline.counts.errorsAddressedHere.certain).toBe(passedOn ? 0 : 1);
    const quoted = { version: 4, local: '192.0.2.10', localPort: 7, remote: '192.0.2.20', remotePort: 9999 };
    expect(asked).toEqual([quoted]);
  }
});

test('why the kernel drops an error is told', () => {
  const asked: (string | null)[] = [];
  const bench = new Bench({ lookUp: ({ dropped }) => (asked.push(dropped), FOUND) });
  const short = portUnreachable(1).subarray(0, 52);
  short.writeUInt16BE(52, 2);
  bench.packet(short);
  // Captured short: what was on the wire counts, and of its checksum nothing is known.
  bench.packet(portUnreachable(2).subarray(0, 52));
  const damaged = portUnreachable(3);
  damaged[22]! ^= 1;
  bench.packet(damaged);
  expect(asked).toEqual(['it quotes less than a UDP header', null, 'its checksum is wrong']);
});

test('copies on both sides of a router that does NAT are told by their tuple before it', () => {
  const undone = { version: 4, local: '192.0.2.10', localPort: 7, remote: '192.0.2.20', remotePort: 9999 } as const;
  const undoNat = (tuple: UdpTuple): UdpTuple => (tuple.localPort < 3 ? undone : tuple);
  const withoutIdentification = (sport: number): Buffer => {
    const packet = portUnreachable(sport);
    packet.writeUInt16BE(0, 4);
    return packet;
  };
  const bench = new Bench({ lookUp: () => FOUND, undoNat, once: true });
  bench.pipeline.beginChunk();
  bench.packet(withoutIdentification(1), RAW, 'eth0');
  bench.packet(withoutIdentification(2), RAW, 'eth1');
  bench.packet(withoutIdentification(3), RAW, 'eth1');
  bench.pipeline.endChunk();
  expect(bench.events.map(({ interfaces }) => interfaces)).toEqual([['eth0', 'eth1'], ['eth1']]);
});

test('without ports there is nothing to look up', () => {
  const bench = new Bench({ lookUp: () => expect.fail('asked') });
  bench.packet(portUnreachable(1).subarray(0, 50));
  expect(bench.events).toMatchObject([
    { flow: { sport: null, dport: null }, outcome: 'unknown', match: null, note: 'the ports are not in the quote' },
  ]);
});

test('nothing is looked up in a replay, and it says why', () => {
  const bench = new Bench();
  bench.errors(1);
  expect(bench.events).toMatchObject([
    { direction: null, errno: 'ECONNREFUSED', outcome: 'unknown', match: null, note: 'a replay' },
  ]);
  expect(bench.events[0]).not.toHaveProperty('sockets');
});

test('count: by flow, hidden events too, and only for a sink that prints it', () => {
  const bench = new Bench({ printsCount: true, selection: { ...NOTHING_SELECTED, ports: [1] } });
  bench.errors(1, 2, 1, 2, 1);
  expect(bench.events.map(({ count }) => count)).toEqual([1, 2, 3]);
  const other = new Bench();
  other.errors(1, 1);
  expect(other.events.map(({ count }) => count)).toEqual([undefined, undefined]);
});

test('-l: each line is written at once', () => {
  const bench = new Bench({ lineBuffered: true });
  bench.errors(1);
  expect(bench.written).toEqual(['1 unknown']);
});

test('what lies between two readings of the counters is certain, close to one it is not', () => {
  const between = new ErrorsBetween();
  between.count(10, true);
  expect(between).toMatchObject({ certain: 0, uncertain: 0 }); // not read yet
  Object.assign(between.first, { from: 10, until: 11 });
  for (const time of [9.9, 10, 11, 11.1, 500]) between.count(time, true);
  expect(between).toMatchObject({ certain: 2, uncertain: 2 });
  Object.assign(between.last, { from: 600, until: 601 });
  for (const time of [599, 600, 601, 601.1]) between.count(time, true);
  expect(between).toMatchObject({ certain: 3, uncertain: 4 });
});

test('a reading in between: what came before it is counted when all of that was there', async () => {
  const between = new ErrorsBetween();
  Object.assign(between.first, { from: 10, until: 11 });
  between.count(20, true);
  const { counts, allThere } = between.upToNow();
  Object.assign(counts.last, { from: 30, until: 31 });
  between.passTime(29);
  for (const time of [28, 30, 32]) between.count(time, true);
  between.passTime(32);
  expect(await allThere).toBe(true);
  between.count(25, true);
  expect(counts).toMatchObject({ certain: 2, uncertain: 1 });
  expect(between).toMatchObject({ certain: 5, uncertain: 0 });

  const early = between.upToNow().allThere;
  const late = between.upToNow().allThere;
  expect(await early).toBe(false);
  between.giveUpInterim();
  expect(await late).toBe(false);
});

test('only errors that are addressed here are held against the counters', () => {
  for (const [direction, counted] of [
    ['in', 1],
    ['out', 0],
    ['forward', 0],
    [null, 0],
  ] as const) {
    const bench = new Bench({ direction, lookUp: () => NOT_FOUND, allIcmp: true });
    Object.assign(bench.pipeline.counts.errorsAddressedHere.first, { from: -2e9, until: -1e9 });
    bench.packet(portUnreachable(1, 6));
    bench.packet(echoRequest());
    expect(bench.pipeline.counts.errorsAddressedHere.certain).toBe(counted);
  }
});

test('quiet is judged after the errors before it, though they wait for their look-up', async () => {
  const lookUps = new LookUps();
  const incidents = new Incidents({ maxFlows: 64, onlyKnownSockets: false });
  const bench = new Bench({ lookUp: lookUps.lookUp, incidents });
  incidents.error(
    errorEvent({ flow: { protocol: 'udp', src: '192.0.2.10', sport: 1, dst: '192.0.2.20', dport: 9999 } }),
    performance.now() - 40_000,
  );
  bench.errors(2);
  const milliseconds = Date.now();
  bench.pipeline.tick({ seconds: Math.floor(milliseconds / 1000), nanoseconds: (milliseconds % 1000) * 1e6 });
  bench.output.flush();
  expect(bench.written).toEqual([]);
  await lookUps.answer(2);
  bench.output.flush();
  // The packets of the bench are old.
  expect(bench.written).toEqual([expect.stringMatching(/^2 (?!quiet)/), '2 quiet', '1 quiet']);
});
