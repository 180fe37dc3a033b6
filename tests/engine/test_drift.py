"""Numbers that moved: what counts as moved, what accepting does, and the ways to name two versions."""

import json
import subprocess

import pytest

from vgdocs.engine import drift

BY_A_TENTH = 'return {"left": left, "first": left[1] * 1.1, "last": left[-1]}'
AS_IT_WAS = 'return {"left": left, "first": left[1], "last": left[-1]}'


def content(numbers: dict, tolerance: dict | None = None, figure: str = "f") -> dict:
    return {"figures": {figure: {"numbers": numbers, "tolerance": tolerance or {}}}}


def moved(old: dict, new: dict, tolerance: dict | None = None) -> list[str]:
    return [change.number for change in drift.compare(content(old), content(new, tolerance))]


class TestCompare:
    @pytest.mark.parametrize(
        ("old", "new", "is_moved"),
        [
            (1.0, 1.0, False),
            (1.0, 1.0009, False),
            (1.0, 1.0011, True),
            (-1.0, -0.9991, False),
            (-1.0, 1.0, True),
            (1e-30, 1.0011e-30, True),  # relative: a vanishing gradient may vanish, and still be held to its value
            (0, 0.0, False),
            (0, 1e-300, True),
            (1.0, float("nan"), True),
            (float("nan"), 1.0, True),
        ],
    )
    def test_the_default_is_a_thousandth(self, old, new, is_moved):
        assert bool(moved({"n": old}, {"n": new})) is is_moved

    def test_a_declared_tolerance_covers_a_band_and_a_group_unless_they_have_their_own(self):
        old = dict.fromkeys(["b", "b.lo", "b.hi", "group.a", "group.b.lo", "bb"], 1.0)
        new = dict.fromkeys(old, 1.2)
        declared = {"b": 0.3, "b.hi": 0.1, "group": 0.3, "group.b": 0.1}
        assert moved(old, new, declared) == ["b.hi", "group.b.lo", "bb"]

    def test_the_newer_version_says_what_is_tolerated(self):
        assert drift.compare(content({"n": 1.0}, {"n": 0.5}), content({"n": 1.2}))
        assert not drift.compare(content({"n": 1.0}), content({"n": 1.2}, {"n": 0.5}))

    def test_new_and_gone_numbers_and_figures_are_changes(self):
        changes = drift.compare(content({"a": 1.0, "b": 2.0}), content({"b": 2.0, "c": 3.0}))
        assert [(c.number, c.old, c.new) for c in changes] == [("a", 1.0, None), ("c", None, 3.0)]
        changes = drift.compare(content({"a": 1.0}, figure="z"), content({"a": 1.0}, figure="y"))
        assert [(c.figure, c.old, c.new) for c in changes] == [("y", None, 1.0), ("z", 1.0, None)]

    def test_the_table_names_figure_number_values_and_tolerance(self):
        old, new = content({"a": 0.5, "b": 1, "zero": 0}), content({"a": 0.55, "c": 2e-9, "zero": 1}, {"a": 0.05})
        assert drift.text_table(drift.compare(old, new)).splitlines() == [
            "Number  Old    New   Moved by  Tolerance",
            "f.a     0.5   0.55    +10.00%      5.00%",
            "f.b       1              gone",
            "f.zero    0      1  from zero      0.10%",
            "f.c          2e-09        new",
        ]


