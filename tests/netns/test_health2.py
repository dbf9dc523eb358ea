# SPDX-License-Identifier: GPL-2.0-or-later
"""Recovery, sorry pages, the peer check, slow start and failback, events and hooks, plugins and reload."""

import collections
import os
import shutil
import signal

from harness import *
from test_health import (CONF, EVERY, HTTP, TCP, all_known, configured, events, health, in_time, last_event, ms,
                         rss, script, share, sick)
from test_moves import FOREVER, counts, has, has_none
from test_ways import CALM

# What all machines of the sandbox see.
SHARED = "/etc/lab"
NGINX = "nginx -e /run/nginx.error.log -c /run/nginx.conf"
PEER = CALM | {"service web": {"peer_check": "on"}}


def shared(name, text=None):
    os.makedirs(SHARED, exist_ok=True)
    path = f"{SHARED}/{name}"
    if text is not None:
        with open(path + ".new", "w") as f:
            f.write(text)
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
    return path


def lines(path):
    try:
        with open(path) as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


# ---- recovery

@case(conf=CONF, alike=True)
def test_repair(c):
    """The action helps: a service that works keeps its share; one that is dead loses it for a moment."""
    node = c[2]
    cure = script(node, "cure.sh", "rm -f /run/sick\n")
    names = ("CHECK_FAILED", "REPAIR", "REPAIR_FAILED", "CHECK_OK", "SERVICE_DOWN", "SERVICE_WORKS", "SERVICE_UP")
    with configured(c, {"check web-http": HTTP["check web-http"] | {"action": "exec:" + cure}}):
        wait(lambda: all_known(c), 10, "the checks to know")
        since = last_event(c, 2)
        with Watched(c, conns=40) as w:
            w.mark()
            sick(node)
            wait(lambda: events(c, "CHECK_OK", since=since, seen_by=2), 10, "the repair")
            time.sleep(0.5)
        w.nobody_noticed()
        same([e[0] for e in events(c, *names, since=since, seen_by=2)],
             ["CHECK_FAILED", "REPAIR", "CHECK_OK"], "events")
        same([k["tries"] for k in node.json("checks")["checks"]], [0], "tries afterwards")
    start = script(node, "start.sh", f"{NGINX} </dev/null >/dev/null 2>&1 &\n")
    with configured(c, {"check web-tcp": TCP["check web-tcp"] | {"action": "exec:" + start}}):
        wait(lambda: all_known(c), 10, "the checks to know")
        since = last_event(c, 2)
        with Watched(c, conns=40) as w:
            w.mark()
            node.signal_nginx(signal.SIGKILL)
            wait(lambda: events(c, "SERVICE_UP", since=since, seen_by=2), 10, "the repair")
            wait(has(c, "n2"), 10, "n2 to get its share back")
            time.sleep(1)
        in_time(c, w, "n2", "repaired")
        w.others_untouched("n2")
        same([e[0] for e in events(c, *names, since=since, seen_by=2)],
             ["CHECK_FAILED", "REPAIR", "SERVICE_DOWN", "CHECK_OK", "SERVICE_UP"], "events")
    node.run("kill $(cat /run/nginx.pid)")
    wait(lambda: not os.path.exists(node.path("/run/nginx.pid")), 5, "the started nginx to end")
    node.start_nginx()
    c.settle(draining=True)


