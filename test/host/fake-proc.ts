/** A directory that looks like `/`, for what a running system does not do on demand: /proc, and more where it is asked for. */

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { onTestFinished } from 'vitest';

export interface FakeProcess {
  comm?: string;
  startTicks?: number;
  /** Socket inode by descriptor. */
  sockets?: Record<number, number>;
  cmdline?: string | Buffer;
  cgroup?: string;
  /** Null: the link to its network namespace may not be read. */
  netns?: number | null;
  /** S: sleeping; Z: it has ended. */
  state?: string;
  /** The directory of its /proc/PID/net. */
  net?: string;
  parent?: number;
}

export const OWN_NETNS = 4026531840;
/** 2023-11-14T22:13:20Z */
const BOOT_TIME = 1_700_000_000;

export class FakeProc {
  readonly root = mkdtempSync(join(tmpdir(), 'root-'));
  readonly proc = `${this.root}/proc`;

  constructor() {
    onTestFinished(() => rmSync(this.root, { recursive: true }));
    mkdirSync(`${this.proc}/self/ns`, { recursive: true });
    mkdirSync(`${this.proc}/net`);
    symlinkSync(`net:[${OWN_NETNS}]`, `${this.proc}/self/ns/net`);
    this.file('proc/stat', `cpu  1 2 3\nbtime ${BOOT_TIME}\nprocesses 5\n`);
  }

  /** Adds the process, in place of any that has its number. */
  process(pid: number, options: FakeProcess = {}): void {
    const { comm = 'client', startTicks = 12_345, sockets = {}, cmdline = `${comm}\0`, netns = OWN_NETNS } = options;
    this.end(pid);
    const directory = `${this.proc}/${pid}`;
    mkdirSync(`${directory}/fd`, { recursive: true });
    mkdirSync(`${directory}/ns`);
    symlinkSync('/dev/null', `${directory}/fd/0`);
    for (const [fd, inode] of Object.entries(sockets)) symlinkSync(`socket:[${inode}]`, `${directory}/fd/${fd}`);
    if (netns !== null) symlinkSync(`net:[${netns}]`, `${directory}/ns/net`);
    if (options.net !== undefined) symlinkSync(options.net, `${directory}/net`);
    symlinkSync('/usr/bin/client', `${directory}/exe`);
    const fields = `${options.state ?? 'S'} ${options.parent ?? 1} 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 ${startTicks} 1000 100`;
    writeFileSync(`${directory}/stat`, `${pid} (${comm}) ${fields}\n`);
    writeFileSync(`${directory}/status`, `Name:\t${comm}\nTgid:\t${pid}\nPid:\t${pid}\n`);
    writeFileSync(`${directory}/comm`, `${comm}\n`);
    writeFileSync(`${directory}/cmdline`, cmdline);
    writeFileSync(`${directory}/cgroup`, options.cgroup ?? '0::/\n');
  }

  end(pid: number): void {
    rmSync(`${this.proc}/${pid}`, { recursive: true, force: true });
  }

  /** Writes a file of /proc/net. */
  net(name: string, text: string): void {
    this.file(`proc/net/${name}`, text);
  }

  /** A namespace other than one's own: the directory of the files that its processes have in /proc/PID/net. */
  namespace(files: Record<string, string>): string {
    const directory = mkdtempSync(`${this.root}/net-`);
    for (const [name, text] of Object.entries(files)) writeFileSync(`${directory}/${name}`, text);
    return directory;
  }

  /** Writes any other file. */
  file(path: string, text: string): void {
    mkdirSync(dirname(`${this.root}/${path}`), { recursive: true });
    writeFileSync(`${this.root}/${path}`, text);
  }
}

/** The root of a host of which there is nothing but these files of /proc/net. */
export function rootWith(netDirectory: string): string {
  const root = mkdtempSync(join(tmpdir(), 'root-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  mkdirSync(`${root}/proc`);
  symlinkSync(resolve(netDirectory), `${root}/proc/net`);
  return root;
}

/** The first line of /proc/net/udp. */
export const UDP_HEADER =
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

/** A line of /proc/net/udp on a little-endian machine; addresses as they are printed there. */
export function udpLine(local: string, remote: string, state: '01' | '07', inode: number): string {
  return `  1: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 2 0 0\n`;
}

/** /proc/net/fib_trie of a namespace with these addresses, or with prefixes that are local as a whole. */
export function fibTrie(...addresses: string[]): string {
  const leaves = addresses.map((address) => {
    const [leaf, length = 32] = address.split('/');
    return `     |-- ${leaf}\n        /${length} host LOCAL\n`;
  });
  return `Local:\n  +-- 0.0.0.0/0 2 0 2\n${leaves.join('')}`;
}

/** An IPv4 address and a port as they are printed there. */
export function procEndpoint(address: string, port: number): string {
  const octets = Buffer.from(address.split('.').map(Number)).swap32();
  return `${octets.toString('hex')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

/**
 * A router that does MASQUERADE as 192.0.2.2 for the namespace `BLUE`, whose address is 10.88.0.2. In its own namespace there
 * are sockets on port 5000: 77 connected with 192.0.2.1 port 53, and 78 that is not; both are of process 50. Port 4789 has 79,
 * which nobody holds. In the other one there is 80, connected with 203.0.113.20 port 9000 from port 41000, of process 60 in a
 * container.
 */
export function fakeRouter(): FakeProc {
  const proc = new FakeProc();
  const socket = (local: string, remote: string | null, inode: number): string => {
    const endpoint = (text: string): string => procEndpoint(text.split(' ')[0]!, Number(text.split(' ')[1]));
    return udpLine(endpoint(local), endpoint(remote ?? '0.0.0.0 0'), remote === null ? '07' : '01', inode);
  };
  const own = [
    socket('192.0.2.2 5000', '192.0.2.1 53', 77),
    socket('0.0.0.0 5000', null, 78),
    socket('0.0.0.0 4789', null, 79),
  ];
  proc.net('udp', UDP_HEADER + own.join(''));
  proc.net('udp6', UDP_HEADER);
  proc.net('fib_trie', fibTrie('192.0.2.2', '10.88.0.1', '198.51.100.0/24'));
  proc.net('if_inet6', '');
  proc.net(
    'nf_conntrack',
    'ipv4     2 udp      17 113 src=10.88.0.2 dst=203.0.113.20 sport=41000 dport=9000 ' +
      'src=203.0.113.20 dst=192.0.2.2 sport=9000 dport=41000 [ASSURED] mark=0 zone=0 use=2\n',
  );
  proc.file('etc/passwd', 'root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n');
  proc.file('sys/class/net/eth0/upper_br0/ifindex', '');
  proc.file('sys/class/net/br0/ifindex', '');
  proc.process(50, { comm: 'gateway', sockets: { 7: 77, 8: 78 } });
  proc.process(60, {
    comm: 'client',
    sockets: { 3: 80 },
    netns: BLUE_NETNS,
    net: proc.namespace({
      udp: UDP_HEADER + socket('10.88.0.2 41000', '203.0.113.20 9000', 80),
      udp6: UDP_HEADER,
      fib_trie: fibTrie('10.88.0.2'),
      if_inet6: '20010db8008800000000000000000002 02 40 00 80     eth0\n',
      nf_conntrack: '',
    }),
    cgroup: `0::/system.slice/docker-${'0123456789abcdef'.repeat(4)}.scope\n`,
  });
  return proc;
}

export const BLUE_NETNS = 4026532001;
