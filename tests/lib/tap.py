# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of a program, each in a folder of its own; main() prints TAP."""
import os
import shutil
import tempfile
import traceback

folder = ""  # of the case that runs


class Skip(Exception):
    pass


def main(cases):
    global folder
    wrong = 0
    print(f"1..{len(cases)}")
    for number, case in enumerate(cases, 1):
        folder = tempfile.mkdtemp(prefix="pvvas-case-", dir=os.environ.get("PVVAS_TEST_DIR", "/dev/shm"))
        why, word = "", "ok"
        try:
            case()
        except Skip as e:
            why = f" # SKIP {e}"
        except Exception:  # pylint: disable=broad-except
            word = "not ok"
            wrong += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{word} {number} - {case.__name__}{why}", flush=True)
    return 1 if wrong else 0
