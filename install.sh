#!/bin/sh
# Installs sysmgr, or removes it again: the same script in the sources and in the release archive. It needs
# a POSIX shell and what busybox has; only building, where there is no binary yet, needs more.
#
# What it may replace and remove is what it has installed itself: every path is recorded in
# PREFIX/share/sysmgr/manifest with a checksum, and is its own for as long as that still fits. Everything is
# looked at before anything is changed, and every file gets its final name only when it is complete.
set -eu

umask 022
LC_ALL=C
export LC_ALL

usage() {
	cat <<'END'
usage: sh install.sh [OPTION]...

Installs sysmgr with its manual pages, shell completions, files for init and
ready-made services.

  --prefix DIR    below which everything is put (/usr: the PATH that init sets
                  has no /usr/local/bin, and services call sysmgr-depends)
  --bindir DIR    for sysmgr, svctl and sysmgr-depends (PREFIX/bin)
  --mandir DIR    for the manual pages (PREFIX/share/man)
  --sysdir DIR    the service directory, which is made (the binary's default:
                  /var/sysmgr where it was not built with another)
  --rundir DIR    the run directory (the binary's default, or /run/sysmgr)
  --destdir DIR   install into this root instead of /, as for a package
  --init NAME     also put sysmgr where this init looks for what it runs:
                  busybox sysvinit openrc runit s6 dinit systemd carbs kiss;
                  in every case all their files are in PREFIX/share/sysmgr/init
  --uninstall     remove what was installed with this prefix and destdir;
                  what is in the service directory stays
  --dry-run       only say what would be done
  --help          show this help

PREFIX, BINDIR, MANDIR and DESTDIR in the environment are taken for options
that are not given.

In the sources, dist/sysmgr is built first if it is not there. SYSDIR and
RUNDIR are fixed in a binary when it is built: where it is built now, --sysdir
and --rundir are its defaults. A binary that is there already (such as that of
a release archive) keeps its own; --sysdir and --rundir are then options in the
files for init and the default of the completions, and whoever uses svctl sets
SYSDIR and RUNDIR in the environment.

What is there already and was not installed by this script, or was changed
since, is never overwritten or removed: it is named, and nothing is done.
END
}

for tool in cat chmod dirname grep id ln ls mkdir mv readlink rm rmdir sed sha256sum sort; do
	# There may be no /dev/null.
	[ -n "$(command -v "$tool")" ] || {
		echo "install.sh: needs $tool, which coreutils and busybox have" >&2
		exit 1
	}
done

# Not by echo, which in some shells takes a backslash for more than it is.
complain() {
	printf 'install.sh: %s\n' "$*" >&2
}

fail() {
	complain "$@"
	exit 1
}

wrong_usage() {
	complain "$@"
	echo "usage: sh install.sh [OPTION]... (--help shows the options)" >&2
	exit 2
}

# --- options

prefix=/usr
bindir=
mandir=
sysdir=
rundir=
destdir=
init=
uninstall=false
dry_run=false

# Directories end up in files for init, not all of which know quoting.
directory() {
	case $2 in
	*[[:space:]\"\'\\\$\&\|\;\<\>\(\)\#\*\?\[\]\{\}~!%\`]*)
		wrong_usage "$1: '$2' has a character that cannot be written in every file for init" ;;
	/*) ;;
	*) wrong_usage "$1: '$2' is not an absolute path" ;;
	esac
	path=$2
	while :; do
		case $path in
		?*/) path=${path%/} ;;
		*) break ;;
		esac
	done
}

set_prefix() { directory "$@" && prefix=${path#/} && prefix=${prefix:+/$prefix}; }
set_bindir() { directory "$@" && bindir=$path; }
set_mandir() { directory "$@" && mandir=$path; }
set_destdir() {
	case $2 in
	'' | /*) destdir=$2 ;;
	*) destdir=$PWD/$2 ;;
	esac
	while :; do
		case $destdir in
		*/) destdir=${destdir%/} ;;
		*) break ;;
		esac
	done
}

