#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# clusterctl as a user meets it, before a made-up daemon (tests/unit/ctl_test.c) and without one.
# usage: tests/cli_test.sh [BUILD_DIRECTORY]
set -u
B=${1:-build}
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d) || exit 1
sock=$dir/run/clusterd.sock
passed=0 failed=0

# try STATUS 'PATTERN in stdout or stderr' ARGUMENTS...
try() {
	want=$1 pattern=$2
	shift 2
	NO_COLOR='' timeout 20 "$B/clusterctl" -s "$sock" "$@" >"$dir/out" 2>&1 </dev/null
	got=$?
	if [ $got = "$want" ] && grep -q -e "$pattern" "$dir/out"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: clusterctl $*: exit $got, wanted $want and '$pattern':"
		cat "$dir/out"
	fi
}

# As try, and what comes is JSON.
try_json() {
	try 0 "$@"
	python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$dir/out" ||
		{ failed=$((failed + 1)); echo "FAILED: not JSON: $*"; }
}

server=
finish() {
	[ -n "$server" ] && kill "$server" && wait "$server" 2>/dev/null
	rm -rf "$dir"
}
trap finish EXIT

# Usage: nothing of this may need a daemon.
try 2 'usage: clusterctl'
try 2 'there is no command .nonsense.; there are: status nodes' nonsense
try 2 'may be any of: status services$' s
try 2 'usage: clusterctl drain NODE' drain
try 2 'usage: clusterctl weight NODE N|auto' weight n1
try 2 'usage: clusterctl status' status n1
try 2 'does not know one of these options' status --yes
try 2 'does not know one of these options' help --json
try 2 'does not know one of these options' -c x status
try 2 'unrecognized option' status --nonsense
try 2 'number from 1 to 20000' flows --limit 0
try 2 'number from 1 to 20000' flows --limit 20001
try 2 'number from 1 to 20000' flows --limit -5
try 2 'number from 1 to 20000' flows --limit 5x
try 2 'does not know one of these options' status --limit 5
try 0 'Exit status: 0 done' help
try 0 '^clusterctl [0-9]' --version
try 1 'clusterd is not running on this node (no .*clusterd.sock); start it with systemctl start' status
try 1 'clusterd is not running' watch --json

# The configuration.

echo "[cluster]
nonsense = 1" >"$dir/bad.ini"
try 2 'bad.ini:2: .*nonsense' check "$dir/bad.ini"
try 2 'bad.ini' -c "$dir/bad.ini" check
try 2 'may be any of: checks check$' che
try 2 'missing.ini' check "$dir/missing.ini"
try 2 'bad.ini' corosync-conf -c "$dir/bad.ini"
try 0 'token_coefficient: 0' corosync-conf -c "etc/examples/three-node.ini"
try 2 '"nonsense"' check --json "$dir/bad.ini"
try 2 'bad.ini:2: .*nonsense' doctor -c "$dir/bad.ini"

