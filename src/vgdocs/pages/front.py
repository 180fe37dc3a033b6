"""What pages say of themselves in their front matter, and how long they take to read.

level: intermediate           # one of LEVELS
needs: [problem/chain.md]     # pages that one should have read; they and the level stand under the title
against:                      # a row of the map: a figure that shows what helps against a cause, and how
  causes/depth.md: [ten_thousand_layers, orthogonal weights keep it level]
"""

from __future__ import annotations

import posixpath
import re
import xml.etree.ElementTree as etree
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from vgdocs.engine import observe
from vgdocs.engine.figure import suggest
from vgdocs.engine.numbers import count
from vgdocs.pages import citations
from vgdocs.pages.settings import mkdocs_yml

LEVELS = ("introductory", "intermediate", "advanced")
WORD = re.compile(r"\w+(?:['’.-]\w+)*")
CODE = re.compile(r"^[ \t]*(?P<fence>```|~~~).*?^[ \t]*(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE)
A_WORD, A_LINE = 0.3, 2.0  # seconds: 200 words a minute, and a line of code
OTHERS = (  # what isn't read as words, in the order in which it is taken out, and the seconds that each takes
    (re.compile(r"\$\$.*?\$\$", re.DOTALL), 10.0),
    (re.compile(r"(?<!\\)\$[^$\n]+(?:\n[^$\n]+)?\$"), 1.0),
    (re.compile(r"^/{3,}[ \t]*figure\b.*", re.MULTILINE), 20.0),
    (re.compile(r"\[\[[^\[\]]+\]\]"), A_WORD),
    (re.compile(r"^/{3,}.*|^ {4}(?:code|notes|columns|format|root): .*", re.MULTILINE), 0.0),
    (re.compile(r"<[^<>]+>|(?<=\])\([^()\s]*\)"), 0.0),
)


@dataclass(frozen=True)
class Page:
    title: str
    meta: Mapping[str, Any]
    body: str
    wrong: tuple[str, str] | None = None  # of what FrontError tells, if the front matter can't be read

    @property
    def needs(self) -> list[str]:
        needs = self.meta.get("needs")
        return [need for need in needs if isinstance(need, str)] if isinstance(needs, list) else []


class FrontError(ValueError):
    """Front matter that makes no sense; `text` is what to look for in the page."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


def read(root: Path) -> dict[str, Page]:
    """The pages of a project by their names, in the order of its navigation."""
    docs, titles = _site(root, observe.stamp(root / "mkdocs.yml"))
    paths = {name: path for path, name in citations.pages(root / docs)}
    ordered = [*(name for name in titles if name in paths), *(name for name in paths if name not in titles)]
    return {name: _page(paths[name], observe.stamp(paths[name]), titles.get(name)) for name in ordered}


@cache
def _site(root: Path, stamp: tuple[int, int]) -> tuple[str, dict[str, str | None]]:
    """The folder of the pages, and the titles that the navigation gives to some; kept as long as mkdocs.yml stays."""
    content = mkdocs_yml(root)
    return content.get("docs_dir") or "docs", dict(_leaves(content.get("nav") or ()))


def _leaves(nav: Iterable[Any]) -> Iterator[tuple[str, str | None]]:
    for item in nav:
        for title, child in item.items() if isinstance(item, dict) else [(None, item)]:
            yield from [(child, title)] if isinstance(child, str) else _leaves(child or ())


@cache
def _page(path: Path, stamp: tuple[int, int], title: str | None) -> Page:
    text = path.read_text("utf-8", "replace")
    _, body = citations.split(text)
    head = text[: len(text) - len(body)]
    meta, wrong = None, None
    try:
        meta = next(yaml.safe_load_all(head), None)
    except yaml.MarkedYAMLError as error:
        # MkDocs says nothing, and shows the front matter as text
        mark = error.context_mark or error.problem_mark
        at = head.splitlines()[mark.line] if mark else "---"
        wrong = (f"its front matter isn't YAML: {error.problem}; a text that holds a colon takes quotes", at)
    heading = re.search(r"^# +(.+?) *(?:\{.*\})?$", body, re.MULTILINE)
    title = title or (re.sub(r"[`*]", "", heading[1]) if heading else path.stem)
    return Page(title, meta if isinstance(meta, dict) else {}, body, wrong)


def minutes(body: str) -> int:
    """How long a page takes to read: its words, the lines of its code, its formulas and its figures."""
    lines = sum(fence[0].count("\n") - 1 for fence in CODE.finditer(body))
    seconds, body = A_LINE * lines, CODE.sub("", body)
    for pattern, each in OTHERS:
        body, found = pattern.subn(" ", body)
        seconds += each * found
    return max(1, round((seconds + A_WORD * len(WORD.findall(body))) / 60))


def line(pages: Mapping[str, Page], name: str) -> etree.Element | None:
    """What stands under a page's title, if its front matter has a level.

    Raises FrontError for what isn't YAML, a level that there isn't, a page that doesn't exist and pages that need one
    another.
    """
    page = pages[name]
    if page.wrong:
        raise FrontError(*page.wrong)
    if not {"level", "needs"} & page.meta.keys():
        return None
    level = page.meta.get("level")
    if level not in LEVELS:
        told = f"its level is {level or 'missing'}: it takes {', '.join(LEVELS[:-1])} or {LEVELS[-1]}"
        raise FrontError(told, "level:" if level else "needs:")
    if page.needs != page.meta.get("needs", []):
        raise FrontError("its needs take a list of pages, as in [problem/chain.md]", "needs:")
    for need in page.needs:
        if need not in pages:
            raise FrontError(f"it needs {need}, and there is no such page{suggest(need, pages)}", need)
    try:
        TopologicalSorter({other: one.needs for other, one in pages.items()}).prepare()
    except CycleError as error:
        if name in error.args[1]:
            raise FrontError(f"pages need one another: {', '.join(error.args[1])}", "needs:") from None
    element = etree.Element("p", {"class": "vg-reading", "data-search-exclude": ""})
    element.text = f"{level.capitalize()} · {count(minutes(page.body), 'minute')}"
    for i, need in enumerate(page.needs):
        way = posixpath.relpath(need, posixpath.dirname(name) or ".")
        etree.SubElement(element, "span").text = ", " if i else " · read first: "
        etree.SubElement(element, "a", {"href": way}).text = pages[need].title
    return element


def where(pages: Mapping[str, Page], figure: str, *first: str) -> str | None:
    """The page that shows a figure, one of `first` if it does."""
    block = re.compile(rf"^/{{3,}}[ \t]*figure[ \t]*\|[ \t]*{re.escape(figure)}[ \t]*$", re.MULTILINE)
    return next((name for name in (*first, *pages) if block.search(pages[name].body)), None)


def row(pages: Mapping[str, Page], name: str, columns: Iterable[str]) -> dict[str, Any]:
    """A page's cells in the map, by the columns' pages: links to figures, as `fragments.fill_table` takes them.

    Raises FrontError for what doesn't name a column, a figure that a page shows, and some words.
    """
    cells: dict[str, Any] = dict.fromkeys(columns)
    against = pages[name].meta["against"]
    if not isinstance(against, dict):
        raise FrontError("`against` takes [figure, some words] for each cause that it names", "against:")
    for cause, cell in against.items():
        if cause not in cells:
            raise FrontError(f"the map has no column {cause}{suggest(str(cause), cells)}", str(cause))
        if not isinstance(cell, list) or [type(part) for part in cell] != [str, str]:
            raise FrontError(f"against {cause} it takes [figure, some words]", cause)
        figure, words = cell
        place = where(pages, figure, name, cause)
        if not place:
            raise FrontError(f"no page shows the figure {figure}", figure)
        cells[cause] = {"text": words, "page": f"{place}#fig-{figure}"}
    return cells
