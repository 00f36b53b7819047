"""A crowd of processes with UDP sockets, in several network namespaces: `crowd.py '[GROUP, …]'`

A GROUP is {"netns": PATH, "processes": N, "sockets": S, "connected": C, "peer": ADDRESS}: N processes, among whom S
sockets on the wildcard address and C that are connected to the peer are dealt out. When all are open, one line of JSON
is printed: a list of {"pid", "inode", "src", "sport", "dst", "dport"} of the connected ones.

At the end of standard input every connected socket is asked for SO_ERROR; one more line counts what they held by
name. The processes end with this one, however it ends.
"""

import collections
import ctypes
import errno
import gc
import json
import os
import socket
import sys

CLONE_NEWNET = 0x40000000
CLOSED_PORT = 9999

libc = ctypes.CDLL(None, use_errno=True)


def enter(netns):
    with open(netns) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), netns)


def open_socket(connect_to=None):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if connect_to is None:
        one.bind(("0.0.0.0", 0))
    else:
        one.connect(connect_to)
    return one


def describe(one):
    (src, sport), (dst, dport) = one.getsockname(), one.getpeername()
    inode = os.fstat(one.fileno()).st_ino
    return {"pid": os.getpid(), "inode": inode, "src": src, "sport": sport, "dst": dst, "dport": dport}


def error_of(one):
    number = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode.get(number, str(number)) if number else "none"


def tell(pipe, value):
    """One line, short enough that those of others do not come between."""
    os.write(pipe, json.dumps(value).encode() + b"\n")


def live(sockets, connected, peer, end, opened, told):
    """A process of the crowd, until `end` is at its end."""
    held = [open_socket() for _ in range(sockets)]
    flows = [open_socket((peer, CLOSED_PORT)) for _ in range(connected)]
    tell(opened, [describe(one) for one in flows])
    os.close(opened)
    os.read(end, 1)
    tell(told, [error_of(one) for one in flows])
    del held


def share(total, parts, n):
    return total // parts + (n < total % parts)


def start(groups):
    """Forks them all; returns the pipe that ends them, and those that they tell by, as file objects."""
    end, ending = os.pipe()
    opened, opened_in = os.pipe()
    told, told_in = os.pipe()
    # What the children share stays shared.
    gc.freeze()
    gc.disable()
    for group in groups:
        enter(group["netns"])
        processes = group["processes"]
        for n in range(processes):
            if os.fork() == 0:
                for pipe in (ending, opened, told):
                    os.close(pipe)
                sockets, connected = (share(group[kind], processes, n) for kind in ("sockets", "connected"))
                live(sockets, connected, group["peer"], end, opened_in, told_in)
                os._exit(0)
    for pipe in (end, opened_in, told_in):
        os.close(pipe)
    return ending, open(opened), open(told)


def told_by_all(pipe, number):
    lines = pipe.readlines()
    if len(lines) != number:
        sys.exit(f"{number - len(lines)} of {number} processes failed")
    return [item for line in lines for item in json.loads(line)]


groups = json.loads(sys.argv[1])
number = sum(group["processes"] for group in groups)
ending, opened, told = start(groups)
print(json.dumps(told_by_all(opened, number)), flush=True)
sys.stdin.read()
os.close(ending)
print(json.dumps(collections.Counter(told_by_all(told, number))), flush=True)
