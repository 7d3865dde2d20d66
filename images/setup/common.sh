# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What all setup scripts share; to be sourced.
set -euo pipefail
export LC_ALL=C
# with it cd may go elsewhere, and prints where
unset CDPATH

die() {
	echo "${PROGRAM:-${0##*/}}: $*" >&2
	exit 1
}

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$ROOT/build}
CACHE=${PVVAS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pvvas}
# neither kernel builds nor DKMS take a path with blanks
for path in "$ROOT" "$BUILD" "$CACHE"; do
	[[ $path != *[[:space:]]* ]] || die "the path '$path' has blanks in it: use one without"
done
mkdir -p "$BUILD"
BUILD=$(cd "$BUILD" && pwd)
# What make clean and make distclean may delete carries this file. It never gets into a folder that holds anything else; setup's lock
# tells a build folder that was made before there was this file.
if [ ! -e "$BUILD/.pvvas-build" ]; then
	[ "$BUILD" = "$ROOT/build" ] || [ -e "$BUILD/logs/.lock" ] || [ -z "$(find "$BUILD" -mindepth 1 -maxdepth 1 ! -name .pvvas-build)" ] ||
		die "BUILD=$BUILD holds something that this project has not made: name a new or empty folder"
	echo "made by the pvvas sources in $ROOT; make distclean deletes this folder" >"$BUILD/.pvvas-build"
fi
JOBS=${JOBS:-$(nproc)}
export ROOT BUILD CACHE JOBS

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$KEYRING" ] || KEYRING=/etc/apt/trusted.gpg

# alone FILE: go on only when no other script holds the lock FILE; it is held until this script ends.
alone() {
	mkdir -p "$(dirname "$1")"
	exec 8>"$1"
	flock -n 8 || {
		echo "${PROGRAM:-${0##*/}}: waiting for another one that works in ${1%/*}" >&2
		flock 8
	}
}

# need_space DIR MB: stop unless DIR's file system has that much left.
need_space() {
	local free
	mkdir -p "$1"
	free=$(df --output=avail -m "$1" | tail -n1 | tr -d ' ')
	[ "$free" -ge "$2" ] || die "no disk space: $1 has $free MB left, $2 MB are needed"
}

# base FILE KEY: a value of a BASE file.
base() {
	sed -n "s/^$2=//p" "$1/BASE"
}

# hash_tree PATH...: one hash over names, modes and contents of files and folders.
hash_tree() {
	local p
	for p in "$@"; do
		[ -e "$p" ] || continue
		find "$p" -type f -printf '%P %m\n' | sort
		find "$p" -type f -print0 | sort -z | xargs -0r sha256sum | cut -d' ' -f1
	done | sha256sum | cut -c1-16
}

# source_git COMMAND...: git of this clone, whichever user owns it; fails in sources that are no clone.
source_git() {
	[ "$(git -c safe.directory="$ROOT" -C "$ROOT" rev-parse --show-toplevel 2>/dev/null)" = "$ROOT" ] &&
		git -c safe.directory="$ROOT" -C "$ROOT" "$@"
}

# source_files PATH...: the files of the sources below these paths, each with a NUL behind it; new ones that git does not ignore, too.
source_files() {
	source_git ls-files -z --cached --others --exclude-standard -- "$@" || (cd "$ROOT" && find "$@" -type f -print0)
}

# source_date: when the sources were last changed, in seconds since 1970: the last commit, or without git the last release.
source_date() {
	source_git log -1 --format=%ct || dpkg-parsechangelog -l "$ROOT/debian/changelog" -S Timestamp
}

# content_version PATH...: a number that grows with each change below these paths: when that was, as YYYYMMDDhhmmss in UTC.
content_version() {
	{
		source_git log -1 --format=%ct -- "$@" || true
		# what is not committed; without git all files
		{ source_git ls-files -z --modified --others --exclude-standard -- "$@" || source_files "$@"; } |
			(cd "$ROOT" && xargs -0r stat -c %Y -- 2>/dev/null) || true
	} | sort -n | tail -n 1 | xargs -I T date -u -d @T +%Y%m%d%H%M%S
}

