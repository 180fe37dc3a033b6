"""How sure claims are: the seeds on which they hold, and the margin beyond those."""

import json
import math

import pytest
from bs4 import BeautifulSoup

from vgdocs.engine import seeds as certainty
from vgdocs.engine.seeds import beyond, sureness

STEP = certainty.FARTHEST / 2**certainty.HALVINGS  # within which a margin is found


def measuring(values: str) -> str:
    return f"def measure(seed: int = SEED) -> dict:\n    return {values}\n"


def claiming(*bodies: str) -> str:
    return "\n\n".join(f'def claim_{n}(m):\n    """It is so."""\n    {body}\n' for n, body in enumerate(bodies))


@pytest.fixture
def found(project):
    """What is found of claims on what is measured with the seeds 1 to 3."""

    def find(values: str, *bodies: str, seeds=(1, 2, 3)):
        draw = "def draw(m: dict) -> go.Figure:\n    return go.Figure(go.Scatter(y=[1]))\n"
        project.script(docstring='"""So."""', measure=measuring(values), draw=draw, claims=claiming(*bodies))
        entries = [made["halving"] for made in project.library(run=False).sample(None, seeds).values()]
        assert [entry.error for entry in entries] == [None] * len(seeds)
        return sureness(entries[0].figure, [entry.record for entry in entries])

    return find


class TestMargin:
    def test_of_a_bound_it_is_the_distance_to_it_in_units_of_the_range(self, found):
        (above, below, far) = found(
            '{"x": seed - 2.0}', 'assert m["x"] < 2', 'assert m["x"] > -1.5', 'assert m["x"] < 100'
        )
        assert above.margin == pytest.approx(0.5, abs=STEP)  # from 1 to 2, where the seeds go from -1 to 1
        assert below.margin == pytest.approx(0.25, abs=STEP)
        assert far.margin == certainty.FARTHEST

    def test_numbers_of_one_sign_move_by_factors(self, found):
        (above, below) = found('{"x": -(10.0**-seed)}', 'assert m["x"] > -1', 'assert m["x"] < -1e-6')
        assert above.margin == pytest.approx(0.5, abs=STEP)  # one power of ten beyond the two that the seeds span
        assert below.margin == pytest.approx(1.5, abs=STEP)

    def test_numbers_that_move_together_are_moved_together(self, found):
        (contrast,) = found('{"a": 1.0 * seed, "b": 2.0 * seed}', 'assert m["a"] < m["b"]')
        assert contrast.margin == certainty.FARTHEST

    def test_the_least_of_a_series_counts(self, found):
        (every,) = found('{"x": [5.0, seed - 2.0, "nan", None]}', 'assert m["x"][1] < 2 and m["x"][0] == 5')
        assert every.margin == pytest.approx(0.5, abs=STEP)

    def test_a_band_stays_one(self, found):
        """On one seed the median is the highest, on another the lowest."""
        band = '{"x": {"lo": -2.0, "median": [-2.0, 0.0, 2.0][seed - 1], "hi": 2.0}}'
        (ordered,) = found(band, 'assert m["x"]["lo"] <= m["x"]["median"] <= m["x"]["hi"]')
        assert ordered.margin == certainty.FARTHEST

    def test_an_equality_that_no_line_keeps_has_none(self, found):
        (equal,) = found('{"a": 1.0 * seed, "b": 1.0 * seed**2 + 1}', 'assert m["b"] == m["a"] ** 2 + 1')
        assert (equal.failed, equal.margin) == ((), None)

    def test_what_no_seed_moves_is_as_sure_as_can_be(self, found):
        (same,) = found('{"x": 0.25}', 'assert m["x"] == 0.25')
        assert same.margin == certainty.FARTHEST

    def test_a_claim_can_not_spoil_what_another_is_asked_on(self, found):
        spoils, after = found(
            '{"x": [seed - 2.0]}', 'y = m["x"]; assert y.pop() < 2', 'assert len(m["x"]) == 1 and m["x"][0] < 2'
        )
        assert spoils.margin == after.margin == pytest.approx(0.5, abs=STEP)


def test_the_seeds_on_which_a_claim_fails_are_told_and_rank_first(found):
    sure, thin, failing = found(
        '{"x": 1.0 * seed}', 'assert m["x"] < 100', 'assert m["x"] < 3.1', 'assert m["x"] != 2', seeds=(1, 2, 3, 4)
    )
    assert (sure.failed, thin.failed, failing.failed) == ((), (4,), (2,))
    assert (sure.held, thin.held) == ("4/4", "3/4")
    assert certainty.thinnest([sure, thin, failing])[-1] == sure


@pytest.mark.parametrize(
    ("first", "last", "by", "moved"),
    [
        (1.0, 3.0, 1.0, 9.0),
        (-1.0, 1.0, 0.5, 2.0),
        (0.0, 1.0, 1.0, 2.0),
        (2, 4, 1.0, 8),
        (2, 3, 0.5, 4),
        (1e-300, 1e300, 3.0, 1.7976931348623157e308),
        (5.0, 5.0, 2.0, 5.0),
        ("inf", 1.0, 1.0, 1.0),
        (True, False, 1.0, False),
        ([1.0], [1.0, 2.0], 1.0, [1.0, 2.0]),
        ({"a": [1.0]}, {"a": [2.0], "b": "text"}, 1.0, {"a": [4.0], "b": "text"}),
    ],
)
def test_what_lies_beyond(first, last, by, moved):
    found = beyond(first, last, by)
    assert found == (pytest.approx(moved) if isinstance(moved, float) else moved)
    assert type(found) is type(moved)


