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
    assert {*figures, *errors} == {citation.figure for citation in drawn}
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
