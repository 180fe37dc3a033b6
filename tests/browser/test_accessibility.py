"""axe finds nothing on any page, unfolded, in either theme, on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

# Of a table's rows, all made alike, three do: axe looks behind each word, and some tables hold a thousand.
UNFOLD = """
document.querySelectorAll("details").forEach(box => box.open = true);
document.querySelectorAll("tbody tr:nth-child(n + 4)").forEach(row => row.remove());
"""


@pytest.fixture(scope="module")
def violations():
    """What axe says of the page that is shown, by all its rules or by some."""
    axe = (Path(__file__).parent / "vendor/axe.min.js").read_text("utf-8")

    def look(page, *rules: str) -> list[str]:
        some = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
        page.locator(".md-version__current").wait_for()  # which comes after the page
        page.evaluate(axe)
        found = page.evaluate("options => axe.run(options)", {"resultTypes": ["violations"]} | some)["violations"]
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


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_use(deployed, visit, violations, scheme, width):
    """With live figures, one about to be saved, and a number explained, then while searching, and on a phone with the
    menu open."""
    with visit(scheme, width) as visitor:
        page = visitor.page
        visitor.open(deployed.at(deployed.page_with(".vg-plot", deep=True)))
        visitor.draw_all()
        page.locator(".vg-data > summary").first.click()
        page.locator("button.vg-save:visible").first.wait_for()
        page.locator("p > data.vg-number[role=button]").first.press("Enter")
        page.locator(".vg-popover").wait_for()
        found = violations(page)
        page.keyboard.press("Escape")
        if width < 600:
            page.locator("header label[for=__drawer]").click()
            found += violations(page)
            page.locator("label.md-overlay").click(position={"x": width - 20, "y": 300})
        page.keyboard.press("/")
        page.keyboard.type("residual")
        page.locator(".md-search-result__item").first.wait_for()
        found += violations(page)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_while_networks_train(deployed, visit, violations, scheme, width):
    page = deployed.page_with(".vg-train")
    with visit(scheme, width) as visitor:
        visitor.open(f"{deployed.at(page)}?data=moons&depth=3&width=8&vs=depth:4")
        visitor.page.locator(".vg-train-play").click()
        visitor.page.wait_for_function("document.querySelector('#train').state()?.step > 2")
        visitor.page.locator(".vg-train-play").click()
        visitor.page.locator(".vg-train-table td").first.wait_for(state="attached")
        visitor.page.evaluate(UNFOLD)
        visitor.page.wait_for_timeout(50)  # until what came to light is known to scroll
        found = violations(visitor.page)
    assert not found, "\n".join(found)


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
