#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Threads inside VASes survive savevm-like migration to a file, live migration to a second QEMU, and a system reset.
# Runs in the emulated host; prints TAP.
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap
hmp=$tests/hmp

wait_for() { # FILE TEXT
	i=0
	while ! grep -q "$2" "$1" 2>/dev/null; do
		i=$((i + 1))
		[ $i -lt 1000 ] || return 1
		usleep 50000
	done
}

wait_status() { # NAME STATE
	i=0
	until $hmp "/tmp/$1.monitor" "info migrate" 2>/dev/null | grep -q "Migration status: $2"; do
		i=$((i + 1))
		[ $i -lt 1000 ] || return 1
		usleep 50000
	done
}

for rounds in 100000 500000; do
	printf '#!/bin/sh\n%s/wanderer %s\n' $tests $rounds >/tmp/wander-$rounds
done

echo 1..8

# 1: to a file, and on from there
run-guest --name file1 --mem 160 --job /tmp/wander-100000 --background >/tmp/file1.pid
wait_for /out/file1/console wandering
result $? two_threads_are_inside_their_vases
$hmp /tmp/file1.monitor stop >/dev/null
$hmp /tmp/file1.monitor "migrate exec:cat>/tmp/state" >/dev/null
wait_status file1 completed
result $? a_vm_with_live_views_is_saved
$hmp /tmp/file1.monitor quit >/dev/null
run-guest --name file2 --mem 160 --job /tmp/wander-100000 --background -- -incoming "exec:cat /tmp/state" >/tmp/file2.pid
wait_status file2 completed
$hmp /tmp/file2.monitor cont >/dev/null
wait_for /out/file2/console "wandered: 0 wrong"
result $? the_restored_vm_goes_on_with_right_data
$hmp /tmp/file2.monitor quit >/dev/null 2>&1
# on a side with another limit it says which, and does not start
run-guest --name other --mem 160 --job /tmp/wander-100000 --cpu-opts ,kvm-pvvas-views=1000 --timeout 60 -- -incoming "exec:cat /tmp/state" >/dev/null
grep -q "kvm-pvvas-views is 0x10000 at the source and 0x3e8 here: set it on both sides" /out/other/console
result $? another_limit_is_named_and_refused
rm -f /tmp/state

# 2: live, source and target at the same time
rm -f /tmp/live.sock
run-guest --name live2 --mem 160 --job /tmp/wander-500000 --background -- -incoming unix:/tmp/live.sock >/tmp/live2.pid
run-guest --name live1 --mem 160 --job /tmp/wander-500000 --background >/tmp/live1.pid
wait_for /out/live1/console wandering
$hmp /tmp/live1.monitor "migrate_set_parameter max-bandwidth 64m" >/dev/null
$hmp /tmp/live1.monitor "migrate -d unix:/tmp/live.sock" >/dev/null
wait_status live1 completed
result $? a_vm_that_writes_through_views_migrates_live
$hmp /tmp/live1.monitor quit >/dev/null
wait_for /out/live2/console "wandered:"
grep -q "wandered: 0 wrong" /out/live2/console
result $? no_dirty_page_is_lost
$hmp /tmp/live2.monitor quit >/dev/null 2>&1

# 3: by postcopy: the target runs, and its views fault in pages that the source still has
rm -f /tmp/live.sock
run-guest --name post2 --mem 160 --job /tmp/wander-500000 --background -- -incoming unix:/tmp/live.sock >/tmp/post2.pid
run-guest --name post1 --mem 160 --job /tmp/wander-500000 --background >/tmp/post1.pid
wait_for /out/post1/console wandering
for side in post1 post2; do $hmp /tmp/$side.monitor "migrate_set_capability postcopy-ram on"; done >/dev/null
$hmp /tmp/post1.monitor "migrate_set_parameter max-bandwidth 4m" >/dev/null
$hmp /tmp/post1.monitor "migrate -d unix:/tmp/live.sock" >/dev/null
$hmp /tmp/post1.monitor "migrate_start_postcopy" >/dev/null
wait_status post1 postcopy-active && wait_for /out/post2/console "wandered:" && wait_status post1 completed
result $? a_vm_with_live_views_migrates_by_postcopy
$hmp /tmp/post1.monitor quit >/dev/null
grep -q "wandered: 0 wrong" /out/post2/console
result $? no_page_is_missed
$hmp /tmp/post2.monitor quit >/dev/null 2>&1
exit $failed
