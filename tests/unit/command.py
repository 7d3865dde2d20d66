#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command pvvas on the software backend: what it prints, as text and as JSON, its exit statuses, what it does.

JSON is parsed, and checked against the schema that is installed with the command.
"""
import json
import os
import pty
import resource
import subprocess
import sys
import time

import jsonschema

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import tap  # noqa: E402 pylint: disable=wrong-import-position
from tool import FIRST, LIBS, MIB, SCHEMA, change_owner, contents, environment, file_with, good, misused, parsed, refused, run  # noqa: E402 pylint: disable=wrong-import-position


def row(kind, number):
    """The columns of one row of ls."""
    for line in good("ls", kind).splitlines()[1:]:
        fields = line.split()
        if fields[1] == str(number):
            return fields
    raise AssertionError(f"{kind} {number} is not listed")


def timeless(objects):
    """Without what another second has changed."""
    for o in objects:
        assert o.pop("idle") < 1000
    return objects


def json_is_what_the_schema_says():
    assert parsed("ls", "ls") == []
    names = ["plain", 'quo"te', "back\\slash", "c1 \u009b2J", "\U0001f600", "\u00fc\u20ac", "a b"]
    vids = [parsed("create", "create", "vas", n, "-m", "640")["id"] for n in names]
    sids = [parsed("create", "create", "seg", n, "8K", "-b", hex(FIRST + i * 2 * MIB))["id"] for i, n in enumerate(names)]
    listed = timeless(parsed("ls", "ls"))
    assert [x["id"] for x in listed] == vids + sids
    assert [x["kind"] for x in listed] == ["vas"] * 7 + ["seg"] * 7
    assert [x["name"] for x in listed] == names + names
    assert listed[0] == {"kind": "vas", "id": vids[0], "mode": "0640", "uid": os.geteuid(), "gid": os.getegid(), "users": 0, "expiry": 0,
                         "name": "plain"}
    assert listed[8] == {"kind": "seg", "id": sids[1], "mode": "0600", "uid": os.geteuid(), "gid": os.getegid(), "users": 0, "expiry": 0,
                         "base": hex(FIRST + 2 * MIB), "size": 8192, "resident": 0, "name": 'quo"te'}
    assert timeless(parsed("ls", "ls", "vas")) == listed[:7]
    assert timeless(parsed("ls", "ls", "seg")) == listed[7:]
    assert timeless(json.loads(good("ls", "seg", "--json"))) == listed[7:]


def names_without_control_characters_are_names():
    for name in "", ".", "..", "a/b", "tab\there", "\x1b[2J", "\x7f":
        shown = "".join(c if c >= " " and c != "\x7f" else f"\\x{ord(c):02x}" for c in name)
        refused(1, f"{shown}: Invalid argument", "create", "vas", name)
        refused(1, f"{shown}: Invalid argument", "create", "seg", name, "8K")
    assert parsed("ls", "ls") == []


def json_of_a_vas_has_its_segments():
    vid = parsed("create", "create", "vas", "v")["id"]
    stat = parsed("stat", "stat", "vas", "v")
    assert timeless([stat["object"]]) == timeless(parsed("ls", "ls", "vas")) and stat["segments"] == []
    for i in range(3):
        good("create", "seg", f"s{i}", (i + 1) * 4096, "-b", FIRST + i * 2 * MIB)
        good("attach", "v", f"s{i}", *(["ro"] if i == 1 else []))
        segments = parsed("stat", "stat", "vas", f"#{vid}")["segments"]
        assert len(segments) == i + 1
    assert segments == [{"id": parsed("stat", "stat", "seg", f"s{i}")["object"]["id"], "writable": i != 1,
                         "base": hex(FIRST + i * 2 * MIB), "size": (i + 1) * 4096, "name": f"s{i}"} for i in range(3)]
    seg = parsed("stat", "stat", "seg", "s1")
    assert set(seg) == {"object"} and seg["object"]["users"] == 1
    lines = good("stat", "vas", "v").splitlines()
    assert lines[0].split() == ["vas", str(vid), "0600"] + lines[0].split()[3:5] + ["0", "v"]
    assert [x.split() for x in lines[1:]] == [["r-" if i == 1 else "rw", hex(FIRST + i * 2 * MIB), str((i + 1) * 4096),
                                               f"#{segments[i]['id']}", f"s{i}"] for i in range(3)]
    assert len(good("stat", "seg", "s1").splitlines()) == 1


def owner_and_group_are_told_apart():
    if os.geteuid():
        raise tap.Skip("needs root")
    vid = parsed("create", "create", "vas", "v")["id"]
    change_owner(vid, 1234, 4321)
    one = parsed("ls", "ls")[0]
    assert (one["uid"], one["gid"]) == (1234, 4321)
    assert row("vas", vid)[3:5] == ["1234", "4321"]
    change_owner(vid, 0, 65534)
    assert row("vas", vid)[3:5] == ["root", "nogroup"]


def text_has_what_json_has():
    sid = int(good("create", "seg", "s", "1M", "-m", "0604", "-b", "0x208080000000"))
    vid = int(good("create", "vas", "v", "-m", "706"))
    good("attach", "v", "s")
    heading, vas, seg = good("ls").splitlines()
    assert heading.split() == ["id", "mode", "owner", "group", "users", "base", "size", "resident", "name"]
    assert vas.split()[:3] == ["vas", str(vid), "0706"] and vas.split()[5:] == ["0", "v"]
    assert seg.split()[:3] == ["seg", str(sid), "0604"] and seg.split()[5:] == ["1", "0x208080000000", "1048576", "0", "s"]
    with open(os.path.join(tap.folder, "file"), "wb") as f:
        f.write(b"x" * 5000)
    good("cp", "file", "seg:s")
    assert row("seg", sid)[7:] == ["1048576", "8192", "s"]
    assert len(good("ls", "vas").splitlines()) == 2 and len(good("ls", "seg").splitlines()) == 2


def sizes_and_modes_are_read_exactly():
    wanted = {"4096": 4096, "1": 4096, "0x2000": 8192, "4K": 4096, "3M": 3 * MIB, "2G": 2 << 30, "1T": 1 << 40, "010": 4096}
    for i, (text, size) in enumerate(wanted.items()):
        sid = parsed("create", "create", "seg", f"s{i}", text)["id"]
        assert parsed("stat", "stat", "seg", f"#{sid}")["object"]["size"] == size, text
        good("rm", "seg", f"s{i}")
    for text in ("", "K", "4KB", "4k", "-1", "-4K", "+1", " 1", "x", "0x", "18446744073709551616", "16777216T", "17179869184G", "1 "):
        misused("create", "seg", "s", text)
    for text in ("", "8", "08", "1000", "778", "-1", "+7", "7x", "u+r", "0x7"):
        misused("create", "vas", "v", "-m", text)
        misused("chmod", text, "vas", "v")
    for text, mode in (("0", "0000"), ("777", "0777"), ("0777", "0777"), ("7", "0007"), ("00000600", "0600")):
        good("create", "vas", "v", "-m", text)
        assert parsed("ls", "ls", "vas")[0]["mode"] == mode
        good("rm", "vas", f"#{parsed('ls', 'ls', 'vas')[0]['id']}")
    refused(1, "seg s: ", "create", "seg", "s", "0")
    refused(1, "seg s: Argument list too long", "create", "seg", "s", "16383T")


def wrong_command_lines_are_told():
    p = run()
    assert p.returncode == 2 and p.stderr == b"pvvas: a command is missing; pvvas --help lists them\n"
    p = run("nonsense")
    assert p.returncode == 2 and p.stderr == b"pvvas: there is no command 'nonsense'; pvvas --help lists them\n"
    for words in (["ls", "x"], ["ls", "vas", "seg"], ["stat"], ["stat", "vas"], ["stat", "x", "v"], ["stat", "vas", "a", "b"],
                  ["create"], ["create", "vas"], ["create", "x", "v"], ["create", "seg", "s"], ["create", "vas", "v", "-m"],
                  ["create", "vas", "v", "-b", "0"], ["create", "vas", "v", "-x", "1"], ["create", "seg", "s", "4K", "-b"],
                  ["create", "seg", "s", "4K", "-b", "x"], ["rm"], ["rm", "vas"], ["rm", "x", "v"], ["chmod"], ["chmod", "600"],
                  ["chmod", "600", "vas"], ["chmod", "600", "x", "v"], ["attach"], ["attach", "v"], ["attach", "v", "s", "rw"],
                  ["attach", "v", "s", "ro", "x"], ["detach", "v"], ["detach", "v", "s", "x"], ["cp"], ["cp", "a"],
                  ["cp", "a", "b"], ["cp", "seg:a", "seg:b"], ["cp", "seg:a", "b", "c"], ["run"], ["run", "v"], ["run", "v", "--"],
                  ["save"], ["save", "d"], ["save", "--since", "d"], ["save", "--own", "v", "d"], ["load"], ["load", "a", "b"], ["load", "--since", "d"], ["restore", "a", "b"], ["restore", "--all"],
                  ["run", "v", "true", "--"], ["doctor", "x"], ["ps", "x"], ["stats", "x"], ["stats", "0"], ["stats", "1", "1"], ["stats", "86401"],
                  ["ls", "--idle", "vas"], ["heap"], ["top", "0"], ["top", "1", "2"], ["top", "--watch", "1"], ["resize"], ["resize", "s"], ["resize", "s", "1h"], ["resize", "s", "1", "2"], ["expire"], ["expire", "1", "vas"], ["expire", "-1", "vas", "v"], ["expire", "1h", "vas", "v"],
                  ["expire", "4294967296", "vas", "v"], ["heap", "s", "x"], ["heap", "s", "--collect", "x"]):
        misused(*words)
    for id_ in ("#", "#0", "#-1", "#1x", "#1073741824", "#x"):
        refused(1, f"vas {id_}: Invalid argument", "stat", "vas", id_)
    refused(3, "vas #1073741823: No such file", "stat", "vas", "#1073741823")
    refused(3, "seg #1073741823: No such file", "stat", "seg", "#1073741823")
    refused(3, "seg #1073741823: No such file", "cp", "seg:#1073741823", "f")


def help_lists_each_command():
    text = good("--help")
    assert text == good("-h") and text.startswith("usage: pvvas [--json] COMMAND ...\n")
    for command in ("ls [vas | seg] [--idle]", "stat vas|seg NAME", "create vas NAME", "rm vas|seg NAME...", "chmod MODE vas|seg NAME...",
                    "expire SECONDS|never vas|seg NAME...", "resize SEG SIZE", "attach VAS SEG [ro]", "detach VAS SEG", "heap SEG [--collect]", "cp seg:NAME FILE", "save [--since] vas:NAME... DIR", "load [--own] DIR", "restore [FOLDER]", "run VAS -- PROGRAM", "ps", "top [SECONDS] [--watch]", "stats [SECONDS]", "doctor"):
        assert f"\n  {command}" in text, command
    for what in ("list them", "all about one", "make one", "take names away", "change modes", "show a segment in a VAS", "undo it",
                 "copy a segment to a file, or back", "write VASes with their segments to a folder", "make the VASes that are in a folder", "load what a folder has links to, at boot",
                 "run a program that starts in a VAS", "what works here, and what does not"):
        assert f"\n      {what}\n" in text, what
    version = good("--version").split()
    assert version[0] == "pvvas" and [x.isdigit() for x in version[1].split(".")] == [True, True]


def only_what_nothing_uses_is_idle():
    good("create", "vas", "v")
    good("create", "seg", "s", "4K")
    good("create", "seg", "alone", "4K")
    good("attach", "v", "s")
    assert [o["name"] for o in parsed("ls", "ls", "--idle")] == ["v", "alone"]
    assert [o["name"] for o in parsed("ls", "ls", "seg", "--idle")] == ["alone"]
    assert [line.split()[-1] for line in good("ls", "seg", "--idle").splitlines()[1:]] == ["alone"]
    assert len(parsed("ls", "ls")) == 3


def segments_grow_as_told():
    vid = good("create", "vas", "v").strip()
    good("create", "seg", "grows", "1M", "-b", FIRST)
    good("create", "seg", "behind", "1M", "-b", FIRST + 8 * MIB)
    for name in "grows", "behind":
        good("attach", f"#{vid}", name)
    assert good("resize", "grows", "8M") == ""
    assert good("resize", "grows", "8M") == ""
    refused(1, "resize grows: another segment is in the way", "resize", "grows", "9M")
    refused(1, "resize grows: a segment does not get smaller", "resize", "grows", "1M")
    refused(1, "resize grows: Invalid argument", "resize", "grows", "0xffffffffffffffff")
    refused(1, "resize grows: it would not be in the window", "resize", "grows", "64T")
    refused(3, "resize nothing: No such file", "resize", "nothing", "1M")
    assert parsed("stat", "stat", "seg", "grows")["object"]["size"] == 8 * MIB


def objects_expire_as_told():
    vid = int(good("create", "vas", "short"))
    good("create", "vas", "long")
    assert good("expire", "1000", "vas", "short", "long") == ""
    attributes = parsed("ls", "ls", "vas", "--json")
    assert [o["expiry"] for o in attributes if o["name"] in ("short", "long")] == [1000, 1000]
    assert all(o["idle"] < 1000 for o in attributes)
    good("expire", "never", "vas", "long")
    good("expire", "1", "vas", f"#{vid}")
    for _ in range(100):
        if not any(o["name"] == "short" for o in parsed("ls", "ls", "vas", "--json")):
            break
        time.sleep(0.1)
    names = {o["name"]: o["expiry"] for o in parsed("ls", "ls", "vas", "--json")}
    assert "short" not in names and names["long"] == 0
    refused(3, "vas short: No such file", "expire", "5", "vas", "short")


def what_grows_is_on_top():
    vid = parsed("create", "create", "vas", "v")["id"]
    small, large = (parsed("create", "create", "seg", n, "8M", "-b", hex(FIRST + i * 8 * MIB))["id"]
                    for i, n in enumerate(["small", "large \u009b2J"]))
    good("attach", "v", "small")
    good("cp", file_with("m", b"x" * 4 * MIB), f"seg:#{large}")
    process = subprocess.Popen([os.path.join(LIBS, "pvvas"), "--json", "top"], env=environment(), stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    good("cp", file_with("s", b"y" * MIB), "seg:small")
    rows = json.loads(process.communicate()[0])
    jsonschema.validate(rows, {"$ref": "#/$defs/top", "$defs": SCHEMA["$defs"]})
    # the copy's own VAS may be there still
    rows = [r for r in rows if r["name"]]
    assert [r["id"] for r in rows] == [small, large, vid]
    assert [r["grown"] for r in rows] == [MIB, 0, 0] and [r["resident"] for r in rows] == [MIB, 4 * MIB, 0]
    assert rows[0]["holders"] == [{"vas": vid}] and rows[1]["holders"] == []
    lines = good("top").splitlines()
    assert len(lines) == 4 and lines[1].endswith("large\\x20\\xc2\\x9b2J") and lines[2].endswith(f"small #{vid}")
    for i in range(30):
        good("create", "vas", f"more{i}")
    lines = good("top", "1").splitlines()
    assert len(lines) == 23 and lines[-1] == "and 12 more"
    process = subprocess.Popen([os.path.join(LIBS, "pvvas"), "top", "1", "--watch"], env=environment(), stdout=subprocess.PIPE, text=True)
    assert [process.stdout.readline().split()[0] for i in range(2 * 23)].count("id") == 2
    process.kill()
    process.wait()


def counters_in_text_are_those_of_json():
    good("create", "vas", "v")
    counters = parsed("stats", "stats")
    assert counters["vases"] == 1 and counters["segs"] == 0
    words = [line.split() for line in good("stats").splitlines() if line]
    assert [w[0] for w in words] == list(counters) and all(len(w) == 2 for w in words)
    p = subprocess.Popen([os.path.join(LIBS, "pvvas"), "stats", "1"], env=environment(), stdout=subprocess.PIPE)
    for name in list(counters) + [None]:
        line = p.stdout.readline().decode()
        assert line.split()[:1] == ([name] if name else []), line
    good("create", "vas", "w")
    # what there is has no rate
    now = list(counters)[:list(counters).index("hv_max_shadow_pages") + 1]
    for name in list(counters):
        line = p.stdout.readline().decode().split()
        assert line[0] == name and (len(line) == 3) == (name not in now), line
        assert name != "vases" or line[1] == "2", line
    p.kill()
    p.wait()


def processes_are_asked_of_the_driver():
    if os.path.exists("/sys/fs/pvvas/processes"):
        raise tap.Skip("there is a driver")
    refused(5, "ps: /sys/fs/pvvas/processes: no driver", "ps")


def a_name_is_one_word_where_others_follow():
    for name in "v 77 #78", "w":
        good("create", "vas", name)
    good("create", "seg", "s 1", "4K")
    good("attach", "w", "s 1")
    vid = parsed("stat", "stat", "vas", "w")["object"]["id"]
    assert [line.split()[6:] for line in sorted(good("top").splitlines()[1:])] == [["s\\x201", f"#{vid}"], ["v\\x2077\\x20#78"], ["w"]]
    assert parsed("top", "top")[0]["name"] in ("s 1", "v 77 #78", "w")


def a_list_of_which_more_and_more_comes_has_an_end():
    shim = os.path.join(tap.folder, "shim.so")
    code = "int vas_next(int id) { return id + 1; }"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, "-x", "c", "-"], input=code.encode(), check=True)
    for words in ["ls"], ["--json", "ls", "vas"], ["top"]:
        p = run(*words, env={"LD_PRELOAD": shim})
        assert p.returncode == 1 and p.stderr == f"pvvas: {words[-1] if words[-1] != 'vas' else 'ls'}: objects are made as fast as they are listed\n".encode(), p


def json_is_whole_or_not_there():
    for kind in "vas", "seg":
        p = run("--json", "stat", kind, "#1073741823")
        assert p.returncode == 3 and not p.stdout and p.stderr, p


def what_is_not_there_is_told_by_name():
    good("create", "vas", "v")
    for words, said in ((("stat", "vas", "x"), "vas x"), (("stat", "seg", "v"), "seg v"), (("rm", "vas", "x"), "vas x"),
                        (("chmod", "600", "seg", "x"), "seg x"), (("attach", "x", "x"), "vas x"), (("attach", "v", "x"), "seg x"),
                        (("detach", "x", "x"), "vas x"), (("detach", "v", "x"), "seg x"), (("cp", "seg:x", "f"), "seg x"),
                        (("cp", "f", "seg:x"), "f"), (("run", "x", "--", "true"), "vas x"),
                        (("run", "v", "--", "no-such-program"), "no-such-program")):
        refused(3, f"pvvas: {said}: No such file or directory", *words)
    refused(1, "vas v: File exists", "create", "vas", "v")
    good("create", "seg", "s", "4K")
    refused(3, "detach s from v: No such", "detach", "v", "s")
    good("attach", "v", "s")
    refused(1, "attach s to v: File exists", "attach", "v", "s")
    good("detach", "v", "s")
    assert parsed("stat", "stat", "vas", "v")["segments"] == []


def the_rest_is_done_where_one_fails():
    for n in ("a", "b", "c"):
        good("create", "vas", n)
        good("create", "seg", n, "4K")
    refused(3, "vas x: No such", "chmod", "644", "vas", "a", "x", "c")
    assert [o["mode"] for o in parsed("ls", "ls", "vas")] == ["0644", "0600", "0644"]
    good("chmod", "4", "seg", "b")
    assert [o["mode"] for o in parsed("ls", "ls", "seg")] == ["0600", "0004", "0600"]
    refused(3, "seg x: No such", "rm", "seg", "a", "x", "c")
    assert [o["name"] for o in parsed("ls", "ls", "seg")] == ["b"]
    good("rm", "vas", "a", "b", "c")
    assert parsed("ls", "ls", "vas") == []


def variables_of_no_sense_are_named():
    backend = "PVVAS_BACKEND is neither kernel nor soft nor auto"
    folder = "PVVAS_SOFT_DIR is no folder, and there is none to make it in"
    for env, why in (({"PVVAS_BACKEND": "sotf"}, backend), ({"PVVAS_BACKEND": ""}, backend),
                     ({"PVVAS_SOFT_DIR": "/nonexistent/folder"}, folder), ({"PVVAS_SOFT_DIR": "/dev/null"}, folder)):
        for words in (["ls"], ["--json", "ls"], ["top"], ["stats"]):
            refused(1, f": {why}", *words, env=env)
            assert not run(*words, env=env).stdout
        assert json.loads(run("--json", "doctor", env=env).stdout)["reason"] == why


def modes_are_refused_as_denied():
    if not os.geteuid():
        raise tap.Skip("root is denied nothing")
    good("create", "vas", "v", "-m", "0")
    good("create", "seg", "s", "4K", "-m", "0")
    for words, said in ((("stat", "vas", "v"), "vas v"), (("cp", "seg:s", "f"), "seg s"), (("run", "v", "--", "true"), "vas v")):
        refused(4, f"pvvas: {said}: Permission denied", *words)
    vid = parsed("ls", "ls", "vas")[0]["id"]
    refused(4, "Permission denied", "run", f"#{vid}", "--", "true")
    refused(4, f"vas #{vid}: Permission denied", "stat", "vas", f"#{vid}")


def without_views_that_is_what_is_told():
    if json.loads(run("--json", "doctor").stdout)["hypervisor"] != "no":
        raise tap.Skip("this machine has views")
    kernel = {"PVVAS_BACKEND": None}
    refused(5, "pvvas: ls: this machine's hypervisor offers no views", "ls", env=kernel)
    refused(5, "pvvas: vas v: this machine's hypervisor", "create", "vas", "v", env=kernel)
    p = run("doctor", env=kernel)
    lines = p.stdout.decode().splitlines()
    assert p.returncode == 5 and len(lines) == 10, p
    assert [x.split()[0] for x in lines[::2]] == ["no"] * 5
    assert [x.split(None, 1)[1] for x in lines[::2]] == ["KVM offers views to this machine", "/dev/pvvas answers",
                                                         "a switch is one instruction", "each thread is in its own VAS",
                                                         "a process like this one can attach a VAS"]
    assert [x.strip() for x in lines[1::2]] == [
        "start the virtual machine with -cpu ...,kvm-pvvas=on on a host whose KVM has it",
        "load the module pvvas; may this user open /dev/pvvas?", "the software backend is in use, or none",
        "the software backend is in use, or none", "the hypervisor offers no views"]
    p = run("--json", "doctor")
    answers = json.loads(p.stdout)
    jsonschema.validate(answers, {"$ref": "#/$defs/doctor", "$defs": SCHEMA["$defs"]})
    assert p.returncode == 5 and answers == {"hypervisor": "no", "driver": "no", "switch": "no", "threads": "no",
                                             "window": "yes", "reason": ""}


def the_doctor_names_the_limit_that_is_in_the_way():
    def window(limit, **env):
        p = run("--json", "doctor", env=env, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        answers = json.loads(p.stdout)
        jsonschema.validate(answers, {"$ref": "#/$defs/doctor", "$defs": SCHEMA["$defs"]})
        return answers["window"], answers["reason"]
    assert window(resource.RLIM_INFINITY) == ("yes", "")
    answer, reason = window(4 << 30)
    assert answer == "no" and reason.startswith("RLIMIT_AS (ulimit -v) is less") and "PVVAS_WINDOW=" in reason
    assert window(4 << 30, PVVAS_WINDOW="1G") == ("yes", "")
    assert window(4 << 30, PVVAS_WINDOW="much") == ("no", "PVVAS_WINDOW is no size")


def standard_input_may_be_closed():
    good("create", "seg", "s", "64K")
    file_with("in", b"x" * 5000)
    good("cp", "in", "seg:s", preexec_fn=lambda: os.close(0))
    good("cp", "seg:s", "out", preexec_fn=lambda: os.close(0))
    with open(os.path.join(tap.folder, "out"), "rb") as f:
        assert f.read() == b"x" * 5000 + bytes(65536 - 5000)


def a_terminal_shows_how_far_it_is():
    good("create", "seg", "s", "8M")
    file_with("in", contents(4, 5 * MIB, []))
    for words, size in ((("cp", "in", "seg:s"), 5), (("cp", "seg:s", "out"), 8)):
        ours, theirs = pty.openpty()
        p = subprocess.run([os.path.join(LIBS, "pvvas"), *words], env=environment(), cwd=tap.folder, stderr=theirs, check=False)
        os.close(theirs)
        said = os.read(ours, 4096).decode().replace("\r\n", "\n")
        os.close(ours)
        assert p.returncode == 0 and said.endswith(f"\r{size} of {size} MiB\n"), (p, said)
        assert said.count("\n") == 1


def a_program_starts_in_the_vas():
    vid = int(good("create", "vas", "v"))
    good("create", "seg", "s", "4K", "-b", "0x208000000000")
    file_with("in", b"hello")
    good("cp", "in", "seg:s")
    good("attach", "v", "s")
    look = "import ctypes, os; print(ctypes.string_at(0x208000000000, 5), os.environ.get('PVVAS_RUN'), os.environ['LD_PRELOAD'])"
    python = [sys.executable, "-c", look]
    assert good("run", "v", "--", *python) == "b'hello' None libpvvas.so.1\n"
    assert good("run", f"#{vid}", "--", *python) == "b'hello' None libpvvas.so.1\n"
    assert good("run", "v", "--", *python, env={"LD_PRELOAD": "libm.so.6"}) == "b'hello' None libpvvas.so.1:libm.so.6\n"
    assert good("run", "v", "--", "echo", "--json", "--", "x") == "--json -- x\n"
    assert run("run", "v", "--", "sh", "-c", "exit 7").returncode == 7


def a_program_that_cannot_go_there_does_not_run():
    vid = int(good("create", "vas", "v"))
    good("rm", "vas", "v")
    for name in ("v", f"#{vid}", "#", "#0", "#x", f"#{vid}x", "#-1", ""):
        p = subprocess.run(["echo", "ran"], env=environment(LD_PRELOAD="libpvvas.so.1", PVVAS_RUN=name), stdout=subprocess.PIPE,
                           check=False)
        assert (p.returncode, p.stdout) == (127, b""), (name, p)
    p = subprocess.run(["echo", "ran"], env=environment(LD_PRELOAD="libpvvas.so.1"), stdout=subprocess.PIPE, check=False)
    assert (p.returncode, p.stdout) == (0, b"ran\n")


def output_that_goes_nowhere_is_an_error():
    good("create", "vas", "v")
    with open("/dev/full", "wb") as full:
        p = run("ls", stdout=full)
    assert p.returncode == 1 and p.stderr == b"pvvas: stdout: No space left on device\n", p


CASES = [json_is_what_the_schema_says, json_is_whole_or_not_there, a_name_is_one_word_where_others_follow,
         a_list_of_which_more_and_more_comes_has_an_end, only_what_nothing_uses_is_idle, objects_expire_as_told,
         segments_grow_as_told,
         what_grows_is_on_top, the_doctor_names_the_limit_that_is_in_the_way, counters_in_text_are_those_of_json,
         processes_are_asked_of_the_driver, names_without_control_characters_are_names,
         json_of_a_vas_has_its_segments, owner_and_group_are_told_apart, text_has_what_json_has,
         sizes_and_modes_are_read_exactly, wrong_command_lines_are_told, help_lists_each_command,
         what_is_not_there_is_told_by_name, the_rest_is_done_where_one_fails, modes_are_refused_as_denied,
         without_views_that_is_what_is_told, standard_input_may_be_closed, a_terminal_shows_how_far_it_is,
         a_program_starts_in_the_vas, a_program_that_cannot_go_there_does_not_run,
         output_that_goes_nowhere_is_an_error]


if __name__ == "__main__":
    sys.exit(tap.main(CASES))
