"""The page on which networks train: its numbers are PyTorch's, a setting has an address, nothing plays by itself."""

from __future__ import annotations

import math
from itertools import islice
from urllib.parse import unquote, urlsplit

import pytest

from vgdocs.explorer import train

pytestmark = pytest.mark.browser

TRAIN = "train/"
SMALL = "data=circles&depth=3&width=8&batch=16"  # trains in no time
PLAY, COMPLAINT, SAID = ".vg-train-play", ".vg-train-complaint", ".vg-train-said"
STATE = "(i => document.querySelector('#train').state(i))"


@pytest.fixture
def page(deployed):
    """The page's address, without a setting."""
    return deployed.at(TRAIN)


def state(visitor, network: int = 0) -> dict:
    return visitor.page.evaluate(f"{STATE}({network})")


def reaches(visitor, step: int) -> None:
    """Wait until the first network has come to a step."""
    visitor.page.wait_for_function(f"{STATE}()?.step >= {step}")


def live(visitor, url: str) -> None:
    """Open an address that names a setting, and wait for its first step."""
    visitor.open(url)
    reaches(visitor, 0)


def advance(visitor, step: int) -> None:
    """Press the button for one step until there are so many."""
    while (now := state(visitor)["step"]) < step:
        visitor.page.click(".vg-train-step")
        reaches(visitor, now + 1)


def query(visitor) -> str:
    return unquote(urlsplit(visitor.page.url).query)


def rests(visitor) -> bool:
    """Whether no step is taken for as long as many would take."""
    visitor.page.wait_for_timeout(300)  # for one that was under way
    before = state(visitor)["step"]
    visitor.page.wait_for_timeout(500)
    return state(visitor)["step"] == before


def test_what_trains_is_fetched_once_it_is_wanted_and_nothing_plays_by_itself(page, visit):
    with visit() as visitor:
        asked = []
        visitor.page.context.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        visitor.open(page)
        visitor.page.wait_for_timeout(500)
        assert {"settings.js", "engine.js", "worker.js", "digits.js"}.isdisjoint(asked)
        visitor.page.hover(PLAY)
        visitor.page.wait_for_function("Boolean(window.vgTrain?.create)")
        visitor.page.wait_for_timeout(300)
        assert "digits.js" not in asked
        assert state(visitor) is None
        assert visitor.page.locator(".vg-train-still").is_visible()
    with visit() as visitor:
        live(visitor, f"{page}?{SMALL}")
        assert rests(visitor)
        assert state(visitor)["step"] == 0


def test_without_javascript_the_opening_is_there_as_a_figure(deployed, page, visit):
    with visit(javascript=False) as visitor:
        visitor.open(page)
        assert visitor.page.locator(".vg-train-still .vg-figure").is_visible()
        assert "needs JavaScript" in visitor.page.inner_text(".vg-train noscript")
        for unusable in (".vg-train-bar", ".vg-train-controls", ".vg-train-tools", ".vg-train-views"):
            assert visitor.page.locator(unusable).is_hidden(), unusable


@pytest.mark.parametrize(
    "setting",
    [
        "depth=6&width=8&optimizer=momentum&norm=layer&skip=residual&activation=gelu&seed=3",
        "data=spirals&depth=4&width=8&activation=relu&init=he&norm=batch&clip=0.5&warmup=3&optimizer=adam",
        "net=rnn&length=20&width=8&batch=16&init=orthogonal&optimizer=rmsprop",
        "net=lstm&data=middle&length=12&width=6&batch=8&forget=2&lr=0.3",
    ],
)
def test_its_numbers_are_those_of_pytorch(page, visit, setting):
    steps = 6
    with visit() as visitor:
        live(visitor, f"{page}?{setting}")
        for line in islice(train.train(train.parse(setting)), steps):
            advance(visitor, line["step"])
            shown = state(visitor)
            assert shown["step"] == line["step"]
            assert shown["loss"] == pytest.approx(line["loss"], rel=1e-9)
            assert shown["gradients"] == pytest.approx(line["gradients"], rel=1e-9)


def test_two_networks_see_the_same_batches(page, visit):
    """Whatever the second is made of: beside another it does what it does alone."""
    cured = "activation:relu,init:he,depth:5"
    with visit() as visitor:
        live(visitor, f"{page}?{SMALL}&vs=")
        advance(visitor, 3)
        assert state(visitor, 0) == state(visitor, 1)
        live(visitor, f"{page}?{SMALL}&vs={cured}")
        advance(visitor, 3)
        beside = state(visitor, 1)
        assert beside["loss"] != state(visitor, 0)["loss"]
        alone = SMALL.replace("depth=3", cured.replace(":", "=").replace(",", "&"))
        live(visitor, f"{page}?{alone}")
        advance(visitor, 3)
        assert state(visitor) == beside
        assert state(visitor, 1) is None


