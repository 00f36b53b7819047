/**
 * Names of any octets, of real processes, files, interfaces, control groups, users and hosts: in every output they are text, and
 * in JSON they are what they were.
 *
 * What is no UTF-8 is U+FFFD, in both.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Ajv2020 } from 'ajv/dist/2020.js';
import probeSchema from '../../src/probe.schema.json' with { type: 'json' };
import snapshotSchema from '../../src/snapshot.schema.json' with { type: 'json' };
import { escapeText } from '../../src/sink/escape.ts';
import { CLI } from '../command.ts';
import { tsharkTable } from '../savefile/judges.ts';
import { expectValid } from '../sink/schema.ts';
import { Lab, PYTHON, type LabProcess, type Namespace, type UdpClient } from './network.ts';
import { describeLab, needsTools, provoke, type JsonEvent } from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const OTHER_CLIENT = '198.51.100.10';
const OTHER_SERVER = '198.51.100.20';
const PORT = 9000;

/** Octets; a test's text of them has one character for each. */
const raw = (latin1: string): Buffer => Buffer.from(latin1, 'latin1');
/** As Python takes them: what is no ASCII as a lone surrogate (PEP 383). */
const forPython = (octets: Buffer): string =>
  [...octets].map((octet) => String.fromCharCode(octet < 0x80 ? octet : 0xdc00 + octet)).join('');

const BIDI = Buffer.from('\u202e\u2066').toString('latin1');
/** Of at most 15 octets each. */
const COMM = raw(`\x1b[2J\x9b\n${BIDI}\\`);
const INTERFACE = raw(`e\x1b[31m${Buffer.from('\u202e').toString('latin1')}0`);
const OTHER_INTERFACE = raw('\x9b31m\xff\xfe"\\');
const LONG = raw(`\x1b]0;owned\x07\r\n\t"\x00\x85${BIDI}\xc3`.replace('\x00', ''));
const USER = raw(`\x1b[2J\x9b${BIDI}`);
const HOST = raw(`web\x1b[31m\n\x9b${BIDI}`);
const UNIT = raw(`x\x1b[31m\r\x9b${BIDI}.service`);

/** What a terminal would act on, or a reader not see. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const UNPRINTABLE = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]|\p{Cf}|\p{Cs}/u;

function expectText(output: string): void {
  const at = output.search(UNPRINTABLE);
  if (at !== -1) expect.fail(`at ${at}: ${JSON.stringify(output.slice(Math.max(0, at - 80), at + 40))}`);
}

/** Where a control group for a process of the test can be made. */
function controlGroups(): string | undefined {
  return ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'].find((path) => existsSync(join(path, 'cgroup.procs')));
}