# Without a daemon the doctor looks at this machine, and says what it could not do.
for example in etc/examples/*.ini; do
	try 1 'problem  clusterd   clusterd is not running' doctor -c "$example"
	try 1 '^                    change: systemctl enable --now clusterd$' doctor -c "$example"
	try 1 '^[0-9][0-9]* problem' doctor -c "$example"
done
try 1 '"level": "problem"' doctor -c etc/examples/tunnel.ini --json
python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert d["problems"] == sum(f["level"] == "problem" for f in d["findings"]), d["problems"]
assert d["network"] is None and all(f["found"] for f in d["findings"])' "$dir/out" ||
	{ failed=$((failed + 1)); echo "FAILED: doctor --json"; }

# Plugins: those that are built in, and a directory with one that is none.
mkdir "$dir/plugins"
echo "no plugin" >"$dir/plugins/check-broken.so"
CLUSTERD_PLUGINDIR=$dir/plugins
export CLUSTERD_PLUGINDIR
try 0 '^monitor  *cpu .*built in' plugins
try 0 '^policy  *load ' plugins
try 0 "^check  *broken .*$dir/plugins/check-broken.so" plugins
try_json '"usable": false' plugins --json
python3 -c 'import json, sys
p = {(e["kind"], e["name"]): e for e in json.load(open(sys.argv[1]))["plugins"]}
assert p["check", "tcp"]["usable"] and "why" not in p["check", "tcp"], p
assert p["check", "broken"]["why"], p' "$dir/out" ||
	{ failed=$((failed + 1)); echo "FAILED: plugins --json"; }
try 2 'usage: clusterctl plugins' plugins x

# What plugins say about a configuration is part of its check.
three() {
	cat etc/examples/three-node.ini
	printf '%s\n' "$@"
}
three '[monitor mine]' 'type = nonsense' >"$dir/plug.ini"
try 2 'plug.ini:[0-9: ]*.monitor mine. type: .*nonsense' check "$dir/plug.ini"
three '[monitor conn]' 'service = wub' 'capacity = 9' >"$dir/plug.ini"
try 2 'plug.ini:[0-9]*: .monitor conn. service: there is no section .service wub.' check "$dir/plug.ini"
three '[check a]' 'service = web' 'type = broken' >"$dir/plug.ini"
try 2 'plug.ini:[0-9: ]*.check a. type: .*check-broken.so' check "$dir/plug.ini"
three '[check a]' 'service = web' 'type = tcp' 'nonsense = 1' >"$dir/plug.ini"
try 2 'plug.ini:[0-9]*: .check a. nonsense: ' check "$dir/plug.ini"
try 2 '"section": "check a"' check --json "$dir/plug.ini"
unset CLUSTERD_PLUGINDIR

# The router's side of route.ini.
if command -v bird >/dev/null; then
	if bird -p -c etc/examples/bird.conf >"$dir/out" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: etc/examples/bird.conf:"
		cat "$dir/out"
	fi
fi

"$B/tests/ctl_test" serve "$sock" >"$dir/ready" &
server=$!
i=0
while [ ! -s "$dir/ready" ] && [ $i -lt 50 ]; do
	sleep 0.1
	i=$((i + 1))
done

try 0 'cluster web   quorate' status
try 0 'cluster web   quorate' stat
try 0 'GRANTS US/IT' nodes
try 0 'PACKETS HERE' services
try 0 'service web, 64 buckets; on n1: foreign 42 mine 22' buckets web
try 1 "no service is called 'nothing'" buckets nothing
try 0 'jhash 192.0.2.9 . 4711 mod 64' trace 192.0.2.9:4711 10.77.0.250:80/tcp
try 2 'is not a client' trace 300.1.1.1 10.77.0.250
try 1 'is not a VIP of any service' trace 10.77.0.100:1 10.99.99.99:80
try 1 'two nodes will answer' takeover n2
try 1 'is not dead, its heartbeat' takeover n2 --yes
try 0 'ordered' weight n2 50
try 2 '0..1000' weight n2 5000
try 1 "no node is called 'n9'" drain n9
try 1 'nothing was changed: .*nonsense' reload
try 0 'n3 is drained' drain n3 --wait
try 0 'ordered' undrain n3
try 0 'failback\|ordered' failback
try 0 'warning  STARTED         the made-up daemon runs' events
try 0 'front     every node (flood)' trace 192.0.2.9:4711 10.77.0.250:80/tcp
try 0 '^web      tcp    192.0.2.9:500[0-3]  10.77.0.250:80  n1    n[23]         kept' flows
try 0 'there are more: --limit 1' flows web --limit 1
try 0 'all connections of n1 follow their buckets' flows dns
try 1 "no service is called 'nothing'" flows nothing
try 0 '^web             5        6          7           0        8       -          -          -' counters
# The made-up daemon cannot send frames and knows no paths, so that is what the doctor says.
try 1 'this clusterd cannot send test frames' doctor -c etc/examples/three-node.ini
try 0 '^drain n2 would move this; nothing has been changed' plan drain n2
try 0 '^web      n2      n1       11            ?       ?$' plan drain n2
try 0 '^weight n2 50 would move nothing' plan weight n2 50
try 0 '^failback would move nothing' plan failback
try 2 "'takeover' cannot be planned: give drain" plan takeover n2
try 2 'usage: plan drain NODE' plan drain
try 2 'usage: plan weight NODE N|auto' plan weight n2
try 2 'usage: clusterctl plan ORDER' plan
try 2 '0..1000 or auto' plan weight n2 1001
try 1 "no node is called 'n9'" plan drain n9
try 0 '31% of 2 processors' monitors
try 0 'repair (down)' checks
for c in "plan drain n2" "plan failback" monitors checks status nodes services flows counters "buckets web" events "trace --json 1.2.3.4:5 10.77.0.250:80/tcp" "undrain n3"; do
	# shellcheck disable=SC2086
	try_json '{' $c --json
done
try 1 'watch needs a terminal' watch

# Followers get what happens after they came, as it happens.
timeout 3 "$B/clusterctl" -s "$sock" events --follow --json >"$dir/follow" &
follower=$!
sleep 0.5
before=$(wc -l <"$dir/follow")
try 0 ordered failback
sleep 0.5
after=$(wc -l <"$dir/follow")
if [ "$after" = $((before + 1)) ] && [ "$before" -gt 0 ]; then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
	echo "FAILED: follower had $before events, then $after"
fi
wait $follower

# Ctrl-C ends a follower, and all that came before is there.
# (A shell makes what it starts with & deaf to SIGINT.)
env --default-signal=INT "$B/clusterctl" -s "$sock" events --follow >"$dir/follow" 2>&1 &
follower=$!
# A reader that stops reading holds up nobody but its own follower.
python3 - "$B/clusterctl" "$sock" <<'EOF' &
import subprocess, sys, time
p = subprocess.Popen([sys.argv[1], "-s", sys.argv[2], "events", "--follow"], stdout=subprocess.PIPE)
time.sleep(2)
p.kill()
EOF
slow=$!
sleep 0.5
i=0
while [ $i -lt 20 ]; do
	"$B/clusterctl" -s "$sock" failback >/dev/null || break
	i=$((i + 1))
done
sleep 0.3
kill -INT $follower
wait $follower
got=$?
wait $slow
if [ $got = 130 ] && [ "$(tail -n 20 "$dir/follow" | grep -c 'ORDER  .*an order?was given$')" = 20 ]; then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
	echo "FAILED: events --follow and Ctrl-C: exit $got, $i orders:"
	tail -n 3 "$dir/follow"
fi

# watch on a terminal: q ends it, the terminal is given back.
if python3 - "$B/clusterctl" "$sock" <<'EOF'
import os, pty, select, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "-s", sys.argv[2], "watch"])
before = termios.tcgetattr(fd)
text, end, asked = b"", time.monotonic() + 10, False
while time.monotonic() < end:
    if select.select([fd], [], [], 0.2)[0]:
        try:
            got = os.read(fd, 65536)
        except OSError:
            break
        text += got
    if text.count(b"cluster ") >= 2 and not asked:
        assert not termios.tcgetattr(fd)[3] & termios.ICANON, "keys need a newline"
        os.write(fd, b"q")
        asked = True
else:
    os.kill(pid, 9)
status = os.waitpid(pid, 0)[1]
assert status == 0, status
assert asked and text.endswith(b"\033[?7h\033[?25h\033[?1049l"), text[-80:]
assert termios.tcgetattr(fd)[3] == before[3], "the terminal was left in another mode"
EOF
then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
	echo "FAILED: watch"
fi

# A daemon that goes away ends a follower with a sentence; the next one finds the new daemon.
"$B/clusterctl" -s "$sock" events --follow >"$dir/follow" 2>&1 &
follower=$!
sleep 0.5
kill "$server"
wait "$server" 2>/dev/null
server=
wait $follower
got=$?
if [ $got = 1 ] && tail -n 1 "$dir/follow" | grep -q '^clusterctl: clusterd closed the connection$'; then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
	echo "FAILED: events --follow of a daemon that ends: exit $got:"
	tail -n 3 "$dir/follow"
fi
try 1 'clusterd is not running on this node (nobody listens at .*)' events --follow
"$B/tests/ctl_test" serve "$sock" >"$dir/ready2" &
server=$!
i=0
while [ ! -s "$dir/ready2" ] && [ $i -lt 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
try 0 'STARTED' events

echo "cli: $passed passed, $failed failed"
[ $failed = 0 ]
