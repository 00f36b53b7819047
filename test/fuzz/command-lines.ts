/** Command lines that nobody would type: an exit status of 0 to 3, and where it is a wrong one, one line that says why. */
import { checkEnded, runCommand } from './command.ts';
import { Finding } from './check.ts';
import type { Dice } from './dice.ts';
import { HOSTILE_TEXTS } from './mutate-json.ts';

const VALUES: readonly string[] = [
  ...HOSTILE_TEXTS.filter((text) => !/\0|\p{Cs}/u.test(text)),
  '0',
  '-1',
  '1',
  '1.5',
  '1e3',
  '0x10',
  '١',
  'NaN',
  'Infinity',
  '65536',
  '99999999999999999999',
  '-',
  '--',
  '...',
  ' 1',
  '1-2',
  '2-1',
  '-2',
  '1-',
  'any',
  '/',
  '/dev/null',
  '127.0.0.1',
  '::1',
  '::ffff:1.2.3.4',
  'fe80::1%lo',
  '1.2.3',
  '%00',
  'hex:',
  'hex:0',
  'hex:00',
  'hex:zz',
  'E',
  'ECONNREFUSED',
  'a'.repeat(5000),
  '--json',
  '-v',
];

const WATCH: readonly string[] = [
  '-i',
  '-w',
  '-c',
  '-B',
  '-n',
  '-nn',
  '-t',
  '-ttttt',
  '-tttttt',
  '-v',
  '-l',
  '--all-icmp',
  '--plain',
  '--oneline',
  '--json',
  '--incidents',
  '--top',
  '--sockets',
  '--no-sockets',
  '--netns',
  '--host',
  '--port',
  '--pid',
  '--comm',
  '--errno',
  '--no-summary',
  '-V',
  '-h',
  '--nothing',
  '--port=',
  '-c=1',
  '-vvv',
  '-',
];

const PROBE: readonly string[] = [
  '--count',
  '--interval',
  '--timeout',
  '--payload',
  '--json',
  '-4',
  '-6',
  '-h',
  '--nothing',
  '--count=',
  '-',
];

/** Options and values in any order. Files with such names are not written: `-w` gets a device. */
function argumentsOf(options: readonly string[], dice: Dice): string[] {
  return Array.from({ length: dice.few(8) }, () => {
    if (dice.oneIn(3)) return [dice.pick(VALUES)];
    const option = dice.pick(options);
    if (option === '-w') return ['-w', dice.pick(['-', '/dev/null', '/', '/no/such', ''])];
    return dice.oneIn(2) ? [option] : [option, dice.pick(VALUES)];
  }).flat();
}

/** @throws Finding */
export async function checkCommandLine(dice: Dice): Promise<readonly string[]> {
  const isProbe = dice.oneIn(2);
  // Never live, and of a probe never more than some datagrams to this host.
  const args = isProbe
    ? [
        'probe',
        ...argumentsOf(PROBE, dice),
        '--count=1',
        '--interval=0.01',
        '--timeout=0.1',
        dice.pick(['127.0.0.1', '::1', '-', '1.2.3']),
        dice.pick(['1', '9-10', '0', 'x']),
      ]
    : [
        ...(dice.oneIn(4) ? [] : ['-r', 'fixtures/mixed.pcap']),
        ...argumentsOf(WATCH, dice),
        '-r',
        dice.pick(['fixtures/recovery.pcap', '/no/such', '/', '/dev/null']),
      ];
  const ended = await runCommand(args, null);
  try {
    checkEnded(ended, [0, 1, 2, 3]);
    const isLine = /^udpicmp-watch: .+\n$/.test(ended.stderr);
    if (ended.status === 2 && !(isLine && ended.stdout.length === 0)) {
      throw new Finding(`exit status 2 with ${JSON.stringify(ended.stderr)} and ${ended.stdout.length} octets`);
    }
  } catch (error) {
    // `-w -` puts octets there.
    const isSaved = args.includes('-') && error instanceof Finding && error.message.startsWith('standard output has');
    if (!isSaved) throw error instanceof Finding ? new Finding(`${error.message}: ${JSON.stringify(args)}`) : error;
  }
  return args;
}
