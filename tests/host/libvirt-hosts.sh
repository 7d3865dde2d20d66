#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Domains with views that go from one libvirt daemon to another, and one that is stopped at its memory limit beside another that goes on.
# Runs in the emulated host; prints TAP.
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

# shellcheck disable=SC2317 # patiently calls it
at_most() { # NUMBER NAME
	[ "$(counter "$2")" -le "$1" ]
}

# A second daemon, as of another host: files, sockets and a name of its own. Its QEMUs see the same /tmp and /out.
other_daemon() {
	mkdir -p /b/run /b/var/run /b/var/lib/libvirt/qemu /b/var/log/libvirt/qemu /b/var/cache /b/libvirt
	cp /etc/libvirt/* /b/libvirt/
	cp -r /var/cache/libvirt /b/var/cache/
	echo 'host_uuid = "70767661-7300-4000-8000-000000000002"' >/b/libvirt/libvirtd.conf
	unshare -m -u sh -c "hostname other && mount --bind /b/run /run && mount --bind /b/var /var && mount --bind /b/libvirt /etc/libvirt &&
		exec libvirtd --daemon" >$out/libvirtd.other.out 2>&1
	patiently sh -c 'find /b -name libvirt-sock | grep .'
	other="qemu+unix:///system?socket=$(find /b -name libvirt-sock)"
	patiently virsh -c "$other" version
}

exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	echo 1..9 >&3
	define wander wanderer 400000

	# to another daemon, while its threads write through their views
	other_daemon
	result $? a_second_daemon >&3
	rm -f $out/wander.console
	virsh start wander && says wander wandering &&
		virsh migrate --live wander "$other" --migrateuri unix:///tmp/migrate.sock --timeout 60 --timeout-suspend && in_state wander "shut off"
	result $? live_migration_to_it >&3
	virsh -c "$other" list | grep "wander *running" && [ "$(pid_of wander)" != "" ] &&
		virsh -c "$other" domstats --vm wander | grep "pvvas_views.cur=$(counter pvvas_views)\$" && [ "$(counter pvvas_views)" -gt 0 ] &&
		! grep wandered $out/wander.console
	result $? its_views_are_at_the_other_daemon >&3
	says wander "wandered: 0 wrong"
	result $? its_threads_go_on_with_right_data >&3
	patiently sh -c "! virsh -c '$other' domstate wander" && nothing_left
	result $? and_leave_nothing_behind >&3

	# a guest that makes the host spend memory on tables until its cgroup's limit, beside one that goes on
	rm -f $out/wander.console
	virsh undefine wander && define wander wanderer 800000 && define filler filler 2000 && virsh memtune filler --hard-limit 262144 --config
	virsh start wander && says wander wandering && alone=$(counter pvvas_tables) && virsh start filler && says filler filling &&
		group=$(cgroup_of filler) && pid=$(pid_of filler) && [ "$(cat "$group/memory.max")" = 268435456 ]
	result $? a_domain_with_a_limit_fills_tables >&3
	most=0
	while [ -d "$group" ] && most_memory=$(cat "$group/memory.peak") && most_tables=$(stat_of "$group/memory.stat" sec_pagetables) &&
		in_state filler running; do
		[ "$most_tables" -le "$most" ] || most=$most_tables
		peak=$most_memory
		usleep 200000
	done >&2
	echo "tables: $((most / 4096)), memory: $peak"
	virsh domstate filler --reason | grep "shut off (crashed)" && dmesg | grep "Memory cgroup out of memory: Killed process $pid " &&
		[ "$(dmesg | grep -c "Killed process")" = 1 ] && ! grep filled: $out/filler.console && [ "$most" -gt $((64 << 20)) ] && [ "$peak" -le 268435456 ]
	result $? it_is_ended_at_its_limit >&3
	in_state wander running && ! grep wandered $out/wander.console && patiently at_most $((alone + 16)) pvvas_tables &&
		[ "$(views_of wander)" = "$(counter pvvas_views)" ]
	result $? its_tables_are_free_again >&3
	{ says wander wandered || says wander wandered; } && says wander "wandered: 0 wrong" && patiently in_state wander "shut off" && nothing_left
	result $? the_other_domain_went_on_undisturbed >&3
}
exit $failed
