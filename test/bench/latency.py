"""Runs one command that prints lines with time stamps as `tcpdump -tt`: `latency.py COMMAND…`

Until SIGINT, which it passes on; then it prints as JSON how many seconds after its time stamp each line was read.
Both are CLOCK_REALTIME.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

STAMPED = re.compile(rb"(\d+\.\d{6}) ")

command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
signal.signal(signal.SIGINT, lambda *_: command.send_signal(signal.SIGINT))
latencies = []
rest = b""
while octets := os.read(command.stdout.fileno(), 65536):
    now = time.time()
    *lines, rest = (rest + octets).split(b"\n")
    for line in lines:
        match = STAMPED.match(line)
        if match:
            latencies.append(now - float(match[1]))
command.wait()
print(json.dumps(latencies))
