# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster of network namespaces on one switch.

    import sandbox, lab
    sandbox.enter()
    with lab.Lab(3, {"cluster": {"lease": "150ms"}}) as c:
        c.start()
        c[1].power_off()

        n1 (eth0 10.77.0.1, fd77::1)  n2  n3 ...            client (eth0 10.77.0.100, fd77::100)
          \\ p1                        | p2                  / pclient
           +---------------------- br0, the sandbox's own network: the switch

Each node has its own net, mount, pid, uts and ipc namespace: its own /run, /dev/shm, /etc/corosync,
/var/lib/corosync, /var/log and /etc/clusterd.ini.  Its process 1 is the power switch.

With router=True there is a second network behind a router, which knows the way to the route VIPs:

        br0 ---- router (eth0 10.77.0.254, fd77::254; eth1 10.78.0.254, fd78::254) ---- br1 ---- far
                 10.99.0.0/24, fd99::/64: ECMP over all nodes                     10.78.0.100, fd78::100

router="bird": no static way to those; BIRD runs at the router and on each node, there with the
configuration file of etc/examples.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time

import measure
import sandbox
from measure import SLOW

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
CLUSTERD, CLUSTERCTL = os.path.join(BUILD, "clusterd"), os.path.join(BUILD, "clusterctl")
os.environ["CLUSTERD_PLUGINDIR"] = os.path.join(BUILD, "plugins")
BUILT = os.path.isfile(CLUSTERD) and os.path.isfile(CLUSTERCTL)
VIP4, VIP6 = "10.77.0.250", "fd77::250"
CLIENT4, CLIENT6 = "10.77.0.100", "fd77::100"
FAR4, FAR6 = "10.78.0.100", "fd78::100"
ROUTE_VIP4, ROUTE_VIP6 = "10.99.0.1", "fd99::1"
ROUTE_NET4, ROUTE_NET6 = "10.99.0.0/24", "fd99::/64"
BIRD_CONF = os.path.join(TOP, "etc", "examples", "bird.conf")
PYTHON = "/usr/bin/python3"
INI = "/etc/clusterd.ini"

NGINX_CONF = """\
user root;
worker_processes 1;
daemon off;
pid /run/nginx.pid;
error_log /run/nginx.error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path /run/nginx.t1; proxy_temp_path /run/nginx.t2;
    fastcgi_temp_path /run/nginx.t3; uwsgi_temp_path /run/nginx.t4; scgi_temp_path /run/nginx.t5;
    keepalive_timeout 1h;
    keepalive_requests 1000000;
    server {
        listen 0.0.0.0:80 backlog=4096;
        listen [::]:80 ipv6only=on backlog=4096;
        listen 0.0.0.0:81; listen [::]:81 ipv6only=on;
        location / { return 200 "$hostname\\n"; }
        location = /health {
            if (-f /run/sick) { return 500; }
            return 200 "fit\\n";
        }
        location = /big { root /run/www; }
        location = /slow { root /run/www; limit_rate 100k; }
    }
}
"""

COROSYNC_EXTRA = """
system {
    move_to_root_cgroup: no
}
"""


# [cluster]'s times on a slow machine are these times SLOW, or those that the test asks for.
TIMES = {"token": "1s", "lease": "150ms", "hang": "1s", "failback_delay": "500ms", "drain_timeout": "60s"}


class LabError(Exception):
    pass


def slower(text):
    """A time of the configuration, times SLOW."""
    return f"{int(text[:-2]) * SLOW}ms" if text.endswith("ms") else f"{int(text[:-1]) * SLOW}s"


