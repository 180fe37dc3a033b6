"""The bibliography and the pages that cite it agree: no entry that nobody cites, no citation without an entry."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
SOURCES = DOCS / "about/sources.md"
ENTRY = re.compile(r"^(?P<text>\S(?:.|\n(?!\n))*?)\n\{ #(?P<key>[\w-]+) \}$", re.MULTILINE)
LINK = re.compile(r"sources\.md#([\w-]+)")
IDENTIFIER = re.compile(r"doi\.org/10\.|arxiv\.org/abs/\d{4}\.\d{4,5}|proceedings\.mlr\.press/v\d+/")
READ = ("*Full text*", "*Full text.*", "*Abstract.*", "*Second hand.*", "*Second hand*")

ENTRIES = {match["key"]: match["text"] for match in ENTRY.finditer(SOURCES.read_text(encoding="utf-8"))}
# books, theses, workshop papers and posts that have neither DOI nor arXiv number
WITHOUT_IDENTIFIER = {
    "hochreiter1991",
    "nair2010",
    "martens2010",
    "maas2013",
    "goodfellow2016",
    "mikolov2012",
    "jordan2024",
}


def citations() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in [*DOCS.rglob("*.md"), *DOCS.rglob("labs/*.py")]:
        if path != SOURCES:
            for key in LINK.findall(path.read_text(encoding="utf-8")):
                found.setdefault(key, []).append(path.relative_to(DOCS).as_posix())
    return found


def test_entries_are_found():
    assert len(ENTRIES) == SOURCES.read_text(encoding="utf-8").count("{ #") > 40


def test_every_citation_has_its_entry():
    assert {key: pages for key, pages in citations().items() if key not in ENTRIES} == {}


def test_every_entry_is_cited():
    assert sorted(set(ENTRIES) - set(citations())) == []


def test_every_entry_can_be_found_and_says_how_it_was_read():
    assert {key for key, text in ENTRIES.items() if not IDENTIFIER.search(text)} == WITHOUT_IDENTIFIER
    assert [key for key, text in ENTRIES.items() if not any(how in text for how in READ)] == []
