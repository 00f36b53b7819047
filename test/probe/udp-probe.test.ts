/** The socket's side of a probe, on the loopback and without a capture: no privilege is needed. */
import { createSocket, Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { IcmpEar } from '../../src/probe/icmp-ear.ts';
import { Pace } from '../../src/probe/pace.ts';
import { questionFor } from '../../src/probe/payload.ts';
import { probePort, type UdpFinding, type UdpProbe } from '../../src/probe/udp-probe.ts';
import type { Endpoint, Finding } from '../../src/probe/verdict.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

type Send = (datagram: Uint8Array, callback: (error: Error | null) => void) => void;

function systemError(code: string): Error {
  return Object.assign(new Error(`send ${code}`), { code, syscall: 'send' });
}

/** Lets the calls of send() fail, in order; null and what comes after do as they do. */
function failSends(...errors: (string | null)[]): { calls: () => number } {
  // oxlint-disable-next-line typescript/unbound-method -- it is called on a socket
  const original = Socket.prototype.send as Send;
  const spy = vi.spyOn(Socket.prototype, 'send') as unknown as ReturnType<typeof vi.fn>;
  let call = 0;
  spy.mockImplementation(function (this: Socket, ...[datagram, callback]: Parameters<Send>) {
    const error = errors[call++] ?? null;
    if (error === null) original.call(this, datagram, callback);
    else process.nextTick(callback, systemError(error));
  });
  return { calls: () => call };
}

/** A port that somebody has; nothing is answered unless told. */
async function server(address: string, answer?: string): Promise<Endpoint & { close: () => void; got: number }> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  const { port } = socket.address();
  const self = { address, port, got: 0, close: () => socket.close() };
  socket.on('message', (_message, from) => {
    self.got++;
    if (answer !== undefined) socket.send(answer, from.port, from.address);
  });
  return self;
}

function probe(target: Endpoint, more: Partial<UdpProbe> = {}): Promise<UdpFinding | null> {
  return probePort({
    target: { address: target.address, port: target.port },
    question: questionFor(target.port, null),
    options: { count: 3, interval: 20, timeout: 60, isCapturing: () => false, isOwn: () => true },
    ear: new IcmpEar(),
    pace: null,
    order: 0,
    signal: new AbortController().signal,
    ...more,
  });
}

async function find(target: Endpoint, more: Partial<UdpProbe> = {}): Promise<Finding> {
  return (await probe(target, more))!.finding;
}

describe.each(['127.0.0.1', '::1'])('%s', (address) => {
  test('answered, with any datagram, an empty one too', async () => {
    for (const answer of ['hello', '']) {
      const peer = await server(address, answer);
      const found = await probe(peer);
      expect(found?.finding).toMatchObject({ verdict: 'answered', octets: answer.length, sent: 1 });
      expect(found?.local).toMatchObject({ address });
      peer.close();
    }
  });

  test('refused: the socket is told', async () => {
    const peer = await server(address);
    peer.close();
    expect(await find(peer)).toMatchObject({ verdict: 'refused', errno: 'ECONNREFUSED', icmp: null, sent: 1 });
  });

  test('silent, after as many datagrams as were asked for', async () => {
    const peer = await server(address);
    expect(await find(peer)).toMatchObject({ verdict: 'silent', sent: 3, icmp: null });
    expect(peer.got).toBe(3);
    peer.close();
  });
});

describe('send() fails', () => {
  test('at the first: this host refuses it', async () => {
    const peer = await server('127.0.0.1');
    const sends = failSends('EHOSTUNREACH');
    expect(await find(peer)).toMatchObject({ verdict: 'local-error', errno: 'EHOSTUNREACH', sent: 0, afterMs: null });
    expect(sends.calls()).toBe(1);
    peer.close();
  });

  test('later, and not when it is sent again: it was the error that an earlier datagram met', async () => {
    const peer = await server('127.0.0.1');
    failSends(null, 'EHOSTUNREACH');
    expect(await find(peer)).toMatchObject({ verdict: 'unreachable', errno: 'EHOSTUNREACH', icmp: null, sent: 2 });
    peer.close();
  });

  test('later, and again the same way: this host refuses it now', async () => {
    const peer = await server('127.0.0.1');
    failSends(null, 'ENETUNREACH', 'ENETUNREACH');
    expect(await find(peer)).toMatchObject({ verdict: 'local-error', errno: 'ENETUNREACH', sent: 1 });
    peer.close();
  });

  test('later with ECONNREFUSED: nothing but ICMP makes that, and nothing is sent again', async () => {
    const peer = await server('127.0.0.1');
    const sends = failSends(null, 'ECONNREFUSED');
    expect(await find(peer)).toMatchObject({ verdict: 'refused', errno: 'ECONNREFUSED', sent: 1 });
    expect(sends.calls()).toBe(2);
    peer.close();
  });

  test('later since the earlier one was too big: it is sent in fragments, and that is no verdict', async () => {
    const peer = await server('127.0.0.1');
    const sends = failSends(null, 'EMSGSIZE');
    expect(await find(peer)).toMatchObject({ verdict: 'silent', sent: 3, tooBig: { mtu: null } });
    expect(sends.calls()).toBe(4);
    peer.close();
  });

  test('what does not leave takes nothing of the pace', async () => {
    const pace = new Pace();
    for (let n = 0; n < 10; n++) {
      failSends('EPERM');
      const finding = await find({ address: '127.0.0.1', port: 9 }, { pace, order: n });
      expect(finding).toMatchObject({ verdict: 'local-error', errno: 'EPERM' });
      vi.restoreAllMocks();
    }
  });
});

test.each([
  ['a broadcast address', '255.255.255.255', 'EACCES'],
  ['a link-local address without its interface', 'fe80::1', 'EINVAL'],
])('%s: connect() fails, and there is no local address', async (_name, address, errno) => {
  const found = await probe({ address, port: 9 });
  expect(found).toMatchObject({ local: null, finding: { verdict: 'local-error', errno, sent: 0 } });
});

test('a socket that is connected to itself would answer itself: another is taken', async () => {
  // oxlint-disable-next-line typescript/unbound-method -- it is called on a socket
  const original = Socket.prototype.remoteAddress;
  const peer = await server('127.0.0.1');
  peer.close();
  let calls = 0;
  vi.spyOn(Socket.prototype, 'remoteAddress').mockImplementation(function (this: Socket) {
    return calls++ === 0 ? this.address() : original.call(this);
  });
  expect(await find(peer)).toMatchObject({ verdict: 'refused' });
  expect(calls).toBe(2);
});

test('a port that every socket gets itself is no answer', async () => {
  vi.spyOn(Socket.prototype, 'remoteAddress').mockImplementation(function (this: Socket) {
    return this.address();
  });
  expect(await find({ address: '127.0.0.1', port: 9 })).toMatchObject({ verdict: 'local-error', errno: 'EADDRINUSE' });
});

test('ends without a finding when it is told to, and closes its socket', async () => {
  const peer = await server('127.0.0.1');
  const stop = new AbortController();
  const close = vi.spyOn(Socket.prototype, 'close');
  const options = { count: 1, interval: 20, timeout: 1e6, isCapturing: () => false, isOwn: () => true };
  const probing = probe(peer, { signal: stop.signal, options });
  await vi.waitUntil(() => peer.got === 1);
  stop.abort();
  expect(await probing).toBeNull();
  expect(close).toHaveBeenCalledTimes(1);
  peer.close();
});
