# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that is not a plain small packet: echo, fragments, full-size uploads, ICMP errors, forgeries."""

import collections
import struct

import frames
from harness import *
from test_ways import ask_all, conf_of, needs, owners_as_traced

PORTS = "tcp/80, tcp/5353, udp/5353"


def conf_for(dispatch, redirect="direct", **more):
    return conf_of(dispatch, redirect, port=PORTS, **more)


# ---- echo

def echoes(c, host):
    """Each echo request, from six addresses of each family, is answered once, by one node each."""
    extra = [f"10.{host.net}.0.{n}" for n in range(110, 116)] + [f"fd{host.net}::{n}" for n in range(110, 116)]
    host.run(";".join(f"ip addr replace {a}/{64 if ':' in a else 24} dev eth0 nodad" for a in extra))
    also = "icmp or (icmp6 and (ip6[40] == 128 or ip6[40] == 129))"
    cap = c.capture(c.client if host is c.client else c.gate, also)
    pings = [host.popen(["ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", a, c.vip6 if ":" in a else c.vip4])
             for a in extra]
    codes = [p.wait(10) for p in pings]
    packets = [p for p in cap.stop() if isinstance(p, measure.Echo) and p.client in extra]
    host.run(";".join(f"ip addr del {a}/{64 if ':' in a else 24} dev eth0" for a in extra))
    expect(not any(codes), f"exit codes of ping: {codes}")
    answers = collections.Counter((p.client, p.seq) for p in packets if p.to_client)
    same(set(answers.values()), {1}, "answers to one echo request")
    same(len(answers), 3 * len(extra), "answers")
    by = collections.defaultdict(set)
    for p in packets:
        if p.to_client:
            by[p.client].add(p.who)
    expect(all(len(v) == 1 for v in by.values()), f"one client was answered by several: {dict(by)}")
    expect(len(set.union(*by.values())) > 1, f"one node answers all: {dict(by)}")


# ---- fragments

def fragments(c, host):
    """Datagrams of 3000 bytes: each answered by the owner of the flow, or of the source."""
    recs = c.load("udp", host, once=True, ports="31000:60", rate=150, size=3000).wait().records()
    bad = [r for r in recs if r[4] is None]
    expect(len(recs) == 120 and not bad, lambda: f"datagrams of 3000 bytes: not answered: {few(bad)}")
    owners_as_traced(c, host, {("udp", r[2], r[3]): r[5] for r in recs})


# ---- full-size packets with DF

def transfers(c, host, count=8):
    """1 MB there, 1 MB back, over many connections; {(family, server)}."""
    recs = c.load("transfer", host, ports=f"32000:{count}", rate=20, timeout=15).wait(90).records()
    bad = [r for r in recs if r[6]]
    expect(len(recs) == 2 * count and not bad, lambda: f"transfers from {host.name}: {few(bad)}")
    slow = [r for r in recs if r[4] > 8 * SLOW]
    expect(not slow, lambda: f"transfers were slow: {few(slow)}")
    if c.conf["service web"].get("hash") != "source":
        expect(len({r[5] for r in recs}) > 1, "one node served all")    # chance may leave one out
    return {(r[2], r[5]) for r in recs}


def learned_mtu(c, servers, mtu):
    """Those know the far client's path: the router's too-big came to where the connection lives."""
    for family, name in sorted(servers):
        addr = c.far.addr4 if family == 4 else c.far.addr6
        text = c[int(name[1:])].run(f"ip -{family} route get {addr}").stdout
        expect(f"mtu {mtu}" in text, f"{name} does not know the path's MTU over IPv{family}: {text}")


def all_sizes(c, dispatch):
    near = dispatch != "route"
    if near:
        echoes(c, c.client)
        fragments(c, c.client)
        transfers(c, c.client)
    else:
        echoes(c, c.far)
    fragments(c, c.far)
    c.gate.narrow(1400)
    try:
        learned_mtu(c, transfers(c, c.far), 1400)
    finally:
        c.gate.narrow(None)
        for n in c.nodes:
            n.run("ip route flush cache; ip -6 route flush cache")


