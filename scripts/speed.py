"""Measures how fast the site is, page by page, beside the same content rendered the stock way, as a Markdown table.

The site is built, or the folder of a deployed one is given. Bytes are what travels, compressed; times are this
machine's, so compare them within one run only. "Stock" is the page as a notebook: mkdocs-jupyter runs it, and Plotly's
`notebook` renderer draws its figures.

Lighthouse is used where it is found: on the path, in node_modules here, or where LIGHTHOUSE points.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
from bs4 import BeautifulSoup, Tag
from nbformat import v4
from playwright.sync_api import Browser, Page, sync_playwright

from vgdocs.pages.browser import FLAGS, executable
from web import serve

ROOT = Path(__file__).parent.parent
HOW = "Lighthouse was not found: npm install lighthouse@12.8.2 (it needs node 18 or newer) in this folder."
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
FORMS = ["mobile", "desktop"]
QUIET = 700  # ms in which a page may still load something

WITNESS = """
window.seen = { shift: 0, paint: 0, blocked: 0 };
const watch = (type, note) => new PerformanceObserver(list => list.getEntries().forEach(note))
  .observe({ type, buffered: true });
watch("layout-shift", entry => { if (!entry.hadRecentInput) seen.shift += entry.value; });
watch("largest-contentful-paint", entry => { seen.paint = entry.startTime; });
watch("longtask", entry => { seen.blocked += Math.max(0, entry.duration - 50); });
"""


@dataclass
class Visit:
    """A page that was opened with an empty cache and left to itself."""

    kilobytes: float  # of 1024 bytes
    requests: int
    paint: float  # ms, Largest Contentful Paint
    shift: float  # Cumulative Layout Shift
    blocked: float  # ms, beyond 50 of each long task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", nargs="?", type=Path, help="a deployed tree, with versions.json; else it is built")
    parser.add_argument("--pages", default="*", help='which pages, as "solutions/*"; the first one is ""')
    parser.add_argument("--runs", type=int, default=3, help="runs of Lighthouse of which the median is told")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="what Lighthouse plays")
    parser.add_argument("--no-lighthouse", action="store_true")
    parser.add_argument("--no-stock", action="store_true", help="leave out the pages as notebooks")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()

    program = None if options.no_lighthouse else lighthouse_program()
    if not program and not options.no_lighthouse:
        tell(HOW)
    with ExitStack() as stack:
        folder = stack.enter_context(built_or(options.site))
        address = stack.enter_context(serve(folder))
        version = current_version(folder)
        if options.site is None:
            build(folder / version, f"{address}/{version}/")
        pages = [page for page in found(folder / version) if fnmatch.fnmatch(page, options.pages)]
        if not pages:
            sys.exit(f"no page matches {options.pages!r}")
        stock = None
        if not options.no_stock:
            where = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stock = stack.enter_context(serve(build_stock(folder / version, pages, where)))
        tables = measure(pages, f"{address}/{version}/", stock, program, options.runs, options.forms)
    print(tables)
    if options.out:
        options.out.write_text(tables, "utf-8")


def measure(pages: list[str], site: str, stock: str | None, program: str | None, runs: int, forms: list[str]) -> str:
    head = ["page", "KB", "requests", "LCP ms", "CLS", "blocked ms"]
    if program:
        head += [f"{form}: {', '.join(name[:4] for name in CATEGORIES)}" for form in forms]
    head += ["stock: KB", "LCP ms", "blocked ms", *([f"{', '.join(forms)} perf"] if program else [])] if stock else []
    rows, waits = [], []
    with browser() as chromium:
        for done, page in enumerate(pages, 1):
            tell(f"{done}/{len(pages)} {page or 'home'}")
            one = visit(chromium, site + page)
            row = [page or "home", f"{one.kilobytes:.0f}", str(one.requests), f"{one.paint:.0f}", f"{one.shift:.4f}"]
            row.append(f"{one.blocked:.0f}")
            if program:
                row += [", ".join(scores(program, site + page, form, runs)) for form in forms]
            if stock:
                other = visit(chromium, f"{stock}/{page}")
                row += [f"{other.kilobytes:.0f}", f"{other.paint:.0f}", f"{other.blocked:.0f}"]
                if program:
                    row.append(", ".join(scores(program, f"{stock}/{page}", form, runs)[0] for form in forms))
            rows.append(row)
            tell(" | ".join(row))  # a whole run takes an hour or two, and may be cut short
            times = [time_to_live(chromium, site + page, lazy) for lazy in (False, True)]
            waits.append([page or "home", *(f"{ms:.0f}" if ms else "" for pair in times for ms in pair)])
    live_head = ["page", "poster: first, ms", "later", "lazy: first, ms", "later"]
    live = [row for row in waits if any(row[1:])]
    explained = (
        "From the pointer's arrival on a poster to the live figure; the lazy way (no posters; a figure is drawn when "
        "it comes near), from the page's opening to the first figure, and from its coming near to a later one:"
    )
    return f"{table(head, rows)}\n{explained}\n\n{table(live_head, live)}"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# ---- The site and its stock counterpart ------------------------------------------------------------------------


@contextmanager
def built_or(site: Path | None) -> Iterator[Path]:
    if site is not None:
        yield site
        return
    with tempfile.TemporaryDirectory() as folder:
        versions = [{"version": "latest", "title": "latest", "aliases": []}]
        (Path(folder) / "versions.json").write_text(json.dumps(versions))
        yield Path(folder)


def current_version(folder: Path) -> str:
    versions = json.loads((folder / "versions.json").read_text("utf-8"))
    return next((v["version"] for v in versions if "latest" in v["aliases"]), versions[0]["version"])


def build(target: Path, url: str) -> None:
    tell("building the site ...")
    mkdocs(ROOT, target, {"SITE_URL": url})


def mkdocs(project: Path, target: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(target)]
    result = subprocess.run(command, cwd=project, env=os.environ | environment, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)


def found(version: Path) -> list[str]:
    folders = (path.parent.relative_to(version) for path in version.rglob("index.html"))
    return sorted("" if folder == Path() else f"{folder.as_posix()}/" for folder in folders)


def build_stock(version: Path, pages: list[str], where: Path) -> Path:
    """The pages as notebooks, in a site as mkdocs-material and mkdocs-jupyter make it."""
    tell(f"running {len(pages)} notebooks for comparison ...")
    for page in pages:
        path = where / "docs" / page / "index.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook((version / page / "index.html").read_text("utf-8")), path)
    config = {
        "site_name": "Stock",
        "theme": {"name": "material", "font": False},  # its fonts come from another host, which isn't measured here
        "plugins": ["search", {"mkdocs-jupyter": {"execute": True}}],
    }
    (where / "mkdocs.yml").write_text(json.dumps(config))
    mkdocs(where, where / "site", {})
    return where / "site"


def notebook(html: str) -> Any:
    """A page's text as Markdown cells, its formulas in dollars, each figure as a cell that shows it."""
    article = BeautifulSoup(html, "html.parser").select_one("article.md-content__inner")
    assert article
    for formula in article.select(".arithmatex"):
        tex = formula.select_one("annotation")
        formula.replace_with(f"${tex.get_text()}$" if tex else "")
    cells = [v4.new_code_cell('import json\nimport plotly.io as pio\npio.renderers.default = "notebook"')]
    text = ""
    for child in article.children:
        plot = child.select_one("[data-plot]") if isinstance(child, Tag) else None
        if plot is None:
            text += str(child)
            continue
        cells.append(v4.new_markdown_cell(text))
        cells.append(v4.new_code_cell(f"pio.show(json.loads({str(plot['data-plot'])!r}), validate=False)"))
        text = "".join(str(part) for part in child.select("figcaption"))
    cells.append(v4.new_markdown_cell(text))
    return v4.new_notebook(cells=cells)


