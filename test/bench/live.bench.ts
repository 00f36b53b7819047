/**
 * Live capture in a lab's namespaces: how late a line is, what idling costs.
 */
import { describe } from 'vitest';
import { canRunLab, delay, PYTHON } from '../lab/network.ts';
import { captureProcess } from '../lab/watch.ts';
import { cpuSeconds, inTurn, residentMiB } from './measure.ts';
import { addRow, grouped, NOTHING, quantile, ratio, scaled, spread } from './rows.ts';
import { bench, SERVER, TCPDUMP, useTwoHosts, WATCH } from './two-hosts.ts';

const whyNoLab = canRunLab();
const hosts = useTwoHosts(whyNoLab);

const milliseconds = (seconds: readonly number[], share: number): number => quantile(seconds, share) * 1000;

describe('latency', () => {
  const DATAGRAMS = scaled(1000);
  const RUNS = 3;
  const LATENCY = `${import.meta.dirname}/latency.py`;

  /** How long after each packet's time stamp its line was read, in seconds. */
  async function latencies(argv: readonly string[]): Promise<number[]> {
    const { lab, client, listening } = hosts();
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

describe('idle', () => {
  bench('idle watch after 5 s', whyNoLab, async (what) => {
    const { listening } = hosts();
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
