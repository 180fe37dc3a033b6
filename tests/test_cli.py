"""The command line: what it prints, and that it exits non-zero where something is wrong."""

import json
import re

import pytest

from vgdocs.cli import EXAMPLE
from vgdocs.engine.figure import read

FAILS = 'def claim_it_grows(m):\n    """It grows to {last:.1e}."""\n    assert m["last"] > m["first"]\n'
RAISES = "def measure(seed: int = SEED) -> dict:\n    raise ValueError('no such layer')\n"
SEEDED = (
    'def measure(seed: int = SEED) -> dict:\n    return {"left": [1], "first": 0.5, "last": 0.5**10 * (seed < 5)}\n'
)


class TestRun:
    def test_all(self, call, project):
        project.script("doubling")
        code, output, progress = call("run")
        assert (code, output) == (0, "2 figures, 2 claims, 0 failed\n")
        assert sorted(re.sub(r"[\d.]+ s", "T", line)[6:] for line in progress.splitlines()) == [
            "doubling T",
            "halving T",
        ]
        assert [line[:5] for line in progress.splitlines()] == ["[1/2]", "[2/2]"]
        assert call("run") == (0, "2 figures, 2 claims, 0 failed\n", "")  # nothing to measure, nothing to say

    def test_one(self, call, project):
        project.script("broken", measure=RAISES)
        assert call("run", "halving")[:2] == (0, "1 figure, 1 claim, 0 failed\n")

    def test_whatever_fails_is_told_in_one_summary(self, call, project):
        project.script("broken", measure=RAISES)
        project.script("failing", claims=FAILS)
        code, output, errors = call("run")
        assert (code, output) == (1, "2 figures, 2 claims, 1 failed\n")
        assert "figures/broken.py:13: raises ValueError: no such layer" in errors
        assert "sentence: It grows to 9.8 × 10⁻⁴." in errors
        assert "measured: last = 0.0009765625" in errors

    def test_other_seeds(self, call, project):
        project.script(measure=SEEDED)
        assert call("run", "--seed", "3", "--seed", "4")[:2] == (
            0,
            "with seed 3: 1 figure, 1 claim, 0 failed\nwith seed 4: 1 figure, 1 claim, 0 failed\n",
        )
        code, output, errors = call("run", "--seed", "7")
        assert (code, output) == (1, "with seed 7: 1 figure, 1 claim, 1 failed\n")
        assert "with seed 7: figures/halving.py:" in errors
        assert call("run")[0] == 0  # its own seed is what pages show

    def test_an_unknown_name(self, call):
        assert call("run", "halvin")[::2] == (1, "there is no figure 'halvin'; did you mean halving?\n")


def test_show(call):
    code, output, _ = call("show", "halving")
    lines = output.splitlines()
    assert code == 0
    assert lines[:-1] == [
        "Halving ten times leaves 9.77 × 10⁻⁴.",
        "",
        "  first  0.5",
        "  last   0.0009765625",
        "",
        "  holds  After the first step 0.5 is left, and 9.77 × 10⁻⁴ after the last.",
        "",
    ]
    assert re.fullmatch(r"  seed 0, \d\.\d s, python [\d.]+, plotly .*", lines[-1])


def test_show_what_fails(call, project):
    project.script(claims=FAILS)
    assert "  FAILS  It grows to 9.8 × 10⁻⁴." in call("show", "halving")[1]
    project.script(measure=RAISES)
    code, output, errors = call("show", "halving")
    assert (code, output) == (1, "")
    assert "figures/halving.py:13: raises ValueError: no such layer\n" in errors
    assert call("show", "no")[0] == 1


class TestInit:
    def test_what_it_writes_builds_and_holds(self, call, make_project, tmp_path):
        folder = tmp_path / "new"
        code, output, _ = call("init", folder)
        assert (code, output.count("is written")) == (0, 5)
        project = make_project(folder, bare=False)
        assert project.call("run")[:2] == (0, "1 figure, 1 claim, 0 failed\n")
        code, output = project.mkdocs("build", "--strict")
        assert code == 0, output
        assert project.call("check", project.site)[0] == 0

    def test_it_overwrites_nothing(self, call, project):
        before = (project.root / "mkdocs.yml").read_text()
        code, _, errors = call("init", project.root)
        assert (code, "has index.md, mkdocs.yml already" in errors) == (1, True), errors
        assert (project.root / "mkdocs.yml").read_text() == before
        assert not (project.root / "pytest.ini").exists()


class TestNew:
    def test_what_it_writes_keeps_the_contract_and_holds(self, call, project):
        assert call("new", "my_figure")[0] == 0
        assert read(project.figures / "my_figure.py").text == EXAMPLE.read_text()
        assert call("run", "my_figure")[:2] == (0, "1 figure, 1 claim, 0 failed\n")

    def test_it_overwrites_nothing(self, call, project):
        before = (project.figures / "halving.py").read_text()
        code, _, errors = call("new", "halving")
        assert (code, "exists already" in errors) == (1, True)
        assert (project.figures / "halving.py").read_text() == before

    @pytest.mark.parametrize("name", ["My", "my-figure", "1st", "../x", "a.b"])
    def test_a_name_that_no_page_could_cite(self, call, name):
        code, _, errors = call("new", name)
        assert code == 2
        assert "lower_snake_case" in errors


class TestNumbers:
    def test_as_lines(self, call):
        assert call("numbers")[:2] == (0, "halving.first = 0.5\nhalving.last = 0.0009765625\n")

    def test_as_json_it_is_what_the_site_has(self, call, project):
        printed = json.loads(call("numbers", "--json")[1])
        assert project.mkdocs("build", "--strict")[0] == 0
        assert printed == json.loads((project.site / "numbers.json").read_text())

    def test_slowest_first(self, call, project):
        works = "import time; end = time.process_time() + 0.05\n    while time.process_time() < end:\n        pass\n"
        slow = SEEDED.replace("    return", f"    {works}    return")
        project.script("slow", measure=slow)
        lines = call("numbers", "--slowest")[1].splitlines()
        assert [line.split()[-1] for line in lines[:2]] == ["slow", "halving"]
        assert lines[2].endswith("in all, on one core")

    def test_what_fails_is_told_and_the_rest_printed(self, call, project):
        project.script("broken", measure=RAISES)
        code, output, errors = call("numbers", "--json")
        assert code == 1
        assert list(json.loads(output)["figures"]) == ["halving"]
        assert "raises ValueError: no such layer" in errors


def test_check(call, project):
    project.page("index", "# Home\n\nIt is [[halving.last:.1e]].\n")
    assert project.mkdocs("build", "--strict")[0] == 0
    site = str(project.site)
    assert call("check", site)[:2] == (0, f"{site}: every figure and number is where its page cites it\n")
    project.page("index", "# Home\n\nIt is [[halving.first:.1e]].\n")
    assert call("check", site)[::2] == (
        1,
        "docs/index.md: the number halving.first is cited 1 time(s) more than the page shows it\n"
        "docs/index.md: the number halving.last is shown 1 time(s) more than the source cites it\n",
    )
    assert call("check", str(project.root / "nowhere"))[0] == 2
