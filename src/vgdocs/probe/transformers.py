"""A probe as a callback of the Trainer of Hugging Face's Transformers; the one module that imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl

from vgdocs.probe.callbacks import Watching


class TrainerProbe(Watching, TrainerCallback):
    """Watches what a Trainer trains, and prints the verdict at its end.

        probe = TrainerProbe(trainer)
        trainer.train()
        probe.verdict

    It adds itself to the Trainer's callbacks. What `Probe.scalars` gives is logged by `trainer.log`, as often as the
    Trainer logs. `every` is the probe's, and `report` the path of a page to write at the end. After an exception, of
    which the Trainer tells no callback, `verdict` is that on what was recorded until then.
    """

    def __init__(self, trainer: Trainer, every: int | None = None, report: str | Path | None = None) -> None:
        super().__init__(every, report)
        self._trainer = trainer
        trainer.add_callback(self)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        trainer: Any = self._trainer
        given = trainer.optimizer  # accelerate's, around the one that steps
        self._begin([getattr(given, "optimizer", given)], trainer.model, getattr(given, "scaler", None))

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        if control.should_log:
            self._trainer.log(dict(self._scalars()))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._end()
        self._tell(type(self._trainer.model).__name__)
