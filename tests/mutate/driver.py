# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the driver: built with the saved commands of its build, loaded one after another in guests of one machine.

A guest goes on to the next mutant as long as the driver can be unloaded and the kernel log is quiet; otherwise the host
starts another guest for the rest. A mutant during which the guest dies or says nothing any more is killed.
"""
import os
import re
import shutil
import subprocess

STALLED = 240  # seconds of the host's clock without a word of the guest

HOST_JOB = """#!/bin/sh
# Runs guests until each mutant of /jobs/todo has had its turn.
cp /jobs/todo /tmp/todo
n=0
while [ -s /tmp/todo ]; do
	n=$((n + 1))
	run-guest --name "mutants$n" --job /jobs/guest --add /jobs/mutants:mutants --add /tmp/todo:todo --driver off --mem 512 --smp {smp} \\
		--timeout 100000 </dev/null >"/tmp/console$n" 2>&1 &
	guest=$!
	live=/out/mutants$n/live size=0 quiet=0
	while kill -0 $guest 2>/dev/null; do
		sleep 5
		now=$(wc -c <"$live" 2>/dev/null || echo 0)
		quiet=$((now == size ? quiet + 5 : 0)) size=$now
		[ $quiet -lt {stalled} ] || killall -9 qemu
	done
	begun=$(sed -n 's/^=== mutant //p' "$live")
	echo "guest $n: $(echo $begun | wc -w) mutants"
	if [ -z "$begun" ]; then
		tail -n 20 "/tmp/console$n"
		exit 1
	fi
	for k in $begun; do
		sed -i "/^$k /d" /tmp/todo
	done
done
exit 0
"""

GUEST_JOB = """#!/bin/sh
# For each mutant of /todo (NUMBER ROW ROW...): load it, run the rows until one fails, unload it.
export PATH={testdir}:/bin:/usr/bin CMOCKA_MESSAGE_OUTPUT=TAP
live=/dev/vport0p2
row() {{
	case $1 in
{cases}
	esac
}}
trouble() {{
	dmesg | tail -n +"$seen" | grep -qE '{pattern}'
}}
# one ROW: 0 passed, 1 failed, 2 it does not end
one() {{
	row "$1" >/tmp/tap 2>&1 &
	pid=$! left=$2
	while kill -0 $pid 2>/dev/null; do
		left=$((left - 1))
		[ $left -gt 0 ] || {{
			kill -9 $pid
			killall -9 "$program" 2>/dev/null
			sleep 1
			kill -0 $pid 2>/dev/null && return 2
			return 1
		}}
		sleep 1
	done
	wait $pid
	case $? in 0 | 77) return 0 ;; *) return 1 ;; esac
}}
while read -r k rows; do
	echo "=== mutant $k" >$live
	seen=$(($(dmesg | wc -l) + 1)) word=survived again=
	cp /mutants/$k.ko /modules/pvvas.ko
	if insmod /modules/pvvas.ko 2>/tmp/tap; then
		for r in $rows; do
			name=${{r%%:*}}
			echo "--- $name" >$live
			start=$(cut -d. -f1 /proc/uptime)
			one "$name" "${{r#*:}}"
			status=$?
			echo "--- $name $status $(($(cut -d. -f1 /proc/uptime) - start)) s" >$live
			if [ $status != 0 ]; then
				word="killed $name"
				grep '^#' /tmp/tap | tail -n 4 >$live
				[ $status = 1 ] || again=yes
				break
			fi
			if trouble; then word="killed kernel-log" again=yes; break; fi
		done
		sleep 1
		rmmod pvvas 2>/dev/null || {{ sleep 3; rmmod pvvas; }} || again=yes
		[ -z "$again" ] || [ "$word" != survived ] || word="killed unload"
	else
		word="killed insmod"
	fi
	trouble && [ "$word" = survived ] && word="killed kernel-log"
	trouble && again=yes
	echo "=== result $k $word" >$live
	[ -z "$again" ] || exit 0
