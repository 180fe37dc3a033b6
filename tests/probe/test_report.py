"""The page that is sent: it says what was found and draws what was measured, alone, in any browser."""

import math
import re
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from torch import nn

from vgdocs.probe import Probe, diagnose, finding, report
from vgdocs.probe.charts import HEIGHT, WIDTH, Line, Scale, chart, strip

SCALE = Scale(1e-4, 1.0, 100.0)
STEPS = 8


def train(model: nn.Module, lr: float = 0.01, steps: int = STEPS) -> Probe:
    torch.manual_seed(0)
    x, y = torch.randn(32, 8), torch.randint(3, (32,))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with Probe(model, optimizer, every=1) as probe:
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return probe


def network(depth: int = 6, activation: type[nn.Module] = nn.Sigmoid) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(8, 8), activation())]
    return nn.Sequential(*layers, nn.Linear(8, 3))


def page(probe: Probe, tmp_path: Path, **options) -> BeautifulSoup:
    probe.report(tmp_path / "report.html", **options)
    return BeautifulSoup((tmp_path / "report.html").read_text("utf-8"), "html.parser")


def texts(soup, selector: str) -> list[str]:
    return [found.get_text() for found in soup.select(selector)]


def cells(svg: str, rows: int, columns: int) -> list[list[str]]:
    """What a strip shows at each place, from its paths."""
    shown = [[""] * columns for _ in range(rows)]
    for kind, path in re.findall(r'<path class="(\w+)" d="([^"]*)"', svg):
        for x, y, width, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", path):
            assert width == back
            for i in range(int(x), int(x) + int(width)):
                assert shown[int(y)][i] == ""
                shown[int(y)][i] = kind
    return shown


