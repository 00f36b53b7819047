"""A process with many UDP sockets, which says what the kernel told each of them.

    matrix_sockets.py '[{"family": 4, "bind": ["0.0.0.0", 20001], "connect": ["192.0.2.20", 9], "options": []}]'

The first line it prints is the sockets' inodes. Then each line of standard input is a number, of the socket whose
error is awaited, and is answered by {"soError", "queue"} of every socket. To read them is to clear them.
"""

import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import sys

IP_RECVERR, IPV6_RECVERR = 11, 25
OPTIONS = {
    "IP_RECVERR": (socket.IPPROTO_IP, IP_RECVERR, 1),
    "IPV6_RECVERR": (socket.IPPROTO_IPV6, IPV6_RECVERR, 1),
    "IPV6_V6ONLY": (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
    "IP_PMTUDISC_DONT": (socket.IPPROTO_IP, 10, 0),
    "IPV6_PMTUDISC_DONT": (socket.IPPROTO_IPV6, 23, 0),
}
# One number, two names; the kernel's.
ERRNO_NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP"}
PR_SET_PDEATHSIG = 1
PATIENCE_MS = 5000


def open_socket(spec):
    s = socket.socket(socket.AF_INET6 if spec["family"] == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    if spec["family"] == 6:
        # Whatever net.ipv6.bindv6only says.
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    for name in spec["options"]:
        s.setsockopt(*OPTIONS[name])
    s.bind(tuple(spec["bind"]))
    if spec["connect"]:
        s.connect(tuple(spec["connect"]))
    return s


def name_of(number):
    return ERRNO_NAMES[number] if number else None


def drain(s):
    entries = []
    while True:
        try:
            _, ancillary, _, _ = s.recvmsg(65536, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return entries
        for level, kind, data in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                number, _, icmp_type, code = struct.unpack_from("=IBBB", data)
                entries.append({"errno": name_of(number), "type": icmp_type, "code": code})


def told(s):
    # In this order: to take an entry from the queue changes SO_ERROR.
    return {"soError": name_of(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)), "queue": drain(s)}


def main():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sockets = [open_socket(spec) for spec in json.loads(sys.argv[1])]
    print(json.dumps([os.fstat(s.fileno()).st_ino for s in sockets]), flush=True)
    for line in sys.stdin:
        awaited = select.poll()
        awaited.register(sockets[int(line)], 0)  # POLLERR is always reported.
        if not awaited.poll(PATIENCE_MS):
            sys.exit("the awaited error did not come")
        print(json.dumps([told(s) for s in sockets]), flush=True)


main()
