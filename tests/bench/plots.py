# SPDX-License-Identifier: GPL-2.0-or-later
"""SVG plots, by gnuplot: cost of each operation, cost against size, cost against number of views."""
import os
import shutil
import subprocess

import report

HEAD = """set terminal svg size {width},{height} font 'sans,12' background '#ffffff'
set output '{file}'
set title '{title}' noenhanced
set grid
"""


def gnuplot(script):
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def quoted(text):
    return text.replace("\\", "").replace('"', "'")


def bars(rows, unit, path):
    """One bar for each operation, on a log scale."""
    rows = sorted(rows, key=report.main_figure)
    data = "".join(f"{i} {max(report.main_figure(r), 0.5):.2f} \"{quoted(report.label(r))}\"\n" for i, r in enumerate(rows))
    gnuplot(HEAD.format(width=900, height=80 + 20 * len(rows), file=path, title=f"{rows[0]['group']}: {unit} per operation")
            + f"$d << END\n{data}END\nset logscale x\nset xrange [0.5:*]\nset yrange [-1:{len(rows)}]\nunset key\n"
              f"set xlabel '{unit}'\nset ytics noenhanced\n"
              "plot $d using ($2/2):0:($2/2):(0.4):ytic(3) with boxxyerrorbars fs solid 0.6 lc rgb '#4477aa'\n")


def lines(series, xlabel, unit, title, path):
    """series: name -> [(x, y)], both on log scales."""
    blocks = plots = ""
    for i, (name, points) in enumerate(series.items()):
        blocks += f"$s{i} << END\n" + "".join(f"{x} {max(y, 0.5):.2f}\n" for x, y in sorted(points)) + "END\n"
        plots += f"{', ' if i else ''}$s{i} with linespoints title \"{quoted(name)}\" noenhanced"
    gnuplot(HEAD.format(width=800, height=500, file=path, title=title)
            + f"{blocks}set logscale xy\nset key outside\nset xlabel '{xlabel}'\nset ylabel '{unit}'\nplot {plots}\n")


def against(results, param):
    """All results that a parameter distinguishes: name -> points."""
    series = {}
    for r in results["results"]:
        x = r["params"].get(param)
        if "ticks" not in r or not isinstance(x, (int, float)) or x <= 0:
            continue
        others = " ".join(f"{k}={v}" for k, v in r["params"].items() if k != param)
        name = f"{r['group']}/{r['name']} {others}".strip()
        series.setdefault((r["group"], name), []).append((x, report.main_figure(r)))
    return {k: v for k, v in series.items() if len(v) > 1}


def draw(results, out):
    """Returns the names of the files."""
    if not shutil.which("gnuplot"):
        print("no plots: gnuplot is not installed")
        return []
    unit = results["machine"]["unit"]
    drawn = []
    groups = {}
    for r in results["results"]:
        if "ticks" in r:
            groups.setdefault(r["group"], []).append(r)
    for group, rows in groups.items():
        path = os.path.join(out, f"cost-{group}.svg")
        bars(rows, unit, path)
        drawn.append(path)
    for param, label in (("attachments", "attachments of the process"), ("mib", "size in MiB"), ("bytes", "size in bytes"),
                         ("windows", "windows"), ("clients", "clients")):
        found = against(results, param)
        for group in sorted({g for g, _ in found}):
            path = os.path.join(out, f"{group}-against-{param}.svg")
            lines({n: p for (g, n), p in found.items() if g == group}, label, unit,
                  f"{group}: {unit} per operation against {label}", path)
            drawn.append(path)
    return [os.path.basename(p) for p in drawn]
