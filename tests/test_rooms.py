"""The plan of the house: which room of the package may import which, and who may import what loads slowly."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/vgdocs"
APART = {PACKAGE / "__init__.py", PACKAGE / "__main__.py", *(PACKAGE / "template").rglob("*.py")}
FILES = sorted(set(PACKAGE.rglob("*.py")) - APART)

MEASURING = {"gradients", "theory", "experiments"}
ROOMS: dict[str, set[str]] = {  # with the rooms that each may import
    "engine": set(),
    "gradients": set(),
    "theory": set(),
    "experiments": set(),
    "pages": {"engine"},
    "probe": MEASURING,
    "explorer": MEASURING,
    "cli": {"engine", "pages", "probe", "explorer", *MEASURING},
}
FIGURES_MAY = {
    *("torch", "plotly", "sklearn", "vgdocs"),
    *("collections", "copy", "functools", "itertools", "math", "pathlib", "runpy", "statistics"),
}

# Who imports, when it is itself imported, what loads slowly or ties us to one tool.
AT_THE_TOP = {
    "mkdocs": {"pages.mkdocs"},
    "pytest": {"pages.pytest"},
    "distributed": {"engine.cluster"},
    "torch": {
        *("gradients", "theory", "experiments", "explorer.grid", "explorer.model"),
        *(f"probe.{module}" for module in ("graph", "layers", "listen", "norms", "record", "trial", "watch")),
        *("probe.callbacks", "probe.found", "probe.report", "probe.script"),
    },
    "plotly": {"experiments"},
    "sklearn": set(),
    "numpy": set(),
    "transformers": {"probe.transformers"},
    "pytorch_lightning": set(),
    "lightning": set(),
}
# And who does so inside a function or a branch, so that it is paid for only where it is needed.
IN_A_FUNCTION = {
    "torch": {"engine.worker"},
    "numpy": {"engine.worker"},
    "plotly": {"pages.notebook", "cli", "probe.record", "probe.trial"},
    "sklearn": {"experiments"},
    "pytorch_lightning": {"probe.lightning"},
    "lightning": {"probe.lightning"},
}


def imports(path: Path, top_level: bool = False) -> set[str]:
    """The dotted names of the modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}:{node.lineno}: a relative import, which the records' keys don't follow"
            assert node.module
            is_package = (ROOT / "src" / node.module.replace(".", "/")).is_dir()
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if is_package else {node.module}
    return found


def module_of(file: Path) -> str:
    """A file's dotted name inside the package; of a room's door, the room's."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return module.removeprefix("vgdocs.").partition(".")[0]


def ours(file: Path) -> set[str]:
    return {name for name in imports(file) if name.partition(".")[0] == "vgdocs"}


def test_every_module_has_its_room():
    assert {room_of(module_of(file)) for file in FILES} == ROOMS.keys()
    assert imports(PACKAGE / "__init__.py") == set()


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_room_imports_only_what_it_may(file):
    room = room_of(module_of(file))
    assert {room_of(name) for name in ours(file)} - {room} <= ROOMS[room]


def test_there_are_three_floors():
    floors: dict[str, int] = {}
    for room in TopologicalSorter(ROOMS).static_order():
        floors[room] = 1 + max((floors[below] for below in ROOMS[room]), default=0)
    assert max(floors.values()) == 3


def test_no_modules_import_each_other():
    graph = {module_of(file): {name.removeprefix("vgdocs.") for name in ours(file)} for file in FILES}
    doors = {module for module in graph if (PACKAGE / module.replace(".", "/")).is_dir()}
    inside = {module: graph[module] & graph.keys() - doors for module in graph}
    assert {*TopologicalSorter(inside).static_order()} == graph.keys()  # or it raises CycleError


@pytest.mark.parametrize("library", AT_THE_TOP)
def test_heavy_libraries_are_imported_only_where_they_are_meant_to_be(library):
    def importers(top_level: bool) -> set[str]:
        return {module_of(f) for f in FILES if library in {name.partition(".")[0] for name in imports(f, top_level)}}

    assert importers(True) == AT_THE_TOP[library]
    assert importers(False) - importers(True) == IN_A_FUNCTION.get(library, set())


def test_pages_can_be_built_where_torch_is_not_installed():
    """From records made elsewhere: neither looking up nor rendering may load it."""
    code = "import sys, vgdocs.pages.mkdocs, vgdocs.cli; print({'torch', 'plotly'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize("script", sorted((ROOT / "figures").glob("*.py")), ids=lambda path: path.stem)
def test_a_figure_imports_what_measures_and_no_other_figure(script):
    found = imports(script)
    assert {name.partition(".")[0] for name in found} <= FIGURES_MAY
    assert {room_of(name) for name in ours(script)} <= MEASURING | {"probe", "explorer"}
