/**
 * An IP payload: what the printers of the upper layers are given.
 */

/** Where an IP header lies. */
export interface IpAt {
  readonly version: 4 | 6;
  readonly at: number;
}

export interface Payload {
  /** The IP header it belongs to. */
  readonly ip: IpAt;
  /** Where it starts. */
  readonly at: number;
  /** Its octets by the IP header; they need not all have been captured. */
  readonly length: number;
  /** Whether more fragments follow: then no checksum can be told. */
  readonly fragmented: boolean;
}
