/**
 * Records fixtures/: lets real failures happen in namespaces while tcpdump looks on, and checks that each
 * savefile holds what its name says. Also writes fixtures/README.md, from what stands here.
 *
 * Every address is one of those reserved for documentation, or a loopback or link-local one.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, test } from 'vitest';
import { canRunLab, delay, eventually, Lab, PYTHON } from './network.ts';
import type { Capture, InjectedError, LabProcess, Namespace, UdpClientOptions } from './network.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');

/** UDP and the errors, without neighbour discovery. */
const UDP_AND_ERRORS = 'udp or icmp or (icmp6 and ip6[40] < 128)';
const ERRORS = 'icmp or (icmp6 and ip6[40] < 128)';

const SLL = ['-y', 'LINUX_SLL'];
const NANO = ['--time-stamp-precision=nano'];

interface Fixture {
  file: string;
  shows: string;
  /** Each is found in what `tcpdump -nn` prints; `vv`: in what `tcpdump -nnvv` prints. */
  holds: readonly RegExp[];
  vv?: readonly RegExp[];
  /** Where this one came about in another way than its session. */
  how?: string;
}

interface Session {
  how: string;
  fixtures: readonly Fixture[];
  record: (lab: Lab, tape: Tape) => Promise<void>;
}

/** The captures of one session. */
class Tape {
  readonly #lab: Lab;
  readonly #running: (() => Promise<unknown>)[] = [];

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  path(file: string): string {
    return join(this.#lab.temporary, file);
  }

  /** By tcpdump. */
  async start(file: string, ns: Namespace, device: string, filter: string, options: readonly string[] = []) {
    const capture: Capture = await this.#lab.capture(ns, this.path(file), {
      interface: device,
      filter,
      options,
    });
    this.#running.push(() => capture.finish());
  }

  /** By dumpcap, on several interfaces at once. */
  async startSeveral(file: string, ns: Namespace, devices: readonly string[], filter: string) {
    const interfaces = devices.flatMap((device) => ['-i', device, '-f', filter]);
    const capture: LabProcess = this.#lab.spawn(ns, ['dumpcap', '-q', ...interfaces, '-w', this.path(file)]);
    await capture.waitFor(/File: /, 'stderr');
    // It says so before it captures.
    await delay(500);
    this.#running.push(async () => {
      await delay(1_000);
      await capture.stop('SIGINT');
      stripHost(this.path(file));
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((finish) => finish()));
  }
}

// --- The networks

const CLIENT = '192.0.2.10';
const CLIENT6 = '2001:db8:1::10';
/** On the client's link. */
const NEIGHBOUR = '192.0.2.20';
const NEIGHBOUR6 = '2001:db8:1::20';
/** Behind the router. */
const SERVER = '198.51.100.20';
const SERVER6 = '2001:db8:2::20';

function direct(lab: Lab) {
  const client = lab.namespace('client');
  const server = lab.namespace('server');
  const addresses = [`${NEIGHBOUR}/24`, `${NEIGHBOUR6}/64`];
  const { b } = lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], server, addresses);
  /** Sends the server a packet that the client's own kernel would not. */
  const sendRaw = (bytes: Uint8Array) => lab.sendPacket(client, 'eth0', b.mac, bytes);
  return { client, server, sendRaw };
}

function routed(lab: Lab, mtu = 1500) {
  const client = lab.namespace('client');
  const router = lab.namespace('router');
  const server = lab.namespace('server');
  lab.router(router);
  lab.link(client, [`${CLIENT}/24`, `${CLIENT6}/64`], router, ['192.0.2.1/24', '2001:db8:1::1/64']);
  const far = ['198.51.100.1/24', '2001:db8:2::1/64'];
  lab.link(router, far, server, [`${SERVER}/24`, `${SERVER6}/64`], { mtu });
  for (const [ns, v4, v6] of [
    [client, '192.0.2.1', '2001:db8:1::1'],
    [server, '198.51.100.1', '2001:db8:2::1'],
  ] as const) {
    lab.ip(ns, 'route', 'add', 'default', 'via', v4);
    lab.ip(ns, '-6', 'route', 'add', 'default', 'via', v6);
  }
  return { client, router, server };
}

/** Sends datagrams from port 40000, one after the other, and waits until all are sent. */
async function send(lab: Lab, ns: Namespace, options: UdpClientOptions): Promise<void> {
  const client = await lab.udpClient(ns, { sport: 40000, interval: 0.1, hold: 0.2, ...options });
  await client.exited;
}

/** The octets of an IP packet, from hexadecimal with spaces. */
const packet = (...hex: string[]) => Buffer.from(hex.join('').replaceAll(' ', ''), 'hex');
const hexOf = (address: string) =>
  address
    .split('.')
    .map((n) => Number(n).toString(16).padStart(2, '0'))
    .join('');
const UDP_HELLO = '9c40 270f 000d 0000 68656c6c6f';

// --- What is recorded

const unreachable = (port = 9999) => new RegExp(`ICMP \\S+ udp port ${port} unreachable, length 41`);
const unreachable6 = (port = 9999) =>
  new RegExp(`ICMP6, destination unreachable, unreachable port, \\S+ udp port ${port}, length 61`);

const rejects: Session[] = [
  reject(4, 'icmp-net-unreachable', '3/0', /ICMP net 198\.51\.100\.20 unreachable/),
  reject(4, 'icmp-host-unreachable', '3/1', /ICMP host 198\.51\.100\.20 unreachable/),
  reject(4, 'icmp-proto-unreachable', '3/2', /ICMP 198\.51\.100\.20 protocol 17 unreachable/),
  reject(4, 'icmp-port-unreachable', '3/3', unreachable()),
  reject(4, 'icmp-net-prohibited', '3/9', /ICMP net 198\.51\.100\.20 unreachable - admin prohibited/),
  reject(4, 'icmp-host-prohibited', '3/10', /ICMP host 198\.51\.100\.20 unreachable - admin prohibited/),
  reject(4, 'icmp-admin-prohibited', '3/13', /ICMP host 198\.51\.100\.20 unreachable - admin prohibited filter/),
  reject(6, 'icmp6-no-route', '1/0', /unreachable route 2001:db8:2::20/),
  reject(6, 'icmp6-adm-prohibited', '1/1', /unreachable prohibited 2001:db8:2::20/),
  reject(6, 'icmp6-addr-unreachable', '1/3', /unreachable address 2001:db8:2::20/),
  reject(6, 'icmp6-port-unreachable', '1/4', unreachable6()),
  reject(6, 'icmp6-policy-fail', '1/5', /unknown unreach code \(5\)/),
  reject(6, 'icmp6-reject-route', '1/6', /unknown unreach code \(6\)/),
];

