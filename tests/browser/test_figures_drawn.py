"""Every figure of the latest version is a poster first and live when a reader comes to it, in whatever way."""

from __future__ import annotations

from functools import partial

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


# Where the words on a plot's axes stand, of what is in sight.
WORDS = """plot => [...plot.querySelectorAll("svg text")]
    .filter(text => text.checkVisibility({visibilityProperty: true}) && !text.closest(".hoverlayer, .modebar"))
    .map(text => { const box = text.getBoundingClientRect(), room = plot.getBoundingClientRect();
                   return [text.textContent, box.x - room.x, box.y - room.y]; })
    .filter(([words]) => words.trim())
    .sort((a, b) => a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1] || a[2] - b[2])"""


def jumps(poster: list, plot) -> list[str]:
    """The words of a poster that a live plot lacks or has elsewhere."""
    where = f"{plot.page.url} {plot.evaluate('plot => plot.closest(`figure`)?.id')}"
    if plot.locator(".vg-poster").count():
        return [f"{where}: the poster is still there"]
    live = plot.evaluate(WORDS)
    if [word for word, *_ in poster] != [word for word, *_ in live]:
        return [f"{where}: {poster} became {live}"]
    far = max(max(abs(x - u), abs(y - v)) for (_, x, y), (_, u, v) in zip(poster, live, strict=True))
    return [f"{where}: a word moves by {far:.1f} pixels"] if far > 3 else []


@pytest.mark.parametrize("act", ["hover", "click", "focus", "tap"])
def test_each_way_to_a_live_figure(deployed, visit, act):
    with visit(touch=act == "tap") as visitor:
        visitor.open(deployed.at(deployed.page_with(".vg-poster")))
        plot = visitor.page.locator(PLOT).first
        getattr(plot, act)()
        visitor.page.wait_for_selector(".vg-is-live .vg-live .main-svg")
        assert plot.get_attribute("aria-label")
        assert plot.get_attribute("role") == "group"


def test_a_poster_stays_where_the_bundle_cannot_be_had(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(".vg-poster")))
        visitor.page.context.set_offline(True)
        plot = visitor.page.locator(PLOT).first
        plot.hover()
        visitor.page.wait_for_function("!document.querySelector('script[src*=plotly]') || !window.Plotly")
        visitor.page.wait_for_timeout(300)
        assert plot.locator(".vg-poster:visible").count() == 1
        visitor.troubles.clear()  # the browser's own complaint
        visitor.page.context.set_offline(False)
        visitor.page.mouse.move(0, 0)
        plot.hover()
        visitor.page.wait_for_selector(".vg-is-live")


def test_a_poster_follows_the_palette_toggle(deployed, visit):
    with visit("light") as visitor:
        visitor.open(deployed.at(deployed.page_with(".vg-poster")))
        word = visitor.page.locator(f"{PLOT} .vg-poster text:visible").first
        in_the_light = word.evaluate("text => getComputedStyle(text).fill")
        visitor.page.evaluate("document.body.dataset.mdColorScheme = 'slate'")
        in_the_dark = word.evaluate("text => getComputedStyle(text).fill")
        assert visitor.page.evaluate(LUMINANCE, in_the_dark) > visitor.page.evaluate(LUMINANCE, in_the_light) + 200


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_by_loading_each_page(deployed, visit, scheme, width):
    """Each poster gives way to its live figure without a jump, of the page, the plot or a word in it."""
    found = []
    with visit(scheme, width) as visitor:
        for page in deployed.pages():
            visitor.open(deployed.at(page))
            before, plots = visitor.page.evaluate("heights"), visitor.page.locator(PLOT)
            posters = [plot.locator(".vg-poster").count() and plot.evaluate(WORDS) for plot in plots.all()]
            if any(posters) and visitor.page.evaluate("Boolean(window.Plotly)"):
                found.append(f"{page} loads the bundle by itself")
            found += blemishes(visitor)
            for poster, plot in zip(posters, plots.all(), strict=True):
                if poster:
                    found += jumps(poster, plot)
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
            visitor.instantly(partial(following.press, "Enter"))
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
        live = plot.locator(".vg-live")
        live.evaluate("live => Plotly.restyle(live, {visible: 'legendonly'}, [0])")
        for _ in range(3):  # the system's scheme, light, dark
            if visitor.page.locator("body[data-md-color-scheme=slate]").count():
                break
            visitor.page.locator("[data-md-component=palette] label:visible").click()
        visitor.page.wait_for_timeout(300)
        in_the_dark = plot.evaluate(TICK)
        assert visitor.page.evaluate(LUMINANCE, in_the_dark) > visitor.page.evaluate(LUMINANCE, ink) + 200
        assert live.evaluate("live => live.data[0].visible") == "legendonly"
        assert live.evaluate("live => live._fullLayout.paper_bgcolor") == "rgba(0,0,0,0)"


def test_the_buttons_are_few_and_none_sends_the_figure_away(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(PLOT)))
        visitor.draw_all()
        plot = visitor.page.locator(PLOT).first
        buttons = plot.locator(".modebar-btn")
        titles = [button.get_attribute("data-title") for button in buttons.all()]
        assert titles == ["Zoom", "Pan", "Reset axes"]
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
        visitor.page.locator(PLOT).first.hover()
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