[ -z "${PREFIX-}" ] || set_prefix PREFIX "$PREFIX"
[ -z "${BINDIR-}" ] || set_bindir BINDIR "$BINDIR"
[ -z "${MANDIR-}" ] || set_mandir MANDIR "$MANDIR"
[ -z "${DESTDIR-}" ] || set_destdir DESTDIR "$DESTDIR"

while [ $# -gt 0 ]; do
	option=$1
	shift
	case $option in
	--*=*)
		value=${option#*=}
		option=${option%%=*}
		has_value=true
		;;
	*)
		value=${1-}
		has_value=false
		;;
	esac
	case $option in
	--prefix | --bindir | --mandir | --sysdir | --rundir | --destdir | --init)
		if ! $has_value; then
			[ $# -gt 0 ] || wrong_usage "$option needs a value"
			shift
		fi
		# Packagers pass on a DESTDIR that may be empty.
		[ -n "$value" ] || [ "$option" = --destdir ] || wrong_usage "$option needs a value"
		;;
	*) ! $has_value || wrong_usage "unknown option '$option=$value'" ;;
	esac
	case $option in
	--prefix) set_prefix "$option" "$value" ;;
	--bindir) set_bindir "$option" "$value" ;;
	--mandir) set_mandir "$option" "$value" ;;
	--sysdir) directory "$option" "$value" && sysdir=$path ;;
	--rundir) directory "$option" "$value" && rundir=$path ;;
	--destdir) set_destdir "$option" "$value" ;;
	--init)
		case $value in
		busybox | sysvinit | openrc | runit | s6 | dinit | systemd | carbs | kiss) init="$init $value" ;;
		*) wrong_usage "--init: '$value' is none of busybox sysvinit openrc runit s6 dinit systemd carbs kiss" ;;
		esac
		;;
	--uninstall) uninstall=true ;;
	--dry-run) dry_run=true ;;
	-h | --help)
		usage
		exit 0
		;;
	*) wrong_usage "unknown option or operand '$option'" ;;
	esac
done

: "${bindir:=$prefix/bin}" "${mandir:=$prefix/share/man}"
share=$prefix/share/sysmgr
manifest=$share/manifest

# --- what is to be installed

# The shell's own cd may be led elsewhere, and say so on stdout, by CDPATH.
here=$(unset CDPATH && cd -- "$(dirname -- "$0")" && pwd)
if [ -f "$here/build.ts" ]; then
	binary=$here/dist/sysmgr
	parts=$here/src
else
	binary=$here/sysmgr
	parts=$here
fi

# What the build calls this kind of machine; nothing where there is no sysmgr for it.
case $(uname -m) in
x86_64 | amd64) target=linux-x64 ;;
aarch64 | arm64) target=linux-arm64 ;;
*) target= ;;
esac

# And the kind that a binary is for, by e_machine of its ELF header; nothing where it is no such binary.
target_of() {
	elf=$(printf '\177ELF\002\001\001')
	case $(head -c 19 "$1" | tr -d '\000') in
	"$elf"*'>') echo linux-x64 ;;
	"$elf"*"$(printf '\267')") echo linux-arm64 ;;
	esac
}

# One that was built for this machine on another has the machine in its name.
is_foreign() {
	[ -e "$binary" ] || return 1
	there=$(target_of "$binary")
	[ -n "$there" ] && [ "$there" != "$target" ]
}
if [ -n "$target" ] && [ -e "$binary-$target" ] && { [ ! -e "$binary" ] || is_foreign; }; then
	binary=$binary-$target
fi

# A root that is only filled here may be for any machine.
check_machine() {
	[ -z "$destdir" ] || return 0
	[ -n "$target" ] ||
		fail "this machine is '$(uname -m)': there is sysmgr for x86_64 and aarch64 only; nothing has been done"
	! is_foreign ||
		fail "$binary: for $there, and this machine is '$(uname -m)': take the one for $target; nothing has been done"
}

