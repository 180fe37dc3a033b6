"""The Markdown extension: figures, cited numbers, measured tables, the page of all numbers and the line under a title.

    After nineteen links [[sigmoid_decay.after_19_links:.2e]] is left.

    /// figure | sigmoid_decay
        code: measure

    The caption, which may cite numbers too.
    ///

    /// table | sigmoid_decay.rows
    ///

    /// recorded | docs/measured_elsewhere.json name
    Not measured yet.
    ///

    /// numbers
    ///

It does the whole work, with or without MkDocs: what it can't resolve becomes an error box in the page and a
`Problem` in its context. No exception leaves it, because one would leave `mkdocs serve` stuck.
"""

from __future__ import annotations

import json
import logging
import posixpath
import re
import xml.etree.ElementTree as etree
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import markdown
import pygments
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from pymdownx.blocks import BlocksExtension
from pymdownx.blocks.block import Block

from vgdocs.engine import drift, observe
from vgdocs.engine import seeds as certainty
from vgdocs.engine.library import CitationError, Entry, Library
from vgdocs.engine.numbers import fill
from vgdocs.pages import fragments, front, math, settings, stills
from vgdocs.pages.browser import REM, BrowserError
from vgdocs.pages.citations import FIGURE_OPTIONS, NUMBER, TABLE_OPTIONS, Problem
from vgdocs.pages.posters import EndlessError, Posters, height
from vgdocs.pages.site_assets import UNDRAWN

log = logging.getLogger("mkdocs.plugins.vgdocs")  # MkDocs shows what is told under its own name
LEFTOVER = re.compile(r"^[ \t]*/{3,}.*", re.MULTILINE)
MISCITED = re.compile(r"\[\[[^\[\]\n]*\b[A-Za-z_]\w*\.\w[^\[\]\n]*\]\]?")  # what NUMBER didn't take
HANDLED = {"arithmatex", "vg-error"}  # classes of elements whose text isn't the author's
NO_BLOCK = (
    "this is no block: a figure takes a name and the options code and notes, a table names of rows and the options "
    "columns, format and root, and both a closing ///"
)
ERROR = {"class": "vg-error", "role": "alert"}
OPEN = "data-open"  # marks a figure whose closing /// hasn't come yet

T = TypeVar("T")


@dataclass
class Context:
    """The figures that a conversion shows and the problems that it finds; `page` is set by whoever knows it."""

    library: Library
    mode: str = "auto"  # of the posters; one of settings.POSTERS
    page: str = ""
    source: str = ""  # what is being converted, to know the page by where nobody names it
    problems: list[Problem] = field(default_factory=list)
    refreshes: bool = False  # whether each conversion brings the records up to date itself
    seen: dict[str, tuple[int, int]] | None = None  # the state of what they depend on, when it last did
    posters: Posters = field(init=False)
    without_posters: str = ""  # why figures have none, once that is known
    late: dict[str, str] | None = None  # marks and what belongs there; see `later`

    def __post_init__(self) -> None:
        self.posters = Posters(self.library.store, mode=self.mode)

    def draw_posters(self, plots: Mapping[str, dict[str, Any]]) -> None:
        """Draw the posters that are missing; raises as `_drawn` does."""
        self._drawn(lambda: self.posters.draw(plots))

    def draw_cards(self, findings: Mapping[str, tuple[str, dict[str, Any]]], site: str) -> dict[str, bytes]:
        """The pictures of shared links, as `Posters.cards` makes them, or none; raises as `_drawn` does."""
        return self._drawn(lambda: self.posters.cards(findings, site)) or {}

    def _drawn(self, draw: Callable[[], T]) -> T | None:
        """The pictures that a browser draws; where there is no browser, that is told once.

        Raises BrowserError where posters are required, and for a plot that is never done: a reader's browser would
        hang on it too.
        """
        try:
            return None if self.without_posters else draw()
        except BrowserError as error:
            if self.posters.mode == "require" or isinstance(error, EndlessError):
                raise
            self.without_posters = str(error)
            log.info("figures are drawn in the reader's browser, without posters: %s", error)
            return None

    def later(self, html: str) -> str:
        """HTML that isn't for the search index, or where someone fills it in, a mark that stands for it.

        Material's search plugin parses all that is in a page, tag by tag, the tables of data and the sources too.
        """
        if self.late is None:
            return html
        mark = f"<!--vg-late-{len(self.late)}-->"
        self.late[mark] = html
        return mark

    def highlight(self, code: str) -> str:
        return self.library.store.derived(f"code-{pygments.__version__}", code, fragments.highlight)

    def name(self, pages: Mapping[str, front.Page]) -> str:
        """The page that is being converted, where nobody names it the one with that text."""
        return self.page or next((name for name in pages if pages[name].body.strip() == self.source.strip()), "")

    def report(self, message: str, text: str = "") -> None:
        self.problems.append(Problem(self.page, text, message))


