"""The explorer: what it says is what was measured, every setting has an address, and a keyboard is enough."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as etree
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.browser

EXPLORER = "explore/"
VERDICT, PLOT, COMPLAINT = ".vg-explorer-verdict", ".vg-explorer-plot", ".vg-explorer-complaint"
EXPLORER_OBJECT = "vg.explore(document.querySelector('.vg-explorer'))"
GRID = f"{EXPLORER_OBJECT}.grid"  # as the page reads it
PRESETS = {  # in the order of the page
    "pytorch_relu": "vanishes",
    "xavier_sigmoid": "vanishes",
    "batchnorm_relu": "explodes",
    "residual_relu": "explodes",
    "unscaled_tanh": "explodes",
    "layernorm_sigmoid": "vanishes",
}


@pytest.fixture
def page(deployed):
    """The page's address, without a setting."""
    if EXPLORER not in deployed.pages():
        pytest.skip("this project has no explorer")
    return deployed.at(EXPLORER)


def drawn(visitor) -> None:
    """Wait until the live figure stands there."""
    visitor.page.wait_for_selector(f"{PLOT}.vg-is-live .trace", state="attached")


def shown(visitor) -> dict[str, str]:
    """What the controls say."""
    return visitor.page.evaluate(
        """() => Object.fromEntries(new FormData(document.querySelector(".vg-explorer-controls")))"""
    )


def said(visitor) -> str:
    return re.sub(r"\s+", " ", visitor.page.inner_text(VERDICT))


def value(text: str) -> float:
    """A number as the page writes it, with its powers of ten in line: 4.6 × 10−9."""
    mantissa, _, power = text.replace("−", "-").replace("×", "x").partition(" x 10")
    return float(f"{mantissa}e{power or 0}")


def asked(visitor) -> dict[str, str]:
    """What the address says."""
    return {key: values[0] for key, values in parse_qs(urlsplit(visitor.page.url).query).items()}


def test_nothing_but_the_page_is_fetched_before_it_is_used(page, visit):
    with visit() as visitor:
        asked_for = []
        visitor.page.on("request", lambda request: asked_for.append(request.url))
        visitor.open(page)
        visitor.page.wait_for_timeout(500)
        late = ["assets/explore/", *(["plotly"] if visitor.page.locator(".vg-poster").count() else [])]
        assert not [url for url in asked_for if any(name in url for name in late)]
        visitor.page.focus("[name=activation]")
        visitor.page.wait_for_selector(".vg-explorer-map td")
        parts = sorted(url.rpartition("/")[2] for url in asked_for if "assets/explore/" in url)
        assert parts == ["grid.js", "none-none.js"], "one touch asks for what it needs"


def test_without_javascript_the_opening_setting_and_the_presets_are_there(deployed, page, browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page)
    assert tab.locator(".vg-explorer-controls").is_hidden()
    assert tab.locator(".vg-explorer noscript").inner_text()
    assert tab.locator("#fig-explorer_grid").is_visible()
    assert tab.locator(".vg-explorer-presets a data.vg-number").count() == len(PRESETS)
    assert "per layer" in tab.inner_text(VERDICT)
    context.close()


@pytest.mark.parametrize(("query", "staged"), [("?h=theory", 0), ("?depth=50", 1), ("?depth=50&h=theory", 1)])
def test_a_link_to_the_figure_or_to_a_claim_leads_there(page, visit, query, staged):
    """Also one from the search, whose words to mark are no setting, and also where another setting is drawn."""
    with visit() as visitor:
        visitor.open(f"{page}{query}#fig-explorer_grid")
        visitor.page.wait_for_timeout(300)
        assert visitor.page.locator(PLOT).count() == staged
        assert visitor.page.locator("#fig-explorer_grid .vg-finding:visible").count() == 1
        assert visitor.page.locator("#fig-explorer_grid .vg-plot:visible").count() == 1
        claim = visitor.page.locator("#fig-explorer_grid .vg-claim").first
        visitor.open(f"{page}{query}#{claim.get_attribute('id')}")
        claim.wait_for()


