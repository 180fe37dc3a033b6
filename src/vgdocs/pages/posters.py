"""Posters: each plot drawn once, at build, as an SVG that stands in the page until the reader wants the live figure.

One headless browser draws them all, with the site's own loader (vg.js) and the site's own bundle, in a theme in which
every token has a colour of its own. In the SVG those colours become the tokens again: a poster follows the palette
toggle and prints in ink on paper. Posters are kept in the store under a hash of all that they depend on. A build draws
them while it measures other figures, and the cards while it makes other pages.

With `posters: require`, in mkdocs.yml or as VGDOCS_POSTERS, it is an error that they can't be drawn, and `never` leaves
them out; else figures without a poster are drawn by the reader's browser when they come near.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import xml.etree.ElementTree as etree
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vgdocs.engine import observe
from vgdocs.engine.store import Store, StoreError
from vgdocs.pages import browser, site_assets
from vgdocs.pages.browser import SCRIPTS, Browser, BrowserError

if TYPE_CHECKING:
    from playwright.async_api import Page

VARIANTS = {"wide": (648, 420), "narrow": (358, 380)}  # px: a figure's column on a desk and on a phone
PANEL = 280  # px; the height of each panel where several stand above one another
CARD = (1200, 630)  # px; what a shared link shows
TIME_LIMIT = 30.0  # seconds that a browser may take for one picture; usual ones take a tenth of one

T = TypeVar("T")

TOKEN = re.compile(r"--vg-([a-z0-9-]+): #[0-9a-f]{6};")
COLOUR = re.compile(r"rgb\((\d+), (\d+), (\d+)\)")
DECIMALS = re.compile(r"-?\d*\.\d{2,}")
REFERENCE = re.compile(r"""url\(['"]?#([^)'"]+)['"]?\)""")
REFERRED = ("clipPath", "linearGradient", "pattern")  # what is nothing without a reference to it
CIRCLE = re.compile(r"M([\d.]+),0A\1,\1 0 1,1 0,-\1A\1,\1 0 0,1 \1,0Z")
MOVED = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")
SVG = "{http://www.w3.org/2000/svg}"
# All that a style may turn into: a figure's text can style itself, and onclick or href would be an attribute, too.
PRESENTATION = re.compile(r"(fill|stroke|font|text|stop|clip|marker)(-[a-z]+)*|opacity|display|visibility|paint-order")
# What Plotly writes out although it is so anyway, or what only a live figure needs.
USUAL = {
    "opacity": "1",
    "fill-opacity": "1",
    "stroke-opacity": "1",
    "font-style": "normal",
    "font-variant": "normal",
    "font-weight": "normal",
    "text-transform": "none",
    "text-shadow": "none",
    "text-decoration-line": "none",
    "stroke-miterlimit": "2",
    "stroke-dasharray": "0px",
}
LIVE = {"font-family", "white-space", "pointer-events", "cursor", "will-change", "vector-effect"}
DROPPED = {"class", "data-unformatted", "data-math", "data-notex", "pointer-events", "style"}

DRAW = """async ([plot, width, height]) => {
  const box = document.body.appendChild(document.createElement("div"));
  Object.assign(box.style, { width: `${width}px`, height: `${height}px` });
  await Plotly.newPlot(box, { ...vg.paint(plot, width), config: { staticPlot: true } });
  const url = await Plotly.toImage(box, { format: "svg", width, height });
  Plotly.purge(box);
  box.remove();
  return decodeURIComponent(url.slice(url.indexOf(",") + 1));
}"""

DRAW_CARD = """async ([site, title, plot]) => {
  document.body.innerHTML = '<main class="vg-card"><p></p><h1></h1><div></div></main>';
  document.querySelector(".vg-card p").textContent = site;
  document.querySelector(".vg-card h1").textContent = title;
  const box = document.querySelector(".vg-card div");
  await Plotly.newPlot(box, { ...vg.paint(plot, box.clientWidth), config: { staticPlot: true } });
}"""


class EndlessError(BrowserError):
    """A plot that no browser is done with, wherever it is drawn."""


class Posters:
    """The posters of a project: those in its store, and a way to draw the others.

    assets: the folder with vg.js, vg.css and vendor/. mode: one of settings.POSTERS, overruled by the environment.
    """

    def __init__(self, store: Store, assets: Path = site_assets.FOLDER, mode: str = "auto") -> None:
        self.store, self.assets = store, assets
        self.mode = os.environ.get("VGDOCS_POSTERS") or mode
        self._keeps = False
        self._kept: Browser | None = None

    def get(self, plot: dict[str, Any]) -> str:
        """The poster of a plot as HTML, in both widths; empty if it has none (yet)."""
        return "" if self.mode == "never" else self.store.read_text(self._path(plot)) or ""

    def missing(self, plots: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the plots that should have a poster and don't."""
        return [] if self.mode == "never" else [plot for plot in plots if not self.get(plot)]

    def keep(self) -> None:
        """One browser, once it is needed, draws all that there is to draw until `close`."""
        self._keeps = True

    def expect(self) -> None:
        """There will be something to draw: if a browser is to be kept, have it started meanwhile."""
        if self._keeps and self.mode != "never":
            with contextlib.suppress(BrowserError), self._browser() as browser:  # a failure is told by who draws
                browser.ask(self._sentinels, _nothing)

    def close(self) -> None:
        """End the browser that was kept."""
        if self._kept:
            self._kept.close()
        self._keeps, self._kept = False, None

    def begin(self, plots: Mapping[str, dict[str, Any]]) -> None:
        """Have the browser that is kept, if one is, draw the posters that are missing while their caller goes on."""
        if self._kept:
            self._ask_posters(self._kept, plots)

    def draw(self, plots: Mapping[str, dict[str, Any]]) -> None:
        """Draw what has no poster yet of the plots, by figure. Raises BrowserError if that can't be done."""
        if self.missing(plots.values()):
            with self._browser() as browser:
                for drawing in self._ask_posters(browser, plots):
                    drawing.result()

    def begin_card(self, name: str, finding: tuple[str, dict[str, Any]], site: str) -> None:
        """As `begin`, one of `cards`."""
        title, plot = finding
        if self._kept and not self._read(self._path(plot, title, site)):
            self._ask_card(self._kept, name, finding, site)

    def cards(self, findings: Mapping[str, tuple[str, dict[str, Any]]], site: str) -> dict[str, bytes]:
        """A picture (PNG) of each (finding, plot), as it is shown where a link is shared. Raises BrowserError."""
        paths = {name: self._path(plot, title, site) for name, (title, plot) in findings.items()}
        missing = [name for name, path in paths.items() if not self._read(path)]
        if missing:
            with self._browser() as browser:
                for drawing in [self._ask_card(browser, name, findings[name], site) for name in missing]:
                    drawing.result()
        return {name: self._read(path) for name, path in paths.items()}

    @contextlib.contextmanager
    def _browser(self) -> Iterator[Browser]:
        """The browser that is kept, or one for this once."""
        with contextlib.ExitStack() as stack:
            browser = self._kept or Browser(self.assets)
            if self._keeps:
                self._kept = browser
            else:
                stack.callback(browser.close)
            try:
                yield browser
            except StoreError as error:
                raise BrowserError(str(error)) from None

    def _ask_posters(self, browser: Browser, plots: Mapping[str, dict[str, Any]]) -> list[Future[None]]:
        async def draw(page: Page, name: str, plot: dict[str, Any]) -> None:
            if self.missing([plot]):  # else it was drawn meanwhile
                path = self._path(plot)
                svgs = [await _in_time(name, self._svg(page, path.stem[:8], plot, variant)) for variant in VARIANTS]
                self.store.write_text(path, "".join(svgs), "a poster")

        missing = [(name, plot) for name, plot in plots.items() if self.missing([plot])]
        return [browser.ask(self._sentinels, partial(draw, name=name, plot=plot)) for name, plot in missing]

    def _ask_card(self, browser: Browser, name: str, finding: tuple[str, dict[str, Any]], site: str) -> Future[None]:
        title, plot = finding
        path = self._path(plot, title, site)

        async def draw(page: Page) -> None:
            if not self._read(path):
                await page.set_viewport_size({"width": CARD[0], "height": CARD[1]})
                await _in_time(name, page.evaluate(DRAW_CARD, [site, title, plot]))
                self.store.write(path, await _in_time(name, page.screenshot()), "a card")

        return browser.ask({}, draw)

    @cached_property
    def _sentinels(self) -> dict[str, str]:
        """A colour of its own for each token, as hex; those of the colour scale lie on a line, see `_colour`."""
        names = list(dict.fromkeys(TOKEN.findall((self.assets / "vg.css").read_text("utf-8"))))
        scale = [name for name in names if re.fullmatch(r"scale(-\d)?", name)]
        steps = {name: f"#02{round(255 * i / (len(scale) - 1)):02x}fe" for i, name in enumerate(scale)}
        return {name: steps.get(name, f"#01{i:02x}fe") for i, name in enumerate(names)}

    async def _svg(self, page: Page, prefix: str, plot: dict[str, Any], variant: str) -> str:
        width, usual = VARIANTS[variant]
        svg = etree.fromstring(await page.evaluate(DRAW, [plot, width, height(plot) or usual]))
        colours = {tuple(bytes.fromhex(colour[1:])): name for name, colour in self._sentinels.items()}
        _slim(svg, colours)
        _rename(svg, f"p{prefix}{variant[0]}")
        box = svg.get("viewBox", "")
        svg.attrib.clear()
        svg.attrib.update({"class": f"vg-poster vg-{variant}", "viewBox": box, "aria-hidden": "true"})
        return etree.tostring(svg, encoding="unicode", short_empty_elements=False)

    def _path(self, plot: dict[str, Any], *more: str) -> Path:
        content = json.dumps([plot, *more], sort_keys=True) + self._drawing
        return self.store.folder / "posters" / f"{observe.digest(content.encode())}.{'png' if more else 'html'}"

    @cached_property
    def _drawing(self) -> str:
        """Digests of the loader, its style, the bundle and the modules that draw, on which all posters depend."""
        drawn_by = [self.assets / name for name in (*SCRIPTS, "vg.css")]
        paths = [*drawn_by, Path(browser.__file__), Path(__file__)]
        return " ".join(observe.digest(path.read_bytes()) for path in paths if path.is_file())

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError:
            return b""


