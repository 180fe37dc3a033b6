"""A figure script, read from its text without running it.

A script in `figures/` is found by its file's name and keeps a contract: a docstring whose first line is
the finding, `measure(seed)`, `draw(m)` and one or more `claim_*(m)`. All of that can be seen in the syntax
tree, so a page can be built from stored records where torch isn't even installed.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class FigureError(Exception):
    """A figure that can't be measured, drawn or believed."""

    path: Path
    message: str
    line: int | None = None  # of the script, where one is known
    details: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)  # what the script had read, as in a record

    @property
    def place(self) -> str:
        """Script and line, as an editor wants them."""
        where = f"{self.path.parent.name}/{self.path.name}"
        return f"{where}:{self.line}" if self.line else where

    def __str__(self) -> str:
        head = f"{self.place}: {self.message}"
        return f"{head}\n{self.details.rstrip()}" if self.details else head


class SettingError(ValueError):
    """A setting of the environment that makes no sense."""


@dataclass(frozen=True)
class Claim:
    """One `claim_*` function: its docstring is the sentence that pages rely on."""

    name: str
    sentence: str  # a template: {number:spec} is filled in from the measurement
    line: int


@dataclass(frozen=True)
class Figure:
    """One figure script, parsed and held to the contract."""

    path: Path
    text: str
    tree: ast.Module = field(repr=False, compare=False)
    title: str  # a template, like a claim's sentence
    claims: tuple[Claim, ...]
    seed: int
    tolerance: dict[str, float]
    wider: dict[str, tuple[float, str]]
    sweep: dict[str, Any]  # what was tried before two trainings are compared, or the reason why nothing was
    takes_device: bool  # whether it can be measured on a GPU too: its `measure` takes a device then

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def measuring(self) -> str:
        """The script's code but for what can't change what is measured: prose, drawing, claims, tolerances."""
        return ast.unparse(ast.Module([node for node in self.tree.body if not _says_or_draws(node)], []))

    def source(self, function: str) -> str:
        """The text of one of the script's functions, decorators and all.

        Raises KeyError, naming the nearest functions, if there is none of that name.
        """
        functions = _functions(self.tree)
        if function not in functions:
            raise KeyError(f"{self.path.name} has no function {function!r}{suggest(function, functions)}")
        node = functions[function]
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return "\n".join(self.text.splitlines()[first - 1 : node.end_lineno])


def read(path: Path) -> Figure:
    """Parse one script and hold it to the contract; raises FigureError at the first breach."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        raise FigureError(path, f"isn't Python: {error.msg}", error.lineno) from None
    except (OSError, ValueError) as error:
        raise FigureError(path, f"can't be read: {error}") from None

    docstring = ast.get_docstring(tree) or ""
    title = docstring.partition("\n")[0].strip()
    if not title:
        raise FigureError(path, "has no docstring: its first line is the figure's finding, one sentence", 1)
    if not title.endswith("."):
        raise FigureError(path, f"the docstring's first line isn't one whole sentence: {title!r}", 1)

    functions = _functions(tree)
    takes_device = "measure" in functions and "device" in [a.arg for a in functions["measure"].args.args]
    arguments, form = ["seed"], "measure(seed: int = SEED)"
    if takes_device:
        arguments, form = ["seed", "device"], 'measure(seed: int = SEED, device: str = "cpu")'
    _check_function(path, functions, "measure", arguments, f"{form} -> dict")
    _check_function(path, functions, "draw", ["m"], "draw(m: dict) -> go.Figure")
    measure = functions["measure"]
    if len(measure.args.defaults) < len(arguments):
        raise FigureError(path, f"measure's seed has no default: {form}", measure.lineno)

    claims = [_claim(path, functions, node) for node in tree.body if _is_named_claim(node)]
    if not claims:
        raise FigureError(path, "makes no claim: it needs one or more claim_*(m) functions that assert a bound")

    return Figure(
        path=path,
        text=text,
        tree=tree,
        title=title,
        claims=tuple(claims),
        seed=_constant(path, tree, "SEED", 0),
        tolerance=_constant(path, tree, "TOLERANCE", {}),
        wider={n: wide for names, wide in _constant(path, tree, "WIDER", {}).items() for n in names.split()},
        sweep=_constant(path, tree, "SWEEP", {}),
        takes_device=takes_device,
    )


def find(folder: Path) -> tuple[dict[str, Figure], dict[str, FigureError]]:
    """All scripts below a folder by name: those that keep the contract, and what is wrong with the others."""
    figures: dict[str, Figure] = {}
    errors: dict[str, FigureError] = {}
    first: dict[str, Path] = {}
    for path in sorted(folder.rglob("[!_]*.py")):
        name = path.stem
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # editors keep copies in hidden folders
        if other := first.get(name.casefold()):  # which some file systems don't tell apart
            figures.pop(other.stem, None)
            both = f"{other.relative_to(folder).as_posix()} and {path.relative_to(folder).as_posix()}"
            errors[name] = FigureError(path, f"two scripts are named {name}: {both}; pages find them by name")
            continue
        first[name.casefold()] = path
        try:
            figures[name] = read(path)
        except FigureError as error:
            errors[name] = error
    return figures, errors


def suggest(name: str, names: Iterable[str]) -> str:
    """A clause that lists the nearest names, or all of them when they are few."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    if names and len(names) <= 8:
        return f"; there is {', '.join(names)}"
    return ""


