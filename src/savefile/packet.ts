/**
 * The types that the savefile readers hand out and the pcapng writer takes.
 */

/**
 * One packet of a savefile. The reader owns a single cursor and moves it from record to record, and
 * `bytes` is its working block: whoever wants to keep anything beyond the call copies it.
 */
export interface PacketCursor {
  /** The block the packet lies in. Valid only during the call. */
  bytes: Uint8Array;
  /** Where in `bytes` the packet's first octet is. */
  offset: number;
  /** Octets captured, all of them present in `bytes`. */
  caplen: number;
  /** Octets on the wire. */
  len: number;
  /** Whole seconds since 1970-01-01T00:00:00Z. */
  seconds: number;
  /** Nanoseconds within the second, 0 to 999,999,999. */
  nanoseconds: number;
  iface: CaptureInterface;
  /** Comments on the packet (pcapng opt_comment), mostly none. Hostile text. */
  comments: readonly string[];
}

/** The comments of a packet without any. */
export const NO_COMMENTS: readonly string[] = [];

/** The interface a packet was captured on. A classic pcap file has exactly one, and no name for it. */
export interface CaptureInterface {
  /** The number within its section (pcapng Interface ID); 0 for a classic pcap file. */
  id: number;
  /** The name that the capture recorded (pcapng if_name), or null. Hostile text. */
  name: string | null;
  /** LINKTYPE_ value, https://www.tcpdump.org/linktypes.html */
  linkType: number;
  /** Octets captured of each packet at the most; 0: no limit. */
  snaplen: number;
  /** Whether the time stamps are finer than microseconds. */
  nanosecondResolution: boolean;
}

/** libpcap's counts for an interface (pcapng Interface Statistics Block); null where the block has none. */
export interface InterfaceStatistics {
  /** When they were read: since 1970-01-01T00:00:00Z, as in PacketCursor. */
  seconds: number;
  nanoseconds: number;
  /** pcap_stats ps_recv: packets that passed the filter. */
  received: number | null;
  /** pcap_stats ps_drop: packets dropped because the capture buffer was full. */
  dropped: number | null;
  /** Packets that the capturing program was given: those received and not dropped, but for what waits in the buffer. */
  delivered: number | null;
}

/** What a reader calls, in the order of the stream. */
export interface SavefileHandler {
  /**
   * Whether the packet in bytes[offset, end) is wanted; all are where this is absent. Asked before anything else of the
   * record is looked at: in most captures most packets are not. One with comments comes without being asked for.
   */
  wants?(bytes: Uint8Array, offset: number, end: number, linkType: number): boolean;
  packet(cursor: PacketCursor): void;
  statistics?(iface: CaptureInterface, counts: InterfaceStatistics): void;
  /** A systemd Journal Export Block: an entry's fields, a line each. Hostile text. */
  journalEntry?(entry: string): void;
}

/** Why a reader stopped before the end. All that stood before it has been handed out. */
export interface Damage {
  /** `truncated`: the stream ends within a record. `invalid`: its bytes contradict the format. */
  kind: 'truncated' | 'invalid';
  /** Octets from the start of the (uncompressed) stream to the record that is damaged. */
  offset: number;
  /** One line, without the file's name: what is wrong. */
  message: string;
}