@case(conf=CONF)
def test_repair_fails(c):
    """An action that does not help: tries, with a growing time between them, then it is said; others go on."""
    node = c[2]
    path = script(node, "useless.sh", 'echo "$CLUSTERD_CHECK $CLUSTERD_SERVICE $CLUSTERD_LOCAL $CLUSTERD_ATTEMPT" '
                  '>>/run/attempts; date +%s%N >>/run/times; [ "$CLUSTERD_ATTEMPT" != 3 ] || exit 0; exit 3\n')
    keys = {"action": "exec:" + path, "action_tries": 3, "action_backoff": ms(600)}
    with configured(c, {"check web-http": HTTP["check web-http"] | keys}):
        wait(lambda: all_known(c), 10, "the checks to know")
        since = last_event(c, 2)
        with Watched(c, conns=40) as w:
            w.mark()
            sick(node)
            wait(has_none(c, "n2"), 10, "n2 to lose its share")
            wait(lambda: events(c, "REPAIR_FAILED", since=since, seen_by=2), 20, "the end of the tries")
            sick(node, False)
            wait(has(c, "n2"), 10, "n2 to get its share back")
            time.sleep(0.5)
        w.nobody_noticed()
        same(events(c, "REPAIR", "REPAIR_FAILED", "SERVICE_WORKS", "SERVICE_UP", since=since, seen_by=2),
             [("REPAIR", "n2", None, "web"), ("SERVICE_WORKS", "n2", "n2", "web")] +
             [("REPAIR", "n2", None, "web")] * 2 +
             [("REPAIR_FAILED", "n2", None, "web"), ("SERVICE_UP", "n2", "n2", "web")], "events")
        same(lines(node.path("/run/attempts")), [f"web-http web n2 {i}" for i in (1, 2, 3)], "its environment")
        times = [int(t) / 1e9 for t in lines(node.path("/run/times"))]
        waits = [b - a for a, b in zip(times, times[1:])]
        note(c, f"waited {waits[0]:.1f} and {waits[1]:.1f} s")
        expect(0.6 * SLOW <= waits[0] and 1.2 * SLOW <= waits[1], f"too little time between the tries: {waits}")
    c.settle(draining=True)


# ---- sorry

def curl(c, url, *args):
    r = c.client.run(["curl", "-s", "-m", str(2 * SLOW), "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}",
                      "--noproxy", "*", *args, url], check=False)
    return r.returncode, r.stdout.strip()


def sorry_of(c, number=1):
    return [s["sorry"] for s in c[number].status()["services"]]


