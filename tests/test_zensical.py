"""The next builder: Zensical makes the same articles of the same mkdocs.yml, and `vgdocs check` judges both sites.

Notebooks aside, which it doesn't know. It ignores plugins, too, so `numbers.json` comes from `vgdocs numbers`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from vgdocs.citations import pages
from vgdocs.library import Library

REAL_FIGURES = True  # see conftest

ROOT = Path(__file__).parent.parent
PAGES = [page for _, page in pages(ROOT / "docs")]
VARYING = "[data-md-source-file], .md-source-file, .md-content__button, .headerlink"  # the theme's, not the article's

# mkdocs build without the labs, which take the longest and aren't compared
ARTICLES = """
from mkdocs.commands.build import build
from mkdocs.config import load_config
config = load_config("mkdocs.yml", site_dir="mkdocs")
jupyter = config.plugins.pop("mkdocs-jupyter")
for methods in config.plugins.events.values():
    methods[:] = [method for method in methods if getattr(method, "__self__", None) is not jupyter]
config.plugins.on_startup(command="build", dirty=False)
build(config)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A copy of the project's files, committed or not, with the site by MkDocs in mkdocs/, by Zensical in site/."""
    folder = tmp_path_factory.mktemp("project")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    Library(ROOT).refresh()
    environment = os.environ | {
        "VGDOCS_STORE": os.environ.get("VGDOCS_STORE", str(ROOT / ".vgdocs")),
        "NO_MKDOCS_2_WARNING": "1",
        "PYTHONPATH": str(ROOT / "src"),
    }

    def run(*command: str) -> str:
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
        return result.stdout

    run(sys.executable, "-c", ARTICLES)  # first: it draws what posters are missing
    run(sys.executable, "-m", "zensical", "build", "--clean", "--strict")
    run(sys.executable, "-m", "vgdocs", "assets", "site")
    (folder / "site/numbers.json").write_text(run(sys.executable, "-m", "vgdocs", "numbers", "--json"), "utf-8")
    for site in ("mkdocs", "site"):
        checked = run(sys.executable, "-m", "vgdocs", "check", site)
        assert checked == f"{site}: every figure and number is where its page cites it\n"
    return folder


def article(site: Path, page: str) -> Tag:
    folder = site / page.removesuffix(".md").removesuffix("index")
    found = BeautifulSoup((folder / "index.html").read_text(encoding="utf-8"), "html.parser").select_one("article")
    assert found is not None
    for element in found.select(VARYING):
        element.decompose()
    return found


def words(element: Tag) -> str:
    return " ".join(element.get_text(" ").split())


@pytest.mark.parametrize("page", PAGES)
def test_an_article_is_the_same(built, page):
    """Its figures with their data and posters, its numbers, captions, mathematics and tables, and every word."""
    ours, theirs = (article(built / site, page) for site in ("mkdocs", "site"))
    for parts, say in {
        "figure.vg-figure": lambda figure: (figure["data-figure"], str(figure.select_one(".vg-plot"))),
        "data.vg-number": lambda n: (n["data-figure"], n["data-number"], n["value"], n.get_text()),
        "figcaption": words,
        ".katex": str,
        "table": words,
    }.items():
        assert [say(part) for part in theirs.select(parts)] == [say(part) for part in ours.select(parts)], parts
    assert words(theirs) == words(ours)


def test_the_comparison_is_not_of_nothing(built):
    counts = {
        parts: sum(len(article(built / "site", page).select(parts)) for page in PAGES)
        for parts in ("figure.vg-figure", "data.vg-number", "figcaption", ".katex", "table")
    }
    assert counts["figure.vg-figure"] >= 40, counts
    assert min(counts.values()) >= 40, counts


def test_the_check_finds_an_error_box_in_a_page_by_zensical(built):
    """Zensical knows of no errors in an extension: the box that it leaves in the page is all there is."""
    page = built / "site/problem/chain/index.html"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</article>", '<div class="vg-error">broken</div></article>'), "utf-8")
    command = [sys.executable, "-m", "vgdocs", "check", "site"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(command, cwd=built, env=environment, capture_output=True, text=True)
    page.write_text(text, encoding="utf-8")
    assert (result.returncode, "docs/problem/chain.md: an error box: broken" in result.stderr) == (1, True)
