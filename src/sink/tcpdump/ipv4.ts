/**
 * An IPv4 packet, as `-v` prints it: the header in parentheses, then its payload on a line of its own.
 */
import { checksum, rightChecksum, sumOf } from './checksum.ts';
import { printIpv4Options } from './ipv4-options.ts';
import { bitNames, hex, type Printer } from './printer.ts';
import { printUpperLayer, protocolName, startsWithAddresses } from './upper-layer.ts';

const HEADER = 20;

const MORE_FRAGMENTS = 0x2000;
/** The first is `evil` in RFC 3514. */
const FLAGS = [
  [MORE_FRAGMENTS, '+'],
  [0x4000, 'DF'],
  [0x8000, 'rsvd'],
] as const;

/** RFC 3168, section 5: the two low bits of the former type of service. */
const CONGESTION = ['', ',ECT(1)', ',ECT(0)', ',CE'] as const;

/**
 * RFC 791, section 3.1; `length` octets of it are there by the layer below.
 *
 *   0  |Version|  IHL  |Type of Service|          Total Length         |
 *   4  |         Identification        |Flags|      Fragment Offset    |
 *   8  |  Time to Live |    Protocol   |         Header Checksum       |
 *  12  |                       Source Address                          |
 *  16  |                    Destination Address                        |
 *  20  |                    Options                    |    Padding    |
 */
export function printIpv4(p: Printer, at: number, length: number): void {
  p.protocol = 'ip';
  const version = p.u8(at) >> 4;
  if (version !== 4) {
    p.print(version === 6 ? 'IP6, wrong link-layer encapsulation' : `IP${version}`);
    p.printInvalid();
    return;
  }
  p.print('IP ');
  if (!p.has(at, HEADER)) {
    p.printTruncated();
    return;
  }
  if (length < HEADER) {
    p.print(`truncated-ip ${length}`);
    return;
  }
  const headerLength = (p.u8(at) & 0x0f) * 4;
  if (headerLength < HEADER) {
    p.print(`bad-hlen ${headerLength}`);
    return;
  }
  const totalLength = p.u16(at + 2);
  if (length < totalLength) p.print(`truncated-ip - ${totalLength - length} bytes missing! `);
  if (totalLength < headerLength) {
    p.print(`bad-len ${totalLength}`);
    return;
  }
  p.within(at, totalLength, () => printPacket(p, at, headerLength, totalLength));
}

function printPacket(p: Printer, at: number, headerLength: number, totalLength: number): void {
  const fragment = p.u16(at + 6);
  const protocol = p.u8(at + 9);
  const offset = (fragment & 0x1fff) * 8;
  const optionsRead = printHeader(p, at, headerLength, totalLength);

  const addresses = `${p.ipv4(at + 12)} > ${p.ipv4(at + 16)}:`;
  if (!optionsRead) {
    p.print(`${addresses} `);
    p.printTruncated();
    return;
  }
  if (offset !== 0) {
    p.print(`${addresses} ip-proto-${protocol}`);
    return;
  }
  if (!startsWithAddresses(protocol)) p.print(`${addresses} `);
  if (!p.has(at, headerLength)) {
    p.print(` [remaining caplen(${p.available(at)}) < header length(${headerLength})]`);
    p.need(at, headerLength);
  }
  printUpperLayer(p, protocol, {
    ip: { version: 4, at },
    at: at + headerLength,
    length: totalLength - headerLength,
    fragmented: (fragment & MORE_FRAGMENTS) !== 0,
  });
}

/** The header in its parentheses; false where an option was cut off. */
function printHeader(p: Printer, at: number, headerLength: number, totalLength: number): boolean {
  const typeOfService = p.u8(at + 1);
  const fragment = p.u16(at + 6);
  const timeToLive = p.u8(at + 8);
  const protocol = p.u8(at + 9);
  p.print(
    `(tos 0x${hex(typeOfService)}${CONGESTION[typeOfService & 3]}` +
      `${timeToLive === 0 ? '' : `, ttl ${timeToLive}`}, id ${p.u16(at + 4)}, offset ${(fragment & 0x1fff) * 8}, ` +
      `flags [${bitNames(FLAGS, fragment, ', ')}], proto ${protocolName(protocol)} (${protocol}), length ${totalLength}`,
  );
  let optionsRead = true;
  if (headerLength > HEADER) {
    p.print(', options (');
    optionsRead = printIpv4Options(p, at + HEADER, headerLength - HEADER);
    p.print(optionsRead ? ')' : ' [truncated-option])');
  }
  if (p.has(at, headerLength)) {
    const computed = checksum(sumOf(p.bytes, at, headerLength));
    const stated = p.u16(at + 10);
    if (computed !== 0) p.print(`, bad cksum ${hex(stated)} (->${hex(rightChecksum(stated, computed))})!`);
  }
  p.print(')\n    ');
  return optionsRead;
}