@case(conf=CONF, timeout=120)
def test_sorry(c):
    """No node is fit: redirected, reset or dropped as configured; one fit again serves all; no trace left."""
    echo = {"check echo": EVERY | {"type": "tcp", "service": "echo"}}
    more = {"check more": HTTP["check web-http"] | {"service": "more"}}
    with configured(c, HTTP | echo | more):
        for n in c.nodes:
            wait(lambda n=n: all_known(c, n.number), 10, "the checks to know")
        since = last_event(c)
        hold = c.load("hold", conns=60)
        time.sleep(0.8 * SLOW)
        for n in c.nodes:
            sick(n)
            n.echo.kill()
        for n in c.nodes:
            wait(lambda n=n: sorry_of(c, n.number) == [True] * 3, 10, f"{n.name} to say sorry")
        time.sleep(0.5 * SLOW)
        for i in range(8):
            for url in (f"http://{VIP4}/some/page?{i}", f"http://[{VIP6}]/some/page?{i}"):
                same(curl(c, url), (0, "302 http://elsewhere.example/"), f"answer to {url}")
        for url in (f"http://{VIP4}:5353/", f"http://[{VIP6}]:5353/"):
            start = time.monotonic()
            same(curl(c, url)[0], 7, f"curl's exit code (7: connection refused) for {url}")
            expect(time.monotonic() - start < 0.5 * SLOW, "the reset came late")
        for url in (f"http://{VIP4}:81/", f"http://[{VIP6}]:81/"):
            same(curl(c, url)[0], 28, f"curl's exit code (28: no answer) for {url}")
        udp = c.load("udp", once=True, ports="40000:20").wait().records("u")
        expect(udp and all(r[4] is None for r in udp), "UDP was answered")
        # The same source ports again later: nothing of them may go to the responder then.
        refused = c.load("probe", once=True, ports="41000:60").wait().records("p")
        expect(refused and all(r[7] == "bad answer" for r in refused), lambda: f"not redirected: {few(refused)}")

        sick(c[2], False)
        c[2].start_echo()
        for n in c.nodes:
            wait(lambda n=n: not any(sorry_of(c, n.number)), 10, f"{n.name} to stop saying sorry")
        # web's connections, which still are where they were, keep a few buckets there.
        wait(lambda: [share(c, "n2", i) > 800 for i in range(3)] == [True] * 3, 10, "n2 to own most")
        time.sleep(0.3 * SLOW)
        once(c, ports="41000:60")
        recs = hold.stop().records()
        same([r for r in recs if r[0] in "xm"], [], "held connections that ended or changed their server")
        slow = [r for r in recs if r[0] == "e" and (r[6] or 0) > 500 * SLOW]
        expect(not slow, lambda: f"held connections hang: {few(slow)}")
        wait(lambda: [share(c, "n2", i) for i in range(3)] == [1024] * 3, 10, "n2 to own all")
        time.sleep(0.2 * SLOW)
        same(set(once(c, ports="42000:60").values()), {"n2"}, "nodes that answer")
        same(set(once(c, ports="43000:30", port=81).values()), {"n2"}, "nodes that answer on port 81")
        same({r[5] for r in c.load("transfer", ports="43500:10", up=9, down=9).wait().records("t")}, {"n2"},
             "nodes that answer echo")
        for n in c.nodes:
            rules = n.run("nft list ruleset").stdout
            expect("clusterd" in rules and "sorry" not in rules, f"{n.name}: rules of the sorry page are left")
        for n in (c[1], c[3]):
            sick(n, False)
            n.start_echo()
        c.settle(draining=True)
        found = collections.Counter(e[:1] + e[3:] for e in events(c, "SORRY", "SORRY_END", since=since))
        same(found, {(x, s): 1 for x in ("SORRY", "SORRY_END") for s in ("web", "echo", "more")}, "events")
    c.settle()


@case(conf=CONF)
def test_sorry_stop(c):
    """A node that stops while the service says sorry leaves nothing behind."""
    same(c[3].stop_clusterd(), 0, "exit code")
    clean = c[3].footprint()
    c[3].start_clusterd()
    c.settle()
    with configured(c, TCP):
        for n in c.nodes:
            wait(lambda n=n: all_known(c, n.number), 10, "the checks to know")
        for n in c.nodes:
            n.signal_nginx(signal.SIGKILL)
        wait(lambda: sorry_of(c, 3)[0], 10, "n3 to say sorry")
        expect("sorry" in c[3].run("nft list ruleset").stdout, "there are no rules for it")
        same(c[3].stop_clusterd(), 0, "exit code")
        left = c[3].footprint()
        expect(left == clean, lambda: f"left behind: {labs.difference(clean, left)}")
        same(curl(c, f"http://{VIP4}/"), (0, "302 http://elsewhere.example/"), "answer of the others")
        for n in c.nodes:
            n.start_nginx()
    c[3].start_clusterd()
    c.settle(draining=True)


# ---- coming back

def return_of(c, number, work):
    """Node 'number' loses power and is switched on again: work() after that, when it is online."""
    name = f"n{number}"
    c[number].power_off()
    wait(lambda: c.settled() and has_none(c, name)(), 15, "the survivors to settle")
    c[number].power_on()
    wait(lambda: c.state_of(name, 1) == "online", 20, f"{name} to be online", every=0.02)
    work()


