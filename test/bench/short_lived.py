"""Sockets that do not live long: `short_lived.py '{"mode", "dst", "dport", "count", "rate", "life"}'`

Each sends one datagram to a port of its own, from `dport` on, so that no two have the same tuple. By `mode`:

    process   this process opens them one after another and closes each `life` seconds after it has sent
    fork      a fresh process for each, which sends, sleeps `life` seconds and exits
    refused   this process closes each as soon as recv() fails with the error

One line of JSON for each when it is closed: {"pid", "inode", "sport", "dport", "errno"}, the errno that the kernel
held for it, or null.
"""

import errno
import heapq
import json
import os
import signal
import socket
import sys
import time


class Short:
    def __init__(self, dst, dport):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((dst, dport))
        inode = os.fstat(self.socket.fileno()).st_ino
        self.report = {"pid": os.getpid(), "inode": inode, "sport": self.socket.getsockname()[1], "dport": dport}
        self.socket.send(b"hello")

    def close(self):
        self.end(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def close_when_refused(self):
        try:
            self.socket.recv(1)
        except OSError as error:
            self.end(error.errno)

    def end(self, number):
        self.socket.close()
        line = json.dumps({**self.report, "errno": errno.errorcode.get(number)})
        os.write(1, line.encode() + b"\n")


def sleep_until(moment):
    ahead = moment - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)


def in_this_process(starts, life):
    open_ones = []
    for moment, address in starts:
        while open_ones and open_ones[0][0] < moment:
            close_first(open_ones)
        sleep_until(moment)
        one = Short(*address)
        heapq.heappush(open_ones, (time.monotonic() + life, address, one))
    while open_ones:
        close_first(open_ones)


def close_first(open_ones):
    moment, _, one = heapq.heappop(open_ones)
    sleep_until(moment)
    one.close()


def in_fresh_processes(starts, life):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for moment, address in starts:
        sleep_until(moment)
        if os.fork() == 0:
            one = Short(*address)
            time.sleep(life)
            one.close()
            os._exit(0)
    # The last ones: wait() fails when there is none left.
    try:
        os.wait()
    except ChildProcessError:
        pass


def until_refused(starts):
    for moment, address in starts:
        sleep_until(moment)
        Short(*address).close_when_refused()


options = json.loads(sys.argv[1])
begin = time.monotonic()
starts = [
    (begin + n / options["rate"], (options["dst"], options["dport"] + n)) for n in range(options["count"])
]
if options["mode"] == "process":
    in_this_process(starts, options["life"])
elif options["mode"] == "fork":
    in_fresh_processes(starts, options["life"])
else:
    until_refused(starts)
