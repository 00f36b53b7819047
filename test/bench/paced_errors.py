"""Injects port-unreachable errors at a steady rate, each about another flow in turn: `paced_errors.py RATE SECONDS`

The flows are read from standard input as a JSON list of {"src", "sport", "dst", "dport"}; an error comes from the dst
of its flow. It prints `sending` when the packets are built, and at the end how many it sent in how many seconds, as JSON.
"""

import json
import os
import socket
import struct
import sys
import time

sys.path.append(os.path.join(os.path.dirname(__file__), "../lab"))
from internet import ICMP, UDP, checksum, ip_header, udp_header

PORT_UNREACHABLE = b"\3\3"
PAYLOAD = b"hello"


def error_about(flow, n):
    """No two are alike: to the tool, copies of one packet are one."""
    src, dst = flow["src"], flow["dst"]
    datagram = udp_header(src, flow["sport"], dst, flow["dport"], PAYLOAD) + PAYLOAD
    identification = 1 + n % 65535
    rest = bytes(4) + ip_header(src, dst, UDP, len(datagram), 63, identification) + datagram
    value = checksum(PORT_UNREACHABLE + b"\0\0" + rest)
    message = PORT_UNREACHABLE + struct.pack("!H", value) + rest
    return ip_header(dst, src, ICMP, len(message), 64, identification) + message


rate, seconds = float(sys.argv[1]), float(sys.argv[2])
flows = json.load(sys.stdin)
errors = []
for n in range(round(rate * seconds)):
    flow = flows[n % len(flows)]
    errors.append((error_about(flow, n), (flow["src"], 0)))

raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
print("sending", flush=True)
start = time.monotonic()
for n, (packet, address) in enumerate(errors):
    ahead = start + n / rate - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
    raw.sendto(packet, address)
print(json.dumps({"sent": len(errors), "seconds": time.monotonic() - start}), flush=True)
