# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# To be sourced: the modules that can leave something out, and the parameter that says what.
mods=$BUILD/linux-6.12/kvm-modules-flushes

# mask_of NAME,...: the value of kvm.pvvas_leave_out
mask_of() {
	local name bit mask=0
	for name in ${1//,/ }; do
		bit=$(awk -v n="$name" '$2 == n {print $1}' "$mods/list")
		[ -n "$bit" ] || die "the patches have no $name (see $mods/list)"
		mask=$((mask | 1 << bit))
	done
	printf '%u\n' $mask
}
