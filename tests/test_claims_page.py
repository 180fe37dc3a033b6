"""The page of popular statements leaves none out, and gives each a verdict with its evidence."""

import re
from collections import Counter
from pathlib import Path

import pytest

from vgdocs.pages.citations import Scanner

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
# the statements of four widely read articles, numbered as they were collected: article, then statement
COLLECTED = {f"{article}.{n}" for article, count in enumerate((15, 51, 34, 11)) for n in range(1, count + 1)}
VERDICTS = ("True", "True if", "Misleading", "False")
# one row: an anchor with the collected statements that it answers, if any, the statement, its verdict and why
ROW = re.compile(
    r'^(?P<statement>\S.*?)[ ]?\{:? ?#(?P<anchor>[\w-]+) [^}]*data-statements="(?P<ids>[\d. ]*)"[^}]*\}\n'
    r":   \*\*(?P<verdict>[^*]+?)\.\*\*(?P<answer>.*?)(?=\n\S|\Z)",
    re.MULTILINE | re.DOTALL,
)
ROWS = list(ROW.finditer(TEXT))
LEFT_OUT = re.search(r"^## [^\n]*left out.*?(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)


def ids_left_out() -> list[str]:
    """The first cell of each row of the table of what was left out, where it holds ids; the last is the reason."""
    assert LEFT_OUT, "there is a section on what is left out"
    rows = re.findall(r"^\| *([\d., `]+?) *\|.*\| *(\S[^|]*?) *\|$", LEFT_OUT[0], re.MULTILINE)
    assert all(reason for _, reason in rows)
    return [i for ids, _ in rows for i in re.findall(r"\d+\.\d+", ids)]


def test_every_statement_is_read_as_a_row():
    """The marker, which the verdict's look hangs on, included."""
    assert len(ROWS) == TEXT.count("data-statements=") == len(re.findall(r'^".+"', TEXT, re.MULTILINE)) > 30


def test_each_collected_statement_has_its_row_or_its_reason_once():
    answered = Counter([i for row in ROWS for i in row["ids"].split()] + ids_left_out())
    assert set(answered) == COLLECTED
    assert [i for i, count in answered.items() if count > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["anchor"])
def test_a_row_has_a_verdict_and_its_evidence(row):
    assert row["verdict"] in VERDICTS
    first = TEXT.count("\n", 0, row.start()) + 1
    last = TEXT.count("\n", 0, row.end()) + 1
    cited = [c for c in Scanner.of_site(ROOT).scan(TEXT, "claims.md") if first <= c.line <= last and c.number]
    assert cited or "about/sources.md#" in row["answer"], "neither a figure's number nor a paper"


def test_anchors_are_unique():
    assert max(Counter(row["anchor"] for row in ROWS).values()) == 1


def test_no_article_is_named():
    """The statements are common; a collected id says no more than where it stands in our own list."""
    assert not re.search(r"\b(?:article|blog|course|medium\.com|wikipedia)\b", TEXT.partition("left out")[0], re.I)
