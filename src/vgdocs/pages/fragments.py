"""The HTML of what a figure has to say: sentences with their numbers, tables, and what folds out below a plot."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pygments
from markdown.util import AtomicString
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from vgdocs.engine import drift
from vgdocs.engine import seeds as certainty
from vgdocs.engine.figure import Claim, suggest
from vgdocs.engine.library import CitationError, Entry
from vgdocs.engine.numbers import count, fill, format_number, in_page
from vgdocs.engine.record import lookup

SLOWEST = 8  # figures that the table of times names
# what the site's style leaves in the colour of the text, and what makes up half the weight of a listing
UNCOLOURED = re.compile(r'<span class="(?:n|w|p|o|nn|nf|nb|nc|nd|fm|vm|bp)">([^<]*)</span>')


def _number_attributes(figure: str, number: str, value: float) -> dict[str, str]:
    return {
        "class": "vg-number",
        "data-figure": figure,
        "data-number": number,
        "value": in_page(value),
        "title": f"{figure}.{number} = {in_page(value)}",
    }


def number_element(figure: str, number: str, value: float, text: str) -> etree.Element:
    element = etree.Element("data", _number_attributes(figure, number, value))
    element.text = text
    return element


def _number_html(figure: str, number: str, value: float, html: str) -> str:
    attributes = [f'{k}="{escape(v)}"' for k, v in _number_attributes(figure, number, value).items()]
    return f"<data {' '.join(attributes)}>{html}</data>"


def sentence(template: str, entry: Entry) -> str:
    """A finding or a claim's sentence as HTML, each number a citation."""

    return fill(
        _inline_code(template),
        entry.numbers,
        lambda name, formatted: _number_html(entry.name, name, entry.numbers[name], formatted.html),
    )


def _inline_code(template: str) -> str:
    # escaping leaves the placeholders alone: they hold neither &, < nor quotes
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(template, quote=False))


def details(name: str, summary: str, html: str, attributes: str = "") -> str:
    return f'<details class="{name}"{attributes}><summary>{summary}</summary>{html}</details>'


def highlight(code: str) -> str:
    html = pygments.highlight(code, PythonLexer(), HtmlFormatter(cssclass="highlight", wrapcode=True))
    return UNCOLOURED.sub(r"\1", html)


def meta(entry: Entry, highlighted: Callable[[str], str], later: Callable[[str], str]) -> str:
    """The quiet line below a figure: claims, data, source."""
    assert entry.figure
    assert entry.record
    claims = entry.figure.claims
    items = "".join(_claim_item(claim, entry) for claim in claims)
    one = count(len(claims), "claim")
    judged = all(map(entry.verdict, claims))
    summary = f"{one} checked by this build" if judged else f"{one}, not checked by this build"
    buttons = "".join(
        f'<button class="vg-save md-button" type="button" value="{form.lower()}" hidden>Download {form}</button> '
        for form in ("PNG", "SVG", "CSV", "JSON")
    )
    hidden = " data-search-exclude"
    data = details("vg-data", "Data and picture", buttons + _data_table(entry.record.plot, entry.name), hidden)
    source = details("vg-source", "Source", highlighted(entry.figure.text), hidden)
    return details("vg-claims", summary, f"<ul>{items}</ul>") + later(data + source)


def notes(entry: Entry, name: str) -> str:
    """The notes of a figure: a measured list of strings."""
    assert entry.record
    try:
        lines = lookup(entry.record.measured, name)
    except (KeyError, TypeError):
        lines = None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise CitationError(f"{entry.name} measures no list of strings {name!r}")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return details("vg-notes", f"{len(lines)} notes", f"<ul>{items}</ul>")


def _claim_item(claim: Claim, entry: Entry) -> str:
    verdict = entry.verdict(claim)
    passed = "unknown" if verdict is None else str(verdict.passed).lower()
    name = claim.name.removeprefix("claim_")
    attributes = f'class="vg-claim" id="claim-{entry.name}-{name}" data-passed="{passed}"'
    return f"<li {attributes}>{sentence(claim.sentence, entry)}</li>"


