/** Some seconds of `npm run fuzz`, the same ones each time, within this process. */
import { expect, test } from 'vitest';
import { checkInput } from './check.ts';
import { makeInput, type Input } from './input.ts';
import { minimise, signature } from './minimise.ts';

test('any octets give lines or damage, and leave nothing behind', { timeout: 60_000 }, () => {
  let shown = 0;
  for (let number = 0; number < 1000; number++) shown += checkInput(makeInput(1, number))?.counts.shown ?? 0;
  // They are not all thrown away at their first octets.
  expect(shown).toBeGreaterThan(1000);
});

test('an input is the same one for its seed and number', () => {
  expect(makeInput(7, 11)).toEqual(makeInput(7, 11));
});

test('a finding is made as small as it can be', async () => {
  const input: Input = { ...makeInput(7, 11), pieces: ['abc', 'xyz', 'def'].map((text) => Buffer.from(text)) };
  const fails = async ({ pieces }: Input): Promise<string | null> =>
    Buffer.concat(pieces).includes('y') ? signature(new Error('at octet 5: y')) : null;
  const { pieces, gzip } = await minimise(input, 'at octet #: y', fails, 10);
  expect(Buffer.concat(pieces).toString()).toBe('y');
  expect(gzip).toBeNull();
});
