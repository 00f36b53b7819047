/**
 * Comments that somebody edited by hand: nothing is lost, nothing is believed that contradicts its packet or is not as it was
 * written, and nothing reaches a terminal unescaped.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import { afterAll, describe, expect, test, vi } from 'vitest';
import schema from '../src/event.schema.json' with { type: 'json' };
import { recordJson, jsonLine } from '../src/sink/json-lines.ts';
import { udpicmpWatch } from './command.ts';
import { errorEvent, processOf, quietOf, recoveredOf, socketOf } from './events.ts';
import { answer, echoRequest, portUnreachable, RAW, START } from './packets.ts';
import { replay, type Replayed } from './replay.ts';
import { enhancedPacket, interfaceDescription, journal, sectionHeader } from './savefile/build.ts';

// Thousands of replays, or a dozen processes, a test.
vi.setConfig({ testTimeout: 60_000 });

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
addFormats.default(ajv, ['ipv4', 'ipv6']);
const validate = ajv.compile(schema);

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Line = { [key: string]: Json };

const SPORT = 40_000;
const FLOW = { protocol: 'udp', src: '192.0.2.10', sport: SPORT, dst: '192.0.2.20', dport: 9999 };
const NAT = { src: '10.0.0.2', sport: 5000, dst: '192.0.2.20', dport: 9999 };
/** With every field that there is. */
const SOCKETS = [
  socketOf(1, [processOf(4711, { container: '0123456789ab', runtime: 'docker' }), processOf(4712)], { device: 'eth0' }),
];

function parsed(octets: string): Line {
  return JSON.parse(Buffer.from(octets, 'latin1').toString('utf8')) as Line;
}

const AT = { seconds: START, nanoseconds: 0 };
const ERROR_LINE = parsed(
  jsonLine(
    errorEvent({
      ...AT,
      interface: 'eth0',
      interfaces: ['eth0', 'br0'],
      icmp: { ...errorEvent().icmp, length: 36 },
      flow: { ...FLOW, ipId: 0xbeef },
      outcome: 'no-socket',
      match: 'closed',
      closedMsAgo: 12,
      dropped: true,
      nat: NAT,
      note: 'so it is',
      sockets: SOCKETS,
      count: 4,
    }),
  ),
);
const RECOVERED_LINE = parsed(recordJson(recoveredOf({ ...AT, flow: FLOW, nat: NAT, sockets: SOCKETS })));
const QUIET_LINE = parsed(recordJson(quietOf({ ...AT, flow: FLOW, nat: NAT, sockets: SOCKETS })));

const HEAD = Buffer.concat([sectionHeader('little'), interfaceDescription('little', { linkType: RAW, name: 'eth0' })]);

function packet(data: Buffer, ...comments: readonly string[]): Buffer {
  const units = BigInt(START) * 1_000_000n;
  return enhancedPacket(
    'little',
    0,
    units,
    data,
    data.length,
    comments.map((comment) => Buffer.from(comment)),
  );
}

/** The packet, with the line in a comment. */
function commented(data: Buffer, json: string): Buffer {
  return packet(data, 'what people read', `udpicmp-watch ${json}`);
}

function entry(json: string): Buffer {
  return journal('little', `MESSAGE=what people read\nUDPICMP_WATCH=${json}\n`);
}

function fileOf(...blocks: readonly Buffer[]): Buffer {
  return Buffer.concat([HEAD, ...blocks]);
}

const ERROR = (json: string): Buffer => commented(portUnreachable(SPORT), json);
const RECOVERED = (json: string): Buffer => commented(answer(SPORT), json);

const SHORT_LINE = replay(fileOf(packet(portUnreachable(SPORT)))).stdout.split('\n')[0]!;
/** With -v: tcpdump's lines of the packet; one line more is ours. */
const FIRST_LINES = replay(fileOf(packet(portUnreachable(SPORT))), { print: { verbose: true } })
  .stdout.split('\n')
  .slice(0, -2);

/** Whatever the line says: what is printed is text, and what is not believed is said in one line. */
function expectSound(file: Buffer): Replayed {
  const text = replay(file, { print: { verbose: true } });
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  expect(text.stdout).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]|\p{Cf}|\p{Cs}/u);
  const json = replay(file, { print: 'json', save: 'pcapng' });
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  expect(json.stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]|\p{Cf}|\p{Cs}/u);
  for (const line of json.stdout.split('\n').slice(0, -1)) {
    if (!validate(JSON.parse(line))) expect.fail(`${ajv.errorsText(validate.errors)}\n${line}`);
  }
  expect(text.notBelieved).toEqual(json.notBelieved);
  expect(text.notBelieved).toHaveLength(text.counts.notBelieved > 0 ? 1 : 0);
  // What it makes of it, it makes of it ever after.
  const again = replay(json.saved, { print: 'json', save: 'pcapng' });
  expect(again.stdout).toBe(json.stdout);
  expect(again.notBelieved).toEqual([]);
  expect(again.saved.equals(json.saved)).toBe(true);
  return text;
}

