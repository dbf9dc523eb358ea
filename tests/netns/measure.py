# SPDX-License-Identifier: GPL-2.0-or-later
"""What the wire and the clients saw: captures, and arithmetic over load.py's records."""

import collections
import os
import signal
import socket
import statistics
import struct
import subprocess
import time

# How many times slower than usual this machine is (an emulator: 10).  Patience and the cluster's own
# times grow by it, what is sent in a second shrinks.
SLOW = int(os.environ.get("LAB_SLOW", "1"))
FIN, SYN, RST, ACK = 1, 2, 4, 16
FILTER = ("arp or (icmp6 and ip6[40] >= 133) or (tcp port 80 and tcp[tcpflags] & 7 != 0) or "
          "(ip6 proto 6 and ip6[53] & 7 != 0)")

# 'who': number of the node that sent the frame, 100 for the client; 't': monotonic seconds;
# 'client'/'server': (address, port) of either end, whichever way the segment went
Segment = collections.namedtuple("Segment", "t who flags client server seq ack to_client")
Arp = collections.namedtuple("Arp", "t who op sha spa tpa")
Nd = collections.namedtuple("Nd", "t who type target lladdr")
# Of the service on port 5353; 'data' is its beginning.
Datagram = collections.namedtuple("Datagram", "t who client server to_client data")
# Echo request or answer.
Echo = collections.namedtuple("Echo", "t who client server to_client seq")


class Capture:
    def __init__(self, port, path, also=None):
        self.path = path
        what = f"{FILTER} or ({also})" if also else FILTER
        self.offset = time.time() - time.monotonic()
        self.proc = subprocess.Popen(
            ["tcpdump", "-i", port, "-n", "-U", "-s", "120", "-B", "8192", "--immediate-mode", "-Z",
             "root", "-w", path, what],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True)
        line = self.proc.stderr.readline()
        while line and "listening on" not in line:
            line = self.proc.stderr.readline()
        if not line:
            raise RuntimeError("tcpdump does not start")

    def stop(self):
        """Ends it and returns the packets, in time order."""
        time.sleep(0.05)
        self.proc.send_signal(signal.SIGINT)
        err = self.proc.stderr.read()
        self.proc.wait()
        self.proc.stderr.close()
        if " 0 packets dropped by kernel" not in err.replace("\n", " "):
            raise RuntimeError("tcpdump lost packets: " + err)
        return list(parse(self.path, self.offset))


def parse(path, offset):
    with open(path, "rb") as f:
        data = f.read()
    if struct.unpack_from("<I", data)[0] != 0xa1b2c3d4:
        raise ValueError("not a little-endian microsecond pcap file")
    at = 24
    while at + 16 <= len(data):
        sec, usec, caplen, _ = struct.unpack_from("<IIII", data, at)
        at += 16
        packet = decode(sec + usec / 1e6 - offset, data[at:at + caplen])
        at += caplen
        if packet:
            yield packet


def decode(t, frame):
    who, kind = frame[11], struct.unpack_from("!H", frame, 12)[0]
    body = frame[14:]
    if kind == 0x0806:
        op = struct.unpack_from("!H", body, 6)[0]
        return Arp(t, who, op, body[8:14].hex(":"), socket.inet_ntoa(body[14:18]),
                   socket.inet_ntoa(body[24:28]))
    if kind == 0x0800:
        ihl = (body[0] & 15) * 4
        src, dst = socket.inet_ntoa(body[12:16]), socket.inet_ntoa(body[16:20])
        if struct.unpack_from("!H", body, 6)[0] & 0x1fff:
            return None    # not the first fragment
        if body[9] == 6:
            return segment(t, who, src, dst, body[ihl:])
        if body[9] == 17:
            return datagram(t, who, src, dst, body[ihl:])
        if body[9] == 1 and body[ihl] in (0, 8):
            return echo(t, who, src, dst, body[ihl:], body[ihl] == 0)
    if kind == 0x86dd:
        src, dst = (socket.inet_ntop(socket.AF_INET6, body[i:i + 16]) for i in (8, 24))
        if body[6] == 6:
            return segment(t, who, src, dst, body[40:])
        if body[6] == 17:
            return datagram(t, who, src, dst, body[40:])
        if body[6] == 44 and body[40] == 17 and not struct.unpack_from("!H", body, 42)[0] & 0xfff8:
            return datagram(t, who, src, dst, body[48:])
        if body[6] == 58 and body[40] in (128, 129):
            return echo(t, who, src, dst, body[40:], body[40] == 129)
        if body[6] == 58 and body[40] in (135, 136):
            option = body[64:72]
            return Nd(t, who, body[40], socket.inet_ntop(socket.AF_INET6, body[48:64]),
                      option[2:8].hex(":") if len(option) == 8 else None)
    return None


def segment(t, who, src, dst, tcp):
    sport, dport, seq, ack, _, flags = struct.unpack_from("!HHIIBB", tcp)
    if sport == 80:
        return Segment(t, who, flags, (dst, dport), (src, sport), seq, ack, True)
    return Segment(t, who, flags, (src, sport), (dst, dport), seq, ack, False)


