"""The same six figures, built by this project and by five other builders, timed in one run.

    python benchmarks/builders.py [--cache DIR] [--repeats 3] [--only NAME]

Each figure loads torch and plotly, keeps the processor busy for one second and shows a plot on a page. Each builder
has an environment of its own below the cache; torch and plotly are installed once and lent to all of them by a .pth
file. Each is configured as its manual advises for stopping at errors and for its cache, and where its layout decides
what is fast (one notebook or six, one process or several) it is entered both ways.

A round starts from an empty folder: cold, then warm, then with one of the six scripts changed (and looked at: a page
that doesn't show the change is stale), then with that script failing. Rounds alternate between the builders, so that
a busy machine hits all alike; what is reported are medians, as ratios to this project's. A peer that fails where it
should build has a row which says so, and is left out of the rounds that follow.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIGURES = range(1, 7)
CHANGED = 3  # the figure that is edited
BEFORE, AFTER = "width = 1.25", "width = 2.75"  # the edit; a page that shows figure 3 shows what stands here
ENVIRONMENTS = {  # name: packages; those of the first are lent to all others
    "torch": ("torch", "plotly", "numpy"),
    "vgdocs": ("--editable", f"{ROOT}[site]"),
    "markdown-exec": ("markdown-exec[ansi]", "mkdocs<2", "mkdocs-material"),
    "mkdocs-jupyter": ("mkdocs-jupyter", "mkdocs<2", "mkdocs-material"),
    "mkdocs-gallery": ("mkdocs-gallery", "pillow", "mkdocs<2", "mkdocs-material"),
    "sphinx-gallery": ("sphinx-gallery", "sphinx", "matplotlib", "joblib"),
    "myst-nb": ("myst-nb", "sphinx", "ipykernel"),
}
PINNED = ("torch", "vgdocs")  # by the project's own constraints
TIMEOUT = 300  # seconds until a build counts as hanging
NO_POSTERS = {"VGDOCS_POSTERS": "never"}
MKDOCS_BUILD = ("-m", "mkdocs", "build", "--strict")
SPHINX_BUILD = ("-m", "sphinx", "-q", "-b", "html", "docs", "site")

MEASURE = """\
import time

import plotly.graph_objects as go
import torch

width = 1.25


def busy(seconds):
    torch.set_num_threads(1)
    a = torch.eye(8)
    end = time.process_time() + seconds
    while time.process_time() < end:
        a = a @ a
    return a.sum().item()


def plot(total):
    return go.Figure(go.Scatter(x=list(range(50)), y=[total * i for i in range(50)], name=f"width = {width}"))
"""
# what stands below it in a notebook or a gallery's script; this project's scripts have their own form
SHOW = """
class Html(str):
    _repr_html_ = str.__str__


