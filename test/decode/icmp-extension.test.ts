import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  decodeExtensions,
  type IcmpExtension,
  type IcmpExtensions,
  type InterfaceInformation,
} from '../../src/decode/icmp-extension.ts';
import { isMalformed, type Malformed } from '../../src/decode/octets.ts';
import { checksum, decodePacket, type IcmpPacket } from '../../src/decode/packet.ts';
import { needs, run } from '../command.ts';
import { pcap } from '../savefile/build.ts';

const RAW = 101;
const QUOTE_V4 = octets('4500001c beef0000 4011 0000 c000020a c6336414 9c40270f 00080000');
const QUOTE_V6 = octets(
  `600000000008 11 40 20010db8${'00'.repeat(11)}01 20010db8${'00'.repeat(11)}02 9c40270f 00080000`,
);

/** Two labels; all an interface can have; IPv6 address and next hop; an object of another class. */
const MPLS = '000c 0101 03e81605 0002a101';
const INTERFACE = '0020 020f 00000007 0001 0000 c0000209 0c67652d302f302f30000000 000005dc';
const NEXT_HOP = `0018 02c4 0002 0000 20010db8${'00'.repeat(11)}09`;
const OTHER = '0008 0302 00000001';

const MPLS_FOUND: IcmpExtension = {
  kind: 'mpls',
  labels: [
    { label: 16001, tc: 3, bottom: false, ttl: 5 },
    { label: 42, tc: 0, bottom: true, ttl: 1 },
  ],
};
const INTERFACE_FOUND: IcmpExtension = {
  kind: 'interface',
  role: 'incoming',
  ifIndex: 7,
  address: '192.0.2.9',
  name: 'ge-0/0/0',
  mtu: 1500,
};

