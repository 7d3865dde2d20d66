#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# KVM's modules go after VMs that had views, and come back, with the event of faults in views on. Runs in the emulated
# host, after all others; prints TAP.
# shellcheck disable=SC1091 # the host's
. /etc/boot.conf
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap
modules=/modules/patched
tracing=/sys/kernel/tracing
event=events/kvm/kvm_pvvas_fault/enable

# As the host loads it.
kvm_intel() {
	# shellcheck disable=SC2086 # words
	insmod $modules/kvm-intel.ko $KVM_INTEL_ARGS
}

faults() {
	echo >$tracing/trace
	$tests/lasting the_view_outlives_exits_and_the_vmms_calls >/dev/null || echo "# no VM with views"
	grep -c 'kvm_pvvas_fault: vcpu' $tracing/trace
}

echo 1..5
echo 1 >$tracing/$event
[ "$(faults)" -gt 0 ]
result $? a_vm_with_views_runs_and_its_faults_are_seen
rmmod kvm_intel && rmmod kvm && [ ! -e $tracing/$event ]
result $? modules_go_while_the_event_is_on
insmod $modules/kvm.ko && echo 1 >$tracing/$event && kvm_intel && [ "$(faults)" -gt 0 ]
result $? an_event_that_was_on_before_kvm_intel_is_seen
rmmod kvm_intel && kvm_intel && [ "$(faults)" -gt 0 ]
result $? kvm_intel_alone_goes_and_comes_back
echo 0 >$tracing/$event
[ "$(faults)" = 0 ]
result $? nothing_is_seen_when_it_is_off
exit $failed
