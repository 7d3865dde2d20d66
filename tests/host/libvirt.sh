#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The test guest under a real libvirt daemon: defined from XML, driven by virsh, with threads inside VASes all the time.
# Runs in the emulated host; prints TAP.
tests=/usr/lib/pvvas/tests
out=/out/libvirt
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

patiently() { # COMMAND...: until it succeeds, for at most 100 seconds
	i=0
	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 1000 ] || return 1
		usleep 100000
	done
}

says() { # NAME TEXT: the guest has printed it
	patiently grep -q "$2" "$out/$1.console"
}

in_state() { # NAME STATE
	virsh domstate "$1" | grep -qx "$2"
}

counter() { # NAME: a counter of all VMs together
	cat "/sys/kernel/debug/kvm/$1"
}

no_objects() {
	for c in pvvas_ctxs pvvas_views pvvas_segs pvvas_attachments pvvas_extents; do
		[ "$(counter $c)" = 0 ] || return 1
	done
}

# while the VM lives it keeps the plain view's tables
nothing_left() {
	no_objects && [ "$(counter pvvas_tables)" = 0 ]
}

views_of() { # NAME: what libvirt tells
	virsh domstats --vm "$1" | sed -n 's/^ *vm\.pvvas_views\.cur=//p'
}

define() { # NAME ROUNDS
	printf '#!/bin/sh\n%s/wanderer %s\npoweroff -f\n' $tests "$2" >"/tmp/$1.job"
	run-guest --job "/tmp/$1.job" --initrd "/tmp/$1.initrd" || return 1
	sed -e "s|@NAME@|$1|g" -e "s|@INITRD@|/tmp/$1.initrd|" /etc/libvirt/guest.xml >"/tmp/$1.xml"
	virsh define --validate "/tmp/$1.xml"
}

# what Debian's package makes when it is installed
echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/sh' >>/etc/passwd
echo 'libvirt-qemu:x:64055:' >>/etc/group
export LIBVIRT_DEFAULT_URI=qemu:///system
mkdir -p $out /run /var/run /var/lib/libvirt/qemu /var/log/libvirt/qemu /var/cache
ln -s qemu /bin/qemu-system-x86_64
# Confined as by default: a user of its own, a mount namespace, a cgroup; but for the security driver, which is AppArmor, and
# seccomp, which this QEMU is built without.
chmod 666 /dev/kvm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cat >/etc/libvirt/qemu.conf <<END
user = "libvirt-qemu"
group = "libvirt-qemu"
security_driver = "none"
stdio_handler = "file"
remember_owner = 0
END
libvirtd --daemon >$out/libvirtd.out 2>&1
patiently virsh version || {
	cat $out/libvirtd.out
	exit 1
}

exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	echo 1..14 >&3
	define wander 150000 && virsh dumpxml wander | grep "<pvvas state='on' views='1024' tables='65536'/>"
	result $? the_domain_is_defined_from_xml >&3
	virsh start wander && says wander wandering
	result $? threads_go_into_their_vases >&3
	virsh domstats --vm wander && [ "$(views_of wander)" -gt 0 ] && [ "$(views_of wander)" = "$(counter pvvas_views)" ] &&
		virsh domstats --vcpu wander | grep pvvas_filled
	result $? domstats_show_the_counters >&3
	virsh qemu-monitor-command --hmp wander info pvvas >/tmp/info && cat /tmp/info &&
		grep -q "EPT views: on" /tmp/info && grep -q " 1024 views, .* 65536 tables" /tmp/info
	result $? the_monitor_shows_the_limits >&3
	virsh suspend wander && in_state wander paused && virsh resume wander && in_state wander running
	result $? suspend_and_resume >&3
	virsh save wander /tmp/saved && in_state wander "shut off" && nothing_left
	result $? a_saved_domain_leaves_nothing_in_kvm >&3
	virsh restore /tmp/saved && rm /tmp/saved && in_state wander running
	result $? restore >&3
	virsh managedsave wander && in_state wander "shut off" && virsh start wander && in_state wander running
	result $? managed_save_and_start >&3
	says wander "wandered: 0 wrong"
	result $? no_thread_saw_a_wrong_word >&3
	patiently in_state wander "shut off" && nothing_left
	result $? the_guest_powers_off >&3

	rm -f $out/wander.console
	virsh start wander && says wander wandering && [ "$(counter pvvas_views)" -gt 0 ] &&
		virsh reset wander && patiently no_objects && in_state wander running
	result $? reset_takes_all_views_away >&3
	says wander "wandered: 0 wrong" && patiently in_state wander "shut off"
	result $? the_guest_starts_again_after_a_reset >&3

	rm -f $out/wander.console
	virsh start wander && says wander wandering && [ "$(counter pvvas_views)" -gt 0 ] &&
		virsh destroy wander && nothing_left
	result $? destroy_leaves_nothing_in_kvm >&3

	# what a libvirt without the patches can do: QEMU's property through the passthrough of arguments
	sed -e "s|wander|argument|g" -e "/<pvvas/d" -e "s|<domain |&xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' |" \
		-e "s|</devices>|&<qemu:commandline><qemu:arg value='-global'/><qemu:arg value='host-x86_64-cpu.kvm-pvvas=on'/></qemu:commandline>|" \
		/tmp/wander.xml >/tmp/argument.xml
	cp /tmp/wander.initrd /tmp/argument.initrd
	virsh define /tmp/argument.xml && virsh start argument && says argument wandering && virsh destroy argument && nothing_left
	result $? the_property_as_a_qemu_argument >&3
}
exit $failed
