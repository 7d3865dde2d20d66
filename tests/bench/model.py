# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation should cost on hardware: instructions and events times published costs. A prediction, no measurement."""

# cycles, low and high, and where they are from; docs/benchmarks.md has the titles
COSTS = {
    # a 4-wide core at its best; and one that misses in its caches now and then
    "instruction": (0.25, 1.5, "range assumed: 4 instructions a cycle to 3 cycles for 2 instructions"),
    "vmfunc": (134, 268, "SkyBridge, EuroSys 2019: 134 with VPID; twice that as the upper bound"),
    "system_calls": (183, 366, "SkyBridge, EuroSys 2019: SYSCALL 82, SYSRET 75, SWAPGS 26; twice that"),
    "exits": (761, 4000, "Agesen et al., USENIX ATC 2012: round trip 761 on Westmere; upper bound: kvm-unit-tests' cpuid on Emerald Rapids"
              " takes 3,000 to 4,000"),
    "page_faults": (500, 1500, "range assumed"),
    "context_switches": (186, 372, "SkyBridge, EuroSys 2019: writing CR3 186; twice that"),
}
GROUPS = ("switching", "locking", "building", "attaching", "filling")


def vmfuncs(row):
    """How many VMFUNCs an operation has: by its name, since they are not counted."""
    if row["group"] == "locking":    # in and out
        return 2 if row["params"]["lock"].startswith(("vas_", "none")) else 0
    return 1 if row["name"].startswith(("vas_switch", "bare_vmfunc")) else 0


def predict(row):
    """Cycles, low and high, of a row that was counted in instructions; and which cost most of the range between is from."""
    events = dict(row["counters"], vmfunc=vmfuncs(row), instruction=row["ticks"]["median"])
    low = high = 0
    ranges = {}
    for event, (a, b, _) in COSTS.items():
        n = events.get(event) or 0
        low += n * a
        high += n * b
        ranges[event] = n * (b - a)
    decides = max(ranges, key=ranges.get)
    return low, high, f"{decides.replace('_', ' ')} {100 * ranges[decides] / (high - low):.0f} %" if high > low else "-"


def key(row):
    return (row["guest"], row["group"], row["name"], tuple(sorted(row["params"].items())))


def compact(results):
    """What reference.json has: enough to predict from."""
    rows = [{k: r[k] for k in ("guest", "group", "name", "params", "ticks", "counters")}
            for r in results["results"] if r["group"] in GROUPS and "ticks" in r and r["guest"] == "main"]
    return {"date": results["date"], "machine": results["machine"], "results": rows}


def table(results, reference):
    """Predicted cycles; beside them the measured ones where this run has them."""
    cycles = results["machine"]["unit"] == "cycles"
    counted = reference if cycles else compact(results)
    if not counted or not counted["results"]:
        return
    measured = {key(r): r for r in results["results"]} if cycles else {}
    print(f"\nPREDICTED cycles on hardware, from the instructions counted on {counted['date']}: no measurement")
    if results["machine"]["emulator"] == "kvm":
        print("  the host level is nested here: the KVM below it emulates VMFUNC, with an exit that nobody here counts")
    print("  filling is for each 4 KiB; the last column: which of the costs in docs/benchmarks.md most of the range is from")
    print(f"  {'':60} {'low':>9} {'high':>9}" + (f" {'measured':>9}" if cycles else "") + "  decides")
    group = None
    for r in counted["results"]:
        if cycles and key(r) not in measured:
            continue
        if r["group"] != group:
            group = r["group"]
            print(f"  {group}")
        low, high, decides = predict(r)
        params = " ".join(f"{k}={v}" for k, v in r["params"].items())
        line = f"    {(r['name'] + ' ' + params):58} {low:9.0f} {high:9.0f}"
        if cycles:
            found = measured[key(r)]["ticks"]["median"]
            line += f" {found:9.0f}"
            decides += "" if low <= found <= high else "  outside the prediction"
        print(f"{line}  {decides}")
