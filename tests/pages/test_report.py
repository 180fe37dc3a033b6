"""What is wrong with a project, told once: place, sentence, what was measured, who relies on it."""

import pytest

from vgdocs.pages.citations import Problem
from vgdocs.pages.report import report

CLAIMS = '''\
def claim_it_grows(m):
    """It grows from {first} to {last:.1e}."""
    assert m["last"] > m["first"], "it does not"


def claim_of_the_series(m):
    """All is well."""
    assert m["left"][0] == 2
'''

BAND_CLAIMS = '''\
def claim_a(m):
    """So."""
    assert 1 < m["rate"]["lo"] < m["rate"]["median"]


def claim_b(m):
    """So."""
    assert m["rate"]["median"] > 1
'''

PAGE = """\
# Page

It is [[halving.last:.1e]], and `[[halving.last]]` is how to write it.

| a |
|---|
| [[halving.first]] |

/// figure | halving
///
"""


def test_nothing_is_wrong(project):
    assert report(project.library()) == []


def test_a_failed_claim_names_its_sentence_what_it_read_and_the_lines_that_cite_it(project):
    project.script(claims=CLAIMS)
    project.page("part/page", PAGE)
    project.page("other", "It was [[halving.first]].\n")
    assert report(project.library()) == [
        "figures/halving.py:23: claim_it_grows fails on this measurement\n"
        "    sentence: It grows from 0.5 to 9.8 × 10⁻⁴.\n"
        '    line 25: assert m["last"] > m["first"], "it does not"\n'
        "    it does not\n"
        "    measured: last = 0.0009765625\n"
        "    measured: first = 0.5\n"
        "    cited at: docs/other.md:1, docs/part/page.md:3, docs/part/page.md:7, docs/part/page.md:9",
        "figures/halving.py:28: claim_of_the_series fails on this measurement\n"
        "    sentence: All is well.\n"
        '    line 30: assert m["left"][0] == 2\n'
        "    measured: left = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, … 11 in all]\n"
        "    cited at: docs/part/page.md:9",
    ]


def test_a_claim_that_no_page_relies_on(project):
    project.script(claims=CLAIMS)
    assert [paragraph.splitlines()[-1] for paragraph in report(project.library())] == ["    cited at: no page"] * 2


@pytest.mark.parametrize("marker", ["[[deep.rate]]", "[[deep.rate.lo:.2f]]"])
def test_a_band_is_cited_by_its_median_or_an_end(project, marker):
    body = 'return {"rate": {"median": 0.5, "lo": 0.25, "hi": 0.75}}'
    project.script(
        "deep",
        docstring='"""Deep."""',
        measure=f"def measure(seed: int = SEED) -> dict:\n    {body}\n",
        draw="def draw(m: dict) -> go.Figure:\n    return go.Figure(go.Scatter(y=[1]))\n",
        claims=BAND_CLAIMS,
    )
    project.page("index", f"It is {marker}.\n")
    lo, median = report(project.library(names=["deep"]))
    assert "measured: rate.lo = 0.25" in lo
    assert "measured: rate.median = 0.5" in median
    cited = [paragraph.endswith("cited at: docs/index.md:1") for paragraph in (lo, median)]
    assert cited == [marker == "[[deep.rate.lo:.2f]]", marker == "[[deep.rate]]"]


def test_scripts_that_failed_and_problems_of_pages_with_their_lines(project):
    project.script("broken", claims="")
    project.page("page", PAGE + "\n[[halving.lst]] and again [[halving.lst]]\n")
    problems = [Problem("page.md", "[[halving.lst]]", "no such number")] * 2 + [Problem("gone.md", "", "is gone")]
    assert report(project.library(), problems) == [
        "figures/broken.py: makes no claim: it needs one or more claim_*(m) functions that assert a bound",
        "docs/page.md:12, docs/page.md:12: no such number",
        "docs/gone.md: is gone",
    ]
