"""A cable between two namespaces: tun_link.py raw|vlan|qinq NETNS_A DEVICE_A NETNS_B DEVICE_B [PARENT_A PARENT_B].

raw: two tun devices, joined. A capture on one has no link-layer header.
vlan, qinq: a tap device in each namespace, whose frames cross an Ethernet link between PARENT_A and PARENT_B with
one 802.1Q tag (100), or an 802.1ad and an 802.1Q tag (200, 100): what a VLAN interface does, on kernels without.
"""

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 1, 2, 0x1000
SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING, ETH_P_ALL = 263, 8, 4, 3
TP_STATUS_VLAN_VALID = 1 << 4
TAGS = {"raw": b"", "vlan": bytes.fromhex("81000064"), "qinq": bytes.fromhex("88a800c881000064")}

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def enter(namespace):
    with open(f"/run/netns/{namespace}", "rb") as handle:
        if libc.setns(handle.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def open_device(namespace, name, kind):
    enter(namespace)
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), kind | IFF_NO_PI))
    return device


def open_parent(namespace, name):
    enter(namespace)
    parent = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    parent.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    parent.bind((name, ETH_P_ALL))
    return parent


def write(device, packet):
    try:
        os.write(device, packet)
    except OSError:
        pass  # It is not up yet: lost, as on a cable.


def join(one, other):
    while True:
        for readable in select.select([one, other], [], [])[0]:
            write(other if readable == one else one, os.read(readable, 65536))


def receive(parent, tag):
    """A frame that carries the tag, without it; the kernel may have taken the outer part off already."""
    frame, ancillary, _, sender = parent.recvmsg(65536, 256)
    if sender[2] == PACKET_OUTGOING:
        return None
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = struct.unpack_from("=IIIHHHH", data)
            if status & TP_STATUS_VLAN_VALID:
                frame = frame[:12] + struct.pack("!HH", tpid or 0x8100, tci) + frame[12:]
    if frame[12 : 12 + len(tag)] != tag:
        return None
    return frame[:12] + frame[12 + len(tag) :]


def tag_frames(ends, tag):
    sockets = {descriptor: pair for pair in ends for descriptor in (pair[0], pair[1].fileno())}
    while True:
        for readable in select.select(list(sockets), [], [])[0]:
            device, parent = sockets[readable]
            if readable == device:
                frame = os.read(device, 65536)
                parent.send(frame[:12] + tag + frame[12:])
            elif (frame := receive(parent, tag)) is not None:
                write(device, frame)


mode, ns_a, device_a, ns_b, device_b, *parents = sys.argv[1:]
kind = IFF_TUN if mode == "raw" else IFF_TAP
devices = [open_device(ns_a, device_a, kind), open_device(ns_b, device_b, kind)]
if mode == "raw":
    print("ready", flush=True)
    join(*devices)
else:
    ends = [(devices[0], open_parent(ns_a, parents[0])), (devices[1], open_parent(ns_b, parents[1]))]
    print("ready", flush=True)
    tag_frames(ends, TAGS[mode])
