/**
 * What must hold of any octets: lines or damage, nothing thrown, nothing raw, the same however they arrive and when they were
 * saved, and a good file after them reads the same as ever.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { Ajv2020 } from 'ajv/dist/2020.js';
// Imported, not read: tsc then puts copies beside the sources that it builds, which look for them there.
import eventSchema from '../../src/event.schema.json' with { type: 'json' };
import snapshotSchema from '../../src/snapshot.schema.json' with { type: 'json' };
import { SavedHost } from '../../src/host/saved-host.ts';
import type { Snapshot } from '../../src/host/snapshot.ts';
import { NOTHING_SELECTED } from '../packets.ts';
import { replay, replayAny, type Replayed, type ReplayOptions } from '../replay.ts';
import type { Input } from './input.ts';

/** What does not hold; `message` says what. */
export class Finding extends Error {}

const ajv = new Ajv2020({
  allowUnionTypes: true,
  formats: { ipv4: isIPv4, ipv6: (text) => isIPv6(text) && !text.includes('%') },
});
const isEvent = ajv.compile(eventSchema);
const isSnapshot = ajv.compile<Snapshot>(snapshotSchema);

/** Controls but newline and tab, what a reader does not see, and the separators that a terminal may act on. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const RAW = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]|\p{Cf}|\p{Cs}/u;
// oxlint-disable-next-line no-control-regex -- all of ASCII that may be printed
const PLAIN = /^[\n\t\x20-\x7e]*$/;

/** @throws Finding */
export function expectClean(what: string, text: string): void {
  if (PLAIN.test(text)) return;
  const raw = RAW.exec(text);
  if (raw === null) return;
  const code = raw[0].codePointAt(0)!.toString(16);
  throw new Finding(
    `${what} has U+${code} in ${JSON.stringify(text.slice(Math.max(0, raw.index - 40), raw.index + 40))}`,
  );
}

export function expectSame(what: string, found: string, expected: string): void {
  if (found === expected) return;
  let at = 0;
  while (found[at] === expected[at]) at++;
  const excerpt = (text: string): string => JSON.stringify(text.slice(Math.max(0, at - 60), at + 60));
  throw new Finding(`${what}: ${excerpt(found)} in place of ${excerpt(expected)}`);
}

/** The host of a snapshot; null where it is none. */
function hostOf(snapshot: Buffer): SavedHost | null {
  let value: unknown;
  try {
    value = JSON.parse(snapshot.toString());
  } catch {
    return null;
  }
  return isSnapshot(value) ? new SavedHost(value) : null;
}

/** Null: the command has nothing to read, since the snapshot is none. */
export function replayOptions({ print, allIcmp, selection, save, sockets, maxEvents }: Input): ReplayOptions | null {
  const options: ReplayOptions = { print, allIcmp, selection, maxEvents, ...(save !== null && { save }) };
  if (sockets === null) return options;
  if (sockets === 'no') return { ...options, usesComments: false };
  const host = hostOf(sockets);
  return host === null ? null : { ...options, sockets: host };
}

/** Within this process. @throws Finding, and whatever the sources throw */
export function checkInput(input: Input): Replayed | null {
  const options = replayOptions(input);
  const file = Buffer.concat(input.pieces);
  const whole = options === null ? null : replayAny(file, options);
  if (whole !== null && options !== null) {
    checkOutput(whole, file.length, input.print === 'json');
    const inPieces = replayAny(file, { ...options, pieces: input.sizes });
    expectSame('read in pieces', inPieces.stdout, whole.stdout);
    expectSame('damage, read in pieces', JSON.stringify(inPieces.damage), JSON.stringify(whole.damage));
    if (input.save === 'pcapng') checkSaved(whole, options);
  }
  checkGood();
  return whole;
}

function checkOutput({ stdout, incidents, notBelieved, damage }: Replayed, length: number, isJson: boolean): void {
  expectClean('standard output', stdout);
  expectClean('the table of incidents', incidents);
  if (damage !== null && !(damage.offset <= length)) throw new Finding(`damage at octet ${damage.offset} of ${length}`);
  if (notBelieved.includes('')) throw new Finding('a comment is not believed, and nobody says why');
  if (!isJson) return;
  for (const line of stdout.split('\n').slice(0, -1)) {
    if (!isEvent(JSON.parse(line)))
      throw new Finding(`a JSON line ${ajv.errorsText(isEvent.errors)}: ${line.slice(0, 300)}`);
  }
}

/** What was saved is read again as the same output. */
function checkSaved(first: Replayed, options: ReplayOptions): void {
  const { sockets: _sockets, maxEvents: _maxEvents, ...others } = options;
  const again = replayAny(first.saved, { ...others, selection: NOTHING_SELECTED, usesComments: true });
  if (again.damage !== null) throw new Finding(`what was saved is damaged: ${again.damage.message}`);
  if (first.losses.length > 0) return;
  expectSame('read again', again.stdout, first.stdout);
  if (again.notBelieved.length > 0) throw new Finding(`what was saved is not believed: ${again.notBelieved[0]}`);
  if (!again.saved.equals(first.saved)) throw new Finding('what is read again is saved as other octets');
}

const GOOD_OPTIONS: readonly ReplayOptions[] = [
  { allIcmp: true, print: { verbose: true }, save: 'pcapng' },
  { print: 'json', save: 'pcapng' },
  { print: { layout: 'oneline', timeStamp: 3 }, save: 'pcapng' },
];
let good: { file: Buffer; options: ReplayOptions; expected: string }[] | undefined;
let turn = 0;

/** A good file, another one each time, decodes as it did before anything bad was read. */
export function checkGood(): void {
  good ??= readdirSync('fixtures')
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .map((name, index) => {
      const file = readFileSync(`fixtures/${name}`);
      const options = GOOD_OPTIONS[index % GOOD_OPTIONS.length]!;
      return { file, options, expected: textOf(replay(file, options)) };
    });
  const { file, options, expected } = good[turn++ % good.length]!;
  expectSame('a good file afterwards', textOf(replay(file, options)), expected);
}

function textOf({ stdout, incidents, saved }: Replayed): string {
  return stdout + incidents + saved.toString('latin1');
}