def test_controls_offer_what_was_measured(page, visit):
    """The page's own HTML holds the choices; a new grid has to be told there."""
    with visit() as visitor:
        visitor.open(f"{page}?depth=50")
        drawn(visitor)
        axes = visitor.page.evaluate(f"{GRID}.axes")
        for name in ("activation", "family", "norm", "skip"):
            options = visitor.page.eval_on_selector_all(f"[name={name}] option", "all => all.map(o => o.value)")
            assert options == axes[name], name
        depths = visitor.page.eval_on_selector_all("[name=depth]", "all => all.map(o => +o.value)")
        assert depths == axes["depth"]
        slider = visitor.page.locator("[name=scale]")
        assert int(slider.get_attribute("max")) == len(axes["sigma_w2"]) - 1
        marks = visitor.page.evaluate(f"{GRID}.marks.map(mark => mark.sigma_w2)")
        at = visitor.page.eval_on_selector_all(".vg-marks [data-at]", "all => all.map(b => +b.dataset.at)")
        assert [axes["sigma_w2"][position] for position in at] == pytest.approx(marks)
        ticks = visitor.page.eval_on_selector_all("#vg-scales option", "all => all.map(o => +o.value)")
        assert ticks == at


@pytest.mark.parametrize(("place", "name"), list(enumerate(PRESETS)))
def test_a_presets_verdict_is_the_number_that_was_measured(deployed, page, visit, place, name):
    """The figure's record against what the page reads out of the grid, by two ways of storing and two languages."""
    numbers = json.loads((deployed.folder / "latest/numbers.json").read_text())["figures"]["explorer_grid"]["numbers"]
    with visit() as visitor:
        visitor.open(page)
        visitor.page.locator(".vg-explorer-presets a").nth(place).click()
        drawn(visitor)
        rate, left = re.search(
            r"×([\d.]+) per layer .* after 50 layers (.+?) (?:of the gradient|times)", said(visitor)
        ).groups()
        assert value(rate) == pytest.approx(numbers[f"preset.{name}.rate"], abs=6e-4)
        assert value(left) == pytest.approx(numbers[f"preset.{name}.ratio"], rel=0.06)
        assert PRESETS[name] in said(visitor)
        chosen = visitor.page.locator(".vg-explorer-presets a[aria-current]")
        assert chosen.count() == 1
        assert chosen.get_attribute("href").partition("?")[2] == urlsplit(visitor.page.url).query


def test_a_keyboard_is_enough(page, visit):
    with visit() as visitor:
        keys = visitor.page.keyboard
        visitor.open(page)
        visitor.walk_to("[name=activation]")
        keys.type("tanh")
        drawn(visitor)
        visitor.page.wait_for_url("**activation=tanh**")
        before = said(visitor)
        visitor.walk_to("[name=depth]")
        keys.press("ArrowRight")
        visitor.page.wait_for_url("**depth=100")
        assert "after 100 layers" in said(visitor)
        visitor.walk_to("[name=scale]")
        keys.press("End")
        visitor.page.wait_for_url("**sigma_w2=128**")
        spoken = visitor.page.get_attribute("[name=scale]", "aria-valuetext")
        assert "128" in spoken
        assert said(visitor) != before
        visitor.walk_to(".vg-explorer-copy")
        visitor.walk_to(".vg-explorer-map td a")
        keys.press("Home")
        keys.press("ArrowDown")
        label = visitor.page.evaluate("document.activeElement.ariaLabel")
        assert label.startswith("ReLU")  # below tanh
        assert label == visitor.page.inner_text(".vg-explorer-hint")
        keys.press("Enter")
        visitor.page.wait_for_url("**activation=relu**")
        assert shown(visitor)["activation"] == "relu"
        assert shown(visitor)["scale"] == "0"
        assert visitor.page.evaluate("document.activeElement.matches('.vg-explorer-map [aria-current]')"), (
            "focus is lost"
        )
        keys.press("Tab")  # the map is a single stop
        assert not visitor.page.evaluate("document.activeElement.matches('.vg-explorer-map *')")