describeLab('names of any octets', () => {
  let lab: Lab;
  let client: Namespace;
  let etc: string;
  let udp: UdpClient;
  let exe: Buffer;
  let unit: Buffer | null = null;

  beforeAll(async () => {
    lab = new Lab();
    client = lab.namespace('client');
    const server = lab.namespace('server');
    const name = INTERFACE.toString();
    lab.link(client, `${CLIENT}/24`, server, `${SERVER}/24`, { nameA: name, nameB: name });
    lab.link(client, `${OTHER_CLIENT}/24`, server, `${OTHER_SERVER}/24`, { nameA: 'odd0' });
    for (const how of [['down'], ['name', OTHER_INTERFACE.toString('latin1')]])
      ip(client, 'link', 'set', 'odd0', ...how);
    ip(client, 'link', 'set', OTHER_INTERFACE.toString('latin1'), 'up');
    lab.settle(client);
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0 });
    // `ip netns exec` puts it in the place of /etc/passwd.
    etc = `/etc/netns/${client}`;
    mkdirSync(etc, { recursive: true });
    writeFileSync(`${etc}/passwd`, Buffer.concat([USER, raw(':x:0:0::/:/bin/sh\n')]));

    exe = Buffer.concat([raw(`${lab.temporary}/`), LONG]);
    const options = { exe: forPython(exe), argv0: forPython(LONG), more: [forPython(LONG)], size: 6_000_000 };
    const socket = { dst: SERVER, dport: PORT, interactive: true, name: forPython(COMM) };
    const script = (file: string): string => join(import.meta.dirname, file);
    const argv = [
      PYTHON,
      script('rename_and_run.py'),
      JSON.stringify(options),
      script('udp_client.py'),
      JSON.stringify(socket),
    ];
    udp = await lab.udpClientBy(client, argv);

    const groups = controlGroups();
    if (groups === undefined) return;
    unit = Buffer.concat([raw(`${groups}/`), UNIT]);
    mkdirSync(unit);
    writeFileSync(Buffer.concat([unit, raw('/cgroup.procs')]), String(udp.pid));
  });
  afterAll(async () => {
    rmSync(etc, { recursive: true });
    // A control group goes when nobody is in it.
    await udp.stop('SIGKILL');
    if (unit !== null) rmdirSync(unit);
    lab.close();
  });

  /** `ip -n NS …`, its words octets. */
  function ip(ns: Namespace, ...words: string[]): void {
    const run = 'import os, sys; os.execvp("ip", [word.encode("latin-1") for word in ["ip", "-n", *sys.argv[1:]]])';
    lab.run(null, [PYTHON, '-X', 'utf8', '-c', run, ns, ...words]);
  }

  /** The words that run the tool on a host of that name. */
  function onHost(...args: string[]): string[] {
    const rename =
      'import os, socket, sys; socket.sethostname(sys.argv[1].encode("latin-1")); os.execv(sys.argv[2], sys.argv[2:])';
    return [
      'unshare',
      '--uts',
      PYTHON,
      '-X',
      'utf8',
      '-c',
      rename,
      HOST.toString('latin1'),
      process.execPath,
      CLI,
      ...args,
    ];
  }

  async function start(...args: string[]): Promise<LabProcess> {
    const watch = lab.spawn(client, onHost(...args));
    await watch.waitFor(/listening on/, 'stderr');
    return watch;
  }

  function expectNames({ interface: iface, host, sockets }: JsonEvent): void {
    expect([iface, host]).toEqual([INTERFACE.toString(), HOST.toString()]);
    const { user, processes } = sockets![0]!;
    const [found] = processes;
    expect([user, found!.pid, found!.comm]).toEqual([USER.toString(), udp.pid, COMM.toString()]);
    expect(found!.exe).toBe(exe.toString());
    expect(found!.cmdline!.startsWith(LONG.toString())).toBe(true);
    expect(Buffer.byteLength(found!.cmdline!)).toBeGreaterThan(1020);
    expect(Buffer.byteLength(found!.cmdline!)).toBeLessThanOrEqual(1024);
    if (unit !== null) expect(found!.unit).toBe(UNIT.toString());
  }

  test('the process is as it was meant to be', () => {
    expect(readFileSync(`/proc/${udp.pid}/comm`).equals(Buffer.concat([COMM, raw('\n')]))).toBe(true);
    expect(readFileSync(`/proc/${udp.pid}/cmdline`).length).toBeGreaterThan(6_000_000);
  });

  test('-v, --json, -w and --incidents', async (context) => {
    needsTools(context, 'tshark');
    const [file, jsonFile] = [`${lab.temporary}/names.pcapng`, `${lab.temporary}/json.pcapng`];
    const text = await start('-v', '-l', '--incidents', '-w', file);
    const json = await start('--json', '-l', '-w', jsonFile, '-i', INTERFACE.toString());
    await provoke(udp, text, json);
    await provoke(udp, text, json);
    text.signal('SIGUSR1');
    await text.waitFor(/FIRST /, 'stderr');
    for (const watch of [text, json]) expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });

    for (const output of [text.stdout, text.stderr, json.stdout, json.stderr]) expectText(output);
    for (const line of json.lines) {
      expectValid(line);
      expectNames(JSON.parse(line) as JsonEvent);
    }
    expect(json.stderr).toContain(`listening on ${escapeText(INTERFACE.toString())}`);
    const own = text.lines.filter((line) => line.startsWith('\t1')).join('\n');
    for (const name of [COMM, USER, LONG, ...(unit === null ? [] : [UNIT])])
      expect(own).toContain(escapeText(name.toString()));
    expect(text.lines[0]).toContain(` ${escapeText(INTERFACE.toString())} In `);
    expect(text.stderr).toContain(` ${escapeText(COMM.toString())}[${udp.pid}] `);

    for (const [path, watch, ...args] of [
      [file, text, '-v'],
      [jsonFile, json, '--json'],
    ] as const) {
      expect(lab.run(null, [process.execPath, CLI, '-r', path, ...args]).stdout).toBe(watch.stdout);
      const rows = tsharkTable(path, 'frame.interface_name', 'frame.comment');
      expect(rows).toHaveLength(2);
      for (const [, comment] of rows) {
        expectText(comment!);
        expect(comment).toContain(`${escapeText(COMM.toString())}[${udp.pid}]`);
      }
    }
  });

  test('an error on the interface whose name is no UTF-8', async () => {
    const other = await lab.udpClient(client, { dst: OTHER_SERVER, dport: PORT, interactive: true });
    const [text, json] = [await start('-l'), await start('--json', '-l')];
    await provoke(other, text, json);
    await other.ask('quit');
    for (const watch of [text, json]) {
      expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
      expectText(watch.stdout);
    }
    const name = OTHER_INTERFACE.toString();
    expectValid(json.lines[0]!);
    expect(json.json()).toMatchObject([{ interface: name, sockets: [{ processes: [{ pid: other.pid }] }] }]);
    expect(text.lines[0]).toContain(` ${escapeText(name)} In `);
  });

  test('selected by its name and number', async () => {
    const watch = await start('--json', '-l', '--comm', COMM.toString(), '--pid', String(udp.pid));
    await provoke(udp, watch);
    await watch.stop('SIGINT');
    expectNames(JSON.parse(watch.lines[0]!) as JsonEvent);
  });

  test('--top', async () => {
    const terminal = lab.spawn(client, [
      PYTHON,
      join(import.meta.dirname, 'terminal.py'),
      '20',
      ...onHost('--top', '-i', INTERFACE.toString()),
    ]);
    await terminal.waitFor(/listening on/);
    await udp.ask('soerror');
    await udp.ask('send');
    await terminal.until(({ stdout }) => stdout.includes(`${escapeText(COMM.toString())}[${udp.pid}]`));
    terminal.write('03\n');
    expect(await terminal.exited).toEqual({ status: 0, signal: null });
    // oxlint-disable-next-line no-control-regex -- the tool's own, and the terminal's line ends
    expectText(terminal.stdout.replace(/\x1b\[(?:\?\d+[hl]|[HKJ])|\r\n/g, ''));
    expect(terminal.stdout).toContain(`\x1b[Hudpicmp-watch -i ${escapeText(INTERFACE.toString())}  `);
  });

  test('sockets, probe, -D', () => {
    const schemas = new Ajv2020({ allowUnionTypes: true, validateFormats: false });
    const snapshot = lab.run(client, onHost('sockets', '--netns', 'self')).stdout;
    expectText(snapshot);
    expect(schemas.validate(snapshotSchema, JSON.parse(snapshot))).toBe(true);
    expect(JSON.parse(snapshot)).toMatchObject({
      host: HOST.toString(),
      namespaces: [
        {
          sockets: [
            { user: USER.toString(), processes: [{ pid: udp.pid, comm: COMM.toString(), exe: exe.toString() }] },
          ],
        },
      ],
    });
    for (const options of [['--json'], []]) {
      const { stdout, stderr, status } = lab.run(client, onHost('probe', ...options, SERVER, '9999'), {
        allowFailure: true,
      });
      expect(status).toBe(1);
      for (const output of [stdout, stderr]) expectText(output);
      if (options.length === 0) continue;
      const line: unknown = JSON.parse(stdout);
      expect(schemas.validate(probeSchema, line)).toBe(true);
      expect(line).toMatchObject({ host: HOST.toString(), verdict: 'refused' });
    }
    const list = lab.run(client, onHost('-D')).stdout;
    expectText(list);
    for (const name of [INTERFACE, OTHER_INTERFACE]) expect(list).toContain(`.${escapeText(name.toString())}`);
  });

  test('a name that there is not, and one that was never UTF-8: said in a line', () => {
    for (const name of ['\x1b[2J\u202e', OTHER_INTERFACE.toString()]) {
      const { stderr, stdout, status } = lab.run(client, onHost('-i', name), { allowFailure: true });
      expect([stdout, status]).toEqual(['', 1]);
      expect(stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
      expectText(stderr);
    }
  });
});