function octets(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

function structure(objects: Uint8Array, change: { version?: number; checksum?: number } = {}): Buffer {
  const bytes = Buffer.concat([Buffer.from([(change.version ?? 2) << 4, 0, 0, 0]), objects]);
  bytes.writeUInt16BE(change.checksum ?? ~checksum(bytes, 0, bytes.length) & 0xffff, 2);
  return bytes;
}

interface Shape {
  version?: 4 | 6;
  type?: number;
  /** Octets of the quote, padding included; and what the length attribute says, in its own unit. */
  quote?: number;
  attribute?: number;
}

/** An IP packet with an ICMP error and what stands behind its quote. */
function errorWith(behind: Uint8Array, shape: Shape = {}): Buffer {
  const { version = 4, type = version === 4 ? 11 : 3, quote = 128 } = shape;
  const attribute = shape.attribute ?? quote / (version === 4 ? 4 : 8);
  const message = Buffer.concat([
    version === 4 ? Buffer.from([type, 0, 0, 0, 0, attribute, 0, 0]) : Buffer.from([type, 0, 0, 0, attribute, 0, 0, 0]),
    version === 4 ? QUOTE_V4 : QUOTE_V6,
    Buffer.alloc(quote - (version === 4 ? QUOTE_V4 : QUOTE_V6).length),
    behind,
  ]);
  const header =
    version === 4
      ? octets('45000000 00010000 4001 0000 c0000214 c000020a')
      : octets(`60000000 0000 3a40 20010db8${'00'.repeat(11)}09 20010db8${'00'.repeat(11)}01`);
  header.writeUInt16BE(message.length + (version === 4 ? 20 : 0), version === 4 ? 2 : 4);
  return Buffer.concat([header, message]);
}

function decode(packet: Uint8Array, end = packet.length): IcmpExtensions | Malformed | null {
  const decoded = decodePacket(packet, 0, end);
  return isMalformed(decoded) ? decoded : decodeExtensions(packet, decoded);
}

function found(...objects: IcmpExtension[]): IcmpExtensions {
  return { objects, malformed: null };
}

describe.each([4, 6] as const)('IPv%i', (version) => {
  test.each([
    ['an MPLS label stack', MPLS, MPLS_FOUND],
    ['an interface with all there is', INTERFACE, INTERFACE_FOUND],
    ['a next hop', NEXT_HOP, { kind: 'interface', role: 'next-hop', address: '2001:db8::9' }],
    ['no part of an interface but its role', '0004 0280', { kind: 'interface', role: 'outgoing' }],
    ['the part of a bundle', '0008 0248 00000003', { kind: 'interface', role: 'incoming-sub-ip', ifIndex: 3 }],
    ['a class that is not looked into', OTHER, { kind: 'other', class: 3, ctype: 2, length: 4 }],
    ['another C-Type of MPLS', '0008 0102 00000001', { kind: 'other', class: 1, ctype: 2, length: 4 }],
  ] as const)('%s', (_name, object, expected) => {
    expect(decode(errorWith(structure(octets(object)), { version }))).toEqual(found(expected as IcmpExtension));
  });

  test('several, behind a quote of any length', () => {
    const objects = structure(octets(MPLS + INTERFACE + OTHER));
    for (const quote of [128, 136, 256, 512]) {
      const packet = errorWith(objects, { version, quote });
      expect(decode(packet)).toMatchObject({ objects: [MPLS_FOUND, INTERFACE_FOUND, { class: 3 }], malformed: null });
    }
  });

  test('cut short: its checksum cannot be known', () => {
    const packet = errorWith(structure(octets(MPLS)), { version });
    for (let end = packet.length - 16; end < packet.length; end++) {
      expect(decode(packet, end)).toMatchObject({
        layer: 'extension',
        reason: 'truncated',
        have: end - packet.length + 16,
      });
    }
  });

  test('a wrong version, a wrong checksum, none', () => {
    const objects = octets(MPLS);
    const invalid = { layer: 'extension', reason: 'invalid' };
    expect(decode(errorWith(structure(objects, { version: 1 }), { version }))).toMatchObject(invalid);
    expect(decode(errorWith(structure(objects, { checksum: 1 }), { version }))).toMatchObject(invalid);
    expect(decode(errorWith(structure(objects, { checksum: 0 }), { version }))).toEqual(found(MPLS_FOUND));
  });

  test('not behind a quote that is shorter than one may be', () => {
    const objects = structure(octets(MPLS + INTERFACE + OTHER));
    for (const quote of [64, 120]) expect(decode(errorWith(objects, { version, quote }))).toBeNull();
  });

  test('the attribute says more than is there', () => {
    const packet = errorWith(structure(octets(MPLS)), { version, attribute: 255 });
    expect(decode(packet)).toMatchObject({ layer: 'extension', reason: 'invalid', have: 0 });
  });

  test.each([
    ['shorter than its own header', '0003 0101'],
    ['longer than the message', '0010 0101 03e81605'],
    ['less than a header', '0008'],
    ['no whole label', '0006 0101 03e8'],
    ['more labels than are believed', `0088 0101${'00000101'.repeat(33)}`],
    ['no index', '0004 0208'],
    ['half an address', '000a 0204 0001 0000 c000'],
    ['an address of no known family', '000c 0204 0003 0000 c0000209'],
    ['a name longer than the object', '0008 0202 0c67652d'],
    ['a name of no length', '0008 0202 00000000'],
    ['a name longer than any', `0048 0202 44${'61'.repeat(67)}`],
    ['no MTU', '0004 0201'],
  ])('an object that does not fit, %s: what stands before it is kept', (_name, object) => {
    const packet = errorWith(structure(octets(MPLS + object)), { version });
    expect(decode(packet)).toEqual({
      objects: [MPLS_FOUND],
      malformed: expect.objectContaining({ layer: 'extension', reason: 'invalid' }) as Malformed,
    });
  });

  test('more objects than are believed', () => {
    const result = decode(errorWith(structure(octets(OTHER.repeat(17))), { version })) as IcmpExtensions;
    expect(result.objects).toHaveLength(16);
    expect(result.malformed).not.toBeNull();
  });

  test('messages without a length attribute have none', () => {
    const types = version === 4 ? [0, 4, 5, 8, 13] : [2, 4, 128, 137];
    for (const type of types) expect(decode(errorWith(structure(octets(MPLS)), { version, type }))).toBeNull();
  });

  test('addresses and ports of the quote are those that the kernel reads, whatever the attribute says', () => {
    const ports = { source: 40_000, destination: 9999 };
    for (const attribute of [0, 1, 2, 16, 255]) {
      const packet = errorWith(structure(octets(MPLS)), { version, attribute });
      expect((decodePacket(packet, 0, packet.length) as IcmpPacket).original).toMatchObject({ ports, malformed: null });
    }
  });
});

describe('without the attribute, as some routers send it', () => {
  const old = { attribute: 0 };

  test('behind 128 octets of the quote', () => {
    for (const type of [3, 11, 12]) {
      const packet = errorWith(structure(octets(MPLS)), { ...old, type });
      expect(decode(packet)).toEqual(found(MPLS_FOUND));
    }
  });

  test.each([
    ['of another version', structure(octets(MPLS), { version: 4 })],
    ['with a wrong checksum', structure(octets(MPLS), { checksum: 1 })],
    ['with none', structure(octets(MPLS), { checksum: 0 })],
    ['with nothing in it', structure(Buffer.alloc(0))],
    ['with an object that does not fit', structure(octets('0010 0101 03e81605'))],
    ['the rest of a long quote', Buffer.alloc(300, 0x61)],
  ])('no extension: %s', (_name, behind) => {
    expect(decode(errorWith(behind, old))).toBeNull();
  });

  test('not behind another number of octets, nor cut short, nor in IPv6', () => {
    const objects = structure(octets(MPLS));
    expect(decode(errorWith(objects, { ...old, quote: 124 }))).toBeNull();
    expect(decode(errorWith(objects, { ...old, version: 6 }))).toBeNull();
    const packet = errorWith(objects, old);
    for (let end = 28; end < packet.length; end++) expect(decode(packet, end)).toBeNull();
  });
});

const directory = mkdtempSync(join(tmpdir(), 'icmp-extension-'));
afterAll(() => rmSync(directory, { recursive: true }));

type Tree = { [key: string]: Tree | Tree[] | string };

/** tshark 4.0 does not show a name that nothing stands behind. */
const LEFT_OUT = 'left out';

/** Labels and interfaces in what tshark says of the extension structure, in order. */
function ofTshark(tree: Tree): { labels: unknown[][]; interfaces: unknown[][] } {
  const labels: unknown[][] = [];
  const interfaces: unknown[][] = [];
  const visit = (node: Tree): void => {
    if (node['icmp.mpls.label'] !== undefined) {
      labels.push([node['icmp.mpls.label'], node['icmp.mpls.exp'], node['icmp.mpls.s'], node['icmp.mpls.ttl']]);
    }
    const ctype = node['icmp.ext.ctype_tree'] as Tree | undefined;
    if (ctype !== undefined) {
      const address = node['IP Address Sub-Object'] as Tree | undefined;
      const name = node['Interface Name Sub-Object'] as Tree | undefined;
      interfaces.push([
        ctype['icmp.int_info.role'],
        node['icmp.int_info.index'],
        address?.['icmp.int_info.ipv4'] ?? address?.['icmp.int_info.ipv6'],
        name === undefined ? undefined : (name['icmp.int_info.name'] ?? LEFT_OUT),
        node['icmp.int_info.mtu'],
      ]);
    }
    for (const child of Object.values(node).flat()) if (typeof child === 'object') visit(child);
  };
  visit(tree);
  return { labels, interfaces };
}

/** The same of what is decoded here. */
function ofOurs(objects: readonly IcmpExtension[]): ReturnType<typeof ofTshark> {
  const roles = ['incoming', 'incoming-sub-ip', 'outgoing', 'next-hop'];
  const text = (value: number | undefined): string | undefined => value?.toString();
  return {
    labels: objects.flatMap((object) =>
      object.kind === 'mpls'
        ? object.labels.map(({ label, tc, bottom, ttl }) => [label, tc, bottom ? 1 : 0, ttl].map(String))
        : [],
    ),
    interfaces: objects
      .filter((object): object is InterfaceInformation => object.kind === 'interface')
      .map(({ role, ifIndex, address, name, mtu }) => [
        String(roles.indexOf(role)),
        text(ifIndex),
        address,
        name,
        text(mtu),
      ]),
  };
}

/** Objects of all sorts; names are short ASCII, which tshark does not escape. */
const anyObject = fc.oneof(
  fc
    .array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 1, maxLength: 6 })
    .map((labels) => objectOf(1, 1, labels.map(word))),
  fc
    .record({
      role: fc.nat(3),
      ifIndex: fc.option(fc.integer({ min: 1, max: 0xffff_ffff })),
      address: fc.option(fc.constantFrom('00010000c0000209', `0002000020010db8${'00'.repeat(11)}09`)),
      name: fc.option(fc.stringMatching(/^[a-z][a-z0-9/.-]{0,30}$/)),
      mtu: fc.option(fc.integer({ min: 0, max: 65_535 })),
    })
    .map(({ role, ifIndex, address, name, mtu }) => {
      const parts: Buffer[] = [];
      if (ifIndex !== null) parts.push(word(ifIndex));
      if (address !== null) parts.push(octets(address));
      if (name !== null) {
        const part = Buffer.alloc(Math.ceil((name.length + 1) / 4) * 4);
        part[0] = part.length;
        part.write(name, 1);
        parts.push(part);
      }
      if (mtu !== null) parts.push(word(mtu));
      const has = [ifIndex, address, name, mtu].reduce<number>((bits, part) => bits * 2 + (part === null ? 0 : 1), 0);
      return objectOf(2, (role << 6) | has, parts);
    }),
);

