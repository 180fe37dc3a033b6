"""Plotly in the labs: what a figure shows in a notebook is an element that the site's loader draws."""

import json
import subprocess
import sys

import plotly.graph_objects as go
from bs4 import BeautifulSoup

from vgdocs.pages.notebook import STARTUP, install, plot_html


def test_a_figure_is_an_element_with_its_json():
    html = plot_html(go.Figure(go.Scatter(y=[1.0, 0.5], name='a "quoted" <name>')).to_dict())
    plot = BeautifulSoup(html, "html.parser").select_one(".vg-plot[role=img][aria-label]")
    content = json.loads(plot["data-plot"])
    assert content["data"] == [{"y": [1.0, 0.5], "name": 'a "quoted" <name>', "type": "scatter"}]
    assert "template" not in content["layout"]
    assert html.count("<") == 2  # an element and its end: nothing of the data is markup


def test_showing_a_figure_after_registering():
    code = f"""{STARTUP}
import plotly.graph_objects as go, plotly.io as pio
figure = go.Figure(go.Scatter(y=[1, 2]))
print(pio.renderers.default, pio.renderers["vgdocs"].to_mimebundle(figure.to_dict())["text/html"][:20])
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == 'vgdocs <div class="vg-plot"\n'


def test_the_startup_file_is_written_once_and_mended(tmp_path):
    assert install(tmp_path) == tmp_path
    path = tmp_path / "profile_default/startup/00-vgdocs.py"
    assert path.read_text() == STARTUP
    before = path.stat().st_mtime_ns
    install(tmp_path)
    assert path.stat().st_mtime_ns == before  # its kernels' cache isn't made stale
    path.write_text("something else")
    install(tmp_path)
    assert path.read_text() == STARTUP
