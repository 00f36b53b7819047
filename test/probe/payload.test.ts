import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { checkLength, MAX_PAYLOAD, questionFor, readPayload, WrongArgument } from '../../src/probe/payload.ts';
import { needs, run } from '../command.ts';
import { pcap, u16 } from '../savefile/build.ts';

const directory = mkdtempSync(join(tmpdir(), 'uiw-payload-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, octets: number): string {
  const path = join(directory, name);
  writeFileSync(path, new Uint8Array(octets));
  return path;
}

const NONE = new Uint8Array(0);

/** What tshark makes of a datagram to that port: the fields, one string each. */
function dissected(payload: Uint8Array, port: number, fields: string[]): string[] {
  const LINKTYPE_RAW = 101;
  const ip = Buffer.from('450000000000000040110000c0000201c0000202', 'hex');
  ip.writeUInt16BE(28 + payload.length, 2);
  const data = Buffer.concat([ip, u16('big', 40_000, port, 8 + payload.length, 0), payload]);
  const capture = join(directory, `${port}.pcap`);
  writeFileSync(capture, pcap([{ seconds: 0, nanoseconds: 0, data }], { linkType: LINKTYPE_RAW }));
  const options = ['_ws.malformed', ...fields].flatMap((field) => ['-e', field]);
  const { stdout, stderr } = run('tshark', ['-n', '-r', capture, '-T', 'fields', ...options]);
  const [malformed, ...values] = stdout.replace(/\n$/, '').split('\t');
  expect([malformed, stderr.includes('Malformed')]).toEqual(['', false]);
  return values;
}

test('53: a query for the name servers of the root, recursion desired', (context) => {
  const question = questionFor(53, null);
  const query = question.datagram();
  expect(query).toHaveLength(17);
  needs(context, 'tshark');
  const fields = [
    'dns.flags.response',
    'dns.flags.opcode',
    'dns.flags.recdesired',
    'dns.count.queries',
    'dns.qry.name',
  ];
  const values = dissected(query, 53, [...fields, 'dns.qry.type', 'dns.qry.class', 'dns.id']);
  const id = `0x${Buffer.from(query).toString('hex', 0, 2)}`;
  expect(values.map((value) => value.replace(/^(True|False)$/, (word) => String(Number(word === 'True'))))).toEqual([
    '0',
    '0',
    '1',
    '1',
    '<Root>',
    '2',
    '0x0001',
    id,
  ]);
  expect(question.isAnswered(query, query)).toBe(true);
});

test('123: a client request of version 4, and nothing of this host in it', (context) => {
  const request = questionFor(123, null).datagram();
  expect(request).toHaveLength(48);
  expect(request.subarray(1, 40).every((octet) => octet === 0)).toBe(true);
  needs(context, 'tshark');
  expect(dissected(request, 123, ['ntp.flags.vn', 'ntp.flags.mode', 'ntp.flags.li']).map(Number)).toEqual([4, 3, 0]);
});

test('each datagram is another, and an answer is known by it', () => {
  const dns = questionFor(53, null);
  const ntp = questionFor(123, null);
  const ids = new Set(Array.from({ length: 20 }, () => Buffer.from(ntp.datagram()).toString('hex')));
  expect(ids.size).toBe(20);
  const query = Uint8Array.of(0x12, 0x34, ...dns.datagram().subarray(2));
  expect(dns.isAnswered(query, Uint8Array.of(0x12, 0x34, 0x81))).toBe(true);
  expect(dns.isAnswered(query, Uint8Array.of(0x12, 0x35, 0x81))).toBe(false);
  expect(dns.isAnswered(query, Uint8Array.of(0x12))).toBe(false);
  const request = ntp.datagram();
  const answer = new Uint8Array(48);
  answer.set(request.subarray(40, 48), 24);
  expect(ntp.isAnswered(request, answer)).toBe(true);
  expect(ntp.isAnswered(ntp.datagram(), answer)).toBe(false);
  expect(ntp.isAnswered(request, answer.subarray(0, 31))).toBe(false);
});

test('elsewhere: an empty datagram; what was given goes everywhere, and no answer can be told from another', () => {
  expect(questionFor(9999, null).datagram()).toEqual(NONE);
  for (const port of [53, 123, 9999]) {
    const question = questionFor(port, Uint8Array.of(1, 2));
    expect(question.datagram()).toEqual(Uint8Array.of(1, 2));
    expect(question.isAnswered(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(false);
  }
});

describe('--payload', () => {
  test.each([
    ['hex:', ''],
    ['hex:DEADbeef', 'deadbeef'],
    [file('three', 3), '000000'],
    [file('empty', 0), ''],
  ])('%s', (what, hex) => {
    expect(Buffer.from(readPayload(what)).toString('hex')).toBe(hex);
  });

  test.each([
    ['hex:DEADBEE', /odd number/],
    ['hex:0x12', /not all hexadecimal/],
    ['hex:12 34', /not all hexadecimal/],
    [directory, /EISDIR.*uiw-payload/],
    [join(directory, 'missing'), /ENOENT.*missing/],
    ['/dev/zero', /\/dev\/zero is longer than .*65,527/],
    [file('long', MAX_PAYLOAD[6] + 1), /longer than .*65,527/],
  ])('%s: %s', (what, message) => {
    expect(() => readPayload(what)).toThrow(WrongArgument);
    expect(() => readPayload(what)).toThrow(message);
  });

  test('as long as a datagram may be', () => {
    const octets = readPayload(file('longest', MAX_PAYLOAD[6]));
    expect(octets).toHaveLength(MAX_PAYLOAD[6]);
    checkLength(octets, 6);
    expect(() => checkLength(octets, 4)).toThrow(/65,507/);
    checkLength(octets.subarray(0, MAX_PAYLOAD[4]), 4);
  });
});
