#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# machines [--kernel FILE] CPU-OPTIONS PROGRAM...: the guest's test programs on a virtual machine of another kind.
# machines CPU-OPTIONS --refused REASON: the driver does not load there, and says why. Runs in the emulated host; prints TAP.
tests=/usr/lib/pvvas/tests
kernel=/guest/vmlinux
if [ "$1" = --kernel ]; then
	kernel=$2
	shift 2
fi
options=$1
shift
reason=
if [ "$1" = --refused ]; then
	reason=$2
	shift 2
fi
{
	echo '#!/bin/sh'
	echo "export PVVAS_PATIENCE=${PVVAS_PATIENCE:-1}"
	echo "dmesg | grep 'pvvas: '"
	for program; do
		echo "$tests/$program; echo machine: $program \$?"
	done
} >/tmp/machines-job
run-guest --name machines --pvvas on --cpu-opts "$options" --driver try --kernel "$kernel" --job /tmp/machines-job >/tmp/machines.log 2>&1
sed 's/^/# /' /out/machines/console
if [ "$reason" ]; then
	echo 1..1
	grep -qF "pvvas: not loaded: $reason" /out/machines/console && exec echo "ok 1 - the_driver_says_why_it_does_not_load"
	echo "not ok 1 - the_driver_says_why_it_does_not_load"
	exit 1
fi
echo "1..$#"
n=0
failed=0
for program; do
	n=$((n + 1))
	if grep -q "^machine: $program 0" /out/machines/console; then
		echo "ok $n - $(echo "$program" | tr ' ' _)_passes"
	else
		echo "not ok $n - $(echo "$program" | tr ' ' _)_passes"
		failed=1
	fi
done
exit $failed
