#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# TAP of a shell script in the emulated host; to be sourced. $details names a file that says more of what failed.
# shellcheck disable=SC2034,SC2154 # scripts use these variables, or set them
tests=/usr/lib/pvvas/tests
n=0
failed=0
details=

result() { # STATUS NAME [FILE]: a result, and if it failed the end of FILE
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		set -- "$1" "$2" "${3:-$details}"
		[ -z "$3" ] || tail -n 20 "$3" | sed 's/^/# /'
		failed=1
	fi
	echo "$(cut -d' ' -f1 /proc/uptime) s: $n, $2: $1" >/dev/console
}

shown() { # NAME PATTERN: the console of the guest $name has it
	grep -q "$2" "/out/$name/console"
	result $? "$1"
}
