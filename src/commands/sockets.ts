/**
 * `sockets`: the sockets of this host, and all that attribution asks about them, as JSON on standard output.
 */
import { writeSync } from 'node:fs';
import { LiveHost } from '../host/live-host.ts';
import { takeSnapshot } from '../host/snapshot.ts';
import { jsonOctets } from '../sink/json-lines.ts';
import { say } from './messages.ts';

export async function saveSockets({ netns }: { netns: 'all' | 'self' }): Promise<number> {
  const host = new LiveHost({ allNamespaces: netns === 'all', isPaced: false });
  try {
    const snapshot = await takeSnapshot(host);
    const { unreadable, namespaces } = snapshot;
    if (unreadable !== null && unreadable > 0) {
      say(
        `${unreadable} processes or mounts are of network namespaces that may not be read: their sockets are missing`,
      );
    }
    if (namespaces[0]!.sockets === null) {
      say('/proc/net/udp cannot be read');
      return 1;
    }
    writeAll(Buffer.from(`${jsonOctets(snapshot)}\n`, 'latin1'));
    return 0;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EPIPE') return 0;
    if (code === undefined) throw error;
    say(`standard output: ${message}`);
    return 1;
  } finally {
    host.close();
  }
}

function writeAll(bytes: Buffer): void {
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(1, bytes, written);
    } catch (error) {
      // A pipe that somebody made non-blocking, and whose reader takes its time.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}
