"""A process with many UDP sockets, which tells on which of them the kernel put an ICMP error.

Each line of standard input is a request as JSON, answered by one line:

    {"open": NAME, …}, with SocketOptions of socket-lookup.test.ts   {"inode"}
    {"send": NAME, "to": [ADDRESS, PORT]}                            {}
    {"close": NAME}                                                  {}
    {"judge": SECONDS}, at most, until the kernel handled an error   {"heard": NAMES, "lost": COUNT}

`heard` has a socket once for each error in its error queue, or once for a SO_ERROR without a queue; `lost` counts
the errors for which the kernel found no socket (InErrors of /proc/net/snmp and snmp6). Both since the last time.
"""

import ctypes
import json
import os
import signal
import socket
import struct
import sys
import time

IP_RECVERR, IPV6_RECVERR = 11, 25
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)
sockets = {}


def address_of(family, host, port, scope):
    return (host, port) if family == socket.AF_INET else (host, port, 0, scope)


def disconnect(s):
    unspecified = struct.pack("=H14x", socket.AF_UNSPEC)
    if libc.connect(s.fileno(), unspecified, len(unspecified)) != 0:
        raise OSError(ctypes.get_errno(), "disconnect")


def open_socket(o):
    family = socket.AF_INET6 if o["family"] == 6 else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM)
    if o.get("recverr", True):
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(o.get("v6only", False)))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if o.get("reuseport") else socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if "device" in o:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, o["device"].encode())
    scope = socket.if_nametoindex(o["scope"]) if "scope" in o else 0
    any_address = "::" if family == socket.AF_INET6 else "0.0.0.0"
    s.bind(address_of(family, o.get("local", any_address), o["port"], scope))
    if "peer" in o:
        s.connect(address_of(family, *o["peer"], scope))
    if o.get("disconnect"):
        disconnect(s)
    return s


def lost():
    """Icmp InErrors and Icmp6InErrors."""
    with open("/proc/self/net/snmp", encoding="ascii") as snmp:
        names, values = [line.split() for line in snmp if line.startswith("Icmp:")]
    total = int(values[names.index("InErrors")])
    with open("/proc/self/net/snmp6", encoding="ascii") as snmp6:
        return total + sum(int(value) for name, value in map(str.split, snmp6) if name == "Icmp6InErrors")


def errors_of(s):
    queued = 0
    while True:
        try:
            s.recvmsg(65536, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            queued += 1
        except BlockingIOError:
            break
    pending = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return queued or int(pending != 0)


lost_before = lost()


def judge(seconds):
    global lost_before
    end = time.monotonic() + seconds
    while True:
        heard = [name for name, s in sockets.items() for _ in range(errors_of(s))]
        now = lost()
        missed = now - lost_before
        if heard or missed or time.monotonic() > end:
            lost_before = now
            return {"heard": heard, "lost": missed}
        time.sleep(0.002)


def answer(request):
    if "open" in request:
        s = sockets[request["open"]] = open_socket(request)
        return {"inode": os.fstat(s.fileno()).st_ino}
    if "send" in request:
        sockets[request["send"]].sendto(b"hello", tuple(request["to"]))
        return {}
    if "close" in request:
        sockets.pop(request["close"]).close()
        return {}
    return judge(request["judge"])


libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