@case(conf=CONF, timeout=120)
def test_slow_start(c):
    """slow_start: the share of a node that comes back grows in steps, nobody notices."""
    seen = []

    def grow():
        end = time.monotonic() + 20 * SLOW
        while time.monotonic() < end and (not seen or seen[-1] < 341):
            now = share(c, "n2")
            if not seen or now != seen[-1]:
                seen.append(now)
            time.sleep(0.05)

    with configured(c, {"cluster": {"slow_start": f"{4 * SLOW}s"}}):
        c[2].power_off()
        wait(lambda: c.settled() and has_none(c, "n2")(), 15, "the survivors to settle")
        since = last_event(c)
        with Watched(c, conns=40) as w:
            w.mark()
            c[2].power_on()
            wait(has(c, "n2"), 20, "n2 to get buckets", every=0.02)
            start = time.monotonic()
            grow()
            took = time.monotonic() - start
            time.sleep(0.5)
        w.nobody_noticed()
        note(c, f"{took:.1f} s, {seen}")
        expect(seen == sorted(seen) and len(seen) >= 6, f"shares of n2: {seen}")
        expect(seen[0] < 80, f"it begins with {seen[0]} buckets")
        expect(3 * SLOW < took < 8 * SLOW, f"slow_start 4 s took {took:.1f} s")
        wait(lambda: events(c, "SLOW_START_END", since=since), 5, "its event")
    c.settle()


@case(conf=CONF, timeout=120)
def test_failback_busy(c):
    """failback = never-while-busy: a returned node waits as long as a node is busy."""
    path = shared("load.sh", '#!/bin/sh\ncat "/etc/lab/load.$(hostname)"\n')
    for n in c.nodes:
        shared(f"load.{n.name}", "100 quiet\n")
    conf = {"cluster": {"failback": "never-while-busy"},
            "monitor script": {"type": "exec", "path": path, "interval": ms(300)}}
    with configured(c, conf):
        shared("load.n3", "900 busy\n")
        wait(lambda: (c.status_nodes()[2]["load"] or 0) > 0.8, 20, "n3's load to be known")

        def busy():
            time.sleep(3 * SLOW)
            same(share(c, "n2"), 0, "buckets of n2 while n3 is busy")
            expect(c.status_nodes()[1]["hold_back"], "n2 does not wait")
            shared("load.n3", "200 quiet\n")
            start = time.monotonic()
            wait(has(c, "n2"), 20, "n2 to get its share back")
            note(c, f"back {time.monotonic() - start:.1f} s after the load has gone")

        return_of(c, 2, busy)
    c.settle()


# ---- events

@case(conf=CONF, timeout=120)
def test_health_events(c):
    """A node is lost and comes back: who noticed, who took over, who is whose neighbour; the hook is told."""
    path = shared("notify.sh", '#!/bin/sh\necho "$CLUSTERD_EVENT $CLUSTERD_NODE ${CLUSTERD_BY:-?} '
                  '${CLUSTERD_SERVICE:-?} ${CLUSTERD_BUCKETS:-?} $CLUSTERD_CLUSTER" '
                  '>>"/etc/lab/notify.$CLUSTERD_LOCAL"\n')
    for n in c.nodes:
        shared(f"notify.{n.name}", "")
    with configured(c, {"cluster": {"notify": "exec:" + path}}):
        since = last_event(c)
        c[2].power_off()
        wait(lambda: c.settled() and has_none(c, "n2")(), 15, "the survivors to settle")
        c[2].power_on()
        c.settle(20)
        wait(lambda: events(c, "FAIL_BACK_OK", since=since), 10, "the end of the return")
        told = [e for e in c[1].json("events")["events"] if e["seq"] > since and e["priority"] < 7]
        line = [" ".join(str(e[k] or w) for k, w in (("name", ""), ("node", ""), ("by", "?"), ("service", "?"),
                                                     ("buckets", "?"))) + " web" for e in told]
        wait(lambda: len(lines(f"{SHARED}/notify.n1")) >= len(line), 10, "the hook to be told all")
        same(lines(f"{SHARED}/notify.n1")[:len(line)], line, "what the hook was told")
    down = [e for e in told if e["name"] == "FAIL_DOWN"]
    same([(e["node"], e["by"] in ("n1", "n3")) for e in down], [("n2", True)], "FAIL_DOWN")
    note(c, f"noticed by {down[0]['by']}")
    taken = [e for e in told if e["name"] == "TAKE_OVER"]
    same(sorted((e["node"], e["by"]) for e in taken), [("n2", "n1"), ("n2", "n3")], "TAKE_OVER")
    same(sum(e["buckets"] for e in taken), 1023, "buckets taken over, of three services")
    same([e["node"] for e in told if e["name"] in ("FAIL_BACK", "FAIL_BACK_OK")], ["n2", "n2"], "FAIL_BACK, _OK")
    same([e["buckets"] for e in told if e["name"] == "FAIL_BACK_OK"], [1023], "buckets that it has again")
    # Of three any two are neighbours: nothing is new before n2 is back.
    same([(e["node"], e["by"]) for e in told if e["name"] == "REBUILD"], [("n1", "n2"), ("n2", "n3")], "REBUILD")
    order = [e["name"] for e in told if e["name"] in
             ("FAIL_DOWN", "TAKE_OVER", "FAIL_BACK", "REBUILD", "FAIL_BACK_OK")]
    same([x for i, x in enumerate(order) if i == 0 or x != order[i - 1]],
         ["FAIL_DOWN", "TAKE_OVER", "FAIL_BACK", "REBUILD", "FAIL_BACK_OK"], "order")


