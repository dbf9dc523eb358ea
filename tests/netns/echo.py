# SPDX-License-Identifier: GPL-2.0-or-later
"""
UDP echo: answers "NODE DATA" from the very address that was asked.
TCP on the same port: reads two numbers of 4 bytes, UP and DOWN, then UP bytes; answers "NODE SHA256\n" of
these and then DOWN bytes, the first ones read over and over.
"""

import hashlib
import selectors
import socket
import struct
import sys
import threading

IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50


def answer4(sock, name):
    data, anc, _flags, peer = sock.recvmsg(65535, 256)
    for level, kind, raw in anc:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            asked = raw[4:8]    # struct in_pktinfo: index, local address, destination
            reply = struct.pack("@I4s4s", 0, asked, b"\0" * 4)
            sock.sendmsg([name + b" " + data], [(level, kind, reply)], 0, peer)


def answer6(sock, name):
    data, anc, _flags, peer = sock.recvmsg(65535, 256)
    for level, kind, raw in anc:
        if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
            reply = struct.pack("@16sI", raw[:16], 0)
            sock.sendmsg([name + b" " + data], [(level, kind, reply)], 0, peer)


def exactly(sock, n):
    parts = []
    while n:
        part = sock.recv(min(n, 65536))
        if not part:
            raise OSError("closed")
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def transfer(sock, name):
    with sock:
        try:
            up, down = struct.unpack("!II", exactly(sock, 8))
            data = exactly(sock, min(up, 64 << 20))
            sock.sendall(name + b" " + hashlib.sha256(data).hexdigest().encode() + b"\n")
            data = data or b"."
            sock.sendall((data * (down // len(data) + 1))[:down])
        except OSError:
            pass


def transfers(family, port, name):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind(("", port))
        s.listen(256)
        while True:
            threading.Thread(target=transfer, args=(s.accept()[0], name), daemon=True).start()


def main():
    name = socket.gethostname().encode()
    sel = selectors.DefaultSelector()
    v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    v4.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    v4.bind(("0.0.0.0", int(sys.argv[1])))
    v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    v6.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    v6.bind(("::", int(sys.argv[1])))
    for family in (socket.AF_INET, socket.AF_INET6):
        threading.Thread(target=transfers, args=(family, int(sys.argv[1]), name), daemon=True).start()
    sel.register(v4, selectors.EVENT_READ, answer4)
    sel.register(v6, selectors.EVENT_READ, answer6)
    while True:
        for key, _ in sel.select():
            try:
                key.data(key.fileobj, name)
            except OSError:
                pass    # the address went away while we answered


if __name__ == "__main__":
    main()
