# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests of one run, and what each of them does."""
import fnmatch
import os
import shlex

# group of results -> program
PROGRAMS = {
    "frame": "bench-frame",
    "switching": "bench-switching",
    "locking": "bench-locking",
    "building": "bench-building",
    "attaching": "bench-attaching",
    "filling": "bench-filling",
    "neighbours": "bench-neighbours",
    "gups": "bench-gups",
    "kv": "bench-kv",
    "index": "bench-index",
    "bystanders": "bench-bystander",
}
IN_MAIN = [g for g in PROGRAMS if g != "bystanders"]

# applications of tests/apps that have a benchmark: group apps, or the name of one; only when asked for, as they have to be built
APPS_DIR = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "apps")
APPS = sorted(a for a in os.listdir(APPS_DIR) if os.path.exists(os.path.join(APPS_DIR, a, "bench")))

# name, which KVM modules, options of run-guest, groups, further patterns that restrict them
GUESTS = [
    ("main", "patched", "--mem 768 --pvvas on", IN_MAIN, None),
    # the stock kernel's own default, which turns on its mitigations for this CPU; all but one, of which it says so loudly
    # that it cannot do much that the run would fail
    ("mitigated", "patched", "--mem 512 --pvvas on --append 'mitigations=auto retbleed=off'", ["switching"],
     ["switching/empty_system_call", "switching/ping_pong_process_pipe"]),
    ("eight", "patched", "--mem 768 --smp 8 --pvvas on", ["filling", "locking"],
     ["filling/touch_in_order_by_threads", "locking/contended_by_threads"]),
    ("large", "patched", "--mem 1664 --pvvas on", ["filling"], ["filling/touch_1_gib_in_order"]),
    ("patched_off", "patched", "--mem 512 --pvvas off --driver off", ["bystanders"], None),
    # these load the driver after their boot was measured
    ("patched_on", "patched", "--mem 512 --pvvas on --driver off", ["bystanders"], None),
    ("patched_used", "patched", "--mem 512 --pvvas on --driver off", ["bystanders"], None),
    ("stock", "stock", "--mem 512 --pvvas off --driver off", ["bystanders"], None),
    # what these two differ by does not repeat
    ("stock_again", "stock", "--mem 512 --pvvas off --driver off", ["bystanders"], None),
]

# a host can have one KVM after the other
CHANGE_KVM = """. /etc/boot.conf
rmmod kvm_intel kvm
insmod /modules/{0}/kvm.ko && insmod /modules/{0}/kvm-intel.ko $KVM_INTEL_ARGS || exit 1
"""

GUEST_JOB = """#!/bin/sh
export LD_LIBRARY_PATH=/usr/lib:/bench/lib PATH=/bench/bin:/bin:/usr/bin PVVAS_BENCH=/bench
exec >/dev/vport0p2
{first}
# what mmap and munmap cost depends on what is mapped nearby
echo 0 >/proc/sys/kernel/randomize_va_space

# A kernel that has just started has work of its own: wait until a second passes in which it has next to none.
busy() {{ awk '/^cpu / {{print $2 + $3 + $4 + $7 + $8}}' /proc/stat; }}
seconds=0
while [ $seconds -lt 60 ]; do
	before=$(busy)
	sleep 1
	[ $(($(busy) - before)) -gt 5 ] || break
	seconds=$((seconds + 1))
done
echo "quiet after $seconds s" >&2
"""


def apps_wanted(only):
    words = only.replace(",", " ").split()
    return [a for a in APPS if any(w == "apps" or w.split("/")[0] == a for w in words)]


def group_wanted(group, only):
    """Can a pattern mean something of this group? The programs look at the names themselves."""
    words = only.replace(",", " ").split()
    words = [w for w in words if w != "apps" and w.split("/")[0] not in APPS] if apps_wanted(only) else words
    if not words and only.strip():
        return False
    return not words or any(fnmatch.fnmatch(group, w.split("/")[0]) or ("/" not in w and w not in PROGRAMS) for w in words)


def first_of_all(name, groups, only):
    """How long the boot took, before anything else runs; then the driver."""
    words = only.replace(",", " ").split()
    if "bystanders" not in groups:
        return ""
    driver = " /modules/pvvas.ko" if name in ("patched_on", "patched_used") else ""
    wanted = not words or any(fnmatch.fnmatch(x, w) for w in words for x in ("bystanders", "boot", "bystanders/boot"))
    if wanted or driver:
        return f"bench-bystander -b{driver} || exit 1" + ("" if wanted else " >&2")
    return ""


def write_jobs(folder, only, repeat):
    """Scripts of the host and of each guest; returns the guests' names."""
    host = ["#!/bin/sh"]
    names = []
    loaded = "patched"
    for name, kvm, options, groups, patterns in GUESTS:
        groups = [g for g in groups if group_wanted(g, only)]
        wanted = only
        if patterns:
            words = only.replace(",", " ").split()
            patterns = [p for p in patterns if not words or any(
                fnmatch.fnmatch(x, w) for w in words for x in (p, p.split("/")[0], p.split("/")[1]))]
            wanted = " ".join(patterns)
            if not patterns:
                groups = []
        if not groups:
            continue
        names.append(name)
        with open(os.path.join(folder, name), "w") as f:
            f.write(GUEST_JOB.format(first=first_of_all(name, groups, wanted)))
            for g in groups:
                f.write(f"echo '{name}: {g}' >&2\n")
                user = "-u " if name == "patched_used" else ""
                f.write(f"{PROGRAMS[g]} {user}-o {shlex.quote(wanted)} -r {repeat} || exit 1\n")
        if kvm != loaded:
            host.append(CHANGE_KVM.format(kvm))
            loaded = kvm
        host.append(f"run-guest --name {name} --job /jobs/{name} {options} --add /bench:bench --timeout 3600 "
                    f"|| echo $? >/out/{name}/failed")
    for name in apps_wanted(only):
        names.append(name)
        wanted = " ".join(name if w == "apps" else w for w in only.replace(",", " ").split())
        with open(os.path.join(folder, name), "w") as f:
            f.write(GUEST_JOB.format(first=""))
            f.write("export PATH=$PATH:/apps/bin LD_LIBRARY_PATH=$LD_LIBRARY_PATH:/apps/lib\n")
            f.write(f"echo '{name}' >&2\nbench-{name} -o {shlex.quote(wanted)} -r {repeat} || exit 1\n")
        if loaded != "patched":
            host.append(CHANGE_KVM.format("patched"))
            loaded = "patched"
        host.append(f"run-guest --name {name} --job /jobs/{name} --mem 1024 --pvvas on --add /bench:bench --add /{name}:apps "
                    f"--timeout 3600 || echo $? >/out/{name}/failed")
    host.append("exit 0")
    with open(os.path.join(folder, "host"), "w") as f:
        f.write("\n".join(host) + "\n")
    return names
