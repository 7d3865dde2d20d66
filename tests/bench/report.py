# SPDX-License-Identifier: GPL-2.0-or-later
"""Table, targets, and comparison of two runs."""
import glob
import json
import os

APPS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "apps")
SAME = 0.02        # two runs are the same within this
COLUMNS = [("exits", "exits"), ("hypercalls", "hcalls"), ("ept_violations", "EPT"), ("system_calls", "syscalls"),
           ("page_faults", "faults"), ("context_switches", "ctxsw"), ("guest_flushes", "gflush"),
           ("host_flushes", "hflush")]


def number(x):
    """A count, short."""
    if x is None:
        return "-"
    if x == 0:
        return "0"
    if abs(x) >= 100:
        return f"{x:.0f}"
    if abs(x) >= 10:
        return f"{x:.1f}"
    return f"{x:.2f}"


def params_text(r):
    return " ".join(f"{k}={v}" for k, v in r["params"].items())


def key(r):
    return (r["guest"], r["group"], r["name"], params_text(r))


def label(r):
    where = "" if r["guest"] == "main" else f" [{r['guest']}]"
    return f"{r['name']} {params_text(r)}".strip() + where


def main_figure(r):
    return r["ticks"]["median"] if "ticks" in r else r["value"]


def table(results):
    unit = results["machine"]["unit"]
    group = None
    for r in results["results"]:
        if r["group"] != group:
            group = r["group"]
            heads = "".join(f" {h:>9}" for _, h in COLUMNS)
            print(f"\n{group:52} {unit:>13} {'user':>9}{heads}")
        if "ticks" in r:
            counters = "".join(f" {number(r['counters'][c]):>9}" for c, _ in COLUMNS)
            print(f"  {label(r):50} {number(r['ticks']['median']):>13} {number(r['user']):>9}{counters}")
        else:
            print(f"  {label(r):50} {number(r['value']):>13} {r['unit']}")