class TestAccept:
    def test_from_nothing_then_nothing_then_what_moved(self, call, project):
        path = project.root / "tests/numbers.json"
        code, output, _ = call("numbers", "--accept")
        assert code == 0
        assert "halving.first" in output
        first = json.loads(path.read_text())
        assert first["figures"]["halving"]["numbers"] == {"first": 0.5, "last": 0.5**10}
        assert call("numbers", "--accept")[:2] == (0, "No number moved beyond its tolerance.\n")
        assert json.loads(path.read_text()) == first

        project.edit(project.figures / "halving.py", AS_IT_WAS, 'return {"left": left, "first": 0.5, "other": 1}')
        project.edit(project.figures / "halving.py", "{last:.2e}.", "{other}.")
        project.edit(project.figures / "halving.py", ", and {last:.2e} after the last", "")
        project.edit(project.figures / "halving.py", '    assert m["last"] == 0.5**10\n', "")
        code, output, _ = call("numbers", "--accept")
        assert [line.split()[0] for line in output.splitlines()[1:]] == ["halving.last", "halving.other"]
        assert json.loads(path.read_text())["figures"]["halving"]["numbers"] == {"first": 0.5, "other": 1}

    def test_many_small_steps_add_up(self):
        """A number within its tolerance keeps its accepted value, so that it can't creep."""
        accepted = content({"n": 1.0})
        for step in range(1, 3):
            new = content({"n": 1.0 + 0.0008 * step})
            changes = drift.compare(accepted, new)
            assert bool(changes) is (step == 2)
            if step == 1:
                accepted = drift.accept(accepted, new, changes)
                assert accepted["figures"]["f"]["numbers"] == {"n": 1.0}

    def test_a_band_is_accepted_whole(self):
        """Or its median could be accepted from one measurement and its ends from another."""
        old = content({"a": 0.5, "a.lo": 0.4, "a.hi": 0.6, "b": 1.0}, {"a": 0.5})
        new = content({"a": 0.7, "a.lo": 0.65, "a.hi": 0.8, "b": 1.0001}, {"a": 0.5})
        (change,) = drift.compare(old, new)
        assert change.number == "a.lo"
        accepted = drift.accept(old, new, [change])["figures"]["f"]["numbers"]
        assert accepted == {"a": 0.7, "a.lo": 0.65, "a.hi": 0.8, "b": 1.0}

    def test_tolerances_are_kept_with_the_numbers(self):
        """So that two releases can be compared when their scripts are long gone."""
        accepted = drift.accept(content({"n": 1.0}, {"n": 0.1}), content({"n": 1.0}, {"n": 0.2}), [])
        assert accepted["figures"]["f"]["tolerance"] == {"n": 0.2}

    def test_only_the_figures_named(self, call, project):
        project.script("doubling")
        call("numbers", "--accept")
        for name in ("doubling", "halving"):
            project.edit(project.figures / f"{name}.py", AS_IT_WAS, BY_A_TENTH)
            project.edit(project.figures / f"{name}.py", 'm["first"] == 0.5', 'm["first"] > 0.5')
        assert call("numbers", "--accept", "halving")[1].splitlines()[1].split()[0] == "halving.first"
        figures = json.loads((project.root / "tests/numbers.json").read_text())["figures"]
        assert [figures[name]["numbers"]["first"] for name in ("doubling", "halving")] == [0.5, 0.55]

    def test_nothing_is_accepted_while_a_claim_fails(self, call, project):
        project.edit(project.figures / "halving.py", AS_IT_WAS, BY_A_TENTH)
        code, _, errors = call("numbers", "--accept")
        assert code == 1
        assert 'assert m["first"] == 0.5' in errors
        assert errors.endswith("Nothing is accepted while figures or claims fail.\n")
        assert not (project.root / "tests/numbers.json").exists()

    def test_a_damaged_file_is_told_and_kept(self, call, project):
        path = project.root / "tests/numbers.json"
        path.parent.mkdir()
        path.write_text("{")
        code, _, errors = call("numbers", "--accept")
        assert (code, errors.splitlines()[-1]) == (1, f"{path} isn't a numbers.json")
        assert path.read_text() == "{"