def heights(svg: str) -> list[list[float]]:
    """How high the points of each line stand, from the top."""
    return [
        [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
        for path in re.findall(r'<path class="line \w+" d="([^"]*)"', svg)
    ]


class TestStrips:
    @pytest.mark.parametrize(
        ("value", "level"),
        [
            *((1e-4, "l0"), (1e-9, "l0"), (1e-2, "l2"), (1.0, "l4"), (10.0, "l6"), (100.0, "l8"), (1e9, "l8")),
            *((0.0, "zero"), (math.nan, "bad"), (math.inf, "bad"), (-math.inf, "bad"), (None, "")),
        ],
    )
    def test_a_value_has_its_colour(self, value, level):
        assert SCALE.level(value) == level

    def test_each_cell_is_drawn_once_where_it_belongs(self):
        values = [[1.0, 1.0, 1e-9, None], [0.0, math.nan, math.nan, 500.0], [None, None, None, None]]
        expected = [["l4", "l4", "l0", ""], ["zero", "bad", "bad", "l8"], [""] * 4]
        assert cells(strip(values, SCALE, "a label"), 3, 4) == expected

    def test_the_gradient_is_drawn_relative_to_the_last_layer(self, tmp_path):
        probe = train(network(depth=8))
        (figure,) = [f for f in page(probe, tmp_path).select("figure") if "respect to outputs" in f.h3.get_text()]
        shown = cells(str(figure.svg), len(probe.record.layers), STEPS)
        for i, layer in enumerate(probe.record.layers):
            for step in range(STEPS):
                rows = {row["layer"]: row["activation_gradient"] for row in probe.record.at(step)}
                assert shown[i][step] == SCALE.level(rows[layer.name] / rows["16"])
        assert {"l0", "l4"} <= {level for row in shown for level in row}

    def test_layers_and_steps_are_named_and_the_last_always(self, tmp_path):
        soup = page(train(network(depth=20), steps=3), tmp_path)
        names = texts(soup.select_one(".strip"), ".layers span")
        assert (names[0], names[-1]) == ("0", "40")
        assert texts(soup.select_one(".strip"), ".steps span") == ["step 0", "1", "2"]


class TestCharts:
    def test_values_that_span_little_lie_on_a_linear_axis(self):
        (line,) = heights(chart([Line("a", "loss", [(0, 1.0), (1, 2.0), (2, 3.0)])], "step", "loss", "a label"))
        assert line[0] - line[1] == pytest.approx(line[1] - line[2], abs=0.11)
        assert HEIGHT > line[0] > line[2] > 0

    def test_values_that_span_much_lie_on_a_logarithmic_one(self):
        svg = chart([Line("a", "loss", [(0, 1e-8), (1, 1e-4), (2, 1.0)])], "step", "loss", "a label")
        (line,) = heights(svg)
        assert line[0] - line[1] == pytest.approx(line[1] - line[2], abs=0.11)
        assert ">10⁻⁸<" in svg
        assert ">1<" in svg

    def test_an_axis_says_where_a_value_lies(self):
        svg = chart([Line("a", "loss", [(0, 1.0), (10, 2.0), (20, 3.0)])], "step", "loss", "a label")
        ticks = {float(v): float(y) - 4 for y, v in re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', svg)}
        for value, height in zip((1.0, 2.0, 3.0), heights(svg)[0], strict=True):
            assert ticks[value] == pytest.approx(height, abs=0.11)

    def test_what_cannot_be_placed_is_marked(self):
        points = [(0, 1e-5), (1, 1.0), (2, math.nan), (3, math.inf), (4, 0.0), (5, None), (6, 1.0), (7, 1.0)]
        svg = chart([Line("a", "loss", points)], "step", "loss", "a label")
        assert svg.count('class="cross"') == 2
        assert svg.count('class="ring"') == 1
        assert [len(run) for run in heights(svg)] == [4]
        assert svg.count("M", svg.index('class="line')) >= 2  # the line is broken there

    @pytest.mark.parametrize("values", [[2.0], [0.0, 0.0], [math.nan], [1.0, 1.0], [-1.0, 1.0], [1e-300, 1e300]])
    def test_any_values_make_a_chart_in_its_frame(self, values):
        svg = chart([Line("a", "loss", list(enumerate(values)))], "step", "loss", "a label")
        numbers = [float(n) for n in re.findall(r"(?<![#\w.])-?\d+(?:\.\d+)?", re.sub(r">[^<]*<", "><", svg))]
        assert numbers
        assert max(numbers) <= max(WIDTH, HEIGHT)

    def test_nothing_seen_is_no_chart(self):
        assert chart([Line("a", "loss", [(0, None)])], "step", "loss", "a label") == ""


class TestPage:
    def test_it_says_what_the_verdict_says(self, tmp_path):
        probe = train(network(depth=12))
        soup = page(probe, tmp_path, title="train.py")
        verdict = diagnose(probe.record)
        assert texts(soup, "h1") == ["Diagnosis of train.py"]
        assert verdict.findings
        for found, told in zip(verdict.findings, texts(soup, ".findings > li"), strict=True):
            for part in (found.cause, found.evidence, found.remedy, found.page, *found.alternatives, found.decide):
                assert part in told
        assert texts(soup, ".unknown li") == list(verdict.unknown)

    def test_a_healthy_network_is_told_to_be(self, tmp_path):
        soup = page(train(network(depth=1, activation=nn.Tanh)), tmp_path)
        assert texts(soup, ".healthy-verdict") == ["Nothing wrong found: the gradient reaches every layer."]

    def test_the_table_is_that_of_the_terminal(self, tmp_path):
        probe = train(network())
        rows = [texts(row, "td") for row in page(probe, tmp_path).select("tbody tr")]
        lines = str(probe.record).splitlines()[2 : 2 + len(rows)]
        assert [[cell for cell in row if cell] for row in rows] == [line.split() for line in lines]

    def test_settings_are_told(self, tmp_path):
        soup = page(train(network(), lr=0.25), tmp_path)
        told = dict(zip(texts(soup, ".settings dt"), texts(soup, ".settings dd"), strict=True))
        assert told["Optimizer"] == "SGD"
        assert "learning rate 0.25" in told["Its settings"]
        assert told["Steps seen"] == str(STEPS)
        assert f"torch {torch.__version__}" in told["Versions"]

    def test_nan_is_told(self, tmp_path):
        with torch.no_grad():
            (model := network())[4].weight[0, 0] = math.nan
        soup = page(train(model), tmp_path)
        assert "nan" in texts(soup, "td.bad")
        assert "nan or inf" in texts(soup, ".key span")
        assert soup.select(".strip .bad")
        assert soup.select(".cross")

    def test_text_is_shown_as_it_was_written(self, tmp_path):
        evil = '<img src=x onerror="alert(1)">&amp;'
        model = nn.Sequential()
        model.add_module("head", nn.Linear(8, 3))
        model.add_module(evil, nn.Linear(3, 3))
        type(model[1]).__name__, kept = "<b>Linear", type(model[1]).__name__
        try:
            soup = page(train(model, lr=30.0), tmp_path, title=evil, site='http://a"b/')
        finally:
            nn.Linear.__name__ = kept
        assert not soup.select("img, b")
        assert evil in texts(soup, "td.layer")
        assert f"Diagnosis of {evil}" in texts(soup, "h1, title")
        assert {name for tag in soup.find_all(True) for name in tag.attrs} <= {
            *("lang", "charset", "name", "content", "class", "viewbox", "preserveaspectratio", "role", "aria-label"),
            *("d", "x", "y", "cx", "cy", "r", "text-anchor", "transform"),
            *("style", "title", "scope", "tabindex", "href"),
        }

    def test_nothing_is_loaded(self, tmp_path):
        soup = page(train(network()), tmp_path)
        assert not soup.select("script, link, img, iframe, object, [src], a[href]")
        assert not re.search(r"https?:|url\(|@import", str(soup))

    def test_links_go_where_the_site_is_read(self, tmp_path):
        links = page(train(network(depth=12)), tmp_path, site="https://example.org/v").select("a")
        assert [link["href"] for link in links][:1] == ["https://example.org/v/causes/activations/"]

    @pytest.mark.parametrize(
        ("named", "site", "told"),
        [
            ("causes/precision.md", None, "docs/causes/precision.md"),
            ("causes/precision.md#a", "http://x/", "http://x/causes/precision/#a"),
            ("labs/README.md", "http://x", "http://x/labs/"),
            ("index.md", "http://x", "http://x/"),
        ],
    )
    def test_an_address(self, named, site, told):
        assert finding.address(named, site) == told

    def test_it_can_be_sent(self, tmp_path):
        """A hundred layers whose every value differs from its neighbours', at as many steps as a record keeps."""
        probe = train(network(depth=50), steps=3)
        record, random = probe.record, torch.Generator().manual_seed(0)
        rows = [
            row | {"step": step, "activation_gradient": 10 ** (torch.rand((), generator=random).item() * 8 - 4)}
            for step in range(1000)
            for row in record.at(0)
        ]
        record.rows, record.steps, record.full_steps = rows, list(range(1000)), list(range(1000))
        record.step_rows = [record.step_rows[0] | {"step": step} for step in range(1000)]
        record.at = lambda step=None, full=False: rows[:101]
        report.write(tmp_path / "r.html", [report.Watched("net", ("SGD",), record, diagnose(probe.record, 0))])
        assert 100_000 < (tmp_path / "r.html").stat().st_size < 300_000

    def test_the_colours_are_the_sites(self, tmp_path):
        style = page(train(network()), tmp_path).style.get_text()
        used = set(re.findall(r"var\((--vg-[a-z0-9-]+)", style))
        light, _, dark = style.partition("prefers-color-scheme: dark")
        assert used
        for name in used - {"--vg-serif", "--vg-sans", "--vg-mono"}:
            assert f"{name}: #" in light, name
            assert f"{name}: #" in dark, name