def height(plot: dict[str, Any]) -> int | None:
    """The height in px that a plot asks for: its own, or one panel's for each of those above one another."""
    layout = plot["layout"]
    axes = (axis for name, axis in layout.items() if name.startswith("yaxis") and "domain" in axis)
    rows = {tuple(axis["domain"]) for axis in axes}
    return layout.get("height") or (PANEL * len(rows) if len(rows) > 1 else None)


async def _nothing(page: Page) -> None:
    """Only have it opened."""


async def _in_time(name: str, drawing: Awaitable[T]) -> T:
    """A figure's drawing, awaited no longer than the limit. Raises EndlessError."""
    try:
        return await asyncio.wait_for(drawing, TIME_LIMIT)
    except TimeoutError:
        raise EndlessError(f"{name}: a browser has not drawn it after {TIME_LIMIT:g} s") from None


def _colour(match: re.Match[str], colours: dict[tuple[int, ...], str]) -> str:
    """A sentinel's token. Between two steps of the colour scale Plotly mixes, and so does the browser."""
    rgb = tuple(map(int, match.groups()))
    if rgb in colours:
        return f"var(--vg-{colours[rgb]})"
    steps = sorted((green, name) for (red, green, _), name in colours.items() if red == 2)
    if rgb[0] != 2 or not steps or rgb[2] != 254:
        return match[0]  # Plotly's own, under something transparent
    below, above = max(s for s in steps if s[0] <= rgb[1]), min(s for s in steps if s[0] >= rgb[1])
    share = round(100 * (rgb[1] - below[0]) / (above[0] - below[0]))
    return f"color-mix(in srgb, var(--vg-{above[1]}) {share}%, var(--vg-{below[1]}))"


