"""A process with one UDP socket, which prints what the kernel tells it as JSON lines.

    udp_client.py '{"dst": "192.0.2.20", "dport": 9999, "connect": true, "count": 3}'

The options are UdpClientOptions of network.ts. With "interactive", each line of standard input is a command
and is answered by one line.
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
import time

IP_RECVERR, IPV6_RECVERR = 11, 25
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
IPV6_DSTOPTS = 59
PMTU = {"dont": 0, "want": 1, "do": 2, "probe": 3, "interface": 4, "omit": 5}
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15

libc = ctypes.CDLL(None, use_errno=True)


def say(event, **fields):
    print(json.dumps({"event": event, "mono": time.clock_gettime(time.CLOCK_MONOTONIC), **fields}), flush=True)


def name_of(number):
    return errno.errorcode.get(number, str(number)) if number else None


def endpoint(address):
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_sockaddr(data):
    family = struct.unpack_from("=H", data)[0] if len(data) >= 2 else 0
    if family == socket.AF_INET and len(data) >= 8:
        return socket.inet_ntop(socket.AF_INET, data[4:8])
    if family == socket.AF_INET6 and len(data) >= 24:
        return socket.inet_ntop(socket.AF_INET6, data[8:24])
    return None


class Client:
    def __init__(self, options):
        self.options = options
        destination = options["dst"]
        self.family = 6 if ":" in destination or options.get("family") == 6 else 4
        self.mapped = self.family == 6 and ":" not in destination
        self.socket = socket.socket(socket.AF_INET6 if self.family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        self.destination = (self.spell(destination), options["dport"])
        self.sent = 0
        self.set_options()
        if options.get("src") is not None or options.get("sport") is not None:
            any_address = "::" if self.family == 6 else "0.0.0.0"
            source = options.get("src")
            self.socket.bind((self.spell(source) if source else any_address, options.get("sport", 0)))
        if options.get("connect", True):
            self.socket.connect(self.destination)
        elif self.socket.getsockname()[1] == 0:
            self.socket.bind(("::" if self.family == 6 else "0.0.0.0", 0))

    def spell(self, address):
        return f"::ffff:{address}" if self.mapped and ":" not in address else address

    def set_options(self):
        o, s = self.options, self.socket
        v6 = self.family == 6 and not self.mapped
        if o.get("recverr"):
            if self.family == 6:
                s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            if not v6:
                s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if o.get("reuseport"):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if o.get("device"):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, o["device"].encode())
        if o.get("ttl"):
            if v6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, o["ttl"])
            else:
                s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, o["ttl"])
        if o.get("pmtu"):
            if v6:
                s.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTU[o["pmtu"]])
            else:
                s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTU[o["pmtu"]])
        if o.get("ipOptions"):
            s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes.fromhex(o["ipOptions"]))
        if o.get("dstOptions"):
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, bytes.fromhex(o["dstOptions"]))

    def ready(self, shared):
        remote = None
        if self.options.get("connect", True):
            remote = endpoint(self.socket.getpeername())
        say(
            "ready",
            pid=os.getpid(),
            fd=self.socket.fileno(),
            inode=os.fstat(self.socket.fileno()).st_ino,
            shared=shared,
            local=endpoint(self.socket.getsockname()),
            remote=remote,
        )

    def payload(self):
        size = self.options.get("size")
        if size is not None:
            return (b"0123456789abcdef" * (size // 16 + 1))[:size]
        return self.options.get("payload", "hello").encode()

    def send(self):
        self.sent += 1
        try:
            if self.options.get("connect", True):
                self.socket.send(self.payload())
            else:
                self.socket.sendto(self.payload(), self.destination)
            say("sent", n=self.sent)
        except OSError as error:
            say("error", call="send", n=self.sent, errno=name_of(error.errno))

    def receive(self):
        try:
            data, sender = self.socket.recvfrom(65536, socket.MSG_DONTWAIT)
            say("reply", payload=data.decode("latin-1"), remote=endpoint(sender))
        except OSError as error:
            say("error", call="recv", errno=name_of(error.errno))

    def error_queue(self):
        try:
            _, ancillary, _, _ = self.socket.recvmsg(65536, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError as error:
            say("error", call="errqueue", errno=name_of(error.errno))
            return
        for level, kind, data in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                number, origin, icmp_type, code, _, info, _ = struct.unpack_from("=IBBBBII", data)
                say(
                    "queued",
                    errno=name_of(number),
                    origin=origin,
                    type=icmp_type,
                    code=code,
                    info=info,
                    offender=parse_sockaddr(data[16:]),
                )
                return
        say("ok", call="errqueue")

    def wait(self, seconds):
        if not self.options.get("poll"):
            time.sleep(seconds)
            return
        poller = select.poll()
        poller.register(self.socket, select.POLLIN)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for _, events in poller.poll(left * 1000):
                if events & select.POLLERR and self.options.get("recverr"):
                    self.error_queue()
                self.receive()

    def run(self):
        count = self.options.get("count", 1)
        interval = self.options.get("interval", 0.2)
        while count == 0 or self.sent < count:
            self.send()
            self.wait(interval)
        self.wait(self.options.get("hold", 0))
        say("end")

    def obey(self, line):
        words = line.split()
        command = words[0]
        if command == "send":
            self.send()
        elif command == "recv":
            self.receive()
        elif command == "errqueue":
            self.error_queue()
        elif command == "soerror":
            say("ok", call=command, errno=name_of(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
        elif command == "connect":
            self.destination = (self.spell(words[1]), int(words[2]))
            self.options["connect"] = True
            self.socket.connect(self.destination)
            say("ok", call=command, local=endpoint(self.socket.getsockname()))
        elif command == "disconnect":
            self.options["connect"] = False
            unspecified = struct.pack("=H14x", socket.AF_UNSPEC)
            if libc.connect(self.socket.fileno(), unspecified, len(unspecified)) != 0:
                say("error", call=command, errno=name_of(ctypes.get_errno()))
            else:
                say("ok", call=command, local=endpoint(self.socket.getsockname()))
        elif command == "close":
            self.socket.close()
            say("ok", call=command)
        elif command == "quit":
            say("end")
            sys.exit(0)
        else:
            say("error", call=command, errno="EINVAL")

    def serve(self):
        for line in sys.stdin:
            if line.strip():
                self.obey(line)


def share(number):
    """Processes that hold the socket too, and do nothing."""
    pids = []
    for _ in range(number):
        pid = os.fork()
        if pid == 0:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            while True:
                signal.pause()
        pids.append(pid)
    return pids


def main():
    options = json.loads(sys.argv[1])
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NAME, options.get("name", "udp-client").encode(errors="surrogateescape"))
    client = Client(options)
    client.ready(share(options.get("share", 0)))
    if options.get("interactive"):
        client.serve()
    else:
        client.run()


main()
