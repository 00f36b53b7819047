/**
 * What a router said behind the quote comes from the packet, also where a comment of `-w` says what it was.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { FIXTURES, udpicmpWatch } from '../command.ts';

const CAPTURE = `${FIXTURES}injected-extension.pcap`;
const directory = mkdtempSync(join(tmpdir(), 'saved-extensions-'));
const SAVED = join(directory, 'saved.pcapng');
const EDITED = join(directory, 'edited.pcapng');
afterAll(() => rmSync(directory, { recursive: true }));

interface Line {
  extensions?: unknown;
  note?: string;
}

function replay(path: string): { lines: Line[]; text: string; stderr: string } {
  const { stdout, stderr, status } = udpicmpWatch(['--json', '-r', path]);
  expect(status).toBe(0);
  return {
    lines: stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Line),
    text: stdout,
    stderr,
  };
}

/** Of the same length, so that the blocks of the file stay whole. */
function edit(from: string, to: string): void {
  const octets = readFileSync(SAVED).toString('latin1').replace(from, to.padEnd(from.length));
  writeFileSync(EDITED, octets, 'latin1');
}

test('saved and replayed they are the same', () => {
  expect(udpicmpWatch(['-r', CAPTURE, '-w', SAVED]).status).toBe(0);
  const { lines, text, stderr } = replay(SAVED);
  const labels = [{ label: 16_001, tc: 0, bottom: true, ttl: 1 }];
  expect(lines.map(({ extensions }) => extensions)).toEqual(lines.map(() => [{ kind: 'mpls', labels }]));
  expect(text).toBe(replay(CAPTURE).text);
  expect(stderr).not.toContain('believed');
});

test.each([
  ['another label', '"label":16001', '"label":16002'],
  ['fewer', '"extensions":[{"kind":"mpls","labels":[{"label":16001,"tc":0,"bottom":true,"ttl":1}]}],', ''],
  [
    'an interface',
    '{"kind":"mpls","labels":[{"label":16001,"tc":0,"bottom":true,"ttl":1}]}',
    '{"kind":"interface","role":"incoming"}',
  ],
])('a comment that says otherwise is not believed: %s', (_name, from, to) => {
  edit(from, to);
  const { lines, stderr } = replay(EDITED);
  expect(stderr).toMatch(/comment in .* is not believed: it is about another packet/);
  expect(stderr).toContain('1 comment not believed');
  expect(lines[0]).toMatchObject({
    extensions: [{ kind: 'mpls', labels: [{ label: 16_001 }] }],
    note: 'its comment is not believed: it is about another packet',
  });
});
