"""`make deploy`: what it says when it can't, and the branch it makes when it can."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

SCRIPT = Path(__file__).parent.parent / "scripts/deploy.py"
IDENTITY = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def deploy(folder: Path, version: str, **settings: str) -> tuple[int, str]:
    """Exit code and output of the script, on a path that doesn't hold mkdocs, for nobody in particular."""
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("GIT_", "SITE_URL"))} | nobody
    if os.name == "posix":
        environment["PATH"] = os.defpath
    environment |= {"VGDOCS_POSTERS": "never"} | settings
    command = [sys.executable, str(SCRIPT), version]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def refused(folder: Path, version: str, *said: str) -> None:
    """Refused with these words, and without a trace on the branch."""
    before = git(folder, "for-each-ref", "refs/heads/gh-pages")
    code, output = deploy(folder, version)
    assert code == 2, output
    assert [words for words in said if words not in output] == [], output
    assert git(folder, "for-each-ref", "refs/heads/gh-pages") == before


def begin(project, *, committed: bool = True, identity: bool = True) -> Path:
    config = project.root / "mkdocs.yml"
    project.edit(config, "  - vgdocs\n", "  - vgdocs\n  - mike: {alias_type: copy, canonical_version: latest}\n")
    config.write_text(config.read_text() + 'site_url: !ENV [SITE_URL, "http://localhost:8000/"]\n')
    (project.root / ".gitignore").write_text(".vgdocs/\nsite/\n__pycache__/\n")
    (project.root / "docs/404.html").write_text("<h1>Nothing here</h1>\n")
    git(project.root, "init", "--quiet", "--initial-branch=main")
    if identity:
        git(project.root, "config", "user.name", "Tester")
        git(project.root, "config", "user.email", "tester@example.org")
    if committed:
        commit(project.root)
    return project.root


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, *IDENTITY, "commit", "--quiet", "--message=Begin")


