"""What every figure of this project keeps to."""

import ast
import copy
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vgdocs.engine import claims, worker
from vgdocs.engine.figure import FigureError, find, read
from vgdocs.engine.library import Entry, Library

REAL_FIGURES = True  # see conftest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "figures").rglob("*.py") if not path.name.startswith("_"))
NAMES = [path.stem for path in SCRIPTS]

FACTOR = 1.5  # by which a number may be off before a claim must notice
SERIES = 150  # points in a list that is measured
ROLES = {"vanishing", "healthy", "exploding", "theory", "reference", None}
# what only the site's theme decides, so that one figure serves light and dark, wide and narrow
THEMED = re.compile(r"(?!hovertemplate|texttemplate).*(color|font|template)", re.IGNORECASE)

TRAINERS = {"train", "sweep", "Stack"}  # of vgdocs.experiments
IN_PLACE = {"add_", "sub_", "addcmul_", "addcdiv_", "copy_"}


@pytest.fixture(scope="session")
def library(request) -> Library:
    """The figures that the tests selected are about, measured side by side."""
    selected = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    library = Library(ROOT)
    library.refresh([name for name in NAMES if name in selected])
    return library


@pytest.fixture
def entry(library, name) -> Entry:
    entry = library.entries[name]
    assert not entry.error, str(entry.error)
    return entry


@pytest.fixture
def module(entry):
    """The script, loaded in this process: its claims can then be put to any measurement."""
    yield worker.load(str(entry.figure.path), entry.figure.text)
    sys.modules.pop(entry.name, None)


def replaced(measured: dict, name: str, value: float) -> dict:
    """The measurement with another value for one number."""
    measured = copy.deepcopy(measured)
    *path, last = name.split(".")
    inner = measured
    for part in path:
        inner = inner[part]
    if isinstance(inner[last], dict):
        inner, last = inner[last], "median"
    inner[last] = value
    return measured


def others(value: float, factor: float) -> list[float]:
    """What a number must not be mistaken for; no factor moves a zero."""
    return [*([value * factor, value / factor] if value else [1.0, -1.0]), math.nan]


def holds(module, measured: dict) -> bool:
    try:
        return all(verdict.passed for verdict in claims.judge(module, measured))
    except FigureError:  # a claim that this measurement leaves without anything to assert
        return False


@pytest.mark.parametrize("name", NAMES)
class TestFigures:
    def test_every_claim_holds(self, entry):
        assert [f"{claim.name}: {verdict.message}" for claim, verdict in entry.failed] == []
        assert {verdict.name for verdict in entry.record.verdicts} == {claim.name for claim in entry.figure.claims}

    def test_bounded_means_bounded(self, entry, module):
        """Whatever number a page cites, a claim fails if it is off by a factor of 1.5, or isn't a number."""
        measured = entry.record.measured
        assert holds(module, measured)
        loose = [
            f"{number}: {value!r} may as well be {other!r}"
            for number, value in entry.numbers.items()
            for other in others(value, *entry.figure.wider.get(number, (FACTOR,))[:1])
            if holds(module, replaced(measured, number, other))
        ]
        told = "\n".join(loose)
        assert not loose, f"no claim bounds these on both sides; assert more, or declare WIDER:\n{told}"

    def test_wider_bounds_are_of_numbers_and_have_a_reason(self, entry):
        for number, (factor, reason) in entry.figure.wider.items():
            assert number in entry.numbers
            assert factor > FACTOR
            assert reason.strip()

    def test_tolerances_are_of_numbers(self, entry):
        for number, tolerance in entry.figure.tolerance.items():
            assert any(name == number or name.startswith(f"{number}.") for name in entry.numbers), number
            assert 0 < tolerance <= 1

    def test_series_are_short(self, entry):
        long = [f"{name}: {size} points" for name, size in _sizes(entry.record.measured) if size > SERIES]
        assert long == []

    def test_its_look_is_left_to_the_theme(self, entry):
        plot = entry.record.plot
        assert [path for path, value in _settings(plot) if _is_themed(path, value)] == []
        assert not {"title", "width", "paper_bgcolor"} & plot["layout"].keys()
        roles = {meta.get("role") if isinstance(meta, dict) else meta for meta in (t.get("meta") for t in plot["data"])}
        assert roles <= ROLES

    def test_its_axes_are_named(self, entry):
        plot = entry.record.plot
        for axis, values in _axes(plot["data"]).items():
            settings = plot["layout"].get(f"{axis[0]}axis{axis[1:]}", {})
            if "matches" in settings or settings.get("showticklabels") is False:
                continue  # it's named at the axis that it shares its ticks with
            names = settings.get("ticktext") or all(isinstance(value, str) for value in values)
            assert names or settings.get("title", {}).get("text"), f"the axis {axis} has no name"

    def test_it_has_no_main_and_does_no_input_or_output(self, name):
        tree = ast.parse((ROOT / f"figures/{name}.py").read_text(encoding="utf-8"))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"print", "open", "input", "exec", "eval", "exit"}
        assert not [node for node in tree.body if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try)]
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)


