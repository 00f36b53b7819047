/**
 * Reads a savefile, pcap or pcapng, from a stream of octets that comes in pieces of any size.
 *
 * Records that lie wholly in a piece are handed out where they are. Only one that straddles pieces is copied, into a
 * buffer that grows with the octets that have come, never with a length that they claim.
 */
import type { Damage, SavefileHandler } from './packet.ts';
import { PcapParser, type RecordParser } from './pcap.ts';
import { PcapngParser, SECTION_HEADER } from './pcapng.ts';

const MAGIC = 4;
/** Octets: room for any ordinary packet, so that growing is the exception. */
const INITIAL_CARRY = 65_536;

export class SavefileReader {
  readonly #handler: SavefileHandler;
  /** Null until the format is known. */
  #parser: RecordParser | null = null;
  #damage: Damage | null = null;
  /** Nothing more is read: damaged, stopped or ended. */
  #done = false;
  /** Octets of the stream consumed so far. */
  #position = 0;
  /** Octets that came and are not consumed: the first `#carried` of `#carry`. */
  #carry = new Uint8Array(INITIAL_CARRY);
  #carried = 0;

  /** @param handler called during `push`; what it throws passes through `push` and leaves the reader unusable */
  constructor(handler: SavefileHandler) {
    this.#handler = handler;
  }

  /** Why reading stopped before the end, or null. */
  get damage(): Damage | null {
    return this.#damage;
  }

  /** Null until the first four octets have come, and if they are those of neither. */
  get format(): 'pcap' | 'pcapng' | null {
    if (this.#parser === null) return null;
    return this.#parser instanceof PcapParser ? 'pcap' : 'pcapng';
  }

  /**
   * Hands out every record that `chunk` completes.
   * @param chunk read during the call only; the caller may then overwrite it. Ignored after damage, `stop` or `end`.
   */
  push(chunk: Uint8Array): void {
    if (this.#done) return;
    // Always a plain Uint8Array, a Buffer or not, so that who reads `cursor.bytes` sees one kind of object.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    while (this.#carried > 0) {
      const need = this.#parser === null ? MAGIC : this.#parser.need;
      const part = bytes.subarray(at, at + need - this.#carried);
      this.#keep(part);
      at += part.length;
      if (this.#carried < need) return;
      if (this.#consume(this.#carry, 0, need) === need) this.#carried = 0;
      if (this.#done) return;
    }
    at = this.#consume(bytes, at, bytes.length);
    if (!this.#done) this.#keep(bytes.subarray(at));
  }

  /** The stream has ended. What is left of a record is damage of the kind `truncated`. */
  end(): void {
    if (this.#done) return;
    this.#done = true;
    if (this.#parser !== null) this.#damage = this.#parser.unfinished(this.#position, this.#carried);
    else this.#damage = tooShort(this.#carry.subarray(0, this.#carried));
  }

  /** For the handler: hand out nothing more. What follows is not looked at, and is no damage. */
  stop(): void {
    this.#done = true;
    if (this.#parser !== null) this.#parser.stopped = true;
  }

  /** Parses `bytes` from `start` up to `end`. Returns the offset of the first octet not consumed. */
  #consume(bytes: Uint8Array, start: number, end: number): number {
    if (this.#parser === null) {
      if (end - start < MAGIC) return start;
      this.#parser = detect(this.#handler, bytes, start);
      if (this.#parser === null) {
        this.#damage = unknownFormat(bytes.subarray(start, start + MAGIC));
        this.#done = true;
        return start;
      }
    }
    const parser = this.#parser;
    const at = parser.parse(bytes, start, end, this.#position);
    this.#position += at - start;
    if (parser.damage !== null) {
      this.#damage = parser.damage;
      this.#done = true;
    }
    return at;
  }

  /** Appends `part` to what is carried over to the next chunk. */
  #keep(part: Uint8Array): void {
    const carried = this.#carried + part.length;
    if (carried > this.#carry.length) {
      const grown = new Uint8Array(Math.max(carried, 2 * this.#carry.length));
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(part, this.#carried);
    this.#carried = carried;
  }
}

function detect(handler: SavefileHandler, bytes: Uint8Array, start: number): RecordParser | null {
  const magic = new DataView(bytes.buffer, bytes.byteOffset + start, MAGIC).getUint32(0);
  return magic === SECTION_HEADER ? new PcapngParser(handler) : PcapParser.detect(handler, bytes, start);
}

/** What people hand over in place of a savefile, by its first octets in hex. */
const LOOKALIKES: readonly (readonly [string, string])[] = [
  ['1f8b', 'gzip'],
  ['28b52ffd', 'Zstandard'],
  ['fd377a58', 'xz'],
  ['425a68', 'bzip2'],
  ['04224d18', 'LZ4'],
  ['504b0304', 'zip'],
  ['736e6f6f', 'snoop'],
  ['474d4255', 'Microsoft Network Monitor'],
];

function unknownFormat(first: Uint8Array): Damage {
  const hex = Buffer.from(first).toString('hex');
  let guess = LOOKALIKES.find(([magic]) => hex.startsWith(magic))?.[1];
  if (guess === undefined && first.every(isText)) guess = 'text';
  const octets = hex.replace(/..(?=.)/g, '$& ');
  const message = `not a pcap or pcapng file: it begins with ${octets}${guess === undefined ? '' : ` (${guess})`}`;
  return { kind: 'invalid', offset: 0, message };
}

function isText(octet: number): boolean {
  return (octet >= 0x20 && octet < 0x7f) || octet === 0x09 || octet === 0x0a || octet === 0x0d;
}

function tooShort(first: Uint8Array): Damage {
  if (first.length === 0) return { kind: 'invalid', offset: 0, message: 'empty: no pcap or pcapng header' };
  return {
    kind: 'truncated',
    offset: 0,
    message: `truncated: ${first.length} of a file header's octets are there`,
  };
}