@case(conf=CONF)
def test_health_hook_hangs(c):
    """A hook that hangs, and one that floods: the daemon goes on, nothing stays."""
    path = shared("hang.sh", "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' z\nsleep 77\n")
    with configured(c, {"cluster": {"notify": "exec:" + path}}):
        before = max(rss(n) for n in c.nodes)
        with Watched(c, conns=0) as w:    # so nothing has to wait for the end of connections
            w.mark()
            for _ in range(3):
                start = time.monotonic()
                c[1].ctl("drain n3")
                wait(has_none(c, "n3"), 10, "n3 to own nothing")
                c[1].ctl("undrain n3")
                wait(has(c, "n3"), 10, "n3 to own buckets again")
                expect(time.monotonic() - start < 4 * SLOW, "a drain takes long")
            time.sleep(0.3)
        w.nobody_noticed()
        hanging = c[1].run("ps -eo args").stdout.count("sleep 77")
        expect(hanging == 1, f"{hanging} hooks run at once")
        grown = max(rss(n) for n in c.nodes) - before
        expect(grown < 4096, f"a daemon grew by {grown} kB")
    wait(lambda: "sleep 77" not in c[1].run("ps -eo args").stdout, 12, "the hook to be killed")
    c.settle()


# ---- reload, plugins, plan

def refused(c, text, *words):
    """A reload of 'text' at n2 is refused with these words, and everything goes on."""
    before = c[2].json("checks")["checks"]
    c[2].write_ini(text)
    r = c[2].ctl("reload", check=False)
    said = r.stdout + r.stderr
    expect(r.returncode == 1 and all(x in said for x in words), f"reload says '{said.strip()}', not {words}")
    after = c[2].json("checks")["checks"]
    same([(k["name"], k["type"], k["state"]) for k in after], [(k["name"], k["type"], k["state"]) for k in before],
         "checks after a refused reload")
    expect(c[2].clusterd.alive(), "clusterd ended")


