# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment 2: how evenly requests of mixed cost spread over three nodes, one of them half as fast."""

import statistics

import svg
from common import Watch, answers, cluster, column, mean_cpu, spread

CORES = (0.2, 0.2, 0.1)
MIX = ("50:/file/4096", "30:/work/500", "15:/work/2000", "5:/work/8000")
RATE = 220    # per second: about half of what they could do
LOAD = {"weights": "load", "weights_interval": "2s", "scheduler": "probability"}

# name, [service], [node ...], who is asked in turn
WAYS = (
    ("round robin", {}, {}, True),
    ("hash, equal weights", {}, {}, False),
    ("static weights 100, 100, 50", {"scheduler": "probability"}, {"n3": {"weight": 50}}, False),
    ("probability, weights = load", LOAD, {}, False),
)


def windows(rows, key):
    """Mean over the seconds of the deviation between nodes."""
    return statistics.fmean(statistics.pstdev(r[key]) for r in rows)


def run(report, scale):
    seconds, warm = max(6, round(40 * scale)), max(15, round(30 * scale))
    table, results = [], {}
    for name, service, nodes, in_turn in WAYS:
        with cluster(3, service, cores=CORES, nodes=nodes, monitors=("cpu",)) as (c, found, _owner):
            w = Watch(c, found)
            targets = {"targets": ",".join(n.addr4 for n in c.nodes)} if in_turn else {}
            w.ask(warm if service.get("weights") else 3, RATE, MIX, seed=7, **targets)
            rows, said = w.ask(seconds, RATE, MIX, seed=1, **targets)
        requests = [sum(column(rows, "requests", i)) for i in range(3)]
        cpu, (failed, ms, worst) = mean_cpu(rows), answers(said)
        results[name] = {"requests": requests, "cpu": cpu, "failed": failed, "ms": ms, "worst": worst,
                         "seconds": seconds, "std_cpu_per_second": windows(rows, "cpu")}
        report.csv(f"-{name.split(',')[0].replace(' ', '-')}.csv", rows)
        share = [r / sum(requests) for r in requests]
        table.append((name, " ".join(f"{100 * s:.1f}" for s in share), f"{100 * spread(share):.1f}",
                      f"{100 * statistics.pstdev(share):.1f}", " ".join(f"{100 * x:.0f}" for x in cpu),
                      f"{100 * spread(cpu):.1f}", f"{100 * statistics.pstdev(cpu):.1f}",
                      f"{100 * windows(rows, 'cpu'):.1f}", f"{ms:.0f} / {worst:.0f}", failed))
    report.keep("ways", results)
    report.table(("way", "requests n1 n2 n3, %", "max−min", "std", "CPU n1 n2 n3, % of their own", "max−min", "std",
                  "std per second", "answer ms mean / worst", "failed"), table)
    least = min(results, key=lambda k: spread(results[k]["cpu"]))
    report.say(f"Paper A: probability scheduling spreads more evenly than round robin and than static weights. "
               f"Here n3 has half the speed; the evenest use of processors has: {least}.")
    svg.bars(report.plot(".svg", "use of processors by node"), "Use of each node's processor, n3 has half of one",
             "% of the node's own", [f"n{i + 1}" for i in range(3)],
             {name: [100 * x for x in r["cpu"]] for name, r in results.items()})
