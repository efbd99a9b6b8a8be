#!/bin/sh
# Checks, builds and tests everything. Arguments go to `bun test`: files, -t PATTERN and so on.
. "$(dirname "$0")/setup.sh"

need busybox busybox-static redis-server redis-server nginx nginx-light dropbear dropbear-bin \
	mandoc mandoc shellcheck shellcheck setpriv util-linux

"$bun" run lint || exit 1
"$bun" run build || exit 1
"$bun" test --timeout=60000 --max-concurrency=4 "$@"