function objectOf(classNumber: number, ctype: number, parts: readonly Buffer[]): Buffer {
  const payload = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([0, 4 + payload.length, classNumber, ctype]), payload]);
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

test('labels and interfaces are those that tshark reads', (context) => {
  needs(context, 'tshark');
  const anyError = fc.record({
    objects: fc.array(anyObject, { minLength: 1, maxLength: 4 }),
    version: fc.constantFrom(4 as const, 6 as const),
    quote: fc.constantFrom(128, 160, 256),
  });
  const packets = fc
    .sample(anyError, { numRuns: 300, seed: 1 })
    .map(({ objects, version, quote }) => errorWith(structure(Buffer.concat(objects)), { version, quote }));
  const file = join(directory, 'extensions.pcap');
  writeFileSync(
    file,
    pcap(
      packets.map((data) => ({ seconds: 1, nanoseconds: 0, data })),
      { linkType: RAW },
    ),
  );
  const { stdout } = run('tshark', ['-r', file, '-T', 'json', '--no-duplicate-keys']);
  const theirs = JSON.parse(stdout) as Record<'_source', { layers: { icmp?: Tree; icmpv6?: Tree } }>[];
  expect(theirs).toHaveLength(packets.length);
  let interfaces = 0;
  for (const [index, packet] of packets.entries()) {
    const ours = ofOurs((decode(packet) as IcmpExtensions).objects);
    const { icmp, icmpv6 } = theirs[index]!['_source'].layers;
    const tsharks = ofTshark((icmp?.['icmp.ext'] ?? icmpv6?.['icmp.ext'] ?? {}) as Tree);
    for (const [at, theirInterface] of tsharks.interfaces.entries()) {
      if (theirInterface[3] === LEFT_OUT) theirInterface[3] = ours.interfaces[at]?.[3];
    }
    // It groups equal labels.
    expect([index, ours.labels.toSorted(), ours.interfaces]).toEqual([
      index,
      tsharks.labels.toSorted(),
      tsharks.interfaces,
    ]);
    interfaces += ours.interfaces.length;
  }
  expect(interfaces).toBeGreaterThan(100);
});

