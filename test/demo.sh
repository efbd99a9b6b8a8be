#!/bin/sh
# Builds sysmgr, runs it on the examples, shows their status, and says how to go on. In a terminal it
# stays until it is interrupted, elsewhere it ends by itself.
. "$(dirname "$0")/setup.sh"

need gcc gcc /usr/include/stdio.h libc6-dev
[ -x dist/sysmgr ] || "$bun" run build || exit 1

SYSDIR=$(mktemp -d) || exit 1
RUNDIR=$SYSDIR.run
export SYSDIR RUNDIR PATH="$PWD/dist:$PATH"
cp src/examples/* "$SYSDIR" || exit 1

sysmgr &
sysmgr=$!
trap 'kill $sysmgr; wait $sysmgr; rm -rf "$SYSDIR" "$RUNDIR"' EXIT
trap 'exit 130' INT TERM HUP

until [ -e "$RUNDIR/pid" ]; do
	kill -0 $sysmgr || exit 1
	sleep 0.1
done
svctl --quiet start web visitor unlucky || exit 1
sleep 3
echo
echo "\$ svctl status"
svctl status
echo
echo "\$ kill -9 \$(cat $RUNDIR/web/pid); svctl status web"
kill -9 "$(cat "$RUNDIR/web/pid")"
svctl --quiet start web
svctl status web
cat <<END

To go on, in another terminal:

    export SYSDIR=$SYSDIR RUNDIR=$RUNDIR PATH=$PWD/dist:\$PATH
    svctl status                  show all services
    svctl stop web                stop one; "svctl start web" starts it again
    kill \$(cat \$RUNDIR/web/pid)   it comes back
    ls \$RUNDIR/*                  all state is plain files
    cp SCRIPT \$SYSDIR             an executable put there is started

END
if [ -t 1 ]; then
	echo "Ctrl-C ends it."
	wait $sysmgr
else
	echo "Started from a terminal it would stay; here it ends now."
fi
