import { expect, test } from 'vitest';
import { hidepidOf } from '../../src/host/proc-mount.ts';

const proc = (options: string, where = '/proc'): string =>
  `23 28 0:22 / ${where} rw,nosuid shared:12 - proc proc ${options}\n`;
const ROOT = '28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n';

test.each([
  [proc('rw'), null],
  [proc('rw,hidepid=0'), null],
  [proc('rw,hidepid=off,gid=4'), null],
  [proc('rw,gid=4,hidepid=2'), 'hidepid=2'],
  [proc('rw,hidepid=invisible'), 'hidepid=invisible'],
  [proc('rw,hidepid=ptraceable,subset=pid'), 'hidepid=ptraceable'],
  // Of another /proc, and of one that another is mounted over.
  [proc('rw,hidepid=2', '/srv/proc'), null],
  [proc('rw,hidepid=2') + proc('rw'), null],
  [proc('rw') + proc('rw,hidepid=2'), 'hidepid=2'],
  ['', null],
])('%j', (mountinfo, hidepid) => {
  expect(hidepidOf(ROOT + mountinfo)).toBe(hidepid);
});