/** The line of the packet as ever, and below it either what was saved or that it is not believed. */
function expectErrorShown(json: string): boolean {
  const { stdout, counts, notBelieved } = expectSound(fileOf(ERROR(json)));
  const lines = stdout.split('\n');
  const [second, ...rest] = lines.splice(FIRST_LINES.length);
  expect([lines, rest]).toEqual([FIRST_LINES, ['']]);
  const isBelieved = counts.notBelieved === 0;
  if (!isBelieved) expect(second).toContain(`ECONNREFUSED → unknown: its comment is not believed: `);
  expect(notBelieved.length).toBe(isBelieved ? 0 : 1);
  return isBelieved;
}

/** Its one line, or nothing and that it is not believed. */
function expectRecordShown(block: Buffer): boolean {
  const { stdout, counts } = expectSound(fileOf(ERROR(JSON.stringify(ERROR_LINE)), block));
  const lines = stdout.split('\n').slice(0, -1);
  expect(lines.slice(0, FIRST_LINES.length)).toEqual(FIRST_LINES);
  expect(lines.length).toBe(FIRST_LINES.length + 2 - counts.notBelieved);
  return counts.notBelieved === 0;
}

test('what was not edited is believed', () => {
  for (const line of [ERROR_LINE, RECOVERED_LINE, QUIET_LINE]) {
    if (!validate(line)) expect.fail(ajv.errorsText(validate.errors));
  }
  expect(expectErrorShown(JSON.stringify(ERROR_LINE))).toBe(true);
  expect(expectRecordShown(RECOVERED(JSON.stringify(RECOVERED_LINE)))).toBe(true);
  expect(expectRecordShown(entry(JSON.stringify(QUIET_LINE)))).toBe(true);
});

/** Every place in the value, as keys from the top. */
function pathsOf(value: Json): string[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [[], ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner).map((path) => [key].concat(path)))];
}

/** Stands for what JSON.stringify does not write. */
const RAW_TEXT = '@@@';

/** The line with `text` in place of what is there, or without it. */
function edited(line: Line, path: readonly string[], text: string | undefined): string {
  if (path.length === 0) return text ?? '';
  const copy = structuredClone(line);
  let parent: Line = copy;
  for (const key of path.slice(0, -1)) parent = parent[key] as Line;
  const last = path.at(-1)!;
  if (text !== undefined) parent[last] = RAW_TEXT;
  else if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else delete parent[last];
  return JSON.stringify(copy).replace(`"${RAW_TEXT}"`, () => text!);
}

const HOSTILE = JSON.stringify('\x1b[2J\x9b31m\u202e\n\ud800\\');
const VALUES: (string | undefined)[] = [
  undefined,
  'null',
  'true',
  'false',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e21',
  '1e308',
  '1e999',
  '18446744073709551616',
  '""',
  '"x"',
  HOSTILE,
  '[]',
  '[null]',
  '{}',
  '{"__proto__":{"pid":1}}',
  '{"constructor":{"prototype":1}}',
  '{"toString":1}',
  '['.repeat(5000) + ']'.repeat(5000),
];