def sizes(dispatch, redirect, **more):
    def test(c):
        all_sizes(c, dispatch)
    test.__name__ = f"test_sizes_{dispatch}_{redirect}" + "".join(f"_{v}" for v in more.values())
    test.__doc__ = (f"dispatch = {dispatch}, redirect = {redirect}: echo, fragments, 1 MB both ways "
                    "with DF, path MTU.")
    case(conf=conf_for(dispatch, redirect, **more), router=True, needs=needs(redirect), alike=True)(test)


sizes("flood", "direct")
sizes("flood", "direct", hash="source")
sizes("announce", "direct")
sizes("announce", "vxlan")
sizes("announce", "ipip")
sizes("route", "direct")
sizes("route", "vxlan")
sizes("route", "ipip")


# ---- tunnels

def mss_of(c, host):
    """{family: MSS in the nodes' SYN-ACKs}."""
    cap = c.capture(c.client if host is c.client else c.gate)
    once(c, ports="47000:30", host=host)
    cap.stop()
    found = collections.defaultdict(set)
    for f in measure.raw_frames(cap.path):
        kind = struct.unpack_from("!H", f, 12)[0]
        at = {0x0800: 34, 0x86dd: 54}.get(kind)
        if not at or f[at + 13] & 0x12 != 0x12:
            continue
        options, i = f[at + 20:at + (f[at + 12] >> 4) * 4], 0
        while i < len(options) and options[i]:
            if options[i] == 2:
                found[4 if kind == 0x0800 else 6].add(struct.unpack_from("!H", options, i + 2)[0])
            i += 1 if options[i] == 1 else max(2, options[i + 1])
    return dict(found)


@case(conf=conf_for("announce", "vxlan"), router=True, alike=True)
def test_mss(c):
    """With a tunnel the SYN-ACK tells an MSS that leaves room for it."""
    same(mss_of(c, c.client), {4: {1500 - 50 - 40}, 6: {1500 - 50 - 60}}, "MSS")


def member_vni(node, peer):
    text = node.run(f"ip -d link show cluv_{peer}").stdout
    return int(text.split("vxlan id ")[1].split()[0]), text.split("link/ether ")[1].split()[0]


def answers_to(c, port, sent):
    """Sends the frames to the machine at a switch port; UDP answers to the client meanwhile."""
    cap = c.capture(c.client, "udp port 5353")
    measure.inject([port], sent, 0.4)
    time.sleep(0.3)
    return [p for p in cap.stop() if isinstance(p, measure.Datagram) and p.to_client]


@case(conf=conf_for("announce", "vxlan"), router=True, alike=True)
def test_forged_vxlan(c):
    """What comes out of a forged tunnel packet is dropped; out of a member's it is served."""
    c.client.run(f"ping -c 1 -W 1 {c[1].addr4} >/dev/null; ping -c 1 -W 1 {c[1].addr6} >/dev/null")
    vni, mac = member_vni(c[1], 2)
    other, _ = member_vni(c[1], 3)

    def tunnelled(source, number, vni):
        out = []
        for n in range(60):
            inner = frames.udp(CLIENT4, 36000 + n, VIP4, 5353, b"forged %d" % n)
            inner = frames.ether("02:c1:d0:00:00:01", mac, 0x0800, frames.ip4(CLIENT4, VIP4, 17, inner))
            out.append(frames.ether(f"02:00:00:00:00:{number:02x}", c[1].mac, 0x0800,
                                    frames.vxlan(source, c[1].addr4, vni, inner)))
        return out

    good = answers_to(c, c[1].port, tunnelled(c[2].addr4, 2, vni))
    expect(len(good) > 5 and {p.who for p in good} == {1}, f"a member's packets: {len(good)} answers")
    for what, source, number, key in (("the client", CLIENT4, 100, vni), ("a stranger", "10.77.0.77", 77, vni),
                                      ("another member", c[3].addr4, 3, vni),
                                      ("a member with an unknown VNI", c[2].addr4, 2, 0xc1d0ff),
                                      ("a member with another's VNI", c[2].addr4, 2, other)):
        bad = answers_to(c, c[1].port, tunnelled(source, number, key))
        expect(not bad, f"packets of {what} were served: {len(bad)} answers")
    expect(all(n.clusterd.alive() for n in c.nodes), "a daemon ended")


