"""What the helpers share: Internet headers and their checksum (RFC 1071)."""

import socket
import struct

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def is_v6(address):
    return ":" in address


def octets_of(address):
    return socket.inet_pton(socket.AF_INET6 if is_v6(address) else socket.AF_INET, address)


def pseudo_header(src, dst, protocol, length):
    if is_v6(src):
        return octets_of(src) + octets_of(dst) + struct.pack("!II", length, protocol)
    return octets_of(src) + octets_of(dst) + struct.pack("!BBH", 0, protocol, length)


def ip_header(src, dst, protocol, length, ttl=64, identification=0, options=b"", fragment=0):
    """An IPv4 or IPv6 header for `length` octets that follow it."""
    if is_v6(src):
        return struct.pack("!IHBB", 0x60000000, length, protocol, ttl) + octets_of(src) + octets_of(dst)
    words = 5 + len(options) // 4
    fixed = struct.pack("!BBHHHBB", 0x40 | words, 0, words * 4 + length, identification, fragment, ttl, protocol)
    addresses = octets_of(src) + octets_of(dst) + options
    return fixed + struct.pack("!H", checksum(fixed + b"\0\0" + addresses)) + addresses


def udp_header(src, sport, dst, dport, payload):
    length = 8 + len(payload)
    header = struct.pack("!HHHH", sport, dport, length, 0)
    value = checksum(pseudo_header(src, dst, UDP, length) + header + payload) or 0xFFFF
    return header[:6] + struct.pack("!H", value)
