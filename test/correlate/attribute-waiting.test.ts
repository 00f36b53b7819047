/** What is not at hand is waited for, not for ever; what was found is not looked for again without need. */
import { describe, expect, test } from 'vitest';
import { HostAttribution } from '../../src/correlate/attribute.ts';
import type { QuotedTuple } from '../../src/correlate/attribution.ts';
import type { ProcessIdentity } from '../../src/event.ts';
import type { HostView, NamespaceView, SocketSource } from '../../src/host/host-view.ts';
import type { UdpSocket } from '../../src/host/socket-table.ts';

const QUOTED: QuotedTuple = {
  version: 4,
  type: 3,
  code: 3,
  src: '192.0.2.2',
  sport: 5000,
  dst: '192.0.2.1',
  dport: 53,
  dropped: null,
};
const SOCKET: UdpSocket = {
  family: 4,
  local: '192.0.2.2',
  localPort: 5000,
  remote: '192.0.2.1',
  remotePort: 53,
  connected: true,
  uid: 0,
  inode: 7,
};
const HOLDER: ProcessIdentity = {
  pid: 50,
  fd: 3,
  comm: 'client',
  exe: null,
  cmdline: null,
  started: null,
  container: null,
  runtime: null,
  unit: null,
};

/** A host with the one socket, that counts what it is asked; a test changes how it answers. */
class StubHost implements HostView {
  time = 1_000;
  asked: string[] = [];
  sockets: UdpSocket[] = [SOCKET];
  readonly own: NamespaceView = {
    inode: 1,
    isLocalByMemory: () => true,
    isLocal: () => this.answer('isLocal', true),
    undoNat: () => this.answer('undoNat', []),
    undoNatNow: (tuple) => tuple,
    socketsNow: () => undefined,
    socketsBefore: () => null,
    sockets: (): SocketSource => this.answer('sockets', { socketsFor: () => this.sockets }),
    options: () => this.answer('options', null),
    closedSocket: () => null,
    lastListener: () => null,
  };

  /** Gives the answer, or what a test puts in its place. */
  answer<T>(question: string, answer: T): T {
    this.asked.push(question);
    return answer;
  }

  now(): number {
    return this.time;
  }
  namespacesOf(): null {
    return null;
  }
  knownNamespacesOf(): NamespaceView[] {
    return [];
  }
  async lookForNamespaces(): Promise<void> {}
  holders(): ReturnType<HostView['holders']> {
    return this.answer('holders', [HOLDER]);
  }
  lastHolders(): ProcessIdentity[] {
    return [];
  }
  whyUnheld(): string {
    return 'nobody';
  }
  userOf(): null {
    return null;
  }
  interfacesAbove(name: string): Set<string> {
    return new Set([name]);
  }
  async start(): Promise<void> {}
  close(): void {}
}

/** One that has to be waited for once, for the question of that name. */
class LateHost extends StubHost {
  readonly late: string;
  /** Milliseconds that pass while it is waited for. */
  readonly takes: number;
  readonly times: number;
  waited = 0;

  constructor(late: string, takes = 0, times = 1) {
    super();
    this.late = late;
    this.takes = takes;
    this.times = times;
  }

  override answer<T>(question: string, answer: T): T {
    super.answer(question, answer);
    if (question !== this.late || this.waited >= this.times) return answer;
    this.waited++;
    return Promise.resolve().then(() => (this.time += this.takes)) as T;
  }
}

describe('what is not at hand', () => {
  test.each(['isLocal', 'undoNat', 'sockets', 'options', 'holders'])(
    '%s: is waited for, and all is found',
    async (late) => {
      const host = new LateHost(late, 0, 3);
      const found = new HostAttribution(host).lookup(QUOTED, 'in', 'eth0');
      expect(found).toBeInstanceOf(Promise);
      expect(await found).toMatchObject({ outcome: 'reported', match: 'connected', sockets: [{ inode: 7 }] });
    },
  );

  test.each(['isLocal', 'undoNat', 'sockets', 'holders'])('%s: is given up after 3 s', async (late) => {
    const host = new LateHost(late, 1_600, Infinity);
    const found = await new HostAttribution(host).lookup(QUOTED, 'in', 'eth0');
    expect(found).toMatchObject({ outcome: 'unknown', match: null, note: 'it could not be looked up within 3 s' });
    expect(host.waited).toBeLessThan(10);
  });

  test('the options of a socket: it is named without them', async () => {
    const found = await new HostAttribution(new LateHost('options', 200, Infinity)).lookup(QUOTED, 'in', 'eth0');
    expect(found).toMatchObject({ outcome: 'reported', sockets: [{ inode: 7, recverr: null }] });
  });

  test('that is all at hand is answered at once', () => {
    expect(new HostAttribution(new StubHost()).lookup(QUOTED, 'in', 'eth0')).not.toBeInstanceOf(Promise);
  });

  test('once the watch has ended is not waited for', async () => {
    const attribution = new HostAttribution(new LateHost('sockets', 0, Infinity));
    const waiting = attribution.lookup(QUOTED, 'in', 'eth0');
    attribution.close();
    expect(await waiting).toMatchObject({ outcome: 'unknown', note: 'the watch ended before it was looked up' });
  });

  test('that fails is unknown, and why', async () => {
    const host = new StubHost();
    host.own.sockets = () => Promise.reject(new Error('EMFILE'));
    expect(await new HostAttribution(host).lookup(QUOTED, 'in', 'eth0')).toMatchObject({
      outcome: 'unknown',
      note: 'the look-up failed: EMFILE',
    });
  });

  test('and is never enough is given up, and the event loop turns meanwhile', async () => {
    const host = new StubHost();
    host.own.sockets = () => {
      host.time += 100;
      return Promise.resolve();
    };
    expect(await new HostAttribution(host).lookup(QUOTED, 'in', 'eth0')).toMatchObject({
      outcome: 'unknown',
      note: 'it could not be looked up within 3 s',
    });
  });
});

