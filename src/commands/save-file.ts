/**
 * The file of `-w`: opened before anything is captured, so that what is wrong with it is said at once, and emptied when
 * there is a capture.
 */
import {
  constants,
  createWriteStream,
  fchownSync,
  fstatSync,
  ftruncateSync,
  openSync,
  statSync,
  type Stats,
} from 'node:fs';
import { Socket } from 'node:net';
import { getSystemErrorMap } from 'node:util';
import { Output } from '../sink/output.ts';
import { PcapFile, PcapngFile, type PacketWriter } from '../sink/saved-packets.ts';
import { Failure, say } from './messages.ts';

const { O_CREAT, O_EXCL, O_WRONLY } = constants;

/**
 * @param path `-`: standard output, which is `standardOutput` then
 * @param read the file that is replayed
 * @throws Failure where it cannot be written
 */
export function openSaveFile(path: string, read: string | undefined, standardOutput: Output): PacketWriter {
  if (path === '-') {
    if (process.stdout.isTTY)
      throw new Failure('-w -: standard output is a terminal: send it to a file or into a pipe');
    return new PcapngFile(standardOutput, () => {});
  }
  if (/\.gz$/i.test(path)) throw new Failure(`${path}: -w does not compress: use -w - | gzip > FILE`);
  const { fd, status } = open(path);
  const isFile = status.isFile();
  if (isFile && read !== undefined && isSameFile(read, status)) {
    throw new Failure(`${path}: is the file that is read; it would be overwritten`);
  }
  // Writing to a pipe must not hold up a thread for as long as nobody reads. A device takes it like a file.
  const isPipe = status.isFIFO() || status.isSocket();
  const stream = isPipe ? new Socket({ fd, readable: false }) : createWriteStream('', { fd, autoClose: false });
  const output = new Output(
    stream,
    (error) => {
      // What was written in part would make the file a damaged one.
      if (isFile) ftruncateSync(fd, output.written);
      say(`${path}: ${reason(error)}; nothing more is saved, what was saved before is there`);
    },
    isFile,
  );
  const empty = (): void => {
    if (isFile) ftruncateSync(fd);
  };
  if (!/\.p?cap$/i.test(path)) return new PcapngFile(output, empty);
  say(
    `${path}: a pcap file has no room for comments: what is found out is not saved; a name that ends in .pcapng saves it`,
  );
  return new PcapFile(output, empty);
}

function open(path: string): { fd: number; status: Stats } {
  try {
    try {
      const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL, 0o666);
      giveToCaller(fd);
      return { fd, status: fstatSync(fd) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const fd = openSync(path, O_WRONLY);
      return { fd, status: fstatSync(fd) };
    }
  } catch (error) {
    throw new Failure(`${path}: cannot be written: ${reason(error as NodeJS.ErrnoException)}`);
  }
}

/** What is made under sudo belongs to the user who called it. */
function giveToCaller(fd: number): void {
  const { SUDO_UID, SUDO_GID } = process.env;
  if (process.getuid?.() !== 0 || SUDO_UID === undefined || SUDO_GID === undefined) return;
  fchownSync(fd, Number(SUDO_UID), Number(SUDO_GID));
}

function isSameFile(path: string, status: Stats): boolean {
  try {
    const other = path === '-' ? fstatSync(0) : statSync(path);
    return other.dev === status.dev && other.ino === status.ino;
  } catch {
    // Who reads it says what is wrong with it.
    return false;
  }
}

/** The system's words alone. */
function reason({ code, errno, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'no such directory';
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message;
}
