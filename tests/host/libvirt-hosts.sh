#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Domains with views that go from one libvirt daemon to another, and one that fills tables beside another that goes on.
# Runs in the emulated host; prints TAP.
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

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

	# a guest that makes as many tables as it can: KVM shadows no more than its share for the VM, and both go on
	rm -f $out/wander.console
	virsh undefine wander && define wander wanderer 800000 && define filler filler 200
	virsh start wander && says wander wandering && virsh start filler && says filler filling && group=$(cgroup_of filler)
	result $? a_domain_fills_tables >&3
	most=0
	while [ -d "$group" ] && most_tables=$(stat_of "$group/memory.stat" sec_pagetables) && in_state filler running; do
		[ "$most_tables" -le "$most" ] || most=$most_tables
		usleep 200000
	done >&2
	echo "tables: $((most / 4096)); $(tail -n 2 $out/filler.console | tr -d "\r" | tr "\n" " ")"
	# as many as the driver's quota allows; a fiftieth of 512 MiB in pages, and what its RAM takes
	grep "filled: [1-9][0-9]" $out/filler.console && [ "$most" -gt 0 ] && [ "$most" -le $((16 << 20)) ]
	result $? its_shadow_tables_stay_below_the_limit >&3
	in_state wander running && ! grep wandered $out/wander.console && [ "$(views_of wander)" = "$(counter pvvas_views)" ]
	result $? its_views_are_gone >&3
	{ says wander wandered || says wander wandered; } && says wander "wandered: 0 wrong" && patiently in_state wander "shut off" && nothing_left
	result $? the_other_domain_went_on_undisturbed >&3
}
exit $failed