@case(conf=conf_for("announce", "ipip"), router=True, needs=needs("ipip"), alike=True)
def test_forged_ipip(c):
    """The same with ipip and sit: only members' packets are taken out of the tunnel."""
    c.client.run(f"ping -c 1 -W 1 {c[1].addr4} >/dev/null; ping -c 1 -W 1 {c[1].addr6} >/dev/null")

    def tunnelled(source, number, client, vip):
        out = []
        for n in range(60):
            data = frames.udp(client, 36000 + n, vip, 5353, b"forged %d" % n)
            kind, inner = frames.packet(client, vip, 17, data)
            outer = frames.ip4(source, c[1].addr4, 4 if kind == 0x0800 else 41, inner)
            out.append(frames.ether(f"02:00:00:00:00:{number:02x}", c[1].mac, 0x0800, outer))
        return out

    for client, vip in ((CLIENT4, VIP4), (CLIENT6, VIP6)):
        good = answers_to(c, c[1].port, tunnelled(c[2].addr4, 2, client, vip))
        expect(len(good) > 5 and {p.who for p in good} == {1}, f"a member's packets: {len(good)} answers")
        for source, number in ((CLIENT4, 100), ("10.77.0.77", 77)):
            bad = answers_to(c, c[1].port, tunnelled(source, number, client, vip))
            expect(not bad, f"packets of {source} were served: {len(bad)} answers")


@case(conf=conf_for("announce", "vxlan"), router=True, fresh=True)
def test_rp_filter(c):
    """Strict reverse path filters on the nodes: all works, and after the stop they are as before."""
    for n in c.nodes:
        n.run("echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 1 >/proc/sys/net/ipv4/conf/default/rp_filter")
    before = [n.run("grep -H '' /proc/sys/net/ipv4/conf/*/rp_filter").stdout for n in c.nodes]
    c.start()
    for i, host in enumerate((c.client, c.far)):
        ask_all(c, host, f"{48000 + i * 100}:60", None)
        transfers(c, host, 4)
    for n in c.nodes:
        same(n.stop_clusterd(30), 0, f"{n.name}'s exit code")
    after = [n.run("grep -H '' /proc/sys/net/ipv4/conf/*/rp_filter").stdout for n in c.nodes]
    expect(after == before, lambda: labs.difference(before[0], after[0]))


# ---- forgeries and nonsense

def moved_frames(c):
    """Frames that the nodes have sent until now."""
    total = 0
    for n in c.up():
        text = labs.sh("ip", "-s", "link", "show", n.port).stdout
        total += int(text.split("RX:")[1].splitlines()[1].split()[1])
    return total


def unharmed(c, frames_sent, act):
    """While 'act' sends that many frames nobody notices, nothing circles, no daemon ends."""
    with Watched(c, conns=60, rate=100) as w:
        w.mark()
        before = moved_frames(c)
        time.sleep(1)
        usual = moved_frames(c) - before
        start, before = time.monotonic(), moved_frames(c)
        act()
        time.sleep(0.5)
        took = time.monotonic() - start
        more = moved_frames(c) - before - usual * took
        time.sleep(1)
    w.nobody_noticed()
    expect(more < 4 * frames_sent + 500, f"{more:.0f} frames more from the nodes for {frames_sent} frames")
    expect(all(n.clusterd.alive() for n in c.nodes), "a daemon ended")


def junk(c, source_of):
    """Sends the nasty packets to each node as if from source_of(node)."""
    packets = frames.nasty("10.77.0.99", "fd77::99", c.vip4, c.vip6)
    for n in c.nodes:
        measure.inject([n.port], [frames.ether(source_of(n), n.mac, kind, body)[:1514]
                                  for kind, body in packets], 0.5)
    return len(packets) * c.n


