"""The map of causes against cures: a table on a desk, a list on a phone, and a way to each figure."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

TOP = "document.getElementById('{}')?.getBoundingClientRect().top"


@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_read_and_walked_through(deployed, visit, width):
    with visit("light", width) as visitor:
        page = visitor.page
        visitor.open(deployed.at("map/"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cell = page.locator(".vg-map td:has(a)").first
        assert cell.is_visible()
        label = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
        assert (label == f'"{cell.get_attribute("data-label")}"') == (width == 390)
        assert page.locator(".vg-map td:not(:has(a))").first.is_visible() == (width == 1280)
        walked = page.evaluate(
            """links => links.map(link => { link.focus(); return link == document.activeElement; })""",
            page.locator(".vg-map a").element_handles(),
        )
        heads = page.locator(".vg-map thead a").count()
        assert walked == [width == 1280] * heads + [True] * (len(walked) - heads)
        figure = cell.locator("a").get_attribute("href").partition("#")[2]
        cell.locator("a").click()
        page.wait_for_url(f"**#{figure}")
        page.wait_for_function(f"0 <= {TOP.format(figure)} && {TOP.format(figure)} < innerHeight / 2")


def test_each_entry_leads_to_a_figure(deployed):
    links = deployed.html("map/").select(".vg-map td a")
    assert len(links) >= 15
    for link in links:
        page, _, figure = link["href"].removeprefix("../").partition("#")
        assert deployed.html(page).find(id=figure), link
