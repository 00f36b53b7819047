/**
 * Each fixture beside what the command makes of it, for the reader's sake: `npm run goldens` writes them anew.
 */
import { expect, test } from 'vitest';
import { captures, FIXTURES, udpicmpWatch } from './command.ts';

test.each(captures())('%s', async (name) => {
  const text = udpicmpWatch(['-r', FIXTURES + name]);
  await expect(text.stdout).toMatchFileSnapshot(`${FIXTURES}golden/${name}.txt`);
  const json = udpicmpWatch(['--json', '-r', FIXTURES + name]);
  await expect(json.stdout).toMatchFileSnapshot(`${FIXTURES}golden/${name}.json`);
});
