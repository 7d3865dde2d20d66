#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The test guest under Debian's own libvirt: it does not take <pvvas>, and passes the property of a QEMU that has it as an argument.
# Runs in the emulated host; prints TAP.
# as in Debian: virsh looks for sockets there
mkdir -p /run /var
ln -s ../run /var/run
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	echo 1..4 >&3
	! define wander wanderer 60000 && ! virsh define /tmp/wander.xml >/tmp/refused 2>&1 && grep "unsupported KVM feature: pvvas" /tmp/refused &&
		! virsh domstate wander
	result $? a_domain_with_pvvas_is_refused >&3

	# as docs/provider.md says
	sed -e "/<kvm>/,/<\/kvm>/d" -e "s|<domain |&xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' |" \
		-e "s|</devices>|&<qemu:commandline><qemu:arg value='-global'/><qemu:arg value='host-x86_64-cpu.kvm-pvvas=on'/></qemu:commandline>|" \
		/tmp/wander.xml >/tmp/argument.xml
	virsh define --validate /tmp/argument.xml && virsh start wander && says wander wandering && [ "$(counter pvvas_views)" -gt 0 ]
	result $? the_property_as_a_qemu_argument >&3
	virsh save wander /tmp/saved && nothing_left && virsh restore /tmp/saved && in_state wander running
	result $? save_and_restore >&3
	says wander "wandered: 0 wrong" && patiently in_state wander "shut off" && nothing_left
	result $? its_threads_go_on_with_right_data >&3
}
exit $failed
