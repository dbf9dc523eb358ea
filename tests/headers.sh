#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Every header compiles alone and twice: it includes what it needs, and its guard works.
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
bad=0
flags="-std=gnu11 -D_GNU_SOURCE -Iclusterd -Wall -Wextra -Werror -Wno-unused-parameter -fsyntax-only"
for h in $(git ls-files 'clusterd/*.h'); do
	inc=${h#clusterd/}
	printf '#include "%s"\n#include "%s"\nint only_a_header;\n' "$inc" "$inc" > "$tmp/t.c"
	# shellcheck disable=SC2086
	if ${CC:-gcc} $flags "$tmp/t.c" 2> "$tmp/err"; then
		echo "ok - $h"
	else
		echo "not ok - $h"
		cat "$tmp/err"
		bad=1
	fi
done
exit $bad
