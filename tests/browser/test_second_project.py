"""Another author's folder, with this package installed and nothing else of ours: its figures are drawn, offline."""

import os
import re

import pytest
from playwright.sync_api import expect

from vgdocs.pages.citations import Scanner
from vgdocs.pages.site_check import check
from web import serve

pytestmark = pytest.mark.browser

CONFIG = """\
site_name: Tiny
theme: {name: material, font: false}
plugins: [search, vgdocs]
markdown_extensions: [pymdownx.superfences, {pymdownx.arithmatex: {generic: true}}, vgdocs.markdown]
"""
PAGE = "# Tiny\n\nIt is [[halving.first]], as in $0.5^1$.\n\n/// figure | halving\n\nA caption.\n///\n"


@pytest.fixture(scope="module", params=["never", "require"])
def built(request, make_project, tmp_path_factory):
    """Without posters and with them."""
    project = make_project(tmp_path_factory.mktemp("second"))
    (project.root / "mkdocs.yml").write_text(CONFIG)
    project.script()
    project.page("index", PAGE)
    os.environ["VGDOCS_POSTERS"] = request.param
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    return project


def test_its_figure_is_drawn_and_its_number_explained(built, profile):
    with serve(built.site) as address, profile(f"{address}/") as visitor:
        visitor.open(f"{address}/")
        visitor.sees_the_figure()
        visitor.is_told_of("halving.first")
        loaded = "document.fonts.ready.then(fonts => [...fonts].filter(font => font.status == 'loaded').length)"
        assert visitor.page.evaluate(loaded), "the formula's fonts"


def test_its_figure_is_saved_as_a_picture(built, profile, download):
    with serve(built.site) as address, profile(f"{address}/") as visitor:
        visitor.open(f"{address}/")
        picture = download(visitor.page.locator("#fig-halving"), "svg").decode()
        for text in ("A caption.", "Figure halving · Tiny", f"{address}/#fig-halving"):
            assert f">{text} <" in picture


def test_it_refers_to_nothing_that_is_not_there(built, profile):
    assert check(built.site, built.docs, Scanner.of_site(built.root)) == []
    with serve(built.site) as address, profile(f"{address}/") as visitor:
        visitor.open(f"{address}/")
        links = visitor.page.evaluate("[...document.links].map(link => link.href.split('#')[0])")
        for link in {link for link in links if link.startswith(address)}:
            assert visitor.page.request.get(link).status == 200, link


@pytest.mark.parametrize("built", ["never"], indirect=True)
def test_a_plot_that_is_not_drawn_says_so(built, profile):
    with serve(built.site) as address, profile(f"{address}/", javascript=False) as visitor:
        visitor.open(f"{address}/")
        expect(visitor.page.locator(".vg-plot")).to_have_text(re.compile("drawn by a script"))
        expect(visitor.page.locator(".vg-undrawn")).to_have_css("opacity", "1")
