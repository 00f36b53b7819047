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
  lstatSync,
  openSync,
  statSync,
  write,
  type Stats,
} from 'node:fs';
import { Socket } from 'node:net';
import { dirname } from 'node:path';
import { getSystemErrorMap } from 'node:util';
import { Output } from '../sink/output.ts';
import { PcapFile, PcapngFile, type PacketWriter } from '../sink/saved-packets.ts';
import { Failure, say } from './messages.ts';

const { O_CREAT, O_EXCL, O_WRONLY } = constants;

/** A live capture has datagrams and command lines of all users: not for all to read. That of a replay is as the umask says. */
const LIVE_MODE = 0o600;
const REPLAY_MODE = 0o666;

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
  const { fd, status } = open(path, read === undefined ? LIVE_MODE : REPLAY_MODE);
  const isFile = status.isFile();
  if (isFile && read !== undefined && isSameFile(read, status)) {
    throw new Failure(`${path}: is the file that is read; it would be overwritten`);
  }
  // Writing to a pipe must not hold up a thread for as long as nobody reads. A device takes it like a file.
  const isPipe = status.isFIFO() || status.isSocket();
  // Piece by piece (without writev): what is taken back of a full disk is one of them, and not all that waited together.
  const stream = isPipe
    ? new Socket({ fd, readable: false })
    : createWriteStream('', { fd, autoClose: false, fs: { write } });
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

function open(path: string, mode: number): { fd: number; status: Stats } {
  try {
    try {
      const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL, mode);
      giveToCaller(fd);
      return { fd, status: fstatSync(fd) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      refuseTrap(path);
      const fd = openSync(path, O_WRONLY);
      return { fd, status: fstatSync(fd) };
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`${path}: cannot be written: ${reason(error as NodeJS.ErrnoException)}`);
  }
}

/**
 * In a sticky directory, as /tmp, anybody may have put a file, FIFO or link there to be filled or followed. The kernel refuses those
 * only to who would create them (fs.protected_regular, fs.protected_fifos), and links only where it is told to
 * (fs.protected_symlinks). What belongs to somebody who is trusted no other can exchange there.
 */
function refuseTrap(path: string): void {
  const directory = statSync(dirname(path));
  if ((directory.mode & 0o1000) === 0) return;
  const { uid } = lstatSync(path);
  const caller = process.getuid?.() === 0 ? Number(process.env['SUDO_UID']) : 0;
  if ([directory.uid, process.geteuid?.(), caller].includes(uid)) return;
  throw new Failure(`${path}: belongs to uid ${uid}, in a directory where anybody may have put it: use another name`);
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
