# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A whole Debian on a disk, in the emulator; to be sourced after images/setup/common.sh. Commands are put into the disk, a unit runs them,
# and what they say comes back over the second serial port.

# test_guest FOLDER: the test guest, as the domain "views" with its kernel loaded directly: views.xml, vmlinux and initrd; it walks through
# views, runs the demo and powers off
test_guest() {
	local files=$1 guest=$1.guest
	rm -rf "$guest"
	mkdir -p "$files" "$guest/etc" "$guest/input"
	printf 'DRIVER=on\nDRIVER_ARGS=""\n' >"$guest/etc/guest.conf"
	cat >"$guest/job" <<'END'
#!/bin/sh
/usr/lib/pvvas/tests/wanderer 40000
/usr/bin/pvvas-demo --words hacker,devil /input/jargon.txt /input/devil.txt
poweroff -f
END
	chmod +x "$guest/job"
	cp "$BUILD"/texts/*.txt "$guest/input/"
	{
		cat "$BUILD/images/guest.cpio"
		(cd "$guest" && find . -print0 | cpio --null -o -H newc --quiet -R 0:0)
	} >"$files/initrd"
	rm -rf "$guest"
	cp "$BUILD/images/host/guest/vmlinux" "$files/vmlinux"
	sed -e 's|@NAME@|views|g' -e 's|@INITRD@|/var/lib/libvirt/images/initrd|' -e 's|/guest/vmlinux|/var/lib/libvirt/images/vmlinux|' \
		-e '/<loader/d' -e '/<emulator>/d' -e 's|>128</memory>|>256</memory>|' -e 's|/out/libvirt/|/var/log/libvirt/qemu/|' \
		"$ROOT/images/libvirt/guest.xml" >"$files/views.xml"
}

# commands_into DISK OFFSET FOLDER COMMANDS: all of FOLDER goes to /root/test, with the commands, each of which may use what stands here;
# DISK.vmlinuz and DISK.initrd are what the disk would boot
commands_into() {
	local disk=$1 fs="$1?offset=$2" files=$3 f to
	{
		cat <<'END'
#!/bin/bash
export LIBVIRT_DEFAULT_URI=qemu:///system PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
cd /root/test
stty -F /dev/ttyS1 raw -echo 115200
# nothing is typed before all is started, and udev has found KVM
systemctl is-system-running --wait >/dev/ttyS0
udevadm settle -t 300
# said NAME COMMAND...: its exit status, its output
said() {
	name=$1
	shift
	echo "$(cut -d' ' -f1 /proc/uptime) s: $name" >/dev/ttyS0
	status=0
	"$@" >/run/said 2>&1 </dev/null || status=$?
	{
		echo "$name=$status"
		# also where the last line is not ended
		sed -e 's/^/  /' -e '$a\' /run/said
	} >/dev/ttyS1
	return $status
}
end() {
	dmesg >/dev/ttyS0
	said end true
	sleep 1
	systemctl poweroff
	exit
}
# without this the rest makes no sense
needs() {
	said "$@" || end
}
patiently() { # COMMAND...: until it succeeds, for at most ten minutes
	i=0
	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 600 ] || return 1
		sleep 1
	done
}
pid() { # DOMAIN: of its QEMU
	cat "/run/libvirt/qemu/$1.pid"
}
terminal() { # COMMAND: at a terminal; what it shows is also in $screen, what is typed comes by answer
	screen=/root/test/screen
	mkfifo keys
	script -qfc "$1" $screen <keys >/dev/null 2>&1 &
	exec 9>keys
}
seen() { # TEXT: wait for it at the terminal, for half an hour at most
	i=0
	until grep -aqE -- "$1" $screen; do
		i=$((i + 1))
		[ $i -lt 1800 ] || return 1
		[ $((i % 60)) != 0 ] || echo "$(cut -d' ' -f1 /proc/uptime) s: $(tail -n 1 $screen | tr -d '\r' | tail -c 80)" >/dev/ttyS0
		sleep 1
	done
}
answer() { # TEXT KEYS
	seen "$1" && sleep 1 && printf '%s\r' "$2" >&9
}
log_in() { # by the password of the documents; the prompt is there before it is
	answer 'Cloud-init v[^ ]* .* finished' debian && answer '[Pp]assword:' change-me || return 1
	answer 'Current password:' change-me && answer 'New password:' another-1-me && answer 'Retype new password:' another-1-me
}
none_left() {
	for c in ctxs views; do [ "$(cat /sys/kernel/debug/kvm/pvvas_$c)" = 0 ] || return 1; done
}
END
		cat "$4"
		cat <<'END'
end
END
	} >"$files/commands"
	printf '[Unit]\nAfter=basic.target\n[Service]\nType=simple\nExecStart=/bin/bash /root/test/commands\n[Install]\nWantedBy=multi-user.target\n' \
		>"$files/test.service"
	{
		echo "mkdir /root/test"
		for f in "$files"/*; do echo "write $f /root/test/${f##*/}"; done
		echo "write $files/test.service /etc/systemd/system/test.service"
		echo "symlink /etc/systemd/system/multi-user.target.wants/test.service /etc/systemd/system/test.service"
		for f in vmlinuz initrd.img; do
			# a link in /
			to=$(debugfs -R "stat /$f" "$fs" 2>/dev/null | sed -n 's/.*Fast link dest: "\(.*\)"/\1/p')
			echo "dump /${to:-$f} $disk.${f%.img}"
		done
	} >"$disk.debugfs"
	debugfs -w -f "$disk.debugfs" "$fs" >"$disk.log" 2>&1
	for f in vmlinuz initrd; do [ -s "$disk.$f" ] || die "the disk has no $f; see $disk.log"; done
	# whole cylinders for the emulator's disk
	truncate -s %516096 "$disk"
}

# boot_disk DISK OUT LIMIT KERNEL-ARGS [MEGABYTES]: what was said is OUT.said
boot_disk() {
	local start=$SECONDS status=0
	# of a run that was killed
	rm -f "$1.lock"
	"$ROOT/images/boot" --quiet --disk "$1" --timeout "$3" --out "$2" --memory "${5:-2048}" \
		--kernel-args "ro cloud-init=disabled kvm_intel.enable_apicv=0 kvm_intel.preemption_timer=0 $4" || status=$?
	said=$2.said
	cat "$2/said" 2>/dev/null | tr -d '\r\0' >"$said" || true
	if [ $status != 0 ] || ! grep -qx end=0 "$said"; then
		tail -n 20 "$2/console"
		tail -n 20 "$said"
		die "the machine ended with status $status after $((SECONDS - start)) s; see $2"
	fi
}

# expect NAME STATUS [TEXT]: of the command of that name
expect() {
	local text
	text=$(sed -n "/^$1=/,/^[a-z_0-9]*=/p" "$said")
	grep -qx "$1=$2" "$said" || die "$1 should end with $2: $text"
	[ -z "${3:-}" ] || grep -qE -- "$3" <<<"$text" || die "$1 does not say $3: $text"
}
