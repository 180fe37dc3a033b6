"""What happens in a figure's process, seen from within; test_runner.py sees it from outside."""

import sys

import pytest

from vgdocs.engine import worker
from vgdocs.engine.record import check_plot

SCRIPT = "HALF = 0.5\n"


@pytest.fixture
def module(tmp_path):
    """A script that was edited since it was read: what was read counts."""
    path = tmp_path / "halving_at_work.py"
    path.write_text("raise SystemExit")
    yield worker.load(str(path), SCRIPT)
    del sys.modules["halving_at_work"]


def test_a_script_is_loaded_as_a_module_of_its_name(module):
    assert (module.__name__, module.HALF) == ("halving_at_work", 0.5)
    assert sys.modules["halving_at_work"] is module


def test_plots_are_plain_and_no_more_precise_than_a_screen():
    import numpy
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(x=numpy.array([1 / 3, numpy.inf]), y=[1.23456789e-12, None], customdata=numpy.eye(2)))
    plot = worker._plain_plot(figure)
    check_plot(plot)
    (trace,) = plot["data"]
    assert trace["x"] == [0.333333, None]
    assert trace["y"] == [1.23457e-12, None]
    assert trace["customdata"] == [[1.0, 0.0], [0.0, 1.0]]
    assert plot["layout"] == {}
