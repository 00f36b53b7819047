/** The command line of `probe`, on the loopback. With privileges or without. */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { CLI, udpicmpWatch } from '../command.ts';

describe('a wrong command line: one line, status 2, nothing is sent', () => {
  test.each<[string[], RegExp]>([
    [[], /missing required argument 'host'/],
    [['127.0.0.1'], /missing required argument 'port'/],
    ...['0', '65536', '99999999999', '-', '5-3', '1-65536', '1-', '-5-7', 'domain', '', '1,2', '1e3', '0x35'].map(
      (port): [string[], RegExp] => [['127.0.0.1', '--', port], /not a port from 1 to 65535, nor a range/],
    ),
    [['127.0.0.1', '9', 'domain'], /'domain'.* not a port/],
    [['', '9'], /an empty name/],
    [['--payload', '', '127.0.0.1', '9'], /an empty name/],
    ...['0', '-1', '1.5', '1001', 'x', '99999999999999999999'].map((count): [string[], RegExp] => [
      ['--count', count, '127.0.0.1', '9'],
      /--count.*(whole number from 1 on|more than 1000)/,
    ]),
    ...['0', '0.001', '-1', '1e3', 'x', '', '3601', '.', 'Infinity'].flatMap((seconds): [string[], RegExp][] => [
      [['--interval', seconds, '127.0.0.1', '9'], /--interval.*number of seconds from 0.01 to 3600/],
      [['--timeout', seconds, '127.0.0.1', '9'], /--timeout.*number of seconds from 0.1 to 3600/],
    ]),
    [['-4', '-6', 'localhost', '9'], /'-4' cannot be used with option '-6'/],
    [['-4', '::1', '9'], /::1 is no IPv4 address/],
    [['-6', '127.0.0.1', '9'], /127\.0\.0\.1 is no IPv6 address/],
    [['-6', '::ffff:127.0.0.1', '9'], /is no IPv6 address/],
    [['--payload', 'hex:1', '127.0.0.1', '9'], /odd number of hexadecimal digits/],
    [['--payload', 'hex:xx', '127.0.0.1', '9'], /not all hexadecimal digits/],
    [['--payload', '/dev/zero', '127.0.0.1', '9'], /longer than a datagram/],
    [['--payload', '/', '127.0.0.1', '9'], /EISDIR/],
    [['--payload', '/nonexistent/\x1b[2J', '127.0.0.1', '9'], /ENOENT.*\\x1b\[2J/],
    [['--nosuch', '127.0.0.1', '9'], /unknown option '--nosuch'/],
    [['--oneline', '127.0.0.1', '9'], /unknown option '--oneline'/],
  ])('%j', (args, message) => {
    const { stdout, stderr, status } = udpicmpWatch(['probe', ...args]);
    expect(stderr).toMatch(/^udpicmp-watch: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect([stdout, status]).toEqual(['', 2]);
  });

  test('a payload that IPv6 holds and IPv4 does not', () => {
    const { stderr, status } = udpicmpWatch(['probe', '--payload', `hex:${'00'.repeat(65_508)}`, '127.0.0.1', '9']);
    expect(stderr).toMatch(/longer than a datagram over IPv4 holds \(65,507 octets\)/);
    expect(status).toBe(2);
  });
});

test('--help: status 0', () => {
  const { stdout, status } = udpicmpWatch(['probe', '--help']);
  expect(stdout).toMatch(/^Usage: udpicmp-watch probe \[options\] <host> <port\.\.\.>/);
  expect(status).toBe(0);
});

test.each([
  ['nosuch.invalid', []],
  ['127.0.0.1.1', []],
  ['\x1b[2J.invalid', []],
  [`${'a'.repeat(300)}.invalid`, []],
  ['nosuch.invalid', ['-6']],
])(
  '%j is no host: one line, status 1',
  (name, options) => {
    const { stdout, stderr, status } = udpicmpWatch(['probe', ...options, name, '9']);
    expect(stderr).toMatch(/^udpicmp-watch: probe: [^\n]+ cannot be resolved: [^\n]+\n$/);
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    expect(stderr.slice(0, -1)).not.toMatch(/[\x00-\x1f]/);
    expect([stdout, status]).toEqual(['', 1]);
    // Where no name server can be reached, the resolver has its own patience.
  },
  60_000,
);

/** A port that nobody has, most likely. */
async function closedPort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

test.each(['127.0.0.1', '::ffff:127.0.0.1', '0.0.0.0', '::ffff:7f00:1'])(
  'a closed port of %s is refused',
  async (host) => {
    const port = await closedPort();
    const { stdout, status } = udpicmpWatch(['probe', host, String(port)]);
    expect(stdout).toMatch(new RegExp(`^127\\.0\\.0\\.1:${port} refused: ECONNREFUSED.* after [^\\n]*\\n$`));
    expect(status).toBe(1);
  },
);

test('each port once, in the order of the command line', async () => {
  const port = await closedPort();
  const ports = [port - 1, port, port - 2];
  const args = [`${port - 1}-${port}`, String(port - 2), String(port)];
  const { stdout } = udpicmpWatch(['probe', '--json', '--count', '1', '--timeout', '0.1', '127.0.0.1', ...args]);
  const lines = stdout.trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { target: { port: number } }).target.port)).toEqual(ports);
});

test('a reader that closes ends it, quietly', async () => {
  const child = spawn(process.execPath, [CLI, 'probe', '127.0.0.1', '1-65535'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout.once('data', () => child.stdout.destroy());
  await once(child, 'close');
  expect(stderr.replace(/^.*cannot be captured.*\n/, '')).toBe('');
});
