/** A directory that looks like /proc, for what a running system does not do on demand. */

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface FakeProcess {
  comm?: string;
  startTicks?: number;
  /** Socket inode by descriptor. */
  sockets?: Record<number, number>;
  cmdline?: string | Buffer;
  cgroup?: string;
  netns?: number;
}

export const OWN_NETNS = 4026531840;
/** 2023-11-14T22:13:20Z */
const BOOT_TIME = 1_700_000_000;

export class FakeProc {
  readonly root = mkdtempSync(join(tmpdir(), 'proc-'));

  constructor() {
    onTestFinished(() => rmSync(this.root, { recursive: true }));
    mkdirSync(`${this.root}/self/ns`, { recursive: true });
    mkdirSync(`${this.root}/net`);
    symlinkSync(`net:[${OWN_NETNS}]`, `${this.root}/self/ns/net`);
    writeFileSync(`${this.root}/stat`, `cpu  1 2 3\nbtime ${BOOT_TIME}\nprocesses 5\n`);
  }

  /** Adds the process, in place of any that has its number. */
  process(pid: number, options: FakeProcess = {}): void {
    const { comm = 'client', startTicks = 12_345, sockets = {}, cmdline = `${comm}\0`, netns = OWN_NETNS } = options;
    this.end(pid);
    const directory = `${this.root}/${pid}`;
    mkdirSync(`${directory}/fd`, { recursive: true });
    mkdirSync(`${directory}/ns`);
    symlinkSync('/dev/null', `${directory}/fd/0`);
    for (const [fd, inode] of Object.entries(sockets)) symlinkSync(`socket:[${inode}]`, `${directory}/fd/${fd}`);
    symlinkSync(`net:[${netns}]`, `${directory}/ns/net`);
    symlinkSync('/usr/bin/client', `${directory}/exe`);
    const fields = `S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 ${startTicks} 1000 100`;
    writeFileSync(`${directory}/stat`, `${pid} (${comm}) ${fields}\n`);
    writeFileSync(`${directory}/comm`, `${comm}\n`);
    writeFileSync(`${directory}/cmdline`, cmdline);
    writeFileSync(`${directory}/cgroup`, options.cgroup ?? '0::/\n');
  }

  end(pid: number): void {
    rmSync(`${this.root}/${pid}`, { recursive: true, force: true });
  }

  /** Writes a file of /proc/net. */
  net(name: string, text: string): void {
    writeFileSync(`${this.root}/net/${name}`, text);
  }
}

/** A line of /proc/net/udp on a little-endian machine; addresses as they are printed there. */
export function udpLine(local: string, remote: string, state: '01' | '07', inode: number): string {
  return `  1: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 2 0 0\n`;
}
