"""A peer of a probe: probe_peer.py MODE ADDRESS PORT.

dns, ntp: answers a request that is what it should be to the last octet, and no other.
hold: prints the port that a datagram came from, and answers it when it is told to (a line of standard input).
"""

import socket
import struct
import sys

mode, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def dns(query):
    """RFC 1035 section 4.1: one question, for the name servers of the root, with recursion desired."""
    if len(query) < 12:
        return None
    ident, flags, questions, answers, authorities, more = struct.unpack_from("!6H", query)
    if (flags, questions, answers, authorities, more) != (0x0100, 1, 0, 0, 0):
        return None
    name, kind, class_ = struct.unpack("!BHH", query[12:])
    if (name, kind, class_) != (0, 2, 1):
        return None
    name_server = b"\0" + struct.pack("!HHIH", 2, 1, 3600, 8) + b"\2ns\3root\0"[:8]
    return struct.pack("!6H", ident, 0x8180, 1, 1, 0, 0) + query[12:] + name_server


def ntp(request):
    """RFC 5905 section 7.3: a client's, of version 4."""
    leap_version_mode, *others, transmit = struct.unpack("!BBbbIIIQQQQ", request)
    if leap_version_mode != (4 << 3 | 3) or any(others) or transmit == 0:
        return None
    return struct.pack("!BBbbIIIQQQQ", 4 << 3 | 4, 1, 0, -20, 0, 0, 0, 1, transmit, 2, 3)


def hold(_):
    print(f"port {sender[1]}", flush=True)
    return b"held" if sys.stdin.readline() else None


server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((address, port))
print("ready", flush=True)
while True:
    data, sender = server.recvfrom(65536)
    try:
        answer = {"dns": dns, "ntp": ntp, "hold": hold}[mode](data)
    except struct.error:
        answer = None
    if answer is None:
        print(f"wrong {data.hex()}", flush=True)
    else:
        server.sendto(answer, sender)
