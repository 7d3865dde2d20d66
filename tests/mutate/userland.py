# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the library and of the tool: compile the one file, link what contains it, run the unit rows that cover it.

Commands are those of the two Makefiles. Rows run in mount and PID namespaces of their own, with a small /dev/shm and limits,
as a mutant may do anything.
"""
import hashlib
import os
import resource
import shlex
import shutil
import subprocess
import time

FLAGS = "-O2"
MEMORY = 6 << 30
FILE_SIZE = 1 << 46


def run_quietly(argv, cwd):
    p = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return p.returncode, p.stdout


def limits():
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Commands:
    """The commands of a make, by the file that each makes."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        text = subprocess.run(["make", "-n", "-B", "-C", folder, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=True).stdout
        self.order, self.by_output = [], {}
        for line in text.replace("\\\n", " ").splitlines():
            try:
                argv = shlex.split(line)
            except ValueError:
                continue
            output = (argv[argv.index("-o") + 1] if "-o" in argv else argv[2] if argv[:2] == ["ar", "rcs"] else
                      argv[-1] if argv and argv[0] in ("cp", "install") else None)
            if output:
                self.by_output[output] = argv
                self.order.append(output)


class Workspace:
    """A build of library, tool and tests, in which one mutant at a time is put."""

    def __init__(self, root, folder, runner):
        self.root, self.folder, self.runner = root, folder, runner
        self.lib = os.path.join(folder, "libpvvas")
        self.tests = os.path.join(folder, "tests")
        self.library = Commands(os.path.join(root, "libpvvas"), f"O={self.lib}", f"CFLAGS={FLAGS}", "all")
        self.programs = None
        # the content of what was built last, and nothing while a mutant is in it
        self.stamp = os.path.join(folder, "stamp")
        self.stale = set()
        self.seconds = {}

    def execute(self, argv, cwd):
        status, text = run_quietly(argv, cwd)
        if status:
            raise RuntimeError(f"{shlex.join(argv)}\n{text}")

    def compiled(self, argv, cwd):
        """The command with an object for each source: the tests' Makefile compiles and links at once."""
        out = []
        sources = [a for a in argv if a.endswith(".c")]
        linker = [a for a in argv if a.endswith((".o", ".a")) or a.startswith(("-l", "-L", "-Wl", "-static", "-no-pie"))]
        flags = [a for i, a in enumerate(argv) if a not in sources and a not in linker and a not in ("-o", "-MF", "-MMD", "-MP")
                 and argv[i - 1] not in ("-o", "-MF")]
        for source in sources:
            name = hashlib.sha256(repr((flags, source)).encode()).hexdigest()[:16]
            path = os.path.join(self.folder, "objects", name + ".o")
            if not os.path.exists(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self.execute(flags + ["-c", "-o", path, source], cwd)
            out.append(path)
        return flags + ["-o", argv[argv.index("-o") + 1]] + out + linker

    def hash(self):
        digest = hashlib.sha256()
        for top in ("libpvvas", "tests", "guest-kernel/include"):
            for folder, _, names in sorted(os.walk(os.path.join(self.root, top))):
                for name in sorted(n for n in names if n.endswith((".c", ".h", ".py", ".json", ".mk", ".map", "Makefile"))):
                    with open(os.path.join(folder, name), "rb") as f:
                        digest.update(name.encode() + f.read())
        return digest.hexdigest()

    def build(self):
        """Everything, unchanged; nothing if that is there."""
        now = self.hash()
        fresh = os.path.exists(self.stamp) and open(self.stamp).read() == now
        if not fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.build_library()
        self.programs = Commands(os.path.join(self.root, "tests"), f"BUILD={self.folder}", f"O={self.tests}",
                                 f"CFLAGS={FLAGS} -std=gnu11 -pthread", "all")
        if not fresh:
            self.build_programs()
            with open(self.stamp, "w") as f:
                f.write(now)

    def build_library(self):
        for output in self.library.order:
            os.makedirs(os.path.dirname(output), exist_ok=True)
            self.execute(self.library.by_output[output], self.library.folder)
        self.links()

    def build_programs(self):
        for output in self.programs.order:
            if "/host/" in output:
                continue
            os.makedirs(os.path.dirname(output), exist_ok=True)
            argv = self.programs.by_output[output]
            whole = output.endswith((".o", ".a")) or argv[0] == "install"
            self.execute(argv if whole else self.compiled(argv, self.programs.folder), self.programs.folder)

    def links(self):
        shared = next(o for o in self.library.order if ".so." in o)
        for name in ("libpvvas.so.1", "libpvvas.so"):
            path = os.path.join(self.lib, name)
            if not os.path.lexists(path):
                os.symlink(os.path.basename(shared), path)

    def objects_of(self, path):
        """The objects made of the source @path, a path from the root."""
        source = os.path.relpath(path, "libpvvas")
        return [o for o in self.library.order if o.endswith(".o") and source in self.library.by_output[o]]

    def put(self, path, text):
        """Build with @text in place of the source @path: "same", "broken" or None."""
        if os.path.exists(self.stamp):
            os.unlink(self.stamp)
        source = os.path.relpath(path, "libpvvas")
        mutant = os.path.join(self.folder, "mutant", os.path.basename(path))
        os.makedirs(os.path.dirname(mutant), exist_ok=True)
        with open(mutant, "wb") as f:
            f.write(text)
        changed = False
        for output in self.objects_of(path):
            with open(output, "rb") as f:
                before = f.read()
            argv = [mutant if a == source else a for a in self.library.by_output[output]]
            # __FILE__ and the order of what a name sorts must not tell the two apart
            argv += ["-w", "-iquote", os.path.dirname(source), f"-ffile-prefix-map={mutant}={source}"]
            status, _ = run_quietly(argv, self.library.folder)
            if status:
                return "broken"
            with open(output, "rb") as f:
                changed = changed or f.read() != before
        if not changed:
            return "same"
        return None if self.link(path) else "broken"

    def take_back(self, path):
        with open(os.path.join(self.root, path), "rb") as f:
            self.put(path, f.read())
        self.link(path)

    def finish(self):
        """No mutant is in it any more; leave it for the next time."""
        for output in sorted(self.stale):
            self.relink(output)
        with open(self.stamp, "w") as f:
            f.write(self.hash())

    def link(self, path):
        outputs = [o for o in self.library.order if not o.endswith(".o") and any(
            x in self.library.by_output[o] for x in self.objects_of(path))]
        for output in outputs:
            if output.endswith(".a"):
                os.unlink(output)
            status, _ = run_quietly(self.library.by_output[output], self.library.folder)
            if status:
                return False
        self.stale = {o for c in (self.library, self.programs) for o in c.order
                      if any(a in c.by_output[o] and a != o for a in outputs if a.endswith(".a"))}
        return True

    def refresh(self, case):
        """Link what the row runs, if it has the library in it."""
        wanted = f"/unit/{case.argv[0]}"
        for output in sorted(self.stale):
            if output.endswith(wanted) or (case.argv[-1] == "examples" and "/examples/" in output):
                self.relink(output)
                self.stale.discard(output)

    def relink(self, output):
        if output in self.programs.by_output:
            self.execute(self.compiled(self.programs.by_output[output], self.programs.folder), self.programs.folder)
        else:
            self.execute(self.library.by_output[output], self.library.folder)

    def row(self, case, seconds):
        """Run one row: problems, and how long it took."""
        self.refresh(case)
        with self.runner.as_user(case, self.folder) as program:
            return self.run_program(case, program, seconds)

    def run_program(self, case, program, seconds):
        inside = "mount -t tmpfs -o size=1g none /dev/shm && mount -t tmpfs -o size=256m,mode=1777 none /tmp && exec \"$@\""
        argv = ["unshare", "-mp", "--fork", "--mount-proc", "--kill-child", "sh", "-c", inside, "sh"] + program
        start = time.time()
        p = subprocess.Popen(argv, env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP"), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=limits)
        try:
            out, _ = p.communicate(timeout=seconds)
            status = p.returncode
        except subprocess.TimeoutExpired:
            # unshare's end is that of the first process of the namespace, and so of all
            p.kill()
            out, _ = p.communicate()
            status = 124
        return self.runner.judge(case, out.decode(errors="replace"), status)[1], time.time() - start

    def measure(self, cases):
        for case in cases:
            problems, took = self.row(case, 120)
            if problems:
                raise RuntimeError(f"{case.name} fails without any mutant: {problems[0]}")
            self.seconds[case.name] = took

    def killer(self, cases):
        """The first row that fails, and how long the rows took; None if all pass."""
        total = 0
        for case in cases:
            problems, took = self.row(case, 4 * self.seconds[case.name] + 6)
            total += took
            if problems:
                return case.name, total
        return None, total