def assigned(node: ast.stmt) -> list[str]:
    """The names that an assignment sets, "" for a target that is no name; none for another statement."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id if isinstance(target, ast.Name) else "" for target in targets]


def _says_or_draws(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == "draw" or node.name.startswith("claim_")
    if names := assigned(node):
        return set(names) <= {"TOLERANCE", "WIDER"}
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _is_named_claim(node: ast.stmt) -> bool:
    """Whether a statement gives something the name of a claim, be it a function or not."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.asname or alias.name for alias in node.names]
    else:
        names = assigned(node)
    return any(name.startswith("claim_") for name in names)


def _claim(path: Path, functions: dict[str, ast.FunctionDef], node: ast.stmt) -> Claim:
    """A claim, if it is one that can fail; raises FigureError."""

    def breach(message: str, line: int = node.lineno) -> FigureError:
        return FigureError(path, message, line)

    if not isinstance(node, ast.FunctionDef):
        raise breach("a claim is a plain function, def claim_*(m), with the assertions in its body")
    name = node.name
    if functions[name] is not node:
        raise breach(f"{name} is defined twice, and the first is never asked")
    _check_function(path, functions, name, ["m"], f"{name}(m)")
    sentence = " ".join((ast.get_docstring(node) or "").split())
    if not sentence:
        raise breach(f"{name} has no docstring: it is the sentence that pages rely on")
    if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node)):
        raise breach(f"{name} is a generator: calling it asserts nothing")
    asserts = [part for part in ast.walk(node) if isinstance(part, ast.Assert)]
    if not asserts:
        raise breach(f"{name} asserts nothing")
    for part in asserts:
        if isinstance(part.test, ast.Tuple | ast.Constant | ast.Lambda | ast.GeneratorExp):
            kind = type(part.test).__name__.removesuffix("Exp").lower()
            raise breach(f"{name} asserts a {kind}, which is the same whatever was measured", part.lineno)
    return Claim(name, sentence, node.lineno)


def _check_function(path: Path, functions: dict[str, ast.FunctionDef], name: str, takes: list[str], form: str) -> None:
    if name not in functions:
        raise FigureError(path, f"has no {form}")
    node = functions[name]
    if [a.arg for a in node.args.args] != takes or node.args.vararg or node.args.kwonlyargs:
        raise FigureError(path, f"{name} takes other arguments than the contract's: {form}", node.lineno)


def _constant(path: Path, tree: ast.Module, name: str, default: Any) -> Any:
    """The value of a literal constant of the script, without running it."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and name in assigned(node):
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError):  # of a key that can't be one
                raise FigureError(path, f"{name} isn't a plain literal", node.lineno) from None
            if not isinstance(value, type(default)):
                raise FigureError(path, f"{name} isn't of type {type(default).__name__}", node.lineno)
            if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
                raise FigureError(path, f"{name} has a key that isn't a name", node.lineno)
            return value
    return default
