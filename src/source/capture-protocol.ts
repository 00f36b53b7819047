/**
 * What the capture process is asked (its one argument, as JSON), what it is told later (lines of JSON on its standard
 * input), and what it reports (lines of JSON on its standard error). The packets go over its standard output, as pcapng.
 */

export type CaptureRequest =
  | {
      list: false;
      device: string;
      /** pcap-filter expressions: the first of them that libpcap takes for the device. */
      filters: readonly string[];
      /** The capture buffer. */
      bufferKib: number;
      /** There was a capture before: where it cannot be opened now, wait until it can be. */
      waits: boolean;
    }
  | { list: true | 'libraries' };

/** Capture also what passes this pcap-filter expression, in place of what was told before; null: nothing else. */
export interface CaptureOrder {
  follow: string | null;
}

export type CaptureReport =
  /** Packets come from now on. `stock`: an unpatched cap, which has no time stamps and no drop counts. */
  | { kind: 'opened'; linkType: string; snaplen: number; stock: boolean }
  /** There is no capture, and there will be none. */
  | { kind: 'failed'; cause: 'no-cap' | 'open'; message: string }
  /** The interface went down or away, or is not up yet; the process waits until it can be opened. */
  | { kind: 'down'; message: string }
  /** It was opened again, this long after it went down. */
  | { kind: 'up'; downMs: number }
  /** The interface has another name; the capture on it goes on, or waits for it by that name. */
  | { kind: 'renamed'; from: string; to: string }
  /** The process holds more than capturing needs: what it could not give up, and why. */
  | { kind: 'privileges-kept'; message: string }
  /** What an order told to capture too cannot be captured. */
  | { kind: 'not-followed'; message: string };

/** An interface as `list: true` gives it: a JSON array of these on standard output. */
export interface ListedInterface {
  name: string;
  description?: string;
  addresses: { addr?: string }[];
}

/** What is captured with, as `list: 'libraries'` gives it: JSON on standard output. */
export interface CaptureLibraries {
  /** Version of the npm package cap. */
  cap: string;
  isPatched: boolean;
  /** pcap_lib_version(); null where cap is not patched, or with an earlier patch. */
  libpcap: string | null;
}

/** libpcap's own words for these interfaces: `any` is all of them. */
export const ANY_DEVICE = 'any';