# Calls a function for every file and link: file MODE SOURCE PATH, text MODE SOURCE PATH (in which paths
# are put in), link TARGET PATH.
each() {
	"$1" file 755 "$binary" "$bindir/sysmgr"
	"$1" link sysmgr "$bindir/svctl"
	"$1" link sysmgr "$bindir/sysmgr-depends"
	"$1" file 644 "$parts/man/sysmgr.8" "$mandir/man8/sysmgr.8"
	"$1" file 644 "$parts/man/svctl.1" "$mandir/man1/svctl.1"
	"$1" file 644 "$parts/man/sysmgr-depends.1" "$mandir/man1/sysmgr-depends.1"

	bash=$prefix/share/bash-completion/completions
	"$1" text 644 "$parts/completions/sysmgr.bash" "$bash/sysmgr"
	"$1" link sysmgr "$bash/svctl"
	"$1" link sysmgr "$bash/sysmgr-depends"
	"$1" text 644 "$parts/completions/_sysmgr" "$(zsh_directory)/_sysmgr"
	fish=$prefix/share/fish/vendor_completions.d
	"$1" text 644 "$parts/completions/sysmgr.fish" "$fish/sysmgr.fish"
	"$1" link sysmgr.fish "$fish/svctl.fish"
	"$1" link sysmgr.fish "$fish/sysmgr-depends.fish"

	"$1" text 755 "$parts/init/stop" "$share/init/stop"
	"$1" text 644 "$parts/init/busybox/inittab" "$share/init/busybox/inittab"
	"$1" text 644 "$parts/init/sysvinit/inittab" "$share/init/sysvinit/inittab"
	openrc "$1" "$share/init/openrc"
	runit "$1" "$share/init/runit"
	s6 "$1" "$share/init/s6"
	dinit "$1" "$share/init/dinit"
	systemd "$1" "$share/init/systemd"
	hooks "$1" "$share/init/hooks"

	for service in "$parts"/cookbook/*; do
		case $service in
		*/README.md) "$1" text 644 "$service" "$share/cookbook/README.md" ;;
		*) "$1" file 755 "$service" "$share/cookbook/${service##*/}" ;;
		esac
	done

	for name in $init; do
		case $name in
		openrc) openrc "$1" /etc/init.d ;;
		runit) runit "$1" /etc/sv/sysmgr ;;
		s6) s6 "$1" /etc/s6/sv/sysmgr ;;
		dinit) dinit "$1" /etc/dinit.d ;;
		systemd) systemd "$1" "$(unit_directory)" ;;
		carbs) hooks "$1" /etc/init ;;
		kiss) hooks "$1" /etc/rc.d ;;
		esac
	done
}

openrc() { "$1" text 755 "$parts/init/openrc/sysmgr" "$2/sysmgr"; }
runit() {
	"$1" text 755 "$parts/init/runit/run" "$2/run"
	"$1" text 755 "$parts/init/runit/control/k" "$2/control/k"
}
s6() {
	"$1" text 755 "$parts/init/s6/run" "$2/run"
	"$1" text 644 "$parts/init/s6/type" "$2/type"
}
dinit() { "$1" text 644 "$parts/init/dinit/sysmgr" "$2/sysmgr"; }
systemd() { "$1" text 644 "$parts/init/systemd/sysmgr.service" "$2/sysmgr.service"; }
hooks() {
	"$1" text 644 "$parts/init/hooks/sysmgr.boot" "$2/sysmgr.boot"
	"$1" text 644 "$parts/init/hooks/sysmgr.pre.shutdown" "$2/sysmgr.pre.shutdown"
}

# Where zsh looks for what comes with programs; Debian's looks elsewhere.
zsh_directory() {
	if [ "$prefix" = /usr ] && [ -d "$destdir/usr/share/zsh/vendor-completions" ]; then
		echo /usr/share/zsh/vendor-completions
	else
		echo "$prefix/share/zsh/site-functions"
	fi
}