def trains(tree: ast.AST) -> bool:
    """Whether a script moves weights: by the shared loop, by an optimiser of torch, or by hand under no_grad."""

    def moves(node: ast.AST) -> bool:
        match node:
            case ast.ImportFrom(module="vgdocs.experiments", names=names):
                return bool({alias.name for alias in names} & TRAINERS)
            case ast.ImportFrom(module="torch.optim") | ast.Attribute(attr="optim"):
                return True
            case ast.Attribute(value=ast.Name(id="experiments"), attr=name):
                return name in TRAINERS
            case ast.With(items=items) if any("no_grad" in ast.unparse(item) for item in items):
                return any(isinstance(n, ast.AugAssign) or getattr(n, "attr", "") in IN_PLACE for n in ast.walk(node))
        return False

    return any(moves(node) for node in ast.walk(tree))


def what_is_missing(sweep: dict) -> list[str]:
    """What a declared sweep lacks of a fair comparison; a reason why none is needed lacks nothing."""
    if isinstance(sweep.get("reason"), str):
        return [] if len(sweep["reason"].split()) > 5 else ["a reason that says why"]
    rates = sweep.get("rates", {})
    missing = [] if len(rates) >= 2 else ["a second optimiser"]
    missing += [f"five rates for {name}" for name, tried in rates.items() if len(set(tried)) < 5]
    missing += [f"two decades for {name}" for name, tried in rates.items() if max(tried) < 99.9 * min(tried)]
    return missing + ([] if sweep.get("epochs", sweep.get("steps", 0)) > 0 else ["a budget, in epochs or steps"])


@pytest.mark.parametrize("name", [path.stem for path in SCRIPTS if trains(ast.parse(path.read_text(encoding="utf-8")))])
def test_a_figure_that_trains_says_what_it_swept(name):
    """One learning rate doesn't stand for all: the reader of a comparison has to know that each arm had its best."""
    figure = read(ROOT / f"figures/{name}.py")
    assert figure.sweep, "it trains, and declares no SWEEP: see CONTRIBUTING, 'A sentence is inferred'"
    assert what_is_missing(figure.sweep) == []
    used = any(
        isinstance(n, ast.Name) and n.id == "SWEEP" and isinstance(n.ctx, ast.Load) for n in ast.walk(figure.tree)
    )
    assert used or "reason" in figure.sweep, "it declares a SWEEP and doesn't use it"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from vgdocs.experiments import band, train", True),
        ("from vgdocs.experiments import sweep", True),
        ("from vgdocs import experiments\nexperiments.train(model)", True),
        ("from vgdocs import experiments\nexperiments.sweep(build)", True),
        ("adam = torch.optim.Adam(p)", True),
        ("from torch.optim import Adam", True),
        ("with torch.no_grad():\n    for p in weights:\n        p -= 0.1 * p.grad", True),
        ("with torch.no_grad():\n    p.sub_(0.1 * p.grad)", True),
        ("with torch.no_grad():\n    h = model(x)", False),
        ("size -= mean**2", False),
        ("from vgdocs.experiments import band, weight\nmodel.train()\ng = torch.autograd.grad(loss, z)", False),
    ],
)
def test_training_is_recognised(code, expected):
    assert trains(ast.parse(code)) is expected


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({}, []),
        ({"rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]}}, ["a second optimiser"]),
        ({"rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [0.01, 1]}}, ["five rates for sgd"]),
        ({"rates": {"adam": [1, 2, 3, 4, 5], "sgd": [1, 2, 3, 4, 100]}}, ["two decades for adam"]),
        ({"epochs": 0}, ["a budget, in epochs or steps"]),
        ({"reason": "no"}, ["a reason that says why"]),
        ({"reason": "it trains to bring a network into a state, and compares none"}, []),
    ],
)
def test_a_sweep_is_fair(change, missing):
    rates = {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [0.01, 0.03, 0.1, 0.3, 1.0]}
    assert what_is_missing({"rates": rates, "epochs": 10} | change) == missing


def test_every_script_keeps_the_contract():
    figures, errors = find(ROOT / "figures")
    assert [str(error) for error in errors.values()] == []
    assert sorted(figures) == sorted(NAMES)


def test_pytest_collects_every_claim_that_there_is():
    """A finder that quietly skips a file would let its claims go untested."""
    there = {
        f"{path.relative_to(ROOT).as_posix()}::{claim}"
        for path in SCRIPTS
        for claim in re.findall(r"^def (claim_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "vgdocs.pages.pytest", "figures"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    collected = {line for line in result.stdout.splitlines() if "::" in line and not line.startswith("ERROR")}
    assert collected == there, result.stdout[-2000:]


def _axes(traces):
    """The values on each axis that is drawn on."""
    axes = {}
    for trace in traces:
        for axis in "xy":
            if trace.get("type") != "pie":
                axes.setdefault(trace.get(f"{axis}axis", axis), []).extend(trace.get(axis) or [])
    return axes


def _sizes(value, name: str = ""):
    if isinstance(value, list):
        yield name, len(value)
        for item in value:
            yield from _sizes(item, f"{name}[]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _sizes(item, f"{name}.{key}".lstrip("."))


def _settings(value, path: str = ""):
    """Each setting of a plot, with its dotted path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path}.{key}".lstrip("."), item
            yield from _settings(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _settings(item, path)


def _is_themed(path: str, value) -> bool:
    is_data = isinstance(value, list) or "coloraxis" in path  # a number shown as a colour; its scale is the theme's
    return bool(THEMED.match(path.rpartition(".")[2])) and (not is_data or path.endswith("scale"))
