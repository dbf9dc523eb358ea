#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may include whom.  Arrows never point up: util <- core <- wire <- io <- turn <- main.
cd "$(dirname "$0")/.." || exit 1
bad=0
git ls-files 'clusterd/*.c' 'clusterd/*.h' | xargs awk '
BEGIN {
	may["util"] = " util "
	may["core"] = " core util plug "
	may["wire"] = " wire core util "
	may["conf"] = " conf core util "
	may["plug"] = " plug conf core util "
	may["bpf"] = " bpf "
	may["io"] = " io bpf wire core conf util "
	may["ctl"] = " ctl core conf io util plug "
	split("sys/socket.h time.h sys/time.h unistd.h fcntl.h poll.h pthread.h math.h", b, " ")
	for (i in b) banned[b[i]] = 1
	home["iniparser.h"] = "conf/conf_read.c"; home["corosync/cpg.h"] = "io/group.c"
	home["corosync/quorum.h"] = "io/group.c"
}
function bad(why) { printf "not ok - %s:%d: %s\n", FILENAME, FNR, why; n++ }
FNR == 1 {
	files++
	path = FILENAME; sub(/^clusterd\//, "", path)
	dir = path ~ /\// ? substr(path, 1, index(path, "/") - 1) : "top"
}
/^#include "/ {
	split($0, q, "\""); inc = q[2]
	if (inc !~ /\//) { if (dir != "top") bad("include " inc " by its folder"); next }
	to = substr(inc, 1, index(inc, "/") - 1)
	if (dir != "top" && index(may[dir], " " to " ") == 0) bad(dir "/ must not include " inc)
	# The ABI of plugins includes nothing of ours: values and pure functions.
	if (dir == "core" && to == "plug" && inc != "plug/plugin.h") bad("core/ must not include " inc)
}
/^#include </ {
	inc = $2; gsub(/[<>]/, "", inc)
	# wire/ may name AF_INET; it opens nothing.
	if ((dir == "core" || (dir == "wire" && inc != "sys/socket.h")) && (inc in banned)) bad(dir "/ must not include <" inc ">")
	if ((inc in home) && path != home[inc]) bad("<" inc "> belongs into " home[inc] " only")
	if (dir == "core" && inc ~ /^(libmnl|libnftnl|linux|net|corosync|jansson|systemd)/) bad("core/ is pure: <" inc ">")
}
END { if (!n) printf "ok - %d files include only what their layer may\n", files; exit n > 0 }
' || bad=1
# A plugin knows the interface and its own helpers in plugins/, nothing else of ours.
git ls-files 'plugins/*.c' 'plugins/*.h' | xargs awk '
/^#include "/ {
	split($0, q, "\"")
	if (q[2] != "plug/plugin.h" && q[2] ~ /\//) { printf "not ok - %s:%d: a plugin must not include %s\n", FILENAME, FNR, q[2]; n++ }
}
END { if (!n) print "ok - plugins include plug/plugin.h and their own headers"; exit n > 0 }
' || bad=1
exit $bad
