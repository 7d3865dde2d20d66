#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# QEMU's CPU property kvm-pvvas on machines of all sorts, none of which runs: where the window is, what is refused and with
# which words, what a BAR in the window does. Runs in the emulated host; prints TAP.
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap
hmp=$tests/hmp
details=/tmp/said

# machine MACHINE CPU [OPTION...]: its QEMU, stopped before the first instruction
machine() {
	machine=$1
	cpu=$2
	shift 2
	timeout 40 qemu -L /share -M "$machine,accel=kvm" -bios /share/qboot.rom -cpu "$cpu" -m 128 -nodefaults -no-user-config -display none -S "$@" \
		</dev/null
}
# says TEXT ARGUMENT...: such a QEMU does not start, and says why
says() {
	text=$1
	shift
	! machine "$@" -monitor none >/tmp/said 2>&1 && grep -qF -- "$text" /tmp/said
}
# monitor COMMAND...: such a QEMU's answers, by the arguments in $what
monitor() {
	rm -f /tmp/qemu.monitor
	eval "machine $what -monitor unix:/tmp/qemu.monitor,server=on,wait=off" >/tmp/qemu.log 2>&1 &
	pid=$!
	i=0
	until [ -S /tmp/qemu.monitor ] || [ $i = 150 ] || ! kill -0 $pid 2>/dev/null; do
		i=$((i + 1))
		usleep 100000
	done
	for command; do $hmp /tmp/qemu.monitor "$command"; done >/tmp/answers 2>&1
	$hmp /tmp/qemu.monitor quit >/dev/null 2>&1
	wait $pid
	ended=$?
	tr -d '\r' </tmp/answers | cat - /tmp/qemu.log >/tmp/said
	return $ended
}
# window BITS ADDRESS GIB [OPTION...]: of a CPU with so many address bits; microvm takes the host's
window() {
	what="q35 host,-vmx,kvm-pvvas=on,host-phys-bits=off,phys-bits=$1 ${4:-}"
	monitor "info pvvas" && grep -qx "window: $2, $3 GiB" /tmp/said
}
# upper BITS: where it is then, and its GiB: not beyond what the host's CPU and four levels of tables reach
upper() {
	reach=$(($1 < host_bits ? $1 : host_bits))
	reach=$((reach < 48 ? reach : 48))
	printf '0x%x %d' $((1 << (reach - 1))) $((reach > 44 ? 8192 : 1 << (reach - 31)))
}

on=host,-vmx,kvm-pvvas=on
host_bits=$(sed -n 's/^address sizes.*: \([0-9]*\) bits physical.*/\1/p' /proc/cpuinfo | head -n 1)
echo 1..19

window 39 0x4000000000 256
result $? the_window_is_the_upper_half_of_a_small_cpu
# shellcheck disable=SC2046 # two words
window 40 $(upper 40)
result $? the_window_is_the_upper_half_of_a_named_model
# 4 and 300 GiB, one for the module, one to align it, and q35's hole of 32
window 39 0x5480000000 174 "-m 128M,slots=1,maxmem=300G"
result $? the_window_of_a_small_cpu_is_above_much_memory
# shellcheck disable=SC2046 # two words
window 52 $(upper 52)
result $? the_window_is_where_the_hosts_cpu_reaches

what="microvm $on"
printf '{"execute":"qmp_capabilities"}{"execute":"query-pvvas"}{"execute":"quit"}' >/tmp/commands
query() {
	timeout 40 qemu -M microvm,accel=kvm -bios /share/qboot.rom -cpu "$1" -m 128 -nodefaults -no-user-config -display none -S -qmp stdio \
		</tmp/commands >/tmp/said 2>&1
}
query "$on,kvm-pvvas-views=7" && grep -q '"available": true' /tmp/said && grep -q '"enabled": true' /tmp/said && grep -q '"views": 7' /tmp/said
result $? qmp_tells_what_host_and_vm_have
query host,-vmx && grep -q '"available": true' /tmp/said && grep -q '"enabled": false' /tmp/said && ! grep -q '"views"' /tmp/said
result $? qmp_tells_so_of_a_vm_without_views

