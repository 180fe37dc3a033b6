"""How sure claims are: on how many seeds each holds, and how much farther apart the seeds might have come out.

The *margin* of a claim: go in a straight line from what one seed measured to what another did, and on. The claim is
asked again on the way, and the margin is the smallest part of the way, beyond the seed that was reached, at which it
fails. For a claim that bounds one number it is thus the distance from the outermost seed to the bound, in units of the
range over the seeds. Since all numbers move together, as the seeds move them, two that rise and fall together count
as such. Numbers of one sign move by factors, others by differences.

Where a claim fails between two seeds on both of which it holds, it states a relation that no such line keeps, an
equality as a rule, and the line counts for nothing.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vgdocs.engine import worker
from vgdocs.engine.claims import holds
from vgdocs.engine.drift import DriftError
from vgdocs.engine.figure import Figure
from vgdocs.engine.record import Record, make_keys

RECORDED = Path("docs/about/seeds.json")
FARTHEST = 3.0  # a margin that is measured; a larger one counts as this
PARTNERS = 8  # from which a seed is come to: with up to nine seeds, from each of the others
HALVINGS = 10  # of the interval in which a margin lies
BAND = ("lo", "median", "hi")
THINNEST = 20  # claims that are listed


@dataclass(frozen=True)
class Sureness:
    """How one claim fared on several seeds."""

    figure: str
    claim: str
    seeds: int
    failed: tuple[int, ...]  # the seeds on which it doesn't hold
    margin: float | None  # None where no line between two seeds tells

    @property
    def held(self) -> str:
        return f"{self.seeds - len(self.failed)}/{self.seeds}"

    @property
    def rank(self) -> tuple[float, float]:
        """The less sure, the smaller."""
        return -len(self.failed) / self.seeds, FARTHEST if self.margin is None else self.margin


def sureness(figure: Figure, records: Sequence[Record]) -> list[Sureness]:
    """Ask each claim of a figure on the records of several seeds, and on the lines between them."""
    module = worker.load(str(figure.path), figure.text)
    try:
        found = []
        for claim in figure.claims:
            fits = {r.seed: r.measured for r in records if holds(module, claim.name, copy.deepcopy(r.measured))}
            failed = tuple(record.seed for record in records if record.seed not in fits)
            margin = _margin(module, claim.name, list(fits.values()))
            found.append(Sureness(figure.name, claim.name, len(records), failed, margin))
        return found
    finally:
        del sys.modules[figure.name]


def thinnest(found: Sequence[Sureness]) -> list[Sureness]:
    """Those that will fail next, if any does: first those that fail on a seed, then by their margins."""
    return sorted(found, key=lambda one: one.rank)


def content(found: Sequence[Sureness], figures: Mapping[str, Figure], records: Sequence[Record]) -> dict[str, Any]:
    """What is recorded of all that: when, with what and on which seeds; of each figure, what it measured with."""
    versions: dict[str, str] = {}
    for record in records:
        versions |= record.versions
    claims: dict[str, dict[str, Any]] = {}
    for one in found:
        of_figure = claims.setdefault(one.figure, {"script": make_keys(figures[one.figure]).measure[:12], "claims": {}})
        margin = None if one.margin is None else round(one.margin, 2)
        of_figure["claims"][one.claim] = [one.seeds, list(one.failed), margin]
    return {
        "made": datetime.now(UTC).date().isoformat(),
        "versions": dict(sorted(versions.items())),
        "seeds": sorted({record.seed for record in records}),
        "figures": claims,
    }


def read(recorded: Mapping[str, Any], figures: Mapping[str, Figure]) -> tuple[list[Sureness], list[str]]:
    """The claims of a recorded content that there still are, and the figures that have changed or come since.

    Raises DriftError if it isn't one.
    """
    try:
        found = [
            Sureness(name, claim, seeds, tuple(failed), margin)
            for name, known in recorded["figures"].items()
            if name in figures
            for claim, (seeds, failed, margin) in known["claims"].items()
            if any(claim == own.name for own in figures[name].claims)
        ]
        known = {name: of_figure["script"] for name, of_figure in recorded["figures"].items()}
        if not isinstance(recorded["made"], str) or not isinstance(recorded["versions"], dict):
            raise TypeError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DriftError(f"{RECORDED} isn't what `vgdocs seeds --record` writes") from None
    changed = [name for name, figure in figures.items() if known.get(name) != make_keys(figure).measure[:12]]
    return found, changed


def beyond(first: Any, last: Any, by: float) -> Any:
    """What is measured, on the line from one measurement to another and past it by this part of the way.

    What isn't a number, or is of another kind in the other, stays as it was last; whole numbers stay whole, and a
    band's median stays between its ends.
    """
    if isinstance(last, dict):
        moved = {name: beyond(first.get(name) if isinstance(first, dict) else None, last[name], by) for name in last}
        return moved | _in_order(moved) if moved.keys() >= set(BAND) else moved
    if isinstance(last, list):
        same = isinstance(first, list) and len(first) == len(last)
        return [beyond(a, b, by) for a, b in zip(first, last, strict=True)] if same else list(last)
    return _moved(first, last, by) if {type(first), type(last)} <= {int, float} and first != last else last


def _moved(first: float, last: float, by: float) -> float:
    """A number beyond two others: by their ratio if they have one sign, else by their difference."""
    try:
        moved = last * (last / first) ** by if first and last / first > 0 else last + by * (last - first)
    except OverflowError:
        moved = math.copysign(math.inf, last)
    moved = min(max(moved, -sys.float_info.max), sys.float_info.max)
    return round(moved) if type(first) is type(last) is int else moved


def _in_order(band: Mapping[str, Any]) -> dict[str, Any]:
    """The lowest, the middle and the highest of a band, be they numbers or lists; whatever else it is, as it is."""
    three = [band[name] for name in BAND]
    try:
        if all(isinstance(values, list) for values in three):
            ordered = [list(values) for values in zip(*map(sorted, zip(*three, strict=True)), strict=True)]
            return dict(zip(BAND, ordered, strict=True)) if ordered else {}
        return dict(zip(BAND, sorted(three), strict=True))
    except (TypeError, ValueError):
        return {}


def _margin(module: Any, claim: str, measured: Sequence[dict[str, Any]]) -> float | None:
    """The smallest margin over lines between measurements on which the claim holds; None if no line tells."""
    margin = None
    for first, last in _pairs(measured):
        if not holds(module, claim, beyond(first, last, -0.5)):
            continue
        low, high = 0.0, FARTHEST if margin is None else margin
        margin = high
        if holds(module, claim, beyond(first, last, high)):
            continue
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if holds(module, claim, beyond(first, last, middle)) else (low, middle)
        margin = low
    return margin


def _pairs(measured: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each measurement, after up to PARTNERS of the others, evenly chosen."""
    for at, last in enumerate(measured):
        others = [*measured[at + 1 :], *measured[:at]]
        step = max(1, len(others) / PARTNERS)
        for k in range(min(len(others), PARTNERS)):
            yield others[int(k * step)], last
