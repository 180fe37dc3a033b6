"""A cited number tells where it comes from, and a figure's data can be saved."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

pytestmark = pytest.mark.browser

CITED = "p > data.vg-number"


@pytest.fixture
def cited(deployed, visit):
    """A page with a cited number, and that number."""
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(CITED)))
        yield visitor.page, visitor.page.locator(f"{CITED}[role=button]").first


def test_by_keyboard(cited):
    page, number = cited
    box = page.locator(".vg-popover")
    number.focus()
    page.keyboard.press("Enter")
    box.wait_for()
    assert number.get_attribute("aria-expanded") == "true"
    assert float(box.locator("output").inner_text()) == float(number.get_attribute("value"))
    assert f"{number.get_attribute('data-figure')}.{number.get_attribute('data-number')}" in box.inner_text()
    page.keyboard.press("Tab")
    assert box.locator("a:focus").count() == 1
    page.keyboard.press("Escape")
    box.wait_for(state="detached")
    assert number.get_attribute("aria-expanded") == "false"


def test_by_mouse(cited):
    page, number = cited
    box = page.locator(".vg-popover")
    number.click()
    box.wait_for()
    number.click()
    box.wait_for(state="detached")
    number.click()
    page.locator("h1").click()
    box.wait_for(state="detached")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_box_stays_in_the_window(deployed, visit, width):
    with visit("light", width) as visitor:
        visitor.open(deployed.at(deployed.page_with(CITED)))
        for number in visitor.page.locator(f"{CITED}[role=button]").all()[:5]:
            number.scroll_into_view_if_needed()
            number.press("Enter")
            box = visitor.page.locator(".vg-popover").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            visitor.page.keyboard.press("Escape")


def test_the_link_leads_to_the_figure_on_the_page(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at("problem/chain/"))
        visitor.page.locator(f"{CITED}[data-figure=sigmoid_decay][role=button]").first.press("Enter")
        visitor.page.locator(".vg-popover a").click()
        assert visitor.page.locator(":target").get_attribute("data-figure") == "sigmoid_decay"


def test_the_link_leads_to_the_page_of_all_numbers(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at("faq/"))
        number = visitor.page.locator(f"{CITED}[role=button]").first
        figure = number.get_attribute("data-figure")
        number.press("Enter")
        visitor.instantly(visitor.page.locator(".vg-popover a").click)
        assert visitor.page.url == deployed.at(f"about/numbers/#{figure}")
        assert visitor.page.locator(f"h2#{figure}").is_visible()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(("page", "target"), [("about/numbers/", "h2[id]"), ("claims/", "dt[data-statements]")])
def test_a_link_into_a_long_page_leads_where_it_points(deployed, visit, page, target, width):
    """What is far away there is laid out when it comes near; until then its height is a guess."""
    targets = [element["id"] for element in deployed.html(page).select(target)]
    for name in (targets[len(targets) // 2], targets[-5]):
        with visit(width=width) as visitor:
            visitor.open(f"{deployed.at(page)}#{name}")
            visitor.page.wait_for_timeout(300)  # in which what has come near takes its place
            top = visitor.page.evaluate("name => document.getElementById(name).getBoundingClientRect().top", name)
            assert 40 < top < 200, f"{name} lies {top} px below the window's upper edge"


def first_with_data(visitor, deployed):
    visitor.open(deployed.at(deployed.page_with(".vg-data table")))
    return visitor.page.locator("figure.vg-figure:has(.vg-data table)").first


def test_the_data_as_csv(deployed, visit, download):
    with visit() as visitor:
        figure = first_with_data(visitor, deployed)
        rows = list(csv.reader(io.StringIO(download(figure, "csv").decode(), newline="")))
        shown = figure.locator(".vg-data tr").all()
        assert len(rows) == len(shown)
        first = [re.sub(r"\s+", " ", cell.text_content()).strip() for cell in shown[0].locator("th").all()]
        assert [re.sub(r"\s+", " ", cell) for cell in rows[0]] == first
        assert len(set(map(len, rows))) == 1


def test_the_data_as_json(deployed, visit, download):
    with visit() as visitor:
        figure = first_with_data(visitor, deployed)
        saved, plot = json.loads(download(figure, "json")), figure.locator(".vg-plot")
        assert saved.pop("figure") == figure.get_attribute("data-figure")
        assert saved.pop("finding") == plot.get_attribute("aria-label")
        assert saved == json.loads(plot.get_attribute("data-plot"))
