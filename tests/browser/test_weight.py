"""What a page costs before a reader does anything: bytes, requests to others, shifts. None of it depends on speed."""

from __future__ import annotations

import gzip
from urllib.parse import urljoin

import pytest

pytestmark = pytest.mark.browser

LIMITS = {"lab": 220, "mathematics": 200, "plain": 120}  # KB of 1024 bytes, as they travel, compressed
SHIFT = 0.001  # Cumulative Layout Shift; below 0.1 Google calls it good
GUESSED = ".vg-all-numbers, dt[data-statements]"  # pages in which what is far away has about its height, see the styles
OF_A_PAGE = ("explore.css", "train.css")  # a second one, which that page alone waits for
LEFT_TO_ITSELF = 700  # ms in which a page may still load something


def kind(html) -> str:
    if html.select_one(".vg-download"):
        return "lab"
    return "mathematics" if html.select_one(".katex") else "plain"


def weigh(visitor, url: str) -> dict[str, int]:
    """The bytes of each request, headers included, of a page that is opened and left to itself."""
    session = visitor.page.context.new_cdp_session(visitor.page)
    session.send("Network.enable")
    urls, sizes = {}, {}
    session.on("Network.requestWillBeSent", lambda event: urls.update({event["requestId"]: event["request"]["url"]}))
    session.on("Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}))
    visitor.open(url)
    visitor.page.wait_for_timeout(LEFT_TO_ITSELF)
    return {urls[request]: size for request, size in sizes.items() if request in urls}


def test_the_first_paint_waits_for_one_stylesheet(deployed):
    for page in deployed.pages():
        head = deployed.html(page).head
        sheets = [link["href"] for link in head.select("link[rel=stylesheet]") if not link["href"].endswith(OF_A_PAGE)]
        assert len(sheets) == 1, f"{page or 'home'} waits for {sheets}"
        waits = [s["src"] for s in deployed.html(page).select("script[src]") if not s.has_attr("defer")]
        assert not waits, f"{page or 'home'} waits for {waits}"


def test_the_network_that_trains_in_the_page_is_a_small_program(deployed):
    """Its engine, its settings, its worker and the page's own script; the digits are data."""
    scripts = [path for path in (deployed.folder / "latest/assets/train").glob("*.js") if path.name != "digits.js"]
    assert len(scripts) == 4
    sizes = {path.name: len(gzip.compress(path.read_bytes())) / 1024 for path in scripts}
    assert sum(sizes.values()) <= 25, sizes


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_no_page_is_heavy_or_shifts(deployed, visit, width):
    found = []
    for page in deployed.pages():
        with visit("light", width) as visitor:  # each with an empty cache
            sizes = weigh(visitor, deployed.at(page))
            weight, limit = sum(sizes.values()) / 1024, LIMITS[kind(deployed.html(page))]
            if weight > limit:
                heaviest = sorted(sizes, key=sizes.get, reverse=True)[:4]
                what = ", ".join(f"{url.rpartition('/')[2] or 'page'} {sizes[url] / 1024:.0f}" for url in heaviest)
                found.append(f"{page or 'home'} weighs {weight:.0f} KB of {limit}: {what}")
            early = deployed.html(page).select("link[rel=preload][as=font]")
            asked = {urljoin(deployed.at(page), font["href"]) for font in early}
            late = {url for url in sizes if url.endswith(".woff2")} - asked
            used = visitor.page.evaluate("[...document.fonts].filter(font => font.status == 'loaded').length")
            if late or used != len(early):
                found.append(f"{page or 'home'} asks early for {len(early)} fonts of {used}, and late for {late}")
            assert not visitor.page.workers, "the search's worker runs though nobody searches"
            assert not any("plotly" in url for url in sizes), f"{page} loads Plotly though nobody looks at a figure"
            if not visitor.page.locator(GUESSED).count():
                visitor.page.evaluate("scrollTo(0, document.body.scrollHeight)")
                visitor.page.wait_for_timeout(100)
            shifted = visitor.page.evaluate("shifts")
            if shifted > SHIFT:
                found.append(f"{page or 'home'} shifts by {shifted:.4f}")
    assert not found, "\n".join(found)


PLACES = """[...document.querySelectorAll("article table")].filter(table => table.checkVisibility()).map(table => {
  const { x, y, width, height } = table.getBoundingClientRect();
  return [x, y, width, height].map(Math.round);
}).concat([document.documentElement.scrollHeight])"""


@pytest.mark.parametrize("width", [390, 1280])
def test_a_table_stands_where_it_stood_before_material_put_it_into_boxes(deployed, visit, width):
    pages = [page for page in deployed.pages() if deployed.html(page).select_one("article > table")]
    pages = [page for page in pages if not deployed.html(page).select_one(f"{GUESSED}, .vg-explorer")]
    assert len(pages) > 9
    places = []
    for javascript in (False, True):
        with visit(width=width, javascript=javascript) as visitor:
            for page in pages:
                visitor.open(deployed.at(page))
                assert bool(visitor.page.locator(".md-typeset__scrollwrap").count()) is javascript
                places.append((page, visitor.page.evaluate(PLACES)))
    assert places[: len(pages)] == places[len(pages) :]
