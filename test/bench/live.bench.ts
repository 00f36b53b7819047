/**
 * Live capture in a lab's namespaces: how late a line is, what a storm loses, what idling costs.
 */
import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, test, type TestContext } from 'vitest';
import { CLI } from '../command.ts';
import { canRunLab, delay, Lab, PYTHON, type LabProcess, type Namespace } from '../lab/network.ts';
import { captureProcess } from '../lab/watch.ts';
import { stormCapture } from './generate.ts';
import { inTurn, measured, type Measurement } from './measure.ts';
import {
  addRow,
  duration,
  grouped,
  isWanted,
  memory,
  NOTHING,
  quantile,
  ratio,
  scaled,
  skipRow,
  spread,
  spreadCount,
} from './rows.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const DEVICE = 'eth0';

const WATCH = [process.execPath, CLI];
const TCPDUMP = ['tcpdump', '-nn'];

const whyNoLab = canRunLab();
const whyNoStorm = canRunLab(['tcpreplay']);

let lab: Lab;
let client: Namespace;
let server: Namespace;
let link: ReturnType<Lab['link']>;

beforeAll(() => {
  if (whyNoLab !== null) return;
  lab = new Lab();
  client = lab.namespace('client');
  server = lab.namespace('server');
  link = lab.link(client, `${CLIENT}/24`, server, `${SERVER}/24`);
  lab.ip(client, 'route', 'add', 'default', 'via', SERVER);
  lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv4.icmp_msgs_per_sec': 100_000 });
});
afterAll(() => {
  if (whyNoLab === null) lab.close();
});

/** A test of one row, or of none where it is not wanted, or a loud skip. */
function bench(what: string, whyNot: string | null, body: (what: string) => Promise<void>): void {
  if (!isWanted(what)) return;
  test(what, async (context: TestContext) => {
    if (whyNot === null) return body(what);
    skipRow(what, whyNot);
    context.skip();
  });
}

/** Starts it in the client's namespace and resolves when it captures. */
async function listening(argv: readonly string[]): Promise<LabProcess> {
  const process = lab.spawn(client, argv);
  await process.waitFor(/listening on/, 'stderr');
  // tcpdump says so before it does.
  await delay(300);
  return process;
}

const milliseconds = (seconds: readonly number[], share: number): number => quantile(seconds, share) * 1000;

describe('latency', () => {
  const DATAGRAMS = scaled(1000);
  const RUNS = 3;
  const LATENCY = `${import.meta.dirname}/latency.py`;

  /** How long after each packet's time stamp its line was read, in seconds. */
  async function latencies(argv: readonly string[]): Promise<number[]> {
    const reader = await listening([PYTHON, '-IS', LATENCY, ...argv]);
    const refused = { dst: SERVER, dport: 7777, name: 'gateway', count: DATAGRAMS, interval: 0.01, poll: true };
    const sender = await lab.udpClient(client, refused);
    await sender.exited;
    await delay(300);
    await reader.stop('SIGINT');
    const values = JSON.parse(reader.stdout) as number[];
    if (values.length !== DATAGRAMS) console.warn(`latency: ${values.length} lines for ${DATAGRAMS} datagrams`);
    if (values.some((value) => value < 0)) console.warn('latency: read before it arrived; the clock was set');
    return values;
  }

  function latencyText(runs: readonly number[][]): string {
    return (['median', '99th percentile', 'max'] as const)
      .map((word, at) => {
        const share = [0.5, 0.99, 1][at]!;
        return `${word} ${spread(
          runs.map((run) => milliseconds(run, share)),
          ' ms',
        )}`;
      })
      .join('; ');
  }

  bench(`latency from arrival to line, ${grouped(DATAGRAMS)} refused datagrams, 100/s`, whyNoLab, async (what) => {
    const results = await inTurn(
      {
        text: () => latencies([...WATCH, '-tt']),
        plain: () => latencies([...WATCH, '-tt', '--plain', '--no-sockets']),
        tcpdump: () => latencies([...TCPDUMP, '-tt', '-l', '--immediate-mode', '-i', 'any', 'icmp']),
      },
      RUNS,
      0,
    );
    for (const [name, variant] of [
      ['text', 'text with attribution'],
      ['plain', '--plain --no-sockets'],
    ] as const) {
      const medians = [results[name], results.tcpdump].map((runs) => runs.map((run) => quantile(run, 0.5)));
      addRow({
        what: `${what}, ${variant}`,
        ours: latencyText(results[name]),
        tcpdump: latencyText(results.tcpdump),
        ratio: `median ${ratio(medians[0]!, medians[1]!)}`,
        memory: NOTHING,
      });
    }
  });
});

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
  /** By the kernel's count, as the tool reported it; null where it says unknown. */
  missed: number | null;
  /** Events printed without their look-up, since too many waited. */
  notLookedUp: number;
}

