# Completion for sysmgr, svctl and sysmgr-depends in fish.

# Read under each of the three names: what it says is not to be there twice.
complete -e -c sysmgr
complete -e -c svctl
complete -e -c sysmgr-depends

# The operands before the cursor, one a line.
function __sysmgr_operands
    set -l pending
    for word in (commandline -opc)[2..-1]
        if set -q pending[1]
            set -e pending
            continue
        end
        switch $word
            case -s -r -t -w --sysdir --rundir --timeout --seconds --install
                set pending $word
            case '-*'
            case '*'
                echo -- $word
        end
    end
end

function __sysmgr_services
    set -l directory /var/sysmgr
    set -q SYSDIR; and test -n "$SYSDIR"; and set directory $SYSDIR
    set -l words (commandline -opc)
    for index in (seq 2 (count $words))
        set -l word $words[$index]
        switch $word
            case -s --sysdir
                set -q words[(math $index + 1)]; and set directory $words[(math $index + 1)]
            case '--sysdir=*'
                set directory (string replace -- --sysdir= '' $word)
            case '-s?*'
                set directory (string replace -- -s '' $word)
        end
    end
    set directory (string replace -r '^~/' "$HOME/" -- $directory)
    for path in $directory/*
        test -f $path; and string replace -r '.*/' '' -- $path
    end
end

# Whether an operation is still to be given.
function __svctl_begins
    test (count (__sysmgr_operands)) = 0
end

# Whether a signal is.
function __svctl_signals
    set -l operands (__sysmgr_operands)
    test "$operands" = signal
end

function __svctl_acts
    not __svctl_begins; and not __svctl_signals
end

for name in sysmgr svctl sysmgr-depends
    complete -c $name -f
    complete -c $name -s s -l sysdir -x -a '(__fish_complete_directories)' -d 'service directory'
    complete -c $name -s r -l rundir -x -a '(__fish_complete_directories)' -d 'run directory'
    complete -c $name -s h -l help -d 'show a summary and exit'
    complete -c $name -l version -d 'show the version and exit'
end

complete -c sysmgr -s t -l timeout -x -d 'from stop signal to KILL, in seconds'
complete -c sysmgr -l install -x -a '(__fish_complete_directories)' -d 'make links for the applets'
complete -c sysmgr -l list -d 'show the names of the applets'

complete -c sysmgr-depends -s t -l timeout -x -d 'give up after so many seconds'
complete -c sysmgr-depends -s q -l quiet -d 'do not tell that it has to wait'
complete -c sysmgr-depends -a '(__sysmgr_services)' -d service

complete -c svctl -s w -l seconds -x -d 'wait so long for the result'
complete -c svctl -l no-wait -d 'return at once, without the result'
complete -c svctl -s q -l quiet -d 'print nothing but errors'
complete -c svctl -l json -d 'print the status as JSON'
complete -c svctl -n __svctl_begins -a 'start up' -d 'remove the lock, so that it runs'
complete -c svctl -n __svctl_begins -a 'stop down' -d 'stop it (TERM) and keep it down'
complete -c svctl -n __svctl_begins -a restart -d 'stop it and start it again'
complete -c svctl -n __svctl_begins -a kill -d 'stop it with KILL and keep it down'
complete -c svctl -n __svctl_begins -a once -d 'run it, and do not restart it when it ends'
complete -c svctl -n __svctl_begins -a signal -d 'send a signal to its main process'
complete -c svctl -n __svctl_begins -a reload -d 'send HUP to its main process'
complete -c svctl -n __svctl_begins -a 'status stat' -d 'show it, or all'
complete -c svctl -n __svctl_signals -a 'HUP INT QUIT ABRT KILL USR1 USR2 ALRM TERM CONT STOP WINCH' -d signal
complete -c svctl -n __svctl_acts -a '(__sysmgr_services)' -d service
