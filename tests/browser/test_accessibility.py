"""axe finds nothing on any page, unfolded, in either theme, on a desk and on a phone."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

# Of a table's rows, all made alike, three do: axe looks behind each word, and some tables hold a thousand.
UNFOLD = """
document.querySelectorAll("details").forEach(box => box.open = true);
document.querySelectorAll("tbody tr:nth-child(n + 4)").forEach(row => row.remove());
"""


@pytest.fixture
def violations():
    """What axe says of the page that is shown, by all its rules or by some."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def look(page, *rules: str) -> list[str]:
        some = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
        found = axe.run(page, options={"resultTypes": ["violations"]} | some).response["violations"]
        return [f"{page.url} {rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]

    return look


@pytest.mark.parametrize(
    ("scheme", "width", "rules"),
    [
        ("light", 1280, ()),
        ("dark", 390, ()),
        # a scheme changes nothing but colours
        pytest.param("dark", 1280, ("color-contrast",), marks=pytest.mark.slow),
        pytest.param("light", 390, ("color-contrast",), marks=pytest.mark.slow),
    ],
)
def test_on_every_page(deployed, visit, violations, scheme, width, rules):
    found = []
    with visit(scheme, width) as visitor:
        for page in deployed.pages():
            visitor.open(deployed.at(page))
            visitor.page.evaluate(UNFOLD)
            visitor.page.wait_for_timeout(50)  # until what came to light is known to scroll
            found += violations(visitor.page, *rules)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_with_the_menu_open(deployed, visit, violations, scheme):
    with visit(scheme, 390) as visitor:
        visitor.open(deployed.at(deployed.page_with(".vg-plot", deep=True)))
        visitor.page.locator("header label[for=__drawer]").click()
        assert not violations(visitor.page)


@pytest.mark.parametrize("width", [1280, 390])
def test_while_searching(deployed, visit, violations, width):
    with visit("light", width) as visitor:
        visitor.open(deployed.at(""))
        visitor.page.keyboard.press("/")
        visitor.page.keyboard.type("residual")
        visitor.page.locator(".md-search-result__item").first.wait_for()
        assert not violations(visitor.page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_with_live_figures_and_a_number_explained(deployed, visit, violations, scheme):
    with visit(scheme) as visitor:
        visitor.open(deployed.at(deployed.page_with(".vg-plot", deep=True)))
        visitor.draw_all()
        visitor.page.locator("p > data.vg-number[role=button]").first.press("Enter")
        visitor.page.locator(".vg-popover").wait_for()
        assert not violations(visitor.page)


def test_the_keyboard_shows_where_it_is(deployed, visit):
    """Each stop of the Tab key is in sight and outlined, or changed in some other way that can be seen."""
    with visit() as visitor:
        visitor.open(deployed.at(deployed.page_with(".vg-plot", deep=True)))
        stops = []
        for _ in range(200):
            visitor.page.keyboard.press("Tab")
            stop = visitor.page.evaluate("""() => {
                const stop = document.activeElement;
                if (stop === document.body) return null;  // past the page's end
                const sign = stop.matches(".md-option") ? stop.nextElementSibling : stop; // its label stands for it
                const css = getComputedStyle(sign), box = sign.getBoundingClientRect();
                return {
                    what: stop.outerHTML.slice(0, 120),
                    kind: stop.className,
                    shown: css.outlineStyle !== "none" && parseFloat(css.outlineWidth) > 0,
                    field: stop.matches("input"),  // a caret stands in it
                    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
                };
            }""")
            if not stop:
                break
            stops.append(stop)
    kinds = " ".join(stop["kind"] for stop in stops).split()
    assert {"md-tabs__link", "vg-plot", "md-footer__link"} <= set(kinds)
    hidden = [stop["what"] for stop in stops if not (stop["shown"] or stop["field"]) or not stop["seen"]]
    assert not hidden, "\n".join(hidden)


def test_nothing_moves_for_who_asks_for_no_motion(deployed, visit):
    with visit() as visitor:  # whose browser asks for it
        visitor.open(deployed.at(deployed.page_with(".vg-plot")))
        moving = visitor.page.evaluate("""() => [...document.querySelectorAll("*")].filter(element => {
            const css = getComputedStyle(element);
            return [css.transitionDuration, css.animationDuration]
                .some(list => list.split(",").some(time => parseFloat(time) > 0.01));
        }).map(element => element.outerHTML.slice(0, 80))""")
        assert not moving, "\n".join(moving[:10])
