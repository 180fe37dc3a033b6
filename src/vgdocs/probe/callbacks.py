"""What the callbacks for other people's training loops share: `vgdocs.probe.lightning`, `vgdocs.probe.transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from vgdocs.probe.diagnosis import Verdict
from vgdocs.probe.found import Attached, models_of
from vgdocs.probe.report import Watched, write


class Watching:
    """Probes on what a loop's optimizers step; the base of a callback."""

    def __init__(self, every: int | None = None, report: str | Path | None = None) -> None:
        super().__init__()
        self._every, self._report = every, report
        self._attached: list[Attached] = []
        self._done: list[Watched] = []

    @property
    def watched(self) -> list[Watched]:
        """A model, what was recorded of it and its verdict, for each optimizer; so far, while it trains."""
        return self._done + [attached.watched() for attached in self._attached]

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the model, of several on the first; None as long as nothing was recorded."""
        return next((one.verdict for one in self.watched), None)

    def _begin(
        self, optimizers: Sequence[torch.optim.Optimizer], model: nn.Module, scaler: torch.amp.GradScaler | None
    ) -> None:
        self._end(cut_short=True)
        self._done = []
        found = models_of(optimizers, [model])
        self._attached = [Attached(one, scaler, self._every) for one in found]

    def _scalars(self) -> dict[str, float]:
        """Of all probes, numbered if there are several; under a name of their own, for a loop logs its loss, too."""
        several = len(self._attached) > 1
        return {
            f"probe{f'_{i}' if several else ''}/{name}": value
            for i, attached in enumerate(self._attached)
            for name, value in attached.probe.scalars().items()
        }

    def _end(self, cut_short: bool = False) -> None:
        for attached in self._attached:
            self._done.append(attached.end(cut_short))
        self._attached = []

    def _tell(self, title: str) -> None:
        print("\n\n".join(one.text() for one in self._done))
        if self._report is not None and any(one.verdict for one in self._done):
            write(self._report, self._done, title=title)
