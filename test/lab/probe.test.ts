/**
 * `probe` beside `nc -vzu`: what each says, and what the kernel did. One router between the client and the server.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import schema from '../../src/probe.schema.json' with { type: 'json' };
import { CLI } from '../command.ts';
import { canRunLab, eventually, Lab, PYTHON, type LabProcess, type Namespace } from './network.ts';
import { captureProcess, isAlive } from './watch.ts';

/** A line of `probe --json`. */
interface JsonFinding {
  target: { name?: string; address: string; port: number };
  local: string | null;
  verdict: string;
  errno?: string | null;
  icmp?: { version: number; type: number; code: number; name: string; src: string } | null;
  nat?: { address: string; port: number };
  sent: number;
  afterMs?: number;
  octets?: number;
  note?: string;
}

interface Net {
  client: string;
  /** The router's address on the client's side. */
  router: string;
  server: string;
  /** Addresses that nobody has: on the client's link, and on the server's. */
  absentHere: string;
  absentThere: string;
  /** A network that there is no route to, unless one is made. */
  elsewhere: string;
}

const NETS: Record<4 | 6, Net> = {
  4: {
    client: '10.0.0.2',
    router: '10.0.0.1',
    server: '192.0.2.20',
    absentHere: '10.0.0.9',
    absentThere: '192.0.2.99',
    elsewhere: '198.51.100.1',
  },
  6: {
    client: '2001:db8:1::2',
    router: '2001:db8:1::1',
    server: '2001:db8:2::20',
    absentHere: '2001:db8:1::9',
    absentThere: '2001:db8:2::99',
    elsewhere: '2001:db8:9::1',
  },
};

const ICMP = {
  4: { refused: [3, 3, 'port-unreachable'], noHost: [3, 1, 'host-unreachable'] },
  6: { refused: [1, 4, 'port-unreachable'], noHost: [1, 3, 'address-unreachable'] },
} as const;

/** Nobody listens. */
const CLOSED = 9999;
const DROPPED = 9998;
/** The router rejects it. */
const REJECTED_ON_THE_WAY = 9997;
/** The client's own firewall. */
const OWN_DROP = 9996;
const OWN_REJECT = 9995;
const OPEN = 9994;

/** iptables' --reject-with, and what it sends, each for a port from FIRST_REJECT on. */
const REJECTS: Record<4 | 6, [string, type: number, code: number, isFirewall: boolean][]> = {
  4: [
    ['icmp-port-unreachable', 3, 3, false],
    ['icmp-net-unreachable', 3, 0, false],
    ['icmp-host-unreachable', 3, 1, false],
    ['icmp-proto-unreachable', 3, 2, false],
    ['icmp-net-prohibited', 3, 9, true],
    ['icmp-host-prohibited', 3, 10, true],
    ['icmp-admin-prohibited', 3, 13, true],
  ],
  6: [
    ['icmp6-port-unreachable', 1, 4, false],
    ['icmp6-no-route', 1, 0, false],
    ['icmp6-adm-prohibited', 1, 1, true],
    ['icmp6-addr-unreachable', 1, 3, false],
    ['icmp6-policy-fail', 1, 5, true],
    ['icmp6-reject-route', 1, 6, true],
  ],
};
const FIRST_REJECT = 10_000;

const reason = canRunLab(['iptables', 'ip6tables', 'nc', 'setpriv']);

if (reason !== null) console.warn(`SKIPPED: probe: ${reason}`);

