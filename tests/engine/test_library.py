"""The figures of a project: what pages, the command line and pytest look things up in."""

import json
from dataclasses import replace

import pytest

from vgdocs.engine.figure import SettingError
from vgdocs.engine.library import CitationError, Library
from vgdocs.engine.numbers import Formatted
from vgdocs.engine.record import Record

MEASURE_DEEP = """\
def measure(seed: int = SEED) -> dict:
    return {"left": [0.5], "deep": {"rate": {"median": 0.5, "lo": 0.25, "hi": 0.75}}, "first": 0.5, "last": 0.5**10}
"""
FAILS = 'def claim_it_grows(m):\n    """It grows to {last:.1e}."""\n    assert m["last"] > m["first"]\n'
RAISES = "def measure(seed: int = SEED) -> dict:\n    raise ValueError\n"


@pytest.fixture
def library(project) -> Library:
    project.script(measure=MEASURE_DEEP)
    project.script("broken", measure=RAISES)
    return project.library()


class TestLookup:
    @pytest.mark.parametrize(
        ("number", "spec", "expected"),
        [
            ("last", ".1e", (0.5**10, Formatted("9.8 × 10<sup>−4</sup>", "9.8 × 10⁻⁴"))),
            ("deep.rate", "", (0.5, Formatted("0.5", "0.5"))),
            ("deep.rate.lo", ".2f", (0.25, Formatted("0.25", "0.25"))),
        ],
    )
    def test_a_number(self, library, number, spec, expected):
        assert library.number("halving", number, spec) == expected

    @pytest.mark.parametrize(
        ("figure", "number", "spec", "message"),
        [
            ("halvin", "last", "", "there is no figure 'halvin'; did you mean halving?"),
            ("xyz", "last", "", "there is no figure 'xyz'; there is broken, halving"),
            ("halving", "lst", "", "halving measures no number 'lst'; did you mean last or first?"),
            ("halving", "left", "", "halving measures no number 'left'; did you mean last?"),
            (
                "halving",
                "deep.rate.median",
                "",
                "halving measures no number 'deep.rate.median'; did you mean deep.rate.hi",
            ),
            ("halving", "last", "huge", "'huge' isn't a number format; use .2e, .3f, .3g, d, .1% or none"),
            ("broken", "last", "", "broken has no numbers: raises ValueError: "),
        ],
    )
    def test_what_is_not_there_is_told_with_the_nearest_names(self, library, figure, number, spec, message):
        with pytest.raises(CitationError) as error:
            library.number(figure, number, spec)
        assert str(error.value).startswith(message)

    def test_a_figure_still_to_be_measured_has_no_number_yet(self, project):
        library = project.library(run=False)
        assert library.number("halving", "last", "") is None
        assert library.entries["halving"].error is None


class TestRefresh:
    def test_only_those_named(self, project):
        project.script("doubling")
        library = project.library(names=["doubling"])
        assert list(library.entries) == ["doubling"]
        library.refresh(["halving"])
        assert {name: bool(entry.record) for name, entry in library.entries.items()} == {
            "doubling": True,
            "halving": True,
        }

    def test_a_name_that_is_none(self, project):
        with pytest.raises(CitationError, match="there is no figure 'halvin'; did you mean halving"):
            project.library(names=["halvin"])

    def test_a_script_that_is_gone_is_forgotten(self, project):
        library = project.library()
        (project.figures / "halving.py").unlink()
        library.refresh()
        assert library.entries == {}

    def test_an_edited_script_is_read_anew(self, project):
        library = project.library()
        project.edit(project.figures / "halving.py", "Halving ten times", "Halving often")
        library.refresh()
        assert library.entries["halving"].title == "Halving often leaves 9.77 × 10⁻⁴."

    def test_a_failed_script_runs_again_only_when_something_it_depends_on_has_changed(self, project):
        log = project.root / "log"
        body = f"open({str(log)!r}, 'a').write('ran '); raise ValueError"
        path = project.script(measure=f"def measure(seed: int = SEED) -> dict:\n    {body}\n")
        library = project.library()
        library.refresh()
        assert library.entries["halving"].error
        assert log.read_text() == "ran "
        project.edit(path, "raise ValueError", "raise KeyError")
        library.refresh()
        assert log.read_text() == "ran ran "
        project.script()
        library.refresh()
        assert library.entries["halving"].error is None

    def test_the_store_may_be_elsewhere(self, project, monkeypatch):
        monkeypatch.setenv("VGDOCS_STORE", str(project.root / "elsewhere"))
        project.library()
        assert list((project.root / "elsewhere").rglob("*.json"))
        assert not (project.root / ".vgdocs").exists()


