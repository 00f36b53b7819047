"""Injects ICMP and ICMPv6 errors that quote any datagram, from the namespace it runs in.

Each line of standard input is an InjectedError of network.ts as JSON; each is answered, when all of its packets
are sent, by a line {"sent", "seconds"}. With "write" the packets go to a pcap file, for tcpreplay.
"""

import json
import socket
import struct
import sys
import time

from internet import ICMP, ICMPV6, UDP, checksum, ip_header, is_v6, pseudo_header, udp_header

IPV6_HDRINCL = 36


def quote(quoted, n, vary):
    src, dst = quoted["src"], quoted["dst"]
    protocol = quoted.get("protocol", UDP)
    payload = bytes.fromhex(quoted.get("payload", "68656c6c6f0a0a0a"))
    sport = quoted.get("sport", 40000)
    if vary == "sport":
        sport = 1024 + (sport - 1024 + n) % 64512
    identification = quoted.get("id", 1)
    if vary == "id":
        identification = (identification + n) & 0xFFFF
    if protocol == UDP:
        payload = udp_header(src, sport, dst, quoted.get("dport", 9999), payload) + payload
    options = bytes.fromhex(quoted.get("options", ""))
    header = ip_header(src, dst, protocol, len(payload), 63, identification, options, 0x4000)
    return (header + payload)[: quoted.get("octets", 65535)]


def build(error, n):
    src, dst = error["src"], error["dst"]
    v6 = is_v6(src)
    quoted = quote(error["quoted"], n, error.get("vary", "none"))
    rest = bytearray.fromhex(error.get("rest", "00000000"))
    extension = bytes.fromhex(error.get("extension", ""))
    if extension:
        # RFC 4884: at least 128 octets, in words of 32 bits (v4) or 64 bits (v6).
        word = 8 if v6 else 4
        size = max(128, -(-len(quoted) // word) * word)
        quoted = quoted.ljust(size, b"\0")
        rest[0 if v6 else 1] = size // word
        header = struct.pack("!BBH", 0x20, 0, 0)
        value = checksum(header + extension)
        extension = struct.pack("!BBH", 0x20, 0, value) + extension
    message = struct.pack("!BBH", error["type"], error["code"], 0) + bytes(rest) + quoted + extension
    protocol = ICMPV6 if v6 else ICMP
    covered = pseudo_header(src, dst, protocol, len(message)) + message if v6 else message
    message = message[:2] + struct.pack("!H", checksum(covered)) + message[4:]
    return ip_header(src, dst, protocol, len(message), 64, 1 + n % 65535) + message


def open_socket(v6):
    if not v6:
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
    return raw


def packets_of(error):
    """One packet, or as many different ones as there are: they are built before the clock starts."""
    different = 1 if error.get("vary", "none") == "none" else min(error.get("count", 1), 65535)
    return [build(error, n) for n in range(different)]


def send(error):
    packets = packets_of(error)
    count, rate = error.get("count", 1), error.get("rate", 0)
    raw = open_socket(is_v6(error["dst"]))
    # Connected, so that the kernel looks the route up once.
    raw.connect((error["dst"], 0))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    transmit = raw.send
    different = len(packets)
    start = time.monotonic()
    for n in range(count):
        if rate:
            ahead = start + n / rate - time.monotonic()
            if ahead > 0.0005:
                time.sleep(ahead)
        transmit(packets[n % different])
    raw.close()
    return count, time.monotonic() - start


def write(error):
    packets = packets_of(error)
    count, rate = error.get("count", 1), error.get("rate", 0) or 1_000_000
    macs = [bytes.fromhex(error.get(end, "00:00:5e:00:53:00").replace(":", "")) for end in ("dstMac", "srcMac")]
    ethernet = macs[0] + macs[1] + struct.pack("!H", 0x86DD if is_v6(error["src"]) else 0x0800)
    with open(error["write"], "wb") as savefile:
        savefile.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for n in range(count):
            frame = ethernet + packets[n % len(packets)]
            microseconds = n * 1_000_000 // rate
            stamp = struct.pack("=II", microseconds // 1_000_000, microseconds % 1_000_000)
            savefile.write(stamp + struct.pack("=II", len(frame), len(frame)) + frame)
    return count, 0.0


for line in sys.stdin:
    request = json.loads(line)
    sent, seconds = write(request) if "write" in request else send(request)
    print(json.dumps({"sent": sent, "seconds": seconds}), flush=True)
