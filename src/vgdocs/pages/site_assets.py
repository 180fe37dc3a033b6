"""The files that every built page needs: the loader, its style, Plotly, KaTeX's style and fonts.

They come with the package, so that it alone makes a site whose figures are drawn, with no other host asked. The plugin
puts them into what MkDocs builds; for a builder that runs no plugins, `vgdocs assets` does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path(__file__).parent / "assets"
STYLES = ("assets/katex/katex.min.css", "assets/math.css", "assets/vg.css")  # addresses in the site, in their order
SCRIPTS = ("assets/vg.js",)
KATEX = FOLDER / "katex/katex.min.js"  # makes formulas while the site is built, and is never served

# What stands in a plot's place until it is drawn; a poster says more.
UNDRAWN = '<p class="vg-undrawn">This plot is drawn by a script, assets/vg.js, that is off, missing or on its way.</p>'


def served() -> dict[str, Path]:
    """The files that belong into a site, by their address in it; licences go with what they are for."""
    kept = (KATEX, *FOLDER.rglob("README.txt"))
    paths = [path for path in sorted(FOLDER.rglob("*")) if path.is_file() and path not in kept]
    return {f"assets/{path.relative_to(FOLDER).as_posix()}": path for path in paths}


def copy(site: Path) -> None:
    """Put them into a built site, beside what it has of its own."""
    for address, path in served().items():
        (site / address).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, site / address)
