# shellcheck shell=sh
# For the init scripts of Carbs Linux (/etc/init/sysmgr.boot) and KISS Linux (/etc/rc.d/sysmgr.boot), which
# read this file at the end of booting. Where init itself is that of busybox, a line in /etc/inittab does it
# better. It is started again whenever it ends; services go on running meanwhile and are taken over.
while :; do
	/usr/bin/sysmgr
	sleep 1
done &
echo "$!" >/run/respawn-sysmgr.pid