class TestDiff:
    def test_files_and_built_sites(self, call, project):
        call("numbers", "--accept")
        assert project.mkdocs("build", "--strict")[0] == 0
        accepted = project.root / "tests/numbers.json"
        assert call("diff", accepted, project.site) == (0, "", "")
        (project.root / "other.json").write_text(accepted.read_text().replace("0.5", "0.6"))
        code, output, _ = call("diff", accepted, project.root / "other.json")
        assert code == 1
        assert output.splitlines()[1].split() == ["halving.first", "0.5", "0.6", "+20.00%", "0.10%"]

    def test_deployed_versions_and_other_revisions(self, call, project):
        def git(*arguments: str) -> None:
            identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
            subprocess.run(["git", *identity, *arguments], cwd=project.root, check=True, capture_output=True)

        git("init", "--quiet", "--initial-branch=gh-pages")
        for version, value in [("1.0", 0.5), ("1.1", 0.6)]:
            folder = project.root / version
            folder.mkdir()
            (folder / "numbers.json").write_text(json.dumps(content({"n": value})))
        git("add", "1.0", "1.1")
        git("commit", "--quiet", "--message=Versions")
        for version in ("1.0", "1.1"):
            (project.root / version / "numbers.json").unlink()
            (project.root / version).rmdir()
        assert call("diff", "1.0", "1.0") == (0, "", "")
        code, output, _ = call("diff", "1.0", "gh-pages:1.1")
        assert code == 1
        assert output.splitlines()[1].split() == ["f.n", "0.5", "0.6", "+20.00%", "0.10%"]
        assert call("diff", "1.0", "HEAD:1.1/numbers.json")[0] == 1

    @pytest.mark.parametrize("source", ["1.0", "HEAD:nowhere", "--output=stolen:x", "mkdocs.yml", "figures"])
    def test_what_is_not_there_or_no_numbers_json_is_told(self, call, project, source):
        source = project.root / source if (project.root / source).exists() else source
        code, output, errors = call("diff", "--", source, project.root)
        assert (code, output) == (2, "")
        assert str(source) in errors
        assert not list(project.root.glob("stolen*"))


class TestHistory:
    @pytest.fixture
    def releases(self, project):
        folder = project.root / drift.RELEASES
        folder.mkdir(parents=True)
        for version, first in [("1.10", 0.5), ("1.9", 0.4), ("1.10rc1", 0.4)]:
            numbers = {"first": first, "last": 0.5**10}
            (folder / f"{version}.json").write_text(json.dumps(content(numbers, figure="halving")))
        return folder

    def test_each_release_is_held_against_the_one_before(self, project, releases):
        steps = drift.history(project.root, project.library().summary())
        assert [(newer, older, len(changes)) for newer, older, changes in steps] == [
            ("", "1.10", 0),
            ("1.10", "1.10rc1", 1),
            ("1.10rc1", "1.9", 0),
        ]

    def test_a_post_release_comes_after_its_release(self, project, releases):
        (releases / "1.10.post1.json").write_text((releases / "1.10.json").read_text())
        steps = drift.history(project.root, project.library().summary())
        assert [step[:2] for step in steps[:2]] == [("", "1.10.post1"), ("1.10.post1", "1.10")]

    def test_the_page_shows_it(self, project, releases):
        html, problems = project.convert("/// changes\n///\n")
        assert problems == []
        assert html.count("<h3") == 3
        assert html.count("No number moved beyond its tolerance.") == 2
        assert "<td>halving.first</td><td>0.4</td><td>0.5</td><td>+25.00%</td><td>0.10%</td>" in html

    def test_no_number_is_broken_at_its_sign(self, project, releases):
        (releases / "1.11.json").write_text(json.dumps(content({"first": 2e-9}, figure="halving")))
        (releases / "1.12.json").write_text(json.dumps(content({"first": 1e-9}, figure="halving")))
        html, _ = project.convert("/// changes\n///\n")
        assert "<td>2e−09</td><td>1e−09</td><td>−50.00%</td>" in html

    def test_before_the_first_release(self, project):
        assert "No version has been released yet." in project.convert("/// changes\n///\n")[0]

    def test_a_damaged_release_is_an_error_of_the_page(self, project, releases):
        (releases / "1.9.json").write_text("<b>")
        html, (problem,) = project.convert("/// changes\n///\n")
        assert problem.endswith("1.9.json isn't a numbers.json")
        assert "vg-error" in html

    def test_nothing_in_it_is_markup(self, project, releases):
        (releases / "1.11<b>.json").write_text(json.dumps(content({"<i>": 1.0}, figure="<u>")))
        html, _ = project.convert("/// changes\n///\n")
        assert not any(tag in html for tag in ("<b>", "<i>", "<u>"))
