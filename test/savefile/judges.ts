/** Other readers of savefiles: what they say a file holds. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { TestContext } from 'vitest';
import type { ReadRecord } from './read.ts';

/** Skips the test, and says so, where `tool` is not installed. */
export function needs(ctx: TestContext, tool: 'tcpdump' | 'tshark' | 'capinfos'): void {
  if (spawnSync(tool, ['--version']).error === undefined) return;
  console.warn(`SKIPPED, because ${tool} is not installed: ${ctx.task.name}`);
  ctx.skip();
}

interface Printed {
  stdout: string;
  stderr: string;
  status: number | null;
}

/** Runs the tool on the file, whose name stands before `args`. */
function runOn(tool: string, before: readonly string[], args: readonly string[], file: Uint8Array): Printed {
  const directory = mkdtempSync(join(tmpdir(), 'savefile-'));
  try {
    const path = join(directory, 'capture');
    writeFileSync(path, file);
    return spawnSync(tool, [...before, path, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function run(tool: string, args: readonly string[], file: Uint8Array): Printed {
  return runOn(tool, ['-r'], args, file);
}

export interface TcpdumpRecord {
  time: string;
  data: string;
}

/** What tcpdump prints of each packet: time to the nanosecond and the captured octets. */
export function tcpdump(file: Uint8Array): {
  records: TcpdumpRecord[];
  status: number | null;
  stderr: string;
} {
  const { stdout, stderr, status } = run('tcpdump', ['-tt', '-nn', '-xx', '--nano'], file);
  const records: TcpdumpRecord[] = [];
  for (const line of stdout.split('\n')) {
    const dump = /^\t0x([0-9a-f]+): {2}(.*)$/.exec(line);
    const time = /^\d+\.\d+/.exec(line)?.[0];
    const record = records.at(-1);
    if (dump !== null && record !== undefined) {
      // What a printer does not know it dumps itself, before the dump of the whole packet, which begins at 0 again.
      if (dump[1] === '0000') record.data = '';
      record.data += dump[2]!.replaceAll(' ', '');
    } else if (time !== undefined) records.push({ time, data: '' });
  }
  return { records, status, stderr };
}

export interface TsharkRecord {
  time: string;
  caplen: number;
  len: number;
  /** Null where the file names no interface. */
  name: string | null;
}

/**
 * What tshark says of each packet; it takes files that libpcap does not. In a file of several sections its
 * interface names are those of the first.
 */
export function tshark(file: Uint8Array): TsharkRecord[] {
  const fields = ['frame.time_epoch', 'frame.cap_len', 'frame.len', 'frame.interface_name'];
  const { stdout, stderr, status } = run('tshark', ['-n', '-T', 'fields', ...fields.flatMap((f) => ['-e', f])], file);
  if (status !== 0) throw new Error(stderr);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [time = '', caplen, len, name = ''] = line.split('\t');
    return {
      time,
      caplen: Number(caplen),
      len: Number(len),
      name: name === '' || name === 'unknown' ? null : name,
    };
  });
}

/** What tshark finds in the fields, of each packet and each journal entry: all occurrences, empty ones too. */
export function tsharkFields(file: Uint8Array, ...fields: readonly string[]): string[][][] {
  // Separators that no text of a test has.
  const [field, occurrence] = ['\x1e', '\x1f'];
  const how = ['-E', `separator=${field}`, '-E', `aggregator=${occurrence}`, '-E', 'occurrence=a'];
  const { stdout, stderr, status } = run(
    'tshark',
    ['-n', '-T', 'fields', ...how, ...fields.flatMap((f) => ['-e', f])],
    file,
  );
  if (status !== 0) throw new Error(stderr);
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(field).map((values) => (values === '' ? [] : values.split(occurrence))));
}

/** The same of a file on the disk, as it stands in a table: the occurrences of a field with commas between them. */
export function tsharkTable(path: string, ...fields: readonly string[]): string[][] {
  return tsharkFields(readFileSync(path), ...fields).map((row) => row.map((values) => values.join(',')));
}

/** What capinfos says of the file: each of its lines by what stands before the colon. */
export function capinfos(file: Uint8Array): Map<string, string> {
  const { stdout, stderr, status } = runOn('capinfos', ['-M'], [], file);
  if (status !== 0) throw new Error(stderr);
  return new Map(Array.from(stdout.matchAll(/^([^:\n]+): +(.*)$/gm), ([, name, value]) => [name!, value!]));
}

/** As tcpdump and tshark print it. */
export function timeOf({ seconds, nanoseconds }: Pick<ReadRecord, 'seconds' | 'nanoseconds'>): string {
  return `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
}

interface PcapParserPacket {
  header: {
    timestampSeconds: number;
    timestampMicroseconds: number;
    capturedLength: number;
    originalLength: number;
  };
  data: Buffer;
}

/** What the npm package pcap-parser reads; it has no types. */
export async function pcapParser(file: Uint8Array): Promise<PcapParserPacket[]> {
  const { parse } = createRequire(import.meta.url)('pcap-parser') as {
    parse: (stream: Readable) => NodeJS.EventEmitter;
  };
  return new Promise((resolve, reject) => {
    const packets: PcapParserPacket[] = [];
    parse(Readable.from([Buffer.from(file)]))
      .on('packet', (packet: PcapParserPacket) => packets.push(packet))
      .on('error', reject)
      .on('end', () => resolve(packets));
  });
}
