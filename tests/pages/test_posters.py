"""Posters: drawn once, the same in every run, in the theme's own colours, and missed without harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from bs4 import BeautifulSoup

from vgdocs.engine.store import Store
from vgdocs.pages import browser, posters
from vgdocs.pages.browser import Browser, BrowserError
from vgdocs.pages.posters import Posters
from vgdocs.pages.site_assets import FOLDER as ASSETS

SIMPLE = {"data": [{"y": [1, 2], "mode": "lines", "meta": "healthy"}], "layout": {}}
COLOURS = {(1, 7, 254): "ink-2", (2, 0, 254): "scale", (2, 85, 254): "scale-2", (2, 170, 254): "scale-3"}

needs_browser = pytest.mark.skipif(browser.executable() is None, reason="no browser")


@pytest.fixture(autouse=True)
def wanted(monkeypatch):
    monkeypatch.delenv("VGDOCS_POSTERS")  # which conftest.py sets


@pytest.fixture
def illustrated(project):
    """The miniature project with a page that shows its figure."""
    project.page("index", "# Home\n\n/// figure | halving\n///\n")
    return project


@pytest.fixture
def no_browser(monkeypatch):
    monkeypatch.setattr(browser, "executable", lambda: None)


def drawn(folder: Path, plot: dict = SIMPLE) -> str:
    made = Posters(Store(folder), ASSETS)
    made.draw({"simple": plot})
    return made.get(plot)


def marked(folder: Path) -> list[psutil.Process]:
    """The processes, but this one, whose environment bears a folder's mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("VGDOCS_TEST") == str(folder):
                found.append(process)
    return found


