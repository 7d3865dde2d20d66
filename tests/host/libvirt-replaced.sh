#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A security update puts Debian's libvirt over the patched one while domains run, and later the patched one comes back: both manage all
# domains, with views and without. Runs in the emulated host, where Debian's daemon is below /stock; prints TAP.
# as in Debian: virsh looks for sockets there
mkdir -p /run /var
ln -s ../run /var/run
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

# replace_by COMMAND...: the daemon ends, its domains go on, and another one starts
replace_by() {
	pid=$(pidof libvirtd) && kill "$pid" && patiently sh -c "! pidof libvirtd" && "$@" >>$out/libvirtd.out 2>&1 && patiently virsh version
}
# shellcheck disable=SC2317 # replace_by calls it
stock() {
	LD_LIBRARY_PATH=/stock/lib /stock/bin/libvirtd --daemon
}
both_run() {
	for d in wander plain; do
		virsh list --name | grep -qx $d && virsh list --name --all | grep -qx off && in_state $d running || return 1
	done
}
kept() { # DOMAIN [--inactive]: what was changed meanwhile, and the feature
	virsh dumpxml "$@" >/tmp/kept.xml && grep on-the-way /tmp/kept.xml && ! grep urn:pvvas /tmp/kept.xml &&
		grep "<pvvas state='on' views='1024'/>" /tmp/kept.xml
}
pids() {
	pid_of wander && pid_of plain
}

exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	echo 1..10 >&3
	define wander wanderer 500000 && define off wanderer 1000 && define plain ../../../../bin/sleep 100000 &&
		virsh dumpxml plain | sed '/<pvvas/d' >/tmp/plain.xml && virsh define --validate /tmp/plain.xml && ! virsh dumpxml plain | grep pvvas &&
		virsh dumpxml wander | grep "<pvvas state='on' views='1024'/>" &&
		virsh start wander && virsh start plain && says wander wandering && before=$(pids)
	result $? domains_with_views_and_without_run >&3
	# files of the daemon, which Debian's reads
	! grep -r "cpu.kvm-pvvas" /run/libvirt/qemu/*.xml && ! grep pvvas /run/libvirt/qemu/plain.xml &&
		! grep "<pvvas " /run/libvirt/qemu/wander.xml && ! grep "<pvvas " /etc/libvirt/qemu/off.xml
	result $? their_files_have_nothing_that_another_libvirt_refuses >&3

	replace_by stock && tr '\0' ' ' <"/proc/$(pidof libvirtd)/cmdline" | grep ^/stock && both_run && [ "$(pids)" = "$before" ]
	result $? debians_libvirt_still_manages_them_all >&3
	# all of it makes the daemon write its files anew
	virsh suspend wander && in_state wander paused && virsh resume wander && in_state wander running &&
		virsh desc wander --live on-the-way && virsh desc wander --config on-the-way && virsh desc off --config on-the-way &&
		virsh destroy plain && virsh start plain && in_state plain running && ! virsh start wander && before=$(pids)
	result $? it_suspends_resumes_changes_and_starts_them >&3

	replace_by libvirtd --daemon && tr '\0' ' ' <"/proc/$(pidof libvirtd)/cmdline" | grep ^libvirtd && both_run && [ "$(pids)" = "$before" ]
	result $? back_with_the_patched_one_all_are_still_managed >&3
	kept wander && kept wander --inactive && kept off && virsh domstats --vm wander | grep pvvas_views
	result $? they_have_kept_their_views_and_limits >&3
	virsh save wander /tmp/saved && in_state wander "shut off" && virsh restore /tmp/saved && in_state wander running
	result $? save_and_restore >&3
	replace_by stock && in_state wander running && virsh save wander /tmp/saved && in_state wander "shut off" &&
		replace_by libvirtd --daemon && virsh restore /tmp/saved && in_state wander running && kept wander
	result $? what_debians_libvirt_has_saved_the_patched_one_restores_with_its_views >&3
	says wander "wandered: 0 wrong" && patiently in_state wander "shut off"
	result $? threads_inside_vases_went_on_with_right_data >&3
	virsh destroy plain && nothing_left
	result $? nothing_is_left >&3
}
exit $failed
