#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A guest whose threads are inside VASes starts another kernel by kexec: the new one's driver finds a clean hypervisor.
# Meanwhile KVM drops its tables for the VM, again and again, and reads those of the guest that are still in use.
# `kexec 2`: with two vCPUs. Runs in the emulated host; prints TAP.
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap
name=kexec$1

# the kernel is hashed before it is started, twice, in one go: under emulation that outlasts the watchdogs
slow=/proc/sys/kernel/watchdog_thresh
echo 60 >$slow
printf '#!/bin/sh\n%s/kexec arrived\n' $tests >/tmp/kexec-second
run-guest --job /tmp/kexec-second --pvvas on --initrd /tmp/second.cpio || exit 1
cat >/tmp/kexec-first <<EOF
#!/bin/sh
echo 60 >$slow
exec $tests/kexec away /tools/vmlinuz /tools/initrd
EOF
nx=/sys/module/kvm/parameters/nx_huge_pages
while sleep 1; do
	echo N >$nx
	echo Y >$nx
done &
dropper=$!
run-guest --name "$name" --smp "${1:-1}" --mem 768 --job /tmp/kexec-first --add /tools/vmlinuz:/tools/vmlinuz \
	--add /tmp/second.cpio:/tools/initrd >/tmp/kexec.log 2>&1
status=$?
kill $dropper
rm -f /tmp/second.cpio

echo 1..3
sed 's/^/# /' "/out/$name/console"
shown threads_were_in_views_when_the_kernel_went '^first kernel: [1-9][0-9]* contexts, [1-9][0-9]* views'
shown the_next_driver_finds_nothing_of_them '^second kernel: 0 contexts, 0 views'
shown the_next_kernel_has_views_of_its_own '^second kernel: works'
[ $status = 0 ] || failed=1
exit $failed
