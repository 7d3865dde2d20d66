#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Are the modules that are loaded those of the package? /etc/kvm-version comes from make test-deb-kvm. Runs in the emulated host.
echo 1..2
status=0
n=0
for m in kvm kvm_intel; do
	n=$((n + 1))
	if [ "$(cat /sys/module/$m/version)" = "$(cat /etc/kvm-version)" ]; then
		echo "ok $n - $m"
	else
		echo "not ok $n - $m is not version $(cat /etc/kvm-version)"
		status=1
	fi
done
exit $status