const sessions: Session[] = [
  {
    how: 'a connected client sends to a port that nothing listens on; its neighbour answers',
    fixtures: [
      {
        file: 'port-unreachable-ethernet.pcap',
        shows: '3/3 at the client',
        holds: [unreachable()],
      },
      {
        file: 'port-unreachable-sll.pcap',
        shows: 'the same packets, `tcpdump -i any -y LINUX_SLL`',
        holds: [unreachable()],
      },
      {
        file: 'port-unreachable-sll2.pcap',
        shows: 'the same packets, `tcpdump -i any`',
        holds: [/ In  IP .*udp port 9999/, / Out IP/],
      },
      {
        file: 'port-unreachable-nanosecond.pcap',
        shows: 'the same packets, nanosecond time stamps',
        holds: [unreachable()],
      },
      {
        file: 'port-unreachable-sent-sll2.pcap',
        shows: 'the same packets at the server: the errors go out',
        holds: [/ Out IP .*udp port 9999/, / In  IP/],
      },
      {
        file: 'port-unreachable-snaplen-64.pcap',
        shows: 'the snapshot ends within the quoted UDP header, before the destination port',
        holds: [/\[\|icmp\]/],
      },
      {
        file: 'port-unreachable-snaplen-60.pcap',
        shows: 'the snapshot ends within the quoted IP header',
        holds: [/\[\|icmp\]/],
      },
      {
        file: 'port-unreachable-snaplen-40.pcap',
        shows: 'the snapshot ends within the ICMP header',
        holds: [/\[\|icmp\]/],
      },
      {
        file: 'port-unreachable-big-endian.pcap',
        shows: 'the same packets, savefile of the other byte order',
        holds: [unreachable()],
        how: 'rewritten from port-unreachable-ethernet.pcap',
      },
      {
        file: 'two-sections.pcapng',
        shows: 'two sections, each with an interface 0: microseconds, then nanoseconds',
        holds: [unreachable()],
        how: 'port-unreachable-ethernet.pcap and port-unreachable-nanosecond.pcap by editcap, one file after the other',
      },
      {
        file: 'two-link-types.pcapng',
        shows: 'one section, two interfaces of different link types, without names; tcpdump refuses it',
        holds: [],
        how: 'port-unreachable-ethernet.pcap and port-unreachable-sll2.pcap by mergecap',
      },
    ],
    async record(lab, tape) {
      const { client, server } = direct(lab);
      await tape.start('port-unreachable-ethernet.pcap', client, 'eth0', UDP_AND_ERRORS);
      await tape.start('port-unreachable-sll.pcap', client, 'any', UDP_AND_ERRORS, SLL);
      await tape.start('port-unreachable-sll2.pcap', client, 'any', UDP_AND_ERRORS);
      await tape.start('port-unreachable-nanosecond.pcap', client, 'eth0', UDP_AND_ERRORS, NANO);
      await tape.start('port-unreachable-sent-sll2.pcap', server, 'any', UDP_AND_ERRORS);
      for (const snaplen of [64, 60, 40]) {
        await tape.start(`port-unreachable-snaplen-${snaplen}.pcap`, client, 'eth0', UDP_AND_ERRORS, [
          '-s',
          String(snaplen),
        ]);
      }
      await send(lab, client, { dst: NEIGHBOUR, dport: 9999, count: 5 });
      await tape.stop();
      const ethernet = tape.path('port-unreachable-ethernet.pcap');
      const sll2 = tape.path('port-unreachable-sll2.pcap');
      writeFileSync(
        tape.path('port-unreachable-big-endian.pcap'),
        rewrite(readFileSync(ethernet), { bigEndian: true }),
      );
      const parts = [ethernet, tape.path('port-unreachable-nanosecond.pcap')].map((from) => {
        lab.run(null, ['editcap', '-F', 'pcapng', from, `${from}ng`]);
        stripHost(`${from}ng`);
        return readFileSync(`${from}ng`);
      });
      writeFileSync(tape.path('two-sections.pcapng'), Buffer.concat(parts));
      lab.run(null, ['mergecap', '-F', 'pcapng', '-w', tape.path('two-link-types.pcapng'), ethernet, sll2]);
      stripHost(tape.path('two-link-types.pcapng'));
    },
  },
  {
    how: 'the same over IPv6',
    fixtures: [
      {
        file: 'port-unreachable-v6-ethernet.pcap',
        shows: '1/4 at the client',
        holds: [unreachable6()],
      },
      {
        file: 'port-unreachable-v6-sll.pcap',
        shows: 'the same packets, LINUX_SLL',
        holds: [unreachable6()],
      },
      {
        file: 'port-unreachable-v6-sll2.pcap',
        shows: 'the same packets, LINUX_SLL2',
        holds: [/ In  IP6 .*udp port 9999/],
      },
      {
        file: 'port-unreachable-v6-snaplen-104.pcap',
        shows: 'the snapshot ends within the quoted UDP header',
        holds: [/\[\|icmp6\]/],
      },
      {
        file: 'port-unreachable-v6-snaplen-80.pcap',
        shows: 'the snapshot ends within the quoted IPv6 header',
        holds: [/\[\|icmp6\]/],
      },
    ],
    async record(lab, tape) {
      const { client } = direct(lab);
      await tape.start('port-unreachable-v6-ethernet.pcap', client, 'eth0', UDP_AND_ERRORS);
      await tape.start('port-unreachable-v6-sll.pcap', client, 'any', UDP_AND_ERRORS, SLL);
      await tape.start('port-unreachable-v6-sll2.pcap', client, 'any', UDP_AND_ERRORS);
      for (const snaplen of [104, 80]) {
        await tape.start(`port-unreachable-v6-snaplen-${snaplen}.pcap`, client, 'eth0', UDP_AND_ERRORS, [
          '-s',
          String(snaplen),
        ]);
      }
      await send(lab, client, { dst: NEIGHBOUR6, dport: 9999, count: 5 });
      await tape.stop();
    },
  },
  {
    how: 'a client sends to a closed port over a tun device, which has no link-layer header',
    fixtures: [
      {
        file: 'port-unreachable-raw.pcap',
        shows: '3/3 and 1/4',
        holds: [unreachable(), unreachable6()],
      },
      {
        file: 'port-unreachable-null.pcap',
        shows: 'the same packets, savefile and family little-endian, AF_INET6 of macOS (30)',
        holds: [unreachable(), unreachable6()],
        how: 'rewritten from port-unreachable-raw.pcap: Linux has no such device',
      },
      {
        file: 'port-unreachable-null-big-endian.pcap',
        shows: 'the same packets, savefile and family big-endian, AF_INET6 of FreeBSD (28)',
        holds: [unreachable(), unreachable6()],
        how: 'rewritten likewise',
      },
      {
        file: 'port-unreachable-loop.pcap',
        shows: 'the same packets, family in network byte order, AF_INET6 of OpenBSD (24)',
        holds: [unreachable(), unreachable6()],
        how: 'rewritten likewise',
      },
      {
        file: 'port-unreachable-ipv4.pcap',
        shows: 'the IPv4 packets',
        holds: [unreachable()],
        how: 'rewritten likewise',
      },
      {
        file: 'port-unreachable-ipv6.pcap',
        shows: 'the IPv6 packets',
        holds: [unreachable6()],
        how: 'rewritten likewise',
      },
    ],
    async record(lab, tape) {
      const client = lab.namespace('client');
      const server = lab.namespace('server');
      await cable(lab, 'raw', client, server);
      await tape.start('port-unreachable-raw.pcap', client, 'vpn0', UDP_AND_ERRORS);
      await send(lab, client, { dst: NEIGHBOUR, dport: 9999, count: 3 });
      await send(lab, client, { dst: NEIGHBOUR6, dport: 9999, count: 3 });
      await tape.stop();
      const raw = readFileSync(tape.path('port-unreachable-raw.pcap'));
      const version = (bytes: Buffer) => (bytes[0] ?? 0) >> 4;
      const family = (bigEndian: boolean, inet6: number) => (bytes: Buffer<ArrayBuffer>) => {
        const header = Buffer.alloc(4);
        const value = version(bytes) === 6 ? inet6 : 2;
        if (bigEndian) header.writeUInt32BE(value);
        else header.writeUInt32LE(value);
        return Buffer.concat([header, bytes]);
      };
      const only = (wanted: number) => (bytes: Buffer<ArrayBuffer>) => (version(bytes) === wanted ? bytes : null);
      for (const [file, change] of [
        ['port-unreachable-null.pcap', { linkType: 0, frame: family(false, 30) }],
        ['port-unreachable-null-big-endian.pcap', { linkType: 0, frame: family(true, 28), bigEndian: true }],
        ['port-unreachable-loop.pcap', { linkType: 108, frame: family(true, 24) }],
        ['port-unreachable-ipv4.pcap', { linkType: 228, frame: only(4) }],
        ['port-unreachable-ipv6.pcap', { linkType: 229, frame: only(6) }],
      ] as const) {
        writeFileSync(tape.path(file), rewrite(raw, change));
      }
    },
  },
  ...(['vlan', 'qinq'] as const).map((mode): Session => ({
    how: 'a client sends to a closed port over tagged Ethernet; the tags are put on and taken off by a helper',
    fixtures: [
      mode === 'vlan'
        ? {
            file: 'port-unreachable-vlan.pcap',
            shows: 'an 802.1Q tag, VLAN 100',
            holds: [unreachable(), unreachable6()],
          }
        : {
            file: 'port-unreachable-qinq.pcap',
            shows: 'an 802.1ad tag, VLAN 200, and an 802.1Q tag, VLAN 100',
            holds: [unreachable(), unreachable6()],
          },
    ],
    async record(lab, tape) {
      const client = lab.namespace('client');
      const server = lab.namespace('server');
      lab.link(client, [], server, []);
      await cable(lab, mode, client, server);
      await tape.start(
        `port-unreachable-${mode}.pcap`,
        client,
        'eth0',
        mode === 'vlan' ? `vlan and (${UDP_AND_ERRORS})` : `vlan and vlan and (${UDP_AND_ERRORS})`,
      );
      await send(lab, client, { dst: NEIGHBOUR, dport: 9999, count: 3 });
      await send(lab, client, { dst: NEIGHBOUR6, dport: 9999, count: 3 });
      await tape.stop();
    },
  })),
  {
    how: 'client and closed port on one machine',
    fixtures: [
      {
        file: 'port-unreachable-loopback.pcap',
        shows: 'lo: 3/3 of 127.0.0.1 and 1/4 of ::1',
        holds: [unreachable(), unreachable6()],
      },
      {
        file: 'port-unreachable-loopback-sll2.pcap',
        shows: 'the same packets on any',
        holds: [/lo +In  IP 127/, /In  IP6 ::1/],
      },
    ],
    async record(lab, tape) {
      const client = lab.namespace('client');
      await tape.start('port-unreachable-loopback.pcap', client, 'lo', UDP_AND_ERRORS);
      await tape.start('port-unreachable-loopback-sll2.pcap', client, 'any', UDP_AND_ERRORS);
      await send(lab, client, { dst: '127.0.0.1', dport: 9999, count: 3 });
      await send(lab, client, { dst: '::1', dport: 9999, count: 3 });
      await tape.stop();
    },
  },
  {
    how: 'no answer to ARP and to neighbour solicitation: after about 3 s the own kernel raises the error, on lo',
    fixtures: [
      {
        file: 'host-unreachable-own-kernel.pcap',
        shows: 'lo: 3/1 from the client to itself',
        holds: [/IP 192\.0\.2\.10 > 192\.0\.2\.10: ICMP host 192\.0\.2\.99 unreachable/],
      },
      {
        file: 'host-unreachable-own-kernel-sll2.pcap',
        shows: 'the same error on any, and the ARP requests',
        holds: [/lo +In  IP .*host 192\.0\.2\.99 unreachable/, /ARP/],
      },
      {
        file: 'address-unreachable-own-kernel-v6.pcap',
        shows: 'lo: 1/3 from the client to itself',
        holds: [/ICMP6, destination unreachable, unreachable address 2001:db8:1::99/],
      },
      {
        file: 'address-unreachable-own-kernel-v6-sll2.pcap',
        shows: 'the same error on any, and the neighbour solicitations',
        holds: [/lo +In  IP6 .*unreachable address 2001:db8:1::99/, /neighbor solicitation/],
      },
    ],
    async record(lab, tape) {
      const { client } = direct(lab);
      await tape.start('host-unreachable-own-kernel.pcap', client, 'lo', 'icmp');
      await tape.start('host-unreachable-own-kernel-sll2.pcap', client, 'any', 'udp or icmp or arp');
      await tape.start('address-unreachable-own-kernel-v6.pcap', client, 'lo', 'icmp6');
      await tape.start(
        'address-unreachable-own-kernel-v6-sll2.pcap',
        client,
        'any',
        'ip6 and (udp or icmp6) and not ip6[40] = 143',
      );
      await Promise.all([
        send(lab, client, { dst: '192.0.2.99', dport: 9999, count: 2, hold: 4 }),
        send(lab, client, { dst: '2001:db8:1::99', dport: 9999, src: CLIENT6, count: 2, hold: 4 }),
      ]);
      await tape.stop();
    },
  },
  {
    how: 'the router gets no answer to ARP and to neighbour solicitation on the far link',
    fixtures: [
      {
        file: 'host-unreachable-router.pcap',
        shows: '3/1 and 1/3 from the router, to the client',
        holds: [
          /IP 192\.0\.2\.1 > 192\.0\.2\.10: ICMP host 198\.51\.100\.99 unreachable/,
          /unreachable address 2001:db8:2::99/,
        ],
      },
    ],
    async record(lab, tape) {
      const { client } = routed(lab);
      await tape.start('host-unreachable-router.pcap', client, 'eth0', UDP_AND_ERRORS);
      await Promise.all([
        send(lab, client, { dst: '198.51.100.99', dport: 9999, count: 2, hold: 4 }),
        send(lab, client, { dst: '2001:db8:2::99', dport: 9999, src: CLIENT6, count: 2, hold: 4 }),
      ]);
      await tape.stop();
    },
  },
  ...rejects,
  {
    how: 'iptables -p tcp -j REJECT --reject-with icmp-port-unreachable, and ip6tables likewise; a TCP client connects',
    fixtures: [
      {
        file: 'reject-tcp.pcap',
        shows: '3/3 that quotes TCP, not UDP',
        holds: [/ICMP 198\.51\.100\.20 tcp port 80 unreachable/],
      },
      {
        file: 'reject-tcp-v6.pcap',
        shows: '1/4 that quotes TCP, not UDP',
        holds: [/unreachable port, 2001:db8:2::20 tcp port 80/],
      },
    ],
    async record(lab, tape) {
      const { client, router } = routed(lab);
      lab.run(router, [
        'iptables',
        '-A',
        'FORWARD',
        '-p',
        'tcp',
        '-j',
        'REJECT',
        '--reject-with',
        'icmp-port-unreachable',
      ]);
      lab.run(router, [
        'ip6tables',
        '-A',
        'FORWARD',
        '-p',
        'tcp',
        '-j',
        'REJECT',
        '--reject-with',
        'icmp6-port-unreachable',
      ]);
      await tape.start('reject-tcp.pcap', client, 'eth0', 'ip and (tcp or icmp)');
      await tape.start('reject-tcp-v6.pcap', client, 'eth0', `ip6 and (tcp or (${ERRORS}))`);
      lab.run(client, ['nc', '-n', '-z', '-w', '1', SERVER, '80'], { allowFailure: true });
      lab.run(client, ['nc', '-n', '-z', '-w', '1', SERVER6, '80'], { allowFailure: true });
      await tape.stop();
    },
  },
  {
    how: 'the router has no route, an `unreachable` route and a `prohibit` route',
    fixtures: [
      {
        file: 'route-errors.pcap',
        shows: '3/0, 3/1 and 3/13 from the router',
        holds: [
          /net 203\.0\.113\.1 unreachable/,
          /host 203\.0\.113\.17 unreachable, /,
          /host 203\.0\.113\.33 unreachable - admin prohibited filter/,
        ],
      },
      {
        file: 'route-errors-v6.pcap',
        shows: '1/0, 1/0 and 1/1 from the router',
        holds: [
          /unreachable route 2001:db8:3::1,/,
          /unreachable route 2001:db8:4::1,/,
          /unreachable prohibited 2001:db8:5::1,/,
        ],
      },
    ],
    async record(lab, tape) {
      const { client, router } = routed(lab);
      // An error of a route is charged twice: ip_error() and icmp_send() take from the same bucket.
      lab.sysctl(router, { 'net.ipv4.icmp_ratelimit': 0 });
      lab.ip(router, 'route', 'add', 'unreachable', '203.0.113.16/28');
      lab.ip(router, 'route', 'add', 'prohibit', '203.0.113.32/28');
      lab.ip(router, '-6', 'route', 'add', 'unreachable', '2001:db8:4::/64');
      lab.ip(router, '-6', 'route', 'add', 'prohibit', '2001:db8:5::/64');
      await tape.start('route-errors.pcap', client, 'eth0', 'ip and (udp or icmp)');
      await tape.start('route-errors-v6.pcap', client, 'eth0', `ip6 and (${UDP_AND_ERRORS})`);
      for (const dst of [
        '203.0.113.1',
        '203.0.113.17',
        '203.0.113.33',
        '2001:db8:3::1',
        '2001:db8:4::1',
        '2001:db8:5::1',
      ]) {
        await send(lab, client, { dst, dport: 9999 });
      }
      await tape.stop();
    },
  },
  {
    how: 'a TTL or hop limit of 1, and a router',
    fixtures: [
      { file: 'time-exceeded.pcap', shows: '11/0', holds: [/ICMP time exceeded in-transit/] },
      {
        file: 'time-exceeded-v6.pcap',
        shows: '3/0',
        holds: [/ICMP6, time exceeded in-transit for 2001:db8:2::20/],
      },
      {
        file: 'time-exceeded-fragment.pcap',
        shows: '11/0 that quotes the first fragment of a datagram of 3,000 octets',
        holds: [/ICMP time exceeded in-transit/],
        vv: [/flags \[\+\]/],
      },
      {
        file: 'time-exceeded-fragment-v6.pcap',
        shows: '3/0 that quote fragments: the first has the ports, the others have none',
        holds: [/ICMP6, time exceeded in-transit/, /frag \(0\|1448\)/],
      },
    ],
    async record(lab, tape) {
      const { client, router } = routed(lab);
      lab.sysctl(router, { 'net.ipv6.icmp.ratelimit': 0 });
      await tape.start('time-exceeded.pcap', client, 'eth0', UDP_AND_ERRORS);
      await send(lab, client, { dst: SERVER, dport: 9999, count: 2, ttl: 1 });
      await tape.stop();
      await tape.start('time-exceeded-v6.pcap', client, 'eth0', UDP_AND_ERRORS);
      await send(lab, client, { dst: SERVER6, dport: 9999, count: 2, ttl: 1 });
      await tape.stop();
      await tape.start('time-exceeded-fragment.pcap', client, 'eth0', ERRORS);
      await send(lab, client, { dst: SERVER, dport: 9999, ttl: 1, size: 3000, pmtu: 'dont' });
      await tape.stop();
      await tape.start('time-exceeded-fragment-v6.pcap', client, 'eth0', `ip6 and (ip6[6] = 44 or (${ERRORS}))`);
      await send(lab, client, { dst: SERVER6, dport: 9999, ttl: 1, size: 3000 });
      await tape.stop();
    },
  },
  {
    how: 'only the first fragment of a datagram is sent (by a raw socket); the receiver, told to wait 1 s, gives up',
    fixtures: [
      {
        file: 'reassembly-time-exceeded.pcap',
        shows: '11/1, which never reaches UDP',
        holds: [/ICMP ip reassembly time exceeded/],
      },
      {
        file: 'reassembly-time-exceeded-v6.pcap',
        shows: '3/1, with a fragment header in the quote',
        holds: [/ICMP6, time exceeded reassembly|reassembly/],
      },
    ],
    async record(lab, tape) {
      const { client, server, sendRaw } = direct(lab);
      lab.sysctl(server, { 'net.ipv4.ipfrag_time': 1, 'net.ipv6.ip6frag_time': 1 });
      await tape.start('reassembly-time-exceeded.pcap', client, 'eth0', 'ip and (udp or icmp)');
      await tape.start('reassembly-time-exceeded-v6.pcap', client, 'eth0', `ip6 and (ip6[6] = 44 or (${ERRORS}))`);
      const udp = '9c40 270f 0800 1234 68656c6c6f202020';
      sendRaw(packet('4500 0024 beef 2000 4011 0000', hexOf(CLIENT), hexOf(NEIGHBOUR), udp));
      sendRaw(packet('6000 0000 0018 2c40', v6Hex(CLIENT6), v6Hex(NEIGHBOUR6), '1100 0001 0000 beef', udp));
      await delay(2_000);
      await tape.stop();
    },
  },
  {
    how: 'a client that forbids fragmenting (IP_MTU_DISCOVER) sends 1,400 octets; the link behind the router takes 1,280',
    fixtures: [
      {
        file: 'fragmentation-needed.pcap',
        shows: '3/4 with the next-hop MTU',
        holds: [/198\.51\.100\.20 unreachable - need to frag \(mtu 1280\)/],
      },
      {
        file: 'packet-too-big-v6.pcap',
        shows: '2/0 with the MTU, and as much of the datagram as 1,280 octets hold',
        holds: [/ICMP6, packet too big, mtu 1280/],
      },
    ],
    async record(lab, tape) {
      const { client } = routed(lab, 1280);
      await tape.start('fragmentation-needed.pcap', client, 'eth0', UDP_AND_ERRORS);
      await send(lab, client, { dst: SERVER, dport: 9999, size: 1400, pmtu: 'do' });
      await tape.stop();
      await tape.start('packet-too-big-v6.pcap', client, 'eth0', `ip6 and (${UDP_AND_ERRORS})`);
      await send(lab, client, { dst: SERVER6, dport: 9999, size: 1400, pmtu: 'do' });
      await tape.stop();
    },
  },
  {
    how: 'the default gateway forwards to a second router on the same link',
    fixtures: [
      {
        file: 'redirect.pcap',
        shows: '5/1 that quotes UDP; then 3/3 from the destination',
        holds: [/ICMP redirect 198\.51\.100\.20 to host 192\.0\.2\.2/, unreachable()],
      },
      {
        file: 'redirect-v6.pcap',
        shows: 'ICMPv6 type 137, neighbour discovery and no error; then 1/4',
        holds: [/ICMP6, redirect, 2001:db8:2::20 to fe80::/, unreachable6()],
      },
    ],
    async record(lab, tape) {
      const segment = lab.namespace('switch');
      const client = lab.namespace('client');
      const gateway = lab.namespace('gateway');
      const other = lab.namespace('other');
      lab.ip(segment, 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0');
      for (const [ns, v4, v6] of [
        [client, `${CLIENT}/24`, `${CLIENT6}/64`],
        [gateway, '192.0.2.1/24', '2001:db8:1::1/64'],
        [other, '192.0.2.2/24', '2001:db8:1::2/64'],
      ] as const) {
        const { b } = lab.link(ns, [v4, v6], segment, []);
        lab.ip(segment, 'link', 'set', b.name, 'master', 'br0');
      }
      lab.ip(segment, 'link', 'set', 'br0', 'up');
      lab.router(gateway);
      lab.router(other);
      lab.address(other, 'lo', `${SERVER}/32`, `${SERVER6}/128`);
      const linkLocal = /fe80::[0-9a-f:]+/.exec(lab.ip(other, '-6', 'address', 'show', 'dev', 'eth0'))?.[0] ?? '';
      lab.ip(gateway, 'route', 'add', '198.51.100.0/24', 'via', '192.0.2.2');
      lab.ip(gateway, '-6', 'route', 'add', '2001:db8:2::/64', 'via', linkLocal, 'dev', 'eth0');
      const gatewayLocal = /fe80::[0-9a-f:]+/.exec(lab.ip(gateway, '-6', 'address', 'show', 'dev', 'eth0'))?.[0] ?? '';
      lab.ip(client, 'route', 'add', 'default', 'via', '192.0.2.1');
      lab.ip(client, '-6', 'route', 'add', 'default', 'via', gatewayLocal, 'dev', 'eth0');
      await tape.start('redirect.pcap', client, 'eth0', 'ip and (udp or icmp)');
      await send(lab, client, { dst: SERVER, dport: 9999, count: 3 });
      await tape.stop();
      await tape.start('redirect-v6.pcap', client, 'eth0', `ip6 and (udp or icmp6[0] = 137 or (${ERRORS}))`);
      await send(lab, client, { dst: SERVER6, dport: 9999, count: 3 });
      await tape.stop();
    },
  },
  {
    how: 'a datagram (by a raw socket) with a record-route option that is too short; the receiver answers',
    fixtures: [
      {
        file: 'parameter-problem.pcap',
        shows: '12/0 with its pointer; quotes an IPv4 header with options',
        holds: [/ICMP parameter problem - octet 21/],
      },
    ],
    async record(lab, tape) {
      const { client, sendRaw } = direct(lab);
      await tape.start('parameter-problem.pcap', client, 'eth0', 'ip and (udp or icmp)');
      sendRaw(packet('4600 0025 beef 0000 4011 0000', hexOf(CLIENT), hexOf(NEIGHBOUR), '0702 0000', UDP_HELLO));
      await tape.stop();
    },
  },
  {
    how: 'datagrams with a destination option that the receiver does not know (IPV6_DSTOPTS) and, by a raw socket, a routing header of unknown type and an unknown next header',
    fixtures: [
      {
        file: 'parameter-problem-v6-option.pcap',
        shows: '4/2; extension header in the quote, then UDP',
        holds: [/ICMP6, parameter problem, option - octet 42/],
      },
      {
        file: 'parameter-problem-v6-header.pcap',
        shows: '4/0; routing header in the quote, then UDP',
        holds: [/ICMP6, parameter problem, erroneous - octet 42/],
      },
      {
        file: 'parameter-problem-v6-next-header.pcap',
        shows: '4/1, which quotes no UDP',
        holds: [/ICMP6, parameter problem, next header - octet 6/],
      },
    ],
    async record(lab, tape) {
      const { client, sendRaw } = direct(lab);
      const filter = 'ip6 and not (icmp6 and ip6[40] > 127) and not ip6[6] = 0';
      await tape.start('parameter-problem-v6-option.pcap', client, 'eth0', filter);
      await send(lab, client, { dst: NEIGHBOUR6, dport: 9999, dstOptions: '00009e0400000000' });
      await tape.stop();
      await tape.start('parameter-problem-v6-header.pcap', client, 'eth0', filter);
      sendRaw(packet('6000 0000 0015 2b40', v6Hex(CLIENT6), v6Hex(NEIGHBOUR6), '1100 fd01 0000 0000', UDP_HELLO));
      await tape.stop();
      await tape.start('parameter-problem-v6-next-header.pcap', client, 'eth0', filter);
      sendRaw(packet('6000 0000 0008 fd40', v6Hex(CLIENT6), v6Hex(NEIGHBOUR6), '0011 2233 4455 6677'));
      await tape.stop();
    },
  },
  {
    how: 'a packet of IP protocol 253 (by a raw socket), which the receiver does not know',
    fixtures: [
      {
        file: 'protocol-unreachable.pcap',
        shows: '3/2, which quotes no UDP',
        holds: [/ICMP 192\.0\.2\.20 protocol 253 unreachable/],
      },
    ],
    async record(lab, tape) {
      const { client, sendRaw } = direct(lab);
      await tape.start('protocol-unreachable.pcap', client, 'eth0', 'ip proto 253 or icmp');
      sendRaw(packet('4500 001c beef 4000 40fd 0000', hexOf(CLIENT), hexOf(NEIGHBOUR), '0011 2233 4455 6677'));
      await tape.stop();
    },
  },
  {
    how: 'a client with IP_OPTIONS sends through a router to a closed port',
    fixtures: [
      {
        file: 'options-record-route.pcap',
        shows: 'record route, in the outer header (Linux answers with it) and in the quoted one',
        holds: [/ICMP 198\.51\.100\.20 udp port 9999 unreachable/],
        vv: [/options \(RR/],
      },
      {
        file: 'options-timestamp.pcap',
        shows: 'timestamp, likewise',
        holds: [/ICMP 198\.51\.100\.20 udp port 9999 unreachable/],
        vv: [/options \(timestamp/],
      },
    ],
    async record(lab, tape) {
      const { client } = routed(lab);
      for (const [file, ipOptions] of [
        ['options-record-route.pcap', '070f0400000000000000000000000000'],
        ['options-timestamp.pcap', '440c05000000000000000000'],
      ] as const) {
        await tape.start(file, client, 'eth0', 'ip and (udp or icmp)');
        await send(lab, client, { dst: SERVER, dport: 9999, count: 3, ipOptions });
        await tape.stop();
      }
    },
  },
  {
    how: 'the port of an echo server: open, then closed, then open again',
    fixtures: [
      {
        file: 'recovery.pcap',
        shows: 'answers, 3/3 until their rate limit, answers again, on one socket of the client; port 9998',
        holds: [unreachable(9998), /198\.51\.100\.20\.9998 > 192\.0\.2\.10\.40000: UDP/],
      },
    ],
    async record(lab, tape) {
      const { client, server } = routed(lab);
      let echo = await lab.udpEcho(server, SERVER, 9998);
      await tape.start('recovery.pcap', client, 'eth0', 'ip and (udp or icmp)');
      const done = send(lab, client, {
        dst: SERVER,
        dport: 9998,
        count: 18,
        interval: 0.15,
        poll: true,
      });
      await delay(700);
      await echo.stop();
      await delay(700);
      echo = await lab.udpEcho(server, SERVER, 9998);
      await done;
      await tape.stop();
      await echo.stop();
    },
  },
  {
    how: 'a query that is answered, a ping, a TCP connection, and a datagram to a closed port',
    fixtures: [
      {
        file: 'mixed.pcap',
        shows: 'one ICMP error among other packets, ARP and echo included',
        holds: [unreachable(), /ICMP echo reply/, /Flags \[S\]/, /\.53: /, /ARP/],
      },
    ],
    async record(lab, tape) {
      const { client, server, sendRaw } = direct(lab);
      await lab.udpEcho(server, NEIGHBOUR, 53);
      const listener = lab.spawn(server, [PYTHON, '-m', 'http.server', '-b', NEIGHBOUR, '8080', '-d', lab.temporary]);
      await eventually(() => lab.run(server, ['ss', '-ltnH']).stdout.includes(':8080'));
      await tape.start('mixed.pcap', client, 'eth0', 'ip or arp');
      const query =
        '\u0012\u0034\u0001\u0000\u0000\u0001\u0000\u0000\u0000\u0000\u0000\u0000\u0007example\u0003com\u0000\u0000\u0001\u0000\u0001';
      await send(lab, client, {
        dst: NEIGHBOUR,
        dport: 53,
        sport: 40053,
        payload: query,
        poll: true,
      });
      sendRaw(
        packet(
          '4500 0024 beef 4000 4001 0000',
          hexOf(CLIENT),
          hexOf(NEIGHBOUR),
          '0800 0000 1234 0001 3031323334353637',
        ),
      );
      lab.run(client, ['nc', '-n', '-z', '-w', '1', NEIGHBOUR, '8080']);
      await send(lab, client, { dst: NEIGHBOUR, dport: 9999 });
      await send(lab, client, {
        dst: NEIGHBOUR,
        dport: 53,
        sport: 40053,
        payload: query,
        poll: true,
      });
      await tape.stop();
      await listener.stop();
    },
  },
  {
    how: 'the client is behind a router that MASQUERADEs; its datagrams go to a closed port',
    fixtures: [
      {
        file: 'nat-masquerade-uplink.pcap',
        shows: 'the uplink: 3/3 that quotes the translated source, 192.0.2.1 port 61000 and up',
        holds: [/192\.0\.2\.1\.61\d{3} > 192\.0\.2\.20\.9999/, /192\.0\.2\.20 > 192\.0\.2\.1: ICMP/],
      },
      {
        file: 'nat-masquerade-inside.pcap',
        shows: 'the same errors at the client, which quote its own tuple',
        holds: [/203\.0\.113\.2\.40000 > 192\.0\.2\.20\.9999/, /192\.0\.2\.20 > 203\.0\.113\.2: ICMP/],
      },
      {
        file: 'nat-masquerade-sll2.pcap',
        shows: 'both on the router, any: In untranslated on the uplink, then Out translated',
        holds: [/ In  IP 192\.0\.2\.20 > 192\.0\.2\.1: ICMP/, / Out IP 192\.0\.2\.20 > 203\.0\.113\.2: ICMP/],
      },
      {
        file: 'nat-masquerade-two-interfaces.pcapng',
        shows: 'both on the router, interfaces eth0 (inside) and eth1 (uplink) with their names and nanoseconds',
        holds: [/192\.0\.2\.20 > 192\.0\.2\.1: ICMP/, /192\.0\.2\.20 > 203\.0\.113\.2: ICMP/],
        how: 'dumpcap -i eth0 -i eth1 on that router; what the savefile says of the recording machine is taken out',
      },
    ],
    async record(lab, tape) {
      const { inside, router } = behindNat(lab);
      lab.run(router, [
        'iptables',
        '-t',
        'nat',
        '-A',
        'POSTROUTING',
        '-o',
        'eth1',
        '-p',
        'udp',
        '-j',
        'MASQUERADE',
        '--to-ports',
        '61000-61999',
      ]);
      await tape.start('nat-masquerade-uplink.pcap', router, 'eth1', 'ip and (udp or icmp)');
      await tape.start('nat-masquerade-inside.pcap', inside, 'eth0', 'ip and (udp or icmp)');
      await tape.start('nat-masquerade-sll2.pcap', router, 'any', 'ip and (udp or icmp)');
      await tape.startSeveral('nat-masquerade-two-interfaces.pcapng', router, ['eth0', 'eth1'], 'ip and (udp or icmp)');
      await send(lab, inside, { dst: NEIGHBOUR, dport: 9999, count: 3 });
      await tape.stop();
    },
  },
  {
    how: 'the client sends to a service address that a router DNATs to a closed port of a real one',
    fixtures: [
      {
        file: 'nat-dnat-sll2.pcap',
        shows: 'on the router, any: 3/3 that quotes the real destination, then the service address',
        holds: [
          /198\.51\.100\.80\.53/,
          /In  IP .*192\.0\.2\.20 udp port 5353 unreachable/,
          /Out IP .*198\.51\.100\.80 udp port 53 unreachable/,
        ],
      },
    ],
    async record(lab, tape) {
      const { inside, router, server } = behindNat(lab);
      lab.ip(server, 'route', 'add', '203.0.113.0/24', 'via', '192.0.2.1');
      lab.run(router, [
        'iptables',
        '-t',
        'nat',
        '-A',
        'PREROUTING',
        '-d',
        '198.51.100.80',
        '-p',
        'udp',
        '--dport',
        '53',
        '-j',
        'DNAT',
        '--to-destination',
        '192.0.2.20:5353',
      ]);
      await tape.start('nat-dnat-sll2.pcap', router, 'any', 'ip and (udp or icmp)');
      await send(lab, inside, { dst: '198.51.100.80', dport: 53, count: 3 });
      await tape.stop();
    },
  },
  {
    how: 'a client sends to closed ports through a router, which forwards the errors',
    fixtures: [
      {
        file: 'forwarded-two-interfaces.pcapng',
        shows: 'each packet twice, on eth1 and on eth0, v4 and v6',
        holds: [unreachable(), unreachable6()],
        how: 'dumpcap -i eth0 -i eth1 on the router; what the savefile says of the recording machine is taken out',
      },
      {
        file: 'forwarded-ethernet-and-any.pcapng',
        shows: 'interfaces of different link types, with their names; tcpdump refuses it',
        holds: [],
        how: 'dumpcap -i eth0 -i any there',
      },
    ],
    async record(lab, tape) {
      const { client, router } = routed(lab);
      await tape.startSeveral('forwarded-two-interfaces.pcapng', router, ['eth0', 'eth1'], UDP_AND_ERRORS);
      await tape.startSeveral('forwarded-ethernet-and-any.pcapng', router, ['eth0', 'any'], UDP_AND_ERRORS);
      await send(lab, client, { dst: SERVER, dport: 9999, count: 3 });
      await send(lab, client, { dst: SERVER6, dport: 9999, count: 3 });
      await tape.stop();
    },
  },
  {
    how: 'injected by a raw socket: Linux sends only some of them',
    fixtures: [
      {
        file: 'injected-codes.pcap',
        shows: 'type 3 codes 0 to 16, types 4, 5, 11 and 12 with their codes and one more',
        holds: [/source quench/, /source route failed/, /precedence cutoff/, /#16/],
      },
      {
        file: 'injected-codes-v6.pcap',
        shows: 'type 1 codes 0 to 8, types 2, 3 and 4 with their codes and one more',
        holds: [/beyond scope/, /packet too big/],
      },
      {
        file: 'injected-quotes.pcap',
        shows: '3/3 that quote TCP, SCTP, protocol 253, IPv4 options, and UDP cut short at each step',
        holds: [/tcp port/, /protocol 132/, /\[\|icmp\]/],
      },
      {
        file: 'injected-quotes-v6.pcap',
        shows: '1/4 likewise',
        holds: [/tcp port/, /\[\|icmp6\]/],
      },
      {
        file: 'injected-extension.pcap',
        shows: '11/0 and 3/0 with an RFC 4884 extension structure that holds an MPLS label stack',
        holds: [/ICMP time exceeded/, /ICMP6, time exceeded/],
        vv: [/MPLS/],
      },
    ],
    async record(lab, tape) {
      const { client, server } = direct(lab);
      for (const [file, errors] of [
        ['injected-codes.pcap', everyCode(4)],
        ['injected-codes-v6.pcap', everyCode(6)],
        ['injected-quotes.pcap', everyQuote(4)],
        ['injected-quotes-v6.pcap', everyQuote(6)],
        ['injected-extension.pcap', [withExtension(4), withExtension(6)]],
      ] as const) {
        await tape.start(file, client, 'eth0', ERRORS);
        lab.injectAll(server, errors);
        await tape.stop();
      }
    },
  },
];

function reject(version: 4 | 6, code: string, wire: string, line: RegExp): Session {
  const tables = version === 4 ? 'iptables' : 'ip6tables';
  const file = `reject-${code}.pcap`;
  return {
    how: `a router with \`${tables} -A FORWARD -p udp -j REJECT --reject-with ${code}\``,
    fixtures: [{ file, shows: wire, holds: [line] }],
    async record(lab, tape) {
      const { client, router } = routed(lab);
      lab.run(router, [tables, '-A', 'FORWARD', '-p', 'udp', '-j', 'REJECT', '--reject-with', code]);
      await tape.start(file, client, 'eth0', UDP_AND_ERRORS);
      await send(lab, client, { dst: version === 4 ? SERVER : SERVER6, dport: 9999, count: 3 });
      await tape.stop();
    },
  };
}

function behindNat(lab: Lab) {
  const inside = lab.namespace('inside');
  const router = lab.namespace('router');
  const server = lab.namespace('server');
  lab.router(router);
  lab.link(inside, '203.0.113.2/24', router, '203.0.113.1/24');
  lab.link(router, '192.0.2.1/24', server, `${NEIGHBOUR}/24`);
  lab.ip(inside, 'route', 'add', 'default', 'via', '203.0.113.1');
  return { inside, router, server };
}

/** A device vpn0 in each namespace, joined by a helper. */
async function cable(lab: Lab, mode: 'raw' | 'vlan' | 'qinq', client: Namespace, server: Namespace): Promise<void> {
  const script = join(import.meta.dirname, 'tun_link.py');
  const parents = mode === 'raw' ? [] : ['eth0', 'eth0'];
  const helper = lab.spawn(null, [PYTHON, script, mode, client, 'vpn0', server, 'vpn0', ...parents]);
  await helper.waitFor(/ready/);
  lab.address(client, 'vpn0', `${CLIENT}/24`, `${CLIENT6}/64`);
  lab.address(server, 'vpn0', `${NEIGHBOUR}/24`, `${NEIGHBOUR6}/64`);
  for (const ns of [client, server]) {
    lab.ip(ns, 'link', 'set', 'vpn0', 'mtu', '1400', 'up');
    lab.settle(ns);
  }
}

function v6Hex(address: string): string {
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string) =>
    text
      .split(':')
      .filter(Boolean)
      .map((group) => group.padStart(4, '0'));
  const [left, right] = [groups(head), groups(tail)];
  return [...left, ...Array<string>(8 - left.length - right.length).fill('0000'), ...right].join('');
}

function injected(
  version: 4 | 6,
  type: number,
  code: number,
  quoted: Partial<InjectedError['quoted']> = {},
): InjectedError {
  const [src, dst, server] = version === 4 ? [NEIGHBOUR, CLIENT, SERVER] : [NEIGHBOUR6, CLIENT6, SERVER6];
  const datagram = { src: dst, sport: 40000, dst: server, dport: 9999, id: 0xbeef };
  return { src, dst, type, code, quoted: { ...datagram, ...quoted } };
}

function everyCode(version: 4 | 6): InjectedError[] {
  const upTo = (type: number, last: number, rest = '00000000') =>
    Array.from({ length: last + 1 }, (_, code) => ({ ...injected(version, type, code), rest }));
  return version === 4
    ? [
        ...upTo(3, 16),
        ...upTo(3, 4, '00000514').slice(4),
        ...upTo(4, 1),
        ...upTo(5, 4, hexOf('192.0.2.1')),
        ...upTo(11, 2),
        ...upTo(12, 3, '14000000'),
      ]
    : [...upTo(1, 8), ...upTo(2, 1, '00000500'), ...upTo(3, 2), ...upTo(4, 4, '00000006')];
}

function everyQuote(version: 4 | 6): InjectedError[] {
  const [type, code, header] = version === 4 ? ([3, 3, 20] as const) : ([1, 4, 40] as const);
  const ports = '9c40270f0000000000000000';
  return [
    injected(version, type, code, { protocol: 6, payload: `${ports}5002faf000000000` }),
    injected(version, type, code, { protocol: 6, payload: ports.slice(0, 16) }),
    injected(version, type, code, { protocol: 132, payload: ports }),
    injected(version, type, code, { protocol: 253, payload: ports }),
    ...(version === 4 ? [injected(version, type, code, { options: '9404000001010100' })] : []),
    ...[8, 6, 4, 3, 2, 0, -4, -header + 1, -header].map((more) =>
      injected(version, type, code, { octets: header + more }),
    ),
  ];
}

function withExtension(version: 4 | 6): InjectedError {
  // Length 8, class 1 (MPLS Label Stack), C-type 1; label 16001, bottom of stack, TTL 1.
  const extension = '0008010103e81101';
  return { ...injected(version, version === 4 ? 11 : 3, 0), extension };
}

// --- Savefiles

interface Rewrite {
  linkType?: number;
  bigEndian?: boolean;
  /** The new frame, or null to leave it out. */
  frame?: (bytes: Buffer<ArrayBuffer>) => Buffer<ArrayBuffer> | null;
}

/** A copy of a little-endian pcap file, in another link type or byte order. */
function rewrite(
  savefile: Buffer<ArrayBuffer>,
  { linkType = savefile.readUInt32LE(20), bigEndian = false, frame }: Rewrite,
): Buffer {
  const words = (...values: number[]) => {
    const bytes = Buffer.alloc(values.length * 4);
    values.forEach((value, n) => (bigEndian ? bytes.writeUInt32BE(value, n * 4) : bytes.writeUInt32LE(value, n * 4)));
    return bytes;
  };
  const version = bigEndian ? 0x00020004 : 0x00040002;
  const out = [words(savefile.readUInt32LE(0), version, 0, 0, savefile.readUInt32LE(16), linkType)];
  for (let at = 24; at < savefile.length;) {
    const caplen = savefile.readUInt32LE(at + 8);
    const from = savefile.subarray(at + 16, at + 16 + caplen);
    const to = frame === undefined ? from : frame(from);
    if (to !== null) {
      const more = to.length - from.length;
      out.push(
        words(
          savefile.readUInt32LE(at),
          savefile.readUInt32LE(at + 4),
          caplen + more,
          savefile.readUInt32LE(at + 12) + more,
        ),
        to,
      );
    }
    at += 16 + caplen;
  }
  return Buffer.concat(out);
}

/** Takes out of a little-endian pcapng file what tells of the machine that wrote it: shb_hardware, shb_os, if_os. */
function stripHost(file: string): void {
  const savefile = readFileSync(file);
  const out: Buffer[] = [];
  for (let at = 0; at < savefile.length;) {
    const type = savefile.readUInt32LE(at);
    const length = savefile.readUInt32LE(at + 4);
    const block = savefile.subarray(at, at + length);
    if (type === 0x0a0d0d0a) out.push(withoutOptions(block, 24, [2, 3]));
    else if (type === 1) out.push(withoutOptions(block, 16, [12]));
    else out.push(block);
    at += length;
  }
  writeFileSync(file, Buffer.concat(out));
}

function withoutOptions(block: Buffer, first: number, unwanted: readonly number[]): Buffer {
  const kept = [block.subarray(0, first)];
  for (let at = first; at < block.length - 4;) {
    const size = 4 + Math.ceil(block.readUInt16LE(at + 2) / 4) * 4;
    if (!unwanted.includes(block.readUInt16LE(at))) kept.push(block.subarray(at, at + size));
    at += size;
  }
  const copy = Buffer.concat([...kept, Buffer.alloc(4)]);
  copy.writeUInt32LE(copy.length, 4);
  copy.writeUInt32LE(copy.length, copy.length - 4);
  return copy;
}

const LINK_TYPES: Record<number, string> = {
  0: 'NULL',
  1: 'ETHERNET',
  101: 'RAW',
  108: 'LOOP',
  113: 'LINUX_SLL',
  228: 'IPV4',
  229: 'IPV6',
  276: 'LINUX_SLL2',
};

function linkTypes(savefile: Buffer): number[] {
  if (savefile.readUInt32BE(0) === 0xa1b2c3d4) return [savefile.readUInt32BE(20)];
  if (savefile.readUInt32LE(0) !== 0x0a0d0d0a) return [savefile.readUInt32LE(20)];
  const found: number[] = [];
  for (let at = 0; at < savefile.length; at += savefile.readUInt32LE(at + 4)) {
    if (savefile.readUInt32LE(at) === 1) found.push(savefile.readUInt16LE(at + 8));
  }
  return found;
}

/** That a savefile is small and holds what it is to hold. tcpdump does not read several link types in one. */
function check({ file, holds, vv = [] }: Fixture, path: string): void {
  const { size } = statSync(path);
  if (size > 10_240) throw new Error(`${file}: ${size} octets`);
  const severalLinkTypes = new Set(linkTypes(readFileSync(path))).size > 1;
  for (const [options, patterns] of [
    ['-nn', holds],
    ['-nnvv', vv],
  ] as const) {
    const argv = severalLinkTypes ? ['tshark', '-n', '-r', path] : ['tcpdump', options, '-r', path];
    const { stdout, stderr, status } = spawnSync(argv[0] ?? '', argv.slice(1), {
      encoding: 'utf8',
    });
    if (status !== 0 || stdout === '') throw new Error(`${file}: ${stderr}`);
    const missing = patterns.find((pattern) => !pattern.test(stdout));
    if (missing) throw new Error(`${file} lacks ${missing}:\n${stdout}`);
  }
}

function readme(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const rows = sessions.flatMap(({ how, fixtures }) =>
    fixtures.map((fixture) => {
      const types = linkTypes(readFileSync(join(FIXTURES, fixture.file)));
      const names = types.map((type) => LINK_TYPES[type] ?? String(type)).join(', ');
      return `| ${fixture.file} | ${names} | ${cell(fixture.how ?? how)} | ${cell(fixture.shows)} |`;
    }),
  );
  return `# Fixtures

Captures of real failures: tcpdump looked on while they happened in network namespaces. Two kinds are not
what a kernel sent by itself, and say so below: those **rewritten** from another capture, for link types that Linux
has no device for, and those **injected**, for messages that Linux does not send.

\`npm run fixtures:record\` (root) records them all anew, \`npm run fixtures:record -- -t NAME\` some of them;
\`test/lab/record-fixtures.ts\` says how, and writes this file. All addresses are loopback or link-local ones or reserved for documentation.

In LINUX_SLL2 the interface is a number of the recording namespace: 1 is lo, 2 is eth0, 3 is eth1; tcpdump prints what
the reading machine calls that number.

\`type/code\` is meant by numbers such as 3/3. The client's port is 40000, the closed one 9999, unless told.

| file | link type | how it came about | what it shows |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}

const reason = canRunLab(['iptables', 'ip6tables', 'nc', 'ss', 'dumpcap', 'editcap', 'mergecap', 'tshark']);
if (reason !== null) throw new Error(`cannot record: ${reason}`);
mkdirSync(FIXTURES, { recursive: true });

describe.concurrent('fixtures', () => {
  for (const session of sessions) {
    test(session.fixtures.map(({ file }) => file).join(' '), async () => {
      using lab = new Lab();
      const tape = new Tape(lab);
      await session.record(lab, tape);
      for (const fixture of session.fixtures) check(fixture, tape.path(fixture.file));
      for (const { file } of session.fixtures) {
        copyFileSync(tape.path(file), join(FIXTURES, file));
        // dumpcap's are for root alone.
        chmodSync(join(FIXTURES, file), 0o644);
      }
    });
  }
});

afterAll(() => {
  const files = sessions.flatMap(({ fixtures }) => fixtures.map(({ file }) => file));
  if (!files.every((file) => existsSync(join(FIXTURES, file)))) return;
  writeFileSync(join(FIXTURES, 'README.md'), readme());
});