def wait(cond, timeout=10, what=None, every=0.05):
    """Calls cond() until it is true; returns its value.  LabError after 'timeout' seconds (times SLOW)."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = cond()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {timeout * SLOW} s in vain for {what or cond.__name__}")
        time.sleep(every * min(SLOW, 4))


def sh(*args, text_in=None, check=True):
    r = subprocess.run(args, input=text_in, capture_output=True, text=True)
    if check and r.returncode:
        raise LabError(f"{' '.join(args)}: exit {r.returncode}: {r.stderr.strip()}")
    return r


def difference(before, after):
    """What two texts differ in, in a line or two."""
    was, now = before.splitlines(), after.splitlines()
    lines = [f"-{x.strip()}" for x in was if x not in now] + [f"+{x.strip()}" for x in now if x not in was]
    return f"{len(lines)} lines differ: " + " | ".join(lines[:8])


def only_child(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            kids = f.read().split()
    except OSError:
        return None
    return int(kids[0]) if kids else None


class Proc:
    """A program inside a node.  'pid' is its own, as the sandbox sees it."""

    def __init__(self, host, args, log=None, stdin=None, stdout=None):
        self.args, self.host, self.log = args, host, log
        out = open(log, "ab") if log else (stdout or subprocess.DEVNULL)
        self.popen = subprocess.Popen(host.enter_args() + args, stdin=stdin or subprocess.DEVNULL,
                                      stdout=out, stderr=subprocess.STDOUT if log else None,
                                      start_new_session=True)
        if log:
            out.close()
        self.pid = None
        while self.pid is None and self.popen.poll() is None:
            self.pid = only_child(self.popen.pid)
            if self.pid is None:
                time.sleep(0.001)

    def alive(self):
        return self.popen.poll() is None

    def kill(self, sig=signal.SIGKILL):
        if self.alive() and self.pid:
            try:
                os.kill(self.pid, sig)
                if sig != signal.SIGSTOP:
                    self.wake()
            except ProcessLookupError:
                pass

    def wake(self):
        """nsenter stops itself with its child, and does not go on with it."""
        if self.alive():
            os.kill(self.popen.pid, signal.SIGCONT)

    def wait(self, timeout=10):
        """Its exit code (negative: the signal), or LabError."""
        try:
            rc = self.popen.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.host.name}: {self.args[0]} does not end") from None
        return rc if rc < 128 else 128 - rc


class Host:
    """A machine on the switch: a node, a client or the router."""

    def __init__(self, lab, name, number, net=77):
        self.lab, self.name, self.number, self.net = lab, name, number, net
        self.port = "p" + (str(number) if name == f"n{number}" else name)
        self.mac = f"02:00:00:00:{net - 77:02x}:{number:02x}"
        self.addr4, self.addr6 = f"10.{net}.0.{number}", f"fd{net}::{number}"
        self.pid, self.holder, self.procs = None, None, []

    def gateway(self):
        """Commands for 'ip -batch' that lead everywhere else."""
        if not self.lab.router:
            return ""
        return (f"route add default via 10.{self.net}.0.254\n"
                f"route add default via fd{self.net}::254\n")

    def enter_args(self):
        if not self.pid:
            raise LabError(f"{self.name} is switched off")
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--"]

    def path(self, path):
        """Where this machine's 'path' is for us."""
        return f"/proc/{self.pid}/root{path}"

    def logfile(self, what):
        return f"{self.lab.dir}/{self.name}.{what}.log"

    def popen(self, args, log=None, **kw):
        proc = Proc(self, args, self.logfile(log) if log else None, **kw)
        self.procs.append(proc)
        return proc

    def run(self, cmd, check=True, timeout=20, text_in=None):
        """Runs a list, or a string with the shell; returns CompletedProcess with text."""
        args = self.enter_args() + (["sh", "-c", cmd] if isinstance(cmd, str) else cmd)
        p = subprocess.Popen(args, stdin=subprocess.PIPE if text_in else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             start_new_session=True)
        try:
            out, err = p.communicate(text_in, timeout * SLOW)
        except subprocess.TimeoutExpired:
            for pid in filter(None, (only_child(p.pid), p.pid)):
                os.kill(pid, signal.SIGKILL)
            p.communicate()
            raise LabError(f"{self.name}: {cmd}: no end after {timeout * SLOW} s") from None
        if check and p.returncode:
            raise LabError(f"{self.name}: {cmd}: exit {p.returncode}: {(err or out).strip()}")
        return subprocess.CompletedProcess(cmd, p.returncode, out, err)

    def switch_on(self):
        """The bare machine with its interface."""
        self.holder = subprocess.Popen([PYTHON, os.path.join(HERE, "sandbox.py"), self.name],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                       start_new_session=True)
        said = {self.holder.stdout.readline().strip() for _ in range(2)}    # in either order
        if "ready" not in said:
            raise LabError(f"{self.name} does not come up")
        self.pid = int((said - {"ready"}).pop())
        sh("ip", "-batch", "-", text_in=f"""
link add {self.port} type veth peer name eth0 address {self.mac} netns {self.pid}
link set {self.port} master br{self.net - 77} up
""")
        self.run(["ip", "-batch", "-"], text_in=f"""
link set lo up
addr add {self.addr4}/24 dev eth0
addr add {self.addr6}/64 dev eth0 nodad
link set eth0 up
{self.gateway()}""")

    def switch_off(self):
        """As if the plug were pulled: not one frame leaves any more; then everything dies."""
        if not self.pid:
            return
        sh("ip", "link", "set", self.port, "down")
        os.kill(self.pid, signal.SIGKILL)
        for p in self.procs:
            p.wake()
        self.holder.wait()
        self.holder.stdout.close()
        for p in self.procs:
            p.popen.wait()
        self.procs = []
        sh("ip", "link", "del", self.port, check=False)
        self.pid = None