Html(plot(busy(1.0)).to_html(full_html=False, include_plotlyjs=False))
"""
# and one of this project's, whole
SCRIPT = f'''"""Figure {{i}} is busy for a second and sums to {{total:.1f}}."""
{MEASURE}

def measure(seed: int = 0) -> dict:
    return {{"total": busy(1.0), "width": width}}


def draw(m: dict) -> go.Figure:
    return plot(m["total"])


def claim_the_identity_stays(m):
    """It sums to {{total:.1f}}."""
    assert m["total"] == 8.0
    assert m["width"] > 0
'''
PROSE = "Some words before the figure, as on any page, and a list:\n\n- one\n- two\n\n## A section\n\nAnd more words.\n"
MKDOCS = "site_name: Six figures\ntheme: {name: material, font: false}\n"
MARKDOWN = "markdown_extensions: [admonition, attr_list, tables, toc, pymdownx.superfences%s]\n"


@dataclass(frozen=True)
class Builder:
    """One way to build the six figures."""

    name: str
    venv: str  # a key of ENVIRONMENTS
    write: Callable[[Path], None]
    source: str  # the file of a figure: `{i}` is its number
    command: tuple[str, ...] = MKDOCS_BUILD  # which builds into site/
    environment: dict[str, str] = field(default_factory=dict)
    runs_figures: bool = True

    def edit(self, folder: Path, old: str, new: str) -> None:
        """Change one thing in figure 3, which in a file of all six is the third of its kind."""
        path = folder / self.source.format(i=CHANGED)
        parts = path.read_text(encoding="utf-8").split(old)
        at = CHANGED if len(parts) > 2 else 1
        write(path, old.join(parts[:at]) + new + old.join(parts[at:]))

    def shown(self, folder: Path) -> str:
        """The HTML of all pages."""
        return "".join(path.read_text(encoding="utf-8") for path in (folder / "site").rglob("*.html"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def notebook(figures: Iterable[int]) -> str:
    """A notebook with these figures, as JSON; no two are alike, or a cache would run one of them only."""
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    measured = [code | {"source": f"# figure {i}\n{MEASURE}{SHOW}"} for i in figures]
    cells = [{"cell_type": "markdown", "metadata": {}, "source": f"# Figures\n\n{PROSE}"}, *measured]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    numbered = [{"id": f"cell{n}", **cell} for n, cell in enumerate(cells)]
    return json.dumps({"cells": numbered, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def write_ours(
    folder: Path, figures: bool = True, pages: int = len(FIGURES), script: str = SCRIPT, said: str = ""
) -> None:
    """A figure a page; without figures the same pages for MkDocs alone. `said` stands in each; `{i}` is its number."""
    ours = "plugins: [search, vgdocs]\n" + MARKDOWN % ", vgdocs.markdown"
    write(folder / "mkdocs.yml", MKDOCS + (ours if figures else "plugins: [search]\n" + MARKDOWN % ""))
    write(folder / "docs/index.md", f"# Home\n\n{PROSE}")
    shown = "/// figure | figure_{i}\n\nA caption.\n///\n" if figures else "A caption.\n"
    for i in map(str, range(1, pages + 1)):
        write(folder / f"docs/page_{i}.md", f"# Page {i}\n\n{PROSE}\n{said}{shown}".replace("{i}", i))
        if figures:
            write(folder / f"figures/figure_{i}.py", script.replace("{i}", i))


def write_exec(folder: Path) -> None:
    write(folder / "mkdocs.yml", MKDOCS + "plugins: [search, markdown-exec]\n" + MARKDOWN % "")
    show = "\nprint(plot(busy(1.0)).to_html(full_html=False, include_plotlyjs=False))\n"
    blocks = [f'```python exec="1" html="1"\n# figure {i}\n{MEASURE}{show}```\n' for i in FIGURES]
    write(folder / "docs/index.md", f"# Figures\n\n{PROSE}\n" + "\n".join(blocks))


def write_mkdocs_jupyter(folder: Path, notebooks: int) -> None:
    plugin = 'plugins:\n  - search\n  - mkdocs-jupyter: {include: ["*.ipynb"], execute: true, allow_errors: false}\n'
    write(folder / "mkdocs.yml", MKDOCS + plugin + MARKDOWN % "")
    write(folder / "docs/index.md", f"# Home\n\n{PROSE}")
    write_notebooks(folder / "docs", notebooks)


def write_myst(folder: Path, notebooks: int) -> None:
    conf = 'project = "Six"\nextensions = ["myst_nb"]\nnb_execution_mode = "cache"\n'
    write(folder / "docs/conf.py", conf + "nb_execution_raise_on_error = True\nnb_execution_timeout = 120\n")
    names = write_notebooks(folder / "docs", notebooks)
    write(folder / "docs/index.md", "# Home\n\n```{toctree}\n" + "\n".join(names) + "\n```\n")


def write_notebooks(folder: Path, notebooks: int) -> list[str]:
    """All figures in one notebook, or each in its own; gives the notebooks' names."""
    held = {"figures": FIGURES} if notebooks == 1 else {f"figure_{i}": [i] for i in FIGURES}
    for name, figures in held.items():
        write(folder / f"{name}.ipynb", notebook(figures))
    return list(held)


