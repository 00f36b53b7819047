/** A UDP tuple as the socket that has it sees it. For an error that came in, local is the quoted source. */
export interface UdpTuple {
  version: 4 | 6;
  local: string;
  localPort: number;
  remote: string;
  remotePort: number;
}

export function tupleKey({ local, localPort, remote, remotePort }: UdpTuple): string {
  return `${local} ${localPort} ${remote} ${remotePort}`;
}

export function isSameTuple(a: UdpTuple, b: UdpTuple): boolean {
  return (
    a === b ||
    (a.localPort === b.localPort && a.remotePort === b.remotePort && a.local === b.local && a.remote === b.remote)
  );
}

/** The tuple of the socket at the other end. */
export function reversed({ version, local, localPort, remote, remotePort }: UdpTuple): UdpTuple {
  return { version, local: remote, localPort: remotePort, remote: local, remotePort: localPort };
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
