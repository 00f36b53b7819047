/**
 * Incidents, live: a server goes away and comes back, and the tool says so, of the socket that had the error.
 */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { expectValid } from '../sink/schema.ts';
import { delay, eventually, Lab, PYTHON, type Namespace } from './network.ts';
import {
  atLeast,
  captureProcess,
  describeLab,
  errorsOf,
  filtersOf,
  expectAnswer,
  followed,
  needsTools,
  portsIn,
  provoke,
  recordsOf,
  startWatch,
  tableOf,
  type JsonEvent,
} from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const CLIENT6 = '2001:db8:1::10';
const SERVER6 = '2001:db8:1::20';
const PORT = 9000;

/**
 * A process with as many sockets as there are arguments after the first two. `N` on its input sends from the Nth, `N answer`
 * also waits for the answer.
 */
const SEVERAL_SOCKETS = `
import socket, sys
address, port, *sources = sys.argv[1:]
sockets = []
for source in sources:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", int(source)))
    sockets.append(udp)
print("ready", flush=True)
for line in sys.stdin:
    n, *wait = line.split()
    sockets[int(n)].sendto(b"hello", (address, int(port)))
    if wait:
        sockets[int(n)].recv(1024)
        print("answered", flush=True)
`;

/** A socket that a worker holds too. Each line on its input sends one datagram; `replace` ends the worker first, for another one. */
const REPLACED_WORKER = `
import os, signal, socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 40001))
def fork():
    pid = os.fork()
    if pid == 0:
        while os.getppid() == parent:
            signal.sigtimedwait([signal.SIGUSR2], 1)
        os._exit(0)
    return pid
parent = os.getpid()
worker = fork()
print("ready", flush=True)
for n, line in enumerate(sys.stdin, 1):
    if line.strip() == "replace":
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        worker = fork()
    udp.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
    print("sent", n, flush=True)
`;

