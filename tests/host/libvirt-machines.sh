#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Domains with views of all sorts: CPU modes and models, other numbers of address bits, memory and vCPUs that are plugged in and out.
# What cannot be had is refused, with a sentence that says what to change. Runs in the emulated host; prints TAP.
settings="pvvas_max_views = 50000"
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

name=wander

# with LIMIT CPU [EDIT]: a domain whose threads make LIMIT rounds, with this <cpu>, and the XML edited by sed
with() {
	rm -f $out/$name.console $out/$name.result
	virsh undefine $name
	define $name wanderer "$1" && sed -e "/<cpu /,/<\/cpu>/d" -e "s|<on_crash>|$2&|" -e "${3:-;}" /tmp/$name.xml >/tmp/with.xml &&
		virsh undefine $name && virsh define --validate /tmp/with.xml
}
runs() { # CPU [EDIT]
	with 2000 "$@" && virsh start $name && says $name "wandered: 0 wrong" && patiently in_state $name "shut off" && nothing_left
}
refused() { # TEXT COMMAND...
	text=$1
	shift
	! virsh "$@" >/tmp/refused 2>&1 && cat /tmp/refused && grep -qF "$text" /tmp/refused
}

nehalem="<model fallback='forbid'>Nehalem</model>"
exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	echo 1..16 >&3
	virsh domcapabilities --virttype kvm | grep "<pvvas supported='yes'/>"
	result $? the_host_says_that_it_can >&3
	runs "<cpu mode='host-passthrough' check='none'/>"
	result $? host_passthrough >&3
	runs "<cpu mode='host-passthrough' check='none' migratable='off'/>"
	result $? host_passthrough_that_cannot_migrate >&3
	runs "<cpu mode='maximum'/>"
	result $? maximum >&3
	runs "<cpu mode='host-model'/>"
	result $? host_model_on_a_host_that_can_nest >&3
	runs "<cpu mode='custom' match='exact' check='none'>$nehalem</cpu>"
	result $? a_named_model >&3
	runs "<cpu mode='custom' match='exact' check='none'>$nehalem<maxphysaddr mode='emulate' bits='44'/></cpu>"
	result $? a_named_model_with_44_address_bits >&3
	runs "<cpu mode='custom' match='exact' check='none'>$nehalem<maxphysaddr mode='passthrough'/></cpu>"
	result $? a_named_model_with_the_hosts_address_bits >&3

	with 2000 "<cpu mode='host-passthrough' check='none'/>" &&
		sed "s|<cpu mode='host-passthrough' check='none'.*/>|<cpu mode='host-passthrough' check='none'><feature policy='require' name='vmx'/></cpu>|" \
			/tmp/with.xml >/tmp/vmx.xml && grep vmx /tmp/vmx.xml &&
		refused "KVM feature 'pvvas' and CPU feature 'vmx' exclude each other" define /tmp/vmx.xml
	result $? vmx_is_refused_when_the_domain_is_defined >&3
	with 2000 "<cpu mode='host-passthrough' check='none' migratable='off'/>" "/<pvvas/d" && virsh start $name && says $name "job-exit 125" &&
		patiently in_state $name "shut off" && tar -xOzf $out/$name.result out/guest-dmesg | grep "not loaded: this hypervisor offers no views"
	result $? without_the_feature_no_cpu_shows_it >&3

	host="<cpu mode='host-passthrough' check='none'/>"
	limited() { # VIEWS
		with 200000 "$host" "s|<pvvas .*/>|<pvvas state='on'$1/>|"
	}
	limited "" && virsh start $name && says $name wandering && virsh dumpxml $name | grep "<pvvas state='on' views='50000'/>" &&
		virsh qemu-monitor-command --hmp $name info pvvas | grep "50000 views" && ! virsh dumpxml --inactive $name | grep 50000
	result $? a_domain_that_asks_for_nothing_gets_the_hosts_limit >&3
	virsh destroy $name
	limited " views='50001'" && refused "attribute 'views' of KVM feature 'pvvas' is 50001 and this host allows 50000" start $name && nothing_left
	result $? more_than_the_hosts_limit_is_refused >&3

	numa="<numa><cell id='0' cpus='0-1' memory='160' unit='MiB'/></numa>"
	memory() { # GIB
		echo "s|<memory .*|<maxMemory slots='2' unit='GiB'>$1</maxMemory><memory unit='MiB'>160</memory>|; s|<vcpu>1|<vcpu current='1'>2|"
	}
	with 2000 "<cpu mode='custom' match='exact' check='none'>$nehalem$numa</cpu>" "$(memory 600)" &&
		refused "into the window of kvm-pvvas at 0x8000000000: lower maxmem" start $name && nothing_left
	result $? memory_that_may_reach_into_the_window_is_refused >&3
	echo "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>" >/tmp/dimm.xml
	with 200000 "<cpu mode='host-passthrough' check='none' migratable='on'><feature policy='disable' name='vmx'/>$numa</cpu>" "$(memory 16)" && virsh start $name &&
		says $name wandering && virsh attach-device $name /tmp/dimm.xml --live && virsh dumpxml $name | grep "<memory model='dimm'"
	result $? memory_is_plugged_in >&3
	virsh setvcpus $name 2 --live && patiently sh -c "virsh vcpucount $name --live --active | grep -x 2" && sleep 2 &&
		virsh setvcpus $name 1 --live && patiently sh -c "virsh vcpucount $name --live --active | grep -x 1"
	result $? a_vcpu_is_plugged_in_and_out >&3
	virsh save $name /tmp/saved && nothing_left && virsh restore /tmp/saved && says $name "wandered: 0 wrong" && patiently in_state $name "shut off" && nothing_left
	result $? after_that_the_domain_is_saved_and_restored_with_right_data >&3
}
exit $failed
