"""A headless browser that draws: the site's style, loader and bundle are in its pages, and nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

REM = 20  # px; Material's at usual widths
PATIENCE = 10.0  # seconds that a browser may take to end
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",  # a container's root has no other way, and only our own figures are drawn
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCRIPTS = ("vendor/plotly-basic.min.js", "vg.js")
ORIGIN = "http://posters.invalid/"  # never asked: each request is answered from the site's assets

T = TypeVar("T")


class BrowserError(Exception):
    """There is no browser, or it did not do what it was asked."""


def executable() -> str | None:
    """The browser to draw with: the one named by VGDOCS_BROWSER, or a usual one that is installed."""
    names = [os.environ.get("VGDOCS_BROWSER", ""), *BROWSERS]
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


class Browser:
    """One that is started when it is first asked for something, and ended by `close`.

    It is driven from a thread of its own: it draws while its caller does something else, and the caller's thread may
    run a loop of events, in which no other can be started. After a failure it fails whatever it is asked, in the same
    way. Raises BrowserError if there is none to be started.
    """

    def __init__(self, assets: Path) -> None:
        try:
            from playwright.async_api import async_playwright
        except ImportError:
            raise BrowserError("playwright isn't installed") from None
        path = executable()
        if path is None:
            raise BrowserError(
                "no browser was found; install Chromium (apt install chromium) or name one in VGDOCS_BROWSER"
            )
        self.path, self._assets, self._playwright = path, assets, async_playwright
        self._pages: dict[tuple[tuple[str, str], ...], Page] = {}
        self._open = contextlib.AsyncExitStack()
        self._turn = asyncio.Lock()
        self._failure: Exception | None = None
        self._asked: list[Future[Any]] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()  # a daemon: Ctrl-C need not wait for it

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, tokens: Mapping[str, str], act: Callable[[Page], Awaitable[T]]) -> Future[T]:
        """What `act` makes of a page whose style gives the tokens these colours, after all that was asked before.

        The result may raise BrowserError, and whatever `act` does.
        """
        future = asyncio.run_coroutine_threadsafe(self._act(tokens, act), self._loop)
        self._asked.append(future)
        return future

    def close(self) -> None:
        """End it; what was asked and isn't done is cancelled."""
        for future in self._asked:
            future.cancel()
        with contextlib.suppress(Exception):  # what is there to be closed may be gone
            asyncio.run_coroutine_threadsafe(self._open.aclose(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _act(self, tokens: Mapping[str, str], act: Callable[[Page], Awaitable[T]]) -> T:
        from playwright.async_api import Error

        async with self._turn:
            if self._failure:
                raise self._failure
            try:
                return await act(await self._page(tokens))
            except Error as error:
                what = str(error).strip().splitlines()[0]
                self._failure = BrowserError(f"{self.path} could not draw them: {what}")
                raise self._failure from None
            except Exception as error:
                self._failure = error
                raise

    async def _page(self, tokens: Mapping[str, str]) -> Page:
        key = tuple(tokens.items())
        if key not in self._pages:
            if not self._pages:
                playwright = await self._open.enter_async_context(self._playwright())
                self._browser = await playwright.chromium.launch(executable_path=self.path, args=list(FLAGS))
                self._open.push_async_callback(self._browser.close)
            page = await self._browser.new_page()
            await page.route("**/*", lambda route: self._answer(route, _html(tokens)))
            await page.goto(ORIGIN)
            self._pages[key] = page
        return self._pages[key]

    async def _answer(self, route: Route, html: str) -> None:
        name = route.request.url.removeprefix(ORIGIN)
        if not name:
            await route.fulfill(body=html, content_type="text/html")
        elif (self._assets / name).is_file():
            await route.fulfill(path=self._assets / name)
        else:
            await route.abort()


def _html(tokens: Mapping[str, str]) -> str:
    """A page whose style gives each token of vg.css a colour, as hex."""
    colours = "".join(f"--vg-{name}: {colour};" for name, colour in tokens.items())
    scripts = "".join(f'<script src="{name}"></script>' for name in SCRIPTS)
    style = f"html {{ font-size: {REM}px }} [data-md-color-scheme] {{ {colours} }}"
    body = f'<body data-md-color-scheme="default" class="vg-posters">{scripts}</body>'
    return f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="vg.css"><style>{style}</style>{body}'