class VgdocsExtension(BlocksExtension):
    """Entry point: `vgdocs.markdown` under `markdown_extensions`."""

    def __init__(self, **options: Any) -> None:
        self.config = {
            "root": [".", "The folder of mkdocs.yml"],
            "context": ["", "What the MkDocs plugin passes in; made here without it"],
        }
        super().__init__(**options)

    def extendMarkdown(self, md: markdown.Markdown) -> None:
        self.context: Context = self.getConfig("context") or _own_context(str(Path(self.getConfig("root")).resolve()))
        super().extendMarkdown(md)
        md.preprocessors.register(_Refresh(self.context), "vg-refresh", 100)
        md.treeprocessors.register(_UnderTitle(self.context), "vg-under-title", 2)
        md.inlinePatterns.register(_CitedNumber(self.context, md), "vg-number", 175)
        # after inline (20), so that what inline processors made is seen
        md.treeprocessors.register(_Slips(self.context, md), "vg-slips", 1)
        math.register(md, self.context.report)
        stills.register(md, self.context.library, self.context.later, self.context.report)

    def extendMarkdownBlocks(self, md: markdown.Markdown, block_mgr: Any) -> None:
        tables = (_TableBlock, _RecordedBlock, _SeedsBlock, _MapBlock)
        for block in (_FigureBlock, *tables, _NumbersBlock, _TimesBlock, _ChangesBlock):
            block_mgr.register(block, {"context": self.context})


@cache
def _own_context(root: str) -> Context:
    options = settings.read(Path(root))
    return Context(options.library(Path(root)), options.posters, refreshes=True)


class _Refresh(Preprocessor):
    """Without the plugin, the first page to be converted brings the records up to date, as do edited scripts."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context

    def run(self, lines: list[str]) -> list[str]:
        self.context.source = "\n".join(lines)
        if self.context.refreshes:
            state = _state(self.context.library)
            if state != self.context.seen:
                self.context.library.refresh()
                # of what was known before, what was edited meanwhile is still to be seen
                self.context.seen = _state(self.context.library) | state
                try:
                    self.context.draw_posters(self.context.library.plots)
                except BrowserError as error:
                    self.context.report(f"the figures have no posters: {error}")
        return lines


def _state(library: Library) -> dict[str, tuple[int, int]]:
    """A cheap sign that something was edited; what decides is the records' keys."""
    paths = [*library.folder.rglob("*.py"), *observe.PACKAGE.rglob("*.py"), *library.inputs()]
    return {str(path): observe.stamp(path) for path in paths}


class _CitedNumber(InlineProcessor):
    """`[[figure.number:spec]]`"""

    def __init__(self, context: Context, md: markdown.Markdown) -> None:
        super().__init__(NUMBER.pattern, md)
        self.context = context

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[etree.Element, int, int]:  # type: ignore[override]
        try:
            element = self._element(m["figure"], m["number"], m["spec"] or "")
        except CitationError as error:
            self.context.report(str(error), m[0])
            element = etree.Element("span", ERROR)
            element.text = markdown.util.AtomicString(f"{m[0].strip('[]')}: {error}")
        return element, m.start(0), m.end(0)

    def _element(self, figure: str, number: str | None, spec: str) -> etree.Element:
        if number is None:
            raise CitationError(f"which number of {figure}? Write it after a dot, as in [[{figure}.name:.2e]]")
        cited = self.context.library.number(figure, number, spec)
        if cited is None:
            element = etree.Element("span", {"class": "vg-pending", "title": f"{figure} is being measured"})
            element.text = "…"
            return element
        value, formatted = cited
        return fragments.number_element(figure, number, value, self.md.htmlStash.store(formatted.html))