done </todo
exit 0
"""
TROUBLE = "BUG:|WARNING:|Oops|general protection|Call Trace:|kernel BUG|soft lockup|hung task|stall|bad page|Bad page"


def saved_command(folder, name):
    with open(os.path.join(folder, f".{name}.cmd")) as f:
        return re.match(r"savedcmd_\S+ := (.*)", f.read()).group(1).replace("$$", "$")


class Driver:
    """A copy of the driver's build, in which one mutant at a time is compiled."""

    def __init__(self, root, build, runner):
        self.root, self.runner, self.build = root, runner, build
        self.original = os.path.join(build, "guest-kernel", "driver")
        self.folder = os.path.join(build, "mutate", "driver")
        self.headers = os.path.join(build, "linux-6.12", "headers")
        if not os.path.exists(os.path.join(self.original, "pvvas.ko")):
            raise RuntimeError("the driver is not built: make setup")
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(os.path.dirname(self.original), self.folder)
        self.folder = os.path.join(self.folder, "driver")
        # the objects to link, by their paths
        with open(os.path.join(self.folder, "pvvas.mod")) as f:
            objects = f.read().replace(self.original, self.folder)
        with open(os.path.join(self.folder, "pvvas.mod"), "w") as f:
            f.write(objects)

    def command(self, name):
        return saved_command(self.original, name).replace(self.original, self.folder)

    def arguments(self):
        """For clang, which does not know all that gcc does."""
        words = saved_command(self.original, "page.o").split()
        keep = []
        for at, word in enumerate(words):
            if word.startswith(("-I", "-D", "-std=", "-nostdinc")):
                keep.append(word.replace("'", ""))
            elif word == "-include":
                keep += [word, words[at + 1]]
        return keep + ["-w", "-ferror-limit=0", "-I", os.path.join(self.root, "guest-kernel/include/uapi")]

    def shell(self, command):
        # what kbuild exports and the saved commands rely on
        return subprocess.run(command, shell=True, cwd=self.headers, env=dict(os.environ, SRCARCH="x86"), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    def put(self, path, text, result):
        """A module with @text in place of @path: "broken", "same" or None."""
        name = os.path.basename(path)[:-2]
        source, made = os.path.join(self.folder, name + ".c"), os.path.join(self.folder, name + ".o")
        with open(source, "rb") as f:
            saved = f.read()
        code = self.code(os.path.join(self.original, name + ".o"))
        try:
            with open(source, "wb") as f:
                f.write(text)
            if not self.shell(self.command(name + ".o")):
                return "broken"
            if self.code(made) == code:
                return "same"
            if not self.shell(self.command("pvvas.o")) or not self.shell(self.command("pvvas.ko")):
                return "broken"
            if self.code(os.path.join(self.folder, "pvvas.o")) == self.code(os.path.join(self.original, "pvvas.o")):
                raise RuntimeError(f"the module has no change of {path}")
            subprocess.run(["strip", "--strip-debug", "-o", result, os.path.join(self.folder, "pvvas.ko")], check=True)
            return None
        finally:
            with open(source, "wb") as f:
                f.write(saved)
            shutil.copy2(os.path.join(self.original, name + ".o"), made)

    @staticmethod
    def code(path):
        """What is loaded of an object: not the debug information, which knows lines and folders."""
        text = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", path], stdout=subprocess.PIPE, check=True).stdout
        # one that an object has not is no error
        data = subprocess.run(["objdump", "-s"] + [f"-j{n}" for n in (".rodata", ".data", ".rodata.str1.1", ".rodata.str1.8")] + [path],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
        return [x.split(b"\n", 3)[-1] for x in (text, data)]


def run_machine(build, root, runner, work, mutants, rows, seconds, smp="1"):
    """Let guests load the mutants (number: module): number -> "killed ROW" or "survived", and seconds by row."""
    jobs = os.path.join(work, "jobs")
    out = os.path.join(work, "out")
    shutil.rmtree(jobs, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(os.path.join(jobs, "mutants"))
    cases = {}
    with open(os.path.join(jobs, "todo"), "w") as f:
        for k, module in mutants.items():
            os.link(module, os.path.join(jobs, "mutants", f"{k}.ko"))
            f.write(f"{k} " + " ".join(f"{c.name}:{int(4 * seconds.get(c.name, 25)) + 20}" for c in rows[k]) + "\n")
            cases.update((c.name, c) for c in rows[k])
    text = "\n".join(f"\t{n}) program={c.argv[0]} && {' '.join(c.argv)} ;;" for n, c in sorted(cases.items()))
    with open(os.path.join(jobs, "guest"), "w") as f:
        f.write(GUEST_JOB.format(testdir=runner.TESTDIR, cases=text, pattern=TROUBLE))
    with open(os.path.join(jobs, "host"), "w") as f:
        f.write(HOST_JOB.format(smp=smp, stalled=STALLED))
    subprocess.run([os.path.join(root, "images", "boot"), "--job", os.path.join(jobs, "host"), "--add", f"{jobs}:jobs", "--memory", "2048",
                    "--cpus", "1", "--out", out, "--quiet", "--timeout", "7000", "--allow-klog"], check=False)
    results, took = {}, {}
    for name in sorted(os.listdir(out)) if os.path.isdir(out) else []:
        live = os.path.join(out, name, "live")
        if not os.path.exists(live):
            continue
        for line in open(live, errors="replace"):
            m = re.match(r"=== mutant (\d+)$", line)
            if m:
                results.setdefault(int(m.group(1)), "killed the guest")
            m = re.match(r"=== result (\d+) (.*)$", line)
            if m:
                results[int(m.group(1))] = m.group(2)
            m = re.match(r"--- (\S+) 0 (\d+) s$", line)
            if m:
                took[m.group(1)] = max(took.get(m.group(1), 0), int(m.group(2)))
    return results, took