# fresh STAMP HASH: true, and says so, when STAMP holds HASH already.
fresh() {
	[ -e "$1" ] && [ "$(cat "$1")" = "$2" ] || return 1
	echo up-to-date
}

# series DIR [SUFFIX]: the patches of DIR/series, with their paths; with a suffix, of DIR/seriesSUFFIX in DIR/patchesSUFFIX.
series() {
	local name suffix=${2:-}
	[ -e "$1/series$suffix" ] || return 0
	sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1/series$suffix" | while read -r name; do
		echo "$1/patches$suffix/$name"
	done
}

# apply_series DIR TREE [SUFFIX]: apply the patches and lay the new files over TREE.
apply_series() {
	local p
	for p in $(series "$1" "${3:-}"); do
		echo "patch ${p#"$ROOT"/}"
		patch -d "$2" -p1 --no-backup-if-mismatch --fuzz=0 <"$p" ||
			die "${p#"$ROOT"/} does not apply to $(basename "$2")"
	done
	if [ -d "$1/files" ]; then
		cp -r --remove-destination "$1/files/." "$2/"
		rm -f "$2/.gitkeep"
	fi
}

# check_base TREE: die unless KVM's shadow MMU compares the frame of a linked table with the one that it looks for. Tables of
# views are not write-protected, so a base that does not would go on with another frame's table.
check_base() {
	sed -n '/^static struct kvm_mmu_page \*kvm_mmu_get_child_sp(/,/^}/p' "$1/arch/x86/kvm/mmu/mmu.c" |
		grep -q 'spte_to_child_sp(\*sptep)->gfn == gfn' ||
		die "kvm_mmu_get_child_sp() of this kernel does not compare the gfn: the patches are not safe on it"
}

# patched_tree DIR ORIG SRC [RSYNC-OPTION...]: make SRC equal to ORIG plus the series of DIR, touching only files
# whose content changes. The function after_patch, if there is one, gets the new tree before that.
patched_tree() {
	local new=$3.new
	rm -rf "$new"
	mkdir -p "$new"
	# the folder's content: the folder itself may be a link
	cp -al "$2/." "$new/"
	apply_series "$1" "$new"
	if declare -F after_patch >/dev/null; then after_patch "$new"; fi
	mkdir -p "$3"
	rsync -rlpc --delete "${@:4}" "$new/" "$3/"
	rm -rf "$new"
}

# newest PACKAGE: the version apt would take, were there only Debian's; a machine may have those of make repo, too.
newest() {
	{
		apt-cache policy "$1" | sed -n 's/^  Candidate: //p'
		apt-cache madison "$1" | awk -F ' *[|] *' '{ print $2 }'
	} | grep -v -e '(none)' -e '+pvvas' | head -n 1 | grep . || die "apt knows no package $1"
}

# update_lists COMMAND...: apt-get update by this command, which may have to wait: apt itself does not wait for the lock of its lists.
update_lists() {
	local said i
	for i in {1..120}; do
		said=$("$@" update 2>&1) && return
		grep -qE 'Could not get lock|Unable to lock' <<<"$said" || break
		[ "$i" != 1 ] || echo "waiting for the lock of apt's lists" >&2
		sleep 5
	done
	echo "$said" >&2
	return 1
}

# in_cache COMMAND...: of all that share the cache only one runs its command.
in_cache() {
	mkdir -p "$CACHE"
	(
		flock 9
		"$@" 9>&-
	) 9>"$CACHE/.lock"
}

