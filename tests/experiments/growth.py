# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment 1: requests per second of 2, 4 and 8 nodes."""

import os
import re
import time

import lab as labs
import svg
from common import cluster, tree
from lab import VIP4, LabError

NODES = (1, 2, 4, 8)
PART = 0.025   # of a core, for each node's nginx
SIZES = (1, 4, 16, 64)    # KiB of the pages

LUA = """\
local n = 0
request = function()
    n = n + 1
    return wrk.format("GET", "/page" .. ({%s})[n %% %d + 1])
end
"""


def start_nginx(node):
    labs.Node.nginx_start(node)
    node.site = node.nginx
    for size in SIZES:
        with open(node.path(f"/run/www/page{size}"), "wb") as f:
            f.write(b"<p>page</p>\n" * (size * 1024 // 12))


def keep_apart(c):
    """
    Nodes on the first processor, the client's part of the network on the last one.  Else what a node sends
    is received, acknowledged and flooded to all nodes within that node's time, and a node
    of a larger cluster seems to be slower.
    """
    last = (os.cpu_count() or 1) - 1
    if last < 1:
        return
    for node in c.nodes:
        for pid in tree(node.nginx.pid):
            os.sched_setaffinity(pid, {0})
    c.client.run(f"echo {1 << last:x} >/sys/class/net/eth0/queues/rx-0/rps_cpus")


def wrk(c, owner, seconds):
    """(requests per second, cores that wrk took, octets per second)"""
    group = owner.make(f"client-{time.monotonic():.0f}")
    script = "/run/pages.lua"
    with open(c.client.path(script), "w") as f:
        f.write(LUA % (", ".join(map(str, SIZES)), len(SIZES)))
    out = f"{c.dir}/wrk.out"
    with open(out, "wb") as f:
        start = time.monotonic()
        p = c.client.popen(["taskset", "-c", str((os.cpu_count() or 1) - 1), "wrk", "-t1", "-c128", f"-d{seconds}s", "-s", script, "-H", "Connection: close",
                            f"http://{VIP4}/"], stdout=f)
        group.add(p.pid)
        p.wait(seconds + 20)
        took = group.cpu_us() / 1e6 / (time.monotonic() - start)
    with open(out) as f:
        text = f.read()
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if "Non-2xx" in text or errors and any(map(int, errors.groups())):
        raise LabError("wrk: " + " ".join(text.split()))
    rate = float(re.search(r"Requests/sec:\s*([0-9.]+)", text).group(1))
    return rate, took, re.search(r"Transfer/sec:\s*(\S+)", text).group(1)


def run(report, scale):
    seconds = max(4, round(20 * scale))
    labs.Node.nginx_start = labs.Node.start_web
    conf, labs.NGINX_CONF = labs.NGINX_CONF, labs.NGINX_CONF.replace(
        "location / {", "location /page { root /run/www; default_type text/html; }\n        location / {")
    rows = []
    try:
        for n in NODES:
            with cluster(n, {}, cores=[PART] * n, web=start_nginx) as (c, found, owner):
                keep_apart(c)
                wrk(c, owner, 2)
                before, start = [g.cpu_us() for g in found], time.monotonic()
                rate, took, octets = wrk(c, owner, seconds)
                wall = time.monotonic() - start
                used = [(g.cpu_us() - b) / 1e6 / wall / PART for g, b in zip(found, before)]
                rows.append({"nodes": n, "rate": rate, "wrk_cores": took, "transfer": octets, "cpu": used})
    finally:
        labs.NGINX_CONF = conf
    report.keep("runs", rows)
    one = rows[0]["rate"]
    report.table(("nodes", "requests/s", "per node", "of n times one node", "nodes' CPU, of their part",
                  "wrk's CPU, cores", "octets/s"),
                 [(r["nodes"], f"{r['rate']:.0f}", f"{r['rate'] / r['nodes']:.0f}",
                   f"{100 * r['rate'] / one / r['nodes']:.1f} %",
                   f"{100 * min(r['cpu']):.0f} .. {100 * max(r['cpu']):.0f} %", f"{r['wrk_cores']:.2f}", r["transfer"])
                  for r in rows])
    two = rows[1]["rate"]
    report.say(f"Paper A: total requests grow linearly from 2 to 4 to 8 nodes (8 PCs, http_load, HTML files of "
               f"several sizes); it has no figures in a form to compare. Here: 2 → 4 nodes × "
               f"{rows[2]['rate'] / two:.2f}, 2 → 8 nodes × {rows[3]['rate'] / two:.2f}.")
    svg.lines(report.plot(".svg", "requests per second over nodes"), f"Growth: each node has {100 * PART:g} % of a core",
              "nodes", "requests/s", {"measured": [(r["nodes"], r["rate"]) for r in rows],
                                      "linear from 1": [(n, one * n) for n in NODES]})
