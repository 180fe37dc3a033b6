"""Plotly in the labs: a figure becomes a div with its JSON, drawn by the site's own loader.

nbconvert can't represent Plotly's own MIME type: without this, a lab's figure is an empty place, without a warning.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

STARTUP = """\
import os

# before torch is loaded: on a busy machine two threads wait for each other most of the time
os.environ.setdefault("OMP_NUM_THREADS", "1")

from vgdocs.pages.notebook import register

register()
"""


def register() -> None:
    """Make the site's renderer Plotly's default in this process."""
    import plotly.io as pio
    from plotly.io.base_renderers import MimetypeRenderer

    class SiteRenderer(MimetypeRenderer):
        def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
            return {"text/html": plot_html(fig_dict)}

    pio.renderers["vgdocs"] = SiteRenderer()
    pio.renderers.default = "vgdocs"


def plot_html(figure: dict[str, Any]) -> str:
    """The element that the loader draws, for a figure as a dict."""
    from plotly.io.json import to_json_plotly

    layout = {key: value for key, value in figure["layout"].items() if key != "template"}
    plot = json.loads(to_json_plotly({"data": figure["data"], "layout": layout}))
    text = json.dumps(plot, ensure_ascii=False, separators=(",", ":"))
    attributes = f'role="img" aria-label="Plot of the cell above" data-plot="{escape(text)}" data-search-exclude'
    return f'<div class="vg-plot" {attributes}></div>'


def install(folder: Path) -> Path:
    """Write an IPython folder whose kernels register the renderer when they start; returns the folder."""
    startup = folder / "profile_default" / "startup" / "00-vgdocs.py"
    if not startup.is_file() or startup.read_text("utf-8") != STARTUP:
        startup.parent.mkdir(parents=True, exist_ok=True)
        startup.write_text(STARTUP, "utf-8")
    return folder