# Where systemd looks for the units that come with programs, or, for another prefix, for the machine's own.
unit_directory() {
	case $prefix in
	/usr | /usr/local) echo "$prefix/lib/systemd/system" ;;
	*) echo /etc/systemd/system ;;
	esac
}

# Sets the directories that the binary uses where it is told nothing, as its help says them, and what it has to
# be told. One for another kind of machine cannot be asked.
settle_directories() {
	if ! help=$("$binary" --help 2>&1); then help=; fi
	default_sysdir=$(default_in "$help" 'service directory')
	default_rundir=$(default_in "$help" 'run directory')
	: "${default_sysdir:=/var/sysmgr}" "${default_rundir:=/run/sysmgr}"
	: "${sysdir:=$default_sysdir}" "${rundir:=$default_rundir}"
	options=
	[ "$sysdir" = "$default_sysdir" ] || options="$options -s $sysdir"
	[ "$rundir" = "$default_rundir" ] || options="$options -r $rundir"
}

default_in() {
	printf '%s\n' "$1" | sed -n "s/^.*  $2, \(.*\) unless given.*/\1/p"
}

# Writes a file as it is to be installed. All names are taken out before any is put in, so that nothing is
# put into what was put in before.
render() {
	case $1 in
	file) cat "$2" ;;
	text)
		sed -e 's|/usr/bin/sysmgr|%b%|g' -e 's|/usr/share/sysmgr|%d%|g' \
			-e 's|/run/sysmgr|%r%|g' -e 's|/var/sysmgr|%s%|g' \
			-e "s|^command=%b%|command=$bindir/sysmgr|" -e "s|^command_args=.*|command_args=\"${options# }\"|" \
			-e "s|%b%|$bindir/sysmgr$options|g" -e "s|%d%|$share|g" \
			-e "s|%r%|$rundir|g" -e "s|%s%|$sysdir|g" "$2"
		;;
	esac
}

# Sets checksum to that of what render writes. Here and below what is found is in a variable and lines are looked
# for by the shell itself: nearly all the time that this script takes goes into starting processes.
checksum() {
	case $1 in
	file) checksum=$(sha256sum <"$2") ;;
	text) checksum=$(render "$@" | sha256sum) ;;
	esac
	checksum=${checksum%% *}
}

# --- the manifest: "file CHECKSUM PATH", "link TARGET PATH" and "dir - PATH", without the destdir

old=
if [ -e "$destdir$manifest" ]; then
	[ -r "$destdir$manifest" ] || fail "$destdir$manifest: cannot be read"
	old=$(grep -v '^#' "$destdir$manifest") || fail "$destdir$manifest: says nothing"
fi

manifest_text() {
	echo "# What install.sh has installed, and therefore may replace and remove."
	printf '%s\n' "$1" | grep . | sort -u | sort -k 3
}

newline='
'

# Whether a text has a line, which is not empty, or a line that ends in a path: there are no blanks in paths.
has_line() {
	[ -n "$2" ] || return 1
	case "$newline$1$newline" in
	*"$newline$2$newline"*) return 0 ;;
	*) return 1 ;;
	esac
}
has_path() {
	case "$1$newline" in
	*" $2$newline"*) return 0 ;;
	*) return 1 ;;
	esac
}

exists() {
	[ -e "$1" ] || [ -L "$1" ]
}

# Sets there to the line that the manifest has for what is at a path now, if that is a kind of thing it can have
# a line for.
look_there() {
	there=
	if [ -L "$destdir$1" ]; then
		there="link $(readlink "$destdir$1") $1"
	elif [ -f "$destdir$1" ]; then
		# One that may not be read cannot be known for its own.
		checksum file "$destdir$1" || :
		there="file $checksum $1"
	fi
}

# --- the work

temporary=
trap '[ -z "$temporary" ] || rm -f "$temporary"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() {
	if $dry_run; then printf 'would '; fi
	printf '%s %s\n' "$1" "$2"
}

