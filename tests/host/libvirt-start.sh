#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What tests under a libvirt daemon share; to be sourced in the emulated host, with more lines of qemu.conf in $settings. At its end
# the daemon runs.
# shellcheck disable=SC2034 # who sources it uses them
# shellcheck source=tests/host/tap.sh
. /usr/lib/pvvas/tests/tap
out=/out/libvirt

patiently() { # COMMAND...: until it succeeds, for at most 100 seconds
	i=0
	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 1000 ] || return 1
		usleep 100000
	done
}

says() { # NAME TEXT: the guest has printed it
	patiently grep -q "$2" "$out/$1.console"
}

in_state() { # NAME STATE
	virsh domstate "$1" | grep -qx "$2"
}

pid_of() { # NAME: of its QEMU
	grep -l "guest=$1[,]" /proc/[0-9]*/cmdline | cut -d/ -f3 | head -n 1
}

cgroup_of() { # NAME: the domain's
	sed -n 's|/emulator$||; s|^0::|/sys/fs/cgroup|p' "/proc/$(pid_of "$1")/cgroup"
}

stat_of() { # FILE NAME
	awk -v name="$2" '$1 == name { print $2 }' "$1"
}

counter() { # NAME: a counter of all VMs together
	cat "/sys/kernel/debug/kvm/$1"
}

no_objects() {
	for c in pvvas_ctxs pvvas_views; do
		[ "$(counter $c)" = 0 ] || return 1
	done
}

nothing_left() {
	no_objects
}

views_of() { # NAME: what libvirt tells
	virsh domstats --vm "$1" | sed -n 's/^ *vm\.pvvas_views\.cur=//p'
}

define() { # NAME PROGRAM ARGUMENT
	printf '#!/bin/sh\n%s/%s %s\npoweroff -f\n' $tests "$2" "$3" >"/tmp/$1.job"
	run-guest --job "/tmp/$1.job" --initrd "/tmp/$1.initrd" || return 1
	sed -e "s|@NAME@|$1|g" -e "s|@INITRD@|/tmp/$1.initrd|" /etc/libvirt/guest.xml >"/tmp/$1.xml"
	virsh define --validate "/tmp/$1.xml"
}

# what Debian's package makes when it is installed
echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/sh' >>/etc/passwd
echo 'libvirt-qemu:x:64055:' >>/etc/group
export LIBVIRT_DEFAULT_URI=qemu:///system
mkdir -p $out /run /var/run /var/lock /var/lib/libvirt/qemu /var/log/libvirt/qemu /var/cache
ln -s qemu /bin/qemu-system-x86_64
# Confined as by default, a user of its own and a cgroup, but for the security driver, which is AppArmor, and for seccomp and the mount
# namespace, which this QEMU and this libvirt are built without.
chmod 666 /dev/kvm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cat >/etc/libvirt/qemu.conf <<END
user = "libvirt-qemu"
group = "libvirt-qemu"
security_driver = "none"
stdio_handler = "file"
remember_owner = 0
${settings:-}
END
echo 'host_uuid = "70767661-7300-4000-8000-000000000001"' >/etc/libvirt/libvirtd.conf
libvirtd --daemon >$out/libvirtd.out 2>&1
patiently virsh version || {
	cat $out/libvirtd.out
	exit 1
}

