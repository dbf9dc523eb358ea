# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment 4: what weights = load makes of a cluster with one half-speed node, and what it costs."""

import statistics
import time

import svg
from common import Watch, answers, cluster, cpu_seconds, mean_cpu, spread
from evenness import CORES, MIX, RATE

INTERVAL = 5    # of the policy 'load', by default
CHECKS, CHECK_MS = 25, 250    # a hundred per second


def smooth(rows, seconds=5):
    """[(t, max−min of the nodes' CPU, over the last seconds)]"""
    return [(r["t"], spread(mean_cpu(rows[max(0, i - seconds + 1):i + 1]))) for i, r in enumerate(rows)]


def moved(rows):
    """[buckets that changed their owner, per interval]; the intervals as they pass, not as they are meant."""
    out, last = [], None
    for i in range(0, len(rows), INTERVAL):
        now = rows[i]["buckets"]
        if now and last:
            out.append(sum(max(0, b - a) for a, b in zip(last, now)))
        last = now or last
    return out


def cost(c, seconds):
    """Per cent of a core that each clusterd takes, and of it monitors and checks as they count themselves."""
    def own(node):
        data = node.json("monitors")["monitors"] + node.json("checks")["checks"]
        return sum(x["cpu_us"] for x in data)
    before = [(cpu_seconds(n.clusterd.pid), own(n)) for n in c.nodes]
    start = time.monotonic()
    time.sleep(seconds)
    wall = time.monotonic() - start
    return [((cpu_seconds(n.clusterd.pid) - a) / wall * 100, (own(n) - b) / 1e4 / wall)
            for n, (a, b) in zip(c.nodes, before)]


def checks(kind):
    keys = {"tcp": {}, "http": {"path": "/file/512"}}[kind]
    return {f"check c{i}": {"service": "web", "type": kind, "port": 80, "interval": f"{CHECK_MS}ms", "timeout": "200ms",
                            "fall": 100} | keys for i in range(CHECKS)}


def costs(c, seconds):
    """{what runs: cost()}"""
    out, plain = {"monitors": cost(c, seconds)}, [n.ini for n in c.nodes]
    for kind in ("tcp", "http"):
        for node, ini in zip(c.nodes, plain):
            node.write_ini(ini + c.render(checks(kind)))
            node.ctl("reload")
        time.sleep(2)
        out[kind] = cost(c, seconds)
    return out


def cost_rows(found):
    """The mean of the nodes: each counts for itself, and any other program's cache misses show up here."""
    rows = []
    rate = CHECKS * 1000 // CHECK_MS
    for kind, what in (("monitors", "monitors alone"), ("tcp", f"with {rate} tcp checks/s"),
                       ("http", f"with {rate} http checks/s")):
        daemon, own = (statistics.fmean(x) for x in zip(*found[kind]))
        rows.append((f"{what} ≤ 1 % of a core", f"{own:.2f} % by their own count, all of clusterd {daemon:.2f} %",
                     "yes" if own <= 1 else "NO"))
    return rows


def run(report, scale):
    table, results, plots = [], {}, {}
    for name, service, seconds in (("hash only", {}, max(10, round(40 * scale))),
                                   ("weights = load", {"weights": "load"}, max(30, round(150 * scale)))):
        with cluster(3, service, cores=CORES, monitors=("cpu",)) as (c, found, _owner):
            w = Watch(c, found)
            if not service:
                w.ask(4, RATE, MIX, seed=7)
            rows, said = w.ask(seconds, RATE, MIX, seed=1)
            results[name] = {"rows": rows, "answers": answers(said), "spread": smooth(rows)}
            plots[name] = [(t - rows[0]["t"], 100 * s) for t, s in smooth(rows)]
            if service:
                found_costs = costs(c, max(5, round(15 * scale)))
        report.csv("-hash.csv" if not service else "-load.csv", rows)
    hash_rows, load_rows = results["hash only"]["rows"], results["weights = load"]["rows"]
    base = spread(mean_cpu(hash_rows))
    last = load_rows[-max(10, len(load_rows) // 3):]
    after = spread(mean_cpu(last))
    start = load_rows[0]["t"]
    there = next((t - start for i, (t, s) in enumerate(results["weights = load"]["spread"])
                  if i > 4 and all(x < base / 3 for _, x in results["weights = load"]["spread"][i:i + 5])), None)
    per = moved(load_rows)
    total = sum(load_rows[0]["buckets"])
    for name, rows in (("hash only", hash_rows), (f"weights = load, last {len(last)} s", last)):
        cpu = mean_cpu(rows)
        table.append((name, " ".join(f"{100 * x:.0f}" for x in cpu), f"{100 * spread(cpu):.1f}",
                      " ".join(str(b) for b in rows[-1]["buckets"])))
    report.table(("", "CPU n1 n2 n3, % of their own", "max−min", "buckets n1 n2 n3"), table)
    report.say("Answers, ms mean / worst, failed: " + "; ".join(
        f"{k} {r['answers'][1]:.0f} / {r['answers'][2]:.0f}, {r['answers'][0]}" for k, r in results.items()) + ".")
    met = lambda ok: "yes" if ok else "NO"
    report.table(("to reach", "measured", "met"), (
        ("spread under a third of hash-only", f"{100 * after:.1f} of {100 * base:.1f} points: "
         f"{after / base:.2f}", met(after < base / 3)),
        ("time to get there", "never" if there is None else f"{there:.0f} s", ""),
        (f"under 2 % of the buckets moved per interval of {INTERVAL} s",
         f"most {100 * max(per) / total:.2f} %, mean {100 * sum(per) / len(per) / total:.2f} %",
         met(max(per) < total * 0.02)),
        *cost_rows(found_costs)))
    report.keep("cost", found_costs)
    report.keep("moved_per_interval", per)
    report.keep("spread", {"hash": base, "load": after, "seconds_to_a_third": there})
    svg.lines(report.plot(".svg", "spread over time"), "Spread of CPU use (max−min), one of three nodes half as fast",
              "seconds", "percentage points, mean of 5 s", plots)
    svg.lines(report.plot("-buckets.svg", "buckets over time"), "Buckets with weights = load", "seconds", "buckets",
              {f"n{i + 1}": [(r["t"] - start, r["buckets"][i]) for r in load_rows if r["buckets"]] for i in range(3)})