describeLab('an incident', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], server, [`${SERVER}/24`, `${SERVER6}/64`]);
    lab.sysctl(server, {
      'net.ipv4.icmp_ratelimit': 0,
      'net.ipv4.icmp_msgs_per_sec': 100_000,
      'net.ipv6.icmp.ratelimit': 0,
    });
  });
  afterEach(() => lab.close());

  const open = (options: Partial<Parameters<Lab['udpClient']>[1]> = {}) =>
    lab.udpClient(client, { dst: SERVER, dport: PORT, interactive: true, name: 'gateway', ...options });

  test.for([
    ['v4', SERVER, {}],
    ['v6', SERVER6, {}],
    ['a v6 socket that carries v4', SERVER, { family: 6 }],
    ['a socket that is not connected', SERVER, { connect: false }],
    ['a v6 socket that is not connected', SERVER6, { connect: false }],
  ] as const)('%s: the answer ends it, at the time of its packet, on the socket that it had', async ([, dst, how]) => {
    for (const device of ['any', 'eth0']) {
      const port = device === 'any' ? PORT : PORT + 1;
      const capture = await lab.capture(client, `${lab.temporary}/${device}.pcap`, {
        filter: `inbound and (icmp or icmp6 or udp)`,
      });
      const json = await startWatch(lab, client, ['--json', '-i', device]);
      const text = await startWatch(lab, client, ['-i', device]);
      const udp = await open({ dst, dport: port, ...how });
      let echo = await lab.udpEcho(server, dst, port);
      await expectAnswer(udp);
      await echo.stop('SIGKILL');
      const before = performance.now();
      for (const _ of [1, 2, 3]) await provoke(udp, json, text);
      const failed = performance.now();
      await Promise.all([followed(lab, json, udp.port), followed(lab, text, udp.port)]);
      echo = await lab.udpEcho(server, dst, port);
      const back = performance.now();
      await expectAnswer(udp);
      const [record] = await json.until(() => atLeast(1, recordsOf(json, udp.port)));
      const after = performance.now();
      const [, words] = await text.waitFor(/^\t(\S+ \S+ answers again .*)$/m);

      expect(record).toMatchObject({
        event: 'recovered',
        flow: { protocol: 'udp', sport: udp.port, dst, dport: port },
        errno: 'ECONNREFUSED',
        sockets: [{ inode: udp.ready.inode, processes: [{ pid: udp.pid, fd: udp.ready.fd, comm: 'gateway' }] }],
        keptSocket: true,
        errors: 3,
      });
      expectValid(json.lines.at(-1)!);
      // Down since the first of the errors.
      expect(record.downMs).toBeGreaterThanOrEqual(Math.floor(back - failed));
      expect(record.downMs).toBeLessThanOrEqual(Math.ceil(after - before));
      const peer = dst.includes(':') ? `[${dst}]:${port}` : `${dst}:${port}`;
      expect(words).toMatch(
        new RegExp(
          String.raw`^\d\d:\d\d:\d\d\.\d{6} ${escaped(peer)} answers again after \d+\.\d s; gateway\[${udp.pid}\] kept its socket \(3 errors, ECONNREFUSED\)$`,
        ),
      );

      const packets = lab
        .run(null, ['tcpdump', '-tt', '-nn', '-r', await capture.finish()])
        .stdout.trimEnd()
        .split('\n');
      const about = packets.filter((line) => new RegExp(String.raw`[. ]${port}\b`).test(line));
      expect(about.map((line) => line.includes('unreachable'))).toEqual([false, true, true, true, false]);
      const times = about.map((line) => Number(line.split(' ')[0]) * 1000);
      const distances = times.map((time) => Math.abs(time - Date.parse(record.time)));
      expect(distances.indexOf(Math.min(...distances))).toBe(4);
      for (const watch of [json, text]) {
        expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
        expect(watch.stderr).toMatch(/^udpicmp-watch: listening[^\n]*\nudpicmp-watch: 3 events shown, 3 attributed/);
      }
      await echo.stop('SIGKILL');
    }
  });

  test('it is down until the answer came, also if the tool gets to see it later', async () => {
    const watch = await startWatch(lab, client, ['--json']);
    const udp = await open();
    await provoke(udp, watch);
    await followed(lab, watch, udp.port);
    await lab.udpEcho(server, SERVER, PORT);
    watch.signal('SIGSTOP');
    await expectAnswer(udp);
    await delay(2000);
    watch.signal('SIGCONT');
    const [record] = await watch.until(() => atLeast(1, recordsOf(watch, udp.port)));
    const byStamps = Date.parse(record.time) - Date.parse(errorsOf(watch, udp.port)[0]!.time);
    // Nearer to that than to when it was seen.
    expect(Math.abs(record.downMs! - byStamps)).toBeLessThan(1000);
  });

  test('another socket on the same port: the client did not keep its own', async () => {
    const json = await startWatch(lab, client, ['--json']);
    const text = await startWatch(lab, client);
    const options = { src: CLIENT, sport: 40_001 };
    const first = await open(options);
    await provoke(first, json, text);
    await Promise.all([followed(lab, json, 40_001), followed(lab, text, 40_001)]);
    await first.ask('close');
    const second = await open({ ...options, name: 'successor' });
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(second);
    const [record] = await json.until(() => atLeast(1, recordsOf(json, 40_001)));
    expect(record).toMatchObject({ sockets: [{ inode: first.ready.inode }], keptSocket: false, errors: 1 });
    const line = await text.waitFor(/^\t\S+ \S+ answers again .*$/m);
    expect(line[0]).toContain(`; gateway[${first.pid}] no longer has that socket (1 error, ECONNREFUSED)`);
  });

  test('nobody has the port any more when the peer sends to it: the client did not keep its socket', async () => {
    const json = await startWatch(lab, client, ['--json']);
    const udp = await open({ src: CLIENT, sport: 40_001 });
    await provoke(udp, json);
    await followed(lab, json, 40_001);
    await udp.ask('close');
    // What goes to the peer from there may come from anybody.
    const successor = await open({ src: CLIENT, sport: 40_001, name: 'successor' });
    const peer = await lab.udpClient(server, { dst: CLIENT, dport: 40_001, sport: PORT, interactive: true });
    await successor.ask('send');
    await successor.ask('close');
    await peer.ask('send');
    const [record] = await json.until(() => atLeast(1, recordsOf(json, 40_001)));
    expect(record).toMatchObject({ event: 'recovered', keptSocket: false });
  });

  test('a peer that sends whatever happens, and takes nothing: it answers when it takes something again', async (context) => {
    needsTools(context, 'iptables');
    const watch = await startWatch(lab, client, ['--json']);
    const udp = await open({ src: CLIENT, sport: 40_001 });
    const rule = ['-p', 'udp', '--dport', `${PORT}`, '-j', 'REJECT'];
    lab.run(server, ['iptables', '-w', '-A', 'INPUT', ...rule]);
    await lab.udpClient(server, { dst: CLIENT, dport: 40_001, sport: PORT, connect: false, count: 0, interval: 0.05 });
    await provoke(udp, watch);
    await followed(lab, watch, 40_001);
    for (let n = 0; n < 6; n++) {
      await provoke(udp, watch);
      await delay(700);
    }
    expect(recordsOf(watch, 40_001)).toEqual([]);
    lab.run(server, ['iptables', '-w', '-D', 'INPUT', ...rule]);
    await udp.ask('soerror');
    expect(await udp.ask('send')).toMatchObject({ event: 'sent' });
    const [record] = await watch.until(() => atLeast(1, recordsOf(watch, 40_001)));
    expect(record).toMatchObject({ event: 'recovered', errors: 7, keptSocket: true });
  });

  test('a shared socket, one of whose holders is replaced: one incident', async () => {
    const watch = await startWatch(lab, client, ['--json', '--incidents']);
    const udp = lab.spawn(client, [PYTHON, '-c', REPLACED_WORKER, SERVER, `${PORT}`]);
    await udp.waitFor(/ready/);
    for (const count of [1, 2, 3, 4]) {
      udp.write(count === 3 ? 'replace\n' : 'go\n');
      await udp.waitFor(new RegExp(`sent ${count}\\b`));
      await watch.until(
        () => watch.json<{ icmp?: unknown }>().filter(({ icmp }) => icmp !== undefined).length === count,
      );
      // Who holds a socket is looked up again after a while.
      await delay(1500);
    }
    await watch.stop('SIGINT');
    const holders = watch
      .json<JsonEvent>()
      .map(({ sockets }) => JSON.stringify(sockets?.[0]?.processes.map(({ pid }) => pid)));
    // And perhaps, for a moment, both.
    expect(new Set(holders).size).toBeGreaterThan(1);
    expect(tableOf(watch).map(({ errors, state }) => [errors, state.split(',')[0]])).toEqual([['4', 'open']]);
  });

  test('two processes with one peer have an incident each, and each its own end', async () => {
    const watch = await startWatch(lab, client, ['--json', '--incidents']);
    const [one, other] = [await open({ name: 'one' }), await open({ name: 'other' })];
    for (const udp of [one, other, one]) await provoke(udp, watch);
    for (const udp of [one, other]) await followed(lab, watch, udp.port);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(one);
    await watch.until(() => atLeast(1, recordsOf(watch, one.port)));
    watch.signal('SIGUSR1');
    await watch.waitFor(/3 events shown/, 'stderr');
    expect(tableOf(watch).map(({ process, state }) => [process, state.split(/[ ,]/)[0]])).toEqual([
      [`other[${other.pid}]`, 'open'],
      [`one[${one.pid}]`, 'answers'],
    ]);
    await expectAnswer(other);
    await watch.until(() => atLeast(1, recordsOf(watch, other.port)));
    expect([one, other].map((udp) => recordsOf(watch, udp.port).map(({ errors }) => errors))).toEqual([[2], [1]]);
  });

  test('several sockets of one process are one incident, which the first answer ends', async () => {
    const watch = await startWatch(lab, client, ['--json', '--incidents']);
    const sources = [40_001, 40_002, 40_003];
    const udp = lab.spawn(client, [PYTHON, '-c', SEVERAL_SOCKETS, SERVER, `${PORT}`, ...sources.map(String)]);
    await udp.waitFor(/ready/);
    for (const [n, source] of sources.entries()) {
      udp.write(`${n}\n`);
      await watch.until(() => atLeast(1, errorsOf(watch, source)));
    }
    for (const source of sources) await followed(lab, watch, source);
    let echo = await lab.udpEcho(server, SERVER, PORT);
    udp.write('1 answer\n');
    const [record] = await watch.until(() => atLeast(1, recordsOf(watch, 40_002)));
    expect(record).toMatchObject({ keptSocket: true, errors: 3 });
    // An answer to another one is none to an error, and an error after it is a new incident.
    udp.write('0 answer\n');
    await udp.waitFor(/answered[^]*answered/);
    await echo.stop('SIGKILL');
    udp.write('0\n');
    await watch.until(() => atLeast(2, errorsOf(watch, 40_001)));
    echo = await lab.udpEcho(server, SERVER, PORT);
    // It was followed before, is no more, and will be again: an answer in between is not seen.
    const again = setInterval(() => udp.write('0\n'), 200);
    const [next] = await watch.until(() => atLeast(1, recordsOf(watch, 40_001)));
    clearInterval(again);
    expect(next).toMatchObject({ keptSocket: true, errors: 1 });
    await watch.stop('SIGINT');
    expect(sources.map((source) => recordsOf(watch, source).length)).toEqual([1, 1, 0]);
    expect(tableOf(watch).map(({ errors, sockets }) => [errors, sockets])).toEqual([
      ['1', '1'],
      ['3', '3'],
    ]);
  });

  test('refused and then unreachable: two incidents, and one answer ends both', async () => {
    const watch = await startWatch(lab, client, ['--json', '--incidents']);
    const udp = await open();
    await provoke(udp, watch);
    const quoted = { src: CLIENT, sport: udp.port, dst: SERVER, dport: PORT };
    for (const code of [1, 1, 3]) lab.inject(server, { src: SERVER, dst: CLIENT, type: 3, code, quoted });
    await watch.until(() => atLeast(4, errorsOf(watch, udp.port)));
    await followed(lab, watch, udp.port);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(udp);
    const records = await watch.until(() => atLeast(2, recordsOf(watch, udp.port)));
    expect(records.map(({ errno, errors }) => `${errno} ${errors}`).toSorted()).toEqual([
      'ECONNREFUSED 2',
      'EHOSTUNREACH 2',
    ]);
    expect(new Set(records.map(({ time }) => time)).size).toBe(1);
    await watch.stop('SIGINT');
    expect(
      tableOf(watch)
        .map(({ errno, hears, state }) => [errno, hears, state.startsWith('answers')])
        .toSorted(),
    ).toEqual([
      ['ECONNREFUSED', 'yes', true],
      ['EHOSTUNREACH', 'no', true],
    ]);
  });

  test('quiet: no error for a while, with the datagrams that were sent meanwhile', { timeout: 120_000 }, async () => {
    const json = await startWatch(lab, client, ['--json', '--incidents', '-l']);
    const text = await startWatch(lab, client, []);
    const sends = await open({ name: 'sends', dport: 9001 });
    const sends6 = await open({ name: 'sends6', dport: 9001, dst: SERVER6 });
    const stops = await open({ name: 'stops', dport: 9002 });
    const fails = await open({ name: 'fails', dport: 9004 });
    for (const udp of [sends, sends6, stops, fails]) {
      await provoke(udp, json, text);
      await Promise.all([followed(lab, json, udp.port), followed(lab, text, udp.port)]);
    }
    for (const udp of [sends, sends6, stops]) await provoke(udp, json, text);
    const [, stopped] = errorsOf(json, stops.port);
    // They take what comes, and never answer.
    for (const [src, dst] of [
      [SERVER, CLIENT],
      [SERVER6, CLIENT6],
    ] as const) {
      await lab.udpClient(server, { dst, dport: 9, src, sport: 9001, connect: false, interactive: true });
    }
    for (const udp of [sends, sends6]) await udp.ask('soerror');
    for (let n = 0; n < 7; n++) {
      expect(await sends.ask('send')).toMatchObject({ event: 'sent' });
      expect(await sends6.ask('send')).toMatchObject({ event: 'sent' });
    }
    const quiet = async (port: number) => (await json.until(() => atLeast(1, recordsOf(json, port)), 90_000))[0];
    // As long as it takes, there are errors about this one.
    const all = new AbortController();
    const records = Promise.all([sends, sends6, stops].map(({ port }) => quiet(port))).finally(() => all.abort());
    while (!all.signal.aborted) {
      await provoke(fails, json, text);
      await delay(500);
    }
    for (const record of await records) {
      expect(record).toMatchObject({ event: 'quiet', errno: 'ECONNREFUSED', flow: { protocol: 'udp' } });
      expectValid(JSON.stringify(record));
      expect(record.quietMs).toBeGreaterThanOrEqual(30_000);
    }
    expect((await records).map(({ sent, errors }) => [sent, errors])).toEqual([
      [7, 2],
      [7, 2],
      [0, 2],
    ]);
    const [, , silent] = await records;
    // Both are stamped: the packet by the kernel, the record by the tool.
    expect(Math.abs(Date.parse(silent!.time) - Date.parse(stopped!.time) - silent!.quietMs!)).toBeLessThan(1000);
    await text.until(() => text.stdout.match(/is quiet/g)?.length === 3);
    expect(text.stdout).toMatch(
      new RegExp(
        String.raw`^\t\S+ ${escaped(SERVER)}:9001 is quiet: no error for \d+\.\d s, 7 datagrams to it seen since: evidence that it is back, no proof; sends\[${sends.pid}\] \(2 errors, ECONNREFUSED\)$`,
        'm',
      ),
    );
    expect(text.stdout).toMatch(
      new RegExp(
        String.raw`${escaped(SERVER)}:9002 is quiet: no error for \d+\.\d s, but no datagram to it was seen since, so nothing is known; stops\[`,
      ),
    );
    expect(recordsOf(json, fails.port)).toEqual([]);
    json.signal('SIGUSR1');
    await json.waitFor(/events shown/, 'stderr');
    const states = Object.fromEntries(tableOf(json).map(({ process, state }) => [process, state.split(',')[0]]));
    expect(states).toEqual({
      [`sends[${sends.pid}]`]: 'quiet',
      [`sends6[${sends6.pid}]`]: 'quiet',
      [`stops[${stops.pid}]`]: 'quiet',
      [`fails[${fails.pid}]`]: 'open',
    });
    // It is the same incident if it errs again, and its peer may still answer.
    await provoke(stops, json);
    await followed(lab, json, stops.port);
    await lab.udpEcho(server, SERVER, 9002);
    await expectAnswer(stops);
    const [, recovered] = await json.until(() => atLeast(2, recordsOf(json, stops.port)));
    expect(recovered).toMatchObject({ event: 'recovered', errors: 3, keptSocket: true });
  });

  // One after the other these would take three times as long.
  test(
    'quiet after a single error; not where errors go on, also if the watch was stopped meanwhile',
    { timeout: 120_000 },
    async () => {
      const path = `${lab.temporary}/quiet.pcapng`;
      const watch = await startWatch(lab, client, ['--json', '-w', path]);
      const stopped = await startWatch(lab, client, ['--json']);
      const [single, steady, changing] = [await open(), await open(), await open()];
      for (const udp of [single, steady, changing]) await provoke(udp, watch, stopped);
      await followed(lab, watch, single.port);
      stopped.signal('SIGSTOP');
      const quoted = { src: CLIENT, sport: changing.port, dst: SERVER, dport: PORT };
      for (let second = 0; second < 34; second++) {
        await provoke(steady, watch);
        // Refused first, then unreachable.
        lab.inject(server, { src: SERVER, dst: CLIENT, type: 3, code: 1, quoted });
        await delay(950);
      }
      stopped.signal('SIGCONT');
      await stopped.until(() => atLeast(35, errorsOf(stopped, steady.port)));
      await delay(2500);
      // A single error: its flow was followed, and nothing was sent.
      const [record] = await watch.until(() => atLeast(1, recordsOf(watch, single.port)), 30_000);
      expect(record).toMatchObject({ event: 'quiet', errors: 1, sent: 0 });
      for (const one of [watch, stopped]) {
        for (const udp of [steady, changing]) expect(recordsOf(one, udp.port)).toEqual([]);
      }
      // It was saved when it was printed.
      await eventually(() => readFileSync(path, 'latin1').includes('"event":"quiet"'));
    },
  );

  test.for(['any', 'eth0'])(
    '%s: the capture process dies in it, and the answer is seen by the next one',
    async (device) => {
      const watch = await startWatch(lab, client, ['--json', '-i', device]);
      const udp = await open();
      await provoke(udp, watch);
      await followed(lab, watch, udp.port);
      const first = captureProcess(watch)!;
      process.kill(first, 'SIGKILL');
      await watch.waitFor(/capturing again/, 'stderr');
      await followed(lab, watch, udp.port);
      expect(captureProcess(watch)).not.toBe(first);
      await lab.udpEcho(server, SERVER, PORT);
      await expectAnswer(udp);
      const [record] = await watch.until(() => atLeast(1, recordsOf(watch, udp.port)));
      expect(record).toMatchObject({ event: 'recovered', keptSocket: true, errors: 1 });
    },
  );

  test.for(['any', 'eth0'])('%s: the link goes down in it and comes back, and the answer is seen', async (device) => {
    const watch = await startWatch(lab, client, ['--json', '-i', device]);
    const udp = await open();
    await provoke(udp, watch);
    await followed(lab, watch, udp.port);
    lab.ip(client, 'link', 'set', 'eth0', 'down');
    if (device === 'eth0') await watch.waitFor(/waiting for it to come back/, 'stderr');
    lab.ip(client, 'link', 'set', 'eth0', 'up');
    lab.settle(client);
    if (device === 'eth0') await watch.waitFor(/back after/, 'stderr');
    await followed(lab, watch, udp.port);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(udp);
    const [record] = await watch.until(() => atLeast(1, recordsOf(watch, udp.port)));
    expect(record).toMatchObject({ event: 'recovered', keptSocket: true, errors: 1 });
  });

  test('a hundred and ten flows in an incident: sixty-four are followed, and the end of those is seen', async () => {
    const watch = await startWatch(lab, client, ['--json', '--incidents']);
    const sources = Array.from({ length: 110 }, (_, n) => 40_000 + n);
    const udp = lab.spawn(client, [PYTHON, '-c', SEVERAL_SOCKETS, SERVER, `${PORT}`, ...sources.map(String)]);
    await udp.waitFor(/ready/);
    for (const [n, source] of sources.entries()) {
      udp.write(`${n}\n`);
      await watch.until(() => atLeast(1, errorsOf(watch, source)));
    }
    // The last to err, unless others were followed before and go on.
    const filter = await eventually(() => {
      const found = filtersOf(lab, captureProcess(watch)!).find((one) => / 9000\b/.test(one));
      return found !== undefined && portsIn(found, sources).length === 64 ? found : null;
    });
    const followedPorts = portsIn(filter!, sources);
    await lab.udpEcho(server, SERVER, PORT);
    udp.write(`${followedPorts[0]! - 40_000}\n`);
    const [record] = await watch.until(() => atLeast(1, recordsOf(watch, followedPorts[0]!)));
    expect(record).toMatchObject({ errors: 110, keptSocket: true });
    await watch.stop('SIGINT');
    expect(tableOf(watch).map(({ errors, sockets }) => [errors, sockets])).toEqual([['110', '100+']]);
    expect(watch.stderr).not.toMatch(/not seen|capture process/);
  });
});

const escaped = (text: string): string => text.replace(/[.[\]]/g, String.raw`\$&`);
