"""A figure saved as a picture is whole, with finding, plot, caption, name and address, and needs nothing else."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from copy import copy

import pytest

pytestmark = pytest.mark.browser

SVG = "{http://www.w3.org/2000/svg}"
DRAWS = {SVG + tag for tag in ("svg", "g", "defs", "clipPath", "path", "rect", "circle", "line", "text", "tspan")}
FILLS = {SVG + tag for tag in ("pattern", "linearGradient", "radialGradient", "stop")}
FIGURES = {  # by what stands in them
    "any": "figure .vg-poster",
    "mathematics": "figcaption .arithmatex",
    "a power of ten": ".vg-finding sup",
}


def words(text: str) -> str:
    return " ".join(text.split())


def words_of(picture: etree.Element) -> str:
    return words(" ".join("".join(text.itertext()) for text in picture.iter(f"{SVG}text")))


def brightest(picture: etree.Element) -> int:
    """How much red, of 255, the words have that Plotly wrote."""
    styles = " ".join(text.get("style", "") for text in picture.iter(f"{SVG}text"))
    return max(map(int, re.findall(r"fill: rgb\((\d+),", styles)))


def plain(element) -> str:
    """What a reader sees of an element of a built page, its formulas as the search has them."""
    element = copy(element)
    for markup in element.select("bdi"):
        markup.decompose()
    for power in element.select("sup"):
        power.string = power.text.translate(str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return words(element.text)


def in_line(text: str) -> str:
    """Text without the signs of a power, which a formula's text has in line and a picture raised."""
    return re.sub(r"[\^()]", "", text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "−0123456789")))


def first(visitor, deployed, selector: str, version: str = "latest"):
    """The site's first such figure, not yet live, its page, and what is read as its finding and its caption."""
    page = deployed.page_with(selector)
    visitor.open(deployed.at(page, version))
    built = deployed.html(page).select_one(selector).find_parent("figure")
    read = [plain(built.select_one(part)) for part in (".vg-finding", "figcaption")]
    return visitor.page.locator(f"#{built['id']}"), page, read


@pytest.mark.parametrize("selector", FIGURES.values(), ids=FIGURES)
def test_it_is_whole_and_needs_nothing_else(deployed, visit, download, selector):
    with visit("dark") as visitor:
        figure, page, (finding, caption) = first(visitor, deployed, selector)
        visitor.page.locator(".md-version__link").first.wait_for(state="attached")
        picture = etree.fromstring(download(figure, "svg"))
        written = words_of(picture)
        assert in_line(written).count(in_line(finding)) == 1
        assert in_line(written).count(in_line(caption)) == 1
        assert "10^" not in written
        name, site = figure.get_attribute("data-figure"), deployed.html("").select_one(".md-header__topic").text.strip()
        # latest will be another version some day
        assert written.endswith(f"Figure {name} · {site} {deployed.at(page, '1.0')}#fig-{name}")
        for axis in figure.locator(".vg-poster.vg-wide text").all_text_contents():
            assert axis.strip() in "".join(picture.itertext())
        assert {element.tag for element in picture.iter()} <= DRAWS | FILLS, "what other programs can't draw"
        values = [value for element in picture.iter() for value in element.attrib.values()]
        assert not [value for value in values if re.search(r"https?:|data:|file:|var\(|url\((?!['\"]?#)", value)]
        title, ground = picture.find(f"{SVG}text"), picture.find(f"{SVG}rect")
        assert (title.get("fill"), ground.get("fill")) == ("#1d2126", "#fff"), "ink on paper, though the page is dark"
        assert 0 < brightest(picture) < 128
        assert not figure.locator(".vg-is-live").count()


def test_an_old_version_names_itself(deployed, visit, download):
    with visit() as visitor:
        figure, page, _ = first(visitor, deployed, FIGURES["any"], "0.9")
        address = f"{deployed.at(page, '0.9')}#{figure.get_attribute('id')}"
        assert words_of(etree.fromstring(download(figure, "svg"))).endswith(f" {address}")


def test_a_long_caption_stays_inside(deployed, visit, download):
    with visit() as visitor:
        figure, *_ = first(visitor, deployed, FIGURES["any"])
        figure.locator("figcaption p").evaluate("p => p.append(' word'.repeat(200), ' ', 'x'.repeat(500))")
        picture = download(figure, "svg").decode()
        boxes = visitor.page.evaluate(
            """text => {
                const box = document.body.appendChild(document.createElement("div"));
                box.innerHTML = text;
                const svg = box.querySelector("svg"), whole = svg.getBoundingClientRect();
                return [...svg.querySelectorAll(":scope > text > tspan")].map(line => {
                    const { left, right, bottom } = line.getBoundingClientRect();
                    return [left - whole.left, whole.right - right, whole.bottom - bottom];
                });
            }""",
            picture,
        )
        assert len(boxes) > 20
        assert min(min(box) for box in boxes) > 10
        assert words_of(etree.fromstring(picture)).count(" word") == 200


def test_as_png(deployed, visit, download):
    with visit("light", 390) as visitor:
        figure, *_ = first(visitor, deployed, FIGURES["any"])
        png = download(figure, "png")
        picture = etree.fromstring(download(figure, "svg"))
        assert png.startswith(b"\x89PNG")
        size = [int.from_bytes(png[at : at + 4]) for at in (16, 20)]
        assert size == [3 * int(picture.get(side)) for side in ("width", "height")]
        assert size[0] > 1920, "narrower than a slide"
        assert len(png) > 50_000, "nothing is drawn"


def test_by_keyboard(deployed, visit):
    with visit() as visitor:
        figure, *_ = first(visitor, deployed, FIGURES["any"])
        keyboard = visitor.page.keyboard
        figure.locator(".vg-data summary").focus()
        keyboard.press("Enter")
        for form, key in (("png", "Enter"), ("svg", "Space")):
            keyboard.press("Tab")
            with visitor.page.expect_download() as saved:
                keyboard.press(key)
            assert saved.value.suggested_filename.endswith(f".{form}")
            assert visitor.page.evaluate("document.activeElement.value") == form


def test_a_live_one_is_saved_as_the_reader_left_it(deployed, visit, download):
    with visit("dark") as visitor:
        figure, *_ = first(visitor, deployed, FIGURES["any"])
        before = download(figure, "svg")
        figure.locator(".vg-plot").hover()
        figure.locator(".vg-is-live").wait_for()
        visitor.page.evaluate("Plotly.relayout(document.querySelector('.vg-live'), {'xaxis.title.text': 'mine'})")
        after = download(figure, "svg")
        assert ">mine<" in after.decode()
        assert ">mine<" not in before.decode()
        assert 0 < brightest(etree.fromstring(after)) < 128, "as it was painted for the dark"


@pytest.mark.parametrize("missing", ["save.js", "plotly-basic.min.js"])
def test_what_fails_is_told(deployed, visit, download, missing):
    with visit() as visitor:
        figure, *_ = first(visitor, deployed, FIGURES["any"])
        figure.locator(".vg-data summary").click()
        visitor.page.route(f"**/{missing}", lambda route: route.abort())
        figure.locator("button[value=png]").click()
        told = figure.locator(".vg-data [role=alert]")
        told.wait_for()
        assert re.fullmatch(rf"This could not be saved: \S*{missing} could not be loaded", told.inner_text())
        visitor.troubles.clear()  # the browser's own complaint
        visitor.page.unroute(f"**/{missing}")
        assert download(figure, "png").startswith(b"\x89PNG")
        assert not told.count()
