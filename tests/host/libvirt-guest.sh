#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The tests of the guest in a domain under a real libvirt daemon, typed at its console: virsh console. Arguments: the programs.
# Runs in the emulated host; prints the TAP of each program.
# shellcheck source=tests/host/libvirt-start.sh
. /usr/lib/pvvas/tests/libvirt-start

domain=tests
screen=$out/$domain.screen
cat >/tmp/$domain.job <<END
#!/bin/sh
# What is typed is a program. What it prints comes at once, lest the kernel's messages get into its lines.
export PATH=$tests:/bin:/usr/bin CMOCKA_MESSAGE_OUTPUT=TAP PVVAS_PATIENCE=1
echo "=== ready"
while read -r program; do
	[ "\$program" != end ] || break
	timeout 400 \$program >/tmp/tap 2>&1 </dev/null
	status=\$?
	echo "=== start"
	cat /tmp/tap
	echo "=== end \$status"
done
echo "=== start"
dmesg
echo "=== end"
poweroff -f
END
printf '#!/bin/sh\nexec sh /tests.job </dev/ttyS0 >/dev/ttyS0 2>&1\n' >/tmp/start.job

# at the terminal the COUNT-th line with this mark
seen() { # MARK COUNT
	i=0
	until [ "$(tr -d '\r' <$screen | grep -c "^=== $1")" -ge "$2" ]; do
		i=$((i + 1))
		[ $i -lt 500 ] && virsh domstate $domain | grep -qx running || return 1
		sleep 1
	done
}

# what stands between the last two marks
last() {
	tr -d '\r' <$screen | awk '/^=== start/ { text = ""; next } /^=== end/ { next } { text = text $0 "\n" } END { printf "%s", text }'
}

exec 3>&1 >$out/virsh.log 2>&1
set -x
{
	run-guest --job /tmp/start.job --add /tmp/$domain.job:/tests.job --initrd /tmp/$domain.initrd &&
		sed -e "s|@NAME@|$domain|g" -e "s|@INITRD@|/tmp/$domain.initrd|" -e "s|>160</memory>|>512</memory>|" \
			-e "s|<serial type='file'>|<serial type='pty'>|" -e '/\.console/d' -e "s|<pvvas .*|<pvvas state='on'/>|" /etc/libvirt/guest.xml >/tmp/$domain.xml &&
		virsh define --validate /tmp/$domain.xml && mkfifo /tmp/keys
	result $? the_domain_is_defined >&3
	script -qfc "virsh start --console $domain" $screen </tmp/keys >/dev/null 2>&1 &
	exec 9>/tmp/keys
	patiently grep "=== ready" $screen
	status=$?
	result $status it_starts_with_its_console_at_a_terminal >&3
	[ $status = 0 ] || exit 1
	count=0
	for program; do
		count=$((count + 1))
		echo "$(cut -d' ' -f1 /proc/uptime) s: $program" >/dev/console
		printf '%s\r' "$program" >&9
		if ! seen end $count; then
			tail -n 20 $screen
			result 1 "$program: it does not end" >&3
			break
		fi
		echo "# $program" >&3
		last >&3
		status=$(tr -d '\r' <$screen | sed -n 's/^=== end //p' | tail -n 1)
		[ "$status" = 0 ] || [ "$status" = 77 ] || result 1 "$program: exit status $status" >&3
	done
	printf 'end\r' >&9
	patiently in_state $domain "shut off" && nothing_left
	result $? the_domain_powers_off_and_leaves_nothing_in_kvm >&3
	mkdir $out/$domain && last >$out/$domain/guest-dmesg && grep -q "Linux version" $out/$domain/guest-dmesg
	result $? its_kernel_log_is_there >&3
	echo 1..4 >&3
}
exit $failed
