import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { UserNames } from '../../src/host/user-names.ts';
import { FakeProc } from './fake-proc.ts';

/** The names in a passwd of this text. */
function namesIn(text: string): UserNames {
  const host = new FakeProc();
  host.file('etc/passwd', text);
  return new UserNames(`${host.root}/etc/passwd`, () => 0);
}

test('of this system are as getpwuid(3) has them', () => {
  const users = new UserNames('/etc/passwd', () => performance.now());
  for (const uid of [0, 1, 65_534]) {
    const name = execFileSync('id', ['-nu', String(uid)], { encoding: 'utf8' }).trim();
    expect(users.nameOf(uid)).toBe(name);
  }
  expect(users.nameOf(4_294_967_294)).toBeNull();
});

test('the first name of a number counts', () => {
  const users = namesIn('root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n');
  expect([users.nameOf(0), users.nameOf(1), users.nameOf(2)]).toEqual(['root', 'daemon', null]);
});

test('what is no line of passwd is passed over', () => {
  const users = namesIn(
    '\n# a comment\n+::::::\nnobody:x:-2:\nhalf:x\nhex:x:0x5:5::/:\nspace:x: 6:6\nlast:x:7:7::/:/bin/sh',
  );
  expect([0, 2, -2, 5, 6].map((uid) => users.nameOf(uid))).toEqual([null, null, null, null, null]);
  expect(users.nameOf(7)).toBe('last');
});

test('a name may be any text', () => {
  expect(namesIn('größe\u001B[2J:x:5:5\n').nameOf(5)).toBe('größe\u001B[2J');
  expect(namesIn('__proto__:x:5:5\n').nameOf(5)).toBe('__proto__');
});

test('without the file, or with one that is too large, nobody has a name', () => {
  expect(new UserNames('/nonexistent', () => 0).nameOf(0)).toBeNull();
  expect(namesIn(`root:x:0:0\n${'#'.repeat(1024 * 1024)}`).nameOf(0)).toBeNull();
});

test('are read again after a minute', () => {
  const host = new FakeProc();
  let time = 0;
  const users = new UserNames(`${host.root}/etc/passwd`, () => time);
  host.file('etc/passwd', 'alice:x:1000:1000\n');
  expect(users.nameOf(1000)).toBe('alice');
  host.file('etc/passwd', 'bob:x:1000:1000\n');
  time = 60_000;
  expect(users.nameOf(1000)).toBe('alice');
  time = 60_001;
  expect(users.nameOf(1000)).toBe('bob');
  rmSync(`${host.root}/etc/passwd`);
  time = 130_000;
  expect(users.nameOf(1000)).toBeNull();
});
