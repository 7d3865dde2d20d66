# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The commands that stand in the documents; to be sourced after images/setup/common.sh.

# block FILE HEADING NUMBER: of the section the block of code
block() {
	awk -v heading="## $2" -v number="$3" '
		/^## / { here = $0 == heading; next }
		!here { next }
		/^    / { if (!inside) { n++; inside = 1 }; if (n == number) { print substr($0, 5); any = 1 }; next }
		{ inside = 0 }
		END { exit !any }' "$ROOT/docs/$1" || die "docs/$1 has no block $3 in \"$2\""
}
