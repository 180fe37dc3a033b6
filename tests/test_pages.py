"""The pages of this project: every citation resolves, every figure is shown, nothing is out of the navigation."""

import os
import re
from collections import Counter
from pathlib import Path

import markdown
import pytest
from mkdocs.config import load_config
from mkdocs.utils.meta import get_data

from vgdocs.engine.figure import find
from vgdocs.engine.library import CitationError, Library
from vgdocs.explorer import train
from vgdocs.pages import front
from vgdocs.pages.citations import Scanner, pages
from vgdocs.pages.markdown import Context

REAL_FIGURES = True  # see conftest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [page for _, page in pages(DOCS)]


@pytest.fixture(scope="session")
def config():
    return load_config(str(ROOT / "mkdocs.yml"))


@pytest.fixture(scope="session")
def citations():
    return Scanner.of_site(ROOT).scan_folder(DOCS)


@pytest.fixture(scope="session")
def library(citations) -> Library:
    """The figures that pages cite, measured."""
    library = Library(ROOT)
    figures, errors = find(library.folder)
    library.refresh({citation.figure for citation in citations} & {*figures, *errors})
    return library


def test_every_citation_resolves(library, citations):
    assert citations
    wrong = []
    for citation in citations:
        try:
            if citation.number is None:
                library.figure(citation.figure)
            else:
                library.number(citation.figure, citation.number, re.sub(r"\A[^:]*:?|\]\]\Z", "", citation.text))
        except CitationError as error:
            wrong.append(f"{citation.place}: {error}")
    assert "\n".join(wrong) == ""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_converts_without_a_problem_and_has_one_title(config, library, page, monkeypatch):
    """With the site's own extensions: no slip in a block, a citation or a formula, no number in a heading."""
    monkeypatch.chdir(ROOT)
    context = Context(library, page=page)
    options = {**config.mdx_configs, "vgdocs.markdown": {"context": context}}
    text, _ = get_data((DOCS / page).read_text(encoding="utf-8"))
    html = markdown.markdown(text, extensions=config.markdown_extensions, extension_configs=options)
    assert [f"{problem.text}: {problem.message}" for problem in context.problems] == []
    assert len(re.findall("<h1[ >]", html)) == 1


def test_every_figure_is_shown_on_a_page_and_none_twice_on_one(citations):
    drawn = [citation for citation in citations if re.match(r"/+ *figure", citation.text)]  # and not its table
    figures, errors = find(ROOT / "figures")
    hidden = {*figures, *errors} - {citation.figure for citation in drawn}
    assert not hidden, f"no page shows {', '.join(sorted(hidden))}: write /// figure | name"
    places = Counter((citation.figure, citation.page) for citation in drawn)
    assert [place for place, count in places.items() if count > 1] == []


def test_the_navigation_lists_every_page_once_and_no_other(config):
    def leaves(item):
        if isinstance(item, str):
            yield item
        else:
            for child in item.values() if isinstance(item, dict) else item:
                yield from leaves(child)

    listed = Counter(leaves(config.nav))
    labs = [path.relative_to(DOCS).as_posix() for path in sorted((DOCS / "labs").glob("*.py"))]
    assert [page for page, count in listed.items() if count > 1] == []
    assert set(listed) == {*PAGES, *labs}


BOOK = [page for page in front.read(ROOT) if page.startswith(("problem/", "causes/", "solutions/"))]


@pytest.mark.parametrize("page", BOOK)
def test_a_page_of_the_book_says_how_hard_it_is_and_what_comes_before_it(page):
    pages = front.read(ROOT)
    say = (
        f"write in the front matter of docs/{page}: `level: {' | '.join(front.LEVELS)}`, `needs: [pages, read, before]`"
    )
    assert pages[page].meta.get("level") in front.LEVELS, say
    order = list(pages)
    late = [need for need in pages[page].needs if order.index(need) > order.index(page)]
    assert not late, f"docs/{page} needs what comes after it in the navigation"


@pytest.mark.parametrize("page", [page for page in BOOK if page.startswith("solutions/")])
def test_a_solution_says_what_it_is_against(page):
    """A row of docs/map.md."""
    say = (
        f"write in the front matter of docs/{page}, for the map: `against:`, and below it for each cause that it helps "
        "against `  causes/PAGE.md: [figure that shows it, a few words]`; `against: {}` for a page that is no cure"
    )
    assert isinstance(front.read(ROOT)[page].meta.get("against"), dict), say


@pytest.mark.parametrize("page", BOOK)
def test_a_page_of_the_book_begins_with_an_answer_and_ends_with_where_to_go(page):
    """And a sentence leads to each of its figures."""
    body = front.read(ROOT)[page].body
    assert re.match(r"\s*# .+\n\n\w", body), "no sentence follows its title"
    assert re.findall(r"^## (.+)$", body, re.MULTILINE)[-1] == "Where to go next"
    for before, figure in re.findall(r"^(.+)\n\n/{3,} figure \| (\w+)", body, re.MULTILINE):
        assert not before.startswith(("#", "///")), f"nothing introduces {figure}"


def test_whoever_reads_the_book_in_order_sees_no_figure_twice(citations):
    drawn = [citation for citation in citations if re.match(r"/+ *figure", citation.text) and citation.page in BOOK]
    places = {figure: [c.page for c in drawn if c.figure == figure] for figure in {c.figure for c in drawn}}
    assert {figure: pages for figure, pages in places.items() if len(pages) > 1} == {}


def test_the_pages_folder_is_the_one_that_is_scanned(config):
    assert os.path.samefile(config.docs_dir, DOCS)


TRAINED = [
    (page, link)
    for page in PAGES
    for link in re.findall(r"train\.md\?([^)\s]+)\)", (DOCS / page).read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "link"), TRAINED)
def test_what_a_page_lets_train_is_a_setting_and_its_contrast_is_another(page, link):
    one, _, contrast = link.partition("&vs=")
    setting = train.parse(one)
    assert one in (train.query(setting), "net=mlp"), "not written as the page writes it"
    if contrast:
        differs = dict(pair.split(":") for pair in contrast.split(","))
        other = train.parse("&".join(f"{key}={value}" for key, value in {**pairs(one), **differs}.items()))
        assert {key for key in other if other[key] != setting.get(key)} >= set(differs)


def pairs(query):
    return dict(pair.split("=") for pair in query.split("&"))