def write_gallery(folder: Path) -> None:
    plugin = "plugins:\n  - search\n  - gallery: {examples_dirs: docs/examples, gallery_dirs: docs/generated}\n"
    nav = "nav: [index.md, generated]\n"  # without one it fails
    write(folder / "mkdocs.yml", MKDOCS + nav + plugin + MARKDOWN % "")
    write(folder / "docs/index.md", f"# Home\n\n{PROSE}")
    write_examples(folder / "docs/examples", "README.md", "# Gallery\n")


def write_sphinx_gallery(folder: Path, parallel: int) -> None:
    settings = {"examples_dirs": "../examples", "gallery_dirs": "generated", "parallel": parallel or False}
    conf = f'project = "Six"\nextensions = ["sphinx_gallery.gen_gallery"]\nsphinx_gallery_conf = {settings!r}\n'
    write(folder / "docs/conf.py", conf)
    write(folder / "docs/index.rst", "Home\n====\n\n.. toctree::\n\n   generated/index\n")
    write_examples(folder / "examples", "README.rst", "Gallery\n=======\n")


def write_examples(folder: Path, readme: str, title: str) -> None:
    write(folder / readme, title)
    for i in FIGURES:
        head = f'"""\nFigure {i}\n========\n\nSome words before the figure.\n"""\n'
        write(folder / f"plot_figure_{i}.py", head + MEASURE + SHOW)


BUILDERS = [
    Builder(
        "plain mkdocs, no figures", "vgdocs", partial(write_ours, figures=False), "docs/page_{i}.md", runs_figures=False
    ),
    Builder(
        "**this project**, posters left out", "vgdocs", write_ours, "figures/figure_{i}.py", environment=NO_POSTERS
    ),
    Builder(
        "**this project**", "vgdocs", write_ours, "figures/figure_{i}.py", environment={"VGDOCS_POSTERS": "require"}
    ),
    Builder("markdown-exec", "markdown-exec", write_exec, "docs/index.md"),
    Builder(
        "mkdocs-jupyter, one notebook",
        "mkdocs-jupyter",
        partial(write_mkdocs_jupyter, notebooks=1),
        "docs/figures.ipynb",
    ),
    Builder(
        "mkdocs-jupyter, six notebooks",
        "mkdocs-jupyter",
        partial(write_mkdocs_jupyter, notebooks=6),
        "docs/figure_{i}.ipynb",
    ),
    Builder("mkdocs-gallery", "mkdocs-gallery", write_gallery, "docs/examples/plot_figure_{i}.py"),
    Builder(
        "sphinx-gallery",
        "sphinx-gallery",
        partial(write_sphinx_gallery, parallel=0),
        "examples/plot_figure_{i}.py",
        SPHINX_BUILD,
    ),
    Builder(
        "sphinx-gallery, two processes",
        "sphinx-gallery",
        partial(write_sphinx_gallery, parallel=2),
        "examples/plot_figure_{i}.py",
        SPHINX_BUILD,
    ),
    Builder("myst-nb, one notebook", "myst-nb", partial(write_myst, notebooks=1), "docs/figures.ipynb", SPHINX_BUILD),
    Builder(
        "myst-nb, six notebooks, two processes",
        "myst-nb",
        partial(write_myst, notebooks=6),
        "docs/figure_{i}.ipynb",
        (*SPHINX_BUILD[:2], "-j", "2", *SPHINX_BUILD[2:]),
    ),
]


class BuildError(Exception):
    """A builder doesn't build what it should."""


@dataclass
class Round:
    """Seconds of one round; `stale` if the changed figure wasn't on its page, `failing` is an exit code."""

    cold: float
    warm: float
    changed: float
    stale: bool
    failing: int