def markdown(results):
    """The same as text for documentation: what was measured when, where and by which command."""
    m, unit = results["machine"], results["machine"]["unit"]
    only = results["options"]["only"]
    command = "make bench" + (f' ONLY="{only}"' if only else "")
    repeat = results["options"]["repeat"]
    command += f" REPEAT={repeat}" if repeat != 1 else ""
    lines = [f"`{command}`, {results['date']}, {m['host_cpu']} ({m['emulator']}), kernel {m['kernel']}, commit {m['commit']}; {unit} per operation.", ""]
    targets_seen = [t for t in results["targets"] if t["met"] is not None]
    if targets_seen:
        lines += ["| target | figure | limit | |", "| --- | --- | --- | --- |"]
        lines += [f"| {t['target']} | {number(t['figure'])} | {t['limit']} | {'met' if t['met'] else 'MISSED'} |" for t in targets_seen]
        lines.append("")
    side_by_side = bystander_table(results)
    if side_by_side:
        lines += side_by_side.splitlines() + [""]
    heads = [h for _, h in COLUMNS]
    lines += [f"| operation | {unit} | user | {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) + 2)]
    for r in results["results"]:
        name = f"{r['group']}/{label(r)}"
        if "ticks" in r:
            cells = [number(r["ticks"]["median"]), number(r["user"])] + [number(r["counters"][c]) for c, _ in COLUMNS]
        else:
            what = "" if r["unit"] == "ticks" else f" {r['unit']}"
            cells = [number(r["value"]) + what] + ["-"] * (len(COLUMNS) + 1)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def varying(results):
    """Operations of which the usual batch is not the best one: two runs may then differ by more than they should."""
    rows = [r for r in results["results"] if "ticks" in r and
            r["ticks"]["median"] - r["ticks"]["min"] > max(SAME * r["ticks"]["median"], 1)]
    if not rows:
        return
    print(f"\nvarying: the median batch takes over {100 * SAME:.0f} % more than the shortest")
    print("  (interrupts that fall into long batches, where the scheduler runs a partner, when the kernel does deferred work)")
    for r in rows:
        t = r["ticks"]
        print(f"  {r['group']}/{label(r)}: {number(t['min'])} .. {number(t['median'])}, ninth of ten {number(t['p90'])}")


def compare(before, after):
    """What changed by more than it varies."""
    old = {key(r): r for r in before["results"]}
    changed = gone = both = same = 0
    print(f"\nagainst the run of {before['date']} ({before['machine']['commit']}):")
    if before["machine"]["unit"] != after["machine"]["unit"]:
        print("  not comparable: the units differ")
        return
    for r in after["results"]:
        o = old.pop(key(r), None)
        if o is None:
            print(f"  new: {label(r)}")
            continue
        a, b = main_figure(o), main_figure(r)
        both += 1
        same += abs(b - a) <= SAME * abs(a)
        # what the batches of one run differ by is no change
        spread = 0
        if "ticks" in r:
            spread = max(x["ticks"]["median"] - x["ticks"]["min"] for x in (o, r))
        if abs(b - a) > max(SAME * abs(a), spread, 0.5):
            changed += 1
            print(f"  {r['group']}/{label(r)}: {number(a)} -> {number(b)} ({100 * (b - a) / a if a else 0:+.1f} %)")
        for c, _ in COLUMNS:
            x, y = (z.get("counters", {}).get(c) for z in (o, r))
            if x is not None and y is not None and abs(x - y) > max(SAME * abs(x), 0.05):
                changed += 1
                print(f"  {r['group']}/{label(r)}: {c} {number(x)} -> {number(y)}")
    gone = len(old)
    print(f"  {same} of {both} medians are the same within {100 * SAME:.0f} %")
    print(f"  {changed} figures changed by more than they vary; {gone} results of that run were not taken in this one")
    if changed:
        print('  why they may without a change of the code: docs/benchmarks.md, "Do two runs agree"')


class Figures:
    """Look up results by guest, group and name."""

    def __init__(self, results):
        self.rows = results["results"]

    def find(self, group, name, guest="main", **params):
        for r in self.rows:
            if (r["group"], r["name"], r["guest"]) == (group, name, guest) and \
                    all(r["params"].get(k) == v for k, v in params.items()):
                return r
        return None

    def cost(self, *args, **params):
        r = self.find(*args, **params)
        return main_figure(r) if r else None


BYSTANDERS = ["stock", "stock_again", "patched_off", "patched_on", "patched_used"]


def bystanders(results):
    """What each operation of the bystanders costs in each guest; of several pairs the best counts."""
    found = {}
    for r in (r for r in results["results"] if r["group"] == "bystanders"):
        row = found.setdefault(r["name"], {})
        row[r["guest"]] = min(row.get(r["guest"], float("inf")), main_figure(r))
    return {name: row for name, row in found.items() if all(g in row for g in BYSTANDERS)}


def bystander_difference(rows, guest):
    """In percent: how far a guest is outside of what two guests of stock KVM have, at most."""
    differences = []
    for row in rows.values():
        low, high = sorted((row["stock"], row["stock_again"]))
        differences.append(100 * max(low - row[guest], row[guest] - high, 0) / low)
    return max(differences) if differences else None


def bystander_table(results):
    rows = bystanders(results)
    if not rows:
        return ""
    lines = ["| bystanders | " + " | ".join(BYSTANDERS) + " |", "| --- |" + " ---: |" * len(BYSTANDERS)]
    for name, row in rows.items():
        cells = [number(row["stock"])] + [
            f"{number(row[g])} ({100 * (row[g] / row['stock'] - 1):+.1f} %)" for g in BYSTANDERS[1:]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def targets(results):
    """Each target: text, figure, limit, met (None: not measured in this run, or in cycles: they are set for instructions)."""
    f = Figures(results)
    unit = results["machine"]["unit"]
    found = []

    def add(text, figure, limit, better, counted=False, app=None):
        met = None
        if figure is not None and (counted or unit == "instructions"):
            met = figure <= limit if better == "at most" else figure >= limit
        found.append({"target": text, "figure": figure, "limit": f"{better} {limit:g}", "met": met, "app": app})

    def ratio(a, b):
        return a / b if a is not None and b else None

    def minus(a, b):
        return a - b if a is not None and b is not None else None

    switch = f.cost("switching", "vas_switch", attachments=8)
    add(f"vas_switch: {unit} above a bare VMFUNC",
        minus(switch, f.cost("switching", "bare_vmfunc", attachments=8)), 15, "at most")
    add("empty system call (mitigations=off) over vas_switch",
        ratio(f.cost("switching", "empty_system_call"), switch), 15, "at least")
    add("empty system call (the kernel's own mitigations) over vas_switch",
        ratio(f.cost("switching", "empty_system_call", "mitigated"), switch), 15, "at least")
    row = f.find("switching", "vas_switch", attachments=8)
    add("vas_switch: exits", row["counters"]["exits"] if row else None, 0, "at most", counted=True)
    for how, name, limit in (("shared", "vas_switch_locking_shared", 60), ("exclusive", "vas_switch_locking", 100)):
        row = f.find("switching", name, locks=1)
        add(f"vas_switch with one lockable segment, {how}: {unit}", main_figure(row) if row else None, limit, "at most")
        add("the same: system calls", row["counters"]["system_calls"] if row else None, 0, "at most", counted=True)
    life = f.cost("building", "vas_create_attach_detach_delete")
    add("fork+exit+wait over create+attach+detach+delete", ratio(f.cost("building", "fork_exit_wait"), life), 10, "at least")
    for populated in (0, 1):
        sizes = [main_figure(r) for r in f.rows
                 if (r["group"], r["name"]) == ("building", "vas_attach_detach") and r["params"]["populated"] == populated]
        what = "with all its memory" if populated else "sparse, to 1 TiB"
        add(f"attach+detach: % between cheapest and dearest size ({what})",
            100 * (max(sizes) / min(sizes) - 1) if sizes else None, 10, "at most")
    one, many = (f.cost("attaching", "vas_attach_detach", segments=n) for n in (1, 8000))
    add("attach+detach of 8,000 segments: % above one", 100 * (many / one - 1) if one and many else None, 10, "at most")
    for group, name, instructions, counters in (
            ("attaching", "vas_attach_detach", 16000, {"hypercalls": 2}),
            ("building", "demand_page", 9700, {"exits": 2, "hypercalls": 0}),
            # what a memfd took before, and a quarter of that
            ("building", "vas_and_segment_made_used_and_deleted", 37939 * 1.25, {"exits": 4})):
        row = f.find(group, name)
        add(f"{name}: {unit}", main_figure(row) if row else None, instructions, "at most")
        for counter, most in counters.items():
            add(f"{name}: {counter}", row["counters"][counter] if row else None, most, "at most", counted=True)

    def filling(name, counter=None, fragmented=0, memory="vas"):
        row = f.find("filling", name, "large" if name == "touch_1_gib_in_order" else "main", memory=memory,
                     fragmented=fragmented)
        if row is None:
            return None
        return row["counters"][counter] if counter else main_figure(row)

    for text, name, beside, limit, exits, fragmented in (
            ("first touch of 1 GiB in order over anonymous memory with THP", "touch_1_gib_in_order", "anonymous_thp", 1.1,
             0.01, 0),
            ("first touch in order over anonymous memory with THP", "touch_in_order", "anonymous_thp", 1.1, 0.01, 0),
            ("the same where there are no 2 MiB, without THP", "touch_in_order", "anonymous_small", 1.5, 0.3, 1),
            ("populate over MADV_POPULATE_WRITE with THP", "populate", "anonymous_thp", 1.2, None, 0),
            ("populate where there are no 2 MiB, without THP", "populate", "anonymous_small", 1.2, None, 1),
            ("read(2) of 16 MiB over that into anonymous memory with THP", "read_into", "anonymous_thp", 1.2, None, 0)):
        add(text, ratio(filling(name, fragmented=fragmented), filling(name, fragmented=fragmented, memory=beside)), limit,
            "at most")
        if exits:
            # Anonymous memory has no exits of its own: what a page of it has are the timer's.
            own, timer = filling(name, "exits", fragmented), filling(name, "exits", fragmented, beside)
            add(f"{text}: exits of a page that are not the timer's", None if None in (own, timer) else own - timer,
                exits, "at most", counted=True)
    add(f"first touch at random, one page of 8: {unit}", filling("touch_at_random"), 16000, "at most")
    add("first touch at random: exits", filling("touch_at_random", "exits"), 2.2, "at most", counted=True)
    by = [f.find("filling", "touch_in_order_by_threads", "eight", memory="vas", threads=n) for n in (8, 1)]
    add(f"first touch in order by 8 threads on 8 vCPUs over one: {unit}",
        ratio(*(main_figure(row) if row else None for row in by)), 1.3, "at most")
    alone, beside = (f.cost("neighbours", "vas_find", beside=w) for w in ("nothing", "256_mib_deleted"))
    add(f"vas_find while another process deletes 256 MiB: {unit} more", minus(beside, alone), 2000, "at most")
    row = f.find("neighbours", "vas_find_waits", beside="256_mib_deleted")
    add("the same: times that it waits", main_figure(row) if row else None, 0, "at most", counted=True)
    alone, beside = (f.cost("neighbours", "seg_populate_a_page", beside=w) for w in ("nothing", "64_mib_cloned"))
    add(f"seg_populate of a page while another process clones 64 MiB: {unit} more", minus(beside, alone), 2000, "at most")
    row = f.find("neighbours", "visit_with_a_malloc")
    add("an allocation in each of 8 VASes in turn: system calls", row["counters"]["system_calls"] if row else None, 0,
        "at most", counted=True)
    for name in ("tables_per_view", "shadow_tables_per_view"):
        bytes_ = f.cost("building", name)
        add(f"{name}: pages", None if bytes_ is None else bytes_ / 4096, 3, "at most", counted=True)
    for size in (64, 16):
        one = f.cost("gups", "one_mapping", windows=64, set=size)
        vas = f.cost("gups", "vas", windows=64, set=size)
        add(f"GUPS, 64 windows, sets of {size}: % above one big mapping",
            100 * (vas / one - 1) if one and vas else None, 10, "at most")
        one = f.cost("gups", "one_mapping_large", windows=64, set=size)
        vas = f.cost("gups", "vas_large", windows=64, set=size)
        add(f"GUPS, 64 windows of 2 MiB, sets of {size}: % above one big mapping",
            100 * (vas / one - 1) if one and vas else None, 10, "at most")
    socket = f.cost("kv", "unix_socket_get", bytes=64, clients=1)
    add("GET of 64 B over a UNIX socket over one by switching", ratio(socket, f.cost("kv", "vas_get", bytes=64, clients=1)),
        10, "at least")
    add("the same with the library's lock on the segment",
        ratio(socket, f.cost("kv", "vas_locked_get", bytes=64, clients=1)), 10, "at least")
    # of an application: what over what; each is a name of its group, and parameters
    for path in sorted(glob.glob(os.path.join(APPS, "*", "bench", "targets.json"))):
        app = path.split(os.sep)[-3]
        for t in json.load(open(path)):
            add(t["text"], ratio(*(f.cost(app, t[k][0], app, **t[k][1]) for k in ("of", "over"))), t["limit"], t["better"],
                app=app)
    for guest in ("patched_off", "patched_on", "patched_used"):
        worst = bystander_difference(bystanders(results), guest)
        add(f"bystanders, {guest}: % outside of what two guests of stock KVM have", worst, 100 * SAME, "at most")
    return found


def print_targets(results):
    print("\ntargets")
    for t in results["targets"]:
        nothing = "not measured" if t["figure"] is None else "in cycles"
        word = {True: "met", False: "MISSED", None: nothing}[t["met"]]
        print(f"  {word:12} {t['target']}: {number(t['figure'])} ({t['limit']})")
