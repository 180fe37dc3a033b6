"""Where a page says what to watch there is a still of it: a link, in words, and with PyTorch's numbers."""

import math
import re
from itertools import islice
from pathlib import Path

import markdown
import pytest
from bs4 import BeautifulSoup

from vgdocs.explorer import train
from vgdocs.pages import stills

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / stills.ENGINE
SMALL = "depth=4&width=8&batch=16"
PAGES = {
    page.relative_to(ROOT / "docs").as_posix(): re.findall(r"train\.md\?([^)\s]+)\)", "\n".join(watched))
    for page in (ROOT / "docs").rglob("*.md")
    if (watched := re.findall(r"^Watch it:.*(?:\n.+)*", page.read_text("utf-8"), re.MULTILINE))
}


@pytest.fixture
def project(tmp_path):
    """A project with the engine, whose stills are of few steps."""
    assets = tmp_path / stills.ENGINE
    assets.mkdir(parents=True)
    for name in stills.FILES:
        (assets / name).write_bytes((FOLDER / name).read_bytes())
    (tmp_path / "figures").mkdir()
    return tmp_path


@pytest.fixture
def convert(project, monkeypatch):
    monkeypatch.setattr(stills, "STEPS", 6)
    monkeypatch.setattr(stills.trained, "__defaults__", (6,))

    def convert(text: str) -> BeautifulSoup:
        made = markdown.markdown(
            text, extensions=["vgdocs.markdown"], extension_configs={"vgdocs.markdown": {"root": str(project)}}
        )
        return BeautifulSoup(made, "html.parser")

    return convert


def test_each_page_of_a_cause_or_a_solution_that_can_be_watched_says_so_once():
    assert len(PAGES) > 14
    assert all(len(links) == 1 for links in PAGES.values()), PAGES


def test_a_still_follows_and_is_a_link_to_the_same_setting(convert):
    page = convert(f"Watch it: [one](../train.md?{SMALL}). More.\n\nAnother paragraph.")
    first, still, last = page.find_all(["p", "div"])
    assert (first.text, last.text) == ("Watch it: one. More.", "Another paragraph.")
    assert still["class"] == ["vg-still"]
    assert still.a["href"] == first.a["href"] == f"../train.md?{SMALL}"
    assert still.svg["aria-hidden"] == "true"
    words = still.a.get_text().replace(" × ", "×")
    gradient, right = r"layer 1 gets .+ of the output layer’s gradient", r"\d+\s% of the answers are right"
    assert re.fullmatch(rf"At step 5 \(dashed: step 0\) {gradient}, and {right} \(by guessing 10\s%\)\.", words)


def test_two_networks_are_told_apart(convert):
    page = convert(f"Watch it: [two](train.md?{SMALL}&vs=activation:relu,init:he).")
    one, two = page.select(".vg-still-net")
    assert one.text.startswith("Activation sigmoid, initialisation PyTorch’s: at step 5")
    assert two.text.startswith("Activation ReLU, initialisation He’s: at step 5")


@pytest.mark.parametrize(
    "text", ["See [it](train.md?depth=3).", "Watch it: [the page](train.md).", "Watch it: nothing."]
)
def test_nothing_else_has_one(convert, text):
    assert not convert(text).select(".vg-still")


def test_a_project_without_the_page_has_none(convert, project):
    (project / stills.ENGINE / "engine.js").unlink()
    assert not convert(f"Watch it: [one](train.md?{SMALL}).").select(".vg-still")


def test_it_changes_with_the_setting_and_is_kept_otherwise(convert, monkeypatch):
    def drawn(link):
        return str(convert(f"Watch it: [one](train.md?{link}).").select_one(".vg-still svg"))

    one, other = drawn(SMALL), drawn(f"{SMALL}&seed=1")
    assert one != other
    monkeypatch.setattr(stills, "html", lambda *_: pytest.fail("it isn't made again"))
    assert drawn(SMALL) == one


def test_it_is_made_again_by_another_engine(convert, project, monkeypatch):
    convert(f"Watch it: [one](train.md?{SMALL}).")
    path = project / stills.ENGINE / "engine.js"
    path.write_text(path.read_text("utf-8") + "// changed\n", "utf-8")
    monkeypatch.setattr(stills, "html", lambda *_: "another")
    assert convert(f"Watch it: [one](train.md?{SMALL}).").select_one(".vg-still").text == "another"


def test_what_the_page_would_refuse_is_an_error(project):
    with pytest.raises(ValueError, match='there is no setting "deep"'):
        stills.trained(FOLDER, "deep=3")


@pytest.mark.parametrize("link", sorted({link for links in PAGES.values() for link in links}))
def test_its_numbers_are_pytorchs(link):
    """Losses and all gradients of the first steps, of each network; what follows is the same program."""
    found = stills.trained(FOLDER, link, steps=2)
    one, _, contrast = link.partition("&vs=")
    pairs = dict(pair.split("=") for pair in one.split("&"))
    links = [one]
    if contrast:
        links.append("&".join(f"{k}={v}" for k, v in (pairs | dict(p.split(":") for p in contrast.split(","))).items()))
    assert len(found) == len(links)
    for network, its in zip(found, links, strict=True):
        for step, state in enumerate(islice(train.train(train.parse(its)), 2)):
            rounding = 1e-9 if step == 0 else 1e-4  # which an exploding gradient multiplies
            assert float(network["loss"][step]) == pytest.approx(state["loss"], rel=rounding)
            gradients = list(map(float, network["gradients"][step]))
            assert gradients == pytest.approx(state["gradients"], rel=rounding, nan_ok=True)


class TestDrawing:
    def test_decades_are_from_the_last_layer(self):
        assert stills.decades([1e-5, 1e-2, 0.1]) == pytest.approx([-4, -1, 0])
        assert stills.decades([0, 1]) == [-math.inf, 0]
        assert all(math.isnan(x) for x in stills.decades(["nan", "nan"]))

    @pytest.mark.parametrize(
        ("decade", "name"),
        [(0.4, "h"), (-0.6, "v1"), (-2, "v2"), (-3, "v3"), (-math.inf, "v4"), (1, "e1"), (9, "e4"), (math.nan, "n")],
    )
    def test_a_colour_tells_the_decades(self, decade, name):
        assert stills.level(decade) == name

    def test_a_strip_has_a_path_a_colour_and_runs_of_equal_ones(self):
        drawn = stills.strip([[-4, 0], [-4, 0], [0, 0]])
        assert re.findall(r'class="(\w+)" d="([^"]+)"', drawn) == [
            ("v3", "M0 1h2v1h-2"),
            ("h", "M2 1h1v1h-1M0 0h3v1h-3"),
        ]

    def test_many_layers_are_few_rows_and_the_last_one_stays(self):
        drawn = stills.strip([[-9.0] * 199 + [0.0]])
        assert len(re.findall("M", drawn)) <= stills.ROWS
        assert 'class="h" d="M0 0' in drawn

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.5, "0.5"),
            (3e-17, "3\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10⁻¹⁷"),
            (12.34, "12"),
            (123.0, "123"),
            (2400.0, "2\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10³"),
        ],
    )
    def test_numbers_in_words(self, value, text):
        assert stills.number(value) == text