class Bench:
    """The environments, and how builders are run in them."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def python(self, name: str) -> Path:
        """The interpreter of an environment, made if it isn't there."""
        folder, done = self.cache / name, self.cache / name / "installed"
        python = folder / "bin" / "python"
        if not done.exists():
            tell(f"installing {name}")
            venv.create(folder, with_pip=True, clear=True)
            if name != "torch":
                (packages_of(python) / "lent.pth").write_text(str(packages_of(self.python("torch"))))
            versions = ["-c", str(ROOT / "constraints.txt")] if name in PINNED else []
            subprocess.run([python, "-m", "pip", "install", "--quiet", *versions, *ENVIRONMENTS[name]], check=True)
            done.touch()
        return python

    def run(self, builder: Builder, folder: Path) -> tuple[float, int, str]:
        """Seconds, exit code and output of one build."""
        command = [str(self.python(builder.venv)), *builder.command]
        start = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=folder,
            env=surroundings(builder.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        return time.perf_counter() - start, done.returncode, done.stdout

    def round(self, builder: Builder) -> Round:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            builder.write(folder)
            cold = self._good(builder, folder)
            if builder.runs_figures and (count := builder.shown(folder).count(BEFORE)) < len(FIGURES):
                raise BuildError(f"shows {count} of {len(FIGURES)} figures")
            warm = self._good(builder, folder)
            if not builder.runs_figures:
                return Round(cold, warm, 0.0, False, 0)
            builder.edit(folder, BEFORE, AFTER)
            changed = self._good(builder, folder)
            stale = AFTER not in builder.shown(folder)
            builder.edit(folder, "torch.set_num_threads(1)", "raise RuntimeError")
            failing = self.run(builder, folder)[1]
        return Round(cold, warm, changed, stale, failing)

    def _good(self, builder: Builder, folder: Path) -> float:
        seconds, code, output = self.run(builder, folder)
        if code:
            raise BuildError(f"exits with {code}:\n{output[-3000:]}")
        return seconds

    def saves(self, builder: Builder, repeats: int) -> list[float]:
        """Seconds from saving a changed script to the page that shows it, under a running `mkdocs serve`."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            builder.write(folder)
            with serving(self.python(builder.venv), builder.environment, folder) as page:
                seconds = []
                old, new = BEFORE, AFTER
                until(page, old)
                for _ in range(repeats):
                    time.sleep(2)  # a reader looks at what came before
                    start = time.perf_counter()
                    builder.edit(folder, old, new)
                    until(page, new)
                    seconds.append(time.perf_counter() - start)
                    old, new = new, f"width = {len(seconds) + 10}.5"  # never measured before
        return seconds


def packages_of(python: Path) -> Path:
    """Where an interpreter keeps its packages."""
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())


@contextlib.contextmanager
def serving(python: Path, environment: dict[str, str], folder: Path) -> Iterator[str]:
    """A running `mkdocs serve`: the address of figure 3's page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(python), "-m", "mkdocs", "serve", "--livereload", "--dev-addr", address]
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=surroundings(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield f"http://{address}/page_{CHANGED}/"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def until(page: str, text: str) -> None:
    """Ask for a page until it holds a text."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(page, timeout=TIMEOUT) as answer:
            if text in answer.read().decode():
                return
        time.sleep(0.02)
    raise BuildError(f"{page} never shows {text!r}")


def surroundings(environment: dict[str, str]) -> dict[str, str]:
    """The variables that a builder is run with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VGDOCS_", "PYTHON"))}
    quiet = {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return kept | quiet | environment


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def median(rounds: list[Round], what: str) -> float:
    return statistics.median(getattr(r, what) for r in rounds)


def table(rounds: dict[str, list[Round]], failed: dict[str, str]) -> list[str]:
    """Medians in seconds and, in brackets, as multiples of this project's without posters; who failed, and how."""
    base = rounds[OURS_BARE]
    lines = ["| builder | cold | warm | one changed | failing script: exit |", "|---|---|---|---|---|"]
    for name, own in rounds.items():
        cells = [name]
        for what in ("cold", "warm", "changed"):
            seconds = median(own, what)
            shown = f"{seconds:.2f} s ({seconds / median(base, what):.2f})" if seconds else ""
            cells.append(shown + (", stale" if what == "changed" and any(r.stale for r in own) else ""))
        cells.append("" if name == PLAIN else ", ".join(sorted({str(r.failing) for r in own})))
        lines.append(f"| {' | '.join(cells)} |")
    return lines + [f"| {name} | fails: {why} | | | |" for name, why in failed.items()]


def verdicts(rounds: dict[str, list[Round]], saves: dict[str, list[float]]) -> Iterator[str]:
    """Each promise, what was measured and whether it holds."""
    others = {name: own for name, own in rounds.items() if name not in (PLAIN, OURS_BARE, OURS_WHOLE)}
    if not others:
        return

    def promise(text: str, ratio: float, holds: bool) -> str:
        return f"- {text}: **{ratio:.2f}**, {'holds' if holds else 'FAILS'}"

    fastest = min(others, key=lambda name: median(others[name], "cold"))
    correct = [name for name, own in others.items() if not any(r.stale for r in own)]
    quickest = min(correct, key=lambda name: median(others[name], "changed"))
    cold, changed = median(others[fastest], "cold"), median(others[quickest], "changed")
    for name in (OURS_BARE, OURS_WHOLE):
        own = rounds[name]
        yield f"\n{name}:\n"
        ratio = cold / median(own, "cold")
        yield promise(f"cold, times as fast as {fastest} (at least {COLD[name]})", ratio, ratio >= COLD[name])
        ratio = median(own, "warm") / median(rounds[PLAIN], "warm")
        yield promise("warm, against the same pages without figures (at most 1.15)", ratio, ratio <= 1.15)
        ratio = median(own, "changed") / changed
        yield promise(f"one changed, against {quickest} (at most 1)", ratio, ratio <= 1)
        ratio = statistics.median(saves[name]) / changed
        yield promise(f"one changed under serve, against {quickest} (at most 0.5)", ratio, ratio <= 0.5)
        codes = {r.failing for r in own}
        yield promise("a failing script's smallest exit code (not 0)", min(codes), 0 not in codes)


PLAIN, OURS_BARE, OURS_WHOLE = (builder.name for builder in BUILDERS[:3])
COLD = {OURS_BARE: 1.6, OURS_WHOLE: 1.4}  # times as fast as the fastest peer, none of which draws posters


def main() -> None:
    parser = argparse.ArgumentParser(description="The same six figures by six builders.")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "builders", help="where environments are kept")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="a word in a builder's name; may be repeated")
    options = parser.parse_args()

    bench = Bench(options.cache.resolve())
    chosen = [b for b in BUILDERS if b in BUILDERS[:3] or not options.only or any(w in b.name for w in options.only)]
    failed: dict[str, str] = {}

    def load(builder: Builder) -> None:
        subprocess.run([bench.python(builder.venv), "-c", "import torch, plotly.graph_objects"], check=True)

    def measure(builder: Builder) -> None:
        rounds[builder.name].append(bench.round(builder))

    def attempt(builder: Builder, what: str, step: Callable[[Builder], None]) -> None:
        """Take a step of the benchmark, unless an earlier one failed; only a peer may fail."""
        if builder.name in failed:
            return
        tell(f"{what}: {builder.name}")
        try:
            step(builder)
        except (BuildError, subprocess.SubprocessError) as error:
            tell(f"{builder.name} {error}")
            if builder in BUILDERS[:3]:
                raise SystemExit(1) from None
            failed[builder.name] = str(error).partition("\n")[0].rstrip(":")
            rounds.pop(builder.name)

    rounds: dict[str, list[Round]] = {builder.name: [] for builder in chosen}
    for builder in chosen:  # what is read from the disk for the first time is nobody's fault
        attempt(builder, "loading", load)
    for number in range(options.repeats):
        for builder in chosen:
            attempt(builder, f"round {number + 1} of {options.repeats}", measure)
    saves = {}
    for builder in BUILDERS[1:3]:
        tell(f"saving under mkdocs serve: {builder.name}")
        saves[builder.name] = bench.saves(builder, options.repeats)

    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, medians of {options.repeats}\n")
    print("\n".join(table(rounds, failed)))
    for name, seconds in saves.items():
        print(f"\nSave to page under mkdocs serve, {name}: {', '.join(f'{s:.2f}' for s in seconds)} s")
    print("\n".join(verdicts(rounds, saves)))


if __name__ == "__main__":
    main()
