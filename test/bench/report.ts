/**
 * Before the bench: what it needs. After it: one Markdown table of all rows, under what they were measured on.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { CLI } from '../command.ts';
import { Lab } from '../lab/network.ts';
import { scale, type Row } from './rows.ts';

const RESULTS = join(import.meta.dirname, 'RESULTS.md');

const NOTES = `Run by \`npm run bench\`, as root, with tcpdump and tcpreplay. Medians, with the smallest and the largest in parentheses;
the runs of a pair alternate, and the first of a replay is not counted. A ratio is the median of the pairs' own,
udpicmp-watch to tcpdump: below 1 the tool needs less. CPU is user and system time of all processes of a command. Memory
is the peak of resident memory, summed over them (pages that they share counted in each).

In a storm sender and receiver share the machine's cores, so that the top speed depends on who receives: packets/s is
what tcpreplay reached. Both receive with the buffer that they have unless told: 32 MiB, tcpdump 2 MiB.

Attribution has nothing beside it: tcpdump names no process. "Right" is one socket, by its inode, and no process but its
own; of the short-lived ones each sends one datagram to a closed port. CPU there includes ss and nsenter.`;

declare module 'vitest' {
  export interface ProvidedContext {
    rowsFile: string;
  }
}

export default function setup(project: TestProject): () => void {
  if (!existsSync(CLI)) throw new Error(`${CLI} is missing: npm run build`);
  const lab = new Lab();
  const rowsFile = join(lab.temporary, 'rows');
  project.provide('rowsFile', rowsFile);
  const heading = describeMachine();

  return () => {
    const lines = existsSync(rowsFile) ? readFileSync(rowsFile, 'utf8').split('\n').filter(Boolean) : [];
    lab.close();
    const rows = lines.map((line) => JSON.parse(line) as Row);
    const report = `${heading}\n\n${NOTES}\n\n${table(rows)}\n`;
    console.log(`\n${report}`);
    if (process.env['BENCH_WRITE'] === '1') writeFileSync(RESULTS, report);
  };
}

function describeMachine(): string {
  const [tcpdump = 'no tcpdump', libpcap = 'no libpcap'] = firstWords('tcpdump', 2);
  const [tcpreplay = 'no tcpreplay'] = firstWords('tcpreplay', 1);
  const isVirtual = /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  const machine = `${cpus().length}-core ${cpus()[0]?.model.trim()} ${isVirtual ? 'virtual machine' : 'machine'}`;
  const memory = `${Math.ceil(totalmem() / 2 ** 30)} GiB`;
  const kernel = `Linux ${/^[\d.]+/.exec(release())?.[0]}`;
  const software = [kernel, `Node ${process.versions.node}`, tcpdump, libpcap, tcpreplay].join(', ');
  const sizes = scale === 1 ? '' : ` Sizes × ${scale}.`;
  return [
    '# Beside tcpdump',
    `${new Date().toISOString().slice(0, 10)}: ${machine}, ${memory}; ${software}.`,
    `Load average at the start: ${loadavg()[0]?.toFixed(2)}.${sizes}`,
  ].join('\n\n');
}

/** `tcpdump 4.99.3`, `libpcap 1.10.3` */
function firstWords(program: string, lines: number): string[] {
  const { stdout, stderr, error } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  if (error !== undefined) return [];
  return `${stdout}${stderr}`
    .split('\n', lines)
    .map((line) => line.replace(/ version:?/, '').replace(/^(\S+ \S+).*/, '$1'));
}

/** As oxfmt leaves it: the columns aligned. */
function table(rows: readonly Row[]): string {
  const header: Row = {
    what: 'what',
    ours: 'udpicmp-watch',
    tcpdump: 'tcpdump',
    ratio: 'ratio',
    memory: 'memory (udpicmp-watch, tcpdump)',
  };
  const cells = [header, ...rows].map(({ what, ours, tcpdump, ratio, memory }) => [what, ours, tcpdump, ratio, memory]);
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const lines = cells.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`);
  lines.splice(1, 0, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`);
  return lines.join('\n');
}
