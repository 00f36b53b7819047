/**
 * The command line: options, help, exit status.
 *
 * 0: done; 1: an error while running; 2: a wrong command line.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { listInterfacesText } from './commands/list-interfaces.ts';
import { Failure, messagesRead, say } from './commands/messages.ts';
import { watch, type WatchOptions } from './commands/watch.ts';
import { ICMP_ERRNOS } from './correlate/verdict.ts';
import { canonicalAddress, keptName } from './selection.ts';
import type { TimeStampStyle } from './sink/time-stamp.ts';
import { ANY_DEVICE } from './source/capture-protocol.ts';

/** What commander makes of the options. */
interface CliOptions {
  interface: string;
  listInterfaces?: true;
  read?: string;
  write?: string;
  incidents?: true;
  top?: true;
  count: number;
  bufferSize: number;
  v?: true;
  l?: true;
  allIcmp?: true;
  plain?: true;
  oneline?: true;
  json?: true;
  jsonStatus?: true;
  sockets?: false | string;
  netns: 'all' | 'self';
  host?: string[];
  port?: number[];
  pid?: number[];
  comm?: string[];
  errno?: string[];
  summary: boolean;
}

/** What commander makes of the options of `probe`. */
interface ProbeCliOptions {
  count: number;
  interval: number;
  timeout: number;
  payload?: string;
  json?: true;
  4?: true;
  6?: true;
}

/** Of `probe`: to one port, and an hour between them. */
const MAX_DATAGRAMS = 1000;
const MAX_SECONDS = 3600;

/** The kernel's ring: some 29,000 packets, enough for a burst of 100,000 as fast as they come (npm run bench). */
const DEFAULT_BUFFER_KIB = 32 * 1024;

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 2 ** 31 - 1) {
    throw new InvalidArgumentError('It is not a whole number from 1 on.');
  }
  return value;
}

function bufferSize(text: string): number {
  const value = positiveInteger(text);
  if (value > 2 ** 21 - 1) throw new InvalidArgumentError('The buffer is at most 2,097,151 KiB.');
  return value;
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65_535) throw new InvalidArgumentError('It is not a port from 0 to 65535.');
  return value;
}

/** Ports of the command line, each once, in their order. */
function portRange(text: string, previous: Set<number> | undefined): Set<number> {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const first = Number(from);
  const last = Number(to);
  if (!(first >= 1 && first <= last && last <= 65_535)) {
    throw new InvalidArgumentError('It is not a port from 1 to 65535, nor a range of them.');
  }
  const ports = new Set(previous);
  for (let value = first; value <= last; value++) ports.add(value);
  return ports;
}

function datagrams(text: string): number {
  const value = positiveInteger(text);
  if (value > MAX_DATAGRAMS) throw new InvalidArgumentError(`It is more than ${MAX_DATAGRAMS}.`);
  return value;
}

function seconds(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^(\d+\.?\d*|\.\d+)$/.test(text) || value < least || value > MAX_SECONDS) {
      throw new InvalidArgumentError(`It is not a number of seconds from ${least} to ${MAX_SECONDS}.`);
    }
    return value;
  };
}

function address(text: string): string {
  const value = canonicalAddress(text);
  if (value !== null) return value;
  throw new InvalidArgumentError(
    text.includes('%')
      ? 'A packet has no scope: leave out the % and what is behind it.'
      : 'It is not an IP address; names are not resolved.',
  );
}

/** What could never be shown is refused: it would look as if nothing had happened. */
function errnoName(text: string): string {
  const name = text.toUpperCase();
  if (ICMP_ERRNOS.includes(name)) return name;
  throw new InvalidArgumentError(`No ICMP error comes to that; one comes to ${ICMP_ERRNOS.join(', ')}.`);
}

function processName(text: string): string {
  if (text === '') throw new InvalidArgumentError('It is empty.');
  return keptName(text);
}

function collect<T>(parse: (text: string) => T): (text: string, previous?: T[]) => T[] {
  return (text, previous = []) => [...previous, parse(text)];
}

