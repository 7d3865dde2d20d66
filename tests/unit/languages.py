#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The library from other languages, on the software backend: the examples, as they are installed.

    languages [rust]

Prints TAP.  With "rust", what has to be compiled first.
"""
import ctypes
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import tap  # noqa: E402 pylint: disable=wrong-import-position

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.path.join(HERE, "..", "..")
LIBS = os.path.join(BUILD, "libpvvas")
EXAMPLES = os.path.join(BUILD, "..", "libpvvas", "examples")
# a thread with a lock ends when the program has no use of the library any more
UNLOAD = """
import _ctypes, ctypes, threading
lib = ctypes.CDLL('%s')
lib.seg_alloc.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]
used, unloaded = threading.Event(), threading.Event()
def use():
    vid, sid = lib.vas_create(None, 0o600), lib.seg_alloc(None, None, 4096, 0o600)
    lib.seg_attach(vid, sid)
    lib.seg_ctl(sid, 0x53000004)
    print(lib.vas_switch(lib.vas_attach(vid)), lib.vas_switch(0), end=' ')
    used.set()
    unloaded.wait()
thread = threading.Thread(target=use)
thread.start()
used.wait()
_ctypes.dlclose(lib._handle)
unloaded.set()
thread.join()
print('ended')
"""
EXPECTED = "1000 numbers of two processes, all there\n"


def output(*words, dies=False):
    env = dict(os.environ, PVVAS_BACKEND="soft", PVVAS_SOFT_DIR=os.path.join(tap.folder, "soft"), LD_LIBRARY_PATH=LIBS,
               TMPDIR=tap.folder)
    p = subprocess.run(words, env=env, cwd=tap.folder, check=False, timeout=300, stdout=subprocess.PIPE)
    assert p.returncode == (-signal.SIGKILL if dies else 0), (words, p)
    return p.stdout.decode()


def processes_in_python_share_a_list():
    assert output("/usr/bin/python3", os.path.join(EXAMPLES, "shared-list.py")) == EXPECTED


def the_program_of_the_manual_page_works():
    with open(os.path.join(BUILD, "..", "libpvvas", "man", "pvvas.7"), encoding="utf-8") as f:
        page = f.read().split(".Ss Other languages")[1]
    program = page.split(".Bd -literal -offset indent\n")[1].split(".Ed\n")[0]
    assert output("/usr/bin/python3", "-c", program.replace("\\-", "-")) == "2000\n"


def numbers_of_the_manual_page_are_those_of_the_header():
    with open(os.path.join(BUILD, "..", "libpvvas", "man", "pvvas.7"), encoding="utf-8") as f:
        page = f.read().split(".Ss Other languages")[1].split(".Ss ")[0]
    told = re.findall(r"^\.It Dv (\w+) Ta (\w+)$", page, re.M)
    assert len(told) >= 10, told
    source = os.path.join(tap.folder, "numbers.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write("#include <stdio.h>\n#include <sys/mman.h>\n#include <pvvas.h>\nint main(void)\n{\n")
        f.writelines(f'\tprintf("%lx\\n", (unsigned long){name});\n' for name, _ in told)
        f.write("\treturn 0;\n}\n")
    output("gcc", "-I", os.path.join(BUILD, "..", "libpvvas", "include"), "-o", os.path.join(tap.folder, "numbers"), source)
    found = output(os.path.join(tap.folder, "numbers")).split()
    assert [int(x, 16) for x in found] == [int(number, 0) for _, number in told], (told, found)


def a_newcomers_programs_share_a_lock_and_a_heap():
    program = os.path.join(BUILD, "..", "tests", "unit", "languages", "newcomer.py")
    said = [output("/usr/bin/python3", program, *words.split(), dies=words == "die")
            for words in ("make", "push one", "push two", "list", "die", "list", "push three", "list")]
    assert said == ["", "", "", "two one\n", "", "repaired one\n", "", "three repaired one\n"], said


def a_newcomers_program_in_cpp_is_told_what_is_wrong():
    program = os.path.join(tap.folder, "newcomer")
    output("g++", "-std=c++17", "-O1", "-I", os.path.join(BUILD, "..", "libpvvas", "include"), "-o", program,
           os.path.join(BUILD, "..", "tests", "unit", "languages", "newcomer.cc"), "-L", LIBS, "-lpvvas", "-pthread")
    said = output(program).splitlines()
    assert said == ["no such name: vas_find: No such file or directory", "no handle: vas_switch: Invalid argument",
                    "nothing attached: vas_switch: Invalid argument", "home: nothing", "too large: bad_alloc", "scopes: 1",
                    "moved from: vas_switch: Invalid argument", "moved to: nothing", "strings: 1000 1", "threads: 400"], said


def the_switch_is_a_symbol():
    # without an attachment there is only home, and no backend is needed
    lib = ctypes.CDLL(os.path.join(LIBS, "libpvvas.so.1"))
    assert lib.vas_current() == 0
    assert lib.vas_switch(0) == 0


def a_library_that_is_unloaded_has_threads_end():
    assert output("/usr/bin/python3", "-c", UNLOAD % os.path.join(LIBS, "libpvvas.so.1")) == "0 0 ended\n"


def processes_in_rust_share_a_list():
    program = os.path.join(tap.folder, "shared-list")
    output("rustc", "-O", "-L", LIBS, "-o", program, os.path.join(EXAMPLES, "shared-list.rs"))
    assert output(program) == EXPECTED


SOME = [processes_in_python_share_a_list, the_program_of_the_manual_page_works, numbers_of_the_manual_page_are_those_of_the_header,
        a_newcomers_programs_share_a_lock_and_a_heap, a_newcomers_program_in_cpp_is_told_what_is_wrong, the_switch_is_a_symbol,
        a_library_that_is_unloaded_has_threads_end]

if __name__ == "__main__":
    sys.exit(tap.main([processes_in_rust_share_a_list] if sys.argv[1:] == ["rust"] else SOME))
