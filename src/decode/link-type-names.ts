/**
 * Names of link types, as libpcap and so tcpdump have them, for saying that packets of one are not read.
 * https://www.tcpdump.org/linktypes.html
 */
const NAMES: Readonly<Record<number, string>> = {
  6: 'IEEE802',
  7: 'ARCNET',
  8: 'SLIP',
  10: 'FDDI',
  100: 'ATM_RFC1483',
  105: 'IEEE802_11',
  107: 'FRELAY',
  109: 'ENC',
  114: 'LTALK',
  117: 'PFLOG',
  119: 'PRISM_HEADER',
  122: 'IP_OVER_FC',
  127: 'IEEE802_11_RADIO',
  140: 'MTP2',
  141: 'MTP3',
  143: 'DOCSIS',
  163: 'IEEE802_11_RADIO_AVS',
  187: 'BLUETOOTH_HCI_H4',
  189: 'USB_LINUX',
  192: 'PPI',
  195: 'IEEE802_15_4',
  201: 'BLUETOOTH_HCI_H4_WITH_PHDR',
  219: 'MPLS',
  220: 'USB_LINUX_MMAPPED',
  227: 'CAN_SOCKETCAN',
  230: 'IEEE802_15_4_NOFCS',
  231: 'DBUS',
  239: 'NFLOG',
  242: 'IPOIB',
  247: 'INFINIBAND',
  248: 'SCTP',
  249: 'USBPCAP',
  251: 'BLUETOOTH_LE_LL',
  253: 'NETLINK',
  254: 'BLUETOOTH_LINUX_MONITOR',
  256: 'BLUETOOTH_LE_LL_WITH_PHDR',
  258: 'PKTAP',
  266: 'USB_DARWIN',
  271: 'VSOCK',
  272: 'NORDIC_BLE',
  274: 'ETHERNET_MPACKET',
  280: 'VPP_DISPATCH',
  281: 'DSA_TAG_BRCM',
  283: 'IEEE802_15_4_TAP',
  284: 'DSA_TAG_DSA',
};

/** `IEEE802_11 (105)`, or the number alone where it has no name here. */
export function linkTypeName(linkType: number): string {
  const name = NAMES[linkType];
  return name === undefined ? String(linkType) : `${name} (${linkType})`;
}
