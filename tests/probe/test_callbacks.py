"""Probes in the training loops of others: the real libraries, on networks of a few weights."""

import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vgdocs.probe
from vgdocs.probe import Probe, diagnose

STEPS = 6


def sick(width: int = 8) -> nn.Sequential:
    """Ten layers of sigmoids, at the bottom of which no gradient arrives."""
    layers = [layer for _ in range(10) for layer in (nn.Linear(width, width), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(width, 3))


def batches() -> TensorDataset:
    torch.manual_seed(0)
    return TensorDataset(torch.randn(48, 8), torch.randint(3, (48,)))


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, every: int = 1):
    """The record of the same steps in a loop of one's own."""
    with Probe(model, optimizer, every=every) as probe:
        for x, y in DataLoader(batches(), 8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return probe.record


def same(record, other) -> bool:
    names = ("weight_gradient", "activation_gradient", "update_ratio", "signal")
    pairs = [(row[name], twin[name]) for row, twin in zip(record.rows, other.rows, strict=True) for name in names]
    return all(b is None if a is None else a == pytest.approx(b, rel=1e-4) for a, b in pairs)


@pytest.fixture
def lightning():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pytorch_lightning

        from vgdocs.probe import lightning as ours
    return pytorch_lightning, ours.LightningProbe


@pytest.fixture
def fit(lightning, tmp_path):
    """Trains a module by Lightning for one epoch of `STEPS` batches."""
    library, _ = lightning

    class Logger(library.loggers.CSVLogger):
        logged: list

        def log_metrics(self, metrics, step=None):
            self.logged.append((step, dict(metrics)))

    def fit(module, probe, **options):
        Logger.logged = []
        silent = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        options = {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 2} | silent | options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = library.Trainer(callbacks=[probe], logger=Logger(tmp_path), **options)
            trainer.fit(module, DataLoader(batches(), 8))
        return Logger.logged

    return fit


class TestLightning:
    @pytest.fixture
    def module(self, lightning):
        library, _ = lightning

        class Module(library.LightningModule):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def training_step(self, batch, _):
                return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)

        return Module

    def test_it_sees_what_a_probe_in_a_loop_sees(self, lightning, module, fit, capsys):
        _, lightning_probe = lightning
        net = sick()
        twin = copy.deepcopy(net)
        probe = lightning_probe(every=1)
        fit(module(net), probe)
        (one,) = probe.watched
        expected = by_hand(twin, torch.optim.SGD(twin.parameters(), lr=0.1))
        assert (one.name, one.optimizers, len(one.record)) == ("Module", ("SGD",), STEPS)
        assert same(one.record, expected)
        assert [row["lr"] for row in one.record.step_rows] == [0.1] * STEPS
        assert [f.cause for f in probe.verdict.findings] == [f.cause for f in diagnose(expected).findings]
        assert "1. vanishing, by activation" in capsys.readouterr().out

    def test_it_logs_by_lightnings_loggers(self, lightning, module, fit):
        _, lightning_probe = lightning
        logged = fit(module(sick()), lightning_probe(every=1))
        ours = [(step, values) for step, values in logged if "probe/loss" in values]
        assert [step for step, _ in ours] == [2, 4, 6]
        for _, values in ours:
            assert len(values) > 10
            assert all(type(value) is float for value in values.values())

    def test_several_optimizers(self, lightning, module, fit):
        _, lightning_probe = lightning

        class Two(module):
            automatic_optimization = False

            def __init__(self):
                super().__init__(nn.ModuleList([sick(), sick()]))

            def training_step(self, batch, _):
                for net, optimizer in zip(self.net, self.optimizers(), strict=True):
                    optimizer.zero_grad()
                    self.manual_backward(nn.functional.cross_entropy(net(batch[0]), batch[1]))
                    optimizer.step()

            def configure_optimizers(self):
                return [torch.optim.SGD(net.parameters(), lr=0.1) for net in self.net]

        probe = lightning_probe(every=1)
        fit(Two(), probe)
        assert [len(one.record) for one in probe.watched] == [STEPS, STEPS]
        assert [len(one.record.layers) for one in probe.watched] == [21, 21]

    def test_an_exception(self, lightning, module, fit, capsys):
        _, lightning_probe = lightning

        class Failing(module):
            def training_step(self, batch, number):
                if number == 3:
                    raise ValueError("no more")
                return super().training_step(batch, number)

        net = sick()
        with pytest.raises(ValueError, match="no more"):
            fit(Failing(net), probe := lightning_probe(every=1))
        assert len(probe.watched[0].record) == 3
        assert "3 steps of SGD" in capsys.readouterr().out
        assert not any(layer._forward_hooks for layer in net.modules())

    def test_it_writes_a_report(self, lightning, module, fit, tmp_path):
        _, lightning_probe = lightning
        probe = lightning_probe(report=tmp_path / "report.html")
        fit(module(sick()), probe)
        assert "Diagnosis of Module" in (tmp_path / "report.html").read_text("utf-8")