def malformed(dispatch, redirect):
    def test(c):
        count = len(frames.nasty("10.77.0.99", "fd77::99", c.vip4, c.vip6)) * c.n
        def act():
            junk(c, lambda n: "02:00:00:00:00:63")
            junk(c, lambda n: c[n.number % 3 + 1].mac)
        unharmed(c, 2 * count, act)
    test.__name__ = f"test_malformed_{dispatch}_{redirect}"
    test.__doc__ = (f"{dispatch}, {redirect}: tiny fragments, cut headers, options, nonsense, also with a "
                    "peer's MAC: no harm.")
    case(conf=conf_for(dispatch, redirect), router=True, alike=True)(test)


def with_peers_mac(c):
    """SYNs and ACKs in frames that claim to come from a peer: never handed on again, no circle."""
    sent = []
    for n in c.nodes:
        for peer in c.nodes:
            if peer is n:
                continue
            for sport in range(34000, 34060):
                for flags in (frames.SYN, frames.ACK):
                    for client, vip in (("10.77.0.99", c.vip4), ("fd77::99", c.vip6)):
                        body = frames.tcp(client, sport, vip, 80, flags, ack=flags >> 4)
                        sent.append((n, frames.ether(peer.mac, n.mac, *frames.packet(client, vip, 6, body))))

    def act():
        for n in c.nodes:
            measure.inject([n.port], [f for to, f in sent if to is n], 0.5)
    unharmed(c, len(sent), act)


@case(conf=conf_for("announce"), router=True, alike=True)
def test_peers_mac(c):
    """Packets with a peer's MAC harm nobody."""
    with_peers_mac(c)


malformed("announce", "direct")


@case(conf=conf_for("announce"), router=True, timeout=120, alike=True)
def test_fragments_same_id(c):
    """Datagrams of one client whose fragments carry the same number, one after the other, stay apart."""
    sent, wanted = [], []
    for client, vip in ((CLIENT4, VIP4), (CLIENT6, VIP6)):
        to = c[int(c[1].status()["services"][0]["holders"][vip][1:])]
        for n in range(40):
            data = frames.udp(client, 38000 + n, vip, 5353, b"x" * 1600)
            wanted.append((client, 38000 + n, vip, 5353))
            for at, part in ((0, data[:1400]), (175, data[1400:])):
                if vip == VIP4:
                    kind, body = 0x0800, frames.ip4(client, vip, 17, part, ident=7, frag=at or 0x2000)
                else:
                    head = struct.pack("!BBHI", 17, 0, at << 3 or 1, 7)
                    kind, body = 0x86dd, frames.ip6(client, vip, 44, head + part)
                sent.append((to, frames.ether(c.client.mac, to.mac, kind, body)))
    c.client.run(f"ping -c 1 -W 1 {VIP4} >/dev/null; ping -c 1 -W 1 {VIP6} >/dev/null; true")
    cap = c.capture(c.client, "udp port 5353 or (ip6 and ip6[6] == 44)")
    for to, frame in sent:
        measure.inject([to.port], [frame], 0.003)
    time.sleep(0.5)
    found = {p.client[:2]: p.who for p in cap.stop() if isinstance(p, measure.Datagram) and p.to_client}
    lost = [(w[0], w[1], t["owner"]) for w, t in zip(wanted, c.trace(wanted))
            if f"n{found.get(w[:2])}" != t["owner"]]
    expect(not lost, lambda: f"not answered, or not by the owner: {few(lost)}")


def to_other_host(c):
    """Frames that a switch floods because it does not know their MAC: nobody may serve them."""
    stranger = "02:00:00:00:00:77"
    c.client.run(f"ping -c 1 -W 1 {VIP4} >/dev/null; ping -c 1 -W 1 {VIP6} >/dev/null; true")
    sent = []
    for n in range(60):
        for client, vip in ((CLIENT4, VIP4), (CLIENT6, VIP6)):
            for proto, body in ((17, frames.udp(client, 39000 + n, vip, 5353, b"%d" % n)),
                                (6, frames.tcp(client, 39000 + n, vip, 80, frames.SYN))):
                kind, packet = frames.packet(client, vip, proto, body)
                sent += [frames.ether(mac, stranger, kind, packet) for mac in (c.client.mac, c[1].mac)]
    cap = c.capture(c.client, "udp port 5353")
    before = moved_frames(c)
    measure.inject([n.port for n in c.nodes], sent, 0.6)
    time.sleep(0.3)
    packets = [p for p in cap.stop() if isinstance(p, (measure.Datagram, measure.Segment)) and p.to_client]
    expect(not packets, lambda: f"answers to frames for another host: {few(packets, 2)}")
    expect(moved_frames(c) - before < len(sent), "frames for another host were handed on")