function version(): string {
  const file = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

/** What the command line asks for; resolves with the exit status. */
type Job = () => Promise<number>;

function commandLine(choose: (job: Job) => void): Command {
  let timeStamps = 0;
  const program = new Command('udpicmp-watch')
    .description(
      'Watches for ICMP errors that answer UDP datagrams, and says which local socket and process each one hit, ' +
        'which errno the kernel hands it, and whether it hears of it at all.',
    )
    .argument('[expression...]', 'a pcap-filter expression, for live capture')
    .option('-i, --interface <name>', 'capture there', ANY_DEVICE)
    .option('-D, --list-interfaces', 'list the interfaces and exit')
    .option('-r, --read <file>', 'replay a pcap or pcapng file, gzip too; - for standard input')
    .option(
      '-w, --write <file>',
      'save the shown packets too, with what was found out as comments; - for standard output',
    )
    .addOption(
      new Option('-c, --count <n>', 'exit after that many events')
        .argParser(positiveInteger)
        .default(Infinity, 'no limit'),
    )
    .option('-B, --buffer-size <KiB>', 'the capture buffer', bufferSize, DEFAULT_BUFFER_KIB)
    .option('-n', 'accepted from habit: addresses and ports are always numeric')
    .option('-t', 'the time stamp, as in tcpdump: -t none, -tt seconds, -ttt delta, -tttt date, -ttttt since the first')
    .option('-v', 'the IP headers too, and a longer second line')
    .option('-l', 'line-buffered output')
    .option('--all-icmp', 'every ICMP and ICMPv6 packet; the default is the errors that quote UDP')
    .addOption(new Option('--plain', "tcpdump's line alone").conflicts(['oneline', 'json']))
    .addOption(new Option('--oneline', "tcpdump's line and the attribution on one line").conflicts('json'))
    .addOption(new Option('--json', 'JSON lines').conflicts('top'))
    .option('--json-status', 'with --json: what was lost, and the closing statistics, as records among the events')
    .option('--incidents', 'a table of incidents on standard error, at the end and on SIGUSR1')
    .addOption(new Option('--top', 'that table, live in the terminal').conflicts(['plain', 'oneline', 'read']))
    .option('--sockets <file>', 'attribute by a saved socket snapshot (udpicmp-watch sockets > FILE)')
    .option('--no-sockets', 'look nothing up on this host')
    .addOption(netnsOption())
    .option('--host <address>', 'only events with that address (several: any of them)', collect(address))
    .option('--port <port>', 'only events with that port in the quoted datagram', collect(port))
    .option('--pid <pid>', 'only events that hit that process', collect(positiveInteger))
    .option('--comm <name>', 'only events that hit a process of that name (15 octets count)', collect(processName))
    .option('--errno <name>', 'only events with that errno, as ECONNREFUSED', collect(errnoName))
    .option('--no-summary', 'no closing statistics on standard error')
    .version(version(), '-V, --version')
    .helpOption('-h, --help')
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      outputError: (text) =>
        say(
          text
            .trim()
            .replace(/^error: /, '')
            .replaceAll('\n', ' '),
        ),
    });
  program.on('option:t', () => timeStamps++);
  program.action((words: string[], options: CliOptions) => {
    choose(async () => {
      if (options.listInterfaces === true) return listInterfacesText();
      return watch(watchOptions(options, words.join(' '), timeStamps));
    });
  });
  program
    .command('sockets')
    .description('Writes the UDP sockets of this host, their processes and its NAT as JSON, for --sockets.')
    .addOption(netnsOption())
    .action((options: { netns: 'all' | 'self' }) => {
      choose(async () => {
        const { saveSockets } = await import('./commands/sockets.ts');
        return saveSockets(options);
      });
    });
  program
    .command('doctor')
    .description(
      'Tells whether a live watch would work on this host, tries one, and says what would be missing from its answers.',
    )
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      '\nExit status: 0 a live watch works, warnings or not; 1 it does not; 2 a wrong command line.',
    )
    .action((options: { json?: true }) => {
      choose(async () => {
        const { doctor } = await import('./commands/doctor.ts');
        return doctor({ json: options.json === true });
      });
    });
  program
    .command('probe')
    .description(
      'Asks UDP ports whether somebody is there, and says what the answer, the ICMP error or the silence means.',
    )
    .argument('<host>', 'a name or an address')
    .argument('<port...>', 'ports, and ranges of them: 53 8000-8010', portRange)
    .option('--count <n>', 'datagrams to each port at the most', datagrams, 3)
    .option('--interval <seconds>', 'between two of them', seconds(0.01), 1)
    .option('--timeout <seconds>', 'to wait after the last', seconds(0.1), 4)
    .option(
      '--payload <what>',
      'send that: hex:DEADBEEF, or a file; otherwise a query to 53 and 123, an empty datagram elsewhere',
    )
    .option('--json', 'JSON lines')
    .addOption(new Option('-4', 'IPv4 only').conflicts('6'))
    .option('-6', 'IPv6 only')
    .addHelpText(
      'after',
      '\nExit status: 0 all answered; 1 any refused, unreachable or local-error; 3 otherwise silent; 2 a wrong command line.',
    )
    .action((host: string, ports: Set<number>, { 4: v4, 6: v6, ...options }: ProbeCliOptions) => {
      choose(async () => {
        if (host === '' || options.payload === '') throw new UsageError('an empty name');
        const { probe } = await import('./commands/probe.ts');
        const family = v4 === true ? 4 : v6 === true ? 6 : 0;
        return probe({ host, ports: [...ports], family, json: false, payload: undefined, ...options });
      });
    });
  return program;
}