class _Block(Block):
    def on_init(self) -> None:
        self.context: Context = self.config["context"]
        self.store: Callable[[str], str] = self.md.htmlStash.store  # gives a mark that becomes the HTML it is given

    def fail(self, parent: etree.Element, message: str) -> None:
        """Tell what can't be shown: in the page, and to who builds it."""
        self.context.report(message, f"/// {self.NAME} | {self.argument}" if self.ARGUMENT else "")
        self.error_box(parent, message)

    def error_box(self, parent: etree.Element, title: str, details: str = "") -> None:
        box = etree.SubElement(parent, "div", ERROR)
        etree.SubElement(etree.SubElement(box, "p"), "strong").text = self.store(escape(title))
        if details:
            etree.SubElement(box, "pre").text = markdown.util.AtomicString(details)


class _FigureBlock(_Block):
    """`/// figure | name`, with the caption as its content."""

    NAME = "figure"
    ARGUMENT = True
    OPTIONS: ClassVar[dict[str, Any]] = FIGURE_OPTIONS

    def on_create(self, parent: etree.Element) -> etree.Element:
        self.name = self.argument.strip()
        self.entry: Entry | None = None  # of a figure that can be shown here
        element = etree.SubElement(parent, "figure", {"class": "vg-figure", "data-figure": self.name, OPEN: ""})
        try:
            if self.name in self.tracker:
                raise CitationError(f"the page shows the figure {self.name} twice")
            self.entry = self.tracker[self.name] = self.context.library.figure(self.name)  # until the next page
            element.set("id", f"fig-{self.name}")
            self._show(element, self.entry)
        except CitationError as error:
            self.fail(element, str(error))
        self.caption = etree.SubElement(element, "figcaption")
        return element

    def on_add(self, block: etree.Element) -> etree.Element:
        return self.caption

    def on_end(self, block: etree.Element) -> None:
        del block.attrib[OPEN]
        context, entry = self.context, self.entry
        if not entry or not entry.figure or entry.error:
            return
        html = []
        for function in self.options["code"].replace(",", " ").split():
            try:
                code = context.highlight(entry.figure.source(function))
            except KeyError as error:
                self.fail(block, str(error.args[0]))
                continue
            html.append(fragments.details("vg-code", f"The code of <code>{escape(function)}</code>", code))
        if entry.record:
            html.append(fragments.meta(entry, context.highlight, context.later))
            try:
                html += [fragments.notes(entry, name) for name in self.options["notes"].split()]
            except CitationError as error:
                self.fail(block, str(error))
        rest = etree.SubElement(block, "div", {"class": "vg-meta"})
        rest.text = self.store("\n".join(html))

    def _show(self, element: etree.Element, entry: Entry) -> None:
        if entry.error:
            self.error_box(element, f"{entry.error.place}: {entry.error.message}", entry.error.details)
            return
        if not entry.record or not entry.figure:
            pending = etree.SubElement(element, "div", {"class": "vg-pending", "role": "status"})
            pending.text = self.store(f"{escape(entry.name)} is being measured; the page reloads when it is done.")
            return
        for claim, verdict in entry.failed:
            sentence = fill(claim.sentence, entry.numbers)
            self.error_box(element, f"This build's measurement contradicts: {sentence}", verdict.message)
        finding = etree.SubElement(element, "p", {"class": "vg-finding"})
        finding.text = self.store(fragments.sentence(entry.figure.title, entry))
        drawn = entry.record.plot
        plot = {"class": "vg-plot", "role": "img", "aria-label": entry.title, "data-plot": _json(drawn)}
        if pixels := height(drawn):
            plot["style"] = f"--vg-height: {pixels / REM:g}rem"
        poster = self.context.later(self.context.posters.get(drawn) or UNDRAWN)
        etree.SubElement(element, "div", plot).text = self.store(poster)


