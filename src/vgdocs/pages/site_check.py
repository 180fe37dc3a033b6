"""Reads a built site and holds it to its sources: every embed and number is there, and nothing is left over."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from vgdocs.engine.numbers import in_page
from vgdocs.pages.citations import FILLER, Citation, Scanner, pages

LEFTOVER = re.compile(
    r"\[\[[A-Za-z_]\w*\.[\w.]+(?::[^\[\]]*)?\]\]|^/{3,}\s*(?:figure|table|numbers|times|changes|seeds|map)\b.*",
    re.MULTILINE,
)
GENERATED = ["vg-finding", "vg-meta", "vg-all-numbers"]  # classes of what holds numbers that no page's source cites
CODE = "pre, code, script, style, template"
MEND = (
    "the plugin vgdocs sees to that; under another builder name it in mkdocs.yml (extra_css, extra_javascript), and "
    "`vgdocs assets` puts it there"
)


def check(site: Path, docs: Path, scanner: Scanner) -> list[str]:
    """The problems of a built site, a line each.

    `site` is one built version (the folder with numbers.json in it), `docs` what it was built from.
    """
    try:
        known = json.loads((site / "numbers.json").read_text(encoding="utf-8"))["figures"]
    except (OSError, ValueError, KeyError) as error:
        why = f"numbers.json can't be read: {error!r}"
        return [f"{site} is no built site ({why}); `mkdocs build` makes one"]
    if not any(pages(docs)):
        return [f"there is nothing to hold {site} to: no page (*.md) lies below {docs}"]
    found = [
        f"numbers.json: the claim {claim['name']} of {name} failed"
        for name, figure in known.items()
        for claim in figure["claims"]
        if claim["passed"] is False
    ]
    cited: dict[str, list[Citation]] = {}
    for citation in scanner.scan_folder(docs):
        cited.setdefault(citation.page, []).append(citation)
    for path, page in pages(docs):
        html = _html(site, page)
        if html is None:
            if page in cited and not scanner.unbuilt.match_file(page):
                found.append(f"{scanner.docs}/{page} wasn't built")
            continue
        soup = BeautifulSoup(html.read_text(encoding="utf-8"), "html.parser")
        filled = bool(FILLER.search(path.read_text(encoding="utf-8")))
        problems = [*_check_assets(soup, html.parent), *_check_page(soup, cited.get(page, []), known, filled)]
        found += [f"{scanner.docs}/{page}: {problem}" for problem in problems]
    return found


def _html(site: Path, page: str) -> Path | None:
    stem = page.removesuffix(".md")
    folder, _, name = stem.rpartition("/")
    places = (site / (folder if name in ("index", "README") else stem) / "index.html", site / f"{stem}.html")
    return next(filter(Path.is_file, places), None)


def _check_page(soup: BeautifulSoup, cited: Iterable[Citation], known: dict[str, Any], filled: bool) -> Iterator[str]:
    """`filled`: the page shows what other files cite, too."""
    for box in soup.select(".vg-error"):
        yield f"an error box: {box.get_text(' ', strip=True)[:300]}"
    for box in soup.select(".vg-pending"):
        yield f"a figure that wasn't measured: {box.get_text(' ', strip=True)}"

    shown = soup.select("figure.vg-figure[data-figure], .vg-table[data-figure]")
    embeds = Counter(name for element in shown for name in str(element["data-figure"]).split())
    yield from _compare("figure", Counter(c.figure for c in cited if c.number is None), embeds, filled)
    for figure in soup.select("figure.vg-figure[data-figure]"):
        plot = figure.select_one(".vg-plot[data-plot]")
        if plot is None or not _draws(plot):
            yield f"the figure {figure['data-figure']} has nothing to draw"

    numbers: Counter[str] = Counter()
    for number in soup.select("data.vg-number"):
        name = f"{number['data-figure']}.{number['data-number']}"
        value = known.get(str(number["data-figure"]), {}).get("numbers", {}).get(str(number["data-number"]))
        if value is None or in_page(value) != number["value"]:
            yield f"{name} is {number['value']} on the page and {value} in numbers.json"
        if not number.find_parent(class_=GENERATED):
            numbers[name] += 1
    wanted = Counter(f"{c.figure}.{c.number}" for c in cited if c.number is not None)
    yield from _compare("number", wanted, numbers, filled)

    for code in soup.select(CODE):
        code.decompose()
    for match in LEFTOVER.finditer(soup.get_text()):
        yield f"a marker is left over: {match[0]}"


def _check_assets(soup: BeautifulSoup, folder: Path) -> Iterator[str]:
    """Files that a page loads and aren't there, and the loader if its plots lack it."""
    scripts = [str(script["src"]) for script in soup.select("script[src]")]
    for address in [*scripts, *(str(link["href"]) for link in soup.select("link[rel~=stylesheet][href]"))]:
        url = urlsplit(address)
        if not url.netloc and not url.path.startswith("/") and not (folder / unquote(url.path)).is_file():
            yield f"it loads {address}, which isn't in the site; {MEND}"
    loads = {posixpath.basename(urlsplit(script).path) for script in scripts}
    if soup.select_one(".vg-plot[data-plot]") and "vg.js" not in loads:
        yield f"its plots are drawn by assets/vg.js, which it doesn't load; {MEND}"


def _draws(plot: Tag) -> bool:
    try:
        return bool(json.loads(str(plot["data-plot"]))["data"])
    except (ValueError, KeyError, TypeError):
        return False


def _compare(what: str, wanted: Counter[str], found: Counter[str], filled: bool) -> Iterator[str]:
    for name, count in (wanted - found).items():
        yield f"the {what} {name} is cited {count} time(s) more than the page shows it"
    for name, count in () if filled else (found - wanted).items():
        yield f"the {what} {name} is shown {count} time(s) more than the source cites it"