problems=
problem() {
	has_line "$problems" "install.sh: $*" || problems="$problems${newline}install.sh: $*"
}

give_up_on_problems() {
	[ -z "$problems" ] && return
	printf '%s\n' "${problems#?}" >&2
	fail "nothing has been done"
}

lines=        # of the manifest for what is to be installed
changes=false # whether anything has to be done
missing=      # directories that are to be made, one a line, parents first

# Notes the directories that have to be made for a path to lie in, or the reason why they cannot.
look_at_directory() {
	if has_line "$missing" "$1"; then
		return
	elif [ -d "$destdir$1/" ]; then
		[ -w "$destdir$1/" ] || problem "$destdir$1: no permission to write in it"
	elif exists "$destdir$1"; then
		problem "$destdir$1: there already, and not a directory"
	elif [ -n "$1" ]; then
		look_at_directory "${1%/*}"
		missing=$missing$1$newline
	fi
}

look_at() {
	if [ "$1" = link ]; then
		path=$3
		line="link $2 $path"
	else
		path=$4
		if [ -e "$3" ]; then
			checksum "$1" "$3"
			line="file $checksum $path"
		else
			# A binary that a dry run does not build.
			line="file - $path"
			[ "$3" = "$here/dist/sysmgr" ] || problem "$3: not there"
		fi
	fi
	lines=$lines$line$newline
	look_at_directory "${path%/*}"
	exists "$destdir$path" || {
		changes=true
		return 0
	}
	look_there "$path"
	[ "$there" != "$line" ] || return 0
	changes=true
	if has_line "$old" "$there"; then
		return 0
	elif has_path "$old" "$path"; then
		problem "$destdir$path: changed since it was installed: move it away first"
	else
		problem "$destdir$path: there already, and not installed by this script: move it away first"
	fi
}