describe.skipIf(reason !== null)('probe', () => {
  let lab: Lab;
  let client: Namespace;
  let router: Namespace;
  let server: Namespace;
  let validate: ValidateFunction;

  beforeAll(async () => {
    const ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
    addFormats.default(ajv, ['ipv4', 'ipv6']);
    validate = ajv.compile(schema);

    lab = new Lab();
    client = lab.namespace('client');
    router = lab.namespace('router');
    server = lab.namespace('server');
    lab.link(client, ['10.0.0.2/24', '2001:db8:1::2/64'], router, ['10.0.0.1/24', '2001:db8:1::1/64']);
    lab.link(router, ['192.0.2.1/24', '2001:db8:2::1/64'], server, ['192.0.2.20/24', '2001:db8:2::20/64']);
    lab.router(router);
    for (const net of ['192.0.2.0/24', '2001:db8:2::/64']) {
      lab.ip(client, 'route', 'add', net, 'via', net.includes(':') ? NETS[6].router : NETS[4].router);
    }
    lab.ip(server, 'route', 'add', '10.0.0.0/24', 'via', '192.0.2.1');
    lab.ip(server, 'route', 'add', '2001:db8:1::/64', 'via', '2001:db8:2::1');
    // nc hears of its error whatever came before. The limits have a test of their own.
    for (const ns of [router, server]) lab.sysctl(ns, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });

    for (const family of [4, 6] as const) {
      rule(server, family, 'INPUT', DROPPED, 'DROP');
      rule(router, family, 'FORWARD', REJECTED_ON_THE_WAY, 'REJECT');
      rule(client, family, 'OUTPUT', OWN_DROP, 'DROP');
      rule(client, family, 'OUTPUT', OWN_REJECT, 'REJECT');
      REJECTS[family].forEach(([what], n) =>
        rule(server, family, 'INPUT', FIRST_REJECT + n, 'REJECT', '--reject-with', what),
      );
      await lab.udpEcho(server, NETS[family].server, OPEN);
    }
  });
  afterAll(() => lab.close());

  function rule(ns: Namespace, family: 4 | 6, chain: string, port: number, ...target: string[]): void {
    const match = ['-p', 'udp', '--dport', String(port), '-j', ...target];
    lab.run(ns, [family === 4 ? 'iptables' : 'ip6tables', '-w', '-A', chain, ...match]);
  }

  function start(args: readonly string[], ns = client): LabProcess {
    return lab.spawn(ns, [process.execPath, CLI, 'probe', ...args]);
  }

  interface Finished {
    findings: JsonFinding[];
    stderr: string;
    status: number | null;
  }

  /** Each line by the schema. */
  async function finished(probing: LabProcess): Promise<Finished> {
    const { status } = await probing.exited;
    const findings = probing.json<JsonFinding & { host: string; event: string }>();
    for (const finding of findings) {
      if (!validate(finding)) expect.fail(`${JSON.stringify(validate.errors)}\n${JSON.stringify(finding)}`);
      expect(finding).toMatchObject({ v: 1, event: 'probe', host: hostname() });
    }
    return { findings, stderr: probing.stderr, status };
  }

  async function probe(...args: string[]): Promise<Finished> {
    return finished(start(['--json', ...args]));
  }

  /** The only finding; and nothing on standard error. */
  async function find(...args: string[]): Promise<JsonFinding & { status: number | null }> {
    const { findings, stderr, status } = await probe(...args);
    expect([findings.length, stderr]).toEqual([1, '']);
    return { ...findings[0]!, status };
  }

  /** What `nc -vzu` claims. */
  async function netcat(
    host: string,
    port: number,
  ): Promise<{ saysSucceeded: boolean; status: number | null; text: string }> {
    const nc = lab.spawn(client, ['nc', '-vzu', '-w', '2', host, String(port)]);
    const { status } = await nc.exited;
    const text = nc.stdout + nc.stderr;
    return { saysSucceeded: /succeeded!/.test(text), status, text };
  }

  /** The errno that a connected socket hears, by the kernel's own word. */
  async function soError(host: string, port: number): Promise<string | null> {
    const udp = await lab.udpClient(client, { dst: host, dport: port, interactive: true });
    await udp.ask('send');
    let errno: string | null = null;
    // Of those that are not fatal nothing ever comes.
    await eventually(async () => (errno = (await udp.ask('soerror')).errno ?? null), 500).catch(() => null);
    await udp.ask('quit');
    return errno;
  }

  const icmpOf = ({ icmp }: JsonFinding): unknown[] => [icmp?.type, icmp?.code, icmp?.name];

  describe.each([4, 6] as const)('IPv%i, beside nc', (family) => {
    const net = NETS[family];
    const icmp = ICMP[family];

    test('the server is gone: refused; nc says nothing and fails', async () => {
      const [ours, theirs] = await Promise.all([find(net.server, String(CLOSED)), netcat(net.server, CLOSED)]);
      expect(ours).toMatchObject({
        target: { address: net.server, port: CLOSED },
        verdict: 'refused',
        errno: 'ECONNREFUSED',
        icmp: { version: family, src: net.server },
        sent: 1,
        status: 1,
      });
      expect(icmpOf(ours)).toEqual(icmp.refused);
      expect(ours).not.toHaveProperty('note');
      expect(ours.local).toMatch(family === 4 ? /^10\.0\.0\.2:\d+$/ : /^\[2001:db8:1::2\]:\d+$/);
      expect(theirs).toEqual({ saysSucceeded: false, status: 1, text: '' });
    });

    test('the server is there: answered; nc says succeeded', async () => {
      const [ours, theirs] = await Promise.all([find(net.server, String(OPEN)), netcat(net.server, OPEN)]);
      expect(ours).toMatchObject({ verdict: 'answered', octets: 0, sent: 1, status: 0 });
      for (const absent of ['icmp', 'errno', 'note']) expect(ours).not.toHaveProperty(absent);
      expect(theirs).toMatchObject({ saysSucceeded: true, status: 0 });
      const payload = await find('--payload', 'hex:00ff1b5b324a', net.server, String(OPEN));
      expect(payload).toMatchObject({ verdict: 'answered', octets: 6 });
    });

    test('the address does not answer: this host itself says so, after its three tries; nc says succeeded', async () => {
      lab.ip(client, 'neighbour', 'flush', 'all');
      const [ours, theirs] = await Promise.all([find(net.absentHere, String(CLOSED)), netcat(net.absentHere, CLOSED)]);
      expect(ours).toMatchObject({
        verdict: 'unreachable',
        errno: 'EHOSTUNREACH',
        icmp: { src: net.client },
        status: 1,
      });
      expect(icmpOf(ours)).toEqual(icmp.noHost);
      expect(ours.note).toMatch(
        family === 4 ? /^this host itself: no answer to ARP/ : /^this host itself: no answer to neighbour/,
      );
      expect(ours.note).toMatch(/a connected socket is not told/);
      expect(theirs).toMatchObject({ saysSucceeded: true, status: 0 });
    });

    test('an address behind a router does not answer: the router says so; nc says succeeded', async () => {
      const [ours, theirs] = await Promise.all([
        find(net.absentThere, String(CLOSED)),
        netcat(net.absentThere, CLOSED),
      ]);
      expect(ours).toMatchObject({
        verdict: 'unreachable',
        errno: 'EHOSTUNREACH',
        icmp: { src: net.router },
        sent: 3,
        status: 1,
      });
      expect(icmpOf(ours)).toEqual(icmp.noHost);
      expect(ours.note).not.toMatch(/this host itself/);
      expect(theirs).toMatchObject({ saysSucceeded: true, status: 0 });
    });

    test('a firewall drops: silent, whatever is waited; nc says succeeded', async () => {
      const [ours, theirs] = await Promise.all([find(net.server, String(DROPPED)), netcat(net.server, DROPPED)]);
      expect(ours).toMatchObject({ verdict: 'silent', sent: 3, status: 3 });
      expect(ours.note).toMatch(/open, filtered, dropped, or its ICMP is rate-limited/);
      for (const absent of ['icmp', 'errno']) expect(ours).not.toHaveProperty(absent);
      expect(theirs).toMatchObject({ saysSucceeded: true, status: 0 });
    });

    test('a firewall rejects: the code, the errno that the kernel makes of it, and who said it', async () => {
      const rejects = REJECTS[family].map(([what, type, code, isFirewall], n) => {
        return { what, type, code, isFirewall, port: FIRST_REJECT + n };
      });
      const range = `${FIRST_REJECT}-${FIRST_REJECT + rejects.length - 1}`;
      const [{ findings, status }, theirs, told] = await Promise.all([
        probe('--count', '1', '--timeout', '1', net.server, range),
        Promise.all(rejects.map(({ port }) => netcat(net.server, port))),
        Promise.all(rejects.map(({ port }) => soError(net.server, port))),
      ]);
      expect(status).toBe(1);
      expect(findings.map(({ target }) => target.port)).toEqual(rejects.map(({ port }) => port));
      for (const [n, { what, type, code, isFirewall }] of rejects.entries()) {
        const finding = findings[n]!;
        expect([what, finding.verdict, finding.icmp?.type, finding.icmp?.code, finding.icmp?.src]).toEqual([
          what,
          told[n] === 'ECONNREFUSED' ? 'refused' : 'unreachable',
          type,
          code,
          net.server,
        ]);
        // What the kernel told a socket is what it is called; what it told none is said to be told to none.
        if (told[n] !== null) expect([what, finding.errno]).toEqual([what, told[n]]);
        expect([what, /not fatal: a connected socket is not told/.test(finding.note ?? '')]).toEqual([
          what,
          told[n] === null,
        ]);
        expect([what, /a firewall or a routing policy/.test(finding.note ?? '')]).toEqual([what, isFirewall]);
        // nc knows of ECONNREFUSED alone.
        expect([what, theirs[n]!.saysSucceeded]).toEqual([what, told[n] !== 'ECONNREFUSED']);
      }
    });

    test('a router rejects for the server: refused, and not by the server itself', async () => {
      const ours = await find(net.server, String(REJECTED_ON_THE_WAY));
      expect(ours).toMatchObject({ verdict: 'refused', errno: 'ECONNREFUSED', icmp: { src: net.router }, status: 1 });
      expect(ours.note).toMatch(/not said by the target itself/);
    });

    test.each([
      ['DROP', OWN_DROP],
      ['REJECT', OWN_REJECT],
    ])('the firewall of this host, %s: the datagram does not leave', async (_target, port) => {
      const [ours, theirs] = await Promise.all([find(net.server, String(port)), netcat(net.server, port)]);
      expect(ours).toMatchObject({ verdict: 'local-error', errno: 'EPERM', sent: 0, status: 1 });
      expect(ours.note).toBe('a firewall rule of this host');
      expect(ours).not.toHaveProperty('afterMs');
      expect(theirs).toEqual({ saysSucceeded: false, status: 1, text: '' });
    });

    test.each([
      [null, 'ENETUNREACH', /no route/],
      ['unreachable', 'EHOSTUNREACH', /unreachable/],
      ['prohibit', 'EACCES', /prohibits/],
      ['blackhole', 'EINVAL', /blackhole/],
    ])('a route of this host, %s: the datagram does not leave', async (kind, errno, note) => {
      const { elsewhere } = net;
      if (kind !== null) lab.ip(client, 'route', 'add', kind, elsewhere);
      const [ours, theirs] = await Promise.all([find(elsewhere, String(CLOSED)), netcat(elsewhere, CLOSED)]);
      if (kind !== null) lab.ip(client, 'route', 'del', kind, elsewhere);
      expect(ours).toMatchObject({ verdict: 'local-error', errno, local: null, sent: 0, status: 1 });
      expect(ours.note).toMatch(note);
      expect(theirs).toMatchObject({ saysSucceeded: false, status: 1 });
    });

    test('NAT of this host: where the datagram went', async () => {
      const iptables = [family === 4 ? 'iptables' : 'ip6tables', '-w', '-t', 'nat'];
      const to = family === 4 ? `${net.server}:8053` : `[${net.server}]:8053`;
      const match = ['-d', net.absentThere, '-p', 'udp', '--dport', '53', '-j', 'DNAT', '--to-destination', to];
      lab.run(client, [...iptables, '-A', 'OUTPUT', ...match]);
      const ours = await find(net.absentThere, '53');
      lab.run(client, [...iptables, '-F', 'OUTPUT']);
      expect(ours).toMatchObject({
        target: { address: net.absentThere, port: 53 },
        verdict: 'refused',
        icmp: { src: net.server },
        nat: { address: net.server, port: 8053 },
      });
      expect(ours.note).toBe(`NAT: sent to ${to}`);
    });

    test('NAT of this host: another source address', async () => {
      const other = family === 4 ? '10.0.0.77' : '2001:db8:1::77';
      const iptables = [family === 4 ? 'iptables' : 'ip6tables', '-w', '-t', 'nat'];
      const prefix = `${other}/${family === 4 ? 24 : 64}`;
      // Not one that the socket would take by itself.
      lab.ip(client, 'address', 'add', prefix, 'dev', 'eth0', 'preferred_lft', '0');
      lab.run(client, [
        ...iptables,
        '-A',
        'POSTROUTING',
        '-p',
        'udp',
        '--dport',
        '8055',
        '-j',
        'SNAT',
        '--to-source',
        other,
      ]);
      const ours = await find(net.server, '8055');
      lab.run(client, [...iptables, '-F', 'POSTROUTING']);
      lab.ip(client, 'address', 'del', prefix, 'dev', 'eth0');
      expect(ours).toMatchObject({ verdict: 'refused', icmp: { src: net.server }, note: `NAT: sent from ${other}` });
    });

    test('the firewall of this host drops the ICMP: it is seen, and that the socket is not told', async () => {
      const [iptables, protocol] = family === 4 ? ['iptables', 'icmp'] : ['ip6tables', 'icmpv6'];
      const what = ['-s', net.server, '-p', protocol, `--${protocol}-type`, 'port-unreachable', '-j', 'DROP'];
      lab.run(client, [iptables, '-w', '-A', 'INPUT', ...what]);
      const ours = await find(net.server, String(CLOSED));
      lab.run(client, [iptables, '-w', '-D', 'INPUT', ...what]);
      expect(ours).toMatchObject({ verdict: 'refused', icmp: { src: net.server }, sent: 1, status: 1 });
      expect(ours.note).toMatch(/the socket was not told/);
    });

    test.each([
      ['dns', 53],
      ['ntp', 123],
    ])('a server that answers nothing but %s', async (mode, port) => {
      const peer = lab.spawn(server, [
        PYTHON,
        join(import.meta.dirname, 'probe_peer.py'),
        mode,
        net.server,
        String(port),
      ]);
      await peer.waitFor(/ready/);
      const asked = await find(net.server, String(port));
      expect(asked).toMatchObject({ verdict: 'answered', octets: mode === 'dns' ? 36 : 48, sent: 1, status: 0 });
      expect(peer.stdout).not.toMatch(/wrong/);
      const other = await find('--payload', 'hex:00', '--count', '1', '--timeout', '0.3', net.server, String(port));
      expect(other).toMatchObject({ verdict: 'silent', status: 3 });
      await peer.stop('SIGKILL');
    });

    describe('an error that is not fatal', () => {
      async function heldProbe(port: number): Promise<{ probing: LabProcess; peer: LabProcess; inject: () => void }> {
        const peer = lab.spawn(server, [
          PYTHON,
          join(import.meta.dirname, 'probe_peer.py'),
          'hold',
          net.server,
          String(port),
        ]);
        await peer.waitFor(/ready/);
        const probing = start(['--json', '--count', '1', '--timeout', '2', net.server, String(port)]);
        const [, sport] = await peer.waitFor(/port (\d+)/);
        const quoted = { src: net.client, sport: Number(sport), dst: net.server, dport: port };
        const type = family === 4 ? 11 : 3;
        return {
          probing,
          peer,
          inject: () => lab.inject(router, { src: net.router, dst: net.client, type, code: 0, quoted }),
        };
      }

      test('is the verdict if nothing else comes', async () => {
        const { probing, peer, inject } = await heldProbe(8060);
        inject();
        const { findings, status } = await finished(probing);
        expect(findings).toMatchObject([
          { verdict: 'unreachable', errno: 'EHOSTUNREACH', icmp: { type: family === 4 ? 11 : 3, src: net.router } },
        ]);
        expect(status).toBe(1);
        await peer.stop('SIGKILL');
      });

      test('and an answer that comes later wins', async () => {
        const { probing, peer, inject } = await heldProbe(8061);
        inject();
        peer.write('answer\n');
        const { findings, status } = await finished(probing);
        expect(findings).toMatchObject([{ verdict: 'answered', octets: 4 }]);
        expect(status).toBe(0);
        await peer.stop('SIGKILL');
      });
    });

    test('the firewall of this host, in the middle: the second datagram does not leave', async () => {
      const port = 8062;
      const peer = lab.spawn(server, [
        PYTHON,
        join(import.meta.dirname, 'probe_peer.py'),
        'hold',
        net.server,
        String(port),
      ]);
      await peer.waitFor(/ready/);
      const probing = start(['--json', net.server, String(port)]);
      await peer.waitFor(/port \d+/);
      rule(client, family, 'OUTPUT', port, 'DROP');
      const { findings } = await finished(probing);
      expect(findings).toMatchObject([{ verdict: 'local-error', errno: 'EPERM', sent: 1 }]);
      await peer.stop('SIGKILL');
    });

    test('too big for the path: sent again in fragments, and the verdict is the server’s', async () => {
      // Another network behind the server, with a narrow link before it.
      const far = family === 4 ? '203.0.113.1' : '2001:db8:3::1';
      lab.address(server, 'lo', `${far}/${family === 4 ? 32 : 128}`);
      lab.ip(client, 'route', 'add', far, 'via', net.router);
      lab.ip(router, 'route', 'add', far, 'via', net.server, 'mtu', 'lock', '1300');
      const ours = await find('--payload', `hex:${'00'.repeat(1400)}`, far, String(CLOSED));
      lab.ip(router, 'route', 'del', far);
      lab.ip(client, 'route', 'del', far);
      expect(ours).toMatchObject({ verdict: 'refused', icmp: { src: far }, sent: 2 });
      expect(ours.note).toBe('too big for the path, whose MTU is 1300: sent again in fragments');
    });

    test('without privileges: what the socket hears, and what cannot be seen is said', async (context) => {
      const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];
      const options = { allowFailure: true, cwd: '/' };
      if (lab.run(null, [...asNobody, process.execPath, CLI, '--version'], options).status !== 0) {
        skip(context, `nobody may not read ${CLI}`);
      }
      const asked = (...args: string[]): Promise<Finished> =>
        finished(lab.spawn(client, [...asNobody, process.execPath, CLI, 'probe', '--json', ...args], { cwd: '/' }));
      const refused = await asked(net.server, String(CLOSED));
      expect(refused.findings).toMatchObject([{ verdict: 'refused', errno: 'ECONNREFUSED', icmp: null, sent: 1 }]);
      expect(refused.findings[0]!.note).toBe('the ICMP was not captured: who said it is not seen');
      expect(refused.status).toBe(1);
      expect(refused.stderr).toMatch(
        /^udpicmp-watch: probe: the ICMP cannot be captured \([^\n]*\): [^\n]*look silent\n$/,
      );
      const prohibited = await asked(net.server, String(FIRST_REJECT + REJECTS[family].findIndex(([, , , is]) => is)));
      expect(prohibited.findings).toMatchObject([
        { verdict: 'unreachable', errno: family === 4 ? 'ENETUNREACH' : 'EACCES', icmp: null },
      ]);
      const answered = await asked(net.server, String(OPEN));
      expect(answered).toMatchObject({ findings: [{ verdict: 'answered' }], status: 0 });
      const absent = await asked(net.absentHere, String(CLOSED));
      expect(absent).toMatchObject({ findings: [{ verdict: 'silent', icmp: null }], status: 3 });
      expect(absent.findings[0]!.note).toMatch(/host unreachable looks like this too/);
    });
  });

  test('a link-local address, with its interface', async () => {
    const addresses = lab.ip(router, '-o', '-6', 'address', 'show', 'dev', 'eth0', 'scope', 'link');
    const linkLocal = /fe80:[0-9a-f:]+/.exec(addresses)![0];
    const target = `${linkLocal}%eth0`;
    const ours = await find(target, String(CLOSED));
    expect(ours).toMatchObject({ target: { address: target }, verdict: 'refused', icmp: { src: linkLocal } });
    expect(ours).not.toHaveProperty('note');
    expect(await find(linkLocal, String(CLOSED))).toMatchObject({ verdict: 'local-error', errno: 'EINVAL' });
  });

  test('the worst verdict gives the status; as text, in the order of the ports', async () => {
    const args = ['--count', '1', '--timeout', '0.5', NETS[4].server];
    const asText = start([...args, String(DROPPED), String(OPEN), String(CLOSED), String(OWN_DROP)]);
    expect(await asText.exited).toMatchObject({ status: 1 });
    expect(asText.stderr).toBe('');
    expect(asText.stdout).toMatch(
      new RegExp(
        `^192\\.0\\.2\\.20:${DROPPED} silent: no answer to 1 datagram in \\d+\\.\\d ms; open, filtered, [^\\n]*\\n` +
          `192\\.0\\.2\\.20:${OPEN} answered: 0 octets after \\d+\\.\\d ms\\n` +
          `192\\.0\\.2\\.20:${CLOSED} refused: ECONNREFUSED, port unreachable \\(type 3 code 3\\) from 192\\.0\\.2\\.20 after \\d+\\.\\d ms\\n` +
          `192\\.0\\.2\\.20:${OWN_DROP} local-error: EPERM, the datagram did not leave; a firewall rule of this host\\n$`,
      ),
    );
    expect((await probe(...args, String(OPEN), String(DROPPED))).status).toBe(3);
  });

  test('more closed ports than a peer answers in one go: all are refused', async () => {
    const own = lab.namespace('own');
    const limited = lab.namespace('limited');
    lab.link(own, ['198.51.100.2/24', '198.51.100.3/24', '2001:db8:4::2/64'], limited, [
      '198.51.100.20/24',
      '2001:db8:4::20/64',
    ]);
    expect(lab.run(limited, ['cat', '/proc/sys/net/ipv4/icmp_ratelimit']).stdout).toBe('1000\n');
    // What it was for long; newer kernels begin with less.
    lab.sysctl(limited, { 'net.ipv6.icmp.ratelimit': 1000 });

    // All at once, from another address, which has a budget of its own: the limit is at work.
    const burst =
      'import socket, time\n' +
      'sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(14)]\n' +
      'for n, s in enumerate(sockets):\n' +
      '    s.bind(("198.51.100.3", 0)); s.connect(("198.51.100.20", 8001 + n)); s.send(b"")\n' +
      'time.sleep(0.3)\n' +
      'print(sum(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 for s in sockets))';
    expect(Number(lab.run(own, [PYTHON, '-c', burst]).stdout)).toBeLessThan(14);

    const both = ['198.51.100.20', '2001:db8:4::20'].map((address) => start(['--json', address, '8001-8014'], own));
    for (const probing of both) {
      const { findings, status, stderr } = await finished(probing);
      expect(stderr).toBe('');
      expect(findings.map(({ verdict, target, sent }) => [verdict, target.port, sent])).toEqual(
        Array.from({ length: 14 }, (_, n) => ['refused', 8001 + n, 1]),
      );
      expect(status).toBe(1);
    }
  });

  describe('names', () => {
    beforeAll(() => {
      // `ip netns exec` puts it in the place of /etc/hosts.
      mkdirSync(`/etc/netns/${client}`, { recursive: true });
      writeFileSync(
        `/etc/netns/${client}/hosts`,
        `127.0.0.1 localhost\n${NETS[4].server} both.example\n${NETS[6].server} both.example six.example\n`,
      );
    });
    afterAll(() => rmSync(`/etc/netns/${client}`, { recursive: true }));

    test.each<[string[], string]>([
      [['-4'], NETS[4].server],
      [['-6'], NETS[6].server],
    ])('%j', async (options, address) => {
      const ours = await find(...options, 'both.example', String(CLOSED));
      expect(ours).toMatchObject({ target: { name: 'both.example', address, port: CLOSED }, verdict: 'refused' });
    });

    test('the first address of the system’s resolver', async () => {
      const script =
        'import socket, sys; print(socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)[0][4][0])';
      for (const name of ['both.example', 'six.example']) {
        const first = lab.run(client, [PYTHON, '-c', script, name]).stdout.trim();
        expect((await find(name, String(CLOSED))).target).toEqual({ name, address: first, port: CLOSED });
      }
    });

    test('in text it stands behind the address', async () => {
      const asText = start(['six.example', String(CLOSED)]);
      await asText.exited;
      expect(asText.stdout).toMatch(/^\[2001:db8:2::20\]:9999 \(six\.example\) refused: /);
    });

    test('one that has no address of that kind', async () => {
      const { findings, stderr, status } = await probe('-4', 'six.example', String(CLOSED));
      expect(stderr).toMatch(/^udpicmp-watch: probe: six\.example cannot be resolved: [^\n]+\n$/);
      expect([findings, status]).toEqual([[], 1]);
    });
  });

  describe('told to end', () => {
    const ports = [String(CLOSED), String(DROPPED), String(OPEN)];

    test.each(['SIGINT', 'SIGTERM'] as const)(
      '%s: nothing is said of what is not finished, and nothing is left',
      async (signal) => {
        const probing = start(['--json', '--timeout', '60', NETS[4].server, ...ports]);
        await probing.until(({ lines }) => lines.length === 1);
        const capture = captureProcess(probing)!;
        expect(isAlive(capture)).toBe(true);
        probing.signal(signal);
        const { findings, stderr, status } = await finished(probing);
        expect(findings.map(({ verdict }) => verdict)).toEqual(['refused']);
        expect([stderr, status]).toEqual(['udpicmp-watch: probe: interrupted\n', 1]);
        expect(isAlive(capture)).toBe(false);
      },
    );

    test('SIGKILL: the capture process ends too', async () => {
      const probing = start(['--json', '--timeout', '60', NETS[4].server, ...ports]);
      await probing.until(({ lines }) => lines.length === 1);
      const capture = captureProcess(probing)!;
      probing.signal('SIGKILL');
      await probing.exited;
      await eventually(() => !isAlive(capture));
    });

    test('the capture process dies: it is said, and started again', async () => {
      const probing = start(['--json', NETS[4].server, String(DROPPED)]);
      const capture = (await eventually(() => captureProcess(probing)))!;
      // A datagram has left, so the capture is open.
      await eventually(() => /:270E /.test(lab.run(client, ['cat', '/proc/net/udp']).stdout));
      process.kill(capture, 'SIGKILL');
      const { findings, stderr } = await finished(probing);
      expect(findings).toMatchObject([{ verdict: 'silent' }]);
      expect(stderr).toMatch(
        /^udpicmp-watch: probe: the capture process ended \(SIGKILL\), and captures again; ICMP errors may [^\n]*\n$/,
      );
    });
  });

  test('a finished probe leaves no process', async () => {
    await find(NETS[4].server, String(CLOSED));
    const left = lab.run(null, ['ip', 'netns', 'pids', client]).stdout.split('\n').filter(Boolean);
    expect(left.filter((pid) => isCapture(lab, pid))).toEqual([]);
  });
});

function isCapture(lab: Lab, pid: string): boolean {
  return lab.run(null, ['cat', `/proc/${pid}/cmdline`], { allowFailure: true }).stdout.includes('capture-child');
}

function skip(context: TestContext, why: string): never {
  console.warn(`SKIPPED: ${context.task.name}: ${why}`);
  context.skip(why);
}
