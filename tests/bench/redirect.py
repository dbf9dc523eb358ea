#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows "redirect": what it costs a front to hand an established connection's packet to its owner.

    sender and owners (this network namespace)  s0 s1 s2 ...   one veth pair for each candidate
                                                |  |  |
    fronts, namespaces v0 v1 ...                eth0 eth0 eth0

The packet leaves by the interface by which it came, with an owner's MAC address.  The sender's side counts
and drops it at once, by the same rule as the candidate "bare"; what that costs is subtracted, because
it is another machine's: a veth pair with "bare" behind it less a dummy device (where the kernel has none, it is
not subtracted).

    redirect.py COUNT ROUNDS [NAME...]   measures here and prints JSON; make bench starts it so in the
                                         stock kernel, which has IPVS
"""

import json
import os
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "netns")]

import packets                                              # noqa: E402
from lab import TOP, VIP4, sh                               # noqa: E402
from packets import TOOLS, Receiver, clusterd, spread, tool  # noqa: E402

FRONT_MAC = "06:00:5e:4d:00:fa"     # send.c
PEERS = (2, 3)
FLOWS = 4096
BUCKETS = 4096


DROP = """
table netdev drop_{0} {{
    counter seen {{ }}
    chain c {{
        type filter hook ingress device {0} priority 0
        counter name seen drop
    }}
}}"""


def bare(r):
    r.nft(DROP.format("eth0"))


def xdp_send(r):
    r.hold(tool("xdp"), os.path.join(TOOLS, "bench_drop.bpf.o"), "eth0", str(BUCKETS), "send")


def fwd(r):
    """The floor: no service, no hash, one peer."""
    r.nft(f"""
table netdev floor {{
    chain c {{
        type filter hook ingress device eth0 priority 0
        ip daddr {VIP4} fwd ip to 10.77.0.2 device eth0
    }}
}}""")


def fwd_ipip(r):
    r.run("sh", "-c", """
        ip link add t2 type ipip local 10.77.0.1 remote 10.77.0.2 nopmtudisc
        ip link set t2 up""")
    r.nft(f"""
table netdev floor {{
    chain c {{
        type filter hook ingress device eth0 priority 0
        ip daddr {VIP4} fwd ip to 10.77.0.2 device t2
    }}
}}""")


def ours(way):
    return clusterd(BUCKETS, "hand", way)


def conntrack(r):
    """A firewall's least: it makes conntrack look at every packet."""
    r.nft("""
table inet firewall {
    chain c {
        type filter hook prerouting priority 0
        ct state invalid drop
    }
}""")


def ipvs(flag, tracked):
    def install(r):
        rules = f"-A -t {VIP4}:80 -s mh -b mh-port\n"
        for peer in PEERS:
            rules += f"-a -t {VIP4}:80 -r 10.77.0.{peer}:80 {flag}\n"
        if tracked:
            conntrack(r)
        r.run("ipvsadm", "-R", text_in=rules)
    return install


def stack_ct(r):
    """What conntrack alone costs on the way into the stack."""
    conntrack(r)
    stack(r)


def stack(r):
    """The way to a local socket's door and no further."""
    r.nft("""
table inet door {
    chain c {
        type filter hook input priority 0
        drop
    }
}""")


# name: text, installer, how many packets come back for each one sent, needs IPVS
CANDIDATES = {
    "bare": ("dropped at once", bare, 0, False),
    "stack": ("dropped at the door of the stack", stack, 0, False),
    "stack_ct": ("the same with conntrack", stack_ct, 0, False),
    "fwd": ("nft fwd alone, direct", fwd, 1, False),
    "xdp": ("XDP generic: hash, look-up, XDP_TX", xdp_send, 1, False),
    "direct": ("clusterd direct", ours("direct"), 1, False),
    "dr": ("IPVS DR, mh", ipvs("-g", False), 1, True),
    "dr_ct": ("IPVS DR, mh, with conntrack", ipvs("-g", True), 1, True),
    "fwd_ipip": ("nft fwd alone, ipip", fwd_ipip, 1, True),
    "ipip": ("clusterd ipip", ours("ipip"), 1, True),
    "vxlan": ("clusterd vxlan", ours("vxlan"), 1, False),
    "tun": ("IPVS TUN, mh", ipvs("-i", False), 1, True),
    "tun_ct": ("IPVS TUN, mh, with conntrack", ipvs("-i", True), 1, True),
}


def front():
    r = Receiver()
    r.run("sh", "-c", f"""
        echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
        echo 0 > /proc/sys/net/ipv4/conf/eth0/rp_filter
        ip link set eth0 address {FRONT_MAC}""" + "".join(f"""
        ip neigh replace 10.77.0.{p} lladdr 02:00:00:00:00:{p:02x} nud permanent dev eth0""" for p in PEERS))
    sh("nft", "-f", "-", text_in=DROP.format(r.device))
    return r


