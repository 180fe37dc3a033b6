"""The record of one measurement: what was measured and drawn, how the claims fared, and its keys.

A record is plain JSON. Its *measure key* stands for everything that the numbers depend on: the script
without its drawing, claims and prose, the vgdocs modules it imports (transitively), the data files they
name, seed, device and record format. Its *environment key* stands for the versions of Python and of every
library imported. Its *script hash* covers the whole script, so that new wording or a new bound is judged on
the measurement there is. No time stamp enters any of them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import math
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from vgdocs.figure import Figure, FigureError
from vgdocs.numbers import Number

FORMAT = 1  # counted up when what a record holds changes meaning
TRACE_TYPES = (
    "bar",
    "pie",
    "scatter",
)  # what the site's Plotly bundle draws; it fails on others without a word
MAX_POINTS = 2000  # in one trace; a page carries its figures' data
PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Verdict:
    """How one claim fared on a measurement."""

    name: str
    passed: bool
    message: str = ""  # why it failed, and at which line
    read: tuple[str, ...] = ()  # the names it looked at


@dataclass(frozen=True)
class Keys:
    """What a record stands for; see the module's docstring."""

    measure: str
    environment: str
    script: str


@dataclass(frozen=True)
class Record:
    """One measurement of one figure."""

    name: str
    seed: int
    device: str
    keys: Keys
    measured: dict[str, Any]
    plot: dict[str, Any]
    verdicts: tuple[Verdict, ...]
    versions: dict[str, str]
    seconds: float  # of the processor, for measuring alone: comparable however busy the machine was
    format: int = FORMAT
    numbers: dict[str, Number] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", dict(flatten(self.measured)))

    def to_json(self) -> str:
        content = asdict(self)
        del content["numbers"]
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record back; raises ValueError for anything that `to_json` didn't write."""
        try:
            content = json.loads(text)
            content["keys"] = Keys(**content["keys"])
            content["verdicts"] = tuple(Verdict(**{**v, "read": tuple(v["read"])}) for v in content["verdicts"])
            record = cls(**content)
            check_measured(record.measured)
            check_plot(record.plot)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a record: {error!r}") from None
        if record.format != FORMAT:
            raise ValueError(f"a record of format {record.format}, not {FORMAT}")
        return record


class Measured(Mapping[str, Any]):
    """A measurement as claims see it: read-only, and it remembers which names were read."""

    def __init__(self, values: Mapping[str, Any], read: list[str] | None = None, prefix: str = "") -> None:
        self._values, self._prefix = values, prefix
        self.read: list[str] = [] if read is None else read

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        name = f"{self._prefix}{key}"
        if isinstance(value, Mapping):
            return Measured(value, self.read, f"{name}.")
        if name not in self.read:
            self.read.append(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def flatten(measured: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Number]]:
    """The finite scalars of a measurement with their dotted names; a band's median goes by the band's name."""
    for key, value in measured.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (prefix.rstrip(".") if key == "median" and prefix else f"{prefix}{key}"), value


def lookup(measured: Mapping[str, Any], name: str) -> Any:
    """What stands under a name as `flatten` writes it; raises KeyError if nothing does."""
    value: Any = measured
    for part in name.split("."):
        value = value[part]
    return value["median"] if isinstance(value, Mapping) and "median" in value else value


def check_measured(value: Any, name: str = "measure()", in_list: bool = False) -> None:
    """Hold what a script measured to plain JSON; raises ValueError with the name of what isn't."""
    if value is None or isinstance(value, bool) or type(value) is int:
        return
    if type(value) is float:
        if not math.isfinite(value):
            how = f'write it as the string "{value}"' if in_list else "a number that pages cite is finite"
            raise ValueError(f"{name} is {value}: {how}")
    elif type(value) is str:
        return
    elif type(value) is list:
        for i, item in enumerate(value):
            check_measured(item, f"{name}[{i}]", in_list=True)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isidentifier():
                raise ValueError(f"{name} has the key {key!r}: names are identifiers, so that pages can cite them")
            check_measured(item, key if name == "measure()" else f"{name}.{key}", in_list)
    else:
        kind = f"{type(value).__module__}.{type(value).__name__}"
        hint = {"torch.Tensor": "; call .item() or .tolist()"}.get(kind, "")
        raise ValueError(f"{name} is a {kind}, not plain JSON{hint}")


