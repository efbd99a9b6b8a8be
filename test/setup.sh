# shellcheck shell=sh
# To be read by the scripts beside it: puts what the sources need into node_modules, with npm or with any
# Bun, and leaves the pinned Bun's path in $bun. Ends the script with a message when that cannot be done.

cd "$(dirname "$0")/.." || exit 1

fail() {
	echo "setup: $*" >&2
	exit 1
}

pinned=$(sed -n 's/^ *"bun": "\([0-9.]*\)".*/\1/p' package.json)
bun=$PWD/node_modules/.bin/bun

bun_works() {
	[ "$("$bun" --version 2>/dev/null)" = "$pinned" ]
}

if ! bun_works; then
	echo "setup: fetching Bun $pinned" >&2
	if command -v npm >/dev/null; then
		npm install --no-save --no-package-lock --no-audit --no-fund --loglevel=error "bun@$pinned" >&2 ||
			fail "npm could not install bun@$pinned"
		# A strict npm does not run install scripts; this is Bun's own.
		bun_works || (cd node_modules/bun && node install.js) || fail "bun@$pinned did not install itself"
	elif command -v bun >/dev/null; then
		bun install --frozen-lockfile >&2 || fail "bun install failed"
		bun_works || (cd node_modules/bun && bun install.js) || fail "bun@$pinned did not install itself"
	else
		fail "needs npm or bun: install one of them (Debian: apt-get install npm)"
	fi
	bun_works || fail "node_modules/.bin/bun is not Bun $pinned"
fi
"$bun" install --frozen-lockfile --silent >&2 || fail "the dependencies do not match bun.lock"

# As root on Debian, missing packages are installed; everybody else is told.
# usage: need COMMAND-OR-FILE PACKAGE [COMMAND-OR-FILE PACKAGE ...]
need() {
	missing=
	while [ $# -gt 0 ]; do
		command -v "$1" >/dev/null || [ -e "$1" ] || missing="$missing $2"
		shift 2
	done
	[ -z "$missing" ] && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "setup: installing$missing" >&2
		# shellcheck disable=SC2086 # the names are words
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >/dev/null 2>&1 && return
	fi
	echo "setup: not installed:$missing (Debian: apt-get install$missing)" >&2
}
