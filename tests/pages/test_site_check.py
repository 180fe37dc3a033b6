"""The check of a built site: a whole one passes, and whatever is taken from it or left in it is found."""

import json

import pytest

from vgdocs.pages.citations import Scanner
from vgdocs.pages.site_check import MEND, check

NOT_DRAWN = f"its plots are drawn by assets/vg.js, which it doesn't load; {MEND}"

ROWS = """\
def measure(seed: int = SEED) -> dict:
    return {"first": 0.5, "last": 0.5**10, "left": [0.5**n for n in range(11)], "steps": [{"step": 1, "left": 0.5}]}
"""
PAGE = """\
---
title: A page
---

# Page

It is [[halving.last:.1e]], twice [[halving.last:.2e]], and `[[halving.last]]` is how to write it.

/// figure | halving
    code: measure

Caption with [[halving.first]].
///

/// table | rows.steps
///
"""


@pytest.fixture(scope="module")
def built(make_project, tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("built"))
    project.script()
    project.script("rows", measure=ROWS)
    project.page("part/page", PAGE)
    project.page("numbers", "# Numbers\n\n/// numbers\n///\n")
    assert project.mkdocs("build", "--strict")[0] == 0
    return project


@pytest.fixture
def site(built, tmp_path):
    """A copy of the built site, for a test to spoil, and the check of it."""
    import shutil

    class Site:
        folder = tmp_path / "site"
        page = tmp_path / "site/part/page/index.html"

        def check(self):
            return check(self.folder, built.docs, Scanner.of_site(built.root))

        def spoil(self, old: str, new: str, count: int = 1):
            text = self.page.read_text(encoding="utf-8")
            assert old in text
            self.page.write_text(text.replace(old, new, count), encoding="utf-8")

    shutil.copytree(built.site, Site.folder)
    return Site()


def test_a_whole_site_passes(site):
    assert site.check() == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (
            'data-number="first" title="halving.first = 0.5" value="0.5"',
            'data-number="first" title="halving.first = 0.5" value="0.6"',
            ["halving.first is 0.6 on the page and 0.5 in numbers.json"],
        ),
        (
            "<data ",
            '<b data-number="first" class="',
            ["the number halving.last is cited 1 time(s) more than the page shows it"],
        ),
        (
            "It is <data ",
            '<data class="vg-number" data-figure="halving" data-number="first" value="0.5">0.5</data> It is <data ',
            ["the number halving.first is shown 1 time(s) more than the source cites it"],
        ),
        (
            'class="vg-figure" data-figure="halving"',
            'class="vg-figure" data-figure="doubling"',
            [
                "the figure halving is cited 1 time(s) more than the page shows it",
                "the figure doubling is shown 1 time(s) more than the source cites it",
            ],
        ),
        (
            'class="vg-table" data-figure="rows"',
            'class="vg-tables" data-figure="rows"',
            ["the figure rows is cited 1 time(s) more than the page shows it"],
        ),
        ("<p>It is", "<p>/// table | rows.steps</p>\n<p>It is", ["a marker is left over: /// table | rows.steps"]),
        ('data-plot="{', 'data-plot="', ["the figure halving has nothing to draw"]),
        ('data-plot="', 'data-plots="', ["the figure halving has nothing to draw"]),
        ("It is <data ", "It is [[halving.first:.2e]] <data ", ["a marker is left over: [[halving.first:.2e]]"]),
        ("<p>It is", "<p>/// figure | halving</p>\n<p>It is", ["a marker is left over: /// figure | halving"]),
        ("<p>It is", "<p>/// times</p>\n<p>It is", ["a marker is left over: /// times"]),
        ("<p>It is", '<p class="vg-error">It is wrong</p><p>It is', ["an error box: It is wrong"]),
        ("<p>It is", '<p class="vg-pending">…</p><p>It is', ["a figure that wasn't measured: …"]),
        (
            'src="../../assets/vg.js"',
            'src="../../assets/gone.js"',
            [f"it loads ../../assets/gone.js, which isn't in the site; {MEND}", NOT_DRAWN],
        ),
        ("<p>It is", "<pre>[[halving.last]]</pre><p>It is", []),  # code is how it is written about
    ],
)
def test_what_is_amiss_in_a_page(site, old, new, found):
    site.spoil(old, new)
    assert site.check() == [f"docs/part/page.md: {line}" for line in found]


def test_a_page_that_was_not_built(site):
    site.page.unlink()
    assert site.check() == ["docs/part/page.md wasn't built"]


def test_a_page_is_found_by_the_name_that_mkdocs_gives_it(make_project, tmp_path):
    project = make_project(tmp_path)
    project.script()
    project.page("part/README", "# Part\n\nIt is [[halving.last]].\n")  # its folder's page
    project.page("re", "# Re\n\nIt is [[halving.first]].\n")
    project.page("reindex", "# Reindex\n\nIt is [[halving.last]].\n")
    assert project.mkdocs("build", "--strict")[0] == 0
    assert check(project.site, project.docs, Scanner.of_site(project.root)) == []


def test_a_site_without_numbers(site):
    (site.folder / "numbers.json").write_text("{}")
    (line,) = site.check()
    assert "numbers.json can't be read: KeyError('figures')" in line
    (site.folder / "numbers.json").unlink()
    (line,) = site.check()
    assert line.startswith(f"{site.folder} is no built site (numbers.json can't be read: FileNotFoundError")


def test_a_site_whose_numbers_are_of_another_build(site):
    path = site.folder / "numbers.json"
    content = json.loads(path.read_text())
    content["figures"]["halving"]["numbers"]["last"] = 0.25
    content["figures"]["halving"]["claims"][0]["passed"] = False
    path.write_text(json.dumps(content))
    found = site.check()
    assert found[0] == "numbers.json: the claim claim_halving_is_exact of halving failed"
    assert set(found[1:]) == {
        f"docs/{page}.md: halving.last is 0.0009765625 on the page and 0.25 in numbers.json"
        for page in ("part/page", "numbers")
    }


def test_a_folder_that_is_no_site_is_told(built, tmp_path):
    (problem,) = check(tmp_path, built.docs, Scanner.of_site(built.root))
    assert f"{tmp_path} is no built site" in problem


def test_a_project_without_pages_is_told(site, built, tmp_path):
    (problem,) = check(site.folder, tmp_path / "docs", Scanner.of_site(built.root))
    assert f"no page (*.md) lies below {tmp_path / 'docs'}" in problem


def test_the_pages_are_looked_for_where_mkdocs_yml_says(make_project, tmp_path):
    project = make_project(tmp_path)
    project.script()
    project.page("index", "# Home\n\nIt is [[halving.last]].\n")
    project.docs.rename(project.root / "text")
    config = project.root / "mkdocs.yml"
    config.write_text(f"{config.read_text('utf-8')}\ndocs_dir: text\n", "utf-8")
    assert project.mkdocs("build", "--strict")[0] == 0
    scanner = Scanner.of_site(project.root)
    assert check(project.site, project.root / scanner.docs, scanner) == []
    (project.root / "text/index.md").write_text("# Home\n\nIt is [[halving.last]] and [[halving.lst]].\n", "utf-8")
    code, output = project.mkdocs("build")
    assert code == 1
    assert "text/index.md:3: halving measures no number 'lst'" in output