describe('storm', () => {
  const ERRORS = scaled(1_000_000);
  const RUNS = 3;
  let capture: string;

  beforeAll(() => {
    if (whyNoStorm !== null) return;
    capture = `${lab.temporary}/storm.pcap`;
    stormCapture(capture, ERRORS, { client: CLIENT, clientMac: link.a.mac, serverMac: link.b.mac });
  });

  async function storm(argv: readonly string[], speed: readonly string[]): Promise<Storm> {
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
      dropped: numberBefore(/ packets? dropped/, command.stderr),
      missed: /of them missed: ([\d,]+)/.test(command.stderr) ? numberAfter(/of them missed: /, command.stderr) : null,
      notLookedUp: / not looked up/.test(command.stderr) ? numberBefore(/ events? not looked up/, command.stderr) : 0,
    };
  }

  async function send(speed: readonly string[]): Promise<Pick<Storm, 'rate' | 'sent'>> {
    const sender = lab.spawn(server, ['tcpreplay', '--preload-pcap', ...speed, '-i', DEVICE, capture]);
    const { status } = await sender.exited;
    if (status !== 0) throw new Error(`tcpreplay: exit status ${status}\n${sender.stderr}`);
    return { rate: numberBefore(/ pps/, sender.stdout), sent: numberAfter(/Successful packets: +/, sender.stdout) };
  }

  /** Messages that ICMP has received in the client's namespace. */
  function icmpReceived(): number {
    const [names, values] = lab.run(client, ['grep', '^Icmp:', '/proc/net/snmp']).stdout.split('\n');
    return Number(values!.split(' ')[names!.split(' ').indexOf('InMsgs')]);
  }

  /** Resolves when the file has not grown for a second. */
  async function quiet(path: string): Promise<void> {
    for (let size = -1; size !== statSync(path).size; await delay(1000)) ({ size } = statSync(path));
  }

  /** The attribution is a line of its own, after a tab; tcpdump ends with an empty line. */
  function eventsIn(path: string): number {
    return Number(lab.run(null, ['grep', '-c', '^[0-9{]', path], { allowFailure: true }).stdout);
  }

  function stormText(runs: readonly Storm[]): string {
    const counts = (of: (run: Storm) => number): string => spreadCount(runs.map(of));
    const known = runs.flatMap(({ missed }) => missed ?? []);
    const parts = [
      `${counts(({ rate }) => rate)} packets/s`,
      `shown ${counts(({ shown }) => shown)}`,
      `dropped ${counts(({ dropped }) => dropped)}`,
    ];
    if (known.length > 0) parts.push(`missed by the kernel's count ${spreadCount(known)}`);
    const notLookedUp = runs.map((run) => run.notLookedUp);
    if (notLookedUp.some((count) => count > 0)) parts.push(`not looked up ${spreadCount(notLookedUp)}`);
    const lost = runs.reduce((sum, { sent, arrived }) => sum + sent - arrived, 0);
    if (lost > 0) parts.push(`${grouped(lost)} lost before the kernel's ICMP, in all runs`);
    parts.push(equation(runs), `CPU ${duration(runs.map(({ cpu }) => cpu))}`);
    return parts.join(', ');
  }

  function equation(runs: readonly Storm[]): string {
    const unexplained = runs.map(({ shown, dropped, sent }) => sent - shown - dropped);
    if (unexplained.every((count) => count === 0)) return 'shown + dropped = sent';
    return `**sent - shown - dropped = ${spreadCount(unexplained)}**`;
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
});

describe('idle', () => {
  bench('idle watch after 5 s', whyNoLab, async (what) => {
    const watch = await listening(WATCH);
    const dump = await listening([...TCPDUMP, '-i', 'any', 'icmp']);
    const before = [watch.pid, captureProcess(watch)!, dump.pid].map(cpuSeconds);
    await delay(5000);
    const pids = [watch.pid, captureProcess(watch)!, dump.pid];
    const [parent, child, other] = pids.map(residentMiB);
    const cpu = pids.map((pid, at) => ((cpuSeconds(pid) - before[at]!) / 5) * 100);
    addRow({
      what,
      ours: `CPU ${(cpu[0]! + cpu[1]!).toFixed(1)} % of a core`,
      tcpdump: `CPU ${cpu[2]!.toFixed(1)} % of a core`,
      ratio: `memory ${((parent! + child!) / other!).toFixed(1)}×`,
      memory: `${parent!.toFixed(0)} + ${child!.toFixed(0)} (capture process), ${other!.toFixed(0)} MiB`,
    });
    await Promise.all([watch.stop('SIGINT'), dump.stop('SIGINT')]);
  });
});

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** User and system time of a process, in clock ticks of 10 ms. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function numberBefore(what: RegExp, text: string): number {
  return numberIn(new RegExp(`([\\d.,]+)${what.source}`), text);
}

function numberAfter(what: RegExp, text: string): number {
  return numberIn(new RegExp(`${what.source}([\\d.,]+)`), text);
}

function numberIn(pattern: RegExp, text: string): number {
  return Number(pattern.exec(text)?.[1]?.replaceAll(',', '') ?? Number.NaN);
}
