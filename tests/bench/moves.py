# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows "moves" and "loss": a node is drained and taken back while connections are open, in every mode."""

import time

import measure
from cluster import Planned, Watch, counts
from lab import ROUTE_VIP4, ROUTE_VIP6, VIP4, VIP6, Lab, sh, wait

MODES = (("flood", "direct"), ("announce", "direct"), ("announce", "vxlan"), ("route", "direct"))
CONNS = 1000
INTERVAL = 3    # seconds between two requests of one connection

# On every port of the switch: what the nodes tell each other is lost as well.
LOSSY = """
table bridge lossy {{
    counter lost {{ }}
    chain c {{
        type filter hook forward priority 0
        numgen random mod 1000 < {per_mille} counter name lost drop
    }}
}}"""


def conf(dispatch, redirect):
    vips = f"{ROUTE_VIP4}, {ROUTE_VIP6}" if dispatch == "route" else f"{VIP4}, {VIP6}"
    # The lease is not the question here, and a thousand clients on the nodes' own processors are a load.
    return {"cluster": {"lease": "500ms"},
            "service web": {"vip": vips, "dispatch": dispatch, "redirect": redirect}}


def retransmitted(c):
    """Segments that this network's machines sent again."""
    total = 0
    for host in [c.user, *c.nodes]:
        lines = host.run("cat /proc/net/snmp").stdout.splitlines()
        names, values = [line.split() for line in lines if line.startswith("Tcp:")]
        total += int(values[names.index("RetransSegs")])
    return total


def drain_and_back(c, conns, pause):
    """(Watch, records of the held connections)"""
    w = Watch(c, conns=conns, rate=200, interval=INTERVAL)
    try:
        c[1].ctl("drain n3")
        wait(lambda: counts(c[1]) and not counts(c[1]).get("n3"), 20, "n3 to own nothing", 0.1)
        time.sleep(pause)
        c[2].ctl("undrain n3")
        wait(lambda: counts(c[1]).get("n3"), 20, "n3 to own buckets again", 0.1)
        time.sleep(pause)
    finally:
        w.stop()
    held = w.hold.records()
    began = {r[2] for r in held if r[0] == "c"}
    if len(began) != conns:
        raise RuntimeError(f"{len(began)} of {conns} connections were open")
    wait(lambda: c.settled(draining=True), 20, "the cluster to settle", 0.1)
    return w, held


def rows_moves(opts, add):
    runs = 5 if opts.full else 1
    with Lab(3, conf(*MODES[0]), with_clusterd=True, router=True) as c:
        c.start()
        for mode in MODES:
            if mode != MODES[0]:
                c.change_conf(conf(*mode))
            p, failed, ended = Planned(), 0, 0
            for _ in range(runs):
                w, held = drain_and_back(c, CONNS, INTERVAL)
                p.judge(w)
                failed += sum(measure.failed(r) for r in w.probes)
                ended += sum(r[0] in "xm" for r in held)
            name = "/".join(mode)
            how = (f"drain and undrain of one of three nodes, {CONNS:,} open connections, 200 new ones a "
                   f"second; {runs} runs, capture at the client")
            add(f"resets, planned moves, {name}", [p.resets], "packets", ("==", 0), how)
            add(f"lost SYNs, planned moves, {name}", [p.lost_syns], "packets", ("==", 0), how)
            add(f"open connections ended or moved, {name}", [ended], "connections", ("==", 0), how)
            add(f"failed new requests, {name}", [failed], "requests", ("==", 0), how)


def rows_loss(opts, add):
    runs = 3 if opts.full else 1
    for mode in MODES[:2]:
        p, failed, sent_again, ended, probes = Planned(), 0, 0, 0, 0
        with Lab(3, conf(*mode), with_clusterd=True) as c:
            c.start()
            sh("nft", "-f", "-", text_in=LOSSY.format(per_mille=10))
            try:
                for _ in range(runs):
                    before = retransmitted(c)
                    w, held = drain_and_back(c, 200, INTERVAL)
                    sent_again += retransmitted(c) - before
                    p.judge(w)
                    probes += len(w.probes)
                    failed += sum(r[7] is not None for r in w.probes)
                    ended += sum(r[0] in "xm" for r in held)
            finally:
                sh("nft", "delete", "table", "bridge", "lossy")
        name = "/".join(mode)
        how = ("drain and undrain, 200 open connections, while the switch loses 1 % of all frames (nft numgen in "
               f"its bridge, as netem would); {runs} runs")
        add(f"resets with 1 % loss, {name}", [p.resets], "packets", ("==", 0), how)
        add(f"open connections ended or moved, {name}", [ended], "connections", ("==", 0), how)
        add(f"failed new requests, {name}", [failed], "requests", None, f"of {probes:,}; limit 3 s each")
        add(f"TCP segments sent again, {name}", [sent_again], "segments", None, "clients and nodes")