class Router(Host):
    """Between the cluster's network and that of the far clients."""

    def __init__(self, lab):
        super().__init__(lab, "router", 254)
        self.bird = None

    def gateway(self):
        return ""

    def switch_on(self):
        super().switch_on()
        sh("ip", "-batch", "-", text_in=f"""
link add qrouter type veth peer name eth1 address 02:00:00:00:01:fe netns {self.pid}
link set qrouter master br1 up
""")
        self.run(["ip", "-batch", "-"], text_in="""
addr add 10.78.0.254/24 dev eth1
addr add fd78::254/64 dev eth1 nodad
link set eth1 up
""")
        # Each connection keeps its way as long as the set of ways is the same; no shortcuts.
        self.run("""cd /proc/sys/net
            echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding
            echo 1 >ipv4/fib_multipath_hash_policy; echo 1 >ipv6/fib_multipath_hash_policy
            for i in all default eth0 eth1; do echo 0 >ipv4/conf/$i/send_redirects; done
            echo 0 >ipv4/icmp_ratelimit; echo 0 >ipv6/icmp/ratelimit""")

    def narrow(self, mtu):
        """What goes to the far network must not be larger than that; None: as large as elsewhere."""
        lock = f"mtu lock {mtu}" if mtu else ""
        self.run(f"ip route replace 10.78.0.0/24 dev eth1 src 10.78.0.254 proto kernel {lock};"
                 f"ip -6 route del fd78::/64 dev eth1; ip -6 route add fd78::/64 dev eth1 {lock}")

    def ways(self, nodes):
        """The ways to the route VIPs, static."""
        hops4 = " ".join(f"nexthop via {n.addr4}" for n in nodes)
        hops6 = " ".join(f"nexthop via {n.addr6}" for n in nodes)
        self.run(f"ip route replace {ROUTE_NET4} {hops4}; ip -6 route replace {ROUTE_NET6} {hops6}")

    def hops(self, family):
        """The numbers of the nodes that a route VIP can be reached by."""
        vip = ROUTE_VIP4 if family == 4 else ROUTE_VIP6
        text = self.run(f"ip -{family} route show match {vip}; ip -{family} neigh show dev eth0").stdout
        vias = {line.split()[0]: line for line in text.splitlines() if "lladdr" in line}
        found = set()
        for word in text.split("nexthop via ")[1:] or text.split(" via ")[1:]:
            addr = word.removeprefix("inet6 ").split()[0]
            if addr in self.lab.number_of:
                found.add(self.lab.number_of[addr])
            elif addr in vias:
                found.add(int(vias[addr].split("lladdr ")[1].split()[0].split(":")[-1], 16))
            else:    # a link-local address: of a MAC that we gave
                found.add(int(addr.split(":")[-1], 16) & 0xff)
        return found

    def start_bird(self):
        """As the comment in the nodes' example says."""
        with open(BIRD_CONF) as f:
            lines = [x[2:] for x in f if x.startswith("#\t")]
        conf = "".join(lines).replace('"eth1"', '"eth0"')
        if "merge external" not in conf:
            conf = conf.replace(" ecmp;", " ecmp; merge external yes;")
        self.bird = start_bird(self, "protocol device { }\n" + conf, self.addr4)


def start_bird(host, conf, router_id):
    with open(host.path("/run/bird.conf"), "w") as f:
        f.write(f"log stderr all;\nrouter id {router_id};\n{conf}")
    return host.popen(["bird", "-f", "-c", "/run/bird.conf", "-s", "/run/bird.ctl"], "bird")


