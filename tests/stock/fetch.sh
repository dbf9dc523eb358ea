#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fetch.sh: unpacks Debian's stock kernel into build/stock/root, for run.py to boot.
#
# It is unpacked, not installed: installing it would run initramfs and boot loader hooks on a machine
# that is never to boot it.  Does nothing when one is there already ('make clean' removes it).
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin

DIR=build/stock
META=linux-image-amd64

die() { echo "stock kernel: $*" >&2; exit 1; }

[ ! -e "$DIR/kernel" ] || exit 0
[ "$(dpkg --print-architecture)" = amd64 ] || die "only on amd64"
mkdir -p "$DIR"
exec 9>"$DIR/lock"
flock -w 600 9 || die "another fetch.sh does not end"
[ ! -e "$DIR/kernel" ] || exit 0

work=$(mktemp -d "$DIR/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The package that the meta package depends on; the lists may be missing, or older than the archive.
# Run as root, apt would warn that its own user cannot write here; the file is verified all the same.
download() {
	package=$(apt-cache depends --important "$META" 2>/dev/null |
		sed -n 's/^  Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$package" ] || return 1
	echo "stock kernel: fetching $package"
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package")
}
if ! download; then
	[ "$(id -u)" = 0 ] || die "cannot download $META; try apt-get update first"
	apt-get -q -y -o DPkg::Lock::Timeout=120 update || :
	download || die "cannot download $META"
fi

release=${package#linux-image-}
dpkg-deb -x "$work"/*.deb "$work/root"
# Newer packages ship /usr/lib/modules; depmod and run.py look in /lib/modules.
[ -d "$work/root/lib" ] || ln -s usr/lib "$work/root/lib"
[ -e "$work/root/boot/vmlinuz-$release" ] || die "$package holds no vmlinuz-$release"
depmod -b "$work/root" "$release"
rm -rf "$DIR/root" "$DIR/initrd"
mv "$work/root" "$DIR/root"
echo "$release" >"$work/kernel"
mv "$work/kernel" "$DIR/kernel"