class _TableBlock(_Block):
    """`/// table | figure.rows …`: lists of dictionaries, one after the other, with the caption as the content."""

    NAME = "table"
    ARGUMENT = True
    OPTIONS: ClassVar[dict[str, Any]] = TABLE_OPTIONS

    def on_create(self, parent: etree.Element) -> etree.Element:
        names = self.argument.split()
        figures = " ".join(name.partition(".")[0] for name in names)
        element = etree.SubElement(parent, "div", {"class": "vg-table", "data-figure": figures})
        table = etree.SubElement(element, "table")
        self.caption = etree.SubElement(table, "caption")
        try:
            found = [self.context.library.rows(name) for name in names]
            if None in found:
                element.set("class", "vg-table vg-pending")
                return element
            rows = [row for one in found if one for row in one]
            columns = self.options["columns"].replace(",", " ").split() or list(rows[0])
            fragments.fill_table(table, rows, columns, self.options["format"], self.options["root"])
        except CitationError as error:
            element.remove(table)
            self.fail(element, str(error))
        return element

    def on_add(self, block: etree.Element) -> etree.Element:
        return self.caption


class _RecordedBlock(_Block):
    """`/// recorded | file name`: what a file of the project holds by that name; until then, the block's content."""

    NAME = "recorded"
    ARGUMENT = True

    def on_create(self, parent: etree.Element) -> etree.Element:
        return etree.SubElement(parent, "div")

    def on_end(self, block: etree.Element) -> None:
        try:
            file, name = self.argument.split()
            path = self.context.library.root / file
            recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            if found := recorded.get(name):
                block.clear()
                block.set("class", "vg-table")
                fragments.fill_recorded(etree.SubElement(block, "table"), found)
        except (OSError, ValueError, AttributeError, CitationError) as error:
            block.clear()
            self.fail(block, f"{self.argument}: {error}")


class _Listing(_Block):
    """A block that makes itself, of all figures: without an argument, and without content of its author's."""

    ARGUMENT = None
    KIND = ""

    def on_create(self, parent: etree.Element) -> etree.Element:
        element = etree.SubElement(parent, "div", {"class": f"vg-{self.KIND or self.NAME}"})
        try:
            self.fill(element)
        except (OSError, ValueError, drift.DriftError) as error:
            self.fail(element, str(error))
        return element

    def fill(self, element: etree.Element) -> None:
        raise NotImplementedError


class _NumbersBlock(_Listing):
    """`/// numbers`: every figure with its finding, its page, its numbers and what bounds them."""

    NAME = "numbers"
    KIND = "all-numbers"

    def fill(self, element: etree.Element) -> None:
        pages = front.read(self.context.library.root)
        folder = posixpath.dirname(self.context.name(pages)) or "."
        for entry in self.context.library.entries.values():
            heading = etree.SubElement(element, "h2", {"id": entry.name})
            heading.text = self.store(f"<code>{escape(entry.name)}</code>")
            heading.set("data-toc-label", entry.name)
            content = etree.SubElement(element, "div")
            if entry.error:
                self.error_box(content, entry.error.message)
            elif entry.record and entry.figure:
                content.set("style", f"--vg-rows: {len(entry.numbers)}")  # how high it is, before it is laid out
                finding, table = fragments.numbers_table(entry)
                content.text = self.store(finding)
                if place := front.where(pages, entry.name):
                    link = etree.SubElement(etree.SubElement(content, "p"), "a")
                    link.set("href", f"{posixpath.relpath(place, folder)}#fig-{entry.name}")
                    link.text = markdown.util.AtomicString(f"Shown in: {pages[place].title}")
                etree.SubElement(content, "div").text = self.store(table)
            else:
                content.text = "still being measured"


class _TimesBlock(_Listing):
    """`/// times`: which figures take the largest shares of the measuring time."""

    NAME = "times"

    def fill(self, element: etree.Element) -> None:
        element.text = self.store(fragments.times_table(self.context.library.times()))


class _ChangesBlock(_Listing):
    """`/// changes`: the numbers that moved from one release to the next, and since the last one."""

    NAME = "changes"

    def fill(self, element: etree.Element) -> None:
        library = self.context.library
        history = drift.history(library.root, library.summary())
        for newer, older, changes in history:
            heading = etree.SubElement(element, "h3")
            heading.text = markdown.util.AtomicString(f"{newer or 'This build'}, against {older}")
            etree.SubElement(element, "div").text = self.store(fragments.changes_table(changes))
        if not history:
            element.text = "No version has been released yet."


