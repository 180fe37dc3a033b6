"""What GitHub, pre-commit, npm and whoever cites the site read from the repository says what is the case."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
ASSETS = [ROOT / "docs/assets", ROOT / "src/vgdocs/pages/assets"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_the_forms_are_for_what_can_be_wrong():
    assert [form.stem for form in FORMS] == ["number", "package", "page", "verdict"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_github_takes_a_form(form):
    """GitHub leaves out a form that it can't read, without a word."""
    content = yaml.safe_load(form.read_text("utf-8"))
    assert content.keys() == {"name", "description", "body"}
    ids = [field["id"] for field in content["body"]]
    assert len(set(ids)) == len(ids)
    for field in content["body"]:
        kind, attributes = field["type"], field["attributes"]
        assert field.keys() <= {"type", "id", "attributes", "validations"}
        assert all(type(text) is str for name, text in attributes.items() if name != "options")
        own = {"input": set(), "textarea": {"render"}, "dropdown": {"options"}}[kind]
        assert {"label"} <= attributes.keys() <= {"label", "description"} | own
        assert field.get("validations", {}).keys() <= {"required"}
        if kind == "dropdown":
            assert all(type(option) is str for option in attributes["options"])
            assert len(set(attributes["options"])) == len(attributes["options"]) > 1


def test_a_request_is_asked_for_commands_that_exist():
    text = (ROOT / ".github/pull_request_template.md").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", text)) == {"lint", "test"} <= set(targets)


def test_each_kind_of_dependency_is_updated():
    updates = read(".github/dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"pip", "npm", "github-actions"}
    assert all(update["directory"] == "/" and update["schedule"]["interval"] for update in updates)


def test_the_citation_is_of_this_version():
    citation = read("CITATION.cff")
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["title"] == read_site_name()
    assert [author["name"] for author in citation["authors"]] == re.findall(
        r"^Copyright \(c\) \d+ (.+)$", (ROOT / "LICENSE").read_text("utf-8"), re.MULTILINE
    )


def read_site_name() -> str:
    (name,) = re.findall(r"^site_name: (.+)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    return name


def test_before_a_commit_and_in_ci_lint_is_the_same():
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    (hook,) = repository["hooks"]
    assert (hook["entry"], hook["language"], hook["pass_filenames"]) == ("make lint", "system", False)
    assert not hook.keys() & {"types", "types_or", "files", "exclude", "args"}
    steps = read(".github/workflows/check.yml")["jobs"]["check"]["steps"]
    (lint,) = [i for i, step in enumerate(steps) if step.get("run") == "make lint"]
    assert any("actions/setup-node@" in step.get("uses", "") for step in steps[:lint])


def test_npm_installs_what_was_locked_from_whichever_registry():
    lock = json.loads((ROOT / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((ROOT / "package.json").read_text("utf-8"))
    assert lock["packages"].pop("")["devDependencies"] == wanted["devDependencies"]
    assert all("integrity" in package for package in lock["packages"].values())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


def test_each_script_that_is_linted_is_type_checked():
    ignored = json.loads((ROOT / ".oxlintrc.json").read_text("utf-8"))["ignorePatterns"]
    ours = [path.relative_to(ROOT) for folder in ASSETS for path in folder.rglob("*.js")]
    linted = [path for path in ours if not any(path.match(pattern) for pattern in ignored)]
    assert Path("src/vgdocs/pages/assets/vg.js") in linted
    for path in linted:
        assert (ROOT / path).read_text("utf-8").startswith("// @ts-check\n"), path


def test_the_source_archive_holds_the_package_and_none_of_its_tests(tmp_path):
    """Setuptools takes tests/test_*.py along by itself, without what they need."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    build = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    with tarfile.open(tmp_path / f"dist/vgdocs-{PROJECT['version']}.tar.gz") as archive:
        held = {Path(*Path(name).parts[1:]).as_posix() for name in archive.getnames()}
    package = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "src/vgdocs").rglob("*") if path.is_file()}
    assert package <= held
    assert {"pyproject.toml", "README.md", "LICENSE"} <= held
    assert not [name for name in held if name.startswith("tests")]