@pytest.mark.browser
@needs_browser
class TestDrawn:
    def test_in_both_widths_and_the_same_in_every_run(self, tmp_path):
        first, second = drawn(tmp_path / "one"), drawn(tmp_path / "two")
        assert first == second
        svgs = BeautifulSoup(first, "html.parser").select("svg.vg-poster[aria-hidden=true]")
        assert [svg["class"][1] for svg in svgs] == ["vg-wide", "vg-narrow"]
        assert [svg["viewbox"] for svg in svgs] == ["0 0 648 420", "0 0 358 380"]

    def test_its_colours_are_the_themes(self, tmp_path):
        html = drawn(tmp_path)
        assert "var(--vg-healthy)" in html
        assert not re.search(r"rgba?\(|#[0-9a-f]{6}\b", html)
        defined = set(re.findall(r"--vg-[a-z0-9-]+(?=:)", (ASSETS / "vg.css").read_text("utf-8")))
        assert set(re.findall(r"var\((--vg-[a-z0-9-]+)\)", html)) <= defined

    def test_every_id_is_used_and_stands_once(self, tmp_path):
        html = drawn(tmp_path)
        ids = re.findall(r'\bid="([^"]+)"', html)
        assert ids
        assert sorted(ids) == sorted(set(ids)) == sorted(set(re.findall(r"url\(#([^)]+)\)", html)))

    def test_one_browser_draws_all_and_none_is_started_for_what_is_there(self, tmp_path, monkeypatch):
        started = []
        monkeypatch.setattr(posters, "Browser", lambda *a: started.append(a) or Browser(*a))
        made = Posters(Store(tmp_path), ASSETS)
        plots = {"simple": SIMPLE, "other": {"data": [{"y": [3, 1]}], "layout": {}}}
        made.draw(plots)
        made.draw(plots)
        assert len(started) == 1

    def test_a_damaged_one_is_drawn_again(self, tmp_path):
        whole = drawn(tmp_path)
        (path,) = (tmp_path / "posters").iterdir()
        path.write_text(path.read_text().replace("healthy", "helthy"))
        assert Posters(Store(tmp_path), ASSETS).get(SIMPLE) == ""
        assert drawn(tmp_path) == whole

    def test_a_change_of_the_loader_draws_it_anew(self, tmp_path):
        copy = tmp_path / "assets"
        shutil.copytree(ASSETS, copy, ignore=shutil.ignore_patterns("katex", "explore"))
        made = Posters(Store(tmp_path / "store"), copy)
        made.draw({"simple": SIMPLE})
        assert made.get(SIMPLE)
        (copy / "vg.js").write_text((copy / "vg.js").read_text() + "\n")
        assert Posters(Store(tmp_path / "store"), copy).missing([SIMPLE]) == [SIMPLE]

    def test_what_cannot_be_drawn_is_told(self, tmp_path):
        with pytest.raises(BrowserError, match="could not draw"):
            drawn(tmp_path, {"data": [{"y": [1]}], "layout": {"shapes": 3}})

    def test_what_is_never_drawn_is_given_up_and_its_browser_with_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr(posters, "TIME_LIMIT", 3.0)
        endless = {"data": [{"x": [0, 1], "y": [0, 1]}], "layout": {"xaxis": {"dtick": 1e-8}}}
        monkeypatch.setenv("VGDOCS_TEST", str(tmp_path))  # all that is started inherits it
        started = []

        async def noting(name, drawing):
            started.extend(marked(tmp_path))
            return await in_time(name, drawing)

        in_time = posters._in_time
        monkeypatch.setattr(posters, "_in_time", noting)
        with pytest.raises(BrowserError, match="endless: a browser has not drawn it after 3 s"):
            Posters(Store(tmp_path), ASSETS).draw({"endless": endless})
        assert len(started) > 1
        assert psutil.wait_procs(started, timeout=60)[1] == []

    def test_a_card_that_is_never_drawn_is_told(self, illustrated, monkeypatch):
        assert illustrated.mkdocs("build")[0] == 0
        shutil.rmtree(illustrated.site)
        for card in (illustrated.root / ".vgdocs/posters").glob("*.png"):
            card.unlink()
        monkeypatch.setattr(posters, "TIME_LIMIT", 0.0)
        code, output = illustrated.mkdocs("build")
        assert (code, "halving: a browser has not drawn it after 0 s" in output) == (1, True), output

    def test_one_browser_draws_a_build_s_pictures_while_it_measures(self, illustrated, monkeypatch):
        illustrated.script("other")
        started, drawn_by = [], []
        monkeypatch.setattr(posters, "Browser", lambda *a: started.append(a) or Browser(*a))
        begin = Posters.begin

        def drawn_before_the_next_is_told(self, plots: dict) -> None:
            begin(self, plots)
            end = time.monotonic() + 60
            while self.missing(plots.values()) and time.monotonic() < end:
                time.sleep(0.05)
            drawn_by.extend(plots)

        monkeypatch.setattr(Posters, "begin", drawn_before_the_next_is_told)
        code, output = illustrated.mkdocs("build", "--strict")
        assert code == 0, output
        assert sorted(drawn_by) == ["halving", "other"]
        assert (illustrated.site / "assets/cards/halving.png").is_file()
        assert len(started) == 1

    def test_a_build_that_fails_ends_its_browser(self, illustrated, monkeypatch):
        monkeypatch.setenv("VGDOCS_POSTERS", "never")
        assert illustrated.mkdocs("build")[0] == 0  # the fork server that measured stays, and bears no mark
        monkeypatch.setenv("VGDOCS_TEST", str(illustrated.root))
        seen = []

        def fail(*_: object) -> None:
            seen.extend(marked(illustrated.root))
            raise BrowserError("the browser is gone")

        monkeypatch.setenv("VGDOCS_POSTERS", "require")
        monkeypatch.setattr(Posters, "cards", fail)
        assert illustrated.mkdocs("build")[0] == 1
        assert seen
        assert psutil.wait_procs(seen, timeout=60)[1] == []

    def test_one_is_drawn_where_a_loop_of_events_runs(self, tmp_path):
        async def draw() -> str:
            return drawn(tmp_path)

        with ThreadPoolExecutor() as thread:  # the main one has a loop already where browser tests ran before
            assert "vg-poster" in thread.submit(asyncio.run, draw()).result()

    def test_a_card_shows_the_finding(self, tmp_path):
        made = Posters(Store(tmp_path), ASSETS)
        cards = made.cards({"a": ("One finding", SIMPLE), "b": ("Another", SIMPLE)}, "The site")
        assert list(cards) == ["a", "b"]
        assert cards["a"] != cards["b"]
        assert struct.unpack(">II", cards["a"][16:24]) == posters.CARD

    def test_the_page_holds_it_and_names_its_card(self, illustrated):
        code, output = illustrated.mkdocs("build", "--strict")
        assert code == 0, output
        (plot,) = BeautifulSoup(illustrated.html(), "html.parser").select(".vg-plot")
        assert len(plot.select("svg.vg-poster")) == 2
        assert json.loads(plot["data-plot"])["data"]
        assert (illustrated.site / "assets/cards/halving.png").is_file()


