"""The labs: their figures are drawn, with nothing but our own server in reach, and each can be taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

LABS = sorted((Path(__file__).parents[2] / "docs/labs").glob("*.py"))


def test_there_are_labs():
    assert {"lstm_memory", "rescue", "sigmoid_vs_relu", "write_a_figure"} <= {path.stem for path in LABS}


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_a_lab_draws_its_figures_and_can_be_downloaded(deployed, visit, lab):
    with visit() as visitor:
        visitor.open(deployed.at(f"labs/{lab.stem}/"))
        plots = visitor.draw_all()
        assert len(plots) == lab.read_text("utf-8").count(".show()") > 0
        assert [plot["name"] for plot in plots if not plot["drawn"]] == []
        saving = visitor.page.locator(".modebar-btn[data-title='Download plot']")
        assert saving.count() == len(plots), "there is no other button to save a lab's plot by"
        link = visitor.page.locator(".vg-download a[download]")
        cells = link.evaluate("link => fetch(link.href).then(answer => answer.json())")["cells"]
        assert sum(cell["cell_type"] == "code" for cell in cells) > 3
        linked = "".join(line for cell in cells for line in cell["source"])
        assert f"]({deployed.url}" in linked, "its links lead nowhere outside the site"
