import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { countersBetween, readIcmpCounters, type VersionCounters } from '../../src/host/counters.ts';

function shown(counters: VersionCounters | null): unknown {
  if (counters === null) return null;
  const { received, sent } = counters;
  return [Object.fromEntries(received.byType), received.total, Object.fromEntries(sent.byType), sent.total];
}

describe('a snapshot', () => {
  test('without errors has no IcmpMsg', async () => {
    const { v4, v6 } = await readIcmpCounters('fixtures/proc-every-kind/net');
    const none4 = { 3: 0, 4: 0, 5: 0, 11: 0, 12: 0 };
    const none6 = Object.fromEntries(Array.from({ length: 128 }, (_, type) => [type, 0]));
    expect(shown(v4)).toEqual([none4, 0, none4, 0]);
    expect(shown(v6)).toEqual([none6, 0, none6, 0]);
  });

  test('after errors', async () => {
    const { v4, v6 } = await readIcmpCounters('fixtures/proc-after-errors/net');
    expect([v4!.received.byType.get(3), v4!.received.total, v4!.sent.total]).toEqual([3, 3, 3]);
    expect([v6!.received.byType.get(1), v6!.received.total, v6!.sent.total]).toEqual([2, 2, 2]);
  });

  test('the difference of two', async () => {
    const before = await readIcmpCounters('fixtures/proc-every-kind/net');
    const after = await readIcmpCounters('fixtures/proc-after-errors/net');
    const { v4, v6 } = countersBetween(before, after);
    expect([v4!.received.total, v6!.received.total]).toEqual([3, 2]);
    expect(countersBetween({ ...before, v6: null }, after).v6).toBeNull();
  });

  test('that is missing is unknown', async () => {
    expect(await readIcmpCounters('/nonexistent')).toEqual({ v4: null, v6: null });
  });

  test('never throws, whatever the text', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'net-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const word = fc.constantFrom('IcmpMsg: ', 'InType3 ', 'Icmp6InType1 ', '-1 ', '1e99 ', '\n', '7 ');
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(word).map((words) => words.join('')),
    );
    await fc.assert(
      fc.asyncProperty(text, text, async (snmp, snmp6) => {
        writeFileSync(`${directory}/snmp`, snmp);
        writeFileSync(`${directory}/snmp6`, snmp6);
        const { v4, v6 } = await readIcmpCounters(directory);
        expect(Number.isSafeInteger(v4!.received.total + v6!.received.total)).toBe(true);
      }),
    );
  });
});

test('the running kernel counts a refused datagram', async () => {
  const before = await readIcmpCounters('/proc/net');
  const socket = createSocket('udp4');
  onTestFinished(() => void socket.close());
  socket.connect(9, '127.0.0.1');
  await once(socket, 'connect');
  socket.send('x');
  await once(socket, 'error');
  const { v4 } = countersBetween(before, await readIcmpCounters('/proc/net'));
  expect(v4!.received.byType.get(3)).toBeGreaterThanOrEqual(1);
});