@case(conf=CONF)
def test_health_reload(c):
    """Checks and monitors come, change and go by reload; what is wrong is refused by name."""
    def names(what, number=2):
        return sorted((x["name"], x["type"]) for x in c[number].json(what)[what])

    same(names("monitors"), [("cpu", "cpu")], "monitors without any section")
    conf = HTTP | TCP | {"monitor cpu": {"weight": 50}, "monitor mem": {"type": "memory"}}
    with configured(c, conf):
        same(names("checks"), [("web-http", "http"), ("web-tcp", "tcp")], "checks")
        same(names("monitors"), [("cpu", "cpu"), ("mem", "memory")], "monitors")
        wait(lambda: all_known(c), 10, "the checks to know")
        good = c[2].ini
        looks = {k["name"]: k["looks"] for k in c[2].json("checks")["checks"]}
        bad = "[check odd]\nservice = web\n"
        ini = "/etc/clusterd.ini"
        refused(c, good + bad + "type = nonsense\n", ini, "type", "nonsense")
        refused(c, good + bad + "type = tcp\ncolour = red\n", ini, "colour")
        refused(c, good + bad + "type = tcp\nport = 70000\n", ini, "port")
        refused(c, good + bad + "type = tcp\nrise = 0\n", ini, "rise")
        refused(c, good + "[check odd]\nservice = nowhere\ntype = tcp\n", ini, "nowhere")
        refused(c, good + "[monitor odd]\n", ini, "odd")
        refused(c, good.replace("sorry = drop", "weights = nonsense"), "nonsense")
        # The one that has changed begins anew, the other one goes on.
        c[2].write_ini(good.replace("path = /health", "path = /"))
        c[2].ctl("reload")
        again = {k["name"]: k["looks"] for k in c[2].json("checks")["checks"]}
        expect(again["web-http"] < looks["web-http"] <= looks["web-tcp"] + 2 and again["web-tcp"] >= looks["web-tcp"],
               f"looks before {looks}, after {again}")
        c[2].write_ini(good.replace("path = /health", "path = /health\nstatus = 404"))
        c[2].ctl("reload")
        wait(has_none(c, "n2"), 10, "n2 to lose its share by the changed check")
    # Its checks have gone: fit again.
    wait(has(c, "n2"), 10, "n2 to get its share back")
    same(names("checks"), [], "checks")
    c.settle()


@case(conf=CONF)
def test_health_bad_plugin(c):
    """A plugin with another ABI: start and reload are refused and say why; the cluster goes on."""
    bad = os.path.join(labs.BUILD, "tests", "plugins", "check-abi.so")
    if not os.path.exists(bad):
        labs.sh("make", "-s", "-C", labs.TOP, f"{os.path.relpath(bad, labs.TOP)}")
    plugins = shared("plugins")
    shutil.rmtree(plugins, ignore_errors=True)
    shutil.copytree(os.path.join(labs.BUILD, "plugins"), plugins)
    shutil.copy(bad, plugins)
    text = c.ini + "[check odd]\nservice = web\ntype = abi\n"
    shared("bad.ini", text)
    r = c[2].run(f"CLUSTERD_PLUGINDIR={plugins} timeout 5 {labs.CLUSTERD} -c {SHARED}/bad.ini", check=False)
    same(r.returncode, 2, f"exit code of clusterd, which says '{r.stderr.strip()}'")
    said = r.stdout + r.stderr
    expect(all(x in said for x in ("bad.ini", "odd", "check-abi.so")) and "ABI" in said.upper(), f"it says '{said}'")
    expect(len(said.strip().splitlines()) == 1, f"more than a line: {said}")
    c[2].run(["mount", "--bind", plugins, os.path.join(labs.BUILD, "plugins")])
    try:
        refused(c, text, "check-abi.so")
    finally:
        c[2].ini = None
        c[2].write_ini()
        c[2].run(["umount", os.path.join(labs.BUILD, "plugins")])
    c[2].ctl("reload")
    c.settle()


def owners(c):
    """{service: [owner]} by bucket."""
    found = {}
    for s in c[1].status()["services"]:
        d = c[1].json("buckets " + s["name"])
        found[s["name"]] = [d["nodes"].get(str(o)) for o in d["owner"]]
    return found


