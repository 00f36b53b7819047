"""Runs a Python script as a program whose file and whose command line are of any octets.

    rename_and_run.py '{"exe": "/tmp/x\\udcff", "argv0": "x\\n", "more": ["..."], "size": 6000000}' SCRIPT ARGUMENT...

A lone surrogate U+DC80..U+DCFF stands for one octet (PEP 383), here and in udp_client.py. "size": octets of command line,
in further arguments like the first of "more"; the kernel takes 128 KiB in one, and 6 MiB in all where the stack may be as large as it likes.
"""

import json
import os
import resource
import shutil
import sys

MAX_ARG_STRLEN = 32 * 4096


def octets(text):
    return text.encode(errors="surrogateescape")


options = json.loads(sys.argv[1])
exe = octets(options["exe"])
shutil.copy(os.path.realpath(sys.executable), exe)
more = [octets(text) for text in options["more"]]
left = options.get("size", 0)
if left:
    resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pattern = more[0]
while left > 0:
    length = min(left, MAX_ARG_STRLEN - 1)
    more.append((pattern * (length // len(pattern) + 1))[:length])
    left -= length + 1
os.execv(exe, [octets(options["argv0"]), *sys.argv[2:], *more])
