"""What docs/about/promises.md promises is there.

tests/promised/names.json lists it by name, and tests/promised/project is a site written for version 1.0. Neither is
brought up to date: what is added is listed, and thereby promised; what is listed goes with the next major version.
"""

import ast
import contextlib
import importlib
import inspect
import json
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import click
import pytest
from bs4 import BeautifulSoup

from vgdocs.cli import cli
from vgdocs.engine import drift
from vgdocs.engine.figure import read
from vgdocs.pages.settings import Settings

ROOT = Path(__file__).parent.parent
PROMISED = Path(__file__).parent / "promised"
NAMES: dict[str, list[str]] = json.loads((PROMISED / "names.json").read_text("utf-8"))
# sections that don't list all that there is; in the others, what is new isn't left out by an oversight
IN_PART = {"record", "rows", "step_rows", "time_rows"}
DOORS = ["vgdocs.probe", "vgdocs.gradients", "vgdocs.theory", "vgdocs.experiments"]


def resolve(name: str) -> object:
    """What a dotted name stands for; raises AttributeError if there is nothing."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def called(found: object) -> str:
    """The parameters of a function or a class, as in `(model, epochs=, **options)`; nothing for what isn't called."""
    if not inspect.isclass(found) and not inspect.isfunction(found):
        return ""
    marks = {inspect.Parameter.KEYWORD_ONLY: "{}=", inspect.Parameter.VAR_KEYWORD: "**{}"}
    parameters = [each for each in inspect.signature(found).parameters.values() if each.name != "self"]
    return f"({', '.join(marks.get(each.kind, '{}').format(each.name) for each in parameters)})"


def of_python() -> Iterator[str]:
    """The names that are promised, as they are now, and all else that the doors hold.

    Without parentheses a name is promised, and not how it is called.
    """
    names = {name.partition("(")[0] for name in NAMES["Python"]}
    for door in DOORS:
        module = resolve(door)
        public = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if inspect.isroutine(value) or inspect.isclass(value)
            if getattr(value, "__module__", "") == door and not name.startswith("_")
        ]
        names |= {f"{door}.{name}" for name in public}
    for name in names:
        with contextlib.suppress(AttributeError):  # of one that is gone
            found = resolve(name)
            yield name if name in NAMES["Python"] else f"{name}{called(found)}"


def of_commands() -> Iterator[str]:
    assert isinstance(cli, click.Group)
    for name, command in {"": cli, **cli.commands}.items():
        yield f"vgdocs {name}".strip()
        for parameter in command.params:
            is_option = isinstance(parameter, click.Option)
            for spelled in parameter.opts if is_option else [f"{parameter.name}".upper()]:
                yield f"vgdocs {name} {spelled}".replace("  ", " ")


