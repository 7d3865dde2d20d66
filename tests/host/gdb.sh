#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# gdb itself, in a guest, on a program with two threads in two views. `gdb 2`: with two vCPUs. Runs in the emulated
# host; prints TAP.
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap
name=gdb$1

cat >/tmp/gdb-job <<EOF
#!/bin/sh
export LD_LIBRARY_PATH=/tools/lib HOME=/tmp
cat >/tmp/commands <<END
set pagination off
set confirm off
set startup-with-shell off
set auto-load safe-path /
break in_second_view
run
echo before:\\\\n
x/s 0x200040000000
set {char}0x200040000000 = 'S'
set {int}0x200040200000 = 4711
echo after:\\\\n
x/s 0x200040000000
x/s 0x200080000000
info threads
delete
continue
END
/tools/bin/gdb -nx -batch -x /tmp/commands $tests/debuggee
echo "gdb: exit \$?"
EOF
run-guest --name "$name" --smp "${1:-1}" --mem 512 --job /tmp/gdb-job --add /tools:/tools >/tmp/gdb.log 2>&1
status=$?

echo 1..5
sed 's/^/# /' "/out/$name/console"
shown gdb_stops_a_thread_in_its_view 'hit Breakpoint 1, .*in_second_view'
shown gdb_reads_a_segment_in_the_view_of_the_stopped_thread '0x200040000000:.*"second"'
shown gdb_reads_what_it_wrote '0x200040000000:.*"Second"'
shown gdb_is_refused_where_no_segment_is 'Cannot access memory at address 0x200080000000'
shown the_program_finds_what_gdb_wrote_in_that_view_alone 'exited normally'
[ $status = 0 ] || failed=1
exit $failed
