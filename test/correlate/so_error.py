"""Injects ICMP errors for real UDP sockets, on the loopback of a fresh network namespace, and prints what
SO_ERROR then holds as JSON lines {version, type, code, connected, errno}. Run by `unshare -n`, as root."""

import errno
import json
import os
import socket
import struct
import subprocess

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def quoted(version, sport, dport):
    udp = struct.pack("!HHHH", sport, dport, 8, 0)
    if version == 4:
        address = socket.inet_aton("127.0.0.1")
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0x4000, 64, 17, 0, address, address) + udp
    address = socket.inet_pton(socket.AF_INET6, "::1")
    return struct.pack("!IHBB16s16s", 6 << 28, 8, 17, 64, address, address) + udp


def inject(raw, version, kind, code, sport, dport):
    # An MTU for fragmentation needed and packet too big; a pointer for parameter problem, where it says nothing.
    rest = struct.pack("!HH", 0, 1300) if version == 4 or kind == 2 else bytes(4)
    message = struct.pack("!BBH", kind, code, 0) + rest + quoted(version, sport, dport)
    if version == 4:
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    raw.sendto(message, ("127.0.0.1" if version == 4 else "::1", 0))


CASES = {
    4: [(3, code) for code in range(18)] + [(4, 0), (5, 0), (5, 1), (11, 0), (11, 1), (11, 2), (12, 0), (12, 1)],
    6: [(1, code) for code in range(10)] + [(2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2), (5, 0), (127, 0)],
}

for version, cases in CASES.items():
    family, address = (socket.AF_INET, "127.0.0.1") if version == 4 else (socket.AF_INET6, "::1")
    raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6)
    for kind, code in cases:
        for connected in (True, False):
            client = socket.socket(family, socket.SOCK_DGRAM)
            client.bind((address, 0))
            if connected:
                client.connect((address, 9))
            inject(raw, version, kind, code, client.getsockname()[1], 9)
            number = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            print(json.dumps({"version": version, "type": kind, "code": code, "connected": connected,
                              "errno": errno.errorcode.get(number)}))
            client.close()