class Node(Host):
    def __init__(self, lab, number):
        super().__init__(lab, f"n{number}", number)
        self.nginx = self.echo = self.corosync = self.clusterd = self.bird = None
        self.ini = None    # this node's own configuration text, when it differs from the lab's

    # -- power

    def power_off(self):
        """Returns the moment (monotonic) after which nothing left the node."""
        self.switch_off()
        self.nginx = self.echo = self.corosync = self.clusterd = self.bird = None

    def power_on(self, services=True):
        self.switch_on()
        self.write_ini()
        key = self.path("/etc/corosync/authkey")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o400), "wb") as f:
            f.write(self.lab.key)
        if services:
            self.boot()

    def boot(self):
        """Everything that systemd would start."""
        self.start_web()
        self.start_corosync()
        if self.lab.router == "bird":
            self.start_bird()
        if self.lab.with_clusterd:
            self.start_clusterd()

    # -- services

    def start_bird(self):
        with open(BIRD_CONF) as f:
            conf = "".join(x for x in f if not x.startswith("router id"))
        self.bird = start_bird(self, conf, self.addr4)

    def write_ini(self, text=None):
        if text is not None:
            self.ini = text
        with open(self.path("/run/clusterd.ini"), "w") as f:
            f.write(self.ini if self.ini is not None else self.lab.ini)

    def start_web(self):
        os.makedirs(self.path("/run/www"), exist_ok=True)
        for name, size in (("big", 20 << 20), ("slow", 1 << 20)):
            with open(self.path("/run/www/" + name), "wb") as f:
                f.truncate(size)
        with open(self.path("/run/nginx.conf"), "w") as f:
            f.write(NGINX_CONF)
        self.start_nginx()
        self.start_echo()
        wait(lambda: self.run("ss -Hltn sport = :80 | wc -l").stdout.strip() == "2", 5,
             f"{self.name}'s nginx")

    def start_nginx(self):
        self.nginx = self.popen(["nginx", "-e", "/run/nginx.error.log", "-c", "/run/nginx.conf"],
                                "nginx")

    def start_echo(self):
        self.echo = self.popen([PYTHON, os.path.join(HERE, "echo.py"), "5353"], "echo")

    def signal_nginx(self, sig):
        """To the master and its workers."""
        with open(f"/proc/{self.nginx.pid}/task/{self.nginx.pid}/children") as f:
            workers = f.read().split()
        self.nginx.kill(sig)
        for pid in workers:
            os.kill(int(pid), sig)

    def start_corosync(self):
        with open(self.path("/etc/corosync/corosync.conf"), "w") as f:
            f.write(self.lab.corosync_conf())
        self.corosync = self.popen(["corosync", "-f"], "corosync")

    def kill_corosync(self, sig=signal.SIGKILL):
        self.corosync.kill(sig)
        self.corosync.wait()

    def corosync_members(self):
        """How many nodes corosync counts; 0 while it is not there or not quorate."""
        r = self.run(["corosync-quorumtool", "-s"], check=False)
        text = r.stdout
        if "Quorate:          Yes" not in text:
            return 0
        return int(text.split("Nodes:")[1].split()[0])

    def start_clusterd(self, wait_ready=False):
        if not BUILT:
            raise LabError(f"{CLUSTERD} is not built")
        self.clusterd = self.popen([CLUSTERD, "-c", INI], "clusterd")
        if wait_ready:
            wait(self.status, 10, f"{self.name}'s clusterd to answer")

    def kill_clusterd(self, sig=signal.SIGKILL):
        self.clusterd.kill(sig)
        if sig == signal.SIGKILL:
            self.clusterd.wait()

    def stop_clusterd(self, timeout=20):
        """A clean stop, as systemd does it; returns the exit code."""
        self.clusterd.kill(signal.SIGTERM)
        return self.clusterd.wait(timeout)

    def ctl(self, command, check=True, timeout=20):
        args = command.split() if isinstance(command, str) else command
        return self.run([CLUSTERCTL] + args, check=check, timeout=timeout)

    def json(self, command):
        return json.loads(self.ctl(command + " --json").stdout)

    def status(self):
        """'clusterctl status' as a dict, or None when there is no answer."""
        if not self.pid:
            return None
        try:
            r = self.ctl("status --json", check=False, timeout=5)
            return json.loads(r.stdout) if r.returncode == 0 else None
        except (LabError, ValueError):
            return None

    def vip_by_hand(self):
        """Without clusterd: this node alone has the VIP."""
        self.run(f"ip addr add {VIP4}/32 dev eth0; ip addr add {VIP6}/128 dev eth0 nodad")

    def footprint(self):
        """All that clusterd might leave behind, as one text."""
        return self.run("""
            echo "== rules"; nft -s list ruleset | sed "s/expires [0-9a-z]*//"
            echo "== addr"; ip -o addr show | sed 's/valid_lft.*//'
            echo "== maddr"; ip maddr show
            echo "== link"; ip -d -o link show
            echo "== route"; ip route show table all; ip -6 route show table all | sed 's/expires.*//'
            echo "== rule"; ip rule; ip -6 rule
            echo "== sysctl"; find /proc/sys/net -type f ! -name '*_count' ! -name 'random_*' \
                ! -name gc_* ! -name stable_secret ! -name flush | sort | xargs grep -H '' 2>/dev/null
            """).stdout


