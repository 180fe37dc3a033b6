"""How a warm build grows with the site: 10, 100 and 1,000 pages, each with a figure of its own.

    python benchmarks/growth.py [--pages 10 --pages 100 --pages 1000] [--repeats 3]

Beside it the same pages without figures, built by MkDocs alone with the same theme and plugins: what grows there is not
ours. The figures are trivial and their records are made beforehand: what is timed is keys, records, Markdown and pages.
Builds are timed in seconds of the processor, which a busy machine stretches least. Then the same sites under
`mkdocs serve`: seconds of the clock from saving a page's prose, and from saving a script whose drawing changed, to the
page that shows it. Everything runs in the environment that runs this script.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from builders import NO_POSTERS, serving, surroundings, tell, until, write, write_ours

from vgdocs.engine.claims import judge
from vgdocs.engine.figure import find
from vgdocs.engine.record import Record, make_keys, versions
from vgdocs.engine.store import Store
from vgdocs.engine.worker import load

GROWTH = 1.2  # times as much as plain MkDocs grows from the smallest site to the largest
WORD = "an unremarkable word"  # on each page, and edited under serve
SCRIPT = '''\
"""Halving {i} ten times leaves {last:.2e}.

Nothing is measured here that takes time.
"""

import plotly.graph_objects as go

SEED = 0
SCALE = 1.25


def measure(seed: int = SEED) -> dict:
    left = [0.5**n for n in range(60)]
    return {"left": left, "first": left[1], "last": left[10]}


def draw(m: dict) -> go.Figure:
    fig = go.Figure(go.Scatter(x=list(range(60)), y=m["left"], name="left"))
    fig.update_layout(xaxis_title="steps", yaxis_title="share left, scale 1.25")
    return fig


def claim_halving_is_exact(m):
    """After the first step {first} is left, and {last:.2e} after the last."""
    assert m["first"] == 0.5
    assert m["last"] == 0.5**10
'''


def write_site(folder: Path, pages: int, figures: bool) -> None:
    cited = "[[figure_{i}.last:.2e]]" if figures else "0.00098"
    write_ours(folder, figures, pages, SCRIPT, f"{WORD}: {cited} is left.\n\n")
    if figures:
        write_records(folder)


def write_records(folder: Path) -> None:
    """What measuring would leave in the store; a thousand processes would take minutes to say the same."""
    store = Store(folder / ".vgdocs")
    figures, errors = find(folder / "figures")
    assert not errors
    first = next(iter(figures.values()))
    module = load(str(first.path), first.text)
    measured = module.measure()
    plot = json.loads(module.draw(measured).to_json())
    del plot["layout"]["template"]
    verdicts = tuple(judge(module, measured))
    for name, figure in figures.items():
        keys = make_keys(figure)
        made = "2026-01-01T00:00:00+00:00"
        store.save(Record(name, 0, "cpu", keys, measured, plot, verdicts, {}, versions([figure.text]), made, 0.001))


def build(folder: Path, environment: dict[str, str]) -> float:
    """Seconds of the processor: a warm build is one process on one core, and so the machine may be busy meanwhile."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def saves(folder: Path, repeats: int) -> dict[str, float]:
    """Median seconds from a save to the page that shows it."""
    page, script = folder / "docs/page_3.md", folder / "figures/figure_3.py"
    edits = {"prose": (page, WORD), "drawing": (script, "scale 1.25")}
    seconds: dict[str, list[float]] = {what: [] for what in edits}
    with serving(Path(sys.executable), NO_POSTERS, folder) as address:
        until(address, WORD)
        for what, (path, old) in edits.items():
            for n in range(repeats):
                time.sleep(2)
                new = f"{what} number {n}"
                start = time.perf_counter()
                write(path, path.read_text("utf-8").replace(old, new))
                until(address, new)
                seconds[what].append(time.perf_counter() - start)
                old = new
    return {what: statistics.median(own) for what, own in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Warm builds of 10 to 1,000 pages.")
    parser.add_argument("--pages", type=int, action="append", default=[])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-serve", action="store_true")
    options = parser.parse_args()
    sizes = sorted(options.pages) or [10, 100, 1000]

    environment = surroundings(NO_POSTERS) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    took: dict[tuple[int, bool], float] = {}
    served: dict[int, dict[str, float]] = {}
    for pages in sizes:
        with tempfile.TemporaryDirectory() as name:
            folders = {figures: Path(name) / str(figures) for figures in (True, False)}
            for figures, folder in folders.items():
                write_site(folder, pages, figures)
                build(folder, environment)  # which leaves all that a warm build finds
            rounds: dict[bool, list[float]] = {True: [], False: []}
            for number in range(options.repeats):
                for figures, folder in folders.items():
                    tell(f"{pages} pages, round {number + 1} of {options.repeats}, figures: {figures}")
                    rounds[figures].append(build(folder, environment))
            took |= {(pages, figures): statistics.median(own) for figures, own in rounds.items()}
            if not options.no_serve:
                tell(f"{pages} pages, saving under mkdocs serve")
                served[pages] = saves(folders[True], options.repeats)

    print("| pages | this project, warm | per page | plain mkdocs | per page | ratio | save to page: prose, drawing |")
    print("|---|---|---|---|---|---|---|")
    for pages in sizes:
        own, plain = took[pages, True], took[pages, False]
        cells = [f"{pages}", f"{own:.2f} s", f"{1000 * own / pages:.1f} ms", f"{plain:.2f} s"]
        cells += [f"{1000 * plain / pages:.1f} ms", f"{own / plain:.2f}"]
        cells.append(", ".join(f"{seconds:.2f} s" for seconds in served.get(pages, {}).values()))
        print(f"| {' | '.join(cells)} |")
    low, high = sizes[0], sizes[-1]
    if low < high:
        ours, plain = (1000 * (took[high, figures] - took[low, figures]) / (high - low) for figures in (True, False))
        print(f"\nEach further page: {ours:.1f} ms with a figure, {plain:.1f} ms without.")
        ours, plain = (took[high, figures] / took[low, figures] for figures in (True, False))
        ratio = ours / plain
        print(f"Growth from {low} to {high} pages: {ours:.1f}-fold, plain {plain:.1f}-fold:")
        print(f"**{ratio:.2f}** of plain MkDocs' (at most {GROWTH}): {'holds' if ratio <= GROWTH else 'FAILS'}")


if __name__ == "__main__":
    main()
