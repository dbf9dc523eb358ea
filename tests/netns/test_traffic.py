# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: one address, all nodes answer, and everybody can say who will."""

import collections
import json

from harness import *


@case()
def test_http(c):
    """HTTP over IPv4 and IPv6 through the VIP: all requests answered, by all nodes, evenly."""
    serves_evenly(c, ["n1", "n2", "n3"])
    for family in "46":
        found = collections.Counter(once(c, ports="41000:150", family=family).values())
        same(set(found), {"n1", "n2", "n3"}, f"nodes that answered over IPv{family}")


@case()
def test_udp(c):
    """UDP over IPv4 and IPv6, answered from the address that was asked."""
    found = collections.Counter(once(c, "udp").values())
    same(set(found), {"n1", "n2", "n3"}, "nodes that answered")


@case()
def test_trace(c):
    """trace names the node that really answers, for hundreds of tuples, TCP and UDP."""
    for what, port in (("probe", 80), ("udp", 5353)):
        real = once(c, what, ports="42000:150")
        keys = sorted(real)
        tuples = []
        for family, sport in keys:
            client, vip = addresses(family)
            tuples.append((client, sport, vip, port))
        said = [t["owner"] for t in c.trace(tuples)]
        wrong = [(t, s, real[k]) for k, t, s in zip(keys, tuples, said) if real[k] != s]
        expect(len(said) == len(keys) and not wrong, lambda: f"{what}: trace is wrong: {few(wrong)}")
    found = c.trace([("198.51.100.7", 1234, VIP4, 80)])[0]
    same(set(found) >= {"bucket", "service", "owner", "state", "previous"}, True, "keys of trace --json")
    same(found["service"], "web", "service")


@case()
def test_trace_same_everywhere(c):
    """Every node's trace says the same."""
    args = f"trace --json 203.0.113.9:4711 {VIP4}:80"
    said = [(t["bucket"], t["owner"]) for t in (json.loads(n.ctl(args).stdout) for n in c.nodes)]
    same(len(set(said)), 1, "different answers")


@case(conf={"service web": {"hash": "source"}})
def test_hash_source(c):
    """hash = source: all connections of one client address go to one node."""
    same([len({s for (f, _), s in once(c).items() if f == family}) for family in (4, 6)], [1, 1],
         "nodes that served one client")
    real = once(c)
    for family in (4, 6):
        client, vip = addresses(family)
        said = c.trace([(client, 40000, vip, 80)])[0]["owner"]
        same(said, real[family, 40000], "owner by trace")


@case()
def test_own_connections(c):
    """Each node's own connections to the VIP are answered by itself."""
    for node in c.nodes:
        for url in (f"http://{VIP4}/", f"http://[{VIP6}]/"):
            same(node.run(["curl", "-s", "-m", "2", url]).stdout.strip(), node.name, f"{node.name} {url}")


@case()
def test_other_ports(c):
    """A port of the VIP that no service has is answered by nobody: no reset, no ICMP."""
    r = c.client.run(f"curl -s -m 1 http://{VIP4}:81/", check=False)
    same(r.returncode, 28, "curl's exit code (28: timeout) for a port without service")
    for node in c.nodes:
        r = c.client.run(["curl", "-s", "-m", "2", f"http://{node.addr4}/"])
        same(r.stdout.strip(), node.name, "a node's own address")


@case()
def test_arp(c):
    """ARP and ND for the VIP tell the one shared MAC; nothing tells a node's own."""
    cap = c.capture()
    c.client.run(f"ip neigh flush all; ping -c 1 -W 1 {VIP4} >/dev/null; ping -c 1 -W 1 {VIP6} "
                 ">/dev/null; true", check=False)
    once(c, ports="43000:5")
    packets = cap.stop()
    arps = {p.sha for p in packets if isinstance(p, measure.Arp) and p.who != 100 and p.spa == VIP4}
    nds = {p.lladdr for p in packets if isinstance(p, measure.Nd) and p.type == 136 and p.who != 100
           and p.target == VIP6}
    expect(len(arps) == 1 and all(int(m[:2], 16) & 1 for m in arps), f"ARP answers: {arps}")
    expect(len(nds) == 1 and all(int(m[:2], 16) & 1 for m in nds), f"ND answers: {nds}")
    leaks = [p for p in packets if isinstance(p, measure.Arp) and p.who not in (100,)
             and p.spa == VIP4 and p.op == 1]
    expect(not leaks, lambda: f"nodes ask with the VIP as source: {few(leaks)}")


@case()
def test_large_transfer(c):
    """20 MB from each node arrive whole."""
    for n in range(6):
        url = f"http://{VIP4}/big" if n % 2 else f"http://[{VIP6}]/big"
        r = c.client.run(["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{size_download}", url])
        same(r.stdout, str(20 << 20), "bytes received")


@case()
def test_nft_list(c):
    """'nft list ruleset' prints every table; all names begin with clusterd."""
    for node in c.nodes:
        text = node.run("nft list ruleset").stdout
        tables = [line.split()[2] for line in text.splitlines() if line.startswith("table ")]
        expect(tables and all(t.startswith("clusterd") for t in tables), f"{node.name}: tables {tables}")


@case()
def test_status(c):
    """status --json has what the contract lists; the text forms name every node."""
    for node in c.nodes:
        s = node.status()
        same(s["local"], node.name, "local")
        expect(set(s["cluster"]) >= {"name", "quorate", "epoch", "digest", "buckets", "fenced"},
               f"cluster: {s['cluster']}")
        for n in s["nodes"]:
            expect(set(n) >= {"name", "id", "address", "state", "weight", "effective_weight", "load"},
                   f"node: {n}")
        for v in s["services"]:
            expect(set(v) >= {"name", "vips", "ports", "dispatch", "redirect", "hash", "scheduler",
                              "moving", "buckets"}, f"service: {v}")
            same(sorted(v["vips"]), sorted([VIP4, VIP6]), "vips")
            counts = v["buckets"].values()
            same((sum(counts), max(counts) - min(counts) <= 1), (1024, True), "even shares")
        for command in ("status", "nodes", "services", "buckets web"):
            text = node.ctl(command).stdout
            expect(text.strip(), f"clusterctl {command} prints nothing")
            if command in ("status", "nodes"):
                expect(all(n.name in text for n in c.nodes), f"clusterctl {command}: {text}")