describe.each<[string, Line, (json: string) => boolean]>([
  ['an error', ERROR_LINE, expectErrorShown],
  ['recovered', RECOVERED_LINE, (json) => expectRecordShown(RECOVERED(json))],
  ['quiet', QUIET_LINE, (json) => expectRecordShown(entry(json))],
])('%s', (_name, line, shown) => {
  test('each field in turn made anything else', () => {
    for (const path of pathsOf(line)) for (const value of VALUES) shown(edited(line, path, value));
  });

  test('each field in turn with one more beside it', () => {
    for (const path of pathsOf(line)) {
      const at = path.reduce<Json>((value, key) => (value as Line)[key]!, line);
      if (typeof at !== 'object' || at === null || Array.isArray(at)) continue;
      for (const extra of ['"__proto__":{"v":1}', '"x":1', `${HOSTILE}:1`, '"seconds":5', '"icmp":null']) {
        const text = JSON.stringify(at);
        shown(edited(line, path, `{${extra},${text.slice(1)}`));
      }
    }
  });

  test('cut anywhere it is not believed', () => {
    const json = JSON.stringify(line);
    for (let length = 0; length < json.length; length += length < 200 ? 1 : 23) {
      expect([length, shown(json.slice(0, length))]).toEqual([length, false]);
    }
    expect(shown(`${json}}`)).toBe(false);
    expect(shown(`${json}${json}`)).toBe(false);
  });

  test('edited at random, a few characters in it', () => {
    const json = JSON.stringify(line);
    const edit = fc.record({
      at: fc.nat({ max: json.length - 1 }),
      remove: fc.nat({ max: 4 }),
      insert: fc.oneof(fc.string({ maxLength: 4 }), fc.constantFrom('"', '}', '\\', '\\u001b', '9', '\x1b', ',null')),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let text = json;
        for (const { at, remove, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + remove);
        shown(text);
      }),
      { numRuns: 300 },
    );
  });
});

describe('an error is believed only if it says of its packet what the packet says', () => {
  const believed = (changes: Line): boolean => expectErrorShown(JSON.stringify({ ...ERROR_LINE, ...changes }));
  const icmp = ERROR_LINE['icmp'] as Line;
  const flow = ERROR_LINE['flow'] as Line;

  test.each<[string, Line]>([
    ['another type', { icmp: { ...icmp, type: 11 } }],
    ['another code', { icmp: { ...icmp, code: 1 } }],
    ['another name of it', { icmp: { ...icmp, name: 'host-unreachable' } }],
    ['another sender', { icmp: { ...icmp, src: '192.0.2.21' } }],
    ['another length', { icmp: { ...icmp, length: 37 } }],
    ['another source port', { flow: { ...flow, sport: 40_001 } }],
    ['another destination', { flow: { ...flow, dst: '192.0.2.21' } }],
    ['another identification', { flow: { ...flow, ipId: 1 } }],
    ['another protocol', { flow: { ...flow, protocol: 'udplite' } }],
    ['another errno than the kernel makes of it', { errno: 'EHOSTUNREACH' }],
    ['no errno', { errno: null }],
    ['another version of the line', { v: 2 }],
    ['an outcome that there is not', { outcome: 'heard' }],
    ['a field that there is not', { reliable: true }],
  ])('not with %s', (_name, changes) => {
    expect(believed(changes)).toBe(false);
  });

  test('what the packet does not say may be anything that the schema lets pass', () => {
    const sockets = structuredClone(ERROR_LINE['sockets']) as unknown as typeof SOCKETS;
    sockets[0]!.processes[0]!.comm = 'another';
    expect(believed({ sockets: sockets as unknown as Json })).toBe(true);
    expect(believed({ host: 'another', direction: 'out', note: 'edited' })).toBe(true);
  });

  test('what is said of an error that quotes no UDP says nothing of sockets', () => {
    const TCP = 6;
    const tcp = portUnreachable(SPORT, TCP);
    const saved = replay(fileOf(packet(tcp)), { print: 'json', allIcmp: true }).stdout;
    const line = JSON.parse(saved) as Line;
    expect(line).not.toHaveProperty('errno');
    const changes = { errno: 'EPERM', outcome: 'reported', match: 'connected', sockets: [], count: 1 };
    const file = fileOf(commented(tcp, JSON.stringify({ ...line, ...changes })));
    expect(replay(file, { allIcmp: true }).counts.notBelieved).toBe(1);
  });
});

