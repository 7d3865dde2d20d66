#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Combinations of KVM, QEMU and driver of which one knows nothing of views, or something else than the others: each fails with a
# clear message, and the guest runs. Runs in the emulated host; prints TAP. Argument: stock-kvm, stock-qemu, other-driver.
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap

# refused MESSAGE: QEMU does not start, and says why
refused() {
	run-guest --name refused --pvvas on --timeout 60 && return 1
	grep -qF "$1" /out/refused/console || {
		sed 's/^/# /' /out/refused/console
		return 1
	}
}

# absent ERRNO REASON [OPTION...]: a guest starts, its driver says REASON, its library ERRNO
absent() {
	printf '#!/bin/sh\n%s/absent %s\n' $tests "$1" >/tmp/absent
	reason=$2
	shift 2
	run-guest --name absent --job /tmp/absent --driver try "$@" || return 1
	grep -qF "pvvas: not loaded: $reason" /out/absent/guest-dmesg || {
		grep pvvas /out/absent/guest-dmesg | sed 's/^/# /'
		return 1
	}
}

{
	case $1 in
	stock-kvm)
		echo 1..2 >&3
		refused "kvm-pvvas=on: KVM on this host has no EPT views"
		result $? a_domain_with_views_is_refused >&3
		absent enosys "this hypervisor offers no views" --pvvas off
		result $? a_guest_without_them_runs_and_its_driver_stays_out >&3
		;;
	stock-qemu)
		echo 1..2 >&3
		refused "Property 'host-x86_64-cpu.kvm-pvvas' not found"
		result $? a_domain_with_views_is_refused >&3
		absent enosys "this hypervisor offers no views" --pvvas off
		result $? a_guest_without_them_runs_and_its_driver_stays_out >&3
		;;
	other-driver)
		echo 1..1 >&3
		absent enodev "version 1 of the hypervisor is not understood" --pvvas on --add /compat/pvvas.ko:modules/pvvas.ko
		result $? a_driver_of_another_version_stays_out >&3
		;;
	*)
		echo "Bail out! what is $1?" >&3
		failed=1
		;;
	esac
} 3>&1 >/tmp/compat.log 2>&1
[ $failed = 0 ] || tail -n 30 /tmp/compat.log | sed 's/^/# /'
exit $failed