@case(conf=conf_for("announce"), router=True, alike=True)
def test_other_host(c):
    """Frames for another host's MAC are nobody's business."""
    to_other_host(c)


@case(conf=conf_for("announce", scheduler="least-conn"), router=True, alike=True)
def test_other_host_least_conn(c):
    """The same with a scheduler, where a second front would be a second decision."""
    to_other_host(c)


@case(conf=conf_for("announce"), router=True, timeout=120, alike=True)
def test_options(c):
    """Datagrams with IP options and extension headers reach their owner, once."""
    sent, wanted = [], []
    holder = {v: int(n[1:]) for v, n in c[1].status()["services"][0]["holders"].items()}
    for n in range(40):
        for client, vip in ((CLIENT4, VIP4), (CLIENT6, VIP6)):
            data = frames.udp(client, 37000 + n, vip, 5353, b"%d" % n)
            if vip == VIP4:
                kind, body = 0x0800, frames.ip4(client, vip, 17, data, options=b"\x01" * (4 + n % 36))
            else:
                pad = struct.pack("!BBHI", 17, 0, 0x0104, 0)
                kind, body = 0x86dd, frames.ip6(client, vip, 60, pad + data)
            to = c[holder[vip]]
            sent.append((to, frames.ether(c.client.mac, to.mac, kind, body)))
            wanted.append((client, 37000 + n, vip, 5353))
    c.client.run(f"ping -c 1 -W 1 {VIP4} >/dev/null; ping -c 1 -W 1 {VIP6} >/dev/null; true")
    cap = c.capture(c.client, "udp port 5353")
    for to, frame in sent:
        measure.inject([to.port], [frame], 0.005)
    time.sleep(0.3)
    answers = [p for p in cap.stop() if isinstance(p, measure.Datagram) and p.to_client]
    found = collections.Counter((p.client, p.who) for p in answers)
    owner = {(c_, s): t["owner"] for (c_, s, _, _), t in zip(wanted, c.trace(wanted))}
    wrong = [k for k in found if found[k] != 1 or owner[k[0]] != f"n{k[1]}"]
    expect(not wrong, lambda: f"answered twice or by others: {few(wrong)}")
    same(len(found), len(wanted), "answers")


@case(conf=conf_for("announce"), router=True, timeout=120, alike=True)
def test_vanishes_mid_move(c):
    """A peer that loses power in the midst of its drain: others' connections go on, nothing circles."""
    victim = next(n for n in c.nodes
                  if n.name not in c[1].status()["services"][0]["holders"].values())
    other = c[victim.number % 3 + 1]
    with Watched(c, conns=90, rate=200) as w:
        w.mark()
        before = moved_frames(c)
        time.sleep(1)
        usual = moved_frames(c) - before
        order = other.popen([labs.CLUSTERCTL, "drain", victim.name])
        time.sleep(0.05)
        victim.power_off()
        gone = time.monotonic()
        time.sleep(1.5)
        before = moved_frames(c)
        time.sleep(1)
        later = moved_frames(c) - before
        time.sleep(1.5)
    expect(later < 3 * usual + 500, f"{later} frames a second afterwards, {usual} before")
    server = {i: recs[0][5] for i, recs in w.connections().items()}
    ended = [r for r in w.held if r[0] in "xm" and server.get(r[2]) != victim.name]
    expect(not ended, lambda: f"connections to living nodes ended: {few(ended)}")
    w.one_speaker([(victim.number, gone - 0.05, float("inf"))])
    order.wait(10)
    wait(lambda: c.settled(draining=True), 15, "the survivors to settle")
    victim.power_on()
    wait(lambda: c.state_of(victim.name, other.number) in ("online", "drained", "draining"), 20,
         "the node to return")
    other.ctl(f"undrain {victim.name}", check=False)
    c.settle(25, draining=True)