def test_controls_have_names_and_the_verdict_is_announced(page, visit):
    with visit() as visitor:
        visitor.open(page)
        for name in ("Activation", "Normalisation", "Skip connections", "Weights"):
            assert visitor.page.get_by_role("combobox", name=name).count() == 1, name
        assert visitor.page.get_by_role("group", name="Depth").get_by_role("radio").count() == 4
        assert visitor.page.get_by_role("slider", name=re.compile("Scale of the weights")).count() == 1
        assert visitor.page.locator(f"{VERDICT}[role=status]").count() == 1


def test_a_link_leads_to_its_setting_and_back_again(page, visit):
    setting = "activation=gelu&family=orthogonal&init=he&norm=rms&skip=scaled&depth=20"
    with visit() as visitor:
        visitor.open(f"{page}?{setting}")
        drawn(visitor)
        assert (
            shown(visitor).items()
            >= {"activation": "gelu", "family": "orthogonal", "norm": "rms", "skip": "scaled", "depth": "20"}.items()
        )
        assert visitor.page.locator(COMPLAINT).is_hidden()
        verdict = said(visitor)
        visitor.page.select_option("[name=activation]", "selu")
        visitor.page.wait_for_url("**activation=selu**")
        visitor.page.select_option("[name=activation]", "gelu")
        visitor.page.wait_for_url(f"**?{setting}")  # written as it was read
        assert said(visitor) == verdict
        changed = {**shown(visitor)}
        visitor.page.reload()
        drawn(visitor)
        assert (shown(visitor), said(visitor)) == (changed, verdict)


def test_back_and_forward_walk_through_the_settings(page, visit):
    with visit() as visitor:
        visitor.open(page)
        opening = shown(visitor)
        for activation in ("relu", "tanh"):
            visitor.page.select_option("[name=activation]", activation)
            visitor.page.wait_for_url(f"**activation={activation}**")
        verdict = said(visitor)
        visitor.page.evaluate("window.still = true")
        visitor.page.go_back()
        visitor.page.wait_for_function("document.querySelector('[name=activation]').value == 'relu'")
        visitor.page.go_back()
        visitor.page.wait_for_function("document.querySelector('[name=activation]').value == 'sigmoid'")
        assert (visitor.page.url, shown(visitor)) == (page, opening)
        visitor.page.go_forward()
        visitor.page.go_forward()
        visitor.page.wait_for_function("document.querySelector('[name=activation]').value == 'tanh'")
        assert said(visitor) == verdict
        assert visitor.page.evaluate("window.still"), "the page was loaded anew"


def test_a_walk_along_the_slider_is_one_entry(page, visit):
    with visit() as visitor:
        visitor.open(f"{page}?activation=relu&depth=20")
        drawn(visitor)
        visitor.page.focus("[name=scale]")
        start = shown(visitor)["scale"]
        for _ in range(3):
            visitor.page.keyboard.press("ArrowRight")
        visitor.page.wait_for_url("**&skip=none&depth=20")
        assert int(shown(visitor)["scale"]) == int(start) + 3
        visitor.page.go_back()
        visitor.page.wait_for_function("start => document.querySelector('[name=scale]').value == start", arg=start)