def paths(value: object, prefix: str = "") -> Iterator[str]:
    """The keys of nested dictionaries and lists, `*` for the name of a figure or a number and for a list's items."""
    if isinstance(value, list):
        for item in value:
            yield from paths(item, f"{prefix}*.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            known = prefix not in ("versions.", "figures.") and not prefix.endswith(("numbers.", "tolerance."))
            yield f"{prefix}{key if known else '*'}"
            yield from paths(inner, f"{prefix}{key if known else '*'}.")


@pytest.fixture(scope="module")
def site(make_project, tmp_path_factory):
    """The site that was written for 1.0, built strictly."""
    folder = tmp_path_factory.mktemp("promised") / "site"
    shutil.copytree(PROMISED / "project", folder)
    project = make_project(folder, bare=False)
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, f"a site that was written for version 1.0 is promised to build:\n{output}"
    return project


@cache
def recorded():
    """The probe of one step of a small network."""
    import torch
    from torch import nn

    from vgdocs.probe import Probe

    rows = torch.nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    cells = nn.RNN(2, 2, batch_first=True)
    model = nn.ModuleList([rows, cells])
    optimizer = torch.optim.Adam(model.parameters())
    with Probe(model, optimizer) as probe:
        cells(rows(torch.randn(3, 5, 4)))[0].square().sum().backward()
        optimizer.step()
    return probe


def of_release() -> Iterable[str]:
    return paths(json.loads((ROOT / drift.ACCEPTED).read_text("utf-8")))


def of_symptoms() -> Iterator[str]:
    for path in (ROOT / "src/vgdocs/probe/rules").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                first = node.args[0]
                yield first.value if isinstance(first, ast.Constant) else ast.unparse(first)


def of_causes() -> Iterable[str]:
    from vgdocs.probe.rules import CAUSES

    return CAUSES


def of_findings() -> Iterator[str]:
    from vgdocs.probe import Finding, Verdict

    for kind in (Finding, Verdict):
        yield from (f"{kind.__name__}.{name}" for name in inspect.signature(kind).parameters)


def of_plugin() -> Iterable[str]:
    return [f"{option.name}: {option.default}" for option in fields(Settings)]


def of_environment() -> set[str]:
    texts = [path.read_text("utf-8") for path in (ROOT / "src/vgdocs").rglob("*.py")]
    return set(re.findall(r"\bVGDOCS_[A-Z_]+", "\n".join(texts))) - {"VGDOCS_START"}  # for tests


def of_explore() -> Iterable[str]:
    done = run("explore", "--depth", "4", "--width", "8", "--batch", "4", "--seeds", "1", "--json")
    return json.loads(done)


def of_train() -> Iterable[str]:
    return json.loads(run("train", "depth=2&width=4&data=xor", "--steps", "1", "--json"))


def run(*arguments: str) -> str:
    from click.testing import CliRunner

    done = CliRunner().invoke(cli, ["--root", str(ROOT), *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def of_links_to_watch() -> Iterator[str]:
    """Each key with its values, and what holds where a link doesn't name it."""
    from vgdocs.explorer import train

    for net in train.OPTIONS["net"]["values"]:
        yield from (f"net={net}: {key}={value}" for key, value in train.parse(f"net={net}").items())
    for optimizer in train.RATES:
        yield f"optimizer={optimizer}: lr={train.parse(f'optimizer={optimizer}')['lr']}"
    for key, option in train.OPTIONS.items():
        for known in option.get("per", {"": option}).values():
            yield from (f"{key}={value}" for value in known.get("values", ()))
    yield from re.findall(r'query\.get\("(\w+)"\)', (ROOT / "docs/assets/train/train.js").read_text("utf-8"))


def of_links_to_explore() -> Iterator[str]:
    """Each key of the form, with its values."""
    soup = BeautifulSoup((ROOT / "docs/explore.md").read_text("utf-8"), "html.parser")
    for element in soup.select(".vg-explorer select[name]"):
        yield from (f"{element['name']}={option['value']}" for option in element.select("option"))
    for radio in soup.select(".vg-explorer input[type=radio][name]"):
        yield f"{radio['name']}={radio['value']}"
    script = (ROOT / "docs/assets/explore.js").read_text("utf-8")
    (inits,) = re.findall(r"const INITS = \{ (.*?) \}", script)
    yield from (f"init={name}" for name in re.findall(r"(\w+):", inits))
    yield from (key for key in ("sigma_w2", "gain") if f'"{key}"' in script)


def of_extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project["optional-dependencies"].keys() - {"test"}


def of_pages() -> set[str]:
    return {
        path.relative_to(ROOT / "docs").as_posix()
        for path in (ROOT / "docs").rglob("*")
        if path.suffix == ".md" or (path.suffix == ".py" and path.parent.name == "labs")
    }


SECTIONS = {
    "Python": of_python,
    "command line": of_commands,
    "release": of_release,
    "causes": of_causes,
    "symptoms": of_symptoms,
    "findings": of_findings,
    "extras": of_extras,
    "record": lambda: dir(recorded().record),
    "rows": lambda: recorded().record.rows[0],
    "step_rows": lambda: recorded().record.step_rows[0],
    "time_rows": lambda: recorded().record.time_rows[0],
    "scalars": lambda: {name.partition("/")[0] for name in recorded().scalars()},
    "explore --json": of_explore,
    "train --json": of_train,
    "plugin": of_plugin,
    "environment": of_environment,
    "links to Watch it train": of_links_to_watch,
    "links to Explore": of_links_to_explore,
    "pages": of_pages,
}


def hold(section: str, found: Iterable[str]) -> None:
    there, promised = set(found), set(NAMES[section])
    gone, new = sorted(promised - there), sorted(there - promised)
    assert not gone, f"{section}: docs/about/promises.md promises until the next major version: {'; '.join(gone)}"
    if section not in IN_PART:
        said = "list in tests/promised/names.json what is new, and by that promise it"
        assert not new, f"{section}: {said}: {'; '.join(new)}"


def test_each_section_is_held():
    assert NAMES.keys() == {*SECTIONS, "numbers.json"}


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_promised_by_name_is_there(section):
    hold(section, SECTIONS[section]())


def test_the_numbers_of_a_site_are_where_they_were(site):
    content = json.loads((site.site / "numbers.json").read_text("utf-8"))
    hold("numbers.json", paths(content))
    assert content["figures"]["coin"]["numbers"]["band.lo"] == 0.25
    assert drift.load(str(site.site), ROOT) == content


def test_a_page_that_was_written_for_1_0_says_the_same(site):
    soup = BeautifulSoup(site.html(), "html.parser")
    text = " ".join(soup.article.get_text().split())
    assert "Shares: 0.500, 0.5, 4, 0.50, 25%." in text.replace("\N{NO-BREAK SPACE}", "")
    for said in (
        *("Of all tosses 0.5 show heads.", "The caption has 0.75.", "Half are heads, 0.50, or 0.25 to 0.75."),
        *("a note of heads", "The table's caption.", "What helps against what.", "by many tosses"),
        *("No version has been released yet.", "Nothing has been recorded yet", "Nobody has thrown a million yet."),
    ):
        assert said in text
    assert {cell.get_text() for cell in soup.select(".vg-table td")} >= {"0.12"}
    assert [link["href"] for link in soup.select(".vg-table th a")][:2] == 2 * ["causes/chance/"]
    assert soup.find(id="fig-coin")
    assert soup.find(id="claim-coin-half_are_heads")
    assert soup.find(id="coin")  # of /// numbers
    under = BeautifulSoup(site.html("cures/many"), "html.parser").article.get_text()
    assert "Advanced · 1 minute · read first: Chance" in " ".join(under.split())


def test_a_script_that_was_written_for_1_0_says_the_same(site):
    figure = read(site.root / "scripts/coin.py")
    assert (figure.seed, figure.takes_device) == (3, True)
    assert figure.tolerance == {"share": 0.05, "band": 0.1}
    assert {name: factor for name, (factor, _) in figure.wider.items()} == {"share": 3.0, "band": 3.0}
    assert figure.sweep == {"reason": "nothing is trained"}


def test_what_goes_is_announced():
    """Whatever warns that it goes is named in the changelog, under *Deprecated*."""
    said = re.findall(r"^### Deprecated\n(.*?)(?=^##|\Z)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M | re.S)
    for path in (ROOT / "src/vgdocs").rglob("*.py"):
        assert missing(path.read_text("utf-8"), "\n".join(said)) == []


def missing(code: str, said: str) -> list[str]:
    """The names that a code's deprecations begin with and the changelog doesn't."""
    names = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and "DeprecationWarning" in ast.unparse(node):
            text = re.match(r"f?['\"](\S+)", ast.unparse(node.args[0])) if node.args else None
            names.append(text[1] if text else ast.unparse(node))
    return [name for name in names if f"`{name}`" not in said]


def test_what_is_not_announced_is_found():
    code = 'warnings.warn("Probe.see is Probe.record from 1.2 on, and goes with 2.0", DeprecationWarning, stacklevel=2)'
    assert missing(code, "") == ["Probe.see"]
    assert missing(code, "- `Probe.see`: use `Probe.record`.") == []
