# SPDX-License-Identifier: GPL-2.0-or-later
"""Ethernet frames by hand: also such as no honest machine sends."""

import random
import socket
import struct

SYN, RST, ACK = 2, 4, 16


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def packed(addr):
    return socket.inet_pton(socket.AF_INET6 if ":" in addr else socket.AF_INET, addr)


def ether(src, dst, kind, body):
    return mac(dst) + mac(src) + struct.pack("!H", kind) + body


def ip4(src, dst, proto, body, ident=1, frag=0, options=b"", length=None, ttl=64):
    """frag: flags and offset as on the wire; length: what the header claims."""
    options += b"\0" * (-len(options) % 4)
    ihl = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | ihl, 0, length or ihl * 4 + len(body), ident, frag, ttl,
                       proto, 0, packed(src), packed(dst)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def ip6(src, dst, proto, body, length=None, hops=64):
    return struct.pack("!IHBB16s16s", 6 << 28, len(body) if length is None else length, proto, hops,
                       packed(src), packed(dst)) + body


def pseudo(src, dst, proto, length):
    if ":" in src:
        return packed(src) + packed(dst) + struct.pack("!II", length, proto)
    return packed(src) + packed(dst) + struct.pack("!BBH", 0, proto, length)


def tcp(src, sport, dst, dport, flags, seq=1, ack=0, options=b""):
    options += b"\0" * (-len(options) % 4)
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, (5 + len(options) // 4) << 4, flags, 8192,
                       0, 0) + options
    total = checksum(pseudo(src, dst, 6, len(head)) + head)
    return head[:16] + struct.pack("!H", total) + head[18:]


def udp(src, sport, dst, dport, data):
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    total = checksum(pseudo(src, dst, 17, 8 + len(data)) + head + data) or 0xffff
    return head[:6] + struct.pack("!H", total) + data


def packet(src, dst, proto, body, **how):
    """An IP packet of either family, with its Ethernet type."""
    if ":" in src:
        return 0x86dd, ip6(src, dst, proto, body, **how)
    return 0x0800, ip4(src, dst, proto, body, **how)


def vxlan(src, dst, vni, inner, sport=50000, dport=4789):
    """IPv4 packet around an Ethernet frame; no UDP checksum, as the kernel sends it."""
    body = struct.pack("!II", 0x08 << 24, vni << 8) + inner
    return ip4(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body)


def nasty(client4, client6, vip4, vip6, seed=1):
    """IP packets with (Ethernet type, body): cut short, in tiny pieces, with options, contradictory."""
    rnd = random.Random(seed)
    out = []
    for n in range(40):
        sport = 33000 + n
        t4, t6 = (tcp(a, sport, b, 80, rnd.choice((SYN, ACK, RST, 0, 255)))
                  for a, b in ((client4, vip4), (client6, vip6)))
        u4 = udp(client4, sport, vip4, 5353, b"x" * 40)
        # A TCP header in two fragments; the flags are in the second one, or overlap the first.
        out.append((0x0800, ip4(client4, vip4, 6, t4[:8], ident=n, frag=0x2000)))
        out.append((0x0800, ip4(client4, vip4, 6, t4[8:], ident=n, frag=1)))
        out.append((0x0800, ip4(client4, vip4, 6, t4, ident=n + 100, frag=0x2000)))
        out.append((0x0800, ip4(client4, vip4, 6, t4, ident=n + 100, frag=1)))
        out.append((0x0800, ip4(client4, vip4, 17, u4[:8], ident=n + 200, frag=0x2000)))
        # Cut anywhere, with and without a header that admits it.
        cut = rnd.randrange(1, len(t4))
        out.append((0x0800, ip4(client4, vip4, 6, t4[:cut])))
        out.append((0x0800, ip4(client4, vip4, 6, t4[:cut], length=40)))
        out.append((0x0800, ip4(client4, vip4, 6, t4)[:rnd.randrange(1, 40)]))
        out.append((0x86dd, ip6(client6, vip6, 6, t6[:cut])))
        out.append((0x86dd, ip6(client6, vip6, 6, t6, length=1400)))
        out.append((0x86dd, ip6(client6, vip6, 6, t6)[:rnd.randrange(1, 60)]))
        # Options: padding, a record route, one whose length is a lie.
        for options in (b"\x01" * 40, b"\x07\x27\x04" + b"\0" * 36, b"\x07\xff\x04", b"\x83\x00"):
            out.append((0x0800, ip4(client4, vip4, 6, t4, options=options)))
        # Extension headers: a chain, a fragment header that says first and only, one in the middle.
        hop = struct.pack("!BBHI", 6, 0, 0x0104, 0)
        out.append((0x86dd, ip6(client6, vip6, 0, hop + t6)))
        chain = struct.pack("!BBHI", 60, 0, 0x0104, 0) * 6 + hop
        out.append((0x86dd, ip6(client6, vip6, 60, chain + t6)))
        for offset in (0, 1, 1 << 3 | 1, 180 << 3):
            out.append((0x86dd, ip6(client6, vip6, 44, struct.pack("!BBHI", 6, 0, offset, n) + t6)))
        # ICMP errors about packets that nobody sent, whole and cut.
        err = ip4(vip4, client4, 6, tcp(vip4, 80, client4, sport, ACK))
        icmp = struct.pack("!BBHHH", 3, 4, 0, 0, 600) + err[:rnd.choice((4, 20, 24, 28, 40))]
        out.append((0x0800, ip4(client4, vip4, 1, icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:])))
        out.append((rnd.choice((0x0800, 0x86dd, 0x0806)), rnd.randbytes(rnd.randrange(0, 90))))
    return out
