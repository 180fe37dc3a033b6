"""The judgement of claims: in one place and in one way, for builds, the command line, pytest and CI.

A claim counts as held only if it was asked. Each `assert` of a script therefore tells that it is reached, even where
Python was started with -O, which drops asserts; and a claim that can't fail is an error, never a verdict.
"""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from vgdocs.engine.figure import FigureError
from vgdocs.engine.record import Measured, Verdict

ASKED = "__asked__"  # what the asserts of a script report to


@dataclass
class Asked:
    """The asserts of one script that were reached since `clear`, by line."""

    path: Path
    expected: Mapping[str, set[int]]  # those that each claim has to reach
    reached: set[int] = field(default_factory=set)
    failed: int | None = None  # the last that failed

    def clear(self) -> None:
        self.reached, self.failed = set(), None

    def __call__(self, line: int, value: Any) -> Any:
        """Note that the assert at a line was reached with this value, and hand it back."""
        if callable(value) or isinstance(value, tuple) or inspect.isgenerator(value) or inspect.isawaitable(value):
            kind = "function" if callable(value) else type(value).__name__
            raise FigureError(self.path, f"asserts a {kind}, which always counts as true", line)
        self.reached.add(line)
        if not value:
            self.failed = line
        return value


def compiled(path: str, text: str) -> tuple[CodeType, Asked]:
    """A script's text as code whose asserts report, at every level of optimisation."""
    reporting = _Reporting()
    tree = ast.fix_missing_locations(reporting.visit(ast.parse(text, filename=path)))
    return compile(tree, path, "exec", dont_inherit=True, optimize=0), Asked(Path(path), reporting.expected)


def judge(module: ModuleType, measured: dict[str, Any]) -> list[Verdict]:
    """Run each claim of a loaded script on a measurement; raises FigureError for one that can't fail on it."""
    asked: Asked = vars(module)[ASKED]
    verdicts = []
    for name, claim in list(vars(module).items()):
        if not name.startswith("claim_"):
            continue
        if name not in asked.expected:
            raise FigureError(asked.path, f"{name} isn't defined as a function at the script's top level")
        asked.clear()
        m = Measured(copy.deepcopy(measured))  # whatever a claim does to it, the next one sees what was measured
        message, line = "", claim.__code__.co_firstlineno if hasattr(claim, "__code__") else None
        try:
            returned = claim(m)
        except FigureError:
            raise
        except Exception as error:
            at = line_of(error, str(asked.path))
            said = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            message = f"line {at}: {_quote(asked.path, at)}" + (f"\n{said}" if said else "")
        else:
            if asked.failed:
                message = f"line {asked.failed}: {_quote(asked.path, asked.failed)}\nfailed, and the claim caught it"
            elif returned is not None:
                raise FigureError(asked.path, f"{name} returns a value: what a claim says, it asserts", line)
            elif not asked.reached:
                raise FigureError(asked.path, f"{name} asserts nothing on this measurement: no assert is reached", line)
            elif missed := sorted(asked.expected[name] - asked.reached):
                why = "isn't reached: what it loops over is empty, or the claim ends before"
                raise FigureError(asked.path, f"{name}'s assert {why}", missed[0])
            elif not m.read:
                raise FigureError(asked.path, f"{name} reads nothing that was measured", line)
        verdicts.append(Verdict(name, not message, message, tuple(m.read)))
    return verdicts


def holds(module: ModuleType, name: str, measured: dict[str, Any]) -> bool:
    """Whether one claim of a loaded script holds on what might have been measured, which may be changed by it."""
    asked: Asked = vars(module)[ASKED]
    asked.clear()
    try:
        vars(module)[name](Measured(measured))
    except Exception:
        return False
    return asked.failed is None


def line_of(error: BaseException, path: str) -> int:
    """The last line of a script that an exception passed through, 0 if none."""
    lines = [frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines else 0


class _Reporting(ast.NodeTransformer):
    """Lets each assert report, and notes those that every run of a claim has to reach: no condition guards them."""

    def __init__(self) -> None:
        self.expected: dict[str, set[int]] = {}
        self._claim: str | None = None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.col_offset or not node.name.startswith("claim_"):
            return self._guarded(node)
        self.expected[node.name] = set()
        return self._guarded(node, node.name)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if self._claim:
            self.expected[self._claim].add(node.lineno)
        asked = ast.Call(ast.Name(ASKED, ast.Load()), [ast.Constant(node.lineno), node.test], [])
        node.test = ast.copy_location(asked, node.test)
        return node

    def _guarded(self, node: ast.AST, claim: str | None = None) -> ast.AST:
        outer, self._claim = self._claim, claim
        self.generic_visit(node)
        self._claim = outer
        return node

    visit_If = visit_While = visit_Try = visit_TryStar = visit_Match = visit_ClassDef = _guarded  # noqa: N815


def _quote(path: Path, line: int) -> str:
    return linecache.getline(str(path), line).strip()
