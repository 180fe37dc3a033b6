"""Beside the plugins that people use, before and after ours: the page says and shows what it does without them."""

import json
import shutil

import pytest
from bs4 import BeautifulSoup

from vgdocs.pages.posters import Posters

SITE = """\
site_name: Miniature
theme: {name: material, font: false}
exclude_docs: parts/
extra: {which: first}
"""
EXTENSIONS = """\
markdown_extensions:
  - admonition
  - attr_list
  - tables
  - pymdownx.arithmatex: {generic: true}
  - pymdownx.snippets: {check_paths: true}
  - pymdownx.superfences
  - vgdocs.markdown
"""

PAGE = """\
---
title: This & that
---

# Page

It is [[halving.last:.1e]], and $0.5^{10} < 1$.

| steps | left |
|---|---|
| 1 | [[halving.first]] |

!!! note "After one, [[halving.first:.2f]]"

    After ten, [[halving.last:.2e]].

/// figure | halving
    code: measure, draw

Caption with [[halving.first]], where $x < y$.
///

![A dot](dot.svg)
"""

DOT = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><circle cx="1" cy="1" r="1"/></svg>'
POSTER = """\
<svg class="vg-poster vg-wide" viewBox="0 0 9 9" aria-hidden="true"><defs><clipPath id="p0"><rect width="9" height="9">\
</rect></clipPath></defs><g clip-path="url(#p0)"><path d="M0,0L3,4Z"></path><text>a &lt; b<tspan>2</tspan></text></g>\
</svg>"""

# Options of each, and where the site shows that it was at work; two are at work in what is FILLED.
BESIDE = {
    "awesome-nav": ("{}", "index.html", 'rel="next"'),
    "git-revision-date-localized": (
        "{fallback_to_build_date: true, strict: false, enable_parallel_processing: false}",
        "index.html",
        "md-source-file__fact",
    ),
    "glightbox": ("{}", "index.html", 'class="glightbox"'),
    "include-markdown": ("{}", "", ""),
    "macros": ("{}", "", ""),
    "minify": ("{minify_html: true, htmlmin_opts: {remove_comments: true}}", "index.html", "<!doctype html><html"),
}
ORDERS = {"before": "search, {other}, vgdocs", "after": "vgdocs, {other}, search"}

PART = """\
Elsewhere it is [[halving.last]].

/// figure | halving
The caption.
///
"""
FILLED = [
    ("include-markdown", '{% include-markdown "./parts/part.md" %}'),
    ("macros", '{% include "parts/part.md" %}\n\nAnd [[halving.{{ which }}]].'),
    ("", '--8<-- "docs/parts/part.md"'),
]


@pytest.fixture(scope="module")
def plain(make_project, tmp_path_factory):
    """The project without another plugin, built."""
    project = make_project(tmp_path_factory.mktemp("plain"))
    project.script()
    prepare(project, "search, vgdocs")
    with pytest.MonkeyPatch.context() as patch:
        draw(patch)
        assert project.mkdocs("build", "--strict")[0] == 0
    return project


@pytest.fixture
def beside(plain, make_project, tmp_path, monkeypatch):
    """Writes the project with another plugin; what is measured is measured already."""
    draw(monkeypatch)

    def write(other: str, order: str, page: str = PAGE):
        shutil.copytree(plain.root / "figures", tmp_path / "figures")
        shutil.copytree(plain.root / ".vgdocs", tmp_path / ".vgdocs")
        project = make_project(tmp_path)
        prepare(project, ORDERS[order].replace("{other}, ", f"{other}, " if other else ""), page)
        return project

    return write


def prepare(project, plugins: str, page: str = PAGE) -> None:
    (project.root / "mkdocs.yml").write_text(f"{SITE}plugins: [{plugins}]\n{EXTENSIONS}", "utf-8")
    project.page("index", page)
    project.page("numbers", "# Numbers\n\n/// numbers\n///\n")
    (project.docs / "dot.svg").write_text(DOT, "utf-8")


def draw(patch: pytest.MonkeyPatch) -> None:
    """Figures have posters, without a browser."""
    patch.setattr(Posters, "get", lambda self, plot: POSTER)
    patch.setattr(Posters, "cards", lambda self, findings, site: {})


def shown(project, page: str) -> dict[str, list]:
    """What a reader finds on a page, whatever its HTML looks like."""
    soup = BeautifulSoup(project.html(page), "html.parser")

    def texts(selector: str) -> list[str]:
        return [" ".join(element.get_text().split()) for element in soup.select(selector)]

    return {
        "plots": [(json.loads(plot["data-plot"]), plot["aria-label"]) for plot in soup.select(".vg-plot")],
        "posters": [[(e.name, sorted(e.attrs.items())) for e in svg.find_all()] for svg in soup.select(".vg-plot svg")],
        "numbers": [(n["data-number"], n["value"], n.get("title"), n.get_text()) for n in soup.select(".vg-number")],
        "claims": [(claim["id"], claim["data-passed"]) for claim in soup.select(".vg-claim")],
        "code": [code.get_text() for code in soup.select("pre")],
        "texts": texts("title, figcaption, .katex, table tr, .vg-finding, .admonition, summary"),
        "own styles": [link["href"] for link in soup.select("link[href*='assets/site.']")],
        "the theme's": [link["href"] for link in soup.select("link[rel=stylesheet][href*='stylesheets/main']")],
        "scripts": [script["src"] for script in soup.select("script[src*='vg.js']")],
    }


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("other", BESIDE)
def test_a_page_is_the_same_beside_it(plain, beside, other, order):
    options, file, at_work = BESIDE[other]
    project = beside(f"{other}: {options}", order)
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    assert at_work in (project.site / file).read_text("utf-8") if file else True
    for page in ("index", "numbers"):
        assert shown(project, page) == shown(plain, page)
    assert len(shown(project, "index")["posters"]) == 1
    assert "stylesheets/main" not in (project.site / "404.html").read_text("utf-8")
    code, _, amiss = project.call("check", project.site)
    assert (code, amiss) == (0, "")
    index = json.loads((project.site / "search/search_index.json").read_text("utf-8"))
    assert "Figure: Halving ten times leaves 9.77 × 10⁻⁴." in [entry["title"] for entry in index["docs"]]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("other", "filled"), FILLED, ids=["include-markdown", "macros", "snippets"])
def test_numbers_and_figures_may_come_from_elsewhere(beside, other, filled, order):
    """From a file that is included or a macro's output; what is wrong there is told with its words."""
    project = beside(other, order, f"# Page\n\nHere it is [[halving.first]].\n\n{filled}\n")
    part = project.page("parts/part", PART)
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    page = shown(project, "index")
    assert len(page["plots"]) == 1
    assert [number[0] for number in page["numbers"][:2]] == ["first", "last"]
    code, _, amiss = project.call("check", project.site)
    assert (code, amiss) == (0, "")
    wrong = f"[[halving.{project.root.name}]]"  # which is new in this process: MkDocs tells nothing twice
    project.edit(part, "[[halving.last]]", wrong)
    code, output = project.mkdocs("build")
    assert code == 1
    assert f"docs/index.md, which gets {wrong} from a macro or another file: halving measures no number" in output
