/**
 * Hears the ICMP errors that answer the datagrams of a probe: a live capture, searched for the sockets that listen.
 */
import { PROTOCOL } from '../decode/ip.ts';
import { isSupportedLinkType } from '../decode/link.ts';
import { isMalformed, u16, u32 } from '../decode/octets.ts';
import { decodePacket, findIcmp, hasRightChecksum, type IcmpPacket } from '../decode/packet.ts';
import { UDP_HEADER } from '../decode/original-datagram.ts';
import type { PacketCursor } from '../savefile/packet.ts';
import { captureFilters } from '../source/capture-filter.ts';
import { ANY_DEVICE } from '../source/capture-protocol.ts';
import { CaptureError, LiveCapture } from '../source/live.ts';
import { monotonicOf } from './clock.ts';
import type { Endpoint, IcmpError } from './verdict.ts';

/** Probes are few packets; the rest of the host may have more. */
const BUFFER_KIB = 4096;

/** A capture that is not open by then is not waited for. */
const OPEN_WITHIN_MS = 5000;

/** `at`: when it came, by performance.now(). */
export type IcmpListener = (error: IcmpError, at: number) => void;

export class IcmpEar {
  readonly #stop = new AbortController();
  /** By the socket's local port, which no two sockets of one family share. */
  readonly #listeners = new Map<number, { local: Endpoint; target: Endpoint; listener: IcmpListener }>();
  #ended: Promise<void> = Promise.resolve();
  #isListening = false;

  get isListening(): boolean {
    return this.#isListening;
  }

  /**
   * Opens the capture. Resolves with null when it captures, or with why it does not.
   *
   * @param onLost called with one line when a capture that was open is not any more, or was not for a while.
   */
  open(onLost: (why: string) => void): Promise<string | null> {
    return new Promise((resolve) => {
      const late = setTimeout(() => {
        this.#stop.abort();
        resolve(`it took longer than ${OPEN_WITHIN_MS / 1000} s to open`);
      }, OPEN_WITHIN_MS);
      const capture = new LiveCapture(
        {
          device: ANY_DEVICE,
          filters: captureFilters(ANY_DEVICE, false, ''),
          bufferKib: BUFFER_KIB,
          signal: this.#stop.signal,
        },
        {
          beforeChunk: () => {},
          packet: (cursor) => this.#packet(cursor),
          tick: () => {},
          afterChunk: () => Promise.resolve(),
          notice: (notice) => {
            switch (notice.kind) {
              case 'opened':
                clearTimeout(late);
                if (this.#stop.signal.aborted) break;
                this.#isListening = true;
                resolve(null);
                break;
              case 'down':
                onLost(notice.message);
                break;
              case 'restarted':
                onLost(`the capture process ended (${notice.why}), and captures again`);
                break;
              case 'put-off':
                onLost(`the capture process has ended ${notice.times} times in a row (${notice.why})`);
                break;
              case 'stopped':
                onLost(`the capture process is stopped (kill -CONT ${notice.pid})`);
                break;
              case 'dropped':
                onLost('the capture buffer was full');
                break;
              case 'up':
              case 'renamed':
              case 'continued':
              case 'privileges-kept':
              case 'not-followed':
              case 'stderr':
                break;
            }
          },
        },
      );
      this.#ended = capture.run().catch((error: unknown) => {
        clearTimeout(late);
        const why = reason(error);
        if (this.#isListening) onLost(why);
        this.#isListening = false;
        resolve(why);
      });
    });
  }

  /**
   * Calls `listener` for each ICMP error that quotes a datagram of this socket, until the returned function is called. The quote
   * is of the datagram as it was on the wire: NAT of this host may have changed its destination, or its source address.
   * Addresses are without scope, as the decoder writes them.
   */
  listen(local: Endpoint, target: Endpoint, listener: IcmpListener): () => void {
    this.#listeners.set(local.port, { local, target, listener });
    return () => this.#listeners.delete(local.port);
  }

  /** Ends the capture, and resolves when its process is gone. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  #packet({ bytes, offset, caplen, iface, seconds, nanoseconds }: PacketCursor): void {
    if (!isSupportedLinkType(iface.linkType)) return;
    const ipAt = findIcmp(bytes, offset, offset + caplen, iface.linkType, true);
    if (ipAt === -1) return;
    const packet = decodePacket(bytes, ipAt, offset + caplen);
    if (isMalformed(packet) || packet.original === null || isMalformed(packet.original)) return;
    const { type, code } = packet;
    const { ip, ports } = packet.original;
    if (ip.protocol !== PROTOCOL.UDP || ports === null || type === null || code === null) return;
    const heard = this.#listeners.get(ports.source);
    if (heard === undefined) return;
    const { local, target, listener } = heard;
    const isToTarget = ip.dst === target.address && ports.destination === target.port;
    if ((ip.src !== local.address && !isToTarget) || isDropped(bytes, packet, ip.payloadOffset)) return;
    const error: IcmpError = {
      version: packet.ip.version,
      type,
      code,
      src: packet.ip.src,
      mtu: mtuOf(bytes, packet),
      sentFrom: { address: ip.src, port: ports.source },
      sentTo: { address: ip.dst, port: ports.destination },
    };
    listener(error, monotonicOf(seconds * 1000 + nanoseconds / 1e6));
  }
}

/** Why the kernel drops an error before it looks for a socket: icmp_socket_deliver, icmp_rcv; icmpv6_notify, icmpv6_rcv. */
function isDropped(bytes: Uint8Array, packet: IcmpPacket, quotedUdpAt: number): boolean {
  const quotedOctets = packet.icmpOffset + packet.length - quotedUdpAt;
  return quotedOctets < UDP_HEADER || hasRightChecksum(bytes, packet) === false;
}

/** RFC 1191 section 4, RFC 4443 section 3.2; null where the error is another one or tells none. */
function mtuOf(bytes: Uint8Array, { ip, type, code, icmpOffset, end }: IcmpPacket): number | null {
  if (end < icmpOffset + 8) return null;
  if (ip.version === 6) return type === 2 ? u32(bytes, icmpOffset + 4) : null;
  const mtu = type === 3 && code === 4 ? u16(bytes, icmpOffset + 6) : 0;
  return mtu === 0 ? null : mtu;
}

function reason(error: unknown): string {
  if (!(error instanceof CaptureError)) throw error;
  return error.reason === 'no-cap' ? `the native module cap is not built: ${error.message}` : error.message;
}
