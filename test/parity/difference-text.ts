/**
 * A difference, for people.
 */
import type { Difference } from './compare.ts';

/** Octets of a packet. */
const SHOWN = 256;

export function differenceText({ packet: { origin, data, len }, theirs, ours }: Difference): string {
  const lines = (text: string | null): string => (text ?? '(nothing)').replaceAll('\n', '\n          ');
  const hex = Buffer.from(data.subarray(0, SHOWN)).toString('hex').replaceAll(/.{64}/g, '$&\n          ').trimEnd();
  const size = data.length === len ? `${len} octets` : `${data.length} of ${len} octets`;
  return `${origin}: ${size}\n  hex     ${hex}\n  tcpdump ${lines(theirs)}\n  ours    ${lines(ours)}\n\n`;
}
