#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The project's own commands on a machine with /dev/kvm and VMX: this one, with stock KVM, under the Debian of make test-kvm-host.
# What is emulated is the machine below; QEMU, three kernels and two levels of KVM are real. All their kernel logs are looked at.
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap
debian=/debian
tree=$debian/pvvas
out=/out/kvm-host
mkdir -p $out $debian
mount -t tmpfs -o size=90% debian $debian
tar -xf /debian.tar -C $debian && rm /debian.tar
for d in proc sys dev tmp; do mount --bind /$d $debian/$d; done
ln -s /proc/self/fd /dev/fd

typed() { # NAME COMMAND...: typed in the tree; what it prints is kept as NAME
	name=$1
	shift
	echo "$(cut -d' ' -f1 /proc/uptime) s: $*" >/dev/console
	chroot $debian /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PVVAS_BUILT=yes \
		sh -c 'cd /pvvas && exec "$@"' typed "$@" >"$out/$name" 2>&1
}

echo 1..5
typed doctor make doctor && grep -q '^info *host level *nested under KVM: ' $out/doctor
result $? "make doctor says that the host level runs under KVM" $out/doctor

typed demo make demo
status=$?
grep -q '^booting host and guest (kvm ' $out/demo && [ -s $tree/build/demo/boot/emulator.log ] && status=9
tail -n 1 $out/demo | grep -qx 'pvvas-demo: ok switches=2000000 vmfunc_exits=0 hypercalls=0 wrong_answers=0' || status=8
result $status "make demo" $out/demo

typed test make test TESTS="hypercalls vmfunc sharing segments access switching process"
status=$?
tail -n 1 $out/test | grep -Eqx '[1-9][0-9]+ passed, 0 failed, 0 skipped' || status=8
result $status "make test of some cases of host and guest: $(tail -n 1 $out/test)" $out/test

typed bench make bench ONLY="switching/bare_vmfunc switching/vas_switch switching/empty_system_call"
result $? "make bench" $out/bench

# the columns are name, low, high, measured; the measured one must be there, and what results.json has
grep -q '^PREDICTED cycles' $out/bench && grep -Eq '^ +bare_vmfunc .* +[1-9][0-9]* +[1-9][0-9]* +[1-9][0-9]*( |$)' $out/bench
result $? "make bench prints what it measured beside what was predicted" $out/bench
cp $tree/build/bench/results.json $out/ 2>/dev/null
exit $failed
