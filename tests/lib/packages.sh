# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What tests of packages in a fresh Debian share; to be sourced after images/setup/common.sh.

# archives: the parts of Debian 12's archive that this machine uses, security updates too, as lines for a sources.list
archives() {
	# shellcheck disable=SC2016 # apt fills these in
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' |
		awk '$2 ~ /^bookworm/ && $3 == "main" && !seen[$1 $2]++ { print "deb " $1 " " $2 " main" }'
}

# version_in FOLDER PACKAGE: the version of the package of that name there
version_in() {
	dpkg-deb -f "$1/$2"_*.deb Version
}

# later_versions FROM TO: the packages of make deb-host in FROM, each with a later version and otherwise the same, into TO
later_versions() {
	local d unpacked=$2/unpacked
	mkdir -p "$2"
	for d in "$1"/*.deb; do
		dpkg-deb -R "$d" "$unpacked"
		# its own, and those of the others that it depends on
		sed -i 's/+pvvas[0-9.]*/&.1/g' "$unpacked/DEBIAN/control"
		dpkg-deb --root-owner-group -Zgzip -z1 -b "$unpacked" "$2" >/dev/null
		rm -rf "$unpacked"
	done
}
