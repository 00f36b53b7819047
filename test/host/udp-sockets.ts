/** Real sockets for the tests, closed when the test ends. */

import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { onTestFinished } from 'vitest';

export interface OpenSocket {
  socket: Socket;
  port: number;
}

/** A UDP socket, bound, and connected where `connect` says to whom. */
export async function openUdp(
  type: 'udp4' | 'udp6',
  options: Omit<SocketOptions, 'type'> & {
    address?: string;
    port?: number;
    connect?: { address: string; port: number };
  } = {},
): Promise<OpenSocket> {
  const { address, port, connect, ...rest } = options;
  const socket = createSocket({ type, ...rest });
  onTestFinished(() => closeUdp(socket));
  socket.bind({ ...(port !== undefined && { port }), ...(address !== undefined && { address }) });
  await once(socket, 'listening');
  if (connect !== undefined) {
    socket.connect(connect.port, connect.address);
    await once(socket, 'connect');
  }
  return { socket, port: socket.address().port };
}

export function closeUdp(socket: Socket): void {
  try {
    socket.close();
  } catch {
    // Already closed.
  }
}

/** The descriptor of a socket of this process. */
export function fdOf(socket: Socket): number {
  return (socket as unknown as Record<symbol, { handle: { fd: number } }>)[stateSymbol(socket)]!.handle.fd;
}

/** The inode of a socket of this process. */
export function inodeOf(socket: Socket): number {
  return Number(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fdOf(socket)}`))![1]);
}

function stateSymbol(socket: Socket): symbol {
  return Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === 'state symbol')!;
}
