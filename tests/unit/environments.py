#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A small program as others build and run theirs, on the software backend: it works, or says what is in the way.

    environments [more]

Prints TAP.  With "more", what needs clang, valgrind or musl.
"""
import os
import resource
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import tap  # noqa: E402 pylint: disable=wrong-import-position

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.path.join(HERE, "..", "..")
ROOT = os.path.join(BUILD, "..")
LIBS = os.path.join(BUILD, "libpvvas")
LIBRARY = os.path.join(ROOT, "libpvvas")
PROGRAM = os.path.join(ROOT, "tests", "unit", "environments", "program.c")
PRELOAD = "/usr/lib/x86_64-linux-gnu/"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-I", os.path.join(LIBRARY, "include")]


def build(compiler, *flags, static=False):
    program = os.path.join(tap.folder, "program")
    library = [os.path.join(LIBS, "libpvvas.a")] if static else ["-L", LIBS, "-lpvvas"]
    subprocess.run([compiler, *FLAGS, *flags, "-o", program, PROGRAM, *library, "-pthread"], check=True, timeout=300)
    return program


def output(*words, limit=None, **more):
    """What it prints, standard error too."""
    def before():
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    soft = os.path.join(tap.folder, "soft")
    shutil.rmtree(soft, ignore_errors=True)
    env = dict(os.environ, PVVAS_BACKEND="soft", PVVAS_SOFT_DIR=soft, LD_LIBRARY_PATH=LIBS, **more)
    return subprocess.run(words, env=env, check=False, timeout=300, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=before).stdout.decode()


def works(program, **more):
    said = output(program, **more)
    assert said == "ok\n", said


def says(program, what, **more):
    said = output(*([program] if isinstance(program, str) else program), **more)
    assert what in said, said


def a_program_with_address_sanitizer_works():
    works(build("gcc-12", "-fsanitize=address"))


def a_program_with_undefined_behaviour_sanitizer_works():
    works(build("gcc-12", "-fsanitize=undefined", "-fno-sanitize-recover=all"))


def the_shadow_of_thread_sanitizer_is_in_the_way():
    says(build("gcc-12", "-fsanitize=thread"), "vas_attach: EEXIST\n")


def a_program_with_control_flow_protection_works():
    works(build("gcc-12", "-fcf-protection=full"))


def a_static_program_works():
    works(build("gcc-12", "-static", static=True))


def a_static_program_at_any_address_works():
    works(build("gcc-12", "-static-pie", static=True))


def another_malloc_works():
    program = build("gcc-12")
    for name in ("libjemalloc.so.2", "libtcmalloc_minimal.so.4"):
        assert os.path.exists(PRELOAD + name)
        works(program, LD_PRELOAD=PRELOAD + name)


def little_address_space_takes_a_small_window():
    program = build("gcc-12")
    says(program, "vas_attach: ENOMEM\n", limit=3 << 30)
    works(program, limit=3 << 30, PVVAS_WINDOW="64M")
    doctor = os.path.join(LIBS, "pvvas")
    said = output(doctor, "doctor", limit=3 << 30)
    assert "PVVAS_WINDOW=SIZE" in said, said
    said = output(doctor, "doctor", limit=3 << 30, PVVAS_WINDOW="64M")
    assert "yes      a process like this one can attach a VAS" in said, said


def sanitizers_of_clang_work_or_are_in_the_way():
    works(build("clang", "-fsanitize=address"))
    works(build("clang", "-fsanitize=undefined", "-fno-sanitize-recover=all"))
    says(build("clang", "-fsanitize=memory"), "vas_attach: EEXIST\n")
    says(build("clang", "-fsanitize=thread"), "vas_attach: EEXIST\n")


def valgrind_takes_a_small_window():
    program = build("gcc-12")
    says(("valgrind", "--quiet", program), "vas_attach: ENOMEM\n")
    said = output("valgrind", "--quiet", os.path.join(LIBS, "pvvas"), "doctor")
    assert "valgrind takes memory for each page of the window: say by PVVAS_WINDOW=SIZE how much to map" in said, said
    said = output("valgrind", "--quiet", "--error-exitcode=9", program, PVVAS_WINDOW="64M")
    assert said == "ok\n", said


def library_and_program_work_with_musl():
    sources = os.path.join(LIBRARY, "src")
    program = os.path.join(tap.folder, "program")
    subprocess.run(["musl-gcc", *FLAGS, "-static", "-I", os.path.join(ROOT, "guest-kernel", "include", "uapi"),
                    "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu", "-o", program, PROGRAM,
                    *(os.path.join(sources, name) for name in os.listdir(sources) if name.endswith(".c"))],
                   check=True, timeout=300)
    works(program)


SOME = [a_program_with_address_sanitizer_works, a_program_with_undefined_behaviour_sanitizer_works,
        the_shadow_of_thread_sanitizer_is_in_the_way, a_program_with_control_flow_protection_works, a_static_program_works,
        a_static_program_at_any_address_works, another_malloc_works, little_address_space_takes_a_small_window]
MORE = [sanitizers_of_clang_work_or_are_in_the_way, valgrind_takes_a_small_window, library_and_program_work_with_musl]


if __name__ == "__main__":
    sys.exit(tap.main(MORE if sys.argv[1:] == ["more"] else SOME))