function netnsOption(): Option {
  return new Option('--netns <which>', 'which network namespaces are searched for the socket')
    .choices(['all', 'self'])
    .default('all');
}

class UsageError extends Error {}

/** A word for the shell, quoted where it must be; without backslashes, which are escaped on standard error. */
function shellWord(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

function watchOptions(options: CliOptions, expression: string, timeStamps: number): WatchOptions {
  if (options.read !== undefined && expression !== '') {
    throw new UsageError(
      'a filter expression is for live capture; for a file: ' +
        `tcpdump -r ${shellWord(options.read)} -w - ${shellWord(expression)} | udpicmp-watch -r -`,
    );
  }
  if ([options.read, options.write, options.interface, options.sockets].includes(''))
    throw new UsageError('an empty name');
  if (timeStamps > 5) throw new UsageError('-t is given at most five times');
  const writesToOutput = options.write === '-';
  if (options.top === true && writesToOutput) throw new UsageError('--top and -w - both want standard output');
  if (options.top === true && !process.stdout.isTTY) {
    throw new UsageError('--top is for a terminal: in a pipe or a file, --incidents prints the table at the end');
  }
  if (options.jsonStatus === true && options.json !== true) throw new UsageError('--json-status goes with --json');
  const layout = options.plain === true ? 'plain' : options.oneline === true ? 'oneline' : 'two-line';
  return {
    read: options.read,
    device: options.interface,
    expression,
    bufferKib: options.bufferSize,
    format: writesToOutput || options.top === true ? 'none' : options.json === true ? 'json' : layout,
    write: options.write,
    incidents: options.incidents === true || options.top === true,
    top: options.top === true,
    timeStamp: timeStamps as TimeStampStyle,
    verbose: options.v === true,
    allIcmp: options.allIcmp === true,
    selection: {
      hosts: options.host ?? [],
      ports: options.port ?? [],
      pids: options.pid ?? [],
      comms: options.comm ?? [],
      errnos: options.errno ?? [],
    },
    sockets: options.sockets ?? true,
    netns: options.netns,
    lineBuffered: options.l === true,
    jsonStatus: options.jsonStatus === true,
    maxEvents: options.count,
    summary: options.summary,
  };
}

async function main(): Promise<number> {
  let job: Job | undefined;
  try {
    commandLine((chosen) => (job = chosen)).parse();
    return (await job?.()) ?? 0;
  } catch (error) {
    if (error instanceof UsageError || error instanceof Failure) say(error.message);
    else if (!(error instanceof CommanderError)) {
      say(`unexpected: ${error instanceof Error ? error.message : String(error)}`);
      return 1;
    }
    if (error instanceof Failure) return 1;
    return error instanceof CommanderError && error.exitCode === 0 ? 0 : 2;
  }
}

// A live capture's look-ups, and whoever reads a blocked pipe, are not waited for.
const status = await main();
await messagesRead();
process.exit(status);
