"""Every citation in docs/ with its page and line, found by running Markdown over each source.

An inline processor sees neither line nor page. So each thing in a source that looks like a citation is given a
serial number before the conversion, and those whose number a processor meets are the citations: what stands in
code, fences or mathematics never gets that far.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import markdown
import pathspec
from markdown.inlinepatterns import InlineProcessor
from pymdownx.blocks import BlocksExtension
from pymdownx.blocks.block import Block

from vgdocs.pages.settings import mkdocs_yml

# [[figure.number:spec]]; anything else in double brackets that begins like a name is a slip, and told
NUMBER = re.compile(r"\[\[(?P<figure>[A-Za-z_]\w*)(?:\.(?P<number>\w+(?:\.\w+)*))?(?::(?P<spec>[^\[\]]*))?\]\]")
BLOCK = re.compile(
    r"^(?P<head>[ \t]*/{3,}[ \t]*(?P<kind>figure|table)[ \t]*\|[ \t]*)(?P<shown>\S.*?)[ \t]*$", re.MULTILINE
)
# what fills a page in before it is converted: macros, include-markdown, snippets
FILLER = re.compile(r"\{\{|\{%|-8<-")
NEVER_BUILT = (".*", "/templates/")  # by MkDocs, unless exclude_docs says otherwise

# of the blocks, as pymdownx.blocks has them: default and type
FIGURE_OPTIONS = {"code": ("", str), "notes": ("", str)}
TABLE_OPTIONS = {"columns": ("", str), "format": (".3g", str), "root": ("", str)}


@dataclass(frozen=True)
class Citation:
    """One place in a page that shows a figure or a table of it (`number` is None), or cites a number."""

    page: str  # relative to the folder of the pages, with forward slashes
    line: int
    figure: str
    number: str | None
    text: str  # the marker as written
    docs: str = "docs"  # the folder of the pages, as mkdocs.yml names it

    @property
    def place(self) -> str:
        return f"{self.docs}/{self.page}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """Something wrong in a page; `text` is what to look for in its source."""

    page: str
    text: str
    message: str


@dataclass
class Scanner:
    """Finds citations with the Markdown extensions that the site uses."""

    extensions: list[str] = field(default_factory=list)
    docs: str = "docs"  # the folder of the pages, relative to mkdocs.yml
    unbuilt: pathspec.GitIgnoreSpec = field(default_factory=lambda: pathspec.GitIgnoreSpec.from_lines(NEVER_BUILT))

    @classmethod
    def of_site(cls, root: Path) -> Scanner:
        """As mkdocs.yml in this folder has them; the options of extensions don't matter here."""
        content = mkdocs_yml(root)
        if not content:
            return cls(["fenced_code", "tables"])
        listed = content.get("markdown_extensions") or ()
        names = [item if isinstance(item, str) else next(iter(item)) for item in listed]
        patterns = "\n".join(filter(None, (content.get("exclude_docs"), content.get("draft_docs"))))
        return cls(
            [name for name in names if not name.startswith("vgdocs")],
            content.get("docs_dir") or "docs",
            pathspec.GitIgnoreSpec.from_lines([*NEVER_BUILT, *patterns.splitlines()]),
        )

    def scan(self, text: str, page: str) -> list[Citation]:
        """The citations of one page's source, front matter included in the line count."""
        front, body = split(text)
        candidates: list[Citation] = []

        def serial(match: re.Match[str], figure: str, number: str | None) -> int:
            line = front + match.string.count("\n", 0, match.start()) + 1  # neither replacement moves a line
            candidates.append(Citation(page, line, figure, number, match[0].strip(), self.docs))
            return len(candidates) - 1

        def block(match: re.Match[str]) -> str:
            is_table = match["kind"] == "table"
            names = [name.partition(".")[0] for name in match["shown"].split()] if is_table else [match["shown"]]
            return match["head"] + " ".join(f"@{serial(match, name, None)}" for name in names)

        marked = BLOCK.sub(block, body)
        marked = NUMBER.sub(lambda match: f"[[@{serial(match, match['figure'], match['number'] or '')}]]", marked)
        if not candidates:
            return []
        met: set[int] = set()
        markdown.markdown(marked, extensions=[*self.extensions, _Recorder(met)])
        found = [candidates[serial] for serial in met]
        return sorted(found, key=lambda c: (c.line, c.number is not None, c.text))

    def scan_folder(self, docs: Path) -> list[Citation]:
        """The citations of all Markdown pages below a folder."""
        return [citation for path, page in pages(docs) for citation in self.scan(path.read_text("utf-8"), page)]


def pages(docs: Path) -> Iterator[tuple[Path, str]]:
    """Each Markdown page below docs/, with its name as MkDocs writes it."""
    for path in sorted(docs.rglob("*.md")):
        yield path, path.relative_to(docs).as_posix()


def locate(problem: Problem, docs: Path, scanner: Scanner) -> list[int]:
    """The lines of a problem's page where its text stands, citations before mere look-alikes."""
    path = docs / problem.page
    if not problem.text or not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    cited = [c.line for c in scanner.scan(text, problem.page) if c.text.split() == problem.text.split()]
    lines = text.splitlines()
    first = problem.text.strip().splitlines()[0].strip()
    return cited or [i for i, line in enumerate(lines, start=1) if first in line]


class _Recorder(BlocksExtension):
    """Notes the serial number of each marker that Markdown takes for one."""

    def __init__(self, met: set[int]) -> None:
        super().__init__()
        self._met = met

    def extendMarkdown(self, md: markdown.Markdown) -> None:
        super().extendMarkdown(md)
        md.inlinePatterns.register(_NumberRecorder(self._met), "vg-number", 175)

    def extendMarkdownBlocks(self, md: markdown.Markdown, block_mgr: Any) -> None:
        for block in (_FigureRecorder, _TableRecorder):
            block_mgr.register(block, {"met": self._met})


class _NumberRecorder(InlineProcessor):
    def __init__(self, met: set[int]) -> None:
        super().__init__(r"\[\[@(\d+)\]\]")
        self._met = met

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override]
        self._met.add(int(m[1]))
        return "0", m.start(0), m.end(0)


class _FigureRecorder(Block):
    NAME = "figure"
    ARGUMENT = True
    OPTIONS: ClassVar[dict[str, Any]] = FIGURE_OPTIONS

    def on_create(self, parent: etree.Element) -> etree.Element:
        self.config["met"].update(int(mark[1:]) for mark in self.argument.split() if mark.startswith("@"))
        return etree.SubElement(parent, "figure")


class _TableRecorder(_FigureRecorder):
    NAME = "table"
    OPTIONS: ClassVar[dict[str, Any]] = TABLE_OPTIONS


def split(text: str) -> tuple[int, str]:
    """The number of lines of the front matter, and the rest."""
    match = re.match(r"---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", text, re.DOTALL)
    return (match[0].count("\n"), text[match.end() :]) if match else (0, text)
