"""Runs a command in a terminal of 150 columns: terminal.py ROWS COMMAND...

What the command writes there goes to standard output as it comes. Each line of standard input is typed, in hexadecimal; at
"hang up" the terminal is gone.
The exit status is the command's; 128 and the signal's number where one ended it.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

rows, command = int(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    # The size is there before the command looks.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 150, 0, 0))
    os.execvp(command[0], command)
print(f"pid {pid}", file=sys.stderr, flush=True)
before = termios.tcgetattr(terminal)
typed, inputs = b"", [terminal, 0]
while True:
    ready, _, _ = select.select(inputs, [], [])
    if 0 in ready:
        octets = os.read(0, 4096)
        if not octets:
            inputs.remove(0)
        typed += octets
        *lines, typed = typed.split(b"\n")
        for line in lines:
            if line == b"hang up":
                os.close(terminal)
                terminal = None
                break
            os.write(terminal, bytes.fromhex(line.decode()))
    if terminal is None:
        break
    if terminal in ready:
        try:
            octets = os.read(terminal, 65536)
        except OSError:
            # EIO: nobody has it open any more.
            break
        os.write(1, octets)
_, status = os.waitpid(pid, 0)
if terminal is not None and termios.tcgetattr(terminal) != before:
    print("the modes of the terminal have changed", file=sys.stderr, flush=True)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
