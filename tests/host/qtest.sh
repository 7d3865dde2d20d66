#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# QEMU's own test of its patches, tests/qtest/pvvas-test of hypervisor-patch/qemu-7.2, where KVM has views. Runs in the
# emulated host; prints TAP.
qemu=/tmp/qemu-system-x86_64 # libqtest takes the architecture from the name

cat >$qemu <<'END'
#!/bin/sh
exec qemu -L /share "$@"
END
chmod +x $qemu
QTEST_QEMU_BINARY=$qemu pvvas-qtest --tap >/tmp/qtest
status=$?
cat /tmp/qtest
grep -q '^ok.*/pvvas/limits' /tmp/qtest || exit 1
exit $status