def test_a_keyboard_is_enough(page, visit):
    with visit() as visitor:
        keys = visitor.page.keyboard
        visitor.open(page)
        visitor.walk_to(PLAY)
        keys.press("Enter")
        reaches(visitor, 2)
        keys.press("Space")
        assert rests(visitor)
        assert visitor.page.inner_text(PLAY) == "Play"
        assert "Step " in visitor.page.inner_text(SAID)
        visitor.walk_to(".vg-train-step")
        before = state(visitor)["step"]
        keys.press("Enter")
        reaches(visitor, before + 1)
        visitor.walk_to("[name=view]")
        keys.press("ArrowRight")
        assert visitor.page.locator("[name=view]:checked").get_attribute("value") == "updates"
        visitor.walk_to("[name=which]")
        keys.press("ArrowRight")
        visitor.page.wait_for_function("document.querySelector('[name=activation]').value === 'relu'")
        visitor.walk_to("[name=depth]")
        keys.press("ArrowRight")
        visitor.page.wait_for_url("**vs=depth:21,activation:relu,init:he")
        assert visitor.page.inner_text(".vg-slide:has([name=depth]) output") == "21"
        keys.press("Space")  # has no meaning for a slider, and plays
        reaches(visitor, 2)


def test_by_touch_on_a_phone(page, visit):
    with visit("dark", 390) as visitor:
        visitor.open(f"{page}")
        visitor.page.tap(PLAY)
        reaches(visitor, 2)
        visitor.page.tap(PLAY)
        assert rests(visitor)
        visitor.page.tap(".vg-train-compare")
        visitor.page.wait_for_function("document.querySelectorAll('.vg-train-net').length === 1")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
        small = visitor.page.eval_on_selector_all(
            "#train :is(button, select, .vg-train-views label, summary)",
            "all => all.filter(e => e.checkVisibility() && e.offsetHeight < 24).map(e => e.outerHTML)",
        )
        assert not small


