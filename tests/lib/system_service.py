#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints, as lines for an array in C, the system calls that the installed systemd's SystemCallFilter=@system-service allows."""
import subprocess


def members(group):
    """The names of a group, those of the groups in it too."""
    lines = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[1:]
    names = set()
    for word in (x.strip() for x in lines if x.strip() and not x.strip().startswith("#")):
        names |= members(word) if word.startswith("@") else {word}
    return names


print("/* Made from systemd's @system-service. */")
for name in sorted(members("@system-service")):
    # some are of other processors
    print(f"#ifdef SYS_{name}\n\tSYS_{name},\n#endif")
