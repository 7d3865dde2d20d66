#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual pages of functions: sections that each one has, and the programs in them, built and run on the software backend.

    pages

Prints TAP.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import tap  # noqa: E402 pylint: disable=wrong-import-position

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.path.join(HERE, "..", "..")
LIBS = os.path.join(BUILD, "libpvvas")
LIBRARY = os.path.join(BUILD, "..", "libpvvas")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-I", os.path.join(LIBRARY, "include")]
# What a program prints as its last line on the software backend, and its exit status if that is not 0.  The rest ends with
# status 0 and prints something.
SAYS = {"seg_evict.3": ("seg_evict: Operation not supported", 1), "vas_next.3": ("", 0), "seg_attach.3": ("", 0), "seg_alloc_with.3": ("", 0),
        "vas_attach.3": ("1 and 2", 0), "vas_switch.3": ("now 1", 0), "vas_clone.3": ("still 1", 0), "seg_wait.3": ("the word is 1", 0),
        "seg_map2.3": ("42", 0), "seg_malloc.3": ("0", 0), "seg_open.3": ("run 1", 0), "seg_protect.3": ("a system call says EFAULT", 0)}


def read(*path):
    with open(os.path.join(LIBRARY, *path), encoding="utf-8") as f:
        return f.read()


def pages():
    """(name, text) of each page of section 3."""
    found = sorted(glob.glob(os.path.join(LIBRARY, "man", "*.3")))
    assert len(found) > 20, found
    return [(os.path.basename(p), read("man", os.path.basename(p))) for p in found]


def section(page, name):
    m = re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", page, re.M | re.S)
    return m.group(1) if m else ""


def names(page):
    """The functions and macros that it is about."""
    return [n for n in re.findall(r"^\.Nm (\S+)", section(page, "NAME"), re.M) if n != "pvvas.hpp"]


def programs(page):
    """The examples that are whole programs."""
    blocks = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed\n", section(page, "EXAMPLES"), re.M | re.S)
    plain = [re.sub(r"^\\&", "", b, flags=re.M).replace("\\e", "\\").replace("\\-", "-") for b in blocks]
    return [b for b in plain if re.search(r"^int main\(", b, re.M)]


def build(name, text):
    program = os.path.join(tap.folder, "program")
    source = program + (".cc" if name == "pvvas.hpp.3" else ".c")
    with open(source, "w", encoding="utf-8") as f:
        f.write(text)
    compiler = ["g++", "-std=c++17"] if source.endswith(".cc") else ["gcc", "-std=gnu11", "-D_GNU_SOURCE"]
    subprocess.run([*compiler, *WARNINGS, "-o", program, source, "-L", LIBS, "-lpvvas", "-pthread"], check=True, timeout=300)
    return program


def run(program):
    """Its status, and the last line of what it prints, in an empty folder and with no objects."""
    place = tempfile.mkdtemp(dir=tap.folder)
    env = dict(os.environ, PVVAS_BACKEND="soft", PVVAS_SOFT_DIR=os.path.join(place, "soft"), LD_LIBRARY_PATH=LIBS)
    done = subprocess.run([program], env=env, cwd=place, check=False, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, (done.stdout.decode().splitlines() or [""])[-1]


def every_page_has_a_program_that_works():
    for name, page in pages():
        found = programs(page)
        assert found, f"{name} shows no program"
        for text in found:
            status, line = run(build(name, text))
            print(f"# {name}: {line}", flush=True)
            said, wanted = SAYS.get(name, (None, 0))
            assert status == wanted, f"{name}: exit status {status}: {line}"
            assert line.endswith(said) if said else bool(line) == (said is None), f"{name}: {line}"


def every_page_says_which_functions_threads_may_share():
    for name, page in pages():
        table = section(page, "ATTRIBUTES")
        for function in names(page):
            row = [r for r in re.findall(r"^\.It .*", table, re.M) if re.search(rf"(Fn|Li) {function}( |$)", r)]
            assert len(row) == 1, f"{name}: {len(row)} rows for {function}"
            assert re.search(r"Ta Thread safety Ta MT-(Safe|Unsafe)", row[0]), row[0]


def every_page_says_since_when():
    nodes = re.findall(r"^PVVAS_([0-9.]+) \{(.*?)^\}", read("libpvvas.map"), re.M | re.S)
    assert nodes
    for name, page in pages():
        since = re.findall(r"first appeared in libpvvas ([0-9.]+)\.$", section(page, "HISTORY"), re.M)
        assert since, f"{name} has no history"
        for function in names(page):
            for version, symbols in nodes:
                assert not re.search(rf"^\t{function};", symbols, re.M) or version in since, f"{name}: {function} is of {version}"


def every_error_of_a_page_is_there_once():
    for name, page in pages():
        errors = re.findall(r"^\.It Bq Er (?:\\-)?(E\w+)", section(page, "ERRORS"), re.M)
        assert len(errors) == len(set(errors)), f"{name}: {errors}"
        # in a list, where make check-docs looks for its test
        text = re.sub(r"^\.Bl .*?^\.El$", "", section(page, "ERRORS"), flags=re.M | re.S)
        assert not re.search(r"^\.Er ", text, re.M), f"{name}: an error outside of the list"


CASES = [every_page_has_a_program_that_works, every_page_says_which_functions_threads_may_share, every_page_says_since_when,
         every_error_of_a_page_is_there_once]


if __name__ == "__main__":
    sys.exit(tap.main(CASES))
