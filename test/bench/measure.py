"""Runs one command: `measure.py OUTPUT INPUT COMMAND…`, and prints what it took as JSON.

Its standard output goes to the file OUTPUT. Its standard input is the file INPUT, or with `|FILE` a pipe into which
cat writes FILE. SIGINT is passed on.
"""

import json
import os
import select
import signal
import sys
import time

# How often memory is looked at: the first half second, and then, when it costs others their time.
SAMPLE_MS = 5
LATER_MS = 100

# Nothing here takes as long: it hangs.
LIMIT_S = 300


def peak_kib(pid, peaks):
    """VmHWM of the process and its children. ru_maxrss would count this interpreter too, which it was before exec."""
    try:
        with open(f"/proc/{pid}/status") as status:
            peaks[pid] = next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), peaks.get(pid, 0))
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            for child in children.read().split():
                peak_kib(int(child), peaks)
    except OSError:
        pass


def start(argv, stdin, stdout):
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    return os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsigdef=[signal.SIGPIPE])


def main():
    output, source, *argv = sys.argv[1:]
    stdout = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    cat = None
    begin = time.monotonic()
    if source.startswith("|"):
        stdin, into = os.pipe()
        cat = start(["cat", source[1:]], os.open("/dev/null", os.O_RDONLY), into)
        os.close(into)
    else:
        stdin = os.open(source, os.O_RDONLY)
    pid = start(argv, stdin, stdout)
    os.close(stdin)
    signal.signal(signal.SIGINT, lambda *_: os.kill(pid, signal.SIGINT))

    ended = select.poll()
    ended.register(os.pidfd_open(pid), select.POLLIN)
    peaks = {}
    peak_kib(pid, peaks)
    while not ended.poll(SAMPLE_MS if time.monotonic() < begin + 0.5 else LATER_MS):
        peak_kib(pid, peaks)
        if time.monotonic() > begin + LIMIT_S:
            print(f"killed: not done after {LIMIT_S} s", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
    wall = time.monotonic() - begin
    _, status, usage = os.wait4(pid, 0)
    if cat is not None:
        os.waitpid(cat, 0)
    report = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss": sum(peaks.values()) / 1024,
        "status": os.waitstatus_to_exitcode(status),
    }
    print(json.dumps(report))


main()