def _data_table(plot: dict[str, Any], name: str) -> str:
    """The drawn points as a table: one column a trace where all share their x, else one row a point."""
    traces = [t for t in plot["data"] if not _is_band(t) and isinstance(t.get("y", t.get("x")), list)]
    if not traces:
        return "<p>This figure draws no points.</p>"
    xs, ys = ([_axis_title(plot["layout"], axis, trace) for trace in traces] for axis in ("xaxis", "yaxis"))
    x_title = " or ".join(filter(None, dict.fromkeys(xs))) or "x"  # panels that share an axis name it once
    y_title = ys[0] if len(set(ys)) == 1 and ys[0] else "y"
    columns = list(zip(_series(traces, ys), map(_points, traces), strict=True))
    shared = columns[0][1][0]
    if all(points[0] == shared for _, points in columns):
        head = [x_title, *(name for name, _ in columns)]
        rows: Iterable[Iterable[Any]] = zip(shared, *(points[1] for _, points in columns), strict=True)
    else:
        head = ["series", x_title, y_title]
        rows = ((name, x, y) for name, points in columns for x, y in zip(*points, strict=True))
    table = _table(map(_plain, head), ([escape(_cell(v)) for v in row] for row in rows))
    # a box that scrolls can be reached by keyboard only if it takes the focus
    return f'<div class="vg-scroll" tabindex="0" role="region" aria-label="Data of {name}">{table}</div>'


def _is_band(trace: dict[str, Any]) -> bool:
    meta = trace.get("meta")
    return isinstance(meta, dict) and bool(meta.get("band"))


def _points(trace: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    x, y = trace.get("x"), trace.get("y")
    if x is None:
        x = list(range(len(y or [])))
    if y is None:
        y = list(range(len(x)))
    shorter = min(len(x), len(y))
    return x[:shorter], y[:shorter]


def _series(traces: list[dict[str, Any]], titles: list[str]) -> list[str]:
    """What tells each trace apart: its name, a count where a panel has several of that name, and where there are
    several panels, which one.
    """
    several = len(set(titles)) > 1
    keys = [(t.get("name") or f"trace {i}", title) for i, (t, title) in enumerate(zip(traces, titles, strict=True), 1)]
    return [
        name
        + (f" {keys[:i].count((name, title))}" if keys.count((name, title)) > 1 else "")
        + (f": {title}" if several and title else "")
        for i, (name, title) in enumerate(keys, start=1)
    ]


def _axis_title(layout: dict[str, Any], axis: str, trace: dict[str, Any]) -> str:
    """What stands at the axis that a trace is drawn by, in plain text."""
    number = str(trace.get(axis) or "")[1:]
    text = str(layout.get(f"{axis}{number}", {}).get("title", {}).get("text") or "")
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def _plain(text: str) -> str:
    """Plotly's titles may hold <br> and <sub>; a table's head keeps the text."""
    return escape(re.sub(r"<[^>]*>", " ", text))


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def numbers_table(entry: Entry) -> tuple[str, str]:
    """The finding and the table of a figure's numbers."""
    assert entry.figure
    assert entry.record
    bounds: dict[str, list[Claim]] = {}
    for claim in entry.figure.claims:
        verdict = entry.verdict(claim)
        for name in verdict.read if verdict else ():
            bounds.setdefault(name.removesuffix(".median"), []).append(claim)

    def rows() -> Iterator[list[str]]:
        for name, value in entry.numbers.items():
            # the row names it; of so many numbers each attribute weighs
            shown = f'<data value="{in_page(value)}">{format_number(value).html}</data>'
            by = "<br>".join(escape(c.name.removeprefix("claim_").replace("_", " ")) for c in bounds.get(name, []))
            yield [f"<code>{escape(name)}</code>", shown, by]

    table = _table(["Number", "Measured", "Bounded by the claim"], rows())
    # the rows name the numbers, and there are a thousand
    finding = re.sub(r'(<data [^>]*) title="[^"]*"', r"\1", sentence(entry.figure.title, entry))
    return f'<p class="vg-finding">{finding}</p>', table


def fill_table(
    table: etree.Element, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], spec: str, root: str
) -> None:
    """A row for each dictionary, a column for each key; the first cell of a row names it.

    `spec` formats floats. A cell {"text", "page"} is a link; `root` leads from the page to the folder of all pages.
    Raises CitationError for a column that a row lacks and for a format that doesn't fit.
    """
    head = etree.SubElement(etree.SubElement(table, "thead"), "tr")
    for column in columns:
        etree.SubElement(head, "th", {"scope": "col"}).text = column.replace("_", " ")
    body = etree.SubElement(table, "tbody")
    for row in rows:
        line = etree.SubElement(body, "tr")
        for column in columns:
            if column not in row:
                raise CitationError(f"a row has no column {column!r}{suggest(column, row)}")
            tag, about = ("td", {"data-label": column.replace("_", " ")}) if len(line) else ("th", {"scope": "row"})
            cell = etree.SubElement(line, tag, about)
            value = row[column]
            if isinstance(value, Mapping) and value.keys() == {"text", "page"}:
                cell = etree.SubElement(cell, "a", {"href": f"{root}{value['page']}"})
                value = value["text"]
            cell.text = AtomicString(_formatted(value, spec))  # no Markdown in it


