/**
 * Reading /proc: files that report size 0, may be hundreds of kilobytes, may vanish between two
 * calls, and now and then hang.
 */

import { closeSync, openSync, opendirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';

const FIRST_BUFFER = 64 * 1024;
const scratch = Buffer.allocUnsafe(4096);

export interface FileHead {
  bytes: Buffer;
  /** There was more than `limit` octets. */
  cut: boolean;
}

/**
 * The first `limit` octets of a file, read off the event loop.
 *
 * A /proc/net file gives at most one page a call, whatever is asked for (seq_read_iter), so the time
 * goes into the kernel and not into this loop.
 *
 * @throws the system's error where the file cannot be opened or read.
 */
export async function readHead(path: string, limit: number): Promise<FileHead> {
  const file = await open(path);
  try {
    let bytes = Buffer.allocUnsafe(Math.min(limit + 1, FIRST_BUFFER));
    let length = 0;
    for (;;) {
      if (length === bytes.length) {
        if (length > limit) return { bytes: bytes.subarray(0, limit), cut: true };
        const larger = Buffer.allocUnsafe(Math.min(limit + 1, bytes.length * 2));
        bytes.copy(larger);
        bytes = larger;
      }
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
      if (bytesRead === 0) return { bytes: bytes.subarray(0, length), cut: false };
      length += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/**
 * A file of at most `limit` octets, read at once; null where it is larger. For files that cannot hang and are
 * mostly small: their pages take microseconds each, where a turn of a busy event loop takes milliseconds.
 *
 * @throws the system's error where the file cannot be opened or read.
 */
export function readIfSmall(path: string, limit: number): Buffer | null {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.allocUnsafe(limit + 1);
    let length = 0;
    while (length <= limit) {
      const octets = readSync(fd, bytes, length, bytes.length - length, null);
      if (octets === 0) return bytes.subarray(0, length);
      length += octets;
    }
    return null;
  } finally {
    closeSync(fd);
  }
}

/** The text of a file, at most `limit` octets of it, as UTF-8 with replacement; null where it cannot be read. */
export async function readText(path: string, limit = 1024 * 1024): Promise<string | null> {
  try {
    return (await readHead(path, limit)).bytes.toString('utf8');
  } catch {
    return null;
  }
}

/** The first 4 KiB of a /proc file that cannot hang, as UTF-8 with replacement; null where it cannot be read. */
export function readShort(path: string): string | null {
  let fd;
  try {
    fd = openSync(path, 'r');
    return scratch.toString('utf8', 0, readSync(fd, scratch, 0, scratch.length, null));
  } catch {
    return null;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** What the link points to; null where it cannot be read. */
export function readLink(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

/**
 * What tells the files of one network namespace from those of another: the inode of /proc/PID/net/udp, which may be asked
 * for where the link /proc/PID/ns/net may not be read (proc_net is a tree of its own in each). Null where there is none, as
 * of a process that ends; `forbidden` where it may not be asked for.
 */
export function netFilesInode(netDirectory: string): number | 'forbidden' | null {
  try {
    return statSync(`${netDirectory}/udp`).ino;
  } catch (error) {
    return isForbidden(error) ? 'forbidden' : null;
  }
}

/** Whether the system said that it may not be. */
export function isForbidden(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EACCES' || code === 'EPERM';
}

/** The number N of a link `kind:[N]` such as socket:[N] and net:[N]; null for any other text. */
export function linkedInode(kind: string, target: string | null): number | null {
  if (target === null || !target.startsWith(`${kind}:[`) || !target.endsWith(']')) return null;
  const inode = Number(target.slice(kind.length + 2, -1));
  return Number.isSafeInteger(inode) ? inode : null;
}

/**
 * The names in a directory, a few hundred at a time: a process may hold 100,000 descriptors, and
 * reading them in one call would block for 100 ms.
 *
 * @throws the system's error where the directory cannot be opened; one that vanishes later just ends.
 */
export function* directoryNames(path: string): Generator<string> {
  const directory = opendirSync(path, { bufferSize: 256 });
  try {
    for (;;) {
      let entry;
      try {
        entry = directory.readSync();
      } catch {
        return;
      }
      if (entry === null) return;
      yield entry.name;
    }
  } finally {
    directory.closeSync();
  }
}
