"""A deployed tree of the real site, one for all workers, and a server and a browser for each.

Without Chromium or Playwright these tests are skipped; in CI (environment variable CI) they fail instead.
`VGDOCS_BROWSER_PROJECT` names another project to deploy, which has to have a mkdocs.yml like ours.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from filelock import FileLock

from vgdocs.pages.browser import BROWSERS, FLAGS, executable
from web import serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).parents[2]
HOST = "site.localhost"  # which the browser knows as our server, and trusts as it does https
SUBPATH = "vanishing-gradient"  # as on a project's page at a host of static pages
VERSIONS = ("0.9", "1.0")
PATIENCE = 60_000  # ms, for what always comes: a page of a machine that has much else to do comes late

# Layout shifts, and the plots' heights before anything is drawn into them.
WITNESS = """
window.shifts = 0;
new PerformanceObserver(list => list.getEntries().forEach(entry => {
  if (!entry.hadRecentInput) window.shifts += entry.value;
})).observe({type: "layout-shift", buffered: true});
document.addEventListener("DOMContentLoaded", () => {
  window.heights = [...document.querySelectorAll(".vg-plot")].map(plot => plot.offsetHeight);
});
"""


@dataclass(frozen=True)
class Deployed:
    """The branch gh-pages of a clone, as a server shows it."""

    folder: Path
    url: str

    def pages(self, version: str = "latest") -> list[str]:
        """Every page of a version, relative to it; "" is its first."""
        paths = [path.parent.relative_to(self.folder / version) for path in (self.folder / version).rglob("index.html")]
        return sorted("" if path == Path() else f"{path.as_posix()}/" for path in paths)

    @functools.cache  # noqa: B019  one object a session, and parsing all pages takes ten seconds
    def html(self, page: str, version: str = "latest") -> BeautifulSoup:
        return BeautifulSoup((self.folder / version / page / "index.html").read_text("utf-8"), "html.parser")

    @functools.cache  # noqa: B019  one object a session
    def page_with(self, selector: str, deep: bool = False) -> str:
        """The first page of the latest version that holds what a CSS selector asks for; `deep` leaves out "" itself."""
        for page in self.pages():
            if (page or not deep) and self.html(page).select_one(selector):
                return page
        raise AssertionError(f"no page holds {selector}")

    def at(self, page: str, version: str = "latest") -> str:
        return f"{self.url}{version}/{page}"


@dataclass
class Visitor:
    """A page of a browser that writes down everything a reader shouldn't meet."""

    page: Page
    home: str
    troubles: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def on_request(request: Any) -> None:
            url = urlsplit(request.url)
            if url.scheme in ("http", "https") and not request.url.startswith(self.home):
                self.troubles.append(f"asks another host: {request.url}")

        def on_console(message: Any) -> None:
            # Said of a page that one leaves soon. That a page uses all that it preloads, test_weight holds.
            left = "was preloaded using link preload" in message.text
            if message.type in ("error", "warning") and not left:
                self.troubles.append(f"{self.page.url} logs: {message.text}")

        def on_response(response: Any) -> None:
            if response.status >= 400:
                self.troubles.append(f"{self.page.url} asks for {response.url}: {response.status}")

        self.page.on("request", on_request)
        self.page.on("console", on_console)
        self.page.on("response", on_response)
        self.page.on("pageerror", lambda error: self.troubles.append(f"{self.page.url} raises: {error}"))

    def open(self, url: str) -> None:
        self.page.goto(url, wait_until="load")

    def instantly(self, act: Callable[[], object], to: str = "") -> None:
        """Do what leads to another page, and see that it was swapped in, not loaded."""
        # Before Material knows the site's pages a click loads one anew.
        known = "performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/sitemap.xml'))"
        self.page.wait_for_function(known)
        self.page.evaluate("""() => {
            window.still = true;
            document.querySelector("[data-md-component=container]").dataset.old = "";
        }""")
        act()
        self.page.wait_for_function("!document.querySelector('[data-old]') && document.readyState == 'complete'")
        assert not to or self.page.url == to
        assert self.page.evaluate("window.still === true"), f"{self.page.url} was loaded anew"

    def walk_to(self, selector: str) -> None:
        """Press Tab until the focus is there."""
        for _ in range(120):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab doesn't reach {selector}")

    def sees_the_figure(self) -> None:
        """The page's one figure is drawn, in a size to be read."""
        (plot,) = self.draw_all()
        assert plot["drawn"], plot["text"]
        assert min(plot["width"], plot["height"]) > 200

    def is_told_of(self, number: str) -> None:
        """A click on the page's first number says where it was measured."""
        from playwright.sync_api import expect

        self.page.locator("data.vg-number").first.click()
        expect(self.page.locator(".vg-popover")).to_contain_text(f"measured by {number}")

    def draw_all(self) -> list[dict[str, Any]]:
        """Go to each plot, as the keyboard does, wait until it is live, and tell what there is to see."""
        return self.page.evaluate(
            """async patience => {
            const plots = [...document.querySelectorAll(".vg-plot")];
            const done = plot => plot.classList.contains("vg-is-live") && plot.querySelector(".trace, .points, .slice")
                                 || plot.classList.contains("vg-error");
            for (const plot of plots) {
                plot.scrollIntoView({block: "center", behavior: "instant"});
                plot.focus({preventScroll: true});
                const end = performance.now() + patience;
                while (!done(plot) && performance.now() < end) await new Promise(r => setTimeout(r, 20));
            }
            return plots.map((plot, i) => {
                const svg = plot.querySelector("svg.main-svg"), box = svg?.getBoundingClientRect();
                return {
                    name: plot.closest("[data-figure]")?.dataset.figure ?? `plot ${i + 1}`,
                    drawn: Boolean(done(plot)) && !plot.classList.contains("vg-error"),
                    text: plot.classList.contains("vg-error") ? plot.innerText : "",
                    width: box?.width ?? 0,
                    height: box?.height ?? 0,
                    room: [plot.clientWidth, plot.clientHeight],
                    share: plot.clientWidth / (plot.closest("figure") ?? plot).parentElement.clientWidth,
                    layered: svg ? getComputedStyle(svg).position : "",
                };
            });
        }""",
            PATIENCE,
        )


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder that all workers share, where the site shall be, and this worker's server for it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "deployed/www").mkdir(parents=True, exist_ok=True)
    with serve(folder / "deployed/www") as address:
        yield folder / "deployed", address.removeprefix("http://")


