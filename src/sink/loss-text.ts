/**
 * What is said of packets that were not seen.
 */
import type { LossRecord } from '../event.ts';
import { counted, grouped } from './numbers.ts';

/** One line, without its end. Names in it are not escaped. */
export function lossText(loss: LossRecord): string {
  switch (loss.cause) {
    case 'buffer-full':
      return `${counted(loss.packets, 'packet')} dropped: the capture buffer was full (-B makes it larger)`;
    case 'softnet':
      return (
        `${counted(loss.packets, 'packet')} of any kind dropped before they could be captured: ` +
        'the receive queue of a CPU was full (net.core.netdev_max_backlog)'
      );
    case 'capture-restarted':
      return (
        `the capture process ended (${loss.why}); capturing again after ${seconds(loss.ms)}; ` +
        (loss.missed === null
          ? 'how many ICMP errors came meanwhile is unknown'
          : `ICMP errors missed so far, by the kernel's count: ${rangeText(loss.missed)}`)
      );
    case 'interface-down':
      return `${loss.interface}: back after ${seconds(loss.ms)}; what came in between was not seen`;
    case 'ended':
      return `${counted(loss.packets, 'packet')} captured and not looked at before the watch ended`;
  }
}

/** `12`, or `12 to 15`. */
export function rangeText({ least, most }: { least: number; most: number }): string {
  return least === most ? grouped(most) : `${grouped(least)} to ${grouped(most)}`;
}

export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
