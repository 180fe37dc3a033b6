"""The site's colours can be read and told apart, in both themes and under each kind of colour blindness."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS, DOCS = ROOT / "src/vgdocs/pages/assets", ROOT / "docs/assets"
CSS = (OURS / "vg.css").read_text("utf-8")
TOKEN = re.compile(r"--vg-([a-z0-9-]+): (#[0-9a-f]{6});")
PAPERS = ("paper", "surface", "sunken")
ROLES = ("vanishing", "healthy", "exploding")

# How a colour is seen, as matrices on linear RGB (Machado, Oliveira and Fernandes 2009, severity 1.0).
SIGHT = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}


def tokens(theme: str) -> dict[str, str]:
    light, dark = CSS.split('[data-md-color-scheme="slate"] {', 1)
    return dict(TOKEN.findall(light if theme == "light" else dark.split("}", 1)[0]))


def ramp(theme: str, name: str) -> list[str]:
    """A colour and those that follow it: name, name-2, name-3 ..."""
    return [colour for token, colour in tokens(theme).items() if re.fullmatch(rf"{name}(-\d)?", token)]


def linear(colour: str) -> list[float]:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21 (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb: list[float]) -> list[float]:
    """Lightness and two hues, in which distance is what the eye sees (Ottosson 2020)."""

    def times(rows, vector):
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in rows]

    to_cones = ((0.4122, 0.5363, 0.0514), (0.2119, 0.6807, 0.1074), (0.0883, 0.2817, 0.6300))
    to_lab = ((0.2105, 0.7936, -0.0041), (1.9780, -2.4286, 0.4506), (0.0259, 0.7828, -0.8087))
    return times(to_lab, [max(cone, 0) ** (1 / 3) for cone in times(to_cones, rgb)])


def distance(one: str, other: str, sight: str) -> float:
    def seen(colour):
        rgb = linear(colour)
        return oklab([min(max(sum(a * b for a, b in zip(row, rgb, strict=True)), 0), 1) for row in SIGHT[sight]])

    return sum((a - b) ** 2 for a, b in zip(seen(one), seen(other), strict=True)) ** 0.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "ink-2", "ink-3", "accent", "accent-strong", "error"])
def test_text_is_legible(theme, name):
    colours = tokens(theme)
    grounds = [*PAPERS, "error-paper", "warn-paper"]
    assert min(contrast(colours[name], colours[ground]) for ground in grounds) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "count"), [*((r, 3) for r in (*ROLES, "theory")), ("reference", 1), ("category", 6)])
def test_lines_and_marks_stand_out(theme, name, count):
    colours = ramp(theme, name)
    assert len(colours) == count
    for colour in colours:
        assert contrast(colour, tokens(theme)["paper"]) >= 3, colour


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_vanished_healthy_and_exploded_are_told_apart(theme, sight):
    colours = tokens(theme)
    for one, other in itertools.combinations(ROLES, 2):
        assert distance(colours[one], colours[other], sight) > 0.1, (one, other)


def test_both_themes_have_the_same_colours():
    assert tokens("light").keys() == tokens("dark").keys()


def test_nothing_is_loaded_from_another_host():
    served = [OURS / name for name in ("vg.css", "vg.js", "math.css", "katex/katex.min.css")]
    for path in [*served, *(DOCS / name for name in ("look.css", "explore.css", "explore.js", "train.css"))]:
        assert not re.search(r"https?://|@import", path.read_text("utf-8")), path


def test_figures_bring_no_look_for_the_rest_of_a_site():
    """Another author's site keeps its own: vg.css speaks of nothing but what has a class of ours."""
    rules = re.findall(r"([^{};]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", CSS, flags=re.DOTALL))
    assert len(rules) > 50
    for selectors, body in rules:
        tokens_only = not re.sub(r"--vg-[a-z0-9-]+:[^;]*;", "", body).strip()
        for selector in re.split(r",(?![^(]*\))", selectors):
            assert ".vg-" in selector or tokens_only or selector.strip() in ("from", "to"), selector
