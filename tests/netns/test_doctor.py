# SPDX-License-Identifier: GPL-2.0-or-later
"""'clusterctl doctor', 'flows' and 'counters' on a running cluster: what is so, and what was broken on purpose."""

import json

from harness import *


def doctor(c, number=1):
    """(exit code, result); never earlier than the last round's results have become old."""
    time.sleep(5.5)
    r = c[number].ctl("doctor --json", check=False, timeout=30)
    expect(r.returncode in (0, 1), f"doctor: exit {r.returncode}: {r.stderr or r.stdout}")
    return r.returncode, json.loads(r.stdout)


def found(result, topic, level):
    return [f["found"] for f in result["findings"] if f["topic"] == topic and f["level"] == level]


@case()
def test_doctor_all_well(c):
    """On this network and machine nothing is in the way, and the peers have heard the frames."""
    code, d = doctor(c)
    problems = [f for f in d["findings"] if f["level"] == "problem"]
    expect(not problems and code == 0, f"exit {code}: {problems}")
    flood = d["network"]["flood"]
    expect(len(flood) == 3, f"broadcast and two shared MACs: {flood}")
    for t in flood:
        same(sorted(t["heard"]), ["n2", "n3"], f"who heard {t['mac']}")
    for p in d["network"]["paths"]:
        same(p["mtu"], 1500, f"path MTU to {p['node']}")


@case()
def test_doctor_switch_filters(c):
    """A port that gets no unknown multicast, then one that is cut: told apart, and by name."""
    try:
        labs.sh("bridge", "link", "set", "dev", "p2", "mcast_flood", "off")
        code, d = doctor(c)
        same(code, 1, "exit code")
        told = found(d, "flood", "problem")
        expect(told and all("n2 heard a broadcast, but not" in t for t in told), f"flood: {told}")
        same(found(d, "segment", "problem"), [], "findings about the segment")
    finally:
        labs.sh("bridge", "link", "set", "dev", "p2", "mcast_flood", "on")


@case()
def test_doctor_path_is_short(c):
    """A smaller MTU at a peer is found, though no message about it comes back."""
    try:
        c[3].run("ip link set eth0 mtu 1400")
        labs.sh("ip", "link", "set", "p3", "mtu", "1400")
        code, d = doctor(c)
        told = found(d, "path", "hint")
        expect(any("to n3 packets of up to 1400 bytes" in t for t in told), f"paths: {told}")
        expect(not any("n2" in t for t in told), f"paths: {told}")
    finally:
        labs.sh("ip", "link", "set", "p3", "mtu", "1500")
        c[3].run("ip link set eth0 mtu 1500")


@case()
def test_doctor_settings(c):
    """What somebody has turned on this machine."""
    try:
        c[2].run("echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_ignore; "
                 "echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose")
        code, d = doctor(c, 2)
        same(code, 1, "exit code")
        expect(any("arp_ignore of eth0 is 1" in t for t in found(d, "arp", "problem")), "arp_ignore")
        expect(any("tcp_loose is 1" in t for t in found(d, "conntrack", "problem")), "tcp_loose")
    finally:
        c[2].run("echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_ignore; "
                 "echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose")


@case()
def test_counters(c):
    """Each node counts what it accepted; together that is what was sent."""
    def accepted():
        return [next(s["accepted"] for s in n.json("counters")["services"]) for n in c.nodes]

    before = accepted()
    once(c, ports="45000:100")
    after = accepted()
    expect(all(b > a for a, b in zip(before, after)), f"accepted on n1..n3: {before}, then {after}")
    for n in c.nodes:
        same(n.json("flows")["flows"], [], f"flows of {n.name} that do not follow their bucket")


@case()
def test_flows_of_a_drain(c):
    """While n1 is drained, 'flows' there lists just the connections that it keeps, with their new owners."""
    hold = c.load("hold", conns=60)
    time.sleep(1.5)
    try:
        c[1].ctl("drain n1")
        wait(lambda: c[1].status()["nodes"][0]["buckets"] == 0, 10, "n1 to own nothing")
        flows = c[1].json("flows")["flows"]
        some = c[1].json("flows --limit 2")
    finally:
        c[1].ctl("undrain n1")
    hold.stop()
    held = {(addresses(r[3])[0], r[4]) for r in hold.records("c") if r[5] == "n1"}
    told = {tuple(f["client"].replace("[", "").replace("]", "").rsplit(":", 1)) for f in flows}
    same(told, {(a, str(port)) for a, port in held}, "connections that n1 kept")
    expect(all(f["kind"] == "kept" and f["node"] == "n1" and f["owner"] in ("n2", "n3") for f in flows),
           lambda: few(flows))
    same((len(some["flows"]), some["cut"]), (2, True), "flows --limit 2")
    note(c, f"{len(held)} kept")
    c.settle()
