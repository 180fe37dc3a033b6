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
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from vgdocs.figure import Figure, FigureError
from vgdocs.numbers import Number

FORMAT = 1  # counted up when what a record holds changes meaning
SEAL = ',"digest":"'  # what a record ends with, so that one flipped digit doesn't pass for a measurement
TRACE_TYPES = (
    "bar",
    "pie",
    "scatter",
)  # what the site's Plotly bundle draws; it fails on others without a word
MAX_POINTS = 2000  # in one trace; a page carries its figures' data
FILE = re.compile(r"(?=[^\n\0]*\.)[^\n\0]{1,199}")  # what may be a file's name
PACKAGE = Path(__file__).parent
# where a module and its distribution differ in name; to look through all installed ones takes half of a warm build
DISTRIBUTIONS = {"sklearn": "scikit-learn"}


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
        return seal(json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record back; raises ValueError for anything that `to_json` didn't write."""
        content = text.rpartition(SEAL)[0] + "}"
        if text != seal(content):
            raise ValueError("its digest is another: it was changed after it was written")
        try:
            content = json.loads(content)
            content["keys"] = Keys(**content["keys"])
            content["verdicts"] = tuple(Verdict(**{**v, "read": tuple(v["read"])}) for v in content["verdicts"])
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
    told = (text for v in record.verdicts for text in (v.name, v.message, *v.read))
    texts = [record.name, record.device, *asdict(record.keys).values(), *record.versions.values(), *told]
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.plot["layout"], dict):
        raise TypeError("something in it has another type")
    if type(record.seed) is not int or type(record.seconds) not in (int, float) or type(record.format) is not int:
        raise TypeError("a number has another type")


def seal(text: str) -> str:
    """A JSON object with its digest as last item."""
    return f'{text[:-1]}{SEAL}{_digest(text)}"}}'


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
        if has_half_a_character(value):
            raise ValueError(f"{name} holds half a character, {value!r}, which can't be written to a file")
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


def has_half_a_character(text: str) -> bool:
    """Whether a text holds a surrogate, half of a pair: Python takes it, and no file can."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


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
    script, modules = _sources(figure)
    measuring = _digest(
        str(FORMAT),
        figure.name,
        str(figure.seed if seed is None else seed),
        device,
        script.measuring,
        *(f"{path.relative_to(PACKAGE).as_posix()}\0{module.code}" for path, module in modules.items()),
        *(_digest_bytes(path) for path in _data_files({figure.path: script, **modules})),
    )
    whole = _digest(measuring, figure.text)
    return Keys(measuring, _digest(json.dumps(versions(figure), sort_keys=True)), whole)


def versions(figure: Figure) -> dict[str, str]:
    """The versions of Python and of each library that the script, or a vgdocs module it imports, imports."""
    script, modules = _sources(figure)
    named = (module for source in (script, *modules.values()) for module, _, _ in source.imports)
    imported = {"plotly", "torch", *(module.partition(".")[0] for module in named)}
    found = {"python": platform.python_version()}
    for module in sorted(imported - set(sys.stdlib_module_names) - {"vgdocs"}):
        found.update(_installed(module))
    return found


def code(figure: Figure) -> list[str]:
    """The code of a script and of each vgdocs module that it imports, without comments."""
    script, modules = _sources(figure)
    return [script.code, *(module.code for module in modules.values())]


@dataclass(frozen=True)
class _Source:
    """What the keys take from one file's text."""

    tree: ast.Module
    imports: tuple[tuple[str, str, int], ...]  # module, name taken from it or nothing, and line
    files: tuple[str, ...]  # strings that may name a file

    @cached_property
    def code(self) -> str:
        return ast.unparse(self.tree)

    @cached_property
    def measuring(self) -> str:
        """The code without what can't change the numbers: prose, drawing, claims, tolerances."""
        return ast.unparse(ast.Module([node for node in self.tree.body if not _says_or_draws(node)], []))


@lru_cache(maxsize=1024)
def _source(text: str, path: str) -> _Source:
    tree = ast.parse(text, filename=path)
    imports: list[tuple[str, str, int]] = []
    files = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            imports += ((node.module, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and FILE.fullmatch(node.value):
            files.append(node.value)
    return _Source(tree, tuple(imports), tuple(files))


def _sources(figure: Figure) -> tuple[_Source, dict[Path, _Source]]:
    """A script, and by their paths the vgdocs modules that it imports, directly or through others."""
    script = _source(figure.text, str(figure.path))
    modules: dict[Path, _Source] = {}
    queue = [(figure.path, script)]
    while queue:
        origin, source = queue.pop()
        for module, name, line in source.imports:
            for path in _package_files(module, name):
                if path in modules:
                    continue
                try:
                    modules[path] = _source(path.read_text(encoding="utf-8"), str(path))
                except SyntaxError as error:
                    raise FigureError(origin, f"imports {_dotted(path)}, which isn't Python: {error}", line) from None
                queue.append((path, modules[path]))
    return script, dict(sorted(modules.items()))


def _dotted(path: Path) -> str:
    return ".".join(("vgdocs", *path.relative_to(PACKAGE).with_suffix("").parts))


def _package_files(module: str, name: str) -> Iterator[Path]:
    """The files below vgdocs that `import module`, or `from module import name`, depends on.

    A name that a package only passes on is followed to where it comes from: who measures a norm doesn't depend on
    how the package next door prints a table.
    """
    package, *parts = module.split(".")
    if package != "vgdocs" or not (parts or name):
        return
    base = PACKAGE.joinpath(*parts)
    whole = base / "__init__.py"
    passed_on = _source(whole.read_text("utf-8"), str(whole)).imports if name and whole.is_file() else ()
    origin = next((origin for origin, passed, _ in passed_on if passed == name), None)
    if origin:
        yield from _package_files(origin, name)
    else:
        within = [base / f"{name}.py", base / name / "__init__.py"] if name else []
        found = [path for path in within if path.is_file()]
        yield from found or (path for path in (base.with_suffix(".py"), whole) if parts and path.is_file())


def _data_files(sources: Mapping[Path, _Source]) -> list[Path]:
    """Files named by a string in one of the sources, relative to the file that names them."""
    named = {origin.parent / file for origin, source in sources.items() for file in source.files}
    return sorted(path for path in named if path.is_file())


@cache
def _installed(module: str) -> dict[str, str]:
    """The distribution under a module's name with its version; empty if there is none."""
    name = DISTRIBUTIONS.get(module, module)
    try:
        return {name.lower(): importlib.metadata.version(name)}
    except importlib.metadata.PackageNotFoundError:
        others = importlib.metadata.packages_distributions().get(module, [])
        return {name.lower(): importlib.metadata.version(name) for name in others[:1]}


def _says_or_draws(node: ast.stmt) -> bool:
    """Whether a statement of the script can't change what is measured: prose, drawing, claims, tolerances."""
    if isinstance(node, ast.FunctionDef):
        return node.name == "draw" or node.name.startswith("claim_")
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(t, ast.Name) and t.id in ("TOLERANCE", "WIDER") for t in targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()


def _digest_bytes(path: Path) -> str:
    return f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}"
