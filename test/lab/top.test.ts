/**
 * The table of incidents: at the end, on SIGUSR1, and live in a terminal.
 */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLI } from '../command.ts';
import { tsharkTable } from '../savefile/judges.ts';
import { Lab, PYTHON, type LabProcess, type Namespace } from './network.ts';
import { captureProcess, describeLab, expectAnswer, followed, provoke, startWatch, tableOf } from './watch.ts';

const CLIENT = '192.0.2.10';
const SERVER = '192.0.2.20';
const PORT = 9000;

describeLab('the table of incidents', () => {
  let lab: Lab;
  let client: Namespace;
  let server: Namespace;

  beforeEach(() => {
    lab = new Lab();
    client = lab.namespace('client');
    server = lab.namespace('server');
    lab.link(client, `${CLIENT}/24`, server, `${SERVER}/24`);
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0 });
  });
  afterEach(() => lab.close());

  const open = (name: string, connect = true) =>
    lab.udpClient(client, { dst: SERVER, dport: PORT, interactive: true, name, connect });

  test('--incidents: at the end and on SIGUSR1, with what is open and what is over', async () => {
    const watch = await startWatch(lab, client, ['--incidents', '--json']);
    const child = captureProcess(watch)!;
    const [gateway, other] = [await open('gateway'), await open('other', false)];
    watch.signal('SIGUSR1');
    process.kill(child, 'SIGUSR1');
    await watch.waitFor(/0 events shown/, 'stderr');
    expect(watch.stderr).not.toContain('FIRST');
    for (const udp of [gateway, other, gateway]) await provoke(udp, watch);
    await followed(lab, watch, gateway.port);
    await lab.udpEcho(server, SERVER, PORT);
    await expectAnswer(gateway);
    await watch.waitFor(/"event":"recovered"/);
    watch.signal('SIGUSR1');
    await watch.waitFor(/3 events shown/, 'stderr');
    const rows = tableOf(watch);
    expect(rows).toMatchObject([
      { errors: '1', rate: '-', sockets: '1', process: `other[${other.pid}]`, hears: 'no' },
      { errors: '2', sockets: '1', process: `gateway[${gateway.pid}]`, hears: 'yes' },
    ]);
    expect(rows.map(({ state }) => state.replace(/\d+\.\d s/, 'N s'))).toEqual([
      'open, N s since the last',
      'answers again after N s',
    ]);
    for (const row of rows) expect(row).toMatchObject({ remote: `${SERVER}:${PORT}`, errno: 'ECONNREFUSED' });
    expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
    expect(watch.stderr.match(/^FIRST /gm)).toHaveLength(2);
    expect(watch.stderr).not.toContain('Debugger');
    // Events alone.
    expect(watch.stdout).not.toContain('FIRST');
  });

  test('--incidents before anything was captured: nothing but the statistics, and no debugger', async () => {
    const watch = lab.spawn(client, [process.execPath, CLI, '--incidents']);
    const child = await watch.until(() => captureProcess(watch));
    for (const pid of [watch.pid, child]) process.kill(pid, 'SIGUSR1');
    await watch.waitFor(/listening on/, 'stderr');
    expect(lab.run(client, ['ss', '-Hltn']).stdout).toBe('');
    expect(await watch.stop('SIGINT')).toEqual({ status: 0, signal: null });
    expect(watch.stderr).not.toMatch(/Debugger|FIRST/);
  });

  /** The tool in a terminal. */
  async function startTop(...args: string[]): Promise<{ terminal: LabProcess; tool: number }> {
    const script = join(import.meta.dirname, 'terminal.py');
    const terminal = lab.spawn(client, [PYTHON, script, '20', process.execPath, CLI, '--top', ...args]);
    const [, tool] = await terminal.waitFor(/^pid (\d+)$/m, 'stderr');
    await terminal.waitFor(/listening on/);
    return { terminal, tool: Number(tool) };
  }

  test.for(['Ctrl-C', 'SIGTERM', 'SIGHUP'] as const)(
    '--top, ended by %s: drawn again and again, then the terminal is as it was',
    async (how) => {
      const file = `${lab.temporary}/top.pcapng`;
      const { terminal, tool } = await startTop('-w', file);
      expect(modes(terminal.stdout)).toEqual({ '1049': 'h', '7': 'l', '25': 'l' });
      const [gateway, other] = [await open('gateway'), await open('\x1b[31mred', false)];
      await gateway.ask('send');
      await terminal.until(() => screen(terminal.stdout).some((line) => line.includes(`gateway[${gateway.pid}]`)));
      await other.ask('send');
      await terminal.until(() => screen(terminal.stdout).some((line) => line.includes(`[${other.pid}]`)));
      const lines = screen(terminal.stdout);
      expect(lines[0]).toMatch(/^udpicmp-watch -i any {2}\d\d:\d\d:\d\d {2}2 errors$/);
      expect(lines.slice(1, 3)).toEqual(['', expect.stringMatching(/^FIRST +LAST +ERRORS +RATE +SOCKETS +PROCESS /)]);
      expect(lines[3]).toMatch(
        new RegExp(String.raw` \\x1b\[31mred\[${other.pid}\] +192\.0\.2\.20:9000 +ECONNREFUSED +no +open, `),
      );
      expect(lines[4]).toMatch(
        new RegExp(String.raw` gateway\[${gateway.pid}\] +192\.0\.2\.20:9000 +ECONNREFUSED +yes +open, `),
      );
      expect(lines[5]).toBe('');
      expect(lines[6]).toMatch(/^udpicmp-watch: listening on any/);
      // Drawn again, though nothing happens.
      const before = terminal.stdout.length;
      await terminal.until(() => terminal.stdout.slice(before).split('\x1b[H').length > 2);

      if (how === 'Ctrl-C') terminal.write('03\n');
      else process.kill(tool, how);
      expect(await terminal.exited).toEqual({ status: 0, signal: null });
      expect(modes(terminal.stdout)).toEqual({ '1049': 'l', '7': 'h', '25': 'h' });
      expect(terminal.stderr).toBe(`pid ${tool}\n`);
      // What was said meanwhile is said now, and the last table is left.
      const after = terminal.stdout.slice(terminal.stdout.lastIndexOf('\x1b[?1049l')).replaceAll('\r', '');
      expect(after).toMatch(
        /^\S+udpicmp-watch: listening on any[^\n]*\nFIRST [^\n]*\n[^\n]+red[^\n]+\n[^\n]+gateway[^\n]+\nudpicmp-watch: 2 events shown/,
      );
      // oxlint-disable-next-line no-control-regex -- they are what is looked for
      expect(after.slice('\x1b[?1049l'.length)).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
      expect(
        tsharkTable(file, 'icmp.code', 'frame.comment').map(([code, comment]) => [
          code,
          comment?.includes('ECONNREFUSED'),
        ]),
      ).toEqual([
        ['3', true],
        ['3', true],
      ]);
    },
  );

  test('--top in a small terminal: what does not fit is left out, and the last message stays', async () => {
    const script = join(import.meta.dirname, 'terminal.py');
    const terminal = lab.spawn(client, [PYTHON, script, '6', process.execPath, CLI, '--top']);
    await terminal.waitFor(/listening on/);
    for (let n = 0; n < 8; n++) await (await open(`client${n}`)).ask('send');
    await terminal.until(() => screen(terminal.stdout)[0]?.includes('8 errors'));
    expect(screen(terminal.stdout)).toHaveLength(6);
    expect(screen(terminal.stdout).at(-1)).toMatch(/listening on/);
    terminal.write('03\n');
    expect(await terminal.exited).toEqual({ status: 0, signal: null });
    const after = terminal.stdout.slice(terminal.stdout.lastIndexOf('\x1b[?1049l'));
    expect(after.match(/ client\d\[\d+\] /g)).toHaveLength(8);
  });

  test('--top where nothing can be captured: the terminal is as it was, and says why', async () => {
    const script = join(import.meta.dirname, 'terminal.py');
    const terminal = lab.spawn(client, [PYTHON, script, '20', process.execPath, CLI, '--top', '-i', 'nosuch0']);
    expect(await terminal.exited).toEqual({ status: 1, signal: null });
    expect(modes(terminal.stdout)).toEqual({ '1049': 'l', '7': 'h', '25': 'h' });
    const after = terminal.stdout.slice(terminal.stdout.lastIndexOf('\x1b[?1049l') + '\x1b[?1049l'.length);
    expect(after).toMatch(/^udpicmp-watch: nosuch0: [^\n]*No such device[^\n]*\r\n$/);
  });
});

/** How each private mode of ECMA-48's SM and RM was set last: `h` or `l`. */
function modes(output: string): Record<string, string> {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return Object.fromEntries([...output.matchAll(/\x1b\[\?(\d+)([hl])/g)].map(([, mode = '', how = '']) => [mode, how]));
}

/** The lines of the last picture that was drawn whole: from HOME to where the rest is cleared. */
function screen(output: string): string[] {
  const pictures = output
    .split('\x1b[H')
    .slice(1)
    .filter((picture) => picture.includes('\x1b[J'));
  const picture = pictures.at(-1)?.split('\x1b[J')[0] ?? '';
  return picture.split('\n').map((line) => line.replace('\r', '').replace('\x1b[K', ''));
}