@case(conf=CONF)
def test_health_plan(c):
    """'plan drain' and 'plan weight' say exactly what the order then does, and do nothing themselves."""
    for order, undo in (("drain n2", "undrain n2"), ("weight n3 30", "weight n3 auto")):
        wait(c.even, 10, "even shares")
        before = owners(c)
        planned = {(m["service"], m["from"], m["to"]): m["buckets"] for m in c[1].json("plan " + order)["moves"]}
        same(c[3].json("plan " + order)["moves"], c[1].json("plan " + order)["moves"], "what n3 and n1 plan")
        time.sleep(0.3)
        same(owners(c), before, "owners after the dry run")
        c[1].ctl(order)
        wait(lambda: owners(c) != before and c[1].status()["cluster"]["moving"] == 0, 10, "the order's end")
        after = owners(c)
        moved = collections.Counter((s, a, b) for s in before for a, b in zip(before[s], after[s]) if a != b)
        expect(planned and moved == planned, f"'{order}' was planned as {planned} and did {dict(moved)}")
        c[1].ctl(undo)
    wait(c.even, 10, "even shares")


# ---- the peer check

WALL = """
add table inet wall
add chain inet wall in { type filter hook prerouting priority -290; }
add rule inet wall in iifname eth0 ip daddr %s tcp dport 80 drop
add rule inet wall in iifname eth0 ip6 daddr %s tcp dport 80 drop
""" % (VIP4, VIP6)


def passive_opens(node):
    """Connections that this machine has accepted."""
    words = [x.split() for x in node.run("cat /proc/net/snmp").stdout.splitlines() if x.startswith("Tcp:")]
    return int(dict(zip(*words))["PassiveOpens"])


@case(conf=PEER, timeout=150, alike=True)
def test_peer_check(c):
    """A healthy cluster: no verdict, no connection; a node whose packets get lost on the way in loses its share."""
    since = last_event(c)
    time.sleep(0.5 * SLOW)
    opens, cap = [passive_opens(n) for n in c.nodes], c.capture(c[2])
    time.sleep(4 * SLOW)
    asked = [p for p in measure.segments(cap.stop()) if p.client[0] == c[3].addr4 and not p.to_client]
    syns = [p for p in asked if p.flags & measure.SYN]
    expect(len(syns) >= 3, f"n3 asked n2 {len(syns)} times in 4 s")
    expect(len([p for p in asked if p.flags & measure.RST]) >= len(syns) - 1, "a question is not taken back")
    same([passive_opens(n) for n in c.nodes], opens, "connections accepted while only neighbours asked")
    with configured(c, TCP), Watched(c, conns=40) as w:
        wait(lambda: all_known(c), 10, "the checks to know")
        w.mark()
        c[2].run(["nft", "-f", "-"], text_in=WALL)
        wait(has_none(c, "n2"), 15, "n2 to lose its share")
        same(health(c, "n2"), "seen_down", "health of n2")
        down = time.monotonic()
        expect(all_known(c), "its own check noticed as well")
        time.sleep(1.5 * SLOW)
    took = w.outage("n2")
    note(c, f"seen by the neighbour: {took:.1f} s")
    expect(took < 6 * SLOW, f"clients of n2 waited {took:.1f} s")
    w.others_untouched("n2")
    w.one_speaker([(2, w.t0, FOREVER)])
    same(events(c, "SERVICE_DOWN", "SERVICE_WORKS", since=since), [("SERVICE_DOWN", "n2", "n3", "web")], "events")
    c[2].run("nft delete table inet wall")
    time.sleep(max(0, down + 24 * SLOW - time.monotonic()))
    with Watched(c, conns=40) as w:
        w.mark()
        wait(has(c, "n2"), 15, "n2 to get its share back")
        back = time.monotonic() - down
        c.settle(draining=True)
        time.sleep(4 * SLOW)
    w.nobody_noticed()
    note(c, f"another trial after {back:.0f} s")
    same(events(c, "SERVICE_DOWN", "SERVICE_UP", since=since)[1:], [("SERVICE_UP", "n2", "n3", "web")], "events")
    c.settle()