describe('what came together', () => {
  test('is looked up once', () => {
    const host = new StubHost();
    const attribution = new HostAttribution(host);
    attribution.packetsArrived();
    const first = attribution.lookup(QUOTED, 'in', 'eth0');
    const { length } = host.asked;
    expect(length).toBeGreaterThan(0);
    expect(attribution.lookup(QUOTED, 'in', 'eth0')).toEqual(first);
    // Another error on the flow has the same socket, and another verdict.
    expect(attribution.lookup({ ...QUOTED, code: 1 }, 'in', 'eth0')).toMatchObject({ errno: 'EHOSTUNREACH' });
    expect(host.asked).toHaveLength(length);
  });

  test('and is waited for, is waited for once', async () => {
    const host = new LateHost('sockets');
    const attribution = new HostAttribution(host);
    const answers = await Promise.all([1, 2, 3].map(async () => attribution.lookup(QUOTED, 'in', 'eth0')));
    expect(host.waited).toBe(1);
    expect(new Set(answers.map(({ sockets }) => sockets)).size).toBe(1);
  });

  test('on several interfaces is looked up for each: a device may make a difference', () => {
    const host = new StubHost();
    const attribution = new HostAttribution(host);
    void attribution.lookup(QUOTED, 'in', 'eth0');
    const { length } = host.asked;
    void attribution.lookup(QUOTED, 'in', 'eth1');
    expect(host.asked.length).toBeGreaterThan(length);
  });
});

describe('a further error on the flow of a connected socket', () => {
  test('asks again for the socket; where NAT cannot be looked at now, it is believed for a second', () => {
    const host = new StubHost();
    const attribution = new HostAttribution(host);
    void attribution.lookup(QUOTED, 'in', 'eth0');
    host.own.undoNat = () => new Promise(() => {});
    host.time += 500;
    host.asked = [];
    attribution.packetsArrived();
    expect(attribution.lookup(QUOTED, 'in', 'eth0')).toMatchObject({ match: 'connected' });
    expect(host.asked).toContain('sockets');
    host.time += 501;
    attribution.packetsArrived();
    expect(attribution.lookup(QUOTED, 'in', 'eth0')).toBeInstanceOf(Promise);
  });

  test('looks everywhere once more where the socket is gone', () => {
    const host = new StubHost();
    const attribution = new HostAttribution(host);
    void attribution.lookup(QUOTED, 'in', 'eth0');
    host.sockets = [];
    host.time += 500;
    host.asked = [];
    attribution.packetsArrived();
    expect(attribution.lookup(QUOTED, 'in', 'eth0')).toMatchObject({ outcome: 'no-socket', match: 'none' });
    expect(host.asked).toContain('undoNat');
  });
});

test('a socket that nobody holds is looked at twice before it is called the kernel’s own', () => {
  const host = new StubHost();
  host.holders = () => [];
  let looks = 0;
  host.own.sockets = () => {
    looks++;
    return { socketsFor: () => (looks === 1 ? [{ ...SOCKET, inode: 8 }] : []) };
  };
  expect(new HostAttribution(host).lookup(QUOTED, 'in', 'eth0')).toMatchObject({ outcome: 'no-socket', match: 'none' });
});

test('where a table is cut, that there is no socket is not known', () => {
  const host = new StubHost();
  host.own.sockets = () => ({ socketsFor: () => [], cut: true });
  expect(new HostAttribution(host).lookup(QUOTED, 'in', 'eth0')).toMatchObject({
    outcome: 'unknown',
    match: null,
    note: 'the socket table is too large to be read whole',
  });
});

test('many that wait do not keep the event loop', async () => {
  const host = new LateHost('sockets', 0, 100);
  const socketsNow = host.own.socketsNow.bind(host.own);
  host.own.socketsNow = (since) => {
    const start = performance.now();
    while (performance.now() - start < 1);
    return socketsNow(since);
  };
  const attribution = new HostAttribution(host);
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const ports = Array.from({ length: 100 }, (_, index) => QUOTED.sport + index);
  const answers = await Promise.all(ports.map(async (sport) => attribution.lookup({ ...QUOTED, sport }, 'in', 'eth0')));
  isOver = true;
  expect(answers.filter(({ match }) => match === 'connected')).toHaveLength(1);
  expect(turns).toBeGreaterThanOrEqual(10);
});
