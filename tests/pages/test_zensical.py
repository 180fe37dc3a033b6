"""The next builder: Zensical makes the same articles of the same mkdocs.yml, and `vgdocs check` judges both sites.

Notebooks aside, which it doesn't know. It ignores plugins, too, so `numbers.json` comes from `vgdocs numbers`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from mkdocs.config import load_config

from vgdocs.engine.library import Library
from vgdocs.pages.citations import pages

REAL_FIGURES = True  # see conftest

ROOT = Path(__file__).parents[2]
PAGES = [page for _, page in pages(ROOT / "docs")]
SNIPPET = re.compile(r'^--8<-- "([^":]+)', re.MULTILINE)
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


def test_all_that_pages_are_made_of_is_watched():
    """Its cache and its server know of the pages themselves and of what mkdocs.yml has them watch."""
    watched = load_config(str(ROOT / "mkdocs.yml")).watch
    snippets = [match for page in (ROOT / "docs").rglob("*.md") for match in SNIPPET.findall(page.read_text("utf-8"))]
    assert len(snippets) >= 2
    for path in ("figures", *snippets):
        assert any((ROOT / path).is_relative_to(folder) for folder in watched), path


def test_an_edit_is_seen_in_nested_pages_by_its_cache_and_by_its_server(make_project, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.delenv("VGDOCS_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    project = make_project(tmp_path)
    (tmp_path / "mkdocs.yml").write_text(
        "site_name: Miniature\nmarkdown_extensions:\n  - pymdownx.snippets\n  - vgdocs.markdown\n"
        "watch:\n  - figures\n  - part.md\n"
    )
    snippet, data = tmp_path / "part.md", project.figures / "data/deep/steps.txt"
    snippet.write_text("Words of a snippet.\n")
    data.parent.mkdir(parents=True)
    data.write_text("10")
    script = project.script(
        head="from pathlib import Path\n\nimport plotly.graph_objects as go\n\nSEED = 0\n"
        'STEPS = int((Path(__file__).parent / "data/deep/steps.txt").read_text())\n',
        claims='def claim_it_falls(m):\n    """{last:.1e} is left."""\n    assert m["last"] < m["first"]\n',
    )
    page = project.page("a/b/c/deep", 'It is [[halving.last:.1e]].\n\n--8<-- "part.md"\n')

    def shown() -> str:
        built = tmp_path / "site/a/b/c/deep/index.html"
        return built.read_text("utf-8") if built.is_file() else ""

    def edits() -> Iterator[str]:
        """Edit what the page is made of, kind by kind, and tell what is shown then."""
        yield "9.8 × 10<sup>−4</sup>"
        data.write_text("20")
        yield "9.5 × 10<sup>−7</sup>"
        project.edit(script, "0.5**n", "0.25**n")
        yield "9.1 × 10<sup>−13</sup>"
        snippet.write_text("Other words.\n")
        yield "Other words."
        project.edit(page, "It is", "It was")
        yield "It was"
        data.write_text("10")
        project.edit(script, "0.25**n", "0.5**n")
        yield "9.8 × 10<sup>−4</sup>"

    zensical = [sys.executable, "-m", "zensical"]
    for present in edits():
        subprocess.run([*zensical, "build"], check=True, capture_output=True)
        assert present in shown(), shown()[-3000:]
        time.sleep(1)  # its cache counts in seconds
    project.edit(page, "It was", "It is")
    with subprocess.Popen([*zensical, "serve", "--dev-addr", "127.0.0.1:0"], stdout=subprocess.DEVNULL) as server:
        try:
            for present in edits():
                end = time.monotonic() + 60
                while present not in shown():
                    assert time.monotonic() < end, f"{present} never came: {shown()[-3000:]}"
                    time.sleep(0.1)
                time.sleep(1)
        finally:
            server.terminate()


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