class _SeedsBlock(_Listing):
    """`/// seeds`: the claims that are least sure, as `vgdocs seeds --record` found them."""

    NAME = "seeds"

    def fill(self, element: etree.Element) -> None:
        path = self.context.library.root / certainty.RECORDED
        if path.exists():
            recorded = json.loads(path.read_text(encoding="utf-8"))
            element.text = self.store(fragments.seeds_table(recorded, self.context.library.entries))
        else:
            element.text = "Nothing has been recorded yet; vgdocs seeds --record does."


class _MapBlock(_TableBlock):
    """`/// map | causes`: what is against each page of a folder, as pages say of themselves in their front matter."""

    NAME = "map"
    OPTIONS: ClassVar[dict[str, Any]] = {}

    def on_create(self, parent: etree.Element) -> etree.Element:
        element = etree.SubElement(parent, "div", {"class": "vg-table vg-map"})
        table = etree.SubElement(element, "table")
        self.caption = etree.SubElement(table, "caption")
        pages = front.read(self.context.library.root)
        columns = {name: page.title for name, page in pages.items() if name.startswith(f"{self.argument.strip('/')}/")}
        rows: list[dict[str, Any]] = []
        for name in sorted(pages, key=lambda name: name in columns):  # a cause that has a cure of its own comes last
            if pages[name].meta.get("against"):
                try:
                    cells = front.row(pages, name, columns)
                    row = {"cure": {"text": pages[name].title, "page": name}}
                    rows.append(row | {columns[column]: cells[column] for column in columns})
                except front.FrontError as error:
                    self.context.problems.append(Problem(name, error.text, str(error)))
                    self.error_box(element, f"{name}: {error}")
        fragments.fill_table(table, rows, ["cure", *columns.values()], "", "")
        for head, name in zip(list(table.iter("th"))[1:], columns, strict=False):
            head.text = ""
            etree.SubElement(head, "a", {"href": name}).text = markdown.util.AtomicString(columns[name])
        return element


class _UnderTitle(Treeprocessor):
    """The line under a page's title: its level, how long it takes to read, what to read first."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context

    def run(self, root: etree.Element) -> None:
        context, title = self.context, root.find("h1")
        if title is None:
            return
        pages = front.read(context.library.root)
        name = context.name(pages)
        try:
            line = front.line(pages, name) if name in pages else None
        except front.FrontError as error:
            context.report(str(error), error.text)
            line = etree.Element("div", ERROR)
            line.text = str(error)
        if line is not None:
            line.tail = "\n"
            root.insert(list(root).index(title) + 1, line)


class _Slips(Treeprocessor):
    """Finds what would otherwise fail in silence: a block that isn't one or doesn't end, a number in a heading."""

    def __init__(self, context: Context, md: markdown.Markdown) -> None:
        super().__init__(md)
        self.context = context

    def run(self, root: etree.Element) -> None:
        unopened = False
        for element in root.iter():
            if element.tag not in ("code", "pre") and not HANDLED & set(element.get("class", "").split()):
                text = "\n".join(filter(None, [element.text, *(child.tail for child in element)]))
                for slip in LEFTOVER.finditer(text):
                    line = slip[0].strip()
                    if line.strip("/") or not unopened:  # else it closes a block that was told of already
                        self._tell(element, NO_BLOCK, line)
                    unopened = True
                for slip in MISCITED.finditer(text):
                    self._tell(element, "this cites no number: write [[figure.number:.2e]]", slip[0])
            if element.attrib.pop(OPEN, None) is not None:
                name = element.get("data-figure")
                self._tell(element, f"the block of the figure {name} isn't closed by ///", f"/// figure | {name}")
            if element.tag in math.HEADINGS:
                for number in element.iter("data"):
                    name = f"{number.get('data-figure')}.{number.get('data-number')}"
                    message = "a heading cites a number, which would move its anchor with each measurement"
                    self._tell(element, message, f"[[{name}")

    def _tell(self, element: etree.Element, message: str, text: str) -> None:
        self.context.report(message, text)
        element.attrib.update(ERROR | {"class": f"{element.get('class', '')} vg-error".strip()})


def _json(plot: dict[str, Any]) -> str:
    # Markdown's serialiser takes "&quot;" in an attribute for an entity that is one already
    return json.dumps(plot, ensure_ascii=False, separators=(",", ":")).replace("&", "\\u0026")
