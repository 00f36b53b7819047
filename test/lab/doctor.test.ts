/**
 * `doctor` on a host where a live watch works, and on hosts that lack something: what it says, beside what the system says of
 * itself at that moment.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { afterEach, beforeEach, describe, expect, test, type TestContext } from 'vitest';
import type { Check } from '../../src/doctor/check.ts';
import schema from '../../src/doctor.schema.json' with { type: 'json' };
import { CLI } from '../command.ts';
import { eventually, Lab, type Namespace, type RunResult } from './network.ts';
import { describeLab, needsTools, skip } from './watch.ts';

interface Report {
  works: boolean;
  checks: Check[];
}

const PROJECT = dirname(dirname(CLI));
const AS_NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const LOOPBACK = ['refused on IPv4 loopback', 'refused on IPv6 loopback'];
const CAPABILITIES = ['CAP_NET_RAW', 'CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH', 'CAP_SYS_ADMIN'];

const isValid: ValidateFunction = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(schema);

describeLab('doctor', () => {
  let lab: Lab;
  let host: Namespace;

  beforeEach(() => {
    lab = new Lab();
    host = lab.namespace('host');
  });
  afterEach(() => lab.close());

  /** Runs it behind the words of a command, and gives what it said and its exit status. */
  function examine(prefix: readonly string[] = [], cli = CLI): { checks: Map<string, Check>; status: number | null } {
    const { stdout, stderr, status } = text(prefix, ['--json'], cli);
    expect(stderr).toBe('');
    const report = JSON.parse(stdout) as Report;
    if (!isValid(report)) expect.fail(JSON.stringify(isValid.errors));
    expect(report.works).toBe(status === 0);
    return { checks: new Map(report.checks.map((check) => [check.name, check])), status };
  }

  function text(prefix: readonly string[] = [], options: readonly string[] = [], cli = CLI): RunResult {
    return lab.run(host, [...prefix, process.execPath, cli, 'doctor', ...options], { allowFailure: true });
  }

  /** A command that runs in a mount namespace where `file` is mounted over each of these programs, as far as they are there. */
  function withTools(tools: readonly string[], file: string): string[] {
    const script = `
      file=$1; shift
      for tool in ${tools.join(' ')}; do
        path=$(command -v "$tool") && mount --bind "$file" "$(realpath "$path")"
      done
      exec "$@"`;
    return ['unshare', '--mount', 'sh', '-c', script, 'sh', file];
  }

  /** A program of that text. */
  function program(script: string): string {
    const file = join(lab.temporary, 'tool');
    writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return file;
  }

  /** The project without cap: its other packages and what it is built to. */
  function withoutCap(): string {
    const project = join(lab.temporary, 'project');
    const packages = join(project, 'node_modules');
    mkdirSync(packages, { recursive: true });
    cpSync(join(PROJECT, 'dist'), join(project, 'dist'), { recursive: true });
    cpSync(join(PROJECT, 'package.json'), join(project, 'package.json'));
    for (const name of ['commander', 'ajv', 'fast-deep-equal', 'fast-uri', 'json-schema-traverse']) {
      symlinkSync(join(PROJECT, 'node_modules', name), join(packages, name));
    }
    return project;
  }

  function needsNobody(context: TestContext): void {
    needsTools(context, 'setpriv');
    if (lab.run(host, [...AS_NOBODY, 'test', '-r', CLI], { allowFailure: true }).status !== 0) {
      skip(context, `nobody may not read ${CLI}`);
    }
  }

  const sysctl = (name: string): string => lab.run(host, ['cat', `/proc/sys/${name}`]).stdout.trim();

  test('where all is well: it captures, names itself, and hears of it', async () => {
    const { checks, status } = examine();
    expect(status).toBe(0);
    expect([...checks.values()].filter((check) => check.status === 'failed')).toEqual([]);
    for (const [index, name] of LOOPBACK.entries()) {
      const { trial, ...check } = checks.get(name)!;
      expect(check.status).toBe('ok');
      expect(trial).toMatchObject({ version: index === 0 ? 4 : 6, isNamed: true, heard: 'ECONNREFUSED' });
      expect(trial!.latencyMs).toBeGreaterThan(0);
    }
    const { stdout } = lab.run(null, ['tcpdump', '--version'], { allowFailure: true });
    expect(stdout).toContain(checks.get('libpcap')!.found);
    expect(checks.get('node')!.found).toContain(process.versions.node);
    expect(checks.get('net.ipv4.icmp_ratelimit')!.found).toContain(`${sysctl('net/ipv4/icmp_ratelimit')} ms `);
    expect(checks.get('net.ipv4.icmp_ratelimit')!.note).toContain(
      'limited: destination-unreachable, source-quench, time-exceeded, parameter-problem;',
    );
    expect(sysctl('net/ipv4/icmp_ratemask')).toBe(String((1 << 3) + (1 << 4) + (1 << 11) + (1 << 12)));

    const run = lab.spawn(host, [process.execPath, CLI, 'doctor']);
    expect(await run.exited).toEqual({ status: 0, signal: null });
    for (const name of LOOPBACK) {
      expect(run.stdout).toMatch(
        new RegExp(
          `^ok +${name} +ECONNREFUSED → node\\[${run.pid}\\] fd \\d+, connected, [\\d.]+ ms after it was sent; the socket heard ECONNREFUSED$`,
          'm',
        ),
      );
    }
    expect(run.lines.at(-1)).toMatch(/^a live watch works here: \d+ warnings?, \d+ unknown$/);
    expect(run.stderr).toBe('');
  });

  test.for([
    [['net_raw'], 1],
    [['sys_ptrace', 'sys_admin'], 0],
  ] as const)('without %s', ([dropped, expected], context) => {
    needsTools(context, 'setpriv');
    const prefix = ['setpriv', `--bounding-set=${dropped.map((name) => `-${name}`).join(',')}`];
    const { stdout } = lab.run(host, [...prefix, 'setpriv', '--dump']);
    const effective = /^Capability bounding set: (.*)$/m.exec(stdout)![1]!.split(',');
    const { checks, status } = examine(prefix);
    expect(status).toBe(expected);
    for (const name of CAPABILITIES) {
      const short = name.replace('CAP_', '').toLowerCase();
      const isHeld = effective.includes(short);
      expect(isHeld).toBe(!dropped.some((other) => other === short));
      expect(checks.get(name)!.status === 'ok').toBe(isHeld);
      if (!isHeld) expect(checks.get(name)!.found).toBe('not effective, nor in the bounding set');
    }
    expect(checks.get('capture on any')!.status).toBe(expected === 0 ? 'ok' : 'failed');
    expect(checks.get(LOOPBACK[0]!)!.status).toBe(expected === 0 ? 'ok' : 'unknown');
  });

  test('as nobody', (context) => {
    needsNobody(context);
    const { checks, status } = examine(AS_NOBODY);
    expect(status).toBe(1);
    expect(CAPABILITIES.map((name) => checks.get(name)!.remedy)).toEqual(CAPABILITIES.map(() => 'sudo udpicmp-watch'));
    expect(checks.get('capture on any')).toMatchObject({ status: 'failed', remedy: 'see CAP_NET_RAW' });
    expect(checks.get('processes')!.status).toBe('warning');
    expect(checks.get('firewall')).toMatchObject({
      status: 'unknown',
      found: 'the rules cannot be read without CAP_NET_ADMIN',
    });
  });

  test('hidepid=2', (context) => {
    needsNobody(context);
    // A PID namespace of its own: before Linux 5.8 the option is that of all its mounts of proc.
    const script = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"';
    const hidden = ['unshare', '--mount', '--pid', '--fork', 'sh', '-c', script, 'sh'];
    const asRoot = examine(hidden);
    expect(asRoot.checks.get('hidepid')).toMatchObject({ status: 'ok' });
    expect(asRoot.checks.get('PID namespace')!.status).toBe('warning');
    expect(asRoot.status).toBe(0);
    const capable = [...AS_NOBODY, '--inh-caps=+net_raw', '--ambient-caps=+net_raw'];
    const { checks, status } = examine([...hidden, ...capable]);
    const { stdout } = lab.run(host, [...hidden, 'cat', '/proc/mounts']);
    const option = /^proc \/proc proc .*(hidepid=[^, ]+)/m.exec(
      stdout.split('\n').findLast((line) => line.includes(' /proc proc '))!,
    )![1];
    expect(checks.get('hidepid')).toMatchObject({ status: 'warning', found: `/proc is mounted with ${option}` });
    expect(status).toBe(0);
  });

  test('without ss, conntrack, nsenter and iptables', () => {
    const tools = ['ss', 'conntrack', 'nsenter', 'nft', 'iptables-save', 'iptables-nft-save', 'iptables-legacy-save'];
    const v6 = ['ip6tables-save', 'ip6tables-nft-save', 'ip6tables-legacy-save'];
    const { checks, status } = examine(withTools([...tools, ...v6], '/dev/null'));
    expect(checks.get('ss')).toMatchObject({ status: 'warning', found: 'not installed' });
    expect(checks.get('nsenter')).toMatchObject({ status: 'warning', found: 'not installed' });
    expect(checks.get('firewall')).toMatchObject({
      status: 'unknown',
      found: 'iptables-save is not installed; ip6tables-save is not installed; nft is not installed',
    });
    const hasFile = lab.run(host, ['test', '-r', '/proc/net/nf_conntrack'], { allowFailure: true }).status === 0;
    const isInKernel = existsSync('/proc/sys/net/netfilter/nf_conntrack_max');
    expect(checks.get('conntrack')!.status).toBe(hasFile || !isInKernel ? 'ok' : 'warning');
    expect(status).toBe(0);
  });

  test('tools that print escape sequences are not believed, and their output not repeated', () => {
    const garbage = program(`printf '\\033[2J*filter\\n\\033]0;x\\007 ok\\n'`);
    const { stdout, status } = text(withTools(['ss', 'nsenter', 'iptables-save', 'ip6tables-save'], garbage));
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    expect(stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
    expect(stdout).toMatch(
      /^warning +ss +\S+\/ss is there, but tells no options of a socket of this process within 2 s$/m,
    );
    expect(stdout).toMatch(/^warning +nsenter +\S+\/nsenter is there, but does not enter this network namespace/m);
    expect(stdout).toMatch(/^unknown +firewall .*the output of iptables-save is not understood/m);
    expect(status).toBe(0);
  });

  test('interrupted while a tool hangs: at once, and nothing is left', async () => {
    const pids = join(lab.temporary, 'pids');
    const hanging = withTools(['nsenter'], program(`echo $$ > ${pids}; exec sleep 60`));
    const run = lab.spawn(host, [...hanging, process.execPath, CLI, 'doctor']);
    await eventually(() => existsSync(pids) && readFileSync(pids, 'utf8') !== '');
    const tool = Number(readFileSync(pids, 'utf8'));
    expect(await run.stop('SIGTERM')).toEqual({ status: 1, signal: null });
    expect(run.stderr).toBe('udpicmp-watch: doctor: interrupted\n');
    await eventually(() => !existsSync(`/proc/${tool}`));
  });

  test('lo down', () => {
    lab.ip(host, 'link', 'set', 'lo', 'down');
    const { checks, status } = examine();
    expect(checks.get('lo')).toMatchObject({ status: 'warning', remedy: 'ip link set lo up' });
    for (const name of LOOPBACK) expect(checks.get(name)).toMatchObject({ status: 'failed', remedy: 'see lo' });
    expect(checks.get('capture on any')!.status).toBe('ok');
    expect(status).toBe(1);
  });

  test('IPv6 off', () => {
    lab.sysctl(host, { 'net.ipv6.conf.all.disable_ipv6': 1 });
    const { checks, status } = examine();
    expect(checks.get(LOOPBACK[1]!)).toMatchObject({ status: 'ok', found: 'not tried: lo has no IPv6 address' });
    expect(status).toBe(0);
  });

  test('errors are slow, and few', () => {
    lab.sysctl(host, { 'net.ipv4.icmp_ratelimit': 60_000, 'net.ipv4.icmp_ratemask': 1 << 11 });
    const { checks, status } = examine();
    const check = checks.get('net.ipv4.icmp_ratelimit')!;
    expect(check).toMatchObject({ status: 'warning', remedy: 'sysctl -w net.ipv4.icmp_ratelimit=1000' });
    expect(check.found).toContain('60000 ms ');
    expect(check.note).toContain('limited: time-exceeded;');
    expect(status).toBe(0);
  });

  describe('a firewall', () => {
    const HOSTILE = 'x"y\\z -j ACCEPT \x1b[31m';

    test.for([
      ['iptables', 'IPv4', 'icmp', LOOPBACK[0]!],
      ['ip6tables', 'IPv6', 'ipv6-icmp', LOOPBACK[1]!],
    ] as const)(
      '%s drops ICMP that comes in: it is captured and not heard of, until the remedy is applied',
      ([tool, version, protocol, trial], context) => {
        needsTools(context, tool, `${tool}-save`);
        lab.run(host, [tool, '-A', 'INPUT', '-p', protocol, '-m', 'comment', '--comment', HOSTILE, '-j', 'DROP']);
        const rule = lab.run(host, [tool, '-S', 'INPUT']).stdout.trimEnd().split('\n').at(-1)!;
        const { checks, status } = examine();
        const check = checks.get(`firewall ${version} in`)!;
        expect(check).toMatchObject({ status: 'warning', found: 'ICMP errors are dropped' });
        expect(check.items).toEqual([
          expect.stringContaining(`${tool} -t filter ${rule}   (drops all that UDP hears of)`),
        ]);
        expect(checks.get(`firewall ${version} out`)!.status).toBe('ok');
        expect(checks.get(trial)).toMatchObject({ status: 'warning', trial: { isNamed: true, heard: null } });
        expect(status).toBe(0);
        const { stdout } = text();
        expect(stdout).toContain('\\x1b[31m');
        expect(stdout).not.toContain('\x1b');

        lab.run(host, check.remedy!.split(' '));
        const mended = examine().checks;
        expect(mended.get(`firewall ${version} in`)!.status).toBe('ok');
        expect(mended.get(trial)).toMatchObject({ status: 'ok', trial: { heard: 'ECONNREFUSED' } });
      },
    );

    test('drops ICMP that goes out: there is nothing to capture, until the remedy is applied', (context) => {
      needsTools(context, 'iptables', 'iptables-save');
      lab.run(host, ['iptables', '-A', 'OUTPUT', '-p', 'icmp', '-j', 'DROP']);
      const { checks, status } = examine();
      const check = checks.get('firewall IPv4 out')!;
      const [rule] = lab.run(host, ['iptables', '-S', 'OUTPUT']).stdout.split('\n').slice(1);
      expect(check.items).toEqual([expect.stringContaining(rule!)]);
      expect(checks.get(LOOPBACK[0]!)).toMatchObject({ status: 'failed', trial: { latencyMs: null, isNamed: false } });
      expect(checks.get(LOOPBACK[0]!)!.found).toMatch(/counted 1 of its type sent meanwhile, and 0 received/);
      expect(checks.get(LOOPBACK[1]!)!.status).toBe('ok');
      expect(status).toBe(1);

      lab.run(host, check.remedy!.split(' '));
      const mended = examine();
      expect(mended.checks.get('firewall IPv4 out')!.status).toBe('ok');
      expect(mended.status).toBe(0);
    });

    test('a policy of DROP, with and without a rule for RELATED', (context) => {
      needsTools(context, 'iptables', 'iptables-save');
      lab.run(host, ['iptables', '-A', 'INPUT', '-i', 'lo', '-j', 'ACCEPT']);
      lab.run(host, ['iptables', '-P', 'INPUT', 'DROP']);
      const before = examine().checks;
      expect(before.get('firewall IPv4 in')).toMatchObject({ status: 'warning', found: 'ICMP errors may be dropped' });
      expect(before.get('firewall IPv4 in')!.items).toEqual([
        expect.stringMatching(/^iptables -t filter -P INPUT DROP {3}\(may drop all that UDP hears of: /),
      ]);
      expect(before.get(LOOPBACK[0]!)!.status).toBe('ok');
      lab.run(host, ['iptables', '-A', 'INPUT', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT']);
      expect(examine().checks.get('firewall IPv4 in')!.status).toBe('ok');
    });

    test('drops before conntrack: a rule by state would not mend it, one by type does', (context) => {
      needsTools(context, 'iptables', 'iptables-save');
      const raw = ['iptables', '-t', 'raw'];
      lab.run(host, [...raw, '-A', 'PREROUTING', '-p', 'icmp', '-j', 'DROP']);
      const accept = ['-j', 'ACCEPT'];
      lab.run(host, ['iptables', '-I', 'INPUT', '-m', 'conntrack', '--ctstate', 'RELATED', ...accept]);
      const check = examine().checks.get('firewall IPv4 in')!;
      expect(check).toMatchObject({
        status: 'warning',
        remedy: expect.stringMatching(/^accept those types .* raw table/),
      });
      for (const type of ['3', '4', '5', '11', '12']) {
        lab.run(host, [...raw, '-I', 'PREROUTING', '-p', 'icmp', '--icmp-type', type, ...accept]);
      }
      const mended = examine().checks;
      expect(mended.get('firewall IPv4 in')!.status).toBe('ok');
      expect(mended.get(LOOPBACK[0]!)!.status).toBe('ok');
    });

    test('drops UDP that goes out', (context) => {
      needsTools(context, 'iptables');
      lab.run(host, ['iptables', '-A', 'OUTPUT', '-p', 'udp', '-j', 'DROP']);
      const { checks, status } = examine();
      expect(checks.get(LOOPBACK[0]!)).toMatchObject({ status: 'failed', remedy: 'see firewall' });
      expect(checks.get(LOOPBACK[0]!)!.found).toMatch(/^not sent: .*EPERM/);
      expect(status).toBe(1);
    });
  });

  test('cap is missing', () => {
    // What others may put into a directory above, or is in the home directory, is not taken for it.
    for (const packages of ['node_modules', '.node_modules']) {
      mkdirSync(join(lab.temporary, packages, 'cap'), { recursive: true });
      writeFileSync(join(lab.temporary, packages, 'cap/index.js'), 'throw new Error("foreign");\n');
    }
    const atHome = ['env', `HOME=${lab.temporary}`];
    const { checks, status } = examine(atHome, join(withoutCap(), 'dist/cli.js'));
    expect(checks.get('cap')).toMatchObject({ status: 'failed', found: "cannot be loaded: Cannot find module 'cap'" });
    expect(checks.get('cap')!.remedy).toContain('node native-notes/build-cap.mjs');
    expect(checks.has('libpcap')).toBe(false);
    expect(checks.get('capture on any')!.status).toBe('failed');
    expect(status).toBe(1);
  });

  test('cap as it is delivered', () => {
    const project = withoutCap();
    const cap = join(project, 'node_modules/cap');
    cpSync(join(PROJECT, 'node_modules/cap'), cap, { recursive: true });
    rmSync(join(cap, 'build'), { recursive: true });
    for (const name of ['nan', 'readable-stream']) {
      const source = join(PROJECT, 'node_modules', name);
      if (existsSync(source)) symlinkSync(source, join(project, 'node_modules', name));
    }
    const npm = realpathSync(lab.run(null, ['sh', '-c', 'command -v npm']).stdout.trim());
    const prefix = dirname(dirname(process.execPath));
    const nodeDir = existsSync(join(prefix, 'include/node/node.h')) ? [`--nodedir=${prefix}`] : [];
    const gyp = join(dirname(npm), '../node_modules/node-gyp/bin/node-gyp.js');
    lab.run(null, [process.execPath, gyp, 'rebuild', ...nodeDir], { cwd: cap, timeout: 120_000 });

    const { checks, status } = examine([], join(project, 'dist/cli.js'));
    expect(checks.get('cap')).toMatchObject({ status: 'warning', found: '0.2.1, not patched' });
    expect(checks.get('libpcap')!.status).toBe('unknown');
    // From libpcap 1.10.5 on it cannot capture on any.
    const opens = checks.get('capture on any')!.status === 'ok';
    const version = /libpcap version (\d+)\.(\d+)\.(\d+)/.exec(
      lab.run(null, ['tcpdump', '--version'], { allowFailure: true }).stdout,
    )!;
    const [major, minor, patch] = version.slice(1).map(Number) as [number, number, number];
    expect(opens).toBe(major === 1 && (minor < 10 || (minor === 10 && patch < 5)));
    expect(status).toBe(opens ? 0 : 1);
    if (opens) expect(checks.get(LOOPBACK[0]!)).toMatchObject({ status: 'ok', trial: { isNamed: true } });
  });
});
