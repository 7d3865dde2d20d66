#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# A guest with two NUMA nodes. QEMU's microvm has no table of them, but a kernel takes one from the beginning of its
# initial file system (CONFIG_ACPI_TABLE_UPGRADE). `numa 2`: a vCPU in each node. Runs in the emulated host; prints the
# TAP of tests/guest/numa.c.
tests=/usr/lib/pvvas/tests
name=numa$1
half=256
vcpus=${1:-1}

little() { # BYTES VALUE: as octal escapes
	bytes=$1 value=$2
	while [ "$bytes" -gt 0 ]; do
		printf '\\%03o' $((value & 255))
		value=$((value >> 8)) bytes=$((bytes - 1))
	done
}

processor() { # NODE APIC-ID: type, length, node, APIC, enabled, EID and rest of the node, clock domain
	little 1 0 && little 1 16 && little 1 "$1" && little 1 "$2" && little 4 1 && little 4 0 && little 4 0
}

memory() { # NODE FIRST-MB MB: type, length, node, 0, base, length, 0, enabled, 0
	little 1 1 && little 1 40 && little 4 "$1" && little 2 0 && little 8 $(($2 << 20)) && little 8 $(($3 << 20))
	little 4 0 && little 4 1 && little 8 0
}

srat() { # CHECKSUM: header, then a reserved 1 and 0
	printf SRAT && little 4 $((36 + 12 + 16 * vcpus + 2 * 40)) && little 1 3 && little 1 "$1"
	printf 'PVVAS TWONODES' && little 4 1 && printf TEST && little 4 1
	little 4 1 && little 8 0
	processor 0 0 && { [ "$vcpus" = 1 ] || processor 1 1; }
	memory 0 0 $half && memory 1 $half $half
}

# all bytes together are 0
# shellcheck disable=SC2059 # the escapes are what is to be printed
sum=$(printf "$(srat 0)" | od -An -v -tu1 | awk '{ for (i = 1; i <= NF; i++) s += $i } END { print s % 256 }')
# shellcheck disable=SC2059
printf "$(srat $(((256 - sum) % 256)))" >/tmp/SRAT.aml
printf '#!/bin/sh\nexec %s/numa\n' $tests >/tmp/numa-job
run-guest --name "$name" --smp "$vcpus" --mem $((2 * half)) --job /tmp/numa-job --add /tmp/SRAT.aml:kernel/firmware/acpi/SRAT.aml \
	>/tmp/numa.log 2>&1
status=$?
tr -d '\r' <"/out/$name/console"
exit $status
