"""Sends one IP packet below the kernel's own IP, which would refuse some: send_packet.py DEVICE MAC HEX [TAGS].

TAGS, hexadecimal, are VLAN tags before it, each of a TPID and a TCI; they stand in the frame as a device sends it that
leaves tagging to software.

Checksums are filled in: that of an IPv4 header, of UDP, TCP or ICMP directly behind it, and in IPv6 that of a UDP
header which ends the packet after its extension headers.
"""

import socket
import struct
import sys

from internet import ICMP, TCP, UDP, checksum

device, mac, packet = sys.argv[1], sys.argv[2], bytearray.fromhex(sys.argv[3])
tags = bytes.fromhex(sys.argv[4]) if len(sys.argv) > 4 else b""


def put(offset, value):
    packet[offset : offset + 2] = struct.pack("!H", value)


def fill_transport(protocol, offset, source, destination):
    where = {UDP: 6, TCP: 16, ICMP: 2}.get(protocol)
    if where is None:
        return
    body = bytes(packet[offset:])
    # Of a fragmented datagram the UDP length says more than is here; the checksum is then left as it is.
    if protocol == UDP and struct.unpack_from("!H", body, 4)[0] != len(body):
        return
    pseudo = b"" if protocol == ICMP else source + destination + struct.pack("!II", len(body), protocol)
    put(offset + where, 0)
    value = checksum(pseudo + bytes(packet[offset:]))
    put(offset + where, value or 0xFFFF if protocol == UDP else value)


def fill_v4():
    header = (packet[0] & 15) * 4
    put(10, 0)
    put(10, checksum(bytes(packet[:header])))
    if struct.unpack_from("!H", packet, 6)[0] & 0x1FFF == 0:
        fill_transport(packet[9], header, bytes(packet[12:16]), bytes(packet[16:20]))


def fill_v6():
    following, offset = packet[6], 40
    while following in (0, 43, 44, 60):
        size = 8 if following == 44 else 8 * (packet[offset + 1] + 1)
        following, offset = packet[offset], offset + size
    if following == UDP:
        fill_transport(following, offset, bytes(packet[8:24]), bytes(packet[24:40]))


v4 = packet[0] >> 4 == 4
if v4:
    fill_v4()
else:
    fill_v6()
protocol = 0x0800 if v4 else 0x86DD
raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
frame = tags + struct.pack("!H", protocol) + packet
announced = struct.unpack_from("!H", frame)[0]
raw.sendto(frame[2:], (device, announced, 0, 0, bytes.fromhex(mac.replace(":", ""))))
