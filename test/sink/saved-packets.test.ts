import { Writable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { savedJson, savedJsonOfEntry } from '../../src/correlate/saved-lines.ts';
import type { IcmpEvent, IncidentRecord, ProcessIdentity } from '../../src/event.ts';
import type { CaptureInterface } from '../../src/savefile/packet.ts';
import { attributionText } from '../../src/sink/attribution-text.ts';
import { jsonLine, recordJson } from '../../src/sink/json-lines.ts';
import { Output } from '../../src/sink/output.ts';
import { recordText } from '../../src/sink/record-text.ts';
import { PcapFile, PcapngFile, type PacketWriter, type SavedPacket } from '../../src/sink/saved-packets.ts';
import { errorEvent, processOf, quietOf, recoveredOf, socketOf } from '../events.ts';
import { portUnreachable, RAW } from '../packets.ts';
import { needs, tcpdump, tshark, tsharkFields } from '../savefile/judges.ts';
import { read } from '../savefile/read.ts';

// Thousands of replays, or a dozen processes, a test.
vi.setConfig({ testTimeout: 60_000 });

const ETH0: CaptureInterface = { id: 3, name: 'eth0', linkType: RAW, snaplen: 1024, nanosecondResolution: false };

/** A writer, what it wrote, and how often the file was emptied. */
class Bench {
  readonly writer: PacketWriter;
  emptied = 0;
  readonly #pieces: Buffer[] = [];

  constructor(kind: typeof PcapngFile | typeof PcapFile = PcapngFile) {
    const write: Writable['_write'] = (octets: Buffer, _encoding, callback) => {
      this.#pieces.push(octets);
      callback();
    };
    const output = new Output(new Writable({ write }), (error) => expect.fail(error.message));
    this.writer = new kind(output, () => {
      if (this.#pieces.length > 0) throw new Error('it would lose what was written');
      this.emptied++;
    });
  }

  write(shown: IcmpEvent | IncidentRecord, changes: Partial<SavedPacket> | null = {}): void {
    const bytes = portUnreachable(40_000);
    this.writer.write(shown, changes === null ? null : { bytes, len: bytes.length, iface: ETH0, ...changes });
  }

  get file(): Buffer {
    this.writer.output.flush();
    return Buffer.concat(this.#pieces);
  }
}

const utf8 = (octets: string): string => Buffer.from(octets, 'latin1').toString('utf8');
const lineOf = (event: IcmpEvent): string => utf8(jsonLine(event)).trimEnd();

/** An event whose JSON takes about so many octets, with characters of one to four octets in it. */
function longEvent(octets: number, shift = 0): IcmpEvent {
  const cmdline = 'x'.repeat(shift) + 'aé→😀'.repeat(100);
  const processes: ProcessIdentity[] = [];
  for (let n = 0; n < octets / 1200; n++) processes.push(processOf(n + 1, { cmdline }));
  return errorEvent({ sockets: [socketOf(1, processes)] });
}

describe('a pcapng file', () => {
  test('an error: its packet, a line for people, and the JSON line', () => {
    const bench = new Bench();
    bench.write(errorEvent(), { len: 100 });
    const { records, comments, damage } = read(bench.file);
    expect(damage).toBeNull();
    const { seconds, nanoseconds } = errorEvent();
    const data = portUnreachable(40_000).toString('hex');
    expect(records).toEqual([{ seconds, nanoseconds, len: 100, data, iface: { ...ETH0, id: 0 } }]);
    expect(comments[0]![0]).toBe(utf8(attributionText(errorEvent(), false)));
    expect(comments[0]).toHaveLength(2);
    expect(savedJson(comments[0]!)).toBe(lineOf(errorEvent()));
  });

  test('a message without attribution: its JSON line alone', () => {
    const { errno: _e, outcome: _o, match: _m, sockets: _s, count: _c, ...echo } = errorEvent();
    const bench = new Bench();
    bench.write(echo);
    const { comments } = read(bench.file);
    expect(comments[0]).toHaveLength(1);
    expect(savedJson(comments[0]!)).toBe(lineOf(echo));
  });

  test('recovered: the datagram, with what was said of it', () => {
    const bench = new Bench();
    bench.write(recoveredOf());
    const { comments } = read(bench.file);
    expect(comments[0]![0]).toBe(utf8(recordText(recoveredOf())));
    expect(savedJson(comments[0]!)).toBe(utf8(recordJson(recoveredOf())).trimEnd());
  });

  test('quiet, which has no packet: a journal entry, that tshark lists and libpcap passes over', (ctx) => {
    const bench = new Bench();
    const quiet = quietOf({ sockets: [socketOf(1, [processOf(1, { comm: 'größe\n→\x1b[2J' })])] });
    bench.write(errorEvent());
    bench.write(quiet, null);
    const { journal, records } = read(bench.file);
    expect(records).toHaveLength(1);
    expect(journal.map(savedJsonOfEntry)).toEqual([utf8(recordJson(quiet)).trimEnd()]);
    needs(ctx, 'tshark');
    const fields = ['systemd_journal.message', 'systemd_journal.syslog_id', 'frame.time_epoch'];
    const [, entry] = tsharkFields(bench.file, ...fields);
    const time = `${quiet.seconds}.${String(quiet.nanoseconds).padStart(9, '0')}`;
    // tshark escapes the backslash once more.
    expect(entry!.map(([text]) => text!.replaceAll('\\\\', '\\'))).toEqual([
      utf8(recordText(quiet)),
      'udpicmp-watch',
      time,
    ]);
    needs(ctx, 'tcpdump');
    expect(tcpdump(bench.file)).toMatchObject({ status: 0, records: [{}] });
  });

  test('a line beyond 64 KiB goes on in further comments, cut between characters', (ctx) => {
    const bench = new Bench();
    const events = Array.from({ length: 8 }, (_, shift) => longEvent(300_000, shift));
    for (const event of events) bench.write(event);
    const { comments } = read(bench.file, [4096]);
    for (const [n, event] of events.entries()) {
      expect(comments[n]!.length).toBeGreaterThan(5);
      for (const comment of comments[n]!) {
        expect(comment).not.toContain('\ufffd');
        expect(Buffer.byteLength(comment)).toBeLessThan(65_536);
      }
      expect(savedJson(comments[n]!)).toBe(lineOf(event));
    }
    expect(bench.writer.losses()).toEqual([]);
    needs(ctx, 'tshark');
    expect(tshark(bench.file)).toHaveLength(events.length);
  });

  test('a line for people that is longer than a comment is cut, between characters', () => {
    const bench = new Bench();
    const comm = 'aé→😀'.repeat(10_000);
    const event = errorEvent({ sockets: [socketOf(1, [processOf(1, { comm })])] });
    bench.write(event);
    bench.write(quietOf({ sockets: [socketOf(1, [processOf(1, { comm })])] }), null);
    const { comments, journal, damage } = read(bench.file);
    expect(damage).toBeNull();
    expect(utf8(attributionText(event, false)).startsWith(comments[0]![0]!)).toBe(true);
    expect(Buffer.byteLength(comments[0]![0]!)).toBeGreaterThan(65_530);
    expect(savedJson(comments[0]!)).toBe(lineOf(event));
    expect(Buffer.byteLength(/^MESSAGE=(.*)$/m.exec(journal[0]!)![1]!)).toBeGreaterThan(2040);
    expect(savedJsonOfEntry(journal[0]!)).not.toBeNull();
  });

  test('a line that is longer still is left out and counted; the one for people is there', () => {
    const bench = new Bench();
    // As many comments as a line may have are 64.
    bench.write(longEvent(4_000_000));
    expect(bench.writer.losses()).toEqual([]);
    const event = longEvent(6_000_000);
    bench.write(event);
    bench.write(event);
    const { comments, damage } = read(bench.file);
    expect(damage).toBeNull();
    expect(comments.map((all) => all.length)).toEqual([expect.toSatisfy((n: number) => n > 50 && n <= 65), 1, 1]);
    expect(comments[2]).toEqual([utf8(attributionText(event, false))]);
    expect(savedJson(comments[2]!)).toBeNull();
    expect(bench.writer.losses()).toEqual([expect.stringMatching(/^2 /) as string]);
  });

  test('a line for people beyond 64 KiB is cut between characters, and the file is whole', (ctx) => {
    const bench = new Bench();
    const names = Array.from({ length: 4 }, (_, shift) => 'x'.repeat(shift) + 'aé→😀'.repeat(10_000));
    const events = names.map((comm) => errorEvent({ sockets: [socketOf(1, [processOf(7, { comm })])] }));
    for (const event of events) bench.write(event);
    const sockets = events[0]!.sockets!;
    bench.write(recoveredOf({ sockets }));
    bench.write(quietOf({ sockets }), null);
    const { comments, damage, journal } = read(bench.file);
    expect(damage).toBeNull();
    for (const [n, event] of events.entries()) {
      const [words, ...json] = comments[n]!;
      expect(Buffer.byteLength(words!)).toBeGreaterThan(65_530);
      expect(utf8(attributionText(event, false)).startsWith(words!)).toBe(true);
      expect(savedJson(json)).toBe(lineOf(event));
    }
    expect(savedJson(comments.at(-1)!)).not.toBeNull();
    expect(journal.map(savedJsonOfEntry)).toEqual([expect.stringContaining('"event":"quiet"')]);
    expect(bench.writer.losses()).toEqual([]);
    needs(ctx, 'tshark');
    expect(tshark(bench.file)).toHaveLength(6);
  });

  test('a record of quiet that is too long to be read again is not lost without a word', () => {
    const bench = new Bench();
    const { sockets } = longEvent(1_500_000);
    bench.write(quietOf({ sockets: sockets! }), null);
    const readable = read(bench.file).journal.filter((entry) => savedJsonOfEntry(entry) !== null);
    expect(readable.length + bench.writer.losses().length).toBe(1);
  });

  test('each interface is described once, by name, link type, snapshot length and resolution', () => {
    const bench = new Bench();
    const others = [
      ETH0,
      { ...ETH0, id: 9 },
      { ...ETH0, name: 'eth1' },
      { ...ETH0, name: null },
      { ...ETH0, linkType: 228 },
      { ...ETH0, snaplen: 0 },
      { ...ETH0, nanosecondResolution: true },
      { ...ETH0, name: 'größe' },
      ETH0,
    ];
    for (const iface of others) bench.write(errorEvent({ nanoseconds: 123_456_789 }), { iface });
    const { records } = read(bench.file);
    expect(records.map(({ iface }) => iface.id)).toEqual([0, 0, 1, 2, 3, 4, 5, 6, 0]);
    for (const [n, { iface }] of records.entries()) expect({ ...iface, id: others[n]!.id }).toEqual(others[n]);
    expect(records.map(({ nanoseconds }) => nanoseconds % 1000)).toEqual(
      others.map(({ nanosecondResolution }) => (nanosecondResolution ? 789 : 0)),
    );
  });

  test('after many interfaces a new section begins, and nothing is mixed up', () => {
    const bench = new Bench();
    const names = Array.from({ length: 5000 }, (_, n) => `veth${n % 3000}`);
    for (const name of names) bench.write(errorEvent(), { iface: { ...ETH0, name } });
    const { records, damage } = read(bench.file);
    expect(damage).toBeNull();
    expect(records.map(({ iface }) => iface.name)).toEqual(names);
    expect(Math.max(...records.map(({ iface }) => iface.id))).toBeLessThan(2000);
  });

  test('the file is emptied by the first write, once; without packets it is a file all the same', () => {
    const bench = new Bench();
    expect([bench.file.length, bench.emptied]).toEqual([0, 0]);
    bench.writer.begin();
    bench.writer.begin();
    expect(read(bench.file)).toMatchObject({ format: 'pcapng', records: [], damage: null });
    bench.write(errorEvent());
    bench.writer.begin();
    expect([read(bench.file).records.length, bench.emptied]).toEqual([1, 1]);
  });
});

describe('a pcap file', () => {
  test('the packets alone, in the link type and resolution of the first', (ctx) => {
    const bench = new Bench(PcapFile);
    bench.write(errorEvent({ nanoseconds: 123_456_789 }), { len: 100 });
    bench.write(quietOf(), null);
    bench.write(recoveredOf({ nanoseconds: 1000 }));
    const { format, records, damage } = read(bench.file);
    expect([format, damage]).toEqual(['pcap', null]);
    expect(records.map(({ nanoseconds, len, iface }) => [nanoseconds, len, iface.linkType])).toEqual([
      [123_456_000, 100, RAW],
      [1000, 56, RAW],
    ]);
    needs(ctx, 'tcpdump');
    expect(tcpdump(bench.file).records.map(({ data }) => data)).toEqual(records.map(({ data }) => data));
  });

  test('nanoseconds, where the first packet has them', () => {
    const bench = new Bench(PcapFile);
    const nanoseconds = 123_456_789;
    bench.write(errorEvent({ nanoseconds }), { iface: { ...ETH0, nanosecondResolution: true } });
    bench.write(errorEvent({ nanoseconds: 1000 }));
    expect(read(bench.file).records.map((record) => record.nanoseconds)).toEqual([nanoseconds, 1000]);
  });

  test('packets of other link types are left out and counted', () => {
    const bench = new Bench(PcapFile);
    for (const linkType of [RAW, 1, RAW, 276, 1]) bench.write(errorEvent(), { iface: { ...ETH0, linkType } });
    expect(read(bench.file).records).toHaveLength(2);
    expect(bench.writer.losses()).toEqual([expect.stringMatching(/^3 packets not saved/) as string]);
  });

  test('without packets it is a file all the same', () => {
    const bench = new Bench(PcapFile);
    bench.writer.begin();
    expect(read(bench.file)).toMatchObject({ format: 'pcap', records: [], damage: null });
    expect([bench.emptied, bench.writer.losses()]).toEqual([1, []]);
  });
});