class Load:
    """A running load.py in a client; see there for the records."""

    def __init__(self, lab, what, host=None, **options):
        args = [PYTHON, os.path.join(HERE, "load.py"), what]
        options = {"dst4": lab.vip4, "dst6": lab.vip6} | options
        for key, value in options.items():
            if value is True:
                args.append("--" + key)
            elif value is not None:
                args += ["--" + key, str(value)]
        lab.serial += 1
        self.file = f"{lab.dir}/load.{lab.serial}.{what}"
        with open(self.file, "wb") as out:
            self.proc = (host or lab.user).popen(args, stdout=out)
        self.stopped = False

    def records(self, kind=None):
        recs = []
        with open(self.file) as f:
            for line in f:
                if line.endswith("\n"):
                    recs.append(json.loads(line))
        return [r for r in recs if r[0] == kind] if kind else recs

    def wait(self, timeout=60):
        rc = self.proc.wait(timeout)
        self.stopped = True
        if rc:
            raise LabError(f"load.py ended with {rc}")
        return self

    def stop(self):
        if not self.stopped:
            self.proc.kill(signal.SIGTERM)
            self.wait()
        return self


class Lab:
    """
    n nodes, switched on, nothing started.  'conf' overrides or adds to the default configuration:
    {section: {key: value}}; a value of None removes the key.

    vip4, vip6: the first of the first service.  user: the client from where they are used, if
    nothing else is said: the far one if the router knows the way to them, else the near one.
    """

    def __init__(self, n, conf=None, with_clusterd=None, key=None, router=False):
        self.notes = []    # for the test runner
        self.dir = f"{sandbox.ROOT}/{secrets.token_hex(3)}"
        os.makedirs(self.dir)
        self.n, self.serial, self.cuts, self._corosync = n, 0, set(), None
        self.with_clusterd = BUILT if with_clusterd is None else with_clusterd
        self.key = key or secrets.token_bytes(256)
        self.router = router
        self.nodes = [Node(self, i + 1) for i in range(n)]
        self.number_of = {a: x.number for x in self.nodes for a in (x.addr4, x.addr6)}
        self.client = Host(self, "client", 100)
        self.others = [self.client]
        if router:
            self.gate, self.far = Router(self), Host(self, "far", 100, 78)
            self.others += [self.gate, self.far]
        self.set_conf(conf)
        for bridge in ("br0", "br1")[:2 if router else 1]:
            sh("ip", "-batch", "-", text_in=f"""
link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set {bridge} up
""")
        try:
            for host in self.others:
                host.switch_on()
                # Above every source port that a test names: what is left of one must not have it.
                host.run("echo 56000 65535 > /proc/sys/net/ipv4/ip_local_port_range")
            if router == "bird":
                self.gate.start_bird()
            elif router:
                self.gate.ways(self.nodes)
            for node in self.nodes:
                node.power_on(services=False)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, number):
        """c[1] is n1."""
        return self.nodes[number - 1]

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        for host in self.others + self.nodes:
            try:
                host.switch_off()
            except (LabError, OSError) as err:
                print(f"# {host.name}: {err}", file=sys.stderr)
        for bridge in ("br0", "br1"):
            sh("ip", "link", "del", bridge, check=False)
        self.cuts.clear()
        sh("nft", "delete", "table", "bridge", "cut", check=False)

    # -- configuration

    def default_conf(self):
        return {
            "cluster": {"name": "web",
                        "nodes": ", ".join(f"{n.name}={n.addr4}" for n in self.nodes),
                        "buckets": "1024", "failback_delay": "500ms", "drain_timeout": "60s"},
            "service web": {"vip": f"{VIP4}, {VIP6}", "port": "tcp/80, udp/5353"},
        }

    def set_conf(self, conf):
        self.conf = self.default_conf()
        for section, keys in (conf or {}).items():
            self.conf.setdefault(section, {}).update(keys)
        cluster = self.conf["cluster"]
        for key, value in TIMES.items() if SLOW > 1 else ():
            cluster[key] = slower(cluster.get(key) or value)
        self.ini = self.render(self.conf)
        self.vip4, self.vip6 = self.first_vips()
        self.user = self.far if self.router and self.vip4 == ROUTE_VIP4 else self.client

    def first_vips(self):
        vips = next(keys["vip"] for name, keys in self.conf.items() if name.startswith("service"))
        vips = [v.strip() for v in vips.split(",")]
        return (next((v for v in vips if ":" not in v), None), next((v for v in vips if ":" in v), None))

    @staticmethod
    def render(conf):
        out = []
        for section, keys in conf.items():
            out.append(f"[{section}]")
            out += [f"{k} = {v}" for k, v in keys.items() if v is not None]
        return "\n".join(out) + "\n"

    def corosync_conf(self):
        if self._corosync is None:
            if self.with_clusterd:
                path = self.dir + "/clusterd.ini"
                with open(path, "w") as f:
                    f.write(self.ini)
                text = sh(CLUSTERCTL, "-c", path, "corosync-conf").stdout
            else:
                text = self._plain_corosync_conf()
            self._corosync = text + COROSYNC_EXTRA
        return self._corosync

    def _plain_corosync_conf(self):
        members = "".join(
            f"    node {{\n        nodeid: {n.number}\n        name: {n.name}\n"
            f"        ring0_addr: {n.addr4}\n    }}\n" for n in self.nodes)
        two = "    two_node: 1\n    wait_for_all: 0\n" if self.n == 2 else ""
        return ("totem {\n    version: 2\n    cluster_name: web\n    transport: knet\n"
                f"    token: {1000 * SLOW}\n    token_coefficient: 0\n    crypto_cipher: aes256\n"
                "    crypto_hash: sha256\n}\nnodelist {\n" + members + "}\nquorum {\n"
                "    provider: corosync_votequorum\n" + two + "}\nlogging {\n    to_stderr: yes\n}\n")

    # -- running it

    def start(self, settle=True, timeout=40):
        """Starts everything on every node; waits until the cluster serves."""
        for node in self.nodes:
            node.boot()
        if settle:
            self.settle(timeout)
        return self

    def change_conf(self, conf, timeout=40):
        """Other services for the same cluster: clusterd alone is stopped, cleanly, and started."""
        cluster = self.conf["cluster"]
        for node in self.nodes:
            node.clusterd.kill(signal.SIGTERM)
        for node in self.nodes:
            rc = node.clusterd.wait(20)
            if rc:
                raise LabError(f"{node.name}: clusterd ended with {rc}")
        self.set_conf(conf)
        if self.conf["cluster"] != cluster:
            raise LabError("other settings of [cluster] need another cluster")
        for node in self.nodes:
            node.ini = None
            node.write_ini()
            node.start_clusterd()
        for host in self.others:
            host.run("ip neigh flush all; ip -6 neigh flush all")    # the VIPs have other MACs now
        self.settle(timeout)
        return self

    def up(self):
        return [n for n in self.nodes if n.pid]

    def settle(self, timeout=30, draining=False):
        if self.with_clusterd:
            wait(lambda: self.settled(draining=draining), timeout, "the cluster to settle", every=0.1)
        else:
            up = self.up()
            wait(lambda: all(n.corosync_members() == len(up) for n in up), timeout, "corosync", 0.2)

    def settled(self, draining=False):
        """
        Every node that is switched on is online and has its share, nothing moves, all agree; then
        what each says.  draining: connections may be left where they were before their buckets
        moved (under load: they do not end by themselves).
        """
        asked = self.up()
        for n in asked:
            if n.clusterd and not n.clusterd.alive():
                raise LabError(f"{n.name}: clusterd ended with {n.clusterd.wait()}")
        views = [n.status() for n in asked]
        if not views or any(v is None for v in views):
            return None
        names = {n.name for n in asked}
        for v in views:
            if v["cluster"]["fenced"] or not v["cluster"]["quorate"]:
                return None
            if {n["name"] for n in v["nodes"] if n["state"] == "online"} != names:
                return None
            for s in v["services"]:
                if s["moving"] > (s["draining"] if draining else 0):
                    return None
                if not names <= {k for k, b in s["buckets"].items() if b}:
                    return None
                if sum(s["buckets"].values()) != v["cluster"]["buckets"]:
                    return None
        if len({(v["cluster"]["epoch"], v["cluster"]["digest"]) for v in views}) != 1:
            return None
        return views

    def even(self):
        """As settled(), and with shares that nobody is going to move to even them out (equal weights)."""
        views = self.settled()
        if views and all(max(s["buckets"].values()) - min(s["buckets"].values()) <= 1
                         for s in views[0]["services"]):
            return views
        return None

    def status_nodes(self):
        """The nodes as the first node that is up sees them."""
        status = self.up()[0].status()
        if status is None:
            raise LabError("no status")
        return status["nodes"]

    def state_of(self, name, seen_by):
        """The state of node 'name' in the eyes of node number 'seen_by'."""
        status = self[seen_by].status()
        if status is None:
            return None
        return next(n["state"] for n in status["nodes"] if n["name"] == name)

    def load(self, what, host=None, **options):
        return Load(self, what, host, **options)

    def capture(self, host=None, also=None):
        """
        Records SYN, SYN-ACK, RST, FIN, ARP and ND at a port of the cluster's switch, and what
        matches 'also'.  Default: the port at which the user's packets come in.
        """
        self.serial += 1
        host = host or (self.client if self.user is self.client else self.gate)
        return measure.Capture(host.port, f"{self.dir}/capture.{self.serial}.pcap", also)

    def trace(self, tuples):
        """[(client, sport, vip, port)] -> [owner], by 'clusterctl trace' on the first node that is up."""
        def side(addr, port):
            return f"[{addr}]:{port}" if ":" in addr else f"{addr}:{port}"
        lines = "".join(f"{side(c, s)} {side(v, p)}\n" for c, s, v, p in tuples)
        out = self.up()[0].run(f"while read a b; do {CLUSTERCTL} trace --json $a $b || exit 1; echo; done",
                               text_in=lines, timeout=120).stdout
        decoder, found, at = json.JSONDecoder(), [], 0
        while out[at:].strip():
            at += len(out[at:]) - len(out[at:].lstrip())
            value, at = decoder.raw_decode(out, at)
            found.append(value)
        return found

    # -- breaking the network

    def _port(self, who):
        return getattr(self, who).port if isinstance(who, str) else self[who].port

    def cut(self, i, j, oneway=False):
        """No frame passes from i to j any more, nor (unless oneway) from j to i."""
        self.cuts.add((self._port(i), self._port(j)))
        if not oneway:
            self.cuts.add((self._port(j), self._port(i)))
        self._apply_cuts()

    def isolate(self, i):
        me = self._port(i)
        for host in self.nodes + self.others:
            if host.port != me:
                self.cuts |= {(me, host.port), (host.port, me)}
        self._apply_cuts()

    def isolate_oneway(self, i, outward):
        """'outward': what i sends is lost (all of it, to the client too); else what is sent to i."""
        me = self._port(i)
        for host in self.nodes + self.others:
            if host.port != me:
                self.cuts.add((me, host.port) if outward else (host.port, me))
        self._apply_cuts()

    def heal(self):
        self.cuts.clear()
        self._apply_cuts()

    def _apply_cuts(self):
        pairs = ", ".join(f'"{a}" . "{b}"' for a, b in sorted(self.cuts))
        rule = f"iifname . oifname {{ {pairs} }} drop" if pairs else ""
        sh("nft", "-f", "-", text_in=f"""
add table bridge cut
delete table bridge cut
table bridge cut {{
    chain forward {{
        type filter hook forward priority 0
        {rule}
    }}
}}
""")

    # -- for the reader of a failure

    def tails(self, limits=(("clusterd", 25), ("corosync", 6))):
        """The ends of the daemons' logs."""
        out = []
        for node in self.nodes:
            for what, lines in limits:
                try:
                    with open(node.logfile(what), errors="replace") as f:
                        tail = f.read().splitlines()[-lines:]
                except FileNotFoundError:
                    continue
                out += [f"--- {node.name} {what}"] + tail
        return "\n".join(out)