def fill_recorded(table: etree.Element, found: Mapping[str, Any]) -> None:
    """The rows that were measured elsewhere; in the caption, with what and when.

    Raises CitationError if that isn't in it.
    """
    try:
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        told = (
            f"Measured on {found['made']} on {found['device']} with {versions}: {count(len(found['runs']), 'network')}"
        )
        told += f" in {found['hours']:.3g} hours, at most {found['peak_gb']:.3g} GB."
        if not found["trained"]:
            told += " The first network didn't get as far as it should, so that this is no comparison yet."
        etree.SubElement(table, "caption").text = AtomicString(told)
        fill_table(table, found["rows"], list(found["rows"][0]), ".3g", "")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CitationError(f"this is no record of measurements: {error!r}") from None


def _formatted(value: Any, spec: str) -> str:
    if not isinstance(value, float):
        return _cell(value)
    try:
        return format_number(value, spec).text
    except ValueError as error:
        raise CitationError(str(error)) from None


def changes_table(changes: list[drift.Change]) -> str:
    if not changes:
        return "<p>No number moved beyond its tolerance.</p>"
    # a line may end after a hyphen, and not after a minus
    return _table(drift.HEAD, ([escape(cell.replace("-", "−")) for cell in change.cells] for change in changes))


def times_table(times: dict[str, float]) -> str:
    total = sum(times.values()) or 1.0
    shown = list(times.items())[:SLOWEST]
    rows = [[f"<code>{escape(name)}</code>", f"{seconds / total:.0%}"] for name, seconds in shown]
    rest = len(times) - len(shown)
    if rest:
        rows.append([f"the other {rest}", f"{1 - sum(s for _, s in shown) / total:.0%}"])
    return _table(["Figure", "Share of the measuring time"], rows)


def seeds_table(recorded: Mapping[str, Any], entries: Mapping[str, Entry]) -> str:
    """What was recorded of claims on several seeds: when, on how many, and those that are least sure.

    Raises DriftError if it isn't such a record.
    """
    figures = {name: entry.figure for name, entry in entries.items() if entry.figure}
    found, changed = certainty.read(recorded, figures)
    if not found:
        return "<p>No claim of this site has been recorded.</p>"
    most, least = max(one.seeds for one in found), min(one.seeds for one in found)
    whole = sum(not one.failed for one in found)
    versions = ", ".join(f"{name} {version}" for name, version in recorded["versions"].items())
    shown = certainty.thinnest(found)[: certainty.THINNEST]
    told = f"{whole} of {len(found)} claims hold on every seed that was tried, "
    told += f"{most} for each figure" if most == least else f"{least} to {most} a figure"
    told += f"; recorded on {recorded['made']} with {versions}. These {len(shown)} are the least sure."
    if changed:
        told += f" {count(len(changed), 'figure')} came or changed since."
    sentences = {(name, claim.name): claim.sentence for name, figure in figures.items() for claim in figure.claims}

    def rows() -> Iterator[list[str]]:
        for one in shown:
            entry, template = entries[one.figure], _inline_code(sentences[one.figure, one.claim])
            # in plain text: their numbers stand below their figures
            text = fill(template, entry.numbers, lambda _, n: n.html) if entry.record else ""
            yield [f"{text}<br><code>{escape(one.figure)}</code>", one.held, _margin(one.margin)]

    return f"<p>{escape(told)}</p>{_table(['Claim', 'Holds on', 'Margin'], rows())}"


def _margin(margin: float | None) -> str:
    if margin is None:
        return ""
    return f"{certainty.FARTHEST:g} or more" if margin >= certainty.FARTHEST else f"{margin:.2f}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
