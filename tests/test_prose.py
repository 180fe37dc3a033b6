"""No measured number is typed by hand: into the prose, a caption, a claim's sentence or a finding.

Measured-looking is whatever has a decimal point, an exponent, a percent sign or a power of ten, and "N times".
Exempt are mathematics and code, which includes figures' constants; years and plain counts, which are whole numbers;
and a number from a paper, which stands in a sentence that links to the paper's entry in docs/about/sources.md.
"""

import ast
import math
import re
from pathlib import Path

import pytest

from vgdocs.engine.figure import find
from vgdocs.engine.numbers import PLACEHOLDER

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

MEASURED = re.compile(
    r"""(?<![\w./-])(
        \d[\d.,]*\s?%                        # 28 %
        | \d+(?:\.\d+)?\s?[eE][-−+]?\d+      # 3e-12
        | (?:\d[\d.]*\s?[×x]\s?)?10(?:\^|[⁻⁰¹²³⁴-⁹])[^\s,;.)]*  # 3 × 10⁻¹²
        | \d[\d.,]*(?:[-\s](?:times|fold)\b|\s?×(?!\s?\d))    # 30 times
        | \d[\d,]*\.\d+(?!\.\d)             # 0.41, but no version such as 1.2.3
    )""",
    re.VERBOSE,
)
CITED = "\ue000"  # stands for a link to a source
# each is blanked out, in this order, before anything is looked for
EXEMPT = [
    re.compile(r"\A---\n.*?\n---\n", re.DOTALL),  # front matter; its description is checked by itself
    re.compile(r"^(?P<fence>[ \t]*(?:```|~~~)).*?^(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE),
    re.compile(r"\$\$.*?\$\$", re.DOTALL),
    re.compile(r"(?<!\\)\$[^$\n]+(?:\n[^$\n]+)?\$"),
    re.compile(r"(?P<ticks>`+).+?(?P=ticks)", re.DOTALL),
    re.compile(r"\[\[[^\[\]]+\]\]"),
    re.compile(r"^/{3,}.*$|^[ \t]+(?:code|notes):.*$", re.MULTILINE),
    re.compile(r"<[^<>]+>"),
    re.compile(r"\{:?\s*[#.][^{}\n]*\}"),  # an attribute list
    re.compile(r"\b(?:sections?|equations?|eqs?\.|tables?|figures?|chapter|version|Python|§)\s?\d+(?:\.\d+)*", re.I),
]
SOURCE_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)]*sources\.md#[^)]*\)")
LINK_TARGET = re.compile(r"\]\([^)]*\)")
SENTENCE_END = re.compile(r"(?<=[.!?;])[\"'”’)*_]*\s+(?=[^a-z])|\n\s*\n|\n(?=\s*[|:*#-])|\|")


def blank(match: re.Match[str]) -> str:
    """As many characters, so that lines can still be counted."""
    return re.sub(r"[^\n]", " ", match[0])


def typed_numbers(text: str) -> list[tuple[int, str]]:
    """(line, numeral) of each measured-looking numeral in a Markdown source that no exemption covers."""
    for pattern in EXEMPT:
        text = pattern.sub(blank, text)
    text = SOURCE_LINK.sub(lambda m: CITED + blank(m)[1:], text)
    text = LINK_TARGET.sub(blank, text)
    found = []
    start = 0
    for end in [*(m.end() for m in SENTENCE_END.finditer(text)), len(text)]:
        sentence = text[start:end]
        if CITED not in sentence:
            found += [(text.count("\n", 0, start + m.start()) + 1, m[1].strip()) for m in MEASURED.finditer(sentence)]
        start = end
    return found


@pytest.mark.parametrize(
    ("text", "numerals"),
    [
        ("The rate is 0.41 per layer.", ["0.41"]),
        ("Only 3e-12 is left, or 3 × 10⁻¹².", ["3e-12", "3 × 10⁻¹²"]),
        ("It reached 28 % there.", ["28 %"]),
        ("It is 30 times smaller, tenfold or 10-fold.", ["30 times", "10-fold"]),
        ("| layer | 0.41 |", ["0.41"]),
        ("A caption.\n\n/// figure | x\n    code: measure\n\nLeft: 0.41.\n///", ["0.41"]),
        ("Thirty layers of width 128 in 1997, 20 of them.", []),
        ("With $0.25^n$ and `0.41` and $$\n0.41\n$$\n", []),
        ("```\n0.41\n```", []),
        ("The rate is [[a.b:.2f]].", []),
        ("It was 28.54 % ([He et al. 2016, table 2](../about/sources.md#he)).", []),
        ("A source ([He 2016](sources.md#he)). It was 28.54 %.", ["28.54 %"]),
        ("See section 3.1 of it, Python 3.11, version 2.0.", []),
    ],
)
def test_what_counts_as_typed(text, numerals):
    assert [numeral for _, numeral in typed_numbers(text)] == numerals


def test_lines_are_counted_through_what_is_exempt():
    assert typed_numbers("---\ntitle: x\n---\n\n$$\n1.5\n$$\n\nIt is 0.41.") == [(9, "0.41")]


# the bibliography's numbers are volumes, pages and identifiers
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name != "sources.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(DOCS).as_posix())
def test_no_page_types_a_measured_number(path):
    text = path.read_text(encoding="utf-8")
    description = re.search(r"^description:(.*)$", text, re.MULTILINE)
    found = typed_numbers(text) + [(1, n) for _, n in typed_numbers(description[1] if description else "")]
    told = "\n".join(f"docs/{path.relative_to(DOCS)}:{line}: {numeral}" for line, numeral in found)
    assert not found, f"typed by hand; cite it, [[figure.number:.2f]], or write a setting as $0.9$:\n{told}"


FIGURES = find(ROOT / "figures")[0]


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_no_claim_and_no_finding_types_a_measured_number(name):
    """A setting of the script or a bound that it asserts may be named: it stands in the code as well."""
    figure = FIGURES[name]
    nodes = ast.walk(figure.tree)
    constants = {float(n.value) for n in nodes if isinstance(n, ast.Constant) and type(n.value) in (int, float)}
    for sentence in [figure.title, *(claim.sentence for claim in figure.claims)]:
        # a number with a power is mathematics: 0.25ⁿ, 0.25**19
        plain = re.sub(r"\d[\d.]*(?:\*\*|\^|[ⁿᴸᵏ])\S*", "", PLACEHOLDER.sub("", sentence))
        typed = [numeral for _, numeral in typed_numbers(plain) if not stands_in(constants, numeral)]
        assert typed == [], sentence


def stands_in(constants: set[float], numeral: str) -> bool:
    """Whether a script's constants hold a numeral, or the share or the factor that a percentage means."""
    match = re.match(r"[\d.]+", numeral.replace(",", ""))
    value = float(match[0].rstrip(".")) if match else math.nan
    share = value / 100
    meant = [value, share, 1 - share, 1 + share] if "%" in numeral else [value, 1 / value]
    return any(math.isclose(constant, m, rel_tol=1e-9) for constant in constants for m in meant)


def test_only_a_scripts_own_constants_are_exempt():
    assert stands_in({0.03}, "3%")
    assert stands_in({1.03}, "3%")
    assert stands_in({2.3}, "2.3")
    assert not stands_in({0.03}, "4%")
    assert not stands_in({2.3}, "2.31")
