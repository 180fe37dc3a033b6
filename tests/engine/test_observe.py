"""What a figure reads makes it stale, however it is read and wherever it lies; what it doesn't read never does."""

import importlib.metadata
import sys

import pytest

from vgdocs.engine import observe

HEAD = """\
import importlib.metadata
import os
from pathlib import Path

import plotly.graph_objects as go

HERE = Path(__file__).parent
SEED = 0
STEPS = 10
"""
WAYS = {
    "a literal path": '(HERE / "data/v.txt").read_text()',
    "two constants": '(HERE / "data" / ("v" + ".txt")).read_text()',
    "open": 'open(f"{HERE}/data/{chr(118)}.txt").read()',
    "os.open": 'os.read(os.open(HERE / "data/v.txt", os.O_RDONLY), 9).decode()',
    "a glob": 'next((HERE / "data").glob("*.txt")).read_text()',
    "a link": '(HERE / "link.txt").read_text()',
    "beside figures/": '(HERE.parent / "data" / "v.txt").read_text()',
    "a relative path": "open(os.path.relpath(HERE / 'data/v.txt')).read()",
    "numpy": '__import__("numpy").loadtxt(HERE / "data/v.txt")',
    "memory": '__import__("numpy").memmap(HERE / "data/v.txt", mode="r").tobytes().decode()',
    "csv": 'next(__import__("csv").reader(open(HERE / "data/v.txt")))[0]',
    "json": '__import__("json").load(open(HERE / "data/v.txt"))',
    "a folder named by a variable": 'open(os.path.join(os.environ.get("NOWHERE", HERE / "data"), "v.txt")).read()',
    "another process": '__import__("subprocess").check_output([__import__("sys").executable, "-c", '
    '"import sys; print(open(sys.argv[1]).read())", HERE / "data/v.txt"]).decode()',
    "sqlite": '__import__("sqlite3").connect(HERE / "v.db").execute("select v from t").fetchone()[0]',
}
RUN = 'VALUE = __import__("runpy").run_path(str(HERE.parent / "lib/helper.py"))["VALUE"]'
IMPORTS = {
    "beside the others": ("lib/helper.py", "from helper import VALUE"),
    "in a package": ("lib/pack/deep.py", "from pack.deep import VALUE"),
    "through another": ("lib/pack/deep.py", "from through import VALUE"),
    "in a function": ("lib/helper.py", 'VALUE = __import__("importlib").import_module("helper").VALUE'),
    "run as a script": ("lib/helper.py", RUN),
}


def measuring(expression: str) -> str:
    measured = f'{{"left": [1], "first": 0.5, "last": float({expression})}}'
    return f"def measure(seed: int = SEED) -> dict:\n    return {measured}\n"


CLAIM = 'def claim_a(m):\n    """So."""\n    assert m["last"] in (3, 7)\n'


def write(project, value: int) -> None:
    """The number, in every file that a script may read it from."""
    import sqlite3

    for folder in (project.figures / "data", project.root / "data"):
        folder.mkdir(exist_ok=True)
        (folder / "v.txt").write_text(f"{value}\n")
    link = project.figures / "link.txt"
    link.unlink(missing_ok=True)
    link.symlink_to(project.figures / "data/v.txt")
    with sqlite3.connect(project.figures / "v.db") as base:
        base.execute("drop table if exists t")
        base.execute("create table t (v)")
        base.execute("insert into t values (?)", (value,))
    base.close()


@pytest.fixture(scope="module")
def read(make_project, tmp_path_factory):
    """What figures that read one number in all ways measured: at first, with other files changed, with it changed."""
    project = make_project(tmp_path_factory.mktemp("reads"))
    names = {way: f"way_{n}" for n, way in enumerate(WAYS)}
    for way, name in names.items():
        project.script(name, head=HEAD, measure=measuring(WAYS[way]), claims=CLAIM, docstring='"""So."""')

    def measured() -> dict[str, tuple[float, str]]:
        entries = project.library().entries
        assert [str(entry.error) for entry in entries.values() if entry.error] == []
        return {way: (entries[name].numbers["last"], entries[name].record.made) for way, name in names.items()}

    write(project, 3)
    first = measured()
    (project.figures / "data/unrelated.bin").write_bytes(b"new")
    project.page("unrelated", "A page.")
    again = measured()
    write(project, 7)
    return first, again, measured()


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_changes_makes_its_figures_stale_and_another_does_not(read, way):
    first, again, changed = (measured[way] for measured in read)
    assert (first[0], changed[0]) == (3, 7)
    assert (again == first) is (way != "a glob")  # who lists a folder depends on what is in it