describe('lines in the wrong place', () => {
  const [error, recovered, quiet] = [ERROR_LINE, RECOVERED_LINE, QUIET_LINE].map((line) => JSON.stringify(line));

  test.each<[string, string]>([
    ['recovered', recovered!],
    ['quiet', quiet!],
  ])('an ICMP message with a record of %s', (_name, json) => {
    expect(expectErrorShown(json)).toBe(false);
  });

  test.each<[string, Buffer]>([
    ['the peer’s datagram with an error', RECOVERED(error!)],
    ['the peer’s datagram with quiet', RECOVERED(quiet!)],
    ['a journal entry with an error', entry(error!)],
    ['a journal entry with recovered', entry(recovered!)],
    ['another socket’s datagram', commented(answer(SPORT + 1), recovered!)],
  ])('%s', (_name, block) => {
    expect(expectRecordShown(block)).toBe(false);
  });

  test('of another packet: each of the two says so', () => {
    const file = fileOf(ERROR(error!), commented(portUnreachable(SPORT + 1), error!));
    const { stdout, counts } = expectSound(file);
    expect(stdout.split('\n').slice(0, -1)).toHaveLength(2 * (FIRST_LINES.length + 1));
    expect([counts.shown, counts.notBelieved]).toEqual([2, 1]);
    expect(stdout).toContain(`192.0.2.10:${SPORT + 1} > 192.0.2.20:9999  ECONNREFUSED → unknown: its comment is not`);
  });

  test('doubled it is the same; of two that differ, one that fits is needed', () => {
    const twice = packet(portUnreachable(SPORT), `udpicmp-watch ${error!}`, `udpicmp-watch ${error!}`);
    expect(expectSound(fileOf(twice)).counts.notBelieved).toBe(0);
    const first = packet(portUnreachable(SPORT), `udpicmp-watch ${error!}`, 'udpicmp-watch {}');
    expect(expectSound(fileOf(first)).counts).toMatchObject({ shown: 1, notBelieved: 1 });
  });

  test('pieces in another order, or one of them missing, are not believed', () => {
    const [a, b, c] = [error!.slice(0, 100), error!.slice(100, 200), error!.slice(200)];
    const pieces = (...comments: string[]): number =>
      expectSound(fileOf(packet(portUnreachable(SPORT), ...comments))).counts.notBelieved;
    expect(pieces(`udpicmp-watch ${a}`, `udpicmp-watch+ ${b}`, 'between', `udpicmp-watch+ ${c}`)).toBe(0);
    expect(pieces(`udpicmp-watch ${a}`, `udpicmp-watch+ ${c}`, `udpicmp-watch+ ${b}`)).toBe(1);
    expect(pieces(`udpicmp-watch ${a}`, `udpicmp-watch+ ${c}`)).toBe(1);
    // Without its beginning it is a comment as any other.
    expect(pieces(`udpicmp-watch+ ${b}`, `udpicmp-watch+ ${c}`)).toBe(0);
  });

  test('comments of others are nothing to it', () => {
    const { stdout, counts } = expectSound(
      fileOf(packet(portUnreachable(SPORT), 'seen by me', 'udpicmp-watcher {', ' udpicmp-watch {}', '\x1b[2J')),
    );
    expect(counts.notBelieved).toBe(0);
    expect(stdout).toContain('unknown: a replay has no socket table');
  });

  test('so are journal entries of others', () => {
    const entries = ['MESSAGE=hello\n', 'MESSAGE=UDPICMP_WATCH={}\n', 'X_UDPICMP_WATCH={}\n', '', '\n\n\0'];
    expect(expectSound(fileOf(...entries.map((text) => journal('little', text)))).counts.notBelieved).toBe(0);
  });

  test('on a packet that is not shown they say nothing', () => {
    expect(expectSound(fileOf(commented(echoRequest(), error!))).stdout).toBe('');
  });
});

describe('the command', () => {
  const directory = mkdtempSync(join(tmpdir(), 'uiw-edited-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'edited.pcapng');
  const bad = JSON.stringify({ ...ERROR_LINE, '\x1b[2J': 1 });
  writeFileSync(path, fileOf(ERROR(bad), ERROR(JSON.stringify(ERROR_LINE)), ERROR('{'), RECOVERED('[]'), entry('0')));

  test('says the first in a line, and how many in the closing statistics; it is no failure', () => {
    const { stdout, stderr, status } = udpicmpWatch(['-r', path]);
    expect(status).toBe(0);
    const [said, shown, count, ...rest] = stderr.split('\n');
    expect(said).toContain(`udpicmp-watch: a comment in ${path} is not believed: `);
    expect(shown).toBe('udpicmp-watch: 3 events shown, 1 attributed to a socket');
    expect(count).toBe('udpicmp-watch: 4 comments not believed');
    expect(rest).toEqual(['']);
    expect(stdout.split('\n').filter((line) => line === SHORT_LINE)).toHaveLength(3);
  });

  test.each(['--no-sockets', '--sockets'])('with %s no comment is looked at', (option) => {
    const args = option === '--sockets' ? [option, join(directory, 'sockets.json')] : [option];
    writeFileSync(join(directory, 'sockets.json'), udpicmpWatch(['sockets', '--netns', 'self']).stdout);
    const { stdout, stderr } = udpicmpWatch([...args, '-r', path]);
    expect(stderr).not.toContain('believed');
    expect(stdout).not.toContain('gateway');
    expect(stdout.split('\n').filter((line) => line === SHORT_LINE)).toHaveLength(3);
  });
});
