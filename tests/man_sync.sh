#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Every command and option that the programs list is in their man pages, and the other way round.
# usage: tests/man_sync.sh [BUILD_DIRECTORY]
cd "$(dirname "$0")/.." || exit 1
B=${1:-build}
failed=0

say() {
	if [ "$1" = 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2"
		failed=1
	fi
}

# Two lists, one word per line, must be the same and not empty.
same() {
	what=$1
	if [ -z "$2" ]; then
		say 1 "$what: the program lists nothing"
	elif [ "$2" = "$3" ]; then
		say 0 "$what ($(echo "$2" | wc -l))"
	else
		say 1 "$what"
		echo "# program:  $(echo $2)"
		echo "# man page: $(echo $3)"
	fi
}

# Options in a --help text: words that begin with '-' before the explanation, at the line's start.
help_options() {
	sed -n 's/^ *\(-[-A-Za-z, ]*\).*/\1/p' | tr ', ' '\n\n' | sed -n 's/^\(-[A-Za-z]\|--[a-z-]*\)$/\1/p' |
		sort -u
}

# Options that a page explains: ".It Fl c , Fl -config Ar file".
page_options() {
	sed -n 's/^\.It \(Fl .*\)/\1/p' "$1" | grep -o 'Fl [-A-Za-z]*' | sed 's/^Fl /-/' | sort -u
}

commands=$("$B/clusterctl" help | sed -n '/^Commands/,/^$/s/^  \([a-z-]*\).*/\1/p' | sort)
same "commands of clusterctl" "$commands" \
	"$(sed -n 's/^\.It Cm \([a-z-]*\).*/\1/p' doc/man/clusterctl.8 | sort)"
same "options of clusterctl" "$("$B/clusterctl" --help | help_options)" \
	"$(page_options doc/man/clusterctl.8)"
same "options of clusterd" "$("$B/clusterd" --help | help_options)" "$(page_options doc/man/clusterd.8)"

# Events, as the core and its users name them.
same "events" \
	"$(cat clusterd/core/agent*.c clusterd/core/health.c | grep -o '"[A-Z][A-Z_]\{2,\}"' |
		tr -d '"' | sort -u)" \
	"$(sed -n 's/^\.It Sy \([A-Z_]*\).*/\1/p' doc/man/clusterctl.8 | sort -u)"

# Arguments, as the table in clusterd/ctl/table.h has them: a command with an argument in one place
# has one in the other.
for command in $commands; do
	"$B/clusterctl" help | grep -q "^  $command \[\?[A-Z]"
	in_help=$?
	grep -q "^\.It Cm $command Ar\|^\.It Cm $command Op Ar" doc/man/clusterctl.8
	[ $in_help = $? ]
	say $? "arguments of $command"
done

# Every function, member of the descriptor and constant of the plugin interface is in its page.
missing=
for word in $(sed -n 's/.*(\*\([a-z_]*\))(.*/\1/p; /^struct clusterd_plugin {/,/^}/s/.*[ *]\([a-z]*\);.*/\1/p
		s/^#define \(CLUSTERD_[A-Z_]*\) *[0-9(].*/\1/p; s/^#define \(CLUSTERD_[A-Z]*\)\t.*/\1/p
		s/^\t\(CLUSTERD_[A-Z_]*\) = .*/\1/p' clusterd/plug/plugin.h | sort -u); do
	grep -q "^\.\(It \)\?[FVD][nav] .*\<$word\>" doc/man/clusterd-plugin.7 || missing="$missing $word"
done
[ -z "$missing" ]
say $? "names of the plugin interface"
[ -z "$missing" ] || echo "# not in clusterd-plugin(7):$missing"

# The formatter has no complaint.
if command -v mandoc >/dev/null; then
	for page in doc/man/*.[578]; do
		complaints=$(mandoc -T lint -W warning "$page" 2>&1 | grep -v 'STYLE')
		[ -z "$complaints" ]
		say $? "$page"
		[ -z "$complaints" ] || echo "# $complaints"
	done
else
	for page in doc/man/*.[578]; do
		complaints=$(groff -mdoc -z -ww "$page" 2>&1)
		[ -z "$complaints" ]
		say $? "$page"
		[ -z "$complaints" ] || echo "# $complaints"
	done
fi
exit $failed
