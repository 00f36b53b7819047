"""Answers every datagram with the same one: udp_echo.py ADDRESS PORT NAME."""

import ctypes
import signal
import socket
import sys

address, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None)
libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
libc.prctl(15, name.encode())  # PR_SET_NAME
server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((address, port))
print("ready", flush=True)
while True:
    try:
        data, sender = server.recvfrom(65536)
        server.sendto(data, sender)
    except OSError:
        pass