most=$(cat /sys/module/kvm/parameters/pvvas_max_views)
says "kvm-pvvas-views=$((most + 1)) is more than this host allows: the parameter pvvas_max_views of its module kvm is $most" microvm \
	"$on,kvm-pvvas-views=$((most + 1))"
result $? more_views_than_the_host_allows_are_refused
says "must be multiples of 1 GiB" microvm "$on,kvm-pvvas-window-size=1000M"
result $? parts_of_a_gib_are_refused
says "is beyond the 39 address bits" q35 "$on,host-phys-bits=off,phys-bits=39,kvm-pvvas-window=0x8000000000"
result $? a_window_that_the_cpu_cannot_address_is_refused
says "into the window of kvm-pvvas at 0x40000000" microvm "$on,kvm-pvvas-window=0x40000000,kvm-pvvas-window-size=1G" &&
	says "into the window of kvm-pvvas at 0x40000000" q35 "$on,kvm-pvvas-window=0x40000000,kvm-pvvas-window-size=1G"
result $? memory_in_the_window_is_refused
says "into the window of kvm-pvvas at 0x4000000000: lower maxmem" q35 "$on,host-phys-bits=off,phys-bits=39,kvm-pvvas-window=0x4000000000" \
	-m 128M,slots=1,maxmem=300G &&
	says "into the window of kvm-pvvas at 0x6d80000000: lower maxmem or the 64-bit PCI hole" q35 "$on,host-phys-bits=off,phys-bits=39" \
		-m 128M,slots=1,maxmem=400G -global q35-pcihost.pci-hole64-size=100G
result $? memory_that_may_be_plugged_into_the_window_is_refused

says "kvm-pvvas=on excludes vmx=on" microvm host,vmx=on,kvm-pvvas=on
result $? vmx_that_was_asked_for_is_refused
what="microvm host,kvm-pvvas=on"
monitor "info pvvas" && grep -q "kvm-pvvas=on takes VMX away from the guest" /tmp/said && grep -q "EPT views: on" /tmp/said
result $? vmx_that_comes_with_the_model_goes_with_a_word
says "kvm-pvvas=on excludes kvm=off" microvm "$on,kvm=off"
result $? a_hidden_hypervisor_is_refused
says "kvm-pvvas=on needs a 64-bit CPU" microvm "$on,lm=off"
result $? a_cpu_of_32_bits_is_refused

plug="device_add host-x86_64-cpu,socket-id=1,core-id=0,thread-id=0"
what="q35 $on -smp 1,maxcpus=2,sockets=2"
monitor "$plug,kvm-pvvas-views=5" "$plug,kvm-pvvas=off" "$plug" "info cpus" && grep -q "kvm-pvvas-views is .* for one CPU and 0x5 for another: all CPUs must have the same" /tmp/said &&
	grep -q "kvm-pvvas is off for a CPU that is plugged in" /tmp/said && grep -q "CPU #1" /tmp/said
result $? a_cpu_that_is_plugged_in_has_what_the_others_have

# its 64-bit BAR 2 is memory: put there by the ports of PCI's configuration, then memory decoding is switched on
bar() { # LOW HIGH
	monitor "o /w 0xcf8 0x80001018" "o /w 0xcfc $1" "o /w 0xcf8 0x8000101c" "o /w 0xcfc $2" "o /w 0xcf8 0x80001004" "o /w 0xcfc 2" "info mtree -f" "info status" &&
		grep -q "VM status: paused" /tmp/said
}
what="q35 $on,host-phys-bits=off,phys-bits=39 -object memory-backend-ram,id=m,size=1M -device ivshmem-plain,memdev=m,addr=2"
bar 0 0x30 && grep -q "0000003000000000-.*, ram)" /tmp/said
result $? a_bar_below_the_window_is_there
bar 0 0x40 && grep -q "0000004000000000-0000007fffffffff .*kvm-pvvas-window" /tmp/said && ! grep -q "0000004000000000-.*, ram)" /tmp/said
result $? a_bar_in_the_window_is_hidden

rmmod kvm_intel && insmod /modules/patched/kvm-intel.ko eptad=0 &&
	says "KVM on this host has no EPT views: the parameter eptad of the module kvm_intel is off" microvm "$on"
result $? a_host_without_views_says_what_is_missing
rmmod kvm_intel && insmod /modules/patched/kvm-intel.ko
exit $failed
