#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The test guest under a real libvirt daemon: defined from XML, driven by virsh, with threads inside VASes all the time.
# Runs in the emulated host; prints TAP.
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

# shellcheck disable=SC2317 # in a chain
refused() { # COMMAND...: virsh says why
	! virsh "$@" >/tmp/refused 2>&1 && cat /tmp/refused
}

exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	echo 1..15 >&3
	define wander wanderer 150000 && virsh dumpxml wander | grep "<pvvas state='on' views='1024'/>"
	result $? the_domain_is_defined_from_xml >&3
	virsh start wander && says wander wandering
	result $? threads_go_into_their_vases >&3
	virsh domstats --vm wander && [ "$(views_of wander)" -gt 0 ] && [ "$(views_of wander)" = "$(counter pvvas_views)" ] &&
		virsh domstats --vcpu wander | grep pvvas_view_faults
	result $? domstats_show_the_counters >&3
	virsh qemu-monitor-command --hmp wander info pvvas >/tmp/info && cat /tmp/info &&
		grep -q "EPT views: on" /tmp/info && grep -q " 1024 views" /tmp/info
	result $? the_monitor_shows_the_limits >&3
	pid=$(pid_of wander) && grep -q "^Uid:	64055" "/proc/$pid/status"
	result $? qemu_has_a_user_of_its_own >&3
	group=$(cgroup_of wander) && cat "$group/memory.stat" && charged=$(($(stat_of "$group/memory.stat" sec_pagetables) / 4096)) &&
		[ "$group" != /sys/fs/cgroup/ ] && echo 1 >/proc/sys/vm/stat_refresh && all=$(($(stat_of /proc/meminfo SecPageTables:) / 4)) &&
		[ "$charged" -gt 0 ] && [ "$charged" -ge $((all * 9 / 10)) ]
	result $? the_tables_of_views_are_charged_to_the_domains_cgroup >&3
	virsh suspend wander && in_state wander paused && virsh resume wander && in_state wander running
	result $? suspend_and_resume >&3
	virsh save wander /tmp/saved && in_state wander "shut off" && nothing_left
	result $? a_saved_domain_leaves_nothing_in_kvm >&3
	virsh save-image-dumpxml /tmp/saved --security-info >/tmp/saved.xml && virsh save-image-define /tmp/saved /tmp/saved.xml &&
		sed "s/views='1024'/views='2048'/" /tmp/saved.xml >/tmp/more.xml && refused save-image-define /tmp/saved /tmp/more.xml &&
		grep "Attribute 'views' of KVM feature 'pvvas' differs: source: '1024', destination: '2048'" /tmp/refused &&
		sed "/<pvvas/s/'on'/'off'/" /tmp/saved.xml >/tmp/off.xml && refused restore /tmp/saved --xml /tmp/off.xml &&
		grep "State of KVM feature 'pvvas' differs: source: 'on', destination: 'off'" /tmp/refused && nothing_left
	result $? other_limits_and_no_views_are_another_abi >&3
	virsh restore /tmp/saved && rm /tmp/saved && in_state wander running
	result $? restore >&3
	virsh managedsave wander && in_state wander "shut off" && virsh start wander && in_state wander running
	result $? managed_save_and_start >&3
	says wander "wandered: 0 wrong"
	result $? no_thread_saw_a_wrong_word >&3
	patiently in_state wander "shut off" && nothing_left
	result $? the_guest_powers_off >&3

	# what a libvirt without the patches can do: QEMU's property through the passthrough of arguments
	sed -e "s|wander|argument|g" -e "/<pvvas/d" -e "s|<domain |&xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' |" \
		-e "s|</devices>|&<qemu:commandline><qemu:arg value='-global'/><qemu:arg value='host-x86_64-cpu.kvm-pvvas=on'/></qemu:commandline>|" \
		/tmp/wander.xml >/tmp/argument.xml
	cp /tmp/wander.initrd /tmp/argument.initrd
	virsh define /tmp/argument.xml && virsh start argument && says argument wandering && [ "$(counter pvvas_views)" -gt 0 ]
	result $? the_property_as_a_qemu_argument >&3
	virsh destroy argument && nothing_left
	result $? destroy_leaves_nothing_in_kvm >&3
}
exit $failed