def seen(r):
    out = json.loads(sh("nft", "-j", "list", "counter", "netdev", f"drop_{r.device}", "seen").stdout)
    return next(x["counter"]["packets"] for x in out["nftables"] if "counter" in x)


def measure(count, rounds, names):
    """{name: [ns per packet above 'dropped at once', one per round]}; 'names' begin with bare."""
    fronts, hole = {}, "hole"
    if sh("ip", "link", "add", hole, "type", "dummy", check=False).returncode:
        hole = None
    else:
        sh("ip", "link", "set", hole, "up")
    try:
        for name in names:
            fronts[name] = front()
            CANDIDATES[name][1](fronts[name])
        out = sh(tool("send"), "flows", "0", str(FLOWS), str(count), str(rounds),
                 *[hole] * bool(hole), *[r.device for r in fronts.values()]).stdout
        came = {name: seen(r) for name, r in fronts.items()}
    finally:
        for r in fronts.values():
            r.close()
        if hole:
            sh("ip", "link", "del", hole)
    by_device, table = {r.device: name for name, r in fronts.items()}, {}
    by_device[hole] = hole
    for line in out.splitlines():
        rec = json.loads(line)
        if rec["lost"]:
            raise RuntimeError(f"{rec['lost']} packets were lost on the way to {rec['device']}")
        table.setdefault(by_device[rec["device"]], {})[rec["round"]] = rec["ns"]
    sent = FLOWS + rounds * ((count + 63) // 64 * 64 + FLOWS)
    for name in names:
        if came[name] != sent * CANDIDATES[name][2]:
            raise RuntimeError(f"{CANDIDATES[name][0]}: {came[name]} of {sent} packets were handed on")
    owners = [table["bare"][i] - table[hole][i] if hole else 0 for i in range(rounds)]
    return {name: [table[name][i] - table["bare"][i] - CANDIDATES[name][2] * owners[i]
                   for i in range(rounds)] for name in names if name != "bare"}


# ---- rows

def in_stock_kernel(count, rounds, seconds):
    """The same, of all candidates, there."""
    run = os.path.join(TOP, "tests", "stock", "run.py")
    r = subprocess.run([run, "--exact", "--timeout", str(seconds), "--shell",
                        "modprobe -a ip_vs ip_vs_mh ipip vxlan && "
                        f"python3 tests/bench/redirect.py {count} {rounds}"],
                       capture_output=True, text=True)
    lines = [line for line in r.stdout.splitlines() if line.startswith("{")]
    if r.returncode or len(lines) != 1:
        raise RuntimeError(f"run.py: exit {r.returncode}: {(r.stdout + r.stderr)[-300:]}")
    return json.loads(lines[0])


def rows_stock(opts, add):
    found = in_stock_kernel(8192 if opts.full else 2048, 3, 600)
    med = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        add(f"redirect, stock kernel: {CANDIDATES[name][0]}", spread(values), "instr/packet", None,
            "counted by the emulator (its time would say nothing); above \"dropped at once\", without what the "
            f"owner's side costs; ACKs of {FLOWS:,} connections, 64 bytes")
    for mine, other, target in (("direct", "dr", 0.5), ("direct", "dr_ct", 0.5), ("ipip", "tun", 0.7),
                                ("ipip", "tun_ct", 0.7), ("vxlan", "tun", 0.7), ("vxlan", "tun_ct", 0.7)):
        add(f"{CANDIDATES[mine][0]} / {CANDIDATES[other][0]}", [med[mine] / med[other]], "ratio",
            ("<=", target), "of the rows above" + (
                ": IPVS on a node whose firewall is stateful, as clusterd's rules always are"
                if other.endswith("_ct") else ": IPVS on a node that uses conntrack for nothing"))


def rows_here(opts, add):
    found = measure(200000 if opts.full else 100000, 15 if opts.full else 7,
                    [name for name, c in CANDIDATES.items() if not c[3]])
    med = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        add(f"redirect: {CANDIDATES[name][0]}", spread(values), "ns/packet", None,
            "this kernel, veth, one core; above \"dropped at once\"; what was redirected is received and dropped once more")
    add("clusterd direct / XDP generic", [med["direct"] / med["xdp"]], "ratio", None, "of the rows above")


def rows_redirect(opts, add):
    rows_here(opts, add)
    rows_stock(opts, add)


def main():
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as f:
        f.write("1")        # the sender's devices shall not speak
    names = sys.argv[3:] or list(CANDIDATES)
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), names)))


if __name__ == "__main__":
    main()
