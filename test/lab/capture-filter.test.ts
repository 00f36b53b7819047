/**
 * What a live capture lets through, beside a capture without any filter: behind VLAN tags and IPv6 extension headers too.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { udpicmpWatch } from '../command.ts';
import { Lab, type Namespace } from './network.ts';
import { describeLab, startWatch } from './watch.ts';

const SENDER = ['192.0.2.1', '2001:db8::1'];
const RECEIVER = ['192.0.2.2', '2001:db8::2'];
const DATAGRAMS = 100;
const ECHO_PORT = 9;

/** The kernel takes the first one off what is received, and is told of it apart; those of 0x9100 it does not know. */
const TAGS = ['', '81000064', '88a800c8', '88a800c881000064', '91000064', '910000c881000064'];

const ERROR_V4 = ipv4(1, `0303 0000 0000 0000 4500 001c 0001 0000 40 11 0000 c0000202 c0000201 9c40 270f 0008 0000`);
const ERROR_V6 = `0104 0000 0000 0000 6000 0000 0008 11 40 ${v6(2)} ${v6(1)} 9c40 270f 0008 0000`;
const DATAGRAM = '9c40 0009 0010 0000 0000 0000 0000 0000';

/** Each in every kind of tags. */
const PACKETS: Buffer[] = [
  ERROR_V4,
  ipv4(1, '0800 0000 0001 0001 0000'),
  ipv4(6, `9c40 0009 ${'00'.repeat(8)} 5002 0000 0000 0000`),
  ipv4(17, DATAGRAM),
  ipv6(58, ERROR_V6),
  ipv6(58, '8000 0000 0001 0001'),
  ipv6(0, `3a00 0104 0000 0000 ${ERROR_V6}`),
  ipv6(60, `3a01 ${'00'.repeat(14)} ${ERROR_V6}`),
  ipv6(43, `3a00 0400 0000 0000 ${ERROR_V6}`),
  ipv6(44, `3a00 0001 0000 0001 ${ERROR_V6}`),
  ipv6(0, `3c00 0104 0000 0000 3a00 0104 0000 0000 ${ERROR_V6}`),
  ipv6(0, `3a00 0502 0000 0100 8f00 0000 0000 0000`),
  ipv6(17, DATAGRAM),
  ipv6(60, `1100 0104 0000 0000 ${DATAGRAM}`),
];
const NEARLY: Buffer[] = [
  ipv6(44, `3a00 0010 0000 0001 ${DATAGRAM}`),
  ipv6(0, `3c00 0104 0000 0000 1100 0104 0000 0000 ${DATAGRAM}`),
];

function ipv4(protocol: number, payload: string): Buffer {
  const body = octets(payload);
  return Buffer.concat([
    octets(`4500 ${hex(20 + body.length, 4)} 0001 0000 40 ${hex(protocol, 2)} 0000 c0000201 c0000202`),
    body,
  ]);
}

function ipv6(next: number, payload: string): Buffer {
  const body = octets(payload);
  return Buffer.concat([octets(`6000 0000 ${hex(body.length, 4)} ${hex(next, 2)} 40 ${v6(1)} ${v6(2)}`), body]);
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

function v6(last: number): string {
  return `20010db8${'00'.repeat(11)}${hex(last, 2)}`;
}

function octets(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

/** Without the interface, whose name a replay of this file does not know, and without what a kernel says of its own accord. */
function lines(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.includes('fe80::'))
    .map((line) => line.replace(/^\S+ +(In|Out|B|M|P) +/, ''));
}

describeLab('the capture filter', () => {
  let lab: Lab;
  let sender: Namespace;
  let receiver: Namespace;
  let mac: string;

  beforeAll(async () => {
    lab = new Lab();
    sender = lab.namespace('sender');
    receiver = lab.namespace('receiver');
    const { b } = lab.link(sender, ['192.0.2.1/24', '2001:db8::1/64'], receiver, ['192.0.2.2/24', '2001:db8::2/64']);
    mac = b.mac;
    for (const ns of [sender, receiver]) lab.sysctl(ns, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv6.icmp.ratelimit': 0 });
    for (const address of SENDER) await lab.udpEcho(sender, address, ECHO_PORT);
  });
  afterAll(() => lab.close());

  /** Errors and echoes, of the kernel's and of others' making, and datagrams that are neither. */
  async function traffic(): Promise<void> {
    for (const [index, dst] of SENDER.entries()) {
      const src = RECEIVER[index]!;
      lab.run(receiver, ['ping', '-q', '-c', '2', '-i', '0.02', dst]);
      const errors = await lab.udpClient(receiver, { src, dst, dport: 7001, connect: false, count: 2, interval: 0.01 });
      const noise = { src, dst, dport: ECHO_PORT, count: DATAGRAMS, interval: 0.001 };
      await (
        await lab.udpClient(receiver, noise)
      ).exited;
      await errors.exited;
    }
    for (const tags of TAGS) {
      for (const packet of [...PACKETS, ...NEARLY]) lab.sendPacket(sender, 'eth0', mac, packet, tags);
    }
  }

  test.for(['receiver', 'sender'] as const)('%s: as without a filter, and hardly anything else', async (side) => {
    const ns = side === 'sender' ? sender : receiver;
    const captures = [];
    for (const device of ['any', 'eth0']) {
      captures.push({
        device,
        all: await startWatch(lab, ns, ['-i', device, '--plain', '--all-icmp', '-t']),
        errors: await startWatch(lab, ns, ['-i', device, '--plain', '-t']),
        unfiltered: await lab.capture(ns, `${lab.temporary}/${side}-${device}.pcap`, { interface: device }),
      });
    }
    await traffic();
    for (const { device, all, errors, unfiltered } of captures) {
      const file = await unfiltered.finish();
      for (const [watch, args] of [
        [all, ['--all-icmp']],
        [errors, []],
      ] as const) {
        await watch.stop('SIGINT');
        const expected = lines(udpicmpWatch(['--plain', '-t', ...args, '-r', file]).stdout);
        expect(expected.length).toBeGreaterThan(30);
        expect([device, ...lines(watch.stdout)]).toEqual([device, ...expected]);
        const received = Number(/capture: (\d+) packets? received/.exec(watch.stderr)?.[1]);
        // A later fragment, what stands behind two headers, and behind tags no error where there is a header before it; and
        // what came before libpcap had set its filter.
        expect(received - watch.lines.length).toBeLessThanOrEqual(3 * TAGS.length + 5);
      }
    }
  });

  test('where libpcap does not take the best filter, the next', async () => {
    const script = fileURLToPath(new URL('../../dist/source/capture-child.js', import.meta.url));
    const request = { list: false, device: 'lo', filters: ['no such word', 'icmp'], bufferKib: 2048 };
    const child = spawn(process.execPath, [script, JSON.stringify(request)], { stdio: ['pipe', 'ignore', 'pipe'] });
    const [report] = (await once(child.stderr.setEncoding('utf8'), 'data')) as [string];
    child.stdin.end();
    expect(JSON.parse(report.split('\n')[0]!)).toMatchObject({ kind: 'opened', linkType: 'ETHERNET' });
    await once(child, 'exit');
  });
});
