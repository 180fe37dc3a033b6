"""Progress: a bar on a terminal, plain lines elsewhere, nothing where nothing is measured."""

import io
import sys
from pathlib import Path

import pytest

from vgdocs.engine.figure import FigureError
from vgdocs.engine.progress import bar

ERROR = FigureError(Path("figures/halving.py"), "hangs")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_nothing_to_measure_is_nothing_to_say(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    with bar():
        pass
    assert sys.stderr.getvalue() == ""


def test_plain_lines_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with bar() as progress:
        progress("doubling", ERROR, 1, 2)
        progress("halving", ERROR, 2, 2)
    assert sys.stderr.getvalue() == "[1/2] doubling fails\n[2/2] halving fails\n"


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with bar() as progress:
        progress("doubling", ERROR, 1, 2)
        progress("halving", ERROR, 2, 2)
    shown = sys.stderr.getvalue()
    assert "Measuring figures" in shown
    assert "50%" in shown
    assert "100%" in shown
    assert "halving fails" in shown
