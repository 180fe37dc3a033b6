"""A miniature project for the tests of the engine; its scripts import plotly but not torch, so that they're quick."""

from __future__ import annotations

import logging
import os
import random
import sys
from itertools import groupby
from pathlib import Path
from unittest.mock import patch

import markdown
import pytest
from click.testing import CliRunner

from vgdocs.cli import cli as vgdocs
from vgdocs.engine.figure import Figure, read
from vgdocs.engine.library import Library
from vgdocs.pages.markdown import Context, VgdocsExtension

pytest_plugins = ["pytester"]
# Tests run side by side, here and in the processes that they start: threads of one would wait for those of another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the tests of these files share takes seconds to make, so that one worker makes it for all of them.
# The explorer's are many, so that they come early: one worker deploys the site for all while the other is at its own.
MADE_ONCE = {
    *("test_cluster", "test_observe", "test_runner", "test_safety", "test_zensical"),
    *("test_explore", "test_train", "test_offline", "test_second_project", "test_your_own", "test_beside"),
}

# The parts of the usual script; a test replaces the one that it is about.
PARTS = {
    "docstring": '"""Halving ten times leaves {last:.2e}.\n\nThe set-up.\n"""',
    "head": """\
import plotly.graph_objects as go

SEED = 0
STEPS = 10  # halvings
""",
    "measure": """\
def measure(seed: int = SEED) -> dict:
    left = [0.5**n for n in range(STEPS + 1)]
    return {"left": left, "first": left[1], "last": left[-1]}
""",
    "draw": """\
def draw(m: dict) -> go.Figure:
    fig = go.Figure(go.Scatter(x=list(range(STEPS + 1)), y=m["left"], name="left"))
    fig.update_layout(xaxis_title="steps", yaxis_title="share left")
    return fig
""",
    "claims": '''\
def claim_halving_is_exact(m):
    """After the first step {first} is left, and {last:.2e} after the last."""
    assert m["first"] == 0.5
    assert m["last"] == 0.5**10
''',
}

CONFIG = """site_name: Miniature
plugins:
  - search
  - vgdocs
markdown_extensions:
  - admonition
  - attr_list
  - tables
  - toc
  - pymdownx.arithmatex:
      generic: true
  - pymdownx.superfences
  - vgdocs.markdown
"""

EXTENSIONS = ["admonition", "attr_list", "tables", "toc", "pymdownx.arithmatex", "pymdownx.superfences"]


class Project:
    """A folder with mkdocs.yml, docs/ and figures/, and what tests do with it."""

    def __init__(self, root: Path, bare: bool = True) -> None:
        """In a folder; a `bare` one is given a configuration and a page."""
        self.root = root
        self.docs, self.figures, self.site = root / "docs", root / "figures", root / "site"
        if not bare:
            return
        self.docs.mkdir(exist_ok=True)
        self.figures.mkdir(exist_ok=True)
        (root / "mkdocs.yml").write_text(CONFIG)
        self.page("index", "# Home\n\nWelcome.\n")

    def script(self, name: str = "halving", **parts: str) -> Path:
        """Write a figure script: the usual one, with the `parts` given in place of its own."""
        assert parts.keys() <= PARTS.keys()
        path = self.figures / f"{name}.py"
        path.write_text("\n\n".join(part for part in (PARTS | parts).values() if part), encoding="utf-8")
        return path

    def figure(self, name: str = "halving", **parts: str) -> Figure:
        return read(self.script(name, **parts))

    def page(self, name: str, text: str) -> Path:
        path = self.docs / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def edit(self, path: Path, old: str, new: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def library(self, **options) -> Library:
        """The project's figures, measured."""
        library = Library(self.root)
        library.refresh(**options)
        return library

    def error(self, name: str = "halving", **parts: str) -> str:
        """What the author of a broken script is told."""
        self.script(name, **parts)
        entry = self.library().entries[name]
        assert entry.error, f"{name} has no error"
        return str(entry.error)

    def convert(self, text: str, library: Library | None = None, extensions: list[str] = EXTENSIONS):
        """The HTML of some Markdown, and the messages of the problems found in it."""
        context = Context(library or self.library(), page="index.md")
        html = markdown.markdown(
            text,
            extensions=[*extensions, VgdocsExtension(context=context)],
            extension_configs={"pymdownx.arithmatex": {"generic": True}},
        )
        return html, [problem.message for problem in context.problems]

    def call(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, output and errors of the command vgdocs."""
        result = CliRunner().invoke(vgdocs, ["--root", str(self.root), *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    def mkdocs(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of mkdocs, in this process, which has a fork server already."""
        from mkdocs.__main__ import cli

        logging.getLogger("mkdocs.commands.build").filters.clear()  # it tells nothing twice, of earlier tests either
        before = Path.cwd()
        os.chdir(self.root)
        try:
            result = CliRunner().invoke(cli, list(arguments))
        finally:
            os.chdir(before)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, result.output

    def html(self, page: str = "index") -> str:
        folder = self.site if page == "index" else self.site / page
        return (folder / "index.html").read_text(encoding="utf-8")


@pytest.fixture(autouse=True, scope="module")
def own_environment(request):
    """The engine's tests see none of the caller's settings; a module of tests of the real figures does.

    What is set while a module's tests run, by the plugin of MkDocs for one, is gone when they are done.
    """
    with patch.dict(os.environ):
        if not getattr(request.module, "REAL_FIGURES", False):
            for name in [name for name in os.environ if name.startswith("VGDOCS_")] + ["IPYTHONDIR"]:
                if name != "VGDOCS_START":  # what a system lets one choose, the whole suite can be run with
                    os.environ.pop(name, None)
            os.environ["VGDOCS_POSTERS"] = "never"  # no browser is started for a test that is about something else
        yield


@pytest.fixture(autouse=True)
def own_draws():
    """What a test draws without a seed of its own doesn't depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def make_project():
    """Makes a project in a folder."""
    return Project


@pytest.fixture
def call(project):
    """The command, on the project."""
    return project.call


@pytest.fixture
def project(tmp_path) -> Project:
    """A project with one figure, `halving`."""
    project = Project(tmp_path)
    project.script()
    return project


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI nothing is left out: what would be skipped for want of a browser fails."""
    report = yield
    allowed = hasattr(report, "wasxfail") or item.get_closest_marker("privileged")
    if report.skipped and os.environ.get("CI") and not allowed:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {call.excinfo and call.excinfo.value}"
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", metavar="SEED", help="run the tests in a random order; `new` takes a new seed")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.option.shuffle = config.workerinput["shuffle"]
    elif config.option.shuffle == "new":
        config.option.shuffle = str(random.SystemRandom().randrange(10**6))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Each of xdist's workers has to have the same order."""
    node.workerinput["shuffle"] = node.config.option.shuffle


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.option.shuffle
    return f"the tests' order: random, again by --shuffle {seed}" if seed else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --shuffle, files in a random order, and the tests in each: what a file's tests share is made once."""
    if config.option.shuffle:
        chance = random.Random(config.option.shuffle)
        files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
        chance.shuffle(files)
        for tests in files:
            chance.shuffle(tests)
        items[:] = [test for tests in files for test in tests]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """One worker takes all tests of a file that share what is slow; the rest is spread test by test."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if Path(file).stem in MADE_ONCE else nodeid

    return Scheduling(config, log)
