/**
 * What `tcpdump -nn -v` prints of a packet, byte for byte, without the time stamp: the headers of the outer
 * packet and of what an error quotes. Left out is what its application dissectors make of a payload.
 */
import type { Sink } from '../sink.ts';
import { linkPrefix } from '../tcpdump-text.ts';
import { Conversations } from './conversations.ts';
import { printIpv4 } from './ipv4.ts';
import { printIpv6 } from './ipv6.ts';
import { Printer } from './printer.ts';

/** Remembers, as tcpdump does, the TCP conversations of the packets that it has described. */
export function verboseDescriber(): Sink['describe'] {
  const conversations = new Conversations();
  return (bytes, packet, wireEnd, link, interfaceName) => {
    const { ip, ipOffset, end } = packet;
    const print = ip.version === 4 ? printIpv4 : printIpv6;
    const p = new Printer(bytes, end, conversations);
    return linkPrefix(link, interfaceName) + p.finish(() => print(p, ipOffset, wireEnd - ipOffset));
  };
}