def test_it_outlives_instant_navigation(deployed, page, visit):
    with visit() as visitor:
        setting = "activation=relu&family=gaussian&init=he&norm=none&skip=none&depth=20"
        visitor.open(deployed.at("compare/"))
        visitor.page.evaluate(
            """href => {
            const link = Object.assign(document.createElement("a"), {href, id: "way", textContent: "there"});
            document.querySelector("h1").after(link);
        }""",
            f"{page}?{setting}",
        )
        visitor.instantly(lambda: visitor.page.click("#way"), to=f"{page}?{setting}")
        drawn(visitor)
        assert shown(visitor)["activation"] == "relu"
        visitor.page.select_option("[name=activation]", "tanh")
        visitor.page.wait_for_url("**activation=tanh**")
        visitor.instantly(visitor.page.locator(".md-footer__link--prev").click)
        visitor.instantly(visitor.page.go_back)
        drawn(visitor)
        assert asked(visitor)["activation"] == shown(visitor)["activation"] == "tanh"


def test_a_link_to_a_heading_keeps_the_setting(page, visit):
    with visit() as visitor:
        visitor.open(f"{page}?activation=relu")
        drawn(visitor)
        visitor.page.select_option("[name=activation]", "tanh")
        visitor.page.wait_for_url("**activation=tanh**")
        visitor.page.click("#the-map .headerlink", force=True)
        visitor.page.wait_for_url("**#the-map")
        assert asked(visitor)["activation"] == "tanh"
        assert shown(visitor)["activation"] == "tanh"


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("activation=softplus", "“softplus” is no activation here"),
        ("init=glorot", "“glorot” is no init here"),
        ("norm=group&depth=30", "“30” is no depth here"),
        ("init=he&gain=0", "gain is a number above 0, not “0”"),
        ("sigma_w2=-1", "sigma_w2 is a number above 0, not “-1”"),
        ("sigma_w2=Infinity", "sigma_w2 is a number above 0, not “Infinity”"),
        ("activaton=relu", "nothing here is called “activaton”"),
        ("init=he&gain=1.05", "isn’t on the grid"),
        ("activation=<img src=x onerror=alert(1)>", "“<img src=x onerror=alert(1)>” is no activation here"),
    ],
)
def test_a_bad_address_says_so_and_falls_back(page, visit, query, complaint):
    with visit() as visitor:
        visitor.open(f"{page}?{query}")
        drawn(visitor)
        assert complaint in visitor.page.inner_text(COMPLAINT)
        assert shown(visitor)["activation"] == "sigmoid"
        assert "per layer" in said(visitor)
        visitor.page.select_option("[name=activation]", "relu")
        visitor.page.wait_for_url("**activation=relu**")
        assert visitor.page.locator(COMPLAINT).is_hidden()


def test_a_gain_multiplies_the_scale(page, visit):
    with visit() as visitor:
        visitor.open(f"{page}?activation=relu&init=xavier&gain=1.4142")
        drawn(visitor)
        assert visitor.page.locator(COMPLAINT).is_hidden()
        assert "He" in visitor.page.inner_text(".vg-explorer-scale")


def test_what_is_not_finite_is_shown_as_what_it_is(page, visit):
    """Nothing in this grid leaves float64's numbers, so a measurement is made to."""
    with visit() as visitor:
        visitor.open(f"{page}?activation=relu&depth=10")
        drawn(visitor)
        visitor.page.evaluate(f"""() => {{
            const {{ grid }} = {EXPLORER_OBJECT}, at = grid.at;
            grid.at = setting => {{
                const result = structuredClone(at(setting));
                for (const list of Object.values(result.gradient)) list.splice(0, 3, Infinity, NaN, -Infinity);
                result.rate.median = NaN;
                return result;
            }};
            grid.rates = () => grid.axes.activation.map(() => grid.axes.sigma_w2.map(() => NaN));
        }}""")
        visitor.page.select_option("[name=activation]", "tanh")
        visitor.page.wait_for_url("**activation=tanh**")
        assert "the gradient is exactly 0 at layer 3. There is no rate" in said(visitor)
        marks = visitor.page.evaluate("""() => {
            const { data } = document.querySelector(".vg-explorer-plot .vg-live");
            const strange = data.filter(trace => trace.name.includes(": "));
            return Object.fromEntries(strange.map(trace => [trace.name, [trace.x, trace.y]]));
        }""")
        assert {name: x for name, (x, _) in marks.items()} == {
            "gradient: infinity": [1],
            "gradient: NaN": [2],
            "gradient: exactly 0": [3],
        }
        assert marks["gradient: infinity"][1][0] > marks["gradient: exactly 0"][1][0] > 0
        cells = visitor.page.locator(".vg-explorer-data tbody tr td:nth-child(2)").all_text_contents()
        assert cells[:3] == ["infinity", "NaN", "exactly 0"]
        cell = visitor.page.locator(".vg-explorer-map [aria-current]")
        assert cell.inner_text() == "∞"
        assert "no rate, infinity at the first layer" in cell.get_attribute("aria-label")