# fetch_deb PACKAGE [VERSION]: download into the cache, print the path. What is there already is checked: a download may have been cut off.
fetch_deb() {
	in_cache cached_deb "$1" "${2:-$(newest "$1")}"
}
cached_deb() { # PACKAGE VERSION
	local file hash new=$CACHE/debs/.new
	mkdir -p "$CACHE/debs"
	file=$(find "$CACHE/debs" -maxdepth 1 -name "$1_${2//:/%3a}_*.deb" | head -n1)
	hash=$(apt-cache show "$1=$2" 2>/dev/null | sed -n 's/^SHA256: //p' | head -n1)
	if [ -n "$file" ] && { [ -z "$hash" ] || ! echo "$hash  $file" | sha256sum --check --status; }; then
		# apt may not know this version any more
		if [ -n "$hash" ] || ! dpkg-deb --fsys-tarfile "$file" >/dev/null 2>&1; then
			echo "note: $file is damaged" >&2
			rm -f "$file"
			file=
		fi
	fi
	if [ -z "$file" ]; then
		rm -rf "$new"
		mkdir "$new"
		(cd "$new" && apt-get -o APT::Sandbox::User=root download "$1=$2") >&2 || die "cannot download $1 $2"
		mv "$new"/*.deb "$CACHE/debs/"
		rmdir "$new"
		file=$(find "$CACHE/debs" -maxdepth 1 -name "$1_${2//:/%3a}_*.deb" | head -n1)
	fi
	echo "$file"
}

# fetch_source PACKAGE VERSION: download Debian's source package into the cache, print the path of its .dsc.
fetch_source() {
	in_cache cached_source "$1" "$2"
}
cached_source() { # PACKAGE VERSION
	local dsc=$1_${2#*:}.dsc new=$CACHE/sources/.new
	mkdir -p "$CACHE/sources"
	if ! whole_source "$CACHE/sources" "$dsc"; then
		source_lists ""
		update_lists source_apt >&2
		rm -rf "$new"
		mkdir "$new"
		(cd "$new" && source_apt source --download-only "$1=$2") >&2 || die "cannot download the source of $1 $2"
		whole_source "$new" "$dsc" || die "the source of $1 $2 has come incomplete"
		# last what names the others
		find "$new" -type f ! -name '*.dsc' -exec mv -t "$CACHE/sources" {} +
		mv "$new/$dsc" "$CACHE/sources/"
		rmdir "$new"
	fi
	echo "$CACHE/sources/$dsc"
}
whole_source() { # FOLDER DSC: are all files that it names there, and as it says
	[ -e "$1/$2" ] &&
		(cd "$1" && sed -n '/^Checksums-Sha256:/,/^[^ ]/s/^ \([0-9a-f]*\) [0-9]* \(.*\)$/\1  \2/p' "$2" | sha256sum --check --status)
}

# keep_newest NAME: of the finished builds in the cache keep the newest few.
keep_newest() {
	find "$CACHE" -maxdepth 1 -name "$1-*" -printf '%T@ %p\n' | sort -rn | sed -e '1,8d' -e 's/^[^ ]* //' |
		xargs -r rm -rf
}

# source_apt ARGS: apt-get with this project's own deb-src lines, kept away from /etc/apt.
source_apt() {
	local dir=$BUILD/apt
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	apt-get -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root "$@"
}

# source_lists SUITE: write the deb-src lines, derived from the mirrors this machine uses.
source_lists() {
	local dir=$BUILD/apt
	mkdir -p "$dir"
	# shellcheck disable=SC2016 # apt fills these in
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' |
		awk -v key="$KEYRING" -v extra="$1" '
			$2 ~ /^bookworm/ && $3 == "main" && !seen[$1 $2]++ {
				print "deb-src [signed-by=" key "] " $1 " " $2 " main"
				if ($2 == "bookworm" && extra != "")
					print "deb-src [signed-by=" key "] " $1 " " extra " main"
			}' >"$dir/sources.list"
	[ -s "$dir/sources.list" ] || die "apt has no bookworm mirror configured"
}

# shared_libraries DIR: copy the shared libraries that the programs in DIR need and do not bring themselves
shared_libraries() {
	local lib
	{
		find "$1" -type f \( -perm -u+x -o -name '*.so*' \) -print0 |
			LD_LIBRARY_PATH=$1/usr/lib xargs -0r -n1 ldd 2>/dev/null || true
	} | awk '/=> \// {print $3} /^[[:space:]]*\/lib/ {print $1}' | sort -u | while read -r lib; do
		case $lib in "$1"/*) continue ;; esac
		case $lib in
		*/ld-linux*) cp -L "$lib" "$1/lib64/" ;;
		*) cp -L "$lib" "$1/lib/" ;;
		esac
	done
}
