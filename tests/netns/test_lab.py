# SPDX-License-Identifier: GPL-2.0-or-later
"""The test bed itself, with plain corosync and nginx: a tool that cannot see a fault proves nothing."""

from harness import *

ROUTED = {"service web": {"vip": f"{labs.ROUTE_VIP4}, {labs.ROUTE_VIP6}", "dispatch": "route"}}


@case(nodes=1, bare=True)
def test_lab_load(c):
    """Load tools and capture: every request answered, and a server's reset is seen."""
    c[1].start_web()
    c[1].vip_by_hand()
    with Watched(c, udp=True, baseline=1.5) as w:
        w.mark()
        time.sleep(0.5)
    w.nobody_noticed()
    expect(len(w.probes) > 400, f"only {len(w.probes)} requests in 2 s")
    expect(len(w.datagrams) > 250 and all(r[4] is not None for r in w.datagrams), "datagrams lost")
    same({r[3] for r in w.held if r[0] == "c"}, {4, 6}, "families")
    same(set(once(c, "udp").values()), {"n1"}, "UDP answers")

    with Watched(c, baseline=0.5) as w:
        w.mark()
        c[1].nginx.kill(9)    # its worker lives on: kill the whole service
        c[1].run("kill -9 $(pgrep -x nginx) || true")
        time.sleep(0.7)
    expect(measure.resets(w.packets), "a server's resets were not captured")
    expect(any(r[0] == "x" for r in w.held), "a lost connection was not noticed")
    expect(any(r[7] for r in w.probes), "refused connections were not noticed")


@case(nodes=2, bare=True)
def test_lab_power_off(c):
    """The power switch: no FIN, no reset leaves the node; a machine that has the VIP again answers."""
    c[1].start_web()
    c[2].start_web()
    c[1].vip_by_hand()
    with Watched(c) as w:
        w.mark()
        c[1].power_off()
        time.sleep(0.6)
    same([p for p in measure.segments(w.packets) if p.who == 1 and p.t > w.t0 + 0.05], [],
         "frames after the power went")
    expect(w.keys_of("n1") == set(w.before), "n1 answered all")
    same(measure.outage(w.probes, w.keys_of("n1"), w.t0), None, "outage without an heir")
    c[1].power_on(services=False)
    c[1].start_web()
    c[1].vip_by_hand()
    wait(lambda: set(once(c, ports="41000:5").values()) == {"n1"}, 5, "n1 to be back")


@case(nodes=2, bare=True)
def test_lab_double(c):
    """Two nodes that both accept are found out."""
    for n in (1, 2):
        c[n].start_web()
    # The same address twice, and the client sends to the shared MAC that the switch floods.
    for n in (1, 2):
        c[n].vip_by_hand()
        c[n].run("ip maddr add 01:00:5e:00:00:77 dev eth0; nft add table netdev t; "
                 "nft 'add chain netdev t i { type filter hook ingress device eth0 priority 0; }'; "
                 "nft add rule netdev t i meta pkttype set host")
    c.client.run(f"ip neigh replace {VIP4} lladdr 01:00:5e:00:00:77 dev eth0 nud permanent")
    cap = c.capture()
    c.load("probe", once=True, ports="40000:20", family=4, rate=100).wait()
    packets = cap.stop()
    expect(len(measure.double_accepts(packets)) >= 15, "two SYN-ACKs per SYN were not found")
    expect(measure.foreign_resets(packets) or measure.resets(packets), "no reset was seen")


@case(nodes=3, bare=True)
def test_lab_cut(c):
    """Cuts: both ways, one way, isolation; healed afterwards."""
    def ping(a, b):
        return c[a].run(f"ping -c 1 -W 1 -n -i 0.2 10.77.0.{b}", check=False).returncode == 0
    for a, b in ((1, 2), (2, 3), (3, 1)):
        expect(ping(a, b), f"no ping from {a} to {b}")
    c.cut(1, 3)
    expect(not ping(1, 3) and not ping(3, 1) and ping(1, 2) and ping(2, 3), "cut 1-3")
    c.heal()
    c.cut(1, 2, oneway=True)
    cap = c.capture(c[2])
    c[2].run("ip neigh flush all")
    expect(not ping(2, 1), "one-way cut let a ping through")
    packets = [p for p in cap.stop() if isinstance(p, measure.Arp)]
    expect(any(p.who == 2 for p in packets) and not any(p.who == 1 for p in packets),
           f"ARP over a one-way cut: {few(packets)}")
    c.heal()
    c.isolate(2)
    expect(not ping(1, 2) and ping(1, 3), "isolation")
    c.heal()
    wait(lambda: ping(1, 2), 5, "the healed path")


@case(nodes=3, bare=True)
def test_lab_corosync(c):
    """Three corosyncs form a cluster, lose a node, get it back."""
    c.start()
    c[3].power_off()
    wait(lambda: c[1].corosync_members() == 2, 10, "two members")
    c[3].power_on()
    c.settle()


@case(nodes=2, bare=True, conf=ROUTED, router=True)
def test_lab_router(c):
    """The router: the far client reaches nodes and VIPs over all its ways, and the path is narrow."""
    for n in c.nodes:
        n.start_web()
        n.run(f"ip addr add {c.vip4} dev lo; ip addr add {c.vip6} dev lo")
        # Else IPv6 goes round those that have not answered yet, and the two know nothing of each other.
        c.gate.run(f"ping -c 1 -W 1 {n.addr4}; ping -c 1 -W 1 {n.addr6}")
    for family in (4, 6):
        same(c.gate.hops(family), {1, 2}, f"ways over IPv{family}")
        same(set(once(c, ports="40000:40", family=family).values()), {"n1", "n2"}, "nodes that answer")
    c.gate.ways([c[2]])
    same(set(once(c, ports="41000:20").values()), {"n2"}, "nodes that answer over one way")
    c.gate.narrow(1400)
    for vip in (c.vip4, f"[{c.vip6}]"):
        r = c.far.run(["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{size_download}",
                       f"http://{vip}/big"])
        same(r.stdout, str(20 << 20), "bytes over the narrow path")
    for family in (4, 6):
        text = c[2].run(f"ip -{family} route get {c.far.addr4 if family == 4 else c.far.addr6}").stdout
        expect("mtu 1400" in text, f"the path's MTU was not learned over IPv{family}: {text}")


@case(nodes=2, bare=True, conf=ROUTED, router="bird")
def test_lab_bird(c):
    """BIRD, with our example on the nodes: signal routes come to the router and go from it."""
    for n in c.nodes:
        n.start_web()
        n.start_bird()
        n.run(f"ip addr add {c.vip4} dev lo; ip addr add {c.vip6} dev lo;"
              f"ip route add {c.vip4} dev lo proto 193 metric 193 src {c.vip4};"
              f"ip -6 route add {c.vip6} dev eth0 proto 193 metric 193")
    for family in (4, 6):
        wait(lambda: c.gate.hops(family) == {1, 2}, 15, f"BIRD's ways over IPv{family}")
    same(set(once(c, ports="40000:40").values()), {"n1", "n2"}, "nodes that answer")
    start = time.monotonic()
    c[1].run(f"ip route del {c.vip4} dev lo; ip -6 route del {c.vip6} dev eth0 metric 193")
    for family in (4, 6):
        wait(lambda: c.gate.hops(family) == {2}, 8, f"the way to n1 to go over IPv{family}")
    note(c, f"withdrawn after {time.monotonic() - start:.1f} s")
