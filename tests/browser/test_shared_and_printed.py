"""What a page shows where a link to it is shared, and on paper."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.browser

CHROME = (".md-header", ".md-tabs", ".md-sidebar", ".md-footer__inner", ".md-top", ".headerlink", ".vg-csv")


def meta(html, name: str) -> str:
    tag = html.select_one(f'meta[property="{name}"], meta[name="{name}"]')
    return tag["content"] if tag else ""


def test_each_page_has_a_title_and_a_description_of_its_own(deployed):
    pages = {page: deployed.html(page) for page in deployed.pages()}
    assert not [page for page, html in pages.items() if not 40 <= len(meta(html, "description")) <= 200]
    for told in ("description", "og:title"):
        count = Counter(meta(html, told) for html in pages.values())
        assert not [text for text, times in count.items() if times > 1], f"several pages have one {told}"


def test_a_page_with_a_figure_is_shared_with_its_picture(deployed):
    for page in deployed.pages():
        html = deployed.html(page)
        if not html.select_one("figure .vg-poster"):
            continue
        picture = meta(html, "og:image")
        assert picture.startswith(deployed.url), page
        file = deployed.folder / urlsplit(picture).path.removeprefix(urlsplit(deployed.url).path)
        assert file.read_bytes().startswith(b"\x89PNG"), page


def test_a_printed_page_holds_what_belongs_on_paper(deployed, visit):
    page = deployed.page_with(".vg-claims", deep=True)
    with visit("dark") as visitor:
        visitor.open(deployed.at(page))
        visitor.page.emulate_media(media="print")
        visitor.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        for chrome in (
            ".md-header",
            ".md-tabs",
            ".md-sidebar",
            ".md-footer__inner",
            ".md-top",
            ".headerlink",
            ".vg-csv",
        ):
            for part in visitor.page.locator(chrome).all():
                assert not part.is_visible(), chrome
        assert visitor.page.locator(".vg-claim").first.is_visible()
        assert not visitor.page.locator(".vg-data table, .vg-source pre").first.is_visible()
        paper = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")
        height = "getComputedStyle(document.querySelector('figure')).breakInside"
        assert visitor.page.evaluate(height) == "avoid"


def test_a_printed_page_names_the_addresses_of_its_sources(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at("about/sources/"))
        visitor.page.emulate_media(media="print")
        address = "link => getComputedStyle(link, '::after').content"
        links = visitor.page.locator(".md-content p a:not(.headerlink)").all()
        assert links
        for link in links:
            href = link.get_attribute("href")
            assert (href in link.evaluate(address)) != href.startswith((deployed.url, "#", "."))


def test_the_exercises_print_with_their_answers_or_without(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at("teach/exercises/"))
        answers, choice = (
            visitor.page.locator("details.success"),
            visitor.page.get_by_label("Print the questions alone"),
        )
        choice.check()
        assert answers.first.is_visible()
        visitor.page.emulate_media(media="print")
        assert not answers.first.is_visible()
        assert not choice.is_visible()
        visitor.page.emulate_media(media="screen")
        choice.uncheck()
        visitor.page.emulate_media(media="print")
        assert answers.first.is_visible()


# Of all that has words of its own; a formula is as large as its letters. What is raised or lowered may be smaller.
SMALLEST = """sheet => Math.min(...[...sheet.querySelectorAll("*")]
    .filter(part => part.matches(".katex") || !part.closest(".katex, sup, sub")
                    && [...part.childNodes].some(child => child.nodeType == 3 && child.data.trim()))
    .map(part => parseFloat(getComputedStyle(part).fontSize) * 0.75))"""  # in points


def test_the_cheat_sheet_prints_on_one_page_and_can_be_read(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at("teach/cheatsheet/"))
        paper = visitor.page.pdf(prefer_css_page_size=True)
        visitor.page.emulate_media(media="print")
        smallest = visitor.page.locator(".sheet").evaluate(SMALLEST)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
    (size,) = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", paper)
    assert [round(float(side)) for side in size] == [595, 842], "not A4"
    assert smallest > 7.49


def test_what_is_not_found_leads_on(deployed, visit):
    address, page = f"{deployed.url}0.1/gone/for/long/", deployed.folder / "latest/404.html"
    with visit() as visitor:
        visitor.page.route(address, lambda route: route.fulfill(path=page))  # as hosts answer what they don't have
        visitor.open(address)
        visitor.page.locator(".md-version__link").nth(1).wait_for(state="attached")  # the selector that the page names
        links = visitor.page.locator(".md-content li a")
        assert links.count() > 3
        links.first.click()
        visitor.page.wait_for_url(deployed.at(""))


def test_a_finding_has_the_link_of_its_figure(deployed, visit):
    page = deployed.page_with(".vg-plot")
    with visit() as visitor:
        visitor.open(deployed.at(page))
        figure = visitor.page.locator(".vg-figure[id]").first
        figure.locator(".vg-finding .headerlink").click(force=True)
        assert visitor.page.url == f"{deployed.at(page)}#{figure.get_attribute('id')}"