def check_plot(plot: Mapping[str, Any]) -> None:
    """Raises ValueError for a plot that the site's bundle can't draw."""
    if not plot["data"]:
        raise ValueError("draw() returned a plot without traces")
    for trace in plot["data"]:
        kind = trace.get("type", "scatter")
        if kind not in TRACE_TYPES:
            raise ValueError(f"draw() uses the trace type {kind}; the site's bundle draws {', '.join(TRACE_TYPES)}")
        points = max((len(trace[axis]) for axis in ("x", "y") if isinstance(trace.get(axis), list)), default=0)
        if points > MAX_POINTS:
            raise ValueError(f"draw() puts {points} points into one trace; {MAX_POINTS} is the limit")


def make_keys(figure: Figure, seed: int | None = None, device: str = "cpu") -> Keys:
    """The keys of a figure as it stands on disk now, with its own seed unless another is given.

    Raises FigureError if a module that the script imports can't be read.
    """
    modules = _package_modules(figure)
    bare = ast.Module(body=[n for n in figure.tree.body if not _says_or_draws(n)], type_ignores=[])
    measuring = _digest(
        str(FORMAT),
        figure.name,
        str(figure.seed if seed is None else seed),
        device,
        ast.unparse(bare),
        *(f"{path.name}\0{ast.unparse(_parse(path))}" for path in modules),
        *(_digest_bytes(path) for path in _data_files(figure, modules)),
    )
    whole = _digest(measuring, figure.text)
    return Keys(measuring, _digest(json.dumps(versions(figure), sort_keys=True)), whole)


def versions(figure: Figure) -> dict[str, str]:
    """The versions of Python and of each library that the script, or a vgdocs module it imports, imports."""
    imported = {"plotly", "torch"}
    for tree in [figure.tree, *(_parse(path) for path in _package_modules(figure))]:
        imported |= {name.partition(".")[0] for name, _ in _imports(tree)}
    found = {"python": platform.python_version()}
    for module in sorted(imported - set(sys.stdlib_module_names) - {"vgdocs"}):
        for distribution in _distributions().get(module, [])[:1]:
            found[distribution.lower()] = importlib.metadata.version(distribution)
    return found


@lru_cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _says_or_draws(node: ast.stmt) -> bool:
    """Whether a statement of the script can't change what is measured: prose, drawing, claims, tolerances."""
    if isinstance(node, ast.FunctionDef):
        return node.name == "draw" or node.name.startswith("claim_")
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(t, ast.Name) and t.id in ("TOLERANCE", "WIDER") for t in targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Each imported module's dotted name and line; for `from a import b` both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _package_modules(figure: Figure) -> list[Path]:
    """The files of the vgdocs modules that a script imports, directly or through others."""
    found: set[Path] = set()
    queue = [(figure.path, figure.tree)]
    while queue:
        origin, tree = queue.pop()
        for name, line in _imports(tree):
            package, _, module = name.partition(".")
            if package != "vgdocs" or not module:
                continue
            path = PACKAGE / f"{module.replace('.', '/')}.py"
            if path.is_file() and path not in found:
                found.add(path)
                try:
                    queue.append((path, _parse(path)))
                except SyntaxError as error:
                    raise FigureError(origin, f"imports {name}, which isn't Python: {error}", line) from None
    return sorted(found)


def _data_files(figure: Figure, modules: list[Path]) -> list[Path]:
    """Files named by a string in the script or in a module it imports, relative to the file that names them."""
    found = set()
    for origin, tree in [(figure.path, figure.tree), *((path, _parse(path)) for path in modules)]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 200:
                if "." not in node.value or "\n" in node.value or "\0" in node.value:
                    continue
                path = origin.parent / node.value
                if path.is_file():
                    found.add(path)
    return sorted(found)


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()


def _digest_bytes(path: Path) -> str:
    return f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}"
