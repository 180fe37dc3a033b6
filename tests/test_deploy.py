"""`make deploy`: what it says when it can't, and the branch it makes when it can."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts/deploy.sh"
IDENTITY = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def deploy(folder: Path, version: str) -> tuple[int, str]:
    """Exit code and output of the script, on a path that doesn't hold mkdocs, for nobody in particular."""
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PATH": os.defpath}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | nobody
    environment["BIN"] = str(Path(sys.executable).parent)
    result = subprocess.run(["sh", str(SCRIPT), version], cwd=folder, env=environment, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def repository(project) -> Path:
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", "  - vgdocs\n  - mike\n")
    (project.root / ".gitignore").write_text(".vgdocs/\nsite/\n")
    (project.root / "docs/404.html").write_text("<h1>Nothing here</h1>\n")
    git(project.root, "init", "--quiet", "--initial-branch=main")
    return project.root


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, *IDENTITY, "commit", "--quiet", "--message=Begin")


def test_without_a_version(repository):
    assert deploy(repository, "") == (2, "Which version? make deploy VERSION=1.0\n")


@pytest.mark.parametrize(("version", "said"), [("latest", "is the alias"), ("1/0", "A version is a folder's name")])
def test_a_version_that_is_none(repository, version, said):
    code, output = deploy(repository, version)
    assert code == 2
    assert said in output


def test_without_a_commit(repository):
    code, output = deploy(repository, "1.0")
    assert code == 2
    assert output.startswith("There is no commit yet")


def test_without_an_identity(repository):
    commit(repository)
    code, output = deploy(repository, "1.0")
    assert code == 2
    assert output.startswith("Git does not know who you are")


def test_releases_and_the_state_of_development(repository):
    commit(repository)
    git(repository, "config", "user.name", "Tester")
    git(repository, "config", "user.email", "tester@example.org")

    code, output = deploy(repository, "dev")
    assert code == 0, output
    assert 'url=dev/"' in git(repository, "show", "gh-pages:index.html")  # until there is a release

    code, output = deploy(repository, "1.0")
    assert code == 0, output
    assert "SITE_URL is not set" in output
    assert "cp tests/numbers.json docs/about/releases/1.0.json" in output
    assert set(git(repository, "ls-tree", "--name-only", "gh-pages").split()) >= {"dev", "1.0", "latest"}
    assert 'url=latest/"' in git(repository, "show", "gh-pages:index.html")
    assert '"halving"' in git(repository, "show", "gh-pages:1.0/numbers.json")
    assert git(repository, "show", "gh-pages:404.html") == git(repository, "show", "gh-pages:1.0/404.html")
    assert not git(repository, "status", "--porcelain")  # neither the index nor the folder was touched

    code, output = deploy(repository, "dev")
    assert code == 0, output
    assert 'url=latest/"' in git(repository, "show", "gh-pages:index.html")