def datagram(t, who, src, dst, udp):
    sport, dport = struct.unpack_from("!HH", udp)
    if sport == 5353:
        return Datagram(t, who, (dst, dport), (src, sport), True, udp[8:])
    return Datagram(t, who, (src, sport), (dst, dport), False, udp[8:]) if dport == 5353 else None


def echo(t, who, src, dst, icmp, answer):
    seq = struct.unpack_from("!H", icmp, 6)[0]
    return Echo(t, who, dst, src, True, seq) if answer else Echo(t, who, src, dst, False, seq)


def segments(packets):
    return [p for p in packets if isinstance(p, Segment)]


def syn_acks(packets):
    return [p for p in segments(packets) if p.to_client and p.flags & (SYN | ACK) == SYN | ACK]


def resets(packets):
    """Sent by nodes, for connections that began in this capture (not for what an earlier load left)."""
    began = {(p.client, p.server) for p in segments(packets) if not p.to_client and p.flags & SYN}
    return [p for p in segments(packets)
            if p.to_client and p.flags & RST and (p.client, p.server) in began]


def lost_syns(packets):
    """SYNs that a client had to send twice: [(time of the first, client)]."""
    first, lost = {}, []
    for p in segments(packets):
        if not p.to_client and p.flags & (SYN | ACK) == SYN:
            key = (p.client, p.server, p.seq)
            if key in first:
                lost.append((first[key], p.client))
            first.setdefault(key, p.t)
    return lost


def double_accepts(packets):
    """Connections that two nodes answered: [(client, server, {nodes})].  Never legal."""
    by = collections.defaultdict(set)
    for p in syn_acks(packets):
        by[p.client, p.server, p.ack].add(p.who)
    return [(c, s, who) for (c, s, _), who in by.items() if len(who) > 1]


def foreign_resets(packets, gone=()):
    """
    Resets by one node for a connection that another node accepted, unless that one was gone at the
    time.  gone: [(number, from, until)].
    """
    owner, bad = {}, []
    for p in segments(packets):
        if not p.to_client:
            continue
        key = (p.client, p.server)
        if p.flags & (SYN | ACK) == SYN | ACK:
            owner[key] = p.who
        elif p.flags & RST:
            o = owner.get(key)
            away = any(n == o and a <= p.t <= b for n, a, b in gone)
            if o is not None and o != p.who and not away:
                bad.append((p.t, p.who, o, p.client))
    return bad


# ---- arithmetic over load.py's records

def owners(probes, before=None):
    """{(family, sport): server} from successful probes that began before 'before'; last one counts."""
    return {(r[2], r[3]): r[6] for r in probes if r[6] and (before is None or r[1] < before)}


def failed(probe):
    """No answer, an error, or the SYN had to be sent twice."""
    return probe[7] is not None or probe[4] is None or probe[4] > 900


def outage(probes, mine, t0):
    """
    Seconds from t0 until the connections of 'mine' ({(family, sport)}) are accepted again: the start
    of the first good probe after the last bad one.  0 if none was lost; None if it never got better.
    """
    after = sorted(r for r in probes if (r[2], r[3]) in mine and r[1] >= t0 - 0.02)
    bad = [i for i, r in enumerate(after) if failed(r)]
    if not bad:
        return 0.0
    if bad[-1] + 1 >= len(after):
        return None
    return max(0.0, after[bad[-1] + 1][1] - t0)


def gap(probes, mine):
    """Seconds from the first to the last bad probe of 'mine', at most: 0 if all were good."""
    bad = [r[1] for r in probes if (r[2], r[3]) in mine and failed(r)]
    return max(bad) - min(bad) if bad else 0.0


def median(values):
    return statistics.median(values)




# ---- frames as such

def record(port, path, what, seconds, way="in"):
    """The frames that match 'what' and come in at a switch port (or go "out") during 'seconds'."""
    proc = subprocess.Popen(["tcpdump", "-i", port, "-Q", way, "-n", "-U", "--immediate-mode", "-Z",
                             "root", "-w", path, what], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds + 0.2)
    proc.send_signal(signal.SIGINT)
    proc.wait()
    return raw_frames(path)


def raw_frames(path):
    """Every frame of a capture file, as bytes."""
    with open(path, "rb") as f:
        data = f.read()
    frames, at = [], 24
    while at + 16 <= len(data):
        caplen = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16:at + 16 + caplen])
        at += 16 + caplen
    return frames


def without_udp_checksum(frames):
    """IPv4 UDP frames with lengths made right and the optional checksum left out."""
    out = []
    for f in frames:
        f = bytearray(f)
        struct.pack_into("!H", f, 16, len(f) - 14)
        struct.pack_into("!HH", f, 38, len(f) - 34, 0)
        struct.pack_into("!H", f, 24, 0)
        total = sum(struct.unpack_from("!10H", f, 14))
        total = (total & 0xffff) + (total >> 16)
        struct.pack_into("!H", f, 24, ~(total + (total >> 16)) & 0xffff)
        out.append(bytes(f))
    return out


def inject(ports, frames, seconds):
    """Sends the frames out of these switch ports, that is to the machines there, spread over 'seconds'."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        for frame in frames:
            for port in ports:
                s.sendto(frame, (port, 0))
            time.sleep(seconds / len(frames))
