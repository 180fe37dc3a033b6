"""The record of one measurement: what was measured and drawn, how the claims fared, and what all that rests on.

A record is plain JSON. It stands as long as what it rests on does: its *measure key*, which is made of the script
without its drawing, claims and prose, the seed, the device and the format of records; its *inputs*, the files that the
script was seen to read, modules among them; and the *versions* of Python and of each library imported. The *script
key* covers the whole script, so that new wording or a new bound is judged on the measurement there is. No time
stamp decides whether a record stands; `made` only tells which of several is the newest.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import math
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any

from vgdocs.engine.figure import Figure
from vgdocs.engine.numbers import Number

FORMAT = 2  # counted up when what a record holds changes meaning
SEAL = ',"digest":"'  # what a record ends with, so that one flipped digit doesn't pass for a measurement
TRACE_TYPES = ("bar", "pie", "scatter")  # what the site's Plotly bundle draws; it fails on others without a word
MAX_POINTS = 2000  # in one trace; a page carries its figures' data
# where a module and its distribution differ in name; to look through all installed ones takes half of a warm build
DISTRIBUTIONS = {"sklearn": "scikit-learn"}


class ContractError(ValueError):
    """A script measured, drew or did what no record can hold or no page can show."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one claim on a measurement."""

    name: str
    passed: bool
    message: str = ""  # why it failed, and at which line
    read: tuple[str, ...] = ()  # the names it looked at

    def __post_init__(self) -> None:
        object.__setattr__(self, "read", tuple(self.read))  # a list, where it comes from JSON


@dataclass(frozen=True)
class Keys:
    """The keys that a record is found by; see the module's docstring."""

    measure: str
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
    inputs: dict[str, str]  # what was read, in which state; see observe
    versions: dict[str, str]
    made: str  # when it was measured, in UTC
    seconds: float  # of the processor, for measuring alone: comparable however busy the machine was
    format: int = FORMAT

    @cached_property
    def numbers(self) -> dict[str, Number]:
        """The numbers that pages can cite, by name."""
        return dict(flatten(self.measured))

    @property
    def place(self) -> str:
        """The name of its file: the same for the same measurement with the same inputs and versions."""
        rests_on = json.dumps([self.inputs, self.versions], sort_keys=True)
        return f"{self.keys.measure[:20]}-{_digest(rests_on)[:12]}"

    @property
    def is_of_these_versions(self) -> bool:
        """Whether it was measured with the versions that are installed here."""
        return all(_version(name) == version for name, version in self.versions.items())

    def to_json(self) -> str:
        return seal(json.dumps(asdict(self), ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record back; raises ValueError for anything that `to_json` didn't write."""
        content = text.rpartition(SEAL)[0] + "}"
        if text != seal(content):
            raise ValueError("its digest is another: it was changed after it was written")
        try:
            content = json.loads(content)
            content["keys"] = Keys(**content["keys"])
            content["verdicts"] = tuple(Verdict(**verdict) for verdict in content["verdicts"])
            record = cls(**content)
            _check_types(record)
            check_measured(record.measured)
            check_plot(record.plot)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a record: {error!r}") from None
        if record.format != FORMAT:
            raise ValueError(f"a record of format {record.format}, not {FORMAT}")
        return record


def _check_types(record: Record) -> None:
    texts = [record.name, record.device, record.keys.measure, record.keys.script]
    texts += [*record.inputs.values(), *record.versions.values()]
    texts += [text for verdict in record.verdicts for text in (verdict.name, verdict.message, *verdict.read)]
    named = [record.measured, record.plot["layout"]]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(values, dict) for values in named):
        raise TypeError("something in it has another type")
    if type(record.seed) is not int or type(record.seconds) not in (int, float) or type(record.format) is not int:
        raise TypeError("a number has another type")
    if datetime.fromisoformat(record.made).utcoffset() is None:
        raise ValueError("the time when it was measured has no time zone")


def seal(text: str) -> str:
    """A JSON object with its digest as last item."""
    return f'{text[:-1]}{SEAL}{_digest(text)}"}}'


class Measured(Mapping[str, Any]):
    """A measurement as claims see it: read-only, with a note of the names that were read."""

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
    """The value under a name as `flatten` writes it; raises KeyError if there is none."""
    value: Any = measured
    for part in name.split("."):
        value = value[part]
    return value["median"] if isinstance(value, Mapping) and "median" in value else value


def check_measured(value: Any, name: str = "measure()", in_list: bool = False) -> None:
    """Hold what a script measured to plain JSON; raises ContractError with the name of what isn't."""
    if value is None or isinstance(value, bool) or type(value) is int:
        return
    if type(value) is float:
        if not math.isfinite(value):
            how = f'write it as the string "{value}"' if in_list else "a number that pages cite is finite"
            raise ContractError(f"{name} is {value}: {how}")
    elif type(value) is str:
        if has_half_a_character(value):
            raise ContractError(f"{name} holds half a character, {value!r}, which can't be written to a file")
    elif type(value) is list:
        for i, item in enumerate(value):
            check_measured(item, f"{name}[{i}]", in_list=True)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isidentifier():
                raise ContractError(f"{name} has the key {key!r}: names are identifiers, so that pages can cite them")
            check_measured(item, key if name == "measure()" else f"{name}.{key}", in_list)
    else:
        kind = f"{type(value).__module__}.{type(value).__name__}"
        hint = {"torch.Tensor": "; call .item() or .tolist()"}.get(kind, "")
        raise ContractError(f"{name} is a {kind}, not plain JSON{hint}")


def has_half_a_character(text: str) -> bool:
    """Whether a text holds a surrogate, half of a pair: Python takes it, and no file can."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def check_plot(plot: Mapping[str, Any]) -> None:
    """Raises ContractError for a plot that the site's bundle can't draw."""
    if not plot["data"]:
        raise ContractError("draw() returned a plot without traces")
    for trace in plot["data"]:
        kind = trace.get("type", "scatter")
        if kind not in TRACE_TYPES:
            raise ContractError(f"draw() uses the trace type {kind}; the site's bundle draws {', '.join(TRACE_TYPES)}")
        points = max((len(trace[axis]) for axis in ("x", "y") if isinstance(trace.get(axis), list)), default=0)
        if points > MAX_POINTS:
            raise ContractError(f"draw() puts {points} points into one trace; {MAX_POINTS} is the limit")


def make_keys(figure: Figure, seed: int | None = None, device: str = "cpu") -> Keys:
    """The keys of a figure as it stands on disk now, with its own seed unless another is given."""
    seed = figure.seed if seed is None else seed
    measure = _digest(str(FORMAT), figure.name, str(seed), device, figure.measuring)
    return Keys(measure, _digest(measure, figure.text))


def versions(sources: Iterable[str]) -> dict[str, str]:
    """The versions of Python, plotly and each library that one of the Python texts imports."""
    imported = {"plotly"}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imported.add(node.module.partition(".")[0])
    libraries = imported - set(sys.stdlib_module_names) - {"vgdocs"}
    names = sorted(name for module in libraries if (name := _distribution(module)))
    return {"python": platform.python_version()} | {name.lower(): importlib.metadata.version(name) for name in names}


@cache
def _distribution(module: str) -> str | None:
    """The installed distribution that a module belongs to."""
    name = DISTRIBUTIONS.get(module, module)
    return name if _version(name) else next(iter(importlib.metadata.packages_distributions().get(module, [])), None)


@cache
def _version(name: str) -> str | None:
    if name == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()
