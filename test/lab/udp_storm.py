"""Short-lived processes, each with a connected UDP socket and one datagram that is refused.

One argument, JSON: dst, dport, rate (processes a second), count, life (seconds). A line "PORT PID" for each.
"""

import json
import os
import signal
import socket
import sys
import time

options = json.loads(sys.argv[1])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
start = time.monotonic()
for n in range(options["count"]):
    if os.fork() == 0:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.connect((options["dst"], options["dport"]))
        os.write(1, b"%d %d\n" % (udp.getsockname()[1], os.getpid()))
        udp.send(b"hello")
        time.sleep(options["life"])
        os._exit(0)
    time.sleep(max(0, start + (n + 1) / options["rate"] - time.monotonic()))
