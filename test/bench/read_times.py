"""Runs one command: `read_times.py OUTPUT COMMAND…`, and writes each line of its standard output to the file OUTPUT,
after the time at which the line was read and a space.

The time is CLOCK_REALTIME, in seconds. The first line on standard output is the command's process ID. SIGINT is passed
on.
"""

import os
import signal
import subprocess
import sys
import time

command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
signal.signal(signal.SIGINT, lambda *_: command.send_signal(signal.SIGINT))
print(command.pid, flush=True)
rest = b""
with open(sys.argv[1], "wb", buffering=0) as output:
    while octets := os.read(command.stdout.fileno(), 1 << 20):
        now = b"%.6f " % time.time()
        *lines, rest = (rest + octets).split(b"\n")
        if lines:
            output.write(b"".join(now + line + b"\n" for line in lines))
sys.exit(command.wait())
