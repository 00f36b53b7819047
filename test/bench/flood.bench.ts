/**
 * Floods: what is lost, what is said of it, how soon Ctrl-C is heard, and what ten minutes do to memory.
 */
import { createReadStream, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { beforeAll, describe } from 'vitest';
import { canRunLab, delay, type LabProcess } from '../lab/network.ts';
import { captureProcess } from '../lab/watch.ts';
import { stormCapture } from './generate.ts';
import { cpuSeconds, inTurn, measured, residentMiB, type Measurement } from './measure.ts';
import { addRow, duration, grouped, memory, NOTHING, ratio, scaled, spreadCount } from './rows.ts';
import { bench, CLIENT, DEVICE, TCPDUMP, useTwoHosts, WATCH } from './two-hosts.ts';

const whyNoStorm = canRunLab(['tcpreplay']);
const hosts = useTwoHosts(whyNoStorm);

/** What became of a storm. */
interface Storm extends Measurement {
  /** Packets a second that the sender reached. */
  rate: number;
  /** What tcpreplay sent, and what the receiving kernel's ICMP counted. */
  sent: number;
  arrived: number;
  /** Events in the output. */
  shown: number;
  /** As the command reported it. */
  dropped: number;
  /** Likewise: captured, and not looked at before the end. */
  unseen: number;
  /** By the kernel's count, as the tool reported it; null where it says unknown. */
  missed: number | null;
  /** Events printed without their look-up, since too many waited. */
  notLookedUp: number;
}

describe('flood', () => {
  const ERRORS = scaled(1_000_000);
  const RUNS = 3;
  let capture: string;

  beforeAll(() => {
    if (whyNoStorm !== null) return;
    const { lab, link } = hosts();
    capture = `${lab.temporary}/storm.pcap`;
    stormCapture(capture, ERRORS, { client: CLIENT, clientMac: link.a.mac, serverMac: link.b.mac });
  });

  async function storm(argv: readonly string[], speed: readonly string[]): Promise<Storm> {
    const { lab, listening } = hosts();
    const output = `${lab.temporary}/output`;
    const command = await listening(measured({ argv, output }));
    const before = icmpReceived();
    const replayed = await send(speed);
    await quiet(output);
    const { status } = await command.stop('SIGINT');
    if (status !== 0) throw new Error(`${argv.join(' ')}: exit status ${status}\n${command.stderr}`);
    return {
      ...(JSON.parse(command.stdout) as Measurement),
      ...replayed,
      arrived: icmpReceived() - before,
      shown: eventsIn(output),
      // Not in the lines that say it as it happens.
      dropped: numberBefore(/ packets? dropped(?!:)/, command.stderr),
      unseen: / not looked at/.test(command.stderr) ? numberBefore(/ not looked at/, command.stderr) : 0,
      missed: /of them missed: ([\d,]+)/.test(command.stderr) ? numberAfter(/of them missed: /, command.stderr) : null,
      notLookedUp: / not looked up/.test(command.stderr) ? numberBefore(/ events? not looked up/, command.stderr) : 0,
    };
  }

  function sender(speed: readonly string[]): LabProcess {
    const { lab, server } = hosts();
    return lab.spawn(server, ['tcpreplay', '--preload-pcap', ...speed, '-i', DEVICE, capture]);
  }

  async function send(speed: readonly string[]): Promise<Pick<Storm, 'rate' | 'sent'>> {
    return sentBy(sender(speed));
  }

  async function sentBy(flood: LabProcess): Promise<Pick<Storm, 'rate' | 'sent'>> {
    const { status } = await flood.exited;
    if (status !== 0) throw new Error(`tcpreplay: exit status ${status}\n${flood.stderr}`);
    return { rate: numberBefore(/ pps/, flood.stdout), sent: numberAfter(/Successful packets: +/, flood.stdout) };
  }

  /** Messages that ICMP has received in the client's namespace. */
  function icmpReceived(): number {
    const { lab, client } = hosts();
    const [names, values] = lab.run(client, ['grep', '^Icmp:', '/proc/net/snmp']).stdout.split('\n');
    return Number(values!.split(' ')[names!.split(' ').indexOf('InMsgs')]);
  }

  /** Resolves when the file has not grown for some seconds: the disk may hold up who writes for one. */
  async function quiet(path: string): Promise<void> {
    for (let size = -1; size !== statSync(path).size; await delay(3000)) ({ size } = statSync(path));
  }

  /** The attribution is a line of its own, after a tab; tcpdump ends with an empty line. */
  function eventsIn(path: string): number {
    return Number(hosts().lab.run(null, ['grep', '-c', '^[0-9{]', path], { allowFailure: true }).stdout);
  }

  function stormText(runs: readonly Storm[]): string {
    const counts = (of: (run: Storm) => number): string => spreadCount(runs.map(of));
    const known = runs.flatMap(({ missed }) => missed ?? []);
    const parts = [
      `${counts(({ rate }) => rate)} packets/s`,
      `shown ${counts(({ shown }) => shown)}`,
      `dropped ${counts(({ dropped }) => dropped)}`,
    ];
    const unseen = runs.map((run) => run.unseen);
    if (unseen.some((count) => count > 0)) parts.push(`not looked at ${spreadCount(unseen)}`);
    if (known.length > 0) parts.push(`missed by the kernel's count ${spreadCount(known)}`);
    const notLookedUp = runs.map((run) => run.notLookedUp);
    if (notLookedUp.some((count) => count > 0)) parts.push(`not looked up ${spreadCount(notLookedUp)}`);
    const lost = runs.reduce((sum, { sent, arrived }) => sum + sent - arrived, 0);
    if (lost > 0) parts.push(`${grouped(lost)} lost before the kernel's ICMP, in all runs`);
    parts.push(equation(runs), `CPU ${duration(runs.map(({ cpu }) => cpu))}`);
    return parts.join(', ');
  }

  function equation(runs: readonly Storm[]): string {
    const unexplained = runs.map(({ shown, dropped, unseen, sent }) => sent - shown - dropped - unseen);
    const unseen = runs.some((run) => run.unseen > 0) ? ' + not looked at' : '';
    if (unexplained.every((count) => count === 0)) return `shown + dropped${unseen} = sent`;
    return `**sent - shown - dropped${unseen.replace('+', '-')} = ${spreadCount(unexplained)}**`;
  }

  for (const [speedName, speed] of [
    ['150,000/s', ['--pps=150000']],
    ['top speed', ['--topspeed']],
  ] as const) {
    for (const device of ['any', DEVICE]) {
      const what = `storm: ${grouped(ERRORS)} errors at ${speedName} on ${device === 'any' ? 'any' : 'the interface'}`;
      // On any, tcpdump asks the kernel for the interface's name, packet by packet, and its buffer decides.
      const largeBuffer = device === 'any';
      bench(what, whyNoStorm, async () => {
        const runs: Record<string, () => Promise<Storm>> = {
          text: () => storm([...WATCH, '-i', device], speed),
          json: () => storm([...WATCH, '-i', device, '--json'], speed),
          tcpdump: () => storm([...TCPDUMP, '-i', device, 'icmp'], speed),
        };
        if (largeBuffer) runs['tcpdump -B'] = () => storm([...TCPDUMP, '-B', '32768', '-i', device, 'icmp'], speed);
        const results = await inTurn(runs, RUNS, 0);
        const rows = [
          ['text', results['text'], results['tcpdump']],
          ['--json', results['json'], results['tcpdump']],
          ['text; tcpdump -B 32768', results['text'], results['tcpdump -B']],
        ] as const;
        for (const [variant, ours, tcpdump] of rows) {
          if (ours === undefined || tcpdump === undefined) continue;
          const cpu = [ours, tcpdump].map((of) => of.map((run) => run.cpu / run.shown));
          addRow({
            what: `${what}, ${variant}`,
            ours: stormText(ours),
            tcpdump: stormText(tcpdump),
            ratio: `CPU a line ${ratio(cpu[0]!, cpu[1]!)}`,
            memory: memory({ ours, tcpdump }),
          });
        }
      });
    }
  }

  /** Seconds from SIGINT to the end of the process, in mid-flood. */
  async function interrupted(argv: readonly string[]): Promise<number> {
    const { listening, lab } = hosts();
    const command = await listening(['sh', '-c', 'exec "$@" > "$0"', `${lab.temporary}/output`, ...argv]);
    const flood = sender(['--pps=150000']);
    await delay(2000);
    const asked = performance.now();
    const { status } = await command.stop('SIGINT');
    const seconds = (performance.now() - asked) / 1000;
    if (status !== 0) throw new Error(`${argv.join(' ')}: exit status ${status}\n${command.stderr}`);
    flood.signal('SIGKILL');
    await flood.exited;
    return seconds;
  }

  bench('Ctrl-C in mid-flood, 150,000 errors/s on any', whyNoStorm, async (what) => {
    const results = await inTurn(
      {
        text: () => interrupted([...WATCH, '-i', 'any']),
        json: () => interrupted([...WATCH, '-i', 'any', '--json']),
        tcpdump: () => interrupted([...TCPDUMP, '-i', 'any', 'icmp']),
      },
      5,
      0,
    );
    addRow({
      what,
      ours: `text ${duration(results.text)}, --json ${duration(results.json)} until it has ended (target: 500 ms)`,
      tcpdump: duration(results.tcpdump),
      ratio: ratio(results.text, results.tcpdump),
      memory: NOTHING,
    });
  });

  bench('a reader of 20,000 lines/s, 150,000 errors/s on any', whyNoStorm, async (what) => {
    const { lab, client } = hosts();
    const fifo = `${lab.temporary}/slow`;
    lab.run(null, ['mkfifo', fifo]);
    const watch = lab.spawn(client, [
      'sh',
      '-c',
      'exec "$@" > "$0"',
      fifo,
      ...WATCH,
      '-i',
      'any',
      '--json',
      '--json-status',
    ]);
    const lines = createInterface({ input: createReadStream(fifo) })[Symbol.asyncIterator]();
    await watch.waitFor(/listening on/, 'stderr');
    const flood = send(['--pps=150000']);
    const ended = flood.then(async () => watch.stop('SIGINT'));
    const begin = performance.now();
    let read = 0;
    for (let line = await lines.next(); line.done !== true; line = await lines.next()) {
      const early = begin + (++read * 1000) / 20_000 - performance.now();
      if (read % 200 === 0 && early > 0) await delay(early);
    }
    const { sent } = await flood;
    await ended;
    const [shown, received, dropped] = [/ events? shown/, / packets? received/, / packets? dropped, /].map((count) =>
      numberBefore(count, watch.stderr),
    ) as [number, number, number];
    const unseen = numberBefore(/ not looked at before the end/, watch.stderr);
    const losses = watch.stderr.match(/dropped: the capture buffer was full/g)?.length ?? 0;
    const left = sent - shown - dropped - unseen;
    addRow({
      what,
      ours:
        `sent ${grouped(sent)}, received ${grouped(received)}, shown ${grouped(shown)} (${grouped(read)} of them read), dropped ` +
        `${grouped(dropped)} (said ${losses} times), not looked at before the end ${grouped(unseen)}: ` +
        (left === 0 ? 'the sum is what was sent' : `**${grouped(left)} unexplained**`),
      tcpdump: NOTHING,
      ratio: NOTHING,
      memory: NOTHING,
    });
  });

  bench('memory: 50,000 errors/s of ever-new flows', whyNoStorm, async (what) => {
    const MINUTES = scaled(10);
    const LOOPS = Math.ceil((MINUTES * 60 * 50_000) / ERRORS);
    const { listening } = hosts();
    const watch = await listening(['sh', '-c', 'exec "$@" > /dev/null', 'sh', ...WATCH, '-i', 'any', '--json']);
    const pids = [watch.pid, captureProcess(watch)!];
    const before = pids.map(cpuSeconds);
    const flood = send(['--pps=50000', `--loop=${LOOPS}`]);
    const begin = performance.now();
    const resident: string[] = [];
    for (let minute = 1; minute <= MINUTES; minute++) {
      await delay(begin + minute * 60_000 - 2000 - performance.now());
      resident.push(pids.map((pid) => residentMiB(pid).toFixed(0)).join(' + '));
    }
    const cpu = pids.map((pid, at) => ((cpuSeconds(pid) - before[at]!) / ((performance.now() - begin) / 1000)) * 100);
    const { sent } = await flood;
    await delay(3000);
    await watch.stop('SIGINT');
    const shown = numberBefore(/ events? shown/, watch.stderr);
    const dropped = numberBefore(/ packets? dropped(?!:)/, watch.stderr);
    addRow({
      what: `${what}, for ${MINUTES} minutes, --json`,
      ours:
        `sent ${grouped(sent)}, shown ${grouped(shown)}, dropped ${grouped(dropped)}; ` +
        `CPU ${cpu.map((share) => share.toFixed(0)).join(' + ')} % of a core (watch + capture process)`,
      tcpdump: NOTHING,
      ratio: NOTHING,
      memory: `after each minute, watch + capture process: ${resident.join(', ')} MiB`,
    });
  });
});

function numberBefore(what: RegExp, text: string): number {
  return numberIn(new RegExp(`([\\d.,]+)${what.source}`), text);
}

function numberAfter(what: RegExp, text: string): number {
  return numberIn(new RegExp(`${what.source}([\\d.,]+)`), text);
}

function numberIn(pattern: RegExp, text: string): number {
  return Number(pattern.exec(text)?.[1]?.replaceAll(',', '') ?? Number.NaN);
}