def test_a_setting_is_saved_as_it_is_shown(page, visit, download):
    with visit() as visitor:
        visitor.open(f"{page}?activation=sigmoid&depth=20&h=word")
        drawn(visitor)
        figure = visitor.page.locator("#fig-explorer_grid")
        finding = figure.locator(".vg-finding:visible").inner_text()
        assert "sigmoid" in finding
        texts = etree.fromstring(download(figure, "svg")).iter("{http://www.w3.org/2000/svg}text")
        written = [" ".join("".join(text.itertext()).split()) for text in texts]
        assert written[0] == finding
        assert written[-1].endswith("/explore/?activation=sigmoid&depth=20#fig-explorer_grid")
        _, *rows = csv.reader(io.StringIO(download(figure, "csv").decode(), newline=""))
        assert 0 < float(rows[0][1]) < 1e-6
        assert json.loads(download(figure, "json"))["finding"] == finding


def test_a_click_on_the_map_opens_the_setting(page, visit):
    with visit() as visitor:
        visitor.open(page)
        cell = visitor.page.locator(".vg-explorer-map tbody tr").nth(3).locator("a").nth(1)
        visitor.page.locator(".vg-explorer-map").scroll_into_view_if_needed()
        label, rate = cell.get_attribute("aria-label"), cell.inner_text()
        cell.click()
        drawn(visitor)
        assert shown(visitor)["activation"] == "relu"
        assert asked(visitor)["activation"] == "relu"
        at = visitor.page.evaluate("document.querySelector('.vg-explorer-verdict').getBoundingClientRect()")
        assert 0 <= at["top"] < 900, "the verdict is out of sight"
        exact = float(re.search(r"×([\d.]+) per layer", label)[1])
        assert float(rate) == pytest.approx(exact, rel=0.06)
        assert f"×{exact:.3f}" in said(visitor)


def test_the_map_is_of_the_chosen_norm_and_skip(page, visit):
    with visit() as visitor:
        visitor.open(f"{page}?activation=relu&norm=none")
        drawn(visitor)
        line = visitor.page.locator(".vg-explorer-map [data-critical]")
        plain = visitor.page.inner_text(".vg-explorer-map")
        assert line.count() >= 5
        visitor.page.select_option("[name=norm]", "batch")
        visitor.page.wait_for_url("**norm=batch**")
        assert visitor.page.inner_text(".vg-explorer-map") != plain
        assert line.count() == 0
        assert "BatchNorm" in visitor.page.inner_text(".vg-explorer-mapped")


