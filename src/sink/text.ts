/**
 * Text: tcpdump's line and, below or behind it, the attribution.
 */
import type { IcmpEvent, IncidentRecord } from '../event.ts';
import { attributionText } from './attribution-text.ts';
import type { Octets } from './output.ts';
import type { Sink } from './sink.ts';
import { recordText } from './record-text.ts';
import { tcpdumpLine } from './tcpdump-text.ts';
import { verboseDescriber } from './tcpdump/verbose.ts';
import { timeStamper, type TimeStampStyle } from './time-stamp.ts';

/** `plain`: tcpdump's line alone; `two-line`: the attribution below it; `oneline`: behind it. */
export type TextLayout = 'plain' | 'two-line' | 'oneline';

export interface TextOptions {
  layout: TextLayout;
  timeStamp: TimeStampStyle;
  verbose: boolean;
}

export function textSink(options: TextOptions): Sink {
  const stamp = timeStamper(options.timeStamp);
  const recordStamp = timeStamper(ownStyle(options.timeStamp));
  const separator = options.layout === 'oneline' ? '  ' : '\n\t';
  return {
    printsCount: false,
    describe: options.verbose ? verboseDescriber() : tcpdumpLine,
    format(event: IcmpEvent, line: Octets): Octets {
      const first = stamp(event.seconds, event.nanoseconds) + line;
      if (options.layout === 'plain' || event.outcome === undefined) return `${first}\n`;
      return `${first}${separator}${attributionText(event, options.verbose)}\n`;
    },
    record(record: IncidentRecord): Octets {
      if (options.layout === 'plain') return '';
      return `\t${recordStamp(record.seconds, record.nanoseconds)}${recordText(record)}\n`;
    },
  };
}

/** A line of our own must not change the differences between tcpdump's. */
function ownStyle(style: TimeStampStyle): TimeStampStyle {
  return style === 3 || style === 5 ? 0 : style;
}