test('any octets: objects, or a Malformed that says where; nothing is read behind the end', () => {
  const good = errorWith(structure(octets(MPLS + INTERFACE)));
  const spoilt = fc
    .tuple(
      fc.array(anyObject, { maxLength: 20 }).map((objects) => Buffer.concat(objects)),
      fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 4 }),
      fc.record({
        version: fc.constantFrom(4 as const, 6 as const),
        quote: fc.constantFrom(64, 128, 256),
        attribute: fc.option(fc.nat(255), { nil: undefined }),
      }),
    )
    .map(([objects, changes, { attribute, ...shape }]) => {
      for (const [at, value] of changes) if (at < objects.length) objects[at] = value;
      return errorWith(structure(objects), { ...shape, ...(attribute !== undefined && { attribute }) });
    });
  const anything = fc.uint8Array({ maxLength: 400 }).map((behind) => errorWith(behind, { attribute: 0 }));
  fc.assert(
    fc.property(fc.oneof(spoilt, anything), fc.nat(700), (packet, cut) => {
      for (const end of [packet.length, Math.min(cut, packet.length)]) {
        const result = decode(packet, end);
        // As if there were nothing behind it.
        expect(result).toEqual(decode(packet.subarray(0, end), end));
        if (result === null) continue;
        const malformed = isMalformed(result) ? result : result.malformed;
        if (!isMalformed(result)) expect(result.objects.length).toBeLessThanOrEqual(16);
        if (malformed?.reason === 'truncated') expect(malformed.have).toBeLessThan(malformed.need);
      }
      expect(decode(good)).toEqual(found(MPLS_FOUND, INTERFACE_FOUND));
    }),
    { numRuns: 3000 },
  );
});
