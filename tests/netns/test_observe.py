# SPDX-License-Identifier: GPL-2.0-or-later
"""What a node goes on knowing when its monitors and checks change, or fall silent."""

from harness import *
from test_health import CONF, HTTP, all_known, configured, events, health, last_event, ms, script, share, sick
from test_moves import has, has_none


def monitors(c, number=2):
    return {m["name"]: m for m in c[number].json("monitors")["monitors"]}


def told(c, name="n2", number=2):
    return next(n for n in c[number].json("monitors")["nodes"] if n["name"] == name)


@case(conf=CONF, alike=True)
def test_observe_check_edited(c):
    """A service that is down gets no work because its check is edited; the action under way goes on."""
    node = c[2]
    script(node, "repair", "echo begun >> /run/repair.log\nsleep 8\necho ended >> /run/repair.log\n")
    action = {"action": "exec:/run/repair", "action_tries": 1}
    checks = {"check web-http": HTTP["check web-http"] | action | {"on_fail": "now"}}
    with configured(c, checks, [node]):
        wait(lambda: all_known(c), 10, "the checks to know")
        since = last_event(c)
        sick(node)
        try:
            wait(has_none(c, "n2"), 10, "n2 to lose its share")
            edited = {"check web-http": checks["check web-http"] | {"interval": ms(300), "path": "/health?2"}}
            with configured(c, edited, [node]):
                end = time.monotonic() + 2 * SLOW
                while time.monotonic() < end:
                    same(share(c, "n2"), 0, "buckets of n2 while its check is edited")
                    same(health(c, "n2"), "down", "the verdict")
                    time.sleep(0.1)
                check = node.json("checks")["checks"][0]
                expect(check["state"] == "repair" and check["tries"] == 1 and check["known"], f"the check: {check}")
                expect(0 < check["looks"] <= 12, f"looks are counted anew, yet {check['looks']}")
                same(events(c, "SERVICE_UP", since=since), [], "events")
                wait(lambda: "ended" in open(node.path("/run/repair.log")).read(), 15, "the action to end")
                sick(node, False)
                wait(has(c, "n2"), 10, "n2 to get its share back")
        finally:
            sick(node, False)
    same(open(node.path("/run/repair.log")).read(), "begun\nended\n", "what the action wrote")
    c.settle()


@case(conf=CONF)
def test_observe_monitor_silent(c):
    """A node whose monitor says nothing any more is not taken for idle."""
    node = c[2]
    path = script(node, "load", "test ! -e /run/blind && echo 640 busy\n")
    conf = {"monitor own": {"type": "exec", "path": path, "interval": "100ms"}}
    with configured(c, conf, [node]):
        wait(lambda: (told(c)["load"] or 0) > 0.6, 10, "the load to be known")
        # Within a tenth of it: what is told is what is news.
        wait(lambda: (told(c, number=1)["load"] or 0) > 0.55, 10, "n1 to have heard of it")
        sick(node, name="blind")
        try:
            wait(lambda: monitors(c)["own"]["age_ms"] > 600, 10, "the monitor to be out of date")
            for _ in range(30):
                expect(told(c)["load"] > 0.6, f"a node without eyes says its load is {told(c)['load']}")
                time.sleep(0.1)
            expect(told(c, number=1)["load"] > 0.55, "n1 takes it for idle")
            same(node.stop_clusterd(), 0, "exit status")
            node.start_clusterd()
            c.settle()
            time.sleep(2.5)
            same([told(c, number=n)["load"] for n in (1, 2)], [None, None], "the load that nobody knows")
        finally:
            sick(node, False, name="blind")
    c.settle()


@case(conf=CONF)
def test_observe_monitors_edited(c):
    """A monitor whose section is the same goes on; what one that is gone has told is forgotten."""
    node = c[2]
    with configured(c, {"monitor cpu": {}, "monitor memory": {}}, [node]):
        wait(lambda: told(c)["mem_free_kb"], 10, "the free memory to be known")
        wait(lambda: monitors(c)["cpu"]["value"] is not None, 10, "the cpu monitor to know")
        used, free = monitors(c)["cpu"]["cpu_us"], told(c)["mem_free_kb"]
        with configured(c, {"monitor cpu": {}, "monitor memory": {"weight": 50}}, [node]):
            expect(monitors(c)["cpu"]["value"] is not None and monitors(c)["cpu"]["cpu_us"] >= used,
                   "the monitor that is the same began anew")
            wait(lambda: monitors(c)["memory"]["weight"] == 50 and told(c)["mem_free_kb"], 10,
                 "the changed one to look")
    with configured(c, {"monitor cpu": {}}, [node]):
        # Told is the mean of the last samples, five seconds apart.
        wait(lambda: (told(c)["mem_free_kb"] or 0) < free * 0.8, 20, "the free memory to be forgotten")
    c.settle()
