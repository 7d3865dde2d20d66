#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# QEMU is killed while its guest's threads are inside VASes: nothing of the VM stays behind. Runs in the emulated host;
# prints TAP.
tests=/usr/lib/pvvas/tests
stats=/sys/kernel/debug/kvm
failed=0

pages() {
	echo 1 >/proc/sys/vm/stat_refresh
	awk '/^SecPageTables:/ {print $2 / 4}' /proc/meminfo
}

echo 1..2
before=$(pages)
printf '#!/bin/sh\n%s/wanderer 10000000\n' $tests >/tmp/wander
pid=$(run-guest --name killed --mem 160 --job /tmp/wander --background)
i=0
until grep -q wandering /out/killed/console 2>/dev/null || [ $i = 1000 ]; do
	i=$((i + 1))
	usleep 50000
done
views=$(cat $stats/pvvas_views)
kill -9 "$pid"
i=0
while [ -e "/proc/$pid/exe" ] && [ $i -lt 200 ]; do
	i=$((i + 1))
	usleep 50000
done
echo "# $views views, $before pages of tables before"
if [ "${views:-0}" -gt 1 ]; then
	echo "ok 1 - threads_are_inside_their_vases"
else
	echo "not ok 1 - threads_are_inside_their_vases"
	failed=1
fi
i=0
while [ $i -lt 100 ]; do
	i=$((i + 1))
	left=$(cat $stats/pvvas_ctxs $stats/pvvas_views | tr '\n' ' ')
	after=$(pages)
	[ "$left" = "0 0 " ] && [ "$after" -le "$before" ] && break
	usleep 50000
done
if [ "$left" = "0 0 " ] && [ "$after" -le "$before" ]; then
	echo "ok 2 - a_killed_qemu_leaves_nothing"
else
	echo "# left: $left; $after pages of tables"
	echo "not ok 2 - a_killed_qemu_leaves_nothing"
	failed=1
fi
exit $failed