# ---- A browser -------------------------------------------------------------------------------------------------


@contextmanager
def browser() -> Iterator[Browser]:
    path = executable() or sys.exit("no browser was found; install Chromium or name one in VGDOCS_BROWSER")
    with sync_playwright() as driver, driver.chromium.launch(executable_path=path, args=list(FLAGS)) as chromium:
        yield chromium


@contextmanager
def opened(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.add_init_script(WITNESS)
        yield context.new_page()


def visit(chromium: Browser, url: str) -> Visit:
    with opened(chromium) as page:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        sizes: list[int] = []
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        page.goto(url, wait_until="load")
        page.wait_for_timeout(QUIET)
        seen = page.evaluate("seen")
        return Visit(sum(sizes) / 1024, len(sizes), seen["paint"], seen["shift"], seen["blocked"])


def time_to_live(chromium: Browser, url: str, lazy: bool) -> tuple[float, float]:
    """Milliseconds to a live figure, of the first figure and of a later one; 0 where there is none."""
    with opened(chromium) as page:
        if lazy:
            page.route(url, without_posters)
        began = time.perf_counter()
        page.goto(url, wait_until="load")
        plots = page.locator(".vg-plot[data-plot]")
        waits = [0.0, 0.0]
        for i in range(min(2, plots.count())):
            plot = plots.nth(-1 if i else 0)
            if i or not lazy:
                began = time.perf_counter()
            plot.scroll_into_view_if_needed()
            if not lazy:
                page.wait_for_timeout(300)  # until the page has come to rest
                began = time.perf_counter()
                plot.hover()
            plot.locator(".main-svg .trace, .main-svg .points, .main-svg .slice").first.wait_for(state="attached")
            waits[i] = 1000 * (time.perf_counter() - began)
        return waits[0], waits[1]


def without_posters(route: Any) -> None:
    response = route.fetch()
    soup = BeautifulSoup(response.text(), "html.parser")
    for poster in soup.select(".vg-poster"):
        poster.decompose()
    route.fulfill(response=response, body=str(soup))


# ---- Lighthouse ------------------------------------------------------------------------------------------------


def lighthouse_program() -> str | None:
    if named := os.environ.get("LIGHTHOUSE"):
        return shutil.which(named)
    return shutil.which("lighthouse") or shutil.which("lighthouse", path=str(ROOT / "node_modules/.bin"))


def scores(program: str, url: str, form: str, runs: int) -> list[str]:
    """The medians of the categories' scores, 0 to 100; "?" where Lighthouse fails."""
    results = [run for run in (lighthouse(program, url, form) for _ in range(runs)) if run]
    if not results:
        return ["?"] * len(CATEGORIES)
    return [f"{median(100 * (run[name] or 0) for run in results):.0f}" for name in CATEGORIES]


def lighthouse(program: str, url: str, form: str) -> dict[str, float] | None:
    flags = " ".join(["--headless=new", *FLAGS])
    command = [program, url, "--quiet", "--output=json", f"--chrome-flags={flags}"]
    command += [f"--only-categories={','.join(CATEGORIES)}", *(["--preset=desktop"] if form == "desktop" else [])]
    environment = os.environ | {"CHROME_PATH": executable() or ""}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        categories = json.loads(result.stdout)["categories"]
    except (ValueError, KeyError):
        tell(f"Lighthouse failed on {url}: {result.stderr.strip()[-300:]}")
        return None
    return {name: categories[name]["score"] for name in CATEGORIES}


if __name__ == "__main__":
    main()
