# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows "moves" and "loss": a node is drained and taken back while connections are open, in every mode."""

import time

import measure
from cluster import Planned, Watch, counts
from lab import ROUTE_VIP4, ROUTE_VIP6, VIP4, VIP6, Lab, sh, wait

MODES = (("flood", "direct"), ("announce", "direct"), ("announce", "vxlan"), ("route", "direct"))
CONNS = 1000
INTERVAL = 3    # seconds between two requests of one connection

# What the switch loses.  Of all frames, what the nodes tell each other is lost as well.  A client whose
# SYN-ACK was lost sends its SYN again after a second, perhaps to the next owner of its bucket.
LOSSES = (("1 % of all frames", "numgen random mod 100 < 1"),
          ("20 % of the SYN-ACKs", "tcp sport 80 tcp flags & (syn | ack) == syn | ack numgen random mod 100 < 20"))
LOSSY = """
table bridge lossy {{
    counter lost {{ }}
    chain c {{
        type filter hook forward priority 0
        {what} counter name lost drop
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


def lossy_moves(mode, what):
    """(resets, connections ended, failed requests, requests, segments sent again)"""
    p = Planned()
    with Lab(3, conf(*mode), with_clusterd=True) as c:
        c.start()
        sh("nft", "-f", "-", text_in=LOSSY.format(what=what))
        try:
            before = retransmitted(c)
            w, held = drain_and_back(c, 200, INTERVAL)
            again = retransmitted(c) - before
        finally:
            sh("nft", "delete", "table", "bridge", "lossy")
    p.judge(w)
    # the last ones may still be waiting for the answer to a SYN that was sent again
    failed = sum(r[7] not in (None, "unanswered") for r in w.probes)
    return p.resets, sum(r[0] in "xm" for r in held), failed, len(w.probes), again


def rows_loss(opts, add):
    for mode in MODES[:2]:
        for text, what in LOSSES:
            found = [lossy_moves(mode, what) for _ in range(3 if opts.full else 1)]
            resets, ended, failed, probes, again = (sum(column) for column in zip(*found))
            name = f"{'/'.join(mode)}, {text} lost"
            how = "drain and undrain under 200 open connections; lost by nft numgen in the switch, as netem would"
            add(f"resets, {name}", [resets], "packets", ("==", 0), how)
            add(f"open connections ended or moved, {name}", [ended], "connections", ("==", 0), how)
            add(f"failed new requests, {name}", [failed], "requests", None, f"of {probes:,}")
            add(f"TCP segments sent again, {name}", [again], "segments", None, "by clients and nodes")
