# shellcheck shell=bash
# Completion for sysmgr, svctl and sysmgr-depends in bash. It needs nothing but bash itself.

_sysmgr_signals="HUP INT QUIT ABRT KILL USR1 USR2 ALRM TERM CONT STOP WINCH"

# Takes apart the words before the cursor: sets sysdir, the operands, and the option whose value is next.
_sysmgr_parse() {
	local index word
	sysdir=${SYSDIR:-/var/sysmgr} operands=() pending=
	for ((index = 1; index < COMP_CWORD; index++)); do
		word=${COMP_WORDS[index]}
		if [[ $pending ]]; then
			# Readline makes words of --sysdir=DIR at the equals sign.
			[[ $word == "=" ]] && continue
			[[ $pending == @(-s|--sysdir) ]] && sysdir=$word
			pending=
			continue
		fi
		case $word in
		-s | -r | -t | -w | --sysdir | --rundir | --timeout | --seconds | --install) pending=$word ;;
		-s?*) sysdir=${word#-s} ;;
		-*) ;;
		*) operands+=("$word") ;;
		esac
	done
	# A tilde is for the shell to expand, and it has not done so yet.
	[[ $sysdir == \~/* ]] && sysdir=$HOME/${sysdir#*/}
}

_sysmgr_words() {
	local word
	for word in $1; do
		[[ $word == "$current"* ]] && COMPREPLY+=("$word")
	done
}

_sysmgr_services() {
	local path name
	for path in "$sysdir"/*; do
		name=${path##*/}
		[[ -d $path || ! -e $path || $name != "$current"* ]] && continue
		COMPREPLY+=("$(printf %q "$name")")
	done
}

_sysmgr_directories() {
	compopt -o filenames 2>/dev/null
	local path
	while IFS= read -r path; do
		COMPREPLY+=("$path")
	done < <(compgen -d -- "$current")
}

_sysmgr() {
	local current=${COMP_WORDS[COMP_CWORD]} sysdir pending
	local -a operands
	COMPREPLY=()
	_sysmgr_parse
	[[ $current == "=" && $pending ]] && current=
	case $pending in
	-s | -r | --sysdir | --rundir | --install)
		_sysmgr_directories
		return
		;;
	?*) return ;;
	esac
	case ${1##*/} in
	sysmgr) _sysmgr_words "-s --sysdir -r --rundir -t --timeout -h --help --version --install --list" ;;
	sysmgr-depends)
		if [[ $current == -* ]]; then
			_sysmgr_words "-s --sysdir -r --rundir -t --timeout -q --quiet -h --help --version"
		else
			_sysmgr_services
		fi
		;;
	svctl)
		if [[ $current == -* ]]; then
			_sysmgr_words "-s --sysdir -r --rundir -w --seconds --no-wait -q --quiet --json -h --help --version"
		elif ((${#operands[@]} == 0)); then
			_sysmgr_words "start up stop down restart kill once signal reload status stat"
		elif [[ ${operands[0]} == signal ]] && ((${#operands[@]} == 1)); then
			_sysmgr_words "$_sysmgr_signals"
		else
			_sysmgr_services
		fi
		;;
	esac
}

complete -F _sysmgr sysmgr svctl sysmgr-depends