def test_a_tab_in_the_background_rests(page, visit):
    with visit() as visitor:
        live(visitor, f"{page}?{SMALL}")
        visitor.page.click(PLAY)
        reaches(visitor, 3)
        hide = """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        visitor.page.evaluate(hide, True)
        assert rests(visitor)
        before = state(visitor)["step"]
        visitor.page.evaluate(hide, False)
        reaches(visitor, before + 3)


def test_without_a_network_once_it_is_there(page, visit):
    with visit() as visitor:
        # the browser asks for the tab's icon when the address changes, and does well without it
        visitor.page.route("**/favicon.svg", lambda route: route.fulfill(content_type="image/svg+xml", body="<svg/>"))
        live(visitor, f"{page}?depth=2&width=8")
        visitor.page.wait_for_load_state("networkidle")
        visitor.page.context.set_offline(True)
        visitor.page.select_option("[name=activation]", "tanh")
        visitor.page.wait_for_url("**activation=tanh**")
        visitor.page.click(PLAY)
        reaches(visitor, 3)


def test_what_could_not_be_loaded_is_told_and_asked_for_again(page, visit):
    with visit() as visitor:
        visitor.page.route("**/assets/train/engine.js", lambda route: route.abort())
        visitor.open(f"{page}?{SMALL}")
        visitor.page.locator(COMPLAINT, has_text="could not be loaded").wait_for()
        visitor.page.unroute("**/assets/train/engine.js")
        visitor.page.click(PLAY)
        reaches(visitor, 1)
        visitor.troubles.clear()  # of the request that was refused


def test_nan_is_shown_as_such_and_told_in_words(page, visit):
    with visit() as visitor:
        live(visitor, f"{page}?activation=linear&init=he&gain=1000&depth=50&width=8&data=xor")
        visitor.page.click(PLAY)
        visitor.page.wait_for_function(f"{STATE}().loss === 'nan'")
        visitor.page.locator(PLAY, has_text="Play").wait_for()  # it stops, because nothing else can come
        assert state(visitor)["gradients"][0] == "nan"
        visitor.page.locator(".vg-train-verdict", has_text="It leaves the numbers: the loss is NaN").wait_for()
        assert "NaN" in visitor.page.inner_text(SAID)
        assert "NaN" in visitor.page.get_attribute(".vg-train-rows", "aria-label")
        visitor.page.click(".vg-train-numbers summary")
        assert "NaN" in visitor.page.inner_text(".vg-train-table")
        assert "NaN" in visitor.page.inner_text(".vg-train-key")


@pytest.mark.parametrize(
    ("nonsense", "complaint"),
    [
        ("depth=99", "depth is 1 to 50, not 99"),
        ("depth=2.5", "depth is a whole number, not 2.5"),
        ("activation=softplus", "activation is linear, sigmoid, tanh"),
        ("activaton=relu", "there is no setting"),
        ("net=rnn&depth=3", "depth is for mlp, not for rnn"),
        ("data=a/b", "data is digits, spirals"),
        ("vs=depth:99", "depth is 1 to 50, not 99"),
        ("vs=seed:3", "vs can’t name seed, which both networks share"),
        ("vs=net:lstm", "no data in common"),
        ("lr=<img src=x onerror=alert(1)>", "not <img src=x onerror=alert(1)>"),
    ],
)
def test_a_nonsense_link_says_what_is_wrong_and_shows_the_opening(page, visit, nonsense, complaint):
    with visit() as visitor:
        live(visitor, f"{page}?{nonsense}")
        assert complaint in visitor.page.inner_text(COMPLAINT)
        assert visitor.page.locator(".vg-train-net").count() == 2
        assert visitor.page.input_value("[name=depth]") == "20"
        visitor.page.select_option("[name=activation]", "tanh")
        visitor.page.wait_for_url("**activation=tanh**")
        assert visitor.page.locator(COMPLAINT).is_hidden()


def test_controls_offer_what_there_is(page, visit):
    """The page's own HTML holds the choices; a new option has to be told there."""
    with visit() as visitor:
        live(visitor, f"{page}?{SMALL}")
        for key, option in train.OPTIONS.items():
            for name, nets in {"data": [("data", "mlp"), ("task", "rnn")]}.get(key, [(key, "")]):
                field = visitor.page.locator(f".vg-train-controls [name={name}]")
                assert field.count() == 1, key
                its = option["per"][nets] if nets else option
                if "values" in its:
                    assert field.locator("option").evaluate_all("all => all.map(o => o.value)") == its["values"]
                elif field.get_attribute("type") in ("range", "number"):
                    assert [field.get_attribute("min"), field.get_attribute("max")] == [
                        str(its["least"]),
                        str(its["most"]),
                    ]
                else:
                    values = field.locator("option").evaluate_all("all => all.map(o => Number(o.value))")
                    assert all(its["least"] <= value <= its["most"] for value in values), key
                    defaults = [its.get("default"), *(one.get("default") for one in its.get("per", {}).values())]
                    assert {value for value in defaults if value is not None} <= set(values), key


def test_a_setting_has_an_address_and_back_leads_to_the_one_before(page, visit):
    with visit() as visitor:
        live(visitor, f"{page}?{SMALL}&lr=0.07")
        assert visitor.page.input_value("[name=lr]") == "0.07"  # which isn't among the choices
        visitor.page.select_option("[name=net]", "lstm")
        visitor.page.wait_for_url("**net=lstm")
        assert visitor.page.locator("[name=task]").is_visible()
        assert visitor.page.locator("[name=depth]").is_hidden()
        visitor.page.go_back()
        visitor.page.wait_for_function("document.querySelector('[name=net]').value === 'mlp'")
        assert query(visitor) == f"{SMALL}&lr=0.07"
        visitor.page.select_option("[name=optimizer]", "adam")
        visitor.page.wait_for_url("**optimizer=adam**")
        assert visitor.page.input_value("[name=lr]") == "0.001"  # Adam's own
        visitor.page.click(".vg-train-reseed")
        visitor.page.wait_for_url("**seed=1")
        visitor.page.click(".vg-train-compare")
        visitor.page.wait_for_url("**&vs=activation:relu,init:he")
        visitor.page.reload()
        reaches(visitor, 0)
        assert visitor.page.locator(".vg-train-net").count() == 2


def test_presets_are_settings(deployed, page, visit):
    links = [link["href"] for link in deployed.html(TRAIN).select(".vg-train-presets a")]
    assert len(links) > 4
    with visit() as visitor:
        live(visitor, f"{page}?{SMALL}")
        assert not visitor.page.locator(".vg-train-presets [aria-current]").count()
        for place, link in enumerate(links):
            visitor.page.locator(".vg-train-presets a").nth(place).click()
            visitor.page.wait_for_function(
                "place => document.querySelectorAll('.vg-train-presets a')[place].ariaCurrent === 'true'", arg=place
            )
            assert f"?{query(visitor)}" == link, "not written as the page writes it"
            assert visitor.page.locator(COMPLAINT).is_hidden()


