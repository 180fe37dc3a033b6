"""A probe as a callback of Lightning's Trainer; the one module that imports it, `lightning` or `pytorch_lightning`."""

from __future__ import annotations

import sys
from typing import Any

from vgdocs.probe.callbacks import Watching

if "lightning" in sys.modules:  # whose classes are others than those of pytorch_lightning
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    from pytorch_lightning import Callback, LightningModule, Trainer


class LightningProbe(Watching, Callback):
    """Watches what a Lightning Trainer trains, and prints the verdict at its end or at an exception.

        probe = LightningProbe()
        Trainer(callbacks=[probe]).fit(module)
        probe.verdict

    What `Probe.scalars` gives is logged by the Trainer's loggers, as often as it logs. `every` is the probe's, and
    `report` the path of a page to write at the end. Of several optimizers each is watched in the part of the module
    that it steps.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer.optimizers, pl_module, getattr(trainer.precision_plugin, "scaler", None))

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if trainer.global_step and trainer.global_step % trainer.log_every_n_steps == 0:
            for logger in trainer.loggers:
                logger.log_metrics(self._scalars(), step=trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end()
        self._tell(type(pl_module).__name__)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._attached:
            self._end(cut_short=True)
            self._tell(type(pl_module).__name__)