class TestMissed:
    def test_the_build_says_so_once_and_goes_on(self, illustrated, no_browser):
        illustrated.script("other")
        code, output = illustrated.mkdocs("build", "--strict")
        assert code == 0, output
        assert output.count("without posters: no browser was found") == 1
        (plot,) = BeautifulSoup(illustrated.html(), "html.parser").select(".vg-plot")
        assert not plot.select("svg")
        assert json.loads(plot["data-plot"])["data"]

    def test_where_they_are_required_the_build_fails(self, illustrated, no_browser, monkeypatch):
        monkeypatch.setenv("VGDOCS_POSTERS", "require")
        code, output = illustrated.mkdocs("build")
        assert code == 1
        assert "posters are required" in output
        assert "no browser was found" in output

    @pytest.mark.browser
    @needs_browser
    def test_a_card_that_cannot_be_drawn(self, illustrated, monkeypatch):
        def fail(*_: object) -> None:
            raise BrowserError("the browser is gone")

        assert illustrated.mkdocs("build")[0] == 0
        monkeypatch.setattr(Posters, "cards", fail)
        code, output = illustrated.mkdocs("build", "--strict")
        assert (code, "without posters: the browser is gone" in output) == (0, True), output
        monkeypatch.setenv("VGDOCS_POSTERS", "require")
        code, output = illustrated.mkdocs("build")
        assert (code, "posters are required: the browser is gone" in output) == (1, True), output

    def test_where_they_are_unwanted_nobody_looks_for_a_browser(self, illustrated, monkeypatch):
        monkeypatch.setenv("VGDOCS_POSTERS", "never")
        monkeypatch.setattr(posters, "Browser", lambda *_: pytest.fail("a browser was started"))
        code, output = illustrated.mkdocs("build", "--strict")
        assert (code, "without posters" in output) == (0, False)

    @pytest.mark.browser
    @needs_browser
    def test_where_nothing_can_be_kept(self, tmp_path):
        (tmp_path / "posters").write_text("a file where the folder should be")
        with pytest.raises(BrowserError, match="a poster can't be kept in"):
            Posters(Store(tmp_path), ASSETS).draw({"simple": SIMPLE})


@pytest.mark.parametrize(
    ("layout", "pixels"),
    [
        ({}, None),
        ({"yaxis": {"domain": [0, 0.4]}, "yaxis2": {"domain": [0.6, 1]}}, 560),
        ({"yaxis": {"domain": [0, 1]}, "yaxis2": {"domain": [0, 1]}}, None),
        ({"height": 480}, 480),
        ({"height": 480, "yaxis": {"domain": [0, 0.4]}, "yaxis2": {"domain": [0.6, 1]}}, 480),
    ],
)
def test_height(layout, pixels):
    assert posters.height({"data": [], "layout": layout}) == pixels


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<path d="M0,0" style="fill: rgb(1, 7, 254); fill-opacity: 1;"/>', '<path d="M0,0" fill="var(--vg-ink-2)" />'),
        ('<path d="M0,0" style="fill: rgb(0, 0, 0); fill-opacity: 0;"/>', '<path d="M0,0" fill="none" />'),
        ('<text class="x" style="font-family: Arial; font-size: 12px;">a</text>', '<text font-size="12">a</text>'),
        ('<path d="M1.2345,-0.06789L3,4.5" class="js"/>', '<path d="M1.2,-0.1L3,4.5" />'),
        (
            '<path transform="translate(7.25,3)" d="M2,0A2,2 0 1,1 0,-2A2,2 0 0,1 2,0Z"/>',
            '<circle cx="7.2" cy="3" r="2" />',
        ),
        (
            '<circle r="1" style="fill: rgb(2, 34, 254)"/>',
            '<circle r="1" fill="color-mix(in srgb, var(--vg-scale-2) 40%, var(--vg-scale))" />',
        ),
        ('<circle r="1" style="fill: rgb(2, 170, 254)"/>', '<circle r="1" fill="var(--vg-scale-3)" />'),
        ('<g class="points"><g/></g>', ""),
        ('<path d="M0,0" style="opacity: 0"/>', ""),
    ],
)
def test_what_is_kept_of_plotlys_svg(before, after):
    svg = ElementTree.fromstring(f'<svg xmlns="http://www.w3.org/2000/svg">{before}</svg>')
    posters._slim(svg, COLOURS)
    assert "".join(ElementTree.tostring(child, encoding="unicode") for child in svg) == after
