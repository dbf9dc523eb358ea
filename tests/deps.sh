#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what building, testing and measuring clusterd needs (Debian 12 or later).  Run by 'make deps'.
# No service is started: corosync, nginx and keepalived are for the tests' own namespaces.
set -eu

BUILD="build-essential pkg-config libnftnl-dev libmnl-dev libnetfilter-queue-dev
	libnetfilter-conntrack-dev libcpg-dev libquorum-dev libcmap-dev libcorosync-common-dev
	libiniparser-dev libjansson-dev libsystemd-dev nettle-dev libcmocka-dev clang llvm libbpf-dev
	libcurl4-openssl-dev libmicrohttpd-dev"
RUN="corosync nftables iptables iproute2 nginx-light curl tcpdump iputils-ping iputils-arping
	keepalived ipvsadm bird2 wrk conntrack ethtool mandoc python3 procps"
# For check-stock, which boots Debian's own kernel in an emulator; that kernel is not installed,
# see tests/stock/fetch.sh.
RUN="$RUN qemu-system-x86 kmod"
# What make bench compares with.
RUN="$RUN ipvsadm"
POLICY=/usr/sbin/policy-rc.d

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "make deps: not a Debian system; install the equivalents of:" $BUILD $RUN >&2
	exit 1
fi

stock_kernel() {
	sh "$(dirname "$0")/stock/fetch.sh" ||
		echo "make deps: no stock kernel; only 'make check-stock' needs it" >&2
}

missing=
have=" $(dpkg-query -W -f='${db:Status-Status}/${Package} ' $BUILD $RUN 2>/dev/null || :)"
for p in $BUILD $RUN; do
	case $have in *" installed/$p "*) ;; *) missing="$missing $p" ;; esac
done
if [ -z "$missing" ]; then
	stock_kernel
	echo "make deps: everything is installed"
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "make deps: must be root to install:$missing (try: sudo make deps)" >&2
	exit 1
fi

ours=
cleanup() { [ -z "$ours" ] || rm -f "$POLICY"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ ! -e "$POLICY" ] && [ ! -L "$POLICY" ]; then
	ours=1
	printf '#!/bin/sh\n# Temporary, made by "make deps" of clusterd: start nothing.\nexit 101\n' >"$POLICY"
	chmod 755 "$POLICY"
fi

export DEBIAN_FRONTEND=noninteractive
APT="apt-get -q -y -o DPkg::Lock::Timeout=120"
echo "make deps: installing$missing"
$APT update || echo "make deps: package lists not refreshed, trying with the old ones" >&2
if ! $APT install --no-install-recommends $missing; then
	echo "make deps: apt-get could not install:$missing" >&2
	exit 1
fi
for s in corosync nginx keepalived; do
	case "$missing " in
	*" $s "*|*" $s-light "*) echo "make deps: $s was not started, but will be at the next boot" \
		"(systemctl disable $s prevents that)" ;;
	esac
done
stock_kernel