@pytest.fixture(scope="session")
def browser(served: tuple[Path, str]) -> Iterator[Browser]:
    """One headless Chromium, which reaches nothing but our own servers, whatever the machine's network."""
    program = executable()
    if not program:
        _cannot(f"no Chromium: none of {', '.join(BROWSERS)} is on the path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _cannot("Playwright is not installed: pip install -e '.[test]'")
    rules = f"MAP {HOST}:80 {served[1]}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS, f"--host-resolver-rules={rules}"])
        yield browser
        browser.close()


def _cannot(reason: str) -> None:
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def deployed(browser: Browser, served: tuple[Path, str]) -> Deployed:
    """Two versions of the site, deployed with mike under a sub-path by the worker that comes first.

    It asks for the browser first: without one nothing is worth building.
    """
    folder, _ = served
    project = Path(os.environ.get("VGDOCS_BROWSER_PROJECT") or ROOT)
    site = Deployed(folder / "www" / SUBPATH, f"http://{HOST}/{SUBPATH}/")
    with FileLock(folder / "lock"):
        if not site.folder.exists():
            deploy(project, Path(tempfile.mkdtemp(dir=folder)), site.folder, site.url)
    return site


def deploy(project: Path, clone: Path, target: Path, url: str) -> None:
    """Deploy a project's files, committed or not, into the branch gh-pages of a clone, and check that out."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # mike starts mkdocs by name
        "SITE_URL": url,  # instant navigation compares a link with the sitemap, port and all
        "VGDOCS_STORE": os.environ.get("VGDOCS_STORE", str(ROOT / ".vgdocs")),  # nothing is measured twice
        "NO_MKDOCS_2_WARNING": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{role}_{key}": "tester" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")},
    }

    def run(*command: str, cwd: Path = clone) -> str:
        result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
        return result.stdout

    for name in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=project).split("\0"):
        if (project / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / name, clone / name)
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message=The site as it stands")
    for version in VERSIONS:
        run("mike", "deploy", "--update-aliases", version, "latest")
    run("mike", "set-default", "latest")
    run("git", "worktree", "add", "--quiet", str(target), "gh-pages")


@pytest.fixture
def download() -> Callable[[Locator, str], bytes]:
    """Saves a figure by its button: `download(figure, "svg")` is the file, which has the figure's name."""

    def save(figure: Locator, form: str) -> bytes:
        button = figure.locator(f"button[value={form}]:not([hidden] *)")
        if not button.is_visible():
            figure.locator(".vg-data:not([hidden]) > summary").click()
        with figure.page.expect_download() as download:
            button.click()
        assert download.value.suggested_filename == f"{figure.get_attribute('data-figure')}.{form}"
        return Path(download.value.path()).read_bytes()

    return save


Visit = Callable[..., AbstractContextManager[Visitor]]


@pytest.fixture
def visit(profile: Visit, deployed: Deployed) -> Visit:
    """Opens a fresh browser profile: `with visit("dark", 390) as visitor`; ends by failing on all troubles."""
    return functools.partial(profile, deployed.url)


@pytest.fixture
def profile(browser: Browser) -> Visit:
    """The same for any site, whose address comes first."""

    @contextlib.contextmanager
    def open_profile(
        home: str, scheme: str = "light", width: int = 1280, touch: bool = False, javascript: bool = True
    ) -> Iterator[Visitor]:
        phone = width < 600
        context = browser.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": 844 if phone else 900},
            has_touch=phone or touch,
            is_mobile=phone,
            reduced_motion="reduce",  # nothing to wait for
            java_script_enabled=javascript,
        )
        context.add_init_script(WITNESS)
        context.set_default_timeout(PATIENCE)
        visitor = Visitor(context.new_page(), home)
        visitor.watch()
        try:
            yield visitor
        except Exception as error:
            error.add_note("\n".join([f"shown: {visitor.page.url}", *visitor.troubles]))
            raise
        else:
            assert not visitor.troubles, "\n".join(visitor.troubles)
        finally:
            context.close()

    return open_profile
