# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# To be sourced: the modules that can leave something out, and the parameter that says what.
mods=$BUILD/linux-6.12/kvm-modules-flushes

# bits_of NAME,...: the value of kvm.pvvas_leave_out
bits_of() {
	local name bit bits=
	for name in ${1//,/ }; do
		bit=$(awk -v n="$name" '$2 == n {print $1}' "$mods/list")
		[ -n "$bit" ] || die "the patches have no $name (see $mods/list)"
		bits+=${bits:+,}$bit
	done
	echo "$bits"
}