class TestWithoutRunning:
    """VGDOCS_RUN=never"""

    @pytest.fixture
    def never(self, project, monkeypatch):
        project.library()
        monkeypatch.setenv("VGDOCS_RUN", "never")
        monkeypatch.setattr("vgdocs.engine.runner.run", lambda *args, **kwargs: pytest.fail("something ran"))
        return project

    def test_the_record_there_is_is_taken(self, never):
        entry = never.library().entries["halving"]
        assert entry.numbers["last"] == 0.5**10
        assert entry.verdict(entry.figure.claims[0]).passed

    def test_a_record_of_other_versions_is_taken(self, never):
        (path,) = (never.root / ".vgdocs").rglob("*.json")
        record = replace(Record.from_json(path.read_text(encoding="utf-8")), versions={"python": "2.7"})
        path.unlink()
        never.library().store.save(record)
        assert never.library().entries["halving"].numbers["last"] == 0.5**10

    @pytest.mark.parametrize("value", ["nevr", "1", "Never"])
    def test_a_setting_that_is_none(self, never, monkeypatch, value):
        monkeypatch.setenv("VGDOCS_RUN", value)
        with pytest.raises(SettingError, match="it is never, or not set"):
            never.library()

    def test_claims_edited_since_are_not_judged(self, never):
        never.edit(never.figures / "halving.py", "== 0.5**10", "== 0.5**11")
        entry = never.library().entries["halving"]
        assert entry.numbers["last"] == 0.5**10
        assert entry.verdict(entry.figure.claims[0]) is None
        assert entry.failed == []

    def test_what_is_missing_is_told(self, never):
        never.edit(never.figures / "halving.py", "STEPS = 10", "STEPS = 11")
        never.script("doubling")
        errors = [str(entry.error) for entry in never.library().entries.values()]
        assert errors == [
            "figures/doubling.py: has no record, and VGDOCS_RUN=never forbids to make one",
            "figures/halving.py: has no record, and VGDOCS_RUN=never forbids to make one",
        ]


def test_times_slowest_first(project):
    body = "import time; time.sleep(0.05); return {'last': 0, 'first': 0, 'left': []}"
    project.script("slow", measure=f"def measure(seed: int = SEED) -> dict:\n    {body}\n")
    project.script("broken", measure=RAISES)
    assert list(project.library().times()) == ["slow", "halving"]


def test_claims_that_fail(project):
    project.script(claims=FAILS)
    (failed,) = project.library().entries["halving"].failed
    assert (failed[0].name, failed[1].passed) == ("claim_it_grows", False)


def test_the_summary_is_the_sites_stable_interface(library, project):
    project.script("failing", claims=FAILS)
    library.refresh()
    summary = library.summary()
    assert set(summary) == {"versions", "figures"}
    assert {"python", "plotly", "vgdocs"} <= summary["versions"].keys()
    assert list(summary["figures"]) == ["failing", "halving"]  # what failed to run has no numbers
    halving = summary["figures"]["halving"]
    assert halving.pop("seconds") >= 0
    assert halving == {
        "title": "Halving ten times leaves 9.77 × 10⁻⁴.",
        "tolerance": {},
        "numbers": {"deep.rate": 0.5, "deep.rate.lo": 0.25, "deep.rate.hi": 0.75, "first": 0.5, "last": 0.5**10},
        "claims": [
            {
                "name": "claim_halving_is_exact",
                "sentence": "After the first step 0.5 is left, and 9.77 × 10⁻⁴ after the last.",
                "passed": True,
            }
        ],
    }
    assert summary["figures"]["failing"]["claims"] == [
        {"name": "claim_it_grows", "sentence": "It grows to 9.8 × 10⁻⁴.", "passed": False}
    ]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
