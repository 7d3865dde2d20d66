#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The library from other languages, on the software backend: the examples, as they are installed.

    languages [rust]

Prints TAP.  With "rust", what has to be compiled first.
"""
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.path.join(HERE, "..", "..")
LIBS = os.path.join(BUILD, "libpvvas")
EXAMPLES = os.path.join(BUILD, "..", "libpvvas", "examples")
EXPECTED = "1000 numbers of two processes, all there\n"

folder = ""


def output(*words):
    env = dict(os.environ, PVVAS_BACKEND="soft", PVVAS_SOFT_DIR=os.path.join(folder, "soft"), LD_LIBRARY_PATH=LIBS,
               TMPDIR=folder)
    return subprocess.run(words, env=env, cwd=folder, check=True, timeout=300, stdout=subprocess.PIPE).stdout.decode()


def processes_in_python_share_a_list():
    assert output("/usr/bin/python3", os.path.join(EXAMPLES, "shared-list.py")) == EXPECTED


def the_program_of_the_manual_page_works():
    with open(os.path.join(BUILD, "..", "libpvvas", "man", "pvvas.7"), encoding="utf-8") as f:
        page = f.read().split(".Ss Other languages")[1]
    program = page.split(".Bd -literal -offset indent\n")[1].split(".Ed\n")[0]
    assert output("/usr/bin/python3", "-c", program.replace("\\-", "-")) == "2000\n"


def the_switch_is_a_symbol():
    # without an attachment there is only home, and no backend is needed
    lib = ctypes.CDLL(os.path.join(LIBS, "libpvvas.so.1"))
    assert lib.vas_current() == 0
    assert lib.vas_switch(0) == 0


def processes_in_rust_share_a_list():
    program = os.path.join(folder, "shared-list")
    output("rustc", "-O", "-L", LIBS, "-o", program, os.path.join(EXAMPLES, "shared-list.rs"))
    assert output(program) == EXPECTED


def main():
    global folder
    cases = [processes_in_rust_share_a_list] if sys.argv[1:] == ["rust"] else [processes_in_python_share_a_list,
                                                                              the_program_of_the_manual_page_works,
                                                                              the_switch_is_a_symbol]
    wrong = 0
    print(f"1..{len(cases)}")
    for number, case in enumerate(cases, 1):
        folder = tempfile.mkdtemp(prefix="pvvas-languages-", dir=os.environ.get("PVVAS_TEST_DIR", "/dev/shm"))
        word = "ok"
        try:
            case()
        except Exception:  # pylint: disable=broad-except
            word = "not ok"
            wrong += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{word} {number} - {case.__name__}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
