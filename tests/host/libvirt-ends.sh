#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Domains that are reset, or destroyed in a storm of processes, under a real libvirt daemon: nothing of them stays in KVM.
# Runs in the emulated host; prints TAP.
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	echo 1..3 >&3
	define wander wanderer 150000
	virsh start wander && says wander wandering && [ "$(counter pvvas_views)" -gt 0 ] &&
		virsh reset wander && patiently no_objects && in_state wander running
	result $? reset_takes_all_views_away >&3
	says wander "wandered: 0 wrong" && patiently in_state wander "shut off"
	result $? the_guest_starts_again_after_a_reset >&3

	define storm process_storm "300 5 6" && virsh start storm && says storm "300 seconds" &&
		patiently grep -v '^[0-6]$' /sys/kernel/debug/kvm/pvvas_views && sleep 2 && [ "$(counter pvvas_views)" -gt 0 ] &&
		virsh destroy storm && nothing_left
	result $? destroy_in_a_storm_leaves_nothing_in_kvm >&3
}
exit $failed
