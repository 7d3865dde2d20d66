#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Threads inside VASes survive savevm-like migration to a file, live migration to a second QEMU, and a system reset.
# Runs in the emulated host; prints TAP.
tests=/usr/lib/pvvas/tests
hmp=$tests/hmp
n=0
failed=0

result() { # STATUS NAME
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=1
	fi
}

# wait_for SECONDS FILE TEXT
wait_for() {
	i=0
	while ! grep -q "$3" "$2" 2>/dev/null; do
		i=$((i + 1))
		[ $i -lt $(($1 * 10)) ] || return 1
		usleep 100000
	done
}

wait_status() { # NAME STATE SECONDS
	i=0
	until $hmp "/tmp/$1.monitor" "info migrate" | grep -q "Migration status: $2"; do
		i=$((i + 1))
		[ $i -lt $(($3 * 5)) ] || return 1
		usleep 200000
	done
}

cat >/tmp/wander-job <<JOB
#!/bin/sh
$tests/wanderer \${ROUNDS:-3000}
JOB

echo 1..5

# 1: to a file, and on from there
run-guest --name file1 --mem 192 --job /tmp/wander-job --background >/tmp/file1.pid
wait_for 60 /out/file1/console wandering
result $? two_threads_are_inside_their_vases
$hmp /tmp/file1.monitor "migrate exec:cat>/tmp/state" >/dev/null
wait_status file1 completed 60
result $? a_vm_with_live_views_is_saved
$hmp /tmp/file1.monitor quit >/dev/null
run-guest --name file2 --mem 192 --job /tmp/wander-job --timeout 100 -- -incoming "exec:cat /tmp/state" >/dev/null
grep -q "wandered: 0 wrong" /out/file2/console
result $? the_restored_vm_goes_on_with_right_data
rm -f /tmp/state

# 2: live, source and target at the same time
run-guest --name live2 --mem 192 --job /tmp/wander-job --background -- -incoming unix:/tmp/live.sock >/tmp/live2.pid
run-guest --name live1 --mem 192 --job /tmp/wander-job --background >/tmp/live1.pid
wait_for 60 /out/live1/console wandering
$hmp /tmp/live1.monitor "migrate_set_parameter max-bandwidth 64m" >/dev/null
$hmp /tmp/live1.monitor "migrate -d unix:/tmp/live.sock" >/dev/null
wait_status live1 completed 90
result $? a_vm_that_writes_through_views_migrates_live
$hmp /tmp/live1.monitor quit >/dev/null
wait_for 90 /out/live2/console "wandered:"
grep -q "wandered: 0 wrong" /out/live2/console
result $? no_dirty_page_is_lost
$hmp /tmp/live2.monitor quit >/dev/null
exit $failed
