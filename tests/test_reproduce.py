"""`make reproduce`: what was released is measured anew, by its own text and tolerances, and nothing of that stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts/reproduce.py"
IDENTITY = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
HERE = ["--python", sys.executable]  # instead of an environment of the version's own
# Stands for the package in a version: it needs nothing, and tells whose it is by what it prints.
PACKAGE = """\
import json, pathlib, sys
root, command = sys.argv[2:4]
if command == "numbers":
    print(json.dumps({"versions": {"place": str(pathlib.Path(__file__).parent)}, "figures": {}}))
"""
BACKEND = """\
import zipfile


def build_editable(folder, config_settings=None, metadata_directory=None):
    info, name = "vgdocs-1.0.dist-info", "vgdocs-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.write("src/vgdocs/__main__.py", "vgdocs/__main__.py")
        about = "Metadata-Version: 2.1\\nName: vgdocs\\nVersion: 1.0\\n"
        about += "Provides-Extra: site\\nProvides-Extra: experiments\\n"
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "vgdocs"
version = "1.0"
"""


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=True, capture_output=True)


def release(project, last: float = 0.5**10, **parts: str) -> Path:
    """A repository whose one version, 1.0, was released with this number."""
    if parts:
        project.script(**parts)
    figure = {"numbers": {"first": 0.5, "last": last}, "tolerance": {}}
    path = project.docs / "about/releases/1.0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"figures": {"halving": figure}}))
    (project.root / ".gitignore").write_text(".vgdocs/\nbuild/\n")
    git(project.root, "init", "--quiet", "--initial-branch=main")
    tag(project.root, "v1.0")
    return project.root


def tag(repository: Path, name: str) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message=Release")
    git(repository, "tag", name)


def reproduce(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and output of the script."""
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def left(repository: Path) -> list[str]:
    return sorted(path.name for path in (repository / "build/reproduce").glob("*"))


def test_numbers_that_are_the_same(project):
    repository = release(project)
    # neither what is edited now nor what was measured before has a say in it
    project.library()
    project.edit(project.figures / "halving.py", "0.5**n", "0.7**n")
    code, output = reproduce(repository, "1.0", *HERE, VGDOCS_RUN="never")
    assert code == 0, output
    assert "[1/1] halving" in output
    assert "Every number of version 1.0 is where it was" in output
    assert left(repository) == ["1.0.json"]
    kept = json.loads((repository / "build/reproduce/1.0.json").read_text())
    assert kept["figures"]["halving"]["numbers"]["last"] == 0.5**10


def test_a_number_that_moved(project):
    repository = release(project, last=0.00097)
    code, output = reproduce(repository, "1.0", *HERE)
    assert code == 1, output
    assert "halving.last" in output
    assert "+0.68%" in output
    assert "halving.first" not in output
    assert left(repository) == ["1.0.json"]


def test_by_the_tolerance_that_was_declared_then(project):
    repository = release(
        project,
        last=0.00097,
        head='import plotly.graph_objects as go\n\nSEED = 0\nSTEPS = 10\nTOLERANCE = {"last": 0.01}',
    )
    project.script()
    tag(repository, "v1.1")
    assert reproduce(repository, "1.0", *HERE)[0] == 0


def test_a_claim_that_fails_though_no_number_moved(project):
    repository = release(project, claims='def claim_it(m):\n    """Not {last}."""\n    assert m["last"] > 1\n')
    code, output = reproduce(repository, "1.0", *HERE)
    assert code == 1, output
    assert "claim_it" in output


@pytest.mark.parametrize(
    ("version", "said"), [("", "Which version?"), ("2.0", "no tag v2.0 here; there is v1.0"), ("../1.0", "no tag")]
)
def test_a_version_that_there_is_not(project, version, said):
    repository = release(project)
    code, output = reproduce(repository, version, *HERE)
    assert code == 2
    assert said in output
    assert not (repository / "build").exists()


def test_a_version_without_numbers(project):
    repository = release(project)
    tag(repository, "v1.1")
    code, output = reproduce(repository, "1.1", *HERE)
    assert code == 2
    assert "no docs/about/releases/1.1.json" in output


def test_what_cannot_be_measured_at_all(project):
    repository = release(project)
    shutil.rmtree(project.root / ".git")
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", "  - vgdocs: {figure: x}\n")
    git(repository, "init", "--quiet")
    tag(repository, "v1.0")
    code, output = reproduce(repository, "1.0", *HERE)
    assert code == 2
    assert "could not be measured" in output
    assert left(repository) == []


def test_what_a_killed_run_left(project):
    repository = release(project)
    (repository / "build/reproduce/1.0").mkdir(parents=True)
    code, output = reproduce(repository, "1.0", *HERE)
    assert code == 2
    assert "Delete it" in output
    assert left(repository) == ["1.0"]


@pytest.mark.posix(reason="a signal for Ctrl-C")
@pytest.mark.parametrize("group", [True, False], ids=["from a terminal", "from elsewhere"])
def test_when_it_is_interrupted(project, tmp_path_factory, group):
    mark = tmp_path_factory.mktemp("mark") / "measuring"
    measure = f"def measure(seed: int = SEED) -> dict:\n    open({str(mark)!r}, 'w').close()\n    time.sleep(99)"
    repository = release(project, head="import time\n\nimport plotly.graph_objects as go\n\nSEED = 0", measure=measure)
    running = subprocess.Popen(
        [sys.executable, str(SCRIPT), "1.0", *HERE],
        cwd=repository,
        start_new_session=True,
        # a shell has what it starts in the background ignore Ctrl-C, and that is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not mark.exists():
        assert running.poll() is None
        time.sleep(0.05)
    assert left(repository) == ["1.0"]
    (os.killpg if group else os.kill)(running.pid, signal.SIGINT)
    assert running.wait(30) == 130
    assert left(repository) == []


class TestAnEnvironmentOfItsOwn:
    """Made offline: the version's package is one file."""

    @pytest.fixture
    def repository(self, project, monkeypatch):
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        for name, text in {
            "src/vgdocs/__init__.py": "",
            "src/vgdocs/__main__.py": PACKAGE,
            "backend.py": BACKEND,
            "pyproject.toml": PYPROJECT,
            "constraints.txt": "",
        }.items():
            path = project.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return release(project)

    def test_is_made(self, repository):
        elsewhere = repository / "elsewhere"
        (elsewhere / "vgdocs").mkdir(parents=True)
        (elsewhere / "vgdocs/__main__.py").write_text("raise SystemExit('the wrong package')")
        code, output = reproduce(repository, "1.0", PYTHONPATH=str(elsewhere))
        assert code == 0, output
        (place,) = json.loads((repository / "build/reproduce/1.0.json").read_text())["versions"].values()
        assert Path(place).is_relative_to(repository / "build/reproduce/1.0/.venv")
        assert left(repository) == ["1.0.json"]

    def test_with_another_the_package_is_still_the_version_s_own(self, repository):
        code, output = reproduce(repository, "1.0", *HERE)
        assert code == 0, output
        (place,) = json.loads((repository / "build/reproduce/1.0.json").read_text())["versions"].values()
        assert Path(place) == (repository / "build/reproduce/1.0/src/vgdocs").resolve()

    def test_cannot_be_made(self, repository):
        (repository / "backend.py").write_text("")
        (repository / "docs/about/releases/1.1.json").write_text('{"figures": {}}')
        tag(repository, "v1.1")
        code, output = reproduce(repository, "1.1")
        assert code == 2, output
        assert "can't be installed here" in output
        assert left(repository) == []
