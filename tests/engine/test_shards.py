"""Many machines: each measures a share, their records are merged by copying, and the site is the same as one's."""

import json
import shutil
from pathlib import Path

import pytest

from vgdocs.engine.runner import share

NAMES = [f"figure_{letter}" for letter in "abcdefg"]


class TestShare:
    @pytest.mark.parametrize("count", [1, 2, 3, 7, 9])
    @pytest.mark.parametrize("seconds", [{}, {"figure_c": 30.0}, {name: 1.0 + i for i, name in enumerate(NAMES)}])
    def test_each_figure_is_in_one_share(self, count, seconds):
        shares = [share(NAMES, index, count, seconds) for index in range(1, count + 1)]
        assert sorted(name for names in shares for name in names) == NAMES

    def test_the_order_in_which_a_machine_finds_the_figures_does_not_matter(self):
        assert share(NAMES[::-1], 2, 3, {}) == share(NAMES, 2, 3, {})

    def test_shares_take_about_equally_long(self):
        seconds = dict(zip(NAMES, [60, 20, 20, 20, 10, 10, 0], strict=True))
        loads = [sum(seconds[name] for name in share(NAMES, index, 2, seconds)) for index in (1, 2)]
        assert loads == [70, 70]

    def test_a_figure_of_unknown_length_counts_as_an_average_one(self):
        assert share(["known", "new_a", "new_b"], 1, 2, {"known": 8.0}) == ["known", "new_b"]


@pytest.fixture
def project(project):
    """Seven figures and a page that shows and cites each."""
    (project.figures / "halving.py").unlink()
    blocks = []
    for n, name in enumerate(NAMES):
        project.script(name, head=f"import plotly.graph_objects as go\n\nSEED = {n}\nSTEPS = 10\n")
        blocks.append(f"It is [[{name}.last:.1e]].\n\n/// figure | {name}\n\nCaption.\n///\n")
    project.page("index", "# Home\n\n" + "\n".join(blocks) + "\n/// numbers\n///\n")
    return project


def built(project, store: Path, monkeypatch) -> dict[str, bytes]:
    """The files of the site that is built from a store, with nothing measured."""
    monkeypatch.setenv("VGDOCS_STORE", str(store))
    monkeypatch.setenv("VGDOCS_RUN", "never")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # mkdocs writes the time of the build into the first page
    code, output = project.mkdocs("build", "--strict")
    monkeypatch.delenv("VGDOCS_RUN")
    assert code == 0, output
    files = {str(p.relative_to(project.site)): p.read_bytes() for p in project.site.rglob("*") if p.is_file()}
    numbers = json.loads(files["numbers.json"])
    for figure in numbers["figures"].values():
        assert figure.pop("seconds") >= 0  # of the processor: no two measurements take the same
    return files | {"numbers.json": json.dumps(numbers).encode()}


def test_records_of_three_machines_make_the_same_site_as_those_of_one(project, tmp_path, monkeypatch):
    measured = 0
    merged = tmp_path / "merged"
    for index in (1, 2, 3):
        monkeypatch.setenv("VGDOCS_STORE", str(tmp_path / f"machine_{index}"))
        code, output, _ = project.call("run", "--shard", f"{index}/3")
        assert code == 0, output
        made = list((tmp_path / f"machine_{index}/records").rglob("*.json"))
        measured += len(made)
        assert 2 <= len(made) <= 3
        shutil.copytree(tmp_path / f"machine_{index}/records", merged / "records", dirs_exist_ok=True)
    assert measured == len(NAMES)

    monkeypatch.setenv("VGDOCS_STORE", str(tmp_path / "alone"))
    assert project.call("run")[0] == 0
    from_three, from_one = (built(project, store, monkeypatch) for store in (merged, tmp_path / "alone"))
    assert from_three.keys() == from_one.keys()
    assert [name for name in from_one if from_one[name] != from_three[name]] == []


def test_a_share_that_is_missing_is_told_and_not_measured(project, tmp_path, monkeypatch):
    monkeypatch.setenv("VGDOCS_STORE", str(tmp_path / "machine_1"))
    assert project.call("run", "--shard", "1/2")[0] == 0
    monkeypatch.setenv("VGDOCS_RUN", "never")
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    assert output.count("has no record, and VGDOCS_RUN=never forbids to make one") >= 3


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_a_shard_that_is_none(project, shard):
    code, _, output = project.call("run", f"--shard={shard}")
    assert code == 2
    assert "the second share of four is 2/4" in output


def test_more_machines_than_figures(project, monkeypatch, tmp_path):
    monkeypatch.setenv("VGDOCS_STORE", str(tmp_path / "idle"))
    code, _, output = project.call("run", "--shard", "8/8")
    assert (code, output) == (1, "The share 8/8 is empty: 7 figures can be split into 7 shares at most\n")