def test_the_script_is_handed_over_and_the_address_too(page, visit):
    with visit() as visitor:
        visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        live(visitor, f"{page}?{SMALL}&vs=depth:4")
        copied = "document.querySelector('.vg-train-copied').textContent"
        visitor.page.click(".vg-train-copy")
        visitor.page.wait_for_function(copied)
        assert visitor.page.evaluate("navigator.clipboard.readText()") == train.script(train.parse(SMALL))
        visitor.page.evaluate(f"{copied} = ''")
        visitor.page.click(".vg-train-share")
        visitor.page.wait_for_function(copied)
        assert visitor.page.evaluate("navigator.clipboard.readText()") == f"{page}?{SMALL}&vs=depth:4"
        assert f'vgdocs train "{SMALL}"' in visitor.page.text_content(".vg-train-command")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("setting", ["", f"?{SMALL}", f"?{SMALL}&vs=depth:4"])
def test_nothing_shifts_while_it_comes_and_while_it_trains(page, visit, width, setting):
    with visit("light", width) as visitor:
        visitor.open(f"{page}{setting}")
        if setting:
            reaches(visitor, 0)
        else:
            visitor.page.hover(PLAY)
            visitor.page.wait_for_function("Boolean(window.vgTrain?.create)")
        visitor.page.wait_for_timeout(200)
        assert visitor.page.evaluate("shifts") < 0.001
        visitor.page.click(PLAY)
        reaches(visitor, 3)
        visitor.page.wait_for_timeout(700)
        assert visitor.page.evaluate("shifts") < 0.001


def test_what_comes_first_lies_where_it_will(page, visit):
    """A browser paints what has come; the rest of a slow page comes below it."""
    names = ["h1", "h1 + p", ".vg-train-presets"]
    places = "names => names.map(name => document.querySelector(name).getBoundingClientRect().toJSON())"

    with visit("light", 1280) as visitor:
        visitor.open(page)
        whole = visitor.page.evaluate(places, names)
        answer = visitor.page.evaluate("fetch(location.href).then(answer => answer.text())")
        begun = answer.partition("<section ")[0]
        visitor.page.route(page, lambda route: route.fulfill(body=begun, content_type="text/html"))
        visitor.page.goto(page)
        assert visitor.page.locator(".vg-train").count() == 0
        assert visitor.page.evaluate(places, names) == whole


def test_the_drawing_follows_the_theme_and_the_view(page, visit):
    """What is drawn has the theme's colours: the strip's is that of a gradient that vanished."""
    pixel = """() => {
        const canvas = document.querySelector(".vg-train-rows");
        const at = [canvas.width * 0.45, canvas.height * 0.8], own = canvas.getContext("2d").getImageData(...at, 1, 1);
        return [...own.data].slice(0, 3);
    }"""
    seen = {}
    for scheme in ("light", "dark"):
        with visit(scheme) as visitor:
            live(visitor, f"{page}?depth=6&width=8&data=xor")
            advance(visitor, 2)
            visitor.page.wait_for_timeout(200)
            seen[scheme] = visitor.page.evaluate(pixel)
            assert seen[scheme][2] > max(seen[scheme][:2]) + 40, "it isn't blue"
            before = visitor.page.evaluate("document.querySelector('.vg-train-rows').toDataURL()")
            visitor.page.check("[name=view][value=units]", force=True)
            visitor.page.wait_for_function(
                "before => document.querySelector('.vg-train-rows').toDataURL() !== before", arg=before
            )
    assert math.dist(seen["light"], seen["dark"]) > 40


def test_it_outlives_instant_navigation(deployed, page, visit):
    with visit() as visitor:
        visitor.open(deployed.at("explore/"))
        visitor.page.evaluate(
            """href => {
            const link = Object.assign(document.createElement("a"), {href, id: "way", textContent: "there"});
            document.querySelector("h1").after(link);
        }""",
            f"{page}?{SMALL}",
        )
        visitor.instantly(lambda: visitor.page.click("#way"), to=f"{page}?{SMALL}")
        reaches(visitor, 0)
        visitor.page.click(PLAY)
        reaches(visitor, 2)
        visitor.instantly(visitor.page.locator(".md-footer__link--next").click)
        visitor.instantly(visitor.page.go_back)
        reaches(visitor, 0)
        assert visitor.page.inner_text(PLAY) == "Play"