def _slim(element: etree.Element, colours: dict[tuple[int, ...], str]) -> None:
    """Take out what a poster doesn't need, and give each colour back to its token."""
    element.tag = element.tag.removeprefix(SVG)
    pairs = (part.split(":", 1) for part in element.get("style", "").split(";") if ":" in part)
    style = {name.strip(): value.strip() for name, value in pairs}
    for name in [name for name in element.attrib if name in DROPPED or name.startswith("{")]:
        del element.attrib[name]
    for paint in ("fill", "stroke"):
        if style.get(f"{paint}-opacity") == "0":
            style[paint] = "none"
        if style.get(paint) == "none":
            style.pop(f"{paint}-opacity", None)
            style.pop(f"{paint}-width", None)
    for name, value in style.items():
        if PRESENTATION.fullmatch(name) and name not in LIVE and USUAL.get(name) != value:
            element.set(name, value.removesuffix("px"))
    for name, value in element.attrib.items():
        coloured = COLOUR.sub(lambda match: _colour(match, colours), value)
        element.set(name, DECIMALS.sub(lambda match: f"{float(match[0]):.1f}", coloured))
    circle = CIRCLE.fullmatch(element.get("d", ""))
    if circle and (moved := MOVED.fullmatch(element.get("transform", "translate(0,0)"))):
        element.tag = "circle"
        del element.attrib["d"]
        element.attrib.pop("transform", None)
        element.attrib.update({"cx": moved[1], "cy": moved[2], "r": circle[1]})
    for child in list(element):
        _slim(child, colours)
        empty = child.tag in ("g", "defs", "path") and not len(child) and "d" not in child.attrib
        unseen = child.get("opacity") == "0" or child.get("display") == "none"
        blank = child.tag == "rect" and child.get("fill") == "none" and child.get("stroke", "none") == "none"
        if empty or unseen or (blank and element.tag != "clipPath"):
            element.remove(child)


def _rename(svg: etree.Element, prefix: str) -> None:
    """Ids that are unique in the page and the same in every run; Plotly's are random, and most serve nothing."""
    names: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        return f"url(#{names.setdefault(match[1], f'{prefix}{len(names)}')})"

    for element in svg.iter():
        for name, value in element.attrib.items():
            element.set(name, REFERENCE.sub(rename, value))
    for parent in list(svg.iter()):
        for child in list(parent):
            if (old := child.attrib.pop("id", "")) in names:
                child.set("id", names[old])
            elif child.tag in REFERRED:
                parent.remove(child)