def publish(repository: Path, versions: dict[str, list[str]]) -> None:
    """Make gh-pages by hand, with these versions and aliases listed."""
    listed = [{"version": name, "title": name, "aliases": aliases} for name, aliases in versions.items()]
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=repository,
        input=json.dumps(listed),
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    tree = subprocess.run(
        ["git", "mktree"],
        cwd=repository,
        input=f"100644 blob {blob}\tversions.json\n",
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    made = git(repository, *IDENTITY, "commit-tree", "-m", "By hand", tree).strip()
    git(repository, "update-ref", "refs/heads/gh-pages", made)


@pytest.mark.parametrize(
    ("version", "said"),
    [("", "Which version?"), ("latest", "is the alias"), ("1/0", "A version is a folder's name"), ("..", "A version")],
)
def test_a_version_that_is_none(tmp_path, version, said):
    code, output = deploy(tmp_path, version)
    assert code == 2
    assert said in output


def test_without_a_commit(project):
    refused(begin(project, committed=False), "1.0", "There is no commit yet")


def test_without_an_identity(project):
    refused(begin(project, identity=False), "1.0", "Git does not know who you are")


class TestRefused:
    def test_what_is_not_committed(self, project):
        repository = begin(project)
        project.page("new", "# New\n")
        git(repository, "add", "--all")
        project.page("index", "# Edited\n")
        refused(repository, "1.0", "docs/index.md", "docs/new.md", "git stash")

    def test_while_another_is_deployed(self, project):
        repository = begin(project)
        with FileLock(repository / ".git/vgdocs-deploy.lock"):
            refused(repository, "1.0", "Another version is being deployed")

    def test_gh_pages_in_another_work_tree(self, project, tmp_path_factory):
        repository = begin(project)
        publish(repository, {"1.0": ["latest"]})
        place = tmp_path_factory.mktemp("pages") / "tree"
        git(repository, "worktree", "add", "--quiet", str(place), "gh-pages")
        refused(repository, "1.1", "checked out in the work tree", place.as_posix())

    def test_a_release_under_a_second_name(self, project):
        repository = begin(project)
        publish(repository, {"1.0": ["latest"]})
        refused(repository, "1.0.0", "stands there as 1.0")

    def test_what_was_deployed_here_and_there(self, project, tmp_path_factory):
        repository = begin(project)
        publish(repository, {"1.0": ["latest"]})
        other = tmp_path_factory.mktemp("remote") / "other.git"
        git(repository, "clone", "--quiet", "--bare", ".", str(other))
        git(repository, "remote", "add", "upstream", str(other))
        publish(repository, {"2.0": ["latest"]})
        refused(repository, "2.1", "git branch --force gh-pages upstream/gh-pages")

    def test_a_build_that_fails(self, project):
        repository = begin(project)
        publish(repository, {"1.0": ["latest"]})
        project.page("index", "# Home\n\n[[halving.nonexistent]]\n")
        commit(repository)
        refused(repository, "1.1", "left as it was")

    def test_what_is_edited_while_it_is_built(self, project):
        """Seen when mike has made its commit, which is taken back."""
        config = project.root / "mkdocs.yml"
        config.write_text(config.read_text() + "hooks: [hook.py]\n")
        (project.root / "hook.py").write_text(
            "def on_post_build(config):\n    open('docs/index.md', 'a').write('Edited meanwhile.')\n"
        )
        repository = begin(project)
        publish(repository, {"1.0": ["latest"]})
        refused(repository, "1.1", "edited while the site was built")

    def test_gh_deploy(self, project):
        code, output = project.mkdocs("gh-deploy")
        assert code == 1
        assert "every version that is published" in output


def test_versions_in_any_order(project, tmp_path_factory):
    """One site, deployed as its maintainers would: `latest`, the default and the page for what is not found."""
    repository = begin(project)

    def show(name: str) -> str:
        return git(repository, "show", f"gh-pages:{name}")

    def latest() -> list[str]:
        return [v["version"] for v in json.loads(show("versions.json")) if "latest" in v["aliases"]]

    def done(version: str, **settings: str) -> str:
        code, output = deploy(repository, version, **settings)
        assert code == 0, output
        return output

    done("dev")
    assert 'url=dev/"' in show("index.html")  # until there is a release

    output = done("2.0", SITE_URL="https://example.org/docs/latest")
    assert "copy tests/numbers.json" in output
    assert "git push origin" not in output  # there is no remote
    assert 'href="https://example.org/docs/latest/"' in show("2.0/index.html")
    assert latest() == ["2.0"]
    assert 'url=latest/"' in show("index.html")
    assert '"halving"' in show("2.0/numbers.json")

    project.edit(repository / "docs/404.html", "Nothing here", "Old")
    commit(repository)
    remote = tmp_path_factory.mktemp("remote") / "upstream.git"
    git(repository, "clone", "--quiet", "--bare", ".", str(remote))
    git(repository, "remote", "add", "upstream", str(remote))
    assert "SITE_URL is not set" in (output := done("1.1"))
    assert "git push upstream gh-pages" in output
    assert latest() == ["2.0"]
    assert show("404.html") == show("2.0/404.html") != show("1.1/404.html")
    assert show("latest/404.html") == show("2.0/404.html")
    git(repository, "push", "--quiet", "upstream", "gh-pages")

    # a clone of one commit, in which the branch of the remote isn't there
    git(tmp_path_factory.getbasetemp(), "clone", "--quiet", "--depth=1", "--branch=main", remote.as_uri(), "shallow")
    shallow = tmp_path_factory.getbasetemp() / "shallow"
    git(shallow, "config", "user.name", "Tester")
    git(shallow, "config", "user.email", "tester@example.org")
    code, output = deploy(shallow, "2.1rc1")
    assert code == 0, output
    assert "git push origin gh-pages" in output
    git(shallow, "push", "--quiet", "origin", "gh-pages")

    done("dev")  # on top of what came from elsewhere
    assert latest() == ["2.0"]
    assert set(git(repository, "ls-tree", "--name-only", "gh-pages").split()) >= {"dev", "1.1", "2.0", "2.1rc1"}
    assert 'url=latest/"' in show("index.html")
    assert not git(repository, "status", "--porcelain")  # neither the index nor the folder was touched


@pytest.mark.parametrize(
    ("name", "is_final"), [("2.0", True), ("1.0.post1", True), ("2.1rc1", False), ("2.1.dev3", False), ("dev", False)]
)
def test_final_releases(name, is_final):
    spec = importlib.util.spec_from_file_location("deploy", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert bool(module.final(name)) is is_final