place() {
	if [ "$1" = link ]; then path=$3; else path=$4; fi
	target=$destdir$path
	verb=install
	if exists "$target"; then
		look_there "$path"
		if has_line "$lines" "$there"; then return; fi
		verb=replace
	fi
	say $verb "$target"
	! $dry_run || return 0
	temporary=${target%/*}/.sysmgr-install
	! exists "$temporary" || rm -f "$temporary"
	if [ "$1" = link ]; then
		ln -s "$2" "$temporary"
	else
		render "$1" "$3" >"$temporary"
		chmod "$2" "$temporary"
	fi
	# By rename, so that what runs goes on running and nobody ever sees half of it.
	mv -f "$temporary" "$target"
	temporary=
}

write_manifest() {
	! $dry_run || return 0
	temporary=$destdir$share/.sysmgr-install
	manifest_text "$1" >"$temporary"
	if [ -e "$destdir$manifest" ] && [ "$(cat "$temporary")" = "$(cat "$destdir$manifest")" ]; then
		rm -f "$temporary"
	else
		mv -f "$temporary" "$destdir$manifest"
	fi
	temporary=
}

make_missing() {
	printf '%s' "$missing" | while read -r directory; do
		say make "$destdir$directory/"
		$dry_run || mkdir "$destdir$directory"
	done
}

# Lines of the old manifest whose paths the new one does not have: of files for another init, or another
# --bindir. They are still there and still its own.
still_valid() {
	[ -z "$old" ] || printf '%s\n' "$old" | while read -r kind value path; do
		has_path "$lines" "$path" || echo "$kind $value $path"
	done
}

build() {
	if $dry_run; then
		say build "$binary"
		return
	fi
	say build "$binary"
	# shellcheck disable=SC2016 # the inner shell expands these
	sh -c '. "${0%/*}/setup.sh" && exec "$bun" run build "$@"' "$here/test/setup.sh" \
		${sysdir:+"--sysdir=$sysdir"} ${rundir:+"--rundir=$rundir"} || fail "it could not be built"
	[ -f "$binary" ] || fail "$binary: not there after the build"
}

install() {
	check_machine
	[ -e "$binary" ] || {
		[ "$parts" != "$here" ] || fail "$binary: not there, so there is nothing to install"
		build
	}
	settle_directories
	if [ -n "$destdir" ] && [ ! -d "$destdir" ] && ! $dry_run; then mkdir -p "$destdir"; fi
	each look_at
	look_at_directory "$share"
	# A plain user who installs into a home directory gives services another directory, sooner or later.
	if [ "$sysdir" = "$default_sysdir" ] && [ ! -d "$destdir$sysdir" ] && [ "$(id -u)" != 0 ]; then
		echo "note: $sysdir is not made; give sysmgr and svctl a directory of your own with -s or SYSDIR"
	elif [ ! -d "$destdir$sysdir" ]; then
		look_at_directory "$sysdir"
		changes=true
	fi
	give_up_on_problems
	directories=$(printf '%s' "$missing" | sed 's/^/dir - /')
	if $changes; then
		make_missing
		# What there was and what there will be: both are its own, wherever this may be interrupted.
		write_manifest "$old
$lines
$directories"
		each place
	else
		echo "everything is in place already"
	fi
	write_manifest "$(still_valid)
$lines
$directories"
	check_binary
	say_what_next
}

# Says so now rather than at the next boot if this is the binary of another machine.
check_binary() {
	if $dry_run || [ -n "$destdir" ]; then return; fi
	case $("$bindir/sysmgr" --version 2>&1) in
	"sysmgr "*) ;;
	*) fail "$bindir/sysmgr is installed but does not run: is it for another kind of machine?" ;;
	esac
}

say_what_next() {
	[ -n "$init" ] || echo "$share/init has files for init: see --init"
	for name in $init; do
		case $name in
		busybox) next="to start it, add to /etc/inittab what is in $share/init/busybox/inittab, where it says, then: kill -HUP 1" ;;
		sysvinit) next="to start it, add to /etc/inittab what is in $share/init/sysvinit/inittab, where it says, then: telinit q" ;;
		openrc) next="to start it: rc-update add sysmgr default && rc-service sysmgr start" ;;
		runit) next="to start it, link /etc/sv/sysmgr into the directory that runsvdir runs" ;;
		s6) next="to start it, link /etc/s6/sv/sysmgr into the scan directory, or make it part of an s6-rc database" ;;
		dinit) next="to start it: dinitctl enable sysmgr" ;;
		systemd) next="to start it: systemctl daemon-reload && systemctl enable --now sysmgr" ;;
		*) next="it is started at the next boot" ;;
		esac
		echo "$next"
	done
	if [ -n "$options" ]; then
		echo "unless it was built with them, svctl needs: export SYSDIR=$sysdir RUNDIR=$rundir"
	fi
	if [ -z "$destdir" ] && [ -e "$rundir/pid" ]; then
		echo "a running sysmgr goes on with what it was started from; to have init start this one," \
			"with all services going on: kill -USR2 \$(cat $rundir/pid)"
	fi
}

remove() {
	[ -n "$old" ] || fail "$destdir$manifest: not there, so there is nothing to remove"
	printf '%s\n' "$old" | while read -r kind value path; do
		if [ "$kind" = dir ] || ! exists "$destdir$path"; then continue; fi
		look_there "$path"
		if [ "$there" = "$kind $value $path" ]; then
			say remove "$destdir$path"
			$dry_run || rm -f "$destdir$path"
		elif ! has_line "$old" "$there"; then
			complain "$destdir$path: changed since it was installed: left alone"
		fi
	done
	say remove "$destdir$manifest"
	! $dry_run || return 0
	rm -f "$destdir$manifest"
	# The deepest first; one that somebody else has put something into stays.
	printf '%s\n' "$old" | sed -n 's/^dir - //p' | sort -r | while read -r path; do
		if [ ! -d "$destdir$path" ] || [ -n "$(ls -A "$destdir$path")" ]; then continue; fi
		say remove "$destdir$path/"
		rmdir "$destdir$path"
	done
}

if $uninstall; then remove; else install; fi
