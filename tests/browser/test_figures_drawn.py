"""Every figure of the latest version is drawn, however a reader comes to it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

PLOT = ".vg-plot[data-plot]"
TICK = "plot => getComputedStyle(plot.querySelector('.xtick text')).fill"
LUMINANCE = "colour => colour.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0)"


def blemishes(visitor) -> list[str]:
    """What is wrong with the figures of the page that is shown."""
    found = []
    for plot in visitor.draw_all():
        where = f"{visitor.page.url} {plot['name']}"
        if not plot["drawn"]:
            found.append(f"{where} is not drawn {plot['text']}")
        elif plot["width"] < 200 or plot["height"] < 200:
            found.append(f"{where} is {plot['width']} by {plot['height']} pixels")
        elif [plot["width"], plot["height"]] != plot["room"]:
            found.append(f"{where} is {plot['width']} by {plot['height']} pixels in a place of {plot['room']}")
        elif plot["share"] < 0.9:
            found.append(f"{where} takes only {plot['share']:.0%} of the column")
        elif plot["layered"] != "absolute":
            found.append(f"{where} has lost Plotly's styles")
    if visitor.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append(f"{visitor.page.url} is wider than the window")
    return found


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_by_loading_each_page(deployed, visit, scheme, width):
    found = []
    with visit(scheme, width) as visitor:
        for page in deployed.pages():
            visitor.open(deployed.at(page))
            before = visitor.page.evaluate("heights")
            found += blemishes(visitor)
            after = visitor.page.evaluate("[...document.querySelectorAll('.vg-plot')].map(plot => plot.offsetHeight)")
            if before != after:
                found.append(f"{page}: the plots' heights went from {before} to {after}")
            shifted = visitor.page.evaluate("shifts")
            if shifted > 0.02:
                found.append(f"{page}: the page shifted by {shifted:.3f} while it was read")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
def test_by_walking_through_the_site(deployed, visit, scheme, width):
    """From the first page to the last by the footer's link, without ever loading one anew."""
    found, seen = [], [""]
    with visit(scheme, width) as visitor:
        visitor.open(deployed.at(""))
        while True:
            found += blemishes(visitor)
            following = visitor.page.locator(".md-footer__link--next")
            if not following.count():
                break
            visitor.instantly(following.click)
            seen.append(visitor.page.url.removeprefix(deployed.at("")).partition("#")[0])
    assert not found, "\n".join(found)
    assert set(seen) == set(deployed.pages()), "the footer's links pass by a page"


def test_by_returning_to_a_page(deployed, visit):
    page = deployed.page_with(PLOT, deep=True)
    with visit() as visitor:
        visitor.open(deployed.at(page))
        visitor.draw_all()
        visitor.instantly(visitor.page.locator(".md-logo:visible").click, to=deployed.at(""))
        visitor.instantly(visitor.page.go_back, to=deployed.at(page))
        assert not blemishes(visitor)


def test_a_figure_is_drawn_once(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(PLOT)))
        visitor.draw_all()
        plot = visitor.page.locator(PLOT).first
        plot.evaluate("plot => { plot.querySelector('svg').dataset.mine = ''; vg.mount(); vg.mount(); }")
        visitor.page.wait_for_timeout(200)
        assert plot.locator("svg[data-mine]").count() == 1
        assert plot.locator(".svg-container").count() == 1


def test_the_palette_toggle_recolours_and_keeps_what_the_reader_did(deployed, visit):
    with visit("light") as visitor:
        visitor.open(deployed.at(deployed.page_with(PLOT)))
        visitor.draw_all()
        plot = visitor.page.locator(PLOT).first
        ink = plot.evaluate(TICK)
        plot.evaluate("plot => Plotly.restyle(plot, {visible: 'legendonly'}, [0])")
        for _ in range(3):  # the system's scheme, light, dark
            if visitor.page.locator("body[data-md-color-scheme=slate]").count():
                break
            visitor.page.locator("[data-md-component=palette] label:visible").click()
        visitor.page.wait_for_timeout(300)
        in_the_dark = plot.evaluate(TICK)
        assert visitor.page.evaluate(LUMINANCE, in_the_dark) > visitor.page.evaluate(LUMINANCE, ink) + 200
        assert plot.evaluate("plot => plot.data[0].visible") == "legendonly"
        assert plot.evaluate("plot => plot._fullLayout.paper_bgcolor") == "rgba(0,0,0,0)"


def test_the_buttons_are_few_and_none_sends_the_figure_away(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(PLOT)))
        visitor.draw_all()
        plot = visitor.page.locator(PLOT).first
        buttons = plot.locator(".modebar-btn")
        titles = [button.get_attribute("data-title") for button in buttons.all()]
        assert titles == ["Zoom", "Pan", "Reset axes", "Download plot"]
        assert not plot.locator("a[href*=plotly], .modebar-btn--logo").count()
        group = plot.locator(".modebar-group").first
        visible = "group => Number(getComputedStyle(group).opacity)"
        visitor.page.mouse.move(0, 0)
        visitor.page.wait_for_timeout(500)
        assert group.evaluate(visible) == 0
        buttons.first.focus()  # by keyboard
        visitor.page.wait_for_timeout(500)
        assert group.evaluate(visible) == 1


def test_without_a_network_once_the_page_is_there(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(PLOT)))
        visitor.page.wait_for_function("window.Plotly")
        visitor.page.context.set_offline(True)
        assert not blemishes(visitor)
        visitor.page.set_viewport_size({"width": 700, "height": 900})
        visitor.page.wait_for_timeout(300)
        assert not blemishes(visitor)


def test_on_paper_it_is_light(deployed, visit):
    with visit("dark") as visitor:
        visitor.open(deployed.at(deployed.page_with(PLOT)))
        visitor.draw_all()
        plot = visitor.page.locator(PLOT).first
        on_screen = visitor.page.evaluate(LUMINANCE, plot.evaluate(TICK))
        visitor.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        visitor.page.wait_for_timeout(300)
        assert visitor.page.evaluate(LUMINANCE, plot.evaluate(TICK)) < on_screen - 200
        visitor.page.evaluate("dispatchEvent(new Event('afterprint'))")
        visitor.page.wait_for_timeout(300)
        assert visitor.page.evaluate(LUMINANCE, plot.evaluate(TICK)) == on_screen


def test_a_figure_that_cannot_be_drawn_says_so(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(PLOT)))
        visitor.page.evaluate("""() => {
            const plot = document.createElement("div");
            plot.className = "vg-plot";
            plot.dataset.plot = '{"data": [{"type": "heatmap"}], "layout": {}}';
            document.querySelector("h1").after(plot);
            vg.mount();
        }""")
        box = visitor.page.locator(".vg-plot.vg-error")
        box.wait_for()
        assert "could not be drawn" in box.inner_text()
        assert "heatmap" in box.inner_text()
        assert len(visitor.troubles) == 1, visitor.troubles
        assert "heatmap" in visitor.troubles.pop()
