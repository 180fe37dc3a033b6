"""Progress of a run: a bar on a terminal, one plain line a figure elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vgdocs.engine.figure import FigureError
from vgdocs.engine.record import Record

if TYPE_CHECKING:
    from vgdocs.engine.runner import Progress


@contextlib.contextmanager
def bar() -> Iterator[Progress]:
    """A callback for `Library.refresh`; nothing is shown if nothing has to be measured."""
    with contextlib.ExitStack() as stack:
        shown = None

        def progress(name: str, outcome: Record | FigureError, done: int, total: int) -> None:
            nonlocal shown
            if not sys.stderr.isatty():
                click.echo(f"[{done}/{total}] {_line(name, outcome)}", err=True)
                return
            if shown is None:
                counted = click.progressbar(
                    length=total, label="Measuring figures", item_show_func=lambda item: item, file=sys.stderr
                )
                shown = stack.enter_context(counted)
            shown.update(1, _line(name, outcome))

        yield progress


def _line(name: str, outcome: Record | FigureError) -> str:
    return f"{name} fails" if isinstance(outcome, FigureError) else f"{name} {outcome.seconds:.1f} s"