def test_the_code_is_handed_over(page, visit):
    with visit() as visitor:
        visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visitor.open(f"{page}?activation=gelu&depth=20")
        drawn(visitor)
        visitor.page.click(".vg-explorer-copy")
        visitor.page.wait_for_function("document.querySelector('.vg-explorer-copied').textContent")
        code = visitor.page.evaluate("navigator.clipboard.readText()")
        assert "import torch" in code
        compile(code, "copied.py", "exec")
        assert visitor.page.inner_text(".vg-explorer-copied") == "Copied."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_in_both_themes_and_on_a_phone(page, visit, scheme, width):
    with visit(scheme, width) as visitor:
        visitor.open(f"{page}?activation=relu")
        drawn(visitor)
        visitor.page.locator(".vg-explorer-map").scroll_into_view_if_needed()
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
        look = visitor.page.evaluate("""() => {
            const word = getComputedStyle(document.querySelector(".vg-explorer-verdict strong")).color;
            const token = Object.assign(document.createElement("i"), {style: "color: var(--vg-vanishing)"});
            document.body.append(token);
            return [word, getComputedStyle(token).color];
        }""")
        assert look[0] == look[1]
        small = visitor.page.eval_on_selector_all(
            ".vg-explorer-controls :is(select, .vg-depths label)", "all => all.filter(e => e.offsetHeight < 24).length"
        )
        assert small == 0


def test_without_a_network_once_it_is_there(page, visit):
    with visit() as visitor:
        # the browser asks for the tab's icon when the address changes, and does well without it
        visitor.page.route("**/favicon.svg", lambda route: route.fulfill(content_type="image/svg+xml", body="<svg/>"))
        visitor.open(f"{page}?activation=relu")
        drawn(visitor)
        visitor.page.wait_for_load_state("networkidle")  # the theme asks for its sitemap and versions meanwhile
        visitor.page.context.set_offline(True)
        before = said(visitor)
        visitor.page.select_option("[name=activation]", "tanh")
        visitor.page.wait_for_url("**activation=tanh**")
        assert said(visitor) != before
        # Another normalisation or skip is another file.
        visitor.page.select_option("[name=skip]", "prenorm")
        visitor.page.wait_for_function("document.querySelector('.vg-explorer-complaint').textContent")
        assert "could not be loaded" in visitor.page.inner_text(COMPLAINT)
        visitor.page.context.set_offline(False)
        visitor.page.select_option("[name=skip]", "residual")
        visitor.page.wait_for_url("**skip=residual**")
        assert visitor.page.locator(COMPLAINT).is_hidden()
        visitor.troubles.clear()  # of the request that came to nothing


@pytest.mark.parametrize("name", ["grid", "none-none"])
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "could not be loaded"),
        ("(window.vgGrid ??= {})[", "are damaged"),  # cut off
        ("<!doctype html><p>Sign in to this network", "are damaged"),
    ],
)
def test_measurements_that_are_not_there_or_damaged_are_told_and_asked_for_again(page, visit, name, answer, complaint):
    with visit() as visitor:
        visitor.page.route(
            f"**/assets/explore/{name}.js",
            lambda route: (
                route.abort() if answer is None else route.fulfill(body=answer, content_type="text/javascript")
            ),
        )
        visitor.open(f"{page}?activation=relu")
        visitor.page.wait_for_function("document.querySelector('.vg-explorer-complaint').textContent")
        assert complaint in visitor.page.inner_text(COMPLAINT)
        visitor.page.unroute(f"**/assets/explore/{name}.js")
        visitor.page.select_option("[name=activation]", "tanh")
        drawn(visitor)
        assert visitor.page.locator(COMPLAINT).is_hidden()
        visitor.troubles.clear()  # of the request that was refused


def test_the_choice_that_came_last_is_shown_even_if_its_measurements_came_first(page, visit):
    with visit() as visitor:
        visitor.open(f"{page}?activation=relu")
        drawn(visitor)
        held = []
        visitor.page.route("**/assets/explore/batch-none.js", lambda route: held.append(route))
        visitor.page.select_option("[name=norm]", "batch")
        visitor.page.select_option("[name=norm]", "layer")
        visitor.page.wait_for_url("**norm=layer**")
        verdict = said(visitor)
        held[0].continue_()
        visitor.page.wait_for_function("window.vgGrid['batch-none']")
        visitor.page.wait_for_timeout(100)
        assert (said(visitor), asked(visitor)["norm"], shown(visitor)["norm"]) == (verdict, "layer", "layer")
