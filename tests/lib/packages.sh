# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Later versions of packages, to upgrade to; to be sourced after images/setup/common.sh.

# later_versions FROM TO: the packages of make deb-host in FROM, each with a later version and otherwise the same, into TO
later_versions() {
	local d unpacked=$2/unpacked
	mkdir -p "$2"
	for d in "$1"/*.deb; do
		dpkg-deb -R "$d" "$unpacked"
		# its own, and those of the others that it depends on
		sed -i 's/+pvvas1/&.1/g' "$unpacked/DEBIAN/control"
		dpkg-deb --root-owner-group -Zgzip -z1 -b "$unpacked" "$2" >/dev/null
		rm -rf "$unpacked"
	done
}