@pytest.mark.parametrize("where", IMPORTS)
def test_a_helper_that_changes_makes_its_figures_stale(project, monkeypatch, where):
    file, statement = IMPORTS[where]
    monkeypatch.syspath_prepend(project.root / "lib")
    (project.root / "lib/pack").mkdir(parents=True)
    (project.root / "lib/pack/__init__.py").write_text("")
    (project.root / "lib/through.py").write_text("from pack.deep import VALUE\n")
    helper = project.root / file
    helper.write_text("VALUE = 3\n")
    project.script(head=f"{HEAD}\n{statement}\n", measure=measuring("VALUE"), claims=CLAIM, docstring='"""So."""')
    before = project.library().entries["halving"].record
    helper.write_text("# Three.\nVALUE = 3  # still\n")
    (project.root / "lib/unrelated.py").write_text("VALUE = 9\n")
    assert project.library().entries["halving"].record == before
    helper.write_text("VALUE = 7\n")
    assert project.library().entries["halving"].numbers["last"] == 7


@pytest.mark.parametrize(
    "expression",
    [
        'open(HERE / "more.txt").read() if (HERE / "more.txt").exists() else 3',
        'open(HERE / "more.txt").read() if os.path.isfile(HERE / "more.txt") else 3',
        'Path(HERE / "more.txt").read_text() if "more.txt" in os.listdir(HERE) else 3',
        "VALUE",
    ],
)
def test_a_file_that_was_missing_and_now_is_there(project, monkeypatch, expression):
    monkeypatch.syspath_prepend(project.figures)
    head = f"{HEAD}\ntry:\n    from more import VALUE\nexcept ImportError:\n    VALUE = 3\n"
    project.script(head=head, measure=measuring(expression), claims=CLAIM, docstring='"""So."""')
    assert project.library().entries["halving"].numbers["last"] == 3
    (project.figures / "more.txt").write_text("7")
    (project.root / "more").mkdir()
    if expression == "VALUE":
        (project.figures / "more.py").write_text("VALUE = 7\n")
    assert project.library().entries["halving"].numbers["last"] == 7


def test_what_a_figure_writes_itself_is_no_input(project):
    expression = '[(HERE / "kept.txt").write_text("3"), (HERE / "kept.txt").read_text()][1]'
    project.script(head=HEAD, measure=measuring(expression), claims=CLAIM, docstring='"""So."""')
    assert "figures/kept.txt" not in project.library().entries["halving"].record.inputs


def test_a_figure_that_changes_what_it_reads_each_time_is_told(project):
    (project.figures / "count.txt").write_text("1")
    body = 'n = int((HERE / "count.txt").read_text()); (HERE / "count.txt").write_text(str(n + 1)); return {"last": n}'
    project.script(head=HEAD, measure=f"def measure(seed: int = SEED) -> dict:\n    {body}\n")
    error = str(project.library().entries["halving"].error)
    assert error.startswith("figures/halving.py: reads what changes while it is measured: figures/count.txt")


def test_a_failure_is_tried_again_when_what_it_read_has_changed(project):
    (project.figures / "data").mkdir()
    (project.figures / "data/v.txt").write_text("three")
    project.script(head=HEAD, measure=measuring(WAYS["open"]), claims=CLAIM, docstring='"""So."""')
    library = project.library()
    assert "could not convert" in str(library.entries["halving"].error)
    assert project.figures / "data/v.txt" in library.inputs()  # which a server watches
    (project.figures / "data/v.txt").write_text("3")
    library.refresh()
    assert library.entries["halving"].numbers["last"] == 3


def test_what_another_thread_notes_meanwhile_is_no_error(tmp_path, monkeypatch):
    inputs = {"v.txt": "a digest"}

    def noting(place, root):
        inputs["w.txt"] = "a digest"
        return root / place

    monkeypatch.setattr(observe, "_path", noting)
    assert observe.files(inputs, tmp_path) == [tmp_path / "v.txt"]


class TestWatch:
    def test_places_are_the_same_on_every_machine(self, tmp_path):
        (tmp_path / "v.txt").write_text("3")
        with observe.Watch(tmp_path) as watch:
            (tmp_path / "v.txt").read_text()
            from vgdocs.pages import notebook  # noqa: F401
        assert "v.txt" in watch.inputs
        assert not [place for place in watch.inputs if place.startswith("/")]

    def test_what_is_installed_and_what_is_no_file_count_by_nothing(self, tmp_path):
        import os
        import tokenize

        with observe.Watch(tmp_path) as watch:
            open(tokenize.__file__).close()
            open(os.devnull).close()
        assert watch.inputs == {}

    def test_a_search_for_what_is_installed_is_no_look_at_the_project(self, tmp_path, monkeypatch):
        """`python -m` has the project's folder searched too, in which a build may put its site meanwhile."""
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "v.txt").write_text("1")
        with observe.Watch(tmp_path) as watch:
            assert list(importlib.metadata.distributions(name="plotly"))
        assert watch.inputs == {}

    def test_outside_of_it_nothing_is_noted_and_nothing_stays(self, tmp_path):
        import os

        stat, finders = os.stat, list(sys.meta_path)
        with observe.Watch(tmp_path) as watch:
            assert os.stat is not stat
        (tmp_path / "v.txt").write_text("3")
        (tmp_path / "v.txt").read_text()
        assert (os.stat, sys.meta_path, watch.inputs) == (stat, finders, {})