def test_halfway_between_two_seeds():
    assert beyond(1.0, 4.0, -0.5) == pytest.approx(2.0)
    assert beyond(-1.0, 3.0, -0.5) == pytest.approx(1.0)


@pytest.mark.parametrize(("seeds", "lines"), [(1, 0), (2, 2), (9, 72), (30, 240)])
def test_each_seed_is_come_to_from_several_others(seeds, lines):
    measured = [{"x": n} for n in range(seeds)]
    pairs = [(first["x"], last["x"]) for first, last in certainty._pairs(measured)]
    assert len(pairs) == len(set(pairs)) == lines
    assert all(first != last for first, last in pairs)


class TestCommand:
    @pytest.fixture
    def thin(self, project):
        values = '{"left": [1.0 * seed], "first": 1.0 * seed, "last": 1.0}'
        claims = 'def claim_few(m):\n    """At most {first}."""\n    assert 0 < m["first"] < 4.5\n'
        draw = "def draw(m: dict) -> go.Figure:\n    return go.Figure(go.Scatter(y=m['left']))\n"
        project.script(measure=measuring(values), claims=claims, draw=draw)
        return project

    def test_measures_the_seeds_that_are_named(self, thin):
        code, output, _ = thin.call("seeds", "--seed", "1..4")
        assert code == 0
        held, margin, claim, *total = output.split()
        assert (held, claim) == ("4/4", "halving.few")
        assert float(margin) == pytest.approx(math.log(4.5 / 4, 4), abs=0.01)
        assert " ".join(total) == "1 claim of 1 figure, 0 of them failed on a seed"

    def test_takes_what_was_measured_before(self, thin):
        assert thin.call("run", "--seed", "2..4")[0] == 0
        thin.edit(thin.figures / "halving.py", "4.5", "4.1")  # a claim is asked as it is now
        code, output, errors = thin.call("seeds")
        held, margin, *_ = output.split()
        assert (code, held, errors) == (0, "3/3", "")
        assert float(margin) == pytest.approx(math.log(4.1 / 4, 2), abs=0.01)

    def test_a_claim_that_fails_on_a_seed(self, thin):
        code, output, _ = thin.call("seeds", "--seed", "3..6")
        assert code == 1
        assert output.splitlines()[0].endswith("halving.few  fails with 5, 6")
        assert output.endswith("1 of them failed on a seed\n")

    def test_a_figure_that_fails_on_a_seed(self, thin):
        thin.edit(thin.figures / "halving.py", "    return {", "    assert seed != 2\n    return {")
        code, output, errors = thin.call("seeds", "--seed", "1..3")
        assert code == 1
        assert "halving.few" in output
        assert "with seed 2: figures/halving.py:13: raises AssertionError" in errors

    def test_an_unknown_name(self, thin):
        assert thin.call("seeds", "halvin")[::2] == (1, "there is no figure 'halvin'; did you mean halving?\n")

    def test_one_seed_says_nothing(self, thin):
        code, _, errors = thin.call("seeds", "--seed", "1")
        assert code == 1
        assert errors.endswith("No figure was measured with two seeds: name some, as in --seed 1..10\n")


class TestBlock:
    @pytest.fixture
    def recorded(self, project):
        (project.docs / "about").mkdir()
        assert project.call("seeds", "--seed", "1..2", "--record")[0] == 0
        return project.root / certainty.RECORDED

    def rows(self, html: str) -> list[list[str]]:
        return [
            [cell.text for cell in row.select("td")] for row in BeautifulSoup(html, "html.parser").select("tbody tr")
        ]

    def test_shows_what_was_recorded(self, project, recorded):
        html, problems = project.convert("/// seeds\n///\n")
        assert problems == []
        made = json.loads(recorded.read_text())
        assert (
            f"1 of 1 claims hold on every seed that was tried, 2 for each figure; recorded on {made['made']} with "
            in html
        )
        assert f"plotly {made['versions']['plotly']}" in html
        assert "since" not in html
        sentence = "After the first step 0.5 is left, and 9.77 × 10−4 after the last."
        assert self.rows(html) == [[f"{sentence}halving", "2/2", "3 or more"]]

    def test_a_figure_that_changed_since_is_named(self, project, recorded):
        project.script("doubling")
        project.edit(project.figures / "halving.py", "range(STEPS + 1)]", "range(1 + STEPS)]")
        html, _ = project.convert("/// seeds\n///\n")
        assert "2 figures came or changed since." in html

    def test_a_claim_that_is_gone_is_left_out(self, project, recorded):
        project.edit(project.figures / "halving.py", "claim_halving_is_exact", "claim_it_is_exact")
        assert "No claim of this site has been recorded." in project.convert("/// seeds\n///\n")[0]

    def test_nothing_was_recorded(self, project):
        html, problems = project.convert("/// seeds\n///\n")
        assert problems == []
        assert "Nothing has been recorded yet" in html

    @pytest.mark.parametrize("text", ["{", "[]", '{"figures": {"halving": 1}}', '{"figures": {}}'])
    def test_a_record_that_is_none(self, project, recorded, text):
        recorded.write_text(text)
        html, (problem,) = project.convert("/// seeds\n///\n")
        assert "vg-error" in html
        assert problem
