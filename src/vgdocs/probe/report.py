"""A report to send: one page that holds a verdict and what it rests on, and asks nothing of anyone but a browser."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from vgdocs.probe.charts import LEVELS, POWERS, Line, Scale, Value, chart, strip
from vgdocs.probe.diagnosis import CANNOT_SHOW, NOTHING_WRONG, Verdict
from vgdocs.probe.finding import SITE, Finding, address
from vgdocs.probe.record import EXPLODING, LEGEND, VANISHING, GradientRecord, Row, as_table, trunk
from vgdocs.probe.rules.optimizer import LARGE_UPDATE, SMALL_UPDATE

CELLS = 6_000  # of a strip, from which on fewer steps are drawn: it keeps a report of any record below 300 KB or so
STEPS = (30, 120)  # that are drawn at least and at most; of more, as many that lie evenly
ROWS_IN_FULL = 30  # layers, up to which each has a line of its own; beyond, the strip keeps its height
ROW = 15  # px
POINTS = 300  # of a line
UNSEEN = "No step of it was recorded."
BAD = re.compile("yes|-?nan|-?inf")  # a value of the table that shouldn't be


@dataclass(frozen=True)
class Watched:
    """One model: its name, the optimizers that step it, what was seen, and the verdict, None if nothing was seen."""

    name: str
    optimizers: tuple[str, ...]
    record: GradientRecord
    verdict: Verdict | None

    @property
    def steps(self) -> str:
        """How many steps it made, and by what."""
        by = f" of {' and '.join(self.optimizers)}" if self.optimizers else ""
        return f"{self.record.size:,} step{'s' * (self.record.size != 1)}{by}"

    def text(self, site: str | None = SITE) -> str:
        head = f"{self.name}, {self.steps}"
        told = self.verdict.text(site) if self.verdict else UNSEEN
        return f"{head}\n{'=' * len(head)}\n{told}"


@dataclass(frozen=True)
class _Strip:
    """A quantity by layer and step: how it is called, its name in a row, and what is usual of it."""

    title: str
    what: str
    name: str
    scale: Scale
    ends: tuple[str, str] = ("", "")  # what is said of those of the scale
    relative: bool = False  # to the last layer with weights, in the same step


STRIPS = (
    _Strip(
        "Gradient, with respect to outputs",
        "Norm of ∂L/∂y of each layer over that of the last layer with weights, in the same step.",
        "activation_gradient",
        Scale(VANISHING, 1.0, EXPLODING),
        (", vanishing", ", exploding"),
        relative=True,
    ),
    _Strip(
        "Gradient, with respect to weights",
        "Norm of ∂L/∂W of each layer over that of the last one.",
        "weight_gradient",
        Scale(VANISHING, 1.0, EXPLODING),
        relative=True,
    ),
    _Strip(
        "Updates",
        "How far a step moved a layer's parameters, over their norm.",
        "update_ratio",
        Scale(SMALL_UPDATE, 1e-3, LARGE_UPDATE),
        (", too small", ", too large"),
    ),
    _Strip("Signal", "Root mean square of each layer's output.", "signal", Scale(1e-3, 1.0, 1e3)),
)


def write(
    path: str | Path,
    watched: Sequence[Watched],
    *,
    title: str = "",
    settings: dict[str, str] | None = None,
    notes: Sequence[str] = (),
    site: str | None = SITE,
) -> None:
    """Write a report about some models; `title` says of what, `settings` and `notes` are told beside what is known.

    Links go to `site`, the address at which this project's site is read.
    """
    heading = f"Diagnosis of {title}" if title else "Diagnosis"
    summary = "; ".join(f"{one.name}, {one.steps}" for one in watched) or "Nothing was watched."
    versions = f"vgdocs {_version()}, torch {torch.__version__}, Python {platform.python_version()}"
    known = {**(settings or {}), **(_settings(watched[0]) if len(watched) == 1 else {}), "Versions": versions}
    told = "".join(f'<p class="note">{escape(note)}.</p>' for note in notes)
    sections = "".join(_section(one, alone=len(watched) == 1, site=site) for one in watched)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
        f'<header><h1 class="grown">{escape(heading)}</h1>\n<p class="quiet">{escape(summary)}</p></header>\n'
        f"<main>{told}{sections}\n<h2>Settings</h2>\n{_pairs(known, 'settings')}</main>\n</body>\n</html>\n"
    )
    Path(path).write_text(page, encoding="utf-8")


def _version() -> str:
    try:
        return metadata.version("vgdocs")
    except metadata.PackageNotFoundError:  # run from its source, without having been installed
        return "of a checkout"


def _style() -> str:
    """The page's own style, after the tokens of the site's, which stand in one place."""
    css = files("vgdocs").joinpath("pages/assets/vg.css").read_text("utf-8")
    light, dark = css.split('[data-md-color-scheme="slate"] {', 1)

    def tokens(block: str) -> str:
        return "\n".join(re.findall(r"--vg-[a-z0-9-]+: [^;]+;", block))

    own = files("vgdocs").joinpath("probe/report.css").read_text("utf-8")
    seen_dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{\n{tokens(dark.split('}', 1)[0])}\n}} }}"
    return f":root {{\n{tokens(light)}\n}}\n{seen_dark}\n{own}"


def _section(one: Watched, alone: bool, site: str | None) -> str:
    heading = "The verdict" if alone else one.name
    head = f'<h2 class="grown">{escape(heading)}</h2>'
    if one.verdict is None:
        return f'{head}<p class="note">{UNSEEN}</p>'
    found = "".join(_finding(finding, site) for finding in one.verdict.findings)
    unknown = "".join(f"<li>{escape(what)}</li>" for what in one.verdict.unknown)
    level = "h2" if alone else "h3"
    parts = [
        head,
        f'<ol class="findings">{found}</ol>' if found else f'<p class="healthy-verdict">{NOTHING_WRONG}</p>',
        f'<h3>{CANNOT_SHOW}</h3><ul class="unknown">{unknown}</ul>',
        f"<{level}>What was measured</{level}>",
        _charts(one.record),
        *(_strip(one.record, quantity) for quantity in STRIPS),
        f"<{level}>The last full step, layer by layer</{level}>",
        _table(one.record),
        "" if alone else _pairs(_settings(one), "settings"),
    ]
    return "\n".join(parts)


def _finding(finding: Finding, site: str | None) -> str:
    by = f" <span>{escape(finding.by)}</span>" if finding.by else ""
    where = address(finding.page, site)
    link = f'<a href="{escape(where)}">{escape(where)}</a>' if site else f"<code>{escape(where)}</code>"
    told = {
        "Evidence": escape(finding.evidence),
        "Seen from": f"step {finding.since:,} on",
        "Or": escape(f"{' or '.join(finding.alternatives)}: {finding.decide}") if finding.alternatives else "",
        "Follows": escape(", ".join(finding.consequences)),
        "Try": f'<span class="try">{escape(finding.remedy)}</span>',
        "Read": link,
    }
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in told.items() if text)
    return f"<li><h3>{escape(finding.symptom[:1].upper() + finding.symptom[1:])}{by}</h3><dl>{rows}</dl></li>"


def _pairs(pairs: dict[str, str], kind: str) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs.items())
    return f'<dl class="{kind}">{rows}</dl>'


def _settings(one: Watched) -> dict[str, str]:
    last: Row = next(reversed(one.record.step_rows), {})
    names = {"lr": "learning rate", "weight_decay": "weight decay", "momentum": "momentum", "beta1": "β₁", "eps": "ε"}
    values = ", ".join(f"{name} {last[key]:g}" for key, name in names.items() if last.get(key) is not None)
    kept = len(one.record.steps)
    steps = f"{one.record.size:,}" + (f", of which {kept:,} were kept" if kept < one.record.size else "")
    known = {"Model": one.name, "Optimizer": " and ".join(one.optimizers), "Its settings": values, "Steps seen": steps}
    return {name: text for name, text in known.items() if text}


# --- drawings ----------------------------------------------------------------------------------------------------


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    """The first, the last and others between them that lie evenly, as many as may be."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _by_step(record: GradientRecord) -> dict[int, dict[str, Row]]:
    found: dict[int, dict[str, Row]] = {}
    for row in record.rows:
        found.setdefault(row["step"], {})[row["layer"]] = row
    return found


