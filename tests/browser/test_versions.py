"""Two versions stand side by side, and a reader can tell and change which one it is."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.browser

OLD, NEW = "0.9", "1.0"
BANNER = "[data-md-component=outdated]"


def choose(page, version: str) -> None:
    """Choose another version in the selector, which opens when hovered and closes when clicked."""
    page.locator(".md-version").hover()
    page.locator(".md-version__link", has_text=version).click()
    page.wait_for_url(f"**/{version}/**")


def test_the_bare_address_leads_to_the_latest(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.url)
        visitor.page.wait_for_url(deployed.at(""))


def test_switching_keeps_the_page(deployed, visit):
    page = deployed.page_with(".vg-plot", deep=True)
    with visit() as visitor:
        visitor.open(deployed.at(page))
        visitor.page.locator(".md-version").wait_for()
        assert not visitor.page.locator(BANNER).is_visible()
        choose(visitor.page, OLD)
        visitor.page.wait_for_url(deployed.at(page, OLD))
        visitor.page.locator(BANNER).wait_for()
        assert all(plot["drawn"] for plot in visitor.draw_all())
        choose(visitor.page, NEW)
        visitor.page.wait_for_url(deployed.at(page, NEW))
        visitor.page.locator(".md-version").wait_for()
        assert not visitor.page.locator(BANNER).is_visible()


def test_the_button_is_named_by_what_it_reads(deployed, visit):
    """WCAG 2.5.3: whoever speaks to the page says what stands there."""
    with visit() as visitor:
        visitor.open(deployed.at(""))
        button = visitor.page.locator(".md-version__current")
        button.wait_for()
        named = button.get_attribute("aria-label")
        assert button.inner_text().strip() in named
        assert "version" in named


def test_the_banner_leads_to_the_same_page_of_the_latest(deployed, visit):
    page = next(page for page in deployed.pages(OLD) if page.count("/") > 1)
    with visit() as visitor:
        visitor.open(deployed.at(page, OLD))
        visitor.page.locator(f"{BANNER} a").click()
        visitor.page.wait_for_url(deployed.at(page))


def test_each_version_draws_with_its_own_bundle(deployed, visit):
    page = deployed.page_with(".vg-plot")
    for version in (OLD, NEW):
        asked = []
        with visit() as visitor:
            visitor.page.on("request", lambda request, asked=asked: asked.append(request.url))
            visitor.open(deployed.at(page, version))
            assert all(plot["drawn"] for plot in visitor.draw_all())
        assert [url for url in asked if "plotly" in url] == [deployed.at("assets/vendor/plotly-basic.min.js", version)]


def test_each_version_has_its_own_numbers_and_assets(deployed):
    versions = json.loads((deployed.folder / "versions.json").read_text("utf-8"))
    assert {entry["version"]: entry["aliases"] for entry in versions} == {OLD: [], NEW: ["latest"]}
    for version in (OLD, NEW, "latest"):
        for asset in ("assets/vg.js", "assets/vg.css", "assets/vendor/plotly-basic.min.js"):
            assert (deployed.folder / version / asset).is_file()
        assert json.loads((deployed.folder / version / "numbers.json").read_text("utf-8"))


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_canonical_page_is_the_latest(deployed, version):
    for page in deployed.pages(version):
        html = (deployed.folder / version / page / "index.html").read_text("utf-8")
        assert f'<link rel="canonical" href="{deployed.at(page)}">' in html, f"{version}/{page}"
