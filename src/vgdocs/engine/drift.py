"""Numbers that moved: since they were last accepted, between two versions of the site, from release to release.

All of these are read from the content of a `numbers.json`. A number may move by the share that its script's
`TOLERANCE` declares, else by `DEFAULT`; what is beyond that, new or gone is a change.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgdocs.engine.numbers import Number

DEFAULT = 1e-3  # by which an undeclared number may move, relative to its old value
ACCEPTED = Path("tests/numbers.json")
RELEASES = Path("docs/about/releases")  # VERSION.json: the numbers as accepted when that version was released

Content = Mapping[str, Any]


class DriftError(Exception):
    """One of the contents to compare can't be found, or isn't a numbers.json."""


@dataclass(frozen=True)
class Change:
    """One number that moved beyond its tolerance, appeared (`old` is None) or went (`new` is None)."""

    figure: str
    number: str
    old: Number | None
    new: Number | None
    tolerance: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table: name, old, new, by how much it moved, by how much it might."""
        name = f"{self.figure}.{self.number}"
        if self.old is None:
            return name, "", f"{self.new:.6g}", "new", ""
        if self.new is None:
            return name, f"{self.old:.6g}", "", "gone", ""
        moved = f"{(self.new - self.old) / abs(self.old):+.2%}" if self.old else "from zero"
        return name, f"{self.old:.6g}", f"{self.new:.6g}", moved, f"{self.tolerance:.2%}"


HEAD = ("Number", "Old", "New", "Moved by", "Tolerance")


def compare(old: Content, new: Content) -> list[Change]:
    """The changes from one content of numbers.json to another; the newer one's tolerances count."""
    before, after = old["figures"], new["figures"]
    changes = []
    for figure in sorted({*before, *after}):
        olds, news = (side.get(figure, {}).get("numbers", {}) for side in (before, after))
        for number in dict.fromkeys([*olds, *news]):
            a, b = olds.get(number), news.get(number)
            allowed = tolerance(number, after.get(figure, {}).get("tolerance", {}))
            # NaN on either side makes the comparison false, and so counts as moved
            if a is None or b is None or not abs(b - a) <= allowed * abs(a):
                changes.append(Change(figure, number, a, b, allowed))
    return changes


def tolerance(number: str, declared: Mapping[str, float]) -> float:
    """The share by which a number may move: its own, or that of the band or group it belongs to."""
    while number not in declared:
        number, dot, _ = number.rpartition(".")
        if not dot:
            return DEFAULT
    return declared[number]


def accept(old: Content, new: Content, changes: Collection[Change]) -> dict[str, Any]:
    """The content of tests/numbers.json once these changes from old to new are accepted.

    A number that stayed within its tolerance keeps its old value, or many small steps would go unseen; of a band, the
    three are accepted together, or its median might lie outside of it. The seconds that a figure took, by which
    machines share the work, are those of its last change.
    """
    content = {}
    for name in sorted({*old["figures"], *(change.figure for change in changes)}):
        before, after = (side["figures"].get(name, {}) for side in (old, new))
        measured = after.get("numbers", {})
        moved = [change.number for change in changes if change.figure == name]
        bands = {number.removesuffix(".lo").removesuffix(".hi") for number in moved}
        together = [number for band in bands for number in (band, f"{band}.lo", f"{band}.hi")]
        changed = {n: measured.get(n) for n in [*moved, *together]}
        numbers = {n: value for n, value in (before.get("numbers", {}) | changed).items() if value is not None}
        if numbers:
            seconds = (after if changed else before).get("seconds", 0.0)
            tolerances = (after or before).get("tolerance", {})
            content[name] = {"seconds": round(seconds, 1), "tolerance": tolerances, "numbers": numbers}
    return {"figures": content}


def load(source: str, root: Path) -> Content:
    """The content of a numbers.json: a file, a built site's folder, or a version on the branch gh-pages.

    `REF:PATH` reads from another branch, tag or commit of the repository at `root`. Raises DriftError.
    """
    path = Path(source)
    if path.is_dir():
        path /= "numbers.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8") if path.is_file() else _from_git(source, root))
        if all(type(n) in (int, float) for figure in content["figures"].values() for n in figure["numbers"].values()):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DriftError(f"{source} isn't a numbers.json")


def text_table(changes: Iterable[Change]) -> str:
    """The changes in aligned columns."""
    rows = [HEAD, *(change.cells for change in changes)]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = ("  ".join([name.ljust(first), *map(str.rjust, cells, others)]) for name, *cells in rows)
    return "\n".join(map(str.rstrip, lines))


def history(root: Path, now: Content) -> list[tuple[str, str, list[Change]]]:
    """The newer version, the older and what moved between them, latest first; this build's is the version ""."""
    paths = sorted((root / RELEASES).glob("*.json"), key=lambda path: _version_key(path.stem))
    versions = [(path.stem, load(str(path), root)) for path in paths] + [("", now)]
    pairs = zip(versions[1:], versions, strict=False)
    return [(newer, older, compare(before, after)) for (newer, after), (older, before) in pairs][::-1]


def _from_git(source: str, root: Path) -> str:
    """A file in the repository's history: `gh-pages:1.0`, or 1.0 for short, is a version that was deployed."""
    places = [source] if ":" in source else [f"gh-pages:{source}", f"origin/gh-pages:{source}"]
    for place in places:
        name = place if place.endswith(".json") else f"{place.rstrip('/')}/numbers.json"
        command = ["git", "-C", str(root), "show", "--end-of-options", name]
        shown = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        if shown.returncode == 0:
            return shown.stdout
    raise DriftError(f"there is no file, folder or deployed version {source!r} (tried git show {' and '.join(places)})")


def _version_key(version: str) -> list[tuple[int, str]]:
    """1.10 comes after 1.9, 1.0rc1 before 1.0, and 1.0.post1 after it."""
    parts = re.findall(r"\d+|[a-z]+", version)
    return [(int(part), "") if part.isdigit() else (0 if part == "post" else -1, part) for part in parts] + [(0, "")]
