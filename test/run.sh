#!/bin/sh
# Checks, builds and tests everything. Arguments go to `bun test`: files, -t PATTERN and so on.
. "$(dirname "$0")/setup.sh"

need gcc gcc /usr/include/stdio.h libc6-dev \
	busybox busybox-static redis-server redis-server nginx nginx-light dropbear dropbear-bin \
	sshd openssh-server dbus-daemon dbus chronyd chrony dnsmasq dnsmasq-base memcached memcached \
	mandoc mandoc shellcheck shellcheck setpriv util-linux dash dash xz xz-utils zsh zsh fish fish \
	runsv runit s6-svscan s6 systemd-analyze systemd \
	qemu-system-x86_64 qemu-system-x86 qemu-system-aarch64 qemu-system-arm mke2fs e2fsprogs readelf binutils \
	aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/lib/libc.a libc6-dev-arm64-cross \
	qemu-aarch64-static qemu-user-static

"$bun" run lint || exit 1
"$bun" run build || exit 1
# The tests of the other machine, and of what only it can show, need its binary; without its tools they skip.
[ -e "$(aarch64-linux-gnu-gcc -print-file-name=libc.a 2>/dev/null)" ] && { "$bun" build.ts --target=linux-arm64 || exit 1; }
tests() {
	"$bun" test --timeout=60000 --max-concurrency=4 "$@"
}

[ $# -eq 0 ] || {
	tests "$@"
	exit
}

# Installing has shells run one command after the other: beside it goes what builds and boots.
report=$(mktemp) || exit 1
trap 'rm -f "$report"' EXIT
code=0
tests --path-ignore-patterns='test/{install,arm64,boot,init,static-link}/**' || code=1
tests test/install/ >"$report" 2>&1 &
tests test/arm64/ test/boot/ test/init/ test/static-link/ || code=1
wait $! || code=1
cat "$report"
exit "$code"
