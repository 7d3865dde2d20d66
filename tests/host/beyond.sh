#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A guest with something at 2^48, where views do not lead: the driver does not load, and says why. Runs in the emulated
# host; prints TAP.
cat >/tmp/beyond-job <<'EOF'
#!/bin/sh
dmesg | grep 'pvvas: '
[ ! -e /dev/pvvas ]
echo "beyond: absent $?"
EOF
# shellcheck disable=SC2016 # the kernel's own $
run-guest --name beyond --pvvas on --cpu-opts ,host-phys-bits=on,host-phys-bits-limit=52 \
	--driver try --append 'memmap=1M$0x1000000000000' --job /tmp/beyond-job >/tmp/beyond.log 2>&1
echo 1..1
sed 's/^/# /' /out/beyond/console
if grep -q 'pvvas: not loaded: views do not reach memory or devices beyond 2^48' /out/beyond/console &&
	grep -q '^beyond: absent 0' /out/beyond/console; then
	echo "ok 1 - the_driver_refuses_what_views_do_not_reach"
else
	echo "not ok 1 - the_driver_refuses_what_views_do_not_reach"
	exit 1
fi
