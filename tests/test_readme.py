"""What README tells a reader to type works as it stands there. Its commands for want of make: test_makefile.py."""

import contextlib
import io
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from vgdocs.cli import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def block(language: str, word: str) -> str:
    """The one block of README in a language that has a word in it."""
    (found,) = [text for of, text in BLOCKS if of == language and word in text]
    return found


def test_no_block_is_left_out():
    """A new block needs a test here."""
    assert [language for language, _ in BLOCKS] == ["sh", "python", "sh", "sh", "sh", "python", "markdown"]


def test_the_probe_finds_what_the_example_has():
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block("python", "Probe"), "README.md", "exec"), {})
    assert "1. vanishing" in printed.getvalue()


def test_the_figure_is_measured_holds_and_is_shown(make_project, tmp_path):
    project = make_project(tmp_path)
    (project.figures / "my_figure.py").write_text(block("python", "def measure"), encoding="utf-8")
    library = project.library()
    entry = library.entries["my_figure"]
    assert entry.error is None
    assert [verdict.passed for verdict in entry.record.verdicts] == [True]
    html, problems = project.convert(block("markdown", "my_figure"), library)
    assert problems == []
    assert 'value="3.63797881e-12"' in html
    assert "</span> measure(seed: int" in html


@pytest.mark.posix(reason="the block is for its shell; Windows' line stands in its comment")
def test_the_environment_is_made_and_entered(tmp_path):
    script = block("sh", "-m venv").replace("-m venv", "-m venv --without-pip")  # which would take seconds
    script = script.replace("pip install", "command -v python; : pip install")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / ".venv/bin/python"


def test_a_target_that_is_told_is_there():
    told = {target for path in PROSE for target in re.findall(r"\bmake ([a-z][a-z-]*)", _code(path))}
    assert {"serve", "test"} <= told <= TARGETS


def test_a_command_that_is_told_is_there_with_its_options():
    told = re.findall(r"\bvgdocs ([a-z]+)([^`\n|&#]*)", "\n".join(map(_code, PROSE)))
    assert len(told) > 20
    assert isinstance(cli, click.Group)
    for name, rest in told:
        assert name in cli.commands, f"vgdocs {name}"
        options = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest.partition(" -- ")[0])) <= options, f"vgdocs {name}{rest}"


def test_what_is_to_be_installed_can_be():
    """The package is on no index: it is installed from a checkout, with extras that it has."""
    folders = [ROOT / name for name in ("docs", "src", "overrides")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".md", ".py", ".html"}]
    told = {
        (path.name, *found)
        for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *paths]
        for found in re.findall(r"pip install (?:-e )?['\"]?([\w.]+)(?:\[([a-z,]+)\])?", path.read_text("utf-8"))
    }
    assert ("README.md", ".", "site,experiments,test") in told
    assert {what for _, what, _ in told} == {".", "properdocs"}
    assert {extra for *_, extras in told for extra in extras.split(",") if extra} <= EXTRAS.keys()


def _code(path: Path) -> str:
    """What stands in a page as something to type."""
    text = path.read_text("utf-8")
    return "\n".join([*re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S), *re.findall(r"`([^`\n]+)`", text)])