def _strip(record: GradientRecord, quantity: _Strip) -> str:
    by_step = _by_step(record)
    steps = _evenly(record.full_steps, min(max(CELLS // len(record.layers), STEPS[0]), STEPS[1]))
    columns = [_column(by_step[step].values(), quantity) for step in steps]
    layers = [layer.name for layer in record.layers if any(c.get(layer.name) is not None for c in columns)]
    if not layers:
        return ""
    cells = [[column.get(layer) for column in columns] for layer in layers]
    label = f"{quantity.title}: {len(layers)} layers, steps {steps[0]} to {steps[-1]}"
    return (
        f"<figure><h3>{quantity.title}</h3><figcaption class='quiet'>{quantity.what}</figcaption>"
        f"{_labelled(layers, steps, strip(cells, quantity.scale, label))}{_key(quantity, cells)}</figure>"
    )


def _column(rows: Collection[Row], quantity: _Strip) -> dict[str, Value]:
    """One step's values by layer."""
    values: dict[str, Value] = {row["layer"]: row[quantity.name] for row in rows}
    weights = trunk(rows, quantity.name)
    if not quantity.relative or not weights:
        return values
    last = weights[-1][quantity.name]
    scale = last if last and math.isfinite(last) else math.nan
    return {layer: value and value / scale for layer, value in values.items()}


def _labelled(layers: Sequence[str], steps: Sequence[int], drawn: str) -> str:
    row = ROW if len(layers) <= ROWS_IN_FULL else max(2, ROW * ROWS_IN_FULL // len(layers))
    every = -(-12 // row)  # rows that one name takes
    starts = [*range(0, len(layers) - 2 * every + 1, every), max(len(layers) - every, 0)]
    named = {start: layers[start] for start in starts[:-1]} | {starts[-1]: layers[-1]}
    names = "".join(
        f'<span style="grid-row:{start + 1}/span {every}" title="{escape(name)}">{escape(name)}</span>'
        for start, name in named.items()
    )
    shown = dict.fromkeys([steps[0], steps[len(steps) // 2], steps[-1]])
    marks = "".join(f"<span>{'step ' * (i == 0)}{step:,}</span>" for i, step in enumerate(shown))
    size = f"--rows:{len(layers)};--row:{row}px;--line:{row * every}px"
    names, marks = f'<div class="layers">{names}</div>', f'<div class="steps">{marks}</div>'
    return f'<div class="strip" style="{size}">{names}{drawn}{marks}</div>'


def _key(quantity: _Strip, cells: Sequence[Sequence[Value]]) -> str:
    ramp = "".join(f'<i class="l{level}"></i>' for level in range(2 * LEVELS + 1))
    small, large = _bound(quantity.scale.small), _bound(quantity.scale.large)
    parts = [f'<span class="ramp">≤ {small}{quantity.ends[0]} {ramp} ≥ {large}{quantity.ends[1]}</span>']
    seen = {quantity.scale.level(value) for row in cells for value in row}
    for kind, what in (("zero", "exactly 0"), ("bad", "nan or inf"), ("", "not seen")):
        if kind in seen:
            parts.append(f'<span><i class="{kind or "unseen"}"></i>{what}</span>')
    return f'<p class="key">{"".join(parts)}</p>'


def _bound(value: float) -> str:
    """An end of a scale: 100, 0.5 or 10⁻⁴."""
    return f"{value:g}" if value > 0.1 else f"10{str(round(math.log10(value))).translate(POWERS)}"


def _charts(record: GradientRecord) -> str:
    by_step, shown = _by_step(record), _evenly(record.full_steps, 3)
    losses = [(row["step"], row["loss"]) for row in _evenly(record.step_rows, POINTS)]
    profiles = []
    for role, step in zip(("first", "middle", "last") if len(shown) == 3 else ("first", "last"), shown, strict=False):
        points = [(row["index"] + 1, row["activation_gradient"]) for row in trunk(by_step[step].values())]
        profiles.append(Line(f"step {step:,}", role, points))
    weights = _ends(record, by_step, "weight_gradient", record.steps)
    updates = _ends(record, by_step, "update_ratio", record.full_steps)
    of_layers = "Norm of the gradient by layer, at the first, a middle and the last step"
    drawn = {
        "Loss": chart([Line("loss", "loss", losses)], "step", "loss", "Loss over steps"),
        "Gradient by layer, ∂L/∂y": chart(profiles, "layer, from the input", "norm", of_layers),
        "Gradient over steps, ∂L/∂W": chart(weights, "step", "norm", "Gradients over steps"),
        "Updates over steps": chart(updates, "step", "step over weights", "Updates over steps"),
    }
    figures = "".join(f"<figure><h3>{title}</h3>{svg}</figure>" for title, svg in drawn.items() if svg)
    return f'<div class="charts">{figures}</div>'


def _ends(record: GradientRecord, by_step: dict[int, dict[str, Row]], name: str, steps: Sequence[int]) -> list[Line]:
    """The first and the last layer with weights that have this quantity, over steps."""
    rows = [row for step in steps for row in by_step[step].values()]
    having = {row["layer"] for row in trunk(rows, name)}
    layers = [layer.name for layer in record.layers if layer.name in having]
    ends = dict(zip(("first", "last"), dict.fromkeys([layers[0], layers[-1]]), strict=False)) if layers else {}
    shown = _evenly(steps, POINTS)
    return [
        Line(f"{role} layer, {layer}" if len(ends) > 1 else layer, role, [(s, by_step[s][layer][name]) for s in shown])
        for role, layer in ends.items()
    ]


def _table(record: GradientRecord) -> str:
    rows = record.at(full=True)
    head, *lines = as_table(rows)
    heads = "".join(f"<th scope='col'>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(_cell(i, text) for i, text in enumerate(line))}</tr>" for line in lines)
    legend = escape(LEGEND).replace("\n", " · ")
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    return (
        f"<p class='quiet'>Step {rows[0]['step']:,}.</p>"
        f"<div class='scroll' tabindex='0' role='region' aria-label='The last full step'>{table}</div>"
        f"<p class='quiet'>{legend}</p>"
    )


def _cell(place: int, text: str) -> str:
    kind = "layer" if place == 1 else "bad" if place > 2 and BAD.match(text) else ""
    return f"<td class='{kind}'>{escape(text)}</td>" if kind else f"<td>{escape(text)}</td>"