class TestTransformers:
    @pytest.fixture
    def trainer(self, tmp_path):
        """Makes a Trainer of the real library, whose model returns its loss."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from transformers import Trainer, TrainingArguments

        class Model(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def forward(self, x, labels):
                logits = self.net(x)
                return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

        class Ordered(Trainer):
            def get_train_dataloader(self):
                return DataLoader([{"x": x, "labels": y} for x, y in batches()], 8)

        def trainer(net, **options):
            options = {"max_steps": STEPS, "logging_steps": 2, "report_to": "none", "use_cpu": True} | options
            options |= {"disable_tqdm": True, "save_strategy": "no", "optim": "sgd", "learning_rate": 0.1}
            plain = {"lr_scheduler_type": "constant", "max_grad_norm": 0.0}
            arguments = TrainingArguments(output_dir=str(tmp_path), **options, **plain)
            return Ordered(Model(net), arguments, train_dataset=batches())

        return trainer

    @pytest.fixture
    def trainer_probe(self, trainer):
        from vgdocs.probe.transformers import TrainerProbe

        return TrainerProbe

    def test_it_sees_what_a_probe_in_a_loop_sees(self, trainer, trainer_probe, capsys):
        net = sick()
        twin = copy.deepcopy(net)
        probe = trainer_probe(loop := trainer(net), every=1)
        loop.train()
        (one,) = probe.watched
        expected = by_hand(twin, torch.optim.SGD(twin.parameters(), lr=0.1))
        assert (one.name, one.optimizers, len(one.record)) == ("Model", ("SGD",), STEPS)
        assert same(one.record, expected)
        assert [f.cause for f in probe.verdict.findings] == [f.cause for f in diagnose(expected).findings]
        assert "1. vanishing, by activation" in capsys.readouterr().out

    def test_it_logs_by_the_trainer(self, trainer, trainer_probe):
        trainer_probe(loop := trainer(sick()), every=1)
        loop.train()
        ours = [entry for entry in loop.state.log_history if any(name.startswith("probe/") for name in entry)]
        assert [entry["step"] for entry in ours] == [2, 4, 6]

    def test_an_exception_leaves_the_verdict(self, trainer, trainer_probe):
        probe = trainer_probe(loop := trainer(sick()), every=1)
        step, taken = loop.training_step, []

        def failing(*args, **kwargs):
            taken.append(1)
            if len(taken) == 4:
                raise ValueError("no more")
            return step(*args, **kwargs)

        loop.training_step = failing
        with pytest.raises(ValueError, match="no more"):
            loop.train()
        assert probe.verdict.findings[0].cause == "activation"


def test_no_library_is_imported_that_is_not_used():
    libraries = {"pytorch_lightning", "lightning", "transformers", "accelerate"}
    code = f"import sys, vgdocs.probe.callbacks, vgdocs.probe.script; assert not {libraries} & sys.modules.keys()"
    path = os.pathsep.join([str(Path(vgdocs.probe.__file__).parents[2]), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})
